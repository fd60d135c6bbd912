//! Replacing a small file in its place: whole or not at all, and only if it still says what it said.

use std::os::unix::fs::MetadataExt as _;

use jiff::Timestamp;
use object_store::{GetOptions, ObjectStore, PutMode, PutOptions, UpdateVersion};
use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::trash::parent;
use crate::store::{Bucket, LocalTree, StoreError, Tree, WriteStore, is_absence};

/// More than this is no record.
pub(super) const MAX_RECORD_BYTES: u64 = 1 << 20;

/// What ends the name of a file that is about to replace the one before the ending.
const ENDING: &str = "-regsweep.tmp";

/// What became of replacing a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    /// It says the new thing.
    Done,
    /// It did already.
    Already,
    /// It says something else by now, and was left.
    Changed,
    /// It is not there.
    Absent,
}

/// Replaces the file at `key`, which says `from`, by one that says `to`, of the same owner and rights, last written at
/// `modified` or now.
///
/// # Errors
/// Any answer but success, absence and another content; the file is then what it was.
pub(super) fn replace(
    store: &WriteStore,
    key: &str,
    from: &[u8],
    to: &[u8],
    modified: Option<Timestamp>,
) -> Result<Replaced, StoreError> {
    match store.read().tree() {
        Tree::Directory(tree) => {
            let found = tree.read(key, MAX_RECORD_BYTES)?.map(|(body, _)| body);
            match found {
                None => Ok(Replaced::Absent),
                Some(body) if body == to => Ok(Replaced::Already),
                Some(body) if body != from => Ok(Replaced::Changed),
                Some(_) => in_directory(store, tree, key, to, modified).map(|()| Replaced::Done),
            }
        }
        Tree::Bucket(bucket) => bucket.wait(in_bucket(bucket, key, from, to)),
    }
}

#[expect(clippy::disallowed_methods, reason = "puts a record in the place of the one that it was made from")]
fn in_directory(
    store: &WriteStore,
    tree: &LocalTree,
    key: &str,
    to: &[u8],
    modified: Option<Timestamp>,
) -> Result<(), StoreError> {
    let error = |source: Errno| StoreError::Io { operation: "write", key: key.into(), source: source.into() };
    let Some(directory) = tree.open_directory(parent(key))? else { return Err(error(Errno::NOENT)) };
    let name = key.rsplit('/').next().unwrap_or(key);
    let temporary = format!("{name}{ENDING}");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let old = rustix::fs::openat(&directory, name, flags, Mode::empty()).map_err(error)?;
    let old = std::fs::File::from(old).metadata().map_err(|source| StoreError::Io {
        operation: "stat",
        key: key.into(),
        source,
    })?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(old.mode() & 0o7777);
    let file = rustix::fs::openat(&directory, &*temporary, flags, mode).map_err(error)?;
    let mut rest = to;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).map_err(error)?;
        rest = &rest[written..];
    }
    // Whoever runs the store must be able to read it, whoever runs us.
    let own = rustix::fs::fstat(&file).map_err(error)?;
    if (own.st_uid, own.st_gid) != (old.uid(), old.gid()) {
        let (user, group) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
        rustix::fs::fchown(&file, Some(user), Some(group)).map_err(error)?;
    }
    rustix::fs::fchmod(&file, mode).map_err(error)?;
    if let Some(at) = modified {
        let time = Timespec { tv_sec: at.as_second(), tv_nsec: at.subsec_nanosecond().into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&file, &times).map_err(error)?;
    }
    rustix::fs::fsync(&file).map_err(error)?;
    store.meter().put(to.len() as u64);
    rustix::fs::renameat(&directory, &*temporary, &directory, name).map_err(error)?;
    rustix::fs::fsync(&directory).map_err(error)
}

/// On the condition that nobody has written it since it was read.
async fn in_bucket(bucket: &Bucket, key: &str, from: &[u8], to: &[u8]) -> Result<Replaced, StoreError> {
    let path = bucket.path(key)?;
    let found = match bucket.objects().get_opts(&path, GetOptions::default()).await {
        Ok(found) => found,
        Err(answer) if is_absence(&answer) => return Ok(Replaced::Absent),
        Err(answer) => return Err(StoreError::request("read", key, answer)),
    };
    if found.meta.size > MAX_RECORD_BYTES {
        return Ok(Replaced::Changed);
    }
    let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
    let attributes = found.attributes.clone();
    let body = found.bytes().await.map_err(|answer| StoreError::request("read", key, answer))?;
    if body == to {
        return Ok(Replaced::Already);
    }
    if body != from {
        return Ok(Replaced::Changed);
    }
    let options = PutOptions { mode: PutMode::Update(version), attributes, ..PutOptions::default() };
    match bucket.objects().put_opts(&path, to.to_vec().into(), options).await {
        Ok(_) => Ok(Replaced::Done),
        Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {
            Ok(Replaced::Changed)
        }
        Err(answer) => Err(StoreError::request("write", key, answer)),
    }
}
