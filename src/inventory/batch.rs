//! What the parts of a store say, made ready for the table by whoever reads them.

use super::LooseFile;
use super::scan::join;
use crate::layout::{Directory, Entry, RegistryLayout, distribution};
use crate::oci::Digest;
use crate::store::{Kind, Meta};

/// What one directory or page said, made ready without holding the lock on the table.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
}

pub(super) enum Record {
    Part { repository: Box<str>, part: &'static str },
    Blob { digest: Digest, meta: Option<Meta> },
    Revision { repository: Box<str>, digest: Digest, meta: Option<Meta> },
    Tag { repository: Box<str>, tag: Box<str>, meta: Option<Meta> },
    History { repository: Box<str>, tag: Box<str>, digest: Digest, size: u64 },
    Layer { repository: Box<str>, digest: Digest, meta: Option<Meta> },
    Signature { repository: Box<str>, digest: Digest, signature: Digest, size: u64 },
    Upload { repository: Box<str>, id: Box<str> },
    UploadFile { repository: Box<str>, id: Box<str>, file: LooseFile },
    Temporary(LooseFile),
    Foreign { key: String, size: u64 },
    OwnState { key: String, size: u64 },
    Scheduler { key: String, size: u64 },
    Gap { repository: Option<Box<str>>, key: String, why: String },
}

impl Batch {
    pub(super) fn part(&mut self, key: &str) {
        if let Some((parent, part @ ("_layers" | "_manifests" | "_uploads"))) = key.rsplit_once('/') {
            let repository =
                parent.strip_prefix(distribution::repositories_root()).and_then(|r| r.strip_prefix('/'));
            if let Some(repository) = repository {
                let part = match part {
                    "_layers" => "_layers",
                    "_manifests" => "_manifests",
                    _ => "_uploads",
                };
                self.records.push(Record::Part { repository: repository.into(), part });
            }
        }
    }

    /// A directory whose name says all that the mark needs.
    pub(super) fn directory(&mut self, directory: Directory<'_>, key: &str) {
        self.records.push(match directory {
            Directory::Blob { digest } => Record::Blob { digest, meta: None },
            Directory::Revision { repository, digest } => {
                Record::Revision { repository: repository.into(), digest, meta: None }
            }
            Directory::Tag { repository, tag } => {
                Record::Tag { repository: repository.into(), tag: tag.into(), meta: None }
            }
            Directory::LayerLink { repository, digest } => {
                Record::Layer { repository: repository.into(), digest, meta: None }
            }
            Directory::UnknownDigest { repository, .. } => unknown_digest(repository, key),
            Directory::Foreign(_) => Record::Foreign { key: key.to_owned(), size: 0 },
            Directory::Open | Directory::Upload { .. } | Directory::OwnState => return,
        });
    }

    /// A leaf that is read whole all the same, noted first, so that one without a link is not overlooked.
    pub(super) fn leaf_seen(&mut self, directory: Directory<'_>, key: &str) {
        match directory {
            Directory::Blob { .. } | Directory::LayerLink { .. } | Directory::Foreign(_) => {}
            Directory::Upload { repository, upload } => {
                self.records.push(Record::Upload { repository: repository.into(), id: upload.into() });
            }
            other => self.directory(other, key),
        }
    }

    pub(super) fn file(&mut self, layout: &dyn RegistryLayout, key: &str, meta: Meta) {
        let loose = || LooseFile {
            key: key.to_owned(),
            size: meta.size,
            modified: meta.modified,
            changed: meta.changed,
        };
        let meta_of = Some(meta);
        let record = match layout.classify(key) {
            Entry::BlobData { digest } => Record::Blob { digest, meta: meta_of },
            Entry::RevisionLink { repository, digest } => {
                Record::Revision { repository: repository.into(), digest, meta: meta_of }
            }
            Entry::RevisionSignature { repository, digest, signature } => {
                Record::Signature { repository: repository.into(), digest, signature, size: meta.size }
            }
            Entry::TagCurrent { repository, tag } => {
                Record::Tag { repository: repository.into(), tag: tag.into(), meta: meta_of }
            }
            Entry::TagHistory { repository, tag, digest } => {
                Record::History { repository: repository.into(), tag: tag.into(), digest, size: meta.size }
            }
            Entry::LayerLink { repository, digest } => {
                Record::Layer { repository: repository.into(), digest, meta: meta_of }
            }
            Entry::UploadPart { repository, upload, .. } => {
                Record::UploadFile { repository: repository.into(), id: upload.into(), file: loose() }
            }
            Entry::Temporary { .. } => Record::Temporary(loose()),
            Entry::UnknownDigest { repository, .. } => {
                self.records.push(unknown_digest(repository, key));
                Record::Foreign { key: key.to_owned(), size: meta.size }
            }
            Entry::SchedulerState => Record::Scheduler { key: key.to_owned(), size: meta.size },
            Entry::OwnState => Record::OwnState { key: key.to_owned(), size: meta.size },
            // A store that is walked for links holds no records.
            Entry::Asset(_)
            | Entry::Staged
            | Entry::Bookkeeping
            | Entry::FolderMarker
            | Entry::Foreign(_) => Record::Foreign { key: key.to_owned(), size: meta.size },
        };
        self.records.push(record);
    }

    /// A symbolic link, socket or device. A link that stands where the registry would walk may hide a repository.
    pub(super) fn stranger(&mut self, key: &str, kind: Kind) {
        if kind == Kind::Symlink && may_hide_references(key) {
            self.records.push(Record::Gap {
                repository: None,
                key: key.to_owned(),
                why: "a symbolic link, which is not followed; the registry may find a repository behind it. \
                      Put a bind mount in its place, or move the data"
                    .into(),
            });
        }
        self.records.push(Record::Foreign { key: key.to_owned(), size: 0 });
    }

    pub(super) fn not_utf8(&mut self, parent: &str, names: &[(String, Kind, u64)]) {
        for (name, kind, size) in names {
            let key = join(parent, name);
            if *kind == Kind::Directory && may_hide_references(&key) {
                self.records.push(Record::Gap {
                    repository: None,
                    key: key.clone(),
                    why: "a directory whose name is not UTF-8; no registry writes one. Rename or remove it"
                        .into(),
                });
            }
            self.records.push(Record::Foreign { key, size: *size });
        }
    }
}

fn may_hide_references(key: &str) -> bool {
    let repositories = distribution::repositories_root();
    key.starts_with(repositories) || repositories.starts_with(key)
}

pub(super) fn denied(key: &str) -> Record {
    let why = "this user may not list it, so what it refers to is not known: give read permission".into();
    Record::Gap { repository: None, key: key.to_owned(), why }
}

fn unknown_digest(repository: Option<&str>, key: &str) -> Record {
    Record::Gap {
        repository: repository.map(Into::into),
        key: key.to_owned(),
        why: "not a sha256 or sha512 digest: what it means is not known, so everything it may need is kept"
            .into(),
    }
}
