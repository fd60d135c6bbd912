//! What a run is about to do, written before it does it, with everything that undoing needs.
//!
//! `runs/<run>/run.json` says what the run is, `plan.json` what it does, `journal/<number>.jsonl` are segments of one
//! entry a line, and `report.json` ends it; `verified.json` says that pushes were looked for that it may have crossed. A
//! segment is whole or absent. A run without a report was interrupted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SweepError;
use crate::config::values::Period;
use crate::plan::Mode;
use crate::store::{ReadStore, WriteStore};

/// Where runs are, below the state's root.
pub const RUNS: &str = "runs";

/// What says of a run that it was verified.
const VERIFIED: &str = "verified.json";

/// The `schema` of `run.json`.
pub const SCHEMA: &str = "regsweep/run/1";

/// What a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: String,
    /// Its name, which begins with the time.
    pub run: String,
    /// What it does.
    pub kind: RunKind,
    /// When it began: the age of its trash counts from here.
    pub started: Timestamp,
    /// The fencing number of its lease.
    pub fencing: u64,
    /// The grace that it went by.
    pub grace: Period,
    /// How long its trash is kept.
    pub trash_keep: Period,
    /// The version of regsweep.
    pub regsweep: String,
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// Carries out a plan.
    Sweep(Mode),
    /// Had a repository manager delete what a plan lets go: nothing of it can be undone.
    Managed,
    /// Gives back what a push needs that an earlier run crossed, or what is needed again; takes nothing.
    Mend(Mode),
    /// Undoes something of an earlier run.
    Restore {
        /// That run, or the image that was asked for.
        of: String,
    },
}

/// One entry of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Entry {
    /// A step is about to be carried out.
    Intent(Intent),
    /// A step was carried out, or not.
    Outcome {
        /// The step's number in the plan.
        step: usize,
        /// What became of it.
        outcome: Outcome,
    },
}

/// What undoing a step needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The step's number in the plan.
    pub step: usize,
    /// The fencing number of the lease that it was written under.
    pub fencing: u64,
    /// Small files that go, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<SavedLink>,
    /// Data that moves to the trash, or goes for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Moved>,
}

/// A small file that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedLink {
    /// Its key.
    pub key: String,
    /// Its content.
    pub body: SavedBody,
    /// When it was last written. Policies go by it, so it is put back too.
    pub modified: Timestamp,
}

/// A small file's content: text, which every whole link is, or bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SavedBody {
    /// Text.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl SavedBody {
    /// Keeps `body`.
    pub fn of(body: Vec<u8>) -> Self {
        String::from_utf8(body).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Data that leaves its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// Its key.
    pub key: String,
    /// Its place in the trash, below the state's root; nothing when it goes for good.
    pub place: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// The MD5 of the data, where a bucket told it a moment ago: a copy is held against it. Not worth remembering.
    #[serde(skip)]
    pub md5: Option<[u8; 16]>,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "result", content = "why")]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// It was not: what it is about changed since, or was gone already.
    Skipped(String),
    /// It could not be.
    Failed(String),
}

/// A journal being written.
#[derive(Debug)]
pub struct Journal<'j> {
    store: &'j WriteStore,
    run: String,
    segments: u64,
    pending: Vec<Entry>,
}

impl<'j> Journal<'j> {
    /// Begins the journal of `run`. Its header and, for a sweep, its plan are durable before this returns.
    ///
    /// # Errors
    /// When the state cannot be written; then nothing was changed.
    pub async fn begin<T: Serialize>(store: &'j WriteStore, run: &Run, plan: &T) -> Result<Self, SweepError> {
        let key = format!("{RUNS}/{}/plan.json", run.run);
        let body =
            serde_json::to_vec(plan).map_err(|source| SweepError::Format { key: key.clone(), source })?;
        store.put_state(&key, body).await?;
        let key = format!("{RUNS}/{}/run.json", run.run);
        store.put_state(&key, encode(&key, run)?).await?;
        Ok(Self { store, run: run.run.clone(), segments: 0, pending: Vec::new() })
    }

    /// Goes on with a journal that was interrupted.
    pub fn resume(store: &'j WriteStore, run: &str, segments: u64) -> Self {
        Self { store, run: run.to_owned(), segments, pending: Vec::new() }
    }

    /// Notes an outcome; it becomes durable with the next intents or at the end. One that is lost is found out again by
    /// looking at the store.
    pub fn outcome(&mut self, step: usize, outcome: Outcome) {
        self.pending.push(Entry::Outcome { step, outcome });
    }

