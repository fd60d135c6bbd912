//! A closer look at candidates: sizes and times that a names-only listing did not ask for.

use rayon::prelude::*;

use super::record::link_state;
use super::scan::join;
use super::{BlobId, History, Inventory, LayerLink, Link};
use crate::layout::distribution::{self, Part};
use crate::layout::{Directory, Entry, RegistryLayout};
use crate::oci::Digest;
use crate::store::{Kind, Meta, Near, StoreError, Tree};

/// What a question after one file was answered with.
enum Asked {
    There(Meta),
    Absent,
    /// This user may not know.
    Denied,
}

fn look(answer: Result<Option<Meta>, StoreError>) -> Result<Asked, StoreError> {
    match answer {
        Ok(Some(meta)) => Ok(Asked::There(meta)),
        Ok(None) => Ok(Asked::Absent),
        Err(error) if error.is_denied() => Ok(Asked::Denied),
        Err(error) => Err(error),
    }
}

/// Asks size and time of the data of `ids`, where that is not known yet. Returns those whose directory is there without
/// data, and marks them as not present.
///
/// # Errors
/// Any answer of the store but absence.
pub fn blobs(
    tree: &Tree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
    ids: &[BlobId],
) -> Result<Vec<BlobId>, StoreError> {
    let table = &mut inventory.blobs;
    let wanted: Vec<BlobId> = ids.iter().copied().filter(|id| table.changed(*id).is_none()).collect();
    let near = tree.near(distribution::blobs_root());
    let found: Vec<Asked> = wanted
        .par_iter()
        .map(|id| match layout.key(&Entry::BlobData { digest: table.digest(*id) }) {
            Some(key) => look(near.stat(&key)),
            None => Ok(Asked::Absent),
        })
        .collect::<Result<_, _>>()?;
    let mut empty = Vec::new();
    for (id, meta) in wanted.into_iter().zip(found) {
        match meta {
            Asked::There(meta) if meta.kind == Kind::File => table.measure(id, meta.size, meta.changed),
            Asked::Absent => {
                table.set_present(id, false);
                empty.push(id);
            }
            // Without a time it counts as young, and stays.
            Asked::There(_) | Asked::Denied => {}
        }
    }
    Ok(empty)
}

/// Asks what the layer links at these places (repository and layer, by index) look like.
///
/// # Errors
/// Any answer of the store but absence.
pub fn layer_links(
    tree: &Tree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
    places: &[(usize, usize)],
) -> Result<(), StoreError> {
    // Links of one repository are next to each other, so that each group has one open directory.
    let groups: Vec<&[(usize, usize)]> = places.chunk_by(|one, next| one.0 == next.0).collect();
    let found: Vec<Vec<LayerLink>> = groups
        .into_par_iter()
        .map(|group| {
            let repository = &inventory.repositories[group[0].0];
            let near = tree.near(&distribution::repository_part(repository.name.as_str(), Part::Layers));
            let one = |&(_, layer): &(usize, usize)| {
                let mut layer = repository.layers[layer];
                let digest = inventory.blobs.digest(layer.digest);
                let entry = Entry::LayerLink { repository: repository.name.as_str(), digest };
                if let (None, Some(key)) = (layer.changed(), layout.key(&entry)) {
                    match look(near.stat(&key))? {
                        Asked::There(meta) => layer.look(link_state(&digest, meta.size), Some(meta.changed)),
                        Asked::Absent => layer.look(Link::Missing, None),
                        Asked::Denied => layer.look(Link::Unknown, None),
                    }
                }
                Ok(layer)
            };
            group.par_iter().map(one).collect::<Result<_, StoreError>>()
        })
        .collect::<Result<_, StoreError>>()?;
    for (&(repository, layer), found) in places.iter().zip(found.into_iter().flatten()) {
        inventory.repositories[repository].layers[layer] = found;
    }
    Ok(())
}

/// Lists the history of every tag of the repositories with these indexes.
///
/// # Errors
/// Any answer of the store but absence.
pub fn histories(
    tree: &Tree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
    repositories: &[usize],
) -> Result<(), StoreError> {
    for &index in repositories {
        let repository = &inventory.repositories[index];
        let near = tree.near(&distribution::repository_part(repository.name.as_str(), Part::Tags));
        let found: Vec<Option<Vec<Digest>>> = repository
            .tags
            .par_iter()
            .map(|tag| {
                if tag.history.is_some() {
                    return Ok(None);
                }
                let directory =
                    Directory::Tag { repository: repository.name.as_str(), tag: tag.name.as_str() };
                let Some(directory) = layout.directory_key(&directory) else { return Ok(None) };
                history(&near, layout, &join(&directory, "index")).map(Some)
            })
            .collect::<Result<_, StoreError>>()?;
        let Inventory { repositories, blobs, .. } = inventory;
        for (tag, found) in repositories[index].tags.iter_mut().zip(found) {
            if let Some(mut digests) = found {
                digests.sort_unstable();
                let entries =
                    digests.iter().map(|digest| History { digest: blobs.intern(digest), size: None });
                tag.history = Some(entries.collect());
            }
        }
    }
    Ok(())
}

fn history(tree: &Near<'_>, layout: &dyn RegistryLayout, index: &str) -> Result<Vec<Digest>, StoreError> {
    let mut digests = Vec::new();
    for (algorithm, _) in tree.list(index)?.map(|list| list.names).unwrap_or_default() {
        let directory = join(index, &algorithm);
        for (hex, _) in tree.list(&directory)?.map(|list| list.names).unwrap_or_default() {
            let key = [&directory, "/", &hex, "/link"].concat();
            if let Entry::TagHistory { digest, .. } = layout.classify(&key) {
                digests.push(digest);
            }
        }
    }
    Ok(digests)
}
