//! Every object in exactly one class.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::{Links, Problems, alias_targets, lacks};
use crate::graph::{Fate, Marks};
use crate::inventory::{Assets, Beside, BlobId, BlobSet, Inventory, Link, Repository, Standing, Target};
use crate::plan::Counts;
use crate::plan::limits::Limits;
use crate::store::{Identity, Requests};

/// The classes. Every object is in one, and together they are everything on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Something kept needs it.
    Live,
    /// Only what the policy removes needs it.
    Expired,
    /// Nothing refers to it.
    Unreferenced,
    /// Nothing refers to it yet: it is younger than the grace, or belongs to an upload under way.
    InGrace,
    /// An upload that nobody will finish, or a file that a registry died while writing.
    AbandonedUpload,
    /// A link to something that is gone.
    DanglingLink,
    /// A link that is empty, short or overlong.
    CorruptLink,
    /// A manifest that stays and misses something, and the links to it and to what it misses.
    BrokenImage,
    /// Belongs to nobody that is known; never touched.
    Foreign,
    /// Our own state and trash.
    OwnState,
    /// A blob that the database of the repository manager does not know, and would by now.
    NotInDatabase,
    /// Content without a record: nobody can open it.
    BytesOnly,
    /// Flagged as deleted.
    Deleted,
    /// Flagged as deleted, and not in the index of deleted blobs: no task will remove it.
    DeletedUnindexed,
    /// A record without content.
    LeakedGhost,
    /// A second record of a blob that was deleted elsewhere in the store.
    Ghost,
    /// Its record cannot be read or says another size than the content has.
    Damaged,
    /// An upload, a blob about to be put in place, a record being replaced, or what is left of such.
    Temporary,
    /// Of another format, or of a repository that nobody asked about; never touched.
    OtherFormat,
    /// What the repository manager writes down for itself; never touched.
    Bookkeeping,
}

impl Class {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 20] = [
        Self::Live,
        Self::Expired,
        Self::Unreferenced,
        Self::InGrace,
        Self::AbandonedUpload,
        Self::DanglingLink,
        Self::CorruptLink,
        Self::BrokenImage,
        Self::Foreign,
        Self::OwnState,
        Self::NotInDatabase,
        Self::BytesOnly,
        Self::Deleted,
        Self::DeletedUnindexed,
        Self::LeakedGhost,
        Self::Ghost,
        Self::Damaged,
        Self::Temporary,
        Self::OtherFormat,
        Self::Bookkeeping,
    ];

    /// Whether only a store that keeps records has it.
    fn is_of_records(self) -> bool {
        self >= Self::NotInDatabase
    }

    /// What a person calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired by policy",
            Self::Unreferenced => "unreferenced",
            Self::InGrace => "in grace",
            Self::AbandonedUpload => "abandoned upload",
            Self::DanglingLink => "dangling link",
            Self::CorruptLink => "corrupt link",
            Self::BrokenImage => "broken image",
            Self::Foreign => "foreign",
            Self::OwnState => "own state",
            Self::NotInDatabase => "not in database",
            Self::BytesOnly => "bytes only",
            Self::Deleted => "flagged deleted",
            Self::DeletedUnindexed => "flagged, not indexed",
            Self::LeakedGhost => "leaked ghost",
            Self::Ghost => "ghost",
            Self::Damaged => "damaged",
            Self::Temporary => "temporary",
            Self::OtherFormat => "other format",
            Self::Bookkeeping => "bookkeeping",
        }
    }
}

/// Objects and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What an audit found.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// `regsweep/audit/1`.
    pub schema: &'static str,
    /// The store.
    pub store: Identity,
    /// The layout's name.
    pub layout: &'static str,
    /// When the listing began.
    pub listed_at: Timestamp,
    /// What the store holds.
    pub saw: Counts,
    /// Objects and bytes by class.
    pub classes: BTreeMap<Class, Amount>,
    /// All objects and bytes: the sum of the classes.
    pub total: Amount,
    /// Blobs alone, by class: what sweeping is about.
    pub blobs: BTreeMap<Class, Amount>,
    /// Bytes that hard links count more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_bytes: Option<u64>,
    /// What a bucket holds beside its objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
    /// What there is to say besides, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Keys that belong to nobody, a few of them.
    pub foreign_examples: Vec<String>,
    /// What is not as it should be.
    pub problems: Problems,
    /// What it cost.
    pub requests: Requests,
}

/// The `schema` of an audit.
pub const SCHEMA: &str = "regsweep/audit/1";

