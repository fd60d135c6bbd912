//! Images that somebody needs, by what files and commands say: lists of pins, and what runs.
//!
//! A source is whole or it is a failure, and with one failure nothing may go: a list that is half read names too few.

mod command;
mod file;
mod parse;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

pub use parse::{ReferenceError, read_references};

use crate::oci::{Digest, TagName};
use crate::policy::{Source, SourceKind};

/// More than this is not read of one source.
const LARGEST: usize = 16 << 20;

/// One image that somebody needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The repository, with or without the registry's host; `None` is a digest in every repository.
    pub repository: Option<Arc<str>>,
    /// The tag; `latest` where there is neither tag nor digest.
    pub tag: Option<TagName>,
    /// The manifest, or an image by its configuration.
    pub digest: Option<Digest>,
}

/// What all sources of a policy say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Each source by its name, and what it says.
    pub sources: Vec<(Arc<str>, Vec<Reference>)>,
    /// Sources that were not read, each with why and what to do.
    pub failures: Vec<String>,
}

impl References {
    /// How many references there are.
    pub fn len(&self) -> usize {
        self.sources.iter().map(|(_, references)| references.len()).sum()
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a source was not read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("it cannot be read: {0}; check the path, which begins at the policy file, and the rights")]
    Unreadable(std::io::Error),
    /// It is a directory, a pipe or a device.
    #[error("it is no regular file")]
    NotAFile,
    /// It was written too long ago.
    #[error("it was written {age} ago, and may be {max_age} old at most: see to what writes it")]
    Stale {
        /// How long ago.
        age: String,
        /// How long ago it may be.
        max_age: String,
    },
    /// It says that it is from the future.
    #[error("its time lies {0} in the future, so nobody knows how old it is: set the clocks right")]
    Future(String),
    /// It was written while it was read.
    #[error("it changed while it was read: write it under another name, and rename it")]
    Changed,
    /// It is too large.
    #[error("it has more than {LARGEST} bytes, which no list of images has")]
    TooLarge,
    /// Something in it is no image reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// It names nothing.
    #[error("it names nothing, which is taken for a mistake: if it is none, write may_be_empty: true")]
    Empty,
    /// The program cannot be started.
    #[error("it cannot be started: {0}; it is run without a shell, in the directory of the policy file")]
    NotStarted(std::io::Error),
    /// It ended badly.
    #[error("it ended with {status}{said}")]
    Failed {
        /// Its exit status.
        status: String,
        /// The last that it said, after a colon.
        said: String,
    },
    /// It did not end.
    #[error("it did not end within {0}: give it a longer timeout, or see why it hangs")]
    TimedOut(String),
}

/// Asks every source. Relative paths and commands begin in `directory`, that of the policy file.
pub async fn ask(sources: &[Source], directory: &Path, now: Timestamp) -> References {
    let mut references = References::default();
    for source in sources {
        match one(source, directory, now).await {
            Ok(found) => references.sources.push((Arc::from(source.to_string()), found)),
            Err(error) => references.failures.push(format!("{source}: {error}")),
        }
    }
    references
}

async fn one(source: &Source, directory: &Path, now: Timestamp) -> Result<Vec<Reference>, SourceError> {
    let text = match &source.what {
        SourceKind::File { path, max_age } => file::read(&directory.join(&**path), *max_age, now)?,
        SourceKind::Command { words, timeout, .. } => command::run(words, directory, *timeout).await?,
    };
    let references = read_references(&text)?;
    if references.is_empty() && !source.may_be_empty {
        return Err(SourceError::Empty);
    }
    Ok(references)
}
