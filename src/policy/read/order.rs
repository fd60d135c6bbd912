//! What orders the tags of a class.

use std::sync::Arc;

use super::fields::{Problems, did_you_mean, text};
use crate::policy::document::{Node, Value};
use crate::policy::pattern::{Group, PatternList};
use crate::policy::rules::{Captures, OrderBy};

/// Reads `order_by`: a word, or a list of groups of the class's regular expressions.
///
/// `matches` are the class's patterns, `None` when they were refused already.
pub(super) fn order_by(
    node: &Node,
    matches: Option<&PatternList>,
    problems: &mut Problems,
) -> Option<OrderBy> {
    if let Value::List(nodes) = &node.value {
        return listed(node, nodes, matches?, problems);
    }
    match text(node, "`order_by`", problems)? {
        "clock" => Some(OrderBy::Clock),
        "semver" => Some(OrderBy::Semver),
        "calver" => Some(OrderBy::Calver),
        "name" => Some(OrderBy::Name),
        "captures" => every_group(node, matches?, problems),
        other => {
            let words = ["clock", "semver", "calver", "name", "captures"];
            let hint = did_you_mean(other, words.into_iter());
            let other = other.escape_debug();
            problems.note(
                node.place,
                format!(
                    "`order_by`: \"{other}\" is none of clock, semver, calver, name and captures{hint}; a list such as \
                     [year, week] names captures"
                ),
            );
            None
        }
    }
}

/// `order_by: captures`: every group, from left to right.
fn every_group(node: &Node, matches: &PatternList, problems: &mut Problems) -> Option<OrderBy> {
    let most = groups_of_each(node, matches, problems)?;
    Some(OrderBy::Captures(Captures::new(matches.clone(), (1..=most).map(Group::Number).collect())))
}

/// `order_by: [year, week]`: these groups, the weightiest first.
fn listed(node: &Node, nodes: &[Node], matches: &PatternList, problems: &mut Problems) -> Option<OrderBy> {
    if nodes.is_empty() {
        problems.note(
            node.place,
            "`order_by` is an empty list: name the captures that decide, the weightiest first",
        );
        return None;
    }
    groups_of_each(node, matches, problems)?;
    let groups: Vec<Option<Group>> = nodes.iter().map(|node| group(node, matches, problems)).collect();
    let groups = groups.into_iter().collect::<Option<Vec<Group>>>()?;
    Some(OrderBy::Captures(Captures::new(matches.clone(), groups)))
}

fn group(node: &Node, matches: &PatternList, problems: &mut Problems) -> Option<Group> {
    let group = match &node.value {
        Value::Number(number) => number.parse().map(Group::Number).ok(),
        Value::Text(name) => Some(Group::Name(Arc::from(name.as_str()))),
        _ => None,
    };
    let Some(group) = group else {
        let message = format!("a capture is the name or the number of a group, not {}", node.kind());
        problems.note(node.place, message);
        return None;
    };
    let positive = || matches.patterns().iter().filter(|pattern| !pattern.is_negated());
    if positive().any(|pattern| pattern.has_group(&group)) {
        return Some(group);
    }
    let name = group.to_string();
    let name = name.escape_debug();
    let message = format!(
        "no pattern of the class has the capture {name}: write a group for it, such as (?P<{name}>[0-9]+)"
    );
    let message = match group {
        Group::Name(_) => message,
        Group::Number(_) => {
            format!("no pattern of the class has the capture {name}: they are counted from 1")
        }
    };
    problems.note(node.place, message);
    None
}

/// The most groups that a pattern has, when each has one.
fn groups_of_each(node: &Node, matches: &PatternList, problems: &mut Problems) -> Option<usize> {
    let mut most = 0;
    for pattern in matches.patterns().iter().filter(|pattern| !pattern.is_negated()) {
        let groups = pattern.groups().unwrap_or_default();
        if groups == 0 {
            let text = pattern.text().escape_debug();
            problems.note(
                node.place,
                format!(
                    "`order_by` over captures: `{text}` captures nothing; write it as a regular expression with \
                     parentheses, such as re:w_([0-9]+)_([0-9]+)"
                ),
            );
            return None;
        }
        most = most.max(groups);
    }
    Some(most)
}
