//! What holds a manifest, and what goes with it: the rules of the policy that need more than a list of tags, a row each.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use regsweep::clock::Clock as _;
use regsweep::graph::{Fate, Pins, Rules, mark};
use regsweep::oci::{Digest, RepositoryName, TagName};
use regsweep::plan::Mode;
use regsweep::sources::{PullRecord, Reference, References};
use regsweep::synth::{Builder, ImageSpec, IndexSpec};

use crate::support::{days_later, job, look, policy, present};
use crate::synth::scratch;

/// `app` keeps what is called so; nothing else holds anything in it, and no policy is about `elsewhere`.
const POLICY: &str = "version: 1
protect: { repositories: [golden] }
classes: { kept: { match: ['keep-*'] } }
policies:
  - name: all
    repositories: ['app', 'golden']
    tags: { kept: { keep: all }, other: { keep: none } }
    untagged: { keep: none }
referrers: { orphaned_after: 20d }
";

/// How old everything is that a row does not make older, in days.
const AGE: i64 = 10;

fn image(builder: &mut Builder, repository: &str, name: &str) -> String {
    let layer = builder.blob(name.as_bytes()).unwrap();
    builder.image(repository, &ImageSpec::new(name, vec![layer])).unwrap()
}

/// An image of `app` with these tags.
fn tagged(builder: &mut Builder, name: &str, tags: &[&str]) -> String {
    let digest = image(builder, "app", name);
    for tag in tags {
        builder.tag("app", tag, &digest).unwrap();
    }
    digest
}

fn untagged(builder: &mut Builder, name: &str) -> String {
    tagged(builder, name, &[])
}

fn index(builder: &mut Builder, children: &[&String], tag: Option<&str>) -> String {
    let children: Vec<String> = children.iter().map(|child| (*child).clone()).collect();
    let digest = builder.index("app", &children, &IndexSpec::default()).unwrap();
    if let Some(tag) = tag {
        builder.tag("app", tag, &digest).unwrap();
    }
    digest
}

fn about(builder: &mut Builder, subject: &str, name: &str) -> String {
    builder.referrer("app", subject, "application/vnd.example.sbom", name.as_bytes()).unwrap()
}

fn fallback(subject: &str) -> String {
    subject.replacen(':', "-", 1)
}

/// What else there is besides the store.
struct Beside {
    pins: Vec<Pins>,
    references: References,
    grace: SignedDuration,
}

impl Default for Beside {
    fn default() -> Self {
        Self { pins: Vec::new(), references: References::default(), grace: SignedDuration::from_hours(24) }
    }
}

/// What becomes of the manifests of a repository, and of its tags.
struct Left {
    manifests: Vec<(String, bool)>,
    tags: Vec<(String, bool)>,
    live: Vec<String>,
}

fn left(root: &Path, repository: &str, beside: &Beside) -> Left {
    let policy = policy(POLICY);
    let clock = days_later(AGE);
    let job = job(Some(&policy), Mode::Offline);
    let (_, survey, _) = look(root, &job, &clock);
    let rules = Rules {
        policy: Some(&policy),
        grace: beside.grace,
        pins: &beside.pins,
        references: &beside.references,
        pulls: &PullRecord::default(),
        now: clock.now(),
    };
    let inventory = &survey.inventory;
    let marks = mark(inventory, &rules);
    let (found, marked) = inventory
        .repositories
        .iter()
        .zip(&marks.repositories)
        .find(|(one, _)| one.name.as_str() == repository)
        .expect("the repository is there");
    let manifests = found.revisions.iter().zip(&marked.revisions);
    let tags = found.tags.iter().zip(&marked.tags);
    Left {
        manifests: manifests
            .map(|(one, fate)| {
                (inventory.blobs.digest(one.digest).to_string(), matches!(fate, Fate::Kept(_)))
            })
            .collect(),
        tags: tags.map(|(tag, decision)| (tag.name.to_string(), !decision.is_expired())).collect(),
        live: inventory
            .blobs
            .ids()
            .filter(|id| marks.live.contains(*id))
            .map(|id| inventory.blobs.digest(id).to_string())
            .collect(),
    }
}

impl Left {
    fn stays(&self, digest: &str) -> bool {
        self.manifests.iter().find(|(one, _)| one == digest).expect("the manifest is there").1
    }

    fn tag_stays(&self, tag: &str) -> bool {
        self.tags.iter().find(|(one, _)| one == tag).expect("the tag is there").1
    }
}

