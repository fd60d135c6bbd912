//! Classes, keeps and the rules of a policy's `tags`.

use std::sync::Arc;

use super::fields::{Fields, Language, Problems, did_you_mean, entries, patterns, quantity, whole_number};
use super::order::order_by;
use crate::config::values::Period;
use crate::policy::document::{Node, Value};
use crate::policy::presets::Preset;
use crate::policy::rules::{CalendarUnit, Class, ClassRule, Keep, KeepRule, OrderBy, VersionCounts};
use crate::policy::verdict::{OTHER, UNTAGGED};

const CLASS: Language = Language { of: "a class", known: &["match", "order_by"] };

const CLASS_RULE: Language = Language { of: "the rule of a class", known: &["keep"] };

const KEEP: Language =
    Language { of: "`keep`", known: &["last", "within", "daily", "weekly", "monthly", "yearly", "all"] };

const ALL: Language =
    Language { of: "`all`", known: &["last", "within", "daily", "weekly", "monthly", "yearly"] };

const VERSIONS: Language = Language { of: "`last`", known: &["majors", "minors", "patches"] };

/// Reads `classes`, in the order they are written.
pub(super) fn classes(node: &Node, problems: &mut Problems) -> Vec<Class> {
    let Some(entries) = entries(node, "`classes`", problems) else {
        return Vec::new();
    };
    let mut classes = Vec::with_capacity(entries.len());
    for entry in entries {
        if [OTHER, UNTAGGED].contains(&entry.key.as_str()) || entry.key.is_empty() {
            let message = format!("a class cannot be named \"{}\": the name is reserved", entry.key);
            problems.note(entry.place, message);
            continue;
        }
        let Some(fields) = Fields::read(&entry.value, &CLASS, problems) else { continue };
        let Some(matches) = fields.get("match") else {
            let message = format!("class {} has no `match`: list the patterns of its tags", entry.key);
            problems.note(entry.place, message);
            continue;
        };
        let matches = patterns(matches, "`match`", problems);
        let order = fields.get("order_by").and_then(|node| order_by(node, matches.as_ref(), problems));
        let order_by = order.unwrap_or_default();
        // A class whose patterns were refused stays known, so that its uses are not problems of their own.
        let matches = matches.unwrap_or_default();
        classes.push(Class { name: Arc::from(entry.key.as_str()), matches, order_by });
    }
    classes
}

/// The classes of a policy with their rules, and the rule for `other`.
#[derive(Default)]
pub(super) struct TagRules {
    pub(super) classes: Vec<ClassRule>,
    pub(super) other: Option<Keep>,
}

/// Reads a policy's `tags`.
///
/// Without a preset a tag is offered to the classes that `tags` names, in that order. A preset sorts every tag by
/// itself: all its classes take part in the preset's order, so that a class without a rule keeps its tags instead
/// of passing them on to a catch-all. Classes of the document that `tags` names beside a preset come first.
pub(super) fn tags(
    node: Option<&Node>,
    preset: Option<&Preset>,
    document: &[Class],
    problems: &mut Problems,
) -> TagRules {
    let mut rules = TagRules::default();
    let mut of_preset: Vec<ClassRule> = preset
        .map(|preset| &*preset.classes)
        .unwrap_or_default()
        .iter()
        .map(|class| ClassRule { class: class.clone(), keep: None })
        .collect();
    let entries = node.and_then(|node| entries(node, "`tags`", problems)).unwrap_or_default();
    for entry in entries {
        let name = entry.key.as_str();
        let of = format!("class {}", name.escape_debug());
        if name == OTHER {
            rules.other = class_keep(&entry.value, &of, OrderBy::CLOCK, problems);
        } else if let Some(rule) = of_preset.iter_mut().find(|rule| &*rule.class.name == name) {
            rule.keep = class_keep(&entry.value, &of, &rule.class.order_by, problems);
        } else if let Some(class) = document.iter().find(|class| &*class.name == name) {
            let keep = class_keep(&entry.value, &of, &class.order_by, problems);
            rules.classes.push(ClassRule { class: class.clone(), keep });
        } else {
            let of_preset = of_preset.iter().map(|rule| &*rule.class.name);
            let known: Vec<&str> = of_preset.chain(document.iter().map(|class| &*class.name)).collect();
            let hint = did_you_mean(name, known.iter().copied().chain([OTHER]));
            let listed: Vec<&str> = known.into_iter().chain([OTHER]).collect();
            let (name, listed) = (name.escape_debug(), listed.join(", "));
            let message = format!("unknown class \"{name}\"{hint}; the classes are: {listed}");
            problems.note(entry.place, message);
        }
    }
    rules.classes.append(&mut of_preset);
    rules
}

