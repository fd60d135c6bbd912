//! The registries and clients behave as the other tests assume.

use super::content;
use super::corpus;
use super::on_both_versions;
use super::server::{Options, Registry, Version};
use super::world::Fate;

on_both_versions!(
    a_pushed_image_pulls_back_from_a_restarted_registry,
    everything_pushed_is_served_before_a_sweep,
    an_index_over_blobs_is_taken_by_2_8_and_by_3_x_beside_its_cache,
    read_only_refuses_pushes,
);

fn a_pushed_image_pulls_back_from_a_restarted_registry(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), Options::default());
    let client = registry.client();
    let bytes = content::bytes("layer", 100_000);
    let whole = client.push_blob("a/b", &bytes);
    let chunked = client.push_blob_in_chunks("c", &bytes, 30_000);
    assert_eq!(whole, chunked);
    client.mount("d", &whole, "a/b").expect(201);
    registry.stop();
    let options = Options { cache_in_memory: true, read_only: true, ..Options::default() };
    let registry = Registry::start(version, root.path(), options);
    for repository in ["a/b", "c", "d"] {
        assert_eq!(registry.client().blob(repository, &whole).expect(200).body, bytes);
    }
    assert!(registry.client().blob("e", &whole).is_clean_404());
}

fn everything_pushed_is_served_before_a_sweep(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), Options::default());
    let world = corpus::populate(&registry.client(), version);
    world.check(&registry.client(), &[Fate::Kept, Fate::Removed]);
}

/// BuildKit's cache: a sweep of a store of either version may meet it.
fn an_index_over_blobs_is_taken_by_2_8_and_by_3_x_beside_its_cache(version: Version) {
    for cache_in_memory in [false, true] {
        let root = tempfile::tempdir().expect("a directory");
        let options = Options { cache_in_memory, ..Options::default() };
        let registry = Registry::start(version, root.path(), options);
        let world = corpus::populate(&registry.client(), version);
        let taken = world.stored.iter().any(|stored| stored.repository == "cache/build");
        assert_eq!(taken, version == Version::V2 || cache_in_memory);
    }
}

fn read_only_refuses_pushes(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), Options { read_only: true, ..Options::default() });
    registry.client().mount("a", &content::sha256(b""), "b").expect(405);
}
