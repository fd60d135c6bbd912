//! No tag goes that the policy keeps.
//!
//! What a plan file says of a tag, its decision included, is not believed: the class that the tag falls into and what
//! the rule of that class holds are read anew from the policy and from what is in the store now. As for manifests
//! without a tag, neither the mark nor the policy's own evaluation is asked.
//!
//! All rules are read in full. Two bounds are weaker than the policy, so that time that passes between a plan and its
//! run never turns a good plan into a refused one: which tags `max_delete` and `min_keep` let go first is asked as of
//! the moment that the plan was made, see [`Judge::held_back`]; and a tag that leads nowhere and names its subject
//! stays for that subject only where a tag that stays points to it, see [`Judge::follower_kept`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

use super::pulls::{Age, last_pull};
use super::ranks::{Class, Member};
use super::times::time_of;
use super::untagged::orphan_kept;
use super::{After, Violation, World, keeps};
use crate::inventory::{BlobId, Body, Link, Repository, Tag, Target};
use crate::oci::{Digest, TagName};
use crate::plan::{Action, Plan};
use crate::policy::{Clock, Keep, OrderBy, Policy, RepositoryPolicy};

/// Validation: a tag goes only where the rule of its class lets it go, whatever the plan says of it.
pub(super) fn let_go(plan: &Plan, after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
    // Without a policy no tag goes at all, which is another rule's refusal.
    let Some(policy) = world.policy else { return Vec::new() };
    let mut going: FxHashMap<usize, Vec<(usize, &TagName)>> = FxHashMap::default();
    for (step, one) in plan.steps.iter().enumerate() {
        if let Action::Untag { repository, tag, .. } = &one.action
            && let Some(index) = after.by_name.get(repository)
        {
            going.entry(*index).or_default().push((step, tag));
        }
    }
    let then = plan.header.listed_at.min(world.now);
    let mut found = Vec::new();
    for (index, going) in going {
        let repository = &world.inventory.repositories[index];
        let name = repository.name.as_str();
        // As above: where no policy governs, nothing goes.
        let governs = |rules: &&RepositoryPolicy| rules.repositories.matches(name);
        let Some(rules) = policy.policies().iter().find(governs) else { continue };
        found.extend(Judge::of(after, world, policy, rules, repository).judge(&going, then));
    }
    found
}

/// What a tag's name makes of it.
enum Lot<'t> {
    /// A protection holds it, which is another rule's refusal.
    Protected,
    /// It is about what it names, by algorithm and digits, and has no say of its own.
    Follows(&'t str, &'t str),
    /// It belongs to the class with this number, or to `other`.
    Class(Option<usize>),
}

/// The algorithm and the digits of what a tag is about by its name; `None` when it is one like any other.
pub(super) fn follows(tag: &TagName) -> Option<(&str, &str)> {
    let (algorithm, rest) = tag.as_str().split_once('-')?;
    let (hex, suffix) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    let known = matches!((algorithm, hex.len()), ("sha256" | "sha512", 64) | ("sha512", 128))
        && matches!(suffix, "" | ".sig" | ".att" | ".sbom")
        && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    known.then_some((algorithm, hex))
}

/// Tags compete with those of their class that, like themselves, lead to a manifest or do not: one that nobody can pull
/// takes no place from one that somebody can.
type Bracket = (bool, Option<usize>);

/// The tags of a repository at one moment.
struct Standing<'s> {
    at: Timestamp,
    classes: BTreeMap<Bracket, Class<'s>>,
    /// How many tags `min_keep` counts, of those that lead nowhere and of those that do not.
    counted: [u64; 2],
}

/// Tags that nothing holds but, maybe, a limit, by time and name; the value is the step and the tag.
type Free<'f> = BTreeMap<Member<'f>, (usize, &'f TagName)>;

struct Judge<'j> {
    after: &'j After<'j>,
    world: &'j World<'j>,
    policy: &'j Policy,
    rules: &'j RepositoryPolicy,
    repository: &'j Repository,
    /// When each manifest was pushed that the repository has a link of, where that is known.
    pushed: FxHashMap<BlobId, Option<Timestamp>>,
    /// Since when no pull went unseen.
    begins: Timestamp,
}

impl<'j> Judge<'j> {
    fn of(
        after: &'j After<'j>,
        world: &'j World<'j>,
        policy: &'j Policy,
        rules: &'j RepositoryPolicy,
        repository: &'j Repository,
    ) -> Self {
        let there = repository.revisions.iter().filter(|revision| revision.link != Link::Missing);
        let pushed = there.map(|one| (one.digest, one.pushed)).collect();
        let begins = world.pulls.begins(world.now, policy.pulls().max_gap);
        Self { after, world, policy, rules, repository, pushed, begins }
    }

