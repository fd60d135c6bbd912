//! What was decided about one tag or manifest, by which rule, and by how much.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::values::Period;
use crate::policy::rules::{CalendarUnit, RepositoryPolicy};
use crate::policy::shared_text;

/// The name under which decisions about untagged manifests carry their rule, in the place of a class.
pub const UNTAGGED: &str = "untagged";

/// The class of the tags that no other class matches.
pub const OTHER: &str = "other";

/// A verdict and the rule that made it.
///
/// `Display` is one fragment of a sentence: `policy ci, class pr: 23d old, keep within 14d missed by 9d`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Keep, expire, or as the subject.
    pub verdict: Verdict,
    /// The policy that governs the repository, if any does.
    #[serde(default, with = "shared_text::optional", skip_serializing_if = "Option::is_none")]
    pub policy: Option<Arc<str>>,
    /// The class whose rule decided: [`OTHER`] for unmatched tags when the policy has a rule for them, [`UNTAGGED`]
    /// for manifests without a tag, nothing when no class had a say.
    #[serde(default, with = "shared_text::optional", skip_serializing_if = "Option::is_none")]
    pub class: Option<Arc<str>>,
}

impl Decision {
    pub(super) fn new(policy: Option<&RepositoryPolicy>, class: Option<Arc<str>>, verdict: Verdict) -> Self {
        Self { verdict, policy: policy.map(|policy| policy.name.clone()), class }
    }

    /// Whether the policy lets go of it.
    pub fn is_expired(&self) -> bool {
        matches!(self.verdict, Verdict::Expire(_))
    }
}

/// What the policy says about one tag or manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It stays.
    Keep(KeepReason),
    /// No rule holds it.
    Expire(ExpireReason),
    /// A referrer's tag: it lives as its subject lives, which the graph decides.
    Follows,
}

/// The rule that keeps something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum KeepReason {
    /// No policy matches the repository.
    NoPolicy,
    /// A protection matches the tag or its repository.
    Protected {
        /// The pattern that matches.
        #[serde(with = "shared_text")]
        pattern: Arc<str>,
    },
    /// The class says `keep: all`.
    ClassKeepsAll,
    /// The preset has a class for it, but the policy has no rule for that class.
    ClassWithoutRule,
    /// No class matches the tag, and the policy has no rule for `other`.
    Unmatched,
    /// The policy has no rule for untagged manifests.
    UntaggedWithoutRule,
    /// Among the newest of its class.
    Last {
        /// Its place, from 1, the newest first.
        rank: u64,
        /// How many are kept.
        last: u64,
    },
    /// Among the newest versions at every level.
    LastVersions {
        /// The place of its major, from 1, the newest first.
        major: u64,
        /// The place of its minor within the major.
        minor: u64,
        /// The place of its patch within the minor.
        patch: u64,
    },
    /// The newest of its day, week, month or year.
    Calendar {
        /// Which of the four.
        unit: CalendarUnit,
        /// The place of that span among those that have a member, from 1, the latest first.
        rank: u64,
        /// How many are kept.
        keep: u64,
    },
    /// Every rule of an `all` holds.
    All(Vec<KeepReason>),
    /// Young enough.
    Within {
        /// Its age by the policy's clock.
        age: Period,
        /// The age up to which it is kept.
        within: Period,
    },
    /// A time that the rule needs is not known.
    TimeUnknown,
    /// Its time has not come yet, so the time is wrong and its age unknown.
    FutureTime {
        /// How far ahead it is.
        ahead: Period,
    },
    /// The class is ordered by version, and the tag is none that its order reads, so it has no rank.
    NotAVersion,
    /// Younger than the document's `grace`.
    Grace {
        /// Its age by the newest of its times.
        age: Period,
        /// The grace.
        grace: Period,
    },
    /// It would go, but the repository would fall below `limits.min_keep`.
    MinKeep {
        /// The fewest tags that stay.
        min_keep: u64,
    },
    /// It would go, but `limits.max_delete` older ones go first; a later run takes it.
    MaxDelete {
        /// The most that go in one run.
        max_delete: u64,
    },
    /// Something of its repository could not be read or understood, so nothing in it goes.
    Gap,
    /// Its link, or what it points to, changed within the grace.
    Young,
    /// A restore brought it back a short while ago.
    Pinned,
    /// A list of pins names it, or something runs it.
    Named {
        /// The source that says so, such as `the file pins.txt`.
        #[serde(with = "shared_text")]
        by: Arc<str>,
    },
    /// It is about something that stays.
    Subject,
    /// A referrer whose subject is gone, but not for long.
    Orphaned {
        /// How long it has had no subject.
        age: Period,
        /// How long it is kept without one.
        after: Period,
    },
}

/// The rules that would have kept something, and by how much each missed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum ExpireReason {
    /// The class says `keep: none`.
    KeepNone,
    /// Every keep of the class missed it, in the order they are written.
    Missed(Vec<Missed>),
    /// It is about something that goes.
    Subject,
    /// A referrer whose subject is gone for longer than `referrers.orphaned_after`.
    Orphaned {
        /// How long it has had no subject.
        age: Period,
        /// How long it is kept without one.
        after: Period,
        /// The difference.
        by: Period,
    },
}

