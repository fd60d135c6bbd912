//! `pulls`: whose do not count, and when too little is known.

use super::fields::{Fields, Language, Problems, quantity, text};
use crate::config::values::Period;
use crate::policy::document::{Node, Value};
use crate::policy::pulls::{IgnoreError, IgnoredPulls, PullRules};

const PULLS: Language = Language { of: "`pulls`", known: &["max_gap", "ignore"] };

const IGNORE: Language = Language { of: "`ignore`", known: &["user_agents", "users", "addresses"] };

/// Adds one entry to a list of those whose pulls do not count.
type Add = fn(&mut IgnoredPulls, &str) -> Result<(), IgnoreError>;

/// Reads `pulls`.
pub(super) fn pulls(node: &Node, problems: &mut Problems) -> PullRules {
    let mut rules = PullRules::default();
    let Some(fields) = Fields::read(node, &PULLS, problems) else { return rules };
    if let Some(node) = fields.get("max_gap")
        && let Some(max_gap) = quantity::<Period>(node, "`max_gap`", problems)
    {
        if max_gap < Period::from_hours(1) {
            problems.note(
                node.place,
                "`max_gap` is at least 1h: a registry that nobody asks has nothing to tell",
            );
        }
        rules.max_gap = max_gap;
    }
    let Some(ignore) = fields.get("ignore").and_then(|node| Fields::read(node, &IGNORE, problems)) else {
        return rules;
    };
    let ignored = &mut rules.ignored;
    let lists: [(&str, Add); 3] = [
        ("user_agents", IgnoredPulls::add_user_agent),
        ("users", IgnoredPulls::add_user),
        ("addresses", IgnoredPulls::add_address),
    ];
    for (key, add) in lists {
        let Some(node) = ignore.get(key) else { continue };
        let nodes = match &node.value {
            Value::List(nodes) => nodes,
            _ => std::slice::from_ref(node),
        };
        for node in nodes {
            if let Some(text) = text(node, &format!("an entry of `{key}`"), problems)
                && let Err(why) = add(ignored, text)
            {
                problems.note(node.place, format!("`{key}`: {why}"));
            }
        }
    }
    rules
}
