//! What the sidecar does when a run is due, and what it says of it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::ServeArgs;
use super::events::Writer;
use crate::cli::audit::{self, Looked};
use crate::cli::cycle::{Audience, CarriedOut};
use crate::cli::{Failure, Stop, data, html, talk};
use crate::clock::{Clock as _, System};
use crate::exit::Exit;
use crate::inventory::scan::ScanError;
use crate::pipeline::{PipelineError, Survey};
use crate::plan::{Plan, Refusal};
use crate::policy::Policy;
use crate::report::html::{Page, Planned, Standing};
use crate::report::text;
use crate::sidecar::board::{Board, Ending, Facts, Holdings, RunFacts};
use crate::sidecar::keeper::{Trouble, Work};
use crate::sidecar::schedule::Agenda;
use crate::sidecar::webhook::{Event, Notice, Sender};
use crate::store::{ReadStore, StoreError};
use crate::sweep::{Executed, SweepError, journal};

/// Where the agenda is, below the state's root.
const AGENDA: &str = "schedule.json";

/// The sidecar's work on one store.
pub(super) struct Routine<'r> {
    args: &'r ServeArgs,
    /// The last policy without an error; nothing when there is no policy file.
    policy: Mutex<Option<Arc<Policy>>>,
    /// What was wrong with the file when it was last looked at.
    problem: Mutex<Option<String>>,
    board: Arc<Board>,
    sender: Option<Sender>,
    stop: Stop,
    writer: Arc<Writer>,
}

impl<'r> Routine<'r> {
    pub(super) fn new(
        args: &'r ServeArgs,
        policy: Option<Policy>,
        board: Arc<Board>,
        sender: Option<Sender>,
        stop: Stop,
        writer: Arc<Writer>,
    ) -> Self {
        let policy = Mutex::new(policy.map(Arc::new));
        Self { args, policy, problem: Mutex::default(), board, sender, stop, writer }
    }

    fn policy(&self) -> Option<Arc<Policy>> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn agenda(&self) -> Result<Option<Agenda>, Failure> {
        let store = self.args.cycle.store.open()?;
        store.check_state().await?;
        Ok(journal::read_json(&store, AGENDA).await?)
    }

    async fn write(&self, agenda: &Agenda) -> Result<(), Failure> {
        let (store, _) = self.args.cycle.store.open_to_change()?;
        store.claim_state().await?;
        Ok(journal::write_json(&store, AGENDA, agenda).await?)
    }

    /// Why something could not be done. A place with nothing in it waits for its registry, unless one was there before.
    async fn trouble(&self, failure: &Failure) -> Trouble {
        let mut trouble = trouble(failure);
        if trouble.ending == Ending::Empty && self.knows_of_a_registry().await {
            trouble.ending = Ending::Refused;
            trouble.rule = Some("no_registry");
            trouble.why += " A registry was there before: look for its volume, or for who deleted it";
        }
        trouble
    }

    /// Whether this process or an earlier run has seen a registry here. What cannot be read is not absent.
    async fn knows_of_a_registry(&self) -> bool {
        let facts = self.board.facts();
        if facts.holdings.audit.is_some() || facts.last_start.is_some() {
            return true;
        }
        let Ok(store) = self.args.cycle.store.open() else { return true };
        let remembered = journal::read_json::<Agenda>(&store, AGENDA).await;
        let runs = journal::runs(&store).await;
        !matches!((remembered, runs), (Ok(None), Ok(runs)) if runs.is_empty())
    }

    /// What the store holds, and the page that tells it, with what the next run would do.
    async fn look_at_store(&self) -> Result<(Holdings, Page), Failure> {
        let cycle = &self.args.cycle;
        let policy = self.policy();
        let Looked { store, layout, mut job, survey, audit } =
            audit::look(&cycle.store, &cycle.policy, policy.as_deref(), &self.stop).await?;
        job.purge_ban = cycle.cache.caches(&cycle.store)?.purge_ban();
        let found = tokio::task::block_in_place(|| {
            let plan = survey.plan(&store, layout, &job);
            let planned = match survey.check(plan, &store, &job) {
                Ok(checked) => Planned::of(checked.plan(), &[], Standing::Made),
                Err(refused) => Planned::of(&refused.plan, &refused.refusals, Standing::Refused),
            };
            (Some(survey.contents(Some(audit.classes.clone()))), Some(planned))
        });
        let page = html::page(&cycle.store, &store, layout, policy.as_deref(), found).await?;
        let holdings = Holdings {
            audit: Some(Arc::new(audit)),
            condemned: survey.memory.condemned.len() as u64,
            trash_objects: survey.memory.trash.len() as u64,
            trash_bytes: survey.memory.trash.iter().map(|item| item.size).sum(),
        };
        Ok((holdings, page))
    }
}

