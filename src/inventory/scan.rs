//! The only reader at scale: lists names, then reads what names cannot tell.

use jiff::Timestamp;

use super::manifest_cache::ManifestCache;
use super::{Depth, Inventory, assets, links, listing, read, walk};
use crate::layout::{DISTRIBUTION_ROOT, Distribution, Nexus, RegistryLayout, distribution};
use crate::store::threads::Threads;
use crate::store::{Kind, LocalTree, Meta, ReadStore, StoreError, Tree};

/// Why a store could not be listed whole. Nothing is decided on a listing with a hole.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// There is no registry at this place.
    #[error("{0}")]
    NoRegistry(String),
    /// There is nothing at this place: a registry makes what is its own with the first push.
    #[error("{0}")]
    Nothing(String),
    /// A listing or a read failed.
    #[error("the listing is not complete, so nothing was decided")]
    Incomplete(#[from] StoreError),
    /// The worker threads could not be started.
    #[error("cannot start {0} worker threads; try a smaller --concurrency")]
    Threads(usize),
}

impl ScanError {
    /// Whether it says that no registry is there, rather than that nobody knows.
    fn is_absence(&self) -> bool {
        matches!(self, Self::NoRegistry(_) | Self::Nothing(_))
    }
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
pub fn scan(
    store: &ReadStore,
    layout: &dyn RegistryLayout,
    options: Options,
    cache: Option<&ManifestCache>,
) -> Result<Inventory, ScanError> {
    match detect_links(store) {
        Err(error) if error.is_absence() && is_emptied(store)? => {}
        detected => detected?,
    }
    let threads = options.concurrency.max(1);
    let pool = Threads::new(threads).map_err(|_| ScanError::Threads(threads))?;
    pool.install(|| {
        let (tree, progress) = (store.tree(), store.progress());
        let (mut recorder, depth) = match tree {
            Tree::Directory(directory) => {
                (walk::walk(directory, layout, options.depth, progress)?, options.depth)
            }
            Tree::Bucket(bucket) => (listing::list(bucket, layout, progress)?, Depth::Everything),
        };
        recorder.sort();
        let mut inventory = recorder.into_inventory(Options { depth, ..options });
        inventory.pull_through_cache |= tree.stat("scheduler-state.json")?.is_some();
        if let Tree::Bucket(bucket) = tree {
            inventory.beside = Some(listing::beside(bucket, options.depth == Depth::Everything));
        }
        progress.go_on()?;
        progress.begin("reading tags", None);
        links::tags(tree, layout, &mut inventory)?;
        links::aliases(tree, layout, &mut inventory)?;
        if depth == Depth::Names {
            links::revision_links(tree, layout, &mut inventory)?;
        }
        read::manifests(tree, layout, &mut inventory, cache, progress)?;
        links::signatures(tree, layout, &mut inventory)?;
        Ok(inventory)
    })
}

/// Finds the layout, or says what is there instead.
///
/// # Errors
/// [`ScanError::NoRegistry`] with advice, [`ScanError::Nothing`]; also when the place cannot be read.
pub fn detect(store: &ReadStore) -> Result<&'static dyn RegistryLayout, ScanError> {
    match detect_links(store) {
        Ok(()) => Ok(&Distribution),
        Err(error) if error.is_absence() && assets::detect(store)? => Ok(&Nexus),
        Err(error) if error.is_absence() && is_emptied(store)? => Ok(&Distribution),
        Err(error) => Err(error),
    }
}

/// Whether a registry was here that a run has taken as a whole. A directory keeps its shape.
fn is_emptied(store: &ReadStore) -> Result<bool, ScanError> {
    match store.tree() {
        Tree::Directory(_) => Ok(false),
        Tree::Bucket(bucket) => Ok(listing::has_state(bucket)?),
    }
}

fn detect_links(store: &ReadStore) -> Result<(), ScanError> {
    let tree = match store.tree() {
        Tree::Directory(tree) => tree,
        Tree::Bucket(bucket) => return listing::detect(bucket, &store.identity().url),
    };
    let root = DISTRIBUTION_ROOT;
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
    let missing =
        format!("no registry at {place}: there is no {root}/repositories and no {root}/blobs below it.");
    if is_bare(tree, "")? {
        return Err(ScanError::Nothing(format!(
            "{missing} Nothing is there: a registry makes them with its first push. Is it the directory that the registry's \
             configuration calls rootdirectory, and mounted?"
        )));
    }
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
    if tree.stat("vol-01")?.is_some() || tree.stat("chap-01")?.is_some() {
        advice =
            " It looks like a part of a Nexus blob store: name the directory that holds metadata.properties."
                .into();
    }
    Err(ScanError::NoRegistry(format!(
        "{missing}{advice} Name the directory that the registry's configuration calls rootdirectory."
    )))
}

/// Whether a directory holds nothing but empty ones: what a disk that has just been made, or a registry that was started and
/// never pushed to, has.
fn is_bare(tree: &LocalTree, key: &str) -> Result<bool, StoreError> {
    /// What a file system makes at its root.
    const OF_THE_DISK: &str = "lost+found";
    let list = tree.list(key)?.unwrap_or_default();
    if !list.foreign.is_empty() {
        return Ok(false);
    }
    for (name, kind) in &list.names {
        let way = DISTRIBUTION_ROOT.strip_prefix(join(key, name).as_str());
        let on_the_way = way.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let bare = match *kind {
            Kind::Directory if key.is_empty() && &**name == OF_THE_DISK => true,
            Kind::Directory if on_the_way => is_bare(tree, &join(key, name))?,
            _ => false,
        };
        if !bare {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { [parent, "/", name].concat() }
}
