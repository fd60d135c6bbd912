//! How the tags of a class stand among each other, and what its rule holds, read from the rule alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;

use super::keeps::{count, span};
use super::orders::Order;
use crate::policy::{CalendarUnit, Keep, KeepRule, OrderBy, VersionCounts};

/// A tag, and its time by the policy's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member<'m> {
    pub(super) time: Timestamp,
    pub(super) name: &'m str,
    /// It may be any earlier time as well, so nothing of this time is newer for sure.
    pub(super) open: bool,
}

/// Where a tag stands in the order of its class, the newer the greater: by version, where the class is ordered so, then
/// by time, unless it is ordered by name, then by name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'m> {
    version: Option<Order<'m>>,
    time: Option<Timestamp>,
    name: &'m str,
}

impl<'m> Rank<'m> {
    /// `None` for what a class that is ordered by version cannot count.
    fn of(order: &OrderBy, member: Member<'m>) -> Option<Self> {
        let Member { name, time, .. } = member;
        let version = match order {
            OrderBy::Clock | OrderBy::Name => None,
            OrderBy::Semver | OrderBy::Calver | OrderBy::Captures(_) => Some(Order::read(order, name)?),
        };
        Some(Self { version, time: (!matches!(order, OrderBy::Name)).then_some(time), name })
    }

    /// The three numbers that majors, minors and patches are counted by.
    fn numbers(&self) -> Option<[u64; 3]> {
        self.version.as_ref().and_then(Order::numbers)
    }
}

/// A class, and those of its tags that nothing but its rule can hold.
pub(super) struct Class<'c> {
    rule: &'c Keep,
    order: &'c OrderBy,
    at: Timestamp,
    /// The oldest first.
    ranks: Vec<Rank<'c>>,
    /// The versions among them, each once.
    patches: Vec<[u64; 3]>,
    minors: Vec<[u64; 2]>,
    majors: Vec<u64>,
    /// The newest of each day, week, month and year that has a tag, where the rule asks.
    spans: BTreeMap<CalendarUnit, BTreeMap<Date, Member<'c>>>,
}

impl<'c> Class<'c> {
    /// The class as it is at a moment.
    pub(super) fn of(rule: &'c Keep, order: &'c OrderBy, at: Timestamp, members: &[Member<'c>]) -> Self {
        let mut ranks = Vec::with_capacity(members.len());
        let mut units = BTreeSet::new();
        if let Keep::Any(rules) = rule {
            units_of(rules, &mut units);
        }
        let mut spans: BTreeMap<CalendarUnit, BTreeMap<Date, Member<'c>>> = BTreeMap::new();
        for member in members {
            // What cannot be counted takes up no count, and is no day's newest.
            let Some(rank) = Rank::of(order, *member) else { continue };
            ranks.push(rank);
            for unit in &units {
                let newest = spans.entry(*unit).or_default().entry(span(*unit, member.time));
                newest.and_modify(|other| *other = (*other).max(*member)).or_insert(*member);
            }
        }
        ranks.sort_unstable();
        let versions = || ranks.iter().filter_map(Rank::numbers);
        let patches = each_once(versions());
        let minors = each_once(versions().map(|[major, minor, _]| [major, minor]));
        let majors = each_once(versions().map(|[major, ..]| major));
        Self { rule, order, at, ranks, patches, minors, majors, spans }
    }

    /// The rule that holds a tag of the class, in words; `None` when none does.
    pub(super) fn held(&self, member: Member<'_>) -> Option<String> {
        match self.rule {
            Keep::All => Some("it says keep: all".to_owned()),
            Keep::None => None,
            Keep::Any(rules) => {
                let rank = Rank::of(self.order, member);
                let holds = rules.iter().find(|rule| self.holds(rule, member, rank.as_ref()))?;
                let uncounted =
                    if rank.is_none() { ", as far as what is no version can be counted" } else { "" };
                Some(format!("its keep of {} holds it{uncounted}", words(holds)))
            }
        }
    }

    fn holds(&self, rule: &KeepRule, member: Member<'_>, rank: Option<&Rank<'_>>) -> bool {
        match rule {
            KeepRule::Within(age) => self.at.duration_since(member.time) <= age.as_signed(),
            KeepRule::All(rules) => rules.iter().all(|rule| self.holds(rule, member, rank)),
            KeepRule::Last(last) => rank.is_none_or(|rank| {
                let level = |other: &Rank<'_>| {
                    member.open
                        && rank.time.is_some()
                        && (&other.version, other.time) == (&rank.version, rank.time)
                };
                above(&self.ranks, |other| other <= rank || level(other)) < *last
            }),
            KeepRule::LastVersions(counts) => {
                let numbers = rank.and_then(Rank::numbers);
                numbers.is_none_or(|numbers| self.among_the_last(*counts, numbers))
            }
            KeepRule::Calendar(unit, last) => {
                rank.is_none() || self.newest_of_a_late_span(*unit, *last, member)
            }
        }
    }

