//! What a repository manager is to delete itself, through its REST interface.

use rustc_hash::FxHashSet;

use super::{Action, Evidence, Reason, Step};
use crate::evidence::managed::{COLLECT, COMPACT, Listed, Managed};
use crate::inventory::Inventory;
use crate::oci::Digest;

/// Keeps of a plan what the repository manager can be asked for, each with what it lists of it, and adds the tasks that let
/// go of the rest. Also answers what is to be said of it, a sentence each.
pub(super) fn through(
    steps: Vec<Step>,
    managed: &Managed,
    inventory: &Inventory,
) -> (Vec<Step>, Vec<String>) {
    // What nothing needs any more and what the database does not know are files, and none is touched.
    let mut asked: Vec<Step> = steps
        .into_iter()
        .filter_map(|mut step| {
            step.evidence.listed = Some(Box::new(listed(&step.action, managed)?));
            Some(step)
        })
        .collect();
    if asked.is_empty() {
        return (asked, Vec::new());
    }
    let mut notes = vec![format!(
        "the repository manager at {} is asked to delete what goes: no restore brings it back. No file is touched, and space \
         is free when its tasks have run",
        managed.url
    )];
    let lost = collected(&asked, managed, inventory);
    if lost > 0 {
        notes.push(format!(
            "{lost} manifests without a tag stay, and tasks of the type {COLLECT} would delete them: none is started",
        ));
    }
    for (kind, called) in
        [(COLLECT, "Docker - Delete unused manifests and images"), (COMPACT, "Admin - Compact blob store")]
    {
        let mut of_kind = managed.tasks.iter().filter(|task| task.kind == kind).peekable();
        if of_kind.peek().is_none() {
            notes.push(format!("there is no task \"{called}\": create one, or no space is ever free"));
        }
        for task in of_kind.filter(|_| kind != COLLECT || lost == 0) {
            let (task, name, kind) = (task.id.clone(), task.name.clone(), task.kind.clone());
            let evidence = Evidence { reason: Reason::Managed, changed: None, listed: None };
            asked.push(Step { action: Action::RunTask { task, name, kind }, evidence });
        }
    }
    (asked, notes)
}

/// What is listed of a tag or a manifest; nothing for what is neither.
fn listed(action: &Action, managed: &Managed) -> Option<Listed> {
    match action {
        Action::Untag { repository, tag, .. } => managed.tag(repository.as_str(), tag.as_str()).cloned(),
        // One that is not listed by its digest goes with its tag.
        Action::DeleteManifest { repository, digest, .. } => {
            Some(managed.manifest(repository.as_str(), digest).cloned().unwrap_or_default())
        }
        _ => None,
    }
}

/// How many of the manifests that stay a task would delete that knows no other roots than tags.
fn collected(steps: &[Step], managed: &Managed, inventory: &Inventory) -> usize {
    let mut tags: FxHashSet<(&str, &str)> = FxHashSet::default();
    let mut manifests: FxHashSet<(&str, Digest)> = FxHashSet::default();
    for step in steps {
        match &step.action {
            Action::Untag { repository, tag, .. } => {
                tags.insert((repository.as_str(), tag.as_str()));
            }
            Action::DeleteManifest { repository, digest, .. } => {
                manifests.insert((repository.as_str(), *digest));
            }
            _ => {}
        }
    }
    let mut lost = 0;
    for (image, listed) in &managed.manifests {
        let mut pending: Vec<Digest> = managed
            .tags_of(image)
            .filter(|(tag, _)| !tags.contains(&(image.as_str(), *tag)))
            .flat_map(|(_, listed)| listed.assets.iter().map(|asset| asset.digest))
            .collect();
        let mut reached: FxHashSet<Digest> = FxHashSet::default();
        while let Some(digest) = pending.pop() {
            if reached.insert(digest)
                && let Some(facts) = inventory.blobs.find(&digest).and_then(|id| inventory.facts(id))
            {
                pending.extend(facts.references.iter().map(|edge| inventory.blobs.digest(edge.digest)));
            }
        }
        let stays = listed.keys().filter(|digest| !manifests.contains(&(image.as_str(), **digest)));
        lost += stays.filter(|digest| !reached.contains(*digest)).count();
    }
    lost
}
