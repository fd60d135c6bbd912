//! What an audit says of stores of every era, and of what is found in them.

use std::os::unix::fs::symlink;

use regsweep::layout::Nexus;
use regsweep::layout::RegistryLayout;
use regsweep::pipeline;

use super::*;
use crate::support::policy;

fn amount(scene: &Scene, states: &[State]) -> Amount {
    Amount {
        objects: scene.files(states).len() as u64,
        bytes: scene.blobs(states).map(|blob| blob.bytes).sum(),
    }
}

fn others(scene: &Scene, class: &str) -> Amount {
    let files = scene.truth.others.get(class).map_or(&[][..], Vec::as_slice);
    Amount { objects: files.len() as u64, bytes: files.iter().map(|(_, size)| size).sum() }
}

fn sum(one: Amount, other: Amount) -> Amount {
    Amount { objects: one.objects + other.objects, bytes: one.bytes + other.bytes }
}

fn total(classes: &BTreeMap<Class, Amount>) -> Amount {
    classes.values().copied().fold(Amount::default(), sum)
}

#[test]
fn every_object_is_in_the_class_that_it_was_made_for() {
    for (era, stores) in SHAPES {
        let scene = Scene::of(era, stores);
        let (survey, classes) = scene.classes(&job_of(scene.exports()));
        assert!(survey.inventory.gaps.is_empty(), "{era:?}: {:?}", survey.inventory.gaps);
        for (class, expected) in [
            (Class::Live, amount(&scene, &[State::Live])),
            (Class::Unreferenced, amount(&scene, &[State::Unneeded])),
            (Class::NotInDatabase, amount(&scene, &[State::Unknown])),
            (Class::BytesOnly, amount(&scene, &[State::BytesOnly])),
            (Class::Deleted, amount(&scene, &[State::Deleted])),
            (Class::DeletedUnindexed, amount(&scene, &[State::DeletedUnindexed])),
            (Class::LeakedGhost, amount(&scene, &[State::LeakedGhost])),
            (Class::Damaged, amount(&scene, &[State::Damaged])),
            (Class::OtherFormat, amount(&scene, &[State::Other])),
            (Class::Temporary, sum(amount(&scene, &[State::Temporary]), others(&scene, "temporary"))),
            (Class::Ghost, others(&scene, "ghost")),
            (Class::Bookkeeping, others(&scene, "bookkeeping")),
            (Class::Foreign, others(&scene, "foreign")),
        ] {
            assert_eq!(classes[&class], expected, "{era:?} in {stores}: {class:?}");
        }
        assert_eq!(total(&classes), on_disk(&scene.root()), "{era:?}");
    }
}

#[test]
fn without_a_database_what_is_live_is_the_same_and_more() {
    for (era, stores) in SHAPES {
        let scene = Scene::of(era, stores);
        let (survey, classes) = scene.classes(&job_of(Vec::new()));
        assert!(survey.inventory.gaps.is_empty(), "{:?}", survey.inventory.gaps);
        // What the database has forgotten looks like everything else.
        let known = amount(&scene, &[State::Live, State::Unknown]);
        assert_eq!(classes[&Class::Live], known);
        assert_eq!(classes[&Class::NotInDatabase], Amount::default());
        assert_eq!(total(&classes), on_disk(&scene.root()));
        let (plan, refusals) = scene.plan(&job_of(Vec::new()));
        assert!(plan.steps.is_empty() && refusals.is_empty(), "{:?} {refusals:?}", plan.steps);
    }
}