/// Watches what a run costs.
#[derive(Default)]
struct Watch {
    store: Option<ReadStore>,
}

impl Audience for Watch {
    fn began(&mut self, store: &ReadStore) {
        self.store = Some(store.clone());
    }

    fn plan(&mut self, _: &ReadStore, _: &Survey, _: &Plan, _: &[Refusal]) {}

    fn ended(&mut self) {}
}

#[async_trait]
impl Work for Routine<'_> {
    async fn recall(&self) -> Result<Option<Agenda>, Trouble> {
        match self.agenda().await {
            Ok(agenda) => Ok(agenda),
            Err(failure) => Err(self.trouble(&failure).await),
        }
    }

    async fn remember(&self, agenda: &Agenda) -> Result<(), Trouble> {
        match self.write(agenda).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.trouble(&failure).await),
        }
    }

    async fn run(&self) -> RunFacts {
        self.refresh();
        // What the registry told is known to the run.
        self.writer.write().await;
        let mut facts = RunFacts::begun(System.now());
        let stop = self.stop.within(self.args.max_runtime);
        let mut watch = Watch::default();
        let policy = self.policy();
        let result = self.args.cycle.carry_out(policy.as_deref(), None, &stop, &mut watch).await;
        facts.ended = System.now();
        if let Some(store) = &watch.store {
            facts.requests = store.requests();
            facts.phase_seconds = store
                .progress()
                .took()
                .into_iter()
                .map(|(phase, took)| (phase, took.as_secs_f64()))
                .collect();
        }
        match result {
            Ok(carried) => note(&mut facts, &carried, self.stop.exit().is_some()),
            Err(failure) => {
                let Trouble { why, rule, ending } = self.trouble(&failure).await;
                facts.ending = ending;
                facts.rules.extend(rule.filter(|_| ending == Ending::Refused));
                facts.why = vec![why];
            }
        }
        facts
    }

    async fn look(&self) {
        match self.look_at_store().await {
            Ok((holdings, page)) => self.board.note(|facts| {
                facts.store.clone_from(&page.store.url);
                facts.page = Some(Arc::new(page));
                (facts.holdings, facts.look_problem) = (holdings, None);
            }),
            Err(failure) => {
                let Trouble { why, ending, .. } = self.trouble(&failure).await;
                self.board.note(|facts| facts.look_problem = (ending != Ending::Empty).then_some(why));
            }
        }
    }

    /// A policy file with an error leaves the last good one in force, and says so once.
    fn refresh(&self) {
        let problem = match self.args.cycle.policy.read() {
            Ok(policy) => {
                // What is wrong with the flags was said at the start.
                if let Ok(ignored) = self.args.ignore.list(policy.as_ref()) {
                    self.writer.ignore(ignored);
                }
                *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy.map(Arc::new);
                None
            }
            Err(failure) => Some(format!("{:#}", failure.error)),
        };
        let mut before = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        match &problem {
            Some(why) if *before != problem => {
                talk(&format!("the policy file has an error, so the last good one stays in force: {why}"));
            }
            None if before.is_some() => talk("the policy file is good again, and in force"),
            _ => {}
        }
        self.board.note(|facts: &mut Facts| facts.policy_problem.clone_from(&problem));
        *before = problem;
    }

    fn tell(&self, run: &Arc<RunFacts>) {
        let store = self.board.facts().store;
        for event in Event::of(run) {
            let notice = Notice::of(event, &store, run);
            if self.args.cycle.store.json
                && let Ok(line) = serde_json::to_string(&notice)
            {
                data(&format!("{line}\n"));
            }
            if let Some(sender) = &self.sender {
                sender.send(&notice);
            }
        }
        talk(&sentence(run));
    }
}

