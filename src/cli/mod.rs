//! The command line: what was typed, and one function for each subcommand.
//!
//! stdout is data, stderr is talk. Nothing below this module prints or knows of a dry run.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::config::registry::RegistryConfig;
use crate::exit::{Exit, TABLE};
use crate::inventory::manifest_cache::ManifestCache;
use crate::inventory::scan::ScanError;
use crate::layout::RegistryLayout;
use crate::pipeline::{self, Job, PipelineError};
use crate::plan::Mode;
use crate::plan::limits::{Accept, Limits};
use crate::policy::Policy;
use crate::store::{Access, Location, ReadStore, StoreError, Tree, WriteStore};
use crate::sweep::SweepError;
use cache::CacheArgs;
use stop::Stop;

mod afterwards;
mod audit;
mod cache;
mod cycle;
mod demo;
mod evidence;
mod explain;
mod html;
mod plan;
mod policy;
mod progress;
mod pulls;
mod restore;
mod run;
mod serve;
mod status;
mod stop;

/// The storage garbage collector for self-hosted container registries.
#[derive(Debug, Parser)]
#[command(name = "regsweep", version, about, after_help = TABLE, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put every object of the store in exactly one class; never writes
    Audit(audit::AuditArgs),
    /// Say what would go and why; never writes
    Plan(plan::PlanArgs),
    /// Say why a tag, manifest or blob stays or goes, and what pins it; never writes
    Explain(explain::ExplainArgs),
    /// The batch job: plan, check, sweep, report
    Run(run::RunArgs),
    /// The sidecar: runs on a schedule, a page, metrics and the registry's events on a port
    Serve(Box<serve::ServeArgs>),
    /// Undo a run or one image of it, or list what can be undone
    Restore(restore::RestoreArgs),
    /// Show the lease, the trash, what is condemned and the last runs; never writes
    Status(status::StatusArgs),
    /// Remember when images were pulled, for policies that go by it
    Pulls(pulls::PullsArgs),
    /// Check a policy file, show a preset, or make a policy from another product's rules
    Policy(policy::PolicyArgs),
    /// Make a small registry with everything in it that goes wrong, and walk through it
    Demo(demo::DemoArgs),
}

/// Which store, and how to read it.
#[derive(Debug, Clone, Default, Args)]
struct StoreArgs {
    #[arg(
        value_name = "STORE",
        env = "REGSWEEP_STORE",
        required_unless_present = "registry_config",
        help = "Where the registry keeps its data, the place that holds docker/registry/v2: a path, file://, \
                s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
    )]
    store: Option<String>,
    /// Read the storage from distribution's own configuration file and REGISTRY_* environment
    #[arg(long, value_name = "FILE", env = "REGSWEEP_REGISTRY_CONFIG")]
    registry_config: Option<std::path::PathBuf>,
    #[command(flatten)]
    evidence: evidence::EvidenceArgs,
    /// The layout, when it is not to be detected
    #[arg(long, value_name = "LAYOUT", env = "REGSWEEP_LAYOUT", value_parser = ["distribution", "nexus"])]
    layout: Option<String>,
    /// Requests at once [default: 16 in a directory, 64 in a bucket, fewer when it asks to slow down]
    #[arg(long, value_name = "N", env = "REGSWEEP_CONCURRENCY",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: Option<u16>,
    /// Where to keep lease, journal and reports, as a path or URL, when not in the store [default: .regsweep in the store]
    #[arg(long, value_name = "URL", env = "REGSWEEP_STATE")]
    state: Option<String>,
    /// Requests to a bucket in a second, at most
    #[arg(long, value_name = "N", env = "REGSWEEP_MAX_REQUESTS_PER_SECOND",
          value_parser = clap::value_parser!(u32).range(1..))]
    max_requests_per_second: Option<u32>,
    #[arg(
        long,
        value_name = "DIR",
        env = "REGSWEEP_MANIFEST_CACHE",
        help = "Where to remember what manifests of a bucket say, so that none is read twice, or `off` [default: \
                regsweep in $XDG_CACHE_HOME or ~/.cache]"
    )]
    manifest_cache: Option<std::path::PathBuf>,
    /// Print one JSON document on stdout
    #[arg(long, env = "REGSWEEP_JSON")]
    json: bool,
}

