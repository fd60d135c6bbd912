//! Two sweepers of one store: who works, who is refused, who takes over, and what becomes of one whose lease is taken.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::buckets::memory::faults::{WRITES, writes};
use crate::buckets::memory::{Effect, Fault, Options};
use crate::buckets::trial::{Ground, Trial, strings};
use crate::crash::{Bench, Traced, assert_kept_is_whole, assert_same, expect, regsweep, tree};
use crate::registry::command::Finished;
use crate::support::{Files, present};

/// A sweep of a store in memory.
struct Scene {
    arguments: Vec<String>,
    after: Files,
}

impl Scene {
    fn new(ground: &Ground) -> Self {
        let policy = ground.policy("trash.yaml", &[]);
        let arguments = strings(&["-p", &policy, "--offline", "--json"]);
        let trial = begun(ground);
        trial.run("run", &arguments).expect(0);
        Self { arguments, after: trial.files() }
    }

    fn converges(&self, trial: &Trial<'_>, what: &str) {
        trial.run("run", &self.arguments).expect(0);
        trial.files().assert_same_content(&self.after, what);
    }
}

fn ground() -> Ground {
    Ground::new(&Options::default())
}

/// A server that holds the store as it is at first.
fn begun(ground: &Ground) -> Trial<'_> {
    let trial = Trial::new(ground, &Options::default());
    trial.begin(&ground.origin);
    trial
}

/// What a sweeper on another machine writes to take the lease.
fn foreign_record(released: bool) -> Vec<u8> {
    let record = json!({
        "schema": "regsweep/lease/1",
        "holder": "elsewhere-77-20200101T000000000Z-00077",
        "place": "the boot of another machine pid:[4026531836]",
        "process": 77,
        "taken": "2020-01-01T00:00:00Z",
        "term_seconds": 180,
        "released": released,
    });
    record.to_string().into_bytes()
}

fn lease(number: u64) -> String {
    format!("lease/{number:012}")
}

fn both(mut one: Command, mut other: Command) -> [Output; 2] {
    let start = |command: &mut Command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("regsweep runs")
    };
    let children: [Child; 2] = [start(&mut one), start(&mut other)];
    children.map(|child| child.wait_with_output().expect("a child"))
}

/// One swept; the other was told who is at it, or came after it.
fn assert_one_after_the_other(outputs: &[Output; 2]) -> usize {
    let codes = outputs.each_ref().map(|output| output.status.code());
    assert!(codes.contains(&Some(0)), "nobody swept: {outputs:?}");
    let refused: Vec<&Output> = outputs.iter().filter(|output| output.status.code() != Some(0)).collect();
    for output in &refused {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        let told = said.contains("holds the lease") || said.contains("the lease was lost");
        assert!(told, "it is not told why: {said}");
    }
    refused.len()
}

#[test]
fn of_two_at_once_in_a_directory_one_sweeps() {
    let mut bench = Bench::new();
    let swept = tree(&bench.path("swept"));
    let mut refused = 0;
    for round in 0..10 {
        let store = bench.fresh("origin");
        let command = || {
            let mut command = regsweep();
            command.args(bench.sweep_arguments(&store));
            command
        };
        refused += assert_one_after_the_other(&both(command(), command()));
        assert_same(&tree(&store), &swept, &format!("round {round}"));
    }
    assert!(refused > 0, "they never met");
}

#[test]
fn of_two_at_once_on_a_bucket_one_sweeps() {
    let ground = ground();
    let scene = Scene::new(&ground);
    let trial = begun(&ground);
    let mut refused = 0;
    for round in 0..10 {
        trial.begin(&ground.origin);
        let command = || trial.command("run", &scene.arguments);
        refused += assert_one_after_the_other(&both(command(), command()));
        trial.files().assert_same_content(&scene.after, &format!("round {round}"));
    }
    assert!(refused > 0, "they never met");
}

/// A process that was started and is to be stopped and go on.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("regsweep runs"))
    }

    fn send(&self, signal: Signal) {
        let process = Pid::from_raw(i32::try_from(self.0.id()).expect("a process id")).expect("not 0");
        kill_process(process, signal).expect("a child");
    }

    fn end(self) -> Finished {
        Finished::new(&self.0.wait_with_output().expect("a child"))
    }
}

