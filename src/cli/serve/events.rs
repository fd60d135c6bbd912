//! Writes what the registry told into the record of pulls.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::cli::{Failure, StoreArgs, talk};
use crate::clock::{Clock as _, System};
use crate::policy::IgnoredPulls;
use crate::sidecar::board::Board;
use crate::sidecar::events::{EVERY, Intake};
use crate::store::WriteStore;
use crate::sweep::pulls;

/// Who writes.
pub(super) struct Writer {
    at: StoreArgs,
    intake: Arc<Intake>,
    board: Arc<Board>,
    /// The store once it was opened, until something goes wrong. Who has it writes; nobody else does then.
    store: Mutex<Option<WriteStore>>,
}

impl Writer {
    pub(super) fn of(at: StoreArgs, intake: Arc<Intake>, board: Arc<Board>) -> Self {
        Self { at, intake, board, store: Mutex::default() }
    }

    /// Leaves out the pulls of these from now on.
    pub(super) fn ignore(&self, ignored: IgnoredPulls) {
        self.intake.ignore(ignored);
    }

    /// Writes what waits. What cannot be written waits on.
    pub(super) async fn write(&self) {
        let mut store = self.store.lock().await;
        let Some(record) = self.intake.out() else { return };
        let now = System.now();
        let result = match store.take() {
            Some(open) => Ok(open),
            None => self.at.open_to_change().map(|(open, _)| open),
        };
        let written = match result {
            Ok(open) => match pulls::add(&open, &record, now).await {
                Ok(()) => {
                    *store = Some(open);
                    Ok(())
                }
                Err(error) => Err(Failure::from(error)),
            },
            Err(failure) => Err(failure),
        };
        let problem = written.err().map(|failure| format!("{:#}", failure.error));
        match &problem {
            None => self.intake.written(record, now),
            Some(_) => self.intake.back(record, now),
        }
        let mut news = false;
        self.board.note(|facts| {
            news = facts.events_problem != problem;
            facts.events_problem.clone_from(&problem);
        });
        if let Some(why) = problem.filter(|_| news) {
            talk(&format!("events of the registry wait, since they cannot be written: {why}"));
        }
    }
}

/// Writes what waits, again and again, when it is time to.
pub(super) async fn write_on(writer: Arc<Writer>) {
    loop {
        System.sleep(EVERY).await;
        if writer.intake.is_due(System.now()) {
            writer.write().await;
        }
    }
}
