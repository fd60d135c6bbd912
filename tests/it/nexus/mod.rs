//! Nexus blob stores: everything in exactly one class, and only what the database does not know goes.

mod api;
mod bad_input;
mod orphans;
mod process;
mod rest;
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use regsweep::clock::{Clock as _, Manual};
use regsweep::evidence::{Database, Source};
use regsweep::inventory::Depth;
use regsweep::layout::Nexus;
use regsweep::pipeline::{self, Job, PipelineError, Survey};
use regsweep::plan::{Action, Mode, Plan, RecordMode, Refusal};
use regsweep::report::audit::{Amount, Class, Classifier};
use regsweep::store::{Access, ReadStore, WriteStore};
use regsweep::sweep::cache::Caches;
use regsweep::sweep::restore::{self, Restored, Wanted};
use regsweep::sweep::{Executed, Means};
use regsweep::synth::{Era, NexusBlob, NexusRecipe, NexusTruth, State};

use crate::support::{Files, days_later, job, limits, location, present, wait};

/// Docker repositories of the generated stores.
const REPOSITORIES: [&str; 2] = ["docker-0", "docker-1"];

/// Every era, in one blob store and spread over three.
const SHAPES: [(Era, usize); 5] =
    [(Era::Orient, 1), (Era::Sql, 1), (Era::Dated, 1), (Era::Mixed, 1), (Era::Mixed, 3)];

/// A generated store, what is true of it, and a clock that stands three days later.
struct Scene {
    directory: tempfile::TempDir,
    truth: NexusTruth,
    clock: Manual,
}

impl Scene {
    fn new(recipe: &NexusRecipe) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let truth = recipe.generate(&directory.path().join("store"), present()).expect("a store");
        Self { directory, truth, clock: days_later(3) }
    }

    fn of(era: Era, stores: usize) -> Self {
        Self::new(&NexusRecipe { era, stores, ..NexusRecipe::default() })
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Writes evidence as of now.
    fn evidence(&self, name: &str, text: &str) -> Source {
        self.evidence_at(name, text, self.clock.now())
    }

    fn evidence_at(&self, name: &str, text: &str, at: Timestamp) -> Source {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("the evidence");
        let file = std::fs::File::options().write(true).open(&path).expect("the evidence");
        file.set_modified(at.into()).expect("its time");
        Source::File(path)
    }

    /// What the database exports, and its index of deleted blobs.
    fn exports(&self) -> Vec<Source> {
        vec![self.evidence("dump.csv", &self.truth.export()), self.evidence("index.csv", &self.truth.index())]
    }

    fn survey(&self, job: &Job<'_>) -> Result<(ReadStore, Survey), PipelineError> {
        let store = ReadStore::open(&location(&self.root()), &Access::DEFAULT).expect("the store");
        let survey = wait(pipeline::survey(&store, &Nexus, job, Depth::Everything, &self.clock))?;
        Ok((store, survey))
    }

    fn plan(&self, job: &Job<'_>) -> (Plan, Vec<Refusal>) {
        let (store, survey) = self.survey(job).unwrap_or_else(|error| panic!("{error:?}"));
        let plan = survey.plan(&store, &Nexus, job);
        match survey.check(plan.clone(), &store, job) {
            Ok(_) => (plan, Vec::new()),
            Err(refused) => (plan, refused.refusals),
        }
    }

    /// Plans, checks and sweeps, as `run` does.
    fn sweep(&self, job: &Job<'_>) -> (String, Executed) {
        let store = WriteStore::open(&location(&self.root()), &Access::DEFAULT).expect("the store");
        self.clock.advance(std::time::Duration::from_millis(1));
        wait(async {
            let caches = Caches::default();
            let means = Means { store: &store, layout: &Nexus, caches: &caches, clock: &self.clock };
            let session = pipeline::begin(&means, &job.limits).await.expect("the lease");
            let survey =
                pipeline::survey(store.read(), &Nexus, job, Depth::Names, &self.clock).await.expect("a look");
            let plan = survey.plan(store.read(), &Nexus, job);
            let checked = survey.check(plan, store.read(), job).expect("a plan that is safe");
            let run = session.run.clone();
            let executed =
                pipeline::sweep(&session, &run, checked, &survey, &means, job, || false).await.unwrap();
            session.lease.release().await.expect("the lease back");
            (run, executed)
        })
    }

    fn undo(&self, run: &str) -> Restored {
        let store = WriteStore::open(&location(&self.root()), &Access::DEFAULT).expect("the store");
        self.clock.advance(std::time::Duration::from_millis(1));
        wait(async {
            let caches = Caches::default();
            let means = Means { store: &store, layout: &Nexus, caches: &caches, clock: &self.clock };
            let session = pipeline::begin(&means, &limits(None)).await.expect("the lease");
            let wanted = Wanted::Run(run.to_owned());
            let now = self.clock.now();
            let (_, restored) = restore::restore(&session.lease, &store, &Nexus, &wanted, &session.run, now)
                .await
                .expect("back");
            session.lease.release().await.expect("the lease back");
            restored
        })
    }

    fn classes(&self, job: &Job<'_>) -> (Survey, BTreeMap<Class, Amount>) {
        let (_, survey) = self.survey(job).unwrap_or_else(|error| panic!("{error:?}"));
        let young = survey.in_grace(job);
        let (classes, _) = Classifier::run(&survey.inventory, &survey.marks, &young, &job.limits, survey.now);
        (survey, classes)
    }

    /// Blobs of these states.
    fn blobs<'s>(&'s self, states: &'s [State]) -> impl Iterator<Item = &'s NexusBlob> {
        self.truth.blobs.iter().filter(|blob| states.contains(&blob.state))
    }

    /// Their files.
    fn files(&self, states: &[State]) -> BTreeSet<String> {
        self.blobs(states).flat_map(|blob| blob.files.iter().cloned()).collect()
    }
}

/// A job without a policy.
fn job_of(sources: Vec<Source>) -> Job<'static> {
    let repositories = if sources.is_empty() { REPOSITORIES.map(str::to_owned).to_vec() } else { Vec::new() };
    Job { database: Database { sources, repositories, ..Database::default() }, ..job(None, Mode::Online) }
}

/// The keys that a plan takes.
fn taken(plan: &Plan) -> BTreeSet<String> {
    let files = plan.steps.iter().flat_map(|step| match &step.action {
        Action::Discard { files } => files.clone(),
        other => panic!("{other} in a plan without a policy"),
    });
    files.map(|file| file.key).collect()
}

/// Files of a store but our own, with their sizes.
fn on_disk(root: &Path) -> Amount {
    let files = Files::of(root);
    let own = |key: &str| key.starts_with(".regsweep/");
    let bytes = |key: &String| files.0[key].0.len() as u64;
    let keys: Vec<&String> = files.0.keys().filter(|key| !own(key)).collect();
    Amount { objects: keys.len() as u64, bytes: keys.into_iter().map(bytes).sum() }
}
