//! What a person reads in ten seconds.

use std::fmt::Write as _;

use super::Problems;
use super::audit::{Audit, Class};
use crate::config::values::ByteSize;
use crate::plan::{Action, Condemned, Counts, Mode, Plan, Reason, Refusal, Step};
use crate::store::{Identity, Requests};
use crate::sweep::Executed;

/// Steps and problems shown before the rest is only counted.
const SHOWN: usize = 20;

/// A number with thousands apart.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as a person says them, in binary units.
pub fn bytes(value: u64) -> String {
    let (mut scaled, mut unit) = (value, 0);
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut hundredths = 0;
    while scaled >= 1024 && unit + 1 < units.len() {
        hundredths = (scaled % 1024) * 100 / 1024;
        scaled /= 1024;
        unit += 1;
    }
    if unit == 0 { format!("{value} B") } else { format!("{scaled}.{hundredths:02} {}", units[unit]) }
}

fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

fn head(text: &mut String, store: &Identity, layout: &str, saw: &Counts) {
    let _ = writeln!(
        text,
        "registry   {}   {layout}   {}, {}, {}",
        store.url,
        counted(saw.repositories, "repository", "repositories"),
        counted(saw.tags, "tag", "tags"),
        counted(saw.manifests, "manifest", "manifests"),
    );
}

fn requests(text: &mut String, cost: &Requests) {
    let _ = write!(
        text,
        "requests   {} list, {} stat, {} read ({})",
        number(cost.list),
        number(cost.stat),
        number(cost.get),
        bytes(cost.bytes_read)
    );
    if cost.changes() > 0 {
        let _ = write!(
            text,
            ", {} write, {} rename, {} delete",
            number(cost.put),
            number(cost.rename),
            number(cost.delete)
        );
    }
    text.push('\n');
}

fn problem_line(text: &mut String, problems: &Problems, advice: bool) {
    if problems.is_empty() {
        text.push_str("problems   none\n");
        return;
    }
    let kinds = [
        (problems.gaps.len(), "unreadable thing", "unreadable things"),
        (problems.broken_images.len(), "broken image", "broken images"),
        (problems.dangling_tags.len(), "dangling tag", "dangling tags"),
        (problems.corrupt_links.len(), "corrupt link", "corrupt links"),
        (problems.opaque_manifests.len(), "manifest of an unknown type", "manifests of unknown types"),
        (problems.stray_trash.len(), "object of stray trash", "objects of stray trash"),
    ];
    let said: Vec<String> = kinds
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| counted(count as u64, one, many))
        .collect();
    let _ = write!(text, "problems   {}", said.join(", "));
    text.push_str(if advice { "   → regsweep audit --problems\n" } else { "\n" });
}

/// The text of an audit.
pub fn audit(audit: &Audit, problems: bool) -> String {
    let mut text = String::new();
    head(&mut text, &audit.store, audit.layout, &audit.saw);
    let _ = writeln!(
        text,
        "objects    {} in {}\n",
        bytes(audit.total.bytes),
        counted(audit.total.objects, "object", "objects")
    );
    let _ = writeln!(
        text,
        "{:<20} {:>12} {:>14}   {:>12} {:>14}",
        "", "objects", "bytes", "of them blobs", "bytes"
    );
    for class in Class::ALL {
        let (all, blobs) = (audit.classes[&class], audit.blobs[&class]);
        if all.objects == 0 {
            continue;
        }
        let _ = writeln!(
            text,
            "{:<20} {:>12} {:>14}   {:>13} {:>14}",
            class.label(),
            number(all.objects),
            bytes(all.bytes),
            number(blobs.objects),
            bytes(blobs.bytes)
        );
    }
    text.push('\n');
    problem_line(&mut text, &audit.problems, !problems);
    if problems {
        all_problems(&mut text, &audit.problems);
        for key in &audit.foreign_examples {
            let _ = writeln!(text, "  foreign, never touched: {key}");
        }
    }
    requests(&mut text, &audit.requests);
    text
}

