//! When a command stops before its end.

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Failure;
use crate::pipeline::PipelineError;
use crate::store::ReadStore;

use crate::clock::{Clock as _, System};
use crate::config::values::Period;
use crate::exit::Exit;

/// Says when to stop: on a signal, or when the time is over. The step in hand is always finished.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    /// The signal's number; 0 while there is none.
    pub(super) signal: watch::Receiver<u8>,
    deadline: Option<jiff::Timestamp>,
}

impl Stop {
    pub(super) fn listen(max_runtime: Option<Period>) -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let (told, heard) = watch::channel(0);
        for (kind, number) in [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15)] {
            let told = told.clone();
            if let Ok(mut signals) = signal(kind) {
                tokio::spawn(async move {
                    if signals.recv().await.is_some() {
                        told.send_replace(number);
                    }
                });
            }
        }
        Self { signal: heard, deadline: None }.within(max_runtime)
    }

    /// The same, for work that may take so long from now on.
    pub(super) fn within(&self, max_runtime: Option<Period>) -> Self {
        let deadline = max_runtime.and_then(|limit| System.now().checked_add(limit.as_duration()).ok());
        Self { signal: self.signal.clone(), deadline }
    }

    pub(super) fn requested(&self) -> bool {
        *self.signal.borrow() != 0 || self.deadline.is_some_and(|deadline| System.now() >= deadline)
    }

    /// Ends looking at a store when a signal comes, for as long as what it returns is kept. Nothing was decided by then.
    pub(super) fn ends_looking_at(&self, store: &ReadStore) -> Looking {
        let (mut signal, progress) = (self.signal.clone(), store.progress().clone());
        Looking(tokio::spawn(async move {
            if signal.wait_for(|signal| *signal != 0).await.is_ok() {
                progress.stop();
            }
        }))
    }

    /// How a command ends that failed: by the signal, when that is why.
    pub(super) fn why(&self, failure: Failure) -> Failure {
        let stopped = failure.error.downcast_ref::<PipelineError>().is_some_and(PipelineError::is_stopped);
        match self.exit() {
            Some(exit) if stopped => Failure { exit, ..failure },
            _ => failure,
        }
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        match *self.signal.borrow() {
            0 => None,
            number => Some(Exit::Signal(number)),
        }
    }
}

/// A store that is looked at until a signal comes.
pub(super) struct Looking(JoinHandle<()>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.abort();
    }
}
