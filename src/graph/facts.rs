//! What the policy is told of tags and of manifests without one.

use rustc_hash::FxHashSet;

use super::Marker;
use crate::inventory::{BlobId, Tag, Target};
use crate::oci::{Created, Kind, Role};
use crate::policy::{Clock, Policy, TagFacts, UntaggedFacts};

impl<'m> Marker<'m> {
    /// What the policy is told of a tag.
    pub(super) fn tag_facts(&self, policy: &Policy, tag: &'m Tag) -> TagFacts<'m> {
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
            created: manifest.map(|id| self.created(policy, id)).unwrap_or_default(),
            ..TagFacts::default()
        }
    }

    /// What the policy is told of the manifest of a revision, by its index.
    pub(super) fn untagged_facts(&self, policy: &Policy, revision: usize) -> UntaggedFacts {
        let revision = &self.repository.revisions[revision];
        UntaggedFacts {
            pushed: revision.pushed,
            created: self.created(policy, revision.digest),
            ..UntaggedFacts::default()
        }
    }

    /// When a manifest says that it was created, where the policy asks: by its config, and an index by the newest of
    /// what it lists.
    fn created(&self, policy: &Policy, manifest: BlobId) -> Created {
        let governing = policy.for_repository(self.repository.name.as_str());
        if !governing.is_some_and(|governing| governing.clock == Clock::Created) {
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
