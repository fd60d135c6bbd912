//! The server in memory does what its options and faults say.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;
use object_store::path::Path;
use object_store::{
    Error, ObjectMeta, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, Result, UpdateVersion,
};
use regsweep::clock::{Clock as _, System};

use super::memory::{Conditions, Effect, Etags, Fault, MemoryServer, Options, Order, StartAfter, Versioning};
use crate::support::{days_later, present, wait};

/// The keys of a listing in the order in which they came.
pub async fn listed(listing: BoxStream<'static, Result<ObjectMeta>>) -> Vec<String> {
    try_listed(listing).await.expect("a listing")
}

async fn try_listed(listing: BoxStream<'static, Result<ObjectMeta>>) -> Result<Vec<String>> {
    listing.map_ok(|meta| String::from(meta.location)).try_collect().await
}

/// A server that holds these keys.
fn holding(options: Options, keys: &[&str]) -> MemoryServer {
    let server = MemoryServer::start(options);
    for key in keys {
        server.insert(key, Bytes::copy_from_slice(key.as_bytes()), present());
    }
    server
}

fn path(key: &str) -> Path {
    Path::from(key)
}

/// Puts in one way or another.
async fn put(server: &MemoryServer, key: &str, mode: PutMode) -> Result<Option<String>> {
    let options = PutOptions { mode, ..PutOptions::default() };
    let payload = PutPayload::from_static(b"new");
    Ok(server.bucket().store_once().put_opts(&path(key), payload, options).await?.e_tag)
}

const KEYS: [&str; 5] = ["so/a-b/x", "so/a/x", "so/a/y", "so/b/x", "so/b/x/z"];

#[test]
fn keys_come_in_the_order_of_the_option_whatever_the_page() {
    for page in [1, 2, 3, 1000] {
        let bytes = holding(Options { page, ..Options::default() }, &KEYS);
        assert_eq!(wait(listed(bytes.bucket().store().list(None))), KEYS);
        assert_eq!(bytes.count("ListObjectsV2"), KEYS.len().div_ceil(page));

        let order = Order::Directories;
        let directories = holding(Options { order, page, ..Options::default() }, &KEYS);
        let expected = ["so/a/x", "so/a/y", "so/a-b/x", "so/b/x", "so/b/x/z"];
        assert_eq!(wait(listed(directories.bucket().store().list(None))), expected);
        assert_eq!(directories.snapshot().into_keys().collect::<Vec<_>>(), KEYS);

        for server in [bytes, directories] {
            let level = wait(server.bucket().store().list_with_delimiter(Some(&path("so")))).unwrap();
            let mut prefixes: Vec<String> = level.common_prefixes.into_iter().map(String::from).collect();
            prefixes.sort();
            assert_eq!(prefixes, ["so/a", "so/a-b", "so/b"]);
            assert!(level.objects.is_empty());
        }
    }
}

#[test]
fn start_after_is_honoured_ignored_or_skips_a_subtree() {
    let cases = [
        (StartAfter::Honoured, vec!["so/a/y", "so/b/x", "so/b/x/z"], vec!["so/b/x/z"]),
        (StartAfter::SkipsSubtree, vec!["so/a/y", "so/b/x", "so/b/x/z"], vec![]),
        (StartAfter::Ignored, KEYS.to_vec(), KEYS.to_vec()),
    ];
    for (start_after, from_file, from_directory) in cases {
        for page in [1, 1000] {
            let server = holding(Options { page, start_after, ..Options::default() }, &KEYS);
            let after = |key| wait(listed(server.bucket().store().list_with_offset(None, &path(key))));
            assert_eq!(after("so/a/x"), from_file, "{start_after:?}");
            assert_eq!(after("so/b/x"), from_directory, "{start_after:?}");
        }
    }
}

#[test]
fn conditions_are_honoured_or_ignored_in_silence() {
    let update =
        |e_tag: &str| PutMode::Update(UpdateVersion { e_tag: Some(format!("\"{e_tag}\"")), version: None });
    let server = holding(Options::default(), &["there"]);
    let present = server.get("there").unwrap().etag;
    assert!(matches!(wait(put(&server, "there", PutMode::Create)), Err(Error::AlreadyExists { .. })));
    assert!(matches!(wait(put(&server, "there", update("other"))), Err(Error::Precondition { .. })));
    assert_eq!(server.get("there").unwrap().bytes, "there");
    wait(put(&server, "there", update(&present))).unwrap();
    wait(put(&server, "new", PutMode::Create)).unwrap();
    assert_eq!(server.get("there").unwrap().bytes, "new");
    assert!(wait(put(&server, "missing", update("any"))).is_err());

    let server = holding(Options { conditions: Conditions::Ignored, ..Options::default() }, &["there"]);
    wait(put(&server, "there", PutMode::Create)).unwrap();
    wait(put(&server, "there", update("other"))).unwrap();
}

