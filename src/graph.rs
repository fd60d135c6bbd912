//! Stage 5: mark.
//!
//! From the tags that a policy keeps, over manifests, children and referrers, to every blob that is needed, in every
//! repository. Pure: it sees only the inventory. Whatever is not proved unneeded is live.

mod facts;
mod fate;
mod followers;
mod named;
mod rules;
mod young;

use jiff::Timestamp;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::inventory::{BlobId, BlobSet, Body, Inventory, Link, Repository, Target};
use crate::policy::{Clock, DEFAULT_MAX_GAP, Decision, KeepReason, TagFacts, UntaggedFacts, Verdict};

use named::{Named, NamedHere};
pub use rules::Rules;

pub use fate::{Fate, Gone, Held, Pins};

/// What becomes of one repository.
#[derive(Debug, Default)]
pub struct RepositoryMarks {
    /// A decision for each tag, in the inventory's order. None says `Follows`: the graph has resolved those.
    pub tags: Vec<Decision>,
    /// A fate for each revision, in the inventory's order.
    pub revisions: Vec<Fate>,
    /// Manifests that stay and every digest that they refer to in this repository.
    pub needed: FxHashSet<BlobId>,
}

/// What is live.
#[derive(Debug)]
pub struct Marks {
    /// Every digest that something kept needs, in any repository.
    pub live: BlobSet,
    /// Every digest that some manifest refers to, kept or not: what only a policy frees.
    pub referenced: BlobSet,
    /// One for each repository, in the inventory's order.
    pub repositories: Vec<RepositoryMarks>,
}

/// Decides what becomes of every tag and manifest, and marks what they need.
pub fn mark(inventory: &Inventory, rules: &Rules<'_>) -> Marks {
    let aliases = aliases(inventory);
    let named = Named::of(rules.references, inventory);
    let marked: Vec<(RepositoryMarks, FxHashSet<BlobId>)> = inventory
        .repositories
        .par_iter()
        .map(|repository| {
            let marker = Marker::new(inventory, repository, &aliases, &named, rules);
            marker.run()
        })
        .collect();
    let mut live = BlobSet::for_table(&inventory.blobs);
    for id in named.everywhere() {
        live.insert(id);
    }
    let mut referenced = BlobSet::for_table(&inventory.blobs);
    let mut repositories = Vec::with_capacity(marked.len());
    for (marks, every) in marked {
        for id in &marks.needed {
            live.insert(*id);
        }
        for id in every {
            referenced.insert(id);
        }
        repositories.push(marks);
    }
    if inventory.pins_everything() {
        for id in inventory.blobs.ids() {
            live.insert(id);
        }
    }
    Marks { live, referenced, repositories }
}

