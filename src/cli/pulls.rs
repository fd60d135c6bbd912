//! `regsweep pulls`

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::{CommandResult, Failure, StoreArgs, data, json, read_policy, usage};
use crate::clock::{Clock as _, System};
use crate::exit::Exit;
use crate::oci::RepositoryName;
use crate::policy::{DEFAULT_MAX_GAP, IgnoreError, IgnoredPulls, Policy};
use crate::report::text;
use crate::sources::pulls::{LastPulls, Observed, PullRecord, Reader, Span};
use crate::sweep::pulls;

#[derive(Debug, Clone, Args)]
pub(super) struct PullsArgs {
    #[command(subcommand)]
    command: PullsCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum PullsCommand {
    /// Add what recorded events or logs of the registry tell of pulls
    Import(ImportArgs),
    /// Show since when pulls are known, and the last ones; never writes
    Show(ShowArgs),
}

#[derive(Debug, Clone, Args)]
struct ImportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The file, or `-` for standard input: notification events, access log or the registry's own log, in any mixture
    #[arg(value_name = "FILE", env = "REGSWEEP_PULLS_FILE")]
    file: Option<PathBuf>,
    /// The policy, for its `pulls.ignore`
    #[arg(short, long, value_name = "FILE", env = "REGSWEEP_POLICY")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    ignore: IgnoreArgs,
}

#[derive(Debug, Clone, Args)]
struct ShowArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Show every tag and manifest
    #[arg(long, env = "REGSWEEP_ALL")]
    all: bool,
}

/// Whose pulls do not count.
#[derive(Debug, Clone, Args)]
pub(super) struct IgnoreArgs {
    #[arg(
        long = "ignore-user-agent",
        value_name = "TEXT",
        env = "REGSWEEP_IGNORE_USER_AGENT",
        help = "Pulls by this client do not count, such as a scanner's 'Trivy*'; `*` stands for any characters"
    )]
    user_agents: Vec<String>,
    /// Pulls by this user do not count, such as a mirror's; `*` as above
    #[arg(long = "ignore-user", value_name = "NAME", env = "REGSWEEP_IGNORE_USER")]
    users: Vec<String>,
    /// Pulls from this address or range, such as 10.0.0.0/8, do not count
    #[arg(
        long = "ignore-address",
        value_name = "ADDRESS",
        env = "REGSWEEP_IGNORE_ADDRESS",
        value_delimiter = ','
    )]
    addresses: Vec<String>,
}

impl IgnoreArgs {
    /// Those that the command line and the policy name.
    pub(super) fn list(&self, policy: Option<&Policy>) -> Result<IgnoredPulls, Failure> {
        let mut list = IgnoredPulls::default();
        let told = |flag: &'static str| move |why: IgnoreError| usage(anyhow::anyhow!("{flag}: {why}"));
        for agent in &self.user_agents {
            list.add_user_agent(agent).map_err(told("--ignore-user-agent"))?;
        }
        for user in &self.users {
            list.add_user(user).map_err(told("--ignore-user"))?;
        }
        for address in &self.addresses {
            list.add_address(address).map_err(told("--ignore-address"))?;
        }
        if let Some(policy) = policy {
            list.extend(&policy.pulls().ignored);
        }
        Ok(list)
    }
}

/// What `pulls import --json` prints.
#[derive(Debug, Serialize)]
struct Imported {
    schema: &'static str,
    understood: u64,
    pulls: u64,
    ignored: u64,
    not_understood: u64,
    begins: Timestamp,
    ends: Option<Timestamp>,
}

/// What `pulls show --json` prints.
#[derive(Debug, Serialize)]
struct Shown<'r> {
    schema: &'static str,
    begins: Timestamp,
    ends: Option<Timestamp>,
    covered: &'r [Span],
    repositories: &'r BTreeMap<RepositoryName, LastPulls>,
}

pub(super) async fn run(args: PullsArgs) -> CommandResult {
    match args.command {
        PullsCommand::Import(args) => import(args).await,
        PullsCommand::Show(args) => show(&args).await,
    }
}

