//! A process that dies, at every point where it can.
//!
//! The real binary runs under strace, which stops it after every system call that changes the store or makes something
//! durable. The test counts the stops, whichever thread made them, and kills the process at the one it wants: between two
//! stops there is no other point that a later run could tell from them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use regsweep::clock::{Clock as _, System};
use regsweep::synth::{Builder, ImageSpec, IndexSpec, sha256_digest};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::synth::scratch;

const STORAGE: &str = "docker/registry/v2";

/// Everything that moves, deletes, publishes or makes durable. A question mark: not every processor has it.
const POINTS: &str = "?unlinkat,?unlink,?rmdir,?renameat2,?renameat,?rename,?link,?linkat,?fsync,?fdatasync";

/// Keeps the tags `v1`, `v2` and `v3`, drops all others, and sweeps what is garbage at once.
pub const POLICY: &str = "\
version: 1
grace: 0
trash: { keep: 7d }
repositories: { empty: remove }
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
classes:
  kept: { match: [\"v*\"] }
policies:
  - name: everything
    repositories: [\"**\"]
    tags:
      kept: { keep: all }
      other: { keep: none }
    untagged: { keep: none }
";

/// Writes the store: images that share layers, indexes that share a child, referrers, orphans, an abandoned upload, and a
/// repository of which nothing is kept.
pub fn build(root: &Path) {
    let now: SystemTime = System.now().into();
    let old = Duration::from_secs(30 * 24 * 3600);
    let mut builder = Builder::new(root, now).unwrap();
    builder.at(old);
    let base = builder.blob(b"a layer that all share").unwrap();
    let image = |builder: &mut Builder, repository: &str, name: &str| {
        let own = builder.blob(format!("the layer of {name}").as_bytes()).unwrap();
        builder.image(repository, &ImageSpec::new(name, vec![base.clone(), own])).unwrap()
    };
    for name in ["v1", "v2", "old-1", "old-2"] {
        let digest = image(&mut builder, "team/app", name);
        builder.tag("team/app", name, &digest).unwrap();
        builder.referrer("team/app", &digest, "application/vnd.example.sbom", name.as_bytes()).unwrap();
    }
    let [shared, kept, gone] = ["shared", "arm", "s390x"].map(|name| image(&mut builder, "team/app", name));
    for (name, other) in [("v3", kept), ("old-3", gone)] {
        let index = builder.index("team/app", &[shared.clone(), other], &IndexSpec::default()).unwrap();
        builder.tag("team/app", name, &index).unwrap();
    }
    let digest = image(&mut builder, "attic", "old-4");
    builder.tag("attic", "old-4", &digest).unwrap();
    builder.blob(b"an orphan without a link").unwrap();
    let linked = builder.blob(b"an orphan with a link").unwrap();
    builder.layer_link("team/app", &linked).unwrap();
    builder.upload("team/app", now - old, b"the first part of a layer").unwrap();
}

/// A directory with a store in `origin`, a policy, and what an uninterrupted run makes of it in `swept`.
pub struct Bench {
    directory: tempfile::TempDir,
    copies: u32,
}

impl Bench {
    pub fn new() -> Self {
        let works = Command::new("strace").args(["-qq", "-f", "-e", "trace=none", "true"]).output();
        match works {
            Ok(output) if output.status.success() => {}
            Ok(output) => panic!(
                "strace may not trace here (ptrace is not permitted?), and without it nothing can be killed at a \
                 chosen point: {}",
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => panic!("strace does not start: {error}. tests/install installs it"),
        }
        let bench = Self { directory: scratch(), copies: 0 };
        std::fs::write(bench.path("policy.yaml"), POLICY).unwrap();
        build(&bench.path("origin"));
        copy(&bench.path("origin"), &bench.path("swept"));
        expect(&bench.sweep(&bench.path("swept")), 0);
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A fresh copy of one of the stores.
    pub fn fresh(&mut self, of: &str) -> PathBuf {
        self.copies += 1;
        let to = self.path(&format!("copy-{}", self.copies));
        copy(&self.path(of), &to);
        to
    }

    pub fn sweep_arguments(&self, store: &Path) -> Vec<String> {
        let policy = self.path("policy.yaml").display().to_string();
        ["run", &store.display().to_string(), "-p", &policy, "--offline", "--json", "--concurrency", "1"]
            .map(str::to_owned)
            .to_vec()
    }

    pub fn sweep(&self, store: &Path) -> Output {
        regsweep().args(self.sweep_arguments(store)).output().unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp -a {} {}", from.display(), to.display());
}

/// Makes a command the same everywhere: one thread of each kind, and nothing of the caller's settings.
pub fn plain(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if ["REGSWEEP_", "REGISTRY_", "RUST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command.env("TOKIO_WORKER_THREADS", "1").env("RAYON_NUM_THREADS", "1").stdin(Stdio::null());
    command
}

pub fn regsweep() -> Command {
    plain(Command::new(env!("CARGO_BIN_EXE_regsweep")))
}

fn restore(store: &Path, what: Option<&str>) -> Output {
    regsweep().arg("restore").arg(store).args(what).arg("--json").output().unwrap()
}

#[track_caller]
pub fn expect(output: &Output, code: i32) -> Value {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout:\n{stdout}\nstderr:\n{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// The runs that can be undone, newest first: their names begin with the time.
fn runs(store: &Path) -> Vec<String> {
    let listed = expect(&restore(store, None), 0);
    let mut names: Vec<String> = listed["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["run"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.reverse();
    names
}

/// A process that is stopped after each of [`POINTS`].
pub struct Traced {
    strace: Child,
    log: PathBuf,
    seen: usize,
    pub process: Option<Pid>,
}

impl Traced {
    pub fn start(log: PathBuf, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Self {
        let mut command = plain(Command::new("strace"));
        command.args(["-f", "-qq", "-e", "signal=none", "-e", &format!("trace={POINTS}")]);
        command.args(["-e", &format!("inject={POINTS}:signal=STOP"), "-o"]).arg(&log);
        command.arg(env!("CARGO_BIN_EXE_regsweep")).args(arguments);
        let strace = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { strace, log, seen: 0, process: None }
    }

    /// Waits for the next point; its line in the log, or nothing when the process has ended.
    fn next(&mut self) -> Option<String> {
        for _ in 0..200_000 {
            let ended = self.strace.try_wait().unwrap().is_some();
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            // A line without its end is still being written; one without a result is a call that goes on.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            if let Some(line) = whole.lines().filter(|line| line.contains(" = ")).nth(self.seen) {
                self.seen += 1;
                if self.process.is_none() {
                    let thread = line.split_whitespace().next().unwrap();
                    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
                    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:")).unwrap();
                    self.process = Pid::from_raw(group.trim().parse().unwrap());
                }
                return Some(line.to_owned());
            }
            if ended {
                return None;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        panic!("the traced process neither went on nor ended: {}", self.log.display());
    }

    pub fn send(&self, signal: Signal) {
        // It may have ended by now.
        let _ = kill_process(self.process.expect("next() was called"), signal);
    }

    /// Lets it go on to the first point whose line has all of `words`.
    pub fn until(&mut self, words: &[&str]) {
        while let Some(line) = self.next() {
            if words.iter().all(|word| line.contains(word)) {
                return;
            }
            self.send(Signal::CONT);
        }
        panic!("no point with {words:?} in:\n{}", std::fs::read_to_string(&self.log).unwrap());
    }

    /// Lets it go on to its end.
    pub fn finish(mut self) -> (usize, Output) {
        if self.process.is_some() {
            self.send(Signal::CONT);
        }
        while self.next().is_some() {
            self.send(Signal::CONT);
        }
        (self.seen, self.strace.wait_with_output().unwrap())
    }

    pub fn kill(self) {
        self.send(Signal::KILL);
        let process = self.process.map_or(0, |process| process.as_raw_nonzero().get());
        self.strace.wait_with_output().unwrap();
        // strace may end before it has reaped the process, which then is there as a zombie until its new parent does.
        for _ in 0..30_000 {
            if !Path::new(&format!("/proc/{process}")).exists() {
                return;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        panic!("process {process} was killed and is not reaped");
    }

    /// Kills it after `point` points; `false` when it ended before.
    pub fn kill_at(mut self, point: usize) -> bool {
        while self.next().is_some() {
            if self.seen == point {
                self.kill();
                return true;
            }
            self.send(Signal::CONT);
        }
        false
    }
}

/// What is below a directory of a store: the files with content and time, directories as nothing.
pub type Tree = BTreeMap<String, Option<(Vec<u8>, SystemTime)>>;

pub fn tree(store: &Path) -> Tree {
    let root = store.join(STORAGE);
    let mut found = Tree::new();
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let key = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let content = meta.is_file().then(|| (std::fs::read(&path).unwrap(), meta.modified().unwrap()));
            if meta.is_dir() {
                pending.push(path);
            }
            found.insert(key, content);
        }
    }
    found
}

fn files(store: &Path) -> Tree {
    tree(store).into_iter().filter(|(_, content)| content.is_some()).collect()
}

#[track_caller]
pub fn assert_same(found: &Tree, expected: &Tree, what: &str) {
    let keys: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differ: Vec<_> = keys.into_iter().filter(|key| found.get(*key) != expected.get(*key)).collect();
    assert!(differ.is_empty(), "{what}: not as it should be: {differ:#?}");
}

fn blob(tree: &Tree, digest: &str) -> Option<Vec<u8>> {
    let hex = digest.strip_prefix("sha256:")?;
    let (bytes, _) = tree.get(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]))?.clone()?;
    (sha256_digest(&bytes) == digest).then_some(bytes)
}

fn linked(tree: &Tree, repository: &str, part: &str, digest: &str) -> bool {
    let key = format!("repositories/{repository}/{part}/{}/link", digest.replace(':', "/"));
    matches!(tree.get(&key), Some(Some((bytes, _))) if bytes == digest.as_bytes())
}

/// Asserts that a manifest is there with all that pulling it needs.
fn assert_whole(tree: &Tree, repository: &str, digest: &str, what: &str) {
    assert!(
        linked(tree, repository, "_manifests/revisions", digest),
        "{what}: manifest {digest} has no link"
    );
    let bytes = blob(tree, digest).unwrap_or_else(|| panic!("{what}: manifest {digest} has no data"));
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let list = |field: &str| manifest[field].as_array().cloned().unwrap_or_default();
    for child in list("manifests") {
        assert_whole(tree, repository, child["digest"].as_str().unwrap(), what);
    }
    for layer in list("layers").iter().chain([&manifest["config"]]).filter(|layer| !layer.is_null()) {
        let layer = layer["digest"].as_str().unwrap();
        assert!(linked(tree, repository, "_layers", layer), "{what}: blob {layer} has no link");
        assert!(blob(tree, layer).is_some(), "{what}: blob {layer} has no data");
    }
}

/// Asserts that all that the policy keeps is whole, referrers of it too.
pub fn assert_kept_is_whole(tree: &Tree, origin: &Tree, what: &str) {
    let mut kept = BTreeSet::new();
    for tag in ["v1", "v2", "v3"] {
        let link = tree.get(&format!("repositories/team/app/_manifests/tags/{tag}/current/link"));
        let Some(Some((bytes, _))) = link else { panic!("{what}: the tag {tag} is lost") };
        let digest = String::from_utf8(bytes.clone()).unwrap();
        assert_whole(tree, "team/app", &digest, what);
        kept.insert(digest);
    }
    let mut referrers = 0;
    for (bytes, _) in origin.values().flatten() {
        let Ok(manifest) = serde_json::from_slice::<Value>(bytes) else { continue };
        if manifest["subject"]["digest"].as_str().is_some_and(|subject| kept.contains(subject)) {
            assert_whole(tree, "team/app", &sha256_digest(bytes), what);
            referrers += 1;
        }
    }
    assert_eq!(referrers, 2, "the store has a referrer of v1 and one of v2");
}

/// The points at which to kill: all of them with `REGSWEEP_CRASH_ALL=1`, otherwise about `wanted`, evenly.
pub fn points(all: usize, wanted: usize) -> BTreeSet<usize> {
    assert!(all > 30, "only {all} points: strace does not see what the process does");
    let every = std::env::var_os("REGSWEEP_CRASH_ALL").is_some_and(|value| value == "1");
    let step = if every { 1 } else { all.div_ceil(wanted) };
    (1..=all).step_by(step).chain([all]).collect()
}

#[test]
fn a_run_killed_at_any_point_loses_nothing_and_the_next_one_ends_it() {
    let mut bench = Bench::new();
    let (origin, swept) = (tree(&bench.path("origin")), tree(&bench.path("swept")));
    assert_kept_is_whole(&swept, &origin, "an uninterrupted run");
    assert!(!swept.keys().any(|key| key.contains("attic") || key.contains("old-")), "the run removes a part");
    let store = bench.fresh("origin");
    let (all, output) = Traced::start(bench.path("log"), bench.sweep_arguments(&store)).finish();
    expect(&output, 0);
    assert_same(&tree(&store), &swept, "a traced run");

    for (round, point) in points(all, 24).into_iter().enumerate() {
        let what = format!("killed at point {point} of {all}");
        let store = bench.fresh("origin");
        let log = bench.path(&format!("log-{point}"));
        let killed = Traced::start(log, bench.sweep_arguments(&store)).kill_at(point);
        // Threads may share their last calls out differently; but for those, it is always killed.
        assert!(killed || point + 3 > all, "{what}: it ended before");
        assert_kept_is_whole(&tree(&store), &origin, &what);
        expect(&bench.sweep(&store), 0);
        assert_same(&tree(&store), &swept, &what);
        let third = expect(&bench.sweep(&store), 0);
        assert_eq!(third["planned_steps"], 0, "{what}: a third run finds something to do: {third:#}");
        if round % 2 == 0 {
            for run in runs(&store) {
                let output = restore(&store, Some(&run));
                // A run that was killed before its first step took nothing.
                let nothing = String::from_utf8_lossy(&output.stderr).contains("took anything");
                expect(&output, if nothing { 2 } else { 0 });
            }
            assert_same(&files(&store), &files(&bench.path("origin")), &format!("{what}, and restored"));
        }
    }
}

#[test]
fn a_restore_killed_at_any_point_is_ended_by_the_next_one() {
    let mut bench = Bench::new();
    let origin = files(&bench.path("origin"));
    let run = runs(&bench.path("swept")).remove(0);
    let arguments =
        |store: &Path| ["restore".into(), store.display().to_string(), run.clone(), "--json".into()];
    let store = bench.fresh("swept");
    let (all, output) = Traced::start(bench.path("log"), arguments(&store)).finish();
    expect(&output, 0);
    assert_same(&files(&store), &origin, "a traced restore");

    for point in points(all, 20) {
        let what = format!("restore killed at point {point} of {all}");
        let store = bench.fresh("swept");
        let killed = Traced::start(bench.path(&format!("log-{point}")), arguments(&store)).kill_at(point);
        assert!(killed || point + 3 > all, "{what}: it ended before");
        let half = tree(&store);
        assert_kept_is_whole(&half, &tree(&bench.path("origin")), &what);
        // A tag comes back after all that it needs.
        for key in half.keys().filter(|key| key.ends_with("current/link")) {
            let (repository, _) = key["repositories/".len()..].split_once("/_manifests").unwrap();
            let digest = String::from_utf8(half[key].clone().unwrap().0).unwrap();
            assert_whole(&half, repository, &digest, &what);
        }
        expect(&restore(&store, Some(&run)), 0);
        assert_same(&files(&store), &origin, &what);
        expect(&bench.sweep(&store), 0);
        // An upload that nobody goes on with is no image, and no pin holds it.
        let lasting = |files: &Tree| -> Tree {
            files
                .iter()
                .filter(|(key, _)| !key.contains("/_uploads/"))
                .map(|(k, c)| (k.clone(), c.clone()))
                .collect()
        };
        let what = format!("{what}, then a run: what came back is pinned");
        assert_same(&lasting(&files(&store)), &lasting(&origin), &what);
    }
}

#[test]
fn a_full_disk_while_the_state_is_written_changes_nothing() {
    let mut bench = Bench::new();
    let origin = tree(&bench.path("origin"));
    for (calls, when) in [("?fsync", "1+"), ("?fsync", "2+"), ("?link,?linkat", "1+"), ("?rename", "1+")] {
        let store = bench.fresh("origin");
        let log = bench.path("log");
        let mut command = plain(Command::new("strace"));
        // Only calls that are traced can be made to fail.
        command.args(["-f", "-qq", "-e", &format!("trace={calls}"), "-o"]).arg(&log).arg("-e");
        command.arg(format!("inject={calls}:error=ENOSPC:when={when}")).arg(env!("CARGO_BIN_EXE_regsweep"));
        let output = command.args(bench.sweep_arguments(&store)).output().unwrap();
        let log = std::fs::read_to_string(log).unwrap();
        if log.is_empty() && calls == "?rename" {
            // Not every processor has this call; renameat2, which it then uses, is the sweep's own too.
            continue;
        }
        assert!(log.contains("INJECTED"), "{calls} was not made to fail:\n{log}");
        expect(&output, 4);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("No space left on device"), "{said}");
        assert_same(&tree(&store), &origin, &format!("{calls} fails"));
        expect(&bench.sweep(&store), 0);
        assert_same(&tree(&store), &tree(&bench.path("swept")), &format!("{calls} failed, then a run"));
    }
}

/// A directory in the place of a segment: it cannot be written, and nothing else is wrong.
fn obstruct(store: &Path, segment: &str) -> PathBuf {
    let run = std::fs::read_dir(store.join(".regsweep/runs")).unwrap().next().unwrap().unwrap().path();
    let place = run.join("journal").join(segment);
    std::fs::create_dir_all(place.join("in the way")).unwrap();
    place
}

#[test]
fn no_step_is_carried_out_whose_journal_cannot_be_written() {
    let mut bench = Bench::new();
    let (origin, swept) = (tree(&bench.path("origin")), tree(&bench.path("swept")));
    for (round, (written, segment)) in [
        ("run.json#1", "00000000.jsonl"),
        ("00000000.jsonl#1", "00000001.jsonl"),
        ("00000002.jsonl#1", "00000003.jsonl"),
    ]
    .into_iter()
    .enumerate()
    {
        let store = bench.fresh("origin");
        let log = bench.path(&format!("log-{segment}"));
        let mut traced = Traced::start(log, bench.sweep_arguments(&store));
        traced.until(&["rename", written]);
        let obstacle = obstruct(&store, segment);
        let (_, output) = traced.finish();
        expect(&output, 4);
        let left = tree(&store);
        if round == 0 {
            assert_same(&left, &origin, "without a journal");
        } else {
            assert_ne!(left, origin, "{segment}: the steps of the segments before were carried out");
            assert_ne!(left, swept, "{segment}: its steps were carried out");
        }
        assert_kept_is_whole(&left, &origin, segment);
        remove(&obstacle);
        expect(&bench.sweep(&store), 0);
        assert_same(&tree(&store), &swept, &format!("{segment} failed, then a run"));
    }
}

#[expect(clippy::disallowed_methods, reason = "takes away what the test itself put in the way")]
fn remove(directory: &Path) {
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_second_run_is_refused_and_a_dead_one_is_taken_over_at_once() {
    let mut bench = Bench::new();
    let store = bench.fresh("origin");
    let mut traced = Traced::start(bench.path("log"), bench.sweep_arguments(&store));
    traced.until(&["link", "/lease/", " = 0"]);
    let second = bench.sweep(&store);
    expect(&second, 3);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let holder = format!("-{}-", traced.process.unwrap().as_raw_nonzero());
    assert!(said.contains(&holder) && said.contains("holds the lease"), "{said}");
    assert_same(&tree(&store), &tree(&bench.path("origin")), "refused");
    traced.kill();
    expect(&bench.sweep(&store), 0);
    assert_same(&tree(&store), &tree(&bench.path("swept")), "taken over");
}

#[test]
fn a_run_that_is_asked_to_stop_ends_between_stages_and_a_rerun_goes_on() {
    let mut bench = Bench::new();
    let (origin, swept) = (tree(&bench.path("origin")), tree(&bench.path("swept")));
    let store = bench.fresh("origin");
    let mut traced = Traced::start(bench.path("log"), bench.sweep_arguments(&store));
    traced.until(&["rename", "/journal/00000000.jsonl#1"]);
    traced.send(Signal::TERM);
    let (_, output) = traced.finish();
    let report = expect(&output, 143);
    assert_eq!(report["executed"]["interrupted"], true, "{report:#}");
    let half = tree(&store);
    assert!(half.len() < origin.len() && half.len() > swept.len(), "some was done, and not all");
    assert_kept_is_whole(&half, &origin, "terminated");
    expect(&bench.sweep(&store), 0);
    assert_same(&tree(&store), &swept, "terminated, then a run");

    let store = bench.fresh("origin");
    let output =
        regsweep().args(bench.sweep_arguments(&store)).args(["--max-runtime", "0"]).output().unwrap();
    assert_eq!(expect(&output, 0)["executed"]["interrupted"], true);
    assert_same(&tree(&store), &origin, "no time to run");
    expect(&bench.sweep(&store), 0);
    assert_same(&tree(&store), &swept, "no time to run, then a run");
}

#[test]
fn a_plan_of_another_store_a_stale_one_and_one_that_sweeps_a_live_blob_are_refused() {
    let mut bench = Bench::new();
    let (store, other) = (bench.fresh("origin"), bench.fresh("origin"));
    let file = bench.path("plan.json");
    let policy = bench.path("policy.yaml");
    let mut planner = regsweep();
    planner.arg("plan").arg(&store).arg("-p").arg(policy).arg("--offline").arg("--out").arg(&file);
    expect(&planner.output().unwrap(), 0);
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let carry_out = |store: &Path, plan: &Value| {
        std::fs::write(&file, plan.to_string()).unwrap();
        regsweep().arg("run").arg(store).arg("--offline").arg("--plan").arg(&file).output().unwrap()
    };
    let mut stale = plan.clone();
    stale["header"]["listed_at"] = "2020-01-01T00:00:00Z".into();
    let mut greedy = plan.clone();
    let live = sha256_digest(b"a layer that all share");
    let sweep =
        greedy["steps"].as_array_mut().unwrap().iter_mut().find(|step| step["action"] == "sweep").unwrap();
    sweep["digest"] = live.clone().into();
    for (what, store, plan, said) in [
        ("another store's", &other, &plan, "this is"),
        ("stale", &store, &stale, "old, and one of more than"),
        ("of a live blob", &store, &greedy, &live[7..19]),
    ] {
        let before = tree(store);
        let output = carry_out(store, plan);
        expect(&output, 3);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains(said), "{what}: {stdout}");
        assert_same(&tree(store), &before, what);
    }
    // The same plan unchanged is carried out: what refused the others was what was changed.
    expect(&carry_out(&store, &plan), 0);
    assert_same(&tree(&store), &tree(&bench.path("swept")), "the plan as it was made");
}
