//! The main job on a bucket comes out as it does in a directory, on every server that takes what it writes.

use bytes::Bytes;

use super::bucket::Bucket;
use super::memory::{Etags, MemoryServer, Options};
use super::servers::{self, Kind};
use super::{PREFIX, Scene, number, part};
use crate::registry::client::Client;
use crate::registry::command::POLICY;
use crate::registry::corpus;
use crate::registry::on_both_versions;
use crate::registry::server::{Options as Configuration, Registry, Storage, Version};
use crate::registry::world::{Fate, World};
use crate::support::{Files, wait};

on_both_versions!(a_real_registry_in_memory, a_real_registry_on_moto, a_real_registry_on_seaweedfs);

/// The keys of the registry in a bucket, as they are in a directory.
pub fn keys(bucket: &Bucket) -> Vec<String> {
    let all = wait(bucket.keys(""));
    all.iter()
        .filter_map(|key| key.strip_prefix(PREFIX))
        .filter(|key| !key.starts_with(".regsweep/"))
        .map(Into::into)
        .collect()
}

/// Puts the scene's registry into a bucket, and something beside it.
pub fn upload(scene: &Scene, bucket: &Bucket) {
    let files = Files::of(&scene.store()).0;
    let objects = files.into_iter().map(|(key, (bytes, _))| (format!("{PREFIX}{key}"), Bytes::from(bytes)));
    wait(bucket.put_all(objects));
    wait(bucket.put_all([("pre/fixed/docker/registry/v2/beside".to_owned(), Bytes::from("not ours"))]));
}

/// An audit of a bucket, without what is in it since now: what was uploaded just now is young.
fn audits_as_the_directory(scene: &Scene, bucket: &Bucket) {
    let here = scene.in_directory("audit", &["--json"]).expect(0).json();
    let there = scene.with_policy(bucket, "audit", &["--json"]).expect(0).json();
    for report in [&here, &there] {
        assert!(number(report, &["saw", "tags"]) > 5 && number(report, &["saw", "manifests"]) > 20);
    }
    for path in [&["saw"][..], &["classes"]] {
        assert_eq!(part(&here, path), part(&there, path));
    }
}

fn sweeps_and_restores_as_a_directory(scene: &Scene, bucket: &Bucket) {
    upload(scene, bucket);
    let before = keys(bucket);
    assert_eq!(before, scene.keys());
    audits_as_the_directory(scene, bucket);
    assert_eq!(keys(bucket), before, "an audit changed something");

    scene.in_directory("run", &["--offline"]).expect(0);
    let report = scene.with_policy(bucket, "run", &["--offline", "--json"]).expect(0).json();
    let after = keys(bucket);
    assert_eq!(after, scene.keys());
    assert!(before.len() > after.len() + 50, "{} of {}", after.len(), before.len());

    let again = scene.with_policy(bucket, "run", &["--offline", "--json"]).expect(0).json();
    assert_eq!(number(&again, &["planned_steps"]), 0, "{again:#}");
    assert_eq!(keys(bucket), after);

    let run = part(&report, &["run"]).as_str().expect("a name");
    scene.on(bucket, &["restore", &bucket.url(PREFIX), run]).expect(0);
    assert_eq!(keys(bucket), before);
    let all = wait(bucket.keys(""));
    assert!(all.contains(&"pre/fixed/docker/registry/v2/beside".to_owned()), "what is beside the registry");
}

#[test]
fn in_memory() {
    sweeps_and_restores_as_a_directory(&Scene::small(), MemoryServer::start(Options::default()).bucket());
}

/// With SSE-KMS a tag looks like an MD5 and is none, and that of a copy is another one.
#[test]
fn in_memory_where_copies_have_other_tags() {
    let options = Options { etags: Etags::Opaque, ..Options::default() };
    sweeps_and_restores_as_a_directory(&Scene::tiny(), MemoryServer::start(options).bucket());
}

