//! Nothing goes that the policy has not decided about.

use rustc_hash::{FxHashMap, FxHashSet};

use super::tagged::follows;
use super::{After, Violation, World};
use crate::inventory::{BlobId, Link, Target};
use crate::oci::{Digest, RepositoryName, TagName};
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
pub(super) fn along(plan: &Plan, after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
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
    let mut found = Vec::new();
    for (step, one) in plan.steps.iter().enumerate() {
        let Action::DeleteManifest { repository, digest, .. } = &one.action else { continue };
        let subject =
            blobs.find(digest).and_then(|id| world.inventory.facts(id)).and_then(|facts| facts.subject);
        let place = after.by_name.get(repository).copied().zip(subject);
        let subject_goes = place.is_some_and(|place| after.manifests.contains_key(&place));
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
pub(super) fn followers(plan: &Plan, after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
    // By repository, so that what each one holds is gathered once and not for every tag.
    let mut going: FxHashMap<usize, Vec<(usize, &TagName, Digest)>> = FxHashMap::default();
    for (step, one) in plan.steps.iter().enumerate() {
        if let Action::Untag { repository, tag, .. } = &one.action
            && let Some(index) = after.by_name.get(repository)
            && let Some(subject) = named_subject(tag)
        {
            going.entry(*index).or_default().push((step, tag, subject));
        }
    }
    let mut found = Vec::new();
    for (index, tags) in going {
        let listed = &world.inventory.repositories[index];
        let leads_somewhere: FxHashSet<&TagName> = listed
            .tags
            .iter()
            .filter(|tag| matches!(tag.target, Target::Manifest(_)))
            .map(|tag| &tag.name)
            .collect();
        let stays: FxHashSet<BlobId> = listed
            .revisions
            .iter()
            .filter(|revision| revision.link != Link::Missing)
            .map(|revision| revision.digest)
            .filter(|id| !after.manifests.contains_key(&(index, *id)))
            .collect();
        for (step, tag, subject) in tags {
            if leads_somewhere.contains(tag)
                && world.inventory.blobs.find(&subject).is_some_and(|id| stays.contains(&id))
            {
                found.push((step, format!("the tag {}:{tag} is about {subject}, which stays", listed.name)));
            }
        }
    }
    found
}

/// What a tag is about, when it says so.
fn named_subject(tag: &TagName) -> Option<Digest> {
    let (algorithm, hex) = follows(tag)?;
    Digest::from_parts(algorithm, hex).ok()
}
