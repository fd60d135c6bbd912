//! What others know of images: what is named does not go, and what was pulled is young.

use std::sync::Arc;

use proptest::prelude::*;

use super::tagged::forged;
use super::*;

const RULES: &str = "version: 1
grace: 1d
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
policies:
  - name: shop
    repositories: [\"shop\", \"team/*\"]
    clock: CLOCK
    tags: { other: { keep: KEEP } }
    untagged: { keep: KEEP }
";

/// A scene with these tags in `shop`, and manifests without one, each so many days old.
fn scene(clock: &str, keep: &str, tags: &[(&str, i64)], untagged: &[(&str, i64)]) -> Scene {
    let mut scene = Scene::new();
    let text = RULES.replace("CLOCK", clock).replace("KEEP", keep);
    scene.policy = Policy::parse(&text, "policy.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"));
    scene.limits = Limits::of(&scene.policy);
    for (name, days) in tags {
        let manifest = format!("the manifest of {name}");
        let config = format!("the config of {name}");
        scene.manifest("shop", &manifest, &[(&config, Role::Config)], None);
        scene.tag("shop", name, &manifest);
        scene.repository("shop").tags.last_mut().unwrap().tagged = Some(days_ago(*days));
        pushed(&mut scene, &manifest, *days);
    }
    for (name, days) in untagged {
        scene.manifest("shop", name, &[], None);
        pushed(&mut scene, name, *days);
    }
    scene
}

fn pushed(scene: &mut Scene, manifest: &str, days: i64) {
    let id = scene.id(manifest);
    let revisions = &mut scene.repository("shop").revisions;
    revisions.iter_mut().find(|one| one.digest == id).unwrap().pushed = Some(days_ago(days));
}

fn pull(scene: &mut Scene, tag_name: Option<&str>, manifest: Option<&str>, days: i64) {
    scene.pulls.observe(&Pull {
        repository: name("shop"),
        tag: tag_name.map(tag),
        manifest: manifest.map(digest),
        at: days_ago(days),
    });
}

fn gone(scene: &Scene) -> Vec<String> {
    let plan = scene.plan();
    assert_eq!(scene.check(plan.clone()), [], "the planner's own plan");
    let mut gone: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|one| match &one.action {
            Action::Untag { repository, tag, .. } if repository.as_str() == "shop" => Some(tag.to_string()),
            Action::DeleteManifest { repository, digest, .. } if repository.as_str() == "shop" => {
                Some(digest.to_string())
            }
            _ => None,
        })
        .collect();
    gone.sort();
    gone
}

fn tags_gone(scene: &Scene) -> Vec<String> {
    gone(scene).into_iter().filter(|name| !name.contains(':')).collect()
}

const OLD: [(&str, i64); 3] = [("a", 100), ("b", 90), ("c", 80)];

#[test]
fn without_a_record_nothing_is_known_to_be_unused() {
    for keep in
        ["{ within: 30d }", "{ last: 1 }", "{ daily: 1 }", "{ all: { last: 1, within: 30d } }", "none"]
    {
        let scene = scene("pulled", keep, &OLD, &[("u", 70), ("v", 60)]);
        assert_eq!(gone(&scene), [""; 0], "{keep}");
        for name in ["a", "b", "c"] {
            assert_unsafe(&scene.check(forged(&scene, scene.plan(), name)), "the policy keeps", keep);
        }
        assert_unsafe(&scene.with(delete("shop", "u")), "the policy keeps", keep);
    }
}

