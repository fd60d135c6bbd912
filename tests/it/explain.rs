//! `explain` says what a plan does, and what it says of bytes comes true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use regsweep::inventory::Link;
use regsweep::oci::{Digest, RepositoryName, TagName};
use regsweep::pipeline::{Job, Survey};
use regsweep::plan::explain::{Asked, Explained, Outcome, Subject};
use regsweep::plan::{Action, Mode, Plan};
use regsweep::store::ReadStore;

use crate::properties::{LATER_DAYS, cases, damage, generate, recipe, rules};
use crate::support::{cycle, days_later, job, look, policy, revision_key, tag_directory};
use crate::synth::scratch;

/// Everything in a store that can be asked about.
fn subjects(survey: &Survey) -> Vec<Subject> {
    let inventory = &survey.inventory;
    let mut found = Vec::new();
    for repository in &inventory.repositories {
        let name = || repository.name.clone();
        found.push(Subject::Repository { repository: name() });
        found.extend(
            repository.tags.iter().map(|tag| Subject::Tag { repository: name(), tag: tag.name.clone() }),
        );
        let linked = repository.revisions.iter().filter(|revision| revision.link != Link::Missing);
        found.extend(linked.map(|revision| Subject::Manifest {
            repository: name(),
            digest: inventory.blobs.digest(revision.digest),
        }));
    }
    found.extend(inventory.blobs.ids().map(|id| Subject::Blob { digest: inventory.blobs.digest(id) }));
    found
}

fn asked(subject: &Subject) -> Asked {
    let image = match subject {
        Subject::Blob { digest } => return Asked::Digest(*digest),
        Subject::Repository { repository } => repository.to_string(),
        Subject::Tag { repository, tag } => format!("{repository}:{tag}"),
        Subject::Manifest { repository, digest } => format!("{repository}@{digest}"),
    };
    Asked::Image(image.parse().unwrap())
}

fn explain(survey: &Survey, store: &ReadStore, job: &Job<'_>, subject: &Subject) -> Explained {
    let explained = survey.explain(store, job, &asked(subject)).unwrap();
    assert_eq!(explained.subject, *subject);
    explained
}

/// What a plan takes, as what can be asked about.
fn taken(plan: &Plan) -> BTreeSet<String> {
    let taken = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Untag { repository, tag, .. } => {
            Some(Subject::Tag { repository: repository.clone(), tag: tag.clone() })
        }
        Action::DeleteManifest { repository, digest, .. } => {
            Some(Subject::Manifest { repository: repository.clone(), digest: *digest })
        }
        Action::Sweep { digest, .. } => Some(Subject::Blob { digest: *digest }),
        _ => None,
    });
    taken.map(|subject| format!("{subject:?}")).collect()
}

/// Every answer against the plan of the same look.
fn agrees(root: &Path, job: &Job<'_>, clock: &regsweep::clock::Manual) {
    let (store, survey, plan) = look(root, job, clock);
    // Such a plan takes nothing: what goes is decided when it is carried out.
    if plan.mends {
        return;
    }
    let taken = taken(&plan);
    let condemned: BTreeMap<Digest, _> = plan.condemned.iter().map(|one| (one.digest, one.until)).collect();
    let tags_of = |repository: &RepositoryName| {
        let prefix = format!(
            "{:?}",
            Subject::Tag { repository: repository.clone(), tag: TagName::found("x").unwrap() }
        );
        let prefix = prefix.split(", tag:").next().unwrap().to_owned();
        taken.iter().any(|one| one.starts_with(&prefix))
    };
    for subject in subjects(&survey) {
        let explained = explain(&survey, &store, job, &subject);
        let said = format!("{explained:#?}");
        let goes = explained.outcome == Outcome::Goes;
        match &subject {
            Subject::Repository { repository } => assert_eq!(goes, tags_of(repository), "{said}"),
            _ => assert_eq!(goes, taken.contains(&format!("{subject:?}")), "{said}"),
        }
        assert!(!explained.why.is_empty() && !explained.deletable.when.is_empty(), "{said}");
        if let Subject::Blob { digest } = &subject {
            let until = condemned.get(digest);
            let in_grace = explained.outcome == Outcome::Waits && until.is_none();
            assert!(!in_grace || !explained.pins.is_empty(), "{said}");
            if let Some(until) = until {
                assert_eq!(
                    (explained.outcome, explained.deletable.earliest),
                    (Outcome::Waits, Some(*until)),
                    "{said}"
                );
            }
        }
        if explained.outcome == Outcome::Stays && !matches!(subject, Subject::Repository { .. }) {
            assert!(!explained.pins.is_empty(), "{said}");
        }
    }
}

