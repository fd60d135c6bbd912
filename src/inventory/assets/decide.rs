//! What each blob is: by its files, its record, and what the database says.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rustc_hash::FxHashSet;

use super::super::scan::ScanError;
use super::super::{Gap, LooseFile, Tally};
use super::list::{Found, Listing, Pieces, Said, gap, read_record};
use super::{Questions, Standing};
use crate::evidence::Evidence;
use crate::layout::nexus::{
    AssetKey, DockerName, Nexus, Part, Place, Record, Uuid, docker_name, hides_a_manifest,
};
use crate::layout::{Entry, RegistryLayout};
use crate::oci::{Digest, Manifest};
use crate::store::{Meta, Tree};

/// One blob, and what is known of it before its content is read.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) store: Box<str>,
    pub(super) id: Uuid,
    pub(super) standing: Standing,
    /// Where its content is, and its times.
    pub(super) content: Option<(Place, Meta)>,
    /// Where its record is, and its times.
    pub(super) record: Option<(Place, Meta)>,
    /// The name of its repository.
    pub(super) repository: String,
    /// Its own name.
    pub(super) name: String,
    pub(super) created: Option<Timestamp>,
    /// The digest of its content, where it was read, and what it says as a manifest or why that is not known.
    pub(super) manifest: Option<(Digest, Result<Box<Manifest>, String>)>,
    /// The database does not know it, and would by now.
    pub(super) may_go: bool,
}

/// All of them, and what belongs to none.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    pub(super) list: Vec<Draft>,
    /// Copies of records, beside the blobs that they are of.
    pub(super) copies: Tally,
    pub(super) staged: Tally,
    pub(super) bookkeeping: Tally,
    pub(super) foreign: Tally,
    pub(super) own_state: Tally,
    pub(super) gaps: Vec<Gap>,
    /// By blob store, what its own index of deleted blobs has; nothing when that is not known.
    indexes: BTreeMap<Box<str>, Option<FxHashSet<Uuid>>>,
}

/// Looks once more at content without a record: a record that is being replaced is away for a moment, and its blob was
/// made long ago. And a bucket may tell of a key twice.
pub(super) fn recheck(
    tree: &Tree,
    layout: &dyn RegistryLayout,
    listing: &mut Listing,
) -> Result<(), ScanError> {
    for ((store, id), pieces) in &mut listing.pieces {
        pieces.bytes.sort_by_key(|(place, _)| *place);
        pieces.bytes.dedup_by_key(|(place, _)| *place);
        pieces.records.sort_by_key(|found| found.place);
        pieces.records.dedup_by_key(|found| found.place);
        let places: Vec<Place> = pieces.bytes.iter().map(|(place, _)| *place).collect();
        for place in places {
            if pieces.records.iter().any(|found| found.place == place) {
                continue;
            }
            let asset = AssetKey { store, id: *id, place, part: Part::Record };
            let Some(key) = layout.key(&Entry::Asset(asset)) else { continue };
            if let Some((said, meta)) = read_record(&tree.near_root(), &key)? {
                pieces.records.push(Found { place, meta, said });
            }
        }
    }
    Ok(())
}

/// Decides what each blob is, by what the store says.
pub(super) fn decide(listing: Listing) -> Drafts {
    let Listing { pieces, staged, bookkeeping, foreign, own_state, gaps, indexes, .. } = listing;
    let mut drafts = Drafts { staged, bookkeeping, foreign, own_state, gaps, indexes, ..Drafts::default() };
    for ((store, id), pieces) in pieces {
        draft(&store, id, pieces, &mut drafts);
    }
    drafts
}

