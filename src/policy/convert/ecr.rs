//! Amazon ECR: rules by priority, each of which expires images.

use super::ConvertError;
use super::draft::{Draft, DraftPolicy, Kept};
use super::input::Input;
use crate::config::values::Period;

struct Rule {
    priority: u64,
    status: String,
    /// Every one of these must match one of an image's tags.
    patterns: Vec<String>,
    kept: Kept,
}

pub(super) fn convert(input: &Input, draft: &mut Draft) -> Result<(), ConvertError> {
    let mut rules = Vec::new();
    for rule in input.need("rules")?.list()? {
        rules.extend(read(&rule, draft)?);
    }
    rules.sort_by_key(|rule| rule.priority);
    draft.note(
        "ECR removes images, here tags go one by one: an image with several tags stays as long as one of them does",
    );
    let mut policy = DraftPolicy::new("ecr", &draft.repositories, "pushed");
    for rule in rules {
        let name = format!("rule-{}", rule.priority);
        match (rule.status.as_str(), rule.patterns.as_slice()) {
            ("untagged", _) => {
                policy.untagged = Some(policy.untagged.map_or(rule.kept, |kept| kept.and(rule.kept)));
            }
            ("any", _) => {
                draft.note(format!(
                    "rule {} counts all images of a repository together; here those that no class before takes and those \
                     without a tag are counted apart, so that more stay",
                    rule.priority
                ));
                policy.other = Some(rule.kept);
                policy.untagged = Some(policy.untagged.unwrap_or(rule.kept));
            }
            (_, [pattern]) => {
                let class = draft.class(&name, std::slice::from_ref(pattern));
                if policy.tags.iter().all(|(own, _)| *own != class) {
                    policy.tags.push((class, rule.kept));
                }
            }
            (_, patterns) => {
                draft.note(format!(
                    "rule {} is about images that have a tag for each of {}; here every tag is judged alone, so these stay",
                    rule.priority,
                    patterns.join(", ")
                ));
                let class = draft.class(&name, patterns);
                policy.tags.push((class, Kept::All));
            }
        }
    }
    draft.policies.push(policy);
    Ok(())
}

fn read(rule: &Input, draft: &mut Draft) -> Result<Option<Rule>, ConvertError> {
    draft.note_others(rule.others(&["rulePriority", "description", "selection", "action"])?);
    let priority = rule.need("rulePriority")?.number()?;
    let selection = rule.need("selection")?;
    let known = ["tagStatus", "tagPatternList", "tagPrefixList", "countType", "countUnit", "countNumber"];
    draft.note_others(selection.others(&known)?);
    let status = selection.need("tagStatus")?.text()?.to_owned();
    let mut patterns =
        selection.get("tagPatternList")?.map(|list| list.texts()).transpose()?.unwrap_or_default();
    let prefixes = selection.get("tagPrefixList")?.map(|list| list.texts()).transpose()?.unwrap_or_default();
    patterns.extend(prefixes.into_iter().map(|prefix| format!("{prefix}*")));
    if status == "tagged" && patterns.is_empty() {
        return Err(ConvertError::new(format!("{selection} has neither tagPatternList nor tagPrefixList")));
    }
    let action = rule.need("action")?.need("type")?.text()?.to_owned();
    if action != "expire" {
        draft.note(format!("rule {priority} does not expire but `{action}`: there is no other place, so what it is about stays"));
        return Ok(Some(Rule { priority, status, patterns, kept: Kept::All }));
    }
    let number = selection.need("countNumber")?.number()?;
    let count = selection.need("countType")?;
    let kept = match count.text()? {
        "imageCountMoreThan" => Kept::last(number),
        "sinceImagePushed" => Kept::within(Period::from_days(number)),
        other => {
            draft.note(format!(
                "rule {priority} counts by `{other}`, which has no counterpart, so what it is about stays"
            ));
            Kept::All
        }
    };
    Ok(Some(Rule { priority, status, patterns, kept }))
}
