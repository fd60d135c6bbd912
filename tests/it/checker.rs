//! The independent judge, rule by rule: a good plan, one thing in it or around it made wrong, and exactly that refusal.

use std::collections::{BTreeSet, HashSet};

use jiff::SignedDuration;
use regsweep::graph::Pins;
use regsweep::inventory::{Tag, Target};
use regsweep::oci::{Digest, RepositoryName, TagName};
use regsweep::pipeline::{Job, Survey};
use regsweep::plan::{
    Action, Counts, Evidence, Mode, Plan, Reason, RecordMode, Refusal, Step, Taken, World, check_plan,
};
use regsweep::policy::Policy;
use regsweep::store::Identity;
use regsweep::synth::{Builder, ImageSpec, Recipe, TagNames, sha256_digest};
use rustc_hash::FxHashMap;

use crate::support::{Files, days_later, job, look, policy, present, tag_directory};

const POLICY: &str = "version: 1
grace: 1d
trash: { keep: 7d }
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
protect: { tags: [\"prod\"] }
policies:
  - name: all
    repositories: [\"**\"]
    tags: { other: { keep: { last: 2 } } }
    untagged: { keep: none }
";

/// A store of two repositories, of which the policy keeps a part.
fn store() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let mut builder = Builder::new(root.path(), present()).unwrap();
    for repository in ["shop/web", "shop/api"] {
        for tag in ["v1", "v2", "v3", "v4"] {
            let layer = builder.blob(format!("{repository} {tag}").as_bytes()).unwrap();
            let image = builder
                .image(repository, &ImageSpec::new(format!("{repository}:{tag}"), vec![layer]))
                .unwrap();
            builder.tag(repository, tag, &image).unwrap();
        }
    }
    builder.blob(b"nobody's").unwrap();
    root
}

/// What the checker says when `change` has had its way with the plan and the world.
fn refusals(change: impl FnOnce(&mut Plan, &mut World<'_>)) -> Vec<Refusal> {
    let root = store();
    let policy: Policy = policy(POLICY);
    let job: Job<'_> = job(Some(&policy), Mode::Offline);
    let (store, survey, mut plan) = look(root.path(), &job, &days_later(40));
    assert!(plan.tags_gone() == 4 && !plan.steps.is_empty(), "{plan:#?}");
    let (condemned, taken) = (FxHashMap::default(), Taken::default());
    let mut world = World {
        inventory: &survey.inventory,
        store: store.identity(),
        policy: Some(&policy),
        limits: &job.limits,
        pins: &[],
        condemned: &condemned,
        taken: &taken,
        purge_ban: None,
        mode: Mode::Offline,
        records: RecordMode::default(),
        last: None,
        references: &survey.references,
        pulls: &survey.pulls,
        ended: &survey.memory.ended,
        now: survey.now,
    };
    assert!(check_plan(plan.clone(), &world).is_ok());
    change(&mut plan, &mut world);
    check_plan(plan, &world).map_or_else(|refused| refused.refusals, |_| Vec::new())
}

fn unsafe_because(refusals: &[Refusal], what: &str) {
    let said = |refusal: &Refusal| matches!(refusal, Refusal::Unsafe { why, .. } if why.contains(what));
    assert!(refusals.iter().any(said), "{what}: {refusals:?}");
}

#[test]
fn a_plan_for_another_store_another_policy_or_another_day() {
    let other = Identity { url: "file:///elsewhere".into(), fingerprint: "inode 1".into() };
    let found = refusals(|plan, _| plan.header.store = other);
    assert!(matches!(found[..], [Refusal::OtherStore { .. }]), "{found:?}");
    let found = refusals(|plan, _| plan.header.policy_hash = Some("0".repeat(64)));
    assert!(matches!(found[..], [Refusal::OtherPolicy]), "{found:?}");
    let found = refusals(|_, world| world.now += SignedDuration::from_hours(25));
    assert!(matches!(found[..], [Refusal::Stale { .. }]), "{found:?}");
}

#[test]
fn a_plan_beyond_a_limit() {
    let strict = || {
        let tight = POLICY.replace("tags: 100%, bytes: 100%", "tags: 10%, bytes: 1%");
        regsweep::plan::limits::Limits::of(&policy(&tight))
    };
    let limits = strict();
    let limits: &'static _ = Box::leak(Box::new(limits));
    let found = refusals(|_, world| world.limits = limits);
    let what: Vec<&str> = found
        .iter()
        .filter_map(|refusal| match refusal {
            Refusal::TooMuch { what, .. } => Some(*what),
            _ => None,
        })
        .collect();
    assert_eq!(what, ["tags", "bytes"], "{found:?}");
}

#[test]
fn a_plan_that_empties_a_repository_or_all_of_them() {
    let text = POLICY
        .replace("keep: { last: 2 }", "keep: none")
        .replace("repository_may_empty: true", "repository_may_empty: false");
    let root = store();
    let policy = policy(&text);
    let job = job(Some(&policy), Mode::Offline);
    let (store, survey, plan) = look(root.path(), &job, &days_later(40));
    let found = survey.check(plan, &store, &job).unwrap_err().refusals;
    assert!(found.iter().any(|refusal| matches!(refusal, Refusal::Empties { tags: 4, .. })), "{found:?}");
    assert!(found.iter().any(|refusal| matches!(refusal, Refusal::NothingLeft { before: 8 })), "{found:?}");
}

#[test]
fn a_listing_that_stops_short() {
    let last = Counts { repositories: 2, tags: 8, manifests: 500, ..Counts::default() };
    let last: &'static Counts = Box::leak(Box::new(last));
    let found = refusals(|_, world| world.last = Some(last));
    assert!(matches!(found[..], [Refusal::Shrunk { what: "manifests", now: 8, before: 500 }]), "{found:?}");
}

#[test]
fn a_sweep_beside_a_registry_that_serves() {
    let found = refusals(|_, world| world.mode = Mode::Online);
    assert_eq!(found.iter().filter(|refusal| matches!(refusal, Refusal::Mode(_))).count(), 1, "{found:?}");
    unsafe_because(&found, "no earlier run saw it unreferenced");
}

#[test]
fn references_after_what_they_refer_to() {
    unsafe_because(&refusals(|plan, _| plan.steps.reverse()), "must come before");
}

#[test]
fn a_protected_tag_and_a_tag_without_a_decision() {
    let found = refusals(|plan, _| {
        for step in &mut plan.steps {
            if let Action::Untag { tag, .. } = &mut step.action {
                *tag = TagName::found("prod").unwrap();
            }
        }
    });
    unsafe_because(&found, "is protected");
    let found = refusals(|plan, _| {
        for step in &mut plan.steps {
            step.evidence.reason = Reason::Along;
        }
    });
    unsafe_because(&found, "no decision");
}

#[test]
fn a_manifest_whose_tag_stays() {
    let found = refusals(|plan, _| plan.steps.retain(|step| !matches!(step.action, Action::Untag { .. })));
    unsafe_because(&found, "points to it");
}

#[test]
fn a_manifest_that_the_rule_for_untagged_ones_keeps() {
    let policy = policy(&POLICY.replace("untagged: { keep: none }", "untagged: { keep: all }"));
    let job = job(Some(&policy), Mode::Offline);
    let root = store();
    let (store, survey, plan) = look(root.path(), &job, &days_later(40));
    assert!(survey.check(plan.clone(), &store, &job).is_ok());
    assert_eq!(plan.tags_gone(), 4);
    let untagged = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Untag { repository, target: Some(digest), .. } => {
            Some((repository.clone(), *digest, step.evidence.clone()))
        }
        _ => None,
    });
    for (repository, digest, decided) in untagged {
        for reason in [decided.reason, Reason::Along] {
            let action = Action::DeleteManifest {
                repository: repository.clone(),
                digest,
                histories: vec![],
                signatures: vec![],
            };
            let mut forged = plan.clone();
            forged
                .steps
                .push(Step { action, evidence: Evidence { reason, changed: decided.changed, listed: None } });
            forged.steps.sort_by_key(|step| step.action.stage());
            // As it comes from a file.
            let forged = Plan::read(&serde_json::to_string(&forged).unwrap()).unwrap();
            let found = survey.check(forged, &store, &job).unwrap_err().refusals;
            unsafe_because(&found, "the policy keeps the manifest");
        }
    }
}

/// Planner and checker read the rule for untagged manifests each by itself, and agree.
#[test]
fn what_the_planner_takes_passes_and_no_manifest_that_it_keeps_can_be_added() {
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
    for seed in 1..=4 {
        let recipe = Recipe {
            seed,
            repositories: 4,
            tags: 6,
            history: 3,
            multiarch: 0.4,
            nested: 0.3,
            referrers: 0.4,
            stale_referrers: 0.4,
            fallback: 0.4,
            cosign: 0.4,
            promoted: 0.3,
            sha512: 2,
            opaque: 2,
            age: days(2),
            spread: days(100),
            young: 0.1,
            ..Recipe::default()
        };
        let root = tempfile::tempdir().unwrap();
        recipe.generate(root.path(), present()).unwrap();
        for rule in [
            "keep: none }",
            "keep: { last: 3 } }",
            "keep: { weekly: 2, monthly: 1 } }",
            "keep: { daily: 5, within: 60d } }",
            "keep: { all: { last: 6, within: 90d } } }",
            "keep: { last: 1 } }\n    limits: { max_delete: 3 }",
        ] {
            let policy = policy(&POLICY.replace("keep: none }", rule));
            let job = job(Some(&policy), Mode::Offline);
            let (store, survey, plan) = look(root.path(), &job, &days_later(40));
            let verdict = survey.check(plan.clone(), &store, &job);
            assert!(verdict.is_ok(), "seed {seed}, {rule}: {:?}", verdict.unwrap_err().refusals);
            let gone: Vec<_> = plan
                .steps
                .iter()
                .filter_map(|step| match &step.action {
                    Action::DeleteManifest { repository, digest, .. } => Some((repository.clone(), *digest)),
                    _ => None,
                })
                .collect();
            assert!(!gone.is_empty(), "seed {seed}, {rule}: nothing goes");
            let inventory = &survey.inventory;
            let all = inventory.repositories.iter().flat_map(|repository| {
                let digest = |id| (repository.name.clone(), inventory.blobs.digest(id));
                repository.revisions.iter().map(move |one| digest(one.digest))
            });
            for (repository, digest) in all.filter(|one| !gone.contains(one)).step_by(11) {
                let what = format!("seed {seed}, {rule}: {repository}@{digest}");
                let (histories, signatures) = (vec![], vec![]);
                let action = Action::DeleteManifest { repository, digest, histories, signatures };
                let mut forged = plan.clone();
                let by_policy = |step: &&Step| matches!(step.evidence.reason, Reason::Policy(_));
                let evidence = plan.steps.iter().find(by_policy).unwrap().evidence.clone();
                forged.steps.push(Step { action, evidence });
                forged.steps.sort_by_key(|step| step.action.stage());
                assert!(survey.check(forged, &store, &job).is_err(), "{what} was let through");
            }
        }
    }
}

/// A tag rule of every kind, for classes that are ordered in every way.
const TAG_RULES: [&str; 13] = [
    "tags: { other: { keep: none } }",
    "tags: { release: { keep: all }, other: { keep: none } }",
    "tags: { release: { keep: { last: 1 } }, nightly: { keep: { last: 2 } }, other: { keep: { last: 3 } } }",
    "tags: { release: { keep: { last: { majors: 1, minors: 2 } } }, other: { keep: { within: 100d } } }",
    "tags: { release: { keep: { last: { minors: 1, patches: 1 } } }, pr: { keep: none } }",
    "clock: pushed\n    tags: { release: { keep: { within: 80d } }, other: { keep: { last: 2, within: 60d } } }",
    "tags: { other: { keep: { daily: 3, weekly: 2 } } }",
    "clock: pushed\n    tags: { release: { keep: { monthly: 2 } }, other: { keep: { yearly: 1 } } }",
    "tags: { other: { keep: { all: { last: 6, within: 90d } } } }",
    "tags: { other: { keep: none } }\n    limits: { max_delete: 2 }",
    "tags: { pr: { keep: { last: 1 } }, other: { keep: { last: 2 } } }\n    limits: { min_keep: 6, max_delete: 3 }",
    "preset: semver\n    tags: { release: { keep: { last: 1 } }, other: { keep: { weekly: 1 } } }",
    "protect: { tags: [\"nightly-*\"] }\n    tags: { nightly: { keep: none }, other: { keep: { last: 2 } } }",
];

/// Adds tags of several ages to each repository that lead to nothing.
fn leave_tags_dangling(root: &std::path::Path) {
    let repositories: BTreeSet<String> = Files::of(root).tags().into_iter().map(|(name, _)| name).collect();
    for (weeks, tag) in (0..).zip(["v0.1.0", "v7.0.0", "pr-7", "nightly-2026-01-01", "lost"]) {
        for name in &repositories {
            let current = root.join(tag_directory(name, tag)).join("current");
            std::fs::create_dir_all(&current).unwrap();
            let link = current.join("link");
            std::fs::write(&link, sha256_digest(tag.as_bytes())).unwrap();
            let written = present() - std::time::Duration::from_secs(weeks * 7 * 86_400);
            std::fs::File::options().append(true).open(link).unwrap().set_modified(written).unwrap();
        }
    }
}

/// Planner and checker read the rules for tags each by itself, and agree, when the plan is made and a day later.
#[test]
fn what_the_planner_takes_passes_and_no_tag_that_it_keeps_can_be_added() {
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
    for seed in 1..=4 {
        let recipe = Recipe {
            seed,
            repositories: 4,
            tags: 14,
            tag_names: if seed % 2 == 0 { TagNames::Mixed } else { TagNames::Versions },
            history: 1,
            multiarch: 0.3,
            referrers: 0.3,
            fallback: 0.4,
            cosign: 0.4,
            promoted: 0.3,
            age: days(2),
            spread: days(100),
            young: 0.1,
            ..Recipe::default()
        };
        let root = tempfile::tempdir().unwrap();
        recipe.generate(root.path(), present()).unwrap();
        leave_tags_dangling(root.path());
        for rules in TAG_RULES {
            let classes = "classes:\n  release: { match: [\"v*\"], order_by: semver }\n  \
                           nightly: { match: [\"nightly-*\"], order_by: name }\n  pr: { match: [\"pr-*\"] }\npolicies:";
            let text = POLICY.replace("tags: { other: { keep: { last: 2 } } }", rules);
            let policy = policy(&text.replace("policies:", classes));
            let job = job(Some(&policy), Mode::Offline);
            let (store, survey, plan) = look(root.path(), &job, &days_later(40));
            let what = format!("seed {seed}, {rules}");
            let verdict = survey.check(plan.clone(), &store, &job);
            assert!(verdict.is_ok(), "{what}: {:?}", verdict.unwrap_err().refusals);
            assert!(plan.tags_gone() > 0, "{what}: nothing goes");
            let mut later = look(root.path(), &job, &days_later(41)).1;
            later.now -= SignedDuration::from_mins(5);
            let verdict = later.check(plan.clone(), &store, &job);
            assert!(verdict.is_ok(), "{what}, a day later: {:?}", verdict.unwrap_err().refusals);
            for (repository, tag, target) in kept_tags(&survey, &plan) {
                let name = format!("{repository}:{tag}");
                let action = Action::Untag { repository, tag, target, history: vec![] };
                let mut forged = plan.clone();
                let by_policy = |step: &&Step| matches!(step.evidence.reason, Reason::Policy(_));
                let evidence = plan.steps.iter().find(by_policy).unwrap().evidence.clone();
                forged.steps.push(Step { action, evidence });
                forged.steps.sort_by_key(|step| step.action.stage());
                assert!(survey.check(forged, &store, &job).is_err(), "{what}: {name} was let through");
            }
        }
    }
}

/// The tags that a plan does not take, with what they point to; every fifth of them.
fn kept_tags(survey: &Survey, plan: &Plan) -> Vec<(RepositoryName, TagName, Option<Digest>)> {
    let inventory = &survey.inventory;
    let gone: HashSet<(&RepositoryName, &TagName)> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Untag { repository, tag, .. } => Some((repository, tag)),
            _ => None,
        })
        .collect();
    let all = inventory.repositories.iter().flat_map(|one| one.tags.iter().map(move |tag| (&one.name, tag)));
    let kept = all.filter(|(repository, tag)| !gone.contains(&(*repository, &tag.name)));
    let target = |tag: &Tag| match tag.target {
        Target::Manifest(id) => Some(inventory.blobs.digest(id)),
        Target::Missing | Target::Corrupt(_) => None,
    };
    kept.step_by(5).map(|(repository, tag)| (repository.clone(), tag.name.clone(), target(tag))).collect()
}

