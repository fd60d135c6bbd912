//! From blobs with records to the inventory that policies and the mark know.
//!
//! A repository of the inventory is one image of one repository of the repository manager: `docker-hosted/team/app`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::super::read::intern;
use super::super::scan::{Options, ScanError};
use super::super::{
    BlobId, BlobTable, Body, Depth, Gap, Inventory, Link, LooseFile, Parts, Repository, Revision, Tag, Tally,
    Target,
};
use super::decide::{Draft, Drafts};
use super::list::gap;
use super::{Asset, Assets, Piece, Questions, Recorded, Serves, Standing};
use crate::evidence::Evidence;
use crate::evidence::managed::Managed;
use crate::layout::nexus::{DockerName, Part};
use crate::oci::manifest::{self, MAX_MANIFEST_BYTES};
use crate::oci::{Digest, Manifest, RepositoryName, TagName};
use crate::store::{Progress, StoreError, Tree};

type Said = Result<Box<Manifest>, String>;

/// Reads every manifest of a Docker repository.
pub(super) fn read_manifests(
    tree: &Tree,
    drafts: &mut [Draft],
    progress: &Progress,
) -> Result<(), ScanError> {
    let is_manifest =
        |draft: &Draft| matches!(draft.docker(), Some(DockerName::Tag { .. } | DockerName::Manifest { .. }));
    let of_images: Vec<&mut Draft> =
        drafts.iter_mut().filter(|draft| draft.standing == Standing::Image && is_manifest(draft)).collect();
    progress.begin("reading manifests", Some(of_images.len() as u64));
    of_images.into_par_iter().try_for_each(|draft| {
        progress.go_on()?;
        draft.manifest = Some(read_manifest(tree, draft)?);
        progress.add(1);
        Ok(())
    })
}

fn read_manifest(tree: &Tree, draft: &Draft) -> Result<(Digest, Said), StoreError> {
    let named = match draft.docker() {
        Some(DockerName::Manifest { digest, .. }) => Some(digest),
        _ => None,
    };
    let unknown =
        |why: String| (named.unwrap_or_else(|| Digest::of(draft.id.to_string().as_bytes())), Err(why));
    let near = tree.near_root();
    let body = match near.read(&draft.key(Part::Bytes), MAX_MANIFEST_BYTES as u64) {
        Ok(Some((body, _))) => body,
        Ok(None) => return Ok(unknown("it was listed and is not there any more: run again".into())),
        // Present but unreadable: never absence.
        Err(error @ (StoreError::TooLarge { .. } | StoreError::Io { .. })) => {
            return Ok(unknown(error.with_cause()));
        }
        Err(error) if error.is_denied() => return Ok(unknown(error.with_cause())),
        Err(error) => return Err(error),
    };
    let digest = named.unwrap_or_else(|| Digest::of(&body));
    if !digest.matches(&body) {
        return Ok((digest, Err("its content has another digest than its name".into())));
    }
    let said = manifest::read(&body).map_err(|error| error.to_string()).and_then(|said| {
        match said.unresolved.first() {
            Some(unknown) => Err(format!("it refers to {unknown}, which is no digest that is known")),
            None => Ok(Box::new(said)),
        }
    });
    Ok((digest, said))
}

/// One image while it is put together.
#[derive(Default)]
struct Image {
    /// By tag: when, which manifest, and the latest sign of change, once for every blob of that name.
    tags: BTreeMap<String, Vec<Named>>,
    revisions: FxHashMap<BlobId, Revision>,
    /// It is of a repository that only keeps copies: what is missing in it was never asked for.
    of_proxy: bool,
}

#[derive(Clone, Copy)]
struct Named {
    created: Option<Timestamp>,
    digest: BlobId,
    changed: Option<Timestamp>,
}

