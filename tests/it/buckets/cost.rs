//! What a run costs in requests, by the formula that the product promises.

use super::memory::{Etags, MemoryServer, Options};
use super::{PREFIX, Scene};
use serde_json::Value;

/// Requests that a survey makes however small the store is: two levels to find the registry and its parts, the blobs',
/// one beginning for blobs, repositories and own state each, four for what is remembered, and one for uploads in parts.
const ONCE: usize = 13;

fn number(report: &Value, path: &[&str]) -> usize {
    usize::try_from(super::number(report, path)).expect("a small number")
}

fn served() -> (Scene, MemoryServer) {
    let scene =
        Scene::new(&regsweep::synth::Recipe { seed: 3, tags: 30, ..regsweep::synth::Recipe::default() });
    let server = MemoryServer::start(Options::default());
    server.insert_tree(&scene.store(), PREFIX);
    (scene, server)
}

/// Objects that were read, by what their keys end with.
fn reads(server: &MemoryServer, end: &str) -> usize {
    server.requests().iter().filter(|one| one.operation == "GetObject" && one.key.ends_with(end)).count()
}

#[test]
fn a_plan_lists_a_page_for_a_thousand_objects_and_reads_each_manifest_once() {
    let (scene, server) = served();
    let objects = server.snapshot().len();
    assert!(objects > 4000, "{objects}");
    server.forget_requests();
    let report = scene.with_policy(server.bucket(), "plan", &["--offline", "--json"]).expect(0).json();
    let lists = server.count("ListObjectsV2");
    assert!(lists <= objects.div_ceil(1000) * 5 / 4 + ONCE, "{lists} for {objects} objects");
    // Content that several repositories have is one manifest.
    let manifests = server.snapshot().keys().filter(|key| key.contains("/revisions/")).count();
    let read = reads(&server, "/data");
    assert!(read > 100 && read <= manifests, "{read} of {manifests}");
    assert_eq!(reads(&server, "/link"), 0, "no link is read: its ETag says what it holds");
    assert!(server.count("HeadObject") <= 1);
    // The report counts what the server saw.
    let lists = lists + server.count("ListMultipartUploads");
    assert_eq!(number(&report, &["requests", "list"]), lists);
    assert_eq!(number(&report, &["requests", "get"]), server.count("GetObject"));
    assert_eq!(number(&report, &["requests", "stat"]), server.count("HeadObject"));

    server.forget_requests();
    let again = scene.with_policy(server.bucket(), "plan", &["--offline", "--json"]).expect(0).json();
    assert_eq!(server.count("GetObject"), 0, "the second run reads no manifest");
    assert_eq!(again["plan"]["steps"], report["plan"]["steps"]);
    assert!(server.count("ListObjectsV2") <= lists);

    server.forget_requests();
    let without = scene
        .with_policy(server.bucket(), "plan", &["--offline", "--json", "--manifest-cache", "off"])
        .expect(0)
        .json();
    assert_eq!(reads(&server, "/data"), read);
    assert_eq!(without["plan"]["steps"], report["plan"]["steps"]);
}

#[test]
fn where_etags_say_nothing_each_tag_is_read_and_nothing_else() {
    let (scene, server) = served();
    let report = scene.with_policy(server.bucket(), "plan", &["--offline", "--json"]).expect(0).json();
    let opaque = MemoryServer::start(Options { etags: Etags::Opaque, ..Options::default() });
    opaque.insert_tree(&scene.store(), PREFIX);
    let told = scene.with_policy(opaque.bucket(), "plan", &["--offline", "--json"]).expect(0).json();
    assert_eq!(reads(&opaque, "/link"), number(&told, &["plan", "header", "saw", "tags"]));
    assert_eq!(told["plan"]["steps"], report["plan"]["steps"]);
    assert_eq!(number(&told, &["requests", "get"]), opaque.count("GetObject"));
}

#[test]
fn a_sweep_deletes_a_thousand_objects_with_one_request() {
    let (scene, server) = served();
    let before = server.snapshot().len();
    server.forget_requests();
    let report = scene.with_policy(server.bucket(), "run", &["--offline", "--json"]).expect(0).json();
    let done = |action: &str| number(&report, &["executed", "done", action]);
    let (manifests, links, blobs) = (done("delete-manifest"), done("unlink"), done("sweep"));
    assert!(blobs > 500, "{report:#}");
    // Each stage is deleted in batches of a thousand steps; one with more keys than that takes another request.
    // Trying whether the store honours conditions deletes what was tried, before and after.
    let batches = 2 + manifests.div_ceil(1000) * 2 + links.div_ceil(1000) + blobs.div_ceil(1000);
    assert!(server.count("DeleteObjects") <= batches, "{:?} for {batches}", server.counts());
    assert_eq!(server.count("CopyObject"), blobs, "each blob is in the trash");
    // The look before and the look at the copies are pages of names, not a request for each.
    // Only where less than a hundred are left each is asked for by itself, and so is each file of an upload.
    assert!(server.count("HeadObject") <= blobs / 4, "{:?}", server.counts());
    let pages = before.div_ceil(1000) * 5 / 4 + blobs.div_ceil(1000) + ONCE * 2;
    assert!(server.count("ListObjectsV2") <= before.div_ceil(1000) + pages, "{:?}", server.counts());
    let trash = server.snapshot().keys().filter(|key| key.contains("/.regsweep/trash/")).count();
    assert_eq!(trash, blobs);
    assert!(server.snapshot().len() < before + 40);
}
