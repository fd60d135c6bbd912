//! Sweeps beside a registry that takes pushes all the while: links go, data waits.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::command::{self, Finished, POLICY};
use super::corpus;
use super::on_both_versions;
use super::server::{Options, Registry, Version};
use super::sweep::{files, filled_store, registry_directory};
use super::world::{Fate, Stored};

on_both_versions!(
    nothing_younger_than_the_grace_goes,
    a_running_registry_serves_what_is_kept_and_takes_pushes_of_what_was_removed,
    what_an_online_sweep_left_goes_once_the_registry_is_stopped,
    an_image_pushed_on_the_word_of_a_stale_cache_is_made_whole_by_the_next_sweep,
);

/// The policy with a grace: the real clock runs here, so a test waits for the grace to pass.
fn policy(grace: &str) -> String {
    POLICY.replace("grace: 0", &format!("grace: {grace}"))
}

fn sweep_online(root: &Path, grace: &str) -> Finished {
    command::sweep_online(root, &policy(grace))
}

fn nothing_younger_than_the_grace_goes(version: Version) {
    let (root, _) = filled_store(version);
    let before = files(&registry_directory(root.path()));
    sweep_online(root.path(), "1h").expect(0);
    assert!(before == files(&registry_directory(root.path())), "something young changed");
}

fn a_running_registry_serves_what_is_kept_and_takes_pushes_of_what_was_removed(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), Options::default());
    let world = corpus::populate(&registry.client(), version);
    thread::sleep(Duration::from_millis(1_500));

    sweep_online(root.path(), "1s").expect(0);

    // Directories that are empty now may be about to be filled by a push: the catalogue still shows them.
    world.check_content(&registry.client(), &[Fate::Kept]);
    // Nobody may have been told "here" of data that has gone.
    world.check_all_data(root.path());
    world.push_removed_again(&registry.client());
}

fn what_an_online_sweep_left_goes_once_the_registry_is_stopped(version: Version) {
    let (root, world) = filled_store(version);
    thread::sleep(Duration::from_millis(1_500));
    sweep_online(root.path(), "1s").expect(0);
    command::sweep_offline(root.path(), POLICY).expect(0);
    let registry = Registry::start(version, root.path(), Options::default());
    world.check(&registry.client(), &[Fate::Kept]);
    world.check_data(root.path(), &[Fate::Kept]);
}

/// The cache in memory answers "here" for layers whose links have gone: the client uploads nothing, and the image it
/// pushes has no layer links. Its data was only condemned, so the next run writes the links again.
fn an_image_pushed_on_the_word_of_a_stale_cache_is_made_whole_by_the_next_sweep(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let cached = Options { cache_in_memory: true, ..Options::default() };
    let registry = Registry::start(version, root.path(), cached);
    let world = corpus::populate(&registry.client(), version);
    world.check(&registry.client(), &[Fate::Kept, Fate::Removed]);
    thread::sleep(Duration::from_millis(1_500));
    sweep_online(root.path(), "1s").expect(0);
    let stored = world.stored.iter().find(|stored| stored.repository == "gone/entirely").expect("an image");
    let Stored { repository, manifest, .. } = stored;
    for digest in &manifest.blobs {
        registry.client().blob(repository, digest).expect(200);
    }
    let answer = registry.client().put_manifest(repository, "kept-now", manifest.media_type, &manifest.bytes);
    answer.expect(201);
    registry.stop();
    let registry = Registry::start(version, root.path(), cached);
    for digest in &manifest.blobs {
        assert!(registry.client().blob(repository, digest).is_clean_404(), "the cache was not stale");
    }

    sweep_online(root.path(), "1s").expect(0);

    assert_eq!(registry.client().manifest(repository, "kept-now").expect(200).body, manifest.bytes);
    for digest in &manifest.blobs {
        assert!(registry.client().blob(repository, digest).expect(200).body == world.blobs[digest]);
    }
}
