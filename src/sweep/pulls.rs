//! The record of pulls in the state: `pulls/<moment>-<digest>.json`.
//!
//! Whoever has seen pulls writes an object of its own, which is never written again; all of them together are the record.
//! So two writers never lose what the other wrote, and one that dies while it writes leaves nothing half. When there are
//! many, whoever comes last writes what all of them say into one that names them. They go when that one has been there for
//! longer than anybody takes to list: a listing that misses some of what goes while it lasts has what came long before.
//! Records merge in any order and any number of times, so to do this twice, or to die in the middle of it, does no harm.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use super::{SweepError, journal, trash};
use crate::oci::Digest;
use crate::sources::pulls::PullRecord;
use crate::store::{ReadStore, StoreError, WriteStore};

/// Where the record is, below the state's root.
pub const PULLS: &str = "pulls";

/// The `schema` of an object of the record.
const SCHEMA: &str = "regsweep/pulls/1";

/// After so many new objects they are made one.
const MANY: usize = 16;

/// No listing takes longer.
const LISTING: SignedDuration = SignedDuration::from_mins(15);

/// How often the record is listed anew because some of it was made one meanwhile.
const LOOKS: usize = 10;

/// One object of the record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(deserialize_with = "known_schema")]
    schema: String,
    /// The keys of the objects that say nothing that this one does not say.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    merges: BTreeSet<String>,
    pulls: PullRecord,
}

fn known_schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let schema = String::deserialize(deserializer)?;
    if schema == SCHEMA {
        return Ok(schema);
    }
    let why = format!(
        "its schema is {schema}, and this version reads {SCHEMA}; without {PULLS}/ the record begins anew"
    );
    Err(serde::de::Error::custom(why))
}

/// Reads the whole record. Without one, it is empty: nobody has looked.
///
/// # Errors
/// When any part of it cannot be read or understood: a record without it would tell of fewer pulls than there were.
pub async fn read(store: &ReadStore) -> Result<PullRecord, SweepError> {
    store.check_state().await?;
    let mut gone = String::new();
    for _ in 0..LOOKS {
        match read_listed(store).await? {
            Ok(record) => return Ok(record),
            Err(key) => gone = key,
        }
    }
    Err(StoreError::Vanished { key: gone }.into())
}

/// The record as one listing has it; the key of a part that went in between.
async fn read_listed(store: &ReadStore) -> Result<Result<PullRecord, String>, SweepError> {
    let mut record = PullRecord::default();
    for object in store.list_state(PULLS).await? {
        match journal::read_json::<Part>(store, &object.key).await? {
            Some(part) => record.merge(part.pulls),
            None => return Ok(Err(object.key)),
        }
    }
    Ok(Ok(record))
}

/// Adds to the record, durable when this returns. `now` goes into the name of what is written, and nothing else.
///
/// # Errors
/// When the state cannot be written, or a part of the record cannot be understood.
pub async fn add(store: &WriteStore, pulls: &PullRecord, now: Timestamp) -> Result<(), SweepError> {
    if pulls.is_empty() {
        return Ok(());
    }
    store.claim_state().await?;
    create(store, BTreeSet::new(), pulls.clone(), now).await?;
    let listed = store.read().list_state(PULLS).await?;
    // Not each time: what was made one a moment ago is still there, and counts.
    if !listed.len().is_multiple_of(MANY) {
        return Ok(());
    }
    // Ages are told by the store's clock alone.
    let newest = listed.iter().map(|object| object.modified).max().unwrap_or(now);
    let (mut whole, mut merged, mut settled) = (PullRecord::default(), BTreeSet::new(), BTreeSet::new());
    for object in &listed {
        let Some(part) = journal::read_json::<Part>(store.read(), &object.key).await? else { continue };
        if newest.duration_since(object.modified) >= LISTING {
            settled.extend(part.merges.iter().cloned());
        }
        merged.extend(part.merges);
        whole.merge(part.pulls);
    }
    let keys: BTreeSet<String> = listed.into_iter().map(|object| object.key).collect();
    if keys.difference(&merged).count() > 1 {
        create(store, keys.clone(), whole, now).await?;
    }
    for key in settled.intersection(&keys) {
        trash::remove_state(store, key).await?;
    }
    Ok(())
}

/// Writes a part. What it says is in its name: one that says something else is never taken for one that was made part of
/// another long ago.
async fn create(
    store: &WriteStore,
    merges: BTreeSet<String>,
    pulls: PullRecord,
    now: Timestamp,
) -> Result<(), SweepError> {
    let part = Part { schema: SCHEMA.to_owned(), merges, pulls };
    let format = |source| SweepError::Format { key: PULLS.to_owned(), source };
    let body = serde_json::to_vec(&part).map_err(format)?;
    let digest = Digest::of(&body);
    let key = format!("{PULLS}/{}-{}.json", now.strftime("%Y%m%dT%H%M%S%6fZ"), &digest.hex()[..16]);
    // One of this name says the same.
    store.create_state(&key, body).await?;
    Ok(())
}
