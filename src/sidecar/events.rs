//! What a registry posts to its notification endpoint, on its way into the record of pulls.
//!
//! Events are taken into memory, where many pulls of one image are one entry, and written to the state every few seconds,
//! before each run, and at the end. Where nothing but what is known was told again, such as a pull of what was pulled a
//! moment ago, that waits longer: each writing is an object of the state. A registry is answered 200 when its events are in memory: it keeps what was answered
//! otherwise, and sends it again. So a crash loses what came since the last writing and nothing else; and while the state
//! cannot be written for long, nothing more is taken, so that the registry keeps it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::board::Board;
use crate::policy::IgnoredPulls;
use crate::sources::pulls::{EventsError, Pull, PullRecord, read_events};

/// How often what came is written.
pub const EVERY: Duration = Duration::from_secs(10);

/// How often what came is written when it says nothing new.
const RARELY: SignedDuration = SignedDuration::from_mins(10);

/// Tags and manifests that wait to be written.
const MOST: usize = 100_000;

/// For how long writing may fail before nothing more is taken.
const FAILING: SignedDuration = SignedDuration::from_mins(10);

/// Between two deliveries no further apart nothing went unseen: a registry sends one after the other, and keeps what it
/// could not deliver.
const APART: SignedDuration = SignedDuration::from_hours(24);

/// Why events are not taken.
#[derive(Debug, thiserror::Error)]
pub enum Declined {
    /// It is not what a registry posts.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// Too much waits to be written.
    #[error("events wait to be written to the state, which does not go on: send them again later")]
    Busy,
}

/// Events that were taken in and not yet written.
#[derive(Debug)]
pub struct Intake {
    waiting: Mutex<Waiting>,
    ignored: Mutex<Arc<IgnoredPulls>>,
    board: Arc<Board>,
}

#[derive(Debug, Default)]
struct Waiting {
    record: PullRecord,
    /// The last moment that an event told of.
    last: Option<Timestamp>,
    /// Since when writing fails.
    failing: Option<Timestamp>,
    /// What was written lately: the last pulls, to tell what is new.
    written: PullRecord,
    /// When.
    written_at: Option<Timestamp>,
    /// Whether something waits that is new.
    news: bool,
}

impl Waiting {
    /// Whether a pull is of what was not pulled for a while.
    fn is_news(&self, pull: &Pull) -> bool {
        let tag = pull.tag.as_ref().map(|tag| self.written.tag(&pull.repository, tag));
        let manifest = pull.manifest.as_ref().map(|one| self.written.manifest(&pull.repository, one));
        let news =
            |known: Option<Timestamp>| known.is_none_or(|known| pull.at.duration_since(known) >= RARELY);
        tag.is_some_and(news) || manifest.is_some_and(news)
    }
}

impl Intake {
    /// An intake that leaves out the pulls of those who do not count.
    pub fn of(ignored: IgnoredPulls, board: Arc<Board>) -> Self {
        Self { waiting: Mutex::default(), ignored: Mutex::new(Arc::new(ignored)), board }
    }

