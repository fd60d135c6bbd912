//! What the scanner saw, put together by repository.

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::batch::{Batch, Record};
use super::scan::Options;
use super::{
    Alias, BlobId, BlobTable, Depth, Gap, History, Inventory, LayerLink, Link, LooseFile, Parts, Repository,
    Revision, Tag, Tally, Target, Upload,
};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::Meta;

/// Everything recorded so far, by repository.
#[derive(Default)]
pub(super) struct Recorder {
    blobs: BlobTable,
    repositories: FxHashMap<Box<str>, Draft>,
    temporary: Vec<LooseFile>,
    signature_links: Tally,
    foreign: Tally,
    own_state: Tally,
    pull_through_cache: bool,
    gaps: Vec<Gap>,
    directories: u64,
}

#[derive(Default)]
struct Draft {
    parts: Parts,
    tags: FxHashMap<Box<str>, DraftTag>,
    revisions: FxHashMap<BlobId, Revision>,
    layers: Vec<LayerLink>,
    aliases: Vec<Alias>,
    signatures: Vec<(BlobId, BlobId)>,
    uploads: FxHashMap<Box<str>, Vec<LooseFile>>,
}

#[derive(Default)]
struct DraftTag {
    meta: Option<Meta>,
    history: Vec<History>,
}

impl Recorder {
    pub(super) fn take(&mut self, batch: Batch) {
        self.directories += 1;
        for record in batch.records {
            self.add(record);
        }
    }

    fn draft(&mut self, repository: Box<str>) -> &mut Draft {
        self.repositories.entry(repository).or_default()
    }

    fn add(&mut self, record: Record) {
        match record {
            Record::Part { repository, part } => {
                let parts = &mut self.draft(repository).parts;
                match part {
                    "_layers" => parts.layers = true,
                    "_manifests" => parts.manifests = true,
                    _ => parts.uploads = true,
                }
            }
            Record::Blob { digest, meta } => {
                let id = self.blobs.intern(&digest);
                self.blobs.set_present(id, true);
                if let Some(meta) = meta {
                    self.blobs.measure(id, meta.size, meta.changed);
                }
            }
            Record::Revision { repository, digest, meta } => {
                let id = self.blobs.intern(&digest);
                let found = self.draft(repository).revisions.entry(id).or_insert(Revision {
                    digest: id,
                    link: Link::Missing,
                    pushed: None,
                    changed: None,
                });
                if let Some(meta) = meta {
                    found.link = link_state(&digest, meta.size);
                    found.pushed = Some(meta.modified);
                    found.changed = Some(meta.changed);
                }
            }
            Record::Tag { repository, tag, meta } => {
                let found = self.draft(repository).tags.entry(tag).or_default();
                found.meta = meta.or(found.meta);
            }
            Record::History { repository, tag, digest, size } => {
                let digest = self.blobs.intern(&digest);
                let found = self.draft(repository).tags.entry(tag).or_default();
                found.history.push(History { digest, size: Some(size) });
            }
            Record::Layer { repository, digest, meta } => self.add_layer(repository, digest, meta),
            Record::Signature { repository, digest, signature, size } => {
                self.signature_links.add("", size);
                let pair = (self.blobs.intern(&digest), self.blobs.intern(&signature));
                self.draft(repository).signatures.push(pair);
            }
            Record::Upload { repository, id } => {
                self.draft(repository).uploads.entry(id).or_default();
            }
            Record::UploadFile { repository, id, file } => {
                self.draft(repository).uploads.entry(id).or_default().push(file);
            }
            Record::Temporary(file) => self.temporary.push(file),
            Record::Foreign { key, size } => self.foreign.add(&key, size),
            Record::OwnState { key, size } => self.own_state.add(&key, size),
            Record::Scheduler { key, size } => {
                self.pull_through_cache = true;
                self.foreign.add(&key, size);
            }
            Record::Gap { repository, key, why } => {
                let repository = repository.and_then(|name| RepositoryName::found(&name).ok());
                self.gaps.push(Gap { repository, key, why });
            }
        }
    }

    fn add_layer(&mut self, repository: Box<str>, digest: Digest, meta: Option<Meta>) {
        let id = self.blobs.intern(&digest);
        let draft = self.draft(repository);
        if matches!(digest, Digest::Sha256(_)) {
            let link = meta.map_or(Link::Unknown, |meta| link_state(&digest, meta.size));
            draft.layers.push(LayerLink::new(id, link, meta.map(|meta| meta.changed)));
        } else {
            draft.aliases.push(Alias {
                alias: id,
                target: None,
                size: meta.map_or(0, |meta| meta.size),
                changed: meta.map(|meta| meta.changed),
            });
        }
    }

