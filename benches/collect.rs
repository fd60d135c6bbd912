//! A whole clean-up of one bucket beside a distant registry: `regsweep run` against the registry's own collector.
//!
//! `cargo bench --bench collect -- [--files N] [--latency MILLISECONDS]`. Both work on the same objects, one after the other,
//! on a server in memory that takes its time for each request; `docker-registry` 2.8 must be installed. Without a policy both
//! take what no manifest refers to. What is left of blobs must be the same.
#![allow(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    reason = "a bench measures time and prints, and shares the servers of the tests"
)]

mod common;
#[path = "common/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use buckets::memory::{MemoryServer, Options};
use common::number;
use regsweep::synth::Recipe;
use server::{buckets, support};

/// Nothing of a policy but that what goes is gone at once, as with the collector.
const NO_TRASH: &str = "version: 1\ntrash: { keep: 0 }\nlimits: { bytes: 100% }\n";
const TRASH: &str = "version: 1\nlimits: { bytes: 100% }\n";

struct Outcome {
    seconds: f64,
    requests: usize,
    blobs: BTreeSet<String>,
}

/// Runs a command on a bucket that holds the registry in `directory`.
fn run(
    directory: &Path,
    latency: Duration,
    command: impl FnOnce(&MemoryServer) -> Command,
    what: &str,
) -> Outcome {
    let server = MemoryServer::start(Options::default());
    server.insert_tree(directory, "");
    server.set(|options| options.latency = latency);
    let mut command = command(&server);
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let seconds = start.elapsed().as_secs_f64();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    let counts = server.counts();
    let requests = counts.values().sum();
    let told: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    println!("{what:<44} {seconds:>9.1} {requests:>9}   {}", told.join(", "));
    let data =
        server.snapshot().into_keys().filter(|key| key.contains("/blobs/") && key.starts_with("docker/"));
    Outcome { seconds, requests, blobs: data.collect() }
}

fn regsweep(server: &MemoryServer, scratch: &Path, policy: &str) -> Command {
    let file = scratch.join("policy.yaml");
    std::fs::write(&file, policy).expect("a policy");
    let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    command.args(["run", &server.bucket().url(""), "--offline", "--policy"]).arg(file);
    // Nothing is remembered of an earlier run.
    command.args(["--manifest-cache", "off"]);
    server.bucket().lead(&mut command);
    command
}

fn collector(server: &MemoryServer, scratch: &Path) -> Command {
    let bucket = server.bucket();
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  s3: {{ region: us-east-1, regionendpoint: \"{}\", bucket: \"{}\", \
         accesskey: \"{}\", secretkey: \"{}\", secure: false, forcepathstyle: true }}\nhttp: {{addr: '127.0.0.1:0'}}\n",
        bucket.endpoint(),
        bucket.name(),
        bucket.variable("AWS_ACCESS_KEY_ID"),
        bucket.variable("AWS_SECRET_ACCESS_KEY"),
    );
    let file = scratch.join("config.yml");
    std::fs::write(&file, text).expect("a configuration");
    let mut command = Command::new("docker-registry");
    command.arg("garbage-collect").arg(file).env_remove("AWS_CA_BUNDLE");
    command
}

fn main() {
    let (files, latency) = (number("files", 30_000), number("latency", 20));
    let (directory, scratch) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let long_ago = SystemTime::now() - Duration::from_secs(30 * 86_400);
    // The collector knows nothing of uploads, and would differ.
    let recipe = Recipe { uploads: 0, ..Recipe::like_a_registry(files) };
    let made = recipe.generate(directory.path(), long_ago).expect("a store");
    println!("{} files, {} manifests, {latency} ms a request", made.files, made.manifests);
    let latency = Duration::from_millis(latency);
    println!("{:<44} {:>9} {:>9}", "", "seconds", "requests");
    let (directory, scratch) = (directory.path(), scratch.path());
    let gone =
        run(directory, latency, |server| regsweep(server, scratch, NO_TRASH), "run --offline, gone at once");
    let kept = run(
        directory,
        latency,
        |server| regsweep(server, scratch, TRASH),
        "run --offline, what goes stays in the trash",
    );
    let theirs =
        run(directory, latency, |server| collector(server, scratch), "docker-registry garbage-collect");
    assert!(!gone.blobs.is_empty() && gone.blobs == kept.blobs, "with and without trash is not the same");
    assert_eq!(gone.blobs, theirs.blobs, "what is left differs");
    for (what, ours) in [("gone at once", &gone), ("into the trash", &kept)] {
        println!(
            "the registry's collector against run, {what}: {:.0} times the seconds, {:.1} times the requests",
            theirs.seconds / ours.seconds,
            theirs.requests as f64 / ours.requests as f64
        );
    }
}
