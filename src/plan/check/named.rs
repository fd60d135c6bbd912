//! Nothing goes that somebody else says is needed.
//!
//! The references are read once; what they hold is found out here by comparing names part by part, not as the mark does.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Violation, World};
use crate::inventory::{BlobId, Link, Repository};
use crate::oci::{Digest, RepositoryName, Role, TagName};
use crate::plan::{Action, Plan};
use crate::sources::Reference;

/// What is named, by tag and by digest.
pub(super) struct Claims<'c> {
    tags: FxHashMap<&'c TagName, Vec<(&'c Reference, &'c Arc<str>)>>,
    digests: FxHashMap<Digest, Vec<(&'c Reference, &'c Arc<str>)>>,
}

impl<'c> Claims<'c> {
    pub(super) fn of(world: &World<'c>) -> Self {
        let mut claims = Self { tags: FxHashMap::default(), digests: FxHashMap::default() };
        for (source, references) in &world.references.sources {
            for reference in references {
                if let Some(tag) = &reference.tag {
                    claims.tags.entry(tag).or_default().push((reference, source));
                }
                if let Some(digest) = reference.digest {
                    claims.digests.entry(digest).or_default().push((reference, source));
                }
            }
        }
        claims
    }

    /// Who names the tag.
    fn tag(&self, repository: &RepositoryName, tag: &TagName) -> Option<&'c Arc<str>> {
        self.tags
            .get(tag)?
            .iter()
            .find(|(reference, _)| about(reference, repository))
            .map(|(_, source)| *source)
    }

    /// Who names the digest, there or everywhere.
    fn digest(&self, repository: Option<&RepositoryName>, digest: &Digest) -> Option<&'c Arc<str>> {
        let named = self.digests.get(digest)?;
        let found = named.iter().find(|(reference, _)| {
            reference.repository.is_none()
                || repository.is_some_and(|repository| about(reference, repository))
        });
        found.map(|(_, source)| *source)
    }

    /// Who names a manifest, by its digest or by that of its configuration.
    fn manifest(&self, world: &World<'_>, repository: &RepositoryName, id: BlobId) -> Option<&'c Arc<str>> {
        if self.digests.is_empty() {
            return None;
        }
        let blobs = &world.inventory.blobs;
        let configurations = world.inventory.facts(id).into_iter().flat_map(|facts| &facts.references);
        let configurations = configurations.filter(|edge| edge.role == Role::Config).map(|edge| edge.digest);
        std::iter::once(id)
            .chain(configurations)
            .find_map(|id| self.digest(Some(repository), &blobs.digest(id)))
    }

    /// The manifests of a repository that are named.
    pub(super) fn manifests(&self, world: &World<'_>, repository: &Repository) -> Vec<BlobId> {
        let there = repository.revisions.iter().filter(|one| one.link != Link::Missing).map(|one| one.digest);
        there.filter(|id| self.manifest(world, &repository.name, *id).is_some()).collect()
    }
}

/// Whether a reference may be to this repository: the parts of one name, from the last, are those of the other, up to
/// where one of them ends, a host in front of the reference left out.
fn about(reference: &Reference, repository: &RepositoryName) -> bool {
    let Some(path) = reference.repository.as_deref() else { return false };
    let mut named: Vec<&str> = path.split('/').collect();
    let mut own: Vec<&str> = repository.as_str().split('/').collect();
    named.reverse();
    own.reverse();
    if named.len() > 1 && named.len() <= own.len() {
        let first = named[named.len() - 1];
        if first.contains('.') || first.contains(':') || first == "localhost" {
            // It may be a host, or a part of the name that looks like one.
            if own.starts_with(&named) {
                return true;
            }
            named.pop();
        }
    }
    named.iter().zip(&own).all(|(left, right)| left == right)
}

/// Validation: what a list of pins names, or what runs, does not go.
pub(super) fn held(plan: &Plan, world: &World<'_>) -> Vec<Violation> {
    if world.references.is_empty() {
        return Vec::new();
    }
    let claims = Claims::of(world);
    let mut found = Vec::new();
    for (step, one) in plan.steps.iter().enumerate() {
        let (what, by) = match &one.action {
            Action::Untag { repository, tag, .. } => {
                (format!("{repository}:{tag}"), claims.tag(repository, tag))
            }
            Action::DeleteManifest { repository, digest, .. } => {
                let id = world.inventory.blobs.find(digest);
                let by = id.and_then(|id| claims.manifest(world, repository, id));
                (format!("{repository}@{digest}"), by.or_else(|| claims.digest(Some(repository), digest)))
            }
            Action::Unlink { repository, digest } => {
                (format!("{repository}@{digest}"), claims.digest(Some(repository), digest))
            }
            Action::Sweep { digest, .. } => (digest.to_string(), claims.digest(None, digest)),
            _ => continue,
        };
        found.extend(by.map(|by| (step, format!("{by} names {what}"))));
    }
    found
}
