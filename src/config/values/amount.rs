//! Sizes and shares.

use std::fmt;
use std::str::FromStr;

use super::{ValueError, number_and_unit, serde_as_text};

const SIZE_UNITS: &str = "B, kB, MB, GB, TB, PB and KiB, MiB, GiB, TiB, PiB";

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

serde_as_text!(ByteSize);
serde_as_text!(Percentage);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn display_parses_back(bytes: u64, percent in 0_u8..=100) {
            let size = ByteSize::from_bytes(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
            let share = Percentage::from_percent(percent);
            prop_assert_eq!(share.to_string().parse(), Ok(share));
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<Percentage>();
        }
    }
}