#[test]
fn a_record_tells_only_of_what_came_after_it_began() {
    for (keep, begins, kept) in [
        // Up to 40 days ago each of them may have been pulled at any time.
        ("{ within: 50d }", 40, "abc"),
        ("{ within: 30d }", 40, ""),
        ("{ last: 1 }", 40, "abc"),
        ("{ daily: 1 }", 40, "abc"),
        // Pushed after the record began, c counts from its push.
        ("{ last: 1 }", 85, "c"),
        ("{ within: 84d }", 85, "c"),
        ("{ within: 85d }", 85, "abc"),
        ("{ daily: 1 }", 85, "c"),
        ("{ daily: 2 }", 85, "abc"),
        ("{ last: 2 }", 85, "abc"),
    ] {
        let mut scene = scene("pulled", keep, &OLD, &[]);
        scene.pulls.cover(days_ago(begins), now());
        let gone = tags_gone(&scene);
        let expected: Vec<&str> = ["a", "b", "c"].into_iter().filter(|name| !kept.contains(name)).collect();
        assert_eq!(gone, expected, "{keep}, begins {begins} days ago");
        for name in kept.chars() {
            let forged = forged(&scene, scene.plan(), &name.to_string());
            assert_unsafe(&scene.check(forged), "the policy keeps", keep);
        }
    }
}

#[test]
fn a_pull_of_the_tag_its_manifest_or_a_child_renews_it() {
    let keep = "{ within: 30d }";
    let fresh = || {
        let mut scene = scene("pulled", keep, &OLD, &[("u", 70)]);
        scene.pulls.cover(days_ago(200), now());
        scene
    };
    let mut scene = fresh();
    assert_eq!(tags_gone(&scene), ["a", "b", "c"]);
    pull(&mut scene, Some("a"), None, 10);
    pull(&mut scene, None, Some("the manifest of b"), 10);
    pull(&mut scene, Some("c"), None, 31);
    pull(&mut scene, None, Some("u"), 2);
    assert_eq!(tags_gone(&scene), ["c"]);
    assert!(!gone(&scene).contains(&digest("u").to_string()));
    // The pull of an image renews the index that lists it, through another index, in this repository alone.
    let mut scene = fresh();
    scene.manifest("shop", "inner", &[("the manifest of a", Role::Manifest)], None);
    scene.manifest("shop", "outer", &[("inner", Role::Manifest)], None);
    for index in ["inner", "outer"] {
        let id = scene.id(index);
        let Some(Body::Read(facts)) = scene.inventory.manifests.get_mut(&id) else { panic!("{index}") };
        facts.kind = Kind::Index;
        pushed(&mut scene, index, 100);
    }
    scene.tag("shop", "multi", "outer");
    assert!(tags_gone(&scene).contains(&"multi".to_owned()));
    pull(&mut scene, None, Some("the manifest of a"), 5);
    assert_eq!(tags_gone(&scene), ["b", "c"]);
    let mut elsewhere = fresh();
    elsewhere.pulls.observe(&Pull {
        repository: name("team/shop"),
        tag: Some(tag("a")),
        manifest: Some(digest("the manifest of a")),
        at: now(),
    });
    assert_eq!(tags_gone(&elsewhere), ["a", "b", "c"]);
    // One of the future is no time at all.
    let mut scene = fresh();
    pull(&mut scene, Some("b"), None, -3);
    assert_eq!(tags_gone(&scene), ["a", "c"]);
    assert_unsafe(&scene.check(forged(&scene, scene.plan(), "b")), "lies in the future", "b");
}

fn names(scene: &mut Scene, text: &str) {
    let found = read_references(text.as_bytes()).unwrap();
    scene.references.sources.push((Arc::from("the file pins.txt"), found));
}

