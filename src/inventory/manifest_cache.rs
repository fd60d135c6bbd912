//! What manifests say, remembered by digest, so that none is read twice.
//!
//! What a digest stands for never changes, so nothing in here is ever stale. It is a `redb` file (a tree of pages with
//! checksums, whose last whole transaction is what counts): a write that was torn leaves the one before, and a second
//! process that comes while the file is in use does without it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use rustc_hash::FxHashSet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::oci::{Created, Digest, Manifest};

/// The format's version and the reader's: to be raised whenever a manifest may be read differently than before.
const VERSION: u32 = 1;

type Table<'t> = TableDefinition<'t, &'static [u8], &'static [u8]>;

/// By the 32 or 64 bytes of a digest, what was read, written by `postcard`.
const TABLE: Table<'_> = TableDefinition::new("manifests");

/// By the bytes of a config's digest, when it says that its image was created, written by `postcard`.
const CREATED: Table<'_> = TableDefinition::new("created");

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
        self.recall_all(TABLE, digests)
    }

    /// What is remembered of each config. A cache that cannot be read remembers nothing.
    pub(super) fn recall_created(&self, digests: &[Digest]) -> Vec<Option<Created>> {
        let recalled: Vec<Option<Option<Timestamp>>> = self.recall_all(CREATED, digests);
        recalled.into_iter().map(|known| known.map(|at| at.map_or(Created::Unstated, Created::At))).collect()
    }

    fn recall_all<T: DeserializeOwned + Clone>(
        &self,
        table: Table<'_>,
        digests: &[Digest],
    ) -> Vec<Option<T>> {
        let mut recalled = self.recall_from(table, digests).unwrap_or_else(|error| {
            tracing::warn!(%error, "the manifest cache could not be read");
            Vec::new()
        });
        recalled.resize(digests.len(), None);
        recalled
    }

    fn recall_from<T: DeserializeOwned>(
        &self,
        table: Table<'_>,
        digests: &[Digest],
    ) -> Result<Vec<Option<T>>, redb::Error> {
        let table = match self.database.begin_read()?.open_table(table) {
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
        self.remember_all(TABLE, read);
    }

    /// Remembers what configs say; one that could not be read is asked again.
    pub(super) fn remember_created(&self, read: &[(Digest, Created)]) {
        let said = |created: Created| match created {
            Created::Unstated => Some(None),
            Created::At(at) => Some(Some(at)),
            Created::Unreadable => None,
        };
        let said = read.iter().filter_map(|(digest, created)| Some((*digest, said(*created)?)));
        self.remember_all(CREATED, &said.collect::<Vec<_>>());
    }

    fn remember_all<T: Serialize>(&self, table: Table<'_>, read: &[(Digest, T)]) {
        if let Err(error) = self.try_remember(table, read) {
            tracing::warn!(%error, "the manifest cache could not be written");
        }
    }

    fn try_remember<T: Serialize>(&self, table: Table<'_>, read: &[(Digest, T)]) -> Result<(), redb::Error> {
        if read.is_empty() {
            return Ok(());
        }
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(table)?;
            for (digest, remembered) in read {
                if let Ok(bytes) = postcard::to_stdvec(remembered) {
                    table.insert(key(digest), bytes.as_slice())?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// Forgets manifests that are not among `used`, when there are more than may be kept.
    pub(super) fn trim(&self, used: impl Iterator<Item = Digest>) {
        self.trim_all(TABLE, used);
    }

    /// Forgets configs that are not among `used`, when there are more than may be kept.
    pub(super) fn trim_created(&self, used: impl Iterator<Item = Digest>) {
        self.trim_all(CREATED, used);
    }

    fn trim_all(&self, table: Table<'_>, used: impl Iterator<Item = Digest>) {
        if let Err(error) = self.try_trim(table, used) {
            tracing::warn!(%error, "the manifest cache could not be trimmed");
        }
    }

    fn try_trim(&self, table: Table<'_>, used: impl Iterator<Item = Digest>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(table)?;
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
    fn what_configs_say_is_remembered_beside_the_manifests() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|text| Digest::of(text.as_bytes()));
        let at = Created::At(Timestamp::new(1_700_000_000, 15).unwrap());
        let cache = ManifestCache::open(directory.path()).unwrap();
        cache.remember(&some());
        cache.remember_created(&[(a, at), (b, Created::Unstated), (c, Created::Unreadable)]);
        drop(cache);
        let mut cache = ManifestCache::open(directory.path()).unwrap();
        let known = [Some(at), Some(Created::Unstated), None];
        assert_eq!(cache.recall_created(&[a, b, c]), known, "what could not be read is asked again");
        assert!(cache.recall(&[some()[0].0])[0].is_some());
        cache.most = 1;
        cache.trim_created([b].into_iter());
        assert_eq!(cache.recall_created(&[a, b]), [None, Some(Created::Unstated)]);
        assert!(cache.recall(&[some()[0].0])[0].is_some(), "manifests are counted apart");
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
