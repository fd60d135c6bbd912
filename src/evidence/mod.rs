//! What a repository manager's database says: which blobs it knows.
//!
//! A blob store alone does not tell which of its blobs are in use: records outlive what they were about, and of several
//! that say the same only the database knows the current one. The evidence comes from an export of the database or from
//! the REST interface, and it is only ever used to keep: what it does not know may go, if it is old enough that the
//! database would know it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use rustc_hash::FxHashSet;

use crate::layout::nexus::Uuid;
use crate::oci::Digest;

mod export;
pub mod managed;
mod rest;
mod row;

pub(crate) use rest::{Answer, Unanswered};
pub use rest::{Credentials, Rest};

use managed::Managed;

use row::Row;

/// Where evidence comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file: an export of the database, or a saved asset listing. It tells of the moment at which it was last written.
    File(PathBuf),
    /// The REST interface, which is asked when the store has been listed.
    Rest(Rest),
}

/// What is asked beside the store.
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// Where the database is asked.
    pub sources: Vec<Source>,
    /// Docker repositories, beside those that the database tells of. Without a database all others are of no interest; with
    /// neither, every name that is a Docker asset's is taken for one.
    pub repositories: Vec<String>,
    /// Whether the repository manager is to delete what a policy lets go, through its REST interface.
    pub manages: bool,
}

impl Database {
    /// The interface that deletes, where one is to.
    pub fn manager(&self) -> Option<&Rest> {
        let rest = self.sources.iter().find_map(|source| match source {
            Source::Rest(rest) => Some(rest),
            Source::File(_) => None,
        });
        rest.filter(|_| self.manages)
    }
}

/// Why there is no evidence. With none that is whole, nothing goes.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A file cannot be read.
    #[error("the evidence {file} cannot be read")]
    Read {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what was expected.
    #[error("the evidence {file}, {place}: {why}")]
    Format {
        /// The file or the address.
        file: String,
        /// The line or the item.
        place: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// It tells of another time.
    #[error("the evidence {file} {why}")]
    Time {
        /// The file.
        file: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// It tells of nothing, and that is no reason to think that nothing is in use.
    #[error(
        "the evidence {0} does not know a single blob: a database that knows none is taken for a mistake"
    )]
    Empty(String),
    /// The REST interface did not give an answer.
    #[error("the repository manager at {url} does not answer as it should: {why}")]
    Rest {
        /// The address, without credentials.
        url: String,
        /// What is wrong, and what to do.
        why: String,
    },
}

/// What a database knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The moment that it tells of, or an earlier one: the oldest source's.
    pub taken: Timestamp,
    /// Blobs that it names.
    pub blobs: FxHashSet<Uuid>,
    /// Repository and path, and digests, of assets whose blob it does not name: any blob of that name or content may be
    /// meant.
    names: FxHashSet<(Box<str>, Box<str>)>,
    digests: FxHashSet<Digest>,
    /// Docker repositories that it tells of.
    pub repositories: BTreeSet<String>,
    /// Of these, the ones that only keep copies of what another registry has.
    pub proxies: BTreeSet<String>,
    /// Blobs that the index of deleted blobs has, where that was exported too.
    pub deleted: Option<FxHashSet<Uuid>>,
    /// What the REST interface lists, where it is to delete.
    pub managed: Option<Managed>,
}

impl Evidence {
    /// Gathers evidence from every source. `now` is after the listing of the store, and nothing older than `oldest` is
    /// taken for true.
    ///
    /// # Errors
    /// When any of it cannot be had whole.
    pub async fn gather(
        database: &Database,
        now: Timestamp,
        oldest: Timestamp,
    ) -> Result<Option<Self>, EvidenceError> {
        let sources = &database.sources;
        if sources.is_empty() {
            return Ok(None);
        }
        let managed = database.manager().map(|_| Managed::default());
        let mut evidence = Self { taken: now, managed, ..Self::default() };
        let mut rows = 0;
        for source in sources {
            let found = match source {
                Source::File(path) => {
                    let (found, written) = export::read(path)?;
                    let file = path.display().to_string();
                    // Validation: what was true long ago says nothing of now, and no file is from the future.
                    if written < oldest {
                        let why = format!("was written {written}, which is too long ago: export it again");
                        return Err(EvidenceError::Time { file, why });
                    }
                    if written > now {
                        let why = "was written in the future: set the clocks right".into();
                        return Err(EvidenceError::Time { file, why });
                    }
                    evidence.taken = evidence.taken.min(written);
                    found
                }
                Source::Rest(rest) => rest.assets(evidence.managed.as_mut()).await?,
            };
            rows += found.iter().filter(|row| !matches!(row, Row::Deleted(_))).count();
            for row in found {
                evidence.add(row);
            }
        }
        if rows == 0 {
            let named: Vec<String> = sources.iter().map(Source::name).collect();
            return Err(EvidenceError::Empty(named.join(", ")));
        }
        Ok(Some(evidence))
    }

    fn add(&mut self, row: Row) {
        match row {
            Row::Deleted(id) => {
                self.deleted.get_or_insert_default().extend(id);
            }
            Row::Asset { blob, repository, path, digest, proxy } => {
                if let Some(repository) = &repository {
                    self.repositories.insert(repository.clone());
                    if proxy {
                        self.proxies.insert(repository.clone());
                    }
                }
                if let Some(id) = blob {
                    self.blobs.insert(id);
                    return;
                }
                if let (Some(repository), Some(path)) = (repository, path) {
                    self.names.insert((repository.into(), without_slash(&path).into()));
                }
                self.digests.extend(digest);
            }
        }
    }

    /// Whether the database may know this blob.
    pub fn knows(&self, id: Uuid, repository: &str, name: &str, digest: Option<&Digest>) -> bool {
        self.blobs.contains(&id)
            || digest.is_some_and(|digest| self.digests.contains(digest))
            || (!self.names.is_empty()
                && self.names.contains(&(repository.into(), without_slash(name).into())))
    }

    /// Whether every asset names its blob: then a blob that is not named is not known, whatever it is called.
    pub fn names_every_blob(&self) -> bool {
        self.names.is_empty() && self.digests.is_empty()
    }
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Rest(rest) => rest.url().to_owned(),
        }
    }
}

/// Names of the two eras of the database differ in their first slash.
fn without_slash(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}
