//! References as they are written, and sources that are not as they should be.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use jiff::SignedDuration;

use super::*;
use crate::config::values::Period;

const DIGEST: &str = "sha256:e17656a989d24510c5ef5120626846c99ca8e1eaa9a90ede7eba63a1d25faab2";

fn said(text: &str) -> Vec<String> {
    let references = read_references(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let mut said = Vec::new();
    for Reference { repository, tag, digest } in references {
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        said.push(format!("{}{tag}{digest}", repository.as_deref().unwrap_or("*")));
    }
    said
}

#[test]
fn references_are_read_as_people_and_runtimes_write_them() {
    let hex = DIGEST.trim_start_matches("sha256:");
    for (text, expected) in [
        ("team/app:v1", "team/app:v1".to_owned()),
        ("registry.example:5000/team/app:v1", "registry.example:5000/team/app:v1".to_owned()),
        ("localhost:5000/app", "localhost:5000/app:latest".to_owned()),
        ("nginx", "nginx:latest".to_owned()),
        ("app:v1", "app:v1".to_owned()),
        (&format!("team/app@{DIGEST}"), format!("team/app@{DIGEST}")),
        (&format!("host/team/app:v1@{DIGEST}"), format!("host/team/app:v1@{DIGEST}")),
        (&format!("docker-pullable://host/app@{DIGEST}"), format!("host/app@{DIGEST}")),
        (&format!("containerd://{DIGEST}"), format!("*@{DIGEST}")),
        (DIGEST, format!("*@{DIGEST}")),
        (hex, format!("*@{DIGEST}")),
        ("REGISTRY/app:1", "REGISTRY/app:1".to_owned()),
    ] {
        assert_eq!(said(text), [expected], "{text}");
    }
    let text = format!("# pins\n\n  a:1  b:2\t{DIGEST}\r\nc # and the rest\n#d\ne:3");
    let expected = ["a:1", "b:2", &format!("*@{DIGEST}"), "c:latest", "e:3"];
    assert_eq!(said(&text), expected);
    assert!(said("").is_empty());
}

#[test]
fn a_word_that_is_no_reference_is_never_left_out() {
    for word in [
        "<none>:<none>",
        "error:",
        "app:",
        ":v1",
        "app@",
        "app@sha256:00",
        "app:-v1",
        "team//app:v1",
        "/app:v1",
        "https://registry.example/app:v1",
        "\"app:v1\"",
        "app:v1,",
        "_app:v1",
        "../app:v1",
        "sha256:00",
        "é:1",
        &"x".repeat(64).replace('x', "/"),
    ] {
        let text = format!("good:1\n{word}\n");
        let error = read_references(text.as_bytes()).map(|found| format!("{found:?}")).unwrap_err();
        assert!(matches!(error, ReferenceError::NoReference { line: 2, .. }), "{word}: {error}");
    }
    let shortened = read_references(b"3f2a1b9c0d4e").unwrap_err();
    assert!(shortened.to_string().contains("shortened image ID"), "{shortened}");
    assert_eq!(read_references(b"a\n\xff\n"), Err(ReferenceError::NotText(2)));
}

fn now() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

/// A directory with a file `pins.txt` of this content, written so long ago.
fn pins(content: &[u8], age: SignedDuration) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pins.txt");
    std::fs::write(&path, content).unwrap();
    let written = now() - age;
    std::fs::File::open(path).unwrap().set_modified(written.into()).unwrap();
    directory
}

fn file(path: &str, max_age: Option<&str>, may_be_empty: bool) -> Source {
    let max_age = max_age.map(|age| age.parse().unwrap());
    Source { what: SourceKind::File { path: Arc::from(path), max_age }, may_be_empty }
}

fn command(words: &[&str], timeout: Period) -> Source {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let text = Arc::from(words.join(" "));
    Source { what: SourceKind::Command { text, words: words.into(), timeout }, may_be_empty: false }
}

fn asked(source: Source, directory: &Path) -> References {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask(&[source], directory, now()))
}

#[track_caller]
fn assert_fails(source: Source, directory: &Path, why: &str) {
    let references = asked(source, directory);
    assert!(references.is_empty() && references.failures.len() == 1, "{references:?}");
    assert!(references.failures[0].contains(why), "{why:?} is not in {:?}", references.failures);
}