    /// Leaves out these from now on.
    pub fn ignore(&self, ignored: IgnoredPulls) {
        *self.ignored.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(ignored);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in one envelope, as it was posted.
    ///
    /// # Errors
    /// When it is none, or when it is to be sent again later.
    pub fn take(&self, body: &[u8], now: Timestamp) -> Result<(), Declined> {
        let result = self.add(body, now);
        self.board.note(|facts| match &result {
            Ok(counts) => {
                facts.totals.events.pulls += counts.pulls;
                facts.totals.events.ignored += counts.ignored;
                facts.totals.events.others += counts.others;
                facts.totals.events.not_understood += counts.not_understood;
                facts.last_event = Some(now);
            }
            Err(_) => facts.totals.events.declined += 1,
        });
        result.map(drop)
    }

    fn add(&self, body: &[u8], now: Timestamp) -> Result<Counts, Declined> {
        let ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let observed = read_events(body, &ignored)?;
        let mut waiting = self.waiting();
        let stuck = waiting.failing.is_some_and(|since| now.duration_since(since) >= FAILING);
        if stuck || waiting.record.entries() >= MOST {
            return Err(Declined::Busy);
        }
        // A registry whose clock is ahead has not looked into the future.
        let known = |at: Timestamp| at.min(now);
        let came = &observed.record;
        for span in came.covered() {
            let (from, to) = (known(span.from), known(span.to));
            let near = waiting.last.filter(|last| to.duration_since(*last).abs() <= APART);
            waiting.news |= near.is_none();
            let (first, latest) = near.map_or((from, to), |last| (from.min(last), to.max(last)));
            waiting.record.cover(first, latest);
            waiting.last = Some(waiting.last.map_or(to, |last| last.max(to)));
        }
        for (repository, pulls) in came.repositories() {
            let tags = pulls.tags.iter().map(|(tag, at)| (Some(tag.clone()), None, *at));
            let manifests = pulls.manifests.iter().map(|(manifest, at)| (None, Some(*manifest), *at));
            for (tag, manifest, at) in tags.chain(manifests) {
                let pull = Pull { repository: repository.clone(), tag, manifest, at: known(at) };
                waiting.news |= waiting.is_news(&pull);
                waiting.record.observe(&pull);
            }
        }
        Ok(Counts {
            pulls: observed.pulls,
            ignored: observed.ignored,
            others: observed.understood.saturating_sub(observed.pulls + observed.ignored),
            not_understood: observed.not_understood,
        })
    }

    /// Everything that waits, to be written; `None` when nothing does.
    pub fn out(&self) -> Option<PullRecord> {
        let mut waiting = self.waiting();
        waiting.news = false;
        if waiting.record.is_empty() { None } else { Some(std::mem::take(&mut waiting.record)) }
    }

    /// Whether it is time to write what waits: at once what is new, now and then what is not.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let waiting = self.waiting();
        let rarely = waiting.written_at.is_none_or(|written| now.duration_since(written).abs() >= RARELY);
        !waiting.record.is_empty() && (waiting.news || rarely)
    }

    /// What was taken out has been written.
    pub fn written(&self, record: PullRecord, now: Timestamp) {
        let mut waiting = self.waiting();
        (waiting.failing, waiting.written_at) = (None, Some(now));
        // As much as may wait is enough to tell what is new.
        if waiting.written.entries() >= MOST {
            waiting.written = PullRecord::default();
        }
        waiting.written.merge(record);
    }

    /// What was taken out could not be written, and waits again.
    pub fn back(&self, record: PullRecord, now: Timestamp) {
        let mut waiting = self.waiting();
        waiting.news = true;
        waiting.record.merge(record);
        waiting.failing.get_or_insert(now);
    }

    /// Tags and manifests that wait to be written.
    pub fn entries(&self) -> usize {
        self.waiting().record.entries()
    }
}

