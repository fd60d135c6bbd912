//! What manifests say, remembered by digest, so that none is read twice.
//!
//! What a digest stands for never changes, so nothing in here is ever stale. It is a `redb` file (a tree of pages with
//! checksums, whose last whole transaction is what counts): a write that was torn leaves the one before, and a second
//! process that comes while the file is in use does without it.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Manifest};

/// The format's version and the reader's: to be raised whenever a manifest may be read differently than before.
const VERSION: u32 = 1;

/// By the 32 or 64 bytes of a digest, what was read, written by `postcard`.
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("manifests");

/// More are not kept: at about 600 bytes each, 1.2 GiB.
const MOST: u64 = 2_000_000;

/// What is remembered of one digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// Size of the content in bytes.
    pub(super) size: u64,
    /// What it says, or why it is no manifest.
    pub(super) said: Result<Manifest, String>,
}

/// Manifests that were read before.
#[derive(Debug)]
pub struct ManifestCache {
    database: Database,
    most: u64,
}

impl ManifestCache {
    /// Opens the cache in `directory`, which is made when it is missing.
    ///
    /// # Errors
    /// Why there is no cache, in one line: it is in use, not to be read or written, or no such file. That costs requests
    /// and nothing else.
    pub fn open(directory: &Path) -> Result<Self, String> {
        let file = Self::file(directory);
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        std::fs::create_dir_all(directory).map_err(|error| told(&error))?;
        let database = Database::create(&file).map_err(|error| told(&error))?;
        Ok(Self { database, most: MOST })
    }

    /// The file in `directory`.
    fn file(directory: &Path) -> PathBuf {
        directory.join(format!("manifests-{VERSION}.redb"))
    }

    /// What is remembered of each digest. A cache that cannot be read remembers nothing.
    pub(super) fn recall(&self, digests: &[Digest]) -> Vec<Option<Remembered>> {
        let recalled = self.try_recall(digests).unwrap_or_else(|error| {
            tracing::warn!(%error, "the manifest cache could not be read");
            Vec::new()
        });
        let mut recalled = recalled;
        recalled.resize(digests.len(), None);
        recalled
    }

    fn try_recall(&self, digests: &[Digest]) -> Result<Vec<Option<Remembered>>, redb::Error> {
        let table = match self.database.begin_read()?.open_table(TABLE) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let one = |digest: &Digest| {
            let found = table.get(key(digest))?;
            // What does not read back is read anew from the store.
            Ok(found.and_then(|found| postcard::from_bytes(found.value()).ok()))
        };
        digests.iter().map(one).collect()
    }

    /// Remembers what was read. One that cannot be written to forgets, and says so.
    pub(super) fn remember(&self, read: &[(Digest, Remembered)]) {
        if let Err(error) = self.try_remember(read) {
            tracing::warn!(%error, "the manifest cache could not be written");
        }
    }

    fn try_remember(&self, read: &[(Digest, Remembered)]) -> Result<(), redb::Error> {
        if read.is_empty() {
            return Ok(());
        }
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (digest, remembered) in read {
                if let Ok(bytes) = postcard::to_stdvec(remembered) {
                    table.insert(key(digest), bytes.as_slice())?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// Forgets what is not among `used`, when there is more than may be kept.
    pub(super) fn trim(&self, used: impl Iterator<Item = Digest>) {
        if let Err(error) = self.try_trim(used) {
            tracing::warn!(%error, "the manifest cache could not be trimmed");
        }
    }

    fn try_trim(&self, used: impl Iterator<Item = Digest>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            if table.len()? <= self.most {
                return Ok(());
            }
            let used: FxHashSet<Digest> = used.collect();
            let used: FxHashSet<&[u8]> = used.iter().map(key).collect();
            table.retain(|digest, _| used.contains(digest))?;
        }
        Ok(transaction.commit()?)
    }
}

fn key(digest: &Digest) -> &[u8] {
    match digest {
        Digest::Sha256(bytes) => bytes,
        Digest::Sha512(bytes) => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(body: &str) -> (Digest, Remembered) {
        let said = crate::oci::manifest::read(body.as_bytes()).map_err(|error| error.to_string());
        (Digest::of(body.as_bytes()), Remembered { size: body.len() as u64, said })
    }

    fn some() -> Vec<(Digest, Remembered)> {
        let layer = Digest::of(b"layer");
        let image = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[{{"digest":"{layer}","size":5}}],"subject":{{"digest":"{layer}"}}}}"#
        );
        vec![remembered(&image), remembered("no manifest")]
    }

    #[test]
    fn what_was_read_is_remembered_whole_by_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let some = some();
        let digests: Vec<Digest> =
            some.iter().map(|(digest, _)| *digest).chain([Digest::of(b"other")]).collect();
        let cache = ManifestCache::open(directory.path()).unwrap();
        assert_eq!(cache.recall(&digests), [None, None, None]);
        cache.remember(&some);
        drop(cache);
        let cache = ManifestCache::open(directory.path()).unwrap();
        assert_eq!(cache.recall(&digests), [Some(some[0].1.clone()), Some(some[1].1.clone()), None]);
    }

    #[test]
    fn a_second_process_does_without_the_cache_while_it_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let _cache = ManifestCache::open(directory.path()).unwrap();
        assert!(ManifestCache::open(directory.path()).unwrap_err().contains("manifests-1.redb"));
    }

    #[test]
    fn a_file_that_is_no_cache_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = ManifestCache::file(directory.path());
        std::fs::write(&file, b"something else").unwrap();
        assert!(ManifestCache::open(directory.path()).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"something else");
    }

    #[test]
    fn a_write_that_was_torn_leaves_what_was_there_before() {
        let directory = tempfile::tempdir().unwrap();
        let some = some();
        let cache = ManifestCache::open(directory.path()).unwrap();
        cache.remember(&some[..1]);
        // The process dies with a transaction under way: its pages are on disk, its commit is not.
        let transaction = cache.database.begin_write().unwrap();
        transaction.open_table(TABLE).unwrap().insert(key(&some[1].0), b"torn".as_slice()).unwrap();
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(ManifestCache::file(directory.path()), ManifestCache::file(copy.path())).unwrap();
        drop(transaction);
        let digests = [some[0].0, some[1].0];
        let cache = ManifestCache::open(copy.path()).unwrap();
        assert_eq!(cache.recall(&digests), [Some(some[0].1.clone()), None]);
    }

    #[test]
    fn it_never_grows_past_its_bound_with_what_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let some = some();
        let mut cache = ManifestCache::open(directory.path()).unwrap();
        cache.remember(&some);
        let digests = [some[0].0, some[1].0];
        cache.trim([some[0].0].into_iter());
        assert!(cache.recall(&digests)[1].is_some(), "there is room");
        cache.most = 1;
        cache.trim([some[0].0].into_iter());
        assert_eq!(cache.recall(&digests), [Some(some[0].1.clone()), None]);
    }
}
