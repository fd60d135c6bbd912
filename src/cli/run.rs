//! `regsweep run`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::progress::Shown;
use super::{
    CommandResult, Failure, LAYOUT, PolicyArgsOf, Stop, StoreArgs, audit, data, json, plan as plan_command,
    talk, usage,
};
use crate::clock::{Clock as _, System};
use crate::config::values::Period;
use crate::exit::Exit;
use crate::inventory::Depth;
use crate::pipeline::{self, Job, Session, Survey};
use crate::plan::{Condemned, Mode, Plan, Refusal};
use crate::policy::Policy;
use crate::report::Problems;
use crate::report::text::{self, Detail, PlanText};
use crate::store::{Requests, WriteStore};
use crate::sweep::Executed;

#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub policy: PolicyArgsOf,
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
    recovered: Vec<String>,
    problems: &'r Problems,
    requests: Requests,
}

pub(super) async fn run(args: RunArgs) -> CommandResult {
    if args.report_orphans {
        return audit::run(audit::AuditArgs { store: args.store, policy: args.policy, problems: true }).await;
    }
    if args.dry_run {
        let RunArgs { store, policy, all, .. } = args;
        return plan_command::run(plan_command::PlanArgs { store, policy, out: None, all }).await;
    }
    let (policy, given) = match &args.plan {
        Some(path) => {
            let (of_plan, plan) = read_plan(path)?;
            // A policy beside a plan must be the one that made it; the checker says so when it is another.
            (args.policy.read()?.or(of_plan), plan)
        }
        None => (args.policy.read()?, None),
    };
    warn_of_cache(&args);
    let store = args.store.open_to_change()?;
    let job = args.policy.job(policy.as_ref(), args.store.manifest_cache(store.read()));
    let stop = Stop::listen(args.max_runtime);
    let session = pipeline::begin(&store, &LAYOUT, &job.limits, &System).await?;
    for recovered in &session.recovered {
        talk(&format!(
            "the interrupted run {} was closed: {} steps finished, {} had been done, {} left for this run",
            recovered.run, recovered.finished, recovered.found_done, recovered.left
        ));
    }
    let result = under_lease(&args, &job, given, &store, &session, &stop).await;
    let released = session.lease.release().await;
    let exit = result?;
    released?;
    Ok(stop.exit().unwrap_or(exit))
}

async fn under_lease(
    args: &RunArgs,
    job: &Job<'_>,
    given: Option<Plan>,
    store: &WriteStore,
    session: &Session,
    stop: &Stop,
) -> CommandResult {
    let shown = Shown::of(store.read());
    let survey = pipeline::survey(store.read(), &LAYOUT, job, Depth::Names, &System).await?;
    drop(shown);
    let plan = given.unwrap_or_else(|| survey.plan(store.read(), &LAYOUT, job));
    let problems = Problems::of(&survey.inventory, &survey.marks, &survey.memory.stray_trash);
    let shown = |plan: &Plan, refusals: &[Refusal]| {
        // A plan that comes from a file was read before.
        let detail = if args.plan.is_some() && !args.all { Detail::Totals } else { Detail::all_if(args.all) };
        text::plan(&PlanText { plan, problems: &problems, refusals, requests: None, detail })
    };
    let report = |plan: &Plan| RunReport {
        schema: "regsweep/run-report/1",
        run: session.run.clone(),
        header: plan.header.clone(),
        freed: plan.freed.clone(),
        planned_steps: plan.steps.len(),
        refusals: Vec::new(),
        executed: None,
        condemned: plan.condemned.clone(),
        recovered: session.recovered.iter().map(|recovered| recovered.run.clone()).collect(),
        problems: &problems,
        requests: store.read().requests(),
    };
    let checked = match survey.check(plan, store.read(), job) {
        Ok(checked) => checked,
        Err(refused) => {
            if args.store.json {
                let refusals = refused.refusals.iter().map(ToString::to_string).collect();
                json(&RunReport { refusals, ..report(&refused.plan) })?;
            } else {
                data(&shown(&refused.plan, &refused.refusals));
            }
            return Ok(Exit::Refused);
        }
    };
    // A person sees what will be done before it is done.
    if !args.store.json {
        data(&shown(checked.plan(), &[]));
    }
    let mut report = report(checked.plan());
    let shown = Shown::of(store.read());
    let executed = sweep(session, checked, &survey, store, job, stop).await?;
    drop(shown);
    report.requests = store.read().requests();
    if args.store.json {
        json(&RunReport { executed: Some(&executed), ..report })?;
    } else {
        let keeps_trash = !job.limits.trash_keep.is_zero();
        let identity = store.read().identity();
        data(&text::executed(&session.run, identity, &executed, keeps_trash, &report.requests));
    }
    after_word(job, &executed);
    Ok(if executed.failed.is_empty() { Exit::Done } else { Exit::SomeFailed })
}

async fn sweep(
    session: &Session,
    checked: crate::plan::CheckedPlan,
    survey: &Survey,
    store: &WriteStore,
    job: &Job<'_>,
    stop: &Stop,
) -> Result<Executed, Failure> {
    let nothing = checked.plan().steps.is_empty()
        && checked.plan().condemned.is_empty()
        && survey.memory.condemned.is_empty();
    if nothing {
        return Ok(Executed::default());
    }
    Ok(pipeline::sweep(session, checked, survey, store, &LAYOUT, job, &System, || stop.requested()).await?)
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

/// A registry that remembers blobs in memory must be told that they are gone; only a restart does that.
fn warn_of_cache(args: &RunArgs) {
    use crate::config::registry::DescriptorCache;
    if let Ok(Some(config)) = args.store.registry_configuration() {
        if args.policy.offline && !config.read_only {
            talk(
                "assuming that the registry is stopped or read-only: its configuration does not say read-only",
            );
        }
        match config.cache {
            DescriptorCache::InMemory => talk(
                "the registry caches blob descriptors in memory: restart it before it takes writes again, or it will \
                 acknowledge pushes of what is gone",
            ),
            DescriptorCache::Redis(_) => talk(
                "the registry caches blob descriptors in Redis, which outlives a restart: delete the keys blobs::* and \
                 repository::*, or flush its database, before it takes writes again",
            ),
            DescriptorCache::None => {}
        }
    }
}

fn after_word(job: &Job<'_>, executed: &Executed) {
    let changed = executed.count("sweep") + executed.count("unlink") + executed.count("delete-manifest") > 0;
    if job.mode == Mode::Offline && changed {
        talk(
            "a registry with an in-memory descriptor cache must be restarted before it takes writes again (the \
             configurations that registries ship with have one)",
        );
    }
    tracing::debug!(at = %System.now(), "done");
}
