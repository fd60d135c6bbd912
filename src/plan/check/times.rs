//! Which time is a manifest's age.

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::inventory::{BlobId, Inventory};
use crate::oci::{Created, Kind, Role};
use crate::policy::Clock;

/// Indexes that list indexes are followed so far; deeper ones say nothing of their age.
const NESTED: usize = 8;

/// A manifest's time by a policy's clock, when that is known; what has no tag was never tagged, so its push stands in.
pub(super) fn time_of(
    inventory: &Inventory,
    clock: Clock,
    manifest: Option<BlobId>,
    pushed: Option<Timestamp>,
) -> Option<Timestamp> {
    match clock {
        // When it was pulled is asked of another.
        Clock::Tagged | Clock::Pushed | Clock::Pulled => pushed,
        Clock::Created => {
            let mut said = Vec::new();
            if let Some(manifest) = manifest {
                say(inventory, manifest, NESTED, &mut said);
            }
            if said.contains(&Created::Unreadable) {
                return None;
            }
            let times = said.iter().filter_map(|one| match one {
                Created::At(at) => Some(*at),
                Created::Unstated | Created::Unreadable => None,
            });
            // Builders that want the same digest each time write the epoch, or 1980.
            let believed = times.max().filter(|at| at.to_zoned(TimeZone::UTC).date() >= date(2000, 1, 1));
            believed.or(pushed)
        }
    }
}

/// What the configs of an image, or of all that an index lists, say.
fn say(inventory: &Inventory, manifest: BlobId, depth: usize, said: &mut Vec<Created>) {
    let Some(facts) = inventory.facts(manifest) else { return };
    let configs = facts.references.iter().filter(|edge| edge.role == Role::Config);
    said.extend(configs.filter_map(|edge| inventory.created.get(&edge.digest)).copied());
    if facts.kind == Kind::Index && depth > 0 {
        for edge in facts.references.iter().filter(|edge| matches!(edge.role, Role::Manifest | Role::Unknown))
        {
            say(inventory, edge.digest, depth - 1, said);
        }
    }
}
