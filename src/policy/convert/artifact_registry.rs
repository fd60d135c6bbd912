//! Artifact Registry: policies that delete and policies that keep; what one keeps, none deletes.

use std::collections::BTreeSet;

use super::ConvertError;
use super::draft::{Draft, DraftPolicy, Kept};
use super::input::Input;

/// What a rule says of the versions that it matches.
#[derive(Debug, Clone, Copy)]
enum Says {
    /// They go, unless this keeps them.
    Delete(Kept),
    /// They stay, as far as this keeps them.
    Keep(Kept),
}

#[derive(Debug)]
struct Rule {
    says: Says,
    tagged: bool,
    untagged: bool,
    /// Every tag when there are none.
    tags: Vec<String>,
    /// Every package when there are none.
    packages: Vec<String>,
}

pub(super) fn convert(input: &Input, draft: &mut Draft) -> Result<(), ConvertError> {
    let mut rules = Vec::new();
    for rule in input.list()? {
        rules.push(read(&rule, draft)?);
    }
    draft.note(
        "Artifact Registry removes versions, here tags go one by one: an image with several tags stays as long as one of \
         them does",
    );
    // The longest prefix first: then each policy has every rule whose prefix begins its own.
    let packages: BTreeSet<&String> = rules.iter().flat_map(|rule| &rule.packages).collect();
    let mut packages: Vec<&str> = packages.into_iter().map(String::as_str).collect();
    packages.sort_by_key(|package| (std::cmp::Reverse(package.len()), *package));
    for package in &packages {
        let name = format!("packages-{package}");
        let repositories = [format!("{package}*"), format!("{package}*/**")];
        let those: Vec<&Rule> = rules.iter().filter(|rule| begins(&rule.packages, package)).collect();
        add(&name, &repositories, &those, draft);
    }
    let rest: Vec<&Rule> = rules.iter().filter(|rule| rule.packages.is_empty()).collect();
    if !rest.is_empty() {
        let name = if packages.is_empty() { "artifact-registry" } else { "packages" };
        add(name, &draft.repositories.clone(), &rest, draft);
    }
    Ok(())
}

/// Whether a rule with these prefixes is about all that begins with this one.
fn begins(prefixes: &[String], with: &str) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| with.starts_with(prefix.as_str()))
}

fn add(name: &str, repositories: &[String], rules: &[&Rule], draft: &mut Draft) {
    let mut policy = DraftPolicy::new(name, repositories, "pushed");
    let tags: BTreeSet<&String> =
        rules.iter().filter(|rule| rule.tagged).flat_map(|rule| &rule.tags).collect();
    let mut tags: Vec<&str> = tags.into_iter().map(String::as_str).collect();
    tags.sort_by_key(|tag| (std::cmp::Reverse(tag.len()), *tag));
    for tag in tags {
        let class = draft.class(&format!("tags-{tag}"), &[format!("{tag}*")]);
        let those = rules.iter().filter(|rule| rule.tagged && begins(&rule.tags, tag));
        policy.tags.push((class, together(those.map(|rule| rule.says))));
    }
    let every = rules.iter().filter(|rule| rule.tagged && rule.tags.is_empty());
    policy.other = Some(together(every.map(|rule| rule.says)));
    let untagged = rules.iter().filter(|rule| rule.untagged && rule.tags.is_empty());
    policy.untagged = Some(together(untagged.map(|rule| rule.says)));
    draft.policies.push(policy);
}

/// What several rules keep together: what no deletion takes, and what any keeps.
fn together(says: impl Iterator<Item = Says>) -> Kept {
    let (mut left, mut kept) = (Kept::All, Kept::None);
    for one in says {
        match one {
            Says::Delete(unless) => left = left.and(unless),
            Says::Keep(keep) => kept = kept.or(keep),
        }
    }
    left.or(kept)
}

fn read(rule: &Input, draft: &mut Draft) -> Result<Rule, ConvertError> {
    draft.note_others(rule.others(&["name", "action", "condition", "mostRecentVersions", "id"])?);
    let name = rule.get("name")?.map_or(Ok(String::new()), |name| name.text().map(str::to_owned))?;
    let action = rule.need("action")?;
    let action = if action.is_object() { action.need("type")? } else { action };
    let delete = match action.text()?.to_ascii_lowercase().as_str() {
        "delete" => true,
        "keep" => false,
        _ => {
            let other = action.text()?;
            return Err(ConvertError::new(format!("{action} is `{other}`, and neither Delete nor Keep")));
        }
    };
    if let Some(recent) = rule.get("mostRecentVersions")? {
        draft.note_others(recent.others(&["packageNamePrefixes", "keepCount"])?);
        let count = recent.get("keepCount")?.map_or(Ok(0), |count| count.number())?;
        draft.note(format!(
            "{name} counts all versions of a package together; here the tags of each class and the manifests without a tag \
             are counted apart, so that more stay"
        ));
        let packages = texts(&recent, "packageNamePrefixes")?;
        return Ok(Rule {
            says: Says::Keep(Kept::last(count)),
            tagged: true,
            untagged: true,
            tags: Vec::new(),
            packages,
        });
    }
    let condition = rule.need("condition")?;
    let known = [
        "tagState",
        "tagPrefixes",
        "packageNamePrefixes",
        "versionNamePrefixes",
        "olderThan",
        "newerThan",
        "versionAge",
    ];
    draft.note_others(condition.others(&known)?);
    let state = condition
        .get("tagState")?
        .map_or(Ok("any".to_owned()), |state| state.text().map(str::to_ascii_lowercase))?;
    let older = condition.get("olderThan")?.map(|age| age.period(false)).transpose()?;
    let newer = condition.get("newerThan")?.map(|age| age.period(false)).transpose()?;
    let unsaid = condition.get("versionNamePrefixes")?.is_some() || condition.get("versionAge")?.is_some();
    let says = match (delete, older, newer) {
        // What matches in a way that cannot be said here is not deleted, and is kept.
        (true, _, _) if unsaid => Says::Delete(Kept::All),
        (false, _, _) if unsaid => Says::Keep(Kept::All),
        (true, older, None) => Says::Delete(older.map_or(Kept::None, Kept::within)),
        (true, _, Some(_)) => Says::Delete(Kept::All),
        (false, None, newer) => Says::Keep(newer.map_or(Kept::All, Kept::within)),
        (false, Some(_), _) => Says::Keep(Kept::All),
    };
    if unsaid {
        draft.note(format!("{name} is about versions by their digests, which has no counterpart, so all of its packages stays"));
    } else if delete && newer.is_some() {
        draft
            .note(format!("{name} deletes what is newer, which has no counterpart: it deletes nothing here"));
    } else if !delete && older.is_some() {
        draft.note(format!("{name} keeps what is older, which has no counterpart: it keeps of any age here"));
    }
    Ok(Rule {
        says,
        tagged: state != "untagged",
        untagged: state != "tagged",
        tags: texts(&condition, "tagPrefixes")?,
        packages: texts(&condition, "packageNamePrefixes")?,
    })
}

fn texts(input: &Input, key: &str) -> Result<Vec<String>, ConvertError> {
    input.get(key)?.map_or_else(|| Ok(Vec::new()), |list| list.texts())
}
