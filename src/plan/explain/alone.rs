//! What the removal of one thing alone would free, with everything else that is there staying.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use crate::graph::aliases;
use crate::inventory::{BlobId, Body, Inventory, Link, Repository, Target};
use crate::oci::{Digest, TagName};
use crate::policy::referrers::referrer_subject;

/// What goes when one thing is removed and all else stays, whatever a policy says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Alone {
    /// Bytes of blobs that nothing else needs, each counted once.
    pub bytes: u64,
    /// How many blobs these are.
    pub blobs: u64,
    /// Tags of the repository that go, the one that is asked about among them.
    pub tags: Vec<TagName>,
    /// Manifests that go from the repository: those that only it held.
    pub manifests: Vec<Digest>,
}

/// The removal of a tag (of a manifest when there is none) from a repository.
pub(super) fn alone(inventory: &Inventory, index: usize, tag: Option<usize>, root: Option<BlobId>) -> Alone {
    let repository = &inventory.repositories[index];
    let aliases = aliases(inventory);
    let reach = Reach::new(inventory, repository, &aliases);
    let own = tag.map(|tag| repository.tags[tag].name.clone());
    let Some(root) = root else {
        return Alone { tags: own.into_iter().collect(), ..Alone::default() };
    };
    // Where something cannot be read nothing goes.
    if inventory.pins_everything() || reach.blind() {
        return Alone { tags: own.into_iter().collect(), ..Alone::default() };
    }
    let forced = tag.is_none().then_some(root);
    let below = reach.from([root], None, true);
    // What stays by itself: what is elsewhere, and what another tag names.
    let mut roots: Vec<BlobId> =
        reach.linked.iter().filter(|id| !below.manifests.contains(id)).copied().collect();
    let goes_along = |at: usize| {
        tag == Some(at)
            || forced.is_some_and(|root| repository.tags[at].target == Target::Manifest(root))
            || reach.follows(at).is_some_and(|subject| below.manifests.contains(&subject))
    };
    for (at, tag) in repository.tags.iter().enumerate() {
        if let Target::Manifest(id) = tag.target
            && !goes_along(at)
        {
            roots.push(id);
        }
    }
    let held = reach.from(roots, forced, true);
    let goes = |id: &BlobId| forced == Some(*id) || !held.manifests.contains(id);
    let mut gone = Alone {
        tags: own.into_iter().collect(),
        manifests: below
            .manifests
            .iter()
            .filter(|id| reach.linked.contains(id) && goes(id))
            .map(|id| inventory.blobs.digest(*id))
            .collect(),
        ..Alone::default()
    };
    for (at, other) in repository.tags.iter().enumerate() {
        let along = forced.is_some_and(|root| other.target == Target::Manifest(root))
            || reach.follows(at).is_some_and(|subject| {
                below.manifests.contains(&subject) && !held.manifests.contains(&subject)
            });
        if along && tag != Some(at) {
            gone.tags.push(other.name.clone());
        }
    }
    gone.tags.sort();
    gone.manifests.sort();
    let mut freed: FxHashSet<BlobId> = below
        .needed
        .difference(&held.needed)
        .filter(|id| inventory.blobs.is_present(**id))
        .copied()
        .collect();
    for (at, other) in inventory.repositories.iter().enumerate().filter(|(at, _)| *at != index) {
        debug_assert_ne!(at, index);
        let reach = Reach::new(inventory, other, &aliases);
        for id in reach.everything() {
            freed.remove(&id);
        }
        if freed.is_empty() {
            break;
        }
    }
    gone.blobs = freed.len() as u64;
    gone.bytes = freed.iter().filter_map(|id| inventory.blobs.size(*id)).sum();
    gone
}

/// What manifests of a repository need, by the rules of the mark, whatever a policy says.
struct Reach<'r> {
    inventory: &'r Inventory,
    repository: &'r Repository,
    aliases: &'r FxHashMap<BlobId, Vec<BlobId>>,
    linked: FxHashSet<BlobId>,
    referrers: FxHashMap<BlobId, Vec<BlobId>>,
}

