//! Durations, sizes and percentages as a user writes them, in the policy, in flags and in the environment.
//!
//! Each is a newtype with `FromStr`, `Display` and serde (as the same text), and each `Display` parses back to
//! an equal value. A month is 30 days and a year 365 days: retention is counted in days, so that `within: 1mo`
//! keeps as long in February as in March.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

/// Why a duration, a size or a percentage was refused; the text says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Nothing was written.
    #[error("a {kind} is missing: write one such as {example}")]
    Empty {
        /// What was expected: duration, size or percentage.
        kind: &'static str,
        /// A value that is accepted.
        example: &'static str,
    },
    /// A minus sign.
    #[error("`{text}` is negative; a {kind} counts from zero up")]
    Negative {
        /// What was written.
        text: String,
        /// What was expected: duration, size or percentage.
        kind: &'static str,
    },
    /// A number without its unit.
    #[error("`{text}` has no unit: write {suggestions}")]
    UnitMissing {
        /// What was written.
        text: String,
        /// Values with a unit, in words.
        suggestions: String,
    },
    /// A unit that means two things.
    #[error("`{text}` could mean two things: write {suggestions}")]
    Ambiguous {
        /// What was written.
        text: String,
        /// The two readings, in words.
        suggestions: String,
    },
    /// A unit that does not exist.
    #[error("`{text}` has an unknown unit `{unit}`; the units are {units}")]
    UnitUnknown {
        /// What was written.
        text: String,
        /// The part after the number.
        unit: String,
        /// Every unit there is.
        units: &'static str,
    },
    /// Not a number at all, or one with a fraction or a sign.
    #[error("`{text}` is not a {kind}: write a whole number and a unit, such as {example}")]
    NotANumber {
        /// What was written.
        text: String,
        /// What was expected: duration, size or percentage.
        kind: &'static str,
        /// A value that is accepted.
        example: &'static str,
    },
    /// Larger than the type or than sense allows.
    #[error("`{text}` is too large: the most is {most}")]
    TooLarge {
        /// What was written.
        text: String,
        /// The largest accepted value.
        most: &'static str,
    },
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// No registry is older; the bound keeps every sum of two periods and a timestamp within range.
const LONGEST: u64 = 1000 * YEAR;

const DURATION_UNITS: &str = "s, min, h, d, w, mo (30 days) and y (365 days)";
const SIZE_UNITS: &str = "B, kB, MB, GB, TB, PB and KiB, MiB, GiB, TiB, PiB";

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

/// A number of bytes: `500MB` and its kin count in thousands, `10GiB` and its kin in 1024s; also `0` and `42B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

/// Units of size, largest first, so that `Display` finds the shortest exact form.
const SIZES: [(u64, &str); 11] = [
    (1 << 50, "PiB"),
    (1_000_000_000_000_000, "PB"),
    (1 << 40, "TiB"),
    (1_000_000_000_000, "TB"),
    (1 << 30, "GiB"),
    (1_000_000_000, "GB"),
    (1 << 20, "MiB"),
    (1_000_000, "MB"),
    (1 << 10, "KiB"),
    (1_000, "kB"),
    (1, "B"),
];

impl ByteSize {
    /// A size of so many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return formatter.pad("0");
        }
        let (size, unit) =
            SIZES.into_iter().find(|(size, _)| self.0.is_multiple_of(*size)).unwrap_or((1, "B"));
        formatter.pad(&format!("{}{unit}", self.0 / size))
    }
}

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        let (number, unit) = number_and_unit(text, "size", "10GiB")?;
        let unit = if unit == "KB" { "kB" } else { unit };
        if unit.is_empty() {
            if number == 0 {
                return Ok(Self(0));
            }
            let suggestions = format!("{number}B, {number}MB or {number}MiB");
            return Err(ValueError::UnitMissing { text: text.to_owned(), suggestions });
        }
        if matches!(unit, "k" | "K" | "M" | "G" | "T" | "P") {
            let upper = unit.to_uppercase();
            let decimal = if upper == "K" { "k" } else { &upper };
            let suggestions = format!("{number}{decimal}B (thousands) or {number}{upper}iB (1024s)");
            return Err(ValueError::Ambiguous { text: text.to_owned(), suggestions });
        }
        let Some((size, _)) = SIZES.into_iter().find(|(_, name)| *name == unit) else {
            let (text, unit) = (text.to_owned(), unit.to_owned());
            return Err(ValueError::UnitUnknown { text, unit, units: SIZE_UNITS });
        };
        let bytes = number
            .checked_mul(size)
            .ok_or_else(|| ValueError::TooLarge { text: text.to_owned(), most: "16383PiB" })?;
        Ok(Self(bytes))
    }
}

/// A share of a whole, `0%` to `100%`, in whole percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Percentage(u8);

