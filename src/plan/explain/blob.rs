//! Blobs: the data of layers, configs and manifests, in the whole store.

use super::image::{grace, manifest_pins, needed_by, restored};
use super::{Alone, Deletable, Explained, Outcome, PinKind, pin};
use crate::inventory::{BlobId, Inventory, LayerLink, Link};
use crate::oci::Digest;
use crate::plan::Mode;
use crate::plan::build::Sources;
use crate::plan::candidates::{in_grace, linked};
use crate::plan::waiting::waits;

/// A blob.
pub(super) fn blob(sources: &Sources<'_>, digest: &Digest, mut explained: Explained) -> Explained {
    let Sources { inventory, marks, rules, mode, .. } = *sources;
    let Some(id) = inventory.blobs.find(digest) else { return explained };
    explained.size = inventory.blobs.size(id);
    for index in 0..inventory.repositories.len() {
        if marks.repositories[index].needed.contains(&id) {
            let found = if has_manifest(inventory, index, id) {
                manifest_pins(sources, index, id)
            } else {
                needed_by(sources, index, id)
            };
            if found.is_empty() {
                // It is needed for what cannot be read, or for something that stays elsewhere.
                let name = &inventory.repositories[index].name;
                explained.pins.push(pin(
                    PinKind::Manifest,
                    name.as_str(),
                    "something of it that stays needs it",
                ));
            }
            explained.pins.extend(found);
        }
    }
    for gap in inventory.gaps.iter().filter(|gap| gap.repository.is_none()) {
        explained.pins.push(pin(PinKind::Gap, &gap.key, gap.why.clone()));
    }
    explained.pins.dedup();
    if !inventory.blobs.is_present(id) {
        explained.size = None;
        explained.why = match explained.pins.len() {
            0 => "it has no data, and nothing that stays needs it".to_owned(),
            _ => "it has no data, and something that stays needs it".to_owned(),
        };
        explained.deletable.when = "there is nothing to delete".into();
        return explained;
    }
    let size = explained.size.unwrap_or(0);
    explained.alone = Some(Alone { bytes: size, blobs: 1, ..Alone::default() });
    if marks.live.contains(id) {
        explained.outcome = Outcome::Stays;
        explained.why = match explained.pins.as_slice() {
            [only] => format!("{} needs it", only.name),
            several => format!("{} things that stay need it", several.len()),
        };
        explained.deletable.when = "when nothing pins it any more".into();
        return explained;
    }
    young(sources, id, &mut explained);
    if in_grace(inventory, marks, rules).contains(id) {
        explained.outcome = Outcome::Waits;
        explained.why = "nothing that stays needs it, and it is in the grace".into();
        explained.deletable.when = match mode {
            Mode::Offline => "when the grace is over".to_owned(),
            Mode::Online => format!(
                "when the grace is over it is condemned, and goes {} after that",
                sources.limits.grace
            ),
        };
        return explained;
    }
    explained.why = if marks.referenced.contains(id) {
        "only what goes refers to it".to_owned()
    } else {
        "nothing refers to it".to_owned()
    };
    let linked = linked(inventory);
    match waits(sources, &linked, id) {
        None => {
            explained.outcome = Outcome::Goes;
            explained.deletable = Deletable {
                earliest: Some(rules.now),
                condemned_since: sources.condemned.get(digest).map(|one| one.since),
                when: "in the next run".to_owned(),
            };
        }
        Some(condemned) => {
            explained.outcome = Outcome::Waits;
            let known = condemned.since < rules.now;
            explained.deletable = Deletable {
                earliest: Some(condemned.until),
                condemned_since: known.then_some(condemned.since),
                when: if known {
                    "by a run from then on, if nothing names it until then".to_owned()
                } else if marks.referenced.contains(id) || linked.contains(id) {
                    "a run takes the links to it and condemns it then; it goes a grace later".to_owned()
                } else {
                    "the next run condemns it; it goes a grace later".to_owned()
                },
            };
        }
    }
    explained
}

fn has_manifest(inventory: &Inventory, index: usize, id: BlobId) -> bool {
    inventory.repositories[index]
        .revisions
        .iter()
        .any(|revision| revision.digest == id && revision.link != Link::Missing)
}

/// Pins of a blob that nothing needs: its own youth, young links, and restores.
fn young(sources: &Sources<'_>, id: BlobId, explained: &mut Explained) {
    let Sources { inventory, rules, .. } = *sources;
    let changed = inventory.blobs.changed(id);
    let mut latest = changed;
    explained.pins.extend(grace(rules, changed, changed.is_none()));
    let digest = inventory.blobs.digest(id);
    for pins in rules.pinned().filter(|pins| pins.blobs.contains(&digest)) {
        explained.pins.push(restored(pins));
        latest = latest.max(pins.until.checked_sub(rules.grace).ok());
    }
    for repository in &inventory.repositories {
        let links = repository.layers.iter().filter(|one| one.digest == id && one.link() != Link::Missing);
        let aliases = repository.aliases.iter().filter(|one| one.target == Some(id));
        for at in links.map(LayerLink::changed).chain(aliases.map(|one| one.changed)) {
            if let Some(mut found) = grace(rules, at, at.is_none()) {
                found.name = format!("link in {}", repository.name);
                explained.pins.push(found);
                latest = latest.max(at);
            }
        }
    }
    let end = latest.and_then(|latest| latest.checked_add(rules.grace).ok());
    explained.deletable.earliest = end.filter(|end| *end > rules.now);
}
