//! One step: looked at, recorded, carried out.

use jiff::Timestamp;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::journal::{Intent, Moved, Outcome, SavedBody, SavedLink};
use super::look::{self, Seen};
use super::place::{blob_place, stop_at};
use super::trash;
use crate::inventory::LooseFile;
use crate::layout::{Entry, RegistryLayout};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{Action, Step};
use crate::store::{Bucket, Kind, Meta, STATE_DIRECTORY, StoreError, Tree, WriteStore};

/// What stands in the place of a link is saved whole in the journal up to this size; anything longer is left alone.
const MAX_LINK_BYTES: u64 = 1 << 20;

/// Why a step is left that somebody else has taken: nothing that came after it can be needed for that.
pub(super) const GONE: &str = "it is gone already";

/// What carrying out steps needs.
pub(super) struct Hand<'h> {
    pub(super) store: &'h WriteStore,
    pub(super) layout: &'h dyn RegistryLayout,
    pub(super) run: &'h str,
    /// The moment that a link written again is given.
    pub(super) now: Timestamp,
    pub(super) keep_trash: bool,
    pub(super) fencing: u64,
    /// While a registry serves, a directory younger than this may be about to be filled by a push: it stays.
    pub(super) youngest_directory: Option<Timestamp>,
}

/// Why a step is not begun.
enum Leave {
    Skip(String),
    Fail(String),
}

impl From<StoreError> for Leave {
    fn from(error: StoreError) -> Self {
        Self::Fail(error.with_cause())
    }
}

type Prepared = Result<Intent, Leave>;