#[test]
fn a_file_is_read_whole_and_young_or_not_at_all() {
    let hour = SignedDuration::from_hours(1);
    let directory = pins(b"a:1\nb:2\n", hour);
    let read = asked(file("pins.txt", Some("1h"), false), directory.path());
    assert_eq!((read.len(), read.failures.len()), (2, 0));
    assert_eq!(&*read.sources[0].0, "the file pins.txt");
    let absolute = directory.path().join("pins.txt");
    assert_eq!(asked(file(absolute.to_str().unwrap(), None, false), Path::new("/")).len(), 2);
    assert_fails(
        file("pins.txt", Some("59min"), false),
        directory.path(),
        "written 1h ago, and may be 59min",
    );
    assert_fails(file("none.txt", None, false), directory.path(), "cannot be read: No such file");
    assert_fails(file(".", None, false), directory.path(), "no regular file");
    let ahead = pins(b"a:1", -hour);
    assert_fails(file("pins.txt", Some("1h"), false), ahead.path(), "1h in the future");
    assert_eq!(asked(file("pins.txt", None, false), ahead.path()).len(), 1);
    let empty = pins(b"# nothing\n", hour);
    assert_fails(file("pins.txt", None, false), empty.path(), "may_be_empty: true");
    assert!(asked(file("pins.txt", None, true), empty.path()).failures.is_empty());
    let wrong = pins(b"a:1\n<none>\n", hour);
    assert_fails(file("pins.txt", None, true), wrong.path(), "line 2: `<none>` is no image reference");
    let large = pins(&b"a:1\n".repeat(LARGEST / 4 + 1), hour);
    assert_fails(file("pins.txt", None, false), large.path(), "more than 16777216 bytes");
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    fifo(directory.path(), "pins.txt");
    assert_fails(file("pins.txt", None, false), directory.path(), "no regular file");
}

fn fifo(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    path
}

#[test]
fn a_command_says_what_runs_or_fails() {
    let minute = Period::from_secs(60);
    let directory = pins(b"a:1\nb:2\n", SignedDuration::ZERO);
    let here = directory.path();
    let read = asked(command(&["cat", "pins.txt"], minute), here);
    assert_eq!((read.len(), read.failures.len()), (2, 0), "{read:?}");
    assert_eq!(&*read.sources[0].0, "the command `cat pins.txt`");
    // No shell: a star is a star.
    assert_fails(command(&["cat", "pins*"], minute), here, "exit status: 1: cat: 'pins*': No such file");
    assert_fails(command(&["sh", "-c", "echo a:1; exit 3"], minute), here, "exit status: 3");
    assert_fails(command(&["sh", "-c", "echo a:1; kill -9 $$"], minute), here, "signal: 9");
    assert_fails(command(&["no-such-program"], minute), here, "cannot be started: No such file");
    assert_fails(command(&["true"], minute), here, "it names nothing");
    assert_fails(command(&["yes", "a:1"], minute), here, "more than 16777216 bytes");
    assert_fails(command(&["echo", "Error from server"], minute), here, "line 1");
    // One that waits for somebody to type has nobody, and one that complains at length is heard to its end.
    assert_fails(command(&["cat"], minute), here, "it names nothing");
    let complains = "head -c 1000000 /dev/zero >&2; echo a:1";
    assert_eq!(asked(command(&["sh", "-c", complains], minute), here).len(), 1);
}

#[test]
fn a_command_that_does_not_end_is_ended_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let path = fifo(directory.path(), "alive");
    let script = "(sleep 1000; echo) > alive & sleep 1000";
    // Somebody who reads from the pipe comes to its end when nobody is left who could write into it.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let mut pipe = std::fs::OpenOptions::new().read(true).custom_flags(0).open(path).unwrap();
        std::io::Read::read_to_string(&mut pipe, &mut text).unwrap();
        text
    });
    assert_fails(
        command(&["sh", "-c", script], Period::from_secs(1)),
        directory.path(),
        "did not end within 1s",
    );
    assert_eq!(reader.join().unwrap(), "");
}
