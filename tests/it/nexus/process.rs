//! The real command on Nexus blob stores: in directories and buckets, and killed at every point.

use std::process::Output;

use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::buckets::bucket::Bucket;
use crate::buckets::memory::{MemoryServer, Options};
use crate::buckets::servers::{self, Kind};
use crate::crash::{Traced, assert_same, expect, points, regsweep};

/// Keeps every image, and takes what the database does not know at once.
const POLICY: &str = "version: 1
grace: 0
trash: { keep: 7d }
limits: { bytes: 100% }
policies:
  - name: everything
    repositories: [\"**\"]
    tags: { other: { keep: all } }
    untagged: { keep: all }
";

/// Where the blob stores begin in a bucket.
const PREFIX: &str = "pre/fix/";

/// Writes the policy and the evidence, which is of this moment, and answers the arguments of a command.
fn arguments(scene: &Scene, command: &str, store: &str) -> Vec<String> {
    let path = |name: &str| scene.directory.path().join(name).display().to_string();
    std::fs::write(path("policy.yaml"), POLICY).expect("the policy");
    std::fs::write(path("dump.csv"), scene.truth.export()).expect("the evidence");
    std::fs::write(path("index.csv"), scene.truth.index()).expect("the evidence");
    let evidence = format!("{},{}", path("dump.csv"), path("index.csv"));
    [
        command,
        store,
        "-p",
        &path("policy.yaml"),
        "--evidence",
        &evidence,
        "--offline",
        "--json",
        "--concurrency",
        "1",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn run(scene: &Scene, command: &str, store: &Path) -> Output {
    regsweep().args(arguments(scene, command, &store.display().to_string())).output().expect("regsweep runs")
}

fn in_bucket(bucket: &Bucket, arguments: &[String]) -> Value {
    let mut command = regsweep();
    bucket.lead(&mut command);
    expect(&command.args(arguments).env("XDG_CACHE_HOME", "/nonexistent").output().expect("regsweep runs"), 0)
}

fn keys(bucket: &Bucket) -> BTreeSet<String> {
    let all = wait(bucket.keys(""));
    let ours =
        all.iter().filter_map(|key| key.strip_prefix(PREFIX)).filter(|key| !key.starts_with(".regsweep/"));
    ours.map(str::to_owned).collect()
}

/// Audits, sweeps and restores in a bucket, as in a directory.
fn as_in_a_directory(scene: &Scene, bucket: &Bucket) {
    let files = Files::of(&scene.root()).0;
    let objects = files.into_iter().map(|(key, (bytes, _))| (format!("{PREFIX}{key}"), Bytes::from(bytes)));
    wait(bucket.put_all(objects));
    let before = keys(bucket);
    let url = bucket.url(PREFIX);
    let here = expect(&run(scene, "audit", &scene.root()), 0);
    let there = in_bucket(bucket, &arguments(scene, "audit", &url));
    assert_eq!(here["layout"], "nexus");
    for part in ["classes", "saw", "total"] {
        assert_eq!(here[part], there[part], "{part}");
    }
    assert_eq!(keys(bucket), before, "an audit changed something");
    let report = in_bucket(bucket, &arguments(scene, "run", &url));
    let goes = scene.files(&[State::Unknown, State::BytesOnly, State::DeletedUnindexed]);
    assert!(!goes.is_empty());
    assert_eq!(before.difference(&keys(bucket)).cloned().collect::<BTreeSet<_>>(), goes);
    let again = in_bucket(bucket, &arguments(scene, "run", &url));
    assert_eq!(again["planned_steps"], 0, "{again:#}");
    let name = report["run"].as_str().expect("a name").to_owned();
    in_bucket(bucket, &["restore".into(), url, name, "--json".into()]);
    assert_eq!(keys(bucket), before);
    let record = goes.last().expect("a key");
    let back = wait(async {
        let store = bucket.store();
        let path = object_store::path::Path::from(format!("{PREFIX}{record}"));
        object_store::ObjectStoreExt::get(&*store, &path)
            .await
            .expect("an object")
            .bytes()
            .await
            .expect("its bytes")
    });
    assert_eq!(back, std::fs::read(scene.root().join(record)).expect("a file"));
}

#[test]
fn in_memory() {
    for stores in [1, 3] {
        as_in_a_directory(&Scene::of(Era::Mixed, stores), MemoryServer::start(Options::default()).bucket());
    }
}

#[test]
fn on_seaweedfs() {
    let recipe = NexusRecipe { repositories: 1, images: 1, tags: 2, ..NexusRecipe::default() };
    as_in_a_directory(&Scene::new(&recipe), &servers::bucket(Kind::SeaweedFs));
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success(), "cp -a {} {}", from.display(), to.display());
}

/// The files of a store but our own, with content and time.
fn files(store: &Path) -> crate::crash::Tree {
    let meta = |key: &str| std::fs::metadata(store.join(key)).expect("a file").modified().expect("a time");
    let all = Files::of(store).0.into_iter().filter(|(key, _)| !key.starts_with(".regsweep/"));
    all.map(|(key, (bytes, _))| (key.clone(), Some((bytes, meta(&key))))).collect()
}

#[test]
fn a_run_killed_at_any_point_loses_nothing_and_comes_back_whole() {
    let recipe = NexusRecipe { repositories: 1, images: 1, tags: 1, layers: 2, ..NexusRecipe::default() };
    let scene = Scene::new(&recipe);
    let origin = files(&scene.root());
    let place = |name: &str| scene.directory.path().join(name);
    copy(&scene.root(), &place("swept"));
    let (all, output) =
        Traced::start(place("log"), arguments(&scene, "run", &place("swept").display().to_string())).finish();
    expect(&output, 0);
    let swept = files(&place("swept"));
    assert!(swept.len() < origin.len());
    for point in points(all, 24) {
        let what = format!("killed at point {point} of {all}");
        let store = place(&format!("copy-{point}"));
        copy(&scene.root(), &store);
        let arguments = arguments(&scene, "run", &store.display().to_string());
        let killed = Traced::start(place(&format!("log-{point}")), arguments).kill_at(point);
        assert!(killed || point + 3 > all, "{what}: it ended before");
        // At no moment is there a record that can be opened without its content.
        let half = files(&store);
        for (key, content) in &half {
            assert_eq!(origin.get(key), Some(content), "{what}: {key}");
            if let Some(base) = key.strip_suffix(".properties") {
                let bytes = format!("{base}.bytes");
                assert!(
                    half.contains_key(&bytes) || !origin.contains_key(&bytes),
                    "{what}: {key} is left alone"
                );
            }
        }
        expect(&run(&scene, "run", &store), 0);
        assert_same(&files(&store), &swept, &what);
        let third = expect(&run(&scene, "run", &store), 0);
        assert_eq!(third["planned_steps"], 0, "{what}: {third:#}");
        let restore = |what: Option<&str>| {
            regsweep().arg("restore").arg(&store).args(what).arg("--json").output().expect("regsweep runs")
        };
        let listed = expect(&restore(None), 0);
        for one in listed["runs"].as_array().expect("runs") {
            let output = restore(one["run"].as_str());
            let nothing = String::from_utf8_lossy(&output.stderr).contains("took anything");
            expect(&output, if nothing { 2 } else { 0 });
        }
        assert_same(&files(&store), &origin, &format!("{what}, and restored"));
    }
}

#[test]
fn an_image_is_not_restored_and_the_error_says_what_can_be() {
    let scene =
        Scene::new(&NexusRecipe { repositories: 1, images: 1, tags: 1, layers: 1, ..NexusRecipe::default() });
    let store = scene.root().display().to_string();
    let ran = run(&scene, "run", &scene.root());
    expect(&ran, 0);
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("cache"), "Nexus keeps none of a registry's");
    let refused = regsweep().args(["restore", &store, "app:1"]).output().expect("regsweep runs");
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("app:1 is no run, and of a nexus store only whole runs come back"), "{told}");
}
