//! The whole program on one page: scan → decide → mark → inspect → plan → check → sweep.

use jiff::Timestamp;

use crate::clock::Clock;
use crate::evidence::{Database, EvidenceError};
use crate::graph::{self, Marks, Rules};
use crate::inventory::assets::{self, AssetsError, Questions};
use crate::inventory::manifest_cache::ManifestCache;
use crate::inventory::scan;
use crate::inventory::{Depth, Inventory, created, inspect};
use crate::layout::{Keeps, RegistryLayout, distribution};
use crate::plan::build::{self, Sources};
use crate::plan::candidates::{candidates, in_grace};
use crate::plan::explain::{self, Asked, Explained, NotFound};
use crate::plan::limits::Limits;
use crate::plan::{
    Action, CheckedPlan, Condemned, Halted, Mode, Plan, PurgeBan, RecordMode, Refused, Taken, check_plan,
};
use crate::policy::{self, Policy};
use crate::sources::pulls::PullRecord;
use crate::sources::references::References;
use crate::store::{Kind, ReadStore, StoreError, Tree};
use crate::sweep::journal::{self, Run, RunKind};
use crate::sweep::lease::Lease;
use crate::sweep::recover::{self, Recovered};
use crate::sweep::state::{self, Memory};
use crate::sweep::{self, Executed, Means, SweepError, pulls, taken};

mod cycle;
mod opening;
mod page;
mod sources;

pub use cycle::{Cycle, Cycled};
pub use opening::{layout, open};
pub use page::history;

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
    /// What may not be purged beside a registry that serves: a cache may still answer for it.
    pub purge_ban: Option<PurgeBan>,
    /// What is asked beside the store of a repository manager.
    pub database: Database,
    /// What goes of a store whose owner keeps a database.
    pub records: RecordMode,
    /// Whether the user says that its owner does nothing meanwhile.
    pub halted: Option<Halted>,
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
    /// The database could not be asked.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

impl PipelineError {
    /// Whether somebody asked to stop before anything was decided.
    pub fn is_stopped(&self) -> bool {
        matches!(
            self,
            Self::Scan(scan::ScanError::Incomplete(StoreError::Stopped)) | Self::Store(StoreError::Stopped)
        )
    }
}

impl From<AssetsError> for PipelineError {
    fn from(error: AssetsError) -> Self {
        match error {
            AssetsError::Scan(error) => error.into(),
            AssetsError::Evidence(error) => error.into(),
        }
    }
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
    /// What recent runs took.
    pub taken: Taken,
    /// What lists of pins name, and what runs.
    pub references: References,
    /// When images were pulled, where the policy asks.
    pub pulls: PullRecord,
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
    let taken = taken::read(store, layout, &memory.runs, now).await?;
    let pulls = match job.policy {
        Some(policy) if policy.goes_by_pulls() => pulls::read(store).await?,
        _ => PullRecord::default(),
    };
    let options = scan::Options { depth, concurrency: store.concurrency(), now };
    let scanned = match layout.keeps() {
        Keeps::Links => None,
        Keeps::Records => {
            let oldest = now.saturating_sub(job.limits.plan_age).unwrap_or(Timestamp::MIN);
            let grace = job.limits.grace.as_signed();
            let by_policy = job.records.is_by_policy();
            let questions = Questions { database: &job.database, oldest, grace, by_policy };
            Some(assets::scan(store, layout, options, questions, clock).await?)
        }
    };
    tokio::task::block_in_place(|| {
        let mut inventory = match scanned {
            Some(inventory) => inventory,
            None => scan::scan(store, layout, options, job.manifest_cache.as_ref())?,
        };
        let aged = by_creation(&inventory, job.policy);
        let cache = job.manifest_cache.as_ref();
        created::created(store.tree(), layout, &mut inventory, &aged, cache, store.progress())?;
        // After the candidates were listed: what begins to run meanwhile is named.
        let mut references = sources::ask(job.policy, clock);
        sources::add_outside(&mut references, &inventory);
        let rules = Rules {
            policy: job.policy,
            grace: job.limits.grace.as_signed(),
            pins: &memory.pins,
            references: &references,
            pulls: &pulls,
            now,
        };
        let marks = graph::mark(&inventory, &rules);
        // Only candidates are worth a closer look.
        store.progress().go_on()?;
        store.progress().begin("looking at candidates", None);
        let found = candidates(&inventory, &marks, &memory.trash, &taken);
        let empty_blobs = inspect::blobs(store.tree(), layout, &mut inventory, &found.blobs)?;
        // What no descriptor gives the size of, such as the layers of schema 1, is asked for too: they are few.
        let unsized_blobs: Vec<_> =
            inventory.blobs.present().filter(|id| inventory.blobs.size(*id).is_none()).collect();
        inspect::blobs(store.tree(), layout, &mut inventory, &unsized_blobs)?;
        inspect::layer_links(store.tree(), layout, &mut inventory, &found.layers)?;
        inspect::histories(store.tree(), layout, &mut inventory, &found.histories)?;
        Ok(Survey { inventory, marks, memory, taken, references, pulls, empty_blobs, now })
    })
}

