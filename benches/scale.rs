//! How time and memory of an audit grow with the number of objects: a bucket that is never held anywhere.
//!
//! `cargo bench --bench scale -- [--objects N,N,…]`. Each size is audited in a process of its own, which is also the server:
//! it works out every page of the listing from its number. Half of the objects are blobs, the other half their layer links in
//! a thousand repositories; each repository has a tagged manifest of 20 layers, and all else is unreferenced.
#![allow(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures time and prints"
)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Bound;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use common::{argument, peak_bytes};
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use regsweep::clock::System;
use regsweep::inventory::Depth;
use regsweep::layout::Distribution;
use regsweep::oci::Digest;
use regsweep::pipeline::{self, Job};
use regsweep::plan::Mode;
use regsweep::plan::limits::Limits;
use regsweep::policy::Policy;
use regsweep::report::audit::Classifier;
use regsweep::store::WriteStore;
use serde_json::{Value, json};

const ROOT: &str = "docker/registry/v2";
const REPOSITORIES: u64 = 1000;
const LAYERS: u64 = 20;
const PAGE: usize = 1000;
const LINK_BYTES: u64 = 71;
const DATA_BYTES: u64 = 1000;
const WRITTEN: Duration = Duration::from_secs(1_600_000_000);

/// A registry of `blobs` blobs and as many layer links, by number.
#[derive(Debug)]
struct Generated {
    blobs: u64,
    /// Manifests, their links and tags.
    small: BTreeMap<String, Bytes>,
    lists: AtomicU64,
    gets: AtomicU64,
}

impl std::fmt::Display for Generated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a generated bucket")
    }
}

/// Mixes a number, as `SplitMix64` does.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

impl Generated {
    fn new(objects: u64) -> Self {
        let blobs = objects / 2 / REPOSITORIES * REPOSITORIES;
        let mut this =
            Self { blobs, small: BTreeMap::new(), lists: AtomicU64::new(0), gets: AtomicU64::new(0) };
        for repository in 0..REPOSITORIES {
            let layers: Vec<Value> = (0..LAYERS.min(blobs / REPOSITORIES))
                .map(|layer| {
                    let digest = format!("sha256:{}", this.hex(layer * REPOSITORIES + repository));
                    json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": DATA_BYTES })
                })
                .collect();
            let body = json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": layers[0], "layers": layers[1..],
            });
            let body = Bytes::from(body.to_string());
            let digest = Digest::of(&body).to_string();
            let hex = digest.trim_start_matches("sha256:").to_owned();
            let manifests = format!("{ROOT}/repositories/{}/_manifests", name(repository));
            let link = Bytes::from(digest);
            this.small.insert(format!("{ROOT}/blobs/sha256/{}/{hex}/data", &hex[..2]), body);
            this.small.insert(format!("{manifests}/revisions/sha256/{hex}/link"), link.clone());
            this.small.insert(format!("{manifests}/tags/latest/current/link"), link.clone());
            this.small.insert(format!("{manifests}/tags/latest/index/sha256/{hex}/link"), link);
        }
        this
    }

    fn objects(&self) -> u64 {
        2 * self.blobs + self.small.len() as u64
    }

    /// The digest of a blob: in the order of numbers.
    fn hex(&self, blob: u64) -> String {
        let first = blob * (u64::MAX / self.blobs);
        format!("{first:016x}{:016x}{:016x}{:016x}", mix(blob), mix(blob + 1), mix(blob + 2))
    }

    /// The key of an object: in the order of numbers, blobs first.
    fn key(&self, number: u64) -> String {
        let Some(link) = number.checked_sub(self.blobs) else {
            let hex = self.hex(number);
            return format!("{ROOT}/blobs/sha256/{}/{hex}/data", &hex[..2]);
        };
        let each = self.blobs / REPOSITORIES;
        let (repository, layer) = (link / each, link % each);
        let hex = self.hex(layer * REPOSITORIES + repository);
        format!("{ROOT}/repositories/{}/_layers/sha256/{hex}/link", name(repository))
    }

    /// The number of the first object whose key is not before `key`.
    fn first_from(&self, key: &str) -> u64 {
        let (mut low, mut high) = (0, 2 * self.blobs);
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle).as_str() < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn list_page(&self, prefix: &str, options: &PaginatedListOptions) -> Result<PaginatedListResult> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let mut result = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: Extensions::default(),
        };
        let after = options.page_token.as_ref().or(options.offset.as_ref());
        let mut from =
            after.map_or_else(|| prefix.to_owned(), |after| format!("{after}\0")).max(prefix.into());
        let mut number = self.first_from(&from);
        loop {
            let generated = (number < 2 * self.blobs).then(|| self.key(number));
            let small = self.small.range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded)).next();
            let (key, size) = match (generated, small) {
                (Some(key), Some((other, _))) if key < *other => (key, None),
                (_, Some((other, body))) => (other.clone(), Some(body.len() as u64)),
                (Some(key), None) => (key, None),
                (None, None) => break,
            };
            if !key.starts_with(prefix) {
                break;
            }
            let deeper = options.delimiter.as_ref().and_then(|by| key[prefix.len()..].find(&**by));
            if let Some(at) = deeper {
                let deeper = &key[..prefix.len() + at];
                result.common_prefixes.push(Path::parse(deeper)?);
                from = format!("{deeper}0");
                number = self.first_from(&from);
                continue;
            }
            if result.objects.len() == PAGE {
                let page_token = result.objects.last().map(|last: &ObjectMeta| last.location.to_string());
                return Ok(PaginatedListResult { result, page_token });
            }
            if size.is_none() {
                number += 1;
            }
            let size = size.unwrap_or(if key.ends_with("/data") { DATA_BYTES } else { LINK_BYTES });
            result.objects.push(meta(Path::parse(&key)?, size));
            from.clear();
            let _ = write!(from, "{key}\0");
        }
        Ok(PaginatedListResult { result, page_token: None })
    }
}

