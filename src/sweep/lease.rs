//! One sweeper per store.
//!
//! A lease is the object `lease/<number>` with the highest number. To take one is to create the next number, which only
//! one can; the number is the fencing token that every journal entry carries. A lease ends when its holder says so, or
//! when it was not renewed for its term by the store's own clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{SweepError, trash};
use crate::clock::Clock;
use crate::store::{StoreError, WriteStore};

/// How long a lease holds without being renewed. Renewed every third of it.
const TERM: Duration = Duration::from_secs(180);

/// How often a lease is looked for that was listed and is gone when it is read.
const LOOKS: usize = 5;

/// Where lease objects are, below the state's root.
pub const DIRECTORY: &str = "lease";

/// What a lease object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Format of this object.
    pub schema: String,
    /// Who holds it, for people: host, process and run.
    pub holder: String,
    /// The host's boot and process namespace, within which a process number means something.
    pub place: String,
    /// The process number.
    pub process: u32,
    /// When it was taken, by the holder's clock.
    pub taken: Timestamp,
    /// Seconds that it holds without being renewed.
    pub term_seconds: u64,
    /// Whether its holder gave it back.
    pub released: bool,
}

const SCHEMA: &str = "regsweep/lease/1";

/// The right to change a store. Lost when another takes over.
#[derive(Debug)]
pub struct Lease {
    store: WriteStore,
    number: u64,
    record: Record,
    ahead: SignedDuration,
    lost: Arc<AtomicBool>,
    renewal: tokio::task::JoinHandle<()>,
}

/// What can be said of the lease without taking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The fencing number.
    pub number: u64,
    /// What the object says.
    pub record: Record,
    /// When it was last renewed, by the store's clock.
    pub renewed: Timestamp,
}

impl Standing {
    /// Whether it still binds at `now`, the store's time.
    pub fn holds(&self, now: Timestamp) -> bool {
        let term = SignedDuration::from_secs(i64::try_from(self.record.term_seconds).unwrap_or(i64::MAX));
        !self.record.released && now.duration_since(self.renewed) < term
    }
}

/// The lease as it stands, when there is one.
///
/// # Errors
/// When the state cannot be read.
pub async fn standing(store: &crate::store::ReadStore) -> Result<Option<Standing>, SweepError> {
    let mut gone = String::new();
    for _ in 0..LOOKS {
        let mut highest = None;
        for object in store.list_state(DIRECTORY).await? {
            let number = object.key.rsplit('/').next().and_then(|name| name.parse::<u64>().ok());
            highest = highest.max(number);
        }
        let Some(number) = highest else { return Ok(None) };
        // One that is gone when it is read made room for the next: it does not say that there is none.
        let Some((body, renewed)) = store.get_state(&key(number)).await? else {
            gone = key(number);
            continue;
        };
        let record = serde_json::from_slice(&body)
            .map_err(|source| SweepError::Format { key: key(number), source })?;
        return Ok(Some(Standing { number, record, renewed }));
    }
    Err(StoreError::Vanished { key: gone }.into())
}

fn key(number: u64) -> String {
    format!("{DIRECTORY}/{number:012}")
}

/// The store's own time, and proof that it honours create-if-absent.
async fn probe(store: &WriteStore, holder: &str) -> Result<Timestamp, SweepError> {
    let key = format!("{DIRECTORY}-probe/{holder}");
    trash::remove_state(store, &key).await?;
    let first = store.create_state(&key, b"probe".to_vec()).await?;
    let second = store.create_state(&key, b"probe".to_vec()).await?;
    let stamped = store.read().get_state(&key).await?.map(|(_, modified)| modified);
    trash::remove_state(store, &key).await?;
    match (first, second, stamped) {
        (true, false, Some(stamped)) => Ok(stamped),
        _ => Err(SweepError::NoConditions),
    }
}

