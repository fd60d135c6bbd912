//! Which of two tags of a class is newer.

use std::cmp::Ordering;

use jiff::Timestamp;
use semver::Version;

use crate::policy::rules::OrderBy;

/// A tag's place in the order of its class; the newer is the greater.
///
/// The derived order compares the fields in turn: the class's own order first, then the time, then the name, so
/// that the order of the input never decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<'a> {
    version: Option<Precedence>,
    time: Option<Timestamp>,
    name: &'a str,
}

impl<'a> Rank<'a> {
    /// The place of a tag; `None` when the class is ordered by version and the tag is none.
    pub(super) fn new(order_by: OrderBy, name: &'a str, time: Timestamp) -> Option<Self> {
        Some(match order_by {
            OrderBy::Clock => Self { version: None, time: Some(time), name },
            OrderBy::Name => Self { version: None, time: None, name },
            OrderBy::Semver => {
                let version = Some(Precedence(version(name)?));
                Self { version, time: Some(time), name }
            }
        })
    }
}

impl Rank<'_> {
    /// The major, minor and patch numbers, in a class that is ordered by version.
    pub(super) fn version_numbers(&self) -> Option<[u64; 3]> {
        self.version.as_ref().map(|Precedence(version)| [version.major, version.minor, version.patch])
    }
}

/// A version that compares by precedence alone: its build metadata says nothing about which is newer.
#[derive(Debug, Clone)]
struct Precedence(Version);

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
fn version(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag).replacen('_', "+", 1);
    let core = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(core);
    let missing = match numbers.split('.').count() {
        1 => ".0.0",
        2 => ".0",
        _ => "",
    };
    Version::parse(&format!("{numbers}{missing}{rest}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(version(tag).map(|version| version.to_string()).as_deref(), read, "{tag}");
        }
    }

    #[test]
    fn the_class_decides_first_then_time_then_name() {
        let early = Timestamp::UNIX_EPOCH;
        let late = Timestamp::new(1, 0).unwrap();
        let rank = |order_by, name, time| Rank::new(order_by, name, time).unwrap();
        assert!(rank(OrderBy::Clock, "a", late) > rank(OrderBy::Clock, "b", early));
        assert!(rank(OrderBy::Clock, "b", late) > rank(OrderBy::Clock, "a", late));
        assert!(rank(OrderBy::Name, "b", early) > rank(OrderBy::Name, "a", late));
        assert!(rank(OrderBy::Semver, "v10.0.0", early) > rank(OrderBy::Semver, "v9.0.0", late));
        assert!(rank(OrderBy::Semver, "v1.0.0", early) > rank(OrderBy::Semver, "v1.0.0-rc.1", late));
        assert!(rank(OrderBy::Semver, "1.0.0_1", late) > rank(OrderBy::Semver, "1.0.0_2", early));
        assert_eq!(Rank::new(OrderBy::Semver, "next", late), None);
    }
}
