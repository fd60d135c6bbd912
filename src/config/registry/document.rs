//! A YAML document as distribution's configuration reader sees it: a tree of maps, each value with the place it
//! was written in, which environment variables may overwrite.
//!
//! The environment scheme is the one of distribution's `configuration/parser.go` (2.8 and 3.x alike): the name
//! after `REGISTRY_` is split at `_`, every part names a key in upper case, the value is itself YAML, and variables
//! are applied in the order of their names so that `REGISTRY_STORAGE` precedes `REGISTRY_STORAGE_FILESYSTEM`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::RegistryConfigError;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A line of the file, from 1.
    Line(u64),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(formatter, "line {line}"),
            Place::Variable(name) => write!(formatter, "environment variable {name}"),
        }
    }
}

/// A value of the document. It has no `Debug`: it may hold secrets.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Reads the file; `origin` names it in errors.
pub(super) fn parse(text: &str, origin: &str) -> Result<Node, RegistryConfigError> {
    parse_yaml(text).map_err(|source| RegistryConfigError::Syntax {
        origin: origin.to_owned(),
        source: source.without_snippet().to_string().into(),
    })
}

/// Applies every `REGISTRY_*` variable of `environment` to the sections named in `sections`, in the order of names.
///
/// Other sections are left alone: nothing is read from them, and variables such as the `REGISTRY_PORT` that
/// Kubernetes sets for a service called `registry` are no configuration at all.
pub(super) fn apply_environment(
    root: &mut Node,
    environment: &BTreeMap<String, String>,
    sections: &[&str],
) -> Result<(), RegistryConfigError> {
    for (name, payload) in environment {
        let Some(path) = name.strip_prefix("REGISTRY_") else { continue };
        let path: Vec<&str> = path.split('_').collect();
        if !sections.iter().any(|section| section.to_uppercase() == path[0]) {
            continue;
        }
        // The parser's message may quote the value, which may be a secret: only the name is told.
        let mut node =
            parse_yaml(payload).map_err(|_| RegistryConfigError::Variable { name: name.clone() })?;
        node.relocate(&Place::Variable(name.clone()));
        root.overwrite(&path, node);
    }
    Ok(())
}

fn parse_yaml(text: &str) -> Result<Node, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        // Go's YAML reader lets the last of two equal keys win; this file is the registry's, not ours to judge.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        // A key such as 0123456 stays what it is.
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    let document: Spanned<Value> = serde_saphyr::from_str_with_options(text, options)?;
    Ok(Node::from(document))
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Node { value: spanned.value, place: Place::Line(spanned.referenced.line()) }
    }
}

impl Node {
    /// The value at `key`; a null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        let found = entries.iter().find(|(name, _)| name == key)?;
        (!matches!(found.1.value, Value::Null)).then_some(&found.1)
    }

    /// The value at a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Whether `key` is written at all, be it null.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(&self.value, Value::Map(entries) if entries.iter().any(|(name, _)| name == key))
    }

    /// As JSON, for values that are handed on as a whole.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|(key, node)| (key.clone(), node.to_json())).collect(),
        }
    }

    fn relocate(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|node| node.relocate(place)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.relocate(place)),
            Value::Null | Value::Bool(_) | Value::Text(_) => {}
        }
    }

    /// Puts `new` at `path`, creating what is missing on the way. A path that leads through a plain value, or past
    /// the end of a list, changes nothing, as in distribution.
    fn overwrite(&mut self, path: &[&str], new: Node) {
        let Some((key, rest)) = path.split_first() else {
            *self = new;
            return;
        };
        if matches!(self.value, Value::Null) {
            // No map of distribution has numbers for keys: an index means a list, such as `redis.addrs`.
            let empty = if *key == "0" { Value::List(Vec::new()) } else { Value::Map(Vec::new()) };
            *self = Node { value: empty, place: new.place.clone() };
        }
        match &mut self.value {
            Value::Map(entries) => {
                let index =
                    entries.iter().position(|(name, _)| name.to_uppercase() == *key).unwrap_or_else(|| {
                        entries.push((
                            key.to_lowercase(),
                            Node { value: Value::Null, place: new.place.clone() },
                        ));
                        entries.len() - 1
                    });
                entries[index].1.overwrite(rest, new);
            }
            Value::List(items) => match key.parse::<usize>() {
                Ok(index) if index < items.len() => items[index].overwrite(rest, new),
                Ok(index) if index == items.len() => {
                    let mut item = Node { value: Value::Null, place: new.place.clone() };
                    item.overwrite(rest, new);
                    items.push(item);
                }
                _ => {}
            },
            Value::Null | Value::Bool(_) | Value::Text(_) => {}
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element::<Spanned<Value>>()? {
            items.push(Node::from(item));
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        // A map's own place is its first entry: the line of the key is where a person looks.
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let place = Place::Line(key.referenced.line());
            entries.push((key.value, Node { value: map.next_value()?, place }));
        }
        Ok(Value::Map(entries))
    }
}
