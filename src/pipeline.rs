//! The whole program on one page: scan → decide → mark → inspect → plan → check → sweep.

use jiff::Timestamp;

use crate::clock::Clock;
use crate::graph::{self, Marks, Rules};
use crate::inventory::manifest_cache::ManifestCache;
use crate::inventory::{Depth, Inventory, inspect, scan};
use crate::layout::RegistryLayout;
use crate::plan::build::{self, Sources};
use crate::plan::limits::Limits;
use crate::plan::{Action, CheckedPlan, Mode, Plan, Refused, check_plan};
use crate::policy::Policy;
use crate::store::{Access, Kind, Location, ReadStore, StoreError, Tree, WriteStore};
use crate::sweep::journal::{self, Run, RunKind};
use crate::sweep::lease::Lease;
use crate::sweep::recover::{self, Recovered};
use crate::sweep::state::{self, Memory};
use crate::sweep::{self, Executed, SweepError};

/// What a command works with.
#[derive(Debug)]
pub struct Job<'j> {
    /// The policy; without one, nothing goes but what nothing refers to.
    pub policy: Option<&'j Policy>,
    /// Ages, margins, caps and ratios.
    pub limits: Limits,
    /// Whether the user says that the registry is stopped or read-only.
    pub mode: Mode,
    /// Manifests that were read before.
    pub manifest_cache: Option<ManifestCache>,
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The store could not be listed.
    #[error(transparent)]
    Scan(#[from] scan::ScanError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state could not be read, or the sweep ended early.
    #[error(transparent)]
    Sweep(#[from] SweepError),
}

/// Everything that was found out about a store.
#[derive(Debug)]
pub struct Survey {
    /// What is there.
    pub inventory: Inventory,
    /// What is live.
    pub marks: Marks,
    /// What earlier runs remember.
    pub memory: Memory,
    /// Blob directories without data.
    pub empty_blobs: Vec<crate::inventory::BlobId>,
    /// The moment that everything was decided at.
    pub now: Timestamp,
}

/// Looks at a store and marks what is live. Writes nothing.
///
/// # Errors
/// When the store or the state cannot be read whole.
pub async fn survey(
    store: &ReadStore,
    layout: &dyn RegistryLayout,
    job: &Job<'_>,
    depth: Depth,
    clock: &dyn Clock,
) -> Result<Survey, PipelineError> {
    let now = clock.now();
    let memory = state::read(store).await?;
    let options = scan::Options { depth, concurrency: store.concurrency(), now };
    tokio::task::block_in_place(|| {
        let mut inventory = scan::scan(store, layout, options, job.manifest_cache.as_ref())?;
        let rules =
            Rules { policy: job.policy, grace: job.limits.grace.as_signed(), pins: &memory.pins, now };
        let marks = graph::mark(&inventory, &rules);
        // Only candidates are worth a closer look.
        store.progress().begin("looking at candidates", None);
        let candidates = build::candidates(&inventory, &marks);
        let empty_blobs = inspect::blobs(store.tree(), layout, &mut inventory, &candidates.blobs)?;
        // What no descriptor gives the size of, such as the layers of schema 1, is asked for too: they are few.
        let unsized_blobs: Vec<_> =
            inventory.blobs.present().filter(|id| inventory.blobs.size(*id).is_none()).collect();
        inspect::blobs(store.tree(), layout, &mut inventory, &unsized_blobs)?;
        inspect::layer_links(store.tree(), layout, &mut inventory, &candidates.layers)?;
        inspect::histories(store.tree(), layout, &mut inventory, &candidates.histories)?;
        Ok(Survey { inventory, marks, memory, empty_blobs, now })
    })
}

impl Survey {
    fn rules<'r>(&'r self, job: &Job<'r>) -> Rules<'r> {
        Rules {
            policy: job.policy,
            grace: job.limits.grace.as_signed(),
            pins: &self.memory.pins,
            now: self.now,
        }
    }

    /// Blobs and links that are unneeded and too young to go.
    pub fn in_grace(&self, job: &Job<'_>) -> crate::inventory::BlobSet {
        build::in_grace(&self.inventory, &self.marks, &self.rules(job))
    }

    /// What goes, and why.
    pub fn plan(&self, store: &ReadStore, layout: &dyn RegistryLayout, job: &Job<'_>) -> Plan {
        let rules = self.rules(job);
        let sources = Sources {
            inventory: &self.inventory,
            marks: &self.marks,
            rules: &rules,
            limits: &job.limits,
            mode: job.mode,
            store: store.identity(),
            condemned: &self.memory.condemned,
            trash: &self.memory.trash,
            empty_blobs: &self.empty_blobs,
        };
        let mut plan = build::build(&sources, layout);
        // A directory that holds what is nobody's, or what a registry died while writing, is not empty: to plan its end
        // would be to plan it again in every run.
        let tree = store.tree();
        plan.steps.retain(|step| match &step.action {
            Action::RemoveDirectory { key } => is_empty(tree, key),
            _ => true,
        });
        plan
    }

    /// Hands a plan to the independent judge.
    ///
    /// # Errors
    /// The plan with every reason not to carry it out, at once.
    pub fn check(&self, plan: Plan, store: &ReadStore, job: &Job<'_>) -> Result<CheckedPlan, Box<Refused>> {
        let world = crate::plan::World {
            inventory: &self.inventory,
            store: store.identity(),
            policy: job.policy,
            limits: &job.limits,
            pins: &self.memory.pins,
            mode: job.mode,
            last: self.memory.last.as_ref(),
            now: self.now,
        };
        check_plan(plan, &world)
    }
}

/// Whether a directory is there and no file is anywhere below it. What cannot be listed may hold one.
fn is_empty(tree: &Tree, key: &str) -> bool {
    let Ok(Some(list)) = tree.list(key) else { return false };
    let empty = |(name, kind): &(Box<str>, Kind)| {
        *kind == Kind::Directory && is_empty(tree, &format!("{key}/{name}"))
    };
    list.foreign.is_empty() && list.names.iter().all(empty)
}

/// The name of a run that begins now: the moment, and the process, so that two never share one.
pub fn run_name(now: Timestamp) -> String {
    format!("{}-{:05}", now.strftime("%Y%m%dT%H%M%S%3fZ"), std::process::id())
}

/// A run that holds the lease of its store.
#[derive(Debug)]
pub struct Session {
    /// The run's name.
    pub run: String,
    /// The lease.
    pub lease: Lease,
    /// Interrupted runs that were looked after.
    pub recovered: Vec<Recovered>,
}

/// Opens a store to change it. Where there is no registry nothing is written, not even our own state.
///
/// # Errors
/// When there is no registry, or the store cannot be opened.
pub fn open(location: &Location, access: &Access) -> Result<WriteStore, PipelineError> {
    let store = ReadStore::open(location, access)?;
    tokio::task::block_in_place(|| scan::detect(&store))?;
    Ok(WriteStore::open(location, access)?)
}

/// Takes the lease and looks after interrupted runs, before anything is listed.
///
/// # Errors
/// When another holds the lease, or an interrupted run cannot be closed.
pub async fn begin(
    store: &WriteStore,
    layout: &dyn RegistryLayout,
    limits: &Limits,
    clock: &dyn Clock,
) -> Result<Session, PipelineError> {
    store.claim_state().await?;
    let run = run_name(clock.now());
    let lease = Lease::take(store, clock, &run, limits.clock_skew).await?;
    let recovered = recover::recover(store, layout, lease.number(), clock.now()).await?;
    Ok(Session { run, lease, recovered })
}

/// Carries out a checked plan under the session's lease, and remembers what was condemned.
///
/// # Errors
/// When the journal cannot be written or the lease is lost.
#[expect(clippy::too_many_arguments, reason = "everything a run is made of, passed on by its one caller")]
pub async fn sweep(
    session: &Session,
    checked: CheckedPlan,
    survey: &Survey,
    store: &WriteStore,
    layout: &dyn RegistryLayout,
    job: &Job<'_>,
    clock: &dyn Clock,
    stop: impl Fn() -> bool,
) -> Result<Executed, PipelineError> {
    let condemned = checked.plan().condemned.clone();
    let run = Run {
        schema: journal::SCHEMA.into(),
        run: session.run.clone(),
        kind: RunKind::Sweep(job.mode),
        started: survey.now,
        fencing: session.lease.number(),
        grace: job.limits.grace,
        trash_keep: job.limits.trash_keep,
        regsweep: env!("CARGO_PKG_VERSION").into(),
    };
    let executed = sweep::execute(&session.lease, checked, store, layout, &run, || clock.now(), stop).await?;
    state::write_condemned(store, job.mode, !survey.memory.condemned.is_empty(), &condemned).await?;
    Ok(executed)
}
