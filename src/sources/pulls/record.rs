//! When everything was last pulled, and since when anybody has looked.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Pull;
use crate::config::values::Period;
use crate::oci::{Digest, RepositoryName, TagName};

/// Entries that are remembered. When there are more the oldest are forgotten, and the record begins after them.
const MOST_ENTRIES: usize = 1_000_000;

/// Spans that are remembered. When there are more the oldest are forgotten: a record with so many holes begins late.
const MOST_SPANS: usize = 4096;

/// Moments no further apart are of one span. Shorter than any hole that a policy can call too long.
const CLOSE: SignedDuration = SignedDuration::from_hours(1);

/// When tags and manifests were last pulled. Two records merge into one in any order and any number of times: the latest
/// pull of each is what counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRecord {
    /// When pulls were looked for, the earliest first, none of them touching another.
    covered: Vec<Span>,
    repositories: BTreeMap<RepositoryName, LastPulls>,
}

/// A span of time in which no pull went unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

/// The last pulls in one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastPulls {
    /// By tag, where a tag was asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<TagName, Timestamp>,
    /// By digest, where the registry told it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub manifests: BTreeMap<Digest, Timestamp>,
}

impl PullRecord {
    /// Remembers a pull.
    pub fn observe(&mut self, pull: &Pull) {
        if pull.tag.is_none() && pull.manifest.is_none() {
            return;
        }
        let last = self.repositories.entry(pull.repository.clone()).or_default();
        if let Some(tag) = &pull.tag {
            latest(&mut last.tags, tag, pull.at);
        }
        if let Some(manifest) = &pull.manifest {
            latest(&mut last.manifests, manifest, pull.at);
        }
    }

    /// Notes that no pull from one moment to another went unseen.
    pub fn cover(&mut self, from: Timestamp, to: Timestamp) {
        let mut added = Span { from, to: to.max(from) };
        let near = |left: Timestamp, right: Timestamp| right.duration_since(left) <= CLOSE;
        let first = self.covered.partition_point(|span| !near(span.to, added.from));
        let end = self.covered.partition_point(|span| near(added.to, span.from));
        if first < end {
            added.from = added.from.min(self.covered[first].from);
            added.to = added.to.max(self.covered[end - 1].to);
        }
        self.covered.splice(first..end, [added]);
        if self.covered.len() > MOST_SPANS {
            self.covered.drain(..self.covered.len() - MOST_SPANS);
        }
    }

    /// Adds all that another record knows.
    pub fn merge(&mut self, other: Self) {
        for span in other.covered {
            self.cover(span.from, span.to);
        }
        for (repository, pulls) in other.repositories {
            let last = self.repositories.entry(repository).or_default();
            for (tag, at) in pulls.tags {
                latest(&mut last.tags, &tag, at);
            }
            for (manifest, at) in pulls.manifests {
                latest(&mut last.manifests, &manifest, at);
            }
        }
        self.forget_beyond(MOST_ENTRIES);
    }

    /// Forgets the oldest entries beyond so many. What is forgotten may be anything up to the last of them, so the record
    /// begins there.
    fn forget_beyond(&mut self, most: usize) {
        let entries = self.entries();
        if entries <= most {
            return;
        }
        let pulls = self.repositories.values();
        let mut times: Vec<Timestamp> =
            pulls.flat_map(|pulls| pulls.tags.values().chain(pulls.manifests.values())).copied().collect();
        let (_, last, _) = times.select_nth_unstable(entries - most - 1);
        let last = *last;
        self.repositories.retain(|_, pulls| {
            pulls.tags.retain(|_, at| *at > last);
            pulls.manifests.retain(|_, at| *at > last);
            !pulls.tags.is_empty() || !pulls.manifests.is_empty()
        });
        self.covered.retain(|span| span.to > last);
        for span in &mut self.covered {
            span.from = span.from.max(last);
        }
    }

    /// When a tag was last pulled by its name.
    pub fn tag(&self, repository: &RepositoryName, tag: &TagName) -> Option<Timestamp> {
        self.repositories.get(repository)?.tags.get(tag).copied()
    }

    /// When a manifest was last pulled by its digest, or by a tag where the registry told what that was.
    pub fn manifest(&self, repository: &RepositoryName, manifest: &Digest) -> Option<Timestamp> {
        self.repositories.get(repository)?.manifests.get(manifest).copied()
    }

    /// Since when no pull went unseen, up to now: the beginning of the latest spans with no hole of more than `max_gap`
    /// among them, nor between them and now. Now itself when there is no such span.
    pub fn begins(&self, now: Timestamp, max_gap: Period) -> Timestamp {
        let mut begins = now;
        for span in self.covered.iter().rev() {
            if begins.duration_since(span.to) > max_gap.as_signed() {
                break;
            }
            begins = begins.min(span.from);
        }
        begins
    }

    /// The last moment at which anybody looked.
    pub fn ends(&self) -> Option<Timestamp> {
        self.covered.last().map(|span| span.to)
    }

    /// When pulls were looked for, the earliest first.
    pub fn covered(&self) -> &[Span] {
        &self.covered
    }

