//! When the next run is due: times in, times out. Nothing here knows the present moment.
//!
//! All times are UTC. What is remembered between runs is an [`Agenda`]: it is written before a run begins, as if that run
//! had failed, so that a process which dies in the middle of it and is started again does not begin another at once.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::window::Window;
use crate::config::values::{Percentage, Period};

/// How long after a run that failed the next is tried, if the schedule has none before. Twice as long each time.
const RETRY: Duration = Duration::from_secs(5 * 60);

/// The longest of these.
const RETRY_LONGEST: Duration = Duration::from_secs(6 * 3600);

/// The shortest interval: a run lists the whole store.
const SHORTEST: Period = Period::from_secs(1);

/// Why a schedule cannot be gone by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not the text of a cron table.
    #[error(
        "`{text}` is no schedule: {why}. Write five fields (minute, hour, day, month, weekday), such as \"0 2 * * *\""
    )]
    Cron {
        /// What was written.
        text: String,
        /// What the reader of it says.
        why: String,
    },
    /// It has no time in any year.
    #[error("`{text}` is a time that never comes")]
    Never {
        /// What was written.
        text: String,
    },
    /// Runs would follow each other without a pause.
    #[error("`{0}` is no interval: write one such as 6h")]
    TooShort(Period),
}

/// How runs follow each other.
#[derive(Debug, Clone)]
pub enum Rhythm {
    /// So long after the one before began.
    Every(Period),
    /// At the times of a cron table.
    Cron(Box<Cron>, String),
}

impl Rhythm {
    /// Runs that follow each other by so much.
    ///
    /// # Errors
    /// [`ScheduleError::TooShort`] for no time at all.
    pub fn every(period: Period) -> Result<Self, ScheduleError> {
        if period < SHORTEST { Err(ScheduleError::TooShort(period)) } else { Ok(Self::Every(period)) }
    }

    /// Five fields as `crontab(5)` has them, by UTC.
    ///
    /// # Errors
    /// [`ScheduleError::Cron`], [`ScheduleError::Never`].
    pub fn cron(text: &str) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| ScheduleError::Cron {
            text: text.to_owned(),
            why: error.to_string().trim_end_matches('.').to_owned(),
        })?;
        let rhythm = Self::Cron(Box::new(cron), text.trim().to_owned());
        match rhythm.following(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(rhythm),
            None => Err(ScheduleError::Never { text: text.to_owned() }),
        }
    }

    /// The first time after `last`; nothing when there is none within the calendar.
    fn following(&self, last: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(period) => last.checked_add(period.as_signed()).ok(),
            Self::Cron(cron, _) => {
                let found: DateTime =
                    cron.find_next_occurrence(&TimeZone::UTC.to_datetime(last), false).ok()?;
                TimeZone::UTC.to_timestamp(found).ok()
            }
        }
    }
}

impl fmt::Display for Rhythm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(period) => write!(formatter, "every {period}"),
            Self::Cron(_, text) => write!(formatter, "at {text}"),
        }
    }
}

/// When runs are due.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// How they follow each other.
    pub rhythm: Rhythm,
    /// How much of the time to the run after it a run may be late, so that many sidecars do not begin at once.
    pub jitter: Percentage,
    /// When in the day one may begin.
    pub window: Option<Window>,
}

/// What is remembered of the schedule from one run to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agenda {
    /// [`SCHEMA`].
    pub schema: String,
    /// The schedule that `next_due` was told by.
    pub schedule: String,
    /// When a run last began.
    pub last_start: Option<Timestamp>,
    /// When one last ended as it should.
    pub last_success: Option<Timestamp>,
    /// When the next is due.
    pub next_due: Timestamp,
    /// Runs since then that did not, one under way among them.
    pub failures: u32,
    /// Who began the last run: host and process.
    pub holder: String,
}

