//! The real command, killed at every point of flagging and moving what a policy lets go, in a directory and in a bucket.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::by_policy::{goes, is_flagged, policy_without};
use super::*;
use crate::buckets::memory::faults::{WRITES, writes};
use crate::buckets::memory::{Effect, Fault, MemoryServer, Options};
use crate::buckets::trial::kill;
use crate::crash::{Traced, expect, points, regsweep};

/// Where the blob stores begin in the bucket.
const PREFIX: &str = "pre/fix/";

type Contents = BTreeMap<String, Vec<u8>>;

fn scene() -> Scene {
    Scene::new(&NexusRecipe { repositories: 1, images: 1, tags: 2, layers: 2, ..NexusRecipe::default() })
}

/// Writes the policy and the evidence, which is of this moment, and answers the arguments of a run.
fn arguments(scene: &Scene, mode: &str, store: &str) -> Vec<String> {
    let path = |name: &str| scene.directory.path().join(name).display().to_string();
    let policy = policy_without(&[0]).replace("grace: 1d", "grace: 0\ntrash: { keep: 7d }");
    std::fs::write(path("policy.yaml"), policy).expect("the policy");
    std::fs::write(path("dump.csv"), scene.truth.export()).expect("the evidence");
    std::fs::write(path("index.csv"), scene.truth.index()).expect("the evidence");
    let evidence = format!("{},{}", path("dump.csv"), path("index.csv"));
    let words = ["run", store, "-p", &path("policy.yaml"), "--evidence", &evidence, "--nexus-mode", mode];
    let rest = ["--nexus-confirm", "stopped", "--offline", "--json", "--concurrency", "1"];
    words.into_iter().chain(rest).map(str::to_owned).collect()
}

/// What holds at every moment: what is not to go is untouched, a record says what it said or that its blob is deleted, and
/// no content goes before its record has said so.
fn assert_orderly(now: &Contents, origin: &Contents, going: &BTreeSet<String>, what: &str) {
    for (key, before) in origin {
        let found = now.get(key);
        if !going.contains(key) {
            assert_eq!(found, Some(before), "{what}: {key}");
        } else if let Some(after) = found {
            let flagged = key.ends_with(".properties") && is_flagged(before, after);
            assert!(after == before || flagged, "{what}: {key}");
        }
        if let (true, Some(base), None) = (going.contains(key), key.strip_suffix(".bytes"), found) {
            let record = format!("{base}.properties");
            let said = now.get(&record);
            assert!(said.is_none_or(|said| is_flagged(&origin[&record], said)), "{what}: {key} went first");
        }
    }
}

/// The end of a run: every blob that goes is flagged, or away.
fn assert_ended(mode: &str, now: &Contents, origin: &Contents, going: &BTreeSet<String>, what: &str) {
    assert_orderly(now, origin, going, what);
    for key in going {
        match (mode, now.get(key)) {
            ("hard", found) => assert_eq!(found, None, "{what}: {key} is left"),
            (_, Some(after)) if key.strip_suffix(".bytes").is_some() => {
                assert_eq!(after, &origin[key], "{what}: {key}");
            }
            (_, Some(after)) => assert!(is_flagged(&origin[key], after), "{what}: {key}"),
            (_, None) => panic!("{what}: {key} is lost"),
        }
    }
}

fn in_directory(store: &Path) -> Contents {
    let all = Files::of(store).0.into_iter();
    let own = |key: &String| key.starts_with(".regsweep/") || key.ends_with("-regsweep.tmp");
    all.filter(|(key, _)| !own(key)).map(|(key, (bytes, _))| (key, bytes)).collect()
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success(), "cp -a {} {}", from.display(), to.display());
}

/// Undoes every run, the newest first.
fn restore_all(restore: impl Fn(Option<&str>) -> Output, what: &str) {
    let listed = expect(&restore(None), 0);
    let mut names: Vec<&str> =
        listed["runs"].as_array().expect("runs").iter().filter_map(|one| one["run"].as_str()).collect();
    names.sort_unstable();
    for name in names.into_iter().rev() {
        let output = restore(Some(name));
        let nothing = String::from_utf8_lossy(&output.stderr).contains("took anything");
        let report = expect(&output, if nothing { 2 } else { 0 });
        let told = report["afterwards"]["statements"].as_array().map_or(0, Vec::len);
        assert!(nothing || told > 0, "{what}: {report:#}");
    }
}

fn killed_in_a_directory(mode: &str) {
    let scene = scene();
    let origin = in_directory(&scene.root());
    let going: BTreeSet<String> =
        goes(&scene, &scene.root(), &[0]).iter().flat_map(|blob| blob.files.clone()).collect();
    let place = |name: &str| scene.directory.path().join(name);
    let run = |store: &Path| {
        regsweep()
            .args(arguments(&scene, mode, &store.display().to_string()))
            .output()
            .expect("regsweep runs")
    };
    copy(&scene.root(), &place("swept"));
    let traced = Traced::start(place("log"), arguments(&scene, mode, &place("swept").display().to_string()));
    let (all, output) = traced.finish();
    assert_told(mode, &expect(&output, 0), &going);
    assert_ended(mode, &in_directory(&place("swept")), &origin, &going, "an uninterrupted run");
    for point in points(all, 24) {
        let what = format!("{mode} killed at point {point} of {all}");
        let store = place(&format!("copy-{point}"));
        copy(&scene.root(), &store);
        let words = arguments(&scene, mode, &store.display().to_string());
        let killed = Traced::start(place(&format!("log-{point}")), words).kill_at(point);
        assert!(killed || point + 3 > all, "{what}: it ended before");
        assert_orderly(&in_directory(&store), &origin, &going, &what);
        let second = expect(&run(&store), 0);
        // Whichever of the two flagged a blob, the second tells what to do about both.
        if mode == "soft" && !second["recovered"].as_array().expect("runs").is_empty() {
            assert_told(mode, &second, &going);
        }
        assert_ended(mode, &in_directory(&store), &origin, &going, &what);
        let third = expect(&run(&store), 0);
        assert_eq!(third["planned_steps"], 0, "{what}: {third:#}");
        restore_all(
            |name| {
                regsweep()
                    .arg("restore")
                    .arg(&store)
                    .args(name)
                    .arg("--json")
                    .output()
                    .expect("regsweep runs")
            },
            &what,
        );
        assert_eq!(in_directory(&store), origin, "{what}, and restored");
    }
}

