//! Manifests without a tag: what a plan file says of them is not believed.

use rustc_hash::FxHashSet;

use super::*;

const RULE: &str = "untagged: { keep: none }";

/// The good scene with older manifests in `app` and with another rule for those without a tag.
fn scene(rule: &str) -> Scene {
    let mut scene = Scene::new();
    scene.policy = Policy::parse(&POLICY.replace(RULE, rule), "policy.yaml").unwrap();
    for (name, days) in [("u20", 20), ("u30", 30), ("its twin", 30)] {
        scene.manifest("app", name, &[], None);
        pushed(&mut scene, name, Some(days_ago(days)));
    }
    scene.manifest("app", "child of u20", &[], None);
    scene.manifest("app", "index of u20", &[("child of u20", Role::Manifest)], None);
    scene.manifest("app", "about u20", &[], Some("u20"));
    scene
}

fn pushed(scene: &mut Scene, manifest: &str, at: Option<Timestamp>) {
    let id = scene.id(manifest);
    let revisions = &mut scene.repository("app").revisions;
    revisions.iter_mut().find(|one| one.digest == id).unwrap().pushed = at;
}

fn step(action: Action, reason: Reason) -> Step {
    Step { action, evidence: Evidence { reason, changed: None, listed: None } }
}

fn takes(plan: &Plan, manifest: &str) -> bool {
    let gone = digest(manifest);
    plan.steps
        .iter()
        .any(|one| matches!(&one.action, Action::DeleteManifest { digest, .. } if *digest == gone))
}

/// The planner keeps it and its own plan passes; one that takes it as well does not, for this reason.
fn assert_forged(scene: &Scene, manifest: &str, reason: &str, what: &str) {
    let plan = scene.plan();
    assert!(!takes(&plan, manifest), "{what}: the planner takes {manifest}");
    assert_eq!(scene.check(plan), [], "{what}");
    assert_unsafe(&scene.with(delete("app", manifest)), reason, what);
}

#[test]
fn what_the_rule_for_untagged_manifests_keeps_does_not_go() {
    let holds = "its rule for untagged manifests holds it";
    for (rule, kept, gone, reason) in [
        ("", "u30", None, "it has no rule for untagged manifests"),
        ("untagged: { keep: all }", "u30", None, "it says untagged: keep: all"),
        // Before u20 come the index of it, the untagged one, and M2 when its tag goes.
        ("untagged: { keep: { last: 4 } }", "u20", Some("u30"), holds),
        ("untagged: { keep: { within: 20d } }", "u20", Some("u30"), holds),
        ("untagged: { keep: { daily: 2 } }", "u20", Some("u30"), holds),
        ("untagged: { keep: { weekly: 2 } }", "u20", Some("u30"), holds),
        ("untagged: { keep: { monthly: 2 } }", "u30", Some("u20"), holds),
        ("untagged: { keep: { yearly: 1 } }", "untagged", Some("u20"), holds),
        ("untagged: { keep: { last: 1, within: 25d } }", "u20", Some("u30"), holds),
        ("untagged: { keep: { all: { last: 6, within: 25d } } }", "u20", Some("u30"), holds),
        (
            "untagged: { keep: none }\n    limits: { max_delete: 2 }",
            "u20",
            Some("u30"),
            "older ones go first",
        ),
    ] {
        let scene = scene(rule);
        assert_forged(&scene, kept, reason, rule);
        if let Some(gone) = gone {
            assert!(takes(&scene.plan(), gone), "{rule}: {gone} stays");
        }
    }
}

#[test]
fn of_two_as_old_as_each_other_no_more_go_than_may() {
    let scene = scene("untagged: { keep: none }\n    limits: { max_delete: 1 }");
    let plan = scene.plan();
    let (one, other) = if takes(&plan, "u30") { ("u30", "its twin") } else { ("its twin", "u30") };
    assert!(takes(&plan, one));
    assert_forged(&scene, other, "more would go than max_delete", "both");
}

#[test]
fn what_is_young_or_of_an_unknown_age_does_not_go() {
    for (at, reason) in [
        (Some(days_ago(0)), "it was pushed within the grace"),
        (Some(days_ago(-1)), "it was pushed in the future"),
        (None, "nobody knows when it was pushed"),
    ] {
        let mut scene = scene(RULE);
        pushed(&mut scene, "untagged", at);
        assert_forged(&scene, "untagged", reason, reason);
    }
}

