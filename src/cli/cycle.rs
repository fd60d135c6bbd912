//! One cycle as the command line asks for it, whoever begins it: a person, a job, or the sidecar.

use clap::Args;
use jiff::SignedDuration;

use super::{CacheArgs, Failure, PolicyArgsOf, Stop, StoreArgs, talk, usage};
use crate::clock::System;
use crate::config::values::Period;
use crate::exit::Exit;
use crate::layout::{Keeps, RegistryLayout};
use crate::pipeline::{self, Cycle, Cycled, Survey};
use crate::plan::{Plan, Refusal};
use crate::policy::Policy;
use crate::store::{ReadStore, Requests, Tree, WriteStore};
use crate::sweep::Means;
use crate::sweep::cache::{Caches, ReadOnly};
use crate::sweep::recover::Recovered;

/// What a cycle works with.
#[derive(Debug, Clone, Args)]
pub(super) struct CycleArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub policy: PolicyArgsOf,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[arg(
        long,
        value_name = "DURATION|later",
        env = "REGSWEEP_SETTLE",
        help = "How long to wait after a sweep beside a registry that serves before looking for pushes that it crossed, or \
                `later` to leave that to the next run [default: 1min in a directory, 15min in a bucket]"
    )]
    pub settle: Option<Settle>,
}

/// How long pushes are given to leave their signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settle {
    /// So long.
    For(Period),
    /// Until the next run.
    Later,
}

impl std::str::FromStr for Settle {
    type Err = <Period as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "later" { Ok(Self::Later) } else { text.parse().map(Self::For) }
    }
}

/// In a directory a registry writes its links within milliseconds of looking; a bucket may keep it waiting for minutes.
fn settle(asked: Option<Settle>, tree: &Tree) -> Period {
    match (asked, tree) {
        (Some(Settle::For(period)), _) => period,
        (_, Tree::Directory(_)) => Period::from_signed(SignedDuration::from_mins(1)),
        (_, Tree::Bucket(_)) => Period::from_signed(SignedDuration::from_mins(15)),
    }
}

/// Who is told of a cycle while it goes on.
pub(super) trait Audience: Send {
    /// The lease is held, and the cycle begins.
    fn began(&mut self, store: &ReadStore);
    /// A plan, before it is carried out or because it is refused.
    fn plan(&mut self, store: &ReadStore, survey: &Survey, plan: &Plan, refusals: &[Refusal]);
    /// The cycle is over.
    fn ended(&mut self);
}

/// What became of a cycle, and what it cost.
pub(super) struct CarriedOut {
    /// The run's name.
    pub run: String,
    /// The store.
    pub store: WriteStore,
    /// Its layout.
    pub layout: &'static dyn RegistryLayout,
    /// Interrupted runs that were looked after.
    pub recovered: Vec<Recovered>,
    /// What was done.
    pub cycled: Cycled,
    /// Whether what went can be brought back.
    pub keeps_trash: bool,
    /// What it cost.
    pub requests: Requests,
}

impl CarriedOut {
    /// Whether steps could not be carried out.
    pub(super) fn some_failed(&self) -> bool {
        let Cycled { executed, mended, .. } = &self.cycled;
        let mended = mended.iter().map(|(_, executed)| executed);
        executed.iter().chain(mended).any(|executed| !executed.failed.is_empty())
    }
}

impl CycleArgs {
    /// Opens the store, takes the lease, looks after interrupted runs, carries out one cycle, and gives the lease back.
    /// `given` is a plan to carry out instead of making one.
    pub(super) async fn carry_out(
        &self,
        policy: Option<&Policy>,
        given: Option<Plan>,
        stop: &Stop,
        audience: &mut dyn Audience,
    ) -> Result<CarriedOut, Failure> {
        let caches = self.cache.caches(&self.store)?;
        // A registry that is stopped or read-only is asked for nothing but that.
        let evicted = if self.policy.offline { self.cache.of_stopped(&self.store)? } else { caches.clone() };
        let (store, layout) = self.store.open_to_change()?;
        let _looking = stop.ends_looking_at(store.read());
        self.look_at_registry(&caches, layout).await?;
        let mut job = self.policy.job(policy, &self.store, store.read())?;
        job.purge_ban = caches.purge_ban();
        job.limits.settle = settle(self.settle, store.read().tree());
        let means = Means { store: &store, layout, caches: &evicted, clock: &System };
        let session = pipeline::begin(&means, &job.limits).await?;
        for recovered in &session.recovered {
            talk(&format!(
                "the interrupted run {} was closed: {} steps finished, {} had been done, {} left for this run",
                recovered.run, recovered.finished, recovered.found_done, recovered.left
            ));
        }
        let requested = || stop.requested();
        let waits = self.settle != Some(Settle::Later);
        let cycle = Cycle { means, job: &job, waits, stop: &requested };
        audience.began(store.read());
        let result = {
            let mut show = |survey: &Survey, plan: &Plan, refusals: &[Refusal]| {
                audience.plan(store.read(), survey, plan, refusals);
            };
            cycle.run(&session, given, &mut show).await
        };
        audience.ended();
        let released = session.lease.release().await;
        let cycled = result?;
        released?;
        Ok(CarriedOut {
            run: session.run,
            recovered: session.recovered,
            cycled,
            keeps_trash: !job.limits.trash_keep.is_zero() && !job.database.manages,
            requests: store.read().requests(),
            store,
            layout,
        })
    }

    /// What is assumed of the registry, and whether that can be true.
    async fn look_at_registry(&self, caches: &Caches, layout: &dyn RegistryLayout) -> Result<(), Failure> {
        if layout.keeps() == Keeps::Records {
            // What a repository manager answers comes from its database.
            return Ok(());
        }
        if !self.policy.offline {
            talk(&format!("beside a registry that serves; its cache: {}", caches.describe()));
            return Ok(());
        }
        for (registry, answer) in caches.probe_read_only().await.map_err(usage)? {
            match answer {
                ReadOnly::ReadOnly | ReadOnly::Stopped => {}
                ReadOnly::TakesWrites => {
                    return Err(Failure {
                        exit: Exit::Refused,
                        error: anyhow::anyhow!(
                            "{registry} takes writes, and --offline says that it does not: stop it, or set \
                             storage.maintenance.readonly.enabled and restart it, or run without --offline"
                        ),
                    });
                }
                ReadOnly::Unclear(why) => {
                    talk(&format!("whether {registry} takes writes is not clear: {why}"));
                }
            }
        }
        if let Some(config) = self.store.registry_configuration()?
            && !config.read_only
            && self.cache.registry_url.is_empty()
        {
            talk(
                "assuming that the registry is stopped or read-only: its configuration does not say read-only",
            );
        }
        Ok(())
    }
}
