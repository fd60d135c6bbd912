//! What must stay because something before it was left.
//!
//! A plan takes references before what they refer to, and it was checked as a whole. When one of its references could not be
//! taken, what the plan says of the rest is no longer proved.

use rustc_hash::FxHashSet;

use super::journal::Outcome;
use super::step::GONE;
use crate::oci::{Digest, RepositoryName};
use crate::plan::{Action, Mode};

/// Why a step is left.
pub(super) const HELD: &str = "something that may need it was left alone; the next run decides about it";

/// What the steps so far have left behind.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Repositories in which a tag, a manifest or a link was left.
    repositories: FxHashSet<RepositoryName>,
    /// What was left.
    digests: FxHashSet<Digest>,
    /// Somebody changes the store: no data goes any more.
    data: bool,
    /// Pushes go on all the time, and what goes waited for a grace in which nothing named it.
    online: bool,
}

impl Held {
    /// Nothing left behind yet.
    pub(super) fn new(mode: Mode) -> Self {
        Self { online: mode == Mode::Online, ..Self::default() }
    }

    /// From here on no data goes.
    pub(super) fn hold_data(&mut self) {
        self.data = true;
    }

    /// Takes note of what became of a step.
    pub(super) fn note(&mut self, action: &Action, outcome: &Outcome) {
        let (repository, target) = match action {
            Action::Untag { repository, target, .. } => (repository, target.as_ref()),
            Action::DeleteManifest { repository, digest, .. } | Action::Unlink { repository, digest } => {
                (repository, Some(digest))
            }
            _ => return,
        };
        match outcome {
            Outcome::Done => return,
            Outcome::Skipped(why) if why == GONE => return,
            Outcome::Skipped(why) if why == HELD => {}
            // It changed since it was listed: a push is going on, which may need anything that is still there.
            Outcome::Skipped(_) => self.data |= !self.online,
            Outcome::Failed(_) => {}
        }
        self.repositories.insert(repository.clone());
        self.digests.extend(target);
        if let Action::DeleteManifest { signatures, .. } = action {
            self.digests.extend(signatures);
        }
        // An alias stands for a blob of another digest, which is not told here.
        self.data |= target.is_some_and(|digest| !matches!(digest, Digest::Sha256(_))) && !self.online;
    }

    /// Whether a step may not be taken any more.
    pub(super) fn holds(&self, action: &Action) -> bool {
        match action {
            Action::DeleteManifest { repository, .. } | Action::Unlink { repository, .. } => {
                self.repositories.contains(repository)
            }
            Action::Sweep { digest, .. } => self.data || self.digests.contains(digest),
            Action::Purge { .. } => self.data,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unlink(repository: &str, digest: Digest) -> Action {
        Action::Unlink { repository: RepositoryName::found(repository).unwrap(), digest }
    }

    fn sweep(digest: Digest) -> Action {
        Action::Sweep { digest, size: 1, manifest: false }
    }

    #[test]
    fn what_was_done_or_was_gone_holds_nothing() {
        let mut held = Held::default();
        let one = Digest::of(b"1");
        held.note(&unlink("a", one), &Outcome::Done);
        held.note(&unlink("a", one), &Outcome::Skipped(GONE.into()));
        assert!(!held.holds(&sweep(one)) && !held.holds(&unlink("a", one)));
    }

    #[test]
    fn what_failed_holds_its_repository_and_its_blob() {
        let mut held = Held::default();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        held.note(&unlink("a", one), &Outcome::Failed("no".into()));
        assert!(held.holds(&sweep(one)) && held.holds(&unlink("a", two)));
        assert!(!held.holds(&sweep(two)) && !held.holds(&unlink("b", one)));
        // What is held in turn holds its blob.
        held.note(&unlink("a", two), &Outcome::Skipped(HELD.into()));
        assert!(held.holds(&sweep(two)));
    }

    #[test]
    fn beside_a_registry_that_serves_a_push_holds_only_what_it_touched() {
        let mut held = Held::new(Mode::Online);
        let one = Digest::of(b"1");
        held.note(&unlink("a", one), &Outcome::Skipped("it was written again".into()));
        assert!(held.holds(&sweep(one)) && !held.holds(&sweep(Digest::of(b"other"))));
        held.hold_data();
        assert!(held.holds(&sweep(Digest::of(b"other"))));
    }

    #[test]
    fn what_changed_and_what_an_alias_may_stand_for_hold_all_data() {
        let other = sweep(Digest::of(b"other"));
        let mut held = Held::default();
        held.note(&unlink("a", Digest::of(b"1")), &Outcome::Skipped("it was written again".into()));
        assert!(held.holds(&other));
        let mut held = Held::default();
        let alias = Digest::from_parts("sha512", &"ab".repeat(64)).unwrap();
        held.note(&unlink("a", alias), &Outcome::Failed("no".into()));
        assert!(held.holds(&other));
    }
}
