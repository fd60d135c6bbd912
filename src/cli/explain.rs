//! `regsweep explain`

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::progress::Shown;
use super::{CommandResult, Failure, PolicyArgsOf, StoreArgs, data, json, talk, usage};
use crate::clock::System;
use crate::exit::Exit;
use crate::inventory::Depth;
use crate::pipeline;
use crate::plan::Mode;
use crate::plan::explain::{Asked, Explained};
use crate::report::text;
use crate::store::Identity;

#[derive(Debug, Clone, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// REPOSITORY, REPOSITORY:TAG, REPOSITORY@DIGEST, or the digest of a blob
    #[arg(value_name = "IMAGE", required_unless_present = "registry_config")]
    pub image: Option<String>,
    #[command(flatten)]
    pub policy: PolicyArgsOf,
    /// Show everything that pins it, and every tag of a repository
    #[arg(long, env = "REGSWEEP_ALL")]
    pub all: bool,
}

/// What `explain --json` prints.
#[derive(Debug, Serialize)]
struct Document<'d> {
    schema: &'static str,
    store: &'d Identity,
    listed_at: Timestamp,
    mode: Mode,
    policy_origin: Option<&'d str>,
    #[serde(flatten)]
    explained: &'d Explained,
    /// The next run gives something back, and decides what goes when it is there.
    gives_back_first: bool,
}

pub(super) async fn run(mut args: ExplainArgs) -> CommandResult {
    // With the registry's configuration in the place of STORE, the one word left is what to explain.
    if args.store.registry_config.is_some() && args.image.is_none() {
        args.image = args.store.store.take();
    }
    let asked = asked(args.image.as_deref().unwrap_or_default())?;
    let policy = args.policy.read()?;
    let store = args.store.open()?;
    let layout = args.store.layout(&store)?;
    let job = args.policy.job(policy.as_ref(), &args.store, &store)?;
    let shown = Shown::of(&store);
    let survey = pipeline::survey(&store, layout, &job, Depth::Names, &System).await?;
    drop(shown);
    let explained = survey.explain(&store, &job, &asked).map_err(usage)?;
    let gives_back_first = survey.gives_back_first(&store, layout, &job);
    if args.store.json {
        json(&Document {
            schema: "regsweep/explain/1",
            store: store.identity(),
            listed_at: survey.inventory.listed_at,
            mode: job.mode,
            policy_origin: policy.as_ref().map(crate::policy::Policy::origin),
            explained: &explained,
            gives_back_first,
        })?;
    } else {
        data(&text::explained(&explained, args.all));
        if gives_back_first {
            talk("the next run gives something back first, and decides what goes when it is there");
        }
    }
    Ok(Exit::Done)
}

/// A digest stands for a blob; everything else is an image.
fn asked(text: &str) -> Result<Asked, Failure> {
    if text.starts_with("sha256:") || text.starts_with("sha512:") {
        return text.parse().map(Asked::Digest).map_err(usage);
    }
    text.parse().map(Asked::Image).map_err(usage)
}