/// The `schema` of an agenda.
pub const SCHEMA: &str = "regsweep/schedule/1";

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.rhythm)?;
        if self.jitter.percent() > 0 {
            write!(formatter, ", up to {} later", self.jitter)?;
        }
        match self.window {
            Some(window) => write!(formatter, ", within {window}"),
            None => Ok(()),
        }
    }
}

impl Schedule {
    /// When the run after one at `last` is due. `draw`, from 0 to 1, is where in the time that jitter allows.
    pub fn after(&self, last: Timestamp, draw: f64) -> Timestamp {
        let Some(next) = self.rhythm.following(last) else { return Timestamp::MAX };
        let base = self.opened(next);
        let gap =
            self.rhythm.following(next).map_or(SignedDuration::ZERO, |after| after.duration_since(next));
        let spread = gap.mul_f64(f64::from(self.jitter.percent()) / 100.0);
        // What jitter moves stays in the window in which it would have begun.
        let room = self.window.map_or(spread, |window| window.left(base).min(spread));
        base.saturating_add(room.mul_f64(draw.clamp(0.0, 1.0))).unwrap_or(Timestamp::MAX)
    }

    fn opened(&self, time: Timestamp) -> Timestamp {
        self.window.map_or(time, |window| window.opened(time))
    }

    /// When a run is tried again after so many that failed: sooner than the schedule says, and later each time.
    pub fn retry(&self, now: Timestamp, failures: u32) -> Timestamp {
        let wait = RETRY.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(RETRY_LONGEST);
        self.opened(now.saturating_add(wait).unwrap_or(Timestamp::MAX)).min(self.after(now, 0.0))
    }

    /// The agenda to go by, whatever was remembered: nothing, that of another schedule, or one that was written while a
    /// clock was wrong.
    pub fn resume(&self, found: Option<&Agenda>, now: Timestamp, draw: f64) -> Agenda {
        let mut agenda = found.cloned().unwrap_or_else(|| Agenda {
            schema: SCHEMA.into(),
            schedule: String::new(),
            last_start: None,
            last_success: None,
            next_due: now,
            failures: 0,
            holder: String::new(),
        });
        // One that lies ahead was told by a clock that has been set back since.
        agenda.last_start = agenda.last_start.map(|start| start.min(now));
        let text = self.to_string();
        if agenda.schedule != text {
            agenda.schedule = text;
            agenda.next_due = match (agenda.last_start, &self.rhythm) {
                _ if agenda.failures > 0 => self.retry(now, agenda.failures),
                (Some(last), _) => self.after(last, draw),
                // Nobody knows of a run: one is due now, but not where the schedule names the times.
                (None, Rhythm::Every(_)) => self.opened(now),
                (None, Rhythm::Cron(..)) => self.after(now, draw),
            };
        }
        // No schedule has the next one later than that.
        agenda.next_due = agenda.next_due.min(self.after(now, 1.0));
        // One that was missed outside of the window waits for it.
        if agenda.next_due <= now {
            agenda.next_due = self.opened(now).max(agenda.next_due);
        }
        agenda
    }

    /// The agenda to write before a run begins.
    pub fn begin(&self, agenda: &Agenda, now: Timestamp, holder: &str) -> Agenda {
        let failures = agenda.failures.saturating_add(1);
        Agenda {
            last_start: Some(now),
            failures,
            next_due: self.retry(now, failures),
            holder: holder.to_owned(),
            ..agenda.clone()
        }
    }

    /// The agenda to write after a run that needs no other soon. What was missed while it was under way is left out.
    pub fn end(&self, begun: &Agenda, now: Timestamp, success: bool, draw: f64) -> Agenda {
        // A clock that was set back during the run does not make the next one late.
        let due = self.after(begun.last_start.unwrap_or(now).min(now), draw);
        Agenda {
            next_due: if due > now { due } else { self.after(now, draw) },
            failures: 0,
            last_success: if success { Some(now) } else { begun.last_success },
            ..begun.clone()
        }
    }
}

#[cfg(test)]
#[path = "schedule/tests.rs"]
mod tests;
