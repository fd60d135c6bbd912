//! Which time is the age of a manifest.

use jiff::Timestamp;

use crate::oci::Created;
use crate::policy::pulls::Pulled;
use crate::policy::rules::Clock;

/// The first moment of the year 2000: builders that want the same digest each time write the epoch, or 1980.
const EARLIEST_CREATED: Timestamp = Timestamp::constant(946_684_800, 0);

/// A time by a clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    pub(super) time: Timestamp,
    /// It may as well be any earlier time.
    pub(super) open: bool,
}

impl Age {
    pub(super) fn of(time: Timestamp) -> Self {
        Self { time, open: false }
    }
}

/// The time of a manifest by a clock, which for an untagged one is never when it was tagged.
pub(super) fn by_clock(
    clock: Clock,
    pushed: Option<Timestamp>,
    pulled: Pulled,
    created: Created,
) -> Option<Age> {
    let time = match clock {
        Clock::Tagged | Clock::Pushed => pushed,
        Clock::Pulled => {
            let (time, open) = pulled.latest(pushed?);
            return Some(Age { time, open });
        }
        Clock::Created => match created {
            Created::At(at) if at >= EARLIEST_CREATED => Some(at),
            Created::At(_) | Created::Unstated => pushed,
            Created::Unreadable => None,
        },
    };
    time.map(Age::of)
}