/// Every problem, a line each.
fn all_problems(text: &mut String, problems: &Problems) {
    for gap in &problems.gaps {
        let pins = gap.repository.as_ref().map_or("every blob".to_owned(), ToString::to_string);
        let _ = writeln!(text, "  unreadable: {} (pins {pins}): {}", gap.key, gap.why);
    }
    for broken in &problems.broken_images {
        let tags: Vec<String> = broken.tags.iter().map(ToString::to_string).collect();
        let tags = if tags.is_empty() { String::new() } else { format!(" ({})", tags.join(", ")) };
        let _ = writeln!(text, "  broken image: {}@{}{tags}", broken.repository, broken.manifest);
        for digest in &broken.missing {
            let _ = writeln!(text, "    misses {digest}");
        }
        for digest in &broken.unlinked {
            let _ = writeln!(text, "    has no link to {digest}, which is there");
        }
    }
    for dangling in &problems.dangling_tags {
        let target = dangling.target.map_or("nothing".to_owned(), |digest| digest.to_string());
        let _ = writeln!(text, "  dangling tag: {}:{} points to {target}", dangling.repository, dangling.tag);
    }
    for corrupt in &problems.corrupt_links {
        let _ = writeln!(
            text,
            "  corrupt link: {}: {} has {} bytes",
            corrupt.repository, corrupt.what, corrupt.size
        );
    }
    for opaque in &problems.opaque_manifests {
        let kind = opaque.media_type.as_deref().unwrap_or("no media type");
        let _ = writeln!(text, "  unknown type: {}@{} ({kind})", opaque.repository, opaque.manifest);
    }
    for key in &problems.stray_trash {
        let _ = writeln!(text, "  stray trash: {key}");
    }
}

/// What is said of a plan.
#[derive(Debug, Clone, Copy)]
pub struct PlanText<'t> {
    /// The plan.
    pub plan: &'t Plan,
    /// What is not as it should be.
    pub problems: &'t Problems,
    /// Why it would not be carried out.
    pub refusals: &'t [Refusal],
    /// What it cost to make.
    pub requests: &'t Requests,
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

/// The text of a plan: what would go, and why.
pub fn plan(said: &PlanText<'_>) -> String {
    let PlanText { plan, problems, refusals, .. } = *said;
    let (header, freed) = (&plan.header, &plan.freed);
    let mut text = String::new();
    head(&mut text, &header.store, &header.layout, &header.saw);
    let policy_frees = freed.bytes - freed.unreferenced_bytes;
    let _ = writeln!(
        text,
        "store      {} in {}   live {}   unreferenced {}   policy frees {} more",
        bytes(header.saw.bytes),
        counted(header.saw.blobs, "blob", "blobs"),
        bytes(header.saw.live_bytes),
        bytes(freed.unreferenced_bytes),
        bytes(policy_frees)
    );
    problem_line(&mut text, problems, true);
    requests(&mut text, said.requests);
    text.push('\n');
    let assumption = match header.mode {
        Mode::Offline => "offline: the registry is stopped or read-only, as you say",
        Mode::Online => "online: links go now; data waits until it was unreferenced for the grace",
    };
    let _ = writeln!(text, "{assumption}; grace {}, trash kept {}", header.grace, header.trash_keep);
    steps(&mut text, plan, said.detail);
    freed_table(&mut text, plan, said.detail);
    condemned(&mut text, &plan.condemned);
    refused(&mut text, refusals);
    text
}

fn steps(text: &mut String, plan: &Plan, detail: Detail) {
    if plan.steps.is_empty() {
        text.push_str("nothing to do\n");
        return;
    }
    let of = |name: &'static str| plan.steps.iter().filter(move |step| step.action.name() == name);
    let shown = detail.lines();
    let more = |text: &mut String, count: usize| {
        if count > shown {
            let _ = writeln!(text, "  … and {} more (--all shows them)", number((count - shown) as u64));
        }
    };
    let tags = of("untag").count();
    if tags > 0 && shown > 0 {
        let _ = writeln!(text, "\ntags that go ({})", number(tags as u64));
        for step in of("untag").take(shown) {
            tag_line(text, step);
        }
        more(text, tags);
    }
    let untagged = |step: &&Step| matches!(step.evidence.reason, Reason::Policy(_));
    let manifests = of("delete-manifest").filter(untagged).count();
    if manifests > 0 && shown > 0 {
        let _ = writeln!(text, "\nmanifests without a tag that go ({})", number(manifests as u64));
        for step in of("delete-manifest").filter(untagged).take(shown) {
            if let (Action::DeleteManifest { repository, digest, .. }, Reason::Policy(decision)) =
                (&step.action, &step.evidence.reason)
            {
                let _ = writeln!(text, "  {repository}@{digest}   {decision}");
            }
        }
        more(text, manifests);
    }
    text.push_str("\nin all\n");
    for (name, one, many) in [
        ("heal", "blob comes back from the trash", "blobs come back from the trash"),
        ("relink", "layer link is written again", "layer links are written again"),
        ("untag", "tag", "tags"),
        ("delete-manifest", "manifest", "manifests"),
        ("unlink", "layer link", "layer links"),
        ("sweep", "blob", "blobs"),
        ("remove-directory", "empty directory", "empty directories"),
        ("remove-repository", "empty repository", "empty repositories"),
        ("abandon", "abandoned upload", "abandoned uploads"),
        ("purge", "object leaves the trash for good", "objects leave the trash for good"),
    ] {
        let count = of(name).count() as u64;
        if count > 0 {
            let _ = writeln!(text, "  {}", counted(count, one, many));
        }
    }
}

