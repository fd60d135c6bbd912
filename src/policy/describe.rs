//! A policy in plain words.

use std::fmt::Write as _;

use crate::policy::rules::{
    Clock, EmptyRepositories, Keep, KeepRule, OrderBy, Protection, RepositoryPolicy, VersionCounts,
};
use crate::policy::sources::{Source, SourceKind};
use crate::policy::{Policy, presets};

impl Policy {
    /// The document in plain words, rule by rule, a line each; ends with a line break.
    pub fn describe(&self) -> String {
        let mut lines = Vec::new();
        let Protection { tags, repositories, sources: _ } = &self.protect;
        if !repositories.patterns().is_empty() {
            lines.push(format!("Nothing goes in the repositories {repositories}."));
        }
        if !tags.patterns().is_empty() {
            lines.push(format!("The tags {tags} never go."));
        }
        for source in self.sources() {
            lines.push(describe_source(&source));
        }
        if self.policies.is_empty() {
            lines.push("There are no policies: everything stays.".to_owned());
        }
        for (index, policy) in self.policies.iter().enumerate() {
            describe_policy(policy, index > 0, &mut lines);
        }
        if !self.policies.iter().any(|policy| policy.repositories.matches_everything()) {
            lines.push("In every other repository everything stays.".to_owned());
        }
        self.describe_rest(&mut lines);
        lines.push(String::new());
        lines.join("\n")
    }

    fn describe_rest(&self, lines: &mut Vec<String>) {
        lines.push(format!("Referrers go {} after their subject.", self.orphaned_after));
        lines.push(format!("Uploads go when they have stood still for {}.", self.abandoned_after));
        lines.push(match self.empty_repositories {
            EmptyRepositories::Keep => "Empty repositories stay.".to_owned(),
            EmptyRepositories::Remove => "Empty repositories go.".to_owned(),
        });
        lines.push(format!("Nothing younger than {} goes.", self.grace));
        let trash_keep = self.trash_keep();
        let differ =
            self.policies.iter().filter_map(|policy| policy.trash_keep).any(|own| own != self.trash_keep);
        lines.push(if trash_keep.is_zero() {
            "Nothing is kept in the trash.".to_owned()
        } else {
            let longest = if differ { ", the longest that is written" } else { "" };
            format!("The trash keeps what went for {trash_keep}{longest}.")
        });
        if self.goes_by_pulls() {
            let max_gap = self.pulls.max_gap;
            lines.push(format!(
                "What was pushed before pulls were recorded, or before {max_gap} of which no record tells, counts as pulled then."
            ));
        }
        let limits = self.limits;
        lines.push(format!(
            "A plan is refused that takes more than {} of the tags or {} of the bytes{}.",
            limits.tags,
            limits.bytes,
            if limits.repository_may_empty { "" } else { ", or the last tag of a repository" }
        ));
    }
}

fn describe_source(source: &Source) -> String {
    let broken = match &source.what {
        SourceKind::File { max_age: Some(max_age), .. } => {
            format!("cannot be read or is older than {max_age}")
        }
        SourceKind::File { max_age: None, .. } => "cannot be read".to_owned(),
        SourceKind::Command { timeout, .. } => format!("fails or takes longer than {timeout}"),
    };
    let empty = if source.may_be_empty { "" } else { ", or when it names none" };
    format!("No image goes that {source} names, and none at all when it {broken}{empty}.")
}

fn describe_policy(policy: &RepositoryPolicy, others_above: bool, lines: &mut Vec<String>) {
    let clock = match policy.clock {
        Clock::Tagged => "when its tag was last written",
        Clock::Pushed => "when its manifest was pushed",
        Clock::Pulled => "when it was last pulled, or else when its manifest was pushed",
        Clock::Created => "when its image was created, or else when its manifest was pushed",
    };
    let above = if others_above { " that no policy above matches" } else { "" };
    lines.push(format!(
        "Policy {}: repositories {}{above}; a tag's age counts from {clock}.",
        policy.name, policy.repositories
    ));
    if let Some(preset) = policy.preset {
        lines.push(format!("  Classes come from the preset {preset}."));
    }
    for protect in [&policy.protect, &policy.preset_protect] {
        if !protect.patterns().is_empty() {
            lines.push(format!("  The tags {protect} never go."));
        }
    }
    let preset = policy.preset.and_then(presets::named);
    for rule in &policy.classes {
        let class = &rule.class;
        let order = match &class.order_by {
            OrderBy::Clock => String::new(),
            OrderBy::Semver => ", ordered by version".to_owned(),
            OrderBy::Calver => ", ordered by calendar version".to_owned(),
            OrderBy::Name => ", ordered by name".to_owned(),
            OrderBy::Captures(captures) => {
                let groups: Vec<String> = captures.groups().iter().map(ToString::to_string).collect();
                format!(", ordered by the captures {}", groups.join(", "))
            }
        };
        let kept = describe_keep(rule.keep.as_ref(), "tag");
        // What a preset's class matches is told by `policy show`.
        let of_preset = preset.is_some_and(|preset| preset.classes.iter().any(|own| own.name == class.name));
        let matches = if of_preset { String::new() } else { format!(" ({}{order})", class.matches) };
        lines.push(format!("  Class {}{matches}: {kept}.", class.name));
    }
    lines.push(format!("  Any other tag: {}.", describe_keep(policy.other.as_ref(), "tag")));
    lines.push(format!("  Untagged manifests: {}.", describe_keep(policy.untagged.as_ref(), "manifest")));
    if let Some(min_keep) = policy.limits.min_keep {
        lines.push(format!("  At least {min_keep} tags stay in each repository."));
    }
    if let Some(max_delete) = policy.limits.max_delete {
        lines.push(format!("  At most {max_delete} tags go from each repository in one run."));
    }
}

fn describe_keep(keep: Option<&Keep>, noun: &str) -> String {
    let rules = match keep {
        None => return "all stay, as there is no rule".to_owned(),
        Some(Keep::All) => return "all stay".to_owned(),
        Some(Keep::None) => return "all go".to_owned(),
        Some(Keep::Any(rules)) => rules,
    };
    format!("a {noun} stays that is {}", describe_rules(rules, " or "))
}

fn describe_rules(rules: &[KeepRule], between: &str) -> String {
    let mut text = String::new();
    for (index, rule) in rules.iter().enumerate() {
        let separator = if index == 0 { "" } else { between };
        let rule = match rule {
            KeepRule::Last(1) => "the newest".to_owned(),
            KeepRule::Last(last) => format!("among the newest {last}"),
            KeepRule::LastVersions(VersionCounts { majors, minors, patches }) => {
                let level =
                    |noun, count: &Option<u64>| count.map(|count| format!("the newest {count} {noun}"));
                let levels = [level("patches", patches), level("minors", minors), level("majors", majors)];
                format!("among {}", levels.into_iter().flatten().collect::<Vec<_>>().join(" of "))
            }
            KeepRule::Within(within) => format!("no older than {within}"),
            KeepRule::Calendar(unit, keep) => {
                let noun = unit.noun();
                format!("the newest of its {noun} in the latest {keep} {noun}s that have one")
            }
            KeepRule::All(rules) => describe_rules(rules, " and also "),
        };
        let _ = write!(text, "{separator}{rule}");
    }
    text
}
