//! `regsweep restore`

use clap::Args;
use serde::Serialize;

use super::{CommandResult, Failure, StoreArgs, afterwards, data, json, talk, usage};
use crate::clock::{Clock as _, System};
use crate::exit::Exit;
use crate::layout::{Afterwards, Flags, Keeps};
use crate::oci::{Digest, ImageReference};
use crate::pipeline;
use crate::plan::limits::Limits;
use crate::report::text;
use crate::sweep::Means;
use crate::sweep::cache::Caches;
use crate::sweep::journal::RunKind;
use crate::sweep::restore::{self, Restored, Wanted};
use crate::sweep::state;

#[derive(Debug, Clone, Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// A run as `restore STORE` lists it, or a repository, repository:tag, repository@digest, or a digest; nothing lists the runs
    #[arg(value_name = "RUN|IMAGE|DIGEST", env = "REGSWEEP_RESTORE")]
    pub what: Option<String>,
}

#[derive(Debug, Serialize)]
struct Undoable {
    run: String,
    started: jiff::Timestamp,
    ended: bool,
    trash_objects: u64,
    trash_bytes: u64,
}

#[derive(Debug, Serialize)]
struct RestoreReport<'r> {
    schema: &'static str,
    run: &'r str,
    data: usize,
    links: usize,
    /// Records that say again what they said.
    #[serde(skip_serializing_if = "is_zero")]
    records: usize,
    already_there: usize,
    changed_since: &'r [String],
    lost: &'r [String],
    failed: Vec<String>,
    kept_until: jiff::Timestamp,
    /// What is to be done where records were flagged.
    #[serde(skip_serializing_if = "Option::is_none")]
    afterwards: Option<&'r Afterwards>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

pub(super) async fn run(mut args: RestoreArgs) -> CommandResult {
    // With the registry's configuration in the place of STORE, the one word left is what to restore.
    if args.store.registry_config.is_some() && args.what.is_none() {
        args.what = args.store.store.take();
    }
    let Some(what) = &args.what else { return list(&args).await };
    let (store, layout) = args.store.open_to_change()?;
    let wanted = wanted(what)?;
    if layout.keeps() == Keeps::Records && !matches!(wanted, Wanted::Run(_)) {
        return Err(usage(anyhow::anyhow!(
            "{what} is no run, and of a {} store only whole runs come back: restore without it lists them",
            layout.name()
        )));
    }
    let caches = Caches::default();
    let means = Means { store: &store, layout, caches: &caches, clock: &System };
    let session = pipeline::begin(&means, &Limits::default()).await?;
    let result = restore::restore(&session.lease, &store, layout, &wanted, &session.run, System.now()).await;
    session.lease.release().await?;
    let (plan, restored) = result?;
    let records: Vec<String> = plan.marks.iter().map(|marked| marked.key.clone()).collect();
    let told = afterwards::of_records(store.read(), layout, Flags::Lifted, &records);
    tell(&args, &session.run, plan.pins.until, &restored, told.as_ref())?;
    Ok(if restored.failed.is_empty() && restored.lost.is_empty() { Exit::Done } else { Exit::SomeFailed })
}

/// A run's name begins with a moment; anything else is an image or a digest.
fn wanted(what: &str) -> Result<Wanted, Failure> {
    let digits = what.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 8 && what[8..].starts_with('T') && !what.contains([':', '@', '/']) {
        return Ok(Wanted::Run(what.to_owned()));
    }
    if let Ok(digest) = what.parse::<Digest>() {
        return Ok(Wanted::Blob(digest));
    }
    let image: ImageReference = what.parse().map_err(usage)?;
    Ok(Wanted::Image(image))
}

fn tell(
    args: &RestoreArgs,
    run: &str,
    until: jiff::Timestamp,
    restored: &Restored,
    told: Option<&Afterwards>,
) -> Result<(), Failure> {
    let failed: Vec<String> =
        restored.failed.iter().map(|(key, error)| format!("{key}: {}", error.with_cause())).collect();
    if args.store.json {
        return json(&RestoreReport {
            schema: "regsweep/restore-report/1",
            run,
            data: restored.data,
            links: restored.links,
            records: restored.marks,
            already_there: restored.there,
            changed_since: &restored.changed,
            lost: &restored.lost,
            failed,
            kept_until: until,
            afterwards: told,
        });
    }
    data(&format!(
        "restored   {} blobs, {} links; {} were there already\n",
        restored.data, restored.links, restored.there
    ));
    if restored.marks > 0 {
        data(&format!("unflagged  {}\n", text::number(restored.marks as u64)));
    }
    data(&format!("kept until {} whatever a policy says\n", until.strftime("%Y-%m-%d %H:%M UTC")));
    for (what, keys) in [
        ("left, it says something else by now:", &restored.changed),
        ("LOST, it is not in the trash any more:", &restored.lost),
        ("FAILED", &failed),
    ] {
        for key in keys {
            data(&format!("{what} {key}\n"));
        }
    }
    if let Some(told) = told {
        afterwards::tell(told, true);
    }
    if !restored.lost.is_empty() {
        talk("some data is gone for good: the trash was purged, or the run kept none (trash.keep: 0)");
    }
    Ok(())
}

async fn list(args: &RestoreArgs) -> CommandResult {
    let store = args.store.open()?;
    let memory = state::read(&store).await?;
    let runs: Vec<Undoable> = memory
        .runs
        .iter()
        .filter(|recorded| matches!(recorded.run.kind, RunKind::Sweep(_)))
        .map(|recorded| {
            let trash = memory.trash.iter().filter(|item| item.run == recorded.run.run);
            Undoable {
                run: recorded.run.run.clone(),
                started: recorded.run.started,
                ended: recorded.ended,
                trash_objects: trash.clone().count() as u64,
                trash_bytes: trash.map(|item| item.size).sum(),
            }
        })
        .collect();
    if args.store.json {
        json(&serde_json::json!({ "schema": "regsweep/undoable/1", "runs": runs }))?;
    } else if runs.is_empty() {
        data("no run has taken anything\n");
    } else {
        for run in &runs {
            let state = if run.ended { "" } else { "   (interrupted)" };
            data(&format!(
                "{}   {}   {} in the trash, {}{state}\n",
                run.run,
                run.started.strftime("%Y-%m-%d %H:%M UTC"),
                text::number(run.trash_objects),
                text::bytes(run.trash_bytes)
            ));
        }
    }
    Ok(Exit::Done)
}
