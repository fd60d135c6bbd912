//! From a document's tree to a checked policy, with every problem on the way.

mod fields;
mod order;
mod pulls;
mod rules;
mod sources;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use fields::{
    Fields, Language, Problems, boolean, did_you_mean, list, patterns, quantity, text, whole_number,
};

use crate::config::values::Period;
use crate::policy::Policy;
use crate::policy::document::{self, Node, Value};
use crate::policy::error::PolicyError;
use crate::policy::presets::{self, Preset};
use crate::policy::rules::{
    Class, Clock, EmptyRepositories, Limits, OrderBy, Protection, RepositoryLimits, RepositoryPolicy,
};
use crate::policy::verdict::UNTAGGED;

const DOCUMENT: Language = Language {
    of: "a policy document",
    known: &[
        "version",
        "protect",
        "pulls",
        "classes",
        "policies",
        "referrers",
        "uploads",
        "repositories",
        "grace",
        "trash",
        "limits",
    ],
};

const PROTECT: Language =
    Language { of: "`protect`", known: &["tags", "repositories", "digests_from", "in_use"] };

const POLICY: Language = Language {
    of: "a policy",
    known: &["name", "repositories", "clock", "preset", "tags", "untagged", "limits", "protect", "trash"],
};

const POLICY_PROTECT: Language = Language { of: "`protect`", known: &["tags", "digests_from", "in_use"] };

const POLICY_LIMITS: Language = Language { of: "`limits`", known: &["min_keep", "max_delete"] };

const LIMITS: Language = Language { of: "`limits`", known: &["tags", "bytes", "repository_may_empty"] };

const REFERRERS: Language = Language { of: "`referrers`", known: &["orphaned_after"] };
const UPLOADS: Language = Language { of: "`uploads`", known: &["abandoned_after"] };
const REPOSITORIES: Language = Language { of: "`repositories`", known: &["empty"] };
const TRASH: Language = Language { of: "`trash`", known: &["keep"] };

const DEFAULT_GRACE: Period = Period::from_hours(24);
const DEFAULT_TRASH_KEEP: Period = Period::from_days(7);
const DEFAULT_ORPHANED_AFTER: Period = Period::from_days(7);
const DEFAULT_ABANDONED_AFTER: Period = Period::from_days(7);

/// Reads a policy document.
pub(super) fn policy(text: &str, origin: &str) -> Result<Policy, PolicyError> {
    let node = document::read(text).map_err(|problem| PolicyError::new(origin, vec![problem]))?;
    let mut problems = Problems::default();
    let policy = whole(&node, text, origin, &mut problems);
    match policy {
        Some(policy) if problems.0.is_empty() => Ok(policy),
        _ => Err(PolicyError::new(origin, problems.0)),
    }
}

/// Reads the classes and the protection of a preset, which is a policy document without policies.
pub(super) fn preset(name: &'static str, text: &str) -> Result<Preset, PolicyError> {
    let node = document::read(text).map_err(|problem| PolicyError::new(name, vec![problem]))?;
    let mut problems = Problems::default();
    let policy = whole(&node, text, name, &mut problems);
    let classes = Fields::read(&node, &DOCUMENT, &mut problems)
        .and_then(|fields| fields.get("classes"))
        .map(|node| rules::classes(node, &mut problems));
    match policy {
        Some(policy) if problems.0.is_empty() => {
            Ok(Preset { name, classes: classes.unwrap_or_default(), protect: policy.protect.tags })
        }
        _ => Err(PolicyError::new(name, problems.0)),
    }
}