fn name(repository: u64) -> String {
    format!("team{:02}/app{repository:03}", repository / 100)
}

fn meta(location: Path, size: u64) -> ObjectMeta {
    ObjectMeta { location, last_modified: (UNIX_EPOCH + WRITTEN).into(), size, e_tag: None, version: None }
}

fn refused() -> Error {
    Error::NotImplemented { operation: "writing".into(), implementer: "a generated bucket".into() }
}

#[async_trait]
impl PaginatedListStore for Generated {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        self.list_page(prefix.unwrap_or_default(), &options)
    }
}

#[async_trait]
impl ObjectStore for Generated {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(refused())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(refused())
    }

    async fn get_opts(&self, location: &Path, _: GetOptions) -> Result<GetResult> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let Some(body) = self.small.get(location.as_ref()).cloned() else {
            return Err(Error::NotFound { path: location.to_string(), source: "no such key".into() });
        };
        let size = body.len() as u64;
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter([Ok(body)]).boxed()),
            meta: meta(location.clone(), size),
            range: 0..size,
            attributes: Attributes::default(),
            extensions: Extensions::default(),
        })
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        stream::iter([Err(refused())]).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // What is asked for in one go is our own state, of which there is none.
        let _ = prefix;
        stream::empty().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let options = PaginatedListOptions { delimiter: Some("/".into()), ..PaginatedListOptions::default() };
        Ok(self.list_page(&prefix, &options)?.result)
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(refused())
    }
}

/// Audits a bucket of so many objects, here.
async fn audit(objects: u64) {
    let server = Arc::new(Generated::new(objects));
    let start = Instant::now();
    let mut token = None;
    let mut listed = 0_u64;
    loop {
        let options = PaginatedListOptions { page_token: token, ..PaginatedListOptions::default() };
        let page = server.list_page("", &options).expect("a page");
        listed += page.result.objects.len() as u64;
        token = page.page_token;
        if token.is_none() {
            break;
        }
    }
    let generating = start.elapsed().as_secs_f64();
    assert_eq!(listed, server.objects(), "the listing is not whole");
    server.lists.store(0, Ordering::Relaxed);

    let store = WriteStore::over(server.clone(), "generated", 4).expect("a store");
    let policy = Policy::parse("version: 1\n", "policy.yaml").expect("a policy");
    let job = Job {
        policy: Some(&policy),
        limits: Limits::of(&policy),
        mode: Mode::Online,
        manifest_cache: None,
        purge_ban: None,
        database: regsweep::evidence::Database::default(),
        records: regsweep::plan::RecordMode::default(),
    };
    let start = Instant::now();
    let survey = pipeline::survey(store.read(), &Distribution, &job, Depth::Everything, &System)
        .await
        .expect("a survey");
    let young = survey.in_grace(&job);
    let (classes, _) = Classifier::run(&survey.inventory, &survey.marks, &young, &job.limits, survey.now);
    let seconds = start.elapsed().as_secs_f64();
    let counted: u64 = classes.values().map(|amount| amount.objects).sum();
    assert_eq!(counted, server.objects(), "every object is in one class");
    let report = json!({
        "objects": counted, "seconds": seconds, "generating": generating, "peak": peak_bytes("self"),
        "lists": server.lists.load(Ordering::Relaxed), "gets": server.gets.load(Ordering::Relaxed),
    });
    println!("{report}");
}

fn main() {
    if let Some(objects) = argument("one") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let objects = objects.parse().expect("a number");
        // On a thread of the runtime, as in the program.
        runtime.block_on(async { tokio::spawn(audit(objects)).await.expect("an audit") });
        return;
    }
    let sizes = argument("objects").unwrap_or_else(|| "1000000,3000000,10000000".into());
    println!(
        "{:>12} {:>9} {:>12} {:>12} {:>9} {:>11} {:>13}",
        "objects", "seconds", "objects/s", "of listing", "LIST", "peak MiB", "bytes/object"
    );
    let mut first: Option<(f64, f64)> = None;
    for size in sizes.split(',') {
        let executable = std::env::current_exe().expect("this program");
        let output = Command::new(executable).args(["--one", size]).output().expect("a run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        let found: Value = serde_json::from_str(text.trim()).expect("one document");
        let number = |key: &str| found[key].as_f64().expect("a number");
        let (objects, seconds, peak) = (number("objects"), number("seconds"), number("peak"));
        println!(
            "{objects:>12} {seconds:>9.1} {:>12.0} {:>12.2} {:>9} {:>11.1} {:>13.1}",
            objects / seconds,
            seconds / number("generating"),
            found["lists"],
            peak / f64::from(1 << 20),
            peak / objects,
        );
        match first {
            None => first = Some((objects, seconds)),
            Some((objects_then, seconds_then)) => println!(
                "{:>12} {:.2} times the objects, {:.2} times the seconds",
                "",
                objects / objects_then,
                seconds / seconds_then
            ),
        }
    }
}
