//! Stage 1: opening a store.
//!
//! A command that must not write is handed a [`ReadStore`], which has no way to put, copy, rename or delete:
//!
//! ```compile_fail
//! # async fn dry_run(store: regsweep::store::ReadStore) {
//! store.put_state("lease/1", Vec::new()).await.unwrap();
//! # }
//! ```
//!
//! Only [`WriteStore`] can change anything, and the only file that uses it to delete is `sweep/trash.rs`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

mod advice;
mod bucket;
mod error;
mod local;
mod location;
mod metered;
mod over;
mod progress;
mod s3;
pub(crate) mod threads;
mod transport;
mod tree;

pub(crate) use advice::layers;
pub use bucket::{Bucket, Copying, Listed, Page, PageRequest};
pub(crate) use bucket::{is_absence, md5_of};
pub use error::StoreError;
pub use local::{Kind, LocalNear, LocalTree, Meta, NameList};
pub use location::{BucketLocation, Location, Provider};
use metered::Metered;
pub use metered::{Meter, Requests};
pub use progress::{Progress, Standing};
pub use s3::{MultipartUpload, Noncurrent, Versioning};
pub(crate) use s3::{PartCopy, S3};
pub use tree::{Near, Tree};

/// Where regsweep keeps what it must remember, below the store's root and outside everything a registry reads.
pub const STATE_DIRECTORY: &str = ".regsweep";

/// The state object that says whose state it is, where that could be in doubt: a store's URL.
const OWNER: &str = "store";

/// Which store a plan was made for. A plan is refused on any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Canonical URL, such as `file:///var/lib/registry`.
    pub url: String,
    /// What tells two stores at the same URL apart: for a directory, the inode of the layout's root.
    pub fingerprint: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

/// How to reach a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Requests at once; `None` for what suits the kind of store.
    pub concurrency: Option<usize>,
    /// Requests in a second at most, to a bucket.
    pub per_second: Option<u32>,
    /// Where to remember what must be remembered, instead of in the store itself. The trash is always in the store.
    pub state: Option<Location>,
    /// How large objects of S3 are copied.
    pub copying: Copying,
}

impl Access {
    /// What suits the kind of store.
    pub const DEFAULT: Self = Self { concurrency: None, per_second: None, state: None, copying: Copying::S3 };

    /// Requests at once. A directory is as fast as its disks and this machine; a bucket answers late and to many at once.
    pub fn concurrency(&self, location: &Location) -> usize {
        self.concurrency.unwrap_or(match location {
            Location::Directory(_) => 16,
            Location::Bucket(_) => bucket::AT_ONCE,
        })
    }
}

/// A store that can be read and nothing else.
#[derive(Debug, Clone)]
pub struct ReadStore {
    tree: Arc<Tree>,
    state: Option<Arc<dyn ObjectStore>>,
    /// What is in the store beside the registry: the state, unless that is elsewhere, and the trash.
    own: Option<Arc<dyn ObjectStore>>,
    /// The state is elsewhere, where that of another store may be by mistake.
    elsewhere: bool,
    identity: Identity,
    meter: Arc<Meter>,
    progress: Arc<Progress>,
    concurrency: usize,
}

impl ReadStore {
    /// Opens the store at `location` for reading. A bucket is not asked for anything yet.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the directory is not there or may not be read, [`StoreError::Settings`] when a bucket's
    /// settings are wrong.
    pub fn open(location: &Location, access: &Access) -> Result<Self, StoreError> {
        let meter = Arc::new(Meter::default());
        let (tree, own, identity) = match location {
            Location::Directory(path) => open_directory(path, &meter)?,
            Location::Bucket(bucket) => {
                let identity = Identity { url: bucket.url(), fingerprint: bucket.place() };
                let bucket = Bucket::open(bucket, meter.clone(), access)?;
                let own = PrefixStore::new(bucket.objects().clone(), bucket.path(STATE_DIRECTORY)?);
                (Tree::Bucket(bucket), Some(Arc::new(own) as Arc<dyn ObjectStore>), identity)
            }
        };
        let state = match &access.state {
            None => own.clone(),
            Some(Location::Directory(path)) if !path.is_dir() => None,
            Some(elsewhere) => Some(open_elsewhere(elsewhere, access, &meter)?),
        };
        Ok(Self {
            tree: Arc::new(tree),
            state,
            own,
            elsewhere: access.state.is_some(),
            identity,
            meter,
            progress: Arc::default(),
            concurrency: access.concurrency(location),
        })
    }

