//! One page for people who would rather look than read: what the store holds, what the last runs did, what goes next and
//! why, what is wrong, and how to bring back what went.
//!
//! The page is one document without scripts, and loads nothing. Its length does not depend on the store's: of everything
//! the first are shown and the rest is summed.

mod contents;
mod document;
mod history;
mod markup;
mod planned;
mod problems;
mod status;
mod treemap;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Problems;
use super::audit::{Amount, Class};
use crate::oci::RepositoryName;
use crate::plan::usage::{Part, UsedIn};
use crate::plan::{Action, Counts, Freed, HeldBack, Mode, Plan, Reason, Refusal};
use crate::policy::{ExpireReason, Verdict};
use crate::store::Identity;

pub use contents::REPOSITORIES;
pub use document::{content_security_policy, page};
pub use status::Attention;

/// Tags and manifests of a plan that are named.
const NAMED: usize = 12;

/// Everything that the page tells.
#[derive(Debug, Clone)]
pub struct Page {
    /// When it was written: ages count from here.
    pub written: Timestamp,
    /// The store.
    pub store: Identity,
    /// The layout's name.
    pub layout: String,
    /// Words that name the store on a command line, such as its URL and `--state` with another; not quoted.
    pub address: Vec<String>,
    /// Where the policy was read from.
    pub policy: Option<String>,
    /// What else there is to say, such as when the next run begins.
    pub notices: Vec<Notice>,
    /// What the store holds; nothing before the first look.
    pub contents: Option<Contents>,
    /// What goes next or went; nothing where nothing was planned.
    pub planned: Option<Planned>,
    /// What earlier runs left.
    pub history: History,
}

/// Something that whoever has the page made has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How loud.
    pub attention: Attention,
    /// A sentence.
    pub text: String,
}

/// What a store holds.
#[derive(Debug, Clone)]
pub struct Contents {
    /// When the listing began.
    pub listed_at: Timestamp,
    /// In numbers.
    pub saw: Counts,
    /// The repositories that take most, the greatest first: [`REPOSITORIES`] at most.
    pub repositories: Vec<UsedIn>,
    /// How many others there are.
    pub others: u64,
    /// What those take.
    pub of_others: Part,
    /// What no repository links.
    pub unlinked: Part,
    /// Objects and bytes by class, from an audit.
    pub classes: Option<BTreeMap<Class, Amount>>,
    /// What is not as it should be.
    pub problems: Problems,
}

/// A plan, as far as the page tells it.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What was done about it.
    pub standing: Standing,
    /// Whether pushes may be going on.
    pub mode: Mode,
    /// The grace, as text.
    pub grace: String,
    /// How long the trash is kept, as text.
    pub trash_keep: String,
    /// Steps, by the name of their action.
    pub steps: BTreeMap<&'static str, u64>,
    /// The first tags that go, with the reason.
    pub tags: Vec<(String, String)>,
    /// How many tags go.
    pub tags_gone: u64,
    /// The first manifests that go without having had a tag, with the reason.
    pub manifests: Vec<(String, String)>,
    /// How many of those go.
    pub manifests_gone: u64,
    /// What is freed.
    pub freed: Freed,
    /// What waits for its grace.
    pub condemned: Waiting,
    /// Why it is not carried out.
    pub refusals: Vec<String>,
    /// What stays in the trash although its time has come.
    pub held_back: Option<HeldBack>,
}

/// What was done about a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was only made.
    Made,
    /// It was carried out, as far as the run's report says.
    CarriedOut,
    /// It was refused.
    Refused,
}

/// Blobs that are condemned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first and the last of them may go.
    pub between: Option<(Timestamp, Timestamp)>,
}

/// What earlier runs left.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The latest runs, the newest first.
    pub runs: Vec<RunLine>,
    /// How many older ones there are.
    pub older: u64,
    /// The trash by run, the newest first.
    pub trash: Vec<TrashLine>,
    /// What is in the trash of other runs.
    pub more_trash: Amount,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLine {
    /// Its name.
    pub run: String,
    /// What it was, in a word or two.
    pub kind: String,
    /// When it began.
    pub started: Timestamp,
    /// What became of it.
    pub outcome: RunOutcome,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// It has no report: it was killed, or is at work.
    Unfinished,
    /// It came to its end, or stopped when it was asked to.
    Ended(crate::sweep::Executed),
    /// It brought something back.
    Restored,
}

