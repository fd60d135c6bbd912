//! What a plan may take of blobs that have a record beside them and that a database knows.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{After, Refusal, Violation, World};
use crate::inventory::{Asset, BlobId, Link, Piece, Serves, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{Action, Mode, Plan, RecordMode};

/// Validation: nobody may write meanwhile, the user has said so twice, and it is known which repositories hold images.
pub(super) fn preconditions(world: &World<'_>) -> Vec<Refusal> {
    let mode = world.records;
    let mut refusals = Vec::new();
    if world.mode == Mode::Online {
        refusals.push(Refusal::Mode(format!(
            "--nexus-mode {mode} changes what the database knows: stop Nexus, or for soft freeze it (POST \
             service/rest/v1/read-only/freeze), and say --offline"
        )));
    }
    if !world.halted.is_some_and(|halted| halted.is_enough_for(mode)) {
        let enough = if mode == RecordMode::Hard { "stopped" } else { "stopped, or frozen" };
        refusals.push(Refusal::Mode(format!(
            "--nexus-mode {mode} leaves the database behind: images that it lists and that cannot be pulled or pushed again \
             until it is repaired, and a flagged blob is gone for good with the next compact task. If that is what you want, \
             and Nexus is {enough}, say --nexus-confirm {}",
            if mode == RecordMode::Hard { "stopped" } else { "stopped or --nexus-confirm frozen" }
        )));
    }
    if !world.inventory.assets.as_ref().is_some_and(|assets| assets.scoped) {
        refusals.push(Refusal::Mode(format!(
            "--nexus-mode {mode} must know which repositories are Docker's, since others may hold the same names: give \
             --evidence with an export of the database, or --nexus-repository"
        )));
    }
    refusals
}

/// Validation: a step takes exactly the blobs that are what it is about, as they are now, old enough, and none whose
/// content something that stays needs.
pub(super) fn whole(plan: &Plan, after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
    let by_policy = world.inventory.assets.is_some() && world.records.is_by_policy();
    let mut found = Vec::new();
    let judge = by_policy.then(|| Judge::of(plan, after, world));
    for (step, one) in plan.steps.iter().enumerate() {
        let why = match (&judge, &one.action) {
            (Some(judge), Action::Untag { .. } | Action::DeleteManifest { .. } | Action::Sweep { .. }) => {
                judge.refuse(step, plan)
            }
            (Some(_), Action::Purge { .. }) | (None, _) if one.recorded.is_empty() => None,
            (Some(_), _) => Some("it is not for this mode".to_owned()),
            (None, _) => Some("it names blobs with records, which are not taken here".to_owned()),
        };
        found.extend(why.map(|why| (step, why)));
    }
    found
}

/// What a step may be about.
#[derive(PartialEq, Eq, Hash)]
enum Role<'r> {
    Tag(&'r RepositoryName, &'r TagName),
    Manifest(&'r RepositoryName, BlobId),
    Blob(BlobId),
}

struct Judge<'j> {
    world: &'j World<'j>,
    after: &'j After<'j>,
    /// Every blob of an image, by the key of its record.
    by_record: FxHashMap<&'j str, (&'j Asset, &'j Piece)>,
    /// Their records, by what they are.
    by_role: FxHashMap<Role<'j>, Vec<&'j str>>,
    /// By repository, the content of blobs of manifests that no step takes.
    stays: FxHashSet<(&'j RepositoryName, BlobId)>,
    /// What some manifest or tag that stays refers to, in any repository.
    needed: FxHashSet<BlobId>,
}

impl<'j> Judge<'j> {
    fn of(plan: &'j Plan, after: &'j After<'j>, world: &'j World<'j>) -> Self {
        let inventory = world.inventory;
        let list = inventory.assets.iter().flat_map(|assets| &assets.list);
        let by_record: FxHashMap<&str, (&Asset, &Piece)> = list
            .filter_map(|asset| Some((asset, asset.piece.as_ref()?)))
            .map(|(asset, piece)| (piece.files.record.key.as_str(), (asset, piece)))
            .collect();
        let mut by_role: FxHashMap<Role<'_>, Vec<&str>> = FxHashMap::default();
        for (key, (asset, piece)) in &by_record {
            let Some(id) = asset.digest else { continue };
            let role = match &piece.serves {
                Serves::Tag { repository, tag } => Role::Tag(repository, tag),
                Serves::Manifest { repository } => Role::Manifest(repository, id),
                Serves::Blob => Role::Blob(id),
            };
            by_role.entry(role).or_default().push(key);
        }
        let taken: FxHashSet<&str> = plan
            .steps
            .iter()
            .flat_map(|step| &step.recorded)
            .map(|files| files.record.key.as_str())
            .collect();
        let stays = by_record
            .iter()
            .filter(|(key, _)| !taken.contains(*key))
            .filter_map(|(_, (asset, piece))| match &piece.serves {
                Serves::Tag { repository, .. } | Serves::Manifest { repository } => {
                    Some((repository, asset.digest?))
                }
                Serves::Blob => None,
            })
            .collect();
        let mut needed = FxHashSet::default();
        for (index, repository) in inventory.repositories.iter().enumerate() {
            let tags =
                repository.tags.iter().filter(|tag| !after.tags.contains_key(&(&repository.name, &tag.name)));
            needed.extend(tags.filter_map(|tag| match tag.target {
                Target::Manifest(id) => Some(id),
                Target::Missing | Target::Corrupt(_) => None,
            }));
            for revision in &repository.revisions {
                if revision.link == Link::Missing || after.manifests.contains_key(&(index, revision.digest)) {
                    continue;
                }
                let facts = inventory.facts(revision.digest);
                needed.extend(facts.iter().flat_map(|facts| facts.references.iter()).map(|edge| edge.digest));
            }
        }
        let outside = inventory.assets.iter().flat_map(|assets| &assets.outside);
        needed.extend(outside.filter_map(|digest| inventory.blobs.find(digest)));
        Self { world, after, by_record, by_role, stays, needed }
    }

    fn refuse(&self, step: usize, plan: &Plan) -> Option<String> {
        let one = &plan.steps[step];
        let expected = self.expected(&one.action);
        let mut named = FxHashSet::default();
        for files in &one.recorded {
            let key = files.record.key.as_str();
            let Some((asset, piece)) = self.by_record.get(key) else {
                return Some(format!("{key} is no record of a blob of an image"));
            };
            if piece.files != *files {
                return Some(format!("{key} and its content are not as they are now"));
            }
            if !expected.contains(&key) {
                return Some(format!("{key} is not what it is about"));
            }
            if !named.insert(key) {
                return Some(format!("{key} is named twice"));
            }
            let grace = self.world.limits.grace.as_signed();
            if asset.changed.is_none_or(|at| self.world.now.duration_since(at) < grace) {
                return Some(format!("{key}: it changed within the grace"));
            }
        }
        if let Some(missed) = expected.iter().find(|key| !named.contains(*key)) {
            return Some(format!("{missed} is what it is about too"));
        }
        self.lost(&one.action)
    }

    /// The records of everything that a step is about.
    fn expected<'a>(&'a self, action: &'a Action) -> &'a [&'a str] {
        let id = |digest: &Digest| self.world.inventory.blobs.find(digest);
        let role = match action {
            Action::Untag { repository, tag, .. } => Some(Role::Tag(repository, tag)),
            Action::DeleteManifest { repository, digest, .. } => {
                id(digest).map(|id| Role::Manifest(repository, id))
            }
            Action::Sweep { digest, .. } => id(digest).map(Role::Blob),
            _ => None,
        };
        role.and_then(|role| self.by_role.get(&role)).map_or(&[], Vec::as_slice)
    }

    /// What would be lost with it.
    fn lost(&self, action: &Action) -> Option<String> {
        let blobs = &self.world.inventory.blobs;
        match action {
            Action::Untag { repository, target: Some(target), .. } => {
                let id = blobs.find(target)?;
                let index = self.after.by_name.get(repository)?;
                let goes = self.after.manifests.contains_key(&(*index, id));
                (!goes && !self.stays.contains(&(repository, id)))
                    .then(|| format!("{target} stays in {repository}, and this is the only blob of it"))
            }
            Action::DeleteManifest { digest, .. } | Action::Sweep { digest, .. } => {
                let id = blobs.find(digest)?;
                self.needed.contains(&id).then(|| format!("{digest}: something that stays needs it"))
            }
            _ => None,
        }
    }
}
