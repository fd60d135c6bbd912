//! No manifest goes that no tag holds and that the policy keeps.
//!
//! A plan says of each of its steps which decision led to it, and a plan file can say anything. So the decision is made
//! again, by the words of the policy and what is in the store now. Neither the mark's walk nor the policy's own
//! evaluation is asked: this one reads the rules by itself, and where both do not agree nothing is done.

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

use super::keeps::{Keeps, Times};
use super::named::Claims;
use super::pulls::{Age, last_pull};
use super::remains::alias_targets;
use super::tagged::follows;
use super::times::time_of;
use super::{After, Violation, World};
use crate::inventory::{BlobId, Link, Repository, Target};
use crate::oci::{Digest, TagName};
use crate::plan::Plan;
use crate::policy::{Clock, Policy, RepositoryPolicy};

/// Validation: what no tag holds goes only where the policy's rule for it lets it go, whatever the plan says of it.
pub(super) fn let_go(plan: &Plan, after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
    // Without a policy no manifest goes at all, which is another rule's refusal.
    let Some(policy) = world.policy else { return Vec::new() };
    let mut going: FxHashMap<usize, Vec<(usize, BlobId)>> = FxHashMap::default();
    for ((index, id), step) in &after.manifests {
        going.entry(*index).or_default().push((*step, *id));
    }
    let aliases = if going.is_empty() { FxHashMap::default() } else { alias_targets(world.inventory) };
    let claims = Claims::of(world);
    let mut found = Vec::new();
    for (index, going) in going {
        let repository = &world.inventory.repositories[index];
        // As above: where no policy governs, nothing goes.
        let Some(rules) = policy.for_repository(repository.name.as_str()) else { continue };
        let judge = Judge { after, world, policy, rules, repository, aliases: &aliases, claims: &claims };
        found.extend(judge.judge(&going, plan.header.listed_at.min(world.now)));
    }
    found
}

/// A tag whose name says what it is about, and that no protection holds: it has no say of its own.
struct Follower {
    /// Where its subject is in the table of digests, if it is there.
    subject: Option<BlobId>,
    /// What it points to.
    target: BlobId,
    /// When it was written.
    tagged: Option<Timestamp>,
}

/// What holds the manifests of a repository, other than the rule for those without a tag.
struct Standing {
    /// Held by a tag that stays, by a restore, by a list, or by being young: these, and all that belongs to them.
    held: FxHashSet<BlobId>,
    /// Followers by what they point to, where nothing else holds it.
    followed: FxHashMap<BlobId, Vec<Follower>>,
    /// Those that something of their own kind refers to.
    children: FxHashSet<BlobId>,
}

struct Judge<'j> {
    after: &'j After<'j>,
    world: &'j World<'j>,
    policy: &'j Policy,
    rules: &'j RepositoryPolicy,
    repository: &'j Repository,
    aliases: &'j FxHashMap<BlobId, FxHashSet<BlobId>>,
    claims: &'j Claims<'j>,
}

