//! `regsweep plan`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::html::HtmlArgs;
use super::progress::Shown;
use super::{CacheArgs, CommandResult, Failure, PolicyArgsOf, Stop, StoreArgs, data, json, talk, usage};
use crate::clock::System;
use crate::exit::Exit;
use crate::inventory::Depth;
use crate::pipeline;
use crate::plan::Plan;
use crate::report::Problems;
use crate::report::html::{self, Planned};
use crate::report::text::{self, Detail, PlanText};
use crate::store::Requests;

#[derive(Debug, Clone, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub policy: PolicyArgsOf,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub html: HtmlArgs,
    /// Write the plan to a file that `run --plan` carries out
    #[arg(long, value_name = "FILE", env = "REGSWEEP_OUT")]
    pub out: Option<PathBuf>,
    /// Show every step and repository
    #[arg(long, env = "REGSWEEP_ALL")]
    pub all: bool,
}

/// What `plan --json` prints.
#[derive(Debug, Serialize)]
struct PlanReport<'r> {
    schema: &'static str,
    plan: &'r Plan,
    refusals: Vec<String>,
    problems: &'r Problems,
    requests: Requests,
}

pub(super) async fn run(args: PlanArgs) -> CommandResult {
    args.html.check()?;
    let policy = args.policy.read()?;
    // A store that cannot be written to: a plan that deleted would not compile.
    let store = args.store.open()?;
    let layout = args.store.layout(&store)?;
    let mut job = args.policy.job(policy.as_ref(), &args.store, &store)?;
    job.purge_ban = args.cache.caches(&args.store)?.purge_ban();
    let stop = Stop::listen(None);
    let looking = stop.ends_looking_at(&store);
    let shown = Shown::of(&store);
    let survey = pipeline::survey(&store, layout, &job, Depth::Names, &System).await;
    drop((shown, looking));
    let survey = survey.map_err(|error| stop.why(Failure::from(error)))?;
    let plan = survey.plan(&store, layout, &job);
    let (plan, refusals) = match survey.check(plan, &store, &job) {
        Ok(checked) => (checked.into_plan(), Vec::new()),
        Err(refused) => (refused.plan, refused.refusals),
    };
    if let Some(path) = &args.out {
        let mut text = serde_json::to_string_pretty(&plan).map_err(usage)?;
        text.push('\n');
        std::fs::write(path, text)
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(usage)?;
        let (store, offline) = (&plan.header.store.url, if args.policy.offline { " --offline" } else { "" });
        talk(&format!(
            "the plan is in {0}; to carry it out: regsweep run {store} --plan {0}{offline}",
            path.display()
        ));
    }
    let problems = Problems::of(&survey.inventory, &survey.marks, &survey.memory.stray_trash);
    let requests = store.requests();
    if args.store.json {
        json(&PlanReport {
            schema: "regsweep/plan-report/1",
            plan: &plan,
            refusals: refusals.iter().map(ToString::to_string).collect(),
            problems: &problems,
            requests,
        })?;
    } else {
        let said = PlanText {
            plan: &plan,
            problems: &problems,
            refusals: &refusals,
            requests: Some(&requests),
            detail: Detail::all_if(args.all),
        };
        data(&text::plan(&said));
    }
    let found = || (Some(survey.contents(None)), Some(Planned::of(&plan, &refusals, html::Standing::Made)));
    args.html.write(&args.store, &store, layout, policy.as_ref(), found).await?;
    Ok(stop.exit().unwrap_or(if refusals.is_empty() { Exit::Done } else { Exit::Refused }))
}
