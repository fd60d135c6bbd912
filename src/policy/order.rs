//! Which of two tags of a class is newer.

use std::cmp::Ordering;

use crate::policy::calver::CalendarVersion;
use crate::policy::rules::OrderBy;
use jiff::Timestamp;

/// A tag's place in the order of its class; the newer is the greater.
///
/// The derived order compares the fields in turn: the class's own order first, then the time, then the name, so
/// that the order of the input never decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<'a> {
    version: Option<Version<'a>>,
    time: Option<Timestamp>,
    name: &'a str,
}

impl<'a> Rank<'a> {
    /// The place of a tag; `None` when the class is ordered by version and the tag is none.
    pub(super) fn new(order_by: &OrderBy, name: &'a str, time: Timestamp) -> Option<Self> {
        let version = match order_by {
            OrderBy::Clock => return Some(Self { version: None, time: Some(time), name }),
            OrderBy::Name => return Some(Self { version: None, time: None, name }),
            OrderBy::Semver => Version::Semantic(Precedence(semantic(name)?)),
            OrderBy::Calver => Version::Calendar(CalendarVersion::read(name)?),
            OrderBy::Captures(captures) => {
                Version::Captured(captures.of(name)?.into_iter().map(Part::of).collect())
            }
        };
        Some(Self { version: Some(version), time: Some(time), name })
    }
}

impl Rank<'_> {
    /// Whether only their names part the two, in an order in which time counts.
    pub(super) fn is_as_new(&self, other: &Self) -> bool {
        self.time.is_some() && self.time == other.time && self.version == other.version
    }

    /// The major, minor and patch numbers, in a class that is ordered by version: of a calendar version its first three
    /// parts, of captures the first three groups. `None` where one of these is no number.
    pub(super) fn version_numbers(&self) -> Option<[u64; 3]> {
        match self.version.as_ref()? {
            Version::Semantic(Precedence(version)) => Some([version.major, version.minor, version.patch]),
            Version::Calendar(version) => Some(version.leading()),
            Version::Captured(parts) => {
                let mut numbers = [0; 3];
                for (number, part) in numbers.iter_mut().zip(parts) {
                    *number = part.number()?;
                }
                Some(numbers)
            }
        }
    }
}

/// A tag read as its class orders it; all tags of a class are read alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Version<'a> {
    Semantic(Precedence),
    Calendar(CalendarVersion),
    Captured(Vec<Part<'a>>),
}

/// What a group holds of a tag, in the order of age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Absent,
    /// How many digits, and the digits, without zeros in front: the longer number is the greater.
    Number(usize, &'a str),
    Text(&'a str),
}

impl<'a> Part<'a> {
    fn of(text: Option<&'a str>) -> Self {
        match text {
            None => Self::Absent,
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                let digits = text.trim_start_matches('0');
                Self::Number(digits.len(), digits)
            }
            Some(text) => Self::Text(text),
        }
    }

    /// The number to count by; one that takes no part counts as zero.
    fn number(&self) -> Option<u64> {
        match self {
            Self::Absent | Self::Number(0, _) => Some(0),
            Self::Number(_, digits) => digits.parse().ok(),
            Self::Text(_) => None,
        }
    }
}

/// A version that compares by precedence alone: its build metadata says nothing about which is newer.
#[derive(Debug, Clone)]
struct Precedence(semver::Version);

impl Ord for Precedence {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }
}

