//! What changes between the plan and the sweep, and what cannot be taken: whatever may need the rest keeps it.

use std::path::Path;

use regsweep::clock::Clock as _;
use regsweep::pipeline;
use regsweep::plan::{Mode, Refusal};
use regsweep::store::{Access, ReadStore, WriteStore};
use regsweep::sweep::Executed;
use regsweep::sweep::restore::Wanted;
use regsweep::synth::{Builder, ImageSpec, Link};

use crate::support::{
    Files, cycle, data_key, days_later, job, layer_key, location, look, means, policy, present, restore,
    revision_key, tag_directory, wait,
};
use crate::synth::scratch;

const POLICY: &str = "version: 1
grace: 0
trash: { keep: 0 }
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
classes: { release: { match: [\"v*\"] } }
policies:
  - name: all
    repositories: [\"**\"]
    tags:
      release: { keep: all }
      other: { keep: none }
    untagged: { keep: none }
";

/// `app:v1` stays; `app:old` goes, and so do an untagged image of `app` and one of `other`.
struct Scene {
    root: tempfile::TempDir,
    builder: Builder,
    untagged: String,
    elsewhere: String,
}

impl Scene {
    fn new() -> Self {
        let root = scratch();
        let mut builder = Builder::new(root.path(), present()).unwrap();
        let mut image = |repository: &str, name: &str| {
            let layer = builder.blob(name.as_bytes()).unwrap();
            builder.image(repository, &ImageSpec::new(name, vec![layer])).unwrap()
        };
        let (kept, old) = (image("app", "kept"), image("app", "old"));
        let (untagged, elsewhere) = (image("app", "untagged"), image("other", "elsewhere"));
        builder.tag("app", "v1", &kept).unwrap();
        builder.tag("app", "old", &old).unwrap();
        Self { root, builder, untagged, elsewhere }
    }

    fn root(&self) -> &Path {
        self.root.path()
    }

    /// Plans, changes the store behind the plan's back, and sweeps.
    fn sweep_after(&mut self, change: impl FnOnce(&mut Builder)) -> (Executed, Files, Files) {
        let clock = days_later(40);
        let policy = policy(POLICY);
        let job = job(Some(&policy), Mode::Offline);
        let store = WriteStore::open(&location(self.root()), &Access::DEFAULT).unwrap();
        let session = wait(pipeline::begin(&means(&store, &clock), &job.limits)).unwrap();
        let (_, survey, plan) = look(self.root(), &job, &clock);
        let checked = survey.check(plan, store.read(), &job).unwrap();
        change(&mut self.builder);
        let before = Files::of(self.root());
        let means = means(&store, &clock);
        let swept = pipeline::sweep(&session, &session.run, checked, &survey, &means, &job, || false);
        let executed = wait(swept).unwrap();
        wait(session.lease.release()).unwrap();
        (executed, before, Files::of(self.root()))
    }
}

#[test]
fn a_tag_moved_after_the_plan_keeps_the_image_that_it_points_to_now() {
    let mut scene = Scene::new();
    let untagged = scene.untagged.clone();
    // A client that finds the manifest and all of its layers pushes nothing else.
    let (executed, before, after) =
        scene.sweep_after(|builder| builder.tag("app", "old", &untagged).unwrap());
    after.assert_holds(&before, &before.image_of_tag("app", "old"), "the image of the moved tag");
    assert!(after.0.contains_key(&revision_key("app", &untagged)));
    assert!(executed.skipped.iter().any(|left| left.why.contains("was moved")), "{executed:#?}");
    assert_eq!(executed.count("sweep"), 0, "somebody pushes: no data goes");
    // The next run takes what nobody has come back for.
    let policy = policy(POLICY);
    let clock = days_later(41);
    assert!(cycle(scene.root(), &job(Some(&policy), Mode::Offline), &clock).executed().count("sweep") > 0);
}

#[test]
fn a_layer_linked_again_after_the_plan_is_not_swept() {
    let mut scene = Scene::new();
    let layer = regsweep::synth::sha256_digest(b"untagged");
    // What a push writes when the data is there already.
    let link = layer_key("app", &layer);
    let (executed, before, after) = scene.sweep_after(|builder| {
        builder.at(std::time::Duration::ZERO).layer_link("app", &layer).unwrap();
    });
    assert!(before.0.contains_key(&link));
    for key in [link, data_key(&layer)] {
        assert!(after.0.contains_key(&key), "{key}: {executed:#?}");
    }
    assert!(executed.skipped.iter().any(|left| left.why.contains("written again")), "{executed:#?}");
}

#[test]
fn a_manifest_that_cannot_be_taken_keeps_its_layers() {
    let mut scene = Scene::new();
    let (untagged, elsewhere) = (scene.untagged.clone(), scene.elsewhere.clone());
    let revision = scene.builder.link_path(Link::Revision { repository: "app", digest: &untagged });
    let image = Files::of(scene.root()).image("app", &untagged);
    // Nothing that long is a link, so it is not saved, and what cannot be saved is not taken.
    let length = 2 << 20;
    std::fs::write(&revision, vec![0; length]).unwrap();
    let (executed, before, after) = scene.sweep_after(|_| {});
    assert_eq!(executed.failed.len(), 1, "{executed:#?}");
    after.assert_holds(&before, &image, "the image whose manifest stayed");
    // Elsewhere nothing was left, and everything goes its way.
    assert!(!after.0.contains_key(&data_key(&elsewhere)), "{executed:#?}");
}

#[test]
fn links_far_too_long_do_not_keep_anything_from_going() {
    let mut scene = Scene::new();
    let untagged = scene.untagged.clone();
    scene.builder.tag("app", "v1", &untagged).unwrap();
    let kept = Files::of(scene.root()).target("app", "v1").unwrap();
    assert_eq!(kept, untagged);
    for tag in ["v1", "old"] {
        let directory = scene.root().join(tag_directory("app", tag)).join("index/sha256");
        for entry in std::fs::read_dir(directory).unwrap() {
            std::fs::write(entry.unwrap().path().join("link"), vec![b'a'; 10_000]).unwrap();
        }
    }
    let (executed, before, after) = scene.sweep_after(|_| {});
    assert!(executed.failed.is_empty() && executed.skipped.is_empty(), "{executed:#?}");
    after.assert_holds(&before, &before.image("app", &untagged), "v1");
    let store = ReadStore::open(&location(scene.root()), &Access::DEFAULT).unwrap();
    assert_eq!(store.requests().changes(), 0);
    assert_eq!(after.blobs().len(), 3, "a manifest, a config and a layer: {:?}", after.blobs());
}

#[test]
fn a_stray_tag_to_a_shared_layer_holds_the_layer_and_nothing_else() {
    let mut scene = Scene::new();
    let shared = scene.builder.blob(b"a base layer of many").unwrap();
    for repository in ["one", "two"] {
        let spec = ImageSpec::new(repository, vec![shared.clone()]);
        let image = scene.builder.image(repository, &spec).unwrap();
        scene.builder.tag(repository, "v1", &image).unwrap();
        let layer = scene.builder.blob(format!("{repository}, untagged").as_bytes()).unwrap();
        let spec = ImageSpec::new(format!("{repository}, untagged"), vec![shared.clone(), layer]);
        scene.builder.image(repository, &spec).unwrap();
    }
    scene.builder.dangling_tag("one", "v2", &shared).unwrap();
    let (_, _, after) = scene.sweep_after(|_| {});
    let blobs = after.blobs();
    assert!(blobs.contains_key(&shared));
    for layer in ["one, untagged", "two, untagged"] {
        assert!(!blobs.contains_key(&regsweep::synth::sha256_digest(layer.as_bytes())), "{layer}: {blobs:?}");
    }
}

#[test]
fn a_plan_file_that_a_moved_tag_has_overtaken_is_refused() {
    let mut scene = Scene::new();
    let clock = days_later(40);
    let policy = policy(POLICY);
    let job = job(Some(&policy), Mode::Offline);
    let (_, _, plan) = look(scene.root(), &job, &clock);
    let untagged = scene.untagged.clone();
    scene.builder.tag("app", "old", &untagged).unwrap();
    let (store, survey, _) = look(scene.root(), &job, &clock);
    let refused = survey.check(plan, &store, &job).unwrap_err();
    let moved =
        |refusal: &Refusal| matches!(refusal, Refusal::Unsafe { why, .. } if why.contains("was moved"));
    assert!(refused.refusals.iter().any(moved), "{:#?}", refused.refusals);
}

#[test]
fn where_there_is_no_registry_no_state_is_made() {
    let scene = Scene::new();
    let empty = scratch();
    for place in
        [empty.path().to_path_buf(), scene.root().join("docker"), scene.root().join("docker/registry/v2")]
    {
        for command in ["run", "restore"] {
            let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_regsweep"));
            process.arg(command).arg(&place);
            if command == "restore" {
                process.arg("20260101T000000000Z-00001");
            }
            let output = process.output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(3),
                "{command}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(!place.join(".regsweep").exists(), "{command} made a state in {}", place.display());
        }
    }
}

/// A run beside a registry leaves the directory of a layer link that it takes: a listing of names cannot tell it from one
/// that has its link.
#[test]
fn a_layer_link_whose_directory_was_left_is_written_again() {
    let mut scene = Scene::new();
    let clock = days_later(40);
    let text = POLICY.replace("grace: 0", "grace: 1d").replace("keep: 0", "keep: 7d");
    let policy = policy(&text);
    let job = job(Some(&policy), Mode::Online);
    let layer = regsweep::synth::sha256_digest(b"untagged");
    let link = scene.root().join(layer_key("app", &layer));
    assert_eq!(cycle(scene.root(), &job, &clock).executed().count("unlink"), 6, "three images");
    assert!(!link.exists() && link.parent().unwrap().is_dir());
    // A cache told a client that all of it is there.
    let untagged = scene.untagged.clone();
    scene.builder.revision_link("app", &untagged).unwrap();
    scene.builder.tag("app", "v2", &untagged).unwrap();

    let mended = cycle(scene.root(), &job, &clock);

    assert_eq!(mended.executed().count("relink"), 2, "{:#?}", mended.plan.steps);
    let after = Files::of(scene.root());
    after.assert_holds(&after, &after.image_of_tag("app", "v2"), "the image that was pushed");
    assert!(link.exists());
}

#[test]
fn a_repository_is_brought_back_and_nothing_else() {
    let scene = Scene::new();
    let clock = days_later(40);
    let policy = policy(&POLICY.replace("keep: 0", "keep: 7d"));
    let before = Files::of(scene.root());
    cycle(scene.root(), &job(Some(&policy), Mode::Offline), &clock);
    let gone = Files::of(scene.root());
    assert!(!gone.0.contains_key(&revision_key("other", &scene.elsewhere)));

    restore(scene.root(), &Wanted::Image("other".parse().unwrap()), &clock);

    let back = Files::of(scene.root());
    let of_other = |key: &&String| key.contains("/repositories/other/") && key.ends_with("/link");
    let (then, now): (Vec<_>, Vec<_>) =
        (before.0.keys().filter(of_other).collect(), back.0.keys().filter(of_other).collect());
    assert_eq!(then, now);
    assert!(!then.is_empty() && back.0.contains_key(&data_key(&scene.elsewhere)));
    assert!(!back.0.contains_key(&revision_key("app", &scene.untagged)));
}

/// A push writes the link of its manifest first, and its tag last: in between only the former says that it goes on.
#[test]
fn a_tag_whose_manifest_was_just_pushed_stays() {
    let scene = Scene::new();
    let clock = days_later(40);
    let policy = policy(&POLICY.replace("grace: 0", "grace: 1d").replace("keep: 0", "keep: 7d"));
    let job = job(Some(&policy), Mode::Online);
    let takes = || look(scene.root(), &job, &clock).2.tags_gone();
    assert_eq!(takes(), 1);
    let current =
        std::fs::read_to_string(scene.root().join(tag_directory("app", "old")).join("current/link"));
    let link = scene.root().join(revision_key("app", &current.unwrap()));
    let file = std::fs::File::options().write(true).open(link).unwrap();
    file.set_modified(clock.now().into()).unwrap();
    assert_eq!(takes(), 0);
}

/// A plan may be a day old when it is carried out: what it unlinks is condemned from then on.
#[test]
fn what_an_older_plan_condemns_is_condemned_when_it_is_carried_out() {
    let scene = Scene::new();
    let clock = days_later(40);
    let policy = policy(&POLICY.replace("grace: 0", "grace: 1d").replace("keep: 0", "keep: 7d"));
    let job = job(Some(&policy), Mode::Online);
    let (_, _, plan) = look(scene.root(), &job, &clock);
    clock.advance(std::time::Duration::from_secs(20 * 3600));
    let store = WriteStore::open(&location(scene.root()), &Access::DEFAULT).unwrap();
    let session = wait(pipeline::begin(&means(&store, &clock), &job.limits)).unwrap();
    let (_, survey, _) = look(scene.root(), &job, &clock);
    let checked = survey.check(plan.clone(), store.read(), &job).unwrap();
    let means = means(&store, &clock);
    wait(pipeline::sweep(&session, &session.run, checked, &survey, &means, &job, || false)).unwrap();
    wait(session.lease.release()).unwrap();
    let (_, later, _) = look(scene.root(), &job, &clock);
    assert_eq!(later.memory.condemned.len(), plan.condemned.len());
    assert!(later.memory.condemned.values().all(|one| one.since == clock.now()), "{:?}", later.memory);
}
