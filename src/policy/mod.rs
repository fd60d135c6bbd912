//! The policy: one YAML document that says what to keep.
//!
//! Parsing ([`Policy::parse`]) is strict and names line and column; evaluation ([`Policy::decide_tags`] and its
//! kin) is pure and takes the facts about tags and manifests as arguments. Nothing expires unless a policy matches its
//! repository, a class matches its tag, and no keep holds it.

pub mod convert;
pub mod pattern;
pub mod presets;
pub mod referrers;
pub mod schema;

mod age;
mod brackets;
mod calver;
mod describe;
mod document;
mod error;
mod evaluate;
mod findings;
mod order;
mod pulls;
mod read;
mod rules;
mod shared_text;
mod sources;
mod standing;
mod verdict;

#[cfg(test)]
mod properties;

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use error::{PolicyError, Problem};
pub use evaluate::{TagFacts, UntaggedFacts};
pub use findings::{Content, Coverage, Finding, FindingKind};
pub use pulls::{DEFAULT_MAX_GAP, IgnoreError, IgnoredPulls, PullRules, Pulled, Puller};
pub use rules::{
    CalendarUnit, Captures, Class, ClassRule, Clock, EmptyRepositories, Keep, KeepRule, Limits, OrderBy,
    Protection, RepositoryLimits, RepositoryPolicy, VersionCounts,
};
pub use sources::{Source, SourceKind};
pub use verdict::{Decision, ExpireReason, KeepReason, Missed, OTHER, UNTAGGED, Verdict};

use crate::config::values::Period;

/// A policy file, read and checked.
#[derive(Debug, Clone)]
pub struct Policy {
    source: Arc<str>,
    origin: Arc<str>,
    protect: Protection,
    pulls: PullRules,
    policies: Vec<RepositoryPolicy>,
    orphaned_after: Period,
    abandoned_after: Period,
    empty_repositories: EmptyRepositories,
    grace: Period,
    trash_keep: Period,
    limits: Limits,
}

impl Policy {
    /// Reads a policy document of version 1.
    ///
    /// `origin` is the file's name as errors should show it.
    ///
    /// # Errors
    /// Every problem found, each with its line and column and what to write instead. An unknown key
    /// is a problem too.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PolicyError> {
        read::policy(text, origin)
    }

    /// The first policy, in file order, whose `repositories` match the name.
    pub fn for_repository(&self, name: &str) -> Option<&RepositoryPolicy> {
        self.policies.iter().find(|policy| policy.repositories.matches(name))
    }

    /// The document as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The name that errors show for the document.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The SHA-256 of the document's bytes, as 64 lowercase hexadecimal digits.
    pub fn hash(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(self.source.as_bytes()) {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// What no rule may touch, in any repository.
    pub fn protection(&self) -> &Protection {
        &self.protect
    }

    /// What is asked before anything goes: `digests_from` and `in_use`, wherever they stand in the document.
    pub fn sources(&self) -> Vec<Source> {
        let own = self.policies.iter().flat_map(|policy| &policy.sources);
        self.protect.sources.iter().chain(own).cloned().collect()
    }

    /// Whose pulls do not count, and how long a hole in what is known of pulls may be.
    pub fn pulls(&self) -> &PullRules {
        &self.pulls
    }

    /// Whether any age counts from the last pull.
    pub fn goes_by_pulls(&self) -> bool {
        self.policies.iter().any(|policy| policy.clock == Clock::Pulled)
    }

    /// The policies in file order.
    pub fn policies(&self) -> &[RepositoryPolicy] {
        &self.policies
    }

    /// Nothing younger goes, and nothing condemned more recently: `grace`, 24 hours unless the document says otherwise.
    ///
    /// Zero when the document says `grace: 0`, which the caller allows only beside a stopped registry.
    pub fn grace(&self) -> Period {
        self.grace
    }

    /// How long the trash keeps what went: the longest `trash.keep` of the document, else 7 days, and of its policies.
    ///
    /// A blob takes the longest of those that named it; one period for all is never shorter than that. Zero when nothing
    /// says more than `0`, which the caller allows only beside a stopped registry.
    pub fn trash_keep(&self) -> Period {
        let own = self.policies.iter().filter_map(|policy| policy.trash_keep);
        own.fold(self.trash_keep, Period::max)
    }

    /// How long a referrer stays after its subject is gone: `referrers.orphaned_after`, else 7 days.
    pub fn referrers_orphaned_after(&self) -> Period {
        self.orphaned_after
    }

    /// How long an upload may stand still before it counts as abandoned: `uploads.abandoned_after`, else 7 days.
    pub fn uploads_abandoned_after(&self) -> Period {
        self.abandoned_after
    }

    /// What becomes of repositories without tags and manifests: `repositories.empty`, else they stay.
    pub fn empty_repositories(&self) -> EmptyRepositories {
        self.empty_repositories
    }

    /// How much of the registry one plan may take before it is refused.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}