/// Bytes that nothing needs, whatever any policy says.
fn unneeded(root: &Path) -> u64 {
    let (_, survey, _) = look(root, &job(None, Mode::Offline), &days_later(LATER_DAYS));
    let blobs = &survey.inventory.blobs;
    blobs.present().filter(|id| !survey.marks.live.contains(*id)).map(|id| blobs.size(id).unwrap()).sum()
}

/// Removes by hand, from a copy, what an answer says goes along, and says how many bytes nothing needs any more.
fn by_hand(root: &Path, repository: &RepositoryName, explained: &Explained) -> u64 {
    let copy = scratch();
    let copied = Command::new("cp").arg("-a").arg(root.join(".")).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let alone = explained.alone.as_ref().unwrap();
    let tags = alone.tags.iter().map(|tag| tag_directory(repository.as_str(), tag.as_str()));
    let manifests = alone.manifests.iter().map(|digest| {
        revision_key(repository.as_str(), &digest.to_string()).strip_suffix("/link").unwrap().to_owned()
    });
    for directory in tags.chain(manifests) {
        #[expect(clippy::disallowed_methods, reason = "the test plays a registry's own delete")]
        std::fs::remove_dir_all(copy.path().join(directory)).unwrap();
    }
    unneeded(copy.path())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_answer_is_what_the_plan_does(recipe in recipe(), damage in prop::collection::vec(damage(), 0..3), rules in rules()) {
        let (root, _) = generate(&recipe, &damage);
        let policy = rules.policy();
        let clock = days_later(LATER_DAYS);
        for policy in [Some(&policy), None] {
            agrees(root.path(), &job(policy, Mode::Offline), &clock);
            agrees(root.path(), &job(policy, Mode::Online), &clock);
            // Half of it in grace.
            agrees(root.path(), &job(policy, Mode::Online), &days_later(0));
        }
        // With what a run has condemned, before and after its time.
        let online = job(Some(&policy), Mode::Online);
        let run = cycle(root.path(), &online, &clock);
        prop_assert!(run.result.is_ok() || !damage.is_empty() || policy.grace().is_zero());
        agrees(root.path(), &online, &clock);
        clock.advance(std::time::Duration::from_secs(3 * 24 * 3600));
        agrees(root.path(), &online, &clock);
    }

    #[test]
    fn what_is_freed_alone_is_what_a_removal_by_hand_frees(recipe in recipe()) {
        let (root, _) = generate(&recipe, &[]);
        let before = unneeded(root.path());
        let nothing = job(None, Mode::Offline);
        let (store, survey, _) = look(root.path(), &nothing, &days_later(LATER_DAYS));
        let (mut tags, mut manifests) = (0, 0);
        for subject in subjects(&survey) {
            let repository = match &subject {
                Subject::Tag { repository, .. } if tags < 6 => {
                    tags += 1;
                    repository
                }
                Subject::Manifest { repository, .. } if manifests < 6 => {
                    manifests += 1;
                    repository
                }
                _ => continue,
            };
            let explained = explain(&survey, &store, &nothing, &subject);
            let freed = by_hand(root.path(), repository, &explained) - before;
            prop_assert_eq!(explained.alone.as_ref().unwrap().bytes, freed, "{:#?}", explained);
        }
    }

    #[test]
    fn a_policy_that_takes_one_tag_takes_what_goes_along(recipe in recipe()) {
        let (root, _) = generate(&recipe, &[]);
        let nothing = job(None, Mode::Offline);
        let clock = days_later(LATER_DAYS);
        let (store, survey, _) = look(root.path(), &nothing, &clock);
        let own = |subject: &&Subject| matches!(subject, Subject::Tag { tag, .. } if !tag.as_str().starts_with("sha256-"));
        for subject in subjects(&survey).iter().filter(own).take(6) {
            let Subject::Tag { repository, tag } = subject else { unreachable!() };
            let alone = explain(&survey, &store, &nothing, subject).alone.unwrap();
            let only = policy(&format!(
                "version: 1
grace: 0
classes:
  one: {{ match: [\"{tag}\"] }}
policies:
  - name: one
    repositories: [\"{repository}\"]
    tags:
      one: {{ keep: none }}
      other: {{ keep: all }}
    untagged: {{ keep: none }}
"
            ));
            let (_, _, plan) = look(root.path(), &job(Some(&only), Mode::Offline), &clock);
            let taken = taken(&plan);
            for tag in &alone.tags {
                let subject = Subject::Tag { repository: repository.clone(), tag: tag.clone() };
                prop_assert!(taken.contains(&format!("{subject:?}")), "{subject:?} in {alone:#?}");
            }
            for digest in &alone.manifests {
                let subject = Subject::Manifest { repository: repository.clone(), digest: *digest };
                prop_assert!(taken.contains(&format!("{subject:?}")), "{subject:?} in {alone:#?}");
            }
        }
    }
}
