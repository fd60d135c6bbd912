//! Quay: policies for an organization or a repository, each of which prunes by number or by age.

use super::ConvertError;
use super::draft::{Draft, DraftPolicy, Kept};
use super::input::Input;

pub(super) fn convert(input: &Input, draft: &mut Draft) -> Result<(), ConvertError> {
    let listed = if input.is_object() { input.get("policies")? } else { None };
    let rules = listed.unwrap_or_else(|| input.clone()).one_or_more()?;
    let mut policy = DraftPolicy::new("quay", &draft.repositories, "tagged");
    for rule in &rules {
        draft.note_others(rule.others(&["uuid", "method", "value", "tagPattern", "tagPatternMatches"])?);
        let value = rule.need("value")?;
        let method = rule.need("method")?;
        let kept = match method.text()? {
            "number_of_tags" => Kept::last(value.number()?),
            "creation_date" => Kept::within(value.period(true)?),
            other => {
                return Err(ConvertError::new(format!(
                    "{method} is `{other}`, and neither number_of_tags nor creation_date"
                )));
            }
        };
        let matches = rule.get("tagPatternMatches")?.map_or(Ok(true), |matches| matches.boolean())?;
        let pattern = match rule.get("tagPattern")?.filter(|pattern| pattern.text() != Ok("")) {
            None => Some(vec!["*".to_owned()]),
            Some(pattern) => draft.expression(pattern.text()?, false).map(|pattern| {
                if matches { vec![pattern] } else { vec!["*".to_owned(), format!("!{pattern}")] }
            }),
        };
        // Nobody knows what it is about, so nothing goes by it.
        let Some(pattern) = pattern else { continue };
        let class = draft.class("pruned", &pattern);
        match policy.tags.iter_mut().find(|(own, _)| *own == class) {
            // Each policy prunes by itself: a tag stays that all of them keep.
            Some((_, all)) => *all = all.and(kept),
            None => policy.tags.push((class, kept)),
        }
    }
    if policy.tags.len() > 1 {
        draft.note(
            "in Quay every policy prunes; here a tag belongs to the first class that matches it, and the others do not \
             touch it",
        );
    }
    draft.note("tags that Quay has pruned can be brought back for a while (time machine); here `trash.keep` is that while");
    draft.note("Quay removes manifests without a tag by itself; here they stay unless you add `untagged`");
    draft.policies.push(policy);
    Ok(())
}
