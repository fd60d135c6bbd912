//! Repositories, tags and manifests.

use std::fmt::Write as _;

use super::alone::alone;
use super::{Explained, Outcome, Pin, PinKind, TagLine, by_rule, pin};
use crate::graph::{Fate, Gone, Held, Rules};
use crate::inventory::{BlobId, Link, Repository, Target};
use crate::oci::{Digest, TagName};
use crate::plan::Mode;
use crate::plan::build::Sources;
use crate::policy::{KeepReason, Verdict};

/// Each tag of a repository.
pub(super) fn repository(sources: &Sources<'_>, index: usize, mut explained: Explained) -> Explained {
    let (repository, marked) = (&sources.inventory.repositories[index], &sources.marks.repositories[index]);
    explained.tags = repository
        .tags
        .iter()
        .zip(&marked.tags)
        .map(|(tag, decision)| TagLine {
            tag: tag.name.clone(),
            outcome: if decision.is_expired() { Outcome::Goes } else { Outcome::Stays },
            rule: decision.clone(),
        })
        .collect();
    let gone = explained.tags.iter().filter(|line| line.outcome == Outcome::Goes).count();
    explained.outcome = if gone > 0 { Outcome::Goes } else { Outcome::Stays };
    explained.why = match gone {
        0 => "no tag of it goes".to_owned(),
        gone => format!("{gone} of its {} tags go", explained.tags.len()),
    };
    explained.pins = gaps(sources, repository);
    explained.deletable.when = "ask about a tag or a manifest of it".into();
    explained
}

/// A tag.
pub(super) fn tag(
    sources: &Sources<'_>,
    index: usize,
    name: &TagName,
    mut explained: Explained,
) -> Option<Explained> {
    let Sources { inventory, marks, rules, .. } = *sources;
    let repository = &inventory.repositories[index];
    let at = repository.tags.iter().position(|tag| tag.name == *name)?;
    let (tag, decision) = (&repository.tags[at], marks.repositories[index].tags.get(at)?);
    let target = match &tag.target {
        Target::Manifest(id) => Some(*id),
        Target::Missing | Target::Corrupt(_) => None,
    };
    explained.target = target.map(|id| inventory.blobs.digest(id));
    by_rule(&mut explained, decision, rules.now);
    if let Verdict::Keep(reason) = &decision.verdict {
        let by = match reason {
            KeepReason::Subject => PinKind::Subject,
            KeepReason::Gap => PinKind::Gap,
            KeepReason::Young | KeepReason::Grace { .. } => PinKind::Grace,
            KeepReason::Pinned => PinKind::Restore,
            _ => PinKind::Rule,
        };
        // Restores, gaps and the grace are told below, each with its name.
        if matches!(by, PinKind::Rule | PinKind::Subject) {
            explained.pins.push(pin(
                by,
                decision.policy.as_deref().unwrap_or("no policy"),
                decision.to_string(),
            ));
        }
    }
    let pushed = repository.revisions.iter().find(|one| Some(one.digest) == target);
    let changed = [tag.changed, pushed.and_then(|one| one.changed)].into_iter().flatten().max();
    explained.pins.extend(grace(rules, changed, tag.changed.is_none()));
    for pins in rules.pinned() {
        if pins.tags.iter().any(|(pinned, tag)| *pinned == repository.name && tag == name) {
            explained.pins.push(restored(pins));
        }
    }
    explained.pins.extend(gaps(sources, repository));
    if decision.verdict == Verdict::Keep(KeepReason::Young) {
        explained.deletable.earliest =
            changed.and_then(|changed| changed.checked_add(rules.grace).ok()).filter(|end| *end > rules.now);
    }
    explained.alone = Some(alone(inventory, index, Some(at), target));
    Some(explained)
}

/// A manifest of a repository.
pub(super) fn manifest(
    sources: &Sources<'_>,
    index: usize,
    digest: &Digest,
    mut explained: Explained,
) -> Option<Explained> {
    let Sources { inventory, marks, rules, .. } = *sources;
    let (repository, marked) = (&inventory.repositories[index], &marks.repositories[index]);
    let id = inventory.blobs.find(digest)?;
    let at = repository.revisions.iter().position(|one| one.digest == id && one.link != Link::Missing)?;
    explained.size = inventory.blobs.size(id);
    explained.pins = manifest_pins(sources, index, id);
    match marked.revisions.get(at)? {
        Fate::Kept(Held::Untagged(decision))
        | Fate::Expired(Gone::Untagged(decision) | Gone::Orphaned(decision)) => {
            by_rule(&mut explained, decision, rules.now);
        }
        Fate::Kept(held) => {
            explained.outcome = Outcome::Stays;
            let (why, when) = match held {
                Held::Tag(at) => {
                    let tag = &repository.tags[*at].name;
                    (format!("the tag {tag} stays and points to it"), "when nothing pins it any more")
                }
                Held::Reference => (
                    "something that stays needs it, or is what it is about".to_owned(),
                    "when nothing pins it any more",
                ),
                Held::Young => (
                    "its link changed within the grace".to_owned(),
                    "when the grace is over, if nothing pins it",
                ),
                Held::Pinned => (
                    "a restore brought it back a short while ago".to_owned(),
                    "when that is over, if nothing pins it",
                ),
                Held::Named(by) => {
                    (format!("{by} names it"), "when that names it no more, if nothing else pins it")
                }
                Held::Gap => (
                    "something of its repository could not be read".to_owned(),
                    "when what cannot be read can be read",
                ),
                Held::Untagged(_) => (String::new(), ""),
            };
            explained.why = why;
            explained.deletable.when = when.to_owned();
            if *held == Held::Young {
                let changed = repository.revisions[at].changed;
                explained.deletable.earliest =
                    changed.and_then(|changed| changed.checked_add(rules.grace).ok());
            }
        }
        Fate::Expired(Gone::Along) => {
            explained.outcome = Outcome::Goes;
            explained.why = "the manifest that it belongs to, or its tag, goes".into();
            explained.deletable.earliest = Some(rules.now);
            explained.deletable.when = "in the next run".into();
        }
        Fate::Absent => return None,
    }
    if explained.outcome == Outcome::Goes && sources.mode == Mode::Online {
        let grace = sources.limits.grace;
        let when = &mut explained.deletable.when;
        let _ = write!(
            when,
            "; its data is condemned when no repository has it any more, and goes {grace} later"
        );
    }
    explained.alone = Some(alone(inventory, index, None, Some(id)));
    Some(explained)
}