    /// The last pulls by repository.
    pub fn repositories(&self) -> &BTreeMap<RepositoryName, LastPulls> {
        &self.repositories
    }

    /// Tags and manifests of which a pull is known.
    pub fn entries(&self) -> usize {
        self.repositories.values().map(|pulls| pulls.tags.len() + pulls.manifests.len()).sum()
    }

    /// Whether nothing is known, not even that nothing was pulled.
    pub fn is_empty(&self) -> bool {
        self.covered.is_empty() && self.repositories.is_empty()
    }
}

fn latest<K: Ord + Clone>(pulls: &mut BTreeMap<K, Timestamp>, key: &K, at: Timestamp) {
    match pulls.get_mut(key) {
        Some(known) => *known = (*known).max(at),
        None => {
            pulls.insert(key.clone(), at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn pull(repository: &str, tag: &str, seconds: i64) -> Pull {
        Pull {
            repository: RepositoryName::found(repository).unwrap(),
            tag: Some(TagName::found(tag).unwrap()),
            manifest: None,
            at: at(seconds),
        }
    }

    fn spans(record: &PullRecord) -> Vec<(i64, i64)> {
        let seconds = |at: Timestamp| at.as_second() - 1_700_000_000;
        record.covered().iter().map(|span| (seconds(span.from), seconds(span.to))).collect()
    }

    #[test]
    fn spans_join_where_they_are_near() {
        let mut record = PullRecord::default();
        for (from, to, expected) in [
            (0, 10, vec![(0, 10)]),
            (20_000, 30_000, vec![(0, 10), (20_000, 30_000)]),
            (3000, 4000, vec![(0, 4000), (20_000, 30_000)]),
            (-9000, -8000, vec![(-9000, -8000), (0, 4000), (20_000, 30_000)]),
            (25_000, 26_000, vec![(-9000, -8000), (0, 4000), (20_000, 30_000)]),
            (60_000, 50_000, vec![(-9000, -8000), (0, 4000), (20_000, 30_000), (60_000, 60_000)]),
            (-8500, 31_000, vec![(-9000, 31_000), (60_000, 60_000)]),
            (-99_000, 99_000, vec![(-99_000, 99_000)]),
        ] {
            record.cover(at(from), at(to));
            assert_eq!(spans(&record), expected, "after {from} to {to}");
        }
    }

    #[test]
    fn a_record_begins_after_its_last_hole() {
        let day = Period::from_days(1);
        let mut record = PullRecord::default();
        assert_eq!(record.begins(at(0), day), at(0), "nobody looked");
        record.cover(at(0), at(10 * DAY));
        record.cover(at(12 * DAY), at(13 * DAY));
        record.cover(at(14 * DAY), at(15 * DAY));
        assert_eq!(record.begins(at(16 * DAY), day), at(12 * DAY));
        assert_eq!(record.begins(at(16 * DAY + 1), day), at(16 * DAY + 1), "it ends too early");
        assert_eq!(record.begins(at(16 * DAY), Period::from_days(2)), at(0));
        assert_eq!(record.begins(at(5 * DAY), day), at(0), "it knows more than there was");
        assert_eq!(record.ends(), Some(at(15 * DAY)));
    }

    #[test]
    fn what_is_forgotten_moves_the_beginning() {
        let mut record = PullRecord::default();
        record.cover(at(0), at(100 * DAY));
        for day in 0..10 {
            record.observe(&pull("a", &format!("t{day}"), day * DAY));
        }
        record.forget_beyond(10);
        assert_eq!(record.entries(), 10);
        record.forget_beyond(4);
        assert_eq!(record.entries(), 4);
        assert_eq!(record.begins(at(100 * DAY), Period::from_days(1)), at(5 * DAY));
        assert_eq!(record.tag(&RepositoryName::found("a").unwrap(), &TagName::found("t5").unwrap()), None);
        record.forget_beyond(0);
        assert_eq!((record.entries(), record.repositories().len()), (0, 0));
    }

    #[test]
    fn many_holes_make_it_begin_later() {
        let mut record = PullRecord::default();
        let most = i64::try_from(MOST_SPANS).unwrap();
        for day in 0..most + 5 {
            record.cover(at(day * DAY), at(day * DAY));
        }
        assert_eq!(record.covered().len(), MOST_SPANS);
        assert_eq!(record.covered()[0].from, at(5 * DAY));
    }

    #[test]
    fn records_merge_in_any_order() {
        let mut one = PullRecord::default();
        one.observe(&pull("a", "x", 5));
        one.observe(&pull("a", "y", 7));
        one.cover(at(0), at(9));
        let mut two = PullRecord::default();
        two.observe(&pull("a", "x", 6));
        two.observe(&pull("b", "x", 1));
        two.cover(at(2 * DAY), at(3 * DAY));
        let (mut left, mut right) = (one.clone(), two.clone());
        left.merge(two.clone());
        right.merge(one);
        right.merge(two);
        assert_eq!(left, right);
        assert_eq!(left.entries(), 3);
        let text = serde_json::to_string(&left).unwrap();
        assert_eq!(serde_json::from_str::<PullRecord>(&text).unwrap(), left);
    }
}