#[test]
fn what_belongs_to_something_without_a_tag_that_stays_does_not_go() {
    let scene = scene("untagged: { keep: { within: 20d } }");
    for (manifest, reason) in [
        ("about u20", "it is a referrer of"),
        ("child of u20", "stays and needs it"),
        ("sbom", "referrer of"),
    ] {
        assert_forged(&scene, manifest, reason, manifest);
        let along = scene.with_step(step(delete("app", manifest), Reason::Along));
        assert_unsafe(&along, reason, manifest);
    }
    // What it belongs to is forged with it.
    for (head, other) in [("u20", "about u20"), ("index of u20", "child of u20")] {
        let mut plan = scene.plan();
        plan.steps.push(step(delete("app", head), Reason::Policy(expired())));
        plan.steps.push(step(delete("app", other), Reason::Along));
        plan.steps.sort_by_key(|step| step.action.stage());
        assert_unsafe(&scene.check(plan), "its rule for untagged manifests holds it", head);
    }
}

#[test]
fn a_manifest_whose_tag_goes_is_one_without_a_tag() {
    let scene = scene("untagged: { keep: all }");
    assert!(scene.plan().steps.iter().any(|one| matches!(one.action, Action::Untag { .. })));
    assert_forged(&scene, "M2", "it says untagged: keep: all", "by a decision");
    let along = scene.with_step(step(delete("app", "M2"), Reason::Along));
    assert_unsafe(&along, "it says untagged: keep: all", "along with its tag");
}

#[test]
fn a_referrer_without_its_subject_has_its_time() {
    let mut scene = scene(RULE);
    let waits = "its subject is gone, but not for as long";
    for (name, days) in [("waits", 3), ("has waited", 8)] {
        scene.manifest("app", name, &[], Some("never there"));
        pushed(&mut scene, name, Some(days_ago(days)));
    }
    assert!(takes(&scene.plan(), "has waited"));
    assert_forged(&scene, "waits", waits, "a referrer");
    pushed(&mut scene, "waits", None);
    assert_forged(&scene, "waits", "nobody knows for how long", "of an unknown age");
    pushed(&mut scene, "waits", Some(days_ago(10)));

    assert!(takes(&scene.plan(), "waits"));
}

#[test]
fn a_signature_without_its_subject_has_its_time() {
    let mut scene = scene(RULE);
    let follower = |name: &str| format!("sha256-{}.sig", digest(&format!("the subject of {name}")).hex());
    for (name, days) in [("waits", 3), ("has waited", 8)] {
        scene.manifest("app", name, &[], None);
        scene.tag("app", &follower(name), name);
        scene.repository("app").tags.last_mut().unwrap().tagged = Some(days_ago(days));
    }
    let mut plan = scene.plan();
    assert!(takes(&plan, "has waited") && !takes(&plan, "waits"));
    assert_eq!(scene.check(plan.clone()), []);
    let (repository, tag, target) = (name("app"), tag(&follower("waits")), Some(digest("waits")));
    let untag = Action::Untag { repository, tag, target, history: Vec::new() };
    plan.steps.push(step(untag, Reason::Policy(expired())));
    plan.steps.push(step(delete("app", "waits"), Reason::Along));
    plan.steps.sort_by_key(|step| step.action.stage());
    assert_unsafe(&scene.check(plan), "its subject is gone, but not for as long", "with its tag");
}

#[test]
fn whatever_the_planner_keeps_cannot_be_taken() {
    for rule in [
        "",
        RULE,
        "untagged: { keep: all }",
        "untagged: { keep: { last: 2 } }",
        "untagged: { keep: { last: 5 } }",
        "untagged: { keep: { within: 15d } }",
        "untagged: { keep: { daily: 1, yearly: 1 } }",
        "untagged: { keep: { all: { weekly: 3, last: 4 } } }",
        "untagged: { keep: none }\n    limits: { max_delete: 1 }",
        "untagged: { keep: { last: 1 } }\n    limits: { max_delete: 2 }",
    ] {
        let scene = scene(rule);
        let plan = scene.plan();
        assert_eq!(scene.check(plan.clone()), [], "{rule}");
        let app = &scene.inventory.repositories[scene.position("app")];
        let all = app.revisions.iter().map(|one| scene.inventory.blobs.digest(one.digest));
        let names = |one: &Step| match &one.action {
            Action::DeleteManifest { digest, .. } => Some(*digest),
            _ => None,
        };
        let gone: FxHashSet<Digest> = plan.steps.iter().filter_map(names).collect();
        for digest in all.filter(|digest| !gone.contains(digest)) {
            for reason in [Reason::Policy(expired()), Reason::Along] {
                let (repository, signatures) = (name("app"), Vec::new());
                let action = Action::DeleteManifest { repository, digest, histories: Vec::new(), signatures };
                assert_unsafe(&scene.with_step(step(action, reason)), "", rule);
            }
        }
    }
}
