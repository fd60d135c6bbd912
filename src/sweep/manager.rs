//! What a repository manager is asked to do, through its REST interface: to delete components and assets, and to start
//! tasks.
//!
//! `GET` and `DELETE service/rest/v1/components/{id}` and `…/assets/{id}`, `POST service/rest/v1/tasks/{id}/run`. Each
//! thing is looked at right before, and left when it is not what was listed. Between that and the delete somebody may
//! push the tag anew, as when a person deletes it: the interface has no condition to delete by.

use std::ops::Range;

use reqwest::{Client, Method};
use serde_json::Value;

use super::held::HELD;
use super::journal::{Intent, Outcome};
use super::step::GONE;
use super::{Progress, SweepError};
use crate::evidence::managed::Listed;
use crate::evidence::{Answer, Rest, Unanswered};
use crate::plan::{Action, Step};

/// After so many requests in a row that came to nothing the rest is not tried.
const IN_VAIN: u32 = 3;

/// A repository manager.
pub(super) struct Manager<'m> {
    /// Its interface and a client, or why there is none.
    interface: Result<(&'m Rest, Client), String>,
    /// Requests in a row that came to nothing.
    in_vain: u32,
}

impl<'m> Manager<'m> {
    /// The manager behind `rest`.
    pub(super) fn of(rest: Option<&'m Rest>) -> Self {
        let interface = match rest.map(|rest| (rest, rest.client())) {
            Some((rest, Ok(client))) => Ok((rest, client)),
            Some((_, Err(error))) => Err(error.to_string()),
            None => Err("no repository manager is to do it in this run".into()),
        };
        Self { interface, in_vain: 0 }
    }

    async fn send(&mut self, method: Method, what: &str) -> Result<Answer, Outcome> {
        let (rest, client) = match &self.interface {
            Ok(interface) => interface,
            Err(why) => return Err(Outcome::Failed(why.clone())),
        };
        let url = rest.url();
        match rest.send(client, method, what, &[]).await {
            Ok(answer) => {
                self.in_vain = 0;
                Ok(answer)
            }
            // The rest would be answered in the same way, and a manager may lock out who asks too often.
            Err(Unanswered::Denied(status)) => {
                let why = format!(
                    "{url} answers {status}: give a user who may delete in these repositories and start tasks, such as an \
                     administrator"
                );
                self.interface = Err(why.clone());
                Err(Outcome::Failed(why))
            }
            Err(Unanswered::Other(why)) => {
                let why = format!("{url} {what}: {why}");
                self.in_vain += 1;
                if self.in_vain >= IN_VAIN {
                    self.interface = Err(format!("not tried, since the {IN_VAIN} before it failed: {why}"));
                }
                Err(Outcome::Failed(why))
            }
        }
    }

    /// Looks at what a step is about; an outcome when it is not to be begun.
    async fn look(&mut self, listed: &Listed) -> Result<(), Outcome> {
        let mut gone = true;
        for resource in listed.resources() {
            match self.send(Method::GET, &resource).await? {
                Answer::Absent => {}
                Answer::Body(body) => {
                    let same = serde_json::from_slice::<Value>(&body).is_ok_and(|now| listed.is_same(&now));
                    if !same {
                        return Err(Outcome::Skipped("it changed since it was listed".into()));
                    }
                    gone = false;
                }
            }
        }
        if gone && !listed.assets.is_empty() { Err(Outcome::Skipped(GONE.into())) } else { Ok(()) }
    }

    /// Carries a step out. What is gone by then is deleted.
    async fn carry_out(&mut self, step: &Step) -> Outcome {
        let result = match (&step.action, &step.evidence.listed) {
            (Action::RunTask { task, .. }, _) => self.start(task).await,
            (_, Some(listed)) => self.delete(listed).await,
            (_, None) => Err(Outcome::Failed("nothing is listed of it".into())),
        };
        result.err().unwrap_or(Outcome::Done)
    }

    async fn delete(&mut self, listed: &Listed) -> Result<(), Outcome> {
        for resource in listed.resources() {
            self.send(Method::DELETE, &resource).await?;
        }
        Ok(())
    }

    async fn start(&mut self, task: &str) -> Result<(), Outcome> {
        match self.send(Method::POST, &format!("tasks/{task}/run")).await? {
            Answer::Body(_) => Ok(()),
            Answer::Absent => Err(Outcome::Failed("the repository manager has no such task any more".into())),
        }
    }
}

impl Progress<'_> {
    /// Has the repository manager carry out steps.
    pub(super) async fn hand_over(
        &mut self,
        range: Range<usize>,
        manager: &mut Manager<'_>,
    ) -> Result<(), SweepError> {
        let plan = self.plan;
        let mut ready = Vec::new();
        for index in range {
            let step = &plan.steps[index];
            let looked = match &step.evidence.listed {
                _ if self.held.holds(&step.action) => Err(Outcome::Skipped(HELD.into())),
                Some(listed) => manager.look(listed).await,
                None => Ok(()),
            };
            match looked {
                Ok(()) => ready.push(index),
                Err(outcome) => self.note(index, outcome),
            }
        }
        let fencing = self.hand.fencing;
        let intent = |step: &usize| Intent { step: *step, fencing, links: Vec::new(), data: Vec::new() };
        // No effect without a durable intent.
        self.journal.intend(ready.iter().map(intent)).await?;
        for index in ready {
            let outcome = manager.carry_out(&plan.steps[index]).await;
            self.note(index, outcome);
        }
        Ok(())
    }
}