    fn judge(&self, going: &[(usize, &'j TagName)], then: Timestamp) -> Vec<Violation> {
        let listed: FxHashMap<&TagName, &Tag> =
            self.repository.tags.iter().map(|tag| (&tag.name, tag)).collect();
        let standing = self.standing(self.world.now);
        let pointed_to = self.pointed_to();
        let mut free = [Free::new(), Free::new()];
        let mut found = Vec::new();
        for &(step, name) in going {
            let tag = listed.get(name).copied();
            let kept = match self.lot(name) {
                Lot::Protected => None,
                Lot::Follows(algorithm, hex) => {
                    let subject = Digest::from_parts(algorithm, hex).ok();
                    let subject = subject.and_then(|one| self.world.inventory.blobs.find(&one));
                    tag.and_then(|tag| self.follower_kept(tag, subject, &pointed_to))
                }
                Lot::Class(class) => match (self.kept_whole(class), tag) {
                    (Some(why), _) => Some(why.to_owned()),
                    // One that is not there any more is no loss.
                    (None, None) => None,
                    (None, Some(tag)) => match self.expired(tag, class, &standing) {
                        Err(why) => Some(why),
                        Ok(member) => {
                            free[usize::from(self.serves(tag))].insert(member, (step, name));
                            None
                        }
                    },
                },
            };
            found.extend(kept.map(|why| (step, self.sentence(name, &why))));
        }
        for (serves, free) in [false, true].into_iter().zip(free) {
            found.extend(self.held_back(serves, &free, &standing, then));
        }
        found
    }

    fn sentence(&self, tag: &TagName, why: &str) -> String {
        let class = match self.lot(tag) {
            Lot::Class(class) => format!(", class {}", self.class_name(class)),
            Lot::Protected | Lot::Follows(..) => String::new(),
        };
        let (repository, policy) = (&self.repository.name, &self.rules.name);
        format!("the policy keeps the tag {repository}:{tag}: policy {policy}{class}: {why}")
    }

    fn class_name(&self, class: Option<usize>) -> &str {
        class.map_or("other", |class| &*self.rules.classes[class].class.name)
    }

    fn lot<'t>(&self, tag: &'t TagName) -> Lot<'t> {
        let name = tag.as_str();
        let protected = [&self.policy.protection().tags, &self.rules.protect, &self.rules.preset_protect];
        if protected.iter().any(|list| list.matches(name)) {
            return Lot::Protected;
        }
        match follows(tag) {
            Some((algorithm, hex)) => Lot::Follows(algorithm, hex),
            None => Lot::Class(self.rules.classes.iter().position(|one| one.class.matches.matches(name))),
        }
    }

    fn rule(&self, class: Option<usize>) -> (Option<&'j Keep>, &'j OrderBy) {
        match class {
            Some(class) => {
                let class = &self.rules.classes[class];
                (class.keep.as_ref(), &class.class.order_by)
            }
            None => (self.rules.other.as_ref(), &OrderBy::Clock),
        }
    }