#[test]
fn etags_are_md5_or_look_so() {
    let server = MemoryServer::start(Options::default());
    let md5 = "\"22af645d1859cb5ca6da0c484f1f37ea\"";
    assert_eq!(wait(put(&server, "a", PutMode::Overwrite)).unwrap().unwrap(), md5);
    server.set(|options| options.etags = Etags::Opaque);
    let opaque = wait(put(&server, "a", PutMode::Overwrite)).unwrap().unwrap();
    assert!(opaque != md5 && opaque.len() == md5.len());
    let meta = wait(server.bucket().store().head(&path("a"))).unwrap();
    assert_eq!(meta.e_tag, Some(opaque));
}

#[test]
fn versioning_is_what_the_option_says() {
    let server = MemoryServer::start(Options::default());
    for (versioning, said) in [
        (Versioning::Never, None),
        (Versioning::Enabled, Some("<Status>Enabled</Status>")),
        (Versioning::Suspended, Some("<Status>Suspended</Status>")),
    ] {
        server.set(|options| options.versioning = versioning);
        let (status, text) = server.bucket().ask_s3("GET", "?versioning");
        assert_eq!(status, 200, "{text}");
        assert_eq!(text.contains("<Status>"), said.is_some(), "{text}");
        assert!(said.is_none_or(|said| text.contains(said)), "{text}");
    }
}

#[test]
fn refusals_come_when_they_are_due() {
    let refusals = [
        (Effect::SLOW_DOWN, "503"),
        (Effect::INTERNAL_ERROR, "500"),
        (Effect::ACCESS_DENIED, "AccessDenied"),
        (Effect::EXPIRED_TOKEN, "ExpiredToken"),
    ];
    for (effect, said) in refusals {
        let server = holding(Options::default(), &KEYS);
        let store = server.bucket().store_once();
        let key = path(KEYS[0]);
        server.fault(Fault::nth("GetObject", 2, effect));
        wait(store.get(&key)).unwrap();
        let error = format!("{:?}", wait(store.get(&key)).unwrap_err());
        assert!(error.contains(said), "{error}");
        wait(store.get(&key)).unwrap();
        assert_eq!(server.count("GetObject"), 3);
    }
    let server = holding(Options::default(), &KEYS);
    server.fault(Fault::always("*", Effect::ACCESS_DENIED).on(KEYS[1]));
    let store = server.bucket().store_once();
    wait(store.get(&path(KEYS[0]))).unwrap();
    assert!(matches!(wait(store.get(&path(KEYS[1]))), Err(Error::PermissionDenied { .. })));
    server.heal();
    wait(store.get(&path(KEYS[1]))).unwrap();

    server.fault(Fault::from_nth("HeadObject", 2, Effect::INTERNAL_ERROR));
    let heads = [(); 3].map(|()| wait(store.head(&path(KEYS[1]))).is_ok());
    assert_eq!(heads, [true, false, false]);

    server.fault(Fault::nth("PutObject", 1, Effect::SLOW_DOWN));
    wait(server.bucket().store().put(&path("again"), "and again".into())).unwrap();
    assert_eq!(server.count("PutObject"), 2);
}

#[test]
fn listings_are_torn() {
    let server = holding(Options { page: 2, ..Options::default() }, &KEYS);
    server.fault(Fault::nth("ListObjectsV2", 1, Effect::NoToken));
    let (_, text) = server.bucket().ask_s3("GET", "?list-type=2");
    assert!(text.contains("<IsTruncated>true</IsTruncated>"), "{text}");
    assert!(text.contains(KEYS[1]) && !text.contains("NextContinuationToken"), "{text}");

    for effect in [Effect::CutBody, Effect::HangUp, Effect::HangUpMidway] {
        server.heal();
        server.fault(Fault::nth("ListObjectsV2", 2, effect.clone()));
        let result = wait(try_listed(server.bucket().store_once().list(None)));
        assert!(result.is_err(), "{effect:?}: {result:?}");
    }
}