/// What a run put in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashLine {
    /// The run.
    pub run: String,
    /// Objects and bytes.
    pub amount: Amount,
    /// When what was no manifest may go for good; `None` when there is none, or it is not known.
    pub until: Option<Timestamp>,
    /// When its manifests may, which are kept longer; `None` when there are none, or it is not known.
    pub manifests_until: Option<Timestamp>,
}

impl Contents {
    /// What an inventory says. `usage` is every repository.
    pub fn of(
        listed_at: Timestamp,
        saw: Counts,
        usage: crate::plan::usage::Usage,
        problems: Problems,
        classes: Option<BTreeMap<Class, Amount>>,
    ) -> Self {
        let mut repositories = usage.repositories;
        repositories.sort_by(|left, right| {
            (right.part.bytes(), &left.repository).cmp(&(left.part.bytes(), &right.repository))
        });
        let rest = repositories.split_off(repositories.len().min(REPOSITORIES));
        let mut of_others = Part::default();
        for one in &rest {
            of_others.add(&one.part);
        }
        Self {
            listed_at,
            saw,
            repositories,
            others: rest.len() as u64,
            of_others,
            unlinked: usage.unlinked,
            classes,
            problems,
        }
    }
}

impl Planned {
    /// What a plan says; `standing` is [`Standing::Refused`] when there are refusals, whatever is given.
    pub fn of(plan: &Plan, refusals: &[Refusal], standing: Standing) -> Self {
        let mut steps: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut planned = Self {
            standing: if refusals.is_empty() { standing } else { Standing::Refused },
            mode: plan.header.mode,
            grace: plan.header.grace.to_string(),
            trash_keep: plan.header.trash_keep.to_string(),
            steps: BTreeMap::new(),
            tags: Vec::new(),
            tags_gone: 0,
            manifests: Vec::new(),
            manifests_gone: 0,
            freed: plan.freed.clone(),
            condemned: Waiting::of(plan),
            refusals: refusals.iter().map(ToString::to_string).collect(),
            held_back: plan.held_back.clone(),
        };
        for step in &plan.steps {
            *steps.entry(step.action.name()).or_default() += 1;
            let Reason::Policy(decision) = &step.evidence.reason else { continue };
            let name = match &step.action {
                // The tags of signatures say no more than those that they follow.
                Action::Untag { .. } if decision.verdict == Verdict::Expire(ExpireReason::Subject) => {
                    planned.tags_gone += 1;
                    continue;
                }
                Action::Untag { repository, tag, .. } => format!("{repository}:{tag}"),
                Action::DeleteManifest { repository, digest, .. } => format!("{repository}@{digest}"),
                _ => continue,
            };
            let (named, count) = match &step.action {
                Action::Untag { .. } => (&mut planned.tags, &mut planned.tags_gone),
                _ => (&mut planned.manifests, &mut planned.manifests_gone),
            };
            *count += 1;
            if named.len() < NAMED {
                named.push((name, decision.to_string()));
            }
        }
        planned.steps = steps;
        let bytes = |row: &crate::plan::FreedIn| row.exclusive_bytes + row.shared_bytes;
        planned
            .freed
            .repositories
            .sort_by(|left, right| (bytes(right), &left.repository).cmp(&(bytes(left), &right.repository)));
        planned
    }
}

impl Waiting {
    fn of(plan: &Plan) -> Self {
        let until = || plan.condemned.iter().map(|one| one.until);
        Self {
            blobs: plan.condemned.len() as u64,
            bytes: plan.condemned.iter().map(|one| one.size).sum(),
            between: until().min().zip(until().max()),
        }
    }
}

/// A repository as the page names it.
fn named(repository: &RepositoryName) -> markup::Escaped<&RepositoryName> {
    markup::Escaped(repository)
}
