//! Calendar versions (calver.org) as tags write them.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// The schemes of calver.org that begin with a year: `YYYY` or `YY`, up to three numbers more, each after a `.`, `-` or
/// `_`, or `YYYYMMDD` in one; then a modifier with its own number.
static FORM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x) \A v?
        (?: (?P<whole>[0-9]{4}) (?P<month>0[1-9]|1[0-2]) (?P<day>0[1-9]|[12][0-9]|3[01]) (?:[._-](?P<build>[0-9]{1,9}))?
        |   (?P<year>[0-9]{4}|[0-9]{2})
            [._-](?P<second>[0-9]{1,9}) (?:[._-](?P<third>[0-9]{1,9}))? (?:[._-](?P<fourth>[0-9]{1,9}))?
        )
        (?: [._-]? (?P<modifier>dev|alpha|beta|pre|rc|a|b|c) (?:[._-]?(?P<count>[0-9]{1,9}))? )?
        \z",
    )
    .expect("the tests compile it")
});

/// A calendar version; the newer is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CalendarVersion {
    /// The year, and up to three numbers; one that is missing is zero.
    numbers: [u64; 4],
    modifier: Modifier,
    /// The modifier's number.
    count: u64,
}

/// What is not a release yet comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Modifier {
    Development,
    Alpha,
    Beta,
    Candidate,
    None,
}

impl CalendarVersion {
    /// Reads a tag: `v` may lead, and a year of two digits is one after 2000.
    pub(super) fn read(tag: &str) -> Option<Self> {
        let found = FORM.captures(tag)?;
        let numbers = match found.name("whole") {
            Some(_) => ["whole", "month", "day", "build"],
            None => ["year", "second", "third", "fourth"],
        };
        let mut numbers = numbers.map(|name| number(&found, name));
        if found.name("year").is_some_and(|year| year.len() == 2) {
            numbers[0] += 2000;
        }
        let modifier = match found.name("modifier").map(|found| found.as_str()) {
            None => Modifier::None,
            Some("dev") => Modifier::Development,
            Some("a" | "alpha") => Modifier::Alpha,
            Some("b" | "beta") => Modifier::Beta,
            Some(_) => Modifier::Candidate,
        };
        Some(Self { numbers, modifier, count: number(&found, "count") })
    }

    /// The year and the two numbers after it.
    pub(super) fn leading(&self) -> [u64; 3] {
        let [year, second, third, _] = self.numbers;
        [year, second, third]
    }
}

/// The digits of a group, which are few enough for the number; zero when it takes no part.
fn number(found: &Captures<'_>, name: &str) -> u64 {
    found.name(name).and_then(|digits| digits.as_str().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_calendar_versions() {
        for (tag, numbers) in [
            ("2024.08", Some([2024, 8, 0])),
            ("v24.04.1", Some([2024, 4, 1])),
            ("2024-08-15", Some([2024, 8, 15])),
            ("20240815", Some([2024, 8, 15])),
            ("2024_8_15_2", Some([2024, 8, 15])),
            ("23.1.2", Some([2023, 1, 2])),
            ("2024.08.1rc1", Some([2024, 8, 1])),
            ("2024.08-dev", Some([2024, 8, 0])),
            ("20241315", None),
            ("2024", None),
            ("202.8", None),
            ("2024.8.1.2.3", None),
            ("2024.08.1-alpine", None),
            ("2024.1234567890", None),
            ("2024.08.", None),
            ("latest", None),
            ("", None),
        ] {
            assert_eq!(CalendarVersion::read(tag).map(|version| version.leading()), numbers, "{tag}");
        }
    }

    #[test]
    fn numbers_decide_then_the_modifier() {
        let oldest_first = [
            "1999.12.31",
            "06.10",
            "2024.9",
            "v24.10.1-dev",
            "2024.10.1a1",
            "2024.10.1-alpha.2",
            "2024.10.1b",
            "2024.10.1-rc1",
            "2024.10.1rc10",
            "2024.10.1",
            "20241001.1",
            "24.10.2",
        ];
        for pair in oldest_first.windows(2) {
            let [left, right] = [pair[0], pair[1]].map(|tag| CalendarVersion::read(tag).unwrap());
            assert!(left < right, "{pair:?}");
        }
        assert_eq!(CalendarVersion::read("2024.08.15"), CalendarVersion::read("20240815"));
    }
}
