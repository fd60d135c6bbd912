//! The independent judge.
//!
//! It shares no code with the mark or the planner. The planner walks from roots to what they need; this one looks at what
//! would be left after the plan and asks of each remaining thing, one by one, whether all that it refers to remains too.
//! When that holds for every single one it holds for all that can be reached.

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

mod age;
mod bounds;
mod decisions;
mod keeps;
#[cfg(test)]
mod tests;
mod untagged;

use super::limits::Limits;
use super::refusal::Refusal;
use super::{Action, Counts, Mode, Plan, Step};
use crate::graph::Pins;
use crate::inventory::{BlobId, Body, Inventory, Link, Repository, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::policy::Policy;
use crate::store::Identity;

/// A plan that the checker has passed. Nothing else can be carried out.
#[derive(Debug)]
pub struct CheckedPlan(Plan);

impl CheckedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.0
    }

    /// Gives the plan up for execution: it can be carried out once.
    pub fn into_plan(self) -> Plan {
        self.0
    }
}

/// A plan that is not carried out, and why.
#[derive(Debug)]
pub struct Refused {
    /// The plan, to be shown.
    pub plan: Plan,
    /// Every reason.
    pub refusals: Vec<Refusal>,
}

/// What a plan is checked against.
#[derive(Debug, Clone, Copy)]
pub struct World<'w> {
    /// What is there now.
    pub inventory: &'w Inventory,
    /// Which store it is.
    pub store: &'w Identity,
    /// The policy, when there is one.
    pub policy: Option<&'w Policy>,
    /// Ages, margins, caps and ratios.
    pub limits: &'w Limits,
    /// What restores pinned.
    pub pins: &'w [Pins],
    /// Whether the user says that the registry is stopped or read-only.
    pub mode: Mode,
    /// What the last run left, where there was one.
    pub last: Option<&'w Counts>,
    /// The present moment.
    pub now: Timestamp,
}

/// Steps that would lose something are named up to this number.
const NAMED: usize = 20;

/// Judges `plan`. All refusals are given at once.
///
/// # Errors
/// The plan, with every reason not to carry it out.
pub fn check(plan: Plan, world: &World<'_>) -> Result<CheckedPlan, Box<Refused>> {
    let mut refusals = identity(&plan, world);
    refusals.extend(plausible(&plan, world));
    refusals.extend(within_limits(&plan, world));
    let after = After::of(&plan, world.inventory);
    let mut unsafe_steps = order(&plan);
    unsafe_steps.extend(after.unknown.iter().cloned());
    unsafe_steps.extend(remains(&after, world));
    unsafe_steps.extend(age::old_enough(&plan, &after, world));
    unsafe_steps.extend(decisions::allowed_by_policy(&plan, world));
    unsafe_steps.extend(bounds::in_place(&plan, world));
    unsafe_steps.extend(decisions::along(&plan, &after, world));
    unsafe_steps.extend(decisions::followers(&plan, &after, world));
    unsafe_steps.extend(untagged::let_go(&after, world));
    unsafe_steps.extend(bounds::unmoved(&plan, world));
    unsafe_steps.sort_by_key(|(step, _)| *step);
    unsafe_steps.dedup();
    refusals.extend(unsafe_steps.into_iter().take(NAMED).map(|(step, why)| Refusal::Unsafe { step, why }));
    if refusals.is_empty() { Ok(CheckedPlan(plan)) } else { Err(Box::new(Refused { plan, refusals })) }
}

type Violation = (usize, String);

fn identity(plan: &Plan, world: &World<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let header = &plan.header;
    // Validation: a plan names its world, and is worth nothing in another.
    if header.store != *world.store {
        refusals.push(Refusal::OtherStore {
            plan: format!("{} ({})", header.store.url, header.store.fingerprint),
            store: format!("{} ({})", world.store.url, world.store.fingerprint),
        });
    }
    // Validation: what was true a day ago is no evidence.
    let age = world.now.duration_since(header.listed_at);
    if age > world.limits.plan_age || age < -world.limits.clock_skew {
        let period = crate::config::values::Period::from_signed;
        refusals
            .push(Refusal::Stale { age: period(age).rough(), limit: period(world.limits.plan_age).rough() });
    }
    if world.policy.map(Policy::hash) != header.policy_hash {
        refusals.push(Refusal::OtherPolicy);
    }
    // Validation: what is safe with the registry stopped is not safe beside it.
    if header.mode == Mode::Offline && world.mode == Mode::Online {
        refusals.push(Refusal::Mode(
            "the plan is for a registry that is stopped or read-only: stop it and say --offline, or make a plan without"
                .into(),
        ));
    }
    if world.mode == Mode::Online {
        for (what, period) in [("grace", world.limits.grace), ("trash.keep", world.limits.trash_keep)] {
            if period.is_zero() {
                refusals.push(Refusal::Mode(format!(
                    "{what}: 0 is only for a registry that is stopped or read-only: write a longer one, or stop the \
                     registry and say --offline"
                )));
            }
        }
        if plan.steps.iter().any(|step| matches!(step.action, Action::Sweep { .. })) {
            refusals.push(Refusal::Mode(
                "sweeping data beside a registry that serves is not in this version: stop the registry, or set it \
                 read-only, and say --offline"
                    .into(),
            ));
        }
    }
    if world.inventory.pull_through_cache && !world.limits.pull_through_cache && !plan.steps.is_empty() {
        refusals.push(Refusal::PullThroughCache);
    }
    refusals
}

