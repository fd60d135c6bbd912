//! Keys, numbers, durations and patterns of a document's tree, each problem noted with its place.

use std::fmt::Display;
use std::str::FromStr;

use crate::policy::document::{Entry, Node, Place, Value};
use crate::policy::error::Problem;
use crate::policy::pattern::{Pattern, PatternList};

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn note(&mut self, place: Place, message: impl Into<String>) {
        self.0.push(place.problem(message));
    }
}

/// The keys that one place of the language has.
pub(super) struct Language {
    /// What the keys describe, for messages: `a policy`.
    pub(super) of: &'static str,
    /// The keys that this version reads.
    pub(super) known: &'static [&'static str],
}

/// The keys and values of one place, checked against its language.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    pub(super) place: Place,
    entries: Vec<&'a Entry>,
}

impl<'a> Fields<'a> {
    /// The keys of a value; `None`, with a problem noted, when the value has no keys.
    pub(super) fn read(node: &'a Node, language: &Language, problems: &mut Problems) -> Option<Self> {
        let entries = entries(node, language.of, problems)?;
        for entry in &entries {
            let key = entry.key.as_str();
            if language.known.contains(&key) {
                continue;
            }
            let hint = did_you_mean(key, language.known.iter().copied());
            problems.note(entry.place, format!("unknown key \"{}\"{hint}", key.escape_debug()));
        }
        Some(Self { place: node.place, entries })
    }

    /// The value of a key; a key without a value, or with `null`, counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (!matches!(entry.value.value, Value::Null)).then_some(&entry.value)
    }
}

/// The entries of a value with free or fixed keys; duplicates are noted and left out.
pub(super) fn entries<'a>(node: &'a Node, of: &str, problems: &mut Problems) -> Option<Vec<&'a Entry>> {
    let Value::Map(all) = &node.value else {
        problems.note(node.place, format!("{of} is written as keys and values, not as {}", node.kind()));
        return None;
    };
    let mut kept: Vec<&Entry> = Vec::with_capacity(all.len());
    for entry in all {
        match kept.iter().find(|other| other.key == entry.key) {
            Some(first) => {
                let message = format!(
                    "duplicate key \"{}\": it stands in line {} already",
                    entry.key.escape_debug(),
                    first.place.line
                );
                problems.note(entry.place, message);
            }
            None => kept.push(entry),
        }
    }
    Some(kept)
}

/// The elements of a list.
pub(super) fn list<'a>(node: &'a Node, of: &str, problems: &mut Problems) -> &'a [Node] {
    if let Value::List(nodes) = &node.value {
        return nodes;
    }
    problems.note(node.place, format!("{of} is written as a list, not as {}", node.kind()));
    &[]
}

/// A guess at what a misspelt word was to be, in parentheses after a space; nothing when none is near.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let allowed = 1 + word.chars().count() / 4;
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| format!(" (did you mean \"{candidate}\"?)"))
        .unwrap_or_default()
}

/// A text.
pub(super) fn text<'a>(node: &'a Node, what: &str, problems: &mut Problems) -> Option<&'a str> {
    match &node.value {
        Value::Text(text) if !text.is_empty() => Some(text),
        Value::Text(_) => {
            problems.note(node.place, format!("{what} is empty"));
            None
        }
        Value::Number(_) | Value::Bool(_) => {
            problems.note(
                node.place,
                format!("{what} is a text, and YAML reads this as {}: put it in quotes", node.kind()),
            );
            None
        }
        _ => {
            problems.note(node.place, format!("{what} is a text, not {}", node.kind()));
            None
        }
    }
}

/// A duration, a size or a percentage.
pub(super) fn quantity<T>(node: &Node, what: &str, problems: &mut Problems) -> Option<T>
where
    T: FromStr,
    T::Err: Display,
{
    match &node.value {
        Value::Text(text) | Value::Number(text) => match text.parse() {
            Ok(quantity) => return Some(quantity),
            Err(error) => problems.note(node.place, format!("{what}: {error}")),
        },
        _ => problems.note(node.place, format!("{what} is a number with its unit, not {}", node.kind())),
    }
    None
}

/// A whole number from zero up.
pub(super) fn whole_number(node: &Node, what: &str, problems: &mut Problems) -> Option<u64> {
    let message = match &node.value {
        Value::Number(text) => match text.parse() {
            Ok(number) => return Some(number),
            Err(_) if text.starts_with('-') => format!("{what}: {text} is negative; it counts from zero up"),
            Err(_) => format!("{what}: {text} is not a whole number"),
        },
        Value::Text(text) => {
            let text = text.escape_debug();
            format!("{what}: \"{text}\" is not a whole number: write digits only, without quotes")
        }
        _ => format!("{what} is a whole number, not {}", node.kind()),
    };
    problems.note(node.place, message);
    None
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node, what: &str, problems: &mut Problems) -> Option<bool> {
    if let Value::Bool(value) = node.value {
        return Some(value);
    }
    problems.note(node.place, format!("{what} is true or false, not {}", node.kind()));
    None
}

/// A list of patterns, or one pattern alone; `None` when any of them is refused.
pub(super) fn patterns(node: &Node, what: &str, problems: &mut Problems) -> Option<PatternList> {
    let nodes = match &node.value {
        Value::Text(_) => std::slice::from_ref(node),
        Value::List(nodes) => nodes,
        _ => {
            problems.note(node.place, format!("{what} is a list of patterns, not {}", node.kind()));
            return None;
        }
    };
    let compiled: Vec<Option<Pattern>> = nodes
        .iter()
        .map(|node| match Pattern::new(text(node, "a pattern", problems)?) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                problems.note(node.place, error.to_string());
                None
            }
        })
        .collect();
    let compiled: Vec<Pattern> = compiled.into_iter().collect::<Option<_>>()?;
    PatternList::new(compiled).map_err(|error| problems.note(node.place, format!("{what}: {error}"))).ok()
}
