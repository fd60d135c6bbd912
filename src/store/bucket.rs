//! A bucket of S3, Google Cloud Storage or Azure: pages of names, bodies and times, through `object_store`.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::MultipartStore;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::local::{Kind, Meta};
use super::location::{BucketLocation, Clients, Provider};
use super::metered::Meter;
use super::s3::{MultipartUpload, Noncurrent, S3, Versioning};
use super::transport::{Gate, Transport};
use super::{Access, StoreError, modified};

/// A bucket, or what begins with one prefix in it.
#[derive(Debug)]
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    pages: Arc<dyn Pages>,
    s3: Option<S3>,
    provider: Provider,
    /// Without slashes at its ends; empty for the whole bucket.
    prefix: String,
    runtime: Handle,
    gate: Arc<Gate>,
    copying: Copying,
    /// Whether tags that look like an MD5 are one, once somebody has tried.
    pub(crate) tells_md5: OnceLock<bool>,
}

/// How objects of S3 are copied within a bucket. Google and Azure copy within one by name, however large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copying {
    /// The largest object that is copied with one request, in bytes; larger ones are copied in parts. One request must be
    /// answered within the client's patience.
    pub whole: u64,
    /// The size of a part, in bytes. An upload has ten thousand parts at most, so those of the largest objects are larger.
    pub part: u64,
    /// The largest object that is copied where parts cannot be: 5 GiB by S3's `CopyObject`.
    pub most: u64,
}

impl Copying {
    /// As S3 has it.
    pub const S3: Self = Self { whole: 1 << 30, part: 256 << 20, most: 5 << 30 };
}

/// How many requests are made at once where nobody says another number.
pub(super) const AT_ONCE: usize = 64;

/// How many parts an upload of S3 has at most.
const MOST_PARTS: u64 = 10_000;

/// What lists in pages, with a name for debugging.
pub(super) trait Pages: PaginatedListStore + std::fmt::Debug {}
impl<T: PaginatedListStore + std::fmt::Debug> Pages for T {}

/// An object as a listing tells of it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its key below the store's root.
    pub key: String,
    /// Size, time and, where the store tells it, the MD5 of its content.
    pub meta: Meta,
}

/// One answer to a request to list.
#[derive(Debug, Default)]
pub struct Page {
    /// Objects, in the store's own order, which need not be that of their bytes.
    pub objects: Vec<Listed>,
    /// What lies deeper, where only one level was asked for; with a slash at the end.
    pub prefixes: Vec<String>,
    /// What the next page is asked for with; `None` after the last.
    pub next: Option<String>,
}

/// Which page of a listing is wanted.
#[derive(Debug, Default, Clone)]
pub struct PageRequest<'r> {
    /// What keys must begin with, below the store's root.
    pub prefix: &'r str,
    /// One level only: what lies deeper is told as prefixes.
    pub one_level: bool,
    /// Where to start, below the store's root: some stores ignore it, others skip what lies below it.
    pub after: Option<String>,
    /// What an earlier page gave.
    pub token: Option<String>,
}

impl Bucket {
    /// Opens a bucket without asking it for anything.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when a setting is missing or wrong.
    pub(super) fn open(
        location: &BucketLocation,
        meter: Arc<Meter>,
        access: &Access,
    ) -> Result<Self, StoreError> {
        // Keys that a tree of trusted certificates is checked with come from the process; the first caller sets them.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let gate = Arc::new(Gate::new(access.concurrency.unwrap_or(AT_ONCE), access.per_second));
        let transport = Transport { meter, gate: gate.clone() };
        let Clients { objects, pages, s3 } = location.connect(transport)?;
        Ok(Self {
            objects,
            pages,
            s3,
            provider: location.provider,
            prefix: location.prefix.clone(),
            runtime: Handle::current(),
            gate,
            copying: access.copying,
            tells_md5: OnceLock::new(),
        })
    }

