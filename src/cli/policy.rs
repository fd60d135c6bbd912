//! `regsweep policy`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};

use super::{CommandResult, Failure, StoreArgs, data, json, read_policy, talk, usage};
use crate::clock::{Clock as _, System};
use crate::exit::Exit;
use crate::inventory::{Depth, Inventory, scan};
use crate::layout::Keeps;
use crate::pipeline::PipelineError;
use crate::policy::convert::{self, Source};
use crate::policy::{Policy, presets, schema};

#[derive(Debug, Clone, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum PolicyCommand {
    /// Say in plain words what a policy file does, and what in it may not be meant so
    Check {
        /// The policy file
        #[arg(value_name = "FILE", env = "REGSWEEP_POLICY")]
        file: PathBuf,
        /// A store, to say what in it the policy is about, and what of the policy matches nothing there
        #[arg(value_name = "STORE")]
        store: Option<String>,
        /// End with exit code 2 when there is anything to warn of
        #[arg(long, env = "REGSWEEP_STRICT")]
        strict: bool,
    },
    /// Print a preset, or name them all
    Show {
        /// The preset
        #[arg(value_name = "PRESET")]
        preset: Option<String>,
    },
    /// Print the JSON Schema of policy files, for editors
    Schema,
    /// Make a policy file from another product's rules; a note says what does not carry over
    Convert {
        /// Whose rules the file holds
        #[arg(long, value_name = "PRODUCT", env = "REGSWEEP_FROM", value_parser = source_parser())]
        from: Source,
        /// The file, JSON or YAML
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Patterns of the repositories that the rules are for, where the file does not say [default: **]
        #[arg(long, value_name = "PATTERN", env = "REGSWEEP_REPOSITORIES", value_delimiter = ',')]
        repositories: Vec<String>,
    },
}

fn source_parser() -> impl clap::builder::TypedValueParser<Value = Source> {
    PossibleValuesParser::new(Source::ALL.map(Source::name)).map(|name| {
        let found = Source::ALL.into_iter().find(|source| source.name() == name);
        found.unwrap_or_else(|| unreachable!("clap lets through what is listed"))
    })
}

pub(super) fn run(args: &PolicyArgs) -> CommandResult {
    match &args.command {
        PolicyCommand::Check { file, store, strict } => return check(file, store.as_deref(), *strict),
        PolicyCommand::Show { preset: None } => data(&format!("{}\n", presets::names().join("\n"))),
        PolicyCommand::Show { preset: Some(name) } => {
            let known = || presets::names().join(", ");
            let missing = || usage(anyhow::anyhow!("there is no preset {name}; there are {}", known()));
            data(presets::text(name).ok_or_else(missing)?);
        }
        PolicyCommand::Schema => json(&schema::schema())?,
        PolicyCommand::Convert { from, file, repositories } => {
            let origin = file.display();
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {origin}"))
                .map_err(usage)?;
            let converted = convert::convert(*from, &text, repositories)
                .with_context(|| origin.to_string())
                .map_err(usage)?;
            data(&converted.text);
            for note in &converted.notes {
                talk(&format!("note: {note}"));
            }
        }
    }
    Ok(Exit::Done)
}

fn check(file: &Path, store: Option<&str>, strict: bool) -> CommandResult {
    let policy = read_policy(file)?;
    data(&policy.describe());
    let mut findings = policy.findings();
    if let Some(store) = store {
        let inventory = look(store)?;
        let content: Vec<(&str, Vec<&str>)> = inventory
            .repositories
            .iter()
            .map(|one| (one.name.as_str(), one.tags.iter().map(|tag| tag.name.as_str()).collect()))
            .collect();
        data(&covered(&policy, &content, store));
        findings.extend(policy.findings_on(&content));
    }
    for finding in &findings {
        talk(&format!("warning: {}:{finding}", policy.origin()));
    }
    Ok(if strict && !findings.is_empty() { Exit::Usage } else { Exit::Done })
}

fn look(store: &str) -> Result<Inventory, Failure> {
    let store = StoreArgs { store: Some(store.to_owned()), ..StoreArgs::default() };
    let opened = store.open()?;
    let layout = store.layout(&opened)?;
    if matches!(layout.keeps(), Keeps::Records) {
        let layout = layout.name();
        return Err(usage(anyhow::anyhow!(
            "a policy is checked on a store of distribution's, and this one is of {layout}: leave the store out, or see what \
             `plan` says"
        )));
    }
    let cache = store.manifest_cache(&opened);
    let options = scan::Options { depth: Depth::Names, concurrency: opened.concurrency(), now: System.now() };
    let scanned = tokio::task::block_in_place(|| scan::scan(&opened, layout, options, cache.as_ref()));
    Ok(scanned.map_err(PipelineError::from)?)
}

/// What each policy is about in a store, a line each.
fn covered(policy: &Policy, content: &[(&str, Vec<&str>)], store: &str) -> String {
    let tags: usize = content.iter().map(|(_, tags)| tags.len()).sum();
    let mut text = format!("{store} has {} repositories and {tags} tags.\n", content.len());
    for one in policy.coverage(content) {
        let classes = one.classes.iter().filter(|(_, tags)| *tags > 0);
        let classes: Vec<String> = classes.map(|(class, tags)| format!("{class} {tags}")).collect();
        let classes = if classes.is_empty() { "none".to_owned() } else { classes.join(", ") };
        let _ =
            writeln!(text, "  Policy {}: {} repositories; tags: {classes}.", one.policy, one.repositories);
    }
    text
}
