//! Objects that are too large for one request to copy go to the trash in parts, and come back in parts.

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use regsweep::oci::Digest;
use regsweep::plan::Mode;
use regsweep::store::{Access, BucketLocation, Copying, Location, WriteStore};
use regsweep::sweep::restore::Wanted;

use super::bucket::Bucket;
use super::memory::{Effect, Etags, Fault, MemoryServer, Options};
use super::servers::{self, Kind};
use super::sweeping::{keys, upload};
use super::{KEEP_TAGS, PREFIX, Scene};
use crate::support::{self, Cycle, cycle_on, data_key, days_later, restore_on, wait};

/// S3 takes no part below 5 MiB but the last.
const PART: u64 = 5 << 20;

/// Above one part is large.
const COPYING: Copying = Copying { whole: PART, part: PART, most: PART };

/// A blob of three parts that nothing refers to: its key in the store, and its content.
fn large() -> (String, Bytes) {
    let length = usize::try_from(2 * PART + 17).expect("a small number");
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let content: Bytes = std::iter::repeat_with(&mut next).take(length).collect();
    (data_key(&Digest::of(&content).to_string()), content)
}

fn open(location: BucketLocation) -> WriteStore {
    let access = Access { copying: COPYING, ..Access::DEFAULT };
    wait(async { WriteStore::open(&Location::Bucket(location), &access).expect("a store") })
}

fn run(store: &WriteStore) -> Cycle {
    let policy = support::policy(KEEP_TAGS);
    cycle_on(store, &support::job(Some(&policy), Mode::Offline), &days_later(0))
}

/// Copies of the large blob in the trash.
fn copies(bucket: &Bucket, key: &str) -> Vec<String> {
    let hex = key.trim_end_matches("/data").rsplit('/').next().expect("a digest").to_owned();
    let all = wait(bucket.keys(""));
    all.into_iter().filter(|key| key.contains("/.regsweep/trash/") && key.ends_with(&hex)).collect()
}

fn no_upload_is_left(bucket: &Bucket) {
    let (status, text) = bucket.ask_s3("GET", "?uploads");
    assert_eq!((status, text.matches("<UploadId>").count()), (200, 0), "{text}");
}

/// A registry and the large blob in a bucket.
fn fill(bucket: &Bucket) -> (String, Bytes) {
    upload(&Scene::tiny(), bucket);
    let (key, content) = large();
    wait(bucket.put_all([(format!("{PREFIX}{key}"), content.clone())]));
    (key, content)
}

fn goes_and_comes_back(bucket: &Bucket) {
    let (key, content) = fill(bucket);
    let before = keys(bucket);
    let store = open(bucket.location(PREFIX));
    let cycle = run(&store);
    let executed = cycle.executed();
    assert!(executed.failed.is_empty() && executed.count("sweep") > 10, "{executed:#?}");
    assert!(executed.freed_bytes > 2 * PART);
    assert!(!keys(bucket).contains(&key), "it is in its place still");
    let copies = copies(bucket, &key);
    assert_eq!(copies.len(), 1, "{copies:?}");
    let read =
        |key: &str| wait(async { bucket.store().get(&key.into()).await.unwrap().bytes().await.unwrap() });
    assert!(read(&copies[0]) == content, "the copy is another");
    no_upload_is_left(bucket);

    let restored = restore_on(&store, &Wanted::Run(cycle.run.clone()), &days_later(0));
    assert!(restored.failed.is_empty() && restored.lost.is_empty(), "{restored:?}");
    assert_eq!(keys(bucket), before);
    assert!(read(&format!("{PREFIX}{key}")) == content, "what came back is another");
    no_upload_is_left(bucket);
}

#[test]
fn in_memory() {
    let server = MemoryServer::start(Options::default());
    goes_and_comes_back(server.bucket());
    assert_eq!(server.count("UploadPartCopy"), 6, "three parts each way: {:?}", server.counts());
    assert_eq!(server.count("CompleteMultipartUpload"), 2);
    assert!(server.uploads().is_empty());
}

#[test]
fn in_memory_where_tags_are_no_md5() {
    let options = Options { etags: Etags::Opaque, ..Options::default() };
    goes_and_comes_back(MemoryServer::start(options).bucket());
}

#[test]
fn on_seaweedfs() {
    goes_and_comes_back(&servers::bucket(Kind::SeaweedFs));
}

#[test]
fn on_moto() {
    goes_and_comes_back(&servers::bucket(Kind::Moto));
}

