//! `regsweep run`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use jiff::SignedDuration;
use serde::Serialize;

use super::html::HtmlArgs;
use super::progress::Shown;
use super::{
    CacheArgs, CommandResult, Failure, LAYOUT, PolicyArgsOf, Stop, StoreArgs, audit, data, json,
    plan as plan_command, talk, usage,
};
use crate::clock::System;
use crate::config::values::Period;
use crate::exit::Exit;
use crate::pipeline::{self, Cycle, Cycled, Session, Survey};
use crate::plan::{Condemned, Mode, Plan, Refusal};
use crate::policy::{Policy, Source, SourceKind};
use crate::report::Problems;
use crate::report::html::{Contents, Planned, Standing};
use crate::report::text::{self, Detail, PlanText};
use crate::store::{Requests, Tree};
use crate::sweep::cache::{Caches, ReadOnly};
use crate::sweep::{Executed, Means};

#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub policy: PolicyArgsOf,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub html: HtmlArgs,
    #[arg(
        long,
        value_name = "DURATION|later",
        env = "REGSWEEP_SETTLE",
        help = "How long to wait after a sweep beside a registry that serves before looking for pushes that it crossed, or \
                `later` to leave that to the next run [default: 1min in a directory, 15min in a bucket]"
    )]
    pub settle: Option<Settle>,
    /// Carry out exactly this plan, checked again
    #[arg(long, value_name = "FILE", env = "REGSWEEP_PLAN", conflicts_with_all = ["report_orphans", "dry_run"])]
    pub plan: Option<PathBuf>,
    /// The audit, by the name its users know; never writes
    #[arg(long, env = "REGSWEEP_REPORT_ORPHANS")]
    pub report_orphans: bool,
    /// The plan; never writes
    #[arg(long, env = "REGSWEEP_DRY_RUN")]
    pub dry_run: bool,
    /// Stop cleanly after so long; a rerun goes on
    #[arg(long, value_name = "DURATION", env = "REGSWEEP_MAX_RUNTIME")]
    pub max_runtime: Option<Period>,
    /// Show every step and repository
    #[arg(long, env = "REGSWEEP_ALL")]
    pub all: bool,
}

/// How long pushes are given to leave their signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settle {
    /// So long.
    For(Period),
    /// Until the next run.
    Later,
}

impl std::str::FromStr for Settle {
    type Err = <Period as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "later" { Ok(Self::Later) } else { text.parse().map(Self::For) }
    }
}

/// What `run --json` prints.
#[derive(Debug, Serialize)]
struct RunReport<'r> {
    schema: &'static str,
    run: String,
    header: crate::plan::Header,
    freed: crate::plan::Freed,
    planned_steps: usize,
    refusals: Vec<String>,
    executed: Option<&'r Executed>,
    condemned: Vec<Condemned>,
    /// What was given back because a push needs it.
    mended: &'r [Mended],
    /// Whether pushes that the sweep crossed were looked for.
    verified: bool,
    recovered: Vec<String>,
    problems: &'r Problems,
    requests: Requests,
}

/// A round of giving back.
#[derive(Debug, Serialize)]
struct Mended {
    run: String,
    executed: Executed,
}

