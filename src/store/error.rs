//! What goes wrong between us and a store.

use super::advice;

/// Why a store could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The STORE argument is not understood.
    #[error("{text:?} does not name a store: {problem}")]
    Location {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The place cannot be opened at all.
    #[error("cannot open {place}: check that it exists and that this user may read it")]
    Open {
        /// The place, as typed.
        place: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Reading a name, a size or a body failed for another reason than absence.
    #[error("cannot {operation} {key}")]
    Io {
        /// What was attempted: `list`, `stat`, `read`.
        operation: &'static str,
        /// The key below the store's root.
        key: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A directory was listed and was gone when it was opened: somebody moves or removes repositories.
    #[error("{key} was there and is gone: the store changes while it is listed. Run again")]
    Vanished {
        /// The key below the store's root.
        key: String,
    },
    /// Somebody asked to stop.
    #[error("asked to stop while the store was looked at")]
    Stopped,
    /// A copy within a bucket is not what was copied.
    #[error(
        "the copy of {key} is not what was copied, so nothing was deleted; look whether the bucket's storage is whole"
    )]
    Copy {
        /// The key below the store's root.
        key: String,
    },
    /// A page of a listing said that it was the last, and it was not.
    #[error("the store ended its listing before {key}, which is there: it cannot be relied on. Run again")]
    Torn {
        /// A key that was left out.
        key: String,
    },
    /// A body is larger than anything that is read whole.
    #[error("{key} has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// The key below the store's root.
        key: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A bucket's settings are missing or wrong.
    #[error("cannot open {url}: check the settings and credentials in the environment")]
    Settings {
        /// The bucket.
        url: String,
        /// What the client library says.
        #[source]
        source: object_store::Error,
    },
    /// A request to a bucket failed.
    #[error("cannot {operation} {key}: {}", advice::told(answer))]
    Request {
        /// What was attempted: `list`, `stat`, `read`, `write`, `copy`, `delete`.
        operation: &'static str,
        /// The key or prefix below the store's root.
        key: String,
        /// The store's answer, told in one line: the client library's own text says everything three times.
        answer: Box<object_store::Error>,
    },
    /// The state that was given with `--state` is that of another store.
    #[error("the state there belongs to {owner}: give each store a state of its own")]
    OtherState {
        /// The other store's URL.
        owner: String,
    },
    /// The state could not be read or written.
    #[error("cannot {operation} regsweep's state at {key}: {}", advice::told(answer))]
    State {
        /// What was attempted.
        operation: &'static str,
        /// The key below the state's root.
        key: String,
        /// The store's answer.
        answer: Box<object_store::Error>,
    },
}

impl StoreError {
    /// The error with its cause in one line, for reports.
    pub fn with_cause(&self) -> String {
        std::error::Error::source(self).map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }

    pub(crate) fn request(operation: &'static str, key: &str, answer: object_store::Error) -> Self {
        let key = if key.is_empty() { "the store" } else { key };
        Self::Request { operation, key: key.into(), answer: Box::new(answer) }
    }

    pub(crate) fn state(operation: &'static str, key: &str, answer: object_store::Error) -> Self {
        Self::State { operation, key: key.into(), answer: Box::new(answer) }
    }

    /// Whether the system said that this user may not: there is something, and it cannot be known what.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
            Self::Request { answer, .. } => matches!(**answer, object_store::Error::PermissionDenied { .. }),
            _ => false,
        }
    }
}
