//! What of the things that runs took belongs to one image, or to one repository.

use rustc_hash::{FxHashMap, FxHashSet};

use super::SweepError;
use super::journal::{Moved, SavedLink};
use super::restore::Undo;
use crate::layout::{Entry, RegistryLayout};
use crate::oci::manifest::{self, MAX_MANIFEST_BYTES};
use crate::oci::{Digest, ImageReference};
use crate::policy::referrers::referrer_subject;
use crate::store::{STATE_DIRECTORY, WriteStore};

/// One image: its manifest, what it refers to, and what is about it, all within one repository.
pub(super) struct Selection<'s> {
    undo: &'s Undo,
    store: &'s WriteStore,
    layout: &'s dyn RegistryLayout,
    repository: &'s str,
    tags: FxHashSet<String>,
    manifests: FxHashSet<Digest>,
    blobs: FxHashSet<Digest>,
    /// Manifests of this repository that a run took, by what they are about.
    referrers: FxHashMap<Digest, Vec<Digest>>,
}

impl<'s> Selection<'s> {
    /// Gathers what `image` needs, as far as runs took it. Without tag and digest it is every image of the repository.
    pub(super) fn of(
        undo: &'s Undo,
        store: &'s WriteStore,
        layout: &'s dyn RegistryLayout,
        image: &'s ImageReference,
    ) -> Result<Self, SweepError> {
        let mut selection = Self {
            undo,
            store,
            layout,
            repository: image.repository.as_str(),
            tags: FxHashSet::default(),
            manifests: FxHashSet::default(),
            blobs: FxHashSet::default(),
            referrers: FxHashMap::default(),
        };
        let whole = image.tag.is_none() && image.digest.is_none();
        let mut roots: Vec<Digest> = image.digest.into_iter().collect();
        for key in undo.links.keys() {
            match layout.classify(key) {
                Entry::RevisionLink { repository, digest } if repository == selection.repository => {
                    if whole {
                        roots.push(digest);
                    }
                    let read = selection.read(&digest)?;
                    if let Some(subject) = read.and_then(|read| read.subject().map(|subject| subject.digest))
                    {
                        selection.referrers.entry(subject).or_default().push(digest);
                    }
                }
                Entry::TagCurrent { repository, tag } if whole && repository == selection.repository => {
                    selection.tags.insert(tag.to_owned());
                }
                _ => {}
            }
        }
        if let Some(tag) = &image.tag {
            let key = layout.key(&Entry::TagCurrent { repository: selection.repository, tag: tag.as_str() });
            if let Some(link) = key.and_then(|key| undo.links.get(&key)) {
                roots.extend(
                    std::str::from_utf8(link.body.bytes()).ok().and_then(|text| text.parse::<Digest>().ok()),
                );
                selection.tags.insert(tag.as_str().to_owned());
            }
        }
        selection.add(roots)?;
        Ok(selection)
    }

    fn add(&mut self, mut pending: Vec<Digest>) -> Result<(), SweepError> {
        while let Some(digest) = pending.pop() {
            if !self.manifests.insert(digest) {
                continue;
            }
            if let Some(read) = self.read(&digest)? {
                for reference in read.references() {
                    self.blobs.insert(reference.digest);
                    if self.is_manifest(&reference.digest) {
                        pending.push(reference.digest);
                    }
                }
            }
            pending.extend(self.referrers.get(&digest).into_iter().flatten());
            for (key, link) in &self.undo.links {
                if let Entry::TagCurrent { repository, tag } = self.layout.classify(key)
                    && repository == self.repository
                    && referrer_subject(tag).is_some_and(|(_, hex)| hex == digest.hex())
                {
                    self.tags.insert(tag.to_owned());
                    pending.extend(
                        std::str::from_utf8(link.body.bytes())
                            .ok()
                            .and_then(|text| text.parse::<Digest>().ok()),
                    );
                }
            }
        }
        Ok(())
    }

    fn is_manifest(&self, digest: &Digest) -> bool {
        let entry = Entry::RevisionLink { repository: self.repository, digest: *digest };
        self.layout.key(&entry).is_some_and(|key| self.undo.links.contains_key(&key))
    }

    /// A manifest's content, from the trash or from where it still is.
    fn read(&self, digest: &Digest) -> Result<Option<manifest::Manifest>, SweepError> {
        let Some(key) = self.layout.key(&Entry::BlobData { digest: *digest }) else { return Ok(None) };
        let tree = self.store.read().tree();
        let mut places = vec![key.clone()];
        if let Some(place) = self.undo.data.get(&key).and_then(|moved| moved.place.as_ref()) {
            places.push(format!("{STATE_DIRECTORY}/{place}"));
        }
        for place in places {
            if let Some((body, _)) = tree.read(&place, MAX_MANIFEST_BYTES as u64)? {
                return Ok(manifest::read(&body).ok());
            }
        }
        Ok(None)
    }

    /// What of it was taken.
    pub(super) fn chosen(self, undo: &Undo, layout: &dyn RegistryLayout) -> (Vec<SavedLink>, Vec<Moved>) {
        let links = undo
            .links
            .values()
            .filter(|link| match layout.classify(&link.key) {
                Entry::TagCurrent { repository, tag } | Entry::TagHistory { repository, tag, .. } => {
                    repository == self.repository && self.tags.contains(tag)
                }
                Entry::RevisionLink { repository, digest }
                | Entry::RevisionSignature { repository, digest, .. } => {
                    repository == self.repository && self.manifests.contains(&digest)
                }
                Entry::LayerLink { repository, digest } => {
                    repository == self.repository
                        && (self.blobs.contains(&digest) || !matches!(digest, Digest::Sha256(_)))
                }
                _ => false,
            })
            .cloned()
            .collect();
        let data = undo
            .data
            .values()
            .filter(|moved| match layout.classify(&moved.key) {
                Entry::BlobData { digest } => {
                    self.manifests.contains(&digest) || self.blobs.contains(&digest)
                }
                _ => false,
            })
            .cloned()
            .collect();
        (links, data)
    }
}
