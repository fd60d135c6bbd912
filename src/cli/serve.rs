//! `regsweep serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::cycle::CycleArgs;
use super::pulls::IgnoreArgs;
use super::{CommandResult, Failure, Stop, talk, usage};
use crate::clock::System;
use crate::config::registry::Secret;
use crate::config::values::{Percentage, Period};
use crate::exit::Exit;
use crate::sidecar::board::Board;
use crate::sidecar::events::Intake;
use crate::sidecar::guard::Guard;
use crate::sidecar::http::{self, Site, TlsFiles};
use crate::sidecar::keeper::Keeper;
use crate::sidecar::schedule::{Rhythm, Schedule};
use crate::sidecar::webhook::{self, Receiver};
use crate::sidecar::window::Window;

mod events;
mod work;

use events::Writer;
use work::Routine;

/// How long notices may still take when everything else has ended.
const PARTING: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub cycle: CycleArgs,
    /// Time from the beginning of one run to that of the next [default: 24h]
    #[arg(long, value_name = "DURATION", env = "REGSWEEP_EVERY", conflicts_with = "schedule")]
    pub every: Option<Period>,
    /// When to run, as a line of crontab(5) by UTC, such as "0 2 * * *"
    #[arg(long, value_name = "CRON", env = "REGSWEEP_SCHEDULE")]
    pub schedule: Option<String>,
    /// How much later a run may be, in percent of the time to the one after it, so that many sidecars do not run at once
    #[arg(long, value_name = "PERCENT", env = "REGSWEEP_JITTER", default_value = "10%")]
    pub jitter: Percentage,
    /// The part of the day, by UTC, in which runs may begin, such as 01:00-06:00 or 22:00-04:00
    #[arg(long, value_name = "FROM-UNTIL", env = "REGSWEEP_WINDOW")]
    pub window: Option<Window>,
    /// Stop each run cleanly after so long; the next one goes on
    #[arg(long, value_name = "DURATION", env = "REGSWEEP_MAX_RUNTIME")]
    pub max_runtime: Option<Period>,
    /// Where to answer: /healthz and /readyz to everybody; to whoever may, a page at /, /metrics, and /events for the registry
    #[arg(long, value_name = "ADDRESS", env = "REGSWEEP_LISTEN", default_value = "127.0.0.1:9123")]
    pub listen: SocketAddr,
    /// File with the token that everything but the probes asks for; or put it in `REGSWEEP_TOKEN`
    #[arg(long, value_name = "FILE", env = "REGSWEEP_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate to answer with, in PEM
    #[arg(long, value_name = "FILE", env = "REGSWEEP_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", env = "REGSWEEP_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authority whose clients may see everything
    #[arg(long, value_name = "FILE", env = "REGSWEEP_TLS_CLIENT_CA", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// Where to post a JSON document when a run finished, was refused, failed, or gave something back
    #[arg(long, value_name = "URL", env = "REGSWEEP_WEBHOOK", hide_env_values = true, value_parser = hidden)]
    pub webhook: Option<Secret>,
    /// File with the bearer token to send there; or put it in `REGSWEEP_WEBHOOK_TOKEN`
    #[arg(long, value_name = "FILE", env = "REGSWEEP_WEBHOOK_TOKEN_FILE")]
    pub webhook_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub ignore: IgnoreArgs,
}

/// An address that may hold a secret. Nothing is wrong with it yet: what says so would quote it.
#[expect(clippy::unnecessary_wraps, reason = "the shape that clap asks for")]
fn hidden(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::from(text.to_owned()))
}

/// A secret from a file, or else from the environment.
fn secret(file: Option<&PathBuf>, variable: &str) -> Result<Option<Secret>, Failure> {
    let text = match file {
        Some(file) => Some(
            std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the token in {}", file.display()))
                .map_err(usage)?,
        ),
        None => std::env::var(variable).ok(),
    };
    let text = text.map(|text| text.trim().to_owned());
    match (text, file) {
        (Some(text), Some(file)) if text.is_empty() => {
            Err(usage(anyhow::anyhow!("the token file {} is empty", file.display())))
        }
        (text, _) => Ok(text.filter(|text| !text.is_empty()).map(Secret::from)),
    }
}