pub(super) async fn run(args: RunArgs) -> CommandResult {
    if args.report_orphans {
        return audit::run(audit::AuditArgs {
            store: args.store,
            policy: args.policy,
            html: args.html,
            problems: true,
        })
        .await;
    }
    if args.dry_run {
        let RunArgs { store, policy, cache, html, all, .. } = args;
        return plan_command::run(plan_command::PlanArgs { store, policy, cache, html, out: None, all })
            .await;
    }
    args.html.check()?;
    let (policy, given) = match &args.plan {
        Some(path) => {
            let (of_plan, plan) = read_plan(path)?;
            // A policy beside a plan must be the one that made it; the checker says so when it is another.
            (args.policy.read()?.map_or_else(|| trusted(of_plan, path), |own| Ok(Some(own)))?, plan)
        }
        None => (args.policy.read()?, None),
    };
    let caches = args.cache.caches(&args.store)?;
    // A registry that is stopped or read-only is asked for nothing but that.
    let evicted = if args.policy.offline { args.cache.of_stopped(&args.store)? } else { caches.clone() };
    look_at_registry(&args, &caches).await?;
    let store = args.store.open_to_change()?;
    let mut job = args.policy.job(policy.as_ref(), args.store.manifest_cache(store.read()));
    job.purge_ban = caches.purge_ban();
    job.limits.settle = settle(args.settle, store.read().tree());
    let stop = Stop::listen(args.max_runtime);
    let means = Means { store: &store, layout: &LAYOUT, caches: &evicted, clock: &System };
    let session = pipeline::begin(&means, &job.limits).await?;
    for recovered in &session.recovered {
        talk(&format!(
            "the interrupted run {} was closed: {} steps finished, {} had been done, {} left for this run",
            recovered.run, recovered.finished, recovered.found_done, recovered.left
        ));
    }
    let requested = || stop.requested();
    let waits = args.settle != Some(Settle::Later);
    let cycle = Cycle { means, job: &job, waits, stop: &requested };
    let result = under_lease(&args, &cycle, given, &session).await;
    let released = session.lease.release().await;
    let exit = result?;
    released?;
    Ok(stop.exit().unwrap_or(exit))
}

/// In a directory a registry writes its links within milliseconds of looking; a bucket may keep it waiting for minutes.
fn settle(asked: Option<Settle>, tree: &Tree) -> Period {
    match (asked, tree) {
        (Some(Settle::For(period)), _) => period,
        (_, Tree::Directory(_)) => Period::from_signed(SignedDuration::from_mins(1)),
        (_, Tree::Bucket(_)) => Period::from_signed(SignedDuration::from_mins(15)),
    }
}

async fn under_lease(
    args: &RunArgs,
    cycle: &Cycle<'_>,
    given: Option<Plan>,
    session: &Session,
) -> CommandResult {
    let store = cycle.means.store;
    let read_before = given.is_some() && !args.all;
    let mut problems = None;
    let (mut contents, mut planned): (Option<Contents>, Option<Planned>) = (None, None);
    let mut shown = Some(Shown::of(store.read()));
    let cycled = {
        // A person sees what will be done before it is done.
        let mut show = |survey: &Survey, plan: &Plan, refusals: &[Refusal]| {
            let found = Problems::of(&survey.inventory, &survey.marks, &survey.memory.stray_trash);
            if !args.store.json && (!plan.mends || !refusals.is_empty()) {
                // A plan that comes from a file was read before.
                let detail = if read_before { Detail::Totals } else { Detail::all_if(args.all) };
                shown = None;
                data(&text::plan(&PlanText { plan, problems: &found, refusals, requests: None, detail }));
                shown = Some(Shown::of(store.read()));
            }
            problems.get_or_insert(found);
            if args.html.html.is_some() {
                contents.get_or_insert_with(|| survey.contents(None));
                if !plan.mends || !refusals.is_empty() {
                    planned = Some(Planned::of(plan, refusals, Standing::CarriedOut));
                }
            }
        };
        cycle.run(session, given, &mut show).await?
    };
    drop(shown);
    let exit = tell(args, cycle, session, &cycled, &problems.unwrap_or_default())?;
    args.html.write(&args.store, store.read(), cycle.job.policy, contents, planned).await?;
    Ok(exit)
}

