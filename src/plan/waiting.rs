//! Blobs that nothing needs, and whose time has not come.

use jiff::Timestamp;

use super::build::Sources;
use super::{Condemned, Mode};
use crate::inventory::{BlobId, BlobSet};

/// How long a blob that nothing needs, and that is not young, waits beside a registry that serves; nothing when it goes in
/// this run.
pub(super) fn waits(sources: &Sources<'_>, linked: &BlobSet, id: BlobId) -> Option<Condemned> {
    let Sources { inventory, marks, limits, mode, condemned, rules, .. } = *sources;
    // A repository manager condemns by its own means.
    if mode == Mode::Offline || inventory.assets.is_some() {
        return None;
    }
    let digest = inventory.blobs.digest(id);
    let earlier = condemned.get(&digest);
    // The clock runs while nothing refers or links to it and nobody uploads it anew: until then a client may be told
    // that it is here.
    let loose = !marks.referenced.contains(id) && !linked.contains(id);
    let changed = inventory.blobs.changed(id);
    let known = earlier
        .map(|earlier| earlier.since)
        .filter(|since| loose && changed.is_some_and(|changed| changed.as_second() < since.as_second()));
    let since = known.unwrap_or(rules.now);
    let until = since.saturating_add(limits.grace.as_signed()).unwrap_or(Timestamp::MAX);
    (known.is_none() || until > rules.now).then(|| Condemned {
        digest,
        size: inventory.blobs.size(id).unwrap_or(0),
        since,
        until,
        manifest: was_manifest(sources, id),
    })
}

/// Whether a blob is a manifest's. Once its link has gone, only memory says that it was one.
pub(super) fn was_manifest(sources: &Sources<'_>, id: BlobId) -> bool {
    let Sources { inventory, condemned, .. } = *sources;
    let earlier = condemned.get(&inventory.blobs.digest(id));
    inventory.manifests.contains_key(&id) || earlier.is_some_and(|earlier| earlier.manifest)
}