impl Hand<'_> {
    pub(super) fn tree(&self) -> &Tree {
        self.store.read().tree()
    }

    /// Looks at the data and the links that go with the steps, as far as they can be seen together.
    pub(super) fn look<'s>(&self, steps: impl Iterator<Item = &'s Step>) -> Seen {
        let Tree::Bucket(bucket) = self.tree() else { return Seen::default() };
        let entries = steps.flat_map(|step| look::entries(&step.action));
        look::look(bucket, entries.filter_map(|entry| self.layout.key(&entry)).collect())
    }

    /// Looks at what the step is about, unless it was seen just now, and gathers what undoing it needs.
    pub(super) fn prepare(&self, index: usize, step: &Step, seen: &Seen) -> Result<Intent, Outcome> {
        let intent = Intent { step: index, fencing: self.fencing, links: Vec::new(), data: Vec::new() };
        let changed = step.evidence.changed;
        let prepared = match &step.action {
            Action::Untag { repository, tag, target, history } => {
                self.prepare_untag(intent, repository, tag, target.as_ref(), history, seen)
            }
            Action::DeleteManifest { repository, digest, histories, signatures } => {
                let about = (repository, digest);
                self.prepare_manifest(intent, about, histories, signatures, changed, seen)
            }
            Action::Unlink { repository, digest } => {
                let entry = Entry::LayerLink { repository: repository.as_str(), digest: *digest };
                self.key(&entry).and_then(|key| self.save(intent, (&key, digest), changed, seen))
            }
            Action::Sweep { digest, size, manifest } => {
                self.prepare_sweep(intent, digest, *size, *manifest, changed, seen)
            }
            Action::Abandon { files } => self.prepare_files(intent, files, false),
            Action::Discard { files } => self.prepare_files(intent, files, true),
            Action::RemoveDirectory { .. }
            | Action::RemoveRepository { .. }
            | Action::Purge { .. }
            | Action::Heal { .. }
            | Action::AbortUpload { .. }
            | Action::RunTask { .. }
            | Action::Relink { .. }
            | Action::RelinkManifest { .. }
            | Action::Retag { .. } => Ok(intent),
        };
        prepared.map_err(|leave| match leave {
            Leave::Skip(why) => Outcome::Skipped(why),
            Leave::Fail(why) => Outcome::Failed(why),
        })
    }

    fn key(&self, entry: &Entry<'_>) -> Result<String, Leave> {
        self.layout.key(entry).ok_or_else(|| Leave::Fail("the layout has no key for it".into()))
    }

    /// A link as it is now: as it was seen just now if that says what it holds, read otherwise.
    fn link(&self, key: &str, digest: &Digest, seen: &Seen) -> Result<Option<(Vec<u8>, Meta)>, StoreError> {
        match look::link(seen, key, digest) {
            Some(known) => Ok(Some(known)),
            None => self.tree().read(key, MAX_LINK_BYTES),
        }
    }

    /// Adds a link that is thought to be one to a digest, unless it changed since it was planned.
    fn save(
        &self,
        mut intent: Intent,
        (key, digest): (&str, &Digest),
        planned: Option<Timestamp>,
        seen: &Seen,
    ) -> Prepared {
        match self.link(key, digest, seen)? {
            None => Err(Leave::Skip(GONE.into())),
            Some((_, meta)) if planned.is_some_and(|planned| meta.changed > planned) => {
                Err(Leave::Skip("it was written again since it was listed".into()))
            }
            Some((body, meta)) => {
                let body = SavedBody::of(body);
                intent.links.push(SavedLink { key: key.to_owned(), body, modified: meta.modified });
                Ok(intent)
            }
        }
    }

    fn prepare_untag(
        &self,
        intent: Intent,
        repository: &RepositoryName,
        tag: &TagName,
        target: Option<&Digest>,
        history: &[Digest],
        seen: &Seen,
    ) -> Prepared {
        let (name, tag) = (repository.as_str(), tag.as_str());
        let mut intent = intent;
        let current = self.key(&Entry::TagCurrent { repository: name, tag })?;
        let found = match target {
            Some(target) => self.link(&current, target, seen)?,
            None => self.tree().read(&current, MAX_LINK_BYTES)?,
        };
        match (found, target) {
            (Some((body, meta)), Some(target)) if body == target.to_string().as_bytes() => {
                intent.links.push(SavedLink {
                    key: current,
                    body: SavedBody::of(body),
                    modified: meta.modified,
                });
            }
            (None, None) => {}
            (None, Some(_)) => return Err(Leave::Skip(GONE.into())),
            (Some(_), _) => return Err(Leave::Skip("the tag was moved since it was listed".into())),
        }
        for digest in history {
            let key = self.key(&Entry::TagHistory { repository: name, tag, digest: *digest })?;
            intent = self.save_if_there(intent, key, digest, seen)?;
        }
        Ok(intent)
    }

    fn save_if_there(&self, mut intent: Intent, key: String, digest: &Digest, seen: &Seen) -> Prepared {
        if let Some((body, meta)) = self.link(&key, digest, seen)? {
            intent.links.push(SavedLink { key, body: SavedBody::of(body), modified: meta.modified });
        }
        Ok(intent)
    }

    fn prepare_manifest(
        &self,
        intent: Intent,
        (repository, digest): (&RepositoryName, &Digest),
        histories: &[TagName],
        signatures: &[Digest],
        changed: Option<Timestamp>,
        seen: &Seen,
    ) -> Prepared {
        let name = repository.as_str();
        let key = self.key(&Entry::RevisionLink { repository: name, digest: *digest })?;
        let mut intent = self.save(intent, (&key, digest), changed, seen)?;
        for tag in histories {
            let current = self.key(&Entry::TagCurrent { repository: name, tag: tag.as_str() })?;
            let points_here = self
                .tree()
                .read(&current, MAX_LINK_BYTES)?
                .is_some_and(|(body, _)| body == digest.to_string().as_bytes());
            if points_here {
                return Err(Leave::Skip(format!("the tag {tag} was moved to it since it was listed")));
            }
            let key =
                self.key(&Entry::TagHistory { repository: name, tag: tag.as_str(), digest: *digest })?;
            intent = self.save_if_there(intent, key, digest, seen)?;
        }
        for signature in signatures {
            let entry = Entry::RevisionSignature { repository: name, digest: *digest, signature: *signature };
            let key = self.key(&entry)?;
            intent = self.save_if_there(intent, key, signature, seen)?;
        }
        Ok(intent)
    }

    fn prepare_sweep(
        &self,
        mut intent: Intent,
        digest: &Digest,
        size: u64,
        manifest: bool,
        changed: Option<Timestamp>,
        seen: &Seen,
    ) -> Prepared {
        let key = self.key(&Entry::BlobData { digest: *digest })?;
        let seen = seen.get(&key).copied();
        let Some(meta) = seen.map_or_else(|| self.tree().stat(&key), |meta| Ok(Some(meta)))? else {
            return Err(Leave::Skip(GONE.into()));
        };
        if meta.kind != Kind::File {
            return Err(Leave::Skip("it is not a regular file".into()));
        }
        // The table keeps whole seconds.
        let newer = changed.is_some_and(|changed| meta.changed.as_second() > changed.as_second());
        if newer || meta.size != size {
            return Err(Leave::Skip("it was written again since it was listed".into()));
        }
        if let (true, Tree::Bucket(bucket)) = (self.keep_trash, self.tree())
            && let Some(limit) = bucket.largest_copy()
            && size > limit
        {
            return Err(Leave::Skip(format!(
                "it has {size} bytes and this store copies at most {limit} with a key of the customer's, so it cannot be put \
                 in the trash; with trash: {{ keep: 0 }} in the policy it is deleted"
            )));
        }
        let place = self.keep_trash.then(|| blob_place(self.run, digest, manifest));
        intent.data.push(Moved { key, place, size, md5: meta.md5 });
        Ok(intent)
    }

    /// Files that go as they were listed, where `whole` says so all of them or none.
    fn prepare_files(&self, mut intent: Intent, files: &[LooseFile], whole: bool) -> Prepared {
        for file in files {
            let Some(meta) = self.tree().stat(&file.key)? else {
                if whole {
                    return Err(Leave::Skip(GONE.into()));
                }
                continue;
            };
            if meta.changed > file.changed || meta.size != file.size || meta.kind != Kind::File {
                return Err(Leave::Skip("it was written again since it was listed".into()));
            }
            let place = self.keep_trash.then(|| format!("{}/{}/files/{}", trash::TRASH, self.run, file.key));
            intent.data.push(Moved { key: file.key.clone(), place, size: meta.size, md5: meta.md5 });
        }
        Ok(intent)
    }

    /// Carries many steps out, side by side on the threads of the current pool.
    pub(super) fn perform_all(&self, steps: &[Step], intents: &[Intent]) -> Vec<(usize, Outcome)> {
        match self.tree() {
            Tree::Directory(_) => intents
                .par_iter()
                .map(|intent| (intent.step, self.perform(&steps[intent.step], intent)))
                .collect(),
            Tree::Bucket(bucket) => self.perform_in_bucket(bucket, steps, intents),
        }
    }

    /// What goes to the trash is copied first; then everything that is to go is removed in the store's largest batches.
    fn perform_in_bucket(
        &self,
        bucket: &Bucket,
        steps: &[Step],
        intents: &[Intent],
    ) -> Vec<(usize, Outcome)> {
        let copied = trash::copy_all_to_trash(bucket, intents);
        let ready = intents.iter().zip(&copied).filter(|(_, copied)| copied.is_ok());
        let mut keys: Vec<(usize, &str)> = Vec::new();
        let mut later: Vec<(usize, &SavedLink)> = Vec::new();
        let mut places: Vec<(usize, String)> = Vec::new();
        for (intent, _) in ready {
            let (now, last) = self.in_order(&steps[intent.step], intent);
            keys.extend(now.iter().map(|link| (intent.step, link.key.as_str())));
            keys.extend(intent.data.iter().map(|moved| (intent.step, moved.key.as_str())));
            later.extend(last.iter().map(|link| (intent.step, link)));
            if let Action::Purge { place, .. } = &steps[intent.step].action {
                places.push((intent.step, format!("{STATE_DIRECTORY}/{place}")));
            }
        }
        keys.extend(places.iter().map(|(step, place)| (*step, place.as_str())));
        let mut failed: FxHashMap<usize, String> = FxHashMap::default();
        let mut remove = |keys: Vec<(usize, &str)>| {
            let names: Vec<&str> = keys.iter().map(|(_, key)| *key).collect();
            for ((step, _), removed) in keys.iter().zip(trash::remove_objects(bucket, &names)) {
                if let Err(error) = removed {
                    failed.entry(*step).or_insert_with(|| error.with_cause());
                }
            }
        };
        remove(keys);
        // One that cannot be looked at stays: the tag has gone, and its history means nothing without it.
        let old: Vec<bool> =
            later.par_iter().map(|(_, link)| self.is_settled(link).unwrap_or(false)).collect();
        let later = later.into_iter().zip(old).filter(|(_, old)| *old);
        remove(later.map(|((step, link), _)| (step, link.key.as_str())).collect());
        intents
            .par_iter()
            .zip(copied)
            .map(|(intent, copied)| {
                let outcome = match (copied, failed.get(&intent.step), &steps[intent.step].action) {
                    (Err(error), _, _) => Outcome::Failed(error.with_cause()),
                    (_, Some(why), _) => Outcome::Failed(why.clone()),
                    (_, _, Action::Purge { .. }) => Outcome::Done,
                    (_, _, _) => outcome(self.rest(&steps[intent.step])),
                };
                (intent.step, outcome)
            })
            .collect()
    }

    /// Carries the step out.
    pub(super) fn perform(&self, step: &Step, intent: &Intent) -> Outcome {
        match self.remove(step, intent) {
            Ok(()) => self.finish(step, intent),
            Err(error) => Outcome::Failed(error.with_cause()),
        }
    }

    /// What is left to do of a step whose files have gone.
    pub(super) fn finish(&self, step: &Step, intent: &Intent) -> Outcome {
        outcome(self.tidy(intent).and_then(|()| self.rest(step)))
    }

    /// The links that go at once, and those that are looked at once more when these have gone: beside a registry that
    /// serves, the history of a tag.
    ///
    /// A push writes the entry in the history right before the tag. So when the tag has gone and an entry is old, a push
    /// that is going on writes both after that; and one that had written the tag before has left a young entry, which
    /// stays and tells of it.
    fn in_order<'i>(&self, step: &Step, intent: &'i Intent) -> (&'i [SavedLink], &'i [SavedLink]) {
        let current = |link: &SavedLink| matches!(self.layout.classify(&link.key), Entry::TagCurrent { .. });
        match (&step.action, self.youngest_directory) {
            (Action::Untag { .. }, Some(_)) => {
                intent.links.split_at(usize::from(intent.links.first().is_some_and(current)))
            }
            _ => (&intent.links, &[]),
        }
    }

    /// Whether a link has not been written within the grace.
    fn is_settled(&self, link: &SavedLink) -> Result<bool, StoreError> {
        let youngest = self.youngest_directory;
        Ok(self.tree().stat(&link.key)?.is_some_and(|meta| youngest.is_none_or(|at| meta.changed <= at)))
    }

    /// Removes the links and data that the intent names.
    fn remove(&self, step: &Step, intent: &Intent) -> Result<(), StoreError> {
        let store = self.store;
        let (now, later) = self.in_order(step, intent);
        for link in now {
            trash::remove_file(store, &link.key)?;
        }
        for link in later {
            if self.is_settled(link)? {
                trash::remove_file(store, &link.key)?;
            }
        }
        for moved in &intent.data {
            trash::discard(store, moved)?;
        }
        Ok(())
    }

    /// Removes the directories that the intent's files have left empty.
    fn tidy(&self, intent: &Intent) -> Result<(), StoreError> {
        let keys =
            intent.links.iter().map(|link| &link.key).chain(intent.data.iter().map(|moved| &moved.key));
        for key in keys {
            // A tag is listed for as long as it has a directory. The others can wait until no push needs them.
            if self.youngest_directory.is_none() || stop_at(key).ends_with("/_manifests/tags") {
                trash::remove_empty_directories(self.store, trash::parent(key), stop_at(key))?;
            }
        }
        Ok(())
    }
}

fn outcome(effect: Result<Option<String>, StoreError>) -> Outcome {
    match effect {
        Ok(None) => Outcome::Done,
        Ok(Some(why)) => Outcome::Skipped(why),
        Err(error) => Outcome::Failed(error.with_cause()),
    }
}