fn whole(node: &Node, text: &str, origin: &str, problems: &mut Problems) -> Option<Policy> {
    if matches!(node.value, Value::Null) {
        problems.note(node.place, "the document is empty: begin with `version: 1`");
        return None;
    }
    let fields = Fields::read(node, &DOCUMENT, problems)?;
    version(&fields, problems);
    let classes = fields.get("classes").map(|node| rules::classes(node, problems)).unwrap_or_default();
    let entries = fields.get("policies").map(|node| list(node, "`policies`", problems)).unwrap_or_default();
    let mut policies: Vec<RepositoryPolicy> = Vec::with_capacity(entries.len());
    for node in entries {
        if let Some(policy) = repository_policy(node, &classes, &policies, problems) {
            policies.push(policy);
        }
    }
    let period = |key, language, within, default, problems: &mut Problems| {
        let nested = fields.get(key).and_then(|node| Fields::read(node, language, problems));
        let node = nested.and_then(|nested| nested.get(within));
        node.and_then(|node| quantity(node, &format!("`{key}.{within}`"), problems)).unwrap_or(default)
    };
    Some(Policy {
        source: Arc::from(text),
        origin: Arc::from(origin),
        protect: fields.get("protect").map(|node| protection(node, &PROTECT, problems)).unwrap_or_default(),
        pulls: fields.get("pulls").map(|node| pulls::pulls(node, problems)).unwrap_or_default(),
        policies,
        orphaned_after: period("referrers", &REFERRERS, "orphaned_after", DEFAULT_ORPHANED_AFTER, problems),
        abandoned_after: period("uploads", &UPLOADS, "abandoned_after", DEFAULT_ABANDONED_AFTER, problems),
        empty_repositories: empty_repositories(&fields, problems),
        grace: fields
            .get("grace")
            .and_then(|node| quantity(node, "`grace`", problems))
            .unwrap_or(DEFAULT_GRACE),
        trash_keep: period("trash", &TRASH, "keep", DEFAULT_TRASH_KEEP, problems),
        limits: limits(&fields, problems),
    })
}

fn version(fields: &Fields<'_>, problems: &mut Problems) {
    let Some(node) = fields.get("version") else {
        problems.note(fields.place, "the document has no `version`: begin with `version: 1`");
        return;
    };
    match whole_number(node, "`version`", problems) {
        None | Some(1) => {}
        Some(other) => {
            let message = format!("`version: {other}` is unknown to this version of regsweep, which reads 1");
            problems.note(node.place, message);
        }
    }
}

fn protection(node: &Node, language: &Language, problems: &mut Problems) -> Protection {
    let Some(fields) = Fields::read(node, language, problems) else {
        return Protection::default();
    };
    let mut named =
        fields.get("digests_from").map(|node| sources::digests_from(node, problems)).unwrap_or_default();
    named.extend(fields.get("in_use").map(|node| sources::in_use(node, problems)).unwrap_or_default());
    let mut optional = |key| {
        let node = fields.get(key)?;
        // An empty list protects nothing, which is what it says.
        if matches!(&node.value, Value::List(nodes) if nodes.is_empty()) {
            return None;
        }
        patterns(node, &format!("`{key}`"), problems)
    };
    Protection {
        tags: optional("tags").unwrap_or_default(),
        repositories: optional("repositories").unwrap_or_default(),
        sources: named,
    }
}

fn repository_policy(
    node: &Node,
    classes: &[Class],
    earlier: &[RepositoryPolicy],
    problems: &mut Problems,
) -> Option<RepositoryPolicy> {
    let fields = Fields::read(node, &POLICY, problems)?;
    let name = policy_name(&fields, earlier, problems);
    let repositories = fields.get("repositories");
    if repositories.is_none() {
        let message = "the policy has no `repositories`: list the patterns of those it governs";
        problems.note(fields.place, message);
    }
    let repositories = repositories.and_then(|node| patterns(node, "`repositories`", problems));
    let preset = fields.get("preset").and_then(|node| preset_named(node, problems));
    let rules = rules::tags(fields.get("tags"), preset, classes, problems);
    let untagged = fields
        .get("untagged")
        .and_then(|node| rules::class_keep(node, &format!("`{UNTAGGED}`"), OrderBy::CLOCK, problems));
    let clock = fields.get("clock").and_then(|node| clock(node, problems)).unwrap_or_default();
    let limits = fields.get("limits").and_then(|node| repository_limits(node, problems)).unwrap_or_default();
    let own = fields.get("protect").map(|node| protection(node, &POLICY_PROTECT, problems));
    let trash = fields.get("trash").and_then(|node| Fields::read(node, &TRASH, problems));
    let trash_keep =
        trash.and_then(|trash| trash.get("keep")).and_then(|node| quantity(node, "`trash.keep`", problems));
    Some(RepositoryPolicy {
        name: Arc::from(name.unwrap_or_default()),
        repositories: repositories.unwrap_or_default(),
        clock,
        preset: preset.map(|preset| preset.name),
        classes: rules.classes,
        other: rules.other,
        untagged,
        limits,
        protect: own.as_ref().map(|own| own.tags.clone()).unwrap_or_default(),
        sources: own.map(|own| own.sources).unwrap_or_default(),
        preset_protect: preset.map(|preset| preset.protect.clone()).unwrap_or_default(),
        trash_keep,
    })
}

