//! What the mark goes by.

use jiff::{SignedDuration, Timestamp};

use super::Pins;
use crate::oci::RepositoryName;
use crate::policy::{Clock, Policy};
use crate::sources::{PullRecord, References};

/// What the mark goes by, besides the inventory.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'r> {
    /// The policy; without one every tag and manifest stays.
    pub policy: Option<&'r Policy>,
    /// Nothing younger goes.
    pub grace: SignedDuration,
    /// What restores pinned.
    pub pins: &'r [Pins],
    /// What lists of pins name, and what runs.
    pub references: &'r References,
    /// When images were pulled.
    pub pulls: &'r PullRecord,
    /// The present moment.
    pub now: Timestamp,
}

impl Rules<'_> {
    /// Pins whose time is not over.
    pub fn pinned(&self) -> impl Iterator<Item = &Pins> {
        self.pins.iter().filter(|pins| pins.until > self.now)
    }

    /// By which clock the policy of a repository counts ages.
    pub(super) fn clock(&self, repository: &RepositoryName) -> Option<Clock> {
        self.policy?.for_repository(repository.as_str()).map(|governing| governing.clock)
    }

    /// Whether something that changed at this moment is too young to go. What is not known is young.
    pub fn young(&self, changed: Option<Timestamp>) -> bool {
        changed.is_none_or(|changed| self.now.duration_since(changed) < self.grace)
    }
}