#[test]
fn a_run_that_took_the_last_repository_could_not_be_undone() {
    // An upload under way would be left.
    let recipe = regsweep::synth::Recipe { uploads: 0, repositories: 2, tags: 4, ..Default::default() };
    let (scene, server) = (Scene::new(&recipe), MemoryServer::start(Options::default()));
    let bucket = server.bucket();
    upload(&scene, bucket);
    let before = keys(bucket);
    let nothing_stays =
        super::KEEP_TAGS.replace("keep: all", "keep: none") + "repositories: { empty: remove }\n";
    std::fs::write(scene.directory.path().join("policy.yaml"), nothing_stays).expect("the policy");
    let run = scene.with_policy(bucket, "run", &["--offline", "--json"]).expect(0).json();
    let left: Vec<String> = keys(bucket).into_iter().filter(|key| key.contains("/repositories/")).collect();
    assert!(left.is_empty(), "{left:#?}");
    // Nothing of the registry is there, and what a run took can be told of all the same.
    let can = |report: &serde_json::Value, path: &[&str]| {
        let said = part(report, path)[0].as_str().expect("a sentence").to_owned();
        assert!(said.contains("of 1 run in the trash") && said.contains("`regsweep restore "), "{said}");
    };
    can(&scene.with_policy(bucket, "audit", &["--json"]).expect(0).json(), &["notes"]);
    can(&scene.with_policy(bucket, "plan", &["--offline", "--json"]).expect(0).json(), &["plan", "notes"]);
    let again = scene.with_policy(bucket, "run", &["--offline", "--json"]).expect(0).json();
    assert_eq!(number(&again, &["planned_steps"]), 0, "{again:#}");
    let name = run["run"].as_str().expect("its name");
    scene.on(bucket, &["restore", &bucket.url(PREFIX), name]).expect(0);
    let linked = |keys: Vec<String>| -> Vec<String> {
        keys.into_iter().filter(|key| key.contains("/repositories/")).collect()
    };
    assert_eq!(linked(keys(bucket)), linked(before));
}

#[test]
fn on_seaweedfs() {
    sweeps_and_restores_as_a_directory(&Scene::small(), &servers::bucket(Kind::SeaweedFs));
}

#[test]
fn on_moto() {
    sweeps_and_restores_as_a_directory(&Scene::tiny(), &servers::bucket(Kind::Moto));
}

#[test]
fn on_azurite() {
    sweeps_and_restores_as_a_directory(&Scene::tiny(), &servers::bucket(Kind::Azurite));
}

/// That server takes no writes of Google's XML protocol: the state is elsewhere, and nothing is put in the trash.
#[test]
fn on_fake_gcs() {
    let bucket = servers::bucket(Kind::FakeGcs);
    let scene = Scene::tiny();
    upload(&scene, &bucket);
    let policy = scene.directory.path().join("policy.yaml");
    let text = std::fs::read_to_string(&policy).expect("the policy");
    std::fs::write(&policy, text.replace("trash: { keep: 7d }", "trash: { keep: 0 }")).expect("the policy");
    let state = Scene::text(&scene.directory.path().join("state"));
    let before = keys(&bucket);
    scene.in_directory("run", &["--offline"]).expect(0);
    let report =
        scene.with_policy(&bucket, "run", &["--offline", "--json", "--state", &state]).expect(0).json();
    let after = keys(&bucket);
    assert_eq!(after, scene.keys());
    assert!(before.len() > after.len() + 50);
    assert_eq!(report["executed"]["failed"].as_array().map(Vec::len), Some(0));
    let again =
        scene.with_policy(&bucket, "run", &["--offline", "--json", "--state", &state]).expect(0).json();
    assert_eq!(number(&again, &["planned_steps"]), 0, "{again:#}");
}

