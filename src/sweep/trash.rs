//! THE file that deletes.
//!
//! Every line of the product that can remove or move an object is here. Nothing in it decides: it is handed keys that a
//! checked plan named and a journal has recorded.
//!
//! In a directory moving is a rename. In a bucket it is a copy by the store, which is looked at before what was copied is
//! deleted.

use std::os::fd::OwnedFd;

use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::copy::{compare, copy, copy_object};
use super::journal::{Intent, Moved, SavedLink};
use super::{SweepError, look};
use crate::store::{
    Bucket, LocalTree, MultipartUpload, STATE_DIRECTORY, StoreError, Tree, WriteStore, is_absence, state_path,
};

/// Where the trash is, below the state's root.
pub const TRASH: &str = "trash";

/// Where a file is written before it is renamed into the layout, below the state's root.
const TEMPORARY: &str = "temporary";

/// What an operation on one object says.
pub type Effect = Result<(), StoreError>;

/// Removes one file. Absent is done.
///
/// # Errors
/// Any answer but success and absence.
#[expect(clippy::disallowed_methods, reason = "the one file that deletes")]
pub fn remove_file(store: &WriteStore, key: &str) -> Effect {
    let tree = match store.read().tree() {
        Tree::Directory(tree) => tree,
        Tree::Bucket(bucket) => return bucket.wait(delete_one(bucket, key)),
    };
    let Some((directory, name)) = open_parent(tree, key)? else { return Ok(()) };
    store.meter().delete();
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(source) => Err(failed("delete", key, source)),
    }
}

/// Removes a directory if it is empty, and then its parents that are, up to and not including `stop`. One that is not
/// empty ends it, and is no failure. Returns whether the first of them is gone.
///
/// # Errors
/// Any other answer.
#[expect(clippy::disallowed_methods, reason = "the one file that deletes")]
pub fn remove_empty_directories(store: &WriteStore, key: &str, stop: &str) -> Result<bool, StoreError> {
    // A bucket has no directories.
    let Tree::Directory(tree) = store.read().tree() else { return Ok(true) };
    let mut current = key;
    let mut first = false;
    while current.len() > stop.len() && current.starts_with(stop) {
        let Some((directory, name)) = open_parent(tree, current)? else {
            first |= current == key;
            current = parent(current);
            continue;
        };
        store.meter().delete();
        match rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => first |= current == key,
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(first),
            Err(source) => return Err(failed("remove the directory", current, source)),
        }
        current = parent(current);
    }
    Ok(first)
}

/// Moves data to its place in the trash, or removes it for good when it has none. Gone already is done.
///
/// # Errors
/// Any other answer; the data is then where it was.
pub fn discard(store: &WriteStore, moved: &Moved) -> Effect {
    match (&moved.place, store.read().tree()) {
        (None, _) => remove_file(store, &moved.key),
        (Some(place), Tree::Directory(tree)) => {
            rename(store, tree, &moved.key, &format!("{STATE_DIRECTORY}/{place}")).map(drop)
        }
        (Some(_), Tree::Bucket(bucket)) => {
            copy_to_trash(bucket, moved)?;
            remove_file(store, &moved.key)
        }
    }
}

/// Copies data of a bucket to its place in the trash, if it has one. What was copied is still to be removed.
///
/// # Errors
/// When it could not be copied, or the copy is not what was copied.
pub fn copy_to_trash(bucket: &Bucket, moved: &Moved) -> Effect {
    let Some(place) = &moved.place else { return Ok(()) };
    let to = format!("{STATE_DIRECTORY}/{place}");
    bucket.wait(copy(bucket, moved, &to)).map(drop)
}

/// Copies the data of many steps to its places in the trash; says of each step what became of it. What was copied is still
/// to be removed.
pub fn copy_all_to_trash(bucket: &Bucket, intents: &[Intent]) -> Vec<Effect> {
    let copy_one = |moved: &Moved| -> Result<Option<String>, StoreError> {
        let Some(place) = &moved.place else { return Ok(None) };
        let to = format!("{STATE_DIRECTORY}/{place}");
        Ok(bucket.wait(copy_object(bucket, &moved.key, &to, moved.size))?.then_some(to))
    };
    let copied: Vec<Result<Vec<Option<String>>, StoreError>> =
        intents.par_iter().map(|intent| intent.data.iter().map(copy_one).collect()).collect();
    let places = copied.iter().flatten().flatten().flatten().cloned().collect();
    let seen = look::look(bucket, places);
    let compare_one = |(moved, to): (&Moved, Option<String>)| match to {
        None => Ok(()),
        Some(to) => bucket.wait(compare(bucket, moved, &to, seen.get(&to).copied())),
    };
    intents
        .par_iter()
        .zip(copied)
        .map(|(intent, copied)| intent.data.iter().zip(copied?).try_for_each(compare_one))
        .collect()
}

