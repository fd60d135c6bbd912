//! What a plan may take from a store whose owner keeps a database of its own.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Refusal, Violation, World};
use crate::inventory::{Asset, BlobId, Body};
use crate::plan::{Action, Plan, RecordMode};

/// Validation: what the database knows goes by the repository manager itself, and not too much of the rest goes at once.
pub(super) fn of_records(plan: &Plan, world: &World<'_>) -> Vec<Refusal> {
    let Some(assets) = &world.inventory.assets else { return Vec::new() };
    let mut refusals = Vec::new();
    let own = |action: &Action| matches!(action, Action::Discard { .. } | Action::Purge { .. });
    let others = plan.steps.iter().filter(|step| !own(&step.action)).count() as u64;
    if world.records.is_by_policy() {
        refusals.push(Refusal::Mode(format!(
            "what the database knows is not yet taken in files, so there is no mode {}: say --nexus-mode orphans",
            world.records
        )));
    } else if others > 0 && world.records != RecordMode::Api {
        refusals.push(Refusal::NotInFiles { gone: others });
    }
    let all: u64 = assets.list.iter().map(|asset| asset.bytes).sum();
    let gone: u64 = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Discard { .. }))
        .map(|step| step.action.frees())
        .sum();
    // Validation: an export that was cut short looks like a mass death.
    if world.limits.bytes.is_exceeded_by(gone, all) {
        let percent = (u128::from(gone) * 100).div_ceil(u128::from(all.max(1)));
        refusals.push(Refusal::TooMuch {
            what: "bytes",
            gone: gone.to_string(),
            all: all.to_string(),
            limit: world.limits.bytes.to_string(),
            accept: format!("bytes={percent}%"),
        });
    }
    refusals
}

/// Validation: a blob that goes is one that the database does not know now, whole and as it was listed, old enough, and no
/// image has only it.
pub(super) fn unknown(plan: &Plan, world: &World<'_>) -> Vec<Violation> {
    let inventory = world.inventory;
    let list = inventory.assets.iter().flat_map(|assets| &assets.list);
    let by_key: FxHashMap<&str, &Asset> =
        list.flat_map(|asset| asset.files.iter().map(move |file| (file.key.as_str(), asset))).collect();
    let needed: FxHashSet<BlobId> = inventory
        .manifests
        .iter()
        .flat_map(|(id, body)| {
            let edges = match body {
                Body::Read(facts) => &*facts.references,
                Body::Missing | Body::Unreadable(_) => &[],
            };
            edges.iter().map(|edge| edge.digest).chain([*id])
        })
        .collect();
    let blind = inventory.gaps.iter().any(|gap| gap.repository.is_none());
    let asked = inventory.assets.as_ref().is_some_and(|assets| assets.evidence);
    let grace = world.limits.grace.as_signed();
    let mut found = Vec::new();
    for (step, one) in plan.steps.iter().enumerate() {
        let Action::Discard { files } = &one.action else { continue };
        let asset = files.first().and_then(|file| by_key.get(file.key.as_str()));
        let why = match asset {
            None => Some("its files are not those of a blob that the database does not know".to_owned()),
            Some(asset) if asset.files != *files => {
                Some("its files are not all the files of the blob, as they are now".to_owned())
            }
            Some(asset) if asset.changed.is_none_or(|at| world.now.duration_since(at) < grace) => {
                Some("it changed within the grace".to_owned())
            }
            Some(asset)
                if asset.digest.is_some_and(|digest| {
                    needed.contains(&digest) && !inventory.blobs.is_present(digest)
                }) =>
            {
                Some("an image needs it, and there is no other".to_owned())
            }
            Some(_) if blind => Some("something of the store could not be read, and may need it".to_owned()),
            Some(_) if !asked => Some("no database was asked".to_owned()),
            Some(_) => None,
        };
        found.extend(why.map(|why| (step, why)));
    }
    found
}