/// Which policy, and what is assumed.
#[derive(Debug, Clone, Args)]
struct PolicyArgsOf {
    /// The policy file; without one only what nothing refers to goes
    #[arg(short, long, value_name = "FILE", env = "REGSWEEP_POLICY")]
    policy: Option<std::path::PathBuf>,
    /// The registry is stopped or read-only: one run condemns and sweeps
    #[arg(long, env = "REGSWEEP_OFFLINE")]
    offline: bool,
    #[arg(
        long,
        value_name = "LIMIT",
        env = "REGSWEEP_ACCEPT",
        value_delimiter = ',',
        help = "Set one limit for this run, by name: tags=40%, bytes=90%, shrink=90%, repository_may_empty, \
                pull_through_cache or no_undo"
    )]
    accept: Vec<Accept>,
}

/// A command that could not do what it was asked, with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// Why.
    pub error: anyhow::Error,
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        let exit = match &error {
            PipelineError::Scan(ScanError::NoRegistry(_) | ScanError::Nothing(_)) => Exit::Refused,
            PipelineError::Scan(ScanError::Threads(_)) => Exit::Usage,
            PipelineError::Scan(ScanError::Incomplete(_)) => Exit::Unreachable,
            PipelineError::Store(error) => store_exit(error),
            PipelineError::Sweep(error) => sweep_exit(error),
            PipelineError::Evidence(error) => evidence::exit(error),
        };
        Self { exit, error: error.into() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { exit: store_exit(&error), error: error.into() }
    }
}

impl From<SweepError> for Failure {
    fn from(error: SweepError) -> Self {
        Self { exit: sweep_exit(&error), error: error.into() }
    }
}

fn store_exit(error: &StoreError) -> Exit {
    match error {
        StoreError::Location { .. } | StoreError::Settings { .. } => Exit::Usage,
        StoreError::OtherState { .. } => Exit::Refused,
        _ => Exit::Unreachable,
    }
}

fn sweep_exit(error: &SweepError) -> Exit {
    match error {
        SweepError::LeaseHeld { .. }
        | SweepError::ClockSkew { .. }
        | SweepError::NoConditions
        | SweepError::Format { .. }
        | SweepError::LeaseLost => Exit::Refused,
        SweepError::Store(error) => store_exit(error),
        SweepError::NothingToRestore(_) => Exit::Usage,
    }
}

fn usage(error: impl Into<anyhow::Error>) -> Failure {
    Failure { exit: Exit::Usage, error: error.into() }
}

type CommandResult = Result<Exit, Failure>;

/// Carries out what was typed. Errors are told on stderr.
pub async fn main(cli: Cli) -> Exit {
    match Box::pin(carry_out(cli.command)).await {
        Ok(exit) => exit,
        Err(failure) => {
            talk(&format!("error: {:#}", failure.error));
            failure.exit
        }
    }
}

async fn carry_out(command: Command) -> CommandResult {
    match command {
        Command::Audit(args) => audit::run(args).await,
        Command::Plan(args) => plan::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::Run(args) => Box::pin(run::run(args)).await,
        Command::Serve(args) => serve::run(*args).await,
        Command::Restore(args) => restore::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Pulls(args) => pulls::run(args).await,
        Command::Policy(args) => policy::run(&args),
        Command::Demo(args) => demo::run(&args).await,
    }
}

/// Says something to the person.
#[expect(clippy::print_stderr, reason = "talk goes to stderr, and only from here")]
fn talk(text: &str) {
    eprintln!("{}", text.trim_end());
}

