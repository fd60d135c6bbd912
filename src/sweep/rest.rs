//! What a step does beside removing what its intent names: writing links again, and removing directories.

use super::journal::{SavedBody, SavedLink};
use super::place::stop_at;
use super::step::Hand;
use super::trash;
use crate::layout::{Directory, Entry, distribution};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{Action, Step};
use crate::store::{Kind, StoreError};

const MAY_BE_FILLED: &str = "it changed within the grace, and a push may be about to fill it";

impl Hand<'_> {
    /// What a step does beside removing what its intent names. Why it is left, when it is.
    pub(super) fn rest(&self, step: &Step) -> Result<Option<String>, StoreError> {
        let store = self.store;
        match &step.action {
            Action::Untag { repository, tag, .. } => {
                self.remove_left(&Directory::Tag { repository: repository.as_str(), tag: tag.as_str() })
            }
            Action::DeleteManifest { repository, digest, .. } => {
                if self.youngest_directory.is_some() {
                    return Ok(None);
                }
                self.remove_left(&Directory::Revision { repository: repository.as_str(), digest: *digest })
            }
            Action::RemoveDirectory { key } => {
                if self.may_be_filled(key)? {
                    return Ok(Some(MAY_BE_FILLED.to_owned()));
                }
                let gone = self.remove_empty_tree(key)?;
                if gone && self.youngest_directory.is_none() {
                    trash::remove_empty_directories(store, trash::parent(key), stop_at(key))?;
                }
                Ok((!gone).then(|| "it is not empty any more".to_owned()))
            }
            Action::RemoveRepository { repository } => self.remove_repository(repository),
            Action::Purge { place, .. } => trash::purge(store, place).map(|()| None),
            Action::AbortUpload { upload } => trash::abort_upload(store, upload),
            Action::Relink { repository, digest } => self.relink(repository, digest),
            Action::RelinkManifest { repository, digest } => self.relink_manifest(repository, digest),
            Action::Retag { repository, tag, target } => self.retag(repository, tag, target),
            Action::Heal { digest, place, .. } => {
                let Some(key) = self.layout.key(&Entry::BlobData { digest: *digest }) else {
                    return Ok(None);
                };
                Ok(match trash::bring_back(store, &key, place)? {
                    trash::BroughtBack::Restored => None,
                    trash::BroughtBack::AlreadyThere => Some("it had been uploaded again".into()),
                    trash::BroughtBack::Lost => Some("it is not in the trash any more".into()),
                })
            }
            Action::Unlink { .. }
            | Action::Sweep { .. }
            | Action::Abandon { .. }
            | Action::Discard { .. }
            | Action::RunTask { .. } => Ok(None),
        }
    }

    /// Writes a missing layer link; one that is there by now is left.
    fn relink(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<String>, StoreError> {
        self.write_missing(&Entry::LayerLink { repository: repository.as_str(), digest: *digest }, digest)
    }

    fn relink_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        self.write_missing(&Entry::RevisionLink { repository: repository.as_str(), digest: *digest }, digest)
    }

    /// Writes a tag that is missing, its history first as the registry does.
    fn retag(
        &self,
        repository: &RepositoryName,
        tag: &TagName,
        target: &Digest,
    ) -> Result<Option<String>, StoreError> {
        let (name, tag) = (repository.as_str(), tag.as_str());
        self.write_missing(&Entry::TagHistory { repository: name, tag, digest: *target }, target)?;
        self.write_missing(&Entry::TagCurrent { repository: name, tag }, target)
    }

    /// Writes a link to `digest` where there is none, if the data is there.
    fn write_missing(&self, entry: &Entry<'_>, digest: &Digest) -> Result<Option<String>, StoreError> {
        let data = self.layout.key(&Entry::BlobData { digest: *digest });
        let (Some(key), Some(data)) = (self.layout.key(entry), data) else { return Ok(None) };
        if self.tree().stat(&data)?.is_none() {
            return Ok(Some("the blob is gone".into()));
        }
        let body = SavedBody::of(digest.to_string().into_bytes());
        let written = trash::write_link(self.store, &SavedLink { key, body, modified: self.now })?;
        Ok((!written).then(|| "it is there already".into()))
    }

    /// Whether a push may be about to fill what is empty below `key`.
    fn may_be_filled(&self, key: &str) -> Result<bool, StoreError> {
        let Some(youngest) = self.youngest_directory else { return Ok(false) };
        let Some(meta) = self.tree().stat(key)? else { return Ok(false) };
        if meta.changed > youngest {
            return Ok(true);
        }
        for (name, kind) in self.tree().list(key)?.map(|list| list.names).unwrap_or_default() {
            if kind == Kind::Directory && self.may_be_filled(&[key, "/", &name].concat())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the empty directories that older deletes left below `directory`, and itself when nothing is in it.
    fn remove_left(&self, directory: &Directory<'_>) -> Result<Option<String>, StoreError> {
        let Some(key) = self.layout.directory_key(directory) else { return Ok(None) };
        self.remove_empty_tree(&key)?;
        Ok(None)
    }

    /// Removes a tree that holds no file; `false` when it does.
    fn remove_empty_tree(&self, key: &str) -> Result<bool, StoreError> {
        let Some(list) = self.tree().list(key)? else { return Ok(true) };
        let mut empty = list.foreign.is_empty();
        for (name, kind) in list.names {
            let child = [key, "/", &name].concat();
            empty &= kind == Kind::Directory && self.remove_empty_tree(&child)?;
        }
        if empty {
            trash::remove_empty_directories(self.store, key, trash::parent(key))?;
        }
        Ok(empty)
    }

    fn remove_repository(&self, repository: &RepositoryName) -> Result<Option<String>, StoreError> {
        let root = distribution::repository(repository.as_str());
        if self.may_be_filled(&root)? {
            return Ok(Some(MAY_BE_FILLED.to_owned()));
        }
        let mut empty = true;
        // `_manifests` before `_layers`: 3.x cannot enumerate a repository that has the first without the second.
        for part in ["_uploads", "_manifests", "_layers"] {
            empty = empty && self.remove_empty_tree(&[&root, "/", part].concat())?;
        }
        if !empty {
            return Ok(Some("it is not empty any more".into()));
        }
        // Another repository may live below it, or beside it in the same namespace: then its directory stays.
        trash::remove_empty_directories(self.store, &root, distribution::repositories_root())?;
        Ok(None)
    }
}
