//! What was decided about one tag or manifest, by which rule, and by how much.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::values::Period;
use crate::policy::rules::RepositoryPolicy;
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
    /// The class whose rule decided: [`OTHER`] for unmatched tags when the policy has a rule for them, [`UNTAGGED`] for manifests
    /// without a tag, nothing when no class had a say.
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
    /// The class is ordered by version, and the tag is none, so it has no rank.
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
            Self::Within { age, within } => write!(formatter, "{} old, keep within {within}", age.rough()),
            Self::TimeUnknown => formatter.write_str("its time is unknown, kept"),
            Self::FutureTime { ahead } => {
                write!(formatter, "its time lies {} in the future, kept", ahead.rough())
            }
            Self::NotAVersion => formatter.write_str("not a semantic version, so it has no rank, kept"),
            Self::Grace { age, grace } => {
                write!(formatter, "{} old, nothing younger than {grace} goes (grace)", age.rough())
            }
            Self::MinKeep { min_keep } => {
                write!(formatter, "expired, but the repository keeps at least {min_keep} tags (min_keep)")
            }
            Self::MaxDelete { max_delete } => {
                write!(formatter, "expired, waits for a later run after {max_delete} older ones (max_delete)")
            }
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
            Self::Missed(keeps) => {
                for (index, missed) in keeps.iter().enumerate() {
                    write!(formatter, "{}{missed}", if index == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
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
            Self::Within { age, within, by } => {
                write!(formatter, "{} old, keep within {within} missed by {}", age.rough(), by.rough())
            }
        }
    }
}
