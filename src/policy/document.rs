//! A YAML document as a tree in which every key and value knows its line and column.
//!
//! The tree is read before any meaning, so that one pass over it can name every problem with its place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use crate::policy::brackets::left_open;
use crate::policy::error::Problem;

/// A place in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Place {
    pub(super) fn problem(self, message: impl Into<String>) -> Problem {
        Problem { line: self.line, column: self.column, message: message.into() }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// A plain number, as text in its usual form.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Node {
    /// The kind of value, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "keys and values",
        }
    }
}

/// Reads a YAML text into its tree.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let options = serde_saphyr::options! {
        // Each duplicate is reported with the others by the reader of the keys.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // A number in an unusual form reaches the reader as text, and is refused there instead of guessed.
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        strict_booleans: true,
        // An unquoted `!ci/base` is a tag on an empty value to YAML; without this it would vanish.
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let read = serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options);
    read.map(|spanned| Node { place: spanned.referenced.into(), value: spanned.value }).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map_or(Place { line: 0, column: 0 }, Place::from);
        match error {
            serde_saphyr::Error::ExternalMessage { .. } => match left_open(text) {
                Some(open) => open.place.problem(open.advice()),
                None => place.problem(explain(error, text, place)),
            },
            _ => place.problem(explain(error, text, place)),
        }
    })
}

/// What the parser says, and what to write instead in the cases that patterns run into.
fn explain(error: &serde_saphyr::Error, text: &str, place: Place) -> String {
    use serde_saphyr::MessageFormatter as _;
    let message = serde_saphyr::UserMessageFormatter.format_message(error);
    let message: String = message.chars().filter(|character| !character.is_control()).collect();
    let line = usize::try_from(place.line.saturating_sub(1)).ok().and_then(|index| text.lines().nth(index));
    let column = usize::try_from(place.column.saturating_sub(1)).unwrap_or(usize::MAX);
    let here = line.and_then(|line| line.chars().nth(column));
    match error {
        serde_saphyr::Error::UnsupportedTag { .. } => {
            format!("{message}: put a pattern that begins with `!` in quotes")
        }
        _ if here == Some('*') => format!("{message}: put a pattern that begins with `*` in quotes"),
        serde_saphyr::Error::ExternalMessage { .. } => {
            format!("{message} (is the indentation off?)")
        }
        _ => message,
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(Spanned { value, referenced, .. }) = list.next_element::<Spanned<Value>>()? {
            nodes.push(Node { place: referenced.into(), value });
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let Spanned { value, referenced, .. } = map.next_value::<Spanned<Value>>()?;
            let value = Node { place: referenced.into(), value };
            entries.push(Entry { place: key.referenced.into(), key: key.value, value });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(node: &Node, path: &str, found: &mut Vec<(String, u64, u64)>) {
        found.push((path.to_owned(), node.place.line, node.place.column));
        match &node.value {
            Value::List(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    places(node, &format!("{path}[{index}]"), found);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let path = format!("{path}.{}", entry.key);
                    found.push((format!("{path}#"), entry.place.line, entry.place.column));
                    places(&entry.value, &path, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let node = read("a: [x, 7]\nb:\n  c: {d: null, e: -1.5}\n  c: true\n").unwrap();
        let mut found = Vec::new();
        places(&node, "", &mut found);
        let found: Vec<String> =
            found.into_iter().map(|(path, line, column)| format!("{path} {line}:{column}")).collect();
        insta::assert_snapshot!(found.join("\n"), @"
         1:1
        .a# 1:1
        .a 1:4
        .a[0] 1:5
        .a[1] 1:8
        .b# 2:1
        .b 3:3
        .b.c# 3:3
        .b.c 3:6
        .b.c.d# 3:7
        .b.c.d 3:10
        .b.c.e# 3:16
        .b.c.e 3:19
        .b.c# 4:3
        .b.c 4:6
        ");
    }

    #[test]
    fn an_unquoted_negation_does_not_vanish() {
        let problem = read("repositories: [ci/**, !ci/base]\n").unwrap_err();
        assert!(problem.message.contains("in quotes"), "{problem:?}");
    }

    #[test]
    fn an_unquoted_star_is_not_an_alias() {
        let problem = read("repositories: [**]\n").unwrap_err();
        assert!(problem.message.contains("in quotes"), "{problem:?}");
    }
}
