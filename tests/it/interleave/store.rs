//! A bucket in memory on a clock of its own, whose every request is a gate at which others may act first.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

/// An object of the bucket.
#[derive(Debug, Clone, Hash)]
pub struct Object {
    pub body: Bytes,
    /// When it was written, in seconds.
    pub written: u64,
    /// Its key as the client library has it: to read it from the key is a good part of the work of a listing.
    path: Path,
}

/// Objects by key, and the time.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// What is there, by key.
    pub keys: BTreeMap<String, Object>,
    /// Seconds since 1970.
    pub now: u64,
}

impl Objects {
    pub fn put(&mut self, key: &str, body: impl Into<Bytes>) {
        self.put_at(Path::parse(key).unwrap(), body.into());
    }

    fn put_at(&mut self, path: Path, body: Bytes) {
        self.keys.insert(path.as_ref().to_owned(), Object { body, written: self.now, path });
    }

    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.keys.get(key).map(|object| &object.body)
    }

    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Keys below a prefix.
    pub fn below<'o>(&'o self, prefix: &'o str) -> impl Iterator<Item = &'o String> {
        self.after(prefix, None).map(|(key, _)| key)
    }

    /// Keys below a prefix and after a key, with what is there.
    fn after<'o>(
        &'o self,
        prefix: &'o str,
        after: Option<&'o str>,
    ) -> impl Iterator<Item = (&'o String, &'o Object)> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.keys
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }
}

/// What happens at a gate, before the request that came to it: others act, or the sweeper is no more.
pub trait Gates: Send + Sync + std::fmt::Debug {
    /// `false` when the process that makes the request has died.
    fn pass(&self, operation: &'static str, key: &str) -> bool;
}

/// The sweeper's view of the bucket.
#[derive(Debug, Clone)]
pub struct Simulated {
    pub objects: Arc<Mutex<Objects>>,
    pub gates: Arc<dyn Gates>,
    /// Keys of the registry on a page. The sweeper's own, which nobody else writes, come on one.
    pub page: usize,
}

impl std::fmt::Display for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("simulated bucket")
    }
}

fn dead() -> Error {
    Error::Generic { store: "simulated", source: "the process has died".into() }
}

fn missing(key: &str) -> Error {
    Error::NotFound { path: key.to_owned(), source: "no such key".into() }
}

fn meta(object: &Object) -> ObjectMeta {
    ObjectMeta {
        location: object.path.clone(),
        last_modified: (UNIX_EPOCH + Duration::from_secs(object.written)).into(),
        size: object.body.len() as u64,
        // Not an MD5: links are read.
        e_tag: None,
        version: None,
    }
}

impl Simulated {
    fn pass(&self, operation: &'static str, key: &str) -> Result<MutexGuard<'_, Objects>> {
        if self.gates.pass(operation, key) { Ok(self.objects.lock().unwrap()) } else { Err(dead()) }
    }

    fn delete_one(&self, path: &Path) -> Result<Path> {
        self.pass("delete", path.as_ref())?.keys.remove(path.as_ref());
        Ok(path.clone())
    }

    fn list_page(&self, prefix: &str, options: &PaginatedListOptions) -> Result<PaginatedListResult> {
        let objects = self.pass("list", prefix)?;
        let after = options.page_token.as_deref().or(options.offset.as_deref());
        let page = if prefix.starts_with(".regsweep/") { usize::MAX } else { self.page };
        let mut result = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: Extensions::default(),
        };
        let mut last: Option<&String> = None;
        let mut token = None;
        let mut deepest = "";
        for (key, object) in objects.after(prefix, after) {
            let deeper = options.delimiter.as_ref().and_then(|delimiter| {
                key[prefix.len()..].find(&**delimiter).map(|at| &key[..prefix.len() + at])
            });
            if let Some(deeper) = deeper {
                if deeper != deepest {
                    result.common_prefixes.push(Path::parse(deeper)?);
                    deepest = deeper;
                }
                continue;
            }
            if result.objects.len() == page {
                token = last.cloned();
                break;
            }
            result.objects.push(meta(object));
            last = Some(key);
        }
        Ok(PaginatedListResult { result, page_token: token })
    }
}

#[async_trait]
impl PaginatedListStore for Simulated {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        opts: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        self.list_page(prefix.unwrap_or_default(), &opts)
    }
}

#[async_trait]
impl ObjectStore for Simulated {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let mut objects = self.pass("put", location.as_ref())?;
        if opts.mode == PutMode::Create && objects.has(location.as_ref()) {
            let path = location.to_string();
            return Err(Error::AlreadyExists { path, source: "it exists".into() });
        }
        objects.put_at(location.clone(), Bytes::from(payload));
        Ok(PutResult { e_tag: None, version: None, extensions: Extensions::default() })
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "multipart".into(), implementer: "simulated".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { "head" } else { "get" };
        let objects = self.pass(operation, location.as_ref())?;
        let Some(object) = objects.keys.get(location.as_ref()) else {
            return Err(missing(location.as_ref()));
        };
        let meta = meta(object);
        let range = 0..meta.size;
        let body = object.body.clone();
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter([Ok(body)]).boxed()),
            meta,
            range,
            attributes: Attributes::default(),
            extensions: Extensions::default(),
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations.map(move |location| location.and_then(|location| this.delete_one(&location))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let whole = Self { page: usize::MAX, ..self.clone() };
        match whole.list_page(&prefix, &PaginatedListOptions::default()) {
            Ok(page) => stream::iter(page.result.objects.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let options = PaginatedListOptions { delimiter: Some("/".into()), ..PaginatedListOptions::default() };
        Ok(Self { page: usize::MAX, ..self.clone() }.list_page(&prefix, &options)?.result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, _options: CopyOptions) -> Result<()> {
        let mut objects = self.pass("copy", from.as_ref())?;
        let Some(body) = objects.get(from.as_ref()).cloned() else { return Err(missing(from.as_ref())) };
        objects.put_at(to.clone(), body);
        Ok(())
    }
}