fn wait_until(met: impl Fn() -> bool, what: &str) {
    for _ in 0..20_000 {
        if met() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it does not come to this: {what}");
}

/// The one that came later had listed the lease of a run before, and reads it when the first has put another in its place.
#[test]
fn a_lease_that_changes_hands_while_it_is_looked_at_is_not_taken_twice() {
    let ground = ground();
    let scene = Scene::new(&ground);
    let trial = begun(&ground);
    trial.server.insert(&Trial::state_key(&lease(1)), foreign_record(true), present());
    let looked_at = Fault::nth("GetObject", 1, Effect::Delay(Duration::from_secs(3)));
    trial.server.fault(looked_at.on(&Trial::state_key(&lease(1))));
    let later = Running::start(trial.command("run", &scene.arguments));
    let asked = || trial.server.requests().iter().any(|request| request.key.ends_with(&lease(1)));
    wait_until(asked, "the lease is read");
    let first = Running::start(trial.command("run", &scene.arguments));
    let begun = || trial.server.snapshot().keys().any(|key| key.contains("/journal/"));
    wait_until(begun, "the first one sweeps");
    first.send(Signal::STOP);
    std::thread::sleep(Duration::from_millis(50));
    trial.server.forget_requests();
    let refused = later.end();
    let touched: Vec<_> =
        trial.server.requests().into_iter().filter(|request| writes(&request.operation)).collect();
    first.send(Signal::CONT);
    first.end().expect(0);
    assert_eq!(refused.status, 3, "{refused:?}");
    assert!(touched.iter().all(|request| request.key.contains("/lease")), "it changed {touched:#?}");
    trial.files().assert_same_content(&scene.after, "the first one's work");
}

#[test]
fn a_lease_of_another_machine_on_a_bucket_holds_until_its_term_ends_by_the_stores_clock() {
    let ground = ground();
    let scene = Scene::new(&ground);
    // The store's clock is two minutes ahead of ours, or behind: it is the one that counts.
    for skew in [120, -120] {
        let trial = begun(&ground);
        trial.server.set(|options| options.skew = SignedDuration::from_secs(skew));
        let renewed = |seconds: i64| {
            let at =
                jiff::Timestamp::try_from(present()).unwrap() + SignedDuration::from_secs(skew - seconds);
            trial.server.insert(&Trial::state_key(&lease(41)), foreign_record(false), at.into());
        };
        renewed(165);
        let refused = trial.run("run", &scene.arguments).expect(3);
        assert!(refused.stderr.contains("elsewhere-77-"), "{}", refused.stderr);
        let restore = trial.run("restore", &strings(&["20200101T000000000Z-00077"])).expect(3);
        assert!(restore.stderr.contains("holds the lease"), "{}", restore.stderr);
        trial.files().assert_same_content(&ground.files, "refused");
        renewed(181);
        scene.converges(&trial, "taken over");
        let ours = trial.server.get(&Trial::state_key(&lease(42))).expect("the next number");
        assert!(String::from_utf8_lossy(&ours.bytes).contains("\"released\":true"));
    }
}

fn write_lease(store: &Path, number: u64, age: Duration) {
    let path = store.join(".regsweep").join(lease(number));
    std::fs::create_dir_all(path.parent().expect("a directory")).unwrap();
    std::fs::write(&path, foreign_record(false)).unwrap();
    let renewed: SystemTime = present() - age;
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(renewed).unwrap();
}

#[test]
fn a_lease_of_another_machine_in_a_directory_holds_until_its_term_ends() {
    let mut bench = Bench::new();
    let store = bench.fresh("origin");
    write_lease(&store, 41, Duration::from_secs(165));
    let refused = bench.sweep(&store);
    expect(&refused, 3);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("elsewhere-77-"));
    assert_same(&tree(&store), &tree(&bench.path("origin")), "refused");
    write_lease(&store, 41, Duration::from_secs(181));
    expect(&bench.sweep(&store), 0);
    assert_same(&tree(&store), &tree(&bench.path("swept")), "taken over");
}

