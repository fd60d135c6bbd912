//! The only reader at scale: lists names, then reads what names cannot tell.

use std::sync::Mutex;

use jiff::Timestamp;

use super::record::{Batch, Record, Recorder, denied};
use super::{Depth, Inventory, links, read};
use crate::layout::{Directory, RegistryLayout, distribution};
use crate::store::{Kind, LocalTree, Meta, NameList, Near, StoreError};

/// Why a store could not be listed whole. Nothing is decided on a listing with a hole.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// There is no registry at this place.
    #[error("{0}")]
    NoRegistry(String),
    /// A listing or a read failed.
    #[error("the listing is not complete, so nothing was decided")]
    Incomplete(#[from] StoreError),
    /// The worker threads could not be started.
    #[error("cannot start {0} worker threads; try a smaller --concurrency")]
    Threads(usize),
}

/// How to scan.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What to ask for.
    pub depth: Depth,
    /// Threads that read at once.
    pub concurrency: usize,
    /// When the scan begins.
    pub now: Timestamp,
}

/// Lists the store and reads its tags and manifests.
///
/// # Errors
/// [`ScanError`]; what is there but not understood is a gap in the result instead.
pub fn scan(tree: &LocalTree, layout: &dyn RegistryLayout, options: Options) -> Result<Inventory, ScanError> {
    detect(tree)?;
    let threads = options.concurrency.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|_| ScanError::Threads(threads))?;
    let scanner = Scanner {
        tree,
        layout,
        depth: options.depth,
        starts: ["", distribution::blobs_root(), distribution::repositories_root()],
        recorder: Mutex::new(Recorder::default()),
        failure: Mutex::new(None),
    };
    pool.install(|| {
        // Candidates are listed before roots are read. A blob that is listed here and gains a reference later is seen as
        // referenced; in the other order a blob pushed in between would be listed with its reference unseen.
        scanner.walk(match options.depth {
            Depth::Names => distribution::blobs_root(),
            Depth::Everything => "",
        })?;
        if options.depth == Depth::Names {
            scanner.walk(distribution::repositories_root())?;
        }
        let mut recorder = scanner.recorder.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        recorder.sort();
        let mut inventory = recorder.into_inventory(options);
        inventory.pull_through_cache |= tree.stat("scheduler-state.json")?.is_some();
        links::tags(tree, layout, &mut inventory)?;
        links::aliases(tree, layout, &mut inventory)?;
        if options.depth == Depth::Names {
            links::revision_links(tree, layout, &mut inventory)?;
        }
        read::manifests(tree, layout, &mut inventory)?;
        links::signatures(tree, layout, &mut inventory)?;
        Ok(inventory)
    })
}

/// Finds the layout, or says what is there instead.
///
/// # Errors
/// [`ScanError::NoRegistry`] with advice; also when the place cannot be read.
pub fn detect(tree: &LocalTree) -> Result<(), ScanError> {
    let root = crate::layout::DISTRIBUTION_ROOT;
    for key in
        ["docker", "docker/registry", root, distribution::blobs_root(), distribution::repositories_root()]
    {
        if tree.stat(key)?.is_some_and(|meta| meta.kind == Kind::Symlink) {
            return Err(ScanError::NoRegistry(format!(
                "{}/{key} is a symbolic link, and links are not followed: put a bind mount in its place, or name the \
                 directory that holds the whole registry",
                tree.path().display()
            )));
        }
    }
    let repositories = tree.stat(distribution::repositories_root())?;
    let blobs = tree.stat(distribution::blobs_root())?;
    let directory = |meta: Option<Meta>| meta.is_some_and(|meta| meta.kind == Kind::Directory);
    if directory(repositories) || directory(blobs) {
        return Ok(());
    }
    let place = tree.path().display();
    let mut advice = String::new();
    for (key, what) in [
        ("registry/v2", "the directory above is the root"),
        ("blobs/sha256", "three directories above is the root"),
        ("repositories", "three directories above is the root"),
        ("v2/repositories", "two directories above is the root"),
    ] {
        if tree.stat(key)?.is_some() {
            advice = format!(" It holds {key}: {what}.");
        }
    }
    if tree.stat("vol-01")?.is_some() || tree.stat("content/vol-01")?.is_some() {
        advice = " It looks like a Nexus blob store, which this version does not read.".into();
    }
    Err(ScanError::NoRegistry(format!(
        "no registry at {place}: there is no {root}/repositories and no {root}/blobs below it.{advice} \
         Name the directory that the registry's configuration calls rootdirectory."
    )))
}

struct Scanner<'s> {
    tree: &'s LocalTree,
    layout: &'s dyn RegistryLayout,
    depth: Depth,
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

    /// Whether another task failed: the result is lost, so the rest need not be read.
    fn gave_up(&self) -> bool {
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
                Kind::File => {
                    if let Some(meta) = self.tree.stat(&child)? {
                        batch.file(self.layout, &child, meta);
                    }
                }
                Kind::Symlink | Kind::Other => batch.stranger(&child, kind),
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
                Kind::File => {
                    if let Some(meta) = self.tree.stat(&child)? {
                        batch.file(self.layout, &child, meta);
                    }
                }
                Kind::Symlink | Kind::Other => batch.stranger(&child, kind),
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
    fn visit_leaf(&self, near: &Near<'_>, key: &str, batch: &mut Batch) -> Result<(), StoreError> {
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
        self.recorder.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(batch);
    }
}

pub(super) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { [parent, "/", name].concat() }
}