impl Lease {
    /// Takes the lease, or says who has it.
    ///
    /// # Errors
    /// [`SweepError::LeaseHeld`], [`SweepError::ClockSkew`], [`SweepError::NoConditions`].
    pub async fn take(
        store: &WriteStore,
        clock: &dyn Clock,
        run: &str,
        skew: SignedDuration,
    ) -> Result<Self, SweepError> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let process = std::process::id();
        let holder = format!("{host}-{process}-{run}");
        let place = place();
        let store_now = probe(store, &holder).await?;
        let now = clock.now();
        let ahead = now.duration_since(store_now);
        let apart = ahead.abs();
        if apart > skew {
            return Err(SweepError::ClockSkew { apart, limit: skew });
        }
        let standing = standing(store.read()).await?;
        if let Some(standing) = &standing
            && standing.holds(store_now)
            && !died_here(&standing.record, &place)
        {
            return Err(SweepError::LeaseHeld {
                holder: standing.record.holder.clone(),
                renewed: standing.renewed,
                term: standing.record.term_seconds,
            });
        }
        let number = standing.as_ref().map_or(1, |standing| standing.number + 1);
        let record = Record {
            schema: SCHEMA.into(),
            holder,
            place,
            process,
            taken: now,
            term_seconds: TERM.as_secs(),
            released: false,
        };
        if !store.create_state(&key(number), encode(&record)?).await? {
            return Err(SweepError::LeaseHeld {
                holder: "another".into(),
                renewed: store_now,
                term: TERM.as_secs(),
            });
        }
        let lost = Arc::new(AtomicBool::new(false));
        let renewal = tokio::spawn(renew(store.clone(), number, record.clone(), lost.clone()));
        let lease = Self { store: store.clone(), number, record, ahead, lost, renewal };
        // Others may have come and gone since the lease was looked at: then this number is one that is over.
        lease.check().await?;
        if let Some(standing) = standing {
            trash::remove_state(store, &key(standing.number)).await?;
        }
        Ok(lease)
    }

    /// How far our clock is ahead of the store's, as measured when the lease was taken. Some stores tell whole seconds, and
    /// an answer takes its time: what is less than that is nothing.
    pub fn ahead(&self) -> SignedDuration {
        if self.ahead.abs() < SignedDuration::from_secs(2) { SignedDuration::ZERO } else { self.ahead }
    }

    /// The fencing number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Refuses when the lease was lost. Asked before every batch of effects.
    ///
    /// # Errors
    /// [`SweepError::LeaseLost`].
    pub async fn check(&self) -> Result<(), SweepError> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(SweepError::LeaseLost);
        }
        match standing(self.store.read()).await? {
            Some(standing) if standing.number == self.number => Ok(()),
            _ => Err(SweepError::LeaseLost),
        }
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// When the state cannot be written; the lease then ends by itself after its term.
    pub async fn release(self) -> Result<(), SweepError> {
        self.renewal.abort();
        let record = Record { released: true, ..self.record.clone() };
        Ok(self.store.put_state(&key(self.number), encode(&record)?).await?)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

fn encode(record: &Record) -> Result<Vec<u8>, SweepError> {
    serde_json::to_vec(record).map_err(|source| SweepError::Format { key: DIRECTORY.into(), source })
}

/// Where process numbers are ours to interpret. Containers of one pod share a host name and not their processes.
fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), namespace.display())
}

/// Whether the holder was a process beside us that is gone: after a crash nobody has to wait for the term to end.
fn died_here(record: &Record, place: &str) -> bool {
    record.place == place
        && place.contains("pid:")
        && record.process != std::process::id()
        && !std::path::Path::new(&format!("/proc/{}", record.process)).exists()
}

async fn renew(store: WriteStore, number: u64, record: Record, lost: Arc<AtomicBool>) {
    let Ok(body) = encode(&record) else { return };
    loop {
        tokio::time::sleep(TERM / 3).await;
        let current = standing(store.read()).await;
        let ours = matches!(&current, Ok(Some(standing)) if standing.number == number);
        if !ours || store.put_state(&key(number), body.clone()).await.is_err() {
            lost.store(true, Ordering::Relaxed);
            return;
        }
    }
}
