//! What was acknowledged: for each tag the last answer that any client got, and a diary of all of them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, RwLock};

use jiff::Timestamp;
use regsweep::clock::{Clock as _, System};

use super::content::Image;
use super::locked;

/// Lines of the diary that are kept.
const LINES: usize = 400_000;

/// What a tag points to.
#[derive(Debug)]
pub struct State {
    /// One when it is certain: an image, or nothing. More after an answer that says neither.
    pub candidates: Vec<Option<Arc<Image>>>,
    /// What was acknowledged about the image since it is certain.
    pub referrers: Vec<Arc<Image>>,
}

impl State {
    /// The image, when it is certain that there is one.
    pub fn image(&self) -> Option<&Arc<Image>> {
        match self.candidates.as_slice() {
            [only] => only.as_ref(),
            _ => None,
        }
    }

    pub fn is_certain(&self) -> bool {
        self.candidates.len() == 1
    }

    /// A push was acknowledged.
    pub fn acknowledge(&mut self, image: &Arc<Image>) {
        if self.image().is_none_or(|known| known.digest() != image.digest()) {
            self.referrers.clear();
        }
        self.candidates = vec![Some(image.clone())];
    }

    /// A push or a deletion may have been carried out or not.
    pub fn doubt(&mut self, image: Option<&Arc<Image>>) {
        self.candidates.push(image.cloned());
        self.referrers.clear();
    }

    /// A deletion was acknowledged.
    pub fn delete(&mut self) {
        self.candidates = vec![None];
        self.referrers.clear();
    }

    /// Whether an image may be this tag's.
    pub fn may_be(&self, digest: &str) -> bool {
        self.candidates.iter().flatten().any(|image| image.digest() == digest)
    }

    /// Whether an image is needed by what may be this tag's.
    pub fn needs(&self, digest: &str) -> bool {
        let children = self.candidates.iter().flatten().flat_map(|image| &image.children);
        children.chain(&self.referrers).any(|image| image.digest() == digest)
    }
}

/// A tag. Whoever writes it holds its lock and has the gate of its repository open.
pub struct Tag {
    pub name: String,
    /// Whether the policy keeps it.
    pub kept: bool,
    /// Whether no client moves or deletes it: a run that sees no kept image at all refuses to go on.
    pub settled: bool,
    pub state: Mutex<State>,
}

/// A repository.
pub struct Repository {
    pub name: &'static str,
    /// Open (read) to whoever writes a tag, closed (write) to all others while a manifest is deleted, which takes all of
    /// its tags.
    pub gate: RwLock<()>,
    pub tags: Vec<Tag>,
}

/// Everything that was acknowledged.
pub struct Model {
    pub repositories: Vec<Repository>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    faults: Mutex<Vec<String>>,
    troubles: Mutex<Vec<String>>,
    diary: Mutex<VecDeque<(Timestamp, String)>>,
}

impl Model {
    pub fn new() -> Self {
        let repositories = ["team/app", "team/app/base", "team/other", "library"]
            .into_iter()
            .map(|name| {
                let names = ["keep-first", "keep-a", "keep-b", "keep-c", "temp-a", "temp-b", "temp-c"];
                let tag = |name: &str| Tag {
                    name: name.to_owned(),
                    kept: name.starts_with("keep-"),
                    settled: name == "keep-first",
                    state: Mutex::new(State { candidates: vec![None], referrers: Vec::new() }),
                };
                Repository { name, gate: RwLock::new(()), tags: names.map(tag).into_iter().collect() }
            })
            .collect();
        Self {
            repositories,
            counts: Mutex::default(),
            faults: Mutex::default(),
            troubles: Mutex::default(),
            diary: Mutex::default(),
        }
    }

    /// Counts something for the summary.
    pub fn count(&self, what: &'static str) {
        *locked(&self.counts).entry(what).or_default() += 1;
    }

    /// An answer that no client expects, and that loses nothing: an error of the registry while it was swept.
    pub fn trouble(&self, what: String) {
        self.note(|| format!("TROUBLE {what}"));
        locked(&self.troubles).push(what);
    }

    /// Those answers.
    pub fn troubles(&self) -> Vec<String> {
        locked(&self.troubles).clone()
    }

    /// Something that must not happen.
    pub fn fault(&self, what: String) {
        self.note(|| format!("FAULT {what}"));
        locked(&self.faults).push(what);
    }

    /// What must not happen and did.
    pub fn faults(&self) -> Vec<String> {
        locked(&self.faults).clone()
    }

    /// Writes into the diary.
    pub fn note(&self, line: impl FnOnce() -> String) {
        let mut diary = locked(&self.diary);
        if diary.len() == LINES {
            diary.pop_front();
        }
        diary.push_back((System.now(), line()));
    }

    /// The diary's lines that mention one of some words.
    pub fn diary(&self, words: &[String]) -> String {
        let mut text = String::new();
        for (time, line) in &*locked(&self.diary) {
            if words.is_empty() || words.iter().any(|word| line.contains(word)) {
                writeln!(text, "{time:.3} {line}").expect("a string takes all");
            }
        }
        text
    }

    /// The counts in one line.
    pub fn summary(&self) -> String {
        let counts = locked(&self.counts);
        let counts: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        counts.join(", ")
    }
}