/// Whoever takes a lease away believes that its holder is dead; it was only stopped.
#[test]
fn a_run_on_a_bucket_whose_lease_is_taken_ends_after_the_step_in_hand() {
    let ground = ground();
    let scene = Scene::new(&ground);
    let trial = begun(&ground);
    trial.run("run", &scene.arguments).expect(0);
    let all = trial.writes() as u64;
    let mut lost = 0;
    for nth in 6..=all {
        let what = format!("its lease is taken at {nth} of {all}");
        trial.begin(&ground.origin);
        trial.server.fault(Fault::nth(WRITES, nth, Effect::HaltAfter));
        let run = Running::start(trial.command("run", &scene.arguments));
        wait_until(|| trial.server.halted() > 0, &what);
        run.send(Signal::STOP);
        trial.server.insert(&Trial::state_key(&lease(2)), foreign_record(false), present());
        trial.server.heal();
        trial.server.forget_requests();
        run.send(Signal::CONT);
        let ended = run.end();
        let journal = |request: &&crate::buckets::memory::Request| {
            request.operation == "PutObject" && request.key.contains("/journal/")
        };
        let segments = trial.server.requests().iter().filter(journal).count();
        if ended.status == 3 {
            assert!(ended.stderr.contains("the lease was lost"), "{what}: {ended:?}");
            // What the halted request was for may be asked for again.
            assert!(segments <= 2, "{what}: {segments} more batches were begun");
            lost += 1;
        } else {
            // Too late: nothing that it did came after the last look at the lease.
            assert!(ended.status == 0 && segments <= 2, "{what}: {segments}, {ended:?}");
        }
        ground.assert_nothing_lost(&trial.files(), &what);
        ground.assert_no_tag_dangles(&trial.files(), &what);
        trial.server.insert(&Trial::state_key(&lease(2)), foreign_record(true), present());
        scene.converges(&trial, &what);
    }
    assert!(lost > 8, "only {lost} of {all} noticed");
}

#[test]
fn a_run_in_a_directory_whose_lease_is_taken_ends_after_the_step_in_hand() {
    let mut bench = Bench::new();
    let (origin, swept) = (tree(&bench.path("origin")), tree(&bench.path("swept")));
    for written in ["run.json#1", "00000000.jsonl#1", "00000002.jsonl#1"] {
        let store = bench.fresh("origin");
        let mut traced = Traced::start(bench.path(&format!("log-{written}")), bench.sweep_arguments(&store));
        traced.until(&["rename", written]);
        write_lease(&store, 2, Duration::ZERO);
        let (_, output) = traced.finish();
        expect(&output, 3);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("the lease was lost"), "{said}");
        let left = tree(&store);
        assert_kept_is_whole(&left, &origin, written);
        assert_ne!(left, swept, "{written}: all was done");
        if written == "run.json#1" {
            assert_same(&left, &origin, "it was taken before the first step");
        }
        write_lease(&store, 2, Duration::from_secs(200));
        expect(&bench.sweep(&store), 0);
        assert_same(&tree(&store), &swept, &format!("{written}, then a run"));
    }
}

#[test]
fn a_store_whose_clock_is_an_hour_off_is_refused() {
    let ground = ground();
    let scene = Scene::new(&ground);
    for skew in [SignedDuration::from_hours(1), SignedDuration::from_hours(-1)] {
        let trial = begun(&ground);
        trial.server.set(|options| options.skew = skew);
        for (command, arguments) in
            [("run", scene.arguments.clone()), ("restore", strings(&["20200101T000000000Z-00077"]))]
        {
            let refused = trial.run(command, &arguments).expect(3);
            assert!(refused.stderr.contains("clock"), "{}", refused.stderr);
        }
        trial.files().assert_same_content(&ground.files, "refused");
        assert!(!trial.server.snapshot().keys().any(|key| key.contains("/.regsweep/")), "it left something");
        trial.server.set(|options| options.skew = SignedDuration::from_mins(4) * skew.signum().into());
        scene.converges(&trial, "four minutes are borne");
    }
}