fn policy_name<'a>(
    fields: &Fields<'a>,
    earlier: &[RepositoryPolicy],
    problems: &mut Problems,
) -> Option<&'a str> {
    let Some(node) = fields.get("name") else {
        problems.note(fields.place, "the policy has no `name`: decisions are reported under it");
        return None;
    };
    let name = text(node, "`name`", problems)?;
    if name.chars().any(char::is_control) {
        problems.note(node.place, "`name` holds a control character");
    }
    if earlier.iter().any(|policy| &*policy.name == name) {
        problems.note(node.place, format!("a policy named \"{}\" stands above already", name.escape_debug()));
    }
    Some(name)
}

fn preset_named(node: &Node, problems: &mut Problems) -> Option<&'static Preset> {
    let name = text(node, "`preset`", problems)?;
    let found = presets::named(name);
    if found.is_none() {
        let hint = did_you_mean(name, presets::names().iter().copied());
        let known = presets::names().join(", ");
        let name = name.escape_debug();
        problems.note(node.place, format!("unknown preset \"{name}\"{hint}; the presets are: {known}"));
    }
    found
}

fn clock(node: &Node, problems: &mut Problems) -> Option<Clock> {
    match text(node, "`clock`", problems)? {
        "tagged" => Some(Clock::Tagged),
        "pushed" => Some(Clock::Pushed),
        "pulled" => Some(Clock::Pulled),
        "created" => Some(Clock::Created),
        other => {
            let hint = did_you_mean(other, ["tagged", "pushed", "pulled", "created"].into_iter());
            let other = other.escape_debug();
            problems.note(
                node.place,
                format!("`clock`: \"{other}\" is none of tagged, pushed, pulled and created{hint}"),
            );
            None
        }
    }
}

fn repository_limits(node: &Node, problems: &mut Problems) -> Option<RepositoryLimits> {
    let fields = Fields::read(node, &POLICY_LIMITS, problems)?;
    let mut number = |key| fields.get(key).and_then(|node| whole_number(node, &format!("`{key}`"), problems));
    Some(RepositoryLimits { min_keep: number("min_keep"), max_delete: number("max_delete") })
}

fn empty_repositories(fields: &Fields<'_>, problems: &mut Problems) -> EmptyRepositories {
    let nested = fields.get("repositories").and_then(|node| Fields::read(node, &REPOSITORIES, problems));
    let Some(node) = nested.and_then(|nested| nested.get("empty")) else {
        return EmptyRepositories::default();
    };
    match text(node, "`empty`", problems) {
        Some("remove") => EmptyRepositories::Remove,
        Some("keep") | None => EmptyRepositories::Keep,
        Some(other) => {
            let other = other.escape_debug();
            problems.note(node.place, format!("`empty`: \"{other}\" is neither keep nor remove"));
            EmptyRepositories::Keep
        }
    }
}

fn limits(fields: &Fields<'_>, problems: &mut Problems) -> Limits {
    let default = Limits::default();
    let Some(fields) = fields.get("limits").and_then(|node| Fields::read(node, &LIMITS, problems)) else {
        return default;
    };
    let mut share = |key| fields.get(key).and_then(|node| quantity(node, &format!("`{key}`"), problems));
    let (tags, bytes) = (share("tags"), share("bytes"));
    let may_empty = fields.get("repository_may_empty");
    let may_empty = may_empty.and_then(|node| boolean(node, "`repository_may_empty`", problems));
    Limits {
        tags: tags.unwrap_or(default.tags),
        bytes: bytes.unwrap_or(default.bytes),
        repository_may_empty: may_empty.unwrap_or(default.repository_may_empty),
    }
}