/// A run in which something goes wrong with the copy of the large blob: it stays, and nothing is left over.
fn stays_when(fault: Fault) -> (MemoryServer, Cycle) {
    let server = MemoryServer::start(Options::default());
    let (key, content) = fill(server.bucket());
    server.fault(fault);
    let cycle = run(&open(server.bucket().location(PREFIX)));
    let executed = cycle.executed();
    assert_eq!(executed.failed.len(), 1, "{:#?}", executed.failed);
    assert!(executed.failed[0].why.starts_with("cannot copy"), "{:#?}", executed.failed);
    assert!(executed.count("sweep") > 10, "everything else goes: {executed:#?}");
    assert!(server.get(&format!("{PREFIX}{key}")).expect("it stays").bytes == content);
    assert!(copies(server.bucket(), &key).is_empty());
    (server, cycle)
}

#[test]
fn an_upload_is_given_up_when_a_part_or_its_end_is_refused() {
    for operation in ["UploadPartCopy", "CompleteMultipartUpload", "CreateMultipartUpload"] {
        let (server, _) = stays_when(Fault::nth(operation, 1, Effect::ACCESS_DENIED));
        assert!(server.uploads().is_empty(), "{operation}");
        server.heal();
        let again = run(&open(server.bucket().location(PREFIX)));
        assert!(again.executed().failed.is_empty() && again.executed().count("sweep") == 1, "{operation}");
    }
}

#[test]
fn an_upload_that_an_interrupted_run_left_is_given_up_by_the_next() {
    let server = MemoryServer::start(Options::default());
    fill(server.bucket());
    server.fault(Fault::always("AbortMultipartUpload", Effect::ACCESS_DENIED));
    server.fault(Fault::nth("UploadPartCopy", 2, Effect::ACCESS_DENIED));
    let cycle = run(&open(server.bucket().location(PREFIX)));
    assert_eq!(cycle.executed().failed.len(), 1);
    assert_eq!(server.uploads().len(), 1, "it could not be given up");
    server.heal();
    // As if the process had died before it wrote its end.
    assert!(server.remove(&format!("{PREFIX}.regsweep/runs/{}/report.json", cycle.run)));
    run(&open(server.bucket().location(PREFIX)));
    assert!(server.uploads().is_empty());
}

#[test]
fn an_end_whose_answer_was_lost_is_an_end() {
    let server = MemoryServer::start(Options::default());
    let (key, content) = fill(server.bucket());
    server.fault(Fault::nth("CompleteMultipartUpload", 1, Effect::LoseReply));
    let cycle = run(&open(server.bucket().location(PREFIX)));
    assert!(cycle.executed().failed.is_empty(), "{:#?}", cycle.executed().failed);
    assert!(server.get(&format!("{PREFIX}{key}")).is_none());
    assert!(server.get(&copies(server.bucket(), &key)[0]).expect("a copy").bytes == content);
}

/// Parts of two objects are never put together.
#[test]
fn what_is_replaced_while_it_is_copied_stays() {
    let server = MemoryServer::start(Options::default());
    let (key, content) = fill(server.bucket());
    let (key, replaced) = (format!("{PREFIX}{key}"), Bytes::from(vec![7; content.len()]));
    server.fault(Fault::nth("UploadPartCopy", 3, Effect::Halt));
    let store = open(server.bucket().location(PREFIX));
    let cycle = std::thread::scope(|scope| {
        let cycle = scope.spawn(|| run(&store));
        while server.halted() == 0 {
            assert!(!cycle.is_finished(), "it never came to the third part");
            std::thread::yield_now();
        }
        server.insert(&key, replaced.clone(), support::present());
        server.heal();
        cycle.join().expect("a cycle")
    });
    let failed = &cycle.executed().failed;
    assert!(failed.len() == 1 && failed[0].why.starts_with("cannot copy"), "{failed:#?}");
    assert!(server.get(&key).expect("it stays").bytes == replaced);
    assert!(server.uploads().is_empty());
}

/// The client library keeps such a key to itself, so a part cannot be copied with it.
#[test]
fn with_a_key_of_the_customers_it_stays_and_says_why() {
    let server = MemoryServer::start(Options::default());
    let (key, _) = fill(server.bucket());
    let mut location = server.bucket().location(PREFIX);
    location.set("aws_server_side_encryption", "sse-c");
    location.set("aws_sse_customer_key_base64", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let cycle = run(&open(location));
    let executed = cycle.executed();
    assert!(executed.failed.is_empty(), "{:#?}", executed.failed);
    let why: Vec<&str> = executed.skipped.iter().map(|left| left.why.as_str()).collect();
    assert!(why.len() == 1 && why[0].contains("with a key of the customer's"), "{why:?}");
    assert!(server.get(&format!("{PREFIX}{key}")).is_some());
}
