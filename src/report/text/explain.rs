//! What a person reads of one thing: why it stays or goes.

use std::fmt::Write as _;

use super::plan::NAME;
use super::{SHOWN, bytes, counted, moment, number};
use crate::plan::explain::{Alone, Explained, Outcome, PinKind, Subject};

/// The text of an explanation; `all` shows every pin and tag.
pub fn explained(explained: &Explained, all: bool) -> String {
    let mut text = String::new();
    head(&mut text, explained);
    let outcome = match explained.outcome {
        Outcome::Stays => "stays",
        Outcome::Waits => "goes later",
        Outcome::Goes => "goes",
        Outcome::Missing => "is not there",
    };
    let _ = writeln!(text, "decision   {outcome}");
    let _ = writeln!(text, "why        {}", explained.why);
    if let Some(met_by) = &explained.met_by {
        let _ = writeln!(text, "           until {met_by}");
    }
    if matches!(explained.subject, Subject::Repository { .. }) {
        tags(&mut text, explained, all);
        return text;
    }
    pins(&mut text, explained, all);
    if let Some(alone) = &explained.alone {
        freed(&mut text, explained, alone);
    }
    let deletable = &explained.deletable;
    text.push_str("deletable  ");
    match deletable.earliest {
        Some(earliest) if explained.outcome != Outcome::Goes => {
            let _ = write!(text, "not before {}: ", moment(earliest));
        }
        _ => {}
    }
    let _ = writeln!(text, "{}", deletable.when);
    if let Some(since) = deletable.condemned_since {
        let _ = writeln!(text, "condemned  since {}", moment(since));
    }
    text
}

fn head(text: &mut String, explained: &Explained) {
    let size = explained.size.map(|size| format!("   {}", bytes(size))).unwrap_or_default();
    let _ = match &explained.subject {
        Subject::Repository { repository } => writeln!(text, "repository {repository}"),
        Subject::Tag { repository, tag } => {
            let target = explained.target.map_or("nothing".to_owned(), |digest| digest.to_string());
            writeln!(text, "tag        {repository}:{tag}\npoints to  {target}")
        }
        Subject::Manifest { repository, digest } => writeln!(text, "manifest   {repository}@{digest}{size}"),
        Subject::Blob { digest } => writeln!(text, "blob       {digest}{size}"),
    };
}

fn tags(text: &mut String, explained: &Explained, all: bool) {
    let shown = if all { usize::MAX } else { SHOWN };
    let lengths = explained.tags.iter().take(shown).map(|line| line.tag.as_str().len());
    let width = lengths.filter(|length| *length <= NAME).max().unwrap_or(0);
    let _ = writeln!(text, "\n{}", counted(explained.tags.len() as u64, "tag", "tags"));
    for line in explained.tags.iter().take(shown) {
        let outcome = if line.outcome == Outcome::Goes { "goes " } else { "stays" };
        let _ = writeln!(text, "  {outcome}   {:<width$}   {}", line.tag.as_str(), line.rule);
    }
    more(text, explained.tags.len(), shown);
}

fn more(text: &mut String, count: usize, shown: usize) {
    if count > shown {
        let _ = writeln!(text, "  … and {} more (--all shows them)", number((count - shown) as u64));
    }
}

fn pins(text: &mut String, explained: &Explained, all: bool) {
    if explained.pins.is_empty() {
        text.push_str("pinned by  nothing\n");
        return;
    }
    let shown = if all { usize::MAX } else { SHOWN };
    let _ = writeln!(text, "pinned by");
    for pin in explained.pins.iter().take(shown) {
        let kind = match pin.by {
            PinKind::Rule => "rule",
            PinKind::Tag => "tag",
            PinKind::Manifest => "manifest",
            PinKind::Subject => "subject",
            PinKind::Restore => "restore",
            PinKind::Grace => "young",
            PinKind::Gap => "unread",
        };
        let note = if pin.note.is_empty() { String::new() } else { format!("   {}", pin.note) };
        let _ = writeln!(text, "  {kind:<8} {}{note}", pin.name);
    }
    more(text, explained.pins.len(), shown);
}

fn freed(text: &mut String, explained: &Explained, alone: &Alone) {
    let others = |count: usize, one: &str, many: &str| match count {
        0 => None,
        count => Some(counted(count as u64, one, many)),
    };
    let own = |found: bool| usize::from(found);
    let (tag, manifest) = match &explained.subject {
        Subject::Tag { .. } => (own(!alone.tags.is_empty()), 0),
        Subject::Manifest { .. } => (0, own(!alone.manifests.is_empty())),
        Subject::Repository { .. } | Subject::Blob { .. } => (0, 0),
    };
    let with: Vec<String> = [
        others(alone.tags.len() - tag, "tag", "tags"),
        others(alone.manifests.len() - manifest, "manifest", "manifests"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let with =
        if with.is_empty() { String::new() } else { format!(", and takes {} along", with.join(" and ")) };
    let _ = writeln!(
        text,
        "alone      its removal frees {} ({} bytes) in {}{with}",
        bytes(alone.bytes),
        number(alone.bytes),
        counted(alone.blobs, "blob", "blobs")
    );
}