/// Which blob each alias stands for, whichever repository says so: a reference by alias is a reference everywhere.
pub(crate) fn aliases(inventory: &Inventory) -> FxHashMap<BlobId, Vec<BlobId>> {
    let mut found: FxHashMap<BlobId, Vec<BlobId>> = FxHashMap::default();
    for alias in inventory.repositories.iter().flat_map(|repository| &repository.aliases) {
        if let Some(target) = alias.target {
            let targets = found.entry(alias.alias).or_default();
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    found
}

struct Marker<'m> {
    inventory: &'m Inventory,
    repository: &'m Repository,
    aliases: &'m FxHashMap<BlobId, Vec<BlobId>>,
    rules: &'m Rules<'m>,
    named: NamedHere<'m>,
    /// By which clock the policy of this repository counts ages.
    clock: Option<Clock>,
    /// Since when no pull went unseen.
    recorded: Timestamp,
    /// Revisions of this repository that have a link, by digest.
    linked: FxHashMap<BlobId, usize>,
    /// Manifests of this repository by what they are about.
    referrers: FxHashMap<BlobId, Vec<BlobId>>,
    fates: Vec<Option<Held>>,
    needed: FxHashSet<BlobId>,
    visited: FxHashSet<BlobId>,
    /// A manifest that something kept needs cannot be read: whatever it may need in this repository stays.
    blind: bool,
}

impl<'m> Marker<'m> {
    fn new(
        inventory: &'m Inventory,
        repository: &'m Repository,
        aliases: &'m FxHashMap<BlobId, Vec<BlobId>>,
        named: &Named<'m>,
        rules: &'m Rules<'m>,
    ) -> Self {
        let max_gap = rules.policy.map_or(DEFAULT_MAX_GAP, |policy| policy.pulls().max_gap);
        let mut linked = FxHashMap::default();
        let mut referrers: FxHashMap<BlobId, Vec<BlobId>> = FxHashMap::default();
        for (index, revision) in repository.revisions.iter().enumerate() {
            if revision.link == Link::Missing {
                continue;
            }
            linked.insert(revision.digest, index);
            if let Some(subject) = inventory.facts(revision.digest).and_then(|facts| facts.subject) {
                referrers.entry(subject).or_default().push(revision.digest);
            }
        }
        Self {
            inventory,
            repository,
            aliases,
            rules,
            named: named.within(&repository.name, inventory),
            clock: rules.clock(&repository.name),
            recorded: rules.pulls.begins(rules.now, max_gap),
            linked,
            referrers,
            fates: vec![None; repository.revisions.len()],
            needed: FxHashSet::default(),
            visited: FxHashSet::default(),
            blind: false,
        }
    }

    fn run(mut self) -> (RepositoryMarks, FxHashSet<BlobId>) {
        let mut decisions = self.decide_tags();
        self.mark_roots(&decisions);
        self.follow_subjects(&mut decisions);
        let gone = self.mark_untagged(&mut decisions);
        self.settle_followers(&mut decisions);
        if self.blind {
            let every: Vec<BlobId> = self.linked.keys().copied().collect();
            for id in every {
                self.reach(id, &Held::Gap);
            }
        }
        if self.blind || self.repository.pinned {
            self.need_every_link();
            for decision in decisions.iter_mut().filter(|decision| decision.is_expired()) {
                decision.verdict = Verdict::Keep(KeepReason::Gap);
            }
        }
        let mut gone: FxHashMap<BlobId, Gone> = gone.into_iter().collect();
        let revisions = self
            .repository
            .revisions
            .iter()
            .zip(self.fates.iter_mut())
            .map(|(revision, fate)| match (revision.link, fate.take()) {
                (Link::Missing, _) => Fate::Absent,
                (_, Some(held)) => Fate::Kept(held),
                (_, None) => Fate::Expired(gone.remove(&revision.digest).unwrap_or(Gone::Along)),
            })
            .collect();
        let marks = RepositoryMarks { tags: decisions, revisions, needed: self.needed.clone() };
        // Whatever any manifest here refers to, kept or not.
        let every: Vec<BlobId> = self.linked.keys().copied().collect();
        for id in every {
            self.reach(id, &Held::Reference);
        }
        (marks, self.needed)
    }

    /// Whether the tag leads to a manifest that can be served.
    fn serves(&self, target: &Target) -> bool {
        matches!(target, Target::Manifest(id) if self.linked.contains_key(id)
            && !matches!(self.inventory.manifests.get(id), Some(Body::Missing)))
    }

    fn decide_tags(&self) -> Vec<Decision> {
        let repository = self.repository;
        let keep = |reason| Decision { verdict: Verdict::Keep(reason), policy: None, class: None };
        let Some(policy) = self.rules.policy else {
            return repository.tags.iter().map(|_| keep(KeepReason::NoPolicy)).collect();
        };
        if repository.pinned {
            return repository.tags.iter().map(|_| keep(KeepReason::Gap)).collect();
        }
        // A tag that nobody can pull must not use up the count of one that somebody can: the two are ranked apart.
        let (serving, dangling): (Vec<usize>, Vec<usize>) =
            (0..repository.tags.len()).partition(|&index| self.serves(&repository.tags[index].target));
        let mut decisions: Vec<Option<Decision>> = vec![None; repository.tags.len()];
        for group in [serving, dangling] {
            let facts: Vec<TagFacts<'_>> = group.iter().map(|&index| self.tag_facts(index)).collect();
            let decided = policy.decide_tags(repository.name.as_str(), &facts, self.rules.now);
            for (index, decision) in group.into_iter().zip(decided) {
                decisions[index] = Some(decision);
            }
        }
        decisions
            .into_iter()
            .zip(&repository.tags)
            .map(|(decision, tag)| {
                let decision = decision.unwrap_or_else(|| keep(KeepReason::TimeUnknown));
                // What names a signature names no class of tags.
                if !matches!(decision.verdict, Verdict::Keep(_))
                    && let Some(&by) = self.named.tags.get(&tag.name)
                {
                    return Decision {
                        verdict: Verdict::Keep(KeepReason::Named { by: by.clone() }),
                        ..decision
                    };
                }
                if decision.is_expired() && self.tag_pinned(&tag.name) {
                    return Decision { verdict: Verdict::Keep(KeepReason::Pinned), ..decision };
                }
                if decision.is_expired() && self.tag_young(tag) {
                    return Decision { verdict: Verdict::Keep(KeepReason::Young), ..decision };
                }
                decision
            })
            .collect()
    }

    fn mark_roots(&mut self, decisions: &[Decision]) {
        for (index, (tag, decision)) in self.repository.tags.iter().zip(decisions).enumerate() {
            if let (Target::Manifest(id), Verdict::Keep(_)) = (&tag.target, &decision.verdict) {
                self.reach(*id, &Held::Tag(index));
            }
        }
        let pinned: Vec<BlobId> = self
            .rules
            .pinned()
            .flat_map(|pins| &pins.revisions)
            .filter(|(name, _)| *name == self.repository.name)
            .filter_map(|(_, digest)| self.inventory.blobs.find(digest))
            .collect();
        for id in pinned {
            self.reach(id, &Held::Pinned);
        }
        self.hold_named();
        for revision in &self.repository.revisions {
            if revision.link == Link::Missing {
                continue;
            }
            if self.repository.pinned {
                self.reach(revision.digest, &Held::Gap);
            } else if self.rules.young(revision.changed) {
                self.reach(revision.digest, &Held::Young);
            }
        }
    }

    /// Marks a manifest, its children and referrers, and everything they refer to.
    fn reach(&mut self, root: BlobId, held: &Held) {
        let mut stack = vec![(root, held.clone())];
        while let Some((id, held)) = stack.pop() {
            self.needed.insert(id);
            if let Some(&revision) = self.linked.get(&id) {
                self.fates[revision].get_or_insert(held);
            }
            if !self.visited.insert(id) {
                continue;
            }
            for referrer in self.referrers.get(&id).into_iter().flatten() {
                stack.push((*referrer, Held::Reference));
            }
            for (revision, signature) in &self.repository.signatures {
                if *revision == id {
                    self.needed.insert(*signature);
                }
            }
            match self.inventory.manifests.get(&id) {
                Some(Body::Read(facts)) => {
                    for edge in &facts.references {
                        self.needed.insert(edge.digest);
                        let aliased = self.aliases.get(&edge.digest).map_or(&[][..], Vec::as_slice);
                        for target in std::iter::once(&edge.digest).chain(aliased) {
                            self.needed.insert(*target);
                            if self.inventory.manifests.contains_key(target) {
                                stack.push((*target, Held::Reference));
                            }
                        }
                    }
                }
                Some(Body::Unreadable(_)) => self.blind = true,
                Some(Body::Missing) | None => {}
            }
        }
    }

    fn need_every_link(&mut self) {
        let repository = self.repository;
        self.needed.extend(repository.layers.iter().map(|layer| layer.digest));
        for alias in &repository.aliases {
            self.needed.insert(alias.alias);
            self.needed.extend(alias.target);
        }
        self.needed.extend(repository.signatures.iter().map(|(_, signature)| *signature));
    }

    /// Decides about manifests that nothing kept needs. Those that belong to another such manifest share its fate; the
    /// others are heads, and the policy's rule for untagged manifests is about them.
    fn mark_untagged(&mut self, decisions: &mut [Decision]) -> Vec<(BlobId, Gone)> {
        // What a follower points to is not untagged: its tag is decided last.
        let followed: FxHashSet<BlobId> = decisions
            .iter()
            .zip(&self.repository.tags)
            .filter_map(|(decision, tag)| match (&decision.verdict, &tag.target) {
                (Verdict::Follows, Target::Manifest(id)) => Some(*id),
                _ => None,
            })
            .collect();
        let loose: Vec<usize> = (0..self.repository.revisions.len())
            .filter(|&index| {
                let revision = &self.repository.revisions[index];
                revision.link != Link::Missing
                    && self.fates[index].is_none()
                    && !followed.contains(&revision.digest)
            })
            .collect();
        let Some(policy) = self.rules.policy else {
            for index in loose {
                let keep =
                    Decision { verdict: Verdict::Keep(KeepReason::NoPolicy), policy: None, class: None };
                self.reach(self.repository.revisions[index].digest, &Held::Untagged(keep));
            }
            self.follow_subjects(decisions);
            return Vec::new();
        };
        let children = self.children_of(&loose);
        let (mut heads, mut orphans) = (Vec::new(), Vec::new());
        for &index in &loose {
            let digest = self.repository.revisions[index].digest;
            match self.inventory.facts(digest).and_then(|facts| facts.subject) {
                Some(subject) if self.linked.contains_key(&subject) => {}
                Some(_) => orphans.push(index),
                None if children.contains(&digest) => {}
                None => heads.push(index),
            }
        }
        let name = self.repository.name.as_str();
        let pushed = |index: &usize| self.repository.revisions[*index].pushed;
        let facts: Vec<UntaggedFacts> = heads.iter().map(|&index| self.untagged_facts(index)).collect();
        let mut gone = Vec::new();
        for (index, decision) in heads.iter().zip(policy.decide_untagged(name, &facts, self.rules.now)) {
            let digest = self.repository.revisions[*index].digest;
            if decision.is_expired() {
                gone.push((digest, Gone::Untagged(decision)));
            } else {
                self.reach(digest, &Held::Untagged(decision));
            }
        }
        for index in &orphans {
            let digest = self.repository.revisions[*index].digest;
            let decision = policy.decide_orphaned_referrer(name, pushed(index), self.rules.now);
            if decision.is_expired() {
                gone.push((digest, Gone::Orphaned(decision)));
            } else {
                self.reach(digest, &Held::Untagged(decision));
            }
        }
        self.follow_subjects(decisions);
        gone
    }

    /// Manifests that one of `loose` refers to.
    fn children_of(&self, loose: &[usize]) -> FxHashSet<BlobId> {
        loose
            .iter()
            .filter_map(|&index| self.inventory.facts(self.repository.revisions[index].digest))
            .flat_map(|facts| facts.references.iter().map(|edge| edge.digest))
            .collect()
    }
}
