//! One cycle beside a registry that serves, or with it stopped: give back, sweep, wait, look again.

use jiff::Timestamp;

use super::{Job, PipelineError, Session, Survey, survey, sweep};
use crate::clock::{Clock as _, OfStore};
use crate::inventory::Depth;
use crate::plan::{Mode, Plan, Refusal, Refused};
use crate::sweep::{Executed, Means, journal, taken};

/// How a cycle is carried out.
pub struct Cycle<'c> {
    /// What it works with.
    pub means: Means<'c>,
    /// What it goes by.
    pub job: &'c Job<'c>,
    /// Whether to wait for pushes that the sweep crossed to settle, and look for them; else that is left to the next cycle.
    pub waits: bool,
    /// Says when to stop.
    pub stop: &'c (dyn Fn() -> bool + Sync),
}

/// What became of a cycle.
#[derive(Debug)]
pub struct Cycled {
    /// What was planned, without its steps; or all of it and why it was refused.
    pub plan: Result<Plan, Box<Refused>>,
    /// Steps that were planned.
    pub steps: usize,
    /// What was done; nothing when the plan was refused.
    pub executed: Option<Executed>,
    /// What was given back, before and after, by the name of the run.
    pub mended: Vec<(String, Executed)>,
    /// Whether what the run took was looked at again after it had settled.
    pub verified: bool,
}

/// Rounds of giving back, each of which may uncover more, before the rest is left to the next cycle.
const ROUNDS: usize = 8;

impl Cycle<'_> {
    /// One cycle: gives back what an earlier one should not have taken, plans, checks, sweeps, waits, and looks again.
    /// `given` is a plan to carry out instead of making one. `show` is handed each plan before it is carried out.
    ///
    /// # Errors
    /// When the store cannot be listed, the journal cannot be written, or the lease is lost.
    pub async fn run(
        &self,
        session: &Session,
        given: Option<Plan>,
        show: &mut (dyn FnMut(&Survey, &Plan, &[Refusal]) + Send),
    ) -> Result<Cycled, PipelineError> {
        let clock = OfStore { clock: self.means.clock, ahead: session.lease.ahead() };
        let means = Means { clock: &clock, ..self.means };
        let store = means.store;
        let mut mended = Vec::new();
        let (survey, plan) = loop {
            let survey = survey(store.read(), means.layout, self.job, Depth::Names, &clock).await?;
            let plan = survey.plan(store.read(), means.layout, self.job);
            let futile =
                mended.last().is_some_and(|(_, executed): &(String, Executed)| executed.done.is_empty());
            if !plan.mends || futile || mended.len() >= ROUNDS {
                break (survey, plan);
            }
            match self.mend(session, &means, &survey, plan, &mut mended, show).await? {
                None => {}
                Some(refused) => {
                    return Ok(refusal(refused, mended));
                }
            }
            if (self.stop)() {
                let plan = survey.plan(store.read(), means.layout, self.job);
                let executed = Executed { interrupted: true, ..Executed::default() };
                let (steps, plan) = (plan.steps.len(), Ok(plan.summary()));
                return Ok(Cycled { plan, steps, executed: Some(executed), mended, verified: false });
            }
        };
        let checked = match survey.check(given.unwrap_or(plan), store.read(), self.job) {
            Ok(checked) => checked,
            Err(refused) => {
                show(&survey, &refused.plan, &refused.refusals);
                return Ok(refusal(refused, mended));
            }
        };
        show(&survey, checked.plan(), &[]);
        let (steps, plan) = (checked.plan().steps.len(), checked.plan().summary());
        let managed = checked.plan().is_managed();
        let nothing = steps == 0 && plan.condemned.is_empty() && survey.memory.condemned.is_empty();
        let executed = if nothing {
            Executed::default()
        } else {
            sweep(session, &session.run, checked, &survey, &means, self.job, self.stop).await?
        };
        // What this run took, or one before it that nobody looked after.
        let owed = if managed {
            // The repository manager orders its own deletes and pushes.
            None
        } else if executed.took_anything() {
            Some(session.run.clone())
        } else {
            taken::unverified(store.read(), &survey.memory.runs).await?
        };
        drop(survey);
        let verified = match owed {
            Some(run) if self.waits && self.job.mode == Mode::Online => {
                let verified = self.verify(session, &means, &mut mended, show).await?;
                if verified {
                    journal::write_verified(store, &run, clock.now()).await?;
                }
                verified
            }
            _ => false,
        };
        Ok(Cycled { plan: Ok(plan), steps, executed: Some(executed), mended, verified })
    }

    /// Carries out a plan that only gives back; the refusal when it is refused.
    async fn mend(
        &self,
        session: &Session,
        means: &Means<'_>,
        survey: &Survey,
        mut plan: Plan,
        mended: &mut Vec<(String, Executed)>,
        show: &mut (dyn FnMut(&Survey, &Plan, &[Refusal]) + Send),
    ) -> Result<Option<Box<Refused>>, PipelineError> {
        plan.steps.retain(|step| step.action.gives_back());
        plan.mends = true;
        let checked = match survey.check(plan, means.store.read(), self.job) {
            Ok(checked) => checked,
            Err(refused) => {
                show(survey, &refused.plan, &refused.refusals);
                return Ok(Some(refused));
            }
        };
        show(survey, checked.plan(), &[]);
        let run = format!("{}-mend-{}", session.run, mended.len() + 1);
        let executed = sweep(session, &run, checked, survey, means, self.job, || false).await?;
        mended.push((run, executed));
        Ok(None)
    }

    /// Waits until every push that the sweep may have crossed has left its signs, and gives back what they need. Returns
    /// whether it came to the end of that.
    async fn verify(
        &self,
        session: &Session,
        means: &Means<'_>,
        mended: &mut Vec<(String, Executed)>,
        show: &mut (dyn FnMut(&Survey, &Plan, &[Refusal]) + Send),
    ) -> Result<bool, PipelineError> {
        let until =
            means.clock.now().saturating_add(self.job.limits.settle.as_signed()).unwrap_or(Timestamp::MAX);
        means.store.read().progress().begin("waiting for pushes to settle", None);
        while means.clock.now() < until {
            if (self.stop)() {
                return Ok(false);
            }
            let left = until.duration_since(means.clock.now()).unsigned_abs();
            means.clock.sleep(left.min(TICK)).await;
        }
        for _ in 0..ROUNDS {
            session.lease.check().await?;
            let survey =
                match survey(means.store.read(), means.layout, self.job, Depth::Names, means.clock).await {
                    // What was done is told; the next run looks.
                    Err(error) if error.is_stopped() => return Ok(false),
                    survey => survey?,
                };
            let plan = survey.plan(means.store.read(), means.layout, self.job);
            if !plan.steps.iter().any(|step| step.action.gives_back()) {
                return Ok(true);
            }
            if self.mend(session, means, &survey, plan, mended, show).await?.is_some() {
                return Ok(false);
            }
            if mended.last().is_some_and(|(_, executed)| executed.done.is_empty()) {
                return Ok(false);
            }
        }
        Ok(false)
    }
}

/// How often somebody who waits asks whether to stop.
const TICK: std::time::Duration = std::time::Duration::from_millis(500);

fn refusal(refused: Box<Refused>, mended: Vec<(String, Executed)>) -> Cycled {
    let steps = refused.plan.steps.len();
    Cycled { plan: Err(refused), steps, executed: None, mended, verified: false }
}
