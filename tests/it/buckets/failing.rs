//! What goes wrong between us and a bucket ends in a clear word and the right exit code, and nothing is lost.

use std::collections::BTreeSet;

use super::memory::{Conditions, Effect, Fault, MemoryServer, Options};
use super::servers::{self, Kind};
use super::{PREFIX, Scene, number};

fn served(options: Options) -> (Scene, MemoryServer) {
    let scene = Scene::small();
    let server = MemoryServer::start(options);
    server.insert_tree(&scene.store(), PREFIX);
    (scene, server)
}

/// Every key but those of regsweep's own state.
fn keys(server: &MemoryServer) -> BTreeSet<String> {
    server.snapshot().into_keys().filter(|key| !key.contains("/.regsweep/")).collect()
}

#[test]
fn a_listing_that_is_not_whole_ends_the_run_and_nothing_is_touched() {
    let (scene, server) = served(Options { page: 100, ..Options::default() });
    let before = keys(&server);
    for effect in [Effect::INTERNAL_ERROR, Effect::CutBody, Effect::HangUpMidway, Effect::ACCESS_DENIED] {
        // The first pages come, one in the middle never does.
        server.fault(Fault::from_nth("ListObjectsV2", 12, effect.clone()));
        let finished = scene.with_policy(server.bucket(), "run", &["--offline"]).expect(4);
        assert!(finished.stderr.contains("error: "), "{effect:?}: {}", finished.stderr);
        assert_eq!(keys(&server), before, "{effect:?}");
        server.heal();
    }
    scene.with_policy(server.bucket(), "run", &["--offline"]).expect(0);
}

#[test]
fn a_page_that_hides_the_next_is_noticed() {
    let (scene, server) = served(Options { page: 100, ..Options::default() });
    let before = keys(&server);
    server.fault(Fault::always("ListObjectsV2", Effect::NoToken));
    let finished = scene.with_policy(server.bucket(), "run", &["--offline"]).expect(4);
    assert!(finished.stderr.contains("it was cut on the way"), "{}", finished.stderr);
    assert_eq!(keys(&server), before);
}

#[test]
fn a_full_page_that_hides_the_next_is_noticed() {
    let scene = Scene::new(&regsweep::synth::Recipe::default());
    let server = MemoryServer::start(Options::default());
    server.insert_tree(&scene.store(), PREFIX);
    let before = keys(&server);
    server.fault(Fault::always("ListObjectsV2", Effect::Ends));
    let finished = scene.with_policy(server.bucket(), "run", &["--offline"]).expect(4);
    assert!(finished.stderr.contains("ended its listing before"), "{}", finished.stderr);
    assert_eq!(keys(&server), before);
}

#[test]
fn a_store_that_asks_to_slow_down_is_asked_more_slowly() {
    let (scene, server) = served(Options { page: 50, ..Options::default() });
    let expected = scene.in_directory("audit", &["--json"]).expect(0).json();
    for nth in [2, 3, 9, 20, 21] {
        server.fault(Fault::nth("ListObjectsV2", nth, Effect::SLOW_DOWN));
        server.fault(Fault::nth("GetObject", nth * 3, Effect::SLOW_DOWN));
    }
    let report = scene.with_policy(server.bucket(), "audit", &["--json"]).expect(0).json();
    assert_eq!(report["classes"], expected["classes"]);
}

#[test]
fn a_key_that_a_bulk_delete_refuses_is_asked_for_again_and_told() {
    let (scene, server) = served(Options::default());
    let second = MemoryServer::start(Options::default());
    second.insert_tree(&scene.store(), PREFIX);
    scene.in_directory("run", &["--offline"]).expect(0);
    let after: BTreeSet<String> = scene.keys().into_iter().map(|key| format!("{PREFIX}{key}")).collect();
    let doomed: Vec<String> =
        keys(&server).difference(&after).filter(|key| key.ends_with("/data")).cloned().collect();
    let refused = doomed[doomed.len() / 2].clone();

    // Once is a moment's trouble: manifests, links and data are deleted after two tries of the lease.
    let fault = Effect::RefuseKeys { keys: vec![refused.clone()], code: "InternalError" };
    server.fault(Fault::nth("DeleteObjects", 5, fault.clone()));
    server.forget_requests();
    scene.with_policy(server.bucket(), "run", &["--offline"]).expect(0);
    assert_eq!(keys(&server), after);
    assert_eq!(server.count("DeleteObjects"), 6, "one more for the key that was refused");
    server.heal();

    // Always is a failed step, told by name; the rest is done, and the next run converges.
    let server = second;
    server.fault(Fault::always("DeleteObjects", fault));
    let report = scene.with_policy(server.bucket(), "run", &["--offline", "--json"]).expect(1).json();
    let failed = report["executed"]["failed"].as_array().expect("failed steps");
    assert_eq!(failed.len(), 1, "{report:#}");
    let hex = refused.split('/').rev().nth(1).expect("a digest");
    assert!(failed[0]["step"].as_str().is_some_and(|step| step.contains(hex)), "{failed:#?}");
    assert_eq!(keys(&server).difference(&after).collect::<Vec<_>>(), [&refused]);
    server.heal();
    scene.with_policy(server.bucket(), "run", &["--offline"]).expect(0);
    assert_eq!(keys(&server), after);
}

