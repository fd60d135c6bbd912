//! zot: policies by repository, in which the first entry that matches a tag says what stays.

use super::ConvertError;
use super::draft::{Draft, DraftPolicy, Kept};
use super::input::Input;
use crate::config::values::Period;

/// What zot waits before it removes what has no tag, unless the configuration says otherwise.
const DEFAULT_DELAY: Period = Period::from_hours(24);

pub(super) fn convert(input: &Input, draft: &mut Draft) -> Result<(), ConvertError> {
    let storage = input.get("storage")?.unwrap_or_else(|| input.clone());
    let mut found = false;
    if let Some(retention) = storage.get("retention")? {
        read(&retention, "zot", draft)?;
        found = true;
    }
    let below = storage.get("subPaths")?;
    for path in
        below.iter().map(Input::object).collect::<Result<Vec<_>, _>>()?.into_iter().flat_map(|map| map.keys())
    {
        let storage = below.as_ref().map(|below| below.need(path)).transpose()?;
        let retention = storage.map(|storage| storage.get("retention")).transpose()?.flatten();
        if retention.is_some() {
            found = true;
            draft.note(format!(
                "storage.subPaths.{path} is a store of its own with its own retention: convert that part by itself, for the \
                 repositories below {path}"
            ));
        }
    }
    if found {
        return Ok(());
    }
    Err(ConvertError::new(format!("{storage} has no retention, so zot keeps every tag")))
}

fn read(retention: &Input, name: &str, draft: &mut Draft) -> Result<(), ConvertError> {
    draft.note_others(retention.others(&["dryRun", "delay", "policies"])?);
    if retention.get("dryRun")?.is_some_and(|dry_run| dry_run.boolean() == Ok(true)) {
        draft.note("zot only logs what would go (dryRun); here `plan` does that, and `run` removes");
    }
    let delay =
        retention.get("delay")?.map(|delay| delay.period(false)).transpose()?.unwrap_or(DEFAULT_DELAY);
    let policies =
        retention.get("policies")?.map(|policies| policies.list()).transpose()?.unwrap_or_default();
    let several = policies.len() > 1;
    for (index, policy) in policies.iter().enumerate() {
        let name = if several { format!("{name}-{}", index + 1) } else { name.to_owned() };
        let policy = self::policy(policy, &name, delay, draft)?;
        draft.policies.push(policy);
    }
    Ok(())
}

fn policy(input: &Input, name: &str, delay: Period, draft: &mut Draft) -> Result<DraftPolicy, ConvertError> {
    draft.note_others(input.others(&[
        "repositories",
        "repoNames",
        "deleteReferrers",
        "deleteUntagged",
        "keepTags",
    ])?);
    let repositories = match input.get("repositories")? {
        Some(found) => Some(found),
        None => input.get("repoNames")?,
    };
    let repositories = repositories.map(|found| found.texts()).transpose()?;
    let repositories = repositories.unwrap_or_else(|| draft.repositories.clone());
    let mut policy = DraftPolicy::new(name, &repositories, "pushed");
    if input.get("deleteUntagged")?.is_none_or(|delete| delete.boolean() != Ok(false)) {
        policy.untagged = Some(Kept::within(delay));
    }
    if !input.get("deleteReferrers")?.is_some_and(|delete| delete.boolean() == Ok(true)) {
        draft.note("zot keeps referrers whose subject is gone (deleteReferrers); here they go after `referrers.orphaned_after`");
    }
    let entries =
        input.get("keepTags")?.map(|entries| entries.one_or_more()).transpose()?.unwrap_or_default();
    if entries.is_empty() {
        return Ok(policy);
    }
    let (mut pushed_count, mut pulled) = (false, false);
    for entry in entries {
        let known = [
            "patterns",
            "pulledWithin",
            "pushedWithin",
            "mostRecentlyPushedCount",
            "mostRecentlyPulledCount",
        ];
        draft.note_others(entry.others(&known)?);
        let mut kept: Option<Kept> = None;
        let mut also = |rule: Kept| {
            if rule != Kept::None {
                kept = Some(kept.map_or(rule, |kept| kept.or(rule)));
            }
        };
        if let Some(count) = entry.get("mostRecentlyPushedCount")? {
            pushed_count |= count.number()? > 0;
            also(Kept::last(count.number()?));
        }
        if let Some(count) = entry.get("mostRecentlyPulledCount")? {
            pulled |= count.number()? > 0;
            also(Kept::last(count.number()?));
        }
        if let Some(within) = entry.get("pushedWithin")? {
            also(Kept::within(within.period(false)?));
        }
        if let Some(within) = entry.get("pulledWithin")? {
            pulled = true;
            also(Kept::within(within.period(false)?));
        }
        let patterns =
            entry.get("patterns")?.map(|patterns| patterns.texts()).transpose()?.unwrap_or_default();
        let read: Vec<Option<String>> = patterns.iter().map(|one| draft.expression(one, false)).collect();
        // An entry without rules keeps what it matches, as does one that cannot be read: which tags that are is not known.
        let (patterns, kept) = match read.into_iter().collect::<Option<Vec<String>>>() {
            Some(patterns) if patterns.is_empty() => (vec!["*".to_owned()], kept.unwrap_or(Kept::All)),
            Some(patterns) => (patterns, kept.unwrap_or(Kept::All)),
            None => (vec!["*".to_owned()], Kept::All),
        };
        let class = draft.class("kept", &patterns);
        if policy.tags.iter().all(|(own, _)| *own != class) {
            policy.tags.push((class, kept));
        }
    }
    // The first entry makes zot remove what none of them matches.
    policy.other = Some(Kept::None);
    if pulled {
        policy.clock = "pulled";
    }
    if pulled && pushed_count {
        draft.note(format!(
            "policy {name}: zot counts the newest by push and by pull apart; a policy has one clock: both count by the last \
             pull, or the push where none is later"
        ));
    }
    Ok(policy)
}
