//! What a policy asks of tags and manifests: their times.

use rustc_hash::FxHashSet;

use super::Marker;
use crate::inventory::{BlobId, Target};
use crate::oci::{Created, Kind, Role, TagName};
use crate::policy::{Clock, Pulled, TagFacts, UntaggedFacts};

impl Marker<'_> {
    /// What is known of the tag with this number.
    pub(super) fn tag_facts(&self, index: usize) -> TagFacts<'_> {
        let tag = &self.repository.tags[index];
        let manifest = match tag.target {
            Target::Manifest(id) => Some(id),
            Target::Missing | Target::Corrupt(_) => None,
        };
        let pushed = manifest
            .and_then(|id| self.linked.get(&id))
            .and_then(|&revision| self.repository.revisions[revision].pushed);
        TagFacts {
            name: tag.name.as_str(),
            tagged: tag.tagged,
            pushed: pushed.or(tag.tagged),
            pulled: self.pulled(Some(&tag.name), manifest),
            created: manifest.map(|id| self.created(id)).unwrap_or_default(),
        }
    }

    /// What is known of the manifest with this number, which no tag names.
    pub(super) fn untagged_facts(&self, index: usize) -> UntaggedFacts {
        let revision = &self.repository.revisions[index];
        UntaggedFacts {
            pushed: revision.pushed,
            pulled: self.pulled(None, Some(revision.digest)),
            created: self.created(revision.digest),
        }
    }

    /// When something was last pulled, where the policy asks: by its tag, by its manifest, or, as clients pull an index and
    /// then what they need of it, by what the index lists.
    fn pulled(&self, tag: Option<&TagName>, manifest: Option<BlobId>) -> Pulled {
        let name = &self.repository.name;
        if self.clock != Some(Clock::Pulled) {
            return Pulled::default();
        }
        let record = self.rules.pulls;
        let mut last = tag.and_then(|tag| record.tag(name, tag));
        let mut seen = FxHashSet::default();
        let mut pending: Vec<BlobId> = manifest.into_iter().collect();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            last = last.max(record.manifest(name, &self.inventory.blobs.digest(id)));
            let Some(facts) = self.inventory.facts(id).filter(|facts| facts.kind == Kind::Index) else {
                continue;
            };
            let listed =
                facts.references.iter().filter(|edge| matches!(edge.role, Role::Manifest | Role::Unknown));
            pending.extend(listed.map(|edge| edge.digest));
        }
        Pulled { last, unrecorded: Some(self.recorded) }
    }

    /// When a manifest says that it was created, where the policy asks: by its config, and an index by the newest of
    /// what it lists.
    fn created(&self, manifest: BlobId) -> Created {
        if self.clock != Some(Clock::Created) {
            return Created::Unstated;
        }
        let mut newest = Created::Unstated;
        let mut seen = FxHashSet::default();
        let mut pending = vec![manifest];
        while let Some(id) = pending.pop() {
            let Some(facts) = self.inventory.facts(id).filter(|_| seen.insert(id)) else { continue };
            for edge in &facts.references {
                match edge.role {
                    Role::Config => {
                        let said = self.inventory.created.get(&edge.digest);
                        newest = newest.newest(said.copied().unwrap_or_default());
                    }
                    Role::Manifest | Role::Unknown if facts.kind == Kind::Index => pending.push(edge.digest),
                    _ => {}
                }
            }
        }
        newest
    }
}
