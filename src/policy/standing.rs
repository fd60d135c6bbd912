//! How the members of a class stand among each other, and which keep holds a member.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::config::values::Period;
use crate::policy::order::Rank;
use crate::policy::rules::{CalendarUnit, Keep, KeepRule, OrderBy, VersionCounts};
use crate::policy::verdict::{ExpireReason, KeepReason, Missed, Verdict};

/// A tag, or an untagged manifest with an empty name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    /// Its time by the policy's clock, not after now.
    pub(super) time: Timestamp,
    /// It may as well be any earlier time: nothing of the same time is newer for sure.
    pub(super) open: bool,
}

/// What the keeps of a class need to know of one member. Counts are from 1, the newest first.
#[derive(Debug, Clone)]
struct Standing {
    age: SignedDuration,
    /// Its place in the class, or `None` when the class's order has no place for it. Equals share the best place.
    rank: Option<u64>,
    /// Its place among the majors, the minors of its major and the patches of its minor, in a class ordered by version.
    version: Option<[u64; 3]>,
    calendar: BTreeMap<CalendarUnit, Bucket>,
}

/// Where a member stands in the calendar.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// The place of its day, week, month or year among those that have a member.
    rank: u64,
    /// Whether it is the newest there.
    newest: bool,
}

/// What one keep says of one member.
enum Outcome {
    Holds(KeepReason),
    Missed(Missed),
    /// The keep counts, and the member has no place to count from.
    NoRank,
}

