//! Why one thing stays or goes: the rule, everything that pins it, what it alone would free, and when its time comes.
//!
//! The decisions are those of the marks and of [`super::build`]; nothing is decided anew here.

mod alone;
mod blob;
mod find;
mod image;

use jiff::Timestamp;
use serde::Serialize;

pub use alone::Alone;
pub use find::{Asked, NotFound, find};

use super::build::Sources;
use crate::config::values::Period;
use crate::oci::{Digest, RepositoryName, TagName};
use crate::policy::{Decision, ExpireReason, KeepReason, Verdict};

/// What is explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Subject {
    /// A repository: each of its tags.
    Repository {
        /// The repository.
        repository: RepositoryName,
    },
    /// A tag.
    Tag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: TagName,
    },
    /// A manifest of a repository.
    Manifest {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
    },
    /// A blob, a manifest's among them, in the whole store.
    Blob {
        /// The digest.
        digest: Digest,
    },
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It stays.
    Stays,
    /// It would go, and its time has not come.
    Waits,
    /// The next run takes it.
    Goes,
    /// It is named and has no data.
    Missing,
}

/// Something that pins it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// What kind of thing.
    pub by: PinKind,
    /// Its name.
    pub name: String,
    /// What there is to say of it: why it stays itself, or until when it pins.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What can pin something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinKind {
    /// A rule of the policy, or that there is none.
    Rule,
    /// A tag that points to it.
    Tag,
    /// A manifest that refers to it: an index to a child, an image to a layer.
    Manifest,
    /// What it is about.
    Subject,
    /// A restore.
    Restore,
    /// It is young.
    Grace,
    /// Something could not be read.
    Gap,
}

/// When it can go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Deletable {
    /// Not before this moment, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest: Option<Timestamp>,
    /// Since when nothing is known to have named the blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condemned_since: Option<Timestamp>,
    /// In words.
    pub when: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// What is explained.
    pub subject: Subject,
    /// What a tag points to, when it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Digest>,
    /// The size of the blob's or the manifest's own data in bytes, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why, in words.
    pub why: String,
    /// What the policy says, with policy, class, keep, and rank or age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Decision>,
    /// By how much it met the keep that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met_by: Option<String>,
    /// Everything that pins it.
    pub pins: Vec<Pin>,
    /// What its removal alone would free, with all else staying. Nothing for a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alone: Option<Alone>,
    /// When it can go.
    pub deletable: Deletable,
    /// For a repository: each of its tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagLine>,
}

/// A tag of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagLine {
    /// The tag.
    pub tag: TagName,
    /// What becomes of it.
    pub outcome: Outcome,
    /// What the policy says.
    pub rule: Decision,
}

/// Explains something that [`find`] found.
pub fn explain(sources: &Sources<'_>, subject: &Subject) -> Explained {
    let place = |name: &RepositoryName| {
        sources.inventory.repositories.iter().position(|repository| repository.name == *name)
    };
    let empty = || Explained {
        subject: subject.clone(),
        target: None,
        size: None,
        outcome: Outcome::Missing,
        why: String::new(),
        rule: None,
        met_by: None,
        pins: Vec::new(),
        alone: None,
        deletable: Deletable::default(),
        tags: Vec::new(),
    };
    match subject {
        Subject::Repository { repository } => {
            place(repository).map_or_else(empty, |at| image::repository(sources, at, empty()))
        }
        Subject::Tag { repository, tag } => {
            place(repository).and_then(|at| image::tag(sources, at, tag, empty())).unwrap_or_else(empty)
        }
        Subject::Manifest { repository, digest } => place(repository)
            .and_then(|at| image::manifest(sources, at, digest, empty()))
            .unwrap_or_else(empty),
        Subject::Blob { digest } => blob::blob(sources, digest, empty()),
    }
}

fn pin(by: PinKind, name: impl Into<String>, note: impl Into<String>) -> Pin {
    Pin { by, name: name.into(), note: note.into() }
}