/// Manifests that are made, and whether each stays.
type Made = Vec<(String, bool)>;
type Row = (&'static str, fn(&mut Builder) -> Made);

const ROWS: [Row; 13] = [
    ("the tag that points to it stays", |builder| vec![(tagged(builder, "a", &["keep-a"]), true)]),
    ("one of its tags stays", |builder| vec![(tagged(builder, "a", &["old", "keep-a", "x"]), true)]),
    ("its last tag goes", |builder| vec![(tagged(builder, "a", &["old", "x"]), false)]),
    ("nothing names it", |builder| vec![(untagged(builder, "a"), false)]),
    ("an index that stays lists it", |builder| {
        let child = untagged(builder, "child");
        let nested = index(builder, &[&child], None);
        let root = index(builder, &[&nested], Some("keep-index"));
        vec![(root, true), (nested, true), (child, true)]
    }),
    ("the index that lists it goes", |builder| {
        let child = untagged(builder, "child");
        vec![(index(builder, &[&child], Some("old")), false), (child, false)]
    }),
    ("of two indexes that list it one stays", |builder| {
        let (child, other) = (untagged(builder, "child"), untagged(builder, "other"));
        let goes = index(builder, &[&child, &other], None);
        let stays = index(builder, &[&child], Some("keep-index"));
        vec![(goes, false), (stays, true), (child, true), (other, false)]
    }),
    ("its own tag stays, and that of the index that lists it goes", |builder| {
        let child = tagged(builder, "child", &["keep-child"]);
        vec![(index(builder, &[&child], Some("old")), false), (child, true)]
    }),
    ("what it is about stays, over a chain of them", |builder| {
        let subject = tagged(builder, "a", &["keep-a"]);
        let bill = about(builder, &subject, "bill");
        let signature = about(builder, &bill, "signature of the bill");
        vec![(subject, true), (bill, true), (signature, true)]
    }),
    ("what it is about goes, over a chain of them", |builder| {
        let subject = tagged(builder, "a", &["old"]);
        let bill = about(builder, &subject, "bill");
        let signature = about(builder, &bill, "signature of the bill");
        vec![(subject, false), (bill, false), (signature, false)]
    }),
    ("what it is about is a child of an index that stays", |builder| {
        let child = untagged(builder, "child");
        let bill = about(builder, &child, "bill");
        vec![(index(builder, &[&child], Some("keep-index")), true), (child, true), (bill, true)]
    }),
    ("what it is about has gone a short while ago", |builder| {
        vec![(about(builder, &format!("sha256:{}", "0a".repeat(32)), "bill"), true)]
    }),
    ("what it is about has gone long ago", |builder| {
        builder.at(Duration::from_secs(15 * 24 * 3600));
        vec![(about(builder, &format!("sha256:{}", "0a".repeat(32)), "bill"), false)]
    }),
];

#[test]
fn a_manifest_lives_as_long_as_something_holds_it() {
    for (what, make) in ROWS {
        let root = scratch();
        let mut builder = Builder::new(root.path(), present()).unwrap();
        let made = make(&mut builder);
        let left = left(root.path(), "app", &Beside::default());
        for (number, (digest, stays)) in made.iter().enumerate() {
            assert_eq!(left.stays(digest), *stays, "{what}: manifest {number}");
        }
        assert_eq!(left.manifests.len(), made.len(), "{what}: others are there");
    }
}

#[test]
fn a_tag_that_goes_takes_no_other_tag_of_its_image_along() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), present()).unwrap();
    let digest = tagged(&mut builder, "a", &["keep-a", "old"]);
    let left = left(root.path(), "app", &Beside::default());
    assert!(left.stays(&digest) && left.tag_stays("keep-a") && !left.tag_stays("old"));
}

#[test]
fn tags_that_name_their_subject_are_of_no_class_and_share_its_fate() {
    for (tag, stays) in [("keep-a", true), ("old", false)] {
        let root = scratch();
        let mut builder = Builder::new(root.path(), present()).unwrap();
        let subject = tagged(&mut builder, "a", &[tag]);
        let mut manifests = vec![subject.clone()];
        let mut tags = Vec::new();
        for suffix in ["sig", "att", "sbom"] {
            manifests.push(builder.cosign("app", &subject, suffix).unwrap());
            tags.push(format!("{}.{suffix}", fallback(&subject)));
        }
        let bill = about(&mut builder, &subject, "bill");
        manifests.push(builder.fallback_index("app", &subject, std::slice::from_ref(&bill)).unwrap());
        manifests.push(bill);
        tags.push(fallback(&subject));
        let left = left(root.path(), "app", &Beside::default());
        for digest in &manifests {
            assert_eq!(left.stays(digest), stays, "{tag}: {digest}");
        }
        for name in &tags {
            assert_eq!(left.tag_stays(name), stays, "{tag}: {name}");
        }
    }
}

