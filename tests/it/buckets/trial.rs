//! A small store in memory that one run after the other is tried on, each from the same beginning, and what must be true
//! of it whatever became of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::memory::faults::writes;
use super::memory::{MemoryServer, Options, Stored};
use super::{PREFIX, Scene};
use crate::crash;
use crate::registry::command::{Finished, regsweep_command};
use crate::support::{Files, tag_directory};

/// Everything in a bucket.
pub type Objects = BTreeMap<String, Stored>;

/// The store that trials begin with, and a place for policies.
pub struct Ground {
    directory: tempfile::TempDir,
    /// What the bucket holds at first.
    pub origin: Objects,
    /// The same, as files.
    pub files: Files,
}

impl Ground {
    /// As a server with these options holds it.
    pub fn new(options: &Options) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        crash::build(&directory.path().join("store"));
        let server = MemoryServer::start(options.clone());
        server.insert_tree(&directory.path().join("store"), PREFIX);
        Self { origin: server.snapshot(), files: server.files(PREFIX), directory }
    }

    /// Where a trial may keep something.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a policy that differs from [`crash::POLICY`] in that `from` is `to`, and says where it is.
    pub fn policy(&self, name: &str, changes: &[(&str, &str)]) -> String {
        let mut text = crash::POLICY.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "the policy has no {from}");
            text = text.replace(from, to);
        }
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("the policy");
        Scene::text(&path)
    }

    /// Asserts what must always be true: nothing changed, nothing new, and what the policy keeps is there.
    pub fn assert_nothing_lost(&self, now: &Files, what: &str) {
        let alien: Vec<_> = now.0.keys().filter(|key| !self.files.0.contains_key(*key)).collect();
        assert!(alien.is_empty(), "{what}: nobody wrote {alien:#?}");
        now.assert_holds(&self.files, &now.0.keys().cloned().collect(), what);
        for tag in ["v1", "v2", "v3"] {
            let image = self.files.image_of_tag("team/app", tag);
            assert!(image.len() > 5, "the image of {tag} is {image:?}");
            now.assert_holds(&self.files, &image, &format!("{what}: {tag}"));
        }
    }

    /// Asserts that all that a tag needs is there as long as its link is, though the policy lets it go.
    pub fn assert_no_tag_dangles(&self, now: &Files, what: &str) {
        for (repository, tag) in now.tags() {
            let target = self.files.target(&repository, &tag).expect("a whole link");
            let image = self.files.image(&repository, &target);
            now.assert_holds(&self.files, &image, &format!("{what}: {tag}, which was not yet taken"));
        }
    }
}

/// A server that belongs to one thread of the test.
pub struct Trial<'g> {
    pub ground: &'g Ground,
    pub server: MemoryServer,
}

impl<'g> Trial<'g> {
    pub fn new(ground: &'g Ground, options: &Options) -> Self {
        Self { ground, server: MemoryServer::start(options.clone()) }
    }

    /// Begins anew with these objects.
    pub fn begin(&self, objects: &Objects) {
        self.server.heal();
        self.server.replace(objects);
        self.server.forget_requests();
    }

    /// A command on the bucket: its name, what follows the store's URL, and as few threads as there can be.
    pub fn command(&self, name: &str, more: &[String]) -> Command {
        let mut command = regsweep_command([name, &self.server.bucket().url(PREFIX)]);
        self.server.bucket().lead(&mut command);
        command.args(more).args(["--manifest-cache", "off"]);
        command.env("TOKIO_WORKER_THREADS", "1").env("RAYON_NUM_THREADS", "1");
        command
    }

    pub fn run(&self, name: &str, more: &[String]) -> Finished {
        Finished::new(&self.command(name, more).output().expect("regsweep runs"))
    }

    /// What there is beside regsweep's own state.
    pub fn files(&self) -> Files {
        self.server.files(PREFIX)
    }