    /// A bucket behind a client that somebody else has made.
    pub(super) fn over(objects: Arc<dyn ObjectStore>, pages: Arc<dyn Pages>, concurrency: usize) -> Self {
        Self {
            objects,
            pages,
            s3: None,
            provider: Provider::Gcs,
            prefix: String::new(),
            runtime: Handle::current(),
            gate: Arc::new(Gate::new(concurrency, None)),
            copying: Copying::S3,
            tells_md5: OnceLock::new(),
        }
    }

    /// Whose bucket it is.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// How many requests the store bears at once, as far as is known.
    pub fn parallel(&self) -> usize {
        self.gate.limit()
    }

    /// The bucket's objects, for what writes and deletes.
    pub(crate) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The largest object that can be copied, in bytes, where there is a limit that a registry reaches.
    pub fn largest_copy(&self) -> Option<u64> {
        self.s3.as_ref().filter(|s3| !s3.copies_parts()).map(|_| self.copying.most)
    }

    /// What copies an object of so many bytes in parts, and which bytes each part has; `None` where one request does.
    pub(crate) fn parts(&self, size: u64) -> Option<(&S3, Vec<RangeInclusive<u64>>)> {
        let s3 = self.s3.as_ref().filter(|s3| s3.copies_parts() && size > self.copying.whole)?;
        let part = self.copying.part.max(size.div_ceil(MOST_PARTS)).max(1);
        let ranges = (0..size.div_ceil(part)).map(|index| index * part..=((index + 1) * part).min(size) - 1);
        Some((s3, ranges.collect()))
    }

    /// Whether the bucket keeps what is deleted; never, where that is not S3's.
    ///
    /// # Errors
    /// When it may not be asked.
    pub fn versioning(&self) -> Result<Versioning, StoreError> {
        self.s3.as_ref().map_or(Ok(Versioning::default()), |s3| self.wait(s3.versioning()))
    }

    /// Counts the versions below `key` that are not current.
    ///
    /// # Errors
    /// When they may not be listed, or not whole.
    pub fn noncurrent(&self, key: &str) -> Result<Noncurrent, StoreError> {
        let prefix = self.full(key);
        self.s3.as_ref().map_or(Ok(Noncurrent::default()), |s3| self.wait(s3.noncurrent(&prefix)))
    }

    /// Uploads in parts below `key` that were neither finished nor given up. Google and Azure forget theirs by themselves.
    ///
    /// # Errors
    /// When they may not be listed, or not whole.
    pub fn multipart_uploads(&self, key: &str) -> Result<Vec<MultipartUpload>, StoreError> {
        let Some(s3) = &self.s3 else { return Ok(Vec::new()) };
        let mut found = self.wait(s3.uploads(&self.full(key)))?;
        for upload in &mut found {
            upload.key = self.below(&upload.key).to_owned();
        }
        found.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        Ok(found)
    }

    /// What ends uploads in parts and gives them up; `None` where there are none.
    pub(crate) fn multipart(&self) -> Option<&dyn MultipartStore> {
        self.s3.as_ref().map(S3::multipart)
    }

    /// The bucket's name for a key below the store's root.
    ///
    /// # Errors
    /// When the client library cannot name it.
    pub(crate) fn path(&self, key: &str) -> Result<ObjectPath, StoreError> {
        ObjectPath::parse(self.full(key)).map_err(|source| StoreError::request("name", key, source.into()))
    }

    /// A key of the bucket for one below the store's root.
    pub(crate) fn full(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { [&self.prefix, "/", key].concat() }
    }

