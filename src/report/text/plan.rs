//! What a person reads of a plan: what would go, and why.

use std::fmt::Write as _;

use rustc_hash::FxHashSet;

use super::{SHOWN, bytes, counted, head, moment, number, problem_line, requests};
use crate::plan::{Action, Condemned, Mode, Plan, Reason, Refusal, Step};
use crate::policy::{ExpireReason, Verdict};
use crate::report::Problems;
use crate::store::Requests;

/// What is said of a plan.
#[derive(Debug, Clone, Copy)]
pub struct PlanText<'t> {
    /// The plan.
    pub plan: &'t Plan,
    /// What is not as it should be.
    pub problems: &'t Problems,
    /// Why it would not be carried out.
    pub refusals: &'t [Refusal],
    /// What it cost to make; nothing when that is said later.
    pub requests: Option<&'t Requests>,
    /// How much of it.
    pub detail: Detail,
}

/// How much of a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Counts and sums: the plan was read before.
    Totals,
    /// The first lines of each kind.
    Some,
    /// Every step and repository.
    All,
}

impl Detail {
    /// Everything if asked for, else the first lines.
    pub fn all_if(all: bool) -> Self {
        if all { Self::All } else { Self::Some }
    }

    /// How many lines of a kind are shown.
    fn lines(self) -> usize {
        match self {
            Self::Totals => 0,
            Self::Some => SHOWN,
            Self::All => usize::MAX,
        }
    }
}

/// Names are made even up to this width; a longer one pushes its line out.
pub(super) const NAME: usize = 44;

/// The text of a plan: what would go, and why.
pub fn plan(said: &PlanText<'_>) -> String {
    let PlanText { plan, problems, refusals, .. } = *said;
    let (header, freed) = (&plan.header, &plan.freed);
    let mut text = String::new();
    head(&mut text, &header.store, &header.layout, &header.saw);
    let saw = &header.saw;
    let _ = write!(
        text,
        "store      {} in {}   live {}",
        bytes(saw.bytes),
        counted(saw.blobs, "blob", "blobs"),
        bytes(saw.live_bytes),
    );
    let unneeded = saw.bytes.saturating_sub(saw.live_bytes);
    match header.mode {
        Mode::Offline => {
            let policy_frees = freed.bytes - freed.unreferenced_bytes;
            let _ = write!(
                text,
                "   unreferenced {}   policy frees {} more",
                bytes(freed.unreferenced_bytes),
                bytes(policy_frees)
            );
            let young = unneeded.saturating_sub(freed.bytes);
            if young > 0 {
                let _ = write!(text, "   in grace {}", bytes(young));
            }
        }
        Mode::Online => {
            let _ = write!(text, "   unneeded {}", bytes(unneeded));
        }
    }
    text.push('\n');
    problem_line(&mut text, problems, true);
    if let Some(cost) = said.requests {
        requests(&mut text, cost);
    }
    text.push('\n');
    let assumption = match header.mode {
        _ if header.managed => "api: the repository manager deletes what goes, for good",
        Mode::Offline => "offline: the registry is stopped or read-only, as you say",
        Mode::Online => "online: links go now; data goes when nothing has named it for the grace",
    };
    let _ = write!(text, "{assumption}; grace {}", header.grace);
    if !header.managed {
        let _ = write!(text, ", trash kept {}", header.trash_keep);
    }
    text.push('\n');
    for note in &plan.notes {
        let _ = writeln!(text, "{note}");
    }
    if plan.steps.is_empty() {
        text.push_str("nothing to do\n");
    } else {
        if said.detail != Detail::Totals {
            tags(&mut text, plan, said.detail);
            manifests(&mut text, plan, said.detail);
        }
        counts(&mut text, plan);
    }
    freed_table(&mut text, plan, said.detail);
    condemned(&mut text, &plan.condemned);
    if plan.mends {
        text.push_str("\nthis is given back first; what goes is decided when it is there\n");
    }
    if let Some(held) = &plan.held_back {
        let objects = counted(held.objects, "object", "objects");
        let _ = writeln!(
            text,
            "\n{objects} of the trash ({}) could be purged and are kept: {}",
            bytes(held.bytes),
            held.why
        );
    }
    refused(&mut text, refusals);
    text
}

fn more(text: &mut String, count: usize, detail: Detail) {
    let shown = detail.lines();
    if count > shown {
        let _ = writeln!(text, "  … and {} more (--all shows them)", number((count - shown) as u64));
    }
}

/// Names and reasons, a line each.
fn reasons(text: &mut String, lines: &[(String, &Step)], detail: Detail) {
    let shown = || lines.iter().take(detail.lines());
    let width = shown().map(|(name, _)| name.len()).filter(|width| *width <= NAME).max().unwrap_or(0);
    for (name, step) in shown() {
        if let Reason::Policy(decision) = &step.evidence.reason {
            let _ = writeln!(text, "  {name:<width$}   {decision}");
        }
    }
    more(text, lines.len(), detail);
}

fn tags(text: &mut String, plan: &Plan, detail: Detail) {
    let follows = |step: &Step| {
        matches!(&step.evidence.reason, Reason::Policy(decision)
            if decision.verdict == Verdict::Expire(ExpireReason::Subject))
    };
    let named = |step: &Step| match &step.action {
        Action::Untag { repository, tag, .. } => Some(format!("{repository}:{tag}")),
        _ => None,
    };
    let all: Vec<(String, &Step)> = plan.steps.iter().filter_map(|step| Some((named(step)?, step))).collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(text, "\ntags that go ({})", number(all.len() as u64));
    // The tags of signatures say no more than the tags that they follow.
    let (following, own): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, step)| detail != Detail::All && follows(step));
    reasons(text, &own, detail);
    if !following.is_empty() {
        let one = "tag of a referrer, with what it is about (--all shows it)";
        let many = "tags of referrers, with what they are about (--all shows them)";
        let _ = writeln!(text, "  and {}", counted(following.len() as u64, one, many));
    }
}