    /// How many requests there were that change something.
    pub fn writes(&self) -> usize {
        self.server.requests().iter().filter(|request| writes(&request.operation)).count()
    }

    /// Runs a command until the server halts one of its requests, and kills it there; how it ended when none was halted.
    pub fn kill_when_halted(&self, mut command: Command) -> Option<Finished> {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("regsweep runs");
        let halted = loop {
            if self.server.halted() > 0 {
                break true;
            }
            if child.try_wait().expect("a child").is_some() {
                break false;
            }
            std::thread::sleep(Duration::from_micros(500));
        };
        if !halted {
            self.server.heal();
            return Some(Finished::new(&child.wait_with_output().expect("a child")));
        }
        kill(&mut child);
        // What it had sent by then may still arrive; nothing of that comes after the next run's first request.
        self.server.heal();
        for _ in 0..10_000 {
            if self.server.connections() == 0 {
                return None;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        panic!("the connections of a killed process stay open");
    }

    /// The whole key of something in regsweep's own state.
    pub fn state_key(key: &str) -> String {
        format!("{PREFIX}.regsweep/{key}")
    }

    /// Runs that can be undone, newest first.
    pub fn runs(&self) -> Vec<String> {
        let listed = self.run("restore", &strings(&["--json"])).expect(0).json();
        let runs = listed["runs"].as_array().expect("runs").iter();
        let mut names: Vec<String> =
            runs.map(|run| run["run"].as_str().expect("a name").to_owned()).collect();
        names.sort();
        names.reverse();
        names
    }

    /// Undoes every run, newest first; one that took nothing may say so.
    pub fn restore_all(&self, what: &str) {
        for run in self.runs() {
            let finished = self.run("restore", &strings(&[&run, "--json"]));
            let nothing = finished.status == 2 && finished.stderr.contains("took anything");
            assert!(finished.status == 0 || nothing, "{what}: {finished:?}");
        }
    }

    /// Asserts that a run finds nothing to do.
    pub fn assert_settled(&self, more: &[String], what: &str) {
        let report: Value = self.run("run", more).expect(0).json();
        assert_eq!(report["planned_steps"], 0, "{what}: there is something left to do: {report:#}");
    }
}

/// Kills a child and waits until it is gone.
pub fn kill(child: &mut Child) {
    child.kill().expect("a child");
    child.wait().expect("a child");
}

/// The files without what is left of tags that are gone: links to what they once pointed to.
pub fn without_remains_of_tags(files: &Files) -> Files {
    let mut files = files.clone();
    let tags: BTreeSet<String> =
        files.tags().iter().map(|(repository, tag)| tag_directory(repository, tag)).collect();
    files.0.retain(|key, _| match key.split_once("/index/") {
        Some((directory, _)) if directory.contains("/_manifests/tags/") => {
            tags.contains(&format!("{directory}/"))
        }
        _ => true,
    });
    files
}

pub fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Whether every case is to be tried, or as many as there is time for.
pub fn all_cases(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

/// Tries all cases on some threads, each with a server of its own. The failures are told together.
pub fn try_all<C: Sync>(
    ground: &Ground,
    threads: usize,
    options: &Options,
    cases: &[C],
    attempt: impl Fn(&Trial<'_>, &C) + Sync,
) {
    let next = AtomicUsize::new(0);
    let failed: BTreeSet<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(cases.len()))
            .map(|_| {
                scope.spawn(|| {
                    let mut failed = Vec::new();
                    let mut trial = Trial::new(ground, options);
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let tried =
                            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attempt(&trial, case)));
                        if let Err(panic) = tried {
                            let text = panic.downcast_ref::<String>().cloned();
                            let text =
                                text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
                            failed.push(text.unwrap_or_default());
                            trial = Trial::new(ground, options);
                        }
                    }
                    failed
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a thread of the test")).collect()
    });
    let told: Vec<&str> = failed.iter().take(5).map(String::as_str).collect();
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), told.join("\n\n"));
}
