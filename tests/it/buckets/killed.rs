//! A process that is killed at each of its requests that change a bucket, before the request is carried out and after,
//! when nobody has told it yet. Whatever it had in hand, nothing is lost and the next run comes to the same end.

use std::time::Duration;

use super::memory::faults::WRITES;
use super::memory::{Effect, Fault, MemoryServer, Options};
use super::trial::{Ground, Objects, Trial, strings, try_all};
use super::{PREFIX, number, part};
use crate::support::{Files, data_key, present, revision_key, tag_directory};

/// Threads that try cases side by side: most of a case is waiting for processes.
const THREADS: usize = 4;

/// What is killed.
struct Scenario {
    command: &'static str,
    arguments: Vec<String>,
    /// What the bucket holds before.
    before: Objects,
    /// What is there after it, when nobody kills it.
    after: Files,
    /// How many requests of it change something.
    writes: u64,
    /// Whether it begins with a tag that lacks something.
    mends: bool,
}

impl Scenario {
    /// Runs the command once from `before`, undisturbed.
    fn new(trial: &Trial<'_>, command: &'static str, arguments: &[&str], before: Objects) -> Self {
        let arguments = strings(arguments);
        trial.begin(&before);
        trial.run(command, &arguments).expect(0);
        let (after, writes) = (trial.files(), trial.writes() as u64);
        assert!(writes > 12, "{command}: only {writes} requests change something");
        trial.ground.assert_nothing_lost(&after, "an uninterrupted run");
        let there = |key: &&String| before.contains_key(&format!("{PREFIX}{key}"));
        let mends = !after.0.keys().all(|key| there(&key)) && command == "run";
        Self { command, arguments, before, after, writes, mends }
    }
}

/// When a request is halted, and how many there may be at once.
const MOMENTS: [(Effect, &str); 2] = [(Effect::Halt, "1"), (Effect::HaltAfter, "8")];

/// Kills the command of a scenario at every request, runs it again, and then has `look` look on.
fn kill_everywhere(ground: &Ground, scenario: &Scenario, look: impl Fn(&Trial<'_>, u64, &str) + Sync) {
    let cases: Vec<(u64, &(Effect, &str))> =
        MOMENTS.iter().flat_map(|moment| (1..=scenario.writes + 1).map(move |nth| (nth, moment))).collect();
    try_all(ground, THREADS, &Options::default(), &cases, |trial, (nth, (effect, concurrency))| {
        let what = format!("{} killed at {nth} of {} by {effect:?}", scenario.command, scenario.writes);
        trial.begin(&scenario.before);
        trial.server.fault(Fault::nth(WRITES, *nth, effect.clone()));
        let mut command = trial.command(scenario.command, &scenario.arguments);
        command.args(["--concurrency", concurrency]);
        let ended = trial.kill_when_halted(command);
        if *nth > scenario.writes {
            assert_eq!(ended.map(|ended| ended.status), Some(0), "{what}: there was one more");
        } else if let Some(ended) = ended {
            panic!("{what}: it ended before: {ended:?}");
        }
        ground.assert_nothing_lost(&trial.files(), &what);
        if !scenario.mends {
            ground.assert_no_tag_dangles(&trial.files(), &what);
        }
        trial.files().assert_holds(&ground.files, &kept_throughout(scenario), &what);
        let again = trial.run(scenario.command, &scenario.arguments);
        assert_eq!(again.status, 0, "{what}: {again:?}");
        trial.files().assert_same_content(&scenario.after, &what);
        look(trial, *nth, &what);
    });
}

/// What is there before and after.
fn kept_throughout(scenario: &Scenario) -> std::collections::BTreeSet<String> {
    let before = |key: &&String| scenario.before.contains_key(&format!("{PREFIX}{key}"));
    scenario.after.0.keys().filter(before).cloned().collect()
}

fn first(ground: &Ground) -> Trial<'_> {
    Trial::new(ground, &Options::default())
}