fn tell(
    args: &RunArgs,
    cycle: &Cycle<'_>,
    session: &Session,
    cycled: &Cycled,
    problems: &Problems,
) -> CommandResult {
    let store = cycle.means.store;
    let (plan, refusals) = match &cycled.plan {
        Ok(plan) => (plan, [].as_slice()),
        Err(refused) => (&refused.plan, refused.refusals.as_slice()),
    };
    let mended: Vec<Mended> = cycled
        .mended
        .iter()
        .map(|(run, executed)| Mended { run: run.clone(), executed: executed.clone() })
        .collect();
    let requests = store.read().requests();
    if args.store.json {
        json(&RunReport {
            schema: "regsweep/run-report/1",
            run: session.run.clone(),
            header: plan.header.clone(),
            freed: plan.freed.clone(),
            planned_steps: cycled.steps,
            refusals: refusals.iter().map(ToString::to_string).collect(),
            executed: cycled.executed.as_ref(),
            condemned: plan.condemned.clone(),
            mended: &mended,
            verified: cycled.verified,
            recovered: session.recovered.iter().map(|recovered| recovered.run.clone()).collect(),
            problems,
            requests,
        })?;
    } else if let Some(executed) = &cycled.executed {
        for one in &mended {
            data(&text::mended(&one.run, &one.executed));
        }
        let keeps_trash = !cycle.job.limits.trash_keep.is_zero();
        let identity = store.read().identity();
        data(&text::executed(&session.run, identity, executed, keeps_trash, &requests));
    }
    let Some(executed) = &cycled.executed else { return Ok(Exit::Refused) };
    after_word(cycle, cycled, executed);
    let failed = !executed.failed.is_empty() || mended.iter().any(|one| !one.executed.failed.is_empty());
    Ok(if failed { Exit::SomeFailed } else { Exit::Done })
}

fn read_plan(path: &std::path::Path) -> Result<(Option<Policy>, Option<Plan>), Failure> {
    let origin = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the plan {origin}"))
        .map_err(usage)?;
    let plan = Plan::read(&text).map_err(|why| usage(anyhow::anyhow!("{origin} is no plan file: {why}")))?;
    let named = plan.header.policy_origin.clone().unwrap_or_else(|| "the plan's policy".into());
    let policy = match &plan.header.policy {
        Some(text) => Some(Policy::parse(text, &named).map_err(usage)?),
        None => None,
    };
    Ok((policy, Some(plan)))
}

/// The policy that a plan file has in it. A file that somebody hands over says what goes, and that is checked; it does not
/// say what is run here.
fn trusted(policy: Option<Policy>, path: &std::path::Path) -> Result<Option<Policy>, Failure> {
    let commands = |source: &Source| matches!(source.what, SourceKind::Command { .. });
    match policy {
        Some(policy) if policy.sources().iter().any(commands) => Err(usage(anyhow::anyhow!(
            "the policy of {} runs a command to see what is in use, and commands of a plan file are not run: give the \
             policy itself with -p",
            path.display()
        ))),
        policy => Ok(policy),
    }
}

/// What is assumed of the registry, and whether that can be true.
async fn look_at_registry(args: &RunArgs, caches: &Caches) -> Result<(), Failure> {
    if !args.policy.offline {
        talk(&format!("beside a registry that serves; its cache: {}", caches.describe()));
        return Ok(());
    }
    for (registry, answer) in caches.probe_read_only().await.map_err(usage)? {
        match answer {
            ReadOnly::ReadOnly | ReadOnly::Stopped => {}
            ReadOnly::TakesWrites => {
                return Err(Failure {
                    exit: Exit::Refused,
                    error: anyhow::anyhow!(
                        "{registry} takes writes, and --offline says that it does not: stop it, or set \
                         storage.maintenance.readonly.enabled and restart it, or run without --offline"
                    ),
                });
            }
            ReadOnly::Unclear(why) => talk(&format!("whether {registry} takes writes is not clear: {why}")),
        }
    }
    if let Some(config) = args.store.registry_configuration()?
        && !config.read_only
        && args.cache.registry_url.is_empty()
    {
        talk("assuming that the registry is stopped or read-only: its configuration does not say read-only");
    }
    Ok(())
}

fn after_word(cycle: &Cycle<'_>, cycled: &Cycled, executed: &Executed) {
    let changed = executed.count("sweep") + executed.count("unlink") + executed.count("delete-manifest") > 0;
    if cycle.job.mode == Mode::Offline && changed {
        talk(
            "a registry with an in-memory descriptor cache must be restarted before it takes writes again (the \
             configurations that registries ship with have one)",
        );
    }
    if cycle.job.mode == Mode::Online && changed && !cycled.verified {
        talk("pushes that the sweep may have crossed are looked for by the next run");
    }
}