    /// Which store this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The keys behind the store.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How far the command that works on it has come.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Requests at once.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Requests and bytes so far.
    pub fn requests(&self) -> Requests {
        self.meter.read()
    }

    /// The body of a state object and the time the store gave it, or `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::State`] for any answer but absence.
    pub async fn get_state(&self, key: &str) -> Result<Option<(Bytes, Timestamp)>, StoreError> {
        let Some(state) = &self.state else { return Ok(None) };
        let error = |operation| move |answer| StoreError::state(operation, key, answer);
        match state.get(&state_path(key)?).await {
            Ok(result) => {
                let modified = modified(&result.meta);
                Ok(Some((result.bytes().await.map_err(error("read"))?, modified)))
            }
            Err(answer) if is_absence(&answer) => Ok(None),
            Err(answer) => Err(error("read")(answer)),
        }
    }

    /// All keys of the state below `prefix`, in byte order, with size in bytes and the store's time.
    ///
    /// # Errors
    /// [`StoreError::State`] when the listing is not complete.
    pub async fn list_state(&self, prefix: &str) -> Result<Vec<StateObject>, StoreError> {
        Self::list_of(self.state.as_ref(), prefix).await
    }

    /// All keys of the trash, which is in the store wherever the state is, as [`ReadStore::list_state`] gives keys.
    ///
    /// # Errors
    /// [`StoreError::State`] when the listing is not complete.
    pub async fn list_trash(&self, prefix: &str) -> Result<Vec<StateObject>, StoreError> {
        Self::list_of(self.own.as_ref(), prefix).await
    }

    /// Whether the state is that of this store. One that is elsewhere may have been given by mistake.
    ///
    /// # Errors
    /// [`StoreError::OtherState`] when it is another's.
    pub async fn check_state(&self) -> Result<(), StoreError> {
        if !self.elsewhere {
            return Ok(());
        }
        match self.get_state(OWNER).await? {
            Some((owner, _)) if *owner != *self.identity.url.as_bytes() => {
                Err(StoreError::OtherState { owner: String::from_utf8_lossy(&owner).into_owned() })
            }
            _ => Ok(()),
        }
    }

    async fn list_of(
        state: Option<&Arc<dyn ObjectStore>>,
        prefix: &str,
    ) -> Result<Vec<StateObject>, StoreError> {
        let Some(state) = state else { return Ok(Vec::new()) };
        let mut found: Vec<StateObject> = state
            .list(Some(&state_path(prefix)?))
            .map_ok(|meta| StateObject {
                modified: modified(&meta),
                size: meta.size,
                key: meta.location.into(),
            })
            .try_collect()
            .await
            .map_err(|answer| StoreError::state("list", prefix, answer))?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }
}

/// One object of regsweep's own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateObject {
    /// Key below the state's root.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was last written, by the store's clock.
    pub modified: Timestamp,
}

/// A store that can be changed. Holding one says that the command was asked to change something.
#[derive(Debug, Clone)]
pub struct WriteStore {
    read: ReadStore,
    state: Arc<dyn ObjectStore>,
}

impl WriteStore {
    /// Opens the store at `location` for writing; in a directory, makes that of the state.
    ///
    /// # Errors
    /// As [`ReadStore::open`]; also when the state directory cannot be made.
    pub fn open(location: &Location, access: &Access) -> Result<Self, StoreError> {
        let mut read = ReadStore::open(location, access)?;
        if let Tree::Directory(tree) = read.tree() {
            let state_root = tree.path().join(STATE_DIRECTORY);
            make_directory(&state_root)?;
            read.own = Some(open_state(&state_root, &read.meter)?);
        }
        let state = match &access.state {
            None => read.own.clone(),
            Some(elsewhere) => {
                if let Location::Directory(path) = elsewhere {
                    make_directory(path)?;
                }
                Some(open_elsewhere(elsewhere, access, &read.meter)?)
            }
        };
        let Some(state) = state else { unreachable!("a store that is written to has a state") };
        read.state = Some(state.clone());
        Ok(Self { read, state })
    }

