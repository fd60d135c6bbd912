//! GitLab: one policy for a project; what matches is removed unless it is recent, among the newest, or preserved.

use super::ConvertError;
use super::draft::{Draft, DraftPolicy, Kept};
use super::input::Input;

pub(super) fn convert(input: &Input, draft: &mut Draft) -> Result<(), ConvertError> {
    let rules = input.get("container_expiration_policy_attributes")?;
    let rules = rules.map_or_else(|| input.get("container_expiration_policy"), |found| Ok(Some(found)))?;
    let rules = rules.unwrap_or_else(|| input.clone());
    let known = [
        "cadence",
        "enabled",
        "keep_n",
        "older_than",
        "name_regex",
        "name_regex_delete",
        "name_regex_keep",
        "next_run_at",
    ];
    draft.note_others(rules.others(&known)?);
    if rules.get("enabled")?.is_some_and(|enabled| enabled.boolean() == Ok(false)) {
        draft.note("the policy is not enabled in GitLab; here it is");
    }
    if let Some(cadence) = rules.get("cadence")? {
        draft.note(format!("it runs as often as you run regsweep, not every {}", cadence.text()?));
    }
    // GitLab never removes this one.
    draft.protect.push("latest".to_owned());
    if let Some(keep) = rules.get("name_regex_keep")?.filter(|keep| keep.text() != Ok("")) {
        let Some(pattern) = draft.expression(keep.text()?, true) else {
            // What is to be kept is not known, so all of it may be.
            keep_everything(draft);
            return Ok(());
        };
        draft.protect.push(pattern);
    }
    let mut policy = DraftPolicy::new("gitlab", &draft.repositories, "created");
    let expression = match rules.get("name_regex_delete")? {
        Some(found) => Some(found),
        None => rules.get("name_regex")?,
    };
    let Some(expression) = expression.filter(|expression| expression.text() != Ok("")) else {
        return Err(ConvertError::new(format!("{rules} has no name_regex, so nothing is removed")));
    };
    let mut kept = Kept::None;
    if let Some(number) = rules.get("keep_n")? {
        kept = kept.or(Kept::last(number.number()?));
    }
    if let Some(age) = rules.get("older_than")? {
        kept = kept.or(Kept::within(age.period(false)?));
    }
    if let Some(pattern) = draft.expression(expression.text()?, true) {
        let class = draft.class("expiring", &[pattern]);
        policy.tags.push((class, kept));
    }
    policy.other = Some(Kept::All);
    draft.note("manifests without a tag are left to GitLab's own garbage collection; here they stay unless you add `untagged`");
    draft.policies.push(policy);
    Ok(())
}

fn keep_everything(draft: &mut Draft) {
    let mut policy = DraftPolicy::new("gitlab", &draft.repositories, "created");
    policy.other = Some(Kept::All);
    draft.policies.push(policy);
}
