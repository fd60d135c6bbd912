//! The local fast path: directories are read, files are not statted unless somebody asks.
//!
//! Every path is opened below the root's descriptor without following any symbolic link, so a link that leaves the root
//! is seen as a link and never walked.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::{Meter, StoreError};

/// What a directory entry is, without following links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, whatever it points to.
    Symlink,
    /// A socket, pipe or device.
    Other,
}

/// What a store says of one object: a directory by `statx`, a bucket by a page of names or a HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// When the content was last written (mtime). A link's is the moment its tag, layer or revision was last written.
    pub modified: Timestamp,
    /// The later of mtime and ctime. On a filesystem a blob's mtime is its last byte's and survives the rename that
    /// commits it, so only this says how young it can be.
    pub changed: Timestamp,
    /// The MD5 of the content, where a bucket may have told it without being asked for the content. It confirms what it
    /// is equal to; when it differs it may be no MD5.
    pub md5: Option<[u8; 16]>,
    /// Another name leads to the same content, by a hard link: it is not freed when this one goes.
    pub shared: bool,
}

/// The names in one directory. A name that is not UTF-8 is given apart: no registry writes one.
#[derive(Debug, Default)]
pub struct NameList {
    /// Name and kind.
    pub names: Vec<(Box<str>, Kind)>,
    /// Names that are not UTF-8, made readable, with their kind, and for a file its size in bytes.
    pub foreign: Vec<(String, Kind, u64)>,
}

/// A directory tree, read below one open root.
#[derive(Debug)]
pub struct LocalTree {
    root: OwnedFd,
    path: PathBuf,
    meter: Arc<Meter>,
    /// `openat2` is missing on old kernels and behind some container filters; then only the last component is guarded.
    guarded: AtomicBool,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const FIELDS: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::NLINK)
    .union(StatxFlags::SIZE)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::CTIME)
    .union(StatxFlags::INO);

impl LocalTree {
    pub(super) fn open(path: &Path, meter: Arc<Meter>) -> io::Result<Self> {
        let root =
            rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, path: path.to_path_buf(), meter, guarded: AtomicBool::new(true) })
    }

    /// The root's canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn inode(&self, key: &str) -> io::Result<Option<u64>> {
        match rustix::fs::statx(&self.root, key, AtFlags::SYMLINK_NOFOLLOW, FIELDS) {
            Ok(found) => Ok(Some(found.stx_ino)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A reader of what is below `key`.
    pub fn near(&self, key: &str) -> LocalNear<'_> {
        // Only a short way: what cannot be opened here says so itself when it is asked for.
        let directory = self.open_directory(key).unwrap_or_default();
        LocalNear { tree: self, directory, prefix: key.to_owned() }
    }

    /// A reader of the whole tree.
    pub fn near_root(&self) -> LocalNear<'_> {
        LocalNear { tree: self, directory: None, prefix: String::new() }
    }

    /// As [`LocalNear::list`].
    ///
    /// # Errors
    /// As [`LocalNear::list`].
    pub fn list(&self, key: &str) -> Result<Option<NameList>, StoreError> {
        self.near_root().list(key)
    }

    /// As [`LocalNear::stat`].
    ///
    /// # Errors
    /// As [`LocalNear::stat`].
    pub fn stat(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        self.near_root().stat(key)
    }

    /// As [`LocalNear::read`].
    ///
    /// # Errors
    /// As [`LocalNear::read`].
    pub fn read(&self, key: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>, StoreError> {
        self.near_root().read(key, limit)
    }

    /// Opens the directory `key` for changes within it; `None` when it is not there.
    ///
    /// # Errors
    /// Any answer but absence, a symbolic link on the way included.
    pub(crate) fn open_directory(&self, key: &str) -> Result<Option<OwnedFd>, StoreError> {
        self.open_at(self.root.as_fd(), key, DIRECTORY).map_err(|source| StoreError::Io {
            operation: "open",
            key: key.into(),
            source,
        })
    }

    fn each(&self, directory: &OwnedFd, mut found: impl FnMut(&[u8], Kind)) -> io::Result<()> {
        self.meter.list();
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 16 * 1024 - 64];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // Only a directory that was empty can be removed: whatever was in it had gone before.
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some filesystems do not keep the type beside the name.
                FileType::Unknown => match self.stat_at(directory, OsStr::from_bytes(name))? {
                    Some(meta) => meta.kind,
                    None => continue,
                },
                known => kind(known),
            };
            found(name, kind);
        }
        Ok(())
    }

    fn stat_at(&self, at: impl AsFd, name: &OsStr) -> io::Result<Option<Meta>> {
        self.meter.stat();
        stat_uncounted(at, name)
    }

    /// Opens `key` below an open directory; `None` when it is not there.
    fn open_at(&self, at: BorrowedFd<'_>, key: &str, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        let key = if key.is_empty() { "." } else { key };
        match self.open_guarded(at, key, flags) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open_guarded(&self, at: BorrowedFd<'_>, key: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        if self.guarded.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            loop {
                match rustix::fs::openat2(at, key, flags, Mode::empty(), resolve) {
                    // A rename elsewhere in the tree makes the kernel give up now and then.
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(Errno::NOSYS | Errno::PERM) => {
                        self.guarded.store(false, Ordering::Relaxed);
                        break;
                    }
                    other => return other,
                }
            }
        }
        rustix::fs::openat(at, key, flags, Mode::empty())
    }
}

