//! An S3 server within the test process: real signatures, real XML, and objects in memory that a test can look at, change
//! behind the client's back, and have fail. It has threads of its own, so that a child process can be its client while
//! the test waits for it.

pub mod faults;
mod listing;
mod multipart;
mod objects;
mod operations;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::SignedDuration;
use md5::{Digest as _, Md5};
use regsweep::clock::{Clock as _, System};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::runtime::Runtime;

use super::bucket::Bucket;
use crate::support::{Files, Picture, STATE, Thing};

pub use faults::{Effect, Fault};
use objects::Objects;
pub use objects::{Order, Stored};

const ACCESS_KEY: &str = "AKIAMEMORY";
const SECRET_KEY: &str = "secret-of-memory";

/// What a listing makes of `start-after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartAfter {
    /// What S3 does.
    #[default]
    Honoured,
    /// Nothing.
    Ignored,
    /// Leaves out everything below the name as well, as `SeaweedFS` does.
    SkipsSubtree,
}

/// What an `ETag` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Etags {
    /// The MD5 of the content, as S3 has it for what was put at once and not encrypted with a key of KMS.
    #[default]
    Md5,
    /// Something that looks like an MD5 and is none, as S3 has it with SSE-KMS.
    Opaque,
}

/// What becomes of `If-Match` and `If-None-Match` of a request that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conditions {
    /// What S3 does.
    #[default]
    Honoured,
    /// Nothing, and nobody is told, as with Garage.
    Ignored,
}

/// The answer to `GetBucketVersioning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versioning {
    /// It was never on.
    #[default]
    Never,
    /// It is on.
    Enabled,
    /// It was on.
    Suspended,
}

/// How the server behaves. All but the order can change while it runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of its only bucket.
    pub bucket: String,
    /// In which order keys are listed.
    pub order: Order,
    /// Keys and common prefixes in a page of a listing at most.
    pub page: usize,
    /// What a listing makes of `start-after`.
    pub start_after: StartAfter,
    /// What an `ETag` says.
    pub etags: Etags,
    /// What becomes of conditions.
    pub conditions: Conditions,
    /// The answer to `GetBucketVersioning`.
    pub versioning: Versioning,
    /// Refuses everything that writes with 403.
    pub read_only: bool,
    /// What every request takes longer.
    pub latency: Duration,
    /// How far the server's clock is ahead of the machine's.
    pub skew: SignedDuration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bucket: "registry".to_owned(),
            order: Order::default(),
            page: 1000,
            start_after: StartAfter::default(),
            etags: Etags::default(),
            conditions: Conditions::default(),
            versioning: Versioning::default(),
            read_only: false,
            latency: Duration::ZERO,
            skew: SignedDuration::ZERO,
        }
    }
}

/// A request that came with a valid signature, whatever its answer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// S3's name of the operation, such as `ListObjectsV2`.
    pub operation: String,
    /// The key in its path; empty for a request about the bucket.
    pub key: String,
}

/// An upload in parts that is neither complete nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// What it would become.
    pub key: String,
    /// When it was begun.
    pub started: SystemTime,
    /// The parts that came, by their numbers.
    pub parts: BTreeMap<i32, Stored>,
}

/// What the server's threads and the test share.
struct Shared {
    options: Mutex<Options>,
    objects: Mutex<Objects>,
    uploads: Mutex<BTreeMap<String, Upload>>,
    faults: Mutex<Vec<Fault>>,
    requests: Mutex<Vec<Request>>,
    begun: AtomicU64,
    /// Connections that are open.
    open: AtomicUsize,
    /// Requests that were halted since the server was last healed.
    halted: AtomicUsize,
    /// Changes when the server is healed.
    healed: tokio::sync::watch::Sender<()>,
}

/// A test that failed while it held the lock has said so already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).expect("a digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

impl Shared {
    fn options(&self) -> Options {
        lock(&self.options).clone()
    }

    /// Counts a request, and answers what goes wrong with it.
    fn meet(&self, operation: &str, key: &str) -> Vec<Effect> {
        lock(&self.requests).push(Request { operation: operation.to_owned(), key: key.to_owned() });
        lock(&self.faults).iter_mut().filter_map(|fault| fault.meet(operation, key)).collect()
    }

    fn now(&self) -> SystemTime {
        (System.now() + lock(&self.options).skew).into()
    }

    /// An object with this content.
    fn stored(&self, bytes: Bytes, modified: SystemTime) -> Stored {
        // What is encrypted anew, as by a copy, has another tag.
        let salt = match lock(&self.options).etags {
            Etags::Md5 => String::new(),
            Etags::Opaque => format!("encrypted {}", lock(&self.requests).len()),
        };
        let etag = hex(&Md5::new().chain_update(&bytes).chain_update(salt).finalize());
        Stored { bytes, etag, modified }
    }

    /// Tells the test that a request came so far, and waits for the server to be healed.
    async fn halt(&self) {
        let mut healed = self.healed.subscribe();
        self.halted.fetch_add(1, Ordering::SeqCst);
        let _ = healed.changed().await;
    }

