//! The registry's own `garbage-collect` as a second opinion: after a sweep it finds nothing, and where the two
//! differ, a test says why.

use std::collections::BTreeSet;
use std::path::Path;

use super::command::{self, Eligible, POLICY};
use super::content;
use super::corpus;
use super::on_both_versions;
use super::server::{Options, Registry, Version};
use super::sweep::{filled_store, registry_directory, swept_store};
use super::world::{Fate, World};

on_both_versions!(
    after_a_sweep_the_registrys_collector_finds_only_the_sha512_layers_that_it_would_lose,
    before_a_sweep_the_registrys_collector_finds_what_no_manifest_needs,
    a_child_of_a_kept_index_stays_where_2_8_would_delete_it,
    a_referrer_of_a_kept_image_stays_where_the_registry_would_delete_it,
    an_empty_link_that_stops_the_registrys_collector_does_not_stop_a_sweep,
);

fn collect(version: Version, root: &Path, delete_untagged: bool) -> Eligible {
    let registry = Registry::start(version, root, Options { read_only: true, ..Options::default() });
    command::garbage_collect(version, &registry.configuration(), delete_untagged)
}

/// The registry marks the sha512 digest that a manifest names, and then deletes the data, which is stored under
/// its sha256 digest.
fn sha512_layers(world: &World, fates: &[Fate]) -> BTreeSet<String> {
    let kept = world.stored.iter().filter(|stored| fates.contains(&stored.fate));
    let blobs = kept.flat_map(|stored| &stored.manifest.blobs);
    let sha512 = blobs.filter(|digest| digest.starts_with("sha512:"));
    sha512.map(|digest| content::sha256(&world.blobs[digest])).collect()
}

fn after_a_sweep_the_registrys_collector_finds_only_the_sha512_layers_that_it_would_lose(version: Version) {
    let (root, world) = swept_store(version);
    let sha512 = sha512_layers(&world, &[Fate::Kept]);
    assert_eq!(sha512.len(), 1);
    let mut expected = Eligible { blobs: sha512.clone(), ..Eligible::default() };
    if version == Version::V3 {
        expected.layer_links = sha512;
    }
    assert_eq!(collect(version, root.path(), false), expected);
}

/// The same comparison with something to find: it shows that the test above could fail.
fn before_a_sweep_the_registrys_collector_finds_what_no_manifest_needs(version: Version) {
    let (root, world) = filled_store(version);
    let fates = [Fate::Kept, Fate::Removed];
    let mut expected = world.unneeded(&fates);
    expected.append(&mut sha512_layers(&world, &fates));
    assert!(expected.len() > 5);
    assert_eq!(collect(version, root.path(), false).blobs, expected);
}

fn a_child_of_a_kept_index_stays_where_2_8_would_delete_it(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), Options::default());
    let world = corpus::one_index(&registry.client());
    registry.stop();
    let children: BTreeSet<String> = world.stored[..2].iter().map(|s| s.manifest.digest.clone()).collect();
    let eligible = collect(version, root.path(), true).manifests;
    match version {
        Version::V2 => assert_eq!(eligible, children),
        Version::V3 => assert_eq!(eligible, BTreeSet::new()),
    }

    command::sweep_offline(root.path(), POLICY).expect(0);

    let registry = Registry::start(version, root.path(), Options::default());
    world.check(&registry.client(), &[Fate::Kept]);
}

fn a_referrer_of_a_kept_image_stays_where_the_registry_would_delete_it(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), Options::default());
    let world = corpus::one_referrer(&registry.client());
    registry.stop();
    let referrer = world.stored[1].manifest.digest.clone();
    assert_eq!(collect(version, root.path(), true).manifests, BTreeSet::from([referrer]));

    command::sweep_offline(root.path(), POLICY).expect(0);

    let registry = Registry::start(version, root.path(), Options::default());
    world.check(&registry.client(), &[Fate::Kept]);
}

/// A revision link is emptied by a crash in the middle of a push (2.x and 3.0 write links in place). The digest
/// stands in the link's path: the manifest stays what it is, and nothing else is lost with it.
fn an_empty_link_that_stops_the_registrys_collector_does_not_stop_a_sweep(version: Version) {
    let (root, world) = filled_store(version);
    let broken = world.stored.iter().find(|stored| stored.repository == "gone/entirely");
    let broken = broken.expect("the repository that empties");
    let hex = content::hex_of(&broken.manifest.digest);
    let link = format!("repositories/gone/entirely/_manifests/revisions/sha256/{hex}/link");
    std::fs::write(registry_directory(root.path()).join(link), b"").expect("an empty link");
    let registry = Registry::start(version, root.path(), Options::default());
    let collector =
        version.command().args(["garbage-collect", "--dry-run"]).arg(registry.configuration()).output();
    assert!(!collector.expect("garbage-collect runs").status.success());
    registry.stop();

    command::sweep_offline(root.path(), POLICY).expect(0);

    world.check_data(root.path(), &[Fate::Kept]);
    let registry = Registry::start(version, root.path(), Options::default());
    for stored in world.stored.iter().filter(|stored| stored.fate == Fate::Kept) {
        registry.client().manifest(&stored.repository, &stored.manifest.digest).expect(200);
        for digest in &stored.manifest.blobs {
            let pulled = registry.client().blob(&stored.repository, digest).expect(200).body;
            assert!(pulled == world.blobs[digest], "{digest}");
        }
    }
}
