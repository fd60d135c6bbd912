//! A document of another product, each value with its path.

use std::fmt;

use serde_json::{Map, Value};

use super::ConvertError;
use crate::config::values::Period;

/// A value and where it is.
#[derive(Debug, Clone)]
pub(super) struct Input {
    path: String,
    value: Value,
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            formatter.write_str("the document")
        } else {
            formatter.write_str(&self.path)
        }
    }
}

impl Input {
    /// Reads JSON, or YAML when it does not begin as JSON does.
    pub(super) fn parse(text: &str) -> Result<Self, ConvertError> {
        let json = text.trim_start().starts_with(['{', '[']);
        let value = if json {
            serde_json::from_str(text).map_err(|error| ConvertError::new(format!("no JSON: {error}")))?
        } else {
            let read = serde_saphyr::from_str(text);
            read.map_err(|error| {
                ConvertError::new(format!("neither JSON nor YAML: {}", error.without_snippet()))
            })?
        };
        Ok(Self { path: String::new(), value })
    }

    fn child(&self, key: &str, value: &Value) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { path, value: value.clone() }
    }

    pub(super) fn object(&self) -> Result<&Map<String, Value>, ConvertError> {
        self.value.as_object().ok_or_else(|| self.wrong("keys and values"))
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// A key's value, in whatever case it is written; `null` is none.
    pub(super) fn get(&self, key: &str) -> Result<Option<Self>, ConvertError> {
        let found = self.object()?.iter().find(|(own, _)| own.eq_ignore_ascii_case(key));
        Ok(found.filter(|(_, value)| !value.is_null()).map(|(own, value)| self.child(own, value)))
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &str) -> Result<Self, ConvertError> {
        self.get(key)?.ok_or_else(|| ConvertError::new(format!("{self} has no {key}")))
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Result<Vec<Self>, ConvertError> {
        let list = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        Ok(list
            .iter()
            .enumerate()
            .map(|(index, value)| Self { path: format!("{}[{index}]", self.path), value: value.clone() })
            .collect())
    }

    /// The elements of a list, or the one value that stands in its place.
    pub(super) fn one_or_more(&self) -> Result<Vec<Self>, ConvertError> {
        if self.value.is_array() { self.list() } else { Ok(vec![self.clone()]) }
    }

    pub(super) fn text(&self) -> Result<&str, ConvertError> {
        self.value.as_str().ok_or_else(|| self.wrong("a text"))
    }

    pub(super) fn texts(&self) -> Result<Vec<String>, ConvertError> {
        self.list()?.iter().map(|one| one.text().map(str::to_owned)).collect()
    }

    /// A whole number, also one in quotes.
    pub(super) fn number(&self) -> Result<u64, ConvertError> {
        let read = self.value.as_u64().or_else(|| self.value.as_str()?.parse().ok());
        read.ok_or_else(|| self.wrong("a whole number from zero up"))
    }

    pub(super) fn boolean(&self) -> Result<bool, ConvertError> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// A length of time: numbers with units one after the other (`720h`, `168h30m`, `2592000s`). `month` tells whether
    /// `m` is a month rather than a minute.
    pub(super) fn period(&self, month: bool) -> Result<Period, ConvertError> {
        let wrong = || self.wrong("a length of time such as 30d");
        let mut rest = self.text()?.trim();
        let mut seconds: u64 = 0;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|one: char| !one.is_ascii_digit()).ok_or_else(wrong)?;
            let (number, after) = rest.split_at(digits);
            let unit = after.find(|one: char| one.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit);
            let factor = match unit {
                "s" => 1,
                "m" if month => 30 * 86400,
                "m" | "min" => 60,
                "h" => 3600,
                "d" => 86400,
                "w" => 7 * 86400,
                "mo" => 30 * 86400,
                "y" => 365 * 86400,
                _ => return Err(wrong()),
            };
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
            seconds = part.and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
            rest = after;
        }
        // As a policy takes it, which knows a longest one.
        format!("{seconds}s").parse().map_err(|_| wrong())
    }

    /// The keys that are not among these.
    pub(super) fn others(&self, known: &[&str]) -> Result<Vec<String>, ConvertError> {
        let keys = self.object()?.keys();
        let unknown = keys.filter(|key| !known.iter().any(|known| key.eq_ignore_ascii_case(known)));
        Ok(unknown
            .map(|key| if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) })
            .collect())
    }

    fn wrong(&self, expected: &str) -> ConvertError {
        ConvertError::new(format!("{self} is not {expected}"))
    }
}
