//! `--html FILE`: the page, as a file.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{Failure, StoreArgs, usage};
use crate::clock::{Clock as _, System};
use crate::exit::Exit;
use crate::layout::RegistryLayout;
use crate::pipeline;
use crate::policy::Policy;
use crate::report::html::{self, Attention, Contents, Notice, Page, Planned};
use crate::store::ReadStore;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct HtmlArgs {
    /// Write what was found, done and is to come as one HTML page to look at
    #[arg(long, value_name = "FILE", env = "REGSWEEP_HTML")]
    pub html: Option<PathBuf>,
}

impl HtmlArgs {
    /// Finds out whether the page can be written, before there is anything to lose.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Some(path) = &self.html else { return Ok(()) };
        beside(path).with_context(|| cannot(path)).map(drop).map_err(usage)
    }

    /// Writes the page, whole or not at all. What it tells is asked for only when there is to be one.
    pub(super) async fn write(
        &self,
        args: &StoreArgs,
        store: &ReadStore,
        layout: &dyn RegistryLayout,
        policy: Option<&Policy>,
        found: impl FnOnce() -> (Option<Contents>, Option<Planned>),
    ) -> Result<(), Failure> {
        let Some(path) = &self.html else { return Ok(()) };
        put(path, &page(args, store, layout, policy, found()).await?)
    }

    /// Writes the page of a run that something ended after its plan was made, as far as the store can still be read.
    pub(super) async fn write_of_failed(
        &self,
        args: &StoreArgs,
        policy: Option<&Policy>,
        found: (Option<Contents>, Option<Planned>),
        failure: &Failure,
    ) -> Result<(), Failure> {
        let (Some(path), (_, Some(_))) = (&self.html, &found) else { return Ok(()) };
        let store = args.open()?;
        let layout = args.layout(&store)?;
        let mut page = page(args, &store, layout, policy, found).await?;
        let text = format!("The run ended before its time: {:#}", failure.error);
        page.notices.push(Notice { attention: Attention::Needed, text });
        put(path, &page)
    }
}

fn put(path: &Path, page: &Page) -> Result<(), Failure> {
    let written = || {
        let mut file = beside(path)?;
        file.write_all(html::page(page).as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        anyhow::Ok(())
    };
    written().with_context(|| cannot(path)).map_err(|error| Failure { exit: Exit::SomeFailed, error })
}

/// The page of a store, with what was found in it and what is to come.
pub(super) async fn page(
    args: &StoreArgs,
    store: &ReadStore,
    layout: &dyn RegistryLayout,
    policy: Option<&Policy>,
    (contents, planned): (Option<Contents>, Option<Planned>),
) -> Result<Page, Failure> {
    Ok(Page {
        written: System.now(),
        store: store.identity().clone(),
        layout: layout.name().into(),
        address: args.address(store),
        policy: policy.map(|policy| policy.origin().to_owned()),
        notices: Vec::new(),
        contents,
        planned,
        history: pipeline::history(store).await?,
    })
}

fn cannot(path: &Path) -> String {
    format!(
        "cannot write the page {}: --html names a file in a directory that can be written to",
        path.display()
    )
}

/// An empty file beside `path`, which goes unless it takes the place.
fn beside(path: &Path) -> anyhow::Result<tempfile::NamedTempFile> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(anyhow!("something else than a file is there"));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any program makes a file: the umask decides who may read it.
    let permissions = std::fs::Permissions::from_mode(0o666);
    Ok(tempfile::Builder::new()
        .prefix(".regsweep-")
        .suffix(".html")
        .permissions(permissions)
        .tempfile_in(directory)?)
}