/// Sums objects and bytes by class.
#[derive(Debug)]
pub struct Classifier<'c> {
    inventory: &'c Inventory,
    marks: &'c Marks,
    young: &'c BlobSet,
    limits: &'c Limits,
    now: Timestamp,
    classes: BTreeMap<Class, Amount>,
    blobs: BTreeMap<Class, Amount>,
}

const LINK_BYTES: u64 = 71;

impl<'c> Classifier<'c> {
    /// Classifies everything in an inventory of depth `Everything`.
    pub fn run(
        inventory: &'c Inventory,
        marks: &'c Marks,
        young: &'c BlobSet,
        limits: &'c Limits,
        now: Timestamp,
    ) -> (BTreeMap<Class, Amount>, BTreeMap<Class, Amount>) {
        let has = |class: &Class| !class.is_of_records() || inventory.assets.is_some();
        let none = || Class::ALL.into_iter().filter(has).map(|class| (class, Amount::default())).collect();
        let mut this = Self { inventory, marks, young, limits, now, classes: none(), blobs: none() };
        let mut broken = BlobSet::for_table(&inventory.blobs);
        let aliases = alias_targets(inventory);
        if let Some(assets) = &inventory.assets {
            this.assets(assets);
        } else {
            for index in 0..inventory.repositories.len() {
                this.repository(&aliases, index, &mut broken);
            }
            this.data(&broken);
        }
        for file in &inventory.temporary {
            let class = if this.too_young(file.changed) { Class::InGrace } else { Class::AbandonedUpload };
            this.add(class, file.size);
        }
        for (class, tally) in [
            (Class::Foreign, &inventory.foreign),
            (Class::OwnState, &inventory.own_state),
            (Class::Live, &inventory.signature_links),
        ] {
            let amount = this.classes.entry(class).or_default();
            amount.objects += tally.objects;
            amount.bytes += tally.bytes;
        }
        (this.classes, this.blobs)
    }

    fn add(&mut self, class: Class, bytes: u64) {
        let amount = self.classes.entry(class).or_default();
        amount.objects += 1;
        amount.bytes += bytes;
    }

    fn too_young(&self, changed: Timestamp) -> bool {
        self.now.duration_since(changed) < self.limits.grace.as_signed()
    }

    fn data(&mut self, broken: &BlobSet) {
        for id in self.inventory.blobs.present() {
            // Known to be there and never measured: no file, or one that may not be read. A link is counted as one.
            if self.inventory.blobs.changed(id).is_none() {
                continue;
            }
            let class = if self.marks.live.contains(id) {
                if broken.contains(id) { Class::BrokenImage } else { Class::Live }
            } else {
                self.unneeded(id)
            };
            let size = self.inventory.blobs.size(id).unwrap_or(0);
            self.add(class, size);
            let amount = self.blobs.entry(class).or_default();
            amount.objects += 1;
            amount.bytes += size;
        }
    }

    /// Blobs with a record beside each: of several of one digest all have its class.
    fn assets(&mut self, assets: &Assets) {
        for asset in &assets.list {
            let class = match (asset.standing, asset.digest) {
                (Standing::Image, Some(id)) if self.marks.live.contains(id) => Class::Live,
                (Standing::Image, Some(id)) => self.unneeded(id),
                (Standing::Image | Standing::Other, _) => Class::OtherFormat,
                (Standing::Unknown, _) => Class::NotInDatabase,
                (Standing::BytesOnly, _) => Class::BytesOnly,
                (Standing::Deleted, _) => Class::Deleted,
                (Standing::DeletedUnindexed, _) => Class::DeletedUnindexed,
                (Standing::Ghost, _) => Class::LeakedGhost,
                (Standing::Damaged, _) => Class::Damaged,
                (Standing::Reserved, _) => Class::Temporary,
            };
            self.add_many(class, asset.objects, asset.bytes);
            let amount = self.blobs.entry(class).or_default();
            amount.objects += 1;
            amount.bytes += asset.bytes;
        }
        for (class, tally) in [
            (Class::Ghost, &assets.copies),
            (Class::Temporary, &assets.staged),
            (Class::Bookkeeping, &assets.bookkeeping),
        ] {
            self.add_many(class, tally.objects, tally.bytes);
        }
    }

    fn add_many(&mut self, class: Class, objects: u64, bytes: u64) {
        let amount = self.classes.entry(class).or_default();
        amount.objects += objects;
        amount.bytes += bytes;
    }

    fn unneeded(&self, id: BlobId) -> Class {
        if self.young.contains(id) {
            Class::InGrace
        } else if self.marks.referenced.contains(id) {
            Class::Expired
        } else {
            Class::Unreferenced
        }
    }