/// Everything in a repository that keeps a manifest of it: tags, parents, its subject, and what is not in doubt.
pub(super) fn manifest_pins(sources: &Sources<'_>, index: usize, id: BlobId) -> Vec<Pin> {
    let Sources { inventory, marks, rules, .. } = *sources;
    let (repository, marked) = (&inventory.repositories[index], &marks.repositories[index]);
    let name = &repository.name;
    let mut pins = Vec::new();
    for (tag, decision) in repository.tags.iter().zip(&marked.tags) {
        if tag.target == Target::Manifest(id) && !decision.is_expired() {
            pins.push(pin(PinKind::Tag, format!("{name}:{}", tag.name), decision.to_string()));
        }
    }
    pins.extend(needed_by(sources, index, id));
    let stays = |id: BlobId| {
        let found = repository.revisions.iter().position(|one| one.digest == id);
        found.is_some_and(|at| matches!(marked.revisions.get(at), Some(Fate::Kept(_))))
    };
    if let Some(subject) = inventory.facts(id).and_then(|facts| facts.subject)
        && stays(subject)
    {
        pins.push(pin(PinKind::Subject, format!("{name}@{}", inventory.blobs.digest(subject)), "stays"));
    }
    let found = repository.revisions.iter().position(|one| one.digest == id && one.link != Link::Missing);
    if let Some(at) = found {
        if let Some(Fate::Kept(Held::Untagged(decision))) = marked.revisions.get(at) {
            let policy = decision.policy.as_deref().unwrap_or("no policy");
            pins.push(pin(PinKind::Rule, policy, decision.to_string()));
        }
        let changed = repository.revisions[at].changed;
        pins.extend(grace(rules, changed, changed.is_none()));
    }
    let digest = inventory.blobs.digest(id);
    for held in rules.pinned() {
        if held.revisions.iter().any(|(of, pinned)| of == name && *pinned == digest) {
            pins.push(restored(held));
        }
    }
    pins.extend(gaps(sources, repository));
    pins
}

/// Manifests of a repository that stay and refer to a digest, by its own name or an alias.
pub(super) fn needed_by(sources: &Sources<'_>, index: usize, id: BlobId) -> Vec<Pin> {
    let Sources { inventory, marks, .. } = *sources;
    let (repository, marked) = (&inventory.repositories[index], &marks.repositories[index]);
    let every = inventory.repositories.iter().flat_map(|repository| &repository.aliases);
    let names: Vec<BlobId> = std::iter::once(id)
        .chain(every.filter(|alias| alias.target == Some(id)).map(|alias| alias.alias))
        .collect();
    let mut pins = Vec::new();
    for (revision, fate) in repository.revisions.iter().zip(&marked.revisions) {
        let refers = inventory
            .facts(revision.digest)
            .is_some_and(|facts| facts.references.iter().any(|edge| names.contains(&edge.digest)))
            || repository.signatures.contains(&(revision.digest, id));
        if refers && matches!(fate, Fate::Kept(_)) {
            let tags: Vec<&str> = repository
                .tags
                .iter()
                .filter(|tag| tag.target == Target::Manifest(revision.digest))
                .map(|tag| tag.name.as_str())
                .collect();
            let digest = inventory.blobs.digest(revision.digest);
            let note = if tags.is_empty() { String::new() } else { format!("tagged {}", tags.join(", ")) };
            pins.push(pin(PinKind::Manifest, format!("{}@{digest}", repository.name), note));
        }
    }
    pins
}

/// The pin of the grace, while it lasts.
pub(super) fn grace(rules: &Rules<'_>, changed: Option<jiff::Timestamp>, unknown: bool) -> Option<Pin> {
    if unknown {
        return Some(pin(PinKind::Grace, "grace", "when it changed is not known, so it counts as young"));
    }
    let end = changed.filter(|_| rules.young(changed))?.checked_add(rules.grace).ok()?;
    Some(pin(PinKind::Grace, "grace", format!("changed within it, until {}", moment(end))))
}

pub(super) fn restored(pins: &crate::graph::Pins) -> Pin {
    pin(PinKind::Restore, "a restore", format!("until {}", moment(pins.until)))
}

/// What cannot be read and therefore keeps all of a repository.
fn gaps(sources: &Sources<'_>, repository: &Repository) -> Vec<Pin> {
    let found = sources.inventory.gaps.iter();
    found
        .filter(|gap| gap.repository.as_ref().is_none_or(|name| *name == repository.name))
        .map(|gap| pin(PinKind::Gap, &gap.key, gap.why.clone()))
        .collect()
}

/// A moment as a person reads it, to the minute.
fn moment(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