/// Validation: a listing that stops short looks like a mass death.
fn plausible(plan: &Plan, world: &World<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let now = [
        ("repositories", world.inventory.repositories.len() as u64),
        ("tags", world.inventory.tags() as u64),
        ("manifests", world.inventory.revisions() as u64),
    ];
    if let Some(last) = world.last {
        for ((what, now), before) in now.into_iter().zip([last.repositories, last.tags, last.manifests]) {
            let fell = before.saturating_sub(now);
            // A few are gone in any small registry: only many are a sign.
            if (fell > 10 || now == 0) && world.limits.shrink.is_exceeded_by(fell, before) {
                refusals.push(Refusal::Shrunk { what, now, before });
            }
        }
    }
    let manifests = now[2].1;
    let gone =
        plan.steps.iter().filter(|step| matches!(step.action, Action::DeleteManifest { .. })).count() as u64;
    if manifests > 0 && gone >= manifests && !world.limits.repository_may_empty {
        refusals.push(Refusal::NothingLeft { before: manifests });
    }
    refusals
}

fn within_limits(plan: &Plan, world: &World<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let limits = world.limits;
    let percent = |part: u64, whole: u64| (u128::from(part) * 100).div_ceil(u128::from(whole.max(1)));
    let (all, gone) = (world.inventory.tags() as u64, plan.tags_gone());
    if limits.tags.is_exceeded_by(gone, all) {
        refusals.push(Refusal::TooMuch {
            what: "tags",
            gone: gone.to_string(),
            all: all.to_string(),
            limit: limits.tags.to_string(),
            accept: format!("tags={}%", percent(gone, all)),
        });
    }
    let blobs = &world.inventory.blobs;
    let all: u64 = blobs.present().filter_map(|id| blobs.size(id)).sum();
    let gone: u64 = plan
        .steps
        .iter()
        .map(|step| match step.action {
            Action::Sweep { size, .. } => size,
            _ => 0,
        })
        .sum();
    if limits.bytes.is_exceeded_by(gone, all) {
        refusals.push(Refusal::TooMuch {
            what: "bytes",
            gone: gone.to_string(),
            all: all.to_string(),
            limit: limits.bytes.to_string(),
            accept: format!("bytes={}%", percent(gone, all)),
        });
    }
    if !limits.repository_may_empty {
        let mut gone: FxHashMap<&RepositoryName, u64> = FxHashMap::default();
        for step in &plan.steps {
            if let Action::Untag { repository, .. } = &step.action {
                *gone.entry(repository).or_default() += 1;
            }
        }
        let emptied: Vec<&Repository> = world
            .inventory
            .repositories
            .iter()
            .filter(|repository| {
                gone.get(&repository.name).is_some_and(|n| *n >= repository.tags.len() as u64)
            })
            .collect();
        if let Some(first) = emptied.first() {
            let others = match emptied.len() {
                1 => String::new(),
                n => format!(", and so would {} more", n - 1),
            };
            let tags = first.tags.len() as u64;
            refusals.push(Refusal::Empties { repository: first.name.clone(), tags, others });
        }
    }
    refusals
}

/// Validation: references go before what they refer to, and blobs before the trash is emptied.
fn order(plan: &Plan) -> Vec<Violation> {
    plan.steps
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0].action.stage() > pair[1].action.stage())
        .map(|(index, _)| (index + 1, "it comes after something that it must come before".to_owned()))
        .collect()
}

/// What the plan removes, by place; the value is the step.
struct After<'a> {
    /// Where each repository of the inventory stands in it.
    by_name: FxHashMap<&'a RepositoryName, usize>,
    tags: FxHashMap<(&'a RepositoryName, &'a TagName), usize>,
    manifests: FxHashMap<(usize, BlobId), usize>,
    links: FxHashMap<(usize, BlobId), usize>,
    data: FxHashMap<BlobId, usize>,
    repositories: FxHashMap<usize, usize>,
    purged: FxHashMap<BlobId, usize>,
    unknown: Vec<Violation>,
}