#[test]
fn an_audit_and_a_plan_on_fake_gcs() {
    let bucket = servers::bucket(Kind::FakeGcs);
    let scene = Scene::tiny();
    upload(&scene, &bucket);
    audits_as_the_directory(&scene, &bucket);
    let here = scene.in_directory("plan", &["--offline", "--json"]).expect(0).json();
    let there = scene.with_policy(&bucket, "plan", &["--offline", "--json"]).expect(0).json();
    assert_eq!(part(&here, &["plan", "freed"]), part(&there, &["plan", "freed"]));
    assert!(number(&there, &["plan", "freed", "blobs"]) > 10);
}

/// Restored data has the bytes that it had, and the links too.
#[test]
fn what_comes_back_is_what_was_there() {
    let server = MemoryServer::start(Options::default());
    let scene = Scene::small();
    server.insert_tree(&scene.store(), PREFIX);
    let bytes = || -> Vec<(String, Bytes)> {
        let all = server.snapshot().into_iter().filter(|(key, _)| !key.contains("/.regsweep/"));
        all.map(|(key, stored)| (key, stored.bytes)).collect()
    };
    let before = bytes();
    let report = scene.with_policy(server.bucket(), "run", &["--offline", "--json"]).expect(0).json();
    assert_ne!(bytes(), before);
    let run = part(&report, &["run"]).as_str().expect("a name");
    scene.on(server.bucket(), &["restore", &server.bucket().url(PREFIX), run]).expect(0);
    assert_eq!(bytes(), before);
    // What was restored is kept for a while, so there is nothing to take again.
    let again = scene.with_policy(server.bucket(), "run", &["--offline", "--json"]).expect(0).json();
    assert_eq!(number(&again, &["freed", "blobs"]), 0, "{again:#}");
}

/// A registry on its own S3 driver; a sweep while it is stopped; the registry again.
fn sweeps_a_real_registry(
    version: Version,
    bucket: &Bucket,
    root: &str,
    check: fn(&World, &Client, &[Fate]),
) {
    let storage = Storage::Bucket(bucket, root);
    let registry = Registry::start_on(
        version,
        storage,
        Configuration { cache_in_memory: true, ..Configuration::default() },
    );
    let world = corpus::populate(&registry.client(), version);
    let configuration = std::fs::read_to_string(registry.configuration()).expect("its configuration");
    registry.stop();

    let directory = tempfile::tempdir().expect("a directory");
    let (policy, config) = (directory.path().join("policy.yaml"), directory.path().join("config.yml"));
    std::fs::write(&policy, POLICY).expect("the policy");
    std::fs::write(&config, configuration).expect("the configuration");
    let (policy, config) = (Scene::text(&policy), Scene::text(&config));
    let scene = Scene { directory, now: std::time::SystemTime::UNIX_EPOCH };
    let arguments = ["run", "--registry-config", &config, "-p", &policy, "--offline", "--json"];
    scene.on(bucket, &arguments).expect(0);
    let again = scene.on(bucket, &arguments).expect(0).json();
    assert_eq!(number(&again, &["planned_steps"]), 0, "{again:#}");

    let registry = Registry::start_on(version, storage, Configuration::default());
    check(&world, &registry.client(), &[Fate::Kept]);
    registry.stop();
    let registry = Registry::start_on(
        version,
        storage,
        Configuration { cache_in_memory: true, ..Configuration::default() },
    );
    world.push_removed_again(&registry.client());
}

fn a_real_registry_in_memory(version: Version) {
    let server = MemoryServer::start(Options::default());
    sweeps_a_real_registry(version, server.bucket(), "/some/where", World::check);
}

fn a_real_registry_on_moto(version: Version) {
    sweeps_a_real_registry(version, &servers::bucket(Kind::Moto), "some/where/", World::check);
}

/// `SeaweedFS` goes on telling of directories for minutes after the last key in them has gone, and a registry's lists of
/// tags and repositories believe it, after its own deletes as well.
fn a_real_registry_on_seaweedfs(version: Version) {
    sweeps_a_real_registry(version, &servers::bucket(Kind::SeaweedFs), "", World::check_images);
}