/// Removes many objects of a bucket with the fewest requests that its store has; says of each what became of it. Absent
/// is done.
#[expect(clippy::disallowed_methods, reason = "the one file that deletes")]
pub fn remove_objects(bucket: &Bucket, keys: &[&str]) -> Vec<Effect> {
    let paths: Vec<_> = keys.iter().map(|key| bucket.path(key)).collect();
    let named: Vec<_> = paths.iter().flatten().cloned().map(Ok).collect();
    bucket.wait(async {
        let mut answers = bucket.objects().delete_stream(futures::stream::iter(named).boxed());
        let mut gone = rustc_hash::FxHashSet::default();
        while let Some(answer) = answers.next().await {
            // An error may speak for one key or for a thousand, and does not say that nothing was deleted: whatever was
            // not confirmed is asked for once more, by itself.
            if let Ok(path) = answer {
                gone.insert(path);
            }
        }
        let one = |(key, path): (&&str, Result<object_store::path::Path, StoreError>)| {
            let confirmed = path.as_ref().is_ok_and(|path| gone.contains(path));
            let key = (*key).to_owned();
            async move {
                path?;
                if confirmed { Ok(()) } else { delete_one(bucket, &key).await }
            }
        };
        let effects: Vec<_> = keys.iter().zip(paths).map(one).collect();
        futures::stream::iter(effects).buffered(bucket.parallel()).collect().await
    })
}

/// Removes one object of a bucket. Absent is done.
///
/// # Errors
/// Any answer but success and absence.
#[expect(clippy::disallowed_methods, reason = "the one file that deletes")]
pub(super) async fn delete_one(bucket: &Bucket, key: &str) -> Effect {
    match bucket.objects().delete(&bucket.path(key)?).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(source) => Err(StoreError::request("delete", key, source)),
    }
}

/// What became of bringing data back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BroughtBack {
    /// It is where it was.
    Restored,
    /// It had been uploaded again; the copy stays in the trash until its time is over.
    AlreadyThere,
    /// It is neither there nor in the trash.
    Lost,
}

/// Gives up the copies into a run's trash that it did not come to the end of.
///
/// # Errors
/// When they cannot be listed, or not given up.
pub fn give_up_copies(store: &WriteStore, run: &str) -> Effect {
    let Tree::Bucket(bucket) = store.read().tree() else { return Ok(()) };
    let begun = bucket.multipart_uploads(&format!("{STATE_DIRECTORY}/{TRASH}/{run}/"))?;
    begun.iter().try_for_each(|upload| abort_upload(store, upload).map(drop))
}

/// Brings data back from the trash.
///
/// # Errors
/// Any answer but success and absence.
pub fn bring_back(store: &WriteStore, key: &str, place: &str) -> Result<BroughtBack, StoreError> {
    if store.read().tree().stat(key)?.is_some() {
        return Ok(BroughtBack::AlreadyThere);
    }
    let from = format!("{STATE_DIRECTORY}/{place}");
    let tree = match store.read().tree() {
        Tree::Directory(tree) => tree,
        Tree::Bucket(bucket) => {
            return bucket.wait(async {
                let Some(meta) = bucket.head(&from).await? else { return Ok(BroughtBack::Lost) };
                let moved = Moved { key: from.clone(), place: None, size: meta.size, md5: meta.md5 };
                if !copy(bucket, &moved, key).await? {
                    return Ok(BroughtBack::Lost);
                }
                delete_one(bucket, &from).await?;
                Ok(BroughtBack::Restored)
            });
        }
    };
    if !rename(store, tree, &from, key)? {
        return Ok(BroughtBack::Lost);
    }
    remove_empty_directories(store, parent(&from), &format!("{STATE_DIRECTORY}/{TRASH}"))?;
    Ok(BroughtBack::Restored)
}

/// Writes a link as the registry does, whole or not at all, with the time that it had; `false` when one is there. A link
/// that somebody wrote meanwhile is newer than this one, so none is ever replaced.
///
/// # Errors
/// When it cannot be written.
pub fn write_link(store: &WriteStore, link: &SavedLink) -> Result<bool, StoreError> {
    let tree = match store.read().tree() {
        Tree::Directory(tree) => tree,
        // A bucket keeps its own times.
        Tree::Bucket(bucket) => {
            let body = link.body.bytes().to_vec();
            let path = bucket.path(&link.key)?;
            if bucket.stat(&link.key)?.is_some() {
                return Ok(false);
            }
            let written = bucket.wait(bucket.objects().put_opts(&path, body.into(), PutMode::Create.into()));
            return match written {
                Ok(_) => Ok(true),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    Ok(false)
                }
                Err(source) => Err(StoreError::request("write", &link.key, source)),
            };
        }
    };
    if tree.stat(&link.key)?.is_some() {
        return Ok(false);
    }
    let error = |source: Errno| failed("write", &link.key, source);
    let name = link.key.replace('/', "%");
    // A name of a long repository and tag may not fit: the digest of the key always does.
    let name = if name.len() > 200 { crate::oci::Digest::of(name.as_bytes()).hex() } else { name };
    let temporary = format!("{STATE_DIRECTORY}/{TEMPORARY}/{name}");
    let (directory, name) = make_parent(tree, &temporary)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o666)).map_err(error)?;
    let mut rest = link.body.bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).map_err(error)?;
        rest = &rest[written..];
    }
    let modified =
        Timespec { tv_sec: link.modified.as_second(), tv_nsec: link.modified.subsec_nanosecond().into() };
    rustix::fs::futimens(&file, &Timestamps { last_access: modified, last_modification: modified })
        .map_err(error)?;
    rustix::fs::fsync(&file).map_err(error)?;
    store.meter().put(link.body.bytes().len() as u64);
    match rename(store, tree, &temporary, &link.key) {
        Ok(_) => {}
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
            remove_file(store, &temporary)?;
            return Ok(false);
        }
        Err(other) => return Err(other),
    }
    let (target, _) = make_parent(tree, &link.key)?;
    rustix::fs::fsync(&target).map_err(error)?;
    Ok(true)
}

