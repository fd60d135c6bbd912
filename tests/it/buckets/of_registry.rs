//! A real registry on a bucket takes images from a real client, and gives them back.

use super::bucket::Bucket;
use super::memory::{MemoryServer, Options};
use super::servers::{self, Kind};
use crate::registry::content::{self, Descriptor, Manifest};
use crate::registry::on_both_versions;
use crate::registry::server::{Options as Configuration, Registry, Storage, Version};
use crate::registry::skopeo::{self, Layout};
use crate::support::wait;

on_both_versions!(in_memory, on_seaweedfs);

fn image(layout: &mut Layout) -> Manifest {
    let (layer, config) = (content::bytes("layer", 200_000), content::configuration("image", 1));
    let manifest = content::image(
        content::OCI_MANIFEST,
        &Descriptor::new(content::OCI_CONFIG, &content::sha256(&config), config.len()),
        &[Descriptor::new(content::OCI_LAYER, &content::sha256(&layer), layer.len())],
        None,
    );
    layout.blob(&layer);
    layout.blob(&config);
    layout.named("one", &manifest);
    manifest
}

fn push_and_pull(version: Version, bucket: &Bucket, root: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut layout = Layout::new(directory.path());
    let manifest = image(&mut layout);
    let storage = Storage::Bucket(bucket, root);
    let registry = Registry::start_on(version, storage, Configuration::default());
    skopeo::push(&layout, "one", &format!("{}/team/app:one", registry.address()));
    registry.stop();

    let registry = Registry::start_on(version, storage, Configuration::default());
    let pulled = tempfile::tempdir().expect("a directory");
    skopeo::pull(&format!("{}/team/app:one", registry.address()), pulled.path()).expect(0);
    let bytes = std::fs::read(pulled.path().join("manifest.json")).expect("the manifest");
    assert_eq!(bytes, manifest.bytes);

    let link = format!("{}/docker/registry/v2/repositories/team/app/_manifests/tags/one/current/link", &root);
    let keys = wait(bucket.keys(""));
    assert!(keys.iter().any(|key| key == link.trim_start_matches('/')), "{keys:#?}");
}

fn in_memory(version: Version) {
    for root in ["", "/some/where"] {
        let server = MemoryServer::start(Options::default());
        push_and_pull(version, server.bucket(), root);
    }
}

fn on_seaweedfs(version: Version) {
    for root in ["", "/some/where"] {
        push_and_pull(version, &servers::bucket(Kind::SeaweedFs), root);
    }
}