#[derive(Default)]
struct Reached {
    manifests: FxHashSet<BlobId>,
    needed: FxHashSet<BlobId>,
}

impl<'r> Reach<'r> {
    fn new(
        inventory: &'r Inventory,
        repository: &'r Repository,
        aliases: &'r FxHashMap<BlobId, Vec<BlobId>>,
    ) -> Self {
        let mut linked = FxHashSet::default();
        let mut referrers: FxHashMap<BlobId, Vec<BlobId>> = FxHashMap::default();
        for revision in repository.revisions.iter().filter(|revision| revision.link != Link::Missing) {
            linked.insert(revision.digest);
            if let Some(subject) = inventory.facts(revision.digest).and_then(|facts| facts.subject) {
                referrers.entry(subject).or_default().push(revision.digest);
            }
        }
        Self { inventory, repository, aliases, linked, referrers }
    }

    /// Whether what the repository needs cannot be told.
    fn blind(&self) -> bool {
        let unreadable = |id| matches!(self.inventory.manifests.get(id), Some(Body::Unreadable(_)));
        self.repository.pinned || self.linked.iter().any(unreadable)
    }

    /// The manifest of this repository that a tag follows.
    fn follows(&self, tag: usize) -> Option<BlobId> {
        let (algorithm, hex) = referrer_subject(self.repository.tags[tag].name.as_str())?;
        let subject = self.inventory.blobs.find(&Digest::from_parts(algorithm, hex).ok()?)?;
        self.linked.contains(&subject).then_some(subject)
    }

    /// Everything that `roots` need, and what is about it. `without` has no link in the repository any more: something may
    /// need its data, but it is about nothing, and no tag points to it. `followers` says whether tags that name
    /// their subject bring what they point to.
    fn from(
        &self,
        roots: impl IntoIterator<Item = BlobId>,
        without: Option<BlobId>,
        followers: bool,
    ) -> Reached {
        let mut found = Reached::default();
        let mut stack: Vec<BlobId> = roots.into_iter().collect();
        loop {
            while let Some(id) = stack.pop() {
                found.needed.insert(id);
                if !found.manifests.insert(id) {
                    continue;
                }
                let about = self.referrers.get(&id).into_iter().flatten();
                stack.extend(about.filter(|referrer| without != Some(**referrer)));
                let signatures = self.repository.signatures.iter().filter(|(revision, _)| *revision == id);
                found.needed.extend(signatures.map(|(_, signature)| *signature));
                for edge in self.inventory.facts(id).into_iter().flat_map(|facts| &facts.references) {
                    let aliased = self.aliases.get(&edge.digest).map_or(&[][..], Vec::as_slice);
                    for target in std::iter::once(&edge.digest).chain(aliased) {
                        found.needed.insert(*target);
                        if self.inventory.manifests.contains_key(target) {
                            stack.push(*target);
                        }
                    }
                }
            }
            for (at, tag) in self.repository.tags.iter().enumerate().filter(|_| followers) {
                if let (Target::Manifest(id), Some(subject)) = (&tag.target, self.follows(at))
                    && found.manifests.contains(&subject)
                    && !found.manifests.contains(id)
                    && without != Some(*id)
                {
                    stack.push(*id);
                }
            }
            if stack.is_empty() {
                return found;
            }
        }
    }

    /// Everything that the repository needs while nothing of it goes.
    fn everything(&self) -> FxHashSet<BlobId> {
        let tags = self.repository.tags.iter().filter_map(|tag| match tag.target {
            Target::Manifest(id) => Some(id),
            _ => None,
        });
        let mut needed = self.from(self.linked.iter().copied().chain(tags), None, false).needed;
        if self.blind() {
            needed.extend(self.repository.layers.iter().map(|layer| layer.digest));
            needed.extend(
                self.repository.aliases.iter().flat_map(|alias| [Some(alias.alias), alias.target]).flatten(),
            );
            needed.extend(self.repository.signatures.iter().map(|(_, signature)| *signature));
        }
        needed
    }
}
