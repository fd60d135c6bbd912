//! `regsweep run`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::cycle::{Audience, CarriedOut, CycleArgs};
use super::html::HtmlArgs;
use super::progress::Shown;
use super::{CommandResult, Failure, Stop, afterwards, audit, data, json, plan as plan_command, talk, usage};
use crate::config::values::Period;
use crate::exit::Exit;
use crate::layout::Afterwards;
use crate::pipeline::{Cycled, Survey};
use crate::plan::{Condemned, Mode, Plan, Refusal};
use crate::policy::{Policy, Source, SourceKind};
use crate::report::Problems;
use crate::report::html::{Contents, Planned, Standing};
use crate::report::text::{self, Detail, PlanText};
use crate::store::{ReadStore, Requests};
use crate::sweep::Executed;

#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub cycle: CycleArgs,
    #[command(flatten)]
    pub html: HtmlArgs,
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
    /// What was given back because a push needs it.
    mended: &'r [Mended],
    /// Whether pushes that the sweep crossed were looked for.
    verified: bool,
    recovered: Vec<String>,
    problems: &'r Problems,
    requests: Requests,
    /// What is to be done where records were flagged.
    #[serde(skip_serializing_if = "Option::is_none")]
    afterwards: Option<&'r Afterwards>,
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
            store: args.cycle.store,
            policy: args.cycle.policy,
            html: args.html,
            problems: true,
        })
        .await;
    }
    if args.dry_run {
        let RunArgs { cycle: CycleArgs { store, policy, cache, .. }, html, all, .. } = args;
        return plan_command::run(plan_command::PlanArgs { store, policy, cache, html, out: None, all })
            .await;
    }
    args.html.check()?;
    let (policy, given) = match &args.plan {
        Some(path) => {
            let (of_plan, plan) = read_plan(path)?;
            // A policy beside a plan must be the one that made it; the checker says so when it is another.
            (args.cycle.policy.read()?.map_or_else(|| trusted(of_plan, path), |own| Ok(Some(own)))?, plan)
        }
        None => (args.cycle.policy.read()?, None),
    };
    let stop = Stop::listen(args.max_runtime);
    let read_before = given.is_some() && !args.all;
    let mut reader = Reader::of(&args, read_before);
    let carried = args.cycle.carry_out(policy.as_ref(), given, &stop, &mut reader).await;
    let Reader { problems, contents, planned, .. } = reader;
    let carried = match carried {
        Ok(carried) => carried,
        Err(failure) => {
            let found = (contents, planned);
            let written =
                args.html.write_of_failed(&args.cycle.store, policy.as_ref(), found, &failure).await;
            if let Err(why) = written {
                talk(&format!("without the page: {:#}", why.error));
            }
            return Err(stop.why(failure));
        }
    };
    let afterwards = afterwards_of(&carried).await?;
    let exit = tell(&args, &carried, &problems.unwrap_or_default(), afterwards.as_ref())?;
    let found = || (contents, planned);
    args.html.write(&args.cycle.store, carried.store.read(), carried.layout, policy.as_ref(), found).await?;
    Ok(stop.exit().unwrap_or(exit))
}

/// The person who began a run, and sees what will be done before it is done.
struct Reader<'a> {
    args: &'a RunArgs,
    /// A plan that comes from a file was read before.
    read_before: bool,
    problems: Option<Problems>,
    contents: Option<Contents>,
    planned: Option<Planned>,
    shown: Option<Shown>,
}

impl<'a> Reader<'a> {
    fn of(args: &'a RunArgs, read_before: bool) -> Self {
        Self { args, read_before, problems: None, contents: None, planned: None, shown: None }
    }
}

