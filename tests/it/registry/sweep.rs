//! Push everything, stop the registry, sweep, start it again: what was to stay is served whole, what was to go is a
//! clean 404 and can be pushed again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::command::{self, POLICY};
use super::corpus;
use super::on_both_versions;
use super::server::{Options, Registry, Version};
use super::world::{Fate, World};

on_both_versions!(
    what_is_kept_pulls_byte_for_byte_and_what_is_removed_is_a_clean_404,
    what_was_removed_can_be_pushed_again,
    a_second_sweep_finds_nothing_to_do,
    an_audit_and_a_plan_change_no_file,
    an_unfinished_upload_outlives_a_sweep_that_does_not_ask_for_it,
    no_layers_directory_goes_while_the_repository_has_manifests,
    a_read_only_registry_serves_on_through_a_sweep,
    the_registrys_own_configuration_names_the_store,
);

/// A store with everything in it, its registry stopped.
///
/// It was filled beside a cache, with which 3.x takes BuildKit's indexes over blobs too.
pub fn filled_store(version: Version) -> (TempDir, World) {
    let root = tempfile::tempdir().expect("a directory");
    let registry =
        Registry::start(version, root.path(), Options { cache_in_memory: true, ..Options::default() });
    let world = corpus::populate(&registry.client(), version);
    registry.stop();
    (root, world)
}

/// The same, swept; what was to go has gone.
pub fn swept_store(version: Version) -> (TempDir, World) {
    let (root, world) = filled_store(version);
    world.check_all_data(root.path());
    command::sweep_offline(root.path(), POLICY).expect(0).json();
    world.check_data(root.path(), &[Fate::Kept]);
    (root, world)
}

/// Every file below `directory` with its content; directories without.
pub fn files(directory: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path.clone());
                found.insert(path, None);
            } else {
                let content = fs::read(&path).expect("a readable file");
                found.insert(path, Some(content));
            }
        }
    }
    found
}

/// The part of the store that the registry sees.
pub fn registry_directory(root: &Path) -> PathBuf {
    root.join("docker/registry/v2")
}

fn what_is_kept_pulls_byte_for_byte_and_what_is_removed_is_a_clean_404(version: Version) {
    let (root, world) = swept_store(version);
    let registry = Registry::start(version, root.path(), Options::default());
    world.check(&registry.client(), &[Fate::Kept]);
}

fn what_was_removed_can_be_pushed_again(version: Version) {
    let (root, world) = swept_store(version);
    let cached = Options { cache_in_memory: true, ..Options::default() };
    let registry = Registry::start(version, root.path(), cached);
    world.push_removed_again(&registry.client());
}

fn a_second_sweep_finds_nothing_to_do(version: Version) {
    let (root, _) = swept_store(version);
    let once = files(&registry_directory(root.path()));
    command::sweep_offline(root.path(), POLICY).expect(0);
    let twice = files(&registry_directory(root.path()));
    assert!(once == twice, "the second sweep changed files");
}

fn an_audit_and_a_plan_change_no_file(version: Version) {
    let (root, _) = filled_store(version);
    let before = files(root.path());
    let directory = tempfile::tempdir().expect("a directory");
    let policy = directory.path().join("policy.yml");
    fs::write(&policy, POLICY).expect("the policy");
    let (store, policy) = (root.path().to_str().expect("UTF-8"), policy.to_str().expect("UTF-8"));
    command::regsweep(["audit", store, "--json"]).expect(0).json();
    command::regsweep(["plan", store, "-p", policy, "--offline", "--json"]).expect(0).json();
    assert!(before == files(root.path()), "a command that only reads changed files");
}

fn an_unfinished_upload_outlives_a_sweep_that_does_not_ask_for_it(version: Version) {
    let (root, world) = filled_store(version);
    let uploads = registry_directory(root.path()).join("repositories").join(corpus::ABANDONED_UPLOAD);
    let before = files(&uploads);
    assert!(before.keys().any(|path| path.ends_with("data")), "an upload with data");
    command::sweep_offline(root.path(), POLICY).expect(0);
    world.check_data(root.path(), &[Fate::Kept]);
    assert_eq!(before, files(&uploads));
}

/// 3.x cannot list a repository that has `_manifests` and no `_layers`: its collector aborts there.
fn no_layers_directory_goes_while_the_repository_has_manifests(version: Version) {
    let (root, _) = swept_store(version);
    let files = files(&registry_directory(root.path()));
    let manifests: Vec<&PathBuf> = files.keys().filter(|path| path.ends_with("_manifests")).collect();
    assert!(!manifests.is_empty());
    for path in manifests {
        let layers = path.with_file_name("_layers");
        assert!(files.contains_key(&layers), "{} has gone", layers.display());
    }
}

fn a_read_only_registry_serves_on_through_a_sweep(version: Version) {
    let (root, world) = filled_store(version);
    let registry = Registry::start(version, root.path(), Options { read_only: true, ..Options::default() });
    world.check(&registry.client(), &[Fate::Kept, Fate::Removed]);
    command::sweep_offline(root.path(), POLICY).expect(0);
    world.check(&registry.client(), &[Fate::Kept]);
}

fn the_registrys_own_configuration_names_the_store(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), Options::default());
    let world = corpus::populate(&registry.client(), version);
    let directory = tempfile::tempdir().expect("a directory");
    let configuration = directory.path().join("config.yml");
    let policy = directory.path().join("policy.yml");
    fs::copy(registry.configuration(), &configuration).expect("config.yml");
    fs::write(&policy, POLICY).expect("the policy");
    registry.stop();
    let (configuration, policy) = (configuration.to_str().expect("UTF-8"), policy.to_str().expect("UTF-8"));
    command::regsweep(["run", "--registry-config", configuration, "-p", policy, "--offline"]).expect(0);
    let registry = Registry::start(version, root.path(), Options::default());
    world.check(&registry.client(), &[Fate::Kept]);
}

/// 2.8 finds repositories by their `_layers`, 3.x by their `_manifests`.
mod v3_and_v2_8 {
    use super::*;

    #[test]
    #[ignore = "needs REGSWEEP_REGISTRY_3, the path of a distribution 3.x registry"]
    fn both_versions_list_the_same_repositories_and_tags_after_a_sweep() {
        let (root, world) = swept_store(Version::V2);
        for version in [Version::V2, Version::V3] {
            let registry = Registry::start(version, root.path(), Options::default());
            world.check(&registry.client(), &[Fate::Kept]);
        }
    }
}