/// Asks the database about every blob, and notes what may hide references.
pub(super) fn ask(drafts: &mut Drafts, evidence: Option<&Evidence>, questions: &Questions<'_>) {
    let listed = &questions.database.repositories;
    for draft in &mut drafts.list {
        let own = match drafts.indexes.get(&draft.store) {
            Some(Some(index)) => Some(index.contains(&draft.id)),
            // One that cannot be read may have any that is flagged.
            Some(None) if draft.standing == Standing::Deleted => Some(true),
            Some(None) | None => None,
        };
        if draft.standing == Standing::Deleted && own == Some(false) {
            draft.standing = Standing::DeletedUnindexed;
        }
        let of_list = listed.contains(&draft.repository);
        match evidence {
            Some(evidence) => draft.ask(evidence, of_list, own, questions.grace),
            None if draft.standing == Standing::Image && !of_list && !listed.is_empty() => {
                draft.standing = Standing::Other;
            }
            None => {}
        }
    }
    // What nobody can open keeps nothing, and what we cannot read may keep anything.
    for draft in &drafts.list {
        if let (Standing::Image, Some((_, Err(why)))) = (draft.standing, &draft.manifest) {
            let why = format!("the manifest {} is not understood, so everything is kept: {why}", draft.name);
            drafts.gaps.push(gap(&draft.key(Part::Bytes), why));
        }
        if draft.standing == Standing::Damaged && draft.may_be_manifest() {
            let why = "a manifest whose record says another size than it has, or whose record may not be read: what it \
                       needs is not known, so everything is kept. Repair or delete the asset in the repository manager";
            drafts.gaps.push(gap(&draft.key(Part::Record), why));
        } else if draft.standing == Standing::Other && hides_a_manifest(&draft.name) {
            let why = format!("{} is not understood, and may be a manifest: everything is kept", draft.name);
            drafts.gaps.push(gap(&draft.key(Part::Record), why));
        }
    }
}

fn draft(store: &str, id: Uuid, pieces: Pieces, drafts: &mut Drafts) {
    let Pieces { bytes, records } = pieces;
    // Two contents of one name: which of them the database means only it knows. Each is kept.
    let twice = bytes.len() > 1;
    let (mut beside, mut copies) = (Vec::new(), Vec::new());
    for found in records {
        if bytes.iter().any(|(place, _)| *place == found.place) {
            beside.push(found);
        } else {
            copies.push(found);
        }
    }
    if bytes.is_empty() {
        for Found { place, meta, said } in copies {
            let mut draft = Draft::new(store.into(), id, Standing::Ghost, None, Some((place, meta)));
            if let Said::Read(record) = said {
                draft.says(&record);
            }
            drafts.list.push(draft);
        }
        return;
    }
    for Found { place, meta, .. } in copies {
        let asset = AssetKey { store, id, place, part: Part::Record };
        drafts.copies.add(&Nexus.key(&Entry::Asset(asset)).unwrap_or_default(), meta.size);
    }
    for (place, content) in bytes {
        let record = beside.iter().find(|found| found.place == place);
        let at = record.map(|found| (place, found.meta));
        let mut draft = Draft::new(store.into(), id, Standing::BytesOnly, Some((place, content)), at);
        if let Some(found) = record {
            draft.standing = match &found.said {
                Said::Read(record) => {
                    draft.says(record);
                    if twice { Standing::Damaged } else { stands(record, &content) }
                }
                Said::Garbage => Standing::Damaged,
                // It may be a manifest for those who may read it.
                Said::Denied(why) => {
                    drafts.gaps.push(gap(&draft.key(Part::Record), why.clone()));
                    Standing::Damaged
                }
                Said::Nothing => Standing::BytesOnly,
            };
        }
        drafts.list.push(draft);
    }
}

/// What a record with its content beside it says.
fn stands(record: &Record, content: &Meta) -> Standing {
    if record.deleted {
        Standing::Deleted
    } else if record.reserved {
        Standing::Reserved
    } else if record.created.is_none() || record.size != Some(content.size) {
        Standing::Damaged
    } else if record.repository.is_some() && record.name.as_deref().and_then(docker_name).is_some() {
        Standing::Image
    } else {
        Standing::Other
    }
}

impl Draft {
    fn new(
        store: Box<str>,
        id: Uuid,
        standing: Standing,
        content: Option<(Place, Meta)>,
        record: Option<(Place, Meta)>,
    ) -> Self {
        let (repository, name) = (String::new(), String::new());
        Self {
            store,
            id,
            standing,
            content,
            record,
            repository,
            name,
            created: None,
            manifest: None,
            may_go: false,
        }
    }

