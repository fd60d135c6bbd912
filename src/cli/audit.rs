//! `regsweep audit`

use clap::Args;

use super::html::HtmlArgs;
use super::progress::Shown;
use super::{CommandResult, Failure, PolicyArgsOf, Stop, StoreArgs, data, json};
use crate::clock::System;
use crate::exit::Exit;
use crate::inventory::Depth;
use crate::layout::RegistryLayout;
use crate::pipeline::{self, Job, Survey};
use crate::plan::build::counts;
use crate::policy::Policy;
use crate::report::Problems;
use crate::report::audit::{Amount, Audit, Classifier, SCHEMA};
use crate::report::text;
use crate::store::ReadStore;

#[derive(Debug, Clone, Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub policy: PolicyArgsOf,
    #[command(flatten)]
    pub html: HtmlArgs,
    /// Name every problem
    #[arg(long, env = "REGSWEEP_PROBLEMS")]
    pub problems: bool,
}

pub(super) async fn run(args: AuditArgs) -> CommandResult {
    args.html.check()?;
    let policy = args.policy.read()?;
    let stop = Stop::listen(None);
    let Looked { store, layout, survey, audit, .. } =
        look(&args.store, &args.policy, policy.as_ref(), &stop).await.map_err(|failure| stop.why(failure))?;
    if args.store.json {
        json(&audit)?;
    } else {
        data(&text::audit(&audit, args.problems));
    }
    let found = || (Some(survey.contents(Some(audit.classes))), None);
    args.html.write(&args.store, &store, layout, policy.as_ref(), found).await?;
    Ok(stop.exit().unwrap_or(Exit::Done))
}

/// What an audit works with, and what it found.
pub(super) struct Looked<'l> {
    pub store: ReadStore,
    pub layout: &'static dyn RegistryLayout,
    pub job: Job<'l>,
    pub survey: Survey,
    pub audit: Audit,
}

/// Looks at everything in the store.
pub(super) async fn look<'l>(
    at: &StoreArgs,
    by: &PolicyArgsOf,
    policy: Option<&'l Policy>,
    stop: &Stop,
) -> Result<Looked<'l>, Failure> {
    let store = at.open()?;
    let _looking = stop.ends_looking_at(&store);
    let layout = at.layout(&store)?;
    let job = by.job(policy, at, &store)?;
    let shown = Shown::of(&store);
    let survey = pipeline::survey(&store, layout, &job, Depth::Everything, &System).await?;
    drop(shown);
    let young = survey.in_grace(&job);
    let (classes, blobs) = Classifier::run(&survey.inventory, &survey.marks, &young, &job.limits, survey.now);
    let total = classes.values().fold(Amount::default(), |sum, amount| Amount {
        objects: sum.objects + amount.objects,
        bytes: sum.bytes + amount.bytes,
    });
    let audit = Audit {
        schema: SCHEMA,
        store: store.identity().clone(),
        layout: layout.name(),
        listed_at: survey.inventory.listed_at,
        saw: counts(&survey.inventory, &survey.marks),
        classes,
        total,
        blobs,
        shared_bytes: survey
            .inventory
            .assets
            .as_ref()
            .map(|assets| assets.list.iter().map(|asset| asset.shared).sum()),
        beside: survey.inventory.beside.clone(),
        notes: survey.emptied(&store).into_iter().collect(),
        foreign_examples: survey.inventory.foreign.examples.clone(),
        problems: Problems::of(&survey.inventory, &survey.marks, &survey.memory.stray_trash),
        requests: store.requests(),
    };
    Ok(Looked { store, layout, job, survey, audit })
}
