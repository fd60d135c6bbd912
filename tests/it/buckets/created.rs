//! Ages from the creation of images: which configs are read, how often, and what that decides.

use std::time::Duration;

use regsweep::synth::{Builder, ImageSpec, IndexSpec};
use serde_json::Value;

use super::memory::{Effect, Fault, MemoryServer, Options};
use super::{PREFIX, Scene};
use crate::registry::command::Finished;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything in `shop` is judged by the creation of its image, `other` by its tag.
const POLICY: &str = "version: 1
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
policies:
  - name: by-creation
    repositories: [shop]
    clock: created
    tags: { other: { keep: { within: 30d } } }
    untagged: { keep: { within: 30d } }
  - name: by-tag
    repositories: [other]
    tags: { other: { keep: { within: 30d } } }
";

/// An image of a generated config, or of these bytes, pushed 60 days ago.
fn push(
    builder: &mut Builder,
    repository: &str,
    name: &str,
    created: Option<Duration>,
    config: Option<&str>,
) -> String {
    let now = builder.at(Duration::ZERO).modified();
    builder.at(60 * DAY);
    let layer = builder.blob(format!("the layer of {repository}/{name}").as_bytes()).unwrap();
    let mut spec = ImageSpec::new(name, vec![layer]);
    spec.created = created.map(|age| now - age);
    spec.config = config
        .map(|config| (config.as_bytes().to_vec(), "application/vnd.oci.image.config.v1+json".to_owned()));
    builder.image(repository, &spec).unwrap()
}

/// A bucket with images of many ages, and the place for policy and manifest cache.
fn served() -> (Scene, MemoryServer) {
    let scene = Scene::empty(POLICY);
    let mut builder = Builder::new(scene.store(), scene.now).unwrap();
    for (tag, created, config) in [
        ("old", Some(50 * DAY), None),
        ("young", Some(20 * DAY), None),
        ("never", None, Some(r#"{"os":"linux"}"#)),
        ("epoch", Some(scene.now.duration_since(std::time::UNIX_EPOCH).unwrap()), None),
        ("helm", None, Some("not JSON")),
    ] {
        let digest = push(&mut builder, "shop", tag, created, config);
        builder.tag("shop", tag, &digest).unwrap();
    }
    let children = [
        push(&mut builder, "shop", "amd64", Some(50 * DAY), None),
        push(&mut builder, "shop", "arm64", Some(20 * DAY), None),
        push(&mut builder, "shop", "attestation", None, Some(r#"{"architecture":"unknown"}"#)),
    ];
    let index = builder.index("shop", &children, &IndexSpec::default()).unwrap();
    builder.tag("shop", "index", &index).unwrap();
    push(&mut builder, "shop", "untagged old", Some(50 * DAY), None);
    push(&mut builder, "shop", "untagged young", Some(20 * DAY), None);
    for tag in ["a", "b"] {
        let digest = push(&mut builder, "other", tag, Some(20 * DAY), None);
        builder.tag("other", tag, &digest).unwrap();
    }
    let server = MemoryServer::start(Options::default());
    server.insert_tree(&scene.store(), PREFIX);
    (scene, server)
}

fn plan(scene: &Scene, server: &MemoryServer, more: &[&str]) -> Value {
    scene.with_policy(server.bucket(), "plan", &[&["--json"], more].concat()).expect(0).json()
}

/// The tags that go, and how many manifests do.
fn gone(report: &Value) -> (Vec<String>, usize) {
    let steps = report["plan"]["steps"].as_array().expect("steps");
    let of = |action: &'static str| steps.iter().filter(move |step| step["action"] == action);
    let text = |step: &Value, key: &str| step[key].as_str().expect("text").to_owned();
    let mut tags: Vec<String> =
        of("untag").map(|step| format!("{}:{}", text(step, "repository"), text(step, "tag"))).collect();
    tags.sort();
    (tags, of("delete-manifest").count())
}

#[test]
fn a_config_is_read_where_a_policy_asks_and_once() {
    let (scene, server) = served();
    server.forget_requests();
    let first = plan(&scene, &server, &[]);
    let everything = server.count("GetObject");
    let (tags, manifests) = gone(&first);
    assert_eq!(
        tags,
        ["other:a", "other:b", "shop:epoch", "shop:helm", "shop:never", "shop:old"],
        "{first:#}"
    );
    assert_eq!(manifests, 5, "those of shop, and the old one without a tag");

    server.forget_requests();
    let second = plan(&scene, &server, &[]);
    assert_eq!(server.count("GetObject"), 0, "all of it is remembered");
    assert_eq!(gone(&second), gone(&first));

    // Thirteen manifests, and the configs of the ten images in `shop`.
    server.forget_requests();
    plan(&scene, &server, &["--manifest-cache", "off"]);
    assert_eq!(server.count("GetObject"), everything);
    assert_eq!(everything, 13 + 10);
}

#[test]
fn a_config_that_cannot_be_read_keeps_its_image_and_is_asked_again() {
    let (scene, server) = served();
    let old = gone(&plan(&scene, &server, &["--manifest-cache", "off"])).0;
    assert!(old.contains(&"shop:old".to_owned()));
    let keys: Vec<String> = server
        .snapshot()
        .into_iter()
        .filter(|(_, object)| String::from_utf8_lossy(&object.bytes).contains("\"created\""))
        .map(|(key, _)| key)
        .collect();
    for key in &keys {
        server.fault(Fault::always("GetObject", Effect::ACCESS_DENIED).on(key));
    }
    let (tags, _) = gone(&plan(&scene, &server, &[]));
    assert_eq!(
        tags,
        ["other:a", "other:b", "shop:helm", "shop:never"],
        "nobody knows how old the others are"
    );
    server.heal();
    let (tags, _) = gone(&plan(&scene, &server, &[]));
    assert_eq!(tags, old);
}

#[test]
fn an_image_of_an_old_build_goes_and_the_checker_agrees() {
    let (scene, server) = served();
    let run = |more: &[&str]| -> Finished {
        scene.with_policy(server.bucket(), "run", &[&["--offline", "--json"], more].concat())
    };
    let report = run(&[]).expect(0).json();
    assert_eq!(report["executed"]["done"]["untag"], 6, "{report:#}");
    let left = plan(&scene, &server, &["--offline"]);
    assert_eq!(gone(&left), (Vec::new(), 0));
}