#[test]
fn images_are_the_repositories_that_policies_are_about() {
    let scene = Scene::of(Era::Mixed, 2);
    let (survey, _) = scene.classes(&job_of(scene.exports()));
    let names: Vec<&str> = survey.inventory.repositories.iter().map(|one| one.name.as_str()).collect();
    let expected: Vec<String> = REPOSITORIES
        .iter()
        .flat_map(|repository| (0..3).map(move |image| format!("{repository}/team/app{image}")))
        .collect();
    assert_eq!(names, expected);
    for repository in &survey.inventory.repositories {
        // Four releases, an index and the tag of its signature; index, children and referrer besides.
        assert_eq!((repository.tags.len(), repository.revisions.len()), (6, 9), "{}", repository.name);
    }
    let everything = policy(
        "version: 1\ngrace: 1d\nlimits: { tags: 100%, bytes: 100%, repository_may_empty: true }\nclasses:\n  \
         release: { match: [\"1.*\"] }\npolicies:\n  - name: all\n    repositories: [\"docker-0/**\"]\n    tags:\n      \
         release: { keep: none }\n      other: { keep: all }\n    untagged: { keep: none }\n",
    );
    let job = Job { policy: Some(&everything), limits: limits(Some(&everything)), ..job_of(scene.exports()) };
    let (plan, refusals) = scene.plan(&job);
    assert_eq!(plan.tags_gone(), 12);
    assert!(plan.freed.bytes > 0);
    assert!(refusals.iter().any(|one| matches!(one, Refusal::NotInFiles { .. })), "{refusals:?}");
}

#[test]
fn a_store_is_found_by_what_it_says_that_it_is() {
    let scene = Scene::of(Era::Mixed, 1);
    let detect = |scene: &Scene| {
        let store = ReadStore::open(&location(&scene.root()), &Access::DEFAULT).expect("the store");
        pipeline::layout(&store, None).map(RegistryLayout::name).map_err(|error| error.to_string())
    };
    let within = |scene: &Scene| wait(async { detect(scene) });
    assert_eq!(within(&scene), Ok(Nexus.name()));
    assert_eq!(within(&Scene::of(Era::Mixed, 3)), Ok("nexus"));
    let metadata = scene.root().join("metadata.properties");
    for (text, why) in [
        ("type=swift/1\n", "\"swift/1\", which is not known"),
        ("#\n", "does not say"),
        ("a=\\u0", "is no properties"),
    ] {
        std::fs::write(&metadata, text).expect("metadata");
        let refused = within(&scene).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let none = Scene::of(Era::Mixed, 1);
    let content = none.directory.path().join("other/content");
    std::fs::create_dir_all(&content).expect("a directory");
    let store = ReadStore::open(&location(content.parent().expect("a directory")), &Access::DEFAULT)
        .expect("a store");
    let refused = wait(async { pipeline::layout(&store, Some("nexus")).map(RegistryLayout::name) });
    assert!(refused.unwrap_err().to_string().contains("metadata.properties is missing"));
}

#[test]
fn what_cannot_be_seen_keeps_everything() {
    let scene = Scene::of(Era::Sql, 1);
    // A minute of blobs on another disk.
    let elsewhere = scene.directory.path().join("elsewhere");
    std::fs::create_dir_all(&elsewhere).expect("a directory");
    symlink(&elsewhere, scene.root().join("content/2024")).expect("a link");
    let (plan, refusals) = scene.plan(&job_of(scene.exports()));
    assert!(plan.steps.is_empty() && refusals.is_empty());
    let (survey, _) = scene.classes(&job_of(scene.exports()));
    assert!(survey.inventory.gaps[0].why.contains("links are not followed"), "{:?}", survey.inventory.gaps);
}

#[test]
fn bytes_with_two_names_are_not_freed_with_one() {
    let scene = Scene::of(Era::Dated, 1);
    let forgotten = scene.blobs(&[State::Unknown]).next().expect("a blob");
    let content = scene.root().join(&forgotten.files[0]);
    let size = std::fs::metadata(&content).expect("content").len();
    std::fs::hard_link(&content, scene.directory.path().join("second name")).expect("a link");
    let (before, _) = scene.plan(&job_of(scene.exports()));
    let (_, survey) = scene.survey(&job_of(scene.exports())).expect("a look");
    let assets = &survey.inventory.assets.as_ref().expect("blobs").list;
    assert_eq!(assets.iter().map(|asset| asset.shared).sum::<u64>(), size);
    let all: u64 = before.steps.iter().map(|step| step.action.frees()).sum();
    assert_eq!(before.freed.unknown_bytes, all - size);
}
