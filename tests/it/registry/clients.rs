//! Images that skopeo pushed, and that it pulls after a sweep.

use std::fs;

use serde_json::Value;

use super::client::Client;
use super::command::{self, POLICY};
use super::content::{self, Descriptor, Manifest};
use super::on_both_versions;
use super::server::{Options, Registry, Version};
use super::skopeo::{self, Layout};
use super::world::{Fate, World};

on_both_versions!(
    skopeo_pulls_what_a_sweep_kept_and_not_what_it_removed,
    schema_1_as_far_as_the_registry_takes_it,
);

/// Adds an image to the layout, and to the world as what `repository` will hold.
fn image(layout: &mut Layout, world: &mut World, repository: &str, seed: &str, fate: Fate) -> Manifest {
    let layer = content::bytes(seed, 40_000);
    let config = content::configuration(seed, 1);
    let manifest = content::image(
        content::OCI_MANIFEST,
        &Descriptor::new(content::OCI_CONFIG, &content::sha256(&config), config.len()),
        &[Descriptor::new(content::OCI_LAYER, &content::sha256(&layer), layer.len())],
        None,
    );
    for bytes in [layer, config] {
        layout.blob(&bytes);
        let digest = content::sha256(&bytes);
        world.links.insert((repository.to_owned(), digest.clone()));
        world.blobs.insert(digest, bytes);
    }
    layout.manifest(&manifest);
    world.record(repository, &manifest, fate);
    manifest
}

/// A single image and an index of two, each pushed by skopeo.
pub fn push_with_skopeo(registry: &Registry, layout: &mut Layout) -> World {
    let mut world = World::default();
    let repository = "skopeo/app";
    for (prefix, fate) in [("kept", Fate::Kept), ("dropped", Fate::Removed)] {
        let single = image(layout, &mut world, repository, &format!("{prefix} single"), fate);
        let children: Vec<Descriptor> = ["amd64", "arm64"]
            .iter()
            .map(|architecture| {
                let seed = format!("{prefix} {architecture}");
                image(layout, &mut world, repository, &seed, fate).descriptor()
            })
            .collect();
        let index = content::index(content::OCI_INDEX, &children);
        world.record(repository, &index, fate);
        for (kind, manifest) in [("single", single), ("multi", index)] {
            let tag = format!("{prefix}-{kind}");
            layout.named(&tag, &manifest);
            skopeo::push(layout, &tag, &format!("{}/{repository}:{tag}", registry.address()));
            world.tag(repository, &tag, &manifest.digest, fate);
        }
    }
    world
}

fn skopeo_pulls_what_a_sweep_kept_and_not_what_it_removed(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), Options::default());
    let world = push_with_skopeo(&registry, &mut Layout::new(directory.path()));
    world.check(&registry.client(), &[Fate::Kept, Fate::Removed]);
    registry.stop();

    command::sweep_offline(root.path(), POLICY).expect(0);

    let registry = Registry::start(version, root.path(), Options::default());
    world.check(&registry.client(), &[Fate::Kept]);
    for tag in &world.tags {
        let pulled = tempfile::tempdir().expect("a directory");
        let from = format!("{}/{}:{}", registry.address(), tag.repository, tag.name);
        let finished = skopeo::pull(&from, pulled.path());
        if tag.fate == Fate::Removed {
            assert_ne!(finished.status, 0, "{tag:?}");
            assert!(finished.stderr.contains("manifest unknown"), "{}", finished.stderr);
            continue;
        }
        finished.expect(0);
        let stored = world.stored.iter().find(|stored| stored.manifest.digest == tag.digest);
        let manifest = fs::read(pulled.path().join("manifest.json")).expect("the manifest");
        assert_eq!(manifest, stored.expect("recorded").manifest.bytes, "{tag:?}");
    }
}

/// 2.8 still takes schema 1 when configured so: it stores the document without its signature and signs it anew for
/// every pull. 3.x does not know the format.
fn schema_1_as_far_as_the_registry_takes_it(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), Options::default());
    let repository = "legacy/schema1";
    let mut layout = Layout::new(directory.path());
    let mut pushed = Vec::new();
    for tag in ["kept-old", "dropped-old"] {
        let manifest = image(&mut layout, &mut World::default(), repository, tag, Fate::Kept);
        layout.named(tag, &manifest);
        let source = format!("oci:{}:{tag}", directory.path().display());
        let target = format!("docker://{}/{repository}:{tag}", registry.address());
        let copy = ["copy", "--format", "v2s1", "--dest-tls-verify=false", &source, &target];
        let finished = skopeo::skopeo(&copy);
        if version == Version::V3 {
            assert!(finished.stderr.contains("manifest invalid"), "{finished:?}");
            return;
        }
        finished.expect(0);
        pushed.push(SignedImage::pull(&registry.client(), repository, tag));
    }
    registry.stop();

    command::sweep_offline(root.path(), POLICY).expect(0);

    let registry = Registry::start(version, root.path(), Options::default());
    let kept = SignedImage::pull(&registry.client(), repository, "kept-old");
    assert_eq!(kept, pushed[0]);
    assert!(registry.client().manifest(repository, "dropped-old").is_clean_404());
    assert!(registry.client().manifest(repository, &pushed[1].digest).is_clean_404());
    let unshared = pushed[1].layers.iter().filter(|layer| !kept.layers.contains(layer));
    for (digest, _) in unshared {
        assert!(registry.client().blob(repository, digest).is_clean_404(), "{digest}");
    }
}

/// A schema 1 image as a client gets it.
#[derive(Debug, PartialEq, Eq)]
struct SignedImage {
    digest: String,
    unsigned: Value,
    layers: Vec<(String, Vec<u8>)>,
}

impl SignedImage {
    fn pull(client: &Client, repository: &str, tag: &str) -> Self {
        let answer = client.manifest(repository, tag).expect(200);
        let mut unsigned: Value = serde_json::from_slice(&answer.body).expect("JSON");
        unsigned.as_object_mut().expect("a document").remove("signatures").expect("a signature");
        assert_eq!(unsigned["schemaVersion"], 1);
        let layers = unsigned["fsLayers"].as_array().expect("layers").iter().map(|layer| {
            let digest = layer["blobSum"].as_str().expect("a digest").to_owned();
            let bytes = client.blob(repository, &digest).expect(200).body;
            assert_eq!(content::sha256(&bytes), digest);
            (digest, bytes)
        });
        let layers = layers.collect();
        let digest = answer.header("docker-content-digest").expect("a digest").to_owned();
        Self { digest, unsigned, layers }
    }
}
