//! Notices to a receiver that is there, and to one that is slow.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::{POLICY, Scene, Sidecar, regsweep_command};

const TOKEN: &str = "the-token-of-the-receiver";

/// A receiver that takes notices, and hands on their `Authorization` and what they say.
pub fn receiver() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hooks/of-a-test", listener.local_addr().unwrap());
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut length, mut authorization) = (0, String::new());
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some((name, value)) = line.trim().split_once(": ") {
                    match name.to_ascii_lowercase().as_str() {
                        "content-length" => length = value.parse().unwrap(),
                        "authorization" => value.clone_into(&mut authorization),
                        _ => {}
                    }
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            if told.send((authorization, serde_json::from_slice(&body).unwrap())).is_err() {
                return;
            }
        }
    });
    (address, heard)
}

pub fn sidecar(scene: &Scene, webhook: &str) -> Sidecar {
    let (store, policy) = (scene.store(), scene.policy());
    let mut command = regsweep_command([
        "serve",
        &store,
        "-p",
        &policy,
        "--settle",
        "later",
        "--every",
        "1s",
        "--jitter",
        "0%",
        "--listen",
        "127.0.0.1:0",
    ]);
    command.env("REGSWEEP_WEBHOOK", webhook).env("REGSWEEP_WEBHOOK_TOKEN", TOKEN);
    Sidecar::of(command)
}

#[test]
fn whoever_wants_to_know_is_told_of_refusals_and_of_what_went() {
    let scene = Scene::new();
    std::fs::write(scene.policy(), POLICY.replace("tags: 100%", "tags: 1%")).unwrap();
    let (address, heard) = receiver();
    let sidecar = sidecar(&scene, &address);
    let next = |event: &str| {
        for _ in 0..100 {
            let (authorization, notice) = heard.recv_timeout(Duration::from_secs(60)).expect("a notice");
            assert_eq!(authorization, format!("Bearer {TOKEN}"));
            assert_eq!(notice["schema"], "regsweep/notice/1");
            if notice["event"] == event && (event != "finished" || notice["done"]["untag"] == 1) {
                return notice;
            }
        }
        panic!("nobody tells of {event}");
    };
    let refused = next("refused");
    assert!(refused["why"][0].as_str().unwrap().contains("--accept tags="), "{refused}");
    std::fs::write(scene.policy(), POLICY).unwrap();
    let finished = next("finished");
    assert_eq!((&finished["ending"], &finished["failed"]), (&"done".into(), &0.into()), "{finished}");
    assert!(finished["run"].is_string(), "{finished}");
    sidecar.until("regsweep_notices_total{result=\"delivered\"}", 2.0);
    let said = sidecar.said();
    assert!(!said.contains(TOKEN) && !said.contains("of-a-test"), "{said}");
    assert_eq!(sidecar.terminate(), Some(143));
}

#[test]
fn a_receiver_that_never_answers_holds_up_nothing() {
    let scene = Scene::new();
    // It accepts, since the system does that for it, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let sidecar = sidecar(&scene, &format!("http://{}/", silent.local_addr().unwrap()));
    sidecar.until("regsweep_runs_total{result=\"done\"}", 4.0);
    assert_eq!(sidecar.sample("regsweep_notices_total{result=\"delivered\"}"), Some(0.0));
}
