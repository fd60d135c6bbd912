//! A disk that is full, at every point where a run needs some of it: calls that are made to fail, one after the other, and
//! filesystems that have room for so many more pages or files.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::crash::{Bench, Tree, assert_kept_is_whole, assert_same, expect, plain, tree};

/// The keys below the layout's root of everything that some journal announces to take.
fn announced(store: &Path) -> BTreeSet<String> {
    let runs = std::fs::read_dir(store.join(".regsweep/runs")).into_iter().flatten();
    let journals = runs.filter_map(|run| std::fs::read_dir(run.unwrap().path().join("journal")).ok());
    let segments = journals.flatten().map(|segment| segment.unwrap().path());
    let mut keys = BTreeSet::new();
    // What was not renamed was not announced.
    for segment in segments.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
        for line in std::fs::read_to_string(segment).unwrap().lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            for list in ["links", "data"] {
                let taken = entry["intent"][list].as_array().into_iter().flatten();
                keys.extend(taken.map(|one| one["key"].as_str().unwrap().to_owned()));
            }
        }
    }
    keys
}

fn files(tree: &Tree) -> BTreeSet<&String> {
    tree.iter().filter(|(_, content)| content.is_some()).map(|(key, _)| key).collect()
}

/// Asserts what must be true of what a run left that found no room, and that the next one, which does, comes to the end.
fn assert_recovers(bench: &Bench, store: &Path, output: &Output, what: &str) {
    let (origin, now) = (tree(&bench.path("origin")), tree(store));
    let announced = announced(store);
    for key in files(&origin).difference(&files(&now)) {
        let key = format!("docker/registry/v2/{key}");
        assert!(announced.contains(&key), "{what}: {key} has gone, and no journal says so");
    }
    assert_kept_is_whole(&now, &origin, what);
    let code = output.status.code();
    let said = String::from_utf8_lossy(&output.stderr);
    if now == tree(&bench.path("swept")) {
        // All was done; that it was could perhaps not be written down.
        assert!(matches!(code, Some(0 | 4)), "{what}: exit {code:?}: {said}");
    } else {
        assert!(matches!(code, Some(1 | 4)), "{what}: exit {code:?}: {said}");
    }
    if code == Some(4) {
        assert!(said.contains("No space left on device"), "{what}: {said}");
    }
    expect(&bench.sweep(store), 0);
    assert_same(&tree(store), &tree(&bench.path("swept")), &format!("{what}, then a run"));
}

#[test]
fn a_full_disk_at_any_call_that_writes_state_takes_nothing_that_was_not_announced() {
    let mut bench = Bench::new();
    // For one thread at a time: each that comes so far is refused there, and from there on or once.
    for (calls, least) in
        [("?fsync,?fdatasync", 12), ("?link,?linkat", 1), ("?rename", 2), ("?mkdir,?mkdirat", 2)]
    {
        for (from_there_on, mut nth) in [("+", 1), ("", 1)] {
            loop {
                let what = format!("{calls} fails at {nth}{from_there_on}");
                let store = bench.fresh("origin");
                let log = bench.path("log");
                let mut command = plain(Command::new("strace"));
                command.args(["-f", "-qq", "-e", &format!("trace={calls}"), "-o"]).arg(&log).arg("-e");
                command.arg(format!("inject={calls}:error=ENOSPC:when={nth}{from_there_on}"));
                command.arg(env!("CARGO_BIN_EXE_regsweep")).args(bench.sweep_arguments(&store));
                let output = command.output().unwrap();
                let log = std::fs::read_to_string(log).unwrap();
                assert_recovers(&bench, &store, &output, &what);
                if !log.contains("INJECTED") {
                    // Not every processor has each of these calls.
                    assert!(nth > least || log.is_empty(), "{what}: it is called less often than it must be");
                    break;
                }
                nth += 1;
            }
        }
    }
}

/// Copies the store `$3` into a small filesystem that only this shell and what it starts see, fills that but for `$5`
/// pages or files as `$4` says, runs a command, and copies what it left to `$6`.
const ON_A_SMALL_DISK: &str = r#"
set -e
mount -t tmpfs -o "$1" tmpfs "$2"
cp -a "$3" "$2/store"
if [ "$4" = pages ]; then
    free=$(( $(df --output=avail "$2" | tail -1) / 4 - $5 ))
    dd if=/dev/zero of="$2/filler" bs=4096 count="$free" 2>/dev/null
else
    free=$(( $(df --output=iavail "$2" | tail -1) - $5 - 1 ))
    mkdir "$2/filler"
    (cd "$2/filler" && seq "$free" | xargs touch)
fi
mounted=$2
left=$6
shift 6
code=0
"$@" || code=$?
cp -a "$mounted/store" "$left"
exit "$code"
"#;

/// A command that can mount something for itself alone.
fn unshared() -> Command {
    for options in [&["-m"][..], &["-Urm"]] {
        let works =
            Command::new("unshare").args(options).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        if works.is_ok_and(|output| output.status.success()) {
            let mut command = plain(Command::new("unshare"));
            command.args(options);
            return command;
        }
    }
    panic!(
        "nothing may be mounted here, neither as this user nor in a user namespace, so no disk can be filled"
    )
}

fn fill(kind: &str, options: &str) {
    let bench = Bench::new();
    let mount = bench.path("mount");
    std::fs::create_dir(&mount).unwrap();
    let (mut room, mut done) = (0, 0);
    // Once there is room for all of it, there is room for more of it.
    while done < 3 {
        let what = format!("room for {room} {kind}");
        let left = bench.path(&format!("left-{room}"));
        let mut command = unshared();
        command.args(["sh", "-c", ON_A_SMALL_DISK, "sh", options]).arg(&mount).arg(bench.path("origin"));
        command.args([kind, &room.to_string()]).arg(&left).arg(env!("CARGO_BIN_EXE_regsweep"));
        let output = command.args(bench.sweep_arguments(&mount.join("store"))).output().unwrap();
        assert!(left.is_dir(), "{what}: {output:?}");
        assert_recovers(&bench, &left, &output, &what);
        done = if output.status.success() { done + 1 } else { 0 };
        room += 1;
        assert!(room < 400, "it never has room enough");
    }
    assert!(room > 6, "it needs room for {room} {kind} only: the disk was not full");
}

#[test]
fn a_disk_with_room_for_some_more_pages_takes_nothing_that_was_not_announced() {
    fill("pages", "size=4m");
}

#[test]
fn a_disk_with_room_for_some_more_files_takes_nothing_that_was_not_announced() {
    fill("files", "size=16m,nr_inodes=1000");
}