#[test]
fn a_copy_that_does_not_arrive_keeps_the_original() {
    let (scene, server) = served(Options::default());
    let before = keys(&server);
    server.fault(Fault::always("CopyObject", Effect::ACCESS_DENIED));
    scene.with_policy(server.bucket(), "run", &["--offline"]).expect(1);
    let data = |keys: &BTreeSet<String>| -> Vec<String> {
        keys.iter().filter(|key| key.ends_with("/data")).cloned().collect()
    };
    assert_eq!(data(&keys(&server)), data(&before), "no data goes that is not in the trash");
    server.heal();
    scene.with_policy(server.bucket(), "run", &["--offline"]).expect(0);
    assert!(data(&keys(&server)).len() < data(&before).len());
}

#[test]
fn reading_needs_to_list_and_to_get_and_nothing_else() {
    let (scene, server) = served(Options { read_only: true, ..Options::default() });
    let before = server.snapshot().into_keys().collect::<Vec<_>>();
    scene.with_policy(server.bucket(), "audit", &["--json"]).expect(0);
    scene.with_policy(server.bucket(), "plan", &["--offline", "--json"]).expect(0);
    scene.with_policy(server.bucket(), "run", &["--dry-run", "--offline"]).expect(0);
    let finished = scene.with_policy(server.bucket(), "run", &["--offline"]).expect(4);
    assert!(finished.stderr.contains("run needs put and delete as well"), "{}", finished.stderr);
    assert_eq!(server.snapshot().into_keys().collect::<Vec<_>>(), before);
}

#[test]
fn refusals_of_a_store_are_told_in_one_line_with_what_to_do() {
    let (scene, server) = served(Options::default());
    for (effect, word) in [
        (Effect::EXPIRED_TOKEN, "the credentials have expired"),
        (Effect::ACCESS_DENIED, "these credentials may not"),
        (Effect::Refuse { status: 400, code: "AuthorizationHeaderMalformed" }, "in another region"),
        (Effect::Refuse { status: 403, code: "InvalidAccessKeyId" }, "does not know these credentials"),
        (Effect::Refuse { status: 403, code: "RequestTimeTooSkewed" }, "too far apart"),
    ] {
        server.fault(Fault::always("*", effect));
        let finished = scene.with_policy(server.bucket(), "audit", &[]).expect(4);
        assert!(finished.stderr.contains(word), "{word}: {}", finished.stderr);
        assert_eq!(finished.stderr.trim_end().lines().count(), 1, "{}", finished.stderr);
        server.heal();
    }
    let missing = scene.on(server.bucket(), &["audit", "s3://no-such-bucket/x"]).expect(4);
    assert!(missing.stderr.contains("there is no such bucket"), "{}", missing.stderr);
    let nothing = scene.on(server.bucket(), &["audit", &server.bucket().url("pre")]).expect(3);
    assert!(nothing.stderr.contains("What is there: fix."), "{}", nothing.stderr);
}

#[test]
fn real_servers_refuse_with_words_that_are_understood() {
    let scene = Scene::small();
    // fake-gcs-server answers 500 for a bucket that is not there, as Google does not.
    for kind in [Kind::SeaweedFs, Kind::Moto, Kind::Azurite] {
        let bucket = servers::bucket(kind);
        let url = bucket.url("").replace(bucket.name(), "no-such-bucket");
        let missing = scene.on(&bucket, &["audit", &url]).expect(4);
        assert!(missing.stderr.contains("there is no such bucket"), "{kind:?}: {}", missing.stderr);
        let empty = scene.on(&bucket, &["audit", &bucket.url("")]).expect(3);
        assert!(empty.stderr.contains("Nothing begins with that prefix"), "{kind:?}: {}", empty.stderr);
    }
}

