//! Counting every request, by kind, whoever makes it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use serde::{Deserialize, Serialize};

/// Counters that many threads add to.
#[derive(Debug, Default)]
pub struct Meter {
    list: AtomicU64,
    stat: AtomicU64,
    get: AtomicU64,
    put: AtomicU64,
    rename: AtomicU64,
    copy: AtomicU64,
    delete: AtomicU64,
    other: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

/// Requests by kind. On a directory: `list` is a directory read, `stat` a file's metadata, `get` a file read. On a bucket
/// each is one HTTP request, retries included: `list` a page of up to 1,000 names, `stat` a HEAD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Directories read.
    pub list: u64,
    /// Sizes and times asked for.
    pub stat: u64,
    /// Bodies read.
    pub get: u64,
    /// Bodies written.
    pub put: u64,
    /// Names changed: moves to and from the trash.
    pub rename: u64,
    /// Bodies copied by the store itself: moves to and from the trash of a bucket.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub copy: u64,
    /// Names removed from a directory; on a bucket requests to delete, each for up to 1,000 names.
    pub delete: u64,
    /// Anything else, such as asking for a token or whether a bucket keeps versions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other: u64,
    /// Bytes of bodies read.
    pub bytes_read: u64,
    /// Bytes of bodies written.
    pub bytes_written: u64,
}

impl Requests {
    /// All requests.
    pub fn all(&self) -> u64 {
        self.list + self.stat + self.get + self.other + self.changes()
    }

    /// These and others.
    #[must_use]
    pub fn plus(&self, others: &Self) -> Self {
        Self {
            list: self.list + others.list,
            stat: self.stat + others.stat,
            get: self.get + others.get,
            put: self.put + others.put,
            rename: self.rename + others.rename,
            copy: self.copy + others.copy,
            delete: self.delete + others.delete,
            other: self.other + others.other,
            bytes_read: self.bytes_read + others.bytes_read,
            bytes_written: self.bytes_written + others.bytes_written,
        }
    }

    /// Requests that changed something.
    pub fn changes(&self) -> u64 {
        self.put + self.rename + self.copy + self.delete
    }
}

macro_rules! counters {
    ($($name:ident),*) => {$(
        #[doc = concat!("Counts one `", stringify!($name), "`.")]
        pub fn $name(&self) {
            self.$name.fetch_add(1, Ordering::Relaxed);
        }
    )*};
}

impl Meter {
    counters!(list, stat, rename, copy, delete, other);

    /// Counts one body read, of so many bytes.
    pub fn get(&self, bytes: u64) {
        self.get.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts one body written, of so many bytes.
    pub fn put(&self, bytes: u64) {
        self.put.fetch_add(1, Ordering::Relaxed);
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The counts so far.
    pub fn read(&self) -> Requests {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            list: of(&self.list),
            stat: of(&self.stat),
            get: of(&self.get),
            put: of(&self.put),
            rename: of(&self.rename),
            copy: of(&self.copy),
            delete: of(&self.delete),
            other: of(&self.other),
            bytes_read: of(&self.bytes_read),
            bytes_written: of(&self.bytes_written),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// An object store that counts what passes through it.
#[derive(Debug)]
pub(super) struct Metered<S> {
    inner: S,
    meter: Arc<Meter>,
}

impl<S> Metered<S> {
    pub(super) fn new(inner: S, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }
}

impl<S: std::fmt::Display> std::fmt::Display for Metered<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore> ObjectStore for Metered<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.meter.put(payload.content_length() as u64);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.meter.put(0);
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let result = self.inner.get_opts(location, options).await;
        if head {
            self.meter.stat();
        } else {
            self.meter.get(result.as_ref().map_or(0, |found| found.range.end - found.range.start));
        }
        result
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        for range in ranges {
            self.meter.get(range.end - range.start);
        }
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let meter = self.meter.clone();
        #[expect(clippy::disallowed_methods, reason = "a wrapper passes on what sweep/trash.rs asks for")]
        let deleted = self.inner.delete_stream(locations);
        deleted.inspect(move |_| meter.delete()).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meter.list();
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meter.list();
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.meter.list();
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.meter.put(0);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.meter.rename();
        self.inner.rename_opts(from, to, options).await
    }
}
