//! What a sweep removed comes back whole.

use std::fs;
use std::path::Path;

use super::command::{self, POLICY};
use super::on_both_versions;
use super::server::{Options, Registry, Version};
use super::sweep::swept_store;
use super::world::Fate;

on_both_versions!(
    everything_pulls_byte_for_byte_after_a_restore,
    what_was_restored_outlives_the_next_sweep_by_the_same_policy,
);

/// The names of the runs that the store remembers, oldest first.
fn runs(root: &Path) -> Vec<String> {
    let directory = fs::read_dir(root.join(".regsweep/runs")).expect("the runs");
    let mut names: Vec<String> = directory
        .map(|entry| entry.expect("a run").file_name().into_string().expect("a name in ASCII"))
        .collect();
    names.sort();
    names
}

fn restore_last_run(root: &Path) {
    let store = root.to_str().expect("UTF-8");
    let run = runs(root).pop().expect("a run");
    let listed = command::regsweep(["restore", store]).expect(0);
    assert!(listed.stdout.contains(&run), "the list of what can be undone names {run}:\n{}", listed.stdout);
    command::regsweep(["restore", store, &run, "--json"]).expect(0).json();
}

fn everything_pulls_byte_for_byte_after_a_restore(version: Version) {
    let (root, world) = swept_store(version);
    restore_last_run(root.path());
    let registry = Registry::start(version, root.path(), Options::default());
    world.check(&registry.client(), &[Fate::Kept, Fate::Removed]);
    world.check_all_data(root.path());
}

/// Whoever restored an image has a day to write the policy that keeps it.
fn what_was_restored_outlives_the_next_sweep_by_the_same_policy(version: Version) {
    let (root, world) = swept_store(version);
    restore_last_run(root.path());
    command::sweep_offline(root.path(), POLICY).expect(0);
    let registry = Registry::start(version, root.path(), Options::default());
    world.check(&registry.client(), &[Fate::Kept, Fate::Removed]);
    world.check_all_data(root.path());
}