impl Audience for Reader<'_> {
    fn began(&mut self, store: &ReadStore) {
        self.shown = Some(Shown::of(store));
    }

    fn plan(&mut self, store: &ReadStore, survey: &Survey, plan: &Plan, refusals: &[Refusal]) {
        let found = Problems::of(&survey.inventory, &survey.marks, &survey.memory.stray_trash);
        if !self.args.cycle.store.json && (!plan.mends || !refusals.is_empty()) {
            let detail = if self.read_before { Detail::Totals } else { Detail::all_if(self.args.all) };
            self.shown = None;
            data(&text::plan(&PlanText { plan, problems: &found, refusals, requests: None, detail }));
            self.shown = Some(Shown::of(store));
        }
        self.problems.get_or_insert(found);
        if self.args.html.html.is_some() {
            self.contents.get_or_insert_with(|| survey.contents(None));
            if !plan.mends || !refusals.is_empty() {
                self.planned = Some(Planned::of(plan, refusals, Standing::CarriedOut));
            }
        }
    }

    fn ended(&mut self) {
        self.shown = None;
    }
}

/// What is to be done after this run, and after those that were interrupted and ended by it.
async fn afterwards_of(carried: &CarriedOut) -> Result<Option<Afterwards>, Failure> {
    let recovered = carried.recovered.iter().map(|recovered| recovered.run.as_str());
    let runs: Vec<&str> = recovered.chain([carried.run.as_str()]).collect();
    afterwards::of_runs(carried.store.read(), carried.layout, &runs).await
}

fn tell(
    args: &RunArgs,
    carried: &CarriedOut,
    problems: &Problems,
    afterwards: Option<&Afterwards>,
) -> CommandResult {
    let CarriedOut { cycled, requests, .. } = carried;
    let (plan, refusals) = match &cycled.plan {
        Ok(plan) => (plan, [].as_slice()),
        Err(refused) => (&refused.plan, refused.refusals.as_slice()),
    };
    let mended: Vec<Mended> = cycled
        .mended
        .iter()
        .map(|(run, executed)| Mended { run: run.clone(), executed: executed.clone() })
        .collect();
    if args.cycle.store.json {
        json(&RunReport {
            schema: "regsweep/run-report/1",
            run: carried.run.clone(),
            header: plan.header.clone(),
            freed: plan.freed.clone(),
            planned_steps: cycled.steps,
            refusals: refusals.iter().map(ToString::to_string).collect(),
            executed: cycled.executed.as_ref(),
            condemned: plan.condemned.clone(),
            mended: &mended,
            verified: cycled.verified,
            recovered: carried.recovered.iter().map(|recovered| recovered.run.clone()).collect(),
            problems,
            requests: *requests,
            afterwards,
        })?;
    } else if let Some(executed) = &cycled.executed {
        for one in &mended {
            data(&text::mended(&one.run, &one.executed));
        }
        data(&text::executed(
            &carried.run,
            carried.store.read().identity(),
            executed,
            carried.keeps_trash,
            requests,
        ));
        if let Some(told) = afterwards {
            afterwards::tell(told, args.all);
        }
    }
    let Some(executed) = &cycled.executed else { return Ok(Exit::Refused) };
    let by_records = plan.header.records.is_by_policy();
    after_word(args.cycle.policy.mode(), by_records, cycled, executed);
    Ok(if carried.some_failed() { Exit::SomeFailed } else { Exit::Done })
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

fn after_word(mode: Mode, by_records: bool, cycled: &Cycled, executed: &Executed) {
    if executed.count("discard") > 0 {
        talk(
            "the repository manager counts its blobs by itself: run its task \"Repair - Recalculate blob store storage\" on \
             the blob stores, and none that restores the database from blob stores while the trash is kept",
        );
    }
    if cycled.plan.as_ref().is_ok_and(|plan| plan.header.managed) {
        if executed.count("untag") + executed.count("delete-manifest") > 0 {
            talk(
                "the repository manager flags what it let go as deleted by itself, an hour or more later, and a task \"Admin - \
                 Compact blob store\" frees it after that: have one run every day",
            );
        }
        return;
    }
    let changed = executed.count("sweep") + executed.count("unlink") + executed.count("delete-manifest") > 0;
    if mode == Mode::Offline && changed && !by_records {
        talk(
            "a registry with an in-memory descriptor cache must be restarted before it takes writes again (the \
             configurations that registries ship with have one)",
        );
    }
    if mode == Mode::Online && changed && !cycled.verified {
        talk("pushes that the sweep may have crossed are looked for by the next run");
    }
}
