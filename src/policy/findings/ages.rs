//! Times and limits that are shorter, or larger, than is wise.

use super::{FindingKind, Lint};
use crate::config::values::Period;
use crate::policy::rules::{Keep, KeepRule, RepositoryPolicy};
use crate::policy::verdict::{OTHER, UNTAGGED};

/// A push of a large image over a slow line takes as long.
const SHORTEST_GRACE: Period = Period::from_hours(1);

impl Lint<'_> {
    /// Ages that the grace makes pointless.
    pub(super) fn short(&mut self, index: usize, policy: &RepositoryPolicy) {
        let grace = self.policy.grace;
        let classes = policy.classes.iter().map(|rule| (&*rule.class.name, rule.keep.as_ref()));
        let tags = classes
            .chain([(OTHER, policy.other.as_ref())])
            .map(|(class, keep)| (["tags", class].to_vec(), keep));
        for (mut path, keep) in tags.chain([(vec![UNTAGGED], policy.untagged.as_ref())]) {
            let Some(Keep::Any(rules)) = keep else { continue };
            let within = rules.iter().find_map(|rule| match rule {
                KeepRule::Within(within) if *within < grace => Some(*within),
                _ => None,
            });
            if let Some(within) = within {
                let message = format!(
                    "policy {}: `within: {within}` is shorter than the grace, and nothing younger than {grace} goes; write a \
                     longer one, or lower `grace`",
                    policy.name
                );
                path.extend(["keep", "within"]);
                self.note(FindingKind::Contradictory, self.place_of(index, &path), message);
            }
        }
        if policy.trash_keep.is_some_and(Period::is_zero) {
            let message = format!(
                "policy {}: `trash.keep: 0` deletes at once, and nothing brings it back",
                policy.name
            );
            self.note(FindingKind::Dangerous, self.place_of(index, &["trash", "keep"]), message);
        }
    }

    /// What holds for the whole document.
    pub(super) fn whole(&mut self) {
        let policy = self.policy;
        if policy.grace < SHORTEST_GRACE {
            let message = format!(
                "`grace: {}`: a push that takes longer loses what it has sent; write more than your longest push, such as \
                 24h",
                policy.grace
            );
            self.note(FindingKind::Dangerous, self.place(&["grace"]), message);
        }
        if policy.trash_keep.is_zero() {
            let message = "`trash.keep: 0` deletes at once, and nothing brings it back; write 7d".to_owned();
            self.note(FindingKind::Dangerous, self.place(&["trash", "keep"]), message);
        }
        for (key, limit) in [("tags", policy.limits.tags), ("bytes", policy.limits.bytes)] {
            if limit.percent() >= 100 {
                let message = format!(
                    "`limits.{key}: {limit}` lets one plan take everything; write what a usual run takes, and say --accept \
                     for the first one"
                );
                self.note(FindingKind::Dangerous, self.place(&["limits", key]), message);
            }
        }
        if policy.limits.repository_may_empty {
            let message =
                "`limits.repository_may_empty: true` lets a repository lose its last tag; say --accept \
                           repository_may_empty for the run that is meant to"
                    .to_owned();
            self.note(FindingKind::Dangerous, self.place(&["limits", "repository_may_empty"]), message);
        }
    }
}
