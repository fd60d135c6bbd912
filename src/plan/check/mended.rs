//! What is given back was ours to give, and is given before anything else is decided.

use rustc_hash::FxHashSet;

use super::bounds::was_manifest;
use super::{Violation, World};
use crate::plan::{Action, Plan};

/// Validation: only what a recent run took is written again, and a plan that brings a manifest or a tag back takes nothing:
/// what these refer to was not seen when it was made.
pub(super) fn first(plan: &Plan, world: &World<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let tags: FxHashSet<_> = world.taken.tags.iter().map(|taken| (&taken.repository, &taken.tag)).collect();
    let mut uncovers = false;
    for (step, one) in plan.steps.iter().enumerate() {
        let ours = match &one.action {
            Action::RelinkManifest { repository, digest } => {
                uncovers = true;
                world.taken.manifests.contains(&(repository.clone(), *digest))
            }
            Action::Retag { repository, tag, .. } => {
                uncovers = true;
                tags.contains(&(repository, tag))
            }
            Action::Heal { place, .. } => {
                uncovers |= was_manifest(place);
                true
            }
            _ => true,
        };
        if !ours {
            found.push((step, "no run took what it would write again".to_owned()));
        }
    }
    if uncovers {
        let takes = plan.steps.iter().enumerate().filter(|(_, step)| !step.action.gives_back());
        found.extend(takes.map(|(step, _)| (step, "what comes back may need it".to_owned())));
    }
    found
}
