//! What a plan frees, in whole and by repository.

use rustc_hash::FxHashMap;

use super::{Action, Freed, FreedIn, Step};
use crate::graph::{Fate, Marks};
use crate::inventory::{BlobId, Inventory, Link};

/// Who lets go of how much. A blob that several repositories shared is counted in each, and once in the total.
pub(super) fn freed(inventory: &Inventory, marks: &Marks, swept: &[BlobId], steps: &[Step]) -> Freed {
    let mut freed = Freed { blobs: swept.len() as u64, ..Freed::default() };
    let mut holders: FxHashMap<BlobId, Vec<usize>> = swept.iter().map(|id| (*id, Vec::new())).collect();
    for (index, repository) in inventory.repositories.iter().enumerate() {
        let links =
            repository.layers.iter().filter(|layer| layer.link() != Link::Missing).map(|layer| layer.digest);
        let revisions =
            repository.revisions.iter().filter(|revision| revision.link != Link::Missing).map(|r| r.digest);
        for id in links.chain(revisions) {
            if let Some(held) = holders.get_mut(&id)
                && held.last() != Some(&index)
            {
                held.push(index);
            }
        }
    }
    let mut by_repository: Vec<(u64, u64)> = vec![(0, 0); inventory.repositories.len()];
    for (id, held) in &holders {
        let size = inventory.blobs.size(*id).unwrap_or(0);
        freed.bytes += size;
        if !marks.referenced.contains(*id) {
            freed.unreferenced_bytes += size;
            freed.unreferenced_blobs += 1;
        }
        match held.as_slice() {
            [] => {}
            [only] => by_repository[*only].0 += size,
            several => {
                freed.shared_bytes += size;
                for index in several {
                    by_repository[*index].1 += size;
                }
            }
        }
    }
    freed.upload_bytes = steps
        .iter()
        .filter(|step| matches!(step.action, Action::Abandon { .. }))
        .map(|step| step.action.frees())
        .sum();
    freed.unknown_bytes = steps
        .iter()
        .filter(|step| matches!(step.action, Action::Discard { .. }))
        .map(|step| step.action.frees())
        .sum::<u64>()
        .saturating_sub(shared(inventory));
    for (index, repository) in inventory.repositories.iter().enumerate() {
        let marked = &marks.repositories[index];
        let row = FreedIn {
            repository: repository.name.clone(),
            tags: repository.tags.len() as u64,
            tags_gone: marked.tags.iter().filter(|decision| decision.is_expired()).count() as u64,
            manifests_gone: marked.revisions.iter().filter(|fate| matches!(fate, Fate::Expired(_))).count()
                as u64,
            exclusive_bytes: by_repository[index].0,
            shared_bytes: by_repository[index].1,
        };
        if row.tags_gone + row.manifests_gone + row.exclusive_bytes + row.shared_bytes > 0 {
            freed.repositories.push(row);
        }
    }
    freed
}

/// Bytes of what may go that another name leads to as well.
fn shared(inventory: &Inventory) -> u64 {
    let assets = inventory.assets.iter().flat_map(|assets| &assets.list);
    assets.filter(|asset| !asset.files.is_empty()).map(|asset| asset.shared).sum()
}