#[test]
fn a_lost_reply_is_no_lost_request() {
    let server = MemoryServer::start(Options::default());
    let store = server.bucket().store_once();
    server.fault(Fault::nth("PutObject", 1, Effect::HangUp));
    wait(store.put(&path("a"), "b".into())).unwrap_err();
    assert!(server.snapshot().is_empty());
    server.fault(Fault::nth("PutObject", 1, Effect::LoseReply));
    wait(store.put(&path("a"), "b".into())).unwrap_err();
    assert_eq!(server.get("a").unwrap().bytes, "b");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it is the deletion that is tried")]
fn a_bulk_delete_refuses_chosen_keys() {
    let server = holding(Options::default(), &KEYS);
    let keys = vec![KEYS[1].to_owned()];
    server.fault(Fault::always("DeleteObjects", Effect::RefuseKeys { keys, code: "AccessDenied" }));
    let doomed = futures::stream::iter(KEYS.map(|key| Ok(path(key)))).boxed();
    let results: Vec<Result<Path>> = wait(server.bucket().store_once().delete_stream(doomed).collect());
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1, "{results:?}");
    assert_eq!(server.snapshot().into_keys().collect::<Vec<_>>(), [KEYS[1]]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it is the deletion that is tried")]
fn read_only_refuses_all_that_writes() {
    let server = holding(Options { read_only: true, ..Options::default() }, &["a"]);
    server.insert_upload("b", present(), &[b"part"]);
    let (before, uploads) = (server.snapshot(), server.uploads());
    let store = server.bucket().store_once();
    assert_eq!(wait(listed(store.list(None))), ["a"]);
    wait(store.get(&path("a"))).unwrap();
    assert!(matches!(wait(store.put(&path("a"), "b".into())), Err(Error::PermissionDenied { .. })));
    wait(store.copy(&path("a"), &path("c"))).unwrap_err();
    wait(store.delete(&path("a"))).unwrap_err();
    assert!(wait(store.put_multipart(&path("d"))).is_err());
    let (status, _) = server.bucket().ask_s3("DELETE", "/b?uploadId=upload-00000000");
    assert_eq!(status, 403);
    assert_eq!((server.snapshot(), server.uploads()), (before, uploads));
}

#[test]
fn every_request_takes_the_latency_and_one_more() {
    let server = holding(Options { latency: Duration::from_millis(60), ..Options::default() }, &["a"]);
    server.fault(Fault::nth("GetObject", 2, Effect::Delay(Duration::from_millis(200))));
    let store = server.bucket().store_once();
    let took = || {
        let start = System.now();
        wait(store.get(&path("a"))).unwrap();
        System.now().duration_since(start)
    };
    assert!(took() >= SignedDuration::from_millis(60));
    assert!(took() >= SignedDuration::from_millis(260));
}

#[test]
fn the_clock_of_the_store_can_be_wrong() {
    let skew = SignedDuration::from_hours(24 * 3);
    let server = MemoryServer::start(Options { skew, ..Options::default() });
    wait(put(&server, "a", PutMode::Overwrite)).unwrap();
    let written = server.get("a").unwrap().modified;
    let expected = SystemTime::from(days_later(3).now());
    assert!(written.duration_since(expected).unwrap_or_default() < Duration::from_secs(60));
    assert!(expected.duration_since(written).unwrap_or_default() < Duration::from_secs(60));
}

#[test]
fn uploads_in_parts_are_listed_completed_and_aborted() {
    let server = MemoryServer::start(Options { page: 2, ..Options::default() });
    let long_ago = present() - Duration::from_hours(240);
    let ids: Vec<String> =
        ["x", "x", "y"].iter().map(|key| server.insert_upload(key, long_ago, &[b"part"])).collect();
    let (_, text) = server.bucket().ask_s3("GET", "?uploads");
    assert_eq!(text.matches("<UploadId>").count(), 2, "{text}");
    assert!(text.contains("<NextUploadIdMarker>upload-00000001</NextUploadIdMarker>"), "{text}");
    let rest = "?uploads&key-marker=x&upload-id-marker=upload-00000001";
    let (_, text) = server.bucket().ask_s3("GET", rest);
    assert!(text.contains(&ids[2]) && text.contains("<IsTruncated>false</IsTruncated>"), "{text}");
    let (status, _) = server.bucket().ask_s3("DELETE", &format!("/x?uploadId={}", ids[0]));
    assert_eq!((status, server.uploads().len()), (204, 2));

    let store = server.bucket().store();
    wait(async {
        let mut upload = store.put_multipart(&path("z")).await.unwrap();
        for part in [&b"first "[..], &b"second"[..]] {
            upload.put_part(Bytes::from_static(part).into()).await.unwrap();
        }
        upload.complete().await.unwrap();
    });
    let stored = server.get("z").unwrap();
    assert_eq!(stored.bytes, "first second");
    assert!(stored.etag.ends_with("-2"), "{}", stored.etag);
    assert_eq!(server.uploads().len(), 2);
}

#[test]
fn a_directory_becomes_objects_and_files_again() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["docker/registry/v2/blobs/x/data", ".regsweep/lease"] {
        let file = directory.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "content").unwrap();
    }
    let server = MemoryServer::start(Options::default());
    server.insert_tree(directory.path(), "some/where/");
    assert_eq!(server.snapshot().len(), 2);
    let files = server.files("some/where/");
    assert_eq!(files, crate::support::Files::of(directory.path()));
    assert!(server.remove("some/where/docker/registry/v2/blobs/x/data"));
    assert!(server.files("some/where/").0.is_empty());
}

#[test]
fn requests_are_counted_by_operation_and_unsigned_ones_refused() {
    let server = holding(Options::default(), &["a"]);
    let store = server.bucket().store();
    wait(store.copy(&path("a"), &path("b"))).unwrap();
    wait(store.head(&path("b"))).unwrap();
    wait(store.head(&path("b"))).unwrap();
    let url = format!("{}/registry/a", server.bucket().endpoint());
    assert_eq!(super::http::status(&url), Some(403));
    let counts: Vec<(String, usize)> = server.counts().into_iter().collect();
    assert_eq!(counts, [("CopyObject".to_owned(), 1), ("HeadObject".to_owned(), 2)]);
    assert_eq!(server.requests()[0].key, "b");
    server.forget_requests();
    assert!(server.requests().is_empty());
}
