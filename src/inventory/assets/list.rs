//! Listing a store of records: every file, and what every record says.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rustc_hash::FxHashSet;

use super::super::scan::{ScanError, join};
use super::super::{Gap, Tally, lanes};
use crate::layout::nexus::{AssetKey, Part, Place, Record, Uuid, deleted, index_of};
use crate::layout::properties::Properties;
use crate::layout::{Directory, Entry, RegistryLayout};
use crate::store::{Bucket, Kind, LocalTree, Meta, Near, Progress, StoreError, Tree};

/// The longest record that is read. Real ones have less than a thousand bytes.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// The longest index of deleted blobs that is read: six million blobs.
const MAX_INDEX_BYTES: u64 = 256 << 20;

/// What names in a bucket are mostly made of.
const NAMES: &str = "-./0123456789abcdefghijklmnopqrstuvwxyz";

/// What a record says.
#[derive(Debug)]
pub(super) enum Said {
    /// It was read.
    Read(Box<Record>),
    /// It is no properties file: nobody can open the blob by it.
    Garbage,
    /// It is there and may not be read by us; the repository manager may.
    Denied(String),
    /// It was listed, and was not read yet or is gone.
    Nothing,
}

/// One record.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) meta: Meta,
    pub(super) said: Said,
}

/// The files of one blob, wherever they are.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) bytes: Vec<(Place, Meta)>,
    pub(super) records: Vec<Found>,
}

/// Everything that was listed.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By blob store and blob.
    pub(super) pieces: BTreeMap<(Box<str>, Uuid), Pieces>,
    pub(super) staged: Tally,
    pub(super) bookkeeping: Tally,
    pub(super) foreign: Tally,
    pub(super) own_state: Tally,
    pub(super) gaps: Vec<Gap>,
    /// By blob store, what its own index of deleted blobs has; nothing when that is not known.
    pub(super) indexes: BTreeMap<Box<str>, Option<FxHashSet<Uuid>>>,
    /// Where these indexes are.
    index_keys: Vec<String>,
}

/// What one directory or page said.
#[derive(Default)]
struct Batch {
    bytes: Vec<(Box<str>, Uuid, Place, Meta)>,
    records: Vec<(Box<str>, Uuid, Found)>,
    rest: Vec<(Rest, String, u64)>,
    gaps: Vec<Gap>,
}

#[derive(Clone, Copy)]
enum Rest {
    Staged,
    Bookkeeping,
    Foreign,
    OwnState,
}

/// Lists everything, and reads every record.
pub(super) fn list(
    tree: &Tree,
    layout: &dyn RegistryLayout,
    progress: &Progress,
) -> Result<Listing, ScanError> {
    progress.begin("listing", None);
    let lister =
        Lister { layout, progress, listing: Mutex::new(Listing::default()), failure: Mutex::new(None) };
    match tree {
        Tree::Directory(directory) => rayon::scope(|scope| lister.descend(scope, directory, "")),
        Tree::Bucket(bucket) => {
            lanes::list(bucket, "", NAMES, progress, &|objects| {
                let mut batch = Batch::default();
                for object in objects {
                    lister.file(None, &object.key, object.meta, &mut batch);
                }
                progress.add(objects.len());
                lister.take(batch);
            })?;
        }
    }
    if let Some(error) = lister.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    let mut listing = lister.listing.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Tree::Bucket(bucket) = tree {
        read_records(bucket, layout, &mut listing, progress)?;
    }
    listing.gaps.sort_by(|one, other| one.key.cmp(&other.key));
    for tally in [&mut listing.staged, &mut listing.foreign, &mut listing.own_state] {
        tally.examples.sort();
    }
    Ok(listing)
}

/// In a bucket every record is a request of its own.
fn read_records(
    bucket: &Bucket,
    layout: &dyn RegistryLayout,
    listing: &mut Listing,
    progress: &Progress,
) -> Result<(), StoreError> {
    let count = listing.pieces.values().map(|pieces| pieces.records.len() as u64).sum();
    progress.begin("reading records", Some(count));
    let near = Near::Bucket(bucket);
    listing.pieces.par_iter_mut().try_for_each(|((store, id), pieces)| {
        pieces.records.iter_mut().try_for_each(|found| {
            progress.go_on()?;
            let asset = AssetKey { store, id: *id, place: found.place, part: Part::Record };
            if let Some(key) = layout.key(&Entry::Asset(asset))
                && let Some((said, meta)) = read_record(&near, &key)?
            {
                (found.said, found.meta) = (said, meta);
            }
            progress.add(1);
            Ok::<(), StoreError>(())
        })
    })
}

/// Reads one record with the times that it has then; `None` when there is none.
pub(super) fn read_record(near: &Near<'_>, key: &str) -> Result<Option<(Said, Meta)>, StoreError> {
    match near.read(key, MAX_RECORD_BYTES) {
        Ok(None) => Ok(None),
        Ok(Some((body, meta))) => Ok(Some((said(&body), meta))),
        Err(error) if error.is_denied() || matches!(error, StoreError::TooLarge { .. }) => {
            let why = error.with_cause();
            Ok(near.stat(key)?.map(|meta| (Said::Denied(why), meta)))
        }
        Err(error) => Err(error),
    }
}

fn said(body: &[u8]) -> Said {
    Properties::read(body).map_or(Said::Garbage, |read| Said::Read(Box::new(Record::of(&read))))
}

