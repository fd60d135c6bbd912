//! A push that a sweep crosses, beside a real registry: what it needs comes back, and whoever wants to know is told.

use std::time::Duration;

use super::Scene;
use super::webhook::{receiver, sidecar};
use crate::registry::client::Client;
use crate::registry::on_both_versions;
use crate::registry::server::{Options, Registry, Version};

on_both_versions!(a_push_on_the_word_of_a_stale_cache_is_made_whole_and_told_of);

const REPOSITORY: &str = "library/app";

/// The digests that an image's manifest names.
fn blobs_of(manifest: &[u8]) -> Vec<String> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).expect("a manifest");
    let layers = manifest["layers"].as_array().expect("layers").iter();
    layers
        .chain([&manifest["config"]])
        .map(|one| one["digest"].as_str().expect("a digest").to_owned())
        .collect()
}

fn pull(client: &Client, digests: &[String]) -> Vec<Vec<u8>> {
    digests.iter().map(|digest| client.blob(REPOSITORY, digest).expect(200).body).collect()
}

fn a_push_on_the_word_of_a_stale_cache_is_made_whole_and_told_of(version: Version) {
    let scene = Scene::new();
    let cached = Options { cache_in_memory: true, ..Options::default() };
    let registry = Registry::start(version, &scene.path("registry"), cached);
    let client = registry.client();
    let manifest = client.manifest(REPOSITORY, "old").expect(200);
    let digests = blobs_of(&manifest.body);
    // From now on the registry remembers that they are here.
    let bodies = pull(&client, &digests);

    let (address, heard) = receiver();
    let sidecar = sidecar(&scene, &address);
    // The data is in the trash: the manifest, its config and its layer.
    sidecar.until("regsweep_steps_total{action=\"sweep\"}", 3.0);
    assert_eq!(sidecar.sample("regsweep_given_back_objects_total"), Some(0.0));
    let media_type = manifest.header("content-type").expect("a media type").to_owned();
    // A client that is told "here" uploads nothing. The policy keeps this tag.
    client.put_manifest(REPOSITORY, "kept", &media_type, &manifest.body).expect(201);

    let healed = loop {
        let (_, notice) = heard.recv_timeout(Duration::from_secs(60)).expect("a notice");
        if notice["event"] == "healed" {
            break notice;
        }
        assert_eq!(notice["event"], "finished", "{notice}");
    };
    assert_eq!(healed["schema"], "regsweep/notice/1");
    assert!(healed["given_back"].as_u64().expect("a number") > 0 && healed["run"].is_string(), "{healed}");
    assert!(healed["done"]["heal"].as_u64().expect("a number") > 0, "{healed}");
    // All of it may take another run.
    let runs = sidecar.sample("regsweep_runs_total{result=\"done\"}").expect("a number");
    sidecar.until("regsweep_runs_total{result=\"done\"}", runs + 3.0);
    assert!(sidecar.sample("regsweep_given_back_objects_total").expect("a number") >= 3.0);
    assert_eq!(sidecar.terminate(), Some(143));

    // A registry that remembers nothing.
    drop(client);
    registry.stop();
    let registry = Registry::start(version, &scene.path("registry"), cached);
    let client = registry.client();
    assert_eq!(client.manifest(REPOSITORY, "kept").expect(200).body, manifest.body);
    assert!(pull(&client, &digests) == bodies, "not byte for byte");
}
