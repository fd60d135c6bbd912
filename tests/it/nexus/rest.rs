//! The REST interface, played by a server of this process from its documentation.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use regsweep::evidence::{Credentials, Evidence, EvidenceError, Rest};
use serde_json::{Value, json};

use super::*;

/// What goes wrong, once each, in this order, for questions about assets.
type Faults = VecDeque<Fault>;

#[derive(Clone, Copy)]
enum Fault {
    Status(u16),
    /// The connection ends within the answer.
    Cut,
    /// The answer is not what it should be.
    Body(&'static str),
}

/// A server that has assets, and the questions that it was asked.
struct Double {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

const PAGE: usize = 7;

impl Double {
    fn start(truth: &NexusTruth, named: bool, faults: Vec<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/nexus", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let assets: BTreeMap<String, Vec<Value>> =
            REPOSITORIES.iter().map(|name| ((*name).to_owned(), truth.assets(name, named))).collect();
        let (log, faults) = (asked.clone(), Arc::new(Mutex::new(Faults::from(faults))));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, faults, assets) = (log.clone(), faults.clone(), assets.clone());
                std::thread::spawn(move || serve(&stream, &assets, &log, &faults));
            }
        });
        Self { url, asked }
    }

    fn gather(&self, password: &str) -> Result<Option<Evidence>, EvidenceError> {
        let credentials = Credentials { user: "admin".into(), password: password.to_owned().into() };
        let rest = Rest::new(&self.url, Some(credentials)).expect("an address");
        let now = Timestamp::UNIX_EPOCH;
        wait(async move { {
            let sources = vec![Source::Rest(rest)];
            let database = Database { sources, ..Database::default() };
            Evidence::gather(&database, now, now).await
        } })
    }
}

fn serve(
    stream: &TcpStream,
    assets: &BTreeMap<String, Vec<Value>>,
    log: &Mutex<Vec<String>>,
    faults: &Mutex<Faults>,
) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
        log.lock().expect("the log").push(target.clone());
        // `admin:secret`, as clients write it.
        let known =
            head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Basic YWRtaW46c2VjcmV0"));
        let mut answer = if known { (200, body(&target, assets)) } else { (401, "who?".to_owned()) };
        if target.contains("/assets") {
            match faults.lock().expect("the faults").pop_front() {
                Some(Fault::Status(status)) => answer = (status, "not now".into()),
                Some(Fault::Cut) => {
                    let _ = (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{");
                    return;
                }
                Some(Fault::Body(body)) => answer = (200, body.into()),
                None => {}
            }
        }
        let (status, body) = answer;
        let text =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nretry-after: 0\r\n\r\n{body}", body.len());
        if (&mut &*stream).write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn body(target: &str, assets: &BTreeMap<String, Vec<Value>>) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, v)| v))
    };
    match path {
        "/nexus/service/rest/v1/blobstores" => "[]".into(),
        "/nexus/service/rest/v1/repositories" => {
            let mut all: Vec<Value> = assets
                .keys()
                .enumerate()
                .map(|(index, name)| {
                    json!({ "name": name, "format": "docker", "type": if index == 0 { "hosted" } else { "proxy" } })
                })
                .collect();
            all.push(json!({ "name": "maven", "format": "maven2", "type": "hosted" }));
            all.push(json!({ "name": "all", "format": "docker", "type": "group" }));
            Value::Array(all).to_string()
        }
        "/nexus/service/rest/v1/assets" => {
            let items = &assets[parameter("repository").expect("a repository")];
            let from: usize = parameter("continuationToken").map_or(0, |token| token.parse().expect("ours"));
            let to = (from + PAGE).min(items.len());
            let token = if to < items.len() { json!(to.to_string()) } else { Value::Null };
            json!({ "items": items[from..to], "continuationToken": token }).to_string()
        }
        _ => "{}".into(),
    }
}

fn why(result: Result<Option<Evidence>, EvidenceError>) -> String {
    result.expect_err("evidence that is not whole").to_string()
}

#[test]
fn every_page_of_every_docker_repository_is_read() {
    let scene = Scene::of(Era::Mixed, 1);
    for named in [true, false] {
        let double = Double::start(&scene.truth, named, Vec::new());
        let found = double.gather("secret").expect("evidence").expect("evidence");
        assert_eq!(found.repositories.iter().map(String::as_str).collect::<Vec<_>>(), REPOSITORIES);
        assert_eq!(found.proxies.iter().map(String::as_str).collect::<Vec<_>>(), ["docker-1"]);
        let known: BTreeSet<&str> = scene.truth.known().map(|blob| blob.id.as_str()).collect();
        assert_eq!(found.blobs.len(), if named { known.len() } else { 0 });
        assert_eq!(found.names_every_blob(), named);
        let asked = double.asked.lock().expect("the log");
        let pages: usize =
            REPOSITORIES.map(|name| scene.truth.assets(name, named).len().div_ceil(PAGE)).iter().sum();
        assert_eq!(asked.iter().filter(|target| target.contains("/assets")).count(), pages);
        assert!(!asked.iter().any(|target| target.contains("maven") || target.contains("=all")));
    }
}

#[test]
fn what_passes_is_asked_again() {
    let scene = Scene::of(Era::Sql, 1);
    let faults = vec![Fault::Status(503), Fault::Status(429), Fault::Cut, Fault::Status(500)];
    let whole = Double::start(&scene.truth, true, Vec::new()).gather("secret").expect("evidence");
    let double = Double::start(&scene.truth, true, faults);
    assert_eq!(double.gather("secret").expect("evidence"), whole);
}

#[test]
fn a_page_that_fails_leaves_no_evidence() {
    let scene = Scene::of(Era::Sql, 1);
    let with = |faults: Vec<Fault>| why(Double::start(&scene.truth, true, faults).gather("secret"));
    assert!(with(vec![Fault::Status(502); 6]).contains("it answers 502, 6 times"));
    assert!(with(vec![Fault::Status(429); 6]).contains("asks to slow down, 6 times"));
    assert!(with(vec![Fault::Status(404)]).contains("it answers 404"));
    assert!(with(vec![Fault::Body("<html>")]).contains("does not answer with JSON"));
    assert!(with(vec![Fault::Body("{}")]).contains("it has no items"));
    assert!(
        with(vec![Fault::Body("{\"items\":[{\"repository\":\"x\"}]}")]).contains("of another repository")
    );
    let circle = "{\"items\":[],\"continuationToken\":\"7\"}";
    assert!(with(vec![Fault::Body(circle), Fault::Body(circle)]).contains("was given before"));
    assert!(with(vec![Fault::Body("{\"items\":[],\"continuationToken\":7}")]).contains("is no text"));
    // A whole listing of nothing is no reason to think that nothing is in use.
    let nothing = Fault::Body("{\"items\":[],\"continuationToken\":null}");
    assert!(with(vec![nothing, nothing]).contains("does not know a single blob"));
}

#[test]
fn a_wrong_password_is_refused_and_no_password_is_told() {
    let scene = Scene::of(Era::Sql, 1);
    let double = Double::start(&scene.truth, true, Vec::new());
    let refused = why(double.gather("wrong-password"));
    assert!(refused.contains("it answers 401: give the user and password of an administrator"), "{refused}");
    assert!(!refused.contains("wrong-password") && !refused.contains("admin:"), "{refused}");
    assert_eq!(double.asked.lock().expect("the log").len(), 1);
}
