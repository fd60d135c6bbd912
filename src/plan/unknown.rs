//! What the database of a repository manager does not know.

use super::build::Sources;
use super::{Action, Evidence, Reason, Step};

/// Blobs that the database does not know. One that an image needs, and that is there only once, stays: it is known again as
/// soon as somebody repairs the database.
pub(super) fn unknown(sources: &Sources<'_>) -> Vec<Step> {
    let Sources { inventory, marks, rules, .. } = *sources;
    if inventory.pins_everything() {
        return Vec::new();
    }
    let assets = inventory.assets.iter().flat_map(|assets| &assets.list);
    assets
        .filter(|asset| {
            let only = asset.digest.is_some_and(|digest| {
                marks.referenced.contains(digest) && !inventory.blobs.is_present(digest)
            });
            !asset.files.is_empty() && !only && !rules.young(asset.changed)
        })
        .map(|asset| Step {
            action: Action::Discard { files: asset.files.clone() },
            evidence: Evidence { reason: Reason::Unknown, changed: asset.changed, listed: None },
        })
        .collect()
}