/// Manifests that had no tag before the run either: what a tag that goes leaves is said with the tag.
fn manifests(text: &mut String, plan: &Plan, detail: Detail) {
    let tagged: FxHashSet<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Untag { repository, target: Some(target), .. } => Some((repository, *target)),
            _ => None,
        })
        .collect();
    let lines: Vec<(String, &Step)> = plan
        .steps
        .iter()
        .filter_map(|step| match (&step.action, &step.evidence.reason) {
            (Action::DeleteManifest { repository, digest, .. }, Reason::Policy(_))
                if !tagged.contains(&(repository, *digest)) =>
            {
                Some((format!("{repository}@{digest}"), step))
            }
            _ => None,
        })
        .collect();
    if !lines.is_empty() {
        let _ = writeln!(text, "\nmanifests without a tag that go ({})", number(lines.len() as u64));
        reasons(text, &lines, detail);
    }
}

fn counts(text: &mut String, plan: &Plan) {
    text.push_str("\nin all\n");
    let of = |name: &str| plan.steps.iter().filter(|step| step.action.name() == name).count() as u64;
    for said in step_counts(of) {
        let _ = writeln!(text, "  {said}");
    }
}

/// How many steps of each kind there are, in the order in which they are carried out; a phrase for each kind that there is.
pub(crate) fn step_counts(of: impl Fn(&str) -> u64) -> Vec<String> {
    let kinds = [
        ("heal", "blob comes back from the trash", "blobs come back from the trash"),
        ("relink", "layer link is written again", "layer links are written again"),
        ("relink-manifest", "manifest link is written again", "manifest links are written again"),
        ("retag", "tag is written again", "tags are written again"),
        ("untag", "tag", "tags"),
        ("delete-manifest", "manifest", "manifests"),
        ("unlink", "layer link", "layer links"),
        ("sweep", "blob", "blobs"),
        ("remove-directory", "empty directory", "empty directories"),
        ("remove-repository", "empty repository", "empty repositories"),
        ("abandon", "abandoned upload", "abandoned uploads"),
        ("discard", "blob that the database does not know", "blobs that the database does not know"),
        ("abort-upload", "unfinished upload in parts", "unfinished uploads in parts"),
        (
            "run-task",
            "task of the repository manager is started",
            "tasks of the repository manager are started",
        ),
        ("purge", "object leaves the trash for good", "objects leave the trash for good"),
    ];
    let counts = kinds.into_iter().map(|(name, one, many)| (of(name), one, many));
    counts.filter(|(count, ..)| *count > 0).map(|(count, one, many)| counted(count, one, many)).collect()
}

fn freed_table(text: &mut String, plan: &Plan, detail: Detail) {
    let freed = &plan.freed;
    let rows = detail != Detail::Totals && !freed.repositories.is_empty();
    if freed.blobs + freed.upload_bytes + freed.unknown_bytes == 0 && !rows {
        return;
    }
    text.push('\n');
    if rows {
        freed_rows(text, plan, detail);
    }
    if freed.blobs > 0 {
        let _ = writeln!(
            text,
            "in total {} ({} bytes) in {}, shared layers counted once",
            bytes(freed.bytes),
            number(freed.bytes),
            counted(freed.blobs, "blob", "blobs"),
        );
    }
    if freed.upload_bytes > 0 {
        let _ = writeln!(text, "and {} of abandoned uploads", bytes(freed.upload_bytes));
    }
    if freed.unknown_bytes > 0 {
        let _ = writeln!(
            text,
            "in total {} of blobs that the database does not know",
            bytes(freed.unknown_bytes)
        );
    }
}

fn freed_rows(text: &mut String, plan: &Plan, detail: Detail) {
    let mut rows: Vec<_> = plan.freed.repositories.iter().collect();
    rows.sort_by_key(|row| {
        (std::cmp::Reverse(row.exclusive_bytes + row.shared_bytes), row.repository.clone())
    });
    let _ =
        writeln!(text, "{:<40} {:>12} {:>10} {:>14} {:>14}", "freed", "tags", "manifests", "alone", "shared");
    for row in rows.iter().take(detail.lines()) {
        let tags = format!("{} of {}", number(row.tags_gone), number(row.tags));
        let _ = writeln!(
            text,
            "{:<40} {:>12} {:>10} {:>14} {:>14}",
            row.repository.as_str(),
            tags,
            number(row.manifests_gone),
            bytes(row.exclusive_bytes),
            bytes(row.shared_bytes)
        );
    }
    more(text, rows.len(), detail);
}

fn condemned(text: &mut String, condemned: &[Condemned]) {
    let (Some(first), Some(last)) =
        (condemned.iter().map(|one| one.until).min(), condemned.iter().map(|one| one.until).max())
    else {
        return;
    };
    let total: u64 = condemned.iter().map(|one| one.size).sum();
    let _ = writeln!(
        text,
        "\ncondemned: {} in {}; a run from {} on deletes the first, one from {} on the last, if nothing names them until \
         then",
        bytes(total),
        counted(condemned.len() as u64, "blob", "blobs"),
        moment(first),
        moment(last),
    );
}

/// Why nothing is done.
fn refused(text: &mut String, refusals: &[Refusal]) {
    if refusals.is_empty() {
        return;
    }
    text.push_str("\nrefused, and nothing was done:\n");
    for refusal in refusals {
        let _ = writeln!(text, "  - {refusal}");
    }
}
