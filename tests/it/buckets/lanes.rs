//! Listing in several places at once finds what listing in one go finds, whatever a server makes of order and offsets.

use std::collections::BTreeSet;

use super::memory::{MemoryServer, Options, Order, StartAfter};
use super::servers::{self, Kind};
use super::{PREFIX, Scene, number, part};
use crate::support::wait;
use bytes::Bytes;
use regsweep::synth::Recipe;

/// Enough pages of ten keys for many lanes, with names of every kind.
fn scene() -> Scene {
    Scene::new(&Recipe { seed: 11, repositories: 9, parents: 3, tags: 40, history: 1, ..Recipe::default() })
}

/// What an audit says there is, and how many pages it took.
fn audit(scene: &Scene, server: &MemoryServer, concurrency: &str) -> (serde_json::Value, usize) {
    server.forget_requests();
    let report = scene
        .with_policy(server.bucket(), "audit", &["--json", "--concurrency", concurrency])
        .expect(0)
        .json();
    (part(&report, &["classes"]).clone(), server.count("ListObjectsV2"))
}

#[test]
fn lanes_find_what_one_listing_finds_in_any_order_and_from_any_offset() {
    let scene = scene();
    let here = scene.in_directory("audit", &["--json"]).expect(0).json();
    let here = part(&here, &["classes"]);
    for order in [Order::Bytes, Order::Directories] {
        for start_after in [StartAfter::Honoured, StartAfter::Ignored, StartAfter::SkipsSubtree] {
            let server = MemoryServer::start(Options { order, start_after, page: 10, ..Options::default() });
            server.insert_tree(&scene.store(), PREFIX);
            let (one, pages) = audit(&scene, &server, "1");
            let (many, parallel) = audit(&scene, &server, "32");
            let what = format!("{order:?}, start-after {start_after:?}");
            assert_eq!(&one, here, "{what}, one lane");
            assert_eq!(&many, here, "{what}, many lanes");
            assert!(pages > 300, "{pages}");
            // One page in eight may be a lane's beginning and one in eight a guess in vain; an ignored offset makes each
            // lane list all that the others do.
            if start_after != StartAfter::Ignored {
                assert!(parallel <= pages + pages / 4 + 8, "{what}: {parallel} pages instead of {pages}");
            }
        }
    }
}

/// Many tags in one repository, and thousands of repositories with one tag.
#[test]
fn names_of_every_shape_are_found() {
    let server = MemoryServer::start(Options { page: 50, order: Order::Directories, ..Options::default() });
    let scene = Scene::small();
    server.insert_tree(&scene.store(), PREFIX);
    let link = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let repositories = format!("{PREFIX}docker/registry/v2/repositories");
    for number in 0..3000 {
        let tag = match number % 3 {
            0 => format!("v1.{}.{}", number / 10, number % 10),
            1 => format!("Build_{number:x}"),
            _ => format!("{:032x}", number * 7919),
        };
        server.insert(&format!("{repositories}/one/_manifests/tags/{tag}/current/link"), link, scene.now);
    }
    for number in 0..2000 {
        let name = format!("tiny{}/a-{number}", number % 17);
        server.insert(&format!("{repositories}/{name}/_manifests/tags/latest/current/link"), link, scene.now);
    }
    let before = scene.in_directory("audit", &["--json"]).expect(0).json();
    let report =
        scene.with_policy(server.bucket(), "audit", &["--json", "--concurrency", "32"]).expect(0).json();
    assert_eq!(number(&report, &["saw", "tags"]), number(&before, &["saw", "tags"]) + 5000);
    assert_eq!(number(&report, &["saw", "repositories"]), number(&before, &["saw", "repositories"]) + 2001);
}

/// More than a page of keys, some of them odd, on servers that order them in their own ways.
#[test]
fn real_servers_are_listed_whole() {
    for kind in [Kind::SeaweedFs, Kind::Moto, Kind::Azurite, Kind::FakeGcs] {
        let bucket = servers::bucket(kind);
        let scene = Scene::tiny();
        let store = crate::support::Files::of(&scene.store()).0;
        let mut objects: Vec<(String, Bytes)> = store
            .into_iter()
            .map(|(key, (bytes, _))| (format!("{PREFIX}{key}"), Bytes::from(bytes)))
            .collect();
        let link = Bytes::from("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let mut names = BTreeSet::new();
        for number in 0..1300 {
            let name = ["so/a", "so/a-b", "so/a.b", "so/ab", "so/a/b"][number % 5];
            names.insert(name);
            let key =
                format!("docker/registry/v2/repositories/{name}/_manifests/tags/t{number}/current/link");
            objects.push((format!("{PREFIX}{key}"), link.clone()));
        }
        for odd in ["not a registry's", "+%41 ü", "repositories/_layers/x"] {
            objects.push((format!("{PREFIX}docker/registry/v2/{odd}"), Bytes::from("odd")));
        }
        let expected = objects.len() as u64;
        wait(bucket.put_all(objects));
        let before = scene.in_directory("audit", &["--json"]).expect(0).json();
        let report = scene.with_policy(&bucket, "audit", &["--json"]).expect(0).json();
        assert_eq!(number(&report, &["saw", "tags"]), number(&before, &["saw", "tags"]) + 1300, "{kind:?}");
        let repositories = number(&before, &["saw", "repositories"]) + names.len() as u64;
        assert_eq!(number(&report, &["saw", "repositories"]), repositories, "{kind:?}");
        let classes = part(&report, &["classes"]).as_object().expect("classes");
        let objects: u64 = classes.values().map(|class| number(class, &["objects"])).sum();
        assert_eq!(objects, expected, "{kind:?}: {classes:#?}");
    }
}
