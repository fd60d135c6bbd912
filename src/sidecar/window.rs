//! A part of the day, by UTC.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

const DAY: i64 = 24 * 60;

/// A part of each day in which runs may begin. What begins in it may end outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Minutes after midnight at which it opens.
    from: i64,
    /// Minutes after midnight at which it closes; less than `from` when midnight is in it.
    until: i64,
}

/// Why a window is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not two times of the day.
    #[error("`{0}` is no window: write two times of the day in UTC, such as 01:00-06:00 or 22:30-04:00")]
    Form(String),
    /// It opens when it closes.
    #[error("`{0}` opens when it closes: for the whole day leave it out")]
    Empty(String),
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let form = || WindowError::Form(text.to_owned());
        let (from, until) = text.trim().split_once('-').ok_or_else(form)?;
        let (from, until) = (minutes(from).ok_or_else(form)?, minutes(until).ok_or_else(form)?);
        if from == until % DAY {
            return Err(WindowError::Empty(text.to_owned()));
        }
        // 24:00 is how to say that it closes at midnight.
        if from == DAY { Err(form()) } else { Ok(Self { from, until }) }
    }
}

/// `01:30` in minutes.
fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let whole = hours * 60 + minutes;
    (minutes < 60 && whole <= DAY).then_some(whole)
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(formatter, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

impl Window {
    /// How long it is open from `time` on, at the longest until it closes; nothing when it is not open then.
    pub fn left(self, time: Timestamp) -> SignedDuration {
        let since = since(time, self.from);
        let length = SignedDuration::from_mins((self.until - self.from).rem_euclid(DAY));
        (length - since).max(SignedDuration::ZERO)
    }

    /// `time`, when it is open then; else when it next opens.
    pub fn opened(self, time: Timestamp) -> Timestamp {
        if self.left(time) > SignedDuration::ZERO {
            return time;
        }
        let wait = SignedDuration::from_mins(DAY) - since(time, self.from);
        time.saturating_add(wait).unwrap_or(Timestamp::MAX)
    }
}

/// How long ago it was last so many minutes after midnight.
fn since(time: Timestamp, minute: i64) -> SignedDuration {
    // Days of UTC are all as long, as POSIX counts them.
    let day = SignedDuration::from_mins(DAY).as_nanos();
    let offset = SignedDuration::from_mins(minute).as_nanos();
    SignedDuration::from_nanos_i128((time.as_nanosecond() - offset).rem_euclid(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_within_a_day_and_one_across_midnight() {
        for (window, time, opened) in [
            ("01:00-06:00", "2026-03-01T00:59:59Z", "2026-03-01T01:00:00Z"),
            ("01:00-06:00", "2026-03-01T01:00:00Z", "2026-03-01T01:00:00Z"),
            ("01:00-06:00", "2026-03-01T05:59:59Z", "2026-03-01T05:59:59Z"),
            ("01:00-06:00", "2026-03-01T06:00:00Z", "2026-03-02T01:00:00Z"),
            ("22:30-04:00", "2026-03-01T22:29:00Z", "2026-03-01T22:30:00Z"),
            ("22:30-04:00", "2026-03-01T23:59:00Z", "2026-03-01T23:59:00Z"),
            ("22:30-04:00", "2026-03-01T03:59:59Z", "2026-03-01T03:59:59Z"),
            ("22:30-04:00", "2026-03-01T04:00:00Z", "2026-03-01T22:30:00Z"),
            ("22:00-24:00", "2026-03-01T23:00:00Z", "2026-03-01T23:00:00Z"),
            ("22:00-24:00", "2026-03-02T00:00:00Z", "2026-03-02T22:00:00Z"),
            // Before 1970 days begin at midnight too.
            ("01:00-06:00", "1969-12-31T07:00:00Z", "1970-01-01T01:00:00Z"),
        ] {
            let parsed: Window = window.parse().unwrap();
            assert_eq!(parsed.opened(at(time)), at(opened), "{window} at {time}");
            assert_eq!(parsed.to_string(), window);
        }
        let window: Window = "22:30-04:00".parse().unwrap();
        assert_eq!(window.left(at("2026-03-01T03:00:00Z")), SignedDuration::from_hours(1));
        assert_eq!(window.left(at("2026-03-01T22:30:00Z")), SignedDuration::from_mins(330));
        assert_eq!(window.left(at("2026-03-01T12:00:00Z")), SignedDuration::ZERO);
    }

    #[test]
    fn what_is_no_window() {
        for text in [
            "",
            "01:00",
            "1:00-06:00",
            "01:00-25:00",
            "01:60-02:00",
            "24:00-01:00",
            "aa:bb-cc:dd",
            "01:00-06:00-07:00",
        ] {
            assert_eq!(text.parse::<Window>(), Err(WindowError::Form(text.to_owned())), "{text}");
        }
        for text in ["01:00-01:00", "00:00-24:00"] {
            assert_eq!(text.parse::<Window>(), Err(WindowError::Empty(text.to_owned())), "{text}");
        }
    }
}
