//! What a bucket keeps beside its objects: uploads in parts that nobody finished, and versions.

use std::time::Duration;

use serde_json::json;

use super::memory::{Effect, Fault, MemoryServer, Options, Versioning};
use super::servers::{self, Kind};
use super::{PREFIX, Scene, number, part};

fn served(options: Options) -> (Scene, MemoryServer) {
    let scene = Scene::tiny();
    let server = MemoryServer::start(options);
    server.insert_tree(&scene.store(), PREFIX);
    (scene, server)
}

#[test]
fn uploads_in_parts_are_listed_and_given_up_when_they_are_old() {
    let (scene, server) = served(Options::default());
    let upload = |name: &str| format!("{PREFIX}docker/registry/v2/repositories/team/_uploads/{name}/data");
    let days = |days: u64| scene.now - Duration::from_secs(days * 86_400);
    let old = server.insert_upload(&upload("old"), days(30), &[b"a part"]);
    let young = server.insert_upload(&upload("young"), days(1), &[b"a part"]);
    // Somebody else's, beside the registry and in its own prefix's shadow.
    let foreign =
        ["else/where", "pre/fixed/docker/registry/v2/x"].map(|key| server.insert_upload(key, days(300), &[]));
    let report = scene.with_policy(server.bucket(), "audit", &["--json"]).expect(0).json();
    let ids: Vec<&str> = part(&report, &["beside", "uploads"])
        .as_array()
        .expect("uploads")
        .iter()
        .map(|one| one["id"].as_str().expect("an identifier"))
        .collect();
    assert_eq!(ids, [old.as_str(), young.as_str()]);
    let text = scene.with_policy(server.bucket(), "audit", &[]).expect(0).stdout;
    assert!(
        text.contains("uploads    2 uploads in parts, neither finished nor given up; the oldest of "),
        "{text}"
    );

    let planned = scene.with_policy(server.bucket(), "plan", &["--offline"]).expect(0).stdout;
    assert!(planned.contains("1 unfinished upload in parts"), "{planned}");
    assert_eq!(server.uploads().len(), 4, "a plan changes nothing");
    let report = scene.with_policy(server.bucket(), "run", &["--offline", "--json"]).expect(0).json();
    assert_eq!(number(&report, &["executed", "done", "abort-upload"]), 1);
    let left: Vec<String> = server.uploads().into_keys().collect();
    assert!(
        !left.contains(&old) && left.contains(&young) && foreign.iter().all(|id| left.contains(id)),
        "{left:?}"
    );
    let again = scene.with_policy(server.bucket(), "run", &["--offline", "--json"]).expect(0).json();
    assert_eq!(number(&again, &["planned_steps"]), 0);
}

#[test]
fn a_bucket_that_keeps_versions_is_recognised() {
    for (versioning, told) in
        [(Versioning::Never, "never"), (Versioning::Enabled, "enabled"), (Versioning::Suspended, "suspended")]
    {
        let (scene, server) = served(Options { versioning, ..Options::default() });
        let report = scene.with_policy(server.bucket(), "plan", &["--offline", "--json"]);
        report.expect(0);
        let report = scene.with_policy(server.bucket(), "audit", &["--json"]).expect(0).json();
        assert_eq!(part(&report, &["beside", "versioning"]), &json!(told));
    }
}

/// The server keeps versions by itself, so what is counted is what it kept.
#[test]
fn versions_that_are_not_current_are_counted_on_a_real_server() {
    let bucket = servers::bucket(Kind::Moto);
    let scene = Scene::tiny();
    let key = format!("{PREFIX}docker/registry/v2/repositories/team/_manifests/tags/one/current/link");
    let put = |text: &'static str| {
        crate::support::wait(bucket.put_all([(key.clone(), bytes::Bytes::from(text))]));
    };
    put("before");
    let setting = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    bucket.configure_versioning(setting);
    put("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    put("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let report = scene.with_policy(&bucket, "audit", &["--json"]).expect(0).json();
    assert_eq!(part(&report, &["beside", "versioning"]), &json!("enabled"));
    assert_eq!(number(&report, &["beside", "noncurrent", "objects"]), 2, "{report:#}");
    assert_eq!(number(&report, &["beside", "noncurrent", "bytes"]), 71 + 6);
}

/// Asking needs rights of its own; without them everything else goes on, and says what it does not know.
#[test]
fn a_user_who_may_not_ask_is_told_so() {
    let (scene, server) = served(Options::default());
    server.fault(Fault::always("ListMultipartUploads", Effect::ACCESS_DENIED));
    server.fault(Fault::always("GetBucketVersioning", Effect::ACCESS_DENIED));
    let report = scene.with_policy(server.bucket(), "audit", &["--json"]).expect(0).json();
    assert_eq!(part(&report, &["beside", "unknown"]).as_array().map(Vec::len), Some(2), "{report:#}");
    scene.with_policy(server.bucket(), "run", &["--offline"]).expect(0);
}
