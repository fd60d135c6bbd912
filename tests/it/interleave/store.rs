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

/// Objects by key, and the time.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// Content, and when it was written, in seconds.
    pub keys: BTreeMap<String, (Bytes, u64)>,
    /// Seconds since 1970.
    pub now: u64,
}

impl Objects {
    pub fn put(&mut self, key: &str, body: impl Into<Bytes>) {
        self.keys.insert(key.to_owned(), (body.into(), self.now));
    }

    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.keys.get(key).map(|(body, _)| body)
    }

    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Keys below a prefix.
    pub fn below<'o>(&'o self, prefix: &'o str) -> impl Iterator<Item = &'o String> {
        self.keys
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(key, _)| key)
            .take_while(move |key| key.starts_with(prefix))
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
    /// Keys on a page.
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

fn meta(key: &str, body: &Bytes, written: u64) -> Result<ObjectMeta> {
    Ok(ObjectMeta {
        location: Path::parse(key)?,
        last_modified: (UNIX_EPOCH + Duration::from_secs(written)).into(),
        size: body.len() as u64,
        // Not an MD5: links are read.
        e_tag: None,
        version: None,
    })
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
        let after = options.page_token.as_ref().or(options.offset.as_ref());
        let mut result = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: Extensions::default(),
        };
        let mut last = None;
        let mut token = None;
        for key in objects.below(prefix).filter(|key| after.is_none_or(|after| *key > after)) {
            let deeper = options.delimiter.as_ref().and_then(|delimiter| {
                key[prefix.len()..].find(&**delimiter).map(|at| &key[..prefix.len() + at])
            });
            if let Some(deeper) = deeper {
                let path = Path::parse(deeper)?;
                if result.common_prefixes.last() != Some(&path) {
                    result.common_prefixes.push(path);
                }
                continue;
            }
            if result.objects.len() == self.page {
                token = last;
                break;
            }
            let (body, written) = &objects.keys[key];
            result.objects.push(meta(key, body, *written)?);
            last = Some(key.clone());
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
        objects.put(location.as_ref(), Bytes::from(payload));
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
        let Some((body, written)) = objects.keys.get(location.as_ref()) else {
            return Err(missing(location.as_ref()));
        };
        let meta = meta(location.as_ref(), body, *written)?;
        let range = 0..meta.size;
        let body = body.clone();
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
        objects.put(to.as_ref(), body);
        Ok(())
    }
}