#[test]
fn a_tag_that_its_class_keeps() {
    let policy = policy(&POLICY.replace("{ other: { keep: { last: 2 } } }", "{ other: { keep: all } }"));
    let job = job(Some(&policy), Mode::Offline);
    let root = store();
    let (store, survey, mut plan) = look(root.path(), &job, &days_later(40));
    assert!(plan.tags_gone() == 0 && survey.check(plan.clone(), &store, &job).is_ok());
    let decided =
        look(root.path(), &self::job(Some(&self::policy(POLICY)), Mode::Offline), &days_later(40)).2;
    let untag = decided.steps.into_iter().find(|step| matches!(step.action, Action::Untag { .. })).unwrap();
    plan.steps.insert(0, untag);
    let forged = Plan::read(&serde_json::to_string(&plan).unwrap()).unwrap();
    let found = survey.check(forged, &store, &job).unwrap_err().refusals;
    unsafe_because(&found, "policy all, class other: it says keep: all");
}

#[test]
fn a_layer_whose_manifest_stays() {
    let found = refusals(|plan, _| {
        plan.steps.retain(|step| matches!(step.action, Action::Unlink { .. } | Action::Sweep { .. }));
    });
    unsafe_because(&found, "stays and needs it");
}

#[test]
fn what_is_younger_than_the_grace() {
    let found = refusals(|_, world| world.now -= SignedDuration::from_hours(24 * 40 - 1));
    unsafe_because(&found, "within the grace");
}