/// What an envelope held.
struct Counts {
    pulls: u64,
    ignored: u64,
    others: u64,
    not_understood: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Period;
    use crate::oci::{RepositoryName, TagName};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn pull(tag: &str, when: &str) -> String {
        format!(
            r#"{{"events":[{{"id":"1","timestamp":"{when}","action":"pull","target":{{
               "mediaType":"application/vnd.oci.image.manifest.v1+json","repository":"a/b","tag":"{tag}",
               "url":"http://registry/v2/a/b/manifests/{tag}"}},"request":{{"method":"GET","useragent":"scanner/1"}}}}]}}"#
        )
    }

    fn intake() -> Intake {
        Intake::of(IgnoredPulls::default(), Arc::default())
    }

    fn of_tag(record: &PullRecord, tag: &str) -> Option<Timestamp> {
        record.tag(&RepositoryName::found("a/b").unwrap(), &TagName::found(tag).unwrap())
    }

    #[test]
    fn pulls_are_taken_in_and_none_is_from_the_future() {
        let intake = intake();
        let now = at("2026-03-01T12:00:00Z");
        intake.take(pull("x", "2026-03-01T11:00:00Z").as_bytes(), now).unwrap();
        intake.take(pull("x", "2026-03-01T10:00:00Z").as_bytes(), now).unwrap();
        intake.take(pull("y", "2030-01-01T00:00:00Z").as_bytes(), now).unwrap();
        assert_eq!(intake.entries(), 2);
        let record = intake.out().unwrap();
        assert_eq!(of_tag(&record, "x"), Some(at("2026-03-01T11:00:00Z")));
        assert_eq!(of_tag(&record, "y"), Some(now));
        assert_eq!(record.ends(), Some(now));
        assert!(intake.out().is_none());
        let facts = intake.board.facts();
        assert_eq!((facts.totals.events.pulls, facts.last_event), (3, Some(now)));
    }

    #[test]
    fn between_deliveries_nothing_went_unseen_unless_they_are_far_apart() {
        let intake = intake();
        for when in
            ["2026-03-01T00:00:00Z", "2026-03-01T20:00:00Z", "2026-03-02T19:00:00Z", "2026-03-05T00:00:00Z"]
        {
            intake.take(pull("x", when).as_bytes(), at("2026-03-05T00:00:00Z")).unwrap();
            if when.starts_with("2026-03-01T00") {
                // Written in between: the next span begins where this one ended.
                assert!(intake.out().is_some());
            }
        }
        let record = intake.out().unwrap();
        let hour = Period::from_hours(1);
        assert_eq!(record.begins(at("2026-03-02T19:00:00Z"), hour), at("2026-03-01T00:00:00Z"));
        assert_eq!(record.begins(at("2026-03-05T00:30:00Z"), hour), at("2026-03-05T00:00:00Z"));
    }

    #[test]
    fn a_state_that_cannot_be_written_leaves_events_with_the_registry() {
        let intake = intake();
        let now = at("2026-03-01T12:00:00Z");
        intake.take(pull("x", "2026-03-01T11:00:00Z").as_bytes(), now).unwrap();
        intake.back(intake.out().unwrap(), now);
        assert_eq!(intake.entries(), 1);
        let later = at("2026-03-01T12:09:00Z");
        intake.take(pull("y", "2026-03-01T12:08:00Z").as_bytes(), later).unwrap();
        intake.back(intake.out().unwrap(), later);
        let late = at("2026-03-01T12:10:00Z");
        let declined = intake.take(pull("z", "2026-03-01T12:09:00Z").as_bytes(), late);
        assert!(matches!(declined, Err(Declined::Busy)));
        let record = intake.out().unwrap();
        assert!(
            of_tag(&record, "x").is_some()
                && of_tag(&record, "y").is_some()
                && of_tag(&record, "z").is_none()
        );
        intake.written(record, late);
        intake.take(pull("z", "2026-03-01T12:09:00Z").as_bytes(), late).unwrap();
        assert_eq!(intake.board.facts().totals.events.declined, 1);
    }

    #[test]
    fn what_is_known_is_written_seldom() {
        let intake = intake();
        let pulled = |tag: &str, when: &str| {
            let at = at(when);
            intake.take(pull(tag, when).as_bytes(), at).unwrap();
            let due = intake.is_due(at);
            if due {
                intake.written(intake.out().unwrap(), at);
            }
            due
        };
        assert!(!intake.is_due(at("2026-03-01T00:00:00Z")), "nothing waits");
        for (tag, when, due) in [
            ("x", "2026-03-01T12:00:00Z", true),
            ("x", "2026-03-01T12:00:10Z", false),
            ("x", "2026-03-01T12:09:00Z", false),
            ("y", "2026-03-01T12:09:10Z", true),
            ("x", "2026-03-01T12:09:20Z", false),
            ("x", "2026-03-01T12:19:10Z", true),
            ("x", "2026-03-01T12:19:20Z", false),
        ] {
            assert_eq!(pulled(tag, when), due, "{tag} {when}");
        }
        // Also when nobody pulls any more.
        assert!(!intake.is_due(at("2026-03-01T12:29:00Z")));
        assert!(intake.is_due(at("2026-03-01T12:29:10Z")));
        // What could not be written is tried again at once.
        let now = at("2026-03-01T12:29:10Z");
        intake.back(intake.out().unwrap(), now);
        assert!(intake.is_due(now));
    }

    #[test]
    fn what_is_no_envelope_is_declined_and_who_does_not_count_is_left_out() {
        let mut ignored = IgnoredPulls::default();
        ignored.add_user_agent("scanner/*").unwrap();
        let intake = Intake::of(ignored, Arc::default());
        let now = at("2026-03-01T12:00:00Z");
        assert!(matches!(intake.take(b"{}", now), Err(Declined::Events(_))));
        assert!(matches!(intake.take(b"<html>", now), Err(Declined::Events(_))));
        intake.take(pull("x", "2026-03-01T11:00:00Z").as_bytes(), now).unwrap();
        assert_eq!(intake.entries(), 0);
        assert_eq!(intake.board.facts().totals.events.ignored, 1);
        // The policy has changed.
        intake.ignore(IgnoredPulls::default());
        intake.take(pull("x", "2026-03-01T11:00:00Z").as_bytes(), now).unwrap();
        assert_eq!(intake.entries(), 1);
    }
}