#[test]
fn what_is_named_does_not_go() {
    let config = digest("the config of a");
    let manifest = digest("the manifest of a");
    let u = digest("u");
    for (reference, kept_tags, kept_untagged) in [
        ("shop:a".to_owned(), "a", false),
        ("registry.example:5000/shop:a".to_owned(), "a", false),
        ("proxy/shop:a".to_owned(), "a", false),
        ("workshop:a other/shop2:b shop/x:c".to_owned(), "", false),
        ("shop".to_owned(), "", false),
        // The tag goes and the manifest stays.
        (format!("shop@{manifest}"), "", false),
        (format!("elsewhere@{manifest}"), "", false),
        (config.to_string(), "", false),
        (u.to_string(), "", true),
        (format!("shop:b@{u}"), "b", true),
    ] {
        let mut scene = scene("tagged", "none", &OLD, &[("u", 70)]);
        names(&mut scene, &reference);
        let gone = gone(&scene);
        for name in ["a", "b", "c"] {
            assert_ne!(gone.contains(&name.to_owned()), kept_tags.contains(name), "{reference}: {name}");
            if kept_tags.contains(name) {
                let forged = forged(&scene, scene.plan(), name);
                assert_unsafe(&scene.check(forged), "the file pins.txt names shop:", &reference);
            }
        }
        assert_ne!(gone.contains(&u.to_string()), kept_untagged, "{reference}: the manifest without a tag");
        let by_digest = reference.contains("shop@") || reference == config.to_string();
        assert_ne!(gone.contains(&manifest.to_string()), by_digest || kept_tags.contains('a'), "{reference}");
        for (kept, what) in [(by_digest, "the manifest of a"), (kept_untagged, "u")] {
            if kept {
                assert_unsafe(&scene.with(delete("shop", what)), "the file pins.txt names", &reference);
            }
        }
    }
}

#[test]
fn a_blob_that_is_named_stays_wherever_it_is() {
    let mut scene = Scene::new();
    let taken = scene.plan();
    let goes = |plan: &Plan, name: &str| {
        let gone = digest(name);
        plan.steps.iter().any(|one| matches!(&one.action, Action::Sweep { digest, .. } if *digest == gone))
    };
    for orphan in ["orphan", "linked orphan"] {
        assert!(goes(&taken, orphan), "{orphan}");
        names(&mut scene, &digest(orphan).to_string());
        assert!(!goes(&scene.plan(), orphan), "{orphan}");
        assert_eq!(scene.check(scene.plan()), []);
    }
    let sweep = Action::Sweep { digest: digest("orphan"), size: 100, manifest: false };
    assert_unsafe(&scene.with(sweep), "the file pins.txt names", "orphan");
    let unlink = Action::Unlink { repository: name("app"), digest: digest("linked orphan") };
    assert_unsafe(&scene.with(unlink), "the file pins.txt names", "linked orphan");
}

#[test]
fn a_source_that_does_not_answer_stops_everything_but_giving_back() {
    let mut scene = Scene::new();
    scene.references.failures.push("the file pins.txt: it names nothing".to_owned());
    let plan = scene.plan();
    assert_eq!(
        scene.check(plan.clone()),
        [Refusal::Source("the file pins.txt: it names nothing".to_owned())]
    );
    let mut mends = plan;
    mends.steps.clear();
    mends.mends = true;
    assert_eq!(scene.check(mends), []);
}

/// A tag or manifest: how old, whether it has a tag, when it was pulled by tag and by digest, all in days.
type Drawn = (i64, bool, Option<i64>, Option<i64>);

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let pulled = || proptest::option::weighted(0.4, -1_i64..120);
    proptest::collection::vec((2_i64..120, any::<bool>(), pulled(), pulled()), 1..12)
}

fn keep() -> impl Strategy<Value = String> {
    let number = || 1_i64..6;
    prop_oneof![
        Just("none".to_owned()),
        (1_i64..110).prop_map(|days| format!("{{ within: {days}d }}")),
        number().prop_map(|last| format!("{{ last: {last} }}")),
        number().prop_map(|daily| format!("{{ daily: {daily} }}")),
        number().prop_map(|monthly| format!("{{ monthly: {monthly}, last: 1 }}")),
        (number(), 1_i64..110)
            .prop_map(|(last, days)| format!("{{ all: {{ last: {last}, within: {days}d }} }}")),
    ]
}

