//! Where the database of a repository manager is asked.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use clap::builder::TypedValueParser as _;

use super::{Failure, usage};
use crate::evidence::{Credentials, Database, EvidenceError, Rest, Source};
use crate::exit::Exit;
use crate::layout::{Keeps, RegistryLayout};
use crate::plan::RecordMode;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct EvidenceArgs {
    #[arg(
        long,
        value_name = "FILE",
        env = "REGSWEEP_EVIDENCE",
        value_delimiter = ',',
        help = "Nexus: an export of its database (CSV or JSON), or saved pages of its asset listing; what is unchanged since \
                a grace before it was written, and is not in it, may go"
    )]
    evidence: Vec<PathBuf>,
    /// Nexus: its address, to ask it itself which blobs it knows
    #[arg(long, value_name = "URL", env = "REGSWEEP_NEXUS_URL")]
    nexus_url: Option<String>,
    #[arg(
        long,
        value_name = "FILE",
        env = "REGSWEEP_NEXUS_CREDENTIALS",
        help = "Nexus: a file with USER:PASSWORD of an administrator [default: $REGSWEEP_NEXUS_USER and \
                $REGSWEEP_NEXUS_PASSWORD]"
    )]
    nexus_credentials: Option<PathBuf>,
    #[arg(
        long,
        value_name = "NAME",
        env = "REGSWEEP_NEXUS_REPOSITORY",
        value_delimiter = ',',
        help = "Nexus: a Docker repository, beside those that its database tells of, such as one that was deleted; without a \
                database only these are looked at [default: every name that is a Docker asset's]"
    )]
    nexus_repository: Vec<String>,
    #[arg(
        long,
        value_name = "MODE",
        env = "REGSWEEP_NEXUS_MODE",
        value_parser = clap::builder::PossibleValuesParser::new(RecordMode::NAMES).try_map(|name| name.parse::<RecordMode>()),
        help = "Nexus: what a run may take: `orphans`, what the database does not know; or what the policy lets go, `api` by \
                having Nexus at --nexus-url delete it, `soft` by flagging it in its record, `hard` by moving it to the trash [default: orphans]"
    )]
    pub(super) nexus_mode: Option<RecordMode>,
}

impl EvidenceArgs {
    pub(super) fn database(&self) -> Result<Database, Failure> {
        let mut sources: Vec<Source> = self.evidence.iter().cloned().map(Source::File).collect();
        if let Some(url) = &self.nexus_url {
            sources.push(Source::Rest(Rest::new(url, self.credentials()?).map_err(usage)?));
        }
        let manages = self.nexus_mode == Some(RecordMode::Api);
        if manages && self.nexus_url.is_none() {
            return Err(usage(anyhow::anyhow!(
                "--nexus-mode api has Nexus delete what goes: say where it is, with --nexus-url"
            )));
        }
        Ok(Database { sources, repositories: self.nexus_repository.clone(), manages })
    }

    /// Whether what was asked for fits the layout.
    pub(super) fn fits(&self, layout: &dyn RegistryLayout) -> Result<(), Failure> {
        match (self.nexus_mode, layout.keeps()) {
            (Some(mode), Keeps::Links) => Err(usage(anyhow::anyhow!(
                "--nexus-mode {mode} is for the blob stores of a Nexus, and this is the store of a {} registry: leave it out",
                layout.name()
            ))),
            _ => Ok(()),
        }
    }

    fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        if let Some(path) = &self.nexus_credentials {
            let place = path.display();
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the credentials {place}"))
                .map_err(usage)?;
            let read = Credentials::parse(&text);
            return read
                .map(Some)
                .ok_or_else(|| usage(anyhow::anyhow!("{place} is not one line USER:PASSWORD")));
        }
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Ok(match (variable("REGSWEEP_NEXUS_USER"), variable("REGSWEEP_NEXUS_PASSWORD")) {
            (Some(user), Some(password)) => Some(Credentials { user, password: password.into() }),
            _ => None,
        })
    }
}

pub(super) fn exit(error: &EvidenceError) -> Exit {
    match error {
        EvidenceError::Read { .. } | EvidenceError::Format { .. } => Exit::Usage,
        EvidenceError::Time { .. } | EvidenceError::Empty(_) => Exit::Refused,
        EvidenceError::Rest { .. } => Exit::Unreachable,
    }
}
