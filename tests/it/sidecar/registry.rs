//! A real registry that tells the sidecar of pulls.

use serde_json::Value;

use super::{Scene, Sidecar};
use crate::registry::command::regsweep;
use crate::registry::on_both_versions;
use crate::registry::server::{Notify, Options, Registry, Version, free_port};

const TOKEN: &str = "the-token-of-registry-and-sidecar";

on_both_versions!(
    pulls_reach_the_record_through_crashes_and_absences,
    what_was_pulled_stays_and_what_was_not_goes,
);

fn sidecar(scene: &Scene, port: u16, when: [&str; 2]) -> Sidecar {
    let (store, policy) = (scene.store(), scene.policy());
    let token = scene.path("token");
    std::fs::write(&token, TOKEN).unwrap();
    let (token, listen) = (token.display().to_string(), format!("127.0.0.1:{port}"));
    let mut command = crate::registry::command::regsweep_command([
        "serve",
        &store,
        "-p",
        &policy,
        when[0],
        when[1],
        "--jitter",
        "0%",
        "--settle",
        "later",
        "--token-file",
        &token,
        "--listen",
        &listen,
    ]);
    command.env("REGSWEEP_IGNORE_USER_AGENT", "Trivy*");
    Sidecar::of(command).with_token(TOKEN)
}

/// The last pulls that are remembered, as `repository:tag`.
fn pulled(scene: &Scene) -> Vec<String> {
    let report = regsweep(["pulls", "show", &scene.store(), "--json", "--all"]).expect(0).json();
    let mut found: Vec<String> = Vec::new();
    let repositories = report["repositories"].as_object();
    for (name, last) in repositories.into_iter().flatten() {
        let tags = last["tags"].as_object().into_iter().flatten();
        found.extend(tags.map(|(tag, _): (&String, &Value)| format!("{name}:{tag}")));
    }
    found
}

fn pulls_reach_the_record_through_crashes_and_absences(version: Version) {
    let scene = Scene::new();
    std::fs::write(scene.policy(), "version: 1\n").unwrap();
    let port = free_port();
    let first = sidecar(&scene, port, ["--every", "6h"]);
    let options = Options { notify: Some(Notify { port, token: TOKEN }), ..Options::default() };
    let registry = Registry::start(version, &scene.path("registry"), options);
    let client = registry.client();
    client.manifest("library/app", "kept").expect(200);
    first.until("regsweep_events_total{kind=\"pull\"}", 1.0);
    // Written while it runs: what comes after that is all that a crash can lose.
    for _ in 0..600 {
        if !pulled(&scene).is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    first.kill();
    assert_eq!(pulled(&scene), ["library/app:kept"]);
    // Nobody is there: the registry keeps what it has to tell.
    client.manifest("library/app", "old").expect(200);
    let second = sidecar(&scene, port, ["--every", "6h"]);
    second.until("regsweep_events_total{kind=\"pull\"}", 1.0);
    assert_eq!(second.sample("regsweep_declined_deliveries_total"), Some(0.0));
    // Told to end, it writes what it has.
    assert_eq!(second.terminate(), Some(143));
    assert_eq!(pulled(&scene), ["library/app:kept", "library/app:old"]);
}

/// Keeps what was pulled within a month.
const PULLED: &str = "\
version: 1
grace: 1s
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
pulls: { max_gap: 3650d }
policies:
  - name: everything
    repositories: [\"**\"]
    clock: pulled
    tags: { other: { keep: { within: 30d } } }
    untagged: { keep: none }
";

fn what_was_pulled_stays_and_what_was_not_goes(version: Version) {
    let scene = Scene::new();
    std::fs::write(scene.policy(), PULLED).unwrap();
    // Somebody looked long ago already: without that everything may have been pulled a moment before.
    let log = "127.0.0.1 - - [01/Dec/2023:00:00:00 +0000] \"GET /v2/ HTTP/1.1\" 200 2 \"\" \"curl\"\n";
    std::fs::write(scene.path("access.log"), log).unwrap();
    let file = scene.path("access.log").display().to_string();
    regsweep(["pulls", "import", &scene.store(), &file]).expect(0);
    let port = free_port();
    // One that takes in what it is told, and runs on the first of January.
    let listening = sidecar(&scene, port, ["--schedule", "0 0 1 1 *"]);
    let options = Options { notify: Some(Notify { port, token: TOKEN }), ..Options::default() };
    let registry = Registry::start(version, &scene.path("registry"), options);
    let client = registry.client();
    client.manifest("library/app", "kept").expect(200);
    listening.until("regsweep_events_total{kind=\"pull\"}", 1.0);
    assert_eq!(listening.terminate(), Some(143));
    let running = sidecar(&scene, port, ["--every", "1s"]);
    running.until("regsweep_steps_total{action=\"untag\"}", 1.0);
    running.until("regsweep_steps_total{action=\"sweep\"}", 1.0);
    let runs = running.sample("regsweep_runs_total{result=\"done\"}").unwrap();
    running.until("regsweep_runs_total{result=\"done\"}", runs + 2.0);
    assert_eq!(running.sample("regsweep_steps_total{action=\"untag\"}"), Some(1.0));
    client.manifest("library/app", "kept").expect(200);
    assert!(client.manifest("library/app", "old").is_clean_404());
}

/// What a person types who follows the README, with other ports.
#[test]
fn the_tutorial_of_the_readme_works() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, tutorial) = readme.split_once("#### A sidecar in five minutes").unwrap();
    let (tutorial, _) = tutorial.split_once("\n### ").unwrap();
    let ports = [free_port(), free_port()];
    let directory = tempfile::tempdir().unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_regsweep")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let shell = |script: &str| {
        // Killed with the test: what it begins in the foreground takes its place.
        let script = format!("set -e; cd '{}'; {script}", directory.path().display());
        let mut command = std::process::Command::new("sh");
        // As a person's environment is, whatever this one's says of registries and buckets.
        for (name, value) in Version::V2.command().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(["-c", &script]).env("PATH", &path).stdin(std::process::Stdio::null());
        command
    };
    let mut servers = Servers(Vec::new());
    let mut said = String::new();
    for block in tutorial.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let block = block.replace("5000", &ports[0].to_string()).replace("9123", &ports[1].to_string());
        if block.starts_with("docker-registry serve") || block.starts_with("regsweep serve") {
            let mut command = shell(&format!("exec {block}"));
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            servers.0.push(command.spawn().unwrap());
            let port = ports[usize::from(block.starts_with("regsweep"))];
            let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            for _ in 0..600 {
                if answers() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            assert!(answers(), "{block}");
            continue;
        }
        let output = shell(&block).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n{errors}");
        said.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    assert!(said.contains("regsweep_run_in_progress"), "{said}");
    let token = std::fs::read_to_string(directory.path().join("shop/token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], ports[1]));
    let metrics = super::request(address, "GET", "/metrics", &[("authorization", &bearer)], "").body;
    // It looks again a minute after it took something.
    let runs = ["regsweep_run_in_progress 1.0\n", "regsweep_runs_total{result=\"done\"} 1.0\n"];
    assert!(runs.iter().any(|line| metrics.contains(line)), "{metrics}");
    assert!(said.contains("shop/web:v1.0.0"), "{said}");
    let page = std::fs::read_to_string(directory.path().join("shop/page.html")).unwrap();
    assert!(page.contains("<!DOCTYPE html>"), "{page}");
}

/// Ended by their process ids when the test is over.
struct Servers(Vec<std::process::Child>);

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.0 {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