/// Reads `{ keep: .. }`; `of` names the rule in messages.
pub(super) fn class_keep(node: &Node, of: &str, order_by: &OrderBy, problems: &mut Problems) -> Option<Keep> {
    let missing = || format!("{of} has no `keep`: write what stays, or `keep: none` if nothing does");
    if matches!(node.value, Value::Null) {
        problems.note(node.place, missing());
        return None;
    }
    let fields = Fields::read(node, &CLASS_RULE, problems)?;
    let Some(node) = fields.get("keep") else {
        problems.note(fields.place, missing());
        return None;
    };
    keep(node, order_by, problems)
}

fn keep(node: &Node, order_by: &OrderBy, problems: &mut Problems) -> Option<Keep> {
    let forms = "`all`, `none` or rules such as `{ last: 10, within: 30d }`";
    match &node.value {
        Value::Text(text) if text == "all" => return Some(Keep::All),
        Value::Text(text) if text == "none" => return Some(Keep::None),
        Value::Map(_) => {}
        Value::Text(text) => {
            problems.note(node.place, format!("`keep`: \"{}\" is none of {forms}", text.escape_debug()));
            return None;
        }
        _ => {
            problems.note(node.place, format!("`keep` is {forms}, not {}", node.kind()));
            return None;
        }
    }
    keep_rules(node, &KEEP, order_by, problems).map(Keep::Any)
}

/// Reads the rules inside `keep` or `all`, at least one.
fn keep_rules(
    node: &Node,
    language: &Language,
    order_by: &OrderBy,
    problems: &mut Problems,
) -> Option<Vec<KeepRule>> {
    let noted = problems.0.len();
    let fields = Fields::read(node, language, problems)?;
    let mut rules = Vec::new();
    if let Some(node) = fields.get("last") {
        rules.extend(last(node, order_by, problems));
    }
    if let Some(node) = fields.get("within") {
        let within = quantity::<Period>(node, "`within`", problems);
        if within.is_some_and(Period::is_zero) {
            problems.note(node.place, "`within: 0` keeps nothing: write `keep: none` if that is meant");
        }
        rules.extend(within.map(KeepRule::Within));
    }
    for unit in CalendarUnit::ALL {
        let number = fields.get(unit.key()).and_then(|node| positive(node, unit.key(), problems));
        rules.extend(number.map(|number| KeepRule::Calendar(unit, number)));
    }
    if let Some(node) = fields.get("all").filter(|_| language.known.contains(&"all")) {
        rules.extend(keep_rules(node, &ALL, order_by, problems).map(KeepRule::All));
    }
    if rules.is_empty() {
        if problems.0.len() == noted {
            let of = language.of;
            problems.note(
                node.place,
                format!("{of} is empty: write what stays, or `keep: none` if nothing does"),
            );
        }
        return None;
    }
    Some(rules)
}

fn last(node: &Node, order_by: &OrderBy, problems: &mut Problems) -> Option<KeepRule> {
    let Value::Map(_) = node.value else {
        return positive(node, "last", problems).map(KeepRule::Last);
    };
    if order_by.numbers() == 0 {
        problems.note(
            node.place,
            "`last` by majors, minors and patches needs a class with `order_by` semver, calver or captures; elsewhere \
             write a number",
        );
    }
    let noted = problems.0.len();
    let fields = Fields::read(node, &VERSIONS, problems)?;
    for (level, key) in VERSIONS.known.iter().enumerate() {
        let numbers = order_by.numbers();
        if let Some(node) = fields.get(key).filter(|_| (1..=level).contains(&numbers)) {
            let message = format!(
                "`{key}` counts by the capture in place {}, and `order_by` of the class names only {numbers}",
                level + 1
            );
            problems.note(node.place, message);
        }
    }
    let mut number = |key| fields.get(key).and_then(|node| positive(node, key, problems));
    let counts =
        VersionCounts { majors: number("majors"), minors: number("minors"), patches: number("patches") };
    if counts == VersionCounts::default() {
        if problems.0.len() == noted {
            problems.note(node.place, "`last` is empty: write a number, or majors, minors and patches");
        }
        return None;
    }
    Some(KeepRule::LastVersions(counts))
}

/// A count that keeps something.
fn positive(node: &Node, key: &str, problems: &mut Problems) -> Option<u64> {
    let number = whole_number(node, &format!("`{key}`"), problems)?;
    if number == 0 {
        problems.note(node.place, format!("`{key}: 0` keeps nothing: write `keep: none` if that is meant"));
        return None;
    }
    Some(number)
}