struct Lister<'l> {
    layout: &'l dyn RegistryLayout,
    progress: &'l Progress,
    listing: Mutex<Listing>,
    failure: Mutex<Option<StoreError>>,
}

impl Lister<'_> {
    fn descend<'a>(&'a self, scope: &rayon::Scope<'a>, tree: &'a LocalTree, key: &str) {
        if self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return;
        }
        if let Err(error) = self.visit(scope, tree, key) {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    fn visit<'a>(
        &'a self,
        scope: &rayon::Scope<'a>,
        tree: &'a LocalTree,
        key: &str,
    ) -> Result<(), StoreError> {
        self.progress.go_on()?;
        let mut batch = Batch::default();
        let list = match tree.list(key) {
            // Nexus removes a directory when its last blob has gone.
            Ok(None) => return Ok(()),
            Ok(Some(list)) => list,
            Err(error) if error.is_denied() => {
                batch.gaps.push(gap(key, "may not be read by this user: give read permission"));
                self.take(batch);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let near = Near::Directory(tree.near(key));
        for (name, kind) in list.names {
            let child = join(key, &name);
            match kind {
                Kind::Directory => scope.spawn(move |scope| self.descend(scope, tree, &child)),
                Kind::File => {
                    let is_record = matches!(
                        self.layout.classify(&child),
                        Entry::Asset(AssetKey { part: Part::Record, .. })
                    );
                    if is_record {
                        if let Some((said, meta)) = read_record(&near, &child)? {
                            self.file(Some(said), &child, meta, &mut batch);
                        }
                    } else if let Some(meta) = near.stat(&child)? {
                        self.file(None, &child, meta, &mut batch);
                    }
                }
                _ => {
                    let part_of_store = matches!(self.layout.classify(&child), Entry::Asset(_))
                        || (kind == Kind::Symlink
                            && self.layout.classify_directory(&child) == Directory::Open);
                    if part_of_store {
                        let why = "no regular file or directory, and links are not followed; the repository manager \
                                   may find blobs behind it. Put a bind mount in its place, or move the data";
                        batch.gaps.push(gap(&child, why));
                    }
                    batch.rest.push((Rest::Foreign, child, 0));
                }
            }
        }
        for (name, kind, size) in list.foreign {
            let child = join(key, &name);
            if kind == Kind::Directory {
                batch.gaps.push(gap(&child, "its name is not UTF-8, so it was not opened"));
            }
            batch.rest.push((Rest::Foreign, child, size));
        }
        self.progress.add(batch.bytes.len() + batch.records.len() + batch.rest.len());
        self.take(batch);
        Ok(())
    }

    fn file(&self, said: Option<Said>, key: &str, meta: Meta, batch: &mut Batch) {
        let rest = match self.layout.classify(key) {
            Entry::Asset(AssetKey { store, id, place, part: Part::Bytes }) => {
                return batch.bytes.push((store.into(), id, place, meta));
            }
            Entry::Asset(AssetKey { store, id, place, part: Part::Record }) => {
                let found = Found { place, meta, said: said.unwrap_or(Said::Nothing) };
                return batch.records.push((store.into(), id, found));
            }
            Entry::Staged => Rest::Staged,
            Entry::Bookkeeping => Rest::Bookkeeping,
            Entry::OwnState => Rest::OwnState,
            _ => Rest::Foreign,
        };
        batch.rest.push((rest, key.to_owned(), meta.size));
    }

    fn take(&self, batch: Batch) {
        let mut listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        for (store, id, place, meta) in batch.bytes {
            listing.pieces.entry((store, id)).or_default().bytes.push((place, meta));
        }
        for (store, id, found) in batch.records {
            listing.pieces.entry((store, id)).or_default().records.push(found);
        }
        for (rest, key, size) in batch.rest {
            match rest {
                Rest::Staged => listing.staged.add(&key, size),
                Rest::Bookkeeping => {
                    listing.bookkeeping.add(&key, size);
                    if index_of(&key).is_some() {
                        listing.index_keys.push(key);
                    }
                }
                Rest::Foreign => listing.foreign.add(&key, size),
                Rest::OwnState => listing.own_state.add(&key, size),
            }
        }
        listing.gaps.extend(batch.gaps);
    }
}

/// Reads the indexes of deleted blobs that are in the store. This comes after the records: what is flagged is in the index
/// right after.
pub(super) fn read_indexes(tree: &Tree, listing: &mut Listing) -> Result<(), StoreError> {
    for key in std::mem::take(&mut listing.index_keys) {
        let said = match tree.near_root().read(&key, MAX_INDEX_BYTES) {
            Ok(read) => read.and_then(|(body, _)| deleted(&body)),
            Err(error) if error.is_denied() || matches!(error, StoreError::TooLarge { .. }) => None,
            Err(error) => return Err(error),
        };
        let of_store = listing.indexes.entry(index_of(&key).unwrap_or_default().into());
        let known = of_store.or_insert_with(|| Some(FxHashSet::default()));
        match (known.as_mut(), said) {
            // Each node of a cluster has one of its own.
            (Some(known), Some(said)) => known.extend(said),
            _ => *known = None,
        }
    }
    Ok(())
}

/// What cannot be seen may be needed for anything.
pub(super) fn gap(key: &str, why: impl Into<String>) -> Gap {
    Gap { repository: None, key: key.to_owned(), why: why.into() }
}