/// A report says what is to be done afterwards: for what stays in its place, a row for every blob.
fn assert_told(mode: &str, report: &Value, going: &BTreeSet<String>) {
    let told = &report["afterwards"];
    assert!(told["advice"].as_array().is_some_and(|advice| advice.len() > 2), "{report:#}");
    let rows = told["statements"].as_array().expect("statements");
    assert_eq!(rows.len(), if mode == "soft" { going.len() / 2 } else { 0 });
    for row in rows {
        let row = row.as_str().expect("a statement");
        assert!(row.starts_with("INSERT INTO soft_deleted_blobs (blob_id, "), "{row}");
        assert!(going.iter().any(|key| row.contains(&key[key.len() - 47..key.len() - 11])), "{row}");
    }
}

#[test]
fn what_cannot_be_meant_is_wrong_usage() {
    let scene = scene();
    let store = scene.root().display().to_string();
    let said = |words: &[&str]| {
        let output = regsweep().args(words).output().expect("regsweep runs");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let serve = said(&["serve", &store, "--nexus-mode", "soft"]);
    assert!(serve.contains("--nexus-mode soft needs one that is stopped"), "{serve}");
    let url = "http://127.0.0.1:1";
    let both =
        said(&["plan", &store, "--nexus-mode", "hard", "--nexus-confirm", "stopped", "--nexus-url", url]);
    assert!(both.contains("says that no Nexus answers"), "{both}");
}

#[test]
fn flagging_killed_at_any_point_ends_in_the_next_run_and_is_undone() {
    killed_in_a_directory("soft");
}

#[test]
fn moving_killed_at_any_point_ends_in_the_next_run_and_is_undone() {
    killed_in_a_directory("hard");
}

fn in_bucket(server: &MemoryServer) -> Contents {
    let all = server.files(PREFIX).0.into_iter();
    all.filter(|(key, _)| !key.starts_with(".regsweep/")).map(|(key, (bytes, _))| (key, bytes)).collect()
}

fn killed_in_a_bucket(mode: &str) {
    let scene = scene();
    let server = MemoryServer::start(Options::default());
    // With the times that the files have: what was written within this second is young.
    server.insert_tree(&scene.root(), PREFIX);
    let (start, origin) = (server.snapshot(), in_bucket(&server));
    let going: BTreeSet<String> =
        goes(&scene, &scene.root(), &[0]).iter().flat_map(|blob| blob.files.clone()).collect();
    let url = server.bucket().url(PREFIX);
    let command = |words: &[String]| {
        let mut command = regsweep();
        server.bucket().lead(&mut command);
        command.args(words).env("REGSWEEP_MANIFEST_CACHE", "off");
        command
    };
    let run = || command(&arguments(&scene, mode, &url)).output().expect("regsweep runs");
    server.forget_requests();
    assert_told(mode, &expect(&run(), 0), &going);
    assert_ended(mode, &in_bucket(&server), &origin, &going, "an uninterrupted run");
    let all = server.requests().iter().filter(|request| writes(&request.operation)).count() as u64;
    for nth in 1..=all {
        let effect = if nth % 2 == 0 { Effect::Halt } else { Effect::HaltAfter };
        let what = format!("{mode} killed at request {nth} of {all} by {effect:?}");
        server.heal();
        server.replace(&start);
        server.fault(Fault::nth(WRITES, nth, effect));
        let mut traced = command(&arguments(&scene, mode, &url));
        let mut child = traced.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("regsweep runs");
        while server.halted() == 0 {
            assert!(child.try_wait().expect("a child").is_none(), "{what}: it ended before");
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
        kill(&mut child);
        server.heal();
        while server.connections() > 0 {
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
        assert_orderly(&in_bucket(&server), &origin, &going, &what);
        expect(&run(), 0);
        assert_ended(mode, &in_bucket(&server), &origin, &going, &what);
        if nth % 4 == 0 {
            let third = expect(&run(), 0);
            assert_eq!(third["planned_steps"], 0, "{what}: {third:#}");
        }
        let restore = |name: Option<&str>| {
            let words = ["restore", &url].into_iter().chain(name).chain(["--json"]);
            let words: Vec<String> = words.map(str::to_owned).collect();
            command(&words).output().expect("regsweep runs")
        };
        restore_all(restore, &what);
        assert_eq!(in_bucket(&server), origin, "{what}, and restored");
    }
}

#[test]
fn flagging_in_a_bucket_killed_at_any_request_ends_in_the_next_run_and_is_undone() {
    killed_in_a_bucket("soft");
}

#[test]
fn moving_in_a_bucket_killed_at_any_request_ends_in_the_next_run_and_is_undone() {
    killed_in_a_bucket("hard");
}