/// By how much a keep that holds is met, in words.
fn met_by(reason: &KeepReason) -> Option<String> {
    Some(match reason {
        KeepReason::Last { rank, last } => match last.saturating_sub(*rank) {
            0 => "one newer takes its place".to_owned(),
            spare => format!("{} newer ones take its place", spare + 1),
        },
        KeepReason::Calendar { unit, rank, keep } => {
            format!("{} later {}s with a member take its place", keep.saturating_sub(*rank) + 1, unit.noun())
        }
        KeepReason::Within { age, within } => format!("{} left", left(*age, *within).rough()),
        KeepReason::Grace { age, grace } => format!("{} left", left(*age, *grace).rough()),
        KeepReason::Orphaned { age, after } => format!("{} left", left(*age, *after).rough()),
        KeepReason::All(reasons) => {
            let each: Vec<String> = reasons.iter().filter_map(met_by).collect();
            if each.is_empty() {
                return None;
            }
            each.join(" or ")
        }
        _ => return None,
    })
}

fn left(age: Period, of: Period) -> Period {
    Period::from_signed(of.as_signed().saturating_sub(age.as_signed()))
}

/// When time alone ends a keep, if it does.
fn ends(reason: &KeepReason, now: Timestamp) -> Option<Timestamp> {
    let after = |period: Period| now.checked_add(period.as_signed()).ok();
    match reason {
        KeepReason::Within { age, within } => after(left(*age, *within)),
        KeepReason::Grace { age, grace } => after(left(*age, *grace)),
        KeepReason::Orphaned { age, after: limit } => after(left(*age, *limit)),
        KeepReason::FutureTime { ahead } => after(*ahead),
        // The first that no longer holds ends it.
        KeepReason::All(reasons) => reasons.iter().filter_map(|reason| ends(reason, now)).min(),
        _ => None,
    }
}

/// The decision of a tag or an untagged manifest, as far as it fills the answer.
fn by_rule(explained: &mut Explained, decision: &Decision, now: Timestamp) {
    explained.why = decision.to_string();
    explained.rule = Some(decision.clone());
    match &decision.verdict {
        Verdict::Keep(reason) => {
            explained.outcome = Outcome::Stays;
            explained.met_by = met_by(reason);
            explained.deletable.earliest = ends(reason, now);
            explained.deletable.when = match reason {
                KeepReason::NoPolicy => "when a policy lets go of it".to_owned(),
                KeepReason::MaxDelete { .. } => "in a later run: as many as may go go before it".to_owned(),
                KeepReason::Subject => "with what it is about".to_owned(),
                KeepReason::Named { by } => format!("when {by} names it no more, if no rule keeps it"),
                KeepReason::Gap => "when what cannot be read can be read".to_owned(),
                KeepReason::Young | KeepReason::Pinned => "when that is over, if no rule keeps it".to_owned(),
                KeepReason::Protected { pattern } => {
                    format!("when `{pattern}` protects it no more, if no keep holds it then")
                }
                KeepReason::ClassKeepsAll => "when its class has another rule".to_owned(),
                KeepReason::ClassWithoutRule | KeepReason::Unmatched | KeepReason::UntaggedWithoutRule => {
                    "when the policy has a rule for it".to_owned()
                }
                KeepReason::TimeUnknown => "when its time is known, and old enough".to_owned(),
                KeepReason::NotAVersion => "when its class has another order, or it another class".to_owned(),
                KeepReason::MinKeep { min_keep } => {
                    format!("when its repository has more than {min_keep} tags without it")
                }
                reason if ends(reason, now).is_some() => "then, if no other keep holds it".to_owned(),
                _ => "when no keep holds it any more".to_owned(),
            };
        }
        Verdict::Expire(reason) => {
            explained.outcome = Outcome::Goes;
            explained.deletable.earliest = Some(now);
            explained.deletable.when = match reason {
                ExpireReason::Subject => "in the next run, with what it is about".to_owned(),
                _ => "in the next run".to_owned(),
            };
        }
        Verdict::Follows => {}
    }
}
