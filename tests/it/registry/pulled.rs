//! What was pulled and what runs stays, beside a policy that would let it go.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::clients::push_with_skopeo;
use super::command::{regsweep, sweep_offline};
use super::on_both_versions;
use super::server::{AccessLog, Options, Registry, Version};
use super::skopeo::{self, Layout};
use super::world::{Fate, World};
use crate::support::present;

on_both_versions!(
    a_pull_that_the_registry_logged_keeps_a_tag_that_its_age_would_not,
    what_runs_stays_and_a_source_that_is_silent_stops_the_run,
);

const POLICY: &str = "\
version: 1
grace: 0
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
pulls: { max_gap: 365d }
policies:
  - name: everything
    repositories: [\"**\"]
    clock: CLOCK
    tags: { other: { keep: { within: 30d } } }
    untagged: { keep: { within: 30d } }
";

/// Lets everything in a store have been written 60 days ago.
fn grow_older(directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            grow_older(&path);
        } else {
            let file = fs::File::open(&path).expect("a file");
            file.set_modified(present() - Duration::from_secs(60 * 86_400)).expect("a time");
        }
    }
}

fn pushed(version: Version, root: &Path, pull: bool) -> (World, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let registry =
        Registry::start(version, root, Options { access_log: AccessLog::On, ..Options::default() });
    let world = push_with_skopeo(&registry, &mut Layout::new(directory.path()));
    for tag in world.tags.iter().filter(|tag| pull && tag.fate == Fate::Kept) {
        let pulled = tempfile::tempdir().expect("a directory");
        skopeo::pull(&format!("{}/{}:{}", registry.address(), tag.repository, tag.name), pulled.path())
            .expect(0);
    }
    let log = registry.log();
    registry.stop();
    grow_older(root);
    (world, log)
}

fn assert_swept(version: Version, root: &Path, world: &World) {
    let registry = Registry::start(version, root, Options::default());
    world.check(&registry.client(), &[Fate::Kept]);
    for tag in world.tags.iter().filter(|tag| tag.fate == Fate::Removed) {
        assert!(registry.client().manifest(&tag.repository, &tag.name).is_clean_404(), "{tag:?}");
    }
}

fn a_pull_that_the_registry_logged_keeps_a_tag_that_its_age_would_not(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let (world, log) = pushed(version, root.path(), true);
    let policy = POLICY.replace("CLOCK", "pulled");
    // Without a record everything may have been pulled a moment ago.
    let report = sweep_offline(root.path(), &policy).expect(0).json();
    assert_eq!(report["planned_steps"], 0, "{report:#}");
    // Somebody has looked for 90 days.
    let ago = jiff::Timestamp::try_from(present() - Duration::from_secs(90 * 86_400)).expect("a moment");
    let first =
        ago.strftime("127.0.0.1 - - [%d/%b/%Y:%H:%M:%S +0000] \"GET /v2/ HTTP/1.1\" 200 2 \"\" \"curl\"");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("access.log");
    fs::write(&file, format!("{first}\n{log}")).expect("a log");
    let imported =
        regsweep([Path::new("pulls"), Path::new("import"), root.path(), &file, Path::new("--json")]);
    let imported = imported.expect(0).json();
    // Two tags, an index and its two images.
    assert!(imported["pulls"].as_u64().expect("a number") >= 4, "{imported:#}\n{log}");

    sweep_offline(root.path(), &policy).expect(0);
    assert_swept(version, root.path(), &world);
}

fn what_runs_stays_and_a_source_that_is_silent_stops_the_run(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let (world, _) = pushed(version, root.path(), false);
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("in-use.txt");
    let sources = format!("protect: {{ in_use: [{{ command: \"cat '{}'\" }}] }}\npolicies:", list.display());
    let policy = POLICY.replace("CLOCK", "tagged").replace("policies:", &sources);
    let before = crate::support::Picture::of(&root.path().join("docker"));
    let refused = sweep_offline(root.path(), &policy).expect(3).json();
    let why = refused["refusals"][0].as_str().expect("a refusal");
    assert!(why.contains("what must not go is not known, so nothing goes: the command `cat"), "{why}");
    assert!(why.contains("exit status: 1: cat:"), "{why}");
    assert_eq!(crate::support::Picture::of(&root.path().join("docker")), before);

    let kept = |name: &str| world.tags.iter().find(|tag| tag.name == name).expect("a tag");
    let (single, multi) = (kept("kept-single"), kept("kept-multi"));
    let named = format!(
        "registry.example:5000/{}:{} docker-pullable://registry.example/{}:{}@{}\n",
        single.repository, single.name, multi.repository, multi.name, multi.digest
    );
    fs::write(&list, named).expect("a list");
    sweep_offline(root.path(), &policy).expect(0);
    assert_swept(version, root.path(), &world);
}