    /// Writes into a state that is elsewhere whose it is, unless it is somebody's.
    ///
    /// # Errors
    /// [`StoreError::OtherState`] when it is another's.
    pub async fn claim_state(&self) -> Result<(), StoreError> {
        self.read.check_state().await?;
        if self.read.elsewhere && self.read.get_state(OWNER).await?.is_none() {
            self.put_state(OWNER, self.read.identity.url.clone().into_bytes()).await?;
        }
        Ok(())
    }

    /// The reading half.
    pub fn read(&self) -> &ReadStore {
        &self.read
    }

    /// Counts one change made outside the state.
    pub(crate) fn meter(&self) -> &Meter {
        &self.read.meter
    }

    /// Writes a state object whole, durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::State`], for instance when the disk is full.
    pub async fn put_state(&self, key: &str, body: Vec<u8>) -> Result<(), StoreError> {
        let path = state_path(key)?;
        self.state
            .put(&path, body.into())
            .await
            .map(drop)
            .map_err(|answer| StoreError::state("write", key, answer))
    }

    /// Writes a state object if there is none yet. `false` when another was first.
    ///
    /// # Errors
    /// [`StoreError::State`] for any answer but "it exists".
    pub async fn create_state(&self, key: &str, body: Vec<u8>) -> Result<bool, StoreError> {
        let path = state_path(key)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.state.put_opts(&path, body.into(), options).await {
            Ok(_) => Ok(true),
            // Azure and some S3 servers answer with the failed condition itself.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(answer) => Err(StoreError::state("create", key, answer)),
        }
    }

    /// The state's own object store, for `sweep/trash.rs`, which deletes from it.
    pub(crate) fn state_objects(&self) -> &Arc<dyn ObjectStore> {
        &self.state
    }
}

/// A state key as the object store's path.
pub(crate) fn state_path(key: &str) -> Result<ObjectPath, StoreError> {
    ObjectPath::parse(key).map_err(|error| StoreError::state("name", key, error.into()))
}

/// A store's keys, what of ours is among them, and which store it is.
type Opened = (Tree, Option<Arc<dyn ObjectStore>>, Identity);

fn open_directory(path: &Path, meter: &Arc<Meter>) -> Result<Opened, StoreError> {
    let error = |source| StoreError::Open { place: path.display().to_string(), source };
    let canonical = path.canonicalize().map_err(error)?;
    let tree = LocalTree::open(&canonical, meter.clone()).map_err(error)?;
    let fingerprint = tree
        .inode(crate::layout::DISTRIBUTION_ROOT)
        .map_err(error)?
        .map_or_else(|| "none".to_owned(), |inode| format!("inode {inode}"));
    let url = url::Url::from_file_path(&canonical)
        .map_or_else(|()| canonical.display().to_string(), |url| url.to_string());
    let own_root = canonical.join(STATE_DIRECTORY);
    let own = if own_root.is_dir() { Some(open_state(&own_root, meter)?) } else { None };
    Ok((Tree::Directory(tree), own, Identity { url, fingerprint }))
}

fn open_elsewhere(
    location: &Location,
    access: &Access,
    meter: &Arc<Meter>,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    match location {
        Location::Directory(path) => open_state(path, meter),
        Location::Bucket(bucket) => {
            let bucket = Bucket::open(bucket, meter.clone(), access)?;
            Ok(Arc::new(PrefixStore::new(bucket.objects().clone(), bucket.path("")?)))
        }
    }
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(path)
        .map_err(|source| StoreError::Open { place: path.display().to_string(), source })
}

fn open_state(root: &Path, meter: &Arc<Meter>) -> Result<Arc<dyn ObjectStore>, StoreError> {
    // Durable before it returns: an effect must never reach the disk before the journal entry that announces it.
    let local = LocalFileSystem::new_with_prefix(root)
        .map_err(|answer| StoreError::state("open", &root.display().to_string(), answer))?
        .with_fsync(true);
    Ok(Arc::new(Metered::new(local, meter.clone())))
}

/// The one place where `object_store`'s time type becomes ours.
fn modified(meta: &object_store::ObjectMeta) -> Timestamp {
    let stamp = meta.last_modified;
    Timestamp::new(stamp.timestamp(), i32::try_from(stamp.timestamp_subsec_nanos()).unwrap_or(0))
        // What is outside the calendar is old before it and young after it: young things stay.
        .unwrap_or(if stamp.timestamp() < 0 { Timestamp::UNIX_EPOCH } else { Timestamp::MAX })
}
