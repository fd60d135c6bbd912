//! A signal ends the look at a store that answers slowly, between two pages and while one is waited for.

use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::memory::{Effect, Fault, MemoryServer, Options};
use super::{PREFIX, Scene};
use crate::registry::command::regsweep_command;
use crate::sidecar::Sidecar;

const LISTS: &str = "ListObjectsV2";

/// A page in the middle of the listing that is held until the server is healed.
fn held() -> (Scene, MemoryServer) {
    let scene = Scene::small();
    let server = MemoryServer::start(Options { page: 20, ..Options::default() });
    server.insert_tree(&scene.store(), PREFIX);
    server.fault(Fault::from_nth(LISTS, 25, Effect::Halt));
    (scene, server)
}

/// Waits until a page is held.
fn wait(server: &MemoryServer) {
    for _ in 0..2400 {
        if server.count(LISTS) >= 25 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("{} pages were asked for", server.count(LISTS));
}

fn ends(mut child: Child, server: &MemoryServer, signal: Signal) -> (Option<i32>, String) {
    wait(server);
    kill_process(Pid::from_child(&child), signal).expect("it is there");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("its stderr"), &mut said).expect("text");
    (child.wait().expect("its end").code(), said)
}

fn stops(command: &str, more: &[&str], signal: Signal, code: i32) {
    let (scene, server) = held();
    let policy = Scene::text(&scene.directory.path().join("policy.yaml"));
    let url = server.bucket().url(PREFIX);
    let mut process = regsweep_command([&[command, &url, "-p", &policy][..], more].concat());
    server.bucket().lead(&mut process);
    process.env("XDG_CACHE_HOME", scene.directory.path().join("cache"));
    let child = process.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let before: Vec<String> = registry_of(&server);
    // The page is still held when it has ended.
    let (ended, said) = ends(child, &server, signal);
    assert_eq!(ended, Some(code), "{command}: {said}");
    assert!(said.contains("asked to stop"), "{command}: {said}");
    assert_eq!(registry_of(&server), before, "{command}");
    server.heal();
    if command == "run" {
        // The lease was given back.
        scene.with_policy(server.bucket(), "run", &["--offline"]).expect(0);
    }
}

fn registry_of(server: &MemoryServer) -> Vec<String> {
    server.snapshot().into_keys().filter(|key| !key.contains("/.regsweep/")).collect()
}

#[test]
fn an_audit() {
    stops("audit", &[], Signal::TERM, 143);
}

#[test]
fn a_plan() {
    stops("plan", &[], Signal::INT, 130);
}

#[test]
fn a_run() {
    stops("run", &["--offline"], Signal::TERM, 143);
}

#[test]
fn a_sidecar() {
    let (scene, server) = held();
    let url = server.bucket().url(PREFIX);
    let mut command = regsweep_command(["serve", &url, "--every", "1s", "--listen", "127.0.0.1:0"]);
    server.bucket().lead(&mut command);
    command.env("XDG_CACHE_HOME", scene.directory.path().join("cache"));
    let sidecar = Sidecar::of(command);
    wait(&server);
    assert_eq!(sidecar.terminate(), Some(143));
    server.heal();
    scene.with_policy(server.bucket(), "run", &["--offline"]).expect(0);
}