fn note(facts: &mut RunFacts, carried: &CarriedOut, signalled: bool) {
    facts.run = Some(carried.run.clone());
    let cycled = &carried.cycled;
    let mended = cycled.mended.iter().map(|(_, executed)| executed);
    for executed in cycled.executed.iter().chain(mended) {
        add(facts, executed);
    }
    let interrupted = cycled.executed.as_ref().is_some_and(|executed| executed.interrupted);
    facts.ending = match (&cycled.plan, interrupted) {
        (Err(refused), _) => {
            facts.why = refused.refusals.iter().map(ToString::to_string).collect();
            facts.rules = refused.refusals.iter().map(Refusal::rule).collect();
            Ending::Refused
        }
        (Ok(_), true) if signalled => Ending::Interrupted,
        (Ok(_), true) => Ending::CutShort,
        (Ok(_), false) if carried.some_failed() => Ending::SomeFailed,
        (Ok(_), false) => Ending::Done,
    };
}

fn add(facts: &mut RunFacts, executed: &Executed) {
    for (action, count) in &executed.done {
        *facts.done.entry(action.clone()).or_default() += count;
    }
    facts.skipped += executed.skipped.len() as u64;
    facts.failed += executed.failed.len() as u64;
    facts.freed_bytes += executed.freed_bytes;
    facts.purged_bytes += executed.purged_bytes;
    facts.given_back += executed.given_back();
    facts.why.extend(executed.failed.iter().take(3).map(|left| format!("{}: {}", left.step, left.why)));
}

/// Why something could not be done, and by which rule when it was refused.
fn trouble(failure: &Failure) -> Trouble {
    let error = &failure.error;
    let sweep = error.downcast_ref::<SweepError>().or_else(|| match error.downcast_ref::<PipelineError>() {
        Some(PipelineError::Sweep(error)) => Some(error),
        _ => None,
    });
    let scan = match error.downcast_ref::<PipelineError>() {
        Some(PipelineError::Scan(error)) => Some(error),
        _ => None,
    };
    let rule = match sweep {
        Some(SweepError::LeaseHeld { .. }) => Some("lease_held"),
        Some(SweepError::LeaseLost) => Some("lease_lost"),
        Some(SweepError::ClockSkew { .. }) => Some("clock_skew"),
        Some(SweepError::NoConditions) => Some("no_conditions"),
        Some(SweepError::Format { .. }) => Some("state_format"),
        _ if matches!(scan, Some(ScanError::NoRegistry(_))) => Some("no_registry"),
        _ if matches!(scan, Some(ScanError::Nothing(_))) => None,
        _ if matches!(error.downcast_ref::<StoreError>(), Some(StoreError::OtherState { .. })) => {
            Some("other_state")
        }
        _ if failure.exit == Exit::Refused => Some("refused"),
        _ => None,
    };
    let ending = match rule {
        Some("lease_held") => Ending::Standby,
        Some(_) => Ending::Refused,
        None if matches!(scan, Some(ScanError::Nothing(_))) => Ending::Empty,
        None if error.downcast_ref::<PipelineError>().is_some_and(PipelineError::is_stopped) => {
            Ending::Interrupted
        }
        None => Ending::Failed,
    };
    Trouble { why: format!("{error:#}"), rule, ending }
}

/// A run in one line.
fn sentence(run: &RunFacts) -> String {
    let took = run.ended.duration_since(run.began).as_secs();
    let what = match run.ending {
        Ending::Standby => return format!("standing by: {}", run.why.join("; ")),
        Ending::Empty => return format!("nothing to sweep yet: {}", run.why.join("; ")),
        Ending::Refused | Ending::Failed => {
            return format!("run {}: {}", run.ending.name(), run.why.join("; "));
        }
        Ending::Done => "done",
        Ending::SomeFailed => "finished, and some steps failed",
        Ending::CutShort => "stopped when its time was over; the next run goes on",
        Ending::Interrupted => "stopped after the step in hand",
    };
    let name = run.run.as_deref().unwrap_or_default();
    let steps: u64 = run.done.values().sum();
    format!(
        "run {name} {what}: {} steps, freed {}, gave back {}, {took} s",
        text::number(steps),
        text::bytes(run.freed_bytes),
        text::number(run.given_back)
    )
}