    /// Begins an upload in parts; its id.
    fn begin(&self, upload: Upload) -> String {
        let id = format!("upload-{:08}", self.begun.fetch_add(1, Ordering::Relaxed));
        lock(&self.uploads).insert(id.clone(), upload);
        id
    }
}

/// A running server; dropped, it stops.
pub struct MemoryServer {
    shared: Arc<Shared>,
    bucket: Bucket,
    runtime: Option<Runtime>,
}

impl MemoryServer {
    /// Starts a server with an empty bucket on a free port.
    pub fn start(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("memory-server")
            .enable_all()
            .build()
            .expect("threads");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
        let bucket = Bucket::s3(&options.bucket, &endpoint, ACCESS_KEY, SECRET_KEY);
        let shared = Arc::new(Shared {
            objects: Mutex::new(Objects::new(options.order)),
            options: Mutex::new(options),
            uploads: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            begun: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            halted: AtomicUsize::new(0),
            healed: tokio::sync::watch::Sender::new(()),
        });
        let mut builder = S3ServiceBuilder::new(operations::Operations(shared.clone()));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        builder.set_access(wire::Gate(shared.clone()));
        let service = builder.build();
        let of_connections = shared.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            wire::serve(listener, service, of_connections).await;
        });
        Self { shared, bucket, runtime: Some(runtime) }
    }

    /// How clients find the bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Changes how the server behaves from now on.
    pub fn set(&self, change: impl FnOnce(&mut Options)) {
        change(&mut lock(&self.shared.options));
    }

    /// Has something go wrong from now on, beside what does already.
    pub fn fault(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
        self.shared.halted.store(0, Ordering::SeqCst);
        self.shared.healed.send_replace(());
    }

    /// How many requests were halted since the server was last healed.
    pub fn halted(&self) -> usize {
        self.shared.halted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Replaces everything that the bucket holds.
    pub fn replace(&self, objects: &BTreeMap<String, Stored>) {
        let order = lock(&self.shared.options).order;
        let mut held = lock(&self.shared.objects);
        *held = Objects::new(order);
        for (key, stored) in objects {
            held.put(key, stored.clone());
        }
    }

    /// Adds or replaces an object.
    pub fn insert(&self, key: &str, bytes: impl Into<Bytes>, modified: SystemTime) {
        let stored = self.shared.stored(bytes.into(), modified);
        lock(&self.shared.objects).put(key, stored);
    }

    /// Adds the files below a directory, with their times, as `prefix` and their paths in it.
    pub fn insert_tree(&self, root: &Path, prefix: &str) {
        for (path, (thing, modified)) in Picture::of(root).0 {
            if let Thing::File(bytes) = thing {
                self.insert(&format!("{prefix}{path}"), bytes, modified);
            }
        }
    }

    /// Removes an object; whether it was there.
    pub fn remove(&self, key: &str) -> bool {
        lock(&self.shared.objects).remove(key).is_some()
    }

    /// One object.
    pub fn get(&self, key: &str) -> Option<Stored> {
        lock(&self.shared.objects).get(key).cloned()
    }

    /// All objects by their keys, in the order of bytes whatever the order of listings.
    pub fn snapshot(&self) -> BTreeMap<String, Stored> {
        lock(&self.shared.objects).all()
    }

    /// The objects below `prefix`, named without it, as the files of a store: regsweep's own state left out.
    pub fn files(&self, prefix: &str) -> Files {
        let named = self.snapshot().into_iter().filter_map(|(key, stored)| {
            let key = key.strip_prefix(prefix).filter(|key| !key.starts_with(STATE))?.to_owned();
            Some((key, (stored.bytes.to_vec(), stored.modified)))
        });
        Files(named.collect())
    }

    /// Begins an upload in parts, as a client does that then goes away; its id.
    pub fn insert_upload(&self, key: &str, started: SystemTime, parts: &[&[u8]]) -> String {
        let parts = (1..)
            .zip(parts)
            .map(|(number, bytes)| (number, self.shared.stored(Bytes::copy_from_slice(bytes), started)));
        self.shared.begin(Upload { key: key.to_owned(), started, parts: parts.collect() })
    }

    /// The uploads in parts that were begun and not ended, by their ids.
    pub fn uploads(&self) -> BTreeMap<String, Upload> {
        lock(&self.shared.uploads).clone()
    }

    /// All requests in the order in which they came, since the start or since they were forgotten.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// How many requests there were for an operation.
    pub fn count(&self, operation: &str) -> usize {
        lock(&self.shared.requests).iter().filter(|request| request.operation == operation).count()
    }

    /// How many requests there were for each operation.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in lock(&self.shared.requests).iter() {
            *counts.entry(request.operation.clone()).or_default() += 1;
        }
        counts
    }

    /// Forgets the requests.
    pub fn forget_requests(&self) {
        lock(&self.shared.requests).clear();
    }
}

impl Drop for MemoryServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
