//! `regsweep policy`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CommandResult, data, read_policy, talk, usage};
use crate::exit::Exit;
use crate::policy::presets;

#[derive(Debug, Clone, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum PolicyCommand {
    /// Read a policy file and say in plain words what it does
    Check {
        /// The policy file
        #[arg(value_name = "FILE", env = "REGSWEEP_POLICY")]
        file: PathBuf,
    },
    /// Print a preset, or name them all
    Show {
        /// The preset
        #[arg(value_name = "PRESET")]
        preset: Option<String>,
    },
}

pub(super) fn run(args: &PolicyArgs) -> CommandResult {
    match &args.command {
        PolicyCommand::Check { file } => {
            let policy = read_policy(file)?;
            data(&policy.describe());
            let warnings = policy.warnings();
            for warning in &warnings {
                talk(&format!("warning: {warning}"));
            }
        }
        PolicyCommand::Show { preset: None } => data(&format!("{}\n", presets::names().join("\n"))),
        PolicyCommand::Show { preset: Some(name) } => {
            let known = || presets::names().join(", ");
            let missing = || usage(anyhow::anyhow!("there is no preset {name}; there are {}", known()));
            data(presets::text(name).ok_or_else(missing)?);
        }
    }
    Ok(Exit::Done)
}
