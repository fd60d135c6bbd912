//! Durations, sizes and percentages as a user writes them, in the policy, in flags and in the environment.
//!
//! Each is a newtype with `FromStr`, `Display` and serde (as the same text), and each `Display` parses back to
//! an equal value. A month is 30 days and a year 365 days: retention is counted in days, so that `within: 1mo`
//! keeps as long in February as in March.

mod amount;
mod period;

pub use amount::{ByteSize, Percentage};
pub use period::Period;

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

use serde_as_text;
