//! What a bucket holds, and how it is listed.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::SystemTime;

use bytes::Bytes;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its content.
    pub bytes: Bytes,
    /// Its `ETag`, without quotes.
    pub etag: String,
    /// When it was last written, by the store's clock.
    pub modified: SystemTime,
}

/// The order in which keys are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// That of the bytes of the keys, as S3 has it.
    #[default]
    Bytes,
    /// Name by name, as a walk through sorted directories meets them: `a/x` before `a-b/x`. SeaweedFS has it.
    Directories,
}

impl Order {
    /// What stands for a key, so that the order of bytes is this order.
    fn place(self, key: &str) -> String {
        match self {
            Self::Bytes => key.to_owned(),
            Self::Directories => key.replace('/', "\0"),
        }
    }

    /// The key that has this place.
    fn key(self, place: &str) -> String {
        match self {
            Self::Bytes => place.to_owned(),
            Self::Directories => place.replace('\0', "/"),
        }
    }
}

/// Greater than everything that a key can go on with.
const END: char = '\u{10ffff}';

/// What is asked of a listing.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only keys that begin with it.
    pub prefix: String,
    /// What follows it in a key is not told apart.
    pub delimiter: Option<String>,
    /// Only keys after this one.
    pub after: Option<String>,
    /// Where the page before ended, in place of `after`.
    pub token: Option<String>,
    /// A key below which everything is left out.
    pub skipped: Option<String>,
    /// How many keys and common prefixes at most.
    pub most: usize,
}

/// A part of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// Keys and objects.
    pub objects: Vec<(String, Stored)>,
    /// Common prefixes.
    pub prefixes: Vec<String>,
    /// How to ask for the next part; none at the end.
    pub token: Option<String>,
}

/// The objects of one bucket.
#[derive(Debug)]
pub struct Objects {
    order: Order,
    places: BTreeMap<String, Stored>,
}

impl Objects {
    /// None, to be listed in `order`.
    pub fn new(order: Order) -> Self {
        Self { order, places: BTreeMap::new() }
    }

    /// The object `key`.
    pub fn get(&self, key: &str) -> Option<&Stored> {
        self.places.get(&self.order.place(key))
    }

    /// Adds or replaces an object.
    pub fn put(&mut self, key: &str, stored: Stored) {
        self.places.insert(self.order.place(key), stored);
    }

    /// Removes an object and answers it.
    pub fn remove(&mut self, key: &str) -> Option<Stored> {
        self.places.remove(&self.order.place(key))
    }

    /// Everything.
    pub fn all(&self) -> BTreeMap<String, Stored> {
        self.places.iter().map(|(place, stored)| (self.order.key(place), stored.clone())).collect()
    }

    /// One page of a listing.
    pub fn page(&self, query: &Query) -> Page {
        let mut page = Page::default();
        if query.most == 0 {
            return page;
        }
        let prefix = self.order.place(&query.prefix);
        let delimiter = query.delimiter.as_ref().map(|text| self.order.place(text));
        let skipped = query.skipped.as_ref().map(|key| self.order.place(&format!("{key}/")));
        let after = query.token.clone().or_else(|| query.after.as_ref().map(|key| self.order.place(key)));
        let mut from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix.clone()),
        };
        let mut last = String::new();
        'again: loop {
            for (place, stored) in self.places.range::<String, _>((from.clone(), Bound::Unbounded)) {
                let Some(rest) = place.strip_prefix(&prefix) else { return page };
                if skipped.as_ref().is_some_and(|skipped| place.starts_with(skipped)) {
                    continue;
                }
                if page.objects.len() + page.prefixes.len() == query.most {
                    page.token = Some(last);
                    return page;
                }
                let end = delimiter.as_ref().and_then(|found| Some(rest.find(found)? + found.len()));
                if let Some(end) = end {
                    let common = &place[..prefix.len() + end];
                    page.prefixes.push(self.order.key(common));
                    last = format!("{common}{END}");
                    from = Bound::Excluded(last.clone());
                    continue 'again;
                }
                last.clone_from(place);
                page.objects.push((self.order.key(place), stored.clone()));
            }
            return page;
        }
    }
}
