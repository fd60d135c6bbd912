//! The record of pulls in a bucket.

use std::path::Path;

use super::memory::{MemoryServer, Options};
use super::{PREFIX, Scene};

fn captured(name: &str) -> String {
    Scene::text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/pulls").join(name))
}

#[test]
fn what_a_registry_told_is_remembered_in_the_bucket() {
    let scene = Scene::tiny();
    let server = MemoryServer::start(Options::default());
    server.insert_tree(&scene.store(), PREFIX);
    let url = server.bucket().url(PREFIX);
    for file in ["events-2.8.2.json", "access-3.1.1.log"] {
        let imported = scene.on(server.bucket(), &["pulls", "import", &url, &captured(file), "--json"]);
        let report = imported.expect(0).json();
        assert_eq!(report["schema"], "regsweep/pulls-import/1");
        assert!(report["pulls"].as_u64().expect("a number") >= 6, "{report:#}");
    }
    let written = |server: &MemoryServer| {
        let snapshot = server.snapshot();
        snapshot.keys().filter(|key| key.contains("/.regsweep/pulls/")).count()
    };
    assert_eq!(written(&server), 2);
    let shown = scene.on(server.bucket(), &["pulls", "show", &url, "--json"]).expect(0).json();
    let tags = &shown["repositories"]["team/app"]["tags"];
    // The events of 3.1.1 came after those of 2.8.2, and the access log tells whole seconds.
    assert_eq!(tags["one"], "2026-11-29T01:20:55Z", "{shown:#}");
    assert_eq!(shown["covered"].as_array().expect("a list").len(), 1);
    for _ in 0..20 {
        let file = captured("log-json-2.8.2.log");
        scene.on(server.bucket(), &["pulls", "import", &url, &file]).expect(0);
    }
    let again = scene.on(server.bucket(), &["pulls", "show", &url, "--json"]).expect(0).json();
    assert_eq!(again["repositories"]["team/app"]["tags"], *tags);
}