pub(super) async fn run(args: ServeArgs) -> CommandResult {
    let schedule = args.schedule()?;
    args.fits()?;
    // What cannot be read at the start has no earlier one to go by.
    let policy = args.cycle.policy.read()?;
    let location = args.cycle.store.location()?;
    let token = secret(args.token_file.as_ref(), "REGSWEEP_TOKEN")?;
    let guard = Guard::of(args.listen, token, args.tls_client_ca.is_some()).map_err(usage)?;
    let tls = args.tls()?;
    let receiver = args.receiver()?;
    let (listener, address) = args.listen().await?;
    let board = Arc::new(Board::of(location.to_string(), schedule.to_string()));
    let stop = Stop::listen(None);
    let (sender, sending) = match receiver {
        Some(receiver) => {
            let (sender, task) = webhook::begin(receiver, board.clone(), Arc::new(System)).map_err(usage)?;
            (Some(sender), Some(task))
        }
        None => (None, None),
    };
    let ignored = args.ignore.list(policy.as_ref())?;
    let intake = Arc::new(Intake::of(ignored, board.clone()));
    let writer = Arc::new(Writer::of(args.cycle.store.clone(), intake.clone(), board.clone()));
    let writing = tokio::spawn(events::write_on(writer.clone()));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let site = Arc::new(Site { board: board.clone(), guard, intake, clock: Arc::new(System) });
    let answering = tokio::spawn(http::serve(listener, tls, site));
    talk(&format!("serving {location}, {schedule}; {scheme}://{address}/"));
    let routine = Routine::new(&args, policy, board.clone(), sender, stop.clone(), writer.clone());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = format!("{host}-{}", std::process::id());
    let keeper = Keeper {
        schedule: &schedule,
        clock: &System,
        board: &board,
        work: &routine,
        holder: &holder,
        draw: &fastrand::f64,
        stop: stop.signal.clone(),
    };
    keeper.keep().await;
    // Nothing more is handed over: what was is sent, if that does not take long.
    drop(routine);
    if let Some(sending) = sending {
        let _ = tokio::time::timeout(PARTING, sending).await;
    }
    answering.abort();
    writing.abort();
    // What the registry was told is taken is not forgotten.
    writer.write().await;
    Ok(stop.exit().unwrap_or(Exit::Done))
}

impl ServeArgs {
    fn schedule(&self) -> Result<Schedule, Failure> {
        let rhythm = match (&self.schedule, self.every) {
            (Some(text), _) => Rhythm::cron(text).context("--schedule").map_err(usage)?,
            (None, every) => {
                Rhythm::every(every.unwrap_or(Period::from_hours(24))).context("--every").map_err(usage)?
            }
        };
        Ok(Schedule { rhythm, jitter: self.jitter, window: self.window })
    }

    /// What holds for one run does not hold for all to come.
    fn fits(&self) -> Result<(), Failure> {
        if self.cycle.policy.offline {
            return Err(usage(anyhow::anyhow!(
                "serve works beside a registry that serves, and --offline says that it is stopped: leave it out, or use run"
            )));
        }
        if let Some(mode) = self.cycle.store.evidence.nexus_mode.filter(|mode| mode.is_by_policy()) {
            return Err(usage(anyhow::anyhow!(
                "serve works beside a Nexus that serves, and --nexus-mode {mode} needs one that is stopped or frozen: use run"
            )));
        }
        if self.cycle.cache.assume_restarted {
            return Err(usage(anyhow::anyhow!(
                "--assume-restarted is said of one run, and serve makes many: say it in a run of its own"
            )));
        }
        Ok(())
    }

    async fn listen(&self) -> Result<(TcpListener, SocketAddr), Failure> {
        let listen = || format!("cannot listen on {}: choose another address with --listen", self.listen);
        let listener = TcpListener::bind(self.listen).await.with_context(listen).map_err(usage)?;
        let address = listener.local_addr().with_context(listen).map_err(usage)?;
        Ok((listener, address))
    }

    fn tls(&self) -> Result<Option<tokio_rustls::TlsAcceptor>, Failure> {
        let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) else {
            return Ok(None);
        };
        let files = TlsFiles { certificate, key, client_authority: self.tls_client_ca.clone() };
        files.acceptor().map(Some).map_err(usage)
    }

    fn receiver(&self) -> Result<Option<Receiver>, Failure> {
        let token = secret(self.webhook_token_file.as_ref(), "REGSWEEP_WEBHOOK_TOKEN")?;
        let Some(address) = &self.webhook else { return Ok(None) };
        let receiver = Receiver::of(address, token)
            .map_err(|why| usage(anyhow::anyhow!("the address of --webhook cannot be used: {why}")))?;
        Ok(Some(receiver))
    }
}