    /// Order never depends on which thread was first.
    pub(super) fn sort(&mut self) {
        self.gaps.sort_by(|a, b| a.key.cmp(&b.key));
        self.temporary.sort_by(|a, b| a.key.cmp(&b.key));
        self.temporary.dedup_by(|a, b| a.key == b.key);
        self.foreign.examples.sort();
        self.own_state.examples.sort();
    }

    pub(super) fn into_inventory(self, options: Options) -> Inventory {
        let Self {
            blobs,
            repositories,
            temporary,
            signature_links,
            foreign,
            own_state,
            pull_through_cache,
            gaps,
            directories,
        } = self;
        let depth = options.depth;
        // The layout gives only names that can be held; one that cannot would hide what it needs.
        let mut gaps = gaps;
        let mut named = Vec::with_capacity(repositories.len());
        for (name, draft) in repositories {
            match RepositoryName::found(&name) {
                Ok(name) => named.push((name, draft)),
                Err(error) => gaps.push(Gap { repository: None, key: name.into(), why: error.to_string() }),
            }
        }
        let mut repositories: Vec<Repository> =
            named.into_par_iter().map(|(name, draft)| draft.finish(name, depth, &blobs)).collect();
        repositories.sort_by(|a, b| a.name.cmp(&b.name));
        Inventory {
            depth,
            listed_at: options.now,
            blobs,
            repositories,
            manifests: FxHashMap::default(),
            created: FxHashMap::default(),
            gaps,
            temporary,
            signature_links,
            foreign,
            own_state,
            pull_through_cache,
            beside: None,
            directories,
            assets: None,
        }
    }
}

impl Draft {
    fn finish(self, name: RepositoryName, depth: Depth, blobs: &BlobTable) -> Repository {
        let mut pinned = false;
        let mut tags: Vec<Tag> = self
            .tags
            .into_iter()
            .filter_map(|(tag, mut draft)| {
                draft.history.sort_by_key(|entry| blobs.digest(entry.digest));
                draft.history.dedup_by_key(|entry| entry.digest);
                let Ok(name) = TagName::found(&tag) else {
                    pinned = true;
                    return None;
                };
                Some(Tag {
                    name,
                    target: Target::Missing,
                    tagged: draft.meta.map(|meta| meta.modified),
                    changed: draft.meta.map(|meta| meta.changed),
                    size: draft.meta.map_or(0, |meta| meta.size),
                    md5: draft.meta.and_then(|meta| meta.md5),
                    history: (depth == Depth::Everything).then_some(draft.history),
                })
            })
            .collect();
        tags.sort_by(|a, b| a.name.cmp(&b.name));
        let mut revisions: Vec<Revision> = self.revisions.into_values().collect();
        revisions.sort_by_key(|revision| blobs.digest(revision.digest));
        let mut layers = self.layers;
        layers.sort_by_key(|layer| blobs.digest(layer.digest));
        // A bucket's listing may tell of a key twice.
        layers.dedup_by_key(|layer| layer.digest);
        let mut aliases = self.aliases;
        aliases.sort_by_key(|alias| blobs.digest(alias.alias));
        aliases.dedup_by_key(|alias| alias.alias);
        let mut uploads: Vec<Upload> = self
            .uploads
            .into_iter()
            .map(|(id, mut files)| {
                files.sort_by(|a, b| a.key.cmp(&b.key));
                files.dedup_by(|a, b| a.key == b.key);
                Upload { id: id.into(), files }
            })
            .collect();
        uploads.sort_by(|a, b| a.id.cmp(&b.id));
        Repository {
            name,
            tags,
            revisions,
            layers,
            aliases,
            signatures: self.signatures,
            uploads,
            parts: self.parts,
            pinned,
        }
    }
}

/// A link holds its digest and nothing else: 71 bytes for sha256, and for an alias the sha256 that it stands for.
pub(super) fn link_state(_digest: &Digest, size: u64) -> Link {
    const LINK_BYTES: u64 = 71;
    if size == LINK_BYTES { Link::Whole } else { Link::Damaged { size } }
}
