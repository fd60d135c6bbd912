//! How far a command has come: told by whoever works, shown by whoever talks to a person. And the other way: whether who
//! looks at a store is to stop, since somebody has asked for that.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::StoreError;
use crate::clock::Stopwatch;

/// What is being done, and how much of it is done.
#[derive(Debug, Default)]
pub struct Progress {
    phases: Mutex<Phases>,
    done: AtomicU64,
    /// 0 while nobody knows.
    total: AtomicU64,
    stopped: watch::Sender<bool>,
}

/// What is being done, since when, and how long everything before it took.
#[derive(Debug, Default)]
struct Phases {
    name: &'static str,
    since: Option<Stopwatch>,
    took: BTreeMap<&'static str, Duration>,
}

impl Phases {
    fn close(&mut self) {
        if let Some(since) = self.since.take() {
            *self.took.entry(self.name).or_default() += since.elapsed();
        }
    }
}

/// What is being done at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Such as `listing repositories`; empty before anything was begun.
    pub phase: &'static str,
    /// Objects, manifests or steps so far.
    pub done: u64,
    /// How many there are in all, where that is known.
    pub total: Option<u64>,
}

impl Progress {
    /// Something else begins, with so many things to do where that is known.
    pub fn begin(&self, phase: &'static str, total: Option<u64>) {
        let mut phases = self.phases();
        phases.close();
        phases.name = phase;
        phases.since = Some(Stopwatch::start());
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total.unwrap_or(0), Ordering::Relaxed);
    }

    /// So many more are done.
    pub fn add(&self, count: usize) {
        self.done.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How far it has come.
    pub fn standing(&self) -> Standing {
        let phase = self.phases().name;
        let total = self.total.load(Ordering::Relaxed);
        Standing { phase, done: self.done.load(Ordering::Relaxed), total: (total > 0).then_some(total) }
    }

    /// How long each phase took that has ended, the one in hand up to now.
    pub fn took(&self) -> BTreeMap<&'static str, Duration> {
        let mut phases = self.phases();
        phases.close();
        phases.since = (!phases.name.is_empty()).then(Stopwatch::start);
        phases.took.clone()
    }

    /// Ends whatever looks at the store. What changes it does not heed this: it finishes its step.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// To be asked between two things to look at.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when that was asked for.
    pub fn go_on(&self) -> Result<(), StoreError> {
        if *self.stopped.borrow() { Err(StoreError::Stopped) } else { Ok(()) }
    }

    /// A request that only looks. Its answer is not waited for when somebody asks to stop.
    ///
    /// # Errors
    /// [`StoreError::Stopped`], or the request's own.
    pub async fn unless_stopped<T>(
        &self,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Err(StoreError::Stopped),
            answer = request => answer,
        }
    }

    fn phases(&self) -> MutexGuard<'_, Phases> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
