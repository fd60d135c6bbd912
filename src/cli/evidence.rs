//! Where the database of a repository manager is asked.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{Failure, usage};
use crate::evidence::{Credentials, Database, EvidenceError, Rest, Source};
use crate::exit::Exit;

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
}

impl EvidenceArgs {
    pub(super) fn database(&self) -> Result<Database, Failure> {
        let mut sources: Vec<Source> = self.evidence.iter().cloned().map(Source::File).collect();
        if let Some(url) = &self.nexus_url {
            sources.push(Source::Rest(Rest::new(url, self.credentials()?).map_err(usage)?));
        }
        Ok(Database { sources, repositories: self.nexus_repository.clone(), manages: false })
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
