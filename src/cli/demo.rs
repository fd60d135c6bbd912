//! `regsweep demo`

use clap::Args;

use super::CommandResult;
use crate::exit::Exit;

#[derive(Debug, Clone, Args)]
pub(super) struct DemoArgs {
    /// An empty or new directory
    #[arg(value_name = "DIR")]
    pub directory: std::path::PathBuf,
}

#[expect(clippy::unused_async, reason = "placeholder")]
pub(super) async fn run(_args: &DemoArgs) -> CommandResult {
    Ok(Exit::Done)
}
