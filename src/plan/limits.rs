//! Every age, margin, cap and ratio in one place, with the strict defaults.

use std::str::FromStr;

use jiff::SignedDuration;

use crate::config::values::{Percentage, Period};
use crate::policy::Policy;

/// What a plan must stay within.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Nothing younger goes.
    pub grace: Period,
    /// How long what goes can be brought back.
    pub trash_keep: Period,
    /// How many times longer a blob that was a manifest stays in the trash.
    pub manifest_trash_factor: u32,
    /// The longest time between a registry's last look at a blob and the link that it writes.
    pub settle: Period,
    /// Uploads without a sign of life for so long are abandoned.
    pub uploads_abandoned_after: Period,
    /// The largest part of all tags that one run removes.
    pub tags: Percentage,
    /// The largest part of all bytes that one run removes.
    pub bytes: Percentage,
    /// Whether a policy may take a repository's last tag.
    pub repository_may_empty: bool,
    /// The largest part by which what is there may have shrunk since the last run: a truncated listing looks like that.
    pub shrink: Percentage,
    /// Whether the store of a pull-through cache may be swept.
    pub pull_through_cache: bool,
    /// Whether what goes may be deleted by a repository manager, from which nothing brings it back.
    pub no_undo: bool,
    /// The oldest plan file that is carried out.
    pub plan_age: SignedDuration,
    /// How far our clock and the store's may be apart.
    pub clock_skew: SignedDuration,
}

impl Limits {
    /// The limits of a policy.
    pub fn of(policy: &Policy) -> Self {
        let stated = policy.limits();
        Self {
            grace: policy.grace(),
            trash_keep: policy.trash_keep(),
            uploads_abandoned_after: policy.uploads_abandoned_after(),
            tags: stated.tags,
            bytes: stated.bytes,
            repository_may_empty: stated.repository_may_empty,
            ..Self::default()
        }
    }

    /// Lifts single limits.
    pub fn accept(&mut self, accepted: &[Accept]) {
        for accept in accepted {
            match accept {
                Accept::Tags(percentage) => self.tags = *percentage,
                Accept::Bytes(percentage) => self.bytes = *percentage,
                Accept::RepositoryMayEmpty => self.repository_may_empty = true,
                Accept::Shrink(percentage) => self.shrink = *percentage,
                Accept::PullThroughCache => self.pull_through_cache = true,
                Accept::NoUndo => self.no_undo = true,
            }
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grace: Period::from_days(1),
            trash_keep: Period::from_days(7),
            manifest_trash_factor: 10,
            settle: Period::from_signed(SignedDuration::from_mins(15)),
            uploads_abandoned_after: Period::from_days(7),
            tags: Percentage::from_percent(25),
            bytes: Percentage::from_percent(50),
            repository_may_empty: false,
            shrink: Percentage::from_percent(50),
            pull_through_cache: false,
            no_undo: false,
            plan_age: SignedDuration::from_hours(24),
            clock_skew: SignedDuration::from_mins(5),
        }
    }
}

/// One limit that the user lifts for one run, by name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Accept {
    /// `tags=40%`
    Tags(Percentage),
    /// `bytes=90%`
    Bytes(Percentage),
    /// `repository_may_empty`
    RepositoryMayEmpty,
    /// `shrink=90%`
    Shrink(Percentage),
    /// `pull_through_cache`
    PullThroughCache,
    /// `no_undo`
    NoUndo,
}

impl FromStr for Accept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percentage = |value: &str| {
            value.parse::<Percentage>().map_err(|error| format!("{value:?} is no percentage: {error}"))
        };
        match text.split_once('=') {
            Some(("tags", value)) => Ok(Self::Tags(percentage(value)?)),
            Some(("bytes", value)) => Ok(Self::Bytes(percentage(value)?)),
            Some(("shrink", value)) => Ok(Self::Shrink(percentage(value)?)),
            None if text == "repository_may_empty" => Ok(Self::RepositoryMayEmpty),
            None if text == "pull_through_cache" => Ok(Self::PullThroughCache),
            None if text == "no_undo" => Ok(Self::NoUndo),
            _ => Err(format!(
                "{text:?} is no limit that can be lifted; write tags=40%, bytes=90%, shrink=90%, repository_may_empty, \
                 pull_through_cache or no_undo"
            )),
        }
    }
}