/// Judges every member of a class by its keeps; the verdicts stand in the order of the members.
pub(super) fn judge(rule: &Keep, order_by: &OrderBy, members: &[Member<'_>], now: Timestamp) -> Vec<Verdict> {
    let rules = match rule {
        Keep::All => return vec![Verdict::Keep(KeepReason::ClassKeepsAll); members.len()],
        Keep::None => return vec![Verdict::Expire(ExpireReason::KeepNone); members.len()],
        Keep::Any(rules) => rules,
    };
    standings(rules, order_by, members, now).iter().map(|standing| any_holds(rules, standing)).collect()
}

fn any_holds(rules: &[KeepRule], standing: &Standing) -> Verdict {
    let mut missed = Vec::with_capacity(rules.len());
    let mut no_rank = false;
    for rule in rules {
        match outcome(rule, standing) {
            Outcome::Holds(reason) => return Verdict::Keep(reason),
            Outcome::Missed(miss) => missed.push(miss),
            Outcome::NoRank => no_rank = true,
        }
    }
    if no_rank {
        Verdict::Keep(KeepReason::NotAVersion)
    } else {
        Verdict::Expire(ExpireReason::Missed(missed))
    }
}

fn outcome(rule: &KeepRule, standing: &Standing) -> Outcome {
    match rule {
        KeepRule::Within(within) => within_outcome(*within, standing.age),
        KeepRule::Last(last) => match standing.rank {
            None => Outcome::NoRank,
            Some(rank) if rank <= *last => Outcome::Holds(KeepReason::Last { rank, last: *last }),
            Some(rank) => Outcome::Missed(Missed::Last { rank, last: *last }),
        },
        KeepRule::LastVersions(counts) => match standing.version {
            None => Outcome::NoRank,
            Some(places) => version_outcome(*counts, places),
        },
        KeepRule::Calendar(unit, keep) => match (standing.rank, standing.calendar.get(unit)) {
            (Some(_), Some(bucket)) => calendar_outcome(*unit, *keep, *bucket),
            _ => Outcome::NoRank,
        },
        KeepRule::All(rules) => all_outcome(rules, standing),
    }
}

fn within_outcome(within: Period, exact: SignedDuration) -> Outcome {
    let age = Period::from_signed(exact);
    if exact <= within.as_signed() {
        return Outcome::Holds(KeepReason::Within { age, within });
    }
    let by = Period::from_signed(exact - within.as_signed());
    Outcome::Missed(Missed::Within { age, within, by })
}

fn version_outcome(counts: VersionCounts, places: [u64; 3]) -> Outcome {
    let levels = [("majors", counts.majors), ("minors", counts.minors), ("patches", counts.patches)];
    for ((level, last), rank) in levels.into_iter().zip(places) {
        if let Some(last) = last.filter(|last| rank > *last) {
            return Outcome::Missed(Missed::LastVersions { level: level.to_owned(), rank, last });
        }
    }
    let [major, minor, patch] = places;
    Outcome::Holds(KeepReason::LastVersions { major, minor, patch })
}

fn calendar_outcome(unit: CalendarUnit, keep: u64, bucket: Bucket) -> Outcome {
    let rank = bucket.rank;
    match bucket.newest {
        true if rank <= keep => Outcome::Holds(KeepReason::Calendar { unit, rank, keep }),
        true => Outcome::Missed(Missed::Calendar { unit, rank, keep }),
        false => Outcome::Missed(Missed::NotNewest { unit, keep }),
    }
}

/// One miss is enough to lose; without a place to count from nothing is lost.
fn all_outcome(rules: &[KeepRule], standing: &Standing) -> Outcome {
    let (mut held, mut missed, mut no_rank) = (Vec::new(), Vec::new(), false);
    for rule in rules {
        match outcome(rule, standing) {
            Outcome::Holds(reason) => held.push(reason),
            Outcome::Missed(miss) => missed.push(miss),
            Outcome::NoRank => no_rank = true,
        }
    }
    if !missed.is_empty() {
        Outcome::Missed(Missed::All(missed))
    } else if no_rank {
        Outcome::NoRank
    } else {
        Outcome::Holds(KeepReason::All(held))
    }
}

fn standings(
    rules: &[KeepRule],
    order_by: &OrderBy,
    members: &[Member<'_>],
    now: Timestamp,
) -> Vec<Standing> {
    let ranks: Vec<Option<Rank<'_>>> =
        members.iter().map(|member| Rank::new(order_by, member.name, member.time)).collect();
    let mut sorted: Vec<&Rank<'_>> = ranks.iter().flatten().collect();
    sorted.sort_unstable();
    let versions = version_places(&ranks);
    let mut standings: Vec<Standing> = members
        .iter()
        .zip(ranks.iter().zip(versions))
        .map(|(member, (rank, version))| {
            let newer = |rank: &Rank<'_>| {
                let older = |other: &&Rank<'_>| *other <= rank || (member.open && other.is_as_new(rank));
                sorted.len() - sorted.partition_point(older)
            };
            let rank = rank.as_ref().map(|rank| place(newer(rank)));
            Standing { age: now.duration_since(member.time), rank, version, calendar: BTreeMap::new() }
        })
        .collect();
    for unit in CalendarUnit::ALL {
        if rules.iter().any(|rule| rule.counts_by(unit)) {
            fill_calendar(unit, members, &mut standings);
        }
    }
    standings
}

/// The places of versions among the majors, the minors of a major and the patches of a minor. Only the numbers count: a
/// pre-release shares the place of its release.
fn version_places(ranks: &[Option<Rank<'_>>]) -> Vec<Option<[u64; 3]>> {
    let numbers = |rank: &Option<Rank<'_>>| rank.as_ref().and_then(Rank::version_numbers);
    let mut distinct: Vec<[u64; 3]> = ranks.iter().filter_map(numbers).collect();
    distinct.sort_unstable_by(|left, right| right.cmp(left));
    distinct.dedup();
    let mut places: BTreeMap<[u64; 3], [u64; 3]> = BTreeMap::new();
    let mut previous: Option<([u64; 3], [u64; 3])> = None;
    for version in distinct {
        let [major, minor, patch] = previous.map_or([1, 1, 1], |(older, [major, minor, patch])| {
            if older[0] != version[0] {
                [major + 1, 1, 1]
            } else if older[1] != version[1] {
                [major, minor + 1, 1]
            } else {
                [major, minor, patch + 1]
            }
        });
        previous = Some((version, [major, minor, patch]));
        places.insert(version, [major, minor, patch]);
    }
    ranks.iter().map(|rank| places.get(&numbers(rank)?).copied()).collect()
}

/// Finds the newest member of each day, week, month or year, and the place of that day, week, month or year.
/// Members without a place in the class take no part.
fn fill_calendar(unit: CalendarUnit, members: &[Member<'_>], standings: &mut [Standing]) {
    let mut newest: BTreeMap<(i16, i16), (Timestamp, &str)> = BTreeMap::new();
    for (member, standing) in members.iter().zip(standings.iter()) {
        if standing.rank.is_some() {
            let found = newest.entry(bucket(unit, member.time)).or_insert((member.time, member.name));
            *found = (*found).max((member.time, member.name));
        }
    }
    let places: BTreeMap<(i16, i16), u64> =
        newest.keys().rev().enumerate().map(|(newer, key)| (*key, place(newer))).collect();
    for (member, standing) in members.iter().zip(standings) {
        let key = bucket(unit, member.time);
        if let (Some(_), Some(rank), Some(found)) = (standing.rank, places.get(&key), newest.get(&key)) {
            // The newest of an earlier span, for all that is known.
            let newest = member.open || *found == (member.time, member.name);
            standing.calendar.insert(unit, Bucket { rank: *rank, newest });
        }
    }
}

/// The day, the week from Monday (ISO 8601), the month or the year that holds a time, UTC; a later one is greater.
fn bucket(unit: CalendarUnit, time: Timestamp) -> (i16, i16) {
    let date = time.to_zoned(TimeZone::UTC).date();
    match unit {
        CalendarUnit::Daily => (date.year(), date.day_of_year()),
        CalendarUnit::Weekly => {
            let week = date.iso_week_date();
            (week.year(), i16::from(week.week()))
        }
        CalendarUnit::Monthly => (date.year(), i16::from(date.month())),
        CalendarUnit::Yearly => (date.year(), 0),
    }
}

/// The place, from 1, of something that has so many newer ones.
fn place(newer: usize) -> u64 {
    u64::try_from(newer).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("{text}:00Z").parse().unwrap()
    }

    const NOW: &str = "2024-12-31T12:00";

    /// What is said of each member.
    fn said(rules: Vec<KeepRule>, order_by: &OrderBy, members: &[(&str, &str)]) -> Vec<String> {
        let members: Vec<Member<'_>> =
            members.iter().map(|(name, time)| Member { name, time: at(time), open: false }).collect();
        let verdicts = judge(&Keep::Any(rules), order_by, &members, at(NOW));
        verdicts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_newest_of_each_span_stays() {
        let members = [
            ("a", "2024-12-30T10:00"),
            ("b", "2024-12-30T09:00"),
            ("c", "2024-12-29T23:59"),
            ("d", "2024-11-04T00:00"),
            ("e", "2023-01-01T00:00"),
        ];
        assert_eq!(
            said(vec![KeepRule::Calendar(CalendarUnit::Weekly, 2)], &OrderBy::Clock, &members),
            [
                "newest of its week, week 1, keep weekly 2",
                "not the newest of its week, keep weekly 2 missed",
                "newest of its week, week 2, keep weekly 2",
                "newest of its week, week 3, keep weekly 2 missed by 1",
                "newest of its week, week 4, keep weekly 2 missed by 2",
            ]
        );
    }

    #[test]
    fn spans_are_those_of_the_calendar() {
        for (unit, left, right, same) in [
            (CalendarUnit::Daily, "2024-03-01T00:00", "2024-03-01T23:59", true),
            (CalendarUnit::Daily, "2024-02-29T23:59", "2024-03-01T00:00", false),
            (CalendarUnit::Daily, "2023-03-01T00:00", "2024-02-29T00:00", false),
            (CalendarUnit::Weekly, "2024-12-30T00:00", "2025-01-05T23:59", true),
            (CalendarUnit::Weekly, "2024-12-29T23:59", "2024-12-30T00:00", false),
            (CalendarUnit::Monthly, "2024-02-01T00:00", "2024-02-29T23:59", true),
            (CalendarUnit::Monthly, "2023-02-01T00:00", "2024-02-01T00:00", false),
            (CalendarUnit::Yearly, "2024-01-01T00:00", "2024-12-31T23:59", true),
            (CalendarUnit::Yearly, "2024-12-31T23:59", "2025-01-01T00:00", false),
        ] {
            assert_eq!(bucket(unit, at(left)) == bucket(unit, at(right)), same, "{unit:?} {left} {right}");
        }
    }

    #[test]
    fn versions_are_counted_by_major_minor_and_patch() {
        let counts = VersionCounts { majors: Some(2), minors: Some(1), patches: Some(1) };
        let versions = ["v3.1.1", "v3.1.1-rc.1", "v3.1.0", "v3.0.9", "v2.0.0", "v1.0.0", "vnext"];
        let members = versions.map(|version| (version, "2024-06-01T00:00"));
        assert_eq!(
            said(vec![KeepRule::LastVersions(counts)], &OrderBy::Semver, &members),
            [
                "number 1 of the majors, 1 of its minors, 1 of its patches",
                "number 1 of the majors, 1 of its minors, 1 of its patches",
                "number 2 of its patches, keep patches 1 missed by 1",
                "number 2 of its minors, keep minors 1 missed by 1",
                "number 2 of the majors, 1 of its minors, 1 of its patches",
                "number 3 of its majors, keep majors 2 missed by 1",
                "no version by the order of its class, so it has no rank, kept",
            ]
        );
        let minors = VersionCounts { minors: Some(1), ..VersionCounts::default() };
        let gone = |members: &[(&str, &str)]| {
            said(vec![KeepRule::LastVersions(minors)], &OrderBy::Semver, members)
                .iter()
                .filter(|text| text.contains("missed"))
                .count()
        };
        assert_eq!(gone(&members[..6]), 1, "an absent number is no bound");
    }

    #[test]
    fn every_rule_of_an_all_must_hold() {
        let all = KeepRule::All(vec![KeepRule::Last(2), KeepRule::Within(Period::from_days(30))]);
        let members = [("a", "2024-12-30T12:00"), ("b", "2024-06-01T12:00"), ("c", "2024-05-01T12:00")];
        assert_eq!(
            said(vec![all.clone()], &OrderBy::Clock, &members),
            [
                "rank 1, keep last 2 and 1d old, keep within 30d",
                "213d old, keep within 30d missed by 183d",
                "rank 3, keep last 2 missed by 1 and 244d old, keep within 30d missed by 214d",
            ]
        );
        let unranked = [("vnext", "2024-12-30T12:00"), ("vold", "2024-06-01T12:00")];
        assert_eq!(
            said(vec![all], &OrderBy::Semver, &unranked),
            [
                "no version by the order of its class, so it has no rank, kept",
                "213d old, keep within 30d missed by 183d"
            ]
        );
    }
}
