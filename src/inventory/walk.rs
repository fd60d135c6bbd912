//! Walking a registry in a directory with many threads: names first, and no more than names where names are enough.

use std::sync::Mutex;

use super::Depth;
use super::batch::{Batch, Record, denied};
use super::record::Recorder;
use super::scan::join;
use crate::layout::{Directory, RegistryLayout, distribution};
use crate::store::{Kind, LocalNear, LocalTree, NameList, Progress, StoreError};

/// Walks the registry below `tree`, or everything there is, on the threads of the current pool.
///
/// # Errors
/// When a directory that was listed cannot be read, or is gone.
pub(super) fn walk(
    tree: &LocalTree,
    layout: &dyn RegistryLayout,
    depth: Depth,
    progress: &Progress,
) -> Result<Recorder, StoreError> {
    let scanner = Scanner {
        tree,
        layout,
        depth,
        progress,
        starts: ["", distribution::blobs_root(), distribution::repositories_root()],
        recorder: Mutex::new(Recorder::default()),
        failure: Mutex::new(None),
    };
    // Candidates are listed before roots are read. A blob that is listed here and gains a reference later is seen as
    // referenced; in the other order a blob pushed in between would be listed with its reference unseen.
    progress.begin(if depth == Depth::Names { "listing blobs" } else { "listing" }, None);
    scanner.walk(match depth {
        Depth::Names => distribution::blobs_root(),
        Depth::Everything => "",
    })?;
    if depth == Depth::Names {
        progress.begin("listing repositories", None);
        scanner.walk(distribution::repositories_root())?;
    }
    Ok(scanner.recorder.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

struct Scanner<'s> {
    tree: &'s LocalTree,
    layout: &'s dyn RegistryLayout,
    depth: Depth,
    progress: &'s Progress,
    /// Where a walk starts: these need not exist.
    starts: [&'static str; 3],
    recorder: Mutex<Recorder>,
    failure: Mutex<Option<StoreError>>,
}

/// Leaves of one directory that are read by one task.
const LEAVES: usize = 128;

impl<'s> Scanner<'s> {
    fn walk(&self, key: &str) -> Result<(), StoreError> {
        rayon::scope(|scope| self.descend(scope, key));
        match self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn descend<'a>(&'a self, scope: &rayon::Scope<'a>, key: &str)
    where
        's: 'a,
    {
        let visited = match self.depth {
            Depth::Names => self.visit_names(scope, key),
            Depth::Everything => self.visit_everything(scope, key),
        };
        if let Err(error) = visited {
            self.fail(error);
        }
    }

    fn fail(&self, error: StoreError) {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
    }

    /// Whether another task failed, or somebody asked to stop: the result is lost, so the rest need not be read.
    fn gave_up(&self) -> bool {
        if let Err(stopped) = self.progress.go_on() {
            self.fail(stopped);
        }
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_some()
    }

    fn visit_names<'a>(&'a self, scope: &rayon::Scope<'a>, key: &str) -> Result<(), StoreError>
    where
        's: 'a,
    {
        if self.gave_up() {
            return Ok(());
        }
        let Some(list) = self.open(key)? else { return Ok(()) };
        let mut batch = Batch::default();
        for (name, kind) in list.names {
            let child = join(key, &name);
            match kind {
                Kind::Directory => match self.layout.classify_directory(&child) {
                    Directory::Open => {
                        batch.part(&child);
                        scope.spawn(move |scope| self.descend(scope, &child));
                    }
                    Directory::Upload { repository, upload } => {
                        batch
                            .records
                            .push(Record::Upload { repository: repository.into(), id: upload.into() });
                        self.visit_leaf(&self.tree.near(&child), &child, &mut batch)?;
                    }
                    leaf => batch.directory(leaf, &child),
                },
                kind => self.visit_object(&child, kind, &mut batch)?,
            }
        }
        batch.not_utf8(key, &list.foreign);
        self.record(batch);
        Ok(())
    }

    fn visit_everything<'a>(&'a self, scope: &rayon::Scope<'a>, key: &str) -> Result<(), StoreError>
    where
        's: 'a,
    {
        if self.gave_up() {
            return Ok(());
        }
        let Some(list) = self.open(key)? else { return Ok(()) };
        let mut batch = Batch::default();
        let mut leaves = Vec::new();
        for (name, kind) in list.names {
            let child = join(key, &name);
            match kind {
                Kind::Directory => match self.layout.classify_directory(&child) {
                    Directory::Open | Directory::OwnState | Directory::Foreign(_) => {
                        batch.part(&child);
                        scope.spawn(move |scope| self.descend(scope, &child));
                    }
                    leaf => {
                        batch.leaf_seen(leaf, &child);
                        leaves.push(child);
                    }
                },
                kind => self.visit_object(&child, kind, &mut batch)?,
            }
        }
        batch.not_utf8(key, &list.foreign);
        self.record(batch);
        let mut leaves = leaves.into_iter();
        loop {
            let chunk: Vec<String> = leaves.by_ref().take(LEAVES).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            let parent = key.to_owned();
            scope.spawn(move |_| {
                let mut batch = Batch::default();
                let read = {
                    let near = self.tree.near(&parent);
                    chunk.iter().try_for_each(|leaf| self.visit_leaf(&near, leaf, &mut batch))
                };
                match read {
                    Ok(()) => self.record(batch),
                    Err(error) => self.fail(error),
                }
            });
        }
    }

    /// A file with its size and times, or what no registry makes.
    fn visit_object(&self, key: &str, kind: Kind, batch: &mut Batch) -> Result<(), StoreError> {
        if kind != Kind::File {
            batch.stranger(key, kind);
        } else if let Some(meta) = self.tree.stat(key)? {
            batch.file(self.layout, key, meta);
        }
        Ok(())
    }

    /// The names in a directory that its parent has just listed. One that may not be read hides what it holds, so it
    /// pins every blob; one that is gone by now may have been moved to where nobody looks any more.
    fn open(&self, key: &str) -> Result<Option<NameList>, StoreError> {
        match self.tree.list(key) {
            Ok(Some(list)) => Ok(Some(list)),
            Ok(None) if self.starts.contains(&key) => Ok(None),
            Ok(None) => Err(StoreError::Vanished { key: key.to_owned() }),
            Err(error) if error.is_denied() => {
                self.record(Batch { records: vec![denied(key)] });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a leaf of the layout whole, with sizes and times: few files, seldom nested.
    fn visit_leaf(&self, near: &LocalNear<'_>, key: &str, batch: &mut Batch) -> Result<(), StoreError> {
        let found = match near.list_with_meta(key) {
            Ok(found) => found.unwrap_or_default(),
            Err(error) if error.is_denied() => {
                batch.records.push(denied(key));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for (name, meta) in found {
            let child = join(key, &name);
            match meta.kind {
                Kind::Directory => self.visit_leaf(near, &child, batch)?,
                Kind::File => batch.file(self.layout, &child, meta),
                other => batch.stranger(&child, other),
            }
        }
        Ok(())
    }

    fn record(&self, batch: Batch) {
        self.progress.add(batch.records.len());
        self.recorder.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(batch);
    }
}