impl<'a> After<'a> {
    fn of(plan: &'a Plan, inventory: &'a Inventory) -> Self {
        let mut after = Self {
            by_name: inventory
                .repositories
                .iter()
                .enumerate()
                .map(|(index, one)| (&one.name, index))
                .collect(),
            tags: FxHashMap::default(),
            manifests: FxHashMap::default(),
            links: FxHashMap::default(),
            data: FxHashMap::default(),
            repositories: FxHashMap::default(),
            purged: FxHashMap::default(),
            unknown: Vec::new(),
        };
        let row = |digest: &Digest| inventory.blobs.find(digest);
        for (step, Step { action, .. }) in plan.steps.iter().enumerate() {
            let place = |repository: &RepositoryName, digest: &Digest| {
                after.by_name.get(repository).copied().zip(row(digest))
            };
            let known = match action {
                Action::Untag { repository, tag, .. } => {
                    after.tags.insert((repository, tag), step);
                    after.by_name.contains_key(repository)
                }
                Action::DeleteManifest { repository, digest, .. } => {
                    place(repository, digest).map(|place| after.manifests.insert(place, step)).is_some()
                }
                Action::Unlink { repository, digest } => {
                    place(repository, digest).map(|place| after.links.insert(place, step)).is_some()
                }
                Action::Sweep { digest, .. } => row(digest).map(|id| after.data.insert(id, step)).is_some(),
                Action::RemoveRepository { repository } => {
                    let index = after.by_name.get(repository).copied();
                    index.map(|index| after.repositories.insert(index, step)).is_some()
                }
                Action::Purge { digest, .. } => {
                    if let Some(id) = digest.as_ref().and_then(row) {
                        after.purged.insert(id, step);
                    }
                    true
                }
                Action::RemoveDirectory { .. }
                | Action::Abandon { .. }
                | Action::Heal { .. }
                | Action::Relink { .. } => true,
            };
            // Validation: what is not there any more was changed by somebody else.
            if !known {
                after.unknown.push((step, "what it removes is not in the store as it is now".into()));
            }
        }
        after
    }
}

/// Validation: everything that remains keeps everything that it refers to.
fn remains(after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let aliases = alias_targets(world.inventory);
    for index in 0..world.inventory.repositories.len() {
        let mut left = Left { after, world, aliases: &aliases, index, found: &mut found };
        left.repository();
    }
    for digest in world.pins.iter().filter(|pins| pins.until > world.now).flat_map(|pins| &pins.blobs) {
        if let Some(step) = world.inventory.blobs.find(digest).and_then(|id| after.data.get(&id)) {
            found.push((*step, format!("{digest}: a restore brought it back a short while ago")));
        }
    }
    if world.inventory.gaps.iter().any(|gap| gap.repository.is_none()) {
        let why = || "something of the store could not be listed, and may need it".to_owned();
        let removed = [&after.manifests, &after.links].into_iter().flat_map(|places| places.values());
        let removed =
            removed.chain(after.tags.values()).chain(after.data.values()).chain(after.repositories.values());
        found.extend(removed.map(|step| (*step, why())));
    }
    found
}

fn alias_targets(inventory: &Inventory) -> FxHashMap<BlobId, FxHashSet<BlobId>> {
    let mut targets: FxHashMap<BlobId, FxHashSet<BlobId>> = FxHashMap::default();
    for repository in &inventory.repositories {
        for alias in &repository.aliases {
            targets.entry(alias.alias).or_default().extend(alias.target);
        }
    }
    targets
}

struct Left<'l> {
    after: &'l After<'l>,
    world: &'l World<'l>,
    aliases: &'l FxHashMap<BlobId, FxHashSet<BlobId>>,
    index: usize,
    found: &'l mut Vec<Violation>,
}

