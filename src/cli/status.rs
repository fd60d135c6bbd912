//! `regsweep status`

use clap::Args;
use serde::Serialize;

use super::{CommandResult, StoreArgs, data, json};
use crate::clock::{Clock as _, System};
use crate::config::values::Period;
use crate::exit::Exit;
use crate::report::text;
use crate::sweep::journal::RunKind;
use crate::sweep::{RunReport, lease, state};

#[derive(Debug, Clone, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Serialize)]
struct Status {
    schema: &'static str,
    lease: Option<LeaseStatus>,
    condemned: u64,
    /// Of these, how many have waited for the grace: the next run takes them, if nothing names them by then.
    condemned_due: u64,
    /// When the first of the others has.
    condemned_next: Option<jiff::Timestamp>,
    trash_objects: u64,
    trash_bytes: u64,
    pinned_until: Option<jiff::Timestamp>,
    runs: Vec<RunStatus>,
}

#[derive(Debug, Serialize)]
struct LeaseStatus {
    number: u64,
    holder: String,
    held: bool,
    renewed: jiff::Timestamp,
}

#[derive(Debug, Serialize)]
struct RunStatus {
    run: String,
    kind: RunKind,
    started: jiff::Timestamp,
    ended: bool,
    freed_bytes: Option<u64>,
    given_back: Option<u64>,
    failed: Option<usize>,
}

/// Runs that are shown.
const SHOWN: usize = 10;

pub(super) async fn run(args: StatusArgs) -> CommandResult {
    let store = args.store.open()?;
    let now = System.now();
    let standing = lease::standing(&store).await?;
    let memory = state::read(&store).await?;
    let mut runs = Vec::new();
    for recorded in memory.runs.iter().rev().take(SHOWN) {
        let sweep = !matches!(recorded.run.kind, RunKind::Restore { .. });
        let report: Option<RunReport> =
            if sweep && recorded.ended { state::report(&store, &recorded.run.run).await? } else { None };
        runs.push(RunStatus {
            run: recorded.run.run.clone(),
            kind: recorded.run.kind.clone(),
            started: recorded.run.started,
            ended: recorded.ended,
            freed_bytes: report.as_ref().map(|report| report.executed.freed_bytes),
            given_back: report.as_ref().map(|report| report.executed.given_back()),
            failed: report.as_ref().map(|report| report.executed.failed.len()),
        });
    }
    // The grace is the policy's, which the last run went by.
    let last = memory.runs.iter().rev().find(|recorded| matches!(recorded.run.kind, RunKind::Sweep(_)));
    let grace = last.map_or(Period::ZERO, |recorded| recorded.run.grace).as_signed();
    let until = memory.condemned.values().filter_map(|one| one.since.checked_add(grace).ok());
    let (due, waiting): (Vec<_>, Vec<_>) = until.partition(|until| *until <= now);
    let status = Status {
        schema: "regsweep/status/1",
        lease: standing.map(|standing| LeaseStatus {
            number: standing.number,
            held: standing.holds(now),
            holder: standing.record.holder,
            renewed: standing.renewed,
        }),
        condemned: memory.condemned.len() as u64,
        condemned_due: due.len() as u64,
        condemned_next: waiting.into_iter().min(),
        trash_objects: memory.trash.len() as u64,
        trash_bytes: memory.trash.iter().map(|item| item.size).sum(),
        pinned_until: memory.pins.iter().map(|pins| pins.until).filter(|until| *until > now).max(),
        runs,
    };
    if args.store.json {
        json(&status)?;
    } else {
        tell(&status);
    }
    Ok(Exit::Done)
}

fn tell(status: &Status) {
    match &status.lease {
        Some(lease) if lease.held => {
            data(&format!("lease      held by {}, renewed {}\n", lease.holder, lease.renewed));
        }
        _ => data("lease      free\n"),
    }
    let due = match status.condemned_due {
        0 => String::new(),
        due => format!(", {} of which may go now", text::number(due)),
    };
    let next =
        status.condemned_next.map(|next| format!(", the next from {}", next.strftime("%Y-%m-%d %H:%M UTC")));
    let count = text::number(status.condemned);
    data(&format!("condemned  {count} blobs{due}{}\n", next.unwrap_or_default()));
    data(&format!(
        "trash      {} in {} objects\n",
        text::bytes(status.trash_bytes),
        text::number(status.trash_objects)
    ));
    if let Some(until) = status.pinned_until {
        data(&format!("pinned     what was restored is kept until {until}\n"));
    }
    if status.runs.is_empty() {
        data("runs       none\n");
    }
    for run in &status.runs {
        let outcome = match (run.ended, run.freed_bytes, run.failed) {
            (false, ..) => "interrupted; the next run looks after it".to_owned(),
            _ if matches!(run.kind, RunKind::Mend(_)) => {
                format!("gave back {} objects", text::number(run.given_back.unwrap_or(0)))
            }
            (true, Some(freed), Some(0)) => format!("freed {}", text::bytes(freed)),
            (true, Some(freed), Some(failed)) => {
                format!("freed {}, {failed} steps failed", text::bytes(freed))
            }
            (true, ..) => "restored".to_owned(),
        };
        data(&format!("run        {}   {outcome}\n", run.run));
    }
}
