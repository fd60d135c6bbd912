//! Listing a bucket in several places at once without trusting its order.
//!
//! A lane is a listing that begins somewhere and goes on page by page. The first begins at the beginning; others are
//! started by asking for what comes after a guessed name. A lane ends where it meets a key of the first page of a lane
//! that stands behind it in the chain, and at the end of the listing otherwise. So between two neighbours nothing is left
//! out, whatever the order is and wherever a guessed name led: all that is needed is that one listing goes through the
//! store's keys in one order and does not jump. A store that ignores the guess starts every lane at the beginning, where
//! all but the last end at once; one that starts too late, as SeaweedFS does below a directory of the guessed name, leaves
//! the rest to the lane before.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use crate::store::{Bucket, Listed, Page, PageRequest, Progress, Provider, StoreError};

/// For so many pages one more lane is started, and one guess may have been in vain: so listing in parallel costs at most
/// a quarter more requests than listing in one go.
const PAGES_FOR_EACH: u64 = 8;

/// A page of this size without a successor is asked once more whether it is really the last: the most that S3 gives.
const FULL_PAGE: usize = 1000;

/// Lists everything below `prefix`, handing each page to `take` on one of the threads of the current pool. `alphabet` is
/// what names below the prefix are made of, in byte order, to guess with.
///
/// # Errors
/// The first request that failed, or that somebody asked to stop: a listing with a hole is none.
pub(super) fn list(
    bucket: &Bucket,
    prefix: &str,
    alphabet: &str,
    progress: &Progress,
    take: &(dyn Fn(&[Listed]) + Sync),
) -> Result<u64, StoreError> {
    let listing = Listing {
        bucket,
        prefix,
        alphabet,
        progress,
        take,
        table: Mutex::new(Table::new(prefix)),
        changed: Condvar::new(),
    };
    rayon::scope(|scope| {
        for _ in 0..rayon::current_num_threads() {
            scope.spawn(|_| listing.work());
        }
    });
    let table = listing.table.into_inner().unwrap_or_else(PoisonError::into_inner);
    table.failure.map_or(Ok(table.pages), Err)
}

struct Listing<'l> {
    bucket: &'l Bucket,
    prefix: &'l str,
    alphabet: &'l str,
    progress: &'l Progress,
    take: &'l (dyn Fn(&[Listed]) + Sync),
    table: Mutex<Table>,
    changed: Condvar,
}

struct Table {
    lanes: Vec<Lane>,
    /// Lanes in the order in which each leads to the next.
    chain: Vec<usize>,
    /// Keys of the first page of every lane but the first, by lane.
    met: FxHashMap<Box<str>, usize>,
    pages: u64,
    in_vain: u64,
    under_way: usize,
    failure: Option<StoreError>,
}

#[derive(Default)]
struct Lane {
    /// The key that it began with.
    begin: String,
    /// A key that it has come past, to see at which place names differ.
    first: String,
    /// The last key that it came to.
    at: String,
    token: Option<String>,
    standing: Standing,
    /// A name is being guessed to split it.
    guessing: bool,
    /// A guess at which nothing new was found: guesses stay below it until the lane is past it.
    ceiling: Option<String>,
    /// Pages since it began or was split.
    pages: u64,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Standing {
    #[default]
    Ready,
    Asked,
    Done,
}

enum Work {
    Next { lane: usize, token: Option<String> },
    Guess { lane: usize, after: String },
}

impl Table {
    fn new(prefix: &str) -> Self {
        let at = || prefix.to_owned();
        let lane = Lane { begin: at(), first: at(), at: at(), ..Lane::default() };
        Self {
            lanes: vec![lane],
            chain: vec![0],
            met: FxHashMap::default(),
            pages: 0,
            in_vain: 0,
            under_way: 0,
            failure: None,
        }
    }

    fn place(&self, lane: usize) -> usize {
        self.chain.iter().position(|other| *other == lane).unwrap_or(0)
    }

