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
pub(super) enum Fault {
    Status(u16),
    /// The connection ends within the answer.
    Cut,
    /// The answer is not what it should be.
    Body(&'static str),
    /// No answer comes.
    Hang,
}

/// What a repository manager has, and what it was asked to do.
#[derive(Default)]
pub(super) struct State {
    /// Assets by repository.
    pub(super) assets: BTreeMap<String, Vec<Value>>,
    /// Tasks.
    pub(super) tasks: Vec<Value>,
    /// Methods and targets, in order.
    pub(super) asked: Vec<String>,
    /// What goes wrong with questions about assets.
    faults: Faults,
    /// What goes wrong with deletes and tasks, after so many that go well.
    pub(super) trips: VecDeque<Option<Fault>>,
}

/// A server that plays one.
pub(super) struct Double {
    pub(super) url: String,
    pub(super) state: Arc<Mutex<State>>,
}

const PAGE: usize = 7;

impl Double {
    pub(super) fn start(truth: &NexusTruth, named: bool, faults: Vec<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/nexus", listener.local_addr().expect("an address"));
        let assets =
            REPOSITORIES.iter().map(|name| ((*name).to_owned(), truth.assets(name, named))).collect();
        let task = |id: &str, kind: &str| json!({ "id": id, "name": format!("the {id}"), "type": kind });
        let tasks = vec![
            task("compact-1", "blobstore.compact"),
            task("backup", "db.backup"),
            task("gc-1", "repository.docker.gc"),
        ];
        let state = State { assets, tasks, faults: faults.into(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { url, state }
    }

    pub(super) fn source(&self, password: &str) -> Source {
        let credentials = Credentials { user: "admin".into(), password: password.to_owned().into() };
        Source::Rest(Rest::new(&self.url, Some(credentials)).expect("an address"))
    }

    fn gather(&self, password: &str) -> Result<Option<Evidence>, EvidenceError> {
        let database = Database { sources: vec![self.source(password)], ..Database::default() };
        let now = Timestamp::UNIX_EPOCH;
        wait(async move { Evidence::gather(&database, now, now).await })
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.state.lock().expect("the state").asked.clone()
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        // `admin:secret`, as clients write it.
        let known =
            head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Basic YWRtaW46c2VjcmV0"));
        let (answer, fault) = {
            let mut state = state.lock().expect("the state");
            state.asked.push(format!("{method} {target}"));
            let fault = match method {
                "GET" if target.contains("/assets?") => state.faults.pop_front(),
                "GET" => None,
                _ => state.trips.pop_front().flatten(),
            };
            let answer = match (known, fault) {
                (false, _) => (401, "who?".to_owned()),
                (true, None) => state.answer(method, target),
                (true, Some(Fault::Status(status))) => (status, "not now".into()),
                (true, Some(Fault::Body(body))) => (200, body.into()),
                (true, Some(Fault::Cut | Fault::Hang)) => (200, String::new()),
            };
            (answer, fault)
        };
        if let Some(Fault::Cut) = fault {
            let _ = (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{");
            return;
        }
        if let Some(Fault::Hang) = fault {
            // Until the other side has gone.
            lines.next();
            return;
        }
        let (status, body) = answer;
        let text =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nretry-after: 0\r\n\r\n{body}", body.len());
        if (&mut &*stream).write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// The tag that an asset is the manifest of.
pub(super) fn tag_of(asset: &Value) -> Option<&str> {
    let (_, reference) = asset["path"].as_str()?.rsplit_once("/manifests/")?;
    (!reference.contains(':')).then_some(reference)
}

fn component(asset: &Value) -> Option<Value> {
    let (tag, id) = (tag_of(asset)?, asset["id"].as_str()?);
    Some(json!({
        "id": format!("component-{id}"), "repository": asset["repository"], "format": "docker", "version": tag,
        "assets": [asset],
    }))
}

impl State {
    fn answer(&mut self, method: &str, target: &str) -> (u16, String) {
        let path = target.strip_prefix("/nexus/service/rest/v1/").expect("a path of the interface");
        match (method, path.split_once('/')) {
            ("GET", Some(("components", id))) => {
                self.one(|asset| component(asset).filter(|one| one["id"] == id))
            }
            ("GET", Some(("assets", id))) => self.one(|asset| (asset["id"] == id).then(|| asset.clone())),
            ("DELETE", Some(("components", id))) => self.delete(id.trim_start_matches("component-")),
            ("DELETE", Some(("assets", id))) => self.delete(id),
            ("POST", Some(("tasks", of))) => {
                let id = of.strip_suffix("/run").expect("a task to run");
                let known = self.tasks.iter().any(|task| task["id"] == id);
                (if known { 204 } else { 404 }, String::new())
            }
            ("GET", _) => (200, self.list(path)),
            _ => (405, String::new()),
        }
    }

    fn one(&self, of: impl Fn(&Value) -> Option<Value>) -> (u16, String) {
        let found = self.assets.values().flatten().find_map(of);
        found.map_or((404, String::new()), |found| (200, found.to_string()))
    }

    fn delete(&mut self, id: &str) -> (u16, String) {
        let before: usize = self.assets.values().map(Vec::len).sum();
        self.assets.values_mut().for_each(|assets| assets.retain(|asset| asset["id"] != id));
        let after: usize = self.assets.values().map(Vec::len).sum();
        (if after < before { 204 } else { 404 }, String::new())
    }

    fn list(&self, target: &str) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameter = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))
        };
        let assets = || &self.assets[parameter("repository").expect("a repository")];
        let items: Vec<Value> = match path {
            "blobstores" => return "[]".into(),
            "repositories" => return self.repositories(),
            "assets" => assets().clone(),
            "components" => assets().iter().filter_map(component).collect(),
            "tasks" => self.tasks.clone(),
            _ => return "{}".into(),
        };
        let from: usize = parameter("continuationToken").map_or(0, |token| token.parse().expect("ours"));
        let to = (from + PAGE).min(items.len());
        let token = if to < items.len() { json!(to.to_string()) } else { Value::Null };
        json!({ "items": items[from..to], "continuationToken": token }).to_string()
    }

    fn repositories(&self) -> String {
        let kind = |index: usize| if index == 0 { "hosted" } else { "proxy" };
        let docker = self.assets.keys().enumerate();
        let mut all: Vec<Value> = docker
            .map(|(index, name)| json!({ "name": name, "format": "docker", "type": kind(index) }))
            .collect();
        all.push(json!({ "name": "maven", "format": "maven2", "type": "hosted" }));
        all.push(json!({ "name": "all", "format": "docker", "type": "group" }));
        Value::Array(all).to_string()
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
        let asked = double.asked();
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
    assert_eq!(double.asked().len(), 1);
}