    /// Makes intents durable. Effects come only after this has returned.
    ///
    /// # Errors
    /// When the state cannot be written, for instance because the disk is full: then none of them may be carried out.
    pub async fn intend(&mut self, intents: impl IntoIterator<Item = Intent>) -> Result<(), SweepError> {
        self.pending.extend(intents.into_iter().map(Entry::Intent));
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), SweepError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let key = format!("{RUNS}/{}/journal/{:08}.jsonl", self.run, self.segments);
        let mut body = Vec::new();
        for entry in &self.pending {
            serde_json::to_writer(&mut body, entry)
                .map_err(|source| SweepError::Format { key: key.clone(), source })?;
            body.push(b'\n');
        }
        self.store.put_state(&key, body).await?;
        self.segments += 1;
        self.pending.clear();
        Ok(())
    }

    /// Ends the run.
    ///
    /// # Errors
    /// When the state cannot be written; the run then counts as interrupted, and the next one looks after it.
    pub async fn end<T: Serialize>(mut self, report: &T) -> Result<(), SweepError> {
        self.flush().await?;
        let key = format!("{RUNS}/{}/report.json", self.run);
        Ok(self.store.put_state(&key, encode(&key, report)?).await?)
    }
}

/// Notes that pushes were looked for that this run, or one before it, may have crossed.
///
/// # Errors
/// When the state cannot be written; then they are looked for again.
pub async fn write_verified(store: &WriteStore, run: &str, at: Timestamp) -> Result<(), SweepError> {
    let document = serde_json::json!({ "verified": at });
    write_json(store, &format!("{RUNS}/{run}/{VERIFIED}"), &document).await
}

fn encode<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, SweepError> {
    let mut body =
        serde_json::to_vec_pretty(value).map_err(|source| SweepError::Format { key: key.into(), source })?;
    body.push(b'\n');
    Ok(body)
}

/// A run as the state tells it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What it is.
    pub run: Run,
    /// Whether it ended.
    pub ended: bool,
    /// Segments of its journal.
    pub segments: u64,
    /// Whether, after what it took had settled, pushes that it crossed were looked for.
    pub verified: bool,
}

/// All runs, oldest first. A run directory without a header did nothing, and is left out.
///
/// # Errors
/// When the state cannot be read or is of another version.
pub async fn runs(store: &ReadStore) -> Result<Vec<Recorded>, SweepError> {
    let mut found: std::collections::BTreeMap<String, (bool, bool, bool, u64)> =
        std::collections::BTreeMap::default();
    for object in store.list_state(RUNS).await? {
        let mut parts = object.key.split('/').skip(1);
        let (Some(run), Some(file)) = (parts.next(), parts.next()) else { continue };
        let entry = found.entry(run.to_owned()).or_default();
        match file {
            "run.json" => entry.0 = true,
            "report.json" => entry.1 = true,
            VERIFIED => entry.2 = true,
            "journal" => entry.3 += 1,
            _ => {}
        }
    }
    let mut runs = Vec::new();
    for (run, (begun, ended, verified, segments)) in found {
        if begun && let Some(run) = read_json::<Run>(store, &format!("{RUNS}/{run}/run.json")).await? {
            runs.push(Recorded { run, ended, segments, verified });
        }
    }
    Ok(runs)
}

/// The entries of a run's journal, in order.
///
/// # Errors
/// When a segment cannot be read or understood.
pub async fn entries(store: &ReadStore, recorded: &Recorded) -> Result<Vec<Entry>, SweepError> {
    let mut entries = Vec::new();
    for segment in 0..recorded.segments {
        let key = format!("{RUNS}/{}/journal/{segment:08}.jsonl", recorded.run.run);
        let Some((body, _)) = store.get_state(&key).await? else { continue };
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry = serde_json::from_slice(line)
                .map_err(|source| SweepError::Format { key: key.clone(), source })?;
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// A JSON object of the state, when it is there.
///
/// # Errors
/// When it cannot be read or understood.
pub async fn read_json<T: serde::de::DeserializeOwned>(
    store: &ReadStore,
    key: &str,
) -> Result<Option<T>, SweepError> {
    match store.get_state(key).await? {
        Some((body, _)) => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|source| SweepError::Format { key: key.to_owned(), source }),
        None => Ok(None),
    }
}

/// Writes a JSON object of the state.
///
/// # Errors
/// When it cannot be written.
pub async fn write_json<T: Serialize>(store: &WriteStore, key: &str, value: &T) -> Result<(), SweepError> {
    Ok(store.put_state(key, encode(key, value)?).await?)
}