/// The repositories in which a tag's age counts from the creation of its image.
fn by_creation(inventory: &Inventory, policy: Option<&Policy>) -> Vec<usize> {
    let asks = |name: &str| {
        let governing = policy.and_then(|policy| policy.for_repository(name));
        governing.is_some_and(|governing| governing.clock == policy::Clock::Created)
    };
    let repositories = inventory.repositories.iter().enumerate();
    repositories.filter(|(_, one)| !one.pinned && asks(one.name.as_str())).map(|(index, _)| index).collect()
}

impl Survey {
    fn rules<'r>(&'r self, job: &Job<'r>) -> Rules<'r> {
        Rules {
            policy: job.policy,
            grace: job.limits.grace.as_signed(),
            pins: &self.memory.pins,
            references: &self.references,
            pulls: &self.pulls,
            now: self.now,
        }
    }

    /// Blobs and links that are unneeded and too young to go.
    pub fn in_grace(&self, job: &Job<'_>) -> crate::inventory::BlobSet {
        in_grace(&self.inventory, &self.marks, &self.rules(job))
    }

    fn sources<'s>(&'s self, store: &'s ReadStore, job: &'s Job<'_>, rules: &'s Rules<'s>) -> Sources<'s> {
        Sources {
            inventory: &self.inventory,
            marks: &self.marks,
            rules,
            limits: &job.limits,
            mode: job.mode,
            records: job.records,
            store: store.identity(),
            condemned: &self.memory.condemned,
            trash: &self.memory.trash,
            empty_blobs: &self.empty_blobs,
            taken: &self.taken,
            purge_ban: job.purge_ban.as_ref(),
        }
    }

    /// Why one thing stays or goes.
    ///
    /// # Errors
    /// When it is not in the store, with what is near it.
    pub fn explain(&self, store: &ReadStore, job: &Job<'_>, asked: &Asked) -> Result<Explained, NotFound> {
        let rules = self.rules(job);
        let subject = explain::find(&self.inventory, asked)?;
        Ok(explain::explain(&self.sources(store, job, &rules), &subject))
    }

    /// Whether the next plan gives something back, and takes nothing before that is there.
    pub fn gives_back_first(&self, store: &ReadStore, layout: &dyn RegistryLayout, job: &Job<'_>) -> bool {
        crate::plan::gives_back_first(&self.sources(store, job, &self.rules(job)), layout)
    }