#[test]
fn a_store_that_ignores_conditions_is_not_swept() {
    let (scene, server) = served(Options { conditions: Conditions::Ignored, ..Options::default() });
    let before = keys(&server);
    let finished = scene.with_policy(server.bucket(), "run", &["--offline"]).expect(3);
    assert!(finished.stderr.contains("create-if-absent"), "{}", finished.stderr);
    assert_eq!(keys(&server), before);

    // With its state elsewhere it is.
    let state = Scene::text(&scene.directory.path().join("state"));
    let with_state = |command: &str, more: &[&str]| {
        scene.with_policy(server.bucket(), command, &[&["--state", &state][..], more].concat())
    };
    let report = with_state("run", &["--offline", "--json"]).expect(0).json();
    assert!(number(&report, &["executed", "done", "sweep"]) > 10);
    assert_ne!(keys(&server), before);
    let own: BTreeSet<String> =
        server.snapshot().into_keys().filter(|key| key.contains("/.regsweep/")).collect();
    assert!(
        own.iter().all(|key| key.contains("/.regsweep/trash/")),
        "only the trash is in the store: {own:#?}"
    );
    let run = report["run"].as_str().expect("a name");
    let url = server.bucket().url(PREFIX);
    scene.on(server.bucket(), &["restore", &url, run, "--state", &state]).expect(0);
    assert_eq!(keys(&server), before);
    // Another store's state is refused.
    let store = Scene::text(&scene.store());
    let other = scene.on(server.bucket(), &["status", &store, "--state", &state]).expect(3);
    assert!(other.stderr.contains("belongs to s3://registry/pre/fix"), "{}", other.stderr);
}

#[test]
fn keys_that_no_registry_writes_survive_and_are_counted() {
    let (scene, server) = served(Options::default());
    let odd = [
        format!("{PREFIX}docker/registry/v2/repositories/"),
        format!("{PREFIX}docker/registry/v2/repositories/team/_uploads/"),
        format!("{PREFIX}docker/registry/v2/blobs/sha256/00/"),
        format!("{PREFIX}docker/registry/v2/blobs/sha256/zz/readme"),
        format!("{PREFIX}docker/registry/v2/repositories/x y/+%41"),
        format!("{PREFIX}docker/registry/v2/else/where"),
        format!("{PREFIX}readme"),
        "pre/fixture/docker/registry/v2/blobs/sha256/00/x".to_owned(),
    ];
    for key in &odd {
        server.insert(key, "", scene.now);
    }
    let report = scene.with_policy(server.bucket(), "run", &["--offline", "--json"]).expect(0).json();
    assert!(number(&report, &["freed", "blobs"]) > 0);
    let left = keys(&server);
    for key in &odd {
        assert!(left.contains(key), "{key} is gone");
    }
}

#[test]
fn a_key_that_cannot_be_named_ends_the_run_with_its_name() {
    let (scene, server) = served(Options::default());
    let before = keys(&server);
    server.insert(&format!("{PREFIX}docker/registry/v2/repositories/a//b"), "x", scene.now);
    let finished = scene.with_policy(server.bucket(), "run", &["--offline"]).expect(4);
    assert!(finished.stderr.contains("a//b"), "{}", finished.stderr);
    server.remove(&format!("{PREFIX}docker/registry/v2/repositories/a//b"));
    assert_eq!(keys(&server), before);
}

#[test]
fn a_run_that_ends_early_leaves_its_page() {
    let (scene, server) = served(Options::default());
    let before = keys(&server);
    let page = scene.directory.path().join("page.html");
    let name = page.to_str().expect("UTF-8");
    // The lease can be taken, and the journal cannot be written.
    server.fault(Fault::from_nth("PutObject", 5, Effect::ACCESS_DENIED));
    let finished = scene.with_policy(server.bucket(), "run", &["--offline", "--html", name]).expect(4);
    assert!(finished.stderr.contains("cannot "), "{}", finished.stderr);
    assert_eq!(keys(&server), before);
    let page = std::fs::read_to_string(page).expect("the page");
    assert!(page.contains("The run ended before its time: cannot "), "{page}");
    assert!(page.contains("class=\"reasons\""), "what was planned is in it");
}
