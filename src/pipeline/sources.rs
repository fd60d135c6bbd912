//! What is asked besides the store, and what a plan takes for granted of the answers.

use std::path::Path;
use std::sync::Arc;

use super::{Job, Survey};
use crate::clock::Clock;
use crate::inventory::Inventory;
use crate::policy::Policy;
use crate::sources::references::{self, Reference, References};

/// Asks the sources of the policy, which is read where the runtime may block.
pub(super) fn ask(policy: Option<&Policy>, clock: &dyn Clock) -> References {
    let sources = policy.map(Policy::sources).unwrap_or_default();
    if sources.is_empty() {
        return References::default();
    }
    let directory = policy.and_then(|policy| Path::new(policy.origin()).parent()).unwrap_or(Path::new(""));
    tokio::runtime::Handle::current().block_on(references::ask(&sources, directory, clock.now()))
}

/// Adds what manifests of other repositories in the store need: a blob may be theirs by its content alone.
pub(super) fn add_outside(references: &mut References, inventory: &Inventory) {
    let outside = inventory.assets.iter().flat_map(|assets| &assets.outside);
    let found: Vec<Reference> =
        outside.map(|digest| Reference { repository: None, tag: None, digest: Some(*digest) }).collect();
    if !found.is_empty() {
        references.sources.push((Arc::from("a repository that is not looked at"), found));
    }
}

impl Survey {
    /// What the plan takes for granted of pulls and of what is named, a sentence each.
    pub(super) fn notes(&self, job: &Job<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        for (source, references) in &self.references.sources {
            let count = references.len();
            notes.push(format!("{source} names {count} image{}", if count == 1 { "" } else { "s" }));
        }
        let Some(policy) = job.policy.filter(|policy| policy.goes_by_pulls()) else { return notes };
        let max_gap = policy.pulls().max_gap;
        let begins = self.pulls.begins(self.now, max_gap);
        let moment = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string();
        notes.push(match self.pulls.ends() {
            None => "nobody has looked for pulls, so everything counts as pulled now: see regsweep pulls import".to_owned(),
            Some(ends) if begins >= self.now => format!(
                "the record of pulls ends {}, more than {max_gap} ago, so everything counts as pulled now: see regsweep pulls \
                 import",
                moment(ends)
            ),
            Some(_) => format!(
                "pulls are known since {}; what was pushed before counts as pulled then, unless it was pulled since",
                moment(begins)
            ),
        });
        notes
    }
}
