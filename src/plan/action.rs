//! What a step does.

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, RepositoryName, TagName};

/// What a step does. Each names what it removes, never how to find it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Removes a tag: its current link and its history.
    Untag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: TagName,
        /// What it points to; the step is skipped when it points elsewhere by then.
        target: Option<Digest>,
        /// Its history.
        history: Vec<Digest>,
    },
    /// Removes a manifest from a repository: its link, and what the histories of other tags say of it.
    DeleteManifest {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
        /// Tags that stay and once pointed to it.
        histories: Vec<TagName>,
        /// Signature links below it (registry 2.4 and earlier).
        signatures: Vec<Digest>,
    },
    /// Removes a layer link from a repository.
    Unlink {
        /// The repository.
        repository: RepositoryName,
        /// The blob, or an alias of one.
        digest: Digest,
    },
    /// Removes the data of a blob.
    Sweep {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// Whether it was a manifest: those stay ten times longer in the trash.
        manifest: bool,
    },
    /// Removes a directory of the layout that holds no file, and its empty parents inside the repository.
    RemoveDirectory {
        /// The directory's key.
        key: String,
    },
    /// Removes what is left of a repository that has no tag, manifest, layer or upload.
    RemoveRepository {
        /// The repository.
        repository: RepositoryName,
    },
    /// Removes an abandoned upload, or a file that a registry died while writing.
    Abandon {
        /// Its files.
        files: Vec<crate::inventory::LooseFile>,
    },
    /// Removes a blob with its record that the database of the repository manager does not know.
    Discard {
        /// Its files, the record first.
        files: Vec<crate::inventory::LooseFile>,
    },
    /// Starts a task of the repository manager, which lets go of what nothing needs any more: that cannot be undone.
    RunTask {
        /// Its id.
        task: String,
        /// Its name.
        name: String,
        /// Its type.
        kind: String,
    },
    /// Gives up an upload in parts that nobody finished, with its parts: that cannot be undone.
    AbortUpload {
        /// The upload.
        upload: crate::store::MultipartUpload,
    },
    /// Deletes something from the trash for good.
    Purge {
        /// The run that put it there.
        run: String,
        /// Its place in the trash.
        place: String,
        /// The blob, when it is one: it must not be needed and missing.
        digest: Option<Digest>,
        /// Its size in bytes.
        size: u64,
    },
    /// Writes a layer link that a manifest needs and that is missing, although the blob is there.
    Relink {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// Writes the link of a manifest that a recent run took and that something in its repository needs by now.
    RelinkManifest {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
    },
    /// Writes a tag that a recent run took while somebody was pushing it.
    Retag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: TagName,
        /// What was pushed.
        target: Digest,
    },
    /// Brings a blob back from the trash: something needs it, and it is missing.
    Heal {
        /// The run that put it there.
        run: String,
        /// Its place in the trash.
        place: String,
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
}

impl Action {
    /// The place in the order. What comes back goes before what refers to it; then references go before what they refer
    /// to; purging comes last.
    pub fn stage(&self) -> u8 {
        match self {
            Self::Heal { .. } => 0,
            Self::Relink { .. } => 1,
            Self::RelinkManifest { .. } => 2,
            Self::Retag { .. } => 3,
            Self::Untag { .. } => 4,
            Self::DeleteManifest { .. } => 5,
            Self::Unlink { .. } => 6,
            Self::Sweep { .. } => 7,
            // An upload that goes may be the last thing in a repository that goes.
            Self::Abandon { .. } | Self::Discard { .. } | Self::AbortUpload { .. } => 8,
            Self::RemoveDirectory { .. } => 9,
            Self::RemoveRepository { .. } => 10,
            Self::Purge { .. } => 11,
            // What was deleted through the interface is what they are about.
            Self::RunTask { .. } => 12,
        }
    }

    /// Whether it only brings something back.
    pub fn gives_back(&self) -> bool {
        matches!(
            self,
            Self::Heal { .. } | Self::Relink { .. } | Self::RelinkManifest { .. } | Self::Retag { .. }
        )
    }

    /// The name of the kind of step, as plan files write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Untag { .. } => "untag",
            Self::DeleteManifest { .. } => "delete-manifest",
            Self::Unlink { .. } => "unlink",
            Self::Sweep { .. } => "sweep",
            Self::RemoveDirectory { .. } => "remove-directory",
            Self::RemoveRepository { .. } => "remove-repository",
            Self::Abandon { .. } => "abandon",
            Self::Discard { .. } => "discard",
            Self::AbortUpload { .. } => "abort-upload",
            Self::RunTask { .. } => "run-task",
            Self::Purge { .. } => "purge",
            Self::Heal { .. } => "heal",
            Self::Relink { .. } => "relink",
            Self::RelinkManifest { .. } => "relink-manifest",
            Self::Retag { .. } => "retag",
        }
    }

    /// Bytes of data that it frees, now or when the trash is purged.
    pub fn frees(&self) -> u64 {
        match self {
            Self::Sweep { size, .. } => *size,
            Self::Abandon { files } | Self::Discard { files } => files.iter().map(|file| file.size).sum(),
            _ => 0,
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name();
        match self {
            Self::Untag { repository, tag, .. } | Self::Retag { repository, tag, .. } => {
                write!(f, "{name} {repository}:{tag}")
            }
            Self::DeleteManifest { repository, digest, .. }
            | Self::Unlink { repository, digest }
            | Self::Relink { repository, digest }
            | Self::RelinkManifest { repository, digest } => {
                write!(f, "{name} {repository}@{digest}")
            }
            Self::Sweep { digest, .. } | Self::Heal { digest, .. } => write!(f, "{name} {digest}"),
            Self::RemoveDirectory { key } => write!(f, "{name} {key}"),
            Self::RemoveRepository { repository } => write!(f, "{name} {repository}"),
            Self::Abandon { files } | Self::Discard { files } => {
                write!(f, "{name} {}", files.first().map_or("nothing", |file| file.key.as_str()))
            }
            Self::AbortUpload { upload } => write!(f, "{name} {} ({})", upload.key, upload.id),
            Self::Purge { place, .. } => write!(f, "{name} {place}"),
            Self::RunTask { name: called, kind, .. } => write!(f, "{name} {called} ({kind})"),
        }
    }
}