async fn import(mut args: ImportArgs) -> CommandResult {
    // With the registry's configuration or the environment in the place of STORE, the one word left is the file.
    if args.file.is_none() {
        let elsewhere = std::env::var("REGSWEEP_STORE").ok().filter(|store| !store.is_empty());
        if args.store.registry_config.is_some() || (elsewhere.is_some() && elsewhere != args.store.store) {
            args.file = args.store.store.take().map(PathBuf::from);
            args.store.store = elsewhere.filter(|_| args.store.registry_config.is_none());
        }
    }
    let missing = || usage(anyhow::anyhow!("name the file of events or log lines, or - for standard input"));
    let file = args.file.as_ref().ok_or_else(missing)?;
    let policy = args.policy.as_deref().map(read_policy).transpose()?;
    let ignored = args.ignore.list(policy.as_ref())?;
    let (store, _) = args.store.open_to_change()?;
    let read = if file.as_os_str() == "-" {
        Reader::read(std::io::stdin().lock(), &ignored)
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()));
        Reader::read(BufReader::new(opened.map_err(usage)?), &ignored)
    };
    let observed = read.with_context(|| file.display().to_string()).map_err(usage)?;
    pulls::add(&store, &observed.record, System.now()).await?;
    let record = pulls::read(store.read()).await?;
    tell_import(&args.store, &observed, &record)
}

fn tell_import(args: &StoreArgs, observed: &Observed, record: &PullRecord) -> CommandResult {
    let Observed { understood, pulls, ignored, not_understood, .. } = *observed;
    let (begins, ends) = (record.begins(System.now(), DEFAULT_MAX_GAP), record.ends());
    if args.json {
        let schema = "regsweep/pulls-import/1";
        json(&Imported { schema, understood, pulls, ignored, not_understood, begins, ends })?;
        return Ok(Exit::Done);
    }
    let number = text::number;
    data(&format!("read       {} events or lines, of which {} pulls\n", number(understood), number(pulls)));
    if ignored > 0 {
        data(&format!("ignored    {} pulls, because of who pulled\n", number(ignored)));
    }
    if not_understood > 0 {
        data(&format!("not read   {} that no registry writes\n", number(not_understood)));
    }
    tell_record(record);
    Ok(Exit::Done)
}

async fn show(args: &ShowArgs) -> CommandResult {
    let record = pulls::read(&args.store.open()?).await?;
    if args.store.json {
        json(&Shown {
            schema: "regsweep/pulls-report/1",
            begins: record.begins(System.now(), DEFAULT_MAX_GAP),
            ends: record.ends(),
            covered: record.covered(),
            repositories: record.repositories(),
        })?;
        return Ok(Exit::Done);
    }
    tell_record(&record);
    let mut last: Vec<(Timestamp, String)> = Vec::new();
    for (repository, pulls) in record.repositories() {
        last.extend(pulls.tags.iter().map(|(tag, at)| (*at, format!("{repository}:{tag}"))));
        last.extend(pulls.manifests.iter().map(|(digest, at)| (*at, format!("{repository}@{digest}"))));
    }
    last.sort_by(|(left, left_name), (right, right_name)| right.cmp(left).then(left_name.cmp(right_name)));
    let most = if args.all { usize::MAX } else { SHOWN };
    for (at, name) in last.iter().take(most) {
        data(&format!("{}   {name}\n", at.strftime("%Y-%m-%d %H:%M:%S UTC")));
    }
    if last.len() > most {
        data(&format!("… and {} more (--all shows them)\n", text::number((last.len() - most) as u64)));
    }
    Ok(Exit::Done)
}

/// Pulls that are shown.
const SHOWN: usize = 20;

fn tell_record(record: &PullRecord) {
    let now = System.now();
    let begins = record.begins(now, DEFAULT_MAX_GAP);
    let moment = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let known = match record.ends() {
        None => "none: nobody has looked for pulls\n".to_owned(),
        Some(ends) if begins >= now => {
            format!(
                "ends {}, more than {DEFAULT_MAX_GAP} ago: what was pulled since is not known\n",
                moment(ends)
            )
        }
        Some(ends) => format!("from {} to {}\n", moment(begins), moment(ends)),
    };
    data(&format!("record     {known}"));
    let entries = text::number(record.entries() as u64);
    let repositories = text::number(record.repositories().len() as u64);
    data(&format!("last pulls of {entries} tags and manifests in {repositories} repositories\n"));
}
