//! Lengths of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

use super::{ValueError, number_and_unit, serde_as_text};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// No registry is older; the bound keeps every sum of two periods and a timestamp within range.
const LONGEST: u64 = 1000 * YEAR;

const DURATION_UNITS: &str = "s, min, h, d, w, mo (30 days) and y (365 days)";
/// A length of time in whole seconds: `45s`, `15min`, `12h`, `30d`, `2w`, `1mo` (30 days), `1y` (365 days) or `0`.
///
/// ```
/// use regsweep::config::values::Period;
/// let fortnight: Period = "2w".parse().unwrap();
/// assert_eq!(fortnight.to_string(), "14d");
/// assert!("1m".parse::<Period>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period(Duration);

impl Period {
    /// No time at all.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A period of so many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A period of so many hours.
    pub const fn from_hours(hours: u64) -> Self {
        Self::from_secs(hours * HOUR)
    }

    /// A period of so many days of 24 hours.
    pub const fn from_days(days: u64) -> Self {
        Self::from_secs(days * DAY)
    }

    /// The whole seconds of a signed length of time; nothing when it is negative.
    pub fn from_signed(length: SignedDuration) -> Self {
        Self::from_secs(u64::try_from(length.as_secs()).unwrap_or(0))
    }

    /// The same length for the standard library.
    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// The same length for arithmetic with timestamps.
    pub fn as_signed(self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.as_secs()).unwrap_or(i64::MAX))
    }

    /// The whole seconds.
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// Whether this is `0`.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The length in its largest unit up to days, rounded down, as a person would say an age: `23d`, `5h`.
    pub fn rough(self) -> String {
        let seconds = self.as_secs();
        let (size, unit) = [(DAY, "d"), (HOUR, "h"), (MINUTE, "min")]
            .into_iter()
            .find(|(size, _)| seconds >= *size)
            .unwrap_or((1, "s"));
        format!("{}{unit}", seconds / size)
    }
}

impl From<Duration> for Period {
    /// Drops what is below a second.
    fn from(duration: Duration) -> Self {
        Self::from_secs(duration.as_secs())
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.as_secs();
        if seconds == 0 {
            return formatter.pad("0");
        }
        let (size, unit) = [(DAY, "d"), (HOUR, "h"), (MINUTE, "min")]
            .into_iter()
            .find(|(size, _)| seconds.is_multiple_of(*size))
            .unwrap_or((1, "s"));
        formatter.pad(&format!("{}{unit}", seconds / size))
    }
}

impl FromStr for Period {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        let (number, unit) = number_and_unit(text, "duration", "30d")?;
        let size = match unit {
            "" if number == 0 => return Ok(Self::ZERO),
            "" => {
                let suggestions = format!("{number}s, {number}min, {number}h or {number}d");
                return Err(ValueError::UnitMissing { text: text.to_owned(), suggestions });
            }
            "s" => 1,
            "min" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            "w" => WEEK,
            "mo" => MONTH,
            "y" => YEAR,
            "m" | "M" => {
                let suggestions = format!("{number}min (minutes) or {number}mo (months)");
                return Err(ValueError::Ambiguous { text: text.to_owned(), suggestions });
            }
            unit => {
                let (text, unit) = (text.to_owned(), unit.to_owned());
                return Err(ValueError::UnitUnknown { text, unit, units: DURATION_UNITS });
            }
        };
        match number.checked_mul(size) {
            Some(seconds) if seconds <= LONGEST => Ok(Self::from_secs(seconds)),
            _ => Err(ValueError::TooLarge { text: text.to_owned(), most: "1000y" }),
        }
    }
}

serde_as_text!(Period);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, seconds) in [
            ("0", 0),
            ("0d", 0),
            ("45s", 45),
            ("15min", 900),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
            ("1mo", 2_592_000),
            ("1y", 31_536_000),
        ] {
            assert_eq!(text.parse(), Ok(Period::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refused_durations_say_what_to_write() {
        for (text, message) in [
            ("1m", "`1m` could mean two things: write 1min (minutes) or 1mo (months)"),
            ("30", "`30` has no unit: write 30s, 30min, 30h or 30d"),
            ("-5d", "`-5d` is negative; a duration counts from zero up"),
            ("", "a duration is missing: write one such as 30d"),
            ("1.5h", "`1.5h` is not a duration: write a whole number and a unit, such as 30d"),
            ("1h30min", "`1h30min` is not a duration: write a whole number and a unit, such as 30d"),
            ("3 d", "`3 d` is not a duration: write a whole number and a unit, such as 30d"),
            (
                "3days",
                "`3days` has an unknown unit `days`; the units are s, min, h, d, w, mo (30 days) and y (365 days)",
            ),
            ("999999999y", "`999999999y` is too large: the most is 1000y"),
        ] {
            assert_eq!(text.parse::<Period>().unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn ages_are_said_in_their_largest_unit() {
        assert_eq!(Period::from_secs(23 * DAY + 5 * HOUR).rough(), "23d");
        assert_eq!(Period::from_secs(59).rough(), "59s");
        assert_eq!(Period::from_secs(3 * HOUR + 1).rough(), "3h");
    }

    proptest! {
        #[test]
        fn display_parses_back(seconds in 0..LONGEST) {
            let period = Period::from_secs(seconds);
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = text.parse::<Period>();
        }
    }
}
