//! A policy document in the making.

use std::fmt::Write as _;

use super::{Converted, Source};
use crate::config::values::Period;
use crate::policy::pattern::Pattern;

/// What stays of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    All,
    None,
    /// What one of the two holds.
    Either {
        last: Option<u64>,
        within: Option<Period>,
    },
    /// What both hold.
    Both {
        last: u64,
        within: Period,
    },
}

impl Kept {
    pub(super) const fn last(last: u64) -> Self {
        if last == 0 { Self::None } else { Self::Either { last: Some(last), within: None } }
    }

    pub(super) const fn within(within: Period) -> Self {
        if within.is_zero() { Self::None } else { Self::Either { last: None, within: Some(within) } }
    }

    /// What either of the two keeps, or a little more.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::None, one) | (one, Self::None) => one,
            (left, right) if left == right => left,
            (left, right) => {
                let ((last, within), (other_last, other_within)) = (left.parts(), right.parts());
                Self::Either { last: last.max(other_last), within: within.max(other_within) }
            }
        }
    }

    /// What both of the two keep, or a little more.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::All, one) | (one, Self::All) => one,
            (Self::Either { last: Some(a), within: None }, Self::Either { last: Some(b), within: None }) => {
                Self::last(a.min(b))
            }
            (Self::Either { last: None, within: Some(a) }, Self::Either { last: None, within: Some(b) }) => {
                Self::within(a.min(b))
            }
            (
                Self::Either { last: Some(last), within: None },
                Self::Either { last: None, within: Some(within) },
            )
            | (
                Self::Either { last: None, within: Some(within) },
                Self::Either { last: Some(last), within: None },
            ) => Self::Both { last, within },
            (Self::Both { last, within }, Self::Either { last: Some(other), within: None })
            | (Self::Either { last: Some(other), within: None }, Self::Both { last, within }) => {
                Self::Both { last: last.min(other), within }
            }
            (Self::Both { last, within }, Self::Either { last: None, within: Some(other) })
            | (Self::Either { last: None, within: Some(other) }, Self::Both { last, within }) => {
                Self::Both { last, within: within.min(other) }
            }
            (left, _) => left,
        }
    }

    fn parts(self) -> (Option<u64>, Option<Period>) {
        match self {
            Self::All | Self::None => (None, None),
            Self::Either { last, within } => (last, within),
            Self::Both { last, within } => (Some(last), Some(within)),
        }
    }

    fn write(self) -> String {
        let (last, within) = self.parts();
        let last = last.map(|last| format!("last: {last}"));
        let within = within.map(|within| format!("within: {within}"));
        let rules = last.into_iter().chain(within).collect::<Vec<_>>().join(", ");
        match self {
            Self::All => "all".to_owned(),
            Self::None => "none".to_owned(),
            Self::Either { .. } => format!("{{ {rules} }}"),
            Self::Both { .. } => format!("{{ all: {{ {rules} }} }}"),
        }
    }
}

/// A policy in the making.
#[derive(Debug)]
pub(super) struct DraftPolicy {
    pub(super) name: String,
    pub(super) repositories: Vec<String>,
    pub(super) clock: &'static str,
    /// Classes by name, and what stays of them.
    pub(super) tags: Vec<(String, Kept)>,
    pub(super) other: Option<Kept>,
    pub(super) untagged: Option<Kept>,
}

impl DraftPolicy {
    pub(super) fn new(name: &str, repositories: &[String], clock: &'static str) -> Self {
        let (name, repositories) = (name.to_owned(), repositories.to_vec());
        Self { name, repositories, clock, tags: Vec::new(), other: None, untagged: None }
    }
}

/// A document in the making.
#[derive(Debug)]
pub(super) struct Draft {
    source: Source,
    /// The repositories that the document is about, where it does not say.
    pub(super) repositories: Vec<String>,
    pub(super) protect: Vec<String>,
    pub(super) policies: Vec<DraftPolicy>,
    classes: Vec<(String, Vec<String>)>,
    notes: Vec<String>,
}

impl Draft {
    pub(super) fn new(source: Source, repositories: &[String]) -> Self {
        let repositories =
            if repositories.is_empty() { vec!["**".to_owned()] } else { repositories.to_vec() };
        let (protect, policies, classes, notes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { source, repositories, protect, policies, classes, notes }
    }

    /// Notes what does not carry over.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Notes keys that nobody here knows.
    pub(super) fn note_others(&mut self, keys: Vec<String>) {
        for key in keys {
            self.note(format!("{key} has no counterpart and is left out"));
        }
    }

    /// The class of these patterns: one that is there already, or a new one by this name.
    pub(super) fn class(&mut self, name: &str, patterns: &[String]) -> String {
        if let Some((name, _)) = self.classes.iter().find(|(_, own)| own == patterns) {
            return name.clone();
        }
        let taken = |name: &str| self.classes.iter().any(|(own, _)| own == name);
        let mut unique = name.to_owned();
        let mut number = 2;
        while taken(&unique) {
            unique = format!("{name}-{number}");
            number += 1;
        }
        self.classes.push((unique.clone(), patterns.to_vec()));
        unique
    }

    /// A regular expression as a pattern; `anchored` tells whether it means whole names as ours do. `None`, with a note,
    /// when ours knows no such expression.
    pub(super) fn expression(&mut self, expression: &str, anchored: bool) -> Option<String> {
        let pattern = match (expression, anchored) {
            (".*", _) => "*".to_owned(),
            (expression, true) => format!("re:{expression}"),
            (expression, false) => format!("re:.*(?:{expression}).*"),
        };
        match Pattern::new(&pattern) {
            Ok(_) => Some(pattern),
            Err(error) => {
                self.note(format!("{error}; what it is about stays"));
                None
            }
        }
    }

    pub(super) fn finish(self) -> Converted {
        let mut text = format!("# Made by `regsweep policy convert` from {}.\n", self.source.product());
        for note in &self.notes {
            let _ = writeln!(text, "# Note: {note}.");
        }
        text.push_str("version: 1\n");
        if !self.protect.is_empty() {
            let _ = write!(text, "\nprotect:\n  tags: {}\n", list(&self.protect));
        }
        if !self.classes.is_empty() {
            text.push_str("\nclasses:\n");
            for (name, patterns) in &self.classes {
                let _ = writeln!(text, "  {}: {{ match: {} }}", quoted(name), list(patterns));
            }
        }
        text.push_str(if self.policies.is_empty() { "\npolicies: []\n" } else { "\npolicies:\n" });
        for policy in &self.policies {
            let _ = write!(
                text,
                "  - name: {}\n    repositories: {}\n    clock: {}\n",
                quoted(&policy.name),
                list(&policy.repositories),
                policy.clock
            );
            let classes = policy.tags.iter().map(|(class, kept)| (class.as_str(), *kept));
            let rules: Vec<(&str, Kept)> = classes.chain(policy.other.map(|kept| ("other", kept))).collect();
            if !rules.is_empty() {
                text.push_str("    tags:\n");
            }
            for (class, kept) in rules {
                let _ = writeln!(text, "      {}: {{ keep: {} }}", quoted(class), kept.write());
            }
            if let Some(kept) = policy.untagged {
                let _ = writeln!(text, "    untagged: {{ keep: {} }}", kept.write());
            }
        }
        Converted { text, notes: self.notes }
    }
}

fn list(patterns: &[String]) -> String {
    format!("[{}]", patterns.iter().map(|pattern| quoted(pattern)).collect::<Vec<_>>().join(", "))
}

/// A text as YAML reads it whatever is in it; a plain word stays one.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}
