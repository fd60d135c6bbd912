//! The one place that reads time.
//!
//! Everything that decides takes `now` as an argument; everything that waits or stamps is handed a [`Clock`], so that
//! a test can live through a week of grace in a microsecond.

use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

/// Where the present moment comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;

    /// Waits.
    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()>;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "the one caller of the operating system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Measures how long something takes, whatever becomes of the clock meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Begins to measure.
    #[expect(clippy::disallowed_methods, reason = "the one caller of the operating system's clock")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// How long ago that was.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The clock of a store, as far from another as was measured. Ages are told by it alone: every time in a store is its own.
#[derive(Debug, Clone, Copy)]
pub struct OfStore<'c> {
    /// The other.
    pub clock: &'c dyn Clock,
    /// How far the other is ahead.
    pub ahead: SignedDuration,
}

impl Clock for OfStore<'_> {
    fn now(&self) -> Timestamp {
        self.clock.now().saturating_sub(self.ahead).unwrap_or(Timestamp::MIN)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.clock.sleep(time)
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct Manual(Mutex<Timestamp>);

impl Manual {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock forward.
    ///
    /// # Panics
    /// When the result is past the year 9999.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = now.checked_add(by).expect("a manual clock stays within the calendar");
    }
}

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.advance(time);
        Box::pin(std::future::ready(()))
    }
}
