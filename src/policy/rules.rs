//! The parts of a policy document, checked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::values::{Percentage, Period};
use crate::policy::pattern::{Group, PatternList};
use crate::policy::sources::Source;

/// What no rule may touch.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    /// Tags that never go.
    pub tags: PatternList,
    /// Repositories in which nothing goes, untagged manifests included; always empty within a policy.
    pub repositories: PatternList,
    /// Where images come from that never go.
    pub sources: Vec<Source>,
}

/// The rules for the repositories that one entry of `policies` matches.
#[derive(Debug, Clone)]
pub struct RepositoryPolicy {
    /// The policy's name, unique within the document.
    pub name: Arc<str>,
    /// The repositories it governs, unless an earlier policy matches them.
    pub repositories: PatternList,
    /// Which time is a tag's age.
    pub clock: Clock,
    /// The preset whose classes it uses.
    pub preset: Option<&'static str>,
    /// Classes and their rules; a tag belongs to the first that matches.
    pub classes: Vec<ClassRule>,
    /// The rule for tags that no class matches; they stay when there is none.
    pub other: Option<Keep>,
    /// The rule for manifests without a tag; they stay when there is none.
    pub untagged: Option<Keep>,
    /// Bounds on what one run takes from one repository.
    pub limits: RepositoryLimits,
    /// Tags that never go.
    pub protect: PatternList,
    /// Where images come from that never go, in whatever repository they are.
    pub sources: Vec<Source>,
    /// Tags that the preset says never go.
    pub preset_protect: PatternList,
    /// How long the trash keeps what this policy removed, where it differs from the document's.
    pub trash_keep: Option<Period>,
}

/// A named set of tags.
#[derive(Debug, Clone)]
pub struct Class {
    /// The name, unique within the document or preset.
    pub name: Arc<str>,
    /// The tags in it.
    pub matches: PatternList,
    /// What decides which tag is newer.
    pub order_by: OrderBy,
}

/// A class within a policy.
#[derive(Debug, Clone)]
pub struct ClassRule {
    /// The tags.
    pub class: Class,
    /// What stays of them; everything when the policy has no rule for this class of its preset.
    pub keep: Option<Keep>,
}

/// Which time is a tag's age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Clock {
    /// When the tag was last written; moving it starts anew.
    #[default]
    Tagged,
    /// When the manifest was pushed.
    Pushed,
    /// When it was last pulled, by tag or by digest; when it was pushed, where no later pull is known.
    Pulled,
    /// When the image says that it was created; when it was pushed, where that is unknown or before the year 2000.
    Created,
}

/// What decides which of two tags of a class is newer.
#[derive(Debug, Clone, Default)]
pub enum OrderBy {
    /// The policy's clock.
    #[default]
    Clock,
    /// The precedence of semantic versions; a leading `v` and missing minor and patch numbers are accepted.
    Semver,
    /// The parts of a calendar version (`2024.08.1`, `24.04`, `20240815`) as numbers; a modifier such as `rc1` comes
    /// before what has none.
    Calver,
    /// The tag's text, byte by byte.
    Name,
    /// What groups of the class's own regular expressions hold.
    Captures(Captures),
}

impl OrderBy {
    /// The order by the policy's clock.
    pub(crate) const CLOCK: &'static Self = &Self::Clock;

    /// How many numbers a tag of the class can be counted by: 3 for versions, the groups of captures, else none.
    pub fn numbers(&self) -> usize {
        match self {
            Self::Clock | Self::Name => 0,
            Self::Semver | Self::Calver => 3,
            Self::Captures(captures) => captures.groups().len(),
        }
    }
}

/// Groups of a class's regular expressions, the weightiest first.
///
/// Two tags are compared group by group: one that takes no part comes first, then digits as numbers, then other texts
/// byte by byte.
#[derive(Debug, Clone)]
pub struct Captures {
    patterns: PatternList,
    groups: Arc<[Group]>,
}

impl Captures {
    pub(super) fn new(patterns: PatternList, groups: Vec<Group>) -> Self {
        Self { patterns, groups: groups.into() }
    }

    /// The groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What each group holds of a tag, in their order; nothing when the class does not match the tag.
    pub fn of<'t>(&self, tag: &'t str) -> Option<Vec<Option<&'t str>>> {
        self.patterns.captured(tag, &self.groups)
    }
}

/// What stays of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    All,
    /// Nothing.
    None,
    /// Whatever at least one of the rules holds.
    Any(Vec<KeepRule>),
}

/// One reason to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepRule {
    /// The newest so many of the class, at least one.
    Last(u64),
    /// The newest versions by major, minor and patch, in a class that is ordered by version.
    LastVersions(VersionCounts),
    /// Everything up to this age, more than zero.
    Within(Period),
    /// The newest of each of the latest so many days, weeks, months or years (UTC) that have a member, at least one.
    Calendar(CalendarUnit, u64),
    /// What every one of these rules holds.
    All(Vec<KeepRule>),
}

impl KeepRule {
    /// Whether the rule, or one inside it, counts by the unit.
    pub(super) fn counts_by(&self, unit: CalendarUnit) -> bool {
        match self {
            Self::Calendar(own, _) => *own == unit,
            Self::All(rules) => rules.iter().any(|rule| rule.counts_by(unit)),
            Self::Last(_) | Self::LastVersions(_) | Self::Within(_) => false,
        }
    }
}

/// How many versions stay: so many majors, so many minors in each, so many patches in each of those. An absent
/// number is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VersionCounts {
    /// The newest majors.
    pub majors: Option<u64>,
    /// The newest minors of each major.
    pub minors: Option<u64>,
    /// The newest patches of each minor.
    pub patches: Option<u64>,
}

/// A span of the calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalendarUnit {
    /// A day.
    Daily,
    /// A week from Monday to Sunday, as ISO 8601 counts them.
    Weekly,
    /// A month.
    Monthly,
    /// A year.
    Yearly,
}

impl CalendarUnit {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    /// The key that the policy language has for it: `daily`, `weekly`, `monthly` or `yearly`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// The span: day, week, month or year.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Daily => "day",
            Self::Weekly => "week",
            Self::Monthly => "month",
            Self::Yearly => "year",
        }
    }
}

/// Bounds on what one run takes from one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RepositoryLimits {
    /// At least so many tags stay; protected tags, referrers' tags and tags of unknown or future time are not counted.
    pub min_keep: Option<u64>,
    /// At most so many tags go, and at most so many untagged manifests, the oldest first.
    pub max_delete: Option<u64>,
}

/// What becomes of repositories without tags and manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EmptyRepositories {
    /// They stay.
    #[default]
    Keep,
    /// They go.
    Remove,
}

/// How much of the registry one plan may take before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The share of all tags.
    pub tags: Percentage,
    /// The share of all bytes.
    pub bytes: Percentage,
    /// Whether a repository may lose its last tag.
    pub repository_may_empty: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tags: Percentage::from_percent(25),
            bytes: Percentage::from_percent(50),
            repository_may_empty: false,
        }
    }
}