#[test]
fn what_a_restore_brought_back() {
    let name = RepositoryName::found("shop/web").unwrap();
    let found = refusals(|_, world| {
        let until = world.now + SignedDuration::from_hours(1);
        let pins = Pins {
            until,
            tags: vec![(name, TagName::found("v1").unwrap())],
            revisions: vec![],
            blobs: vec![],
        };
        world.pins = Box::leak(Box::new([pins]));
    });
    unsafe_because(&found, "a restore brought it back");
}

#[test]
fn a_repository_that_is_not_empty() {
    let found = refusals(|plan, _| {
        let action = Action::RemoveRepository { repository: RepositoryName::found("shop/web").unwrap() };
        plan.steps
            .push(Step { action, evidence: Evidence { reason: Reason::Empty, changed: None, listed: None } });
    });
    unsafe_because(&found, "is not empty");
}

#[test]
fn what_is_not_there_any_more() {
    let found = refusals(|plan, _| {
        let repository = RepositoryName::found("gone").unwrap();
        let action =
            Action::Untag { repository, tag: TagName::found("v1").unwrap(), target: None, history: vec![] };
        plan.steps.insert(
            0,
            Step { action, evidence: Evidence { reason: Reason::Empty, changed: None, listed: None } },
        );
    });
    unsafe_because(&found, "not in the store as it is now");
}