/// Makes the inventory.
pub(super) fn build(
    drafts: Drafts,
    evidence: Option<&Evidence>,
    questions: &Questions<'_>,
    options: Options,
) -> Inventory {
    let Drafts { list, copies, staged, bookkeeping, foreign, own_state, mut gaps, .. } = drafts;
    let mut blobs = BlobTable::default();
    let mut manifests = FxHashMap::default();
    let mut images: BTreeMap<String, Image> = BTreeMap::new();
    let mut assets = Assets {
        copies,
        staged,
        bookkeeping,
        evidence: evidence.is_some(),
        scoped: evidence.is_some() || !questions.database.repositories.is_empty(),
        ..Assets::default()
    };
    assets.managed = evidence.and_then(|evidence| evidence.managed.clone());
    for draft in &list {
        let digest = draft.digest().map(|digest| blobs.intern(&digest));
        if let (Standing::Image, Some(id)) = (draft.standing, digest) {
            if let Some((_, meta)) = draft.content {
                // Of several copies the youngest tells the age of all.
                let changed = draft.changed().into_iter().chain(blobs.changed(id)).max();
                blobs.set_present(id, true);
                blobs.measure(id, meta.size, changed.unwrap_or(Timestamp::MAX));
            }
            if let Some((_, said)) = &draft.manifest {
                if let Ok(said) = said {
                    let size = draft.content.map_or(0, |(_, meta)| meta.size);
                    let facts = intern(&mut blobs, said, size);
                    manifests.insert(id, Body::Read(facts));
                }
                place(draft, id, evidence, &mut images);
            }
        }
        if let (Standing::Other, Some((_, Ok(said)))) = (draft.standing, &draft.manifest) {
            // Whoever it belongs to, a blob here may be what it needs.
            assets.outside.extend(said.references().iter().map(|reference| reference.digest));
        }
        assets.list.push(Asset {
            piece: if questions.by_policy { piece(draft) } else { None },
            ..asset(draft, digest)
        });
    }
    let mut repositories = Vec::with_capacity(images.len());
    for (name, image) in images {
        match RepositoryName::found(&name) {
            Ok(found) => {
                if image.of_proxy {
                    assets.proxied.insert(found.clone());
                }
                repositories.push(image.finish(found, &blobs, assets.managed.as_ref(), &mut gaps));
            }
            Err(error) => gaps.push(gap(&name, error.to_string())),
        }
    }
    repositories.sort_by(|one, other| one.name.cmp(&other.name));
    let pinned = gaps.iter().any(|gap| gap.repository.is_none());
    for repository in &mut repositories {
        repository.pinned |= pinned;
    }
    Inventory {
        depth: Depth::Everything,
        listed_at: options.now,
        blobs,
        repositories,
        manifests,
        created: FxHashMap::default(),
        gaps,
        temporary: Vec::new(),
        signature_links: Tally::default(),
        foreign,
        own_state,
        pull_through_cache: false,
        beside: None,
        directories: 0,
        assets: Some(assets),
    }
}

fn asset(draft: &Draft, digest: Option<BlobId>) -> Asset {
    let files = draft.files();
    let content = draft.content.map(|(_, meta)| meta);
    Asset {
        standing: draft.standing,
        digest,
        objects: files.len() as u64,
        bytes: files.iter().map(|file| file.size).sum(),
        shared: content.filter(|meta| meta.shared).map_or(0, |meta| meta.size),
        changed: draft.changed(),
        files: if draft.may_go { files } else { Vec::new() },
        piece: None,
    }
}

/// What a blob is of an image; nothing for what belongs to none, or is not whole.
fn piece(draft: &Draft) -> Option<Piece> {
    if draft.standing != Standing::Image {
        return None;
    }
    let repository = |image: &str| RepositoryName::found(&format!("{}/{image}", draft.repository)).ok();
    let serves = match draft.docker()? {
        DockerName::Tag { image, tag } => {
            Serves::Tag { repository: repository(image)?, tag: TagName::found(tag).ok()? }
        }
        DockerName::Manifest { image, .. } => Serves::Manifest { repository: repository(image)? },
        DockerName::Blob { .. } => Serves::Blob,
    };
    let [record, content]: [LooseFile; 2] = draft.files().try_into().ok()?;
    Some(Piece { serves, files: Recorded { record, content } })
}

/// Puts a manifest into its image.
fn place(draft: &Draft, digest: BlobId, evidence: Option<&Evidence>, images: &mut BTreeMap<String, Image>) {
    let (created, changed) = (draft.created, draft.changed());
    let docker = draft.docker();
    let managed = evidence.and_then(|evidence| evidence.managed.as_ref());
    let Some(DockerName::Tag { image: name, .. } | DockerName::Manifest { image: name, .. }) = docker else {
        return;
    };
    let place = format!("{}/{name}", draft.repository);
    let listed = |found: &Digest| managed.is_none_or(|managed| managed.manifest(&place, found).is_some());
    // One that the repository manager lists elsewhere or not at all is none of its to delete here: it stays for as long as
    // it is in the store, with what it needs.
    let changed = match docker {
        Some(DockerName::Manifest { digest, .. }) if !listed(&digest) => None,
        _ => changed,
    };
    let image = images.entry(place).or_default();
    image.of_proxy |= evidence.is_some_and(|evidence| evidence.proxies.contains(&draft.repository));
    match docker {
        Some(DockerName::Tag { tag, .. }) => {
            image.tags.entry(tag.to_owned()).or_default().push(Named { created, digest, changed });
        }
        _ => image.revise(digest, created, changed),
    }
}