#[test]
fn a_run_killed_at_any_request_loses_nothing_and_all_it_took_comes_back() {
    let ground = Ground::new(&Options::default());
    let policy = ground.policy("trash.yaml", &[]);
    let arguments = ["-p", &policy, "--offline", "--json"];
    let scenario = Scenario::new(&first(&ground), "run", &arguments, ground.origin.clone());
    assert!(scenario.after.0.len() + 30 < ground.files.0.len(), "the run takes a good part");
    kill_everywhere(&ground, &scenario, |trial, nth, what| {
        if nth % 3 == 0 {
            trial.assert_settled(&scenario.arguments, what);
        }
        trial.restore_all(what);
        trial.files().assert_same_content(&ground.files, &format!("{what}, and restored"));
    });
}

#[test]
fn a_run_without_trash_killed_at_any_request_loses_nothing() {
    let ground = Ground::new(&Options::default());
    let policy = ground.policy("no-trash.yaml", &[("trash: { keep: 7d }", "trash: { keep: 0 }")]);
    let arguments = ["-p", &policy, "--offline", "--json"];
    let scenario = Scenario::new(&first(&ground), "run", &arguments, ground.origin.clone());
    assert!(!trashes(&ground, &scenario), "nothing is put in the trash");
    kill_everywhere(&ground, &scenario, |trial, nth, what| {
        if nth % 3 == 0 {
            trial.assert_settled(&scenario.arguments, what);
        }
    });
}

fn trashes(ground: &Ground, scenario: &Scenario) -> bool {
    let trial = first(ground);
    trial.begin(&scenario.before);
    trial.run(scenario.command, &scenario.arguments).expect(0);
    has_trash(&trial.server)
}

fn has_trash(server: &MemoryServer) -> bool {
    server.snapshot().keys().any(|key| key.contains("/.regsweep/trash/"))
}

#[test]
fn a_restore_killed_at_any_request_is_ended_by_the_next_one() {
    let ground = Ground::new(&Options::default());
    let policy = ground.policy("trash.yaml", &[]);
    let trial = first(&ground);
    trial.begin(&ground.origin);
    let sweep = strings(&["-p", &policy, "--offline", "--json"]);
    let report = trial.run("run", &sweep).expect(0).json();
    let run = part(&report, &["run"]).as_str().expect("a name").to_owned();
    assert!(has_trash(&trial.server) && number(&report, &["executed", "done", "sweep"]) > 5);
    let swept = trial.server.snapshot();
    let scenario = Scenario::new(&trial, "restore", &[&run, "--json"], swept);
    scenario.after.assert_same_content(&ground.files, "an uninterrupted restore");
    kill_everywhere(&ground, &scenario, |trial, nth, what| {
        // What came back is pinned: but for uploads, which are no images, a run takes nothing again.
        if nth % 3 == 0 {
            trial.run("run", &sweep).expect(0);
            let (mut now, mut then) = (trial.files(), ground.files.clone());
            for files in [&mut now, &mut then] {
                files.0.retain(|key, _| !key.contains("/_uploads/"));
            }
            now.assert_same_content(&then, &format!("{what}, then a run"));
        }
    });
}

/// A policy, and a bucket of which a run beside a registry has taken all links that it takes, a grace ago.
fn unlinked(ground: &Ground, trial: &Trial<'_>) -> (String, Objects) {
    let policy = ground.policy("online.yaml", &[("grace: 0", "grace: 1s")]);
    trial.begin(&ground.origin);
    trial.run("run", &strings(&["-p", &policy, "--json", "--settle", "0s"])).expect(0);
    std::thread::sleep(Duration::from_millis(1_200));
    (policy, trial.server.snapshot())
}

fn data(files: &Files) -> usize {
    files.0.keys().filter(|key| key.ends_with("/data")).count()
}