    /// What to do next, if there is anything to do now.
    fn next(&mut self, prefix: &str, alphabet: &str) -> Option<Work> {
        if let Some(lane) = self.lanes.iter().position(|lane| lane.standing == Standing::Ready) {
            self.lanes[lane].standing = Standing::Asked;
            return Some(Work::Next { lane, token: self.lanes[lane].token.take() });
        }
        let guesses = self.lanes.iter().filter(|lane| lane.guessing).count() as u64;
        let afford = |count: u64| (count + guesses) * PAGES_FOR_EACH <= self.pages;
        if !afford(self.lanes.len() as u64) || !afford(self.in_vain) {
            return None;
        }
        let mut longest: Vec<usize> = (0..self.lanes.len())
            .filter(|lane| {
                let lane = &self.lanes[*lane];
                lane.standing == Standing::Asked && !lane.guessing && lane.pages >= 2
            })
            .collect();
        longest.sort_by_key(|lane| std::cmp::Reverse(self.lanes[*lane].pages));
        for lane in longest {
            let next = self.chain.get(self.place(lane) + 1).map(|next| self.lanes[*next].begin.clone());
            let end = self.lanes[lane].ceiling.clone().or(next).unwrap_or_else(|| format!("{prefix}~"));
            let Lane { first, at, .. } = &self.lanes[lane];
            if let Some(after) = between(first, at, &end, alphabet) {
                self.lanes[lane].guessing = true;
                return Some(Work::Guess { lane, after });
            }
            // Nothing can be told apart here any more, until it has come further.
            self.lanes[lane].pages = 0;
        }
        None
    }

    /// How many of a lane's next keys are its own: up to the first that a lane behind it began with.
    fn own(&self, lane: usize, objects: &[Listed]) -> usize {
        if self.met.is_empty() {
            return objects.len();
        }
        let place = self.place(lane);
        let behind = |object: &Listed| {
            self.met.get(object.key.as_str()).is_some_and(|other| self.place(*other) > place)
        };
        objects.iter().position(behind).unwrap_or(objects.len())
    }

    fn went_on(&mut self, lane: usize, page: &mut Page) {
        let own = self.own(lane, &page.objects);
        let met = own < page.objects.len();
        page.objects.truncate(own);
        let Lane { first, at, token, standing, ceiling, pages, .. } = &mut self.lanes[lane];
        if let (Some(begin), Some(end)) = (page.objects.first(), page.objects.last()) {
            let past = ceiling.as_ref().is_some_and(|ceiling| end.key > *ceiling);
            if *pages == 0 || past {
                first.clone_from(&begin.key);
                *ceiling = None;
            }
            at.clone_from(&end.key);
        }
        *pages += 1;
        *token = page.next.take();
        *standing = if met || token.is_none() { Standing::Done } else { Standing::Ready };
    }

