//! What distribution 2.8.2 and 3.1.1 wrote while skopeo and curl pulled: two tags, one of them an index, an image of it by
//! digest, and what is no pull (HEAD, 404, blobs).

use std::io::Cursor;

use super::*;
use crate::policy::IgnoredPulls;

const CAPTURED: [(&str, &str); 8] = [
    ("events 2.8.2", include_str!("../../../testdata/pulls/events-2.8.2.json")),
    ("events 3.1.1", include_str!("../../../testdata/pulls/events-3.1.1.json")),
    ("access log 2.8.2", include_str!("../../../testdata/pulls/access-2.8.2.log")),
    ("access log 3.1.1", include_str!("../../../testdata/pulls/access-3.1.1.log")),
    ("text log 2.8.2", include_str!("../../../testdata/pulls/log-text-2.8.2.log")),
    ("text log 3.1.1", include_str!("../../../testdata/pulls/log-text-3.1.1.log")),
    ("JSON log 2.8.2", include_str!("../../../testdata/pulls/log-json-2.8.2.log")),
    ("JSON log 3.1.1", include_str!("../../../testdata/pulls/log-json-3.1.1.log")),
];

const AMD64: &str = "sha256:e17656a989d24510c5ef5120626846c99ca8e1eaa9a90ede7eba63a1d25faab2";
const ARM64: &str = "sha256:696c859f903d0f8edda6fb9fa3917bac14ad4155c14e616c032a5b410c5c030e";
const INDEX: &str = "sha256:d379d5eafea36657661613d9dcd2b9bd620a8db8706ce7a0914a16eb7a573ab3";

