//! What a person reads in ten seconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::Problems;
use super::audit::{Amount, Audit, Class};
use crate::inventory::Beside;
use crate::plan::Counts;
use crate::store::{Identity, Requests};
use crate::sweep::Executed;

mod explain;
mod plan;

pub use explain::explained;
pub(crate) use plan::step_counts;
pub use plan::{Detail, PlanText, plan};

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
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (value.checked_ilog2().unwrap_or(0) / 10) as usize;
    if unit == 0 {
        return format!("{value} B");
    }
    let hundredths = (u128::from(value) * 100) >> (10 * unit);
    format!("{}.{:02} {}", hundredths / 100, hundredths % 100, units[unit])
}

/// A moment as a person reads it, to the minute.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A number with its noun.
pub(crate) fn counted(value: u64, one: &str, many: &str) -> String {
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
        // A directory renames what a bucket copies.
        let (moved, how) = if cost.copy > 0 { (cost.copy, "copy") } else { (cost.rename, "rename") };
        let _ = write!(
            text,
            ", {} write, {} {how}, {} delete",
            number(cost.put),
            number(moved),
            number(cost.delete)
        );
    }
    text.push('\n');
}

/// What a bucket holds beside its objects, where there is anything to tell.
fn beside_lines(text: &mut String, beside: &Beside) {
    if let Some(old) = &beside.noncurrent {
        let markers = counted(old.delete_markers, "delete marker", "delete markers");
        let _ = writeln!(
            text,
            "versions   {} in {} that are not current, {markers}; what is deleted becomes one, until a lifecycle rule ends it",
            bytes(old.bytes),
            counted(old.objects, "version", "versions")
        );
    }
    if let Some(oldest) = beside.uploads.iter().map(|upload| upload.started).min() {
        let _ = writeln!(
            text,
            "uploads    {} in parts, neither finished nor given up; the oldest of {}",
            counted(beside.uploads.len() as u64, "upload", "uploads"),
            oldest.strftime("%Y-%m-%d")
        );
    }
    for why in &beside.unknown {
        let _ = writeln!(text, "unknown    {why}");
    }
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
        let of = |amounts: &BTreeMap<Class, Amount>| amounts.get(&class).copied().unwrap_or_default();
        let (all, blobs) = (of(&audit.classes), of(&audit.blobs));
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
    for note in &audit.notes {
        let _ = writeln!(text, "{note}");
    }
    if let Some(beside) = &audit.beside {
        beside_lines(&mut text, beside);
    }
    if let Some(shared) = audit.shared_bytes.filter(|shared| *shared > 0) {
        let _ = writeln!(
            text,
            "shared     {} has another name too, by a hard link, and is not freed with one",
            bytes(shared)
        );
    }
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

/// What became of a run.
pub fn executed(
    run: &str,
    store: &Identity,
    executed: &Executed,
    keeps_trash: bool,
    cost: &Requests,
) -> String {
    let mut text = String::new();
    let done: Vec<String> =
        executed.done.iter().map(|(name, count)| format!("{} {name}", number(*count))).collect();
    let done = if done.is_empty() { "nothing to do".to_owned() } else { done.join(", ") };
    let _ = writeln!(text, "\nrun        {run}   {done}");
    let _ = writeln!(text, "freed      {}", bytes(executed.freed_bytes));
    if executed.flagged_bytes > 0 {
        let _ =
            writeln!(text, "flagged    {} as deleted, still in their places", bytes(executed.flagged_bytes));
    }
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
    if (keeps_trash || executed.flagged_bytes > 0) && !executed.done.is_empty() {
        let _ = writeln!(text, "undo       regsweep restore {} {run}", store.url);
    }
    text
}

/// The text of a round of giving back.
pub fn mended(run: &str, executed: &Executed) -> String {
    let done: Vec<String> =
        executed.done.iter().map(|(name, count)| format!("{} {name}", number(*count))).collect();
    let mut text = String::new();
    if !done.is_empty() {
        let _ = writeln!(
            text,
            "\nGIVEN BACK {run}   {}: a push needs what a run had taken, or what was missing",
            done.join(", ")
        );
    }
    for left in &executed.failed {
        let _ = writeln!(text, "NOT GIVEN BACK   {}: {}", left.step, left.why);
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