/// Prints data. A reader that has gone away is no error.
fn data(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn json<T: Serialize>(document: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(document).map_err(usage)?;
    text.push('\n');
    data(&text);
    Ok(())
}

impl StoreArgs {
    fn location(&self) -> Result<Location, Failure> {
        if let Some(store) = &self.store {
            if self.registry_config.is_some() {
                return Err(usage(anyhow::anyhow!("give STORE ({store}) or --registry-config, not both")));
            }
            return Ok(store.parse()?);
        }
        let config =
            self.registry_configuration()?.unwrap_or_else(|| unreachable!("clap requires one of the two"));
        config.storage.location()?.ok_or_else(|| {
            let name = config.storage.name();
            usage(anyhow::anyhow!(
                "the registry keeps its storage in {name}, which is not read; filesystem, s3, gcs and azure are"
            ))
        })
    }

    fn access(&self) -> Result<Access, Failure> {
        Ok(Access {
            concurrency: self.concurrency.map(usize::from),
            per_second: self.max_requests_per_second,
            state: self.state.as_deref().map(str::parse).transpose()?,
            ..Access::DEFAULT
        })
    }

    /// The manifest cache, where there is one to be had. A directory's manifests are as fast to read as the cache, so it
    /// has one only when it is asked for.
    fn manifest_cache(&self, store: &ReadStore) -> Option<ManifestCache> {
        let directory = match &self.manifest_cache {
            Some(directory) if directory.as_os_str() == "off" => return None,
            Some(directory) => directory.clone(),
            None if matches!(store.tree(), Tree::Directory(_)) => return None,
            None => {
                let variable =
                    |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
                let home = || variable("HOME").map(|home| home.join(".cache"));
                variable("XDG_CACHE_HOME").or_else(home)?.join("regsweep")
            }
        };
        match ManifestCache::open(&directory) {
            Ok(cache) => Some(cache),
            Err(why) => {
                talk(&format!("without the manifest cache, so every manifest is read: {why}"));
                None
            }
        }
    }

    /// The store, for a command that must not change it.
    fn open(&self) -> Result<ReadStore, Failure> {
        Ok(ReadStore::open(&self.location()?, &self.access()?)?)
    }

    /// The layout, as it was named or is found.
    fn layout(&self, store: &ReadStore) -> Result<&'static dyn RegistryLayout, Failure> {
        let layout = pipeline::layout(store, self.layout.as_deref())?;
        self.evidence.fits(layout)?;
        Ok(layout)
    }

    /// Words that name the store on a command line.
    fn address(&self, store: &ReadStore) -> Vec<String> {
        let mut address = vec![store.identity().url.clone()];
        if let Some(state) = &self.state {
            address.extend(["--state".to_owned(), state.clone()]);
        }
        address
    }

    /// The store, for a command that was asked to change it, and its layout.
    fn open_to_change(&self) -> Result<(WriteStore, &'static dyn RegistryLayout), Failure> {
        if self.evidence.nexus_mode.is_some() {
            // Before anything is made there, our own state too.
            self.layout(&self.open()?)?;
        }
        Ok(pipeline::open(&self.location()?, &self.access()?, self.layout.as_deref())?)
    }

    fn registry_configuration(&self) -> Result<Option<RegistryConfig>, Failure> {
        let Some(path) = &self.registry_config else { return Ok(None) };
        let origin = path.display().to_string();
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {origin}")).map_err(usage)?;
        let environment = std::env::vars().filter(|(name, _)| name.starts_with("REGISTRY_")).collect();
        RegistryConfig::read(&text, &origin, &environment).map(Some).map_err(usage)
    }
}

impl PolicyArgsOf {
    fn read(&self) -> Result<Option<Policy>, Failure> {
        let Some(path) = &self.policy else { return Ok(None) };
        read_policy(path).map(Some)
    }

    /// The work on a store that has been opened.
    fn job<'j>(
        &self,
        policy: Option<&'j Policy>,
        at: &StoreArgs,
        store: &ReadStore,
    ) -> Result<Job<'j>, Failure> {
        let mut limits = policy.map_or_else(Limits::default, Limits::of);
        limits.accept(&self.accept);
        Ok(Job {
            policy,
            limits,
            mode: self.mode(),
            manifest_cache: at.manifest_cache(store),
            purge_ban: None,
            database: at.evidence.database()?,
            records: at.evidence.nexus_mode.unwrap_or_default(),
            halted: at.evidence.nexus_confirm,
        })
    }

    fn mode(&self) -> Mode {
        if self.offline { Mode::Offline } else { Mode::Online }
    }
}

fn read_policy(path: &std::path::Path) -> Result<Policy, Failure> {
    let origin = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the policy {origin}"))
        .map_err(usage)?;
    Policy::parse(&text, &origin).map_err(usage)
}