    /// Whether so few majors, minors of its major and patches of its minor are newer that all the counts hold it.
    fn among_the_last(&self, counts: VersionCounts, [major, minor, patch]: [u64; 3]) -> bool {
        let minors = self.minors.partition_point(|other| other[0] <= major)
            - self.minors.partition_point(|other| *other <= [major, minor]);
        let patches = self.patches.partition_point(|other| [other[0], other[1]] <= [major, minor])
            - self.patches.partition_point(|other| *other <= [major, minor, patch]);
        counts.majors.is_none_or(|last| above(&self.majors, |other| *other <= major) < last)
            && counts.minors.is_none_or(|last| count(minors) < last)
            && counts.patches.is_none_or(|last| count(patches) < last)
    }

    fn newest_of_a_late_span(&self, unit: CalendarUnit, last: u64, member: Member<'_>) -> bool {
        let own = span(unit, member.time);
        let Some(spans) = self.spans.get(&unit) else { return false };
        let late = spans.keys().rev().take_while(|other| **other > own);
        let late = late.take(usize::try_from(last).unwrap_or(usize::MAX)).count();
        (member.open || spans.get(&own) == Some(&member)) && count(late) < last
    }
}

/// How many of a sorted list come after those for which `up_to` is true.
fn above<T>(sorted: &[T], up_to: impl FnMut(&T) -> bool) -> u64 {
    count(sorted.len() - sorted.partition_point(up_to))
}

fn each_once<T: Ord>(list: impl Iterator<Item = T>) -> Vec<T> {
    list.collect::<BTreeSet<T>>().into_iter().collect()
}

fn units_of(rules: &[KeepRule], units: &mut BTreeSet<CalendarUnit>) {
    for rule in rules {
        match rule {
            KeepRule::Calendar(unit, _) => {
                units.insert(*unit);
            }
            KeepRule::All(rules) => units_of(rules, units),
            KeepRule::Last(_) | KeepRule::LastVersions(_) | KeepRule::Within(_) => {}
        }
    }
}

/// A rule as a policy writes it.
fn words(rule: &KeepRule) -> String {
    match rule {
        KeepRule::Last(last) => format!("last: {last}"),
        KeepRule::LastVersions(VersionCounts { majors, minors, patches }) => {
            let counts = [("majors", majors), ("minors", minors), ("patches", patches)];
            let counts =
                counts.into_iter().filter_map(|(what, last)| last.map(|last| format!("{what}: {last}")));
            format!("last: {{ {} }}", counts.collect::<Vec<_>>().join(", "))
        }
        KeepRule::Within(age) => format!("within: {age}"),
        KeepRule::Calendar(unit, last) => format!("{}: {last}", unit.key()),
        KeepRule::All(rules) => {
            format!("all: {{ {} }}", rules.iter().map(words).collect::<Vec<_>>().join(", "))
        }
    }
}
