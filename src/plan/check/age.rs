//! Nothing young goes.

use jiff::{SignedDuration, Timestamp};

use super::{After, Violation, World};
use crate::inventory::{Link, Target};
use crate::plan::{Action, Plan};

/// Validation: nothing younger than the grace goes, whatever the plan says of its age.
pub(super) fn old_enough(plan: &Plan, after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
    let grace = world.limits.grace.as_signed();
    let inventory = world.inventory;
    let young = |changed: Option<Timestamp>| changed.is_none_or(|at| world.now.duration_since(at) < grace);
    let why = || "it changed within the grace".to_owned();
    let mut found = Vec::new();
    for (index, repository) in inventory.repositories.iter().enumerate() {
        // A push of a tag begins with the link of its manifest.
        let pushed_lately = |target: &Target| {
            repository.revisions.iter().any(|one| {
                *target == Target::Manifest(one.digest) && one.link != Link::Missing && young(one.changed)
            })
        };
        for tag in &repository.tags {
            if let Some(step) = after.tags.get(&(&repository.name, &tag.name))
                && tag.target != Target::Missing
                && (young(tag.changed) || pushed_lately(&tag.target))
            {
                found.push((*step, why()));
            }
        }
        for revision in &repository.revisions {
            if let Some(step) = after.manifests.get(&(index, revision.digest))
                && young(revision.changed)
            {
                found.push((*step, why()));
            }
        }
        for layer in
            repository.layers.iter().filter(|layer| layer.link() != Link::Missing && young(layer.changed()))
        {
            found.extend(after.links.get(&(index, layer.digest)).map(|step| (*step, why())));
            found.extend(
                after.data.get(&layer.digest).map(|step| (*step, "it was linked within the grace".into())),
            );
        }
    }
    for (id, step) in &after.data {
        if young(inventory.blobs.changed(*id)) {
            found.push((*step, why()));
        }
    }
    let idle = world.limits.uploads_abandoned_after.as_signed().max(SignedDuration::ZERO);
    for (step, one) in plan.steps.iter().enumerate() {
        if let Action::AbortUpload { upload } = &one.action
            && (young(Some(upload.started)) || world.now.duration_since(upload.started) < idle)
        {
            found.push((step, why()));
        }
        if let Action::Abandon { files } = &one.action {
            let upload = files.len() > 1 || files.iter().any(|file| file.key.contains("/_uploads/"));
            let active = |file: &crate::inventory::LooseFile| {
                young(Some(file.changed)) || (upload && world.now.duration_since(file.modified) < idle)
            };
            if files.iter().any(active) {
                found.push((step, why()));
            }
        }
    }
    found
}