    /// What goes, and why.
    pub fn plan(&self, store: &ReadStore, layout: &dyn RegistryLayout, job: &Job<'_>) -> Plan {
        let rules = self.rules(job);
        let mut plan = build::build(&self.sources(store, job, &rules), layout);
        plan.notes.extend(self.emptied(store).into_iter().chain(self.notes(job)));
        // A directory that holds what is nobody's, or what a registry died while writing, is not empty: to plan its end
        // would be to plan it again in every run.
        // Beside a registry that serves, one that changed within the grace may be empty because a push is about to fill it.
        let tree = store.tree();
        let settled = |key: &str| match (job.mode, empty_since(tree, key)) {
            (_, None) => false,
            (Mode::Offline, Some(_)) => true,
            (Mode::Online, Some(since)) => !rules.young(Some(since)),
        };
        plan.steps.retain(|step| match &step.action {
            Action::RemoveDirectory { key } => settled(key),
            Action::RemoveRepository { repository } if job.mode == Mode::Online => {
                settled(&distribution::repository(repository.as_str()))
            }
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
            condemned: &self.memory.condemned,
            taken: &self.taken,
            purge_ban: job.purge_ban.as_ref(),
            mode: job.mode,
            records: job.records,
            halted: job.halted,
            last: self.memory.last.as_ref(),
            ended: &self.memory.ended,
            references: &self.references,
            pulls: &self.pulls,
            now: self.now,
        };
        check_plan(plan, &world)
    }
}

/// Since when no file is anywhere below a directory; `None` when one is, or may be because it cannot be listed.
fn empty_since(tree: &Tree, key: &str) -> Option<Timestamp> {
    let list = tree.list(key).ok().flatten()?;
    let mut since = tree.stat(key).ok().flatten()?.changed;
    if !list.foreign.is_empty() {
        return None;
    }
    for (name, kind) in list.names {
        if kind != Kind::Directory {
            return None;
        }
        since = since.max(empty_since(tree, &format!("{key}/{name}"))?);
    }
    Some(since)
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

/// Takes the lease and looks after interrupted runs, before anything is listed.
///
/// # Errors
/// When another holds the lease, or an interrupted run cannot be closed.
pub async fn begin(means: &Means<'_>, limits: &Limits) -> Result<Session, PipelineError> {
    means.store.claim_state().await?;
    let run = run_name(means.clock.now());
    let lease = Lease::take(means.store, means.clock, &run, limits.clock_skew).await?;
    let recovered = recover::recover(means, lease.number()).await?;
    Ok(Session { run, lease, recovered })
}

/// Carries out a checked plan under the session's lease, as the run of this name, and remembers what was condemned.
///
/// # Errors
/// When the journal cannot be written or the lease is lost.
pub async fn sweep(
    session: &Session,
    run: &str,
    checked: CheckedPlan,
    survey: &Survey,
    means: &Means<'_>,
    job: &Job<'_>,
    stop: impl Fn() -> bool,
) -> Result<Executed, PipelineError> {
    let plan = checked.plan();
    let (mends, managed) = (plan.mends, plan.is_managed());
    let mut condemned = plan.condemned.clone();
    // What goes in this run stays condemned until a listing says that it has gone: the run may be stopped before.
    condemned.extend(plan.steps.iter().filter_map(|step| match step.action {
        Action::Sweep { digest, size, manifest } => {
            let since = survey.memory.condemned.get(&digest)?.since;
            Some(Condemned { digest, size, since, until: since, manifest })
        }
        _ => None,
    }));
    let header = Run {
        schema: journal::SCHEMA.into(),
        run: run.to_owned(),
        kind: match job.mode {
            _ if managed => RunKind::Managed,
            mode if mends => RunKind::Mend(mode),
            mode => RunKind::Sweep(mode),
        },
        started: survey.now,
        fencing: session.lease.number(),
        grace: job.limits.grace,
        trash_keep: job.limits.trash_keep,
        regsweep: env!("CARGO_PKG_VERSION").into(),
    };
    let executed =
        sweep::execute(&session.lease, checked, &header, means, job.database.manager(), stop).await?;
    if !mends {
        // The clock of what was named until now begins when its links have gone, whatever a plan that is older says.
        let ended = means.clock.now();
        for one in &mut condemned {
            let earlier = survey.memory.condemned.get(&one.digest);
            if earlier.is_none_or(|earlier| earlier.since != one.since) {
                one.since = ended;
            }
        }
        let before = !survey.memory.condemned.is_empty();
        state::write_condemned(means.store, job.mode, before, &condemned).await?;
    }
    Ok(executed)
}
