//! What a rule for untagged manifests holds, read from the rule alone.
//!
//! Manifests without a tag have no name, so only their ages and their order in time count.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::config::values::Period;
use crate::policy::{CalendarUnit, Keep, KeepRule};

/// A rule and the manifests that it is about.
pub(super) struct Keeps<'k> {
    rule: Option<&'k Keep>,
    grace: Period,
    now: Timestamp,
    /// When each was pushed, where that is known and past; the oldest first.
    pushed: Vec<Timestamp>,
    /// The days, weeks, months and years of these, each by its first day.
    spans: BTreeMap<CalendarUnit, Vec<Date>>,
    /// When those were pushed that nothing but `max_delete` holds; the oldest first.
    expired: Vec<Timestamp>,
}

impl<'k> Keeps<'k> {
    /// The rule for manifests that were pushed at these times.
    pub(super) fn of(
        rule: Option<&'k Keep>,
        grace: Period,
        now: Timestamp,
        pushed: impl Iterator<Item = Option<Timestamp>>,
    ) -> Self {
        let mut pushed: Vec<Timestamp> = pushed.flatten().filter(|at| *at <= now).collect();
        pushed.sort_unstable();
        let mut keeps = Self { rule, grace, now, pushed, spans: BTreeMap::new(), expired: Vec::new() };
        if let Some(Keep::Any(_)) = rule {
            for unit in CalendarUnit::ALL {
                let spans: BTreeSet<Date> = keeps.pushed.iter().map(|at| span(unit, *at)).collect();
                keeps.spans.insert(unit, spans.into_iter().collect());
            }
        }
        keeps.expired =
            keeps.pushed.iter().copied().filter(|at| keeps.why_kept(Some(*at), None).is_none()).collect();
        keeps
    }

    /// Why one that was pushed then stays, when the oldest `most` of those that may go do; `None` when it may go.
    pub(super) fn why_kept(&self, pushed: Option<Timestamp>, most: Option<u64>) -> Option<&'static str> {
        let held = match self.rule {
            None => return Some("it has no rule for untagged manifests"),
            Some(Keep::All) => return Some("it says untagged: keep: all"),
            Some(Keep::None) => false,
            Some(Keep::Any(rules)) => {
                let Some(at) = pushed else { return Some("nobody knows when it was pushed") };
                rules.iter().any(|rule| self.holds(rule, at))
            }
        };
        let Some(at) = pushed else { return Some("nobody knows when it was pushed") };
        if at > self.now {
            return Some("it was pushed in the future, so nobody knows its age");
        }
        if held {
            return Some("its rule for untagged manifests holds it");
        }
        if self.now.duration_since(at) < self.grace.as_signed() {
            return Some("it was pushed within the grace");
        }
        let older = count(self.expired.partition_point(|other| *other < at));
        most.is_some_and(|most| older >= most).then_some("older ones go first, as many as max_delete lets go")
    }

    fn holds(&self, rule: &KeepRule, at: Timestamp) -> bool {
        match rule {
            KeepRule::Within(age) => self.now.duration_since(at) <= age.as_signed(),
            KeepRule::Last(last) => self.newer(at) < *last,
            KeepRule::Calendar(unit, last) => {
                let own = span(*unit, at);
                let next = self.pushed.get(self.pushed.partition_point(|other| *other <= at));
                let newest = next.is_none_or(|next| span(*unit, *next) != own);
                let spans = self.spans.get(unit).map_or(&[][..], Vec::as_slice);
                newest && count(spans.len() - spans.partition_point(|other| *other <= own)) < *last
            }
            // It counts by version, and these have none: what cannot be counted stays.
            KeepRule::LastVersions(_) => true,
            KeepRule::All(rules) => rules.iter().all(|rule| self.holds(rule, at)),
        }
    }

    /// How many were pushed later.
    fn newer(&self, at: Timestamp) -> u64 {
        count(self.pushed.len() - self.pushed.partition_point(|other| *other <= at))
    }
}

/// A length as the number that rules count in.
pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The first day of the day, week from Monday, month or year that holds a moment, UTC.
pub(super) fn span(unit: CalendarUnit, at: Timestamp) -> Date {
    let date = at.to_zoned(TimeZone::UTC).date();
    match unit {
        CalendarUnit::Daily => date,
        CalendarUnit::Weekly => date.saturating_sub(date.weekday().to_monday_zero_offset().days()),
        CalendarUnit::Monthly => date.first_of_month(),
        CalendarUnit::Yearly => date.first_of_year(),
    }
}
