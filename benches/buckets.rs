//! How long a bucket takes to read and judge, how many requests that is, and how much memory: beside one listing by the
//! client library that goes from page to page.
//!
//! `cargo bench --bench buckets -- [--objects N] [--latency MILLISECONDS]`. The server is in memory, in this process, and
//! answers late on purpose: what is measured is what waits for it.
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

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use buckets::memory::{MemoryServer, Options};
use common::{number, peak_bytes};
use futures::TryStreamExt as _;
use regsweep::synth::{Recipe, sha256_digest};
use serde_json::Value;
use server::{buckets, support};

const ROOT: &str = "docker/registry/v2";

/// A store of some thousand objects with everything in it, and blobs and layer links up to `objects`.
fn fill(server: &MemoryServer, objects: u64) -> usize {
    let directory = tempfile::tempdir().expect("a directory");
    let long_ago = SystemTime::now() - Duration::from_secs(86_400);
    Recipe { seed: 5, ..Recipe::default() }.generate(directory.path(), long_ago).expect("a store");
    server.insert_tree(directory.path(), "");
    let mut count = server.snapshot().len() as u64;
    let mut number = 0_u64;
    while count < objects {
        let digest = sha256_digest(&number.to_le_bytes());
        let hex = &digest["sha256:".len()..];
        server.insert(&format!("{ROOT}/blobs/sha256/{}/{hex}/data", &hex[..2]), "", long_ago);
        let repository = format!("{ROOT}/repositories/team{}/app{}", number % 20, number % 300);
        server.insert(&format!("{repository}/_layers/sha256/{hex}/link"), digest.clone(), long_ago);
        number += 1;
        count += 2;
    }
    server.snapshot().len()
}

struct Run {
    seconds: f64,
    peak_bytes: u64,
    report: Value,
}

fn run(server: &MemoryServer, cache: &std::path::Path, what: &str, concurrency: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    let url = server.bucket().url("");
    command.args([what, &url, "--json", "--concurrency", concurrency]).env("XDG_CACHE_HOME", cache);
    server.bucket().lead(&mut command);
    command.stdout(std::process::Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().expect("regsweep runs");
    let process = child.id().to_string();
    // Its output is read on the side, so that it never waits for us.
    let mut pipe = child.stdout.take().expect("its output");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut pipe, &mut text).map(|_| text)
    });
    let mut most = 0;
    while child.try_wait().expect("its status").is_none() {
        most = most.max(peak_bytes(&process).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(3));
    }
    let seconds = start.elapsed().as_secs_f64();
    let text = reader.join().expect("a reader").expect("its output");
    Run { seconds, peak_bytes: most, report: serde_json::from_str(&text).expect("one document") }
}

fn main() {
    let (objects, latency) = (number("objects", 300_000), number("latency", 20));
    let server = MemoryServer::start(Options::default());
    let objects = fill(&server, objects);
    server.set(|options| options.latency = Duration::from_millis(latency));
    println!("{objects} objects, {latency} ms a request");

    let start = Instant::now();
    let store = server.bucket().store();
    let listed = support::wait(store.list(None).try_fold(0_usize, |count, _| async move { Ok(count + 1) }));
    let flat = start.elapsed().as_secs_f64();
    let pages = objects.div_ceil(1000);
    assert_eq!(listed.expect("a listing"), objects);

    println!("{:<34} {:>9} {:>7} {:>7} {:>7} {:>10}", "", "seconds", "LIST", "GET", "HEAD", "peak MiB");
    println!("{:<34} {flat:>9.2} {pages:>7}", "one listing, page by page");
    let cache = tempfile::tempdir().expect("a directory");
    // A plan also holds, and prints, every object that goes or waits: here that is nearly all of them.
    for (what, command, concurrency, again) in [
        ("audit, 64 at once, first run", "audit", "64", false),
        ("audit, 64 at once, second run", "audit", "64", true),
        ("audit, 1 at once, second run", "audit", "1", true),
        ("plan, 64 at once, second run", "plan", "64", true),
    ] {
        let run = run(&server, cache.path(), command, concurrency);
        let cost = |kind: &str| run.report["requests"][kind].as_u64().unwrap_or(0);
        let mib = run.peak_bytes as f64 / f64::from(1 << 20);
        println!(
            "{what:<34} {:>9.2} {:>7} {:>7} {:>7} {mib:>10.1}",
            run.seconds,
            cost("list"),
            cost("get"),
            cost("stat")
        );
        println!("{:<34} {:>9.3}", "  seconds : one listing", run.seconds / flat);
        println!("{:<34} {:>9.3}", "  LIST : ceil(objects / 1000)", cost("list") as f64 / pages as f64);
        println!("{:<34} {:>9.0}", "  peak bytes an object", run.peak_bytes as f64 / objects as f64);
        assert!(!again || cost("get") == 0, "a second run reads no manifest");
    }
}