impl PartialOrd for Precedence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Precedence {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Precedence {}

/// Reads a tag as a semantic version 2.0.0: `v` may lead, minor and patch may be missing, and `_` stands for the
/// `+` that a tag cannot hold (as Helm writes it).
fn semantic(tag: &str) -> Option<semver::Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag).replacen('_', "+", 1);
    let core = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(core);
    let missing = match numbers.split('.').count() {
        1 => ".0.0",
        2 => ".0",
        _ => "",
    };
    semver::Version::parse(&format!("{numbers}{missing}{rest}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pattern::{Group, Pattern, PatternList};
    use crate::policy::rules::Captures;

    #[test]
    fn versions_are_read_as_tags_write_them() {
        for (tag, read) in [
            ("v1.2.3", Some("1.2.3")),
            ("1.2", Some("1.2.0")),
            ("v1", Some("1.0.0")),
            ("1.2.3-rc.1", Some("1.2.3-rc.1")),
            ("1.2-rc1", Some("1.2.0-rc1")),
            ("1.2.3_4", Some("1.2.3+4")),
            ("1.2.3.4", None),
            ("01.2.3", None),
            ("vnext", None),
            ("", None),
            ("V1.2.3", None),
        ] {
            assert_eq!(semantic(tag).map(|version| version.to_string()).as_deref(), read, "{tag}");
        }
    }

    #[test]
    fn the_class_decides_first_then_time_then_name() {
        let early = Timestamp::UNIX_EPOCH;
        let late = Timestamp::new(1, 0).unwrap();
        let rank = |order_by: OrderBy, name, time| Rank::new(&order_by, name, time).unwrap();
        assert!(rank(OrderBy::Clock, "a", late) > rank(OrderBy::Clock, "b", early));
        assert!(rank(OrderBy::Clock, "b", late) > rank(OrderBy::Clock, "a", late));
        assert!(rank(OrderBy::Name, "b", early) > rank(OrderBy::Name, "a", late));
        assert!(rank(OrderBy::Semver, "v10.0.0", early) > rank(OrderBy::Semver, "v9.0.0", late));
        assert!(rank(OrderBy::Semver, "v1.0.0", early) > rank(OrderBy::Semver, "v1.0.0-rc.1", late));
        assert!(rank(OrderBy::Semver, "1.0.0_1", late) > rank(OrderBy::Semver, "1.0.0_2", early));
        assert_eq!(Rank::new(&OrderBy::Semver, "next", late), None);
    }

    fn captures(pattern: &str) -> OrderBy {
        let pattern = Pattern::new(pattern).unwrap();
        let groups = (1..=pattern.groups().unwrap()).map(Group::Number).collect();
        OrderBy::Captures(Captures::new(PatternList::new(vec![pattern]).unwrap(), groups))
    }

    #[test]
    fn captures_compare_as_numbers_then_as_text_and_what_takes_no_part_comes_first() {
        let order = captures("re:w_([0-9]+)_([0-9]+)(?:_c([0-9]+))?(?:_(.+))?");
        let oldest_first = [
            "w_9_52",
            "w_2024_9",
            "w_2024_10",
            "w_2024_10_20240101",
            "w_2024_10_99999999999999999999999999",
            "w_2024_10_b",
            "w_2024_10_c2",
            "w_2024_10_c0010",
            "w_2024_11",
        ];
        for pair in oldest_first.windows(2) {
            let rank = |name| Rank::new(&order, name, Timestamp::UNIX_EPOCH).unwrap();
            assert!(rank(pair[0]) < rank(pair[1]), "{pair:?}");
        }
        assert_eq!(Rank::new(&order, "d_2024_10", Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn captures_count_by_their_first_three_numbers() {
        let order = captures("re:r([0-9]+)_([0-9]+)(?:_([0-9]+))?(?:_(.+))?");
        let numbers = |name| Rank::new(&order, name, Timestamp::UNIX_EPOCH).unwrap().version_numbers();
        assert_eq!(numbers("r28_0_1_x"), Some([28, 0, 1]));
        assert_eq!(numbers("r028_00"), Some([28, 0, 0]));
        assert_eq!(numbers("r99999999999999999999999_0"), None, "too great to count by");
        let texts = captures("re:([a-z]+)([0-9]+)");
        assert_eq!(Rank::new(&texts, "v2", Timestamp::UNIX_EPOCH).unwrap().version_numbers(), None);
    }
}