    fn says(&mut self, record: &Record) {
        self.repository = record.repository.clone().unwrap_or_default();
        self.name = record.name.clone().unwrap_or_default();
        self.created = record.created;
    }

    pub(super) fn docker(&self) -> Option<DockerName<'_>> {
        docker_name(&self.name)
    }

    /// The digest that the name or the content tells.
    pub(super) fn digest(&self) -> Option<Digest> {
        match self.docker()? {
            DockerName::Blob { digest } | DockerName::Manifest { digest, .. } => Some(digest),
            DockerName::Tag { .. } => self.manifest.as_ref().map(|(digest, _)| *digest),
        }
    }

    fn may_be_manifest(&self) -> bool {
        let manifest = matches!(self.docker(), Some(DockerName::Tag { .. } | DockerName::Manifest { .. }));
        manifest || hides_a_manifest(&self.name)
    }

    /// The key of one of its files.
    pub(super) fn key(&self, part: Part) -> String {
        let place = match part {
            Part::Bytes => self.content,
            Part::Record => self.record.or(self.content),
        };
        let Some((place, _)) = place else { return String::new() };
        let asset = AssetKey { store: &self.store, id: self.id, place, part };
        Nexus.key(&Entry::Asset(asset)).unwrap_or_default()
    }

    /// The latest sign of change: of its files, and what its record says.
    pub(super) fn changed(&self) -> Option<Timestamp> {
        let files = [self.content, self.record].into_iter().flatten().map(|(_, meta)| meta.changed);
        files.chain(self.created).max()
    }

    /// Its files, the record first: at no moment is there a record that says that it can be read, and nothing to read.
    pub(super) fn files(&self) -> Vec<LooseFile> {
        [(Part::Record, self.record), (Part::Bytes, self.content)]
            .into_iter()
            .filter_map(|(part, at)| {
                let (_, meta) = at?;
                let Meta { size, modified, changed, .. } = meta;
                Some(LooseFile { key: self.key(part), size, modified, changed })
            })
            .collect()
    }

    /// Asks the database.
    fn ask(&mut self, evidence: &Evidence, of_list: bool, own: Option<bool>, grace: SignedDuration) {
        let digest = self.digest();
        let known = evidence.knows(self.id, &self.repository, &self.name, digest.as_ref());
        let listed = of_list || evidence.repositories.contains(&self.repository);
        let of_docker = self.docker().is_some() && listed;
        let exported = evidence.deleted.as_ref().map(|index| index.contains(&self.id));
        // One that has it is enough: the repository manager will remove it.
        let in_index = exported.into_iter().chain(own).reduce(|one, other| one || other);
        if self.standing == Standing::Image && !of_docker && !known {
            // A repository that the database does not tell of is not asked about. One that was renamed is: its blobs are
            // named all the same.
            self.standing = Standing::Other;
        }
        self.standing = match (self.standing, in_index) {
            (Standing::Deleted, Some(false)) => Standing::DeletedUnindexed,
            (Standing::DeletedUnindexed, Some(true)) => Standing::Deleted,
            (standing, _) => standing,
        };
        let candidate = match self.standing {
            // By another name than its own it can be looked for only by its content.
            Standing::Image | Standing::Damaged | Standing::Deleted | Standing::DeletedUnindexed => {
                of_docker && (digest.is_some() || evidence.names_every_blob())
            }
            // Whose it is nobody can tell, so only evidence that names every blob says that it is nobody's.
            Standing::BytesOnly => evidence.names_every_blob(),
            Standing::Unknown | Standing::Ghost | Standing::Reserved | Standing::Other => false,
        };
        // What is young may have got its row since. What the index has is removed by the repository manager itself.
        let settled = self.changed().is_some_and(|changed| evidence.taken.duration_since(changed) >= grace);
        if !candidate || known || !settled || in_index == Some(true) {
            return;
        }
        self.may_go = true;
        if matches!(self.standing, Standing::Image | Standing::Damaged) {
            self.standing = Standing::Unknown;
        }
    }
}
