//! The record of pulls in the state: two writers, dead ones, torn objects, directories and buckets.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use regsweep::oci::{RepositoryName, TagName};
use regsweep::sources::pulls::{Pull, PullRecord};
use regsweep::store::{Access, ReadStore, WriteStore};
use regsweep::sweep::{SweepError, pulls};
use regsweep::synth::Builder;

use crate::support::{location, present, wait};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn record(tags: &[(&str, i64)]) -> PullRecord {
    let mut record = PullRecord::default();
    for (tag, second) in tags {
        record.observe(&Pull {
            repository: RepositoryName::found("team/app").unwrap(),
            tag: Some(TagName::found(tag).unwrap()),
            manifest: None,
            at: at(*second),
        });
        record.cover(at(*second), at(*second));
    }
    record
}

fn store() -> (tempfile::TempDir, WriteStore) {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = Builder::new(directory.path(), present()).unwrap();
    builder.blob(b"a layer").unwrap();
    let store = WriteStore::open(&location(directory.path()), &Access::DEFAULT).unwrap();
    (directory, store)
}

fn parts(root: &Path) -> usize {
    std::fs::read_dir(root.join(".regsweep/pulls")).map_or(0, Iterator::count)
}

#[test]
fn many_writers_lose_nothing_and_leave_few_objects() {
    let (directory, store) = store();
    let store = Arc::new(store);
    let mut expected = PullRecord::default();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let own: Vec<PullRecord> = (0..25)
                .map(|round| {
                    record(&[
                        (&format!("shared-{round}"), writer * 7 + round),
                        (&format!("own-{writer}"), round),
                    ])
                })
                .collect();
            for one in &own {
                expected.merge(one.clone());
            }
            let store = store.clone();
            // All of one moment, so that their objects would have one name.
            std::thread::spawn(move || {
                for one in own {
                    wait(async { pulls::add(&store, &one, at(0)).await }).unwrap();
                    let read = wait(async { pulls::read(store.read()).await }).unwrap();
                    let mut both = read.clone();
                    both.merge(one);
                    assert_eq!(both, read, "what was added is there");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(wait(pulls::read(store.read())).unwrap(), expected);
    // What was made one goes when nobody can be listing any more that began before.
    let before = parts(directory.path());
    assert!(before >= 200, "{before}");
    for round in 100..100 + 32 {
        if round % 16 == 4 {
            grow_older(directory.path());
        }
        let one = record(&[("late", round)]);
        expected.merge(one.clone());
        wait(pulls::add(&store, &one, at(round))).unwrap();
    }
    assert!(parts(directory.path()) <= 40, "{} of {before} objects", parts(directory.path()));
    assert_eq!(wait(pulls::read(store.read())).unwrap(), expected);
}

#[test]
fn a_reader_that_came_first_sees_what_was_added_later() {
    let (directory, store) = store();
    let early = ReadStore::open(&location(directory.path()), &Access::DEFAULT).unwrap();
    assert!(wait(pulls::read(&early)).unwrap().is_empty());
    wait(pulls::add(&store, &PullRecord::default(), at(0))).unwrap();
    assert_eq!(parts(directory.path()), 0, "nothing is written of nothing");
    wait(pulls::add(&store, &record(&[("v1", 5)]), at(0))).unwrap();
    wait(pulls::add(&store, &record(&[("v1", 3)]), at(0))).unwrap();
    let read = wait(pulls::read(&early)).unwrap();
    let (app, v1) = (RepositoryName::found("team/app").unwrap(), TagName::found("v1").unwrap());
    assert_eq!(read.tag(&app, &v1), Some(at(5)));
}

#[test]
fn a_part_that_is_torn_or_of_another_version_is_refused_and_never_left_out() {
    for (body, why) in [
        (&b""[..], "EOF"),
        (&b"{\"schema\":\"regsweep/pulls/1\",\"cov"[..], "EOF"),
        (
            &b"{\"schema\":\"regsweep/pulls/2\",\"pulls\":{\"covered\":[],\"repositories\":{}}}"[..],
            "this version reads",
        ),
        (&b"\x00\xff"[..], "expected value"),
    ] {
        let (directory, store) = store();
        wait(pulls::add(&store, &record(&[("v1", 5)]), at(0))).unwrap();
        std::fs::write(directory.path().join(".regsweep/pulls/00000000T000000Z-1-0.json"), body).unwrap();
        let error = wait(pulls::read(store.read())).unwrap_err();
        let SweepError::Format { key, source } = &error else { panic!("{error:?}") };
        assert_eq!(key, "pulls/00000000T000000Z-1-0.json");
        assert!(source.to_string().contains(why), "{source}");
    }
}

#[test]
fn what_a_dead_writer_left_behind_is_made_one_with_the_rest() {
    let (directory, store) = store();
    let mut expected = PullRecord::default();
    for number in 0..47 {
        let one = record(&[(&format!("t{number}"), number)]);
        expected.merge(one.clone());
        // As if each of them had died before it could make one of many.
        let body = serde_json::json!({ "schema": "regsweep/pulls/1", "pulls": one });
        wait(store.put_state(&format!("pulls/20200101T000000Z-{number}.json"), body.to_string().into()))
            .unwrap();
    }
    for (round, left) in [(0, 49), (1, 1 + 16)] {
        for second in 0..if round == 0 { 1 } else { 15 } {
            let one = record(&[("late", 100 + round * 16 + second)]);
            expected.merge(one.clone());
            wait(pulls::add(&store, &one, at(200 + round * 16 + second))).unwrap();
            assert_eq!(wait(pulls::read(store.read())).unwrap(), expected);
        }
        assert_eq!(parts(directory.path()), left, "after round {round}");
        grow_older(directory.path());
    }
}

/// Lets all that is there have been there for two hours.
fn grow_older(root: &Path) {
    for entry in std::fs::read_dir(root.join(".regsweep/pulls")).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        file.set_modified(present() - std::time::Duration::from_secs(7200)).unwrap();
    }
}
