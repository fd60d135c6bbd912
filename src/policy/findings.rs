//! What in a document is pointless, contradicts itself or is dangerous, each with its place and what to write instead.

mod ages;
mod store;

pub use store::{Content, Coverage};

use std::fmt;

use crate::policy::document::{self, Node, Place, Value};
use crate::policy::rules::{ClassRule, Keep, KeepRule, RepositoryPolicy};
use crate::policy::verdict::OTHER;
use crate::policy::{Policy, presets};

/// What kind of trouble a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// Something before it takes everything that it would match.
    Shadowed,
    /// Nothing uses it, or nothing in the store matches it.
    NeverMatches,
    /// Two parts of the document say opposite things.
    Contradictory,
    /// It takes more than one would think.
    Dangerous,
}

/// One thing in a document that its writer may not mean. The document is valid all the same.
///
/// `Display` is `12:5: shadowed: …`, to stand after the document's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of trouble it is.
    pub kind: FindingKind,
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
    /// What it is, and what to write instead.
    pub message: String,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Shadowed => "shadowed",
            Self::NeverMatches => "never matches",
            Self::Contradictory => "contradictory",
            Self::Dangerous => "dangerous",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, line, column, message } = self;
        write!(formatter, "{line}:{column}: {kind}: {message}")
    }
}

impl Policy {
    /// What in the document is pointless, contradicts itself or is dangerous, in the order of the places.
    ///
    /// Only what is evident from the patterns is found: that one regular expression matches all that another does is not.
    pub fn findings(&self) -> Vec<Finding> {
        let mut lint = Lint::new(self);
        for (index, policy) in self.policies.iter().enumerate() {
            lint.shadowed_policy(index, policy);
            lint.shadowed_classes(index, policy);
            lint.protected(index, policy);
            lint.bounds(index, policy);
            lint.taking_all(index, policy);
            lint.short(index, policy);
        }
        lint.unused_classes();
        lint.whole();
        lint.finish()
    }
}

/// The findings so far, and the tree that tells where things stand.
struct Lint<'l> {
    policy: &'l Policy,
    tree: Node,
    found: Vec<Finding>,
}

impl<'l> Lint<'l> {
    fn new(policy: &'l Policy) -> Self {
        let nowhere = Node { place: Place { line: 1, column: 1 }, value: Value::Null };
        let tree = document::read(&policy.source).unwrap_or(nowhere);
        Self { policy, tree, found: Vec::new() }
    }

    fn finish(mut self) -> Vec<Finding> {
        self.found.sort_by(|left, right| {
            (left.line, left.column, left.kind).cmp(&(right.line, right.column, right.kind))
        });
        self.found.dedup();
        self.found
    }

    fn note(&mut self, kind: FindingKind, place: Place, message: String) {
        self.found.push(Finding { kind, line: place.line, column: place.column, message });
    }

    /// Where a key stands; where the last one does that is written, when not all are.
    fn place(&self, path: &[&str]) -> Place {
        place_in(&self.tree, path)
    }

    /// Where a key of a policy stands.
    fn place_of(&self, policy: usize, path: &[&str]) -> Place {
        let Some(Value::List(policies)) = entry(&self.tree, "policies").map(|found| &found.1.value) else {
            return self.tree.place;
        };
        policies.get(policy).map_or(self.tree.place, |node| place_in(node, path))
    }

    fn shadowed_policy(&mut self, index: usize, policy: &RepositoryPolicy) {
        let mut earlier = self.policy.policies[..index].iter();
        let shadow = earlier.find(|earlier| earlier.repositories.covers_all_of(&policy.repositories, false));
        if let Some(shadow) = shadow {
            let message = format!(
                "policy {} never applies: policy {} above it matches the same repositories first; put it above, or remove \
                 it",
                policy.name, shadow.name
            );
            self.note(FindingKind::Shadowed, self.place_of(index, &["repositories"]), message);
        }
    }

    fn shadowed_classes(&mut self, index: usize, policy: &RepositoryPolicy) {
        let own = own_classes(policy);
        for (place, rule) in policy.classes.iter().enumerate() {
            let shadow = policy.classes[..place]
                .iter()
                .find(|one| one.class.matches.covers_all_of(&rule.class.matches, true));
            if let Some(shadow) = shadow.filter(|_| own(rule)) {
                self.shadowed_class(index, policy, &rule.class.name, &shadow.class.name, "all of its tags");
            }
        }
        let catch_all = policy.classes.iter().find(|rule| rule.class.matches.matches_every_tag());
        if let Some(catch_all) = catch_all.filter(|_| policy.other.is_some()) {
            self.shadowed_class(index, policy, OTHER, &catch_all.class.name, "every tag");
        }
    }

    fn shadowed_class(&mut self, index: usize, policy: &RepositoryPolicy, class: &str, by: &str, what: &str) {
        let message = format!(
            "policy {}: class {class} never matches: class {by} before it takes {what}; put it before {by}, or remove it",
            policy.name
        );
        self.note(FindingKind::Shadowed, self.place_of(index, &["tags", class]), message);
    }