/// Deletes something from the trash for good, and the run's directory when it was the last.
///
/// # Errors
/// Any answer but success and absence.
pub fn purge(store: &WriteStore, place: &str) -> Effect {
    let key = format!("{STATE_DIRECTORY}/{place}");
    remove_file(store, &key)?;
    remove_empty_directories(store, parent(&key), &format!("{STATE_DIRECTORY}/{TRASH}")).map(drop)
}

/// Gives up an upload in parts. Why not, when the store has none.
///
/// # Errors
/// Any answer but success and absence.
pub fn abort_upload(store: &WriteStore, upload: &MultipartUpload) -> Result<Option<String>, StoreError> {
    let Tree::Bucket(bucket) = store.read().tree() else { return Ok(Some("a directory has none".into())) };
    Ok(match bucket.wait(give_up(bucket, &upload.key, &upload.id))? {
        None => Some("this store has none".into()),
        Some(true) => None,
        Some(false) => Some("it is finished or gone by now".into()),
    })
}

/// Gives up an upload in parts to a key; `false` when it is finished or gone by now, nothing where there are none.
///
/// # Errors
/// Any answer but success and absence.
#[expect(clippy::disallowed_methods, reason = "the one file that deletes")]
pub(super) async fn give_up(bucket: &Bucket, key: &str, id: &str) -> Result<Option<bool>, StoreError> {
    let Some(multipart) = bucket.multipart() else { return Ok(None) };
    match multipart.abort_multipart(&bucket.path(key)?, &id.to_owned()).await {
        Ok(()) => Ok(Some(true)),
        Err(answer) if is_absence(&answer) => Ok(Some(false)),
        Err(answer) => Err(StoreError::request("give up the upload of", key, answer)),
    }
}

/// Removes a state object that is no longer needed: a lease that was taken over, an entry that came true.
///
/// # Errors
/// Any answer but success and absence.
#[expect(clippy::disallowed_methods, reason = "the one file that deletes")]
pub async fn remove_state(store: &WriteStore, key: &str) -> Result<(), SweepError> {
    match store.state_objects().delete(&state_path(key)?).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(answer) => Err(StoreError::state("delete", key, answer).into()),
    }
}

/// Renames a file within the store; `false` when there is none. Nothing that exists is replaced.
#[expect(clippy::disallowed_methods, reason = "the one file that moves")]
fn rename(store: &WriteStore, tree: &LocalTree, from: &str, to: &str) -> Result<bool, StoreError> {
    let Some((source, source_name)) = open_parent(tree, from)? else { return Ok(false) };
    let (target, target_name) = make_parent(tree, to)?;
    store.meter().rename();
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    let renamed = match rustix::fs::renameat_with(&source, source_name, &target, target_name, flags) {
        // Some network filesystems cannot promise not to replace; the place was looked at just now.
        Err(Errno::INVAL | Errno::NOSYS) if tree.stat(to)?.is_none() => {
            rustix::fs::renameat(&source, source_name, &target, target_name)
        }
        other => other,
    };
    match renamed {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(source) => Err(failed("move", from, source)),
    }
}

/// The part of a key before its last component.
pub fn parent(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn open_parent<'k>(tree: &LocalTree, key: &'k str) -> Result<Option<(OwnedFd, &'k str)>, StoreError> {
    let name = key.rsplit('/').next().unwrap_or(key);
    Ok(tree.open_directory(parent(key))?.map(|directory| (directory, name)))
}

fn make_parent<'k>(tree: &LocalTree, key: &'k str) -> Result<(OwnedFd, &'k str), StoreError> {
    if let Some(found) = open_parent(tree, key)? {
        return Ok(found);
    }
    let parent = parent(key);
    std::fs::create_dir_all(tree.path().join(parent)).map_err(|source| StoreError::Io {
        operation: "make the directory",
        key: parent.into(),
        source,
    })?;
    open_parent(tree, key)?.ok_or_else(|| failed("open", parent, Errno::NOENT))
}

fn failed(operation: &'static str, key: &str, source: Errno) -> StoreError {
    StoreError::Io { operation, key: key.into(), source: source.into() }
}
