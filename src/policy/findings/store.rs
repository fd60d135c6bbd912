//! What a document says that nothing in a store matches.

use super::{Finding, FindingKind, Lint, own_classes};
use crate::policy::Policy;
use crate::policy::pattern::PatternList;
use crate::policy::rules::RepositoryPolicy;
use crate::policy::verdict::OTHER;

/// How many repositories and tags of a store one policy governs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The policy's name.
    pub policy: String,
    /// Repositories that it governs.
    pub repositories: usize,
    /// Its classes in their order, and `other`, each with how many tags fall into it. Protected tags are in none.
    pub classes: Vec<(String, usize)>,
}

/// A repository and its tags.
pub type Content<'c> = (&'c str, Vec<&'c str>);

impl Policy {
    /// Sorts the tags of a store into the policies and their classes.
    pub fn coverage(&self, store: &[Content<'_>]) -> Vec<Coverage> {
        self.policies.iter().map(|policy| self.covered(policy, store)).collect()
    }

    /// What no repository and no tag of a store matches, in the order of the places; without what [`Policy::findings`] says
    /// can match nothing anywhere.
    pub fn findings_on(&self, store: &[Content<'_>]) -> Vec<Finding> {
        let mut lint = Lint::new(self);
        for (index, (policy, covered)) in self.policies.iter().zip(self.coverage(store)).enumerate() {
            if covered.repositories == 0 {
                let message = format!("policy {} governs no repository of this store", policy.name);
                lint.note(FindingKind::NeverMatches, lint.place_of(index, &["repositories"]), message);
                continue;
            }
            let own = own_classes(policy);
            for (rule, (class, tags)) in policy.classes.iter().zip(&covered.classes) {
                if *tags == 0 && own(rule) {
                    let message = format!(
                        "policy {}: no tag of the repositories that it governs falls into class {class}",
                        policy.name
                    );
                    lint.note(FindingKind::NeverMatches, lint.place_of(index, &["tags", class]), message);
                }
            }
            let tags =
                || store.iter().filter(|one| self.governs(policy, one.0)).flat_map(|(_, tags)| tags).copied();
            if let Some(patterns) = unmatched("protect.tags", &policy.protect, tags) {
                let message = format!("policy {}: {patterns} no tag", policy.name);
                lint.note(FindingKind::NeverMatches, lint.place_of(index, &["protect", "tags"]), message);
            }
        }
        let tags = || store.iter().flat_map(|(_, tags)| tags).copied();
        let repositories = || store.iter().map(|one| one.0);
        if let Some(patterns) = unmatched("protect.tags", &self.protect.tags, tags) {
            let message = format!("{patterns} no tag of this store");
            lint.note(FindingKind::NeverMatches, lint.place(&["protect", "tags"]), message);
        }
        if let Some(patterns) = unmatched("protect.repositories", &self.protect.repositories, repositories) {
            let message = format!("{patterns} no repository of this store");
            lint.note(FindingKind::NeverMatches, lint.place(&["protect", "repositories"]), message);
        }
        // What nothing can match needs no store to be told of.
        let anyway: Vec<_> = self
            .findings()
            .into_iter()
            .filter(|one| matches!(one.kind, FindingKind::Shadowed | FindingKind::NeverMatches))
            .map(|one| (one.line, one.column))
            .collect();
        let mut found = lint.finish();
        found.retain(|one| !anyway.contains(&(one.line, one.column)));
        found
    }

    fn governs(&self, policy: &RepositoryPolicy, repository: &str) -> bool {
        self.for_repository(repository).is_some_and(|found| found.name == policy.name)
    }

    fn covered(&self, policy: &RepositoryPolicy, store: &[Content<'_>]) -> Coverage {
        let mut counts = vec![0; policy.classes.len() + 1];
        let mut repositories = 0;
        for (_, tags) in store.iter().filter(|one| self.governs(policy, one.0)) {
            repositories += 1;
            for tag in tags {
                let protected = [&self.protect.tags, &policy.protect, &policy.preset_protect];
                if protected.iter().any(|list| list.matches(tag)) {
                    continue;
                }
                let class = policy.classes.iter().position(|rule| rule.class.matches.matches(tag));
                counts[class.unwrap_or(policy.classes.len())] += 1;
            }
        }
        let names = policy.classes.iter().map(|rule| &*rule.class.name).chain([OTHER]);
        let classes = names.map(str::to_owned).zip(counts).collect();
        Coverage { policy: policy.name.to_string(), repositories, classes }
    }
}

/// The positive patterns of a list, called by its key, that match none of the names, with the verb; `None` when there are none.
fn unmatched<'n, I: Iterator<Item = &'n str>>(
    key: &str,
    list: &PatternList,
    names: impl Fn() -> I,
) -> Option<String> {
    let positive = list.patterns().iter().filter(|pattern| !pattern.is_negated());
    let patterns: Vec<String> = positive
        .filter(|pattern| !names().any(|name| pattern.covers(name)))
        .map(|one| format!("`{}`", one.text()))
        .collect();
    match patterns.as_slice() {
        [] => None,
        [one] => Some(format!("{one} of {key} matches")),
        several => Some(format!("{} of {key} match", several.join(", "))),
    }
}