fn read(text: &str, ignored: &IgnoredPulls) -> Observed {
    Reader::read(Cursor::new(text), ignored).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn names(record: &PullRecord) -> Vec<String> {
    let mut names = Vec::new();
    for (repository, pulls) in record.repositories() {
        names.extend(pulls.tags.keys().map(|tag| format!("{repository}:{tag}")));
        names.extend(pulls.manifests.keys().map(|digest| format!("{repository}@{digest}")));
    }
    names
}

#[test]
fn real_events_and_logs_tell_the_same_pulls() {
    for (what, text) in CAPTURED {
        let observed = read(text, &IgnoredPulls::default());
        let mut expected = vec!["team/app:multi".to_owned(), "team/app:one".to_owned()];
        let mut digests = vec![ARM64, AMD64];
        if what.starts_with("events") {
            // Only events tell which manifest a tag led to.
            digests.push(INDEX);
        }
        digests.sort_unstable();
        expected.extend(digests.iter().map(|digest| format!("team/app@{digest}")));
        assert_eq!(names(&observed.record), expected, "{what}");
        // An event is posted for an answer that the client could not take, too.
        let pulls = if what.starts_with("events") { 7 } else { 6 };
        assert_eq!((observed.pulls, observed.not_understood), (pulls, 0), "{what}");
        assert!(observed.understood >= 15, "{what}: {observed:?}");
        let covered = observed.record.covered();
        assert_eq!(covered.len(), 1, "{what}");
        assert!(covered[0].to.duration_since(covered[0].from).as_secs() <= 5, "{what}: {covered:?}");
    }
}

#[test]
fn who_pulled_decides_whether_it_counts() {
    let ignored = |fill: &dyn Fn(&mut IgnoredPulls)| {
        let mut list = IgnoredPulls::default();
        fill(&mut list);
        list
    };
    let agent = ignored(&|list| list.add_user_agent("Trivy*").unwrap());
    let skopeo = ignored(&|list| list.add_user_agent("skopeo/*").unwrap());
    let user = ignored(&|list| list.add_user("bob").unwrap());
    let address = ignored(&|list| list.add_address("10.9.0.0/16").unwrap());
    let quoted = ignored(&|list| list.add_user_agent("Bad \"agent").unwrap());
    for (what, text) in CAPTURED {
        let (events, access) = (what.starts_with("events"), what.starts_with("access"));
        for (list, expected) in [
            (&agent, 1),
            (&skopeo, 5),
            // The logs do not tell a user's name, and the access log only the nearest proxy's address.
            (&user, u64::from(events)),
            (&address, u64::from(!access)),
            (&quoted, u64::from(events)),
        ] {
            let observed = read(text, list);
            assert_eq!(observed.ignored, expected, "{what}: {list:?}");
            assert_eq!(observed.record.covered(), read(text, &IgnoredPulls::default()).record.covered());
        }
    }
}

#[test]
fn lines_are_read_as_containers_and_journals_wrap_them() {
    let access =
        r#"10.1.2.3 - - [29/Nov/2026:01:20:54 +0100] "GET /v2/a/manifests/v1 HTTP/1.1" 200 491 "" "x""#;
    let logrus = "time=\"2026-11-29T00:20:54Z\" level=info msg=\"response completed\" http.request.method=GET http.request.uri=\"/registry/v2/a/manifests/v1?ns=a\" http.response.status=304";
    let json = r#"{"level":"info","time":"2026-11-29T00:20:54Z","http.request.method":"GET","http.request.uri":"/v2/a/manifests/v1","http.response.status":200}"#;
    let at: Timestamp = "2026-11-29T00:20:54Z".parse().unwrap();
    let mut expected = PullRecord::default();
    expected.observe(&Pull { repository: repository("a").unwrap(), tag: tag("v1"), manifest: None, at });
    expected.cover(at, at);
    for line in [access, logrus, json] {
        let docker = serde_json::json!({ "log": format!("{line}\n"), "stream": "stdout", "time": "x" });
        for wrapped in [
            line.to_owned(),
            format!("  {line}\r\n\n"),
            format!("2026-11-29T00:20:55.1Z stdout F {line}"),
            format!("Nov 29 01:20:54 host registry[77]: {line}"),
            docker.to_string(),
            format!("{{\n{line}"),
        ] {
            assert_eq!(read(&wrapped, &IgnoredPulls::default()).record, expected, "{wrapped}");
        }
    }
}

#[test]
fn what_is_no_pull_of_a_manifest_counts_as_none() {
    let line = |request: &str, status: u16| {
        format!("h - - [29/Nov/2026:01:20:54 +0000] \"{request} HTTP/1.1\" {status} 491 \"\" \"x\"")
    };
    for (request, status) in [
        ("HEAD /v2/a/manifests/v1", 200),
        ("PUT /v2/a/manifests/v1", 201),
        ("GET /v2/a/manifests/v1", 404),
        ("GET /v2/a/manifests/v1", 500),
        ("GET /v2/a/blobs/sha256:00", 200),
        ("GET /v2/a/tags/list", 200),
        ("GET /v2/", 200),
        ("GET /v2/A/manifests/v1", 200),
        ("GET /v2/../manifests/v1", 200),
        ("GET /v2/a/manifests/.v1", 200),
        ("GET /v2/a/manifests/", 200),
        ("GET /v2/%ff/manifests/v1", 200),
        ("GET /metrics", 200),
    ] {
        let observed = read(&line(request, status), &IgnoredPulls::default());
        assert_eq!((observed.understood, observed.pulls), (1, 0), "{request} {status}");
    }
    let escaped = line(&format!("GET /v2/a/b/manifests/{}", AMD64.replace(':', "%3A")), 200);
    let observed = read(&escaped, &IgnoredPulls::default());
    assert_eq!(names(&observed.record), [format!("a/b@{AMD64}")]);
}

#[test]
fn bad_files_are_told_and_bad_lines_counted() {
    let ignored = IgnoredPulls::default();
    let nothing = Reader::read(Cursor::new("hello\n\nworld\n"), &ignored).unwrap_err();
    assert!(nothing.to_string().starts_with("none of its 2 lines"), "{nothing}");
    let empty = read("", &ignored);
    assert!(empty.record.is_empty());
    // Torn at its end, as a file is that somebody still writes.
    let (_, events) = CAPTURED[0];
    let torn = read(&events[..events.len() - 200], &ignored);
    assert!(torn.pulls > 0 && torn.not_understood > 0, "{torn:?}");
    let line = r#"h - - [29/Nov/2026:01:20:54 +0000] "GET /v2/a/manifests/v1 HTTP/1.1" 200 491"#;
    let mut bytes = b"\xff\xfe\x00{[\n[x]\n{\"events\": [1, {}, {\"action\": \"pull\"}]}\n".to_vec();
    bytes.extend(line.as_bytes());
    let observed = Reader::read(Cursor::new(bytes), &ignored).unwrap();
    assert_eq!((observed.understood, observed.pulls, observed.not_understood), (1, 1, 5));
}

#[test]
fn a_posted_envelope_is_read_or_refused() {
    let (_, events) = CAPTURED[1];
    let first = events.split("\n}\n").next().map(|first| format!("{first}\n}}")).unwrap();
    let observed = read_events(first.as_bytes(), &IgnoredPulls::default()).unwrap();
    assert_eq!((observed.understood, observed.pulls), (1, 0));
    for (body, why) in [("", "not JSON"), ("{}", "no list of `events`"), ("{\"events\":{}}", "no list")] {
        let error = read_events(body.as_bytes(), &IgnoredPulls::default()).unwrap_err();
        assert!(error.to_string().contains(why), "{body}: {error}");
    }
    let without_url = r#"{"events":[{"action":"pull","timestamp":"2026-11-29T00:00:00Z","target":{"repository":"a","tag":"v1"}}]}"#;
    let observed = read_events(without_url.as_bytes(), &IgnoredPulls::default()).unwrap();
    assert_eq!(names(&observed.record), ["a:v1"]);
}

#[test]
fn addresses_stand_with_and_without_ports() {
    for (text, expected) in [
        ("10.9.8.7", Some("10.9.8.7")),
        ("127.0.0.1:58376", Some("127.0.0.1")),
        ("[::1]:80", Some("::1")),
        ("[::1]", Some("::1")),
        ("fd00::1", Some("fd00::1")),
        ("host", None),
        ("", None),
    ] {
        assert_eq!(address(text), expected.map(|text| text.parse().unwrap()), "{text}");
    }
}
