//! The sidecar as a process: what it answers, what it does when something goes wrong, and how it ends.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regsweep::clock::System;
use regsweep::store::{Access, WriteStore};
use regsweep::sweep::lease::Lease;
use regsweep::synth::{Builder, ImageSpec, SplitMix64};

use crate::registry::command::{Finished, regsweep, regsweep_command};

mod empty;
mod healed;
mod registry;
mod tls;
mod webhook;

/// A policy that takes every tag but one, with the shortest times.
pub const POLICY: &str = "\
version: 1
grace: 1s
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
classes:
  kept: { match: [\"kept\"] }
policies:
  - name: everything
    repositories: [\"**\"]
    tags:
      kept: { keep: all }
      other: { keep: none }
    untagged: { keep: none }
";

/// A running sidecar.
pub struct Sidecar {
    child: Child,
    pub address: SocketAddr,
    said: Arc<Mutex<String>>,
    /// Sent with each request.
    token: Option<String>,
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Sidecar {
    /// Starts it on a free port and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        Self::of(regsweep_command(["serve"].iter().chain(arguments).chain(&["--listen", "127.0.0.1:0"])))
    }

    pub fn of(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("regsweep starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let line = lines.next().expect("it says where it listens").expect("its stderr");
            said.lock().unwrap().extend([line.as_str(), "\n"]);
            if let Some((_, rest)) = line.rsplit_once("://").filter(|_| line.starts_with("serving ")) {
                break rest.split('/').next().unwrap().parse().expect("an address");
            }
        };
        let heard = said.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().extend([line.as_str(), "\n"]);
            }
        });
        Self { child, address, said, token: None }
    }

    /// What it has said.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// The same, with requests that show this token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(format!("Bearer {token}"));
        self
    }

    pub fn get(&self, path: &str) -> Answer {
        let headers: Vec<(&str, &str)> =
            self.token.iter().map(|token| ("authorization", token.as_str())).collect();
        self.request("GET", path, &headers, "")
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        request(self.address, method, path, headers, body)
    }

    /// The value of a sample, by its name with its labels.
    pub fn sample(&self, name: &str) -> Option<f64> {
        let metrics = self.get("/metrics");
        assert_eq!(metrics.status, 200, "{metrics:?}");
        let value =
            metrics.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.to_owned();
        Some(value.parse().unwrap())
    }

    /// Waits until a sample has reached a value.
    #[track_caller]
    pub fn until(&self, name: &str, least: f64) {
        for _ in 0..1200 {
            if self.sample(name).is_some_and(|value| value >= least) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{name} does not reach {least}:\n{}\n{}", self.get("/metrics").body, self.said());
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it is there");
    }

    /// Asks it to end, and says with which code it did.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("its end").code()
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("its end");
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        let _ = write!(text, "host: {address}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    // It may answer and hang up before it has read everything.
    let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Two images, one of which the policy takes.
fn small_store(root: &Path) {
    let mut builder =
        Builder::new(root, std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    let mut random = SplitMix64::new(7);
    for tag in ["kept", "old"] {
        let layer = builder.blob(&random.bytes(1500)).unwrap();
        let digest = builder.image("library/app", &ImageSpec::new(tag, vec![layer])).unwrap();
        builder.tag("library/app", tag, &digest).unwrap();
    }
}

/// A store and a policy file, in a directory that goes when it is dropped.
pub struct Scene {
    pub directory: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        small_store(&directory.path().join("registry"));
        std::fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn store(&self) -> String {
        self.path("registry").display().to_string()
    }

    pub fn policy(&self) -> String {
        self.path("policy.yaml").display().to_string()
    }

    pub fn serve(&self, more: &[&str]) -> Sidecar {
        let (store, policy) = (self.store(), self.policy());
        let mut arguments = vec![store.as_str(), "-p", &policy, "--settle", "later"];
        arguments.extend(more);
        Sidecar::start(&arguments)
    }

    fn refused(&self, more: &[&str]) -> Finished {
        let (store, policy) = (self.store(), self.policy());
        regsweep(["serve", &store, "-p", &policy].iter().chain(more)).expect(2)
    }

    /// Waits until a run has taken something, and looks whether a push was crossed.
    fn until_something_went(&self) {
        for _ in 0..1200 {
            let status = self.status();
            if status["runs"].as_array().is_some_and(|runs| runs.iter().any(|run| run["ended"] == true)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nothing goes: {}", self.status());
    }

    fn status(&self) -> serde_json::Value {
        regsweep(["status", &self.store(), "--json"]).expect(0).json()
    }
}

#[test]
fn it_runs_when_a_run_is_due_and_ends_when_it_is_told() {
    let scene = Scene::new();
    let sidecar = scene.serve(&["--every", "1s", "--jitter", "0%"]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(sidecar.get(path).status, 200);
    }
    sidecar.until("regsweep_runs_total{result=\"done\"}", 3.0);
    sidecar.until("regsweep_steps_total{action=\"untag\"}", 1.0);
    // Untagged in the first, condemned then or in the second, in the trash with the next.
    sidecar.until("regsweep_steps_total{action=\"sweep\"}", 1.0);
    sidecar.until("regsweep_trash_bytes", 1.0);
    sidecar.until("regsweep_store_bytes{class=\"live\"}", 1.0);
    assert!(sidecar.sample("regsweep_requests_total{kind=\"get\"}").unwrap() > 0.0);
    assert!(sidecar.said().contains("done: "), "{}", sidecar.said());
    assert_eq!(sidecar.terminate(), Some(143));
    let status = scene.status();
    assert_eq!(status["lease"]["held"], false, "{status}");
}

#[test]
fn a_run_in_hand_is_given_up_after_its_step_when_it_is_told_to_end() {
    let scene = Scene::new();
    let (store, policy) = (scene.store(), scene.policy());
    let sidecar = Sidecar::start(&[&store, "-p", &policy, "--settle", "1h", "--every", "1s"]);
    // It has taken tags away and waits for pushes to settle.
    scene.until_something_went();
    assert_eq!(sidecar.sample("regsweep_run_in_progress"), Some(1.0));
    assert_eq!(sidecar.terminate(), Some(143));
    assert_eq!(scene.status()["lease"]["held"], false);
}

#[test]
fn what_is_remembered_outlives_a_crash() {
    let scene = Scene::new();
    let sidecar = scene.serve(&["--every", "6h"]);
    sidecar.until("regsweep_runs_total{result=\"done\"}", 1.0);
    sidecar.until("regsweep_last_success_timestamp_seconds", 1.0);
    let success = sidecar.sample("regsweep_last_success_timestamp_seconds");
    sidecar.kill();
    let sidecar = scene.serve(&["--every", "6h"]);
    sidecar.until("regsweep_store_objects{class=\"live\"}", 1.0);
    sidecar.until("regsweep_next_run_timestamp_seconds", success.unwrap() + 5.0 * 3600.0);
    assert_eq!(sidecar.sample("regsweep_last_success_timestamp_seconds"), success);
    assert_eq!(sidecar.sample("regsweep_runs_total{result=\"done\"}"), Some(0.0));
}

#[test]
fn a_run_that_was_killed_is_not_begun_again_at_once() {
    let scene = Scene::new();
    let (store, policy) = (scene.store(), scene.policy());
    let sidecar = Sidecar::start(&[&store, "-p", &policy, "--settle", "1h", "--every", "1s"]);
    scene.until_something_went();
    assert_eq!(sidecar.sample("regsweep_run_in_progress"), Some(1.0));
    sidecar.kill();
    let sidecar = scene.serve(&["--every", "6h"]);
    sidecar.until("regsweep_store_objects{class=\"live\"}", 1.0);
    let begun = sidecar.sample("regsweep_last_run_start_timestamp_seconds").unwrap();
    let wait = sidecar.sample("regsweep_next_run_timestamp_seconds").unwrap() - begun;
    assert!((250.0..1000.0).contains(&wait), "{wait}");
    assert_eq!(sidecar.sample("regsweep_runs_total{result=\"done\"}"), Some(0.0));
    sidecar.kill();
    // Nobody has to wait for the lease of one that died here.
    let sidecar = scene.serve(&["--every", "1s"]);
    sidecar.until("regsweep_runs_total{result=\"done\"}", 2.0);
    assert_eq!(sidecar.sample("regsweep_runs_total{result=\"standby\"}"), Some(0.0));
}

#[test]
fn a_second_replica_stands_by() {
    let scene = Scene::new();
    let (store, policy) = (scene.store(), scene.policy());
    let arguments = [store.as_str(), "-p", &policy, "--settle", "1h", "--every", "1s"];
    let first = Sidecar::start(&arguments);
    // It waits for pushes to settle, under the lease.
    scene.until_something_went();
    let second = Sidecar::start(&arguments);
    second.until("regsweep_standby", 1.0);
    second.until("regsweep_runs_total{result=\"standby\"}", 2.0);
    assert_eq!(second.get("/readyz").status, 200);
    assert_eq!(first.sample("regsweep_run_in_progress"), Some(1.0));
    assert_eq!(first.sample("regsweep_standby"), Some(0.0));
}

#[test]
fn whoever_holds_the_lease_is_let_finish() {
    let scene = Scene::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store = WriteStore::open(&scene.store().parse().unwrap(), &Access::DEFAULT).unwrap();
    let skew = jiff::SignedDuration::from_mins(5);
    let lease = runtime.block_on(Lease::take(&store, &System, "a-job", skew)).unwrap();
    let sidecar = scene.serve(&["--every", "1s"]);
    sidecar.until("regsweep_runs_total{result=\"standby\"}", 1.0);
    assert!(sidecar.said().contains("standing by: "), "{}", sidecar.said());
    assert_eq!(sidecar.sample("regsweep_runs_total{result=\"done\"}"), Some(0.0));
    runtime.block_on(lease.release()).unwrap();
    sidecar.until("regsweep_runs_total{result=\"done\"}", 1.0);
}

#[test]
fn a_policy_with_an_error_leaves_the_last_good_one_in_force() {
    let scene = Scene::new();
    let sidecar = scene.serve(&["--every", "1s", "--jitter", "0%"]);
    sidecar.until("regsweep_runs_total{result=\"done\"}", 1.0);
    std::fs::write(scene.policy(), "version: 1\nsurprise: yes\n").unwrap();
    sidecar.until("regsweep_policy_outdated", 1.0);
    let runs = sidecar.sample("regsweep_runs_total{result=\"done\"}").unwrap();
    sidecar.until("regsweep_runs_total{result=\"done\"}", runs + 2.0);
    assert_eq!(sidecar.get("/readyz").status, 200);
    assert!(sidecar.said().contains("the last good one stays in force"), "{}", sidecar.said());
    assert!(sidecar.said().contains("surprise"), "{}", sidecar.said());
    std::fs::write(scene.policy(), POLICY).unwrap();
    for _ in 0..1200 {
        if sidecar.sample("regsweep_policy_outdated") == Some(0.0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(sidecar.sample("regsweep_policy_outdated"), Some(0.0));
    // At the start there is none to go by.
    std::fs::write(scene.policy(), "version: 1\nsurprise: yes\n").unwrap();
    assert!(scene.refused(&[]).stderr.contains("surprise"));
}

#[test]
fn a_store_that_is_away_is_tried_again() {
    let scene = Scene::new();
    let sidecar = scene.serve(&["--every", "1s", "--jitter", "0%"]);
    sidecar.until("regsweep_runs_total{result=\"done\"}", 1.0);
    let (here, away) = (scene.path("registry"), scene.path("away"));
    let rename = |from: &Path, to: &Path| {
        #[expect(clippy::disallowed_methods, reason = "takes the store away, and puts it back")]
        std::fs::rename(from, to).unwrap();
    };
    rename(&here, &away);
    sidecar.until("regsweep_runs_total{result=\"failed\"}", 1.0);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(sidecar.get(path).status, 200);
    }
    let done = sidecar.sample("regsweep_runs_total{result=\"done\"}").unwrap();
    assert!(!here.exists(), "what is away is not made anew");
    rename(&away, &here);
    sidecar.until("regsweep_runs_total{result=\"done\"}", done + 1.0);
}

#[test]
fn a_registry_that_is_away_does_not_end_the_schedule() {
    let scene = Scene::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    let sidecar = scene.serve(&["--every", "1s", "--jitter", "0%", "--registry-url", &url]);
    for _ in 0..1200 {
        let runs: f64 = ["done", "some_failed", "failed"]
            .iter()
            .filter_map(|result| sidecar.sample(&format!("regsweep_runs_total{{result=\"{result}\"}}")))
            .sum();
        if runs >= 3.0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // What cannot be made to forget keeps its data.
    assert_eq!(sidecar.sample("regsweep_steps_total{action=\"sweep\"}"), Some(0.0));
    assert!(sidecar.sample("regsweep_failed_steps_total").unwrap() > 0.0, "{}", sidecar.said());
    assert_eq!(sidecar.get("/readyz").status, 200);
}

#[test]
fn a_port_that_is_taken_and_one_that_is_open_to_all() {
    let scene = Scene::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = scene.refused(&["--listen", &address]).stderr;
    assert!(
        said.contains(&format!("cannot listen on {address}: choose another address with --listen")),
        "{said}"
    );
    let said = scene.refused(&["--listen", "0.0.0.0:0"]).stderr;
    assert!(said.contains("give --token-file or REGSWEEP_TOKEN, or --tls-client-ca"), "{said}");
    let said = scene.refused(&["--offline"]).stderr;
    assert!(said.contains("leave it out, or use run"), "{said}");
    let said = scene.refused(&["--schedule", "0 2 * *"]).stderr;
    assert!(said.contains("Write five fields"), "{said}");
    let said = scene.refused(&["--webhook", "gopher://secret-address"]).stderr;
    assert!(said.contains("neither http:// nor https://") && !said.contains("secret-address"), "{said}");
    assert!(!scene.path("registry/.regsweep").exists(), "nothing was begun");
}

#[test]
fn the_token_opens_what_is_not_for_probes() {
    let scene = Scene::new();
    let token = "a-token-of-a-test-0123456789";
    std::fs::write(scene.path("token"), format!("{token}\n")).unwrap();
    let file = scene.path("token").display().to_string();
    let sidecar = scene.serve(&["--every", "6h", "--token-file", &file]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(sidecar.get(path).status, 200, "{path}");
    }
    for path in ["/metrics", "/", "/events", "/nowhere"] {
        let answer = sidecar.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.head.contains("www-authenticate: basic realm=\"regsweep\""), "{answer:?}");
    }
    let bearer = format!("Bearer {token}");
    let answer = sidecar.request("GET", "/metrics", &[("authorization", &bearer)], "");
    assert_eq!(answer.status, 200);
    assert_eq!(sidecar.request("GET", "/metrics", &[("authorization", "Bearer wrong")], "").status, 401);
    assert!(!sidecar.said().contains(token));
}

#[test]
fn answers_say_how_they_may_be_used_and_requests_are_bounded() {
    let scene = Scene::new();
    let sidecar = scene.serve(&["--every", "6h"]);
    sidecar.until("regsweep_runs_total{result=\"done\"}", 1.0);
    let answer = sidecar.get("/metrics");
    for header in [
        "content-security-policy: default-src 'none';",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "content-type: text/plain; version=0.0.4",
    ] {
        assert!(answer.head.contains(header), "no {header} in {}", answer.head);
    }
    assert_eq!(sidecar.request("POST", "/metrics", &[], "").status, 405);
    assert_eq!(sidecar.get("/events").status, 405);
    let envelope = "{\"events\":[]}";
    let json = ("content-type", "application/vnd.docker.distribution.events.v2+json");
    assert_eq!(sidecar.request("POST", "/events", &[json], envelope).status, 200);
    // As a page in a browser could send it.
    assert_eq!(sidecar.request("POST", "/events", &[("content-type", "text/plain")], envelope).status, 415);
    assert_eq!(sidecar.request("POST", "/events", &[json], "{}").status, 400);
    let large = format!("{{\"events\":[\"{}\"]}}", "x".repeat(1 << 20));
    assert_eq!(sidecar.request("POST", "/events", &[json], &large).status, 413);
    let page = sidecar.get("/");
    assert!(
        page.head.contains("content-security-policy: default-src 'none'; style-src 'sha256-"),
        "{}",
        page.head
    );
    assert!(
        page.head.contains("content-type: text/html") && page.body.contains("The next run begins at"),
        "{page:?}"
    );
    assert_eq!(sidecar.request("HEAD", "/metrics", &[], "").body, "");
    assert_eq!(sidecar.get("/nowhere").status, 404);
    let long = "x".repeat(40_000);
    let answer = sidecar.request("GET", "/metrics", &[("x-long", &long)], "");
    assert_eq!(answer.status, 431, "{answer:?}");
    let names: Vec<String> = (0..100).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(sidecar.request("GET", "/metrics", &many, "").status, 431);
    // A page of elsewhere whose name was made to lead here.
    assert_eq!(sidecar.request("GET", "/metrics", &[("host", "elsewhere.example")], "").status, 401);
}

/// Every metric there is, by its family.
fn families(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn metrics_are_those_of_the_readme_and_promtool_accepts_them() {
    let scene = Scene::new();
    // A run that is refused, one that does something, and an event, so that every family has a sample.
    std::fs::write(scene.policy(), POLICY.replace("tags: 100%", "tags: 1%")).unwrap();
    let sidecar = scene.serve(&["--every", "1s", "--jitter", "0%"]);
    sidecar.until("regsweep_refusals_total{rule=\"too_much\"}", 1.0);
    std::fs::write(scene.policy(), POLICY).unwrap();
    sidecar.until("regsweep_steps_total{action=\"sweep\"}", 1.0);
    sidecar.until("regsweep_store_objects{class=\"live\"}", 1.0);
    let json = ("content-type", "application/json");
    assert_eq!(sidecar.request("POST", "/events", &[json], "{\"events\":[]}").status, 200);
    let text = sidecar.get("/metrics").body;
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let documented: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `regsweep_")?.split('`').next())
        .map(|name| format!("regsweep_{}", name.split('{').next().unwrap()))
        .collect();
    assert_eq!(families(&text), documented);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool of Debian's package prometheus: tests/install");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
}
