//! Nothing goes that the policy has not decided about.

use rustc_hash::FxHashSet;

use super::{Violation, World};
use crate::inventory::{Link, Target};
use crate::oci::{Digest, RepositoryName};
use crate::plan::{Action, Plan, Reason};

/// Validation: a tag goes by a decision of the policy, and never a protected one.
pub(super) fn allowed_by_policy(plan: &Plan, world: &World<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (step, one) in plan.steps.iter().enumerate() {
        let (Action::Untag { repository, .. } | Action::DeleteManifest { repository, .. }) = &one.action
        else {
            continue;
        };
        let Some(policy) = world.policy else {
            found.push((step, "there is no policy that says so".into()));
            continue;
        };
        if let Reason::Policy(decision) = &one.evidence.reason
            && !decision.is_expired()
        {
            found.push((step, "the decision in it is to keep".into()));
        }
        let name = repository.as_str();
        let Some(rules) = policy.for_repository(name) else {
            found.push((step, format!("no policy matches {repository}")));
            continue;
        };
        if policy.protection().repositories.matches(name) {
            found.push((step, format!("the repository {repository} is protected")));
        }
        if let Action::Untag { tag, .. } = &one.action {
            let lists = [&policy.protection().tags, &rules.protect, &rules.preset_protect];
            if lists.iter().any(|list| list.matches(tag.as_str())) {
                found.push((step, format!("the tag {repository}:{tag} is protected")));
            }
            if !matches!(one.evidence.reason, Reason::Policy(_)) {
                found.push((step, "no decision of the policy is given for it".into()));
            }
        }
    }
    found
}

/// Validation: what goes along goes with something.
pub(super) fn along(plan: &Plan, world: &World<'_>) -> Vec<Violation> {
    let blobs = &world.inventory.blobs;
    let mut company: FxHashSet<(&RepositoryName, Digest)> = FxHashSet::default();
    for one in &plan.steps {
        match &one.action {
            Action::DeleteManifest { repository, digest, .. } => {
                let facts = blobs.find(digest).and_then(|id| world.inventory.facts(id));
                let below = facts.into_iter().flat_map(|facts| &facts.references);
                company.extend(below.map(|edge| (repository, blobs.digest(edge.digest))));
            }
            Action::Untag { repository, target: Some(target), .. } => {
                company.insert((repository, *target));
            }
            _ => {}
        }
    }
    let deleted: FxHashSet<(&RepositoryName, &Digest)> = plan
        .steps
        .iter()
        .filter_map(|one| match &one.action {
            Action::DeleteManifest { repository, digest, .. } => Some((repository, digest)),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for (step, one) in plan.steps.iter().enumerate() {
        let Action::DeleteManifest { repository, digest, .. } = &one.action else { continue };
        let subject =
            blobs.find(digest).and_then(|id| world.inventory.facts(id)).and_then(|facts| facts.subject);
        let subject_goes = subject.is_some_and(|id| deleted.contains(&(repository, &blobs.digest(id))));
        match &one.evidence.reason {
            Reason::Policy(_) => {}
            Reason::Along if subject_goes || company.contains(&(repository, *digest)) => {}
            Reason::Along => {
                found.push((step, format!("{digest} is to go along, and nothing goes that it belongs to")));
            }
            _ => found.push((step, "no decision of the policy is given for it".into())),
        }
    }
    found
}

/// Validation: a tag that names its subject lives as long as the subject.
pub(super) fn followers(plan: &Plan, world: &World<'_>) -> Vec<Violation> {
    let deleted: FxHashSet<(&RepositoryName, &Digest)> = plan
        .steps
        .iter()
        .filter_map(|one| match &one.action {
            Action::DeleteManifest { repository, digest, .. } => Some((repository, digest)),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for (step, one) in plan.steps.iter().enumerate() {
        let Action::Untag { repository, tag, .. } = &one.action else { continue };
        let Some(listed) = world.inventory.repositories.iter().find(|listed| listed.name == *repository)
        else {
            continue;
        };
        // `sha256-<hex>`, alone or with a suffix that begins with a point.
        let Some((algorithm, rest)) = tag.as_str().split_once('-') else { continue };
        let hex = rest.split('.').next().unwrap_or(rest);
        let Ok(subject) = Digest::from_parts(algorithm, hex) else { continue };
        let leads_somewhere =
            listed.tags.iter().any(|one| one.name == *tag && matches!(one.target, Target::Manifest(_)));
        let lives = world.inventory.blobs.find(&subject).is_some_and(|id| {
            listed.revisions.iter().any(|revision| revision.digest == id && revision.link != Link::Missing)
        });
        if leads_somewhere && lives && !deleted.contains(&(repository, &subject)) {
            found.push((step, format!("the tag {repository}:{tag} is about {subject}, which stays")));
        }
    }
    found
}
