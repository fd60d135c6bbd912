//! Tags: what a plan file says of them is not believed.

use super::*;
use crate::plan::check::versions::Version;

/// A policy with this as what governs `shop`.
fn policy(rules: &str) -> Policy {
    let text = format!(
        "version: 1
grace: 1d
limits: {{ tags: 100%, bytes: 100%, repository_may_empty: true }}
protect: {{ tags: [\"held-*\"] }}
classes:
  release: {{ match: [\"v*\"], order_by: semver }}
  named: {{ match: [\"n-*\"], order_by: name }}
  every: {{ match: [\"*\"] }}
policies:
  - name: shop
    repositories: [\"shop\", \"!shop/*\"]
    {rules}
  - name: rest
    repositories: [\"**\"]
    tags: {{ other: {{ keep: none }} }}
"
    );
    Policy::parse(&text, "policy.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A scene with these tags in `shop`, each so many days old, on a manifest as old.
fn scene(rules: &str, tags: &[(&str, i64)]) -> Scene {
    let mut scene = Scene::new();
    scene.policy = policy(rules);
    scene.limits = Limits::of(&scene.policy);
    for (name, days) in tags {
        let manifest = format!("the manifest of {name}");
        scene.manifest("shop", &manifest, &[], None);
        scene.tag("shop", name, &manifest);
        times(&mut scene, name, Some(days_ago(*days)), Some(days_ago(*days)));
    }
    scene
}

/// Sets when a tag of `shop` was written, and when its manifest was pushed.
fn times(scene: &mut Scene, name: &str, tagged: Option<Timestamp>, pushed: Option<Timestamp>) {
    let manifest = scene.id(&format!("the manifest of {name}"));
    let shop = scene.repository("shop");
    shop.tags.iter_mut().find(|one| one.name.as_str() == name).unwrap().tagged = tagged;
    shop.revisions.iter_mut().find(|one| one.digest == manifest).unwrap().pushed = pushed;
}

fn takes(plan: &Plan, name: &str) -> bool {
    plan.steps.iter().any(|one| {
        matches!(&one.action, Action::Untag { repository, tag, .. }
            if repository.as_str() == "shop" && tag.as_str() == name)
    })
}

/// The plan with one step more, that takes a tag of `shop` for what it points to.
pub(super) fn forged(scene: &Scene, mut plan: Plan, name: &str) -> Plan {
    let shop = &scene.inventory.repositories[scene.position("shop")];
    let target = shop.tags.iter().find(|one| one.name.as_str() == name).and_then(|one| match one.target {
        Target::Manifest(id) => Some(scene.inventory.blobs.digest(id)),
        Target::Missing | Target::Corrupt(_) => None,
    });
    let (repository, tag) = (shop.name.clone(), tag(name));
    let action = Action::Untag { repository, tag, target, history: Vec::new() };
    plan.steps.push(Step {
        action,
        evidence: Evidence { reason: Reason::Policy(expired()), changed: None, listed: None },
    });
    plan.steps.sort_by_key(|step| step.action.stage());
    plan
}

/// The planner keeps it and its own plan passes; one that takes it as well does not, for this reason.
fn assert_forged(scene: &Scene, name: &str, reason: &str, what: &str) {
    let plan = scene.plan();
    assert!(!takes(&plan, name), "{what}: the planner takes {name}");
    assert_eq!(scene.check(plan.clone()), [], "{what}");
    assert_unsafe(&scene.check(forged(scene, plan, name)), reason, what);
}

#[test]
fn what_the_rule_of_its_class_keeps_does_not_go() {
    let tags = [
        ("v3.0.0", 50),
        ("v2.1.1", 11),
        ("v2.1.0", 12),
        ("v2.0.0", 13),
        ("v1.0.0", 14),
        ("vnext", 60),
        ("n-b", 40),
        ("n-a", 20),
        ("x20", 20),
        ("x21", 21),
        ("x300", 300),
        ("x700", 700),
    ];
    for (rules, kept, gone, reason) in [
        ("tags: {}", "x20", None, "no class matches it, and there is no rule for other"),
        ("tags: { release: { keep: all } }", "v1.0.0", None, "class release: it says keep: all"),
        ("tags: { release: { keep: { last: 1 } } }", "v3.0.0", Some("v2.1.1"), "its keep of last: 1"),
        ("tags: { release: { keep: { last: 1 } } }", "vnext", Some("v2.1.1"), "what is no version"),
        ("tags: { named: { keep: { last: 1 } } }", "n-b", Some("n-a"), "class named: its keep of last: 1"),
        ("tags: { other: { keep: { last: 1 } } }", "v2.1.1", Some("x20"), "class other: its keep of last: 1"),
        ("tags: { every: { keep: { last: 3 } } }", "v2.0.0", Some("v1.0.0"), "class every"),
        (
            "tags: { release: { keep: { last: { majors: 2 } } } }",
            "v2.0.0",
            Some("v1.0.0"),
            "its keep of last: { majors: 2 }",
        ),
        ("tags: { release: { keep: { last: { minors: 1 } } } }", "v2.1.0", Some("v2.0.0"), "minors: 1"),
        (
            "tags: { release: { keep: { last: { majors: 2, patches: 1 } } } }",
            "v2.1.1",
            Some("v2.1.0"),
            "last: { majors: 2, patches: 1 }",
        ),
        ("tags: { other: { keep: { within: 20d } } }", "x20", Some("x21"), "its keep of within: 20d"),
        ("tags: { other: { keep: { daily: 9 } } }", "vnext", Some("n-a"), "its keep of daily: 9"),
        ("tags: { other: { keep: { weekly: 5 } } }", "v2.1.1", Some("v2.1.0"), "its keep of weekly: 5"),
        ("tags: { other: { keep: { monthly: 1 } } }", "v2.1.1", Some("x20"), "its keep of monthly: 1"),
        ("tags: { other: { keep: { yearly: 3 } } }", "x700", Some("x300"), "its keep of yearly: 3"),
        (
            "tags: { other: { keep: { all: { last: 9, within: 20d } } } }",
            "x20",
            Some("x21"),
            "its keep of all: { last: 9, within: 20d }",
        ),
        ("tags: { other: { keep: { last: 1, within: 12d } } }", "v2.1.0", Some("v2.0.0"), "within: 12d"),
        ("tags: { other: { keep: none } }\n    limits: { max_delete: 2 }", "n-b", Some("x300"), "max_delete"),
        ("tags: { other: { keep: none } }\n    limits: { min_keep: 10 }", "vnext", Some("x300"), "min_keep"),
    ] {
        let scene = scene(rules, &tags);
        assert_forged(&scene, kept, reason, rules);
        if let Some(gone) = gone {
            assert!(takes(&scene.plan(), gone), "{rules}: {gone} stays");
        }
    }
}

#[test]
fn the_first_class_and_the_classes_of_a_preset_decide() {
    let tags = [("v1.0.0", 20), ("w_2026_01", 300), ("odd", 300)];
    let rules = "tags: { every: { keep: all }, release: { keep: none } }";
    assert_forged(&scene(rules, &tags), "v1.0.0", "class every: it says keep: all", rules);
    let rules = "tags: { release: { keep: all }, every: { keep: none } }";
    assert_forged(&scene(rules, &tags), "v1.0.0", "class release: it says keep: all", rules);
    let rules = "preset: rubin\n    tags: { unknown: { keep: none } }";
    let scene = scene(rules, &tags);
    assert!(takes(&scene.plan(), "odd"));
    assert_forged(&scene, "w_2026_01", "class weekly: it has no rule for this class", rules);
}

#[test]
fn what_is_young_or_of_an_unknown_age_does_not_go() {
    let old = Some(days_ago(20));
    for (clock, tagged, pushed, reason) in [
        ("tagged", Some(days_ago(0)), old, "within the grace"),
        ("tagged", old, Some(days_ago(0)), "within the grace"),
        ("pushed", Some(days_ago(0)), old, "within the grace"),
        ("tagged", Some(days_ago(-1)), old, "lies in the future"),
        ("tagged", old, Some(days_ago(-1)), "lies in the future"),
        ("tagged", None, old, "nobody knows its time"),
        ("pushed", None, old, "nobody knows when it was written"),
    ] {
        let rules = format!("clock: {clock}\n    tags: {{ other: {{ keep: none }} }}");
        let mut scene = scene(&rules, &[("x", 20), ("y", 20)]);
        times(&mut scene, "x", tagged, pushed);
        assert_forged(&scene, "x", reason, &format!("{clock}, {tagged:?}, {pushed:?}"));
        assert!(takes(&scene.plan(), "y"));
    }
}

#[test]
fn the_clock_of_the_policy_decides() {
    for (clock, kept, gone) in [("tagged", "x", "y"), ("pushed", "y", "x")] {
        let rules = format!("clock: {clock}\n    tags: {{ other: {{ keep: {{ last: 1 }} }} }}");
        let mut scene = scene(&rules, &[("x", 20), ("y", 20)]);
        times(&mut scene, "x", Some(days_ago(10)), Some(days_ago(40)));
        times(&mut scene, "y", Some(days_ago(20)), Some(days_ago(30)));
        assert!(takes(&scene.plan(), gone));
        assert_forged(&scene, kept, "its keep of last: 1", clock);
    }
}

#[test]
fn a_tag_that_leads_nowhere_takes_no_place_from_one_that_does() {
    let rules = "tags: { other: { keep: { last: 1 } } }\n    limits: { max_delete: 1 }";
    let mut scene = scene(rules, &[("s1", 20), ("s2", 30), ("s3", 40), ("d1", 10), ("d2", 11), ("d3", 12)]);
    let lost: Vec<BlobId> =
        ["d1", "d2", "d3"].map(|name| scene.id(&format!("the manifest of {name}"))).to_vec();
    let shop = scene.repository("shop");
    for revision in shop.revisions.iter_mut().filter(|one| lost.contains(&one.digest)) {
        revision.link = Link::Missing;
    }
    let plan = scene.plan();
    assert!(takes(&plan, "s3") && takes(&plan, "d3"));
    for (name, reason) in
        [("s1", "last: 1"), ("d1", "last: 1"), ("s2", "max_delete holds it"), ("d2", "max_delete holds it")]
    {
        assert_forged(&scene, name, reason, name);
    }
}

#[test]
fn a_tag_about_something_has_its_time() {
    let about = |subject: &str| format!("sha256-{}.sig", digest(subject).hex());
    let (waits, waited, x) = (about("gone"), about("long gone"), about("the manifest of x"));
    let rules = "tags: { other: { keep: none }, release: { keep: all } }\n    limits: { max_delete: 1 }";
    let mut scene = scene(rules, &[("v1", 20), ("z", 20), (&waits, 3), (&waited, 8), (&x, 3)]);
    scene.manifest("shop", "the manifest of x", &[], None);
    assert!(takes(&scene.plan(), &waited) && takes(&scene.plan(), "z"));
    assert_forged(&scene, &waits, "not for as long as referrers.orphaned_after", "young");
    times(&mut scene, &waits, None, Some(days_ago(20)));
    assert_forged(&scene, &waits, "nobody knows for how long", "of an unknown age");
    assert_forged(&scene, &x, "which stays", "about a manifest");
    scene.tag("shop", "v2", "the manifest of x");
    let dangling = about("the manifest of v1");
    scene.tag("shop", &dangling, "never there");
    scene.repository("shop").tags.last_mut().unwrap().target = Target::Missing;
    assert_forged(&scene, &dangling, "a tag that stays points to what it is about", "leading nowhere");
}

#[test]
fn a_tag_that_expired_since_the_plan_was_made_does_not_make_it_bad() {
    // The release is older, and expires an hour from now; until then the other one is the oldest that may go.
    let rules = "tags: { release: { keep: { within: 481h } }, other: { keep: none } }\n    \
                 limits: { max_delete: 1 }";
    let mut scene = scene(rules, &[("v1", 20), ("x", 10), ("y", 5)]);
    let plan = scene.plan();
    assert!(takes(&plan, "x") && !takes(&plan, "v1") && !takes(&plan, "y"));
    let check =
        |scene: &Scene, plan: Plan, hours| scene.check_at(plan, now() + SignedDuration::from_hours(hours));
    assert_eq!(check(&scene, plan.clone(), 20), []);
    assert_unsafe(
        &check(&scene, forged(&scene, plan.clone(), "y"), 20),
        "max_delete holds it",
        "a second one",
    );
    assert_unsafe(
        &check(&scene, forged(&scene, plan.clone(), "v1"), 20),
        "max_delete holds it",
        "in its place",
    );
    // What was said of it does not matter when it is not what the store says.
    scene.policy = policy("tags: { other: { keep: all } }");
    let found = check(&scene, plan, 20);
    assert!(found.contains(&Refusal::OtherPolicy), "{found:?}");
    let kept =
        |refusal: &Refusal| matches!(refusal, Refusal::Unsafe { why, .. } if why.contains("keep: all"));
    assert!(found.iter().any(kept), "{found:?}");
}

#[test]
fn a_plan_that_takes_others_than_the_oldest_is_refused() {
    let rules = "tags: { other: { keep: none } }\n    limits: { max_delete: 1 }";
    let scene = scene(rules, &[("x", 20), ("y", 10)]);
    let mut plan = scene.plan();
    assert!(takes(&plan, "x"));
    plan.steps.retain(|one| !matches!(one.action, Action::Untag { .. } | Action::DeleteManifest { .. }));
    assert_unsafe(&scene.check(forged(&scene, plan, "y")), "max_delete holds it", "y for x");
}

#[test]
fn a_tag_that_nobody_lists_is_judged_by_its_name() {
    let scene = scene("tags: { release: { keep: all }, other: { keep: none } }", &[("x", 20), ("v1", 20)]);
    assert_forged(&scene, "v9", "class release: it says keep: all", "kept by name");
    assert_eq!(scene.check(forged(&scene, scene.plan(), "not there")), []);
}

#[test]
fn versions_are_read_as_the_crate_for_them_reads_them() {
    let parts =
        ["", "v", "0", "1", "10", "01", "2", "18446744073709551616", ".", "-", "_", "+", "a", "rc.1", "é"];
    let mut texts: Vec<String> = vec![String::new()];
    for _ in 0..4 {
        let longer = texts.iter().flat_map(|text| parts.iter().map(move |part| format!("{text}{part}")));
        texts = longer.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    }
    let more =
        ["1.2.3-9.a", "1.2.3-10.a", "1.2.3-a.b.c", "1.2.3-A", "1.2.3-01", "1.2.3-0", "1.2.3--", "1.2.3_01"];
    texts.extend(["1.2.3", "v1.2.3", "1.2.3.4", "1.2.3-", "1.2.3-a_b", "1.2.3-a_b_c"].map(str::to_owned));
    texts.extend(more.map(str::to_owned));
    let whole = |tag: &str| {
        let text = tag.strip_prefix('v').unwrap_or(tag).replacen('_', "+", 1);
        let core = text.find(['-', '+']).unwrap_or(text.len());
        let missing = ["", ".0.0", ".0"].get(text[..core].split('.').count()).copied().unwrap_or_default();
        semver::Version::parse(&format!("{}{missing}{}", &text[..core], &text[core..])).ok()
    };
    let mut read = Vec::new();
    for text in &texts {
        let (ours, theirs) = (Version::read(text), whole(text));
        assert_eq!(
            ours.as_ref().map(|version| version.numbers),
            theirs.as_ref().map(|it| [it.major, it.minor, it.patch]),
            "{text}"
        );
        read.extend(ours.zip(theirs));
    }
    assert!(read.len() > 100);
    for (ours, theirs) in &read {
        for (our_other, their_other) in read.iter().step_by(7) {
            assert_eq!(ours.cmp(our_other), theirs.cmp_precedence(their_other), "{theirs} and {their_other}");
        }
    }
}