    /// Takes a lane that a guess found into the chain, or nothing when it found nothing new.
    fn guessed(&mut self, lane: usize, after: String, page: &mut Page) {
        self.lanes[lane].guessing = false;
        self.lanes[lane].pages = 0;
        let begin = page.objects.first().map(|object| object.key.clone());
        let new = begin.filter(|begin| !self.met.contains_key(begin.as_str()));
        let Some(begin) =
            new.filter(|begin| self.lanes[lane].standing != Standing::Done && *begin > self.lanes[lane].at)
        else {
            self.in_vain += 1;
            page.objects.clear();
            if self.lanes[lane].at < after {
                self.lanes[lane].ceiling = Some(after);
            }
            return;
        };
        let found = self.lanes.len();
        let place = self.place(lane) + 1;
        self.lanes.push(Lane { begin, standing: Standing::Asked, ..Lane::default() });
        self.chain.insert(place, found);
        let own = self.own(found, &page.objects);
        for object in &page.objects[..own] {
            self.met.entry(object.key.as_str().into()).or_insert(found);
        }
        self.went_on(found, page);
    }
}

impl Listing<'_> {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread's part: asks for pages until there are no more.
    fn work(&self) {
        let mut table = self.lock();
        loop {
            if table.failure.is_some() {
                return;
            }
            let Some(work) = table.next(self.prefix, self.alphabet) else {
                if table.under_way == 0 {
                    self.changed.notify_all();
                    return;
                }
                table = self.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            table.under_way += 1;
            drop(table);
            let answer = self.ask(&work);
            table = self.lock();
            table.under_way -= 1;
            let page = match answer {
                Ok(mut page) => {
                    table.pages += 1;
                    match work {
                        Work::Next { lane, .. } => table.went_on(lane, &mut page),
                        Work::Guess { lane, after } => table.guessed(lane, after, &mut page),
                    }
                    page
                }
                Err(error) => {
                    table.failure.get_or_insert(error);
                    Page::default()
                }
            };
            self.changed.notify_all();
            if !page.objects.is_empty() {
                drop(table);
                (self.take)(&page.objects);
                table = self.lock();
            }
        }
    }

    fn ask(&self, work: &Work) -> Result<Page, StoreError> {
        let request = match work {
            Work::Next { token, .. } => {
                PageRequest { prefix: self.prefix, token: token.clone(), ..PageRequest::default() }
            }
            Work::Guess { after, .. } => {
                PageRequest { prefix: self.prefix, after: Some(after.clone()), ..PageRequest::default() }
            }
        };
        let page = self.page(&request)?;
        self.confirm(&page)?;
        Ok(page)
    }

    fn page(&self, request: &PageRequest<'_>) -> Result<Page, StoreError> {
        self.bucket.wait(self.progress.unless_stopped(self.bucket.page(request)))
    }

    /// A full page that says it is the last is asked about: one that was cut would be taken for a small store.
    fn confirm(&self, page: &Page) -> Result<(), StoreError> {
        let Some(last) = page.objects.last().filter(|_| page.objects.len() >= FULL_PAGE) else {
            return Ok(());
        };
        if page.next.is_some() || self.bucket.provider() != Provider::S3 {
            return Ok(());
        }
        let after = Some(last.key.clone());
        let request = PageRequest { prefix: self.prefix, after, ..PageRequest::default() };
        let more = self.page(&request)?;
        match more.objects.iter().find(|object| object.key > last.key) {
            Some(object) => Err(StoreError::Torn { key: object.key.clone() }),
            None => Ok(()),
        }
    }
}

/// A name between the key that a lane has come to and the end of its part, at the place where the lane's keys have been
/// seen to differ; `None` when there is none to guess. Nothing in a registry begins with it: it ends with `~`.
fn between(first: &str, at: &str, end: &str, alphabet: &str) -> Option<String> {
    let same = |one: &str, other: &str| one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let mut depth = same(first, at).max(same(at, end));
    let letters = alphabet.as_bytes();
    // Deeper than this, keys are the digits of digests, where one place is as good as the next.
    let deepest = (depth + 8).min(at.len());
    while depth < deepest {
        let head = at.get(..depth)?;
        let low = at.as_bytes()[depth];
        let high = end.strip_prefix(head).and_then(|rest| rest.bytes().next()).unwrap_or(b'~');
        let from = letters.partition_point(|letter| *letter <= low);
        let to = letters.partition_point(|letter| *letter < high);
        if to > from {
            let middle = char::from(letters[from + (to - from) / 2]);
            let name = format!("{head}{middle}~");
            if name.as_str() > at && name.as_str() < end {
                return Some(name);
            }
        }
        depth += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "-./0123456789_abcdefghijklmnopqrstuvwxyz";

    #[test]
    fn a_guess_lies_between_and_at_the_place_where_names_differ() {
        for (first, at, end, wanted) in [
            ("b/00", "b/0f", "b/~", Some("b/0")),
            ("r/app-0001/_layers", "r/app-0031/_layers", "r/~", Some("r/app-00")),
            ("r/a/_manifests/tags/v1", "r/a/_manifests/tags/v3", "r/~", Some("r/a/_manifests/tags/v")),
            ("r/a", "r/c", "r/d", None),
        ] {
            let guess = between(first, at, end, NAMES);
            assert_eq!(guess.is_some(), wanted.is_some(), "{first} {at} {end}");
            if let (Some(guess), Some(wanted)) = (guess, wanted) {
                assert!(guess.as_str() > at && guess.as_str() < end, "{guess}");
                assert!(guess.starts_with(wanted), "{guess}");
            }
        }
        assert_eq!(between("r/zz", "r/zz", "r/zz~", NAMES), None);
    }

    proptest::proptest! {
        #[test]
        fn a_guess_is_never_behind_what_was_listed(
            first in "[a-c0-2/_-]{0,6}", at in "[a-c0-2/_-]{0,6}", end in "[a-c0-2/_~-]{0,6}"
        ) {
            if let Some(guess) = between(&first, &at, &end, NAMES) {
                proptest::prop_assert!(guess > at && guess < end);
            }
        }
    }
}