fn tag_line(text: &mut String, step: &Step) {
    if let (Action::Untag { repository, tag, .. }, Reason::Policy(decision)) =
        (&step.action, &step.evidence.reason)
    {
        let _ = writeln!(text, "  {repository}:{tag}   {decision}");
    }
}

fn freed_table(text: &mut String, plan: &Plan, detail: Detail) {
    let freed = &plan.freed;
    if freed.blobs + freed.upload_bytes == 0 && freed.repositories.is_empty() {
        return;
    }
    let shown = detail.lines();
    let mut rows: Vec<_> = freed.repositories.iter().collect();
    rows.sort_by_key(|row| {
        (std::cmp::Reverse(row.exclusive_bytes + row.shared_bytes), row.repository.clone())
    });
    let _ = writeln!(
        text,
        "\n{:<40} {:>12} {:>10} {:>14} {:>14}",
        "freed", "tags", "manifests", "alone", "shared"
    );
    for row in rows.iter().take(shown) {
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
    if rows.len() > shown {
        let _ = writeln!(
            text,
            "… and {} more repositories (--all shows them)",
            number((rows.len() - shown) as u64)
        );
    }
    let _ = writeln!(
        text,
        "in total {} in {}, shared layers counted once ({}, exactly)",
        bytes(freed.bytes),
        counted(freed.blobs, "blob", "blobs"),
        ByteSize::from_bytes(freed.bytes)
    );
    if freed.upload_bytes > 0 {
        let _ = writeln!(text, "and {} of abandoned uploads", bytes(freed.upload_bytes));
    }
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
        "\ncondemned: {} in {}; they may go from {} on, the last from {}. Deleting data beside a registry that serves \
         is not in this version: stop the registry, or set it read-only, and run with --offline",
        bytes(total),
        counted(condemned.len() as u64, "blob", "blobs"),
        first.strftime("%Y-%m-%d %H:%M UTC"),
        last.strftime("%Y-%m-%d %H:%M UTC"),
    );
}

/// Why nothing is done.
pub fn refused(text: &mut String, refusals: &[Refusal]) {
    if refusals.is_empty() {
        return;
    }
    text.push_str("\nrefused, and nothing was done:\n");
    for refusal in refusals {
        let _ = writeln!(text, "  - {refusal}");
    }
}

/// What became of a run.
pub fn executed(run: &str, executed: &Executed, keeps_trash: bool, cost: &Requests) -> String {
    let mut text = String::new();
    let done: Vec<String> =
        executed.done.iter().map(|(name, count)| format!("{} {name}", number(*count))).collect();
    let done = if done.is_empty() { "nothing to do".to_owned() } else { done.join(", ") };
    let _ = writeln!(text, "\nrun        {run}   {done}");
    let _ = writeln!(text, "freed      {}", bytes(executed.freed_bytes));
    if executed.purged_bytes > 0 {
        let _ = writeln!(text, "purged     {} of older trash", bytes(executed.purged_bytes));
    }
    for (what, left) in [("left alone", &executed.skipped), ("FAILED", &executed.failed)] {
        if !left.is_empty() {
            let _ = writeln!(text, "{what}: {}", counted(left.len() as u64, "step", "steps"));
            for one in left.iter().take(SHOWN) {
                let _ = writeln!(text, "  {}: {}", one.step, one.why);
            }
        }
    }
    if executed.interrupted {
        text.push_str("stopped before the end; a rerun goes on\n");
    }
    requests(&mut text, cost);
    if keeps_trash && !executed.done.is_empty() {
        let _ = writeln!(text, "undo       regsweep restore STORE {run}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_read_well() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.00 KiB");
        assert_eq!(bytes(2_539_925_000_000), "2.31 TiB");
        assert_eq!(bytes(u64::MAX), "15.99 EiB");
    }
}
