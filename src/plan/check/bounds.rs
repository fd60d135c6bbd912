//! What a step may name at all. A plan file is data from outside: a key in it that leads elsewhere is refused before it is
//! ever opened.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Violation, World};
use crate::inventory::{LooseFile, Target};
use crate::layout::DISTRIBUTION_ROOT;
use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{Action, Mode, Plan};

/// Validation: a step names only what lies in its own part of the store.
pub(super) fn in_place(plan: &Plan, world: &World<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let loose = Loose::of(world);
    for (step, one) in plan.steps.iter().enumerate() {
        let why = match &one.action {
            Action::Purge { run, place, digest, .. } => (!is_trash(place, run, digest.as_ref()))
                .then(|| format!("{place} is no place in the trash of the run {run}")),
            Action::Heal { run, place, digest, .. } => (!is_trash(place, run, Some(digest)))
                .then(|| format!("{place} is no place in the trash of the run {run} for {digest}")),
            Action::RemoveDirectory { key } => {
                (!is_in_registry(key)).then(|| format!("{key} is no directory of the registry"))
            }
            Action::Abandon { files } => loose.refuse(files),
            Action::AbortUpload { upload } => {
                let mut listed = world.inventory.beside.iter().flat_map(|beside| &beside.uploads);
                (!listed.any(|one| one == upload))
                    .then(|| format!("there is no upload {} of {} in parts", upload.id, upload.key))
            }
            _ => None,
        };
        found.extend(why.map(|why| (step, why)));
    }
    found
}

/// Validation: what is in the trash can be brought back for the time that was promised, and until pushes that were going on
/// when it went have left their signs.
pub(super) fn kept_long_enough(plan: &Plan, world: &World<'_>) -> Vec<Violation> {
    let limits = world.limits;
    let mut found = Vec::new();
    for (step, one) in plan.steps.iter().enumerate() {
        let Action::Purge { run, place, .. } = &one.action else { continue };
        let Some(ended) = world.ended.get(run) else {
            found.push((step, format!("when the run {run} ended, which put {place} there, is not known")));
            continue;
        };
        let age = world.now.duration_since(*ended).as_secs();
        let times = if was_manifest(place) { i64::from(limits.manifest_trash_factor) } else { 1 };
        let promised = limits.trash_keep.as_signed().as_secs().saturating_mul(times);
        if age < promised {
            found.push((step, format!("{place} is in the trash for {age} s, and is kept for {promised} s")));
        } else if world.mode == Mode::Online && age < limits.settle.as_signed().as_secs() {
            found.push((step, format!("{place} went {age} s ago, and pushes of that time have not settled")));
        }
    }
    found
}

fn is_plain(key: &str) -> bool {
    key.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn is_in_registry(key: &str) -> bool {
    let below = key.strip_prefix(DISTRIBUTION_ROOT).and_then(|rest| rest.strip_prefix('/'));
    is_plain(key) && below.is_some_and(|rest| rest.starts_with("repositories/") || rest.starts_with("blobs/"))
}

/// `trash/<run>/{blobs,manifests}/<algorithm>/<two digits>/<digits>` for a blob, `trash/<run>/files/<key>` for a file.
fn is_trash(place: &str, run: &str, digest: Option<&Digest>) -> bool {
    let rest = place
        .strip_prefix("trash/")
        .and_then(|rest| rest.strip_prefix(run))
        .and_then(|rest| rest.strip_prefix('/'));
    let Some((kind, rest)) = rest.and_then(|rest| rest.split_once('/')) else { return false };
    let right = match digest {
        Some(digest) => {
            let hex = digest.hex();
            matches!(kind, "blobs" | "manifests")
                && rest == format!("{}/{}/{hex}", digest.algorithm(), &hex[..2])
        }
        None => kind == "files",
    };
    right && is_plain(place)
}

/// Whether a place in the trash is that of a blob that was a manifest.
pub(super) fn was_manifest(place: &str) -> bool {
    place.split('/').nth(2) == Some("manifests")
}

/// Files that may be abandoned: those of uploads, each upload as a whole, and what registries died while writing.
struct Loose<'l> {
    uploads: FxHashMap<&'l str, &'l [LooseFile]>,
    temporary: FxHashSet<&'l str>,
}

impl<'l> Loose<'l> {
    fn of(world: &World<'l>) -> Self {
        let uploads = world.inventory.repositories.iter().flat_map(|repository| &repository.uploads);
        let files =
            uploads.flat_map(|one| one.files.iter().map(|file| (file.key.as_str(), one.files.as_slice())));
        let temporary = world.inventory.temporary.iter().map(|file| file.key.as_str());
        Self { uploads: files.collect(), temporary: temporary.collect() }
    }

    fn refuse(&self, files: &[LooseFile]) -> Option<String> {
        let named: FxHashSet<&str> = files.iter().map(|file| file.key.as_str()).collect();
        files.iter().find_map(|file| match self.uploads.get(file.key.as_str()) {
            Some(whole) => {
                let rest = whole.iter().find(|other| !named.contains(other.key.as_str()))?;
                Some(format!("{} belongs to an upload, and so does {}", file.key, rest.key))
            }
            None if self.temporary.contains(file.key.as_str()) => None,
            None => Some(format!("{} is neither of an upload nor a leftover", file.key)),
        })
    }
}

/// Validation: a tag goes for what it pointed to when that was decided. One that was moved since is another tag.
pub(super) fn unmoved(plan: &Plan, world: &World<'_>) -> Vec<Violation> {
    let mut listed: FxHashMap<(&RepositoryName, &TagName), Option<Digest>> = FxHashMap::default();
    for repository in &world.inventory.repositories {
        for tag in &repository.tags {
            let target = match tag.target {
                Target::Manifest(id) => Some(world.inventory.blobs.digest(id)),
                Target::Missing | Target::Corrupt(_) => None,
            };
            listed.insert((&repository.name, &tag.name), target);
        }
    }
    let mut found = Vec::new();
    for (step, one) in plan.steps.iter().enumerate() {
        if let Action::Untag { repository, tag, target, .. } = &one.action
            && listed.get(&(repository, tag)).is_some_and(|now| now != target)
        {
            found.push((step, format!("the tag {repository}:{tag} was moved since the plan was made")));
        }
    }
    found
}