#[test]
fn what_is_beside_the_store_holds_too() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), present()).unwrap();
    let digest = tagged(&mut builder, "a", &["old"]);
    let name = || RepositoryName::found("app").unwrap();
    let old = || TagName::found("old").unwrap();
    let id: Digest = digest.parse().unwrap();
    let now = days_later(AGE).now();
    let pins = |hours: i64, tags, revisions| Beside {
        pins: vec![Pins {
            until: now + SignedDuration::from_hours(hours),
            tags,
            revisions,
            blobs: Vec::new(),
        }],
        ..Beside::default()
    };
    let named = |repository: Option<&str>, tag: Option<TagName>, digest: Option<Digest>| Beside {
        references: References {
            sources: vec![(
                Arc::from("the file pins.txt"),
                vec![Reference { repository: repository.map(Arc::from), tag, digest }],
            )],
            failures: Vec::new(),
        },
        ..Beside::default()
    };
    let graced = |days: i64| Beside { grace: SignedDuration::from_hours(24 * days), ..Beside::default() };
    for (what, beside, stays) in [
        ("nothing", Beside::default(), false),
        ("a restore of the tag", pins(1, vec![(name(), old())], Vec::new()), true),
        ("a restore of the manifest", pins(1, Vec::new(), vec![(name(), id)]), true),
        ("a restore that is over", pins(-1, vec![(name(), old())], vec![(name(), id)]), false),
        ("a pin by tag", named(Some("registry.example:5000/app"), Some(old()), None), true),
        ("a pin by digest", named(Some("app"), None, Some(id)), true),
        ("a pin by digest alone", named(None, None, Some(id)), true),
        ("a pin of another repository", named(Some("other"), Some(old()), Some(id)), false),
        ("a pin of another tag", named(Some("app"), TagName::found("new").ok(), None), false),
        ("a grace that is longer than its age", graced(AGE + 1), true),
        ("a grace that is over", graced(AGE - 1), false),
    ] {
        assert_eq!(left(root.path(), "app", &beside).stays(&digest), stays, "{what}");
    }
}

#[test]
fn nothing_goes_where_no_policy_is_about_the_repository_or_it_is_protected() {
    for repository in ["elsewhere", "golden"] {
        let root = scratch();
        let mut builder = Builder::new(root.path(), present()).unwrap();
        let digest = image(&mut builder, repository, "a");
        builder.tag(repository, "old", &digest).unwrap();
        let loose = image(&mut builder, repository, "b");
        let orphan = builder
            .at(Duration::from_secs(900 * 24 * 3600))
            .referrer(repository, &format!("sha256:{}", "0a".repeat(32)), "application/x", b"bill")
            .unwrap();
        let left = left(root.path(), repository, &Beside::default());
        assert!(left.tag_stays("old"), "{repository}");
        for digest in [&digest, &loose, &orphan] {
            assert!(left.stays(digest), "{repository}: {digest}");
        }
    }
}

#[test]
fn data_that_an_image_elsewhere_needs_is_live() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), present()).unwrap();
    let shared = builder.blob(b"a layer of both").unwrap();
    let own = builder.blob(b"a layer of one").unwrap();
    let one = builder.image("app", &ImageSpec::new("one", vec![shared.clone(), own.clone()])).unwrap();
    builder.image("elsewhere", &ImageSpec::new("two", vec![shared.clone()])).unwrap();
    let left = left(root.path(), "app", &Beside::default());
    assert!(!left.stays(&one));
    assert!(left.live.contains(&shared), "another repository needs it");
    assert!(!left.live.contains(&own), "nobody needs it");
}

#[test]
fn a_manifest_that_nobody_can_read_holds_its_repository() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), present()).unwrap();
    let old = tagged(&mut builder, "a", &["old"]);
    let loose = untagged(&mut builder, "b");
    let broken = tagged(&mut builder, "broken", &["keep-broken"]);
    std::fs::write(builder.blob_path(&broken), b"{").unwrap();
    let left = left(root.path(), "app", &Beside::default());
    assert!(left.tag_stays("old") && left.stays(&old) && left.stays(&loose));
}
