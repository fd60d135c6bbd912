//! Every server holds, lists and deletes what it is given.

use std::process::Command;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::bucket::Bucket;
use super::memory::{MemoryServer, Options};
use super::servers::{self, Kind};
use crate::support::wait;

/// More than a page, and more than a bulk delete takes.
const MANY: usize = 1100;

#[expect(clippy::disallowed_methods, reason = "it is the deletion that is tried")]
async fn fill_list_and_empty(bucket: &Bucket) {
    let mut expected: Vec<String> =
        (0..MANY).map(|number| format!("so/{:02x}/{number:04}/data", number % 97)).collect();
    expected.sort();
    let objects: Vec<(String, Bytes)> =
        expected.iter().map(|key| (key.clone(), Bytes::from(key.clone()))).collect();
    bucket.put_all(objects).await;
    let store = bucket.store();
    assert_eq!(bucket.keys("so").await, expected);
    let below: Vec<&String> = expected.iter().filter(|key| key.starts_with("so/05/")).collect();
    assert_eq!(bucket.keys("so/05").await.iter().collect::<Vec<_>>(), below);
    let answer = store.get(&Path::from(&*expected[7])).await.expect("an object");
    assert_eq!(answer.bytes().await.expect("its bytes"), expected[7]);
    let missing = store.head(&Path::from("so/none")).await;
    assert!(matches!(missing, Err(object_store::Error::NotFound { .. })), "{missing:?}");

    let doomed: Vec<_> = expected.iter().map(|key| Ok(Path::from(&**key))).collect();
    let deleted: Vec<Path> =
        store.delete_stream(futures::stream::iter(doomed).boxed()).try_collect().await.expect("deletions");
    assert_eq!(deleted.len(), MANY);
    assert!(bucket.keys("so").await.is_empty());
}

#[test]
fn in_memory() {
    let server = MemoryServer::start(Options::default());
    wait(fill_list_and_empty(server.bucket()));
    assert!(server.snapshot().is_empty());
    assert_eq!(server.count("PutObject"), MANY);
    assert_eq!(server.count("DeleteObjects"), MANY.div_ceil(1000));
}

#[test]
fn seaweedfs() {
    wait(fill_list_and_empty(&servers::bucket(Kind::SeaweedFs)));
}

#[test]
fn moto() {
    wait(fill_list_and_empty(&servers::bucket(Kind::Moto)));
}

#[test]
fn azurite() {
    wait(fill_list_and_empty(&servers::bucket(Kind::Azurite)));
}

#[test]
fn fake_gcs() {
    wait(fill_list_and_empty(&servers::bucket(Kind::FakeGcs)));
}

/// Two traps of a real server, which the one in memory sets as well: see its options.
#[test]
fn seaweedfs_lists_by_directories_and_starts_after_them() {
    let bucket = servers::bucket(Kind::SeaweedFs);
    let keys = ["so/a-b/x", "so/a/x", "so/a/y", "so/b/x"];
    let objects = keys.map(|key| (key.to_owned(), Bytes::from(key)));
    wait(bucket.put_all(objects));
    let listed = |listing| wait(super::of_memory::listed(listing));
    assert_eq!(listed(bucket.store().list(None)), ["so/a/x", "so/a/y", "so/a-b/x", "so/b/x"]);
    let offset = Path::from("so/a");
    assert_eq!(listed(bucket.store().list_with_offset(None, &offset)), ["so/a-b/x", "so/b/x"]);
}

#[test]
fn a_child_process_is_led_to_its_bucket_and_nowhere_else() {
    for (kind, url) in servers::ALL.into_iter().zip(["s3://", "s3://", "az://", "gs://"]) {
        let bucket = servers::bucket(kind);
        assert_eq!(bucket.url("some/where"), format!("{url}{}/some/where", bucket.name()));
        let mut command = Command::new("env");
        bucket.lead(&mut command);
        let output = command.output().expect("env runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let clouds = ["AWS_", "AZURE_", "AZURITE_", "GOOGLE_"];
        let mut found: Vec<&str> =
            text.lines().filter(|line| clouds.iter().any(|cloud| line.starts_with(cloud))).collect();
        let mut expected: Vec<String> =
            bucket.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_hundred_buckets_fit_on_a_server() {
    for kind in servers::ALL {
        for _ in 0..25 {
            let bucket = servers::bucket(kind);
            wait(bucket.put_all([("a/b".to_owned(), Bytes::from("c"))]));
            assert_eq!(wait(bucket.keys("a")), ["a/b"], "{kind:?}");
        }
    }
}