fn drawn_scene(clock: &str, keep: &str, drawn: &[Drawn], covered: Option<(i64, i64)>) -> Scene {
    let mut scene = scene(clock, keep, &[], &[]);
    for (number, (days, tagged, by_tag, by_digest)) in drawn.iter().enumerate() {
        let manifest = format!("manifest {number}");
        scene.manifest("shop", &manifest, &[], None);
        pushed(&mut scene, &manifest, *days);
        if *tagged {
            scene.tag("shop", &format!("t{number}"), &manifest);
            scene.repository("shop").tags.last_mut().unwrap().tagged = Some(days_ago(*days));
        }
        for (tag, manifest, days) in
            [(Some(format!("t{number}")), None, by_tag), (None, Some(&manifest), by_digest)]
        {
            if let Some(days) = days {
                pull(&mut scene, tag.as_deref(), manifest.map(String::as_str), *days);
            }
        }
    }
    if let Some((from, to)) = covered {
        scene.pulls.cover(days_ago(from.max(to)), days_ago(from.min(to)));
    }
    scene
}

fn covered() -> impl Strategy<Value = Option<(i64, i64)>> {
    proptest::option::weighted(0.8, (0_i64..150, prop_oneof![4 => Just(0_i64), 1 => 0_i64..5]))
}

/// References to some of what is drawn.
fn reference() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..12).prop_map(|number| format!("registry.example/shop:t{number}")),
        (0..12).prop_map(|number| format!("shop@{}", digest(&format!("manifest {number}")))),
        (0..12).prop_map(|number| digest(&format!("manifest {number}")).to_string()),
    ]
}

proptest! {
    #[test]
    fn planner_and_judge_read_pulls_and_references_alike(
        drawn in drawn(), keep in keep(), covered in covered(),
        references in proptest::collection::vec(reference(), 0..4),
    ) {
        let mut scene = drawn_scene("pulled", &keep, &drawn, covered);
        names(&mut scene, &references.join("\n"));
        let gone = gone(&scene);
        let plan = scene.plan();
        for number in (0..drawn.len()).filter(|number| drawn[*number].1) {
            let name = format!("t{number}");
            if !gone.contains(&name) {
                let refusals = scene.check(forged(&scene, plan.clone(), &name));
                prop_assert!(!refusals.is_empty(), "{name} may be taken as well");
            }
        }
    }

    #[test]
    fn one_more_reference_never_takes_more(
        drawn in drawn(), keep in keep(), clock in proptest::sample::select(vec!["tagged", "pulled"]),
        references in proptest::collection::vec(reference(), 1..5),
    ) {
        let mut scene = drawn_scene(clock, &keep, &drawn, Some((150, 0)));
        let mut before = tags_gone(&scene);
        for reference in references {
            names(&mut scene, &reference);
            let after = tags_gone(&scene);
            prop_assert!(after.iter().all(|tag| before.contains(tag)), "{reference}: {before:?}, then {after:?}");
            before = after;
        }
    }

    #[test]
    fn one_more_pull_never_takes_more_by_age_and_never_what_was_pulled(
        drawn in drawn(), covered in covered(), pulled in 0_usize..12, days in 0_i64..150,
        (keep, by_age) in prop_oneof![
            (1_i64..110).prop_map(|days| (format!("{{ within: {days}d }}"), true)),
            Just(("none".to_owned(), true)),
            (1_i64..6).prop_map(|last| (format!("{{ last: {last} }}"), false)),
        ],
    ) {
        let mut scene = drawn_scene("pulled", &keep, &drawn, covered);
        let before = tags_gone(&scene);
        pull(&mut scene, Some(&format!("t{pulled}")), None, days);
        let after = tags_gone(&scene);
        let more: Vec<_> = after.iter().filter(|tag| !before.contains(tag)).collect();
        if by_age {
            prop_assert!(more.is_empty(), "{more:?}");
        }
        prop_assert!(!more.contains(&&format!("t{pulled}")), "what was pulled goes");
    }
}