impl Judge<'_> {
    fn judge(&self, going: &[(usize, BlobId)], then: Timestamp) -> Vec<Violation> {
        // When each manifest was pushed that the repository has a link of, where that is known.
        let there = self.repository.revisions.iter().filter(|revision| revision.link != Link::Missing);
        let linked: FxHashMap<BlobId, Option<Timestamp>> =
            there.map(|one| (one.digest, one.pushed)).collect();
        let begins = self.world.pulls.begins(self.world.now, self.policy.pulls().max_gap);
        let now = self.world.now;
        let standing = self.standing(&linked, now);
        let times = |id: BlobId, pushed: Option<Timestamp>| {
            let age = match self.rules.clock {
                Clock::Pulled => pushed.map(|pushed| {
                    last_pull(self.world, begins, &self.repository.name, None, Some(id), pushed)
                }),
                clock => time_of(self.world.inventory, clock, Some(id), pushed).map(Age::known),
            };
            Times { time: age.map(|age| age.time), open: age.is_some_and(|age| age.open), pushed }
        };
        let heads_of = |standing: &Standing| -> Vec<Times> {
            let is_head = |id: BlobId| {
                !standing.held.contains(&id)
                    && !standing.followed.contains_key(&id)
                    && !standing.children.contains(&id)
                    && self.subject(id).is_none()
            };
            linked.iter().filter(|(id, _)| is_head(**id)).map(|(id, pushed)| times(*id, *pushed)).collect()
        };
        let of_then = heads_of(&self.standing(&linked, then));
        let of_now = heads_of(&standing);
        let rule = self.rules.untagged.as_ref();
        let keeps = Keeps::of(rule, self.policy.grace(), (then, &of_then), (now, &of_now));
        let most = self.rules.limits.max_delete;
        let mut found = Vec::new();
        let mut heads = Vec::new();
        for &(step, id) in going {
            // One that is not there any more is no loss.
            let Some(&pushed) = linked.get(&id) else { continue };
            let why = if standing.held.contains(&id) {
                Some("a tag that stays holds it, or it is young, or it belongs to such a one")
            } else if let Some(followers) = standing.followed.get(&id) {
                let here =
                    |one: &&Follower| !one.subject.is_some_and(|subject| linked.contains_key(&subject));
                followers
                    .iter()
                    .filter(here)
                    .find_map(|one| orphan_kept(self.policy, self.world.now, one.tagged))
            } else if let Some(subject) = self.subject(id) {
                // With the subject here, it goes when the subject does: another rule's question.
                if linked.contains_key(&subject) {
                    None
                } else {
                    orphan_kept(self.policy, self.world.now, pushed)
                }
            } else if standing.children.contains(&id) {
                // It goes when what refers to it does: another rule's question.
                None
            } else {
                let times = times(id, pushed);
                heads.push((times.time, step, id));
                keeps.why_kept(times, most)
            };
            found.extend(why.map(|why| (step, self.sentence(id, why))));
        }
        heads.sort_unstable_by_key(|(time, step, _)| (*time, *step));
        let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        found.extend(heads.iter().skip(most).map(|(_, step, id)| {
            (*step, self.sentence(*id, "more would go than max_delete lets go in one run"))
        }));
        found
    }

    fn sentence(&self, id: BlobId, why: &str) -> String {
        format!("the policy keeps the manifest {}: {why}", self.world.inventory.blobs.digest(id))
    }

    fn subject(&self, id: BlobId) -> Option<BlobId> {
        self.world.inventory.facts(id).and_then(|facts| facts.subject)
    }

    fn standing(&self, linked: &FxHashMap<BlobId, Option<Timestamp>>, at: Timestamp) -> Standing {
        let mut followers = Vec::new();
        let mut pending = self.held_anyway(at);
        for tag in &self.repository.tags {
            let Target::Manifest(target) = tag.target else { continue };
            if let Some((algorithm, hex)) = self.followed_by(&tag.name) {
                let subject = Digest::from_parts(algorithm, hex).ok();
                let subject = subject.and_then(|subject| self.world.inventory.blobs.find(&subject));
                followers.push(Follower { subject, target, tagged: tag.tagged });
            } else if !self.after.tags.contains_key(&(&self.repository.name, &tag.name)) {
                pending.push(target);
            }
        }
        let mut belongings: FxHashMap<BlobId, Vec<BlobId>> = FxHashMap::default();
        for id in linked.keys() {
            if let Some(subject) = self.subject(*id) {
                belongings.entry(subject).or_default().push(*id);
            }
        }
        for follower in &followers {
            if let Some(subject) = follower.subject.filter(|subject| linked.contains_key(subject)) {
                belongings.entry(subject).or_default().push(follower.target);
            }
        }
        let held = self.closure(pending, &belongings);
        let mut followed: FxHashMap<BlobId, Vec<Follower>> = FxHashMap::default();
        for follower in followers {
            if !held.contains(&follower.target) {
                followed.entry(follower.target).or_default().push(follower);
            }
        }
        let children = linked
            .keys()
            .filter(|id| !held.contains(id) && !followed.contains_key(id))
            .filter_map(|id| self.world.inventory.facts(*id))
            .flat_map(|facts| facts.references.iter().map(|edge| edge.digest))
            .collect();
        Standing { held, followed, children }
    }

    /// Manifests that stay, whatever a rule says: young ones, restored ones, and those that somebody names.
    fn held_anyway(&self, at: Timestamp) -> Vec<BlobId> {
        let (world, grace) = (self.world, self.world.limits.grace.as_signed());
        let young = self
            .repository
            .revisions
            .iter()
            .filter(|one| one.link != Link::Missing)
            .filter(|one| one.changed.is_none_or(|changed| at.duration_since(changed) < grace))
            .map(|one| one.digest);
        let restored = world
            .pins
            .iter()
            .filter(|pins| pins.until > at)
            .flat_map(|pins| &pins.revisions)
            .filter(|(name, _)| *name == self.repository.name)
            .filter_map(|(_, digest)| world.inventory.blobs.find(digest));
        let named = self.claims.manifests(world, self.repository);
        young.chain(restored).chain(named).collect()
    }

    /// These manifests with all that they refer to and all that belongs to any of them.
    fn closure(
        &self,
        mut pending: Vec<BlobId>,
        belongings: &FxHashMap<BlobId, Vec<BlobId>>,
    ) -> FxHashSet<BlobId> {
        let inventory = self.world.inventory;
        let mut held = FxHashSet::default();
        while let Some(id) = pending.pop() {
            if !held.insert(id) {
                continue;
            }
            pending.extend(belongings.get(&id).into_iter().flatten());
            for edge in inventory.facts(id).into_iter().flat_map(|facts| &facts.references) {
                let aliased = self.aliases.get(&edge.digest).into_iter().flatten();
                let targets = std::iter::once(&edge.digest).chain(aliased);
                pending.extend(targets.filter(|target| inventory.manifests.contains_key(target)));
            }
        }
        held
    }

    /// The algorithm and the digits of what a tag follows by its name; `None` when it is one like any other, or
    /// protected.
    fn followed_by<'t>(&self, tag: &'t TagName) -> Option<(&'t str, &'t str)> {
        let protected = [&self.policy.protection().tags, &self.rules.protect, &self.rules.preset_protect];
        if protected.iter().any(|list| list.matches(tag.as_str())) {
            return None;
        }
        follows(tag)
    }
}

/// Why something whose subject is gone stays a while, counted from `since`.
pub(super) fn orphan_kept(policy: &Policy, now: Timestamp, since: Option<Timestamp>) -> Option<&'static str> {
    let Some(since) = since.filter(|since| *since <= now) else {
        return Some("its subject is gone, and nobody knows for how long");
    };
    let age = now.duration_since(since);
    let waits = age <= policy.referrers_orphaned_after().as_signed();
    (waits || age < policy.grace().as_signed())
        .then_some("its subject is gone, but not for as long as referrers.orphaned_after")
}