    fn repository(&mut self, aliases: &FxHashMap<BlobId, BlobId>, index: usize, broken: &mut BlobSet) {
        let repository = &self.inventory.repositories[index];
        let links = Links::of(self.inventory, aliases, index);
        let class_of = |id: BlobId, fate: &Fate| match fate {
            _ if !self.inventory.blobs.is_present(id) => Class::DanglingLink,
            Fate::Absent => Class::DanglingLink,
            Fate::Expired(_) => Class::Expired,
            Fate::Kept(_) if lacks(self.inventory, &links, id) != (vec![], vec![]) => Class::BrokenImage,
            Fate::Kept(_) => Class::Live,
        };
        let manifests: FxHashMap<BlobId, Class> = repository
            .revisions
            .iter()
            .zip(&self.marks.repositories[index].revisions)
            .map(|(revision, fate)| (revision.digest, class_of(revision.digest, fate)))
            .collect();
        let of_manifest = |id: BlobId| manifests.get(&id).copied().unwrap_or(Class::DanglingLink);
        let mut found: Vec<(Class, u64)> = Vec::new();
        for revision in &repository.revisions {
            let class = of_manifest(revision.digest);
            if class == Class::BrokenImage {
                broken.insert(revision.digest);
            }
            match revision.link {
                Link::Missing => {}
                Link::Damaged { size } => found.push((Class::CorruptLink, size)),
                Link::Whole | Link::Unknown => found.push((class, LINK_BYTES)),
            }
        }
        for (tag, decision) in repository.tags.iter().zip(&self.marks.repositories[index].tags) {
            let gone = decision.is_expired();
            match &tag.target {
                Target::Missing => {}
                // No file, so counted as whatever stands there.
                Target::Corrupt(_) if tag.changed.is_none() => {}
                Target::Corrupt(_) => found.push((Class::CorruptLink, tag.size)),
                Target::Manifest(id) => {
                    let class = of_manifest(*id);
                    let class = if gone && class != Class::DanglingLink { Class::Expired } else { class };
                    found.push((class, tag.size));
                }
            }
            for entry in tag.history.iter().flatten() {
                let size = entry.size.unwrap_or(LINK_BYTES);
                found.push(match of_manifest(entry.digest) {
                    _ if size != LINK_BYTES => (Class::CorruptLink, size),
                    Class::DanglingLink => (Class::DanglingLink, size),
                    _ if gone => (Class::Expired, size),
                    class => (class, size),
                });
            }
        }
        self.layer_links(index, &mut found);
        self.uploads(repository, &mut found);
        for (class, bytes) in found {
            self.add(class, bytes);
        }
    }

    fn layer_links(&self, index: usize, found: &mut Vec<(Class, u64)>) {
        let repository = &self.inventory.repositories[index];
        let needed = &self.marks.repositories[index].needed;
        let class =
            |id: BlobId, target: BlobId, changed: Option<Timestamp>| {
                let present = self.inventory.blobs.is_present(target);
                match (needed.contains(&id) || needed.contains(&target), present) {
                    (true, true) => Class::Live,
                    (true, false) => Class::BrokenImage,
                    (false, false) => Class::DanglingLink,
                    (false, true) if changed.is_some_and(|changed| self.too_young(changed)) => Class::InGrace,
                    (false, true) if self.marks.live.contains(target) => {
                        if self.marks.referenced.contains(id) { Class::Expired } else { Class::Unreferenced }
                    }
                    (false, true) => self.unneeded(target),
                }
            };
        for layer in &repository.layers {
            match layer.link() {
                Link::Missing => {}
                Link::Damaged { size } => found.push((Class::CorruptLink, size)),
                Link::Whole | Link::Unknown => {
                    found.push((class(layer.digest, layer.digest, layer.changed()), LINK_BYTES));
                }
            }
        }
        for alias in &repository.aliases {
            match alias.target {
                None => found.push((Class::CorruptLink, alias.size)),
                Some(target) => found.push((class(alias.alias, target, alias.changed), alias.size)),
            }
        }
    }

    fn uploads(&self, repository: &Repository, found: &mut Vec<(Class, u64)>) {
        for upload in &repository.uploads {
            let idle = self.limits.uploads_abandoned_after.as_signed();
            let abandoned = upload.active().is_some_and(|active| self.now.duration_since(active) >= idle)
                && upload.changed().is_none_or(|changed| !self.too_young(changed));
            let class = if abandoned { Class::AbandonedUpload } else { Class::InGrace };
            found.extend(upload.files.iter().map(|file| (class, file.size)));
        }
    }
}