impl Percentage {
    /// All of it.
    pub const ALL: Self = Self(100);

    /// So many percent, at most 100.
    pub const fn from_percent(percent: u8) -> Self {
        Self(if percent > 100 { 100 } else { percent })
    }

    /// The percent.
    pub const fn percent(self) -> u8 {
        self.0
    }

    /// Whether `part` is more than this share of `whole`; exact, without rounding.
    pub const fn is_exceeded_by(self, part: u64, whole: u64) -> bool {
        part as u128 * 100 > whole as u128 * self.0 as u128
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{}%", self.0))
    }
}

impl FromStr for Percentage {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        let (number, unit) = number_and_unit(text, "percentage", "25%")?;
        match unit {
            "%" => {}
            "" => {
                let suggestions = format!("{number}%");
                return Err(ValueError::UnitMissing { text: text.to_owned(), suggestions });
            }
            unit => {
                let (text, unit) = (text.to_owned(), unit.to_owned());
                return Err(ValueError::UnitUnknown { text, unit, units: "%" });
            }
        }
        match u8::try_from(number) {
            Ok(percent) if percent <= 100 => Ok(Self(percent)),
            _ => Err(ValueError::TooLarge { text: text.to_owned(), most: "100%" }),
        }
    }
}

/// Splits `30d` into 30 and `d`.
fn number_and_unit<'a>(
    text: &'a str,
    kind: &'static str,
    example: &'static str,
) -> Result<(u64, &'a str), ValueError> {
    if text.is_empty() {
        return Err(ValueError::Empty { kind, example });
    }
    if text.starts_with('-') {
        return Err(ValueError::Negative { text: text.to_owned(), kind });
    }
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    // A unit holds letters or `%` only, so that `1.5h`, `1h30min` and `1e3` are not read as odd units.
    if digits.is_empty() || unit.contains(|character: char| !character.is_alphabetic() && character != '%') {
        return Err(ValueError::NotANumber { text: text.to_owned(), kind, example });
    }
    let most = "18446744073709551615";
    let number = digits.parse().map_err(|_| ValueError::TooLarge { text: text.to_owned(), most })?;
    Ok((number, unit))
}

/// Serde as the text of `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(Period);
serde_as_text!(ByteSize);
serde_as_text!(Percentage);

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
    fn sizes_count_in_thousands_or_in_1024s() {
        assert_eq!("10GiB".parse(), Ok(ByteSize::from_bytes(10 << 30)));
        assert_eq!("500MB".parse(), Ok(ByteSize::from_bytes(500_000_000)));
        assert_eq!("1KB".parse(), Ok(ByteSize::from_bytes(1000)));
        assert_eq!("0".parse(), Ok(ByteSize::from_bytes(0)));
        let error = "10G".parse::<ByteSize>().unwrap_err();
        assert_eq!(error.to_string(), "`10G` could mean two things: write 10GB (thousands) or 10GiB (1024s)");
        assert!("99999PiB".parse::<ByteSize>().is_err());
        assert!("-1MB".parse::<ByteSize>().is_err());
    }

    #[test]
    fn percentages_end_at_a_hundred() {
        assert_eq!("25%".parse(), Ok(Percentage::from_percent(25)));
        assert_eq!("25".parse::<Percentage>().unwrap_err().to_string(), "`25` has no unit: write 25%");
        assert!("101%".parse::<Percentage>().is_err());
        assert!("-1%".parse::<Percentage>().is_err());
        assert!("25%%".parse::<Percentage>().is_err());
    }

    #[test]
    fn a_share_is_exceeded_only_by_more() {
        let quarter = Percentage::from_percent(25);
        assert!(!quarter.is_exceeded_by(25, 100));
        assert!(quarter.is_exceeded_by(26, 100));
        assert!(!quarter.is_exceeded_by(0, 0));
        assert!(!Percentage::ALL.is_exceeded_by(u64::MAX, u64::MAX));
    }

    #[test]
    fn ages_are_said_in_their_largest_unit() {
        assert_eq!(Period::from_secs(23 * DAY + 5 * HOUR).rough(), "23d");
        assert_eq!(Period::from_secs(59).rough(), "59s");
        assert_eq!(Period::from_secs(3 * HOUR + 1).rough(), "3h");
    }

    proptest! {
        #[test]
        fn display_parses_back(seconds in 0..LONGEST, bytes: u64, percent in 0_u8..=100) {
            let period = Period::from_secs(seconds);
            prop_assert_eq!(period.to_string().parse(), Ok(period));
            let size = ByteSize::from_bytes(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
            let share = Percentage::from_percent(percent);
            prop_assert_eq!(share.to_string().parse(), Ok(share));
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = text.parse::<Period>();
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<Percentage>();
        }
    }
}