/// One keep that did not hold, and by how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Missed {
    /// Newer ones fill the count.
    Last {
        /// Its place, from 1, the newest first.
        rank: u64,
        /// How many are kept.
        last: u64,
    },
    /// Newer majors, minors or patches fill the count.
    LastVersions {
        /// Which count: majors, minors or patches.
        level: String,
        /// Its place at that level, from 1, the newest first.
        rank: u64,
        /// How many are kept.
        last: u64,
    },
    /// The newest of its day, week, month or year, but later ones fill the count.
    Calendar {
        /// Which of the four.
        unit: CalendarUnit,
        /// The place of that span among those that have a member, from 1, the latest first.
        rank: u64,
        /// How many are kept.
        keep: u64,
    },
    /// Not the newest of its day, week, month or year.
    NotNewest {
        /// Which of the four.
        unit: CalendarUnit,
        /// How many are kept.
        keep: u64,
    },
    /// The rules of an `all` that do not hold.
    All(Vec<Missed>),
    /// Too old.
    Within {
        /// Its age by the policy's clock.
        age: Period,
        /// The age up to which it would be kept.
        within: Period,
        /// The difference.
        by: Period,
    },
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(policy) = &self.policy {
            write!(formatter, "policy {policy}")?;
            match self.class.as_deref() {
                Some(UNTAGGED) => write!(formatter, ", untagged")?,
                Some(class) => write!(formatter, ", class {class}")?,
                None => {}
            }
            write!(formatter, ": ")?;
        }
        write!(formatter, "{}", self.verdict)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(reason) => reason.fmt(formatter),
            Self::Expire(reason) => reason.fmt(formatter),
            Self::Follows => formatter.write_str("a referrer's tag, lives as its subject lives"),
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy => formatter.write_str("no policy matches the repository, kept"),
            Self::Protected { pattern } => write!(formatter, "protected by `{pattern}`"),
            Self::ClassKeepsAll => formatter.write_str("keep all"),
            Self::ClassWithoutRule => formatter.write_str("the policy has no rule for this class, kept"),
            Self::Unmatched => formatter.write_str("no class matches, kept"),
            Self::UntaggedWithoutRule => {
                formatter.write_str("the policy has no rule for untagged manifests, kept")
            }
            Self::Last { rank, last } => write!(formatter, "rank {rank}, keep last {last}"),
            Self::LastVersions { major, minor, patch } => {
                write!(
                    formatter,
                    "number {major} of the majors, {minor} of its minors, {patch} of its patches"
                )
            }
            Self::Calendar { unit, rank, keep } => {
                let (noun, key) = (unit.noun(), unit.key());
                write!(formatter, "newest of its {noun}, {noun} {rank}, keep {key} {keep}")
            }
            Self::All(reasons) => joined(formatter, reasons, " and "),
            Self::Within { age, within } => write!(formatter, "{} old, keep within {within}", age.rough()),
            Self::TimeUnknown => formatter.write_str("its time is unknown, kept"),
            Self::FutureTime { ahead } => {
                write!(formatter, "its time lies {} in the future, kept", ahead.rough())
            }
            Self::NotAVersion => {
                formatter.write_str("no version by the order of its class, so it has no rank, kept")
            }
            Self::Grace { age, grace } => {
                write!(formatter, "{} old, nothing younger than {grace} goes (grace)", age.rough())
            }
            Self::MinKeep { min_keep } => {
                write!(formatter, "expired, but the repository keeps at least {min_keep} (min_keep)")
            }
            Self::MaxDelete { max_delete } => {
                write!(formatter, "expired, waits for a later run after {max_delete} older ones (max_delete)")
            }
            Self::Gap => formatter.write_str("something of its repository could not be read, kept"),
            Self::Young => formatter.write_str("its link changed within the grace, kept"),
            Self::Pinned => formatter.write_str("restored a short while ago, kept"),
            Self::Named { by } => write!(formatter, "{by} names it, kept"),
            Self::Subject => formatter.write_str("a referrer of something that stays"),
            Self::Orphaned { age, after } => {
                write!(formatter, "a referrer without its subject for {}, kept for {after}", age.rough())
            }
        }
    }
}

impl fmt::Display for ExpireReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepNone => formatter.write_str("keep none"),
            Self::Missed(keeps) => joined(formatter, keeps, "; "),
            Self::Subject => formatter.write_str("a referrer of something that goes"),
            Self::Orphaned { age, after, by } => {
                let (age, by) = (age.rough(), by.rough());
                write!(
                    formatter,
                    "a referrer without its subject for {age}, kept for {after}, missed by {by}"
                )
            }
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last { rank, last } => {
                let by = rank.saturating_sub(*last);
                write!(formatter, "rank {rank}, keep last {last} missed by {by}")
            }
            Self::LastVersions { level, rank, last } => {
                let by = rank.saturating_sub(*last);
                write!(formatter, "number {rank} of its {level}, keep {level} {last} missed by {by}")
            }
            Self::Calendar { unit, rank, keep } => {
                let (noun, key, by) = (unit.noun(), unit.key(), rank.saturating_sub(*keep));
                write!(formatter, "newest of its {noun}, {noun} {rank}, keep {key} {keep} missed by {by}")
            }
            Self::NotNewest { unit, keep } => {
                write!(formatter, "not the newest of its {}, keep {} {keep} missed", unit.noun(), unit.key())
            }
            Self::All(missed) => joined(formatter, missed, " and "),
            Self::Within { age, within, by } => {
                write!(formatter, "{} old, keep within {within} missed by {}", age.rough(), by.rough())
            }
        }
    }
}

/// Writes the items one after the other.
fn joined(formatter: &mut fmt::Formatter<'_>, items: &[impl fmt::Display], separator: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        write!(formatter, "{}{item}", if index == 0 { "" } else { separator })?;
    }
    Ok(())
}
