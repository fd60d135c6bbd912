//! What a repository manager may be asked to delete.

use rustc_hash::FxHashSet;

use super::{After, Refusal, Violation, World};
use crate::evidence::managed::{COLLECT, Listed, Managed};
use crate::inventory::{BlobId, Body};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{Action, Mode, Plan, Step};

fn managed<'w>(world: &World<'w>) -> Option<&'w Managed> {
    world.inventory.assets.as_ref()?.managed.as_ref()
}

/// Validation: what does not come back goes only when somebody says so, from a manager that can answer, and not too much.
pub(super) fn allowed(plan: &Plan, world: &World<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if managed(world).is_none() || !plan.is_managed() {
        return refusals;
    }
    if !world.limits.no_undo {
        refusals.push(Refusal::NoUndo);
    }
    if world.mode == Mode::Offline {
        refusals.push(Refusal::Mode(
            "a repository manager that is stopped or read-only deletes nothing: leave out --offline".into(),
        ));
    }
    let blobs = &world.inventory.blobs;
    let all: u64 = blobs.present().filter_map(|id| blobs.size(id)).sum();
    if world.limits.bytes.is_exceeded_by(plan.freed.bytes, all) {
        let percent = (u128::from(plan.freed.bytes) * 100).div_ceil(u128::from(all.max(1)));
        refusals.push(Refusal::TooMuch {
            what: "bytes",
            gone: plan.freed.bytes.to_string(),
            all: all.to_string(),
            limit: world.limits.bytes.to_string(),
            accept: format!("bytes={percent}%"),
        });
    }
    refusals
}

/// Validation: what is asked for is what is listed now, no file goes beside it, and a task that is started takes nothing
/// that stays.
pub(super) fn listed(plan: &Plan, after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
    let Some(managed) = managed(world) else {
        let asked = plan.steps.iter().enumerate().filter(|(_, step)| step.is_managed());
        return asked
            .map(|(index, _)| (index, "no repository manager is to do it in this run".into()))
            .collect();
    };
    let mut found = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let why = match &step.action {
            Action::Untag { repository, tag, target, .. } => of_tag(managed, step, repository, tag, *target),
            Action::DeleteManifest { repository, digest, .. } => {
                let now = managed.manifests.get(repository.as_str()).and_then(|all| all.get(digest));
                let other = now.is_some_and(|now| now.assets.iter().any(|asset| asset.digest != *digest));
                let same = step.evidence.listed.as_deref() == Some(now.unwrap_or(&Listed::default()));
                (other || !same).then_some("it is not what the repository manager lists now")
            }
            Action::RunTask { task, kind, .. } => {
                let known = managed.tasks.iter().any(|one| one.id == *task && one.kind == *kind);
                if !known {
                    Some("the repository manager has no such task")
                } else if kind == COLLECT && !spares_what_stays(managed, after, world) {
                    Some("the task would delete manifests without a tag that stay")
                } else {
                    None
                }
            }
            action if action.gives_back() => None,
            _ => Some("the repository manager is to delete what goes, and no file is touched beside that"),
        };
        found.extend(why.map(|why| (index, why.to_owned())));
    }
    found
}

fn of_tag(
    managed: &Managed,
    step: &Step,
    repository: &RepositoryName,
    tag: &TagName,
    target: Option<Digest>,
) -> Option<&'static str> {
    let now = managed.tags.get(repository.as_str()).and_then(|tags| tags.get(tag.as_str()));
    let Some(now) = now else { return Some("the repository manager lists no such tag") };
    if step.evidence.listed.as_deref() != Some(now) {
        return Some("it is not what the repository manager lists now");
    }
    match now.assets.as_slice() {
        [only] if Some(only.digest) == target => None,
        _ => Some("more than the tag would go, or another manifest"),
    }
}

/// Whether each listed manifest that stays has a tag that stays, or one that stays and refers to it. Nothing refers to
/// itself over others, so what has neither begins every chain that no tag holds.
fn spares_what_stays(managed: &Managed, after: &After<'_>, world: &World<'_>) -> bool {
    let inventory = world.inventory;
    managed.manifests.iter().all(|(image, listed)| {
        let name = after.by_name.iter().find(|(name, _)| name.as_str() == image);
        let goes = |id: BlobId| name.is_some_and(|(_, index)| after.manifests.contains_key(&(*index, id)));
        let stays = |digest: &&Digest| !inventory.blobs.find(digest).is_some_and(goes);
        let mut held: FxHashSet<Digest> = FxHashSet::default();
        for (tag, listed) in managed.tags.get(image).into_iter().flatten() {
            let untagged = name.is_some_and(|(name, _)| {
                TagName::found(tag).is_ok_and(|tag| after.tags.contains_key(&(*name, &tag)))
            });
            if !untagged {
                held.extend(listed.assets.iter().map(|asset| asset.digest));
            }
        }
        for id in listed.keys().filter(stays).filter_map(|digest| inventory.blobs.find(digest)) {
            if let Some(Body::Read(facts)) = inventory.manifests.get(&id) {
                held.extend(facts.references.iter().map(|edge| inventory.blobs.digest(edge.digest)));
            }
        }
        listed.keys().filter(stays).all(|digest| held.contains(digest))
    })
}
