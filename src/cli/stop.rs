//! When a command stops before its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::clock::{Clock as _, System};
use crate::config::values::Period;
use crate::exit::Exit;

/// Says when to stop: on a signal, or when the time is over. The step in hand is always finished.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    signal: Arc<AtomicU8>,
    deadline: Option<jiff::Timestamp>,
}

impl Stop {
    pub(super) fn listen(max_runtime: Option<Period>) -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let stop = Self {
            signal: Arc::default(),
            deadline: max_runtime.and_then(|limit| System.now().checked_add(limit.as_duration()).ok()),
        };
        for (kind, number) in [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15)] {
            let flag = stop.signal.clone();
            if let Ok(mut signals) = signal(kind) {
                tokio::spawn(async move {
                    if signals.recv().await.is_some() {
                        flag.store(number, Ordering::Relaxed);
                    }
                });
            }
        }
        stop
    }

    pub(super) fn requested(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
            || self.deadline.is_some_and(|deadline| System.now() >= deadline)
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => Some(Exit::Signal(number)),
        }
    }
}