/// Reading below one open directory: a short way to many neighbours. Keys stay whole, and one that is elsewhere is
/// reached from the root.
#[derive(Debug)]
pub struct LocalNear<'t> {
    tree: &'t LocalTree,
    directory: Option<OwnedFd>,
    prefix: String,
}

impl LocalNear<'_> {
    fn at<'k>(&self, key: &'k str) -> (BorrowedFd<'_>, &'k str) {
        match &self.directory {
            Some(directory) => match key.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('/')) {
                Some(rest) => (directory.as_fd(), rest),
                None => (self.tree.root.as_fd(), key),
            },
            None => (self.tree.root.as_fd(), key),
        }
    }

    fn open_below(&self, key: &str, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        let (at, rest) = self.at(key);
        self.tree.open_at(at, rest, flags)
    }

    /// The names directly below `key`, in no order; `None` when there is no such directory.
    ///
    /// # Errors
    /// Any answer but absence: an unreadable directory is never an empty one.
    pub fn list(&self, key: &str) -> Result<Option<NameList>, StoreError> {
        self.list_inner(key).map_err(|source| StoreError::Io { operation: "list", key: key.into(), source })
    }

    fn list_inner(&self, key: &str) -> io::Result<Option<NameList>> {
        let Some(directory) = self.open_below(key, DIRECTORY)? else { return Ok(None) };
        let mut list = NameList::default();
        let mut foreign: Vec<Vec<u8>> = Vec::new();
        self.tree.each(&directory, |name, kind| match std::str::from_utf8(name) {
            Ok(name) => list.names.push((name.into(), kind)),
            Err(_) => foreign.push(name.to_vec()),
        })?;
        for name in foreign {
            // Its readable name cannot be asked for, so what an audit needs is asked here.
            if let Some(meta) = self.tree.stat_at(&directory, OsStr::from_bytes(&name))? {
                let size = if meta.kind == Kind::File { meta.size } else { 0 };
                list.foreign.push((String::from_utf8_lossy(&name).into_owned(), meta.kind, size));
            }
        }
        Ok(Some(list))
    }

    /// The names directly below `key`, each with what `statx` says of it; `None` when there is no such directory.
    /// A file that vanishes in between is left out.
    ///
    /// # Errors
    /// As [`LocalNear::list`].
    pub fn list_with_meta(&self, key: &str) -> Result<Option<Vec<(String, Meta)>>, StoreError> {
        let error = |source| StoreError::Io { operation: "list", key: key.into(), source };
        let Some(directory) = self.open_below(key, DIRECTORY).map_err(error)? else { return Ok(None) };
        let mut names: Vec<Vec<u8>> = Vec::new();
        self.tree.each(&directory, |name, _| names.push(name.to_vec())).map_err(error)?;
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            if let Some(meta) = self.tree.stat_at(&directory, OsStr::from_bytes(&name)).map_err(error)? {
                found.push((String::from_utf8_lossy(&name).into_owned(), meta));
            }
        }
        Ok(Some(found))
    }

    /// What `statx` says of `key`, without following it; `None` when it is not there.
    ///
    /// # Errors
    /// Any answer but absence.
    pub fn stat(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        let (at, rest) = self.at(key);
        self.tree.stat_at(at, OsStr::new(rest)).map_err(|source| StoreError::Io {
            operation: "stat",
            key: key.into(),
            source,
        })
    }

    /// The body of the file at `key` and its times; `None` when it is not there.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] above `limit` bytes; any other answer but absence.
    pub fn read(&self, key: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>, StoreError> {
        let error = |source| StoreError::Io { operation: "read", key: key.into(), source };
        let Some(file) = self.open_below(key, FILE).map_err(error)? else { return Ok(None) };
        let Some(meta) = stat_uncounted(&file, OsStr::new("")).map_err(error)? else { return Ok(None) };
        if meta.kind != Kind::File {
            return Err(error(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")));
        }
        if meta.size > limit {
            return Err(StoreError::TooLarge { key: key.into(), size: meta.size, limit });
        }
        // One byte more than the size, so that the end is seen without another read and growth is noticed.
        let capacity = usize::try_from(meta.size).unwrap_or(usize::MAX).saturating_add(1);
        let mut body = vec![0; capacity];
        let mut filled = 0;
        loop {
            match rustix::io::read(&file, &mut body[filled..]) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(Errno::INTR) => {}
                Err(source) => return Err(error(source.into())),
            }
            if filled == body.len() {
                if filled as u64 > limit {
                    return Err(StoreError::TooLarge { key: key.into(), size: filled as u64, limit });
                }
                body.resize(body.len() * 2, 0);
            }
        }
        body.truncate(filled);
        self.tree.meter.get(filled as u64);
        Ok(Some((body, meta)))
    }
}

/// `statx` of a name below `at`, or of `at` itself when the name is empty.
fn stat_uncounted(at: impl AsFd, name: &OsStr) -> io::Result<Option<Meta>> {
    let flags =
        AtFlags::SYMLINK_NOFOLLOW | if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    match rustix::fs::statx(at, name.as_bytes(), flags, FIELDS) {
        Ok(found) => {
            let modified = timestamp(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec);
            let changed = timestamp(found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec);
            Ok(Some(Meta {
                kind: kind(FileType::from_raw_mode(found.stx_mode.into())),
                size: found.stx_size,
                modified,
                changed: modified.max(changed),
                md5: None,
                shared: found.stx_nlink > 1 && found.stx_mode & 0o170_000 == 0o100_000,
            }))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn kind(raw: FileType) -> Kind {
    match raw {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// Times before 1970 or past the calendar count as unknown-but-old and unknown-but-new: the first never keeps by mistake
/// of ours alone, since ctime stands beside it; the second always keeps.
fn timestamp(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0)).unwrap_or(if seconds < 0 {
        Timestamp::UNIX_EPOCH
    } else {
        Timestamp::MAX
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make and break their own directories")]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, LocalTree) {
        let directory = tempfile::tempdir().unwrap();
        let tree = LocalTree::open(directory.path(), Arc::default()).unwrap();
        (directory, tree)
    }

    #[test]
    fn absence_and_failure_are_told_apart() {
        let (directory, tree) = tree();
        assert!(tree.list("no").unwrap().is_none());
        assert!(tree.read("no", 10).unwrap().is_none());
        assert!(tree.stat("no").unwrap().is_none());
        std::fs::write(directory.path().join("file"), b"x").unwrap();
        assert!(matches!(tree.list("file"), Err(StoreError::Io { operation: "list", .. })));
        std::fs::create_dir(directory.path().join("directory")).unwrap();
        assert!(matches!(tree.read("directory", 10), Err(StoreError::Io { operation: "read", .. })));
    }

    #[test]
    fn a_directory_that_is_removed_while_it_is_listed_holds_nothing() {
        let (directory, tree) = tree();
        let path = directory.path().join("going");
        std::fs::create_dir(&path).unwrap();
        let open = tree.open_directory("going").unwrap().unwrap();
        std::fs::remove_dir(&path).unwrap();
        tree.each(&open, |name, _| panic!("{name:?}")).unwrap();
    }

    #[test]
    fn a_link_out_of_the_root_is_never_followed() {
        let (directory, tree) = tree();
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("repository")).unwrap();
        std::fs::write(outside.path().join("secret"), b"x").unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("out")).unwrap();
        let names = tree.list("").unwrap().unwrap().names;
        assert_eq!(names, [(Box::from("out"), Kind::Symlink)]);
        assert!(tree.list("out").is_err());
        assert!(tree.list("out/repository").is_err());
        assert!(tree.read("out/secret", 10).is_err());
        assert_eq!(tree.stat("out").unwrap().unwrap().kind, Kind::Symlink);
    }

    #[test]
    fn a_body_is_bounded() {
        let (directory, tree) = tree();
        std::fs::write(directory.path().join("file"), vec![7; 1000]).unwrap();
        assert_eq!(tree.read("file", 1000).unwrap().unwrap().0, vec![7; 1000]);
        assert!(matches!(tree.read("file", 999), Err(StoreError::TooLarge { size: 1000, limit: 999, .. })));
    }

    #[test]
    fn names_that_are_not_utf8_are_given_apart() {
        let (directory, tree) = tree();
        std::fs::write(directory.path().join(OsStr::from_bytes(b"\xff")), b"x").unwrap();
        let list = tree.list("").unwrap().unwrap();
        assert!(list.names.is_empty());
        let [(name, kind, _)] = list.foreign.as_slice() else { panic!("{list:?}") };
        assert_eq!((name.as_str(), *kind), ("\u{fffd}", Kind::File));
    }

    #[test]
    fn a_rename_keeps_the_modification_time_and_moves_the_change_time() {
        let (directory, tree) = tree();
        let file = std::fs::File::create(directory.path().join("upload")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000)).unwrap();
        std::fs::rename(directory.path().join("upload"), directory.path().join("data")).unwrap();
        let meta = tree.stat("data").unwrap().unwrap();
        assert_eq!(meta.modified.as_second(), 1_000_000);
        assert!(meta.changed.as_second() > 1_000_000_000);
    }
}
