//! What is remembered from one run to the next: what was condemned and when, what a restore pinned, what the last run
//! left, what is in the trash.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::journal::{self, Recorded, RunKind};
use super::{RunReport, SweepError, place, trash};
use crate::graph::Pins;
use crate::oci::Digest;
use crate::plan::build::TrashItem;
use crate::plan::{Condemnation, Condemned, Counts, Mode};
use crate::store::{ReadStore, WriteStore};

const CONDEMNED: &str = "condemned";
const CONDEMNED_SCHEMA: &str = "regsweep/condemned/1";
const PINS: &str = "pins";

/// One shard of the condemned set: `condemned/<first digit>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CondemnedShard {
    schema: String,
    /// Blobs, and when each was first seen unreferenced.
    blobs: BTreeMap<Digest, Condemnation>,
}

/// Everything that is remembered.
#[derive(Debug, Default)]
pub struct Memory {
    /// Blobs seen unreferenced, and since when.
    pub condemned: FxHashMap<Digest, Condemnation>,
    /// What restores brought back.
    pub pins: Vec<Pins>,
    /// What the last run left.
    pub last: Option<Counts>,
    /// What is in the trash.
    pub trash: Vec<TrashItem>,
    /// When the runs ended that have something in the trash: whatever they took had gone by then.
    pub ended: BTreeMap<String, Timestamp>,
    /// Trash of a run that nobody remembers: never purged by itself.
    pub stray_trash: Vec<String>,
    /// All runs, oldest first.
    pub runs: Vec<Recorded>,
}

/// Reads everything that is remembered.
///
/// # Errors
/// When the state cannot be read, or is of another version: nothing is decided on half a memory.
pub async fn read(store: &ReadStore) -> Result<Memory, SweepError> {
    store.check_state().await?;
    let mut memory = Memory { runs: journal::runs(store).await?, ..Memory::default() };
    for object in store.list_state(CONDEMNED).await? {
        let shard: Option<CondemnedShard> = journal::read_json(store, &object.key).await?;
        memory.condemned.extend(shard.into_iter().flat_map(|shard| shard.blobs));
    }
    for object in store.list_state(PINS).await? {
        memory.pins.extend(journal::read_json::<Pins>(store, &object.key).await?);
    }
    for recorded in memory.runs.iter().rev() {
        if recorded.ended && matches!(recorded.run.kind, RunKind::Sweep(_) | RunKind::Managed) {
            memory.last = report(store, &recorded.run.run).await?.map(|report| report.after);
            break;
        }
    }
    let known: FxHashMap<&str, bool> =
        memory.runs.iter().map(|recorded| (recorded.run.run.as_str(), recorded.ended)).collect();
    for object in store.list_trash(trash::TRASH).await? {
        let run = object.key.split('/').nth(1).unwrap_or_default();
        let Some(ended) = known.get(run) else {
            memory.stray_trash.push(object.key);
            continue;
        };
        if *ended
            && !memory.ended.contains_key(run)
            && let Some(report) = report(store, run).await?
        {
            memory.ended.insert(run.to_owned(), report.ended);
        }
        let blob = place::blob_of_place(&object.key);
        memory.trash.push(TrashItem {
            run: run.to_owned(),
            digest: blob.map(|(digest, _)| digest),
            manifest: blob.is_some_and(|(_, manifest)| manifest),
            size: object.size,
            since: memory.ended.get(run).copied(),
            place: object.key,
        });
    }
    Ok(memory)
}

/// The report of a run that ended.
///
/// # Errors
/// When it cannot be read or understood.
pub async fn report(store: &ReadStore, run: &str) -> Result<Option<RunReport>, SweepError> {
    journal::read_json(store, &format!("{}/{run}/report.json", journal::RUNS)).await
}

/// Replaces the condemned set; `before` says whether there was one. A blob that is referenced again leaves it, so its clock starts anew when it is not.
///
/// # Errors
/// When the state cannot be written.
pub async fn write_condemned(
    store: &WriteStore,
    mode: Mode,
    before: bool,
    condemned: &[Condemned],
) -> Result<(), SweepError> {
    if !before && (condemned.is_empty() || mode == Mode::Offline) {
        return Ok(());
    }
    let mut shards: BTreeMap<char, BTreeMap<Digest, Condemnation>> =
        "0123456789abcdef".chars().map(|digit| (digit, BTreeMap::new())).collect();
    for one in condemned {
        let digit = one.digest.hex().chars().next().unwrap_or('0');
        let condemnation = Condemnation { since: one.since, manifest: one.manifest };
        shards.entry(digit).or_default().insert(one.digest, condemnation);
    }
    for (digit, blobs) in shards {
        let shard = CondemnedShard { schema: CONDEMNED_SCHEMA.into(), blobs };
        journal::write_json(store, &format!("{CONDEMNED}/{digit}.json"), &shard).await?;
    }
    Ok(())
}

/// Pins what a restore brought back, and forgets pins whose time is over.
///
/// # Errors
/// When the state cannot be written.
pub async fn write_pins(
    store: &WriteStore,
    run: &str,
    pins: &Pins,
    now: Timestamp,
) -> Result<(), SweepError> {
    journal::write_json(store, &format!("{PINS}/{run}.json"), pins).await?;
    for object in store.read().list_state(PINS).await? {
        let old: Option<Pins> = journal::read_json(store.read(), &object.key).await?;
        if old.is_some_and(|old| old.until <= now) {
            trash::remove_state(store, &object.key).await?;
        }
    }
    Ok(())
}
