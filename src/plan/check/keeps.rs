//! What a rule for untagged manifests holds, read from the rule alone.
//!
//! Manifests without a tag have no name, so only their ages and their order in time count.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::config::values::Period;
use crate::policy::{CalendarUnit, Keep, KeepRule};

/// A manifest's time by the policy's clock, and when it was pushed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) time: Option<Timestamp>,
    /// It may be any earlier time as well.
    pub(super) open: bool,
    pub(super) pushed: Option<Timestamp>,
}

/// A rule and the manifests that it is about.
pub(super) struct Keeps<'k> {
    rule: Option<&'k Keep>,
    grace: Period,
    now: Timestamp,
    /// The time of each, where all that a rule needs is known and past; the oldest first.
    times: Vec<Timestamp>,
    /// The days, weeks, months and years of these, each by its first day.
    spans: BTreeMap<CalendarUnit, Vec<Date>>,
    /// The times of those that nothing but `max_delete` holds; the oldest first.
    expired: Vec<Timestamp>,
}

impl<'k> Keeps<'k> {
    /// The rule for manifests of these times. Which of them go first is asked as of the moment that the plan was made, of
    /// those that nothing else held then: by the policy's clock they may be older than what the grace held.
    pub(super) fn of(
        rule: Option<&'k Keep>,
        grace: Period,
        (then, of_then): (Timestamp, &[Times]),
        (now, of_now): (Timestamp, &[Times]),
    ) -> Self {
        let at_first = Self::at(rule, grace, then, of_then);
        let expired = of_then.iter().filter(|one| at_first.why_kept(**one, None).is_none());
        let mut expired: Vec<Timestamp> = expired.filter_map(|one| one.time).collect();
        expired.sort_unstable();
        Self { expired, ..Self::at(rule, grace, now, of_now) }
    }

    fn at(rule: Option<&'k Keep>, grace: Period, now: Timestamp, manifests: &[Times]) -> Self {
        let mut keeps =
            Self { rule, grace, now, times: Vec::new(), spans: BTreeMap::new(), expired: Vec::new() };
        keeps.times = manifests.iter().filter_map(|one| keeps.known(*one).ok()).collect();
        keeps.times.sort_unstable();
        if let Some(Keep::Any(_)) = rule {
            for unit in CalendarUnit::ALL {
                let spans: BTreeSet<Date> = keeps.times.iter().map(|at| span(unit, *at)).collect();
                keeps.spans.insert(unit, spans.into_iter().collect());
            }
        }
        keeps
    }

    /// The time by which a manifest is judged, or why it cannot be.
    fn known(&self, Times { time, pushed, .. }: Times) -> Result<Timestamp, &'static str> {
        let Some(at) = time else { return Err("nobody knows when it was pushed") };
        if pushed.is_none() && !self.grace.is_zero() {
            return Err("nobody knows when it was pushed");
        }
        if at > self.now || pushed.is_some_and(|pushed| pushed > self.now) {
            return Err("it was pushed in the future, so nobody knows its age");
        }
        Ok(at)
    }

    /// Why one of these times stays, when the oldest `most` of those that may go do; `None` when it may go.
    pub(super) fn why_kept(&self, times: Times, most: Option<u64>) -> Option<&'static str> {
        match self.rule {
            None => return Some("it has no rule for untagged manifests"),
            Some(Keep::All) => return Some("it says untagged: keep: all"),
            Some(Keep::None | Keep::Any(_)) => {}
        }
        let at = match self.known(times) {
            Ok(at) => at,
            Err(why) => return Some(why),
        };
        if let Some(Keep::Any(rules)) = self.rule
            && rules.iter().any(|rule| self.holds(rule, at, times.open))
        {
            return Some("its rule for untagged manifests holds it");
        }
        let newest = times.pushed.map_or(at, |pushed| pushed.max(at));
        if self.now.duration_since(newest) < self.grace.as_signed() {
            return Some("it was pushed within the grace");
        }
        let older = count(self.expired.partition_point(|other| *other < at));
        most.is_some_and(|most| older >= most).then_some("older ones go first, as many as max_delete lets go")
    }

    fn holds(&self, rule: &KeepRule, at: Timestamp, open: bool) -> bool {
        match rule {
            KeepRule::Within(age) => self.now.duration_since(at) <= age.as_signed(),
            KeepRule::Last(last) => self.newer(at) < *last,
            KeepRule::Calendar(unit, last) => {
                let own = span(*unit, at);
                let next = self.times.get(self.times.partition_point(|other| *other <= at));
                let newest = open || next.is_none_or(|next| span(*unit, *next) != own);
                let spans = self.spans.get(unit).map_or(&[][..], Vec::as_slice);
                newest && count(spans.len() - spans.partition_point(|other| *other <= own)) < *last
            }
            // It counts by version, and these have none: what cannot be counted stays.
            KeepRule::LastVersions(_) => true,
            KeepRule::All(rules) => rules.iter().all(|rule| self.holds(rule, at, open)),
        }
    }

    /// How many are newer.
    fn newer(&self, at: Timestamp) -> u64 {
        count(self.times.len() - self.times.partition_point(|other| *other <= at))
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