#[test]
fn the_store_of_a_pull_through_cache() {
    let root = store();
    std::fs::write(root.path().join("scheduler-state.json"), b"{}").unwrap();
    let policy = policy(POLICY);
    let mut job = job(Some(&policy), Mode::Offline);
    let (store, survey, plan) = look(root.path(), &job, &days_later(40));
    let found = survey.check(plan.clone(), &store, &job).unwrap_err().refusals;
    assert!(matches!(found[..], [Refusal::PullThroughCache]), "{found:?}");
    job.limits.pull_through_cache = true;
    assert!(survey.check(plan, &store, &job).is_ok());
}

/// A tag that was pushed under a name such as cosign's, in a store that has only what is given.
fn plan_of(text: &str, build: impl FnOnce(&mut Builder)) -> (Plan, Vec<Refusal>) {
    let root = tempfile::tempdir().unwrap();
    build(&mut Builder::new(root.path(), present()).unwrap());
    let policy: Policy = policy(text);
    let job: Job<'_> = job(Some(&policy), Mode::Offline);
    let (store, survey, plan) = look(root.path(), &job, &days_later(5));
    let refusals = survey.check(plan.clone(), &store, &job).err().map(|refused| refused.refusals);
    (plan, refusals.unwrap_or_default())
}

#[test]
fn a_signature_of_a_signature_that_is_kept_as_an_orphan_stays_with_it() {
    let name = |hex: &str| format!("sha256-{hex}.sig");
    let (plan, refusals) = plan_of(POLICY, |builder| {
        let first = builder.image("app", &ImageSpec::new("first", vec![])).unwrap();
        let second = builder.image("app", &ImageSpec::new("second", vec![])).unwrap();
        // Its subject is gone, and its time is not over; its name comes after that of the one that is about it.
        builder.tag("app", &name(&"f".repeat(64)), &first).unwrap();
        builder.tag("app", &name(&first["sha256:".len()..]), &second).unwrap();
    });
    assert!(refusals.is_empty(), "{refusals:#?}");
    assert_eq!(plan.tags_gone(), 0, "{:#?}", plan.steps);
}

#[test]
fn a_digest_with_an_unknown_ending_is_a_tag_as_others_are() {
    let text = POLICY.replace("{ keep: { last: 2 } }", "{ keep: { last: 1 } }");
    let (plan, refusals) = plan_of(&text, |builder| {
        let image = builder.image("app", &ImageSpec::new("image", vec![])).unwrap();
        let other = builder.image("app", &ImageSpec::new("other", vec![])).unwrap();
        builder.at(std::time::Duration::from_secs(3600));
        builder.tag("app", &format!("sha256-{}.unknown", &image["sha256:".len()..]), &other).unwrap();
        builder.at(std::time::Duration::ZERO);
        builder.tag("app", "v1", &image).unwrap();
    });
    assert!(refusals.is_empty(), "{refusals:#?}");
    assert_eq!(plan.tags_gone(), 1, "{:#?}", plan.steps);
}