#[test]
fn the_second_cycle_beside_a_registry_killed_at_any_request_loses_nothing() {
    let ground = Ground::new(&Options::default());
    let trial = first(&ground);
    let (policy, before) = unlinked(&ground, &trial);
    let unswept = data(&trial.files());
    let scenario = Scenario::new(&trial, "run", &["-p", &policy, "--json", "--settle", "0s"], before);
    assert!(data(&scenario.after) + 10 < unswept, "data goes in the second cycle");
    kill_everywhere(&ground, &scenario, |trial, nth, what| {
        if nth % 3 == 0 {
            trial.assert_settled(&scenario.arguments, what);
        }
        trial.restore_all(what);
        trial.files().assert_same_content(&ground.files, &format!("{what}, and restored"));
    });
}

/// Beside a registry: takes all links that go, waits for the grace, and takes the data. Then somebody pushes `old-1` again
/// as `tag` on the word of a stale cache: a manifest and its links, and neither layers nor links to them. Returns the
/// policy and the manifest.
fn pushed_after_a_sweep(ground: &Ground, trial: &Trial<'_>, tag: &str, wait: Duration) -> (String, String) {
    let (policy, unlinked) = unlinked(ground, trial);
    trial.begin(&unlinked);
    trial.run("run", &strings(&["-p", &policy, "--json", "--settle", "0s"])).expect(0);
    std::thread::sleep(wait);
    let target = ground.files.target("team/app", "old-1").expect("a tag");
    let link = || target.clone().into_bytes();
    let directory = tag_directory("team/app", tag);
    let pushed = [
        (data_key(&target), ground.files.0[&data_key(&target)].0.clone()),
        (revision_key("team/app", &target), link()),
        (format!("{directory}current/link"), link()),
        (format!("{directory}index/{}/link", target.replacen(':', "/", 1)), link()),
    ];
    for (key, bytes) in pushed {
        trial.server.insert(&format!("{PREFIX}{key}"), bytes, present());
    }
    (policy, target)
}

#[test]
fn a_cycle_that_gives_back_what_a_push_needs_killed_at_any_request_gives_it_back() {
    let mut ground = Ground::new(&Options::default());
    let trial = first(&ground);
    // The sweep has ended, so that nobody takes this for a push that it crossed.
    let (policy, target) = pushed_after_a_sweep(&ground, &trial, "v9", Duration::from_secs(3));
    let (before, half) = (trial.server.snapshot(), trial.files());
    drop(trial);
    ground.files.0.extend(half.0.clone());
    let arguments = ["-p", &policy, "--json", "--settle", "0s"];
    let scenario = Scenario::new(&first(&ground), "run", &arguments, before);
    // What was about it has gone with it, and nobody pushed that again.
    let mut whole = ground.files.clone();
    whole.0.retain(|key, _| half.0.contains_key(key) || !key.contains("/_manifests/"));
    let image = whole.image("team/app", &target);
    let needed = image.iter().filter(|key| !half.0.contains_key(*key)).count();
    assert!(needed >= 4, "a layer and a configuration, and their links, are not there: {needed}");
    scenario.after.assert_holds(&ground.files, &image, "an uninterrupted run gives back");
    kill_everywhere(&ground, &scenario, |trial, nth, what| {
        if nth % 3 == 0 {
            trial.assert_settled(&scenario.arguments, what);
        }
    });
}

/// A tag that a push may have crossed is given back; when the policy lets it go once more, that is the end of it.
#[test]
fn a_tag_that_was_given_back_and_goes_again_is_not_given_back_again() {
    let ground = Ground::new(&Options::default());
    let trial = first(&ground);
    let (policy, _) = pushed_after_a_sweep(&ground, &trial, "v9", Duration::ZERO);
    let mut cycles = Vec::new();
    for _ in 0..6 {
        let arguments = strings(&["-p", &policy, "--json", "--settle", "0s"]);
        let report = trial.run("run", &arguments).expect(0).json();
        let retagged = report["mended"].as_array().expect("rounds").iter();
        let retagged = retagged.filter_map(|one| one["executed"]["done"]["retag"].as_u64()).sum::<u64>();
        cycles.push((report["executed"]["done"]["untag"].as_u64().unwrap_or(0), retagged));
        std::thread::sleep(Duration::from_millis(1_200));
    }
    assert_eq!(cycles[3..], [(0, 0); 3], "tags taken and given back in each cycle: {cycles:?}");
}
