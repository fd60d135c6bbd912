//! The independent judge.
//!
//! It shares no code with the mark or the planner. The planner walks from roots to what they need; this one looks at what
//! would be left after the plan and asks of each remaining thing, one by one, whether all that it refers to remains too.
//! When that holds for every single one it holds for all that can be reached.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustc_hash::FxHashMap;

mod age;
mod assets;
mod bounds;
mod decisions;
mod keeps;
mod managed;
mod mended;
mod named;
mod online;
mod orders;
mod pulls;
mod ranks;
mod recorded;
mod remains;
mod tagged;
#[cfg(test)]
mod tests;
mod times;
mod untagged;
mod versions;

use super::limits::Limits;
use super::refusal::Refusal;
use super::{Action, Condemnation, Counts, Halted, Mode, Plan, PurgeBan, RecordMode, Step, Taken};
use crate::graph::Pins;
use crate::inventory::{BlobId, Inventory, Repository};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::policy::Policy;
use crate::sources::{PullRecord, References};
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
    /// Blobs that earlier runs saw with nothing that refers or links to them.
    pub condemned: &'w FxHashMap<Digest, Condemnation>,
    /// What recent runs took.
    pub taken: &'w Taken,
    /// What may not be purged beside a registry that serves.
    pub purge_ban: Option<&'w PurgeBan>,
    /// Whether the user says that the registry is stopped or read-only.
    pub mode: Mode,
    /// What goes of a store whose owner keeps a database.
    pub records: RecordMode,
    /// Whether the user says that its owner does nothing meanwhile.
    pub halted: Option<Halted>,
    /// What the last run left, where there was one.
    pub last: Option<&'w Counts>,
    /// When the runs ended that have something in the trash.
    pub ended: &'w BTreeMap<String, Timestamp>,
    /// What lists of pins name, and what runs.
    pub references: &'w References,
    /// When images were pulled.
    pub pulls: &'w PullRecord,
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
    // Validation: a source that does not answer may name anything. What is given back needs none.
    if !plan.mends {
        refusals.extend(world.references.failures.iter().cloned().map(Refusal::Source));
    }
    refusals.extend(assets::of_records(&plan, world));
    refusals.extend(managed::allowed(&plan, world));
    let after = After::of(&plan, world.inventory);
    let mut unsafe_steps = order(&plan);
    unsafe_steps.extend(after.unknown.iter().cloned());
    unsafe_steps.extend(remains::remains(&after, world));
    unsafe_steps.extend(age::old_enough(&plan, &after, world));
    unsafe_steps.extend(decisions::allowed_by_policy(&plan, world));
    unsafe_steps.extend(bounds::in_place(&plan, world));
    unsafe_steps.extend(bounds::kept_long_enough(&plan, world));
    unsafe_steps.extend(decisions::along(&plan, &after, world));
    unsafe_steps.extend(decisions::followers(&plan, &after, world));
    unsafe_steps.extend(named::held(&plan, world));
    unsafe_steps.extend(tagged::let_go(&plan, &after, world));
    unsafe_steps.extend(untagged::let_go(&plan, &after, world));
    unsafe_steps.extend(bounds::unmoved(&plan, world));
    unsafe_steps.extend(online::waited(&after, world));
    unsafe_steps.extend(mended::first(&plan, world));
    unsafe_steps.extend(assets::unknown(&plan, world));
    unsafe_steps.extend(recorded::whole(&plan, &after, world));
    unsafe_steps.extend(managed::listed(&plan, &after, world));
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
        // Validation: what a cache may still answer for is not deleted for good.
        if let Some(ban) = world.purge_ban
            && plan.steps.iter().any(|step| {
                matches!(&step.action, Action::Purge { place, .. }
                    if ban.covers(bounds::was_manifest(place)))
            })
        {
            refusals.push(Refusal::Mode(ban.why.clone()));
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
            // A bucket has no repository without anything in it: one that the last run left empty is gone.
            let nothing_left = last.tags == 0 && last.manifests == 0;
            let before = if nothing_left { 0 } else { before };
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
                | Action::Discard { .. }
                | Action::AbortUpload { .. }
                | Action::RunTask { .. }
                | Action::Heal { .. }
                | Action::Relink { .. }
                | Action::RelinkManifest { .. }
                | Action::Retag { .. } => true,
            };
            // Validation: what is not there any more was changed by somebody else.
            if !known {
                after.unknown.push((step, "what it removes is not in the store as it is now".into()));
            }
        }
        after
    }
}
