//! Reading a store that keeps a record beside every blob, as Nexus does.
//!
//! Candidates are listed before the database is asked: a blob that is listed here and gains a row later is seen as known;
//! in the other order a blob that is made in between would be listed, and its row not seen.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::scan::{Options, ScanError};
use super::{BlobId, Inventory, LooseFile, Tally};
use crate::evidence::managed::Managed;
use crate::evidence::{Database, Evidence, EvidenceError};
use crate::layout::RegistryLayout;
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::ReadStore;
use crate::store::threads::Threads;

mod build;
mod decide;
mod detect;
mod list;

pub use detect::detect;

/// What one blob of such a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A blob of a Docker repository: what refers to its digest decides.
    Image,
    /// The database does not know it.
    Unknown,
    /// Content without a record: nobody can open it.
    BytesOnly,
    /// Flagged as deleted.
    Deleted,
    /// Flagged as deleted, and the index of deleted blobs does not have it: no task will ever remove it.
    DeletedUnindexed,
    /// A record without content.
    Ghost,
    /// Its record cannot be read, or says another size than the content has.
    Damaged,
    /// A temporary blob at a blob's place, or one with a place of its own.
    Reserved,
    /// Of another format, or of a repository that is not asked about.
    Other,
}

/// What a blob is of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serves {
    /// A manifest, under the name of a tag.
    Tag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: TagName,
    },
    /// A manifest, under its digest.
    Manifest {
        /// The repository.
        repository: RepositoryName,
    },
    /// A layer or a configuration.
    Blob,
}

/// The two files of a blob, as they were listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The record.
    pub record: LooseFile,
    /// The content.
    pub content: LooseFile,
}

/// A blob of an image that a policy may be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it is of it.
    pub serves: Serves,
    /// Its files.
    pub files: Recorded,
}

/// One blob of such a store.
#[derive(Debug, Clone)]
pub struct Asset {
    /// What it is.
    pub standing: Standing,
    /// Its digest, where its name or content tells it.
    pub digest: Option<BlobId>,
    /// How many files it has.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, the bytes that another name leads to as well: they are not freed when it goes.
    pub shared: u64,
    /// The latest sign of change; `None` when it is not known.
    pub changed: Option<Timestamp>,
    /// Its files, the record first, where the database says that it may go. Empty for all others.
    pub files: Vec<LooseFile>,
    /// What it is of an image, where somebody asked what a policy may take.
    pub piece: Option<Piece>,
}

/// What such a store holds.
#[derive(Debug, Default)]
pub struct Assets {
    /// Its blobs.
    pub list: Vec<Asset>,
    /// Copies of records, whose blob was deleted elsewhere in the store.
    pub copies: Tally,
    /// Uploads, blobs about to be put in place, records being replaced, and what is left of such.
    pub staged: Tally,
    /// What the repository manager writes down for itself.
    pub bookkeeping: Tally,
    /// Repositories that only keep copies of what another registry has: what is missing in them was never asked for.
    pub proxied: BTreeSet<RepositoryName>,
    /// Whether a database was asked.
    pub evidence: bool,
    /// Whether it is known which repositories hold images: by a database, or because they were named.
    pub scoped: bool,
    /// What manifests refer to that are of no repository that is looked at.
    pub outside: BTreeSet<Digest>,
    /// What the repository manager lists, where it is to delete what goes.
    pub managed: Option<Managed>,
}

/// Why such a store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AssetsError {
    /// It could not be listed.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The database could not be asked.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// What is asked beside the store.
#[derive(Debug, Clone, Copy)]
pub struct Questions<'q> {
    /// Where the database is asked, and which repositories are looked at.
    pub database: &'q Database,
    /// Evidence that is older than this is refused.
    pub oldest: Timestamp,
    /// What changed within so long before the evidence was taken may not have been in it yet.
    pub grace: jiff::SignedDuration,
    /// Whether a policy may take what the database knows.
    pub by_policy: bool,
}

/// Lists the store, reads its records and manifests, and asks the database. `clock` tells when the listing has ended.
///
/// # Errors
/// When any of it cannot be had whole. What is there and not understood is a gap in the result instead.
pub async fn scan(
    store: &ReadStore,
    layout: &dyn RegistryLayout,
    options: Options,
    questions: Questions<'_>,
    clock: &dyn crate::clock::Clock,
) -> Result<Inventory, AssetsError> {
    let threads = options.concurrency.max(1);
    let pool = Threads::new(threads).map_err(|_| ScanError::Threads(threads))?;
    let mut drafts = tokio::task::block_in_place(|| {
        pool.install(|| {
            let mut listing = list::list(store.tree(), layout, store.progress())?;
            decide::recheck(store.tree(), layout, &mut listing)?;
            list::read_indexes(store.tree(), &mut listing)?;
            let mut drafts = decide::decide(listing);
            build::read_manifests(store.tree(), &mut drafts.list, store.progress())?;
            Ok::<_, ScanError>(drafts)
        })
    })?;
    store.progress().begin("asking the database", None);
    let evidence = Evidence::gather(questions.database, clock.now(), questions.oldest).await?;
    decide::ask(&mut drafts, evidence.as_ref(), &questions);
    Ok(build::build(drafts, evidence.as_ref(), &questions, options))
}