impl Image {
    /// Notes a manifest. Of several blobs the youngest tells.
    fn revise(&mut self, digest: BlobId, pushed: Option<Timestamp>, changed: Option<Timestamp>) {
        let revision =
            self.revisions.entry(digest).or_insert(Revision { digest, link: Link::Whole, pushed, changed });
        revision.pushed = revision.pushed.max(pushed);
        // What is not known is young, whichever of them it is.
        revision.changed = revision.changed.and_then(|earlier| Some(earlier.max(changed?)));
    }

    /// Keeps what listed tags name that are not among `tags`, as far as it was seen; whether something was not.
    fn hold_unseen(
        &mut self,
        name: &RepositoryName,
        tags: &[Tag],
        managed: &Managed,
        blobs: &BlobTable,
        gaps: &mut Vec<Gap>,
    ) -> bool {
        let mut unseen = false;
        for (tag, listed) in managed.tags_of(name.as_str()) {
            if tags.iter().any(|one| one.name.as_str() == tag) {
                continue;
            }
            let only = match listed.assets.as_slice() {
                [only] => blobs.find(&only.digest).filter(|id| self.revisions.contains_key(id)),
                _ => None,
            };
            if let Some(only) = only {
                self.revise(only, None, None);
            } else {
                // What it needs is not known.
                let why = "the repository manager lists this tag with other assets than one manifest that is in the \
                           store: everything of the image is kept. Name all blob stores, or run again when no push is \
                           going on";
                gaps.push(Gap {
                    repository: Some(name.clone()),
                    key: format!("{name}:{tag}"),
                    why: why.into(),
                });
                unseen = true;
            }
        }
        unseen
    }

    fn finish(
        mut self,
        name: RepositoryName,
        blobs: &BlobTable,
        managed: Option<&Managed>,
        gaps: &mut Vec<Gap>,
    ) -> Repository {
        let mut pinned = false;
        let mut tags = Vec::with_capacity(self.tags.len());
        for (tag, mut named) in std::mem::take(&mut self.tags) {
            named.sort_by_key(|one| (one.created, blobs.digest(one.digest)));
            // Of several, only what the repository manager itself lists tells which is meant.
            let first = named.first().map(|one| one.digest);
            let several = managed.is_none() && named.iter().any(|one| Some(one.digest) != first);
            let current = match managed {
                None => named.last().copied(),
                // What the repository manager does not list is no tag any more, whatever is left of it in the store.
                Some(managed) => managed.tag(name.as_str(), &tag).and_then(|listed| {
                    let is_current = |one: &&Named| listed.is_of(&blobs.digest(one.digest));
                    named.iter().rev().find(is_current).copied()
                }),
            };
            if let Some(current) = current {
                self.revise(current.digest, current.created, current.changed);
            }
            for other in named {
                // Of several blobs of one name only the database knows the current one: none of them goes by a policy,
                // and each keeps what it needs. A time that is not known says that.
                if current.is_none_or(|current| other.digest != current.digest) {
                    self.revise(other.digest, other.created, None);
                }
            }
            let Some(current) = current else { continue };
            let Ok(found) = TagName::found(&tag) else {
                pinned = true;
                continue;
            };
            tags.push(Tag {
                name: found,
                target: Target::Manifest(current.digest),
                tagged: current.created,
                changed: if several { None } else { current.changed },
                size: 0,
                md5: None,
                history: Some(Vec::new()),
            });
        }
        if let Some(managed) = managed {
            pinned |= self.hold_unseen(&name, &tags, managed, blobs, gaps);
        }
        let mut revisions: Vec<Revision> = self.revisions.into_values().collect();
        revisions.sort_by_key(|revision| blobs.digest(revision.digest));
        Repository {
            name,
            tags,
            revisions,
            layers: Vec::new(),
            aliases: Vec::new(),
            signatures: Vec::new(),
            uploads: Vec::new(),
            parts: Parts::default(),
            pinned,
        }
    }
}