    /// What protections make pointless.
    fn protected(&mut self, index: usize, policy: &RepositoryPolicy) {
        if self.policy.protect.repositories.covers_all_of(&policy.repositories, false) {
            let message = format!(
                "policy {}: nothing goes, as protect.repositories holds every repository that it governs; remove one of \
                 the two",
                policy.name
            );
            self.note(FindingKind::Contradictory, self.place_of(index, &["repositories"]), message);
        }
        for rule in policy.classes.iter().filter(|rule| !matches!(rule.keep, None | Some(Keep::All))) {
            let lists = [&self.policy.protect.tags, &policy.protect, &policy.preset_protect];
            if let Some(list) = lists.into_iter().find(|list| list.covers_all_of(&rule.class.matches, true)) {
                let class = &rule.class.name;
                let message = format!(
                    "policy {}: class {class} never goes, as {list} is protected; remove the protection, or the rule",
                    policy.name
                );
                self.note(FindingKind::Contradictory, self.place_of(index, &["tags", class]), message);
            }
        }
    }

    /// Bounds under which nothing ever goes.
    fn bounds(&mut self, index: usize, policy: &RepositoryPolicy) {
        if policy.limits.max_delete == Some(0) {
            let message = format!(
                "policy {}: `max_delete: 0` lets nothing go, whatever the rules say; write how many may go in one run",
                policy.name
            );
            self.note(FindingKind::Contradictory, self.place_of(index, &["limits", "max_delete"]), message);
        }
        let Some(min_keep) = policy.limits.min_keep else { return };
        let lasts: Option<Vec<u64>> = policy
            .classes
            .iter()
            .map(|rule| rule.keep.as_ref())
            .chain([policy.other.as_ref()])
            .flatten()
            .map(most)
            .collect();
        if let Some(lasts) = lasts.filter(|lasts| !lasts.is_empty()) {
            let kept = lasts.into_iter().fold(0, u64::saturating_add);
            if kept < min_keep {
                let message = format!(
                    "policy {}: its rules keep {kept} tags at most, and `min_keep: {min_keep}` keeps more, so that they \
                     decide nothing; lower it, or raise `last`",
                    policy.name
                );
                self.note(FindingKind::Contradictory, self.place_of(index, &["limits", "min_keep"]), message);
            }
        }
    }

    /// Rules that take what nobody thought of.
    fn taking_all(&mut self, index: usize, policy: &RepositoryPolicy) {
        if !policy.repositories.matches_everything() {
            return;
        }
        let catch_all =
            |rule: &&ClassRule| rule.class.matches.matches_every_tag() && rule.keep == Some(Keep::None);
        let named = policy.classes.iter().find(catch_all).map(|rule| &*rule.class.name);
        let other = (policy.other == Some(Keep::None)).then_some(OTHER);
        if let Some(class) = named.or(other) {
            let message = format!(
                "policy {}: `keep: none` for class {class} takes every tag that nobody thought of, in every repository; keep \
                 some by `last` or `within`, or name the repositories",
                policy.name
            );
            self.note(FindingKind::Dangerous, self.place_of(index, &["tags", class]), message);
        }
    }

    fn unused_classes(&mut self) {
        let Some((_, Node { value: Value::Map(classes), .. })) = entry(&self.tree, "classes") else { return };
        let used = |name: &str| {
            let mut policies = self.policy.policies.iter();
            policies.any(|policy| policy.classes.iter().any(|rule| &*rule.class.name == name))
        };
        let unused: Vec<(Place, String)> = classes
            .iter()
            .filter(|class| !used(&class.key))
            .map(|class| (class.place, class.key.clone()))
            .collect();
        // A document without policies is a preset, or a beginning.
        if self.policy.policies.is_empty() {
            return;
        }
        for (place, class) in unused {
            let message = format!(
                "no policy has a rule for class {class}, so it sorts nothing; name it under `tags`, or remove it"
            );
            self.note(FindingKind::NeverMatches, place, message);
        }
    }
}

/// Whether a class of a policy is written in it, instead of only coming with its preset.
fn own_classes(policy: &RepositoryPolicy) -> impl Fn(&ClassRule) -> bool {
    let preset = policy.preset.and_then(presets::named);
    move |rule| {
        let of_preset =
            preset.is_some_and(|preset| preset.classes.iter().any(|own| own.name == rule.class.name));
        !of_preset || rule.keep.is_some()
    }
}

/// The most tags that a rule keeps; nothing when that is not to be said.
fn most(keep: &Keep) -> Option<u64> {
    match keep {
        Keep::All => None,
        Keep::None => Some(0),
        Keep::Any(rules) => rules.iter().try_fold(0, |sum: u64, rule| match rule {
            KeepRule::Last(last) => Some(sum.max(*last)),
            _ => None,
        }),
    }
}

fn entry<'n>(node: &'n Node, key: &str) -> Option<(Place, &'n Node)> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| (entry.place, &entry.value))
}

fn place_in(node: &Node, path: &[&str]) -> Place {
    let (mut node, mut place) = (node, node.place);
    for key in path {
        let Some((found, value)) = entry(node, key) else { break };
        (node, place) = (value, found);
    }
    place
}

#[cfg(test)]
mod tests;
