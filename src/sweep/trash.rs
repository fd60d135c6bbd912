//! THE file that deletes.
//!
//! Every line of the product that can remove or move an object is here. Nothing in it decides: it is handed keys that a
//! checked plan named and a journal has recorded.

use std::os::fd::OwnedFd;

use object_store::ObjectStoreExt;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::SweepError;
use super::journal::{Moved, SavedLink};
use crate::store::{STATE_DIRECTORY, StoreError, WriteStore, state_path};

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
    let Some((directory, name)) = open_parent(store, key)? else { return Ok(()) };
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
    let mut current = key;
    let mut first = false;
    while current.len() > stop.len() && current.starts_with(stop) {
        let Some((directory, name)) = open_parent(store, current)? else {
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
    match &moved.place {
        None => remove_file(store, &moved.key),
        Some(place) => {
            let to = format!("{STATE_DIRECTORY}/{place}");
            rename(store, &moved.key, &to).map(drop)
        }
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

/// Brings data back from the trash.
///
/// # Errors
/// Any answer but success and absence.
pub fn bring_back(store: &WriteStore, key: &str, place: &str) -> Result<BroughtBack, StoreError> {
    if store.read().tree().stat(key)?.is_some() {
        return Ok(BroughtBack::AlreadyThere);
    }
    let from = format!("{STATE_DIRECTORY}/{place}");
    if !rename(store, &from, key)? {
        return Ok(BroughtBack::Lost);
    }
    remove_empty_directories(store, parent(&from), &format!("{STATE_DIRECTORY}/{TRASH}"))?;
    Ok(BroughtBack::Restored)
}

/// Writes a link as the registry does, whole or not at all, with the time that it had.
///
/// # Errors
/// When it cannot be written.
#[expect(clippy::disallowed_methods, reason = "the one file that moves")]
pub fn write_link(store: &WriteStore, link: &SavedLink) -> Effect {
    let error = |source: Errno| failed("write", &link.key, source);
    let temporary = format!("{STATE_DIRECTORY}/{TEMPORARY}/{}", link.key.replace('/', "%"));
    let (directory, name) = make_parent(store, &temporary)?;
    // A name of a long repository and tag may not fit: the digest of the key always does.
    let name = if name.len() > 200 { crate::oci::Digest::of(name.as_bytes()).hex() } else { name.to_owned() };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(&directory, &name, flags, Mode::from_raw_mode(0o666)).map_err(error)?;
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
    let (target, target_name) = make_parent(store, &link.key)?;
    store.meter().put(link.body.bytes().len() as u64);
    rustix::fs::renameat(&directory, &name, &target, target_name).map_err(error)?;
    rustix::fs::fsync(&target).map_err(error)
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

/// Removes a state object that is no longer needed: a lease that was taken over, an entry that came true.
///
/// # Errors
/// Any answer but success and absence.
#[expect(clippy::disallowed_methods, reason = "the one file that deletes")]
pub async fn remove_state(store: &WriteStore, key: &str) -> Result<(), SweepError> {
    match store.state_objects().delete(&state_path(key)?).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(source) => Err(StoreError::State { operation: "delete", key: key.into(), source }.into()),
    }
}

/// Renames a file within the store; `false` when there is none. Nothing that exists is replaced.
#[expect(clippy::disallowed_methods, reason = "the one file that moves")]
fn rename(store: &WriteStore, from: &str, to: &str) -> Result<bool, StoreError> {
    let Some((source, source_name)) = open_parent(store, from)? else { return Ok(false) };
    let (target, target_name) = make_parent(store, to)?;
    store.meter().rename();
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    let renamed = match rustix::fs::renameat_with(&source, source_name, &target, target_name, flags) {
        // Some network filesystems cannot promise not to replace; the place was looked at just now.
        Err(Errno::INVAL | Errno::NOSYS) if store.read().tree().stat(to)?.is_none() => {
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

fn open_parent<'k>(store: &WriteStore, key: &'k str) -> Result<Option<(OwnedFd, &'k str)>, StoreError> {
    let name = key.rsplit('/').next().unwrap_or(key);
    Ok(store.read().tree().open_directory(parent(key))?.map(|directory| (directory, name)))
}

fn make_parent<'k>(store: &WriteStore, key: &'k str) -> Result<(OwnedFd, &'k str), StoreError> {
    if let Some(found) = open_parent(store, key)? {
        return Ok(found);
    }
    let parent = parent(key);
    std::fs::create_dir_all(store.root().join(parent)).map_err(|source| StoreError::Io {
        operation: "make the directory",
        key: parent.into(),
        source,
    })?;
    open_parent(store, key)?.ok_or_else(|| failed("open", parent, Errno::NOENT))
}

fn failed(operation: &'static str, key: &str, source: Errno) -> StoreError {
    StoreError::Io { operation, key: key.into(), source: source.into() }
}
