//! Harbor: rules of a project, each of which retains; what none retains is removed.

use super::ConvertError;
use super::draft::{Draft, DraftPolicy, Kept};
use super::input::Input;
use crate::config::values::Period;

/// A rule, as far as it is about tags.
struct Rule {
    repositories: Vec<String>,
    tags: Vec<String>,
    untagged: bool,
    pulled: bool,
    kept: Kept,
}

pub(super) fn convert(input: &Input, draft: &mut Draft) -> Result<(), ConvertError> {
    draft.note_others(input.others(&["id", "algorithm", "rules", "trigger", "scope"])?);
    if let Some(trigger) = input.get("trigger")? {
        let cron = trigger.get("settings")?.and_then(|settings| settings.get("cron").ok().flatten());
        if let Some(cron) = cron.filter(|cron| cron.text() != Ok("")) {
            draft.note(format!("it runs as often as you run regsweep, not at `{}`", cron.text()?));
        }
    }
    let mut rules = Vec::new();
    for rule in input.need("rules")?.list()? {
        rules.extend(read(&rule, draft)?);
    }
    draft
        .note("Harbor removes artifacts, here tags go one by one; one that is kept still holds its manifest");
    // Rules about the same repositories are one policy.
    let mut scopes: Vec<Vec<String>> = Vec::new();
    for rule in &rules {
        if !scopes.contains(&rule.repositories) {
            scopes.push(rule.repositories.clone());
        }
    }
    if scopes.len() > 1 {
        draft.note(
            "a repository belongs to the first policy that matches it; so each policy has the rules of those below it as \
             well, and more may stay",
        );
    }
    for (index, scope) in scopes.iter().enumerate() {
        let below = &scopes[index..];
        let those: Vec<&Rule> = rules.iter().filter(|rule| below.contains(&rule.repositories)).collect();
        let name = if scopes.len() > 1 { format!("harbor-{}", index + 1) } else { "harbor".to_owned() };
        let repositories = if scope[..] == ["**"] { draft.repositories.clone() } else { scope.clone() };
        let policy = policy(&name, &repositories, &those, draft);
        draft.policies.push(policy);
    }
    Ok(())
}

fn policy(name: &str, repositories: &[String], rules: &[&Rule], draft: &mut Draft) -> DraftPolicy {
    let pulled = rules.iter().any(|rule| rule.pulled);
    let mut policy = DraftPolicy::new(name, repositories, if pulled { "pulled" } else { "pushed" });
    let counts = |rule: &&&Rule| matches!(rule.kept, Kept::Either { last: Some(_), .. });
    if pulled && rules.iter().filter(counts).any(|rule| !rule.pulled) {
        draft.note(format!(
            "policy {name}: its rules count by push and by pull, and a policy has one clock: all count by the last pull, or \
             the push where none is known"
        ));
    }
    let mut untagged = None;
    for (index, rule) in rules.iter().enumerate() {
        // What comes later may be about the same tags, and keeps them as well.
        let later = rules[index + 1..].iter().filter(|other| !apart(&rule.tags, &other.tags));
        let kept = later.fold(rule.kept, |kept, other| kept.or(other.kept));
        let class = draft.class("retained", &rule.tags);
        if policy.tags.iter().all(|(own, _)| *own != class) {
            policy.tags.push((class, kept));
        }
        if rule.untagged {
            untagged = Some(untagged.map_or(rule.kept, |kept: Kept| kept.or(rule.kept)));
        }
    }
    policy.other = Some(Kept::None);
    policy.untagged = Some(untagged.unwrap_or(Kept::None));
    policy
}

fn read(rule: &Input, draft: &mut Draft) -> Result<Option<Rule>, ConvertError> {
    let known =
        ["id", "priority", "disabled", "action", "template", "params", "tag_selectors", "scope_selectors"];
    draft.note_others(rule.others(&known)?);
    if rule.get("disabled")?.is_some_and(|disabled| disabled.boolean() == Ok(true)) {
        draft.note(format!("{rule} is disabled and left out"));
        return Ok(None);
    }
    let template = rule.need("template")?;
    let template = template.text()?;
    let number = || -> Result<u64, ConvertError> {
        let params = rule.need("params")?;
        params.need(template)?.number()
    };
    let (kept, pulled) = match template {
        "latestPushedK" => (Kept::last(number()?), false),
        "latestPulledN" => (Kept::last(number()?), true),
        "nDaysSinceLastPush" => (Kept::within(Period::from_days(number()?)), false),
        "nDaysSinceLastPull" => (Kept::within(Period::from_days(number()?)), true),
        "always" => (Kept::All, false),
        other => {
            draft.note(format!(
                "{rule} retains by `{other}`, which has no counterpart, so what it is about stays"
            ));
            (Kept::All, false)
        }
    };
    let mut untagged = false;
    let mut tags = Vec::new();
    for selector in rule.need("tag_selectors")?.list()? {
        tags.extend(selected(&selector, false)?);
        let extras = selector.get("extras")?;
        let extras = extras.map(|extras| extras.text().map(str::to_owned)).transpose()?.unwrap_or_default();
        untagged |= extras.replace(' ', "").contains("\"untagged\":true");
    }
    let mut repositories = Vec::new();
    for selector in rule.need("scope_selectors")?.need("repository")?.list()? {
        repositories.extend(selected(&selector, true)?);
    }
    Ok(Some(Rule { repositories, tags, untagged, pulled, kept }))
}

/// The patterns of a selector. Harbor's `**` stands anywhere, ours alone between slashes.
fn selected(selector: &Input, repository: bool) -> Result<Vec<String>, ConvertError> {
    let pattern = selector.need("pattern")?;
    let pattern = pattern.text()?;
    let decoration = selector.need("decoration")?;
    let own = if pattern == "**" {
        vec!["**".to_owned()]
    } else if repository && pattern.split('/').any(|part| part != "**" && part.contains("**")) {
        vec![pattern.replace("**", "*"), format!("{}/**", pattern.replace("**", "*"))]
    } else if repository {
        vec![pattern.to_owned()]
    } else {
        vec![pattern.replace("**", "*")]
    };
    match decoration.text()? {
        "matches" | "repoMatches" => Ok(own),
        "excludes" | "repoExcludes" => Ok(["**".to_owned()]
            .into_iter()
            .chain(own.into_iter().map(|pattern| format!("!{pattern}")))
            .collect()),
        other => {
            Err(ConvertError::new(format!("{decoration} is `{other}`, which selects nothing that is known")))
        }
    }
}

/// Whether two lists of globs evidently share no name: each of the one begins otherwise than each of the other.
fn apart(left: &[String], right: &[String]) -> bool {
    let literal = |pattern: &str| pattern.split(['*', '?', '[', '{']).next().unwrap_or_default().to_owned();
    left.iter().all(|left| {
        right.iter().all(|right| {
            let (left, right) = (literal(left), literal(right));
            !left.starts_with(&right) && !right.starts_with(&left)
        })
    })
}