impl Left<'_> {
    fn repository(&mut self) {
        let inventory = self.world.inventory;
        let repository = &inventory.repositories[self.index];
        let (after, index) = (self.after, self.index);
        let manifest_left = |id: BlobId| !after.manifests.contains_key(&(index, id));
        let linked: FxHashSet<BlobId> = repository
            .revisions
            .iter()
            .filter(|revision| revision.link != Link::Missing)
            .map(|revision| revision.digest)
            .collect();
        let remaining: Vec<BlobId> = linked.iter().copied().filter(|id| manifest_left(*id)).collect();
        for tag in &repository.tags {
            if let Target::Manifest(id) = tag.target
                && !self.after.tags.contains_key(&(&repository.name, &tag.name))
            {
                let what = format!("the tag {}:{} points to it", repository.name, tag.name);
                self.must_stay(id, &what);
                if !linked.contains(&id) {
                    self.manifest(id, &linked);
                }
            }
        }
        for id in &remaining {
            self.manifest(*id, &linked);
        }
        // A referrer lives as long as its subject.
        for id in linked.iter().filter(|id| !manifest_left(**id)) {
            if let Some(subject) = inventory.facts(*id).and_then(|facts| facts.subject)
                && linked.contains(&subject)
                && manifest_left(subject)
                && let Some(step) = self.after.manifests.get(&(self.index, *id))
            {
                self.found.push((*step, format!("it is a referrer of {}", inventory.blobs.digest(subject))));
            }
        }
        if let Some(step) = self.after.repositories.get(&self.index) {
            let tags_left = repository
                .tags
                .iter()
                .any(|tag| !self.after.tags.contains_key(&(&repository.name, &tag.name)));
            if tags_left || !remaining.is_empty() || repository.pinned {
                self.found.push((*step, format!("{} is not empty", repository.name)));
            }
        }
        self.pinned(repository, &remaining);
    }

    /// Something in the repository could not be read, so all of it stays, and every blob that it links.
    fn pinned(&mut self, repository: &Repository, remaining: &[BlobId]) {
        let inventory = self.world.inventory;
        let unreadable = |id: &BlobId| matches!(inventory.manifests.get(id), Some(Body::Unreadable(_)));
        let torn = |tag: &crate::inventory::Tag| match tag.target {
            Target::Corrupt(_) => true,
            Target::Manifest(id) => {
                unreadable(&id) && !self.after.tags.contains_key(&(&repository.name, &tag.name))
            }
            Target::Missing => false,
        };
        let blind = repository.pinned || remaining.iter().any(unreadable) || repository.tags.iter().any(torn);
        if blind {
            let why = format!("something in {} could not be read", repository.name);
            let links = repository.layers.iter().map(|layer| layer.digest);
            let aliased =
                repository.aliases.iter().flat_map(|alias| std::iter::once(alias.alias).chain(alias.target));
            let revisions = repository.revisions.iter().map(|revision| revision.digest);
            let signatures = repository.signatures.iter().map(|(_, signature)| *signature);
            let every: Vec<BlobId> = links.chain(aliased).chain(revisions).chain(signatures).collect();
            for id in every {
                self.must_stay(id, &why);
            }
            for tag in &repository.tags {
                if let Some(step) = self.after.tags.get(&(&repository.name, &tag.name)) {
                    self.found.push((*step, why.clone()));
                }
            }
        }
        for pins in self.world.pins.iter().filter(|pins| pins.until > self.world.now) {
            let why = "a restore brought it back a short while ago";
            for (_, tag) in pins.tags.iter().filter(|(name, _)| *name == repository.name) {
                if let Some(step) = self.after.tags.get(&(&repository.name, tag)) {
                    self.found.push((*step, why.to_owned()));
                }
            }
            for (_, digest) in pins.revisions.iter().filter(|(name, _)| *name == repository.name) {
                if let Some(id) = inventory.blobs.find(digest) {
                    self.must_stay(id, why);
                }
            }
        }
    }

    /// Neither data, nor manifest, nor link of `id` in this repository may go.
    fn must_stay(&mut self, id: BlobId, why: &str) {
        let place = (self.index, id);
        let after = self.after;
        for step in
            [after.data.get(&id), after.manifests.get(&place), after.links.get(&place)].into_iter().flatten()
        {
            self.found.push((*step, format!("{}: {why}", self.world.inventory.blobs.digest(id))));
        }
        if let Some(step) = after.purged.get(&id)
            && !self.world.inventory.blobs.is_present(id)
        {
            self.found.push((
                *step,
                format!("{} is missing and needed: {why}", self.world.inventory.blobs.digest(id)),
            ));
        }
    }

    /// A manifest that remains, and those below it that no repository lists.
    fn manifest(&mut self, root: BlobId, linked: &FxHashSet<BlobId>) {
        let inventory = self.world.inventory;
        let mut pending = vec![root];
        let mut seen = FxHashSet::default();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            let why = format!("the manifest {} stays and needs it", inventory.blobs.digest(root));
            self.must_stay(id, &why);
            for (manifest, signature) in &inventory.repositories[self.index].signatures {
                if *manifest == id {
                    self.must_stay(*signature, &why);
                }
            }
            let Some(facts) = inventory.facts(id) else { continue };
            for edge in &facts.references {
                let mut targets: Vec<BlobId> = vec![edge.digest];
                targets.extend(self.aliases.get(&edge.digest).into_iter().flatten());
                for target in targets {
                    self.must_stay(target, &why);
                    // One that this repository lists is judged by itself.
                    if !linked.contains(&target) && inventory.manifests.contains_key(&target) {
                        pending.push(target);
                    }
                }
            }
        }
    }
}