    /// Why a class keeps all its tags, whatever their times.
    fn kept_whole(&self, class: Option<usize>) -> Option<&'static str> {
        match self.rule(class).0 {
            None if class.is_some() => Some("it has no rule for this class"),
            None => Some("no class matches it, and there is no rule for other"),
            Some(Keep::All) => Some("it says keep: all"),
            Some(Keep::None | Keep::Any(_)) => None,
        }
    }

    /// Whether the tag leads to a manifest that can be served.
    fn serves(&self, tag: &Tag) -> bool {
        let Target::Manifest(id) = tag.target else { return false };
        let lost = matches!(self.world.inventory.manifests.get(&id), Some(Body::Missing));
        self.pushed.contains_key(&id) && !lost
    }

    /// A tag's time by the policy's clock and the newest of its times, when all that a rule needs is known and has come.
    fn times(&self, tag: &Tag, at: Timestamp) -> Result<(Age, Timestamp), &'static str> {
        let manifest = match tag.target {
            Target::Manifest(id) => Some(id),
            Target::Missing | Target::Corrupt(_) => None,
        };
        let pushed = manifest.and_then(|id| self.pushed.get(&id).copied().flatten()).or(tag.tagged);
        let known = match self.rules.clock {
            Clock::Tagged => tag.tagged.map(Age::known),
            Clock::Pulled => pushed.map(|pushed| {
                last_pull(self.world, self.begins, &self.repository.name, Some(&tag.name), manifest, pushed)
            }),
            clock => time_of(self.world.inventory, clock, manifest, pushed).map(Age::known),
        };
        let Some(age) = known else { return Err("nobody knows its time") };
        // It may have been moved a moment ago to an old manifest.
        if tag.tagged.is_none() && !self.policy.grace().is_zero() {
            return Err("nobody knows when it was written");
        }
        let newest = [tag.tagged, pushed].into_iter().flatten().fold(age.time, Timestamp::max);
        if newest > at {
            return Err("its time lies in the future, so nobody knows its age");
        }
        Ok((age, newest))
    }

    fn standing(&self, at: Timestamp) -> Standing<'j> {
        let mut counted = [0; 2];
        let mut members: BTreeMap<Bracket, Vec<Member<'j>>> = BTreeMap::new();
        for tag in &self.repository.tags {
            let Lot::Class(class) = self.lot(&tag.name) else { continue };
            let serves = self.serves(tag);
            if self.kept_whole(class).is_some() {
                counted[usize::from(serves)] += 1;
            } else if let Ok((age, _)) = self.times(tag, at) {
                counted[usize::from(serves)] += 1;
                members.entry((serves, class)).or_default().push(Member {
                    time: age.time,
                    name: tag.name.as_str(),
                    open: age.open,
                });
            }
        }
        let ranked = members.into_iter().filter_map(|(bracket, members)| {
            let (rule, order) = self.rule(bracket.1);
            Some((bracket, Class::of(rule?, order, at, &members)))
        });
        Standing { at, classes: ranked.collect(), counted }
    }

    /// A tag that may go unless a limit holds it, or why it stays.
    fn expired(
        &self,
        tag: &'j Tag,
        class: Option<usize>,
        standing: &Standing<'_>,
    ) -> Result<Member<'j>, String> {
        let (age, newest) = self.times(tag, standing.at)?;
        let member = Member { time: age.time, name: tag.name.as_str(), open: age.open };
        if let Some(why) = standing.classes.get(&(self.serves(tag), class)).and_then(|one| one.held(member)) {
            return Err(why);
        }
        if standing.at.duration_since(newest) < self.policy.grace().as_signed() {
            return Err("it was written or pushed within the grace".to_owned());
        }
        Ok(member)
    }

    /// Those of `free` that `max_delete` and `min_keep` hold: the oldest go first, and no more than both let go.
    ///
    /// Tags expire while a plan waits to be carried out, some of them older than those in the plan, where their classes
    /// keep them longer. They would have gone first had they been expired when it was made, so only those count as older
    /// that were. The moment comes from the plan: one that lies about it, by a day at most, changes which tags go
    /// first, but not how many go, nor takes any that another rule keeps.
    fn held_back(
        &self,
        serves: bool,
        free: &Free<'_>,
        standing: &Standing<'_>,
        then: Timestamp,
    ) -> Vec<Violation> {
        let limits = self.rules.limits;
        let spare = |least| standing.counted[usize::from(serves)].saturating_sub(least);
        let most = [("max_delete", limits.max_delete), ("min_keep", limits.min_keep.map(spare))];
        let most = most.into_iter().filter_map(|(limit, most)| most.map(|most| (most, limit))).min();
        let Some((most, limit)) = most.filter(|_| !free.is_empty()) else { return Vec::new() };
        let standing = self.standing(then);
        let of_these = self.repository.tags.iter().filter(|tag| self.serves(tag) == serves);
        let mut expired: Vec<Member<'_>> = of_these
            .filter_map(|tag| match self.lot(&tag.name) {
                Lot::Class(class) if self.kept_whole(class).is_none() => {
                    self.expired(tag, class, &standing).ok()
                }
                _ => None,
            })
            .collect();
        expired.sort_unstable();
        let mut found = Vec::new();
        for (place, (member, (step, tag))) in free.iter().enumerate() {
            let older = keeps::count(expired.partition_point(|other| other < member));
            if older >= most || keeps::count(place) >= most {
                let why = format!("{limit} holds it, as older ones go first");
                found.push((*step, self.sentence(tag, &why)));
            }
        }
        found
    }

    /// What the tags that stay point to, those left out that follow something themselves.
    fn pointed_to(&self) -> FxHashSet<BlobId> {
        let stays = |tag: &&Tag| !self.after.tags.contains_key(&(&self.repository.name, &tag.name));
        let tags = self.repository.tags.iter().filter(stays);
        let tags = tags.filter(|tag| !matches!(self.lot(&tag.name), Lot::Follows(..)));
        tags.filter_map(|tag| match tag.target {
            Target::Manifest(id) => Some(id),
            Target::Missing | Target::Corrupt(_) => None,
        })
        .collect()
    }

    /// Why a tag stays that names its subject. With the subject here it goes when the subject does, which another rule
    /// asks of the tags that lead to a manifest; one that leads nowhere says nothing about a subject that something else
    /// than a tag holds.
    fn follower_kept(
        &self,
        tag: &Tag,
        subject: Option<BlobId>,
        pointed_to: &FxHashSet<BlobId>,
    ) -> Option<String> {
        match subject.filter(|subject| self.pushed.contains_key(subject)) {
            Some(subject) => pointed_to
                .contains(&subject)
                .then(|| "a tag that stays points to what it is about".to_owned()),
            None => orphan_kept(self.policy, self.world.now, tag.tagged).map(str::to_owned),
        }
    }
}
