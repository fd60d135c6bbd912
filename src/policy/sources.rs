//! What a policy wants to be asked, besides the store, before anything goes.

use std::fmt;
use std::sync::Arc;

use crate::config::values::Period;

/// How long a command may run, unless the policy says otherwise.
pub const DEFAULT_TIMEOUT: Period = Period::from_secs(60);

/// The longest time that a policy may give a command.
pub const LONGEST_TIMEOUT: Period = Period::from_hours(1);

/// Where references to images come from that never go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What is read or run.
    pub what: SourceKind,
    /// Whether it may name nothing; otherwise an empty one is taken for a broken one.
    pub may_be_empty: bool,
}

/// What is read or run for references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A file.
    File {
        /// Its path; a relative one begins at the policy file.
        path: Arc<str>,
        /// How long ago it may have been written, at most; `None` is any time.
        max_age: Option<Period>,
    },
    /// A command, run without a shell.
    Command {
        /// The command as the policy has it, for people.
        text: Arc<str>,
        /// The program and its arguments, at least one word.
        words: Arc<[String]>,
        /// How long it may run.
        timeout: Period,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            SourceKind::File { path, .. } => write!(formatter, "the file {path}"),
            SourceKind::Command { text, .. } => write!(formatter, "the command `{text}`"),
        }
    }
}
