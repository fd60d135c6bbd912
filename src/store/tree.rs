//! The keys of a registry, whichever store they are in.

use super::StoreError;
use super::bucket::Bucket;
use super::local::{LocalNear, LocalTree, Meta, NameList};

/// Where keys are read from.
#[derive(Debug)]
pub enum Tree {
    /// A directory.
    Directory(LocalTree),
    /// A bucket.
    Bucket(Bucket),
}

/// A reader of what is below one key: on a directory it need not walk down from the root each time.
#[derive(Debug)]
pub enum Near<'t> {
    /// In a directory.
    Directory(LocalNear<'t>),
    /// In a bucket, where a key is one name.
    Bucket(&'t Bucket),
}

impl Tree {
    /// A reader of what is below `key`.
    pub fn near(&self, key: &str) -> Near<'_> {
        match self {
            Self::Directory(tree) => Near::Directory(tree.near(key)),
            Self::Bucket(bucket) => Near::Bucket(bucket),
        }
    }

    /// A reader of everything.
    pub fn near_root(&self) -> Near<'_> {
        match self {
            Self::Directory(tree) => Near::Directory(tree.near_root()),
            Self::Bucket(bucket) => Near::Bucket(bucket),
        }
    }

    /// As [`Near::list`].
    ///
    /// # Errors
    /// As [`Near::list`].
    pub fn list(&self, key: &str) -> Result<Option<NameList>, StoreError> {
        self.near_root().list(key)
    }

    /// As [`Near::stat`].
    ///
    /// # Errors
    /// As [`Near::stat`].
    pub fn stat(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        self.near_root().stat(key)
    }

    /// As [`Near::read`].
    ///
    /// # Errors
    /// As [`Near::read`].
    pub fn read(&self, key: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>, StoreError> {
        self.near_root().read(key, limit)
    }
}

impl Near<'_> {
    /// The names directly below `key`, in no order; `None` when there is no such directory, as always in a bucket.
    ///
    /// # Errors
    /// Any answer but absence: an unreadable directory is never an empty one.
    pub fn list(&self, key: &str) -> Result<Option<NameList>, StoreError> {
        match self {
            Self::Directory(near) => near.list(key),
            Self::Bucket(_) => Ok(None),
        }
    }

    /// Size and times of `key`, without following it; `None` when it is not there.
    ///
    /// # Errors
    /// Any answer but absence.
    pub fn stat(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        match self {
            Self::Directory(near) => near.stat(key),
            Self::Bucket(bucket) => bucket.stat(key),
        }
    }

    /// The body of `key` and its times; `None` when it is not there.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] above `limit` bytes; any other answer but absence.
    pub fn read(&self, key: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>, StoreError> {
        match self {
            Self::Directory(near) => near.read(key, limit),
            Self::Bucket(bucket) => bucket.read(key, limit),
        }
    }
}
