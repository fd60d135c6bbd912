//! A place that no registry has written to yet, and one that has lost its registry.

use std::path::Path;
use std::time::Duration;

use super::Scene;
use super::webhook::{receiver, sidecar};

const EMPTY: &str = "regsweep_runs_total{result=\"empty\"}";
const REFUSED: &str = "regsweep_runs_total{result=\"refused\"}";
const DONE: &str = "regsweep_runs_total{result=\"done\"}";
const NO_REGISTRY: &str = "regsweep_refusals_total{rule=\"no_registry\"}";

fn take_away(from: &Path, to: &Path) {
    #[expect(clippy::disallowed_methods, reason = "takes a part of the store away")]
    std::fs::rename(from, to).unwrap();
}

/// A scene whose registry has not written anything yet.
fn bare() -> Scene {
    let scene = Scene::new();
    take_away(&scene.path("registry"), &scene.path("elsewhere"));
    std::fs::create_dir(scene.path("registry")).unwrap();
    scene
}

#[test]
fn a_new_registry_is_waited_for_and_one_that_was_there_is_missed() {
    let scene = bare();
    let (address, heard) = receiver();
    let sidecar = sidecar(&scene, &address);
    sidecar.until(EMPTY, 3.0);
    assert_eq!((sidecar.sample(REFUSED), sidecar.sample(DONE)), (Some(0.0), Some(0.0)));
    assert_eq!(sidecar.sample("regsweep_last_success_timestamp_seconds"), None);
    assert!(!scene.path("registry/.regsweep").exists(), "a state was made where there is no registry");
    let page = sidecar.get("/").body;
    assert!(
        page.contains("There is nothing to sweep yet") && page.contains("Nothing needs attention"),
        "{page}"
    );
    let (_, notice) = heard.recv_timeout(Duration::from_secs(60)).expect("a notice");
    assert_eq!((&notice["event"], &notice["ending"]), (&"empty".into(), &"empty".into()), "{notice}");
    assert!(notice["why"][0].as_str().unwrap().contains("with its first push"), "{notice}");

    take_away(&scene.path("elsewhere/docker"), &scene.path("registry/docker"));
    sidecar.until(DONE, 1.0);
    let (_, notice) = heard.recv_timeout(Duration::from_secs(60)).expect("a notice");
    assert_eq!(notice["event"], "finished", "told once that nothing was there: {notice}");
    sidecar.until("regsweep_store_objects{class=\"live\"}", 1.0);

    // First what the registry wrote goes, then our own state too: as when the volume is not there.
    take_away(&scene.path("registry/docker"), &scene.path("docker"));
    sidecar.until(NO_REGISTRY, 1.0);
    take_away(&scene.path("registry/.regsweep"), &scene.path("state"));
    let refused = sidecar.sample(NO_REGISTRY).unwrap();
    let empty = sidecar.sample(EMPTY);
    sidecar.until(NO_REGISTRY, refused + 2.0);
    assert_eq!(sidecar.sample(EMPTY), empty);
    assert!(sidecar.said().contains("A registry was there before"), "{}", sidecar.said());
}

#[test]
fn what_a_state_elsewhere_remembers_is_missed_after_a_restart() {
    let scene = Scene::new();
    let state = scene.path("state").display().to_string();
    let sidecar = scene.serve(&["--every", "1s", "--jitter", "0%", "--state", &state]);
    sidecar.until(DONE, 1.0);
    assert_eq!(sidecar.terminate(), Some(143));
    for part in ["docker", ".regsweep"] {
        take_away(&scene.path("registry").join(part), &scene.path(part));
    }
    let sidecar = scene.serve(&["--every", "1s", "--jitter", "0%", "--state", &state]);
    sidecar.until(NO_REGISTRY, 1.0);
    assert_eq!(sidecar.sample(EMPTY), Some(0.0));
}