    fn below<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(&self.prefix).map_or(key, |rest| rest.strip_prefix('/').unwrap_or(rest))
    }

    /// Asks for one page of names.
    ///
    /// # Errors
    /// Any answer but a whole page: an error is never an empty listing.
    pub async fn page(&self, wanted: &PageRequest<'_>) -> Result<Page, StoreError> {
        let prefix = self.full(wanted.prefix);
        let options = PaginatedListOptions {
            offset: wanted.after.as_deref().map(|after| self.full(after)),
            delimiter: wanted.one_level.then_some("/".into()),
            page_token: wanted.token.clone(),
            ..PaginatedListOptions::default()
        };
        let answer = self
            .pages
            .list_paginated((!prefix.is_empty()).then_some(prefix.as_str()), options)
            .await
            .map_err(|source| StoreError::request("list", wanted.prefix, source))?;
        let below = |path: &ObjectPath| self.below(path.as_ref()).to_owned();
        Ok(Page {
            objects: answer
                .result
                .objects
                .iter()
                .map(|object| Listed { key: below(&object.location), meta: meta(object) })
                .collect(),
            prefixes: answer.result.common_prefixes.iter().map(|path| below(path) + "/").collect(),
            next: answer.page_token.filter(|token| !token.is_empty()),
        })
    }

    /// Size and time of one object; `None` when it is not there.
    ///
    /// # Errors
    /// Any answer but absence.
    pub async fn head(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        match self.objects.head(&self.path(key)?).await {
            Ok(found) => Ok(Some(meta(&found))),
            Err(source) if is_absence(&source) => Ok(None),
            Err(source) => Err(StoreError::request("stat", key, source)),
        }
    }

    /// A body and its time; `None` when it is not there.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] above `limit` bytes; any other answer but absence.
    pub async fn get(&self, key: &str, limit: u64) -> Result<Option<(Bytes, Meta)>, StoreError> {
        let error = |source| StoreError::request("read", key, source);
        let found = match self.objects.get_opts(&self.path(key)?, GetOptions::default()).await {
            Ok(found) => found,
            Err(source) if is_absence(&source) => return Ok(None),
            Err(source) => return Err(error(source)),
        };
        let meta = meta(&found.meta);
        if meta.size > limit {
            return Err(StoreError::TooLarge { key: key.into(), size: meta.size, limit });
        }
        Ok(Some((found.bytes().await.map_err(error)?, meta)))
    }

    /// [`Bucket::head`] for code that does not wait by itself.
    ///
    /// # Errors
    /// As [`Bucket::head`].
    pub fn stat(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        self.wait(self.head(key))
    }

    /// [`Bucket::get`] for code that does not wait by itself.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn read(&self, key: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>, StoreError> {
        Ok(self.wait(self.get(key, limit))?.map(|(body, meta)| (body.into(), meta)))
    }

    /// Waits for a request on a thread that may block: one of a pool, or one of the runtime's that is set apart for it.
    pub(crate) fn wait<T>(&self, request: impl Future<Output = T>) -> T {
        match Handle::try_current() {
            Ok(here) => tokio::task::block_in_place(|| here.block_on(request)),
            Err(_) => self.runtime.block_on(request),
        }
    }
}

/// Whether an object is not there. A bucket that is not there is another thing: nothing may be concluded from it.
pub(crate) fn is_absence(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && !super::advice::names_no_bucket(error)
}

fn meta(object: &ObjectMeta) -> Meta {
    let time = modified(object);
    Meta {
        kind: Kind::File,
        size: object.size,
        modified: time,
        changed: time,
        md5: object.e_tag.as_deref().and_then(md5_of),
        shared: false,
    }
}

/// An entity tag that may be an MD5: 32 hexadecimal digits in quotes. One of an upload in parts has a dash; one of an
/// object that S3 encrypts with KMS keys looks the same and is none, so a tag only ever confirms.
pub(crate) fn md5_of(tag: &str) -> Option<[u8; 16]> {
    let hex = tag.trim_matches('"').as_bytes();
    if hex.len() != 32 {
        return None;
    }
    let mut md5 = [0; 16];
    for (byte, digits) in md5.iter_mut().zip(hex.chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(md5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_an_md5_is_taken_for_one() {
        assert_eq!(md5_of("\"00112233445566778899aabbccddeeff\"").unwrap()[..3], [0, 0x11, 0x22]);
        assert_eq!(md5_of("\"00112233445566778899aabbccddeeff-2\""), None);
        assert_eq!(md5_of("0x8D4BCC2E4835CD0"), None);
        assert_eq!(md5_of("\"0011223344556677\u{e9}899aabbccddeeff\""), None);
    }
}
