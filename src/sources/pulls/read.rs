//! A file of what a registry told: recorded events or logs, in any mixture.

use std::io::{self, BufRead};
use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;

use super::record::PullRecord;
use super::{Pull, events, log};
use crate::policy::{IgnoredPulls, Puller};

/// A line, or a document of several lines, that is longer than this is skipped.
const LONGEST: usize = 16 << 20;

/// One thing that a registry told.
pub(super) struct Seen {
    pub(super) at: Timestamp,
    pub(super) pull: Option<Pull>,
    pub(super) user_agent: Option<String>,
    pub(super) user: Option<String>,
    pub(super) address: Option<IpAddr>,
}

/// What was read, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The last pulls, and when anybody looked.
    pub record: PullRecord,
    /// Events and lines that were understood.
    pub understood: u64,
    /// Of these, pulls that count.
    pub pulls: u64,
    /// Of these, pulls that do not count because of who pulled.
    pub ignored: u64,
    /// Events and lines that were not understood.
    pub not_understood: u64,
}

impl Observed {
    /// Counts one thing, and remembers what it says. `None` is something that was not understood.
    pub(super) fn note(&mut self, seen: Option<Seen>, ignored: &IgnoredPulls) {
        let Some(seen) = seen else {
            self.not_understood += 1;
            return;
        };
        self.understood += 1;
        self.record.cover(seen.at, seen.at);
        let Some(pull) = seen.pull else { return };
        let puller = Puller {
            user_agent: seen.user_agent.as_deref(),
            user: seen.user.as_deref(),
            address: seen.address,
        };
        if ignored.covers(&puller) {
            self.ignored += 1;
        } else {
            self.pulls += 1;
            self.record.observe(&pull);
        }
    }
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system's answer.
    #[error("cannot read on")]
    Io(#[from] io::Error),
    /// It has no line of a registry's.
    #[error(
        "none of its {lines} lines is an event or a log line of a registry; what is read are recorded notification events \
         (JSON), distribution's access log (combined format) and its own log (text or JSON)"
    )]
    Nothing {
        /// How many lines it has.
        lines: u64,
    },
}

/// Reads recorded events and log lines.
#[derive(Debug)]
pub struct Reader<'r> {
    ignored: &'r IgnoredPulls,
    /// A document that is not at its end.
    pending: String,
    observed: Observed,
}

impl<'r> Reader<'r> {
    /// Reads all of `input`. An empty one says nothing and is no error.
    ///
    /// # Errors
    /// When it cannot be read to its end, or when nothing in it is understood.
    pub fn read(mut input: impl BufRead, ignored: &'r IgnoredPulls) -> Result<Observed, ReadError> {
        let mut reader = Self { ignored, pending: String::new(), observed: Observed::default() };
        let (mut line, mut lines) = (Vec::new(), 0);
        while let Some(whole) = next_line(&mut input, &mut line)? {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            if text.trim_start().is_empty() {
                continue;
            }
            lines += 1;
            if whole {
                reader.line(text);
            } else {
                reader.observed.note(None, ignored);
            }
        }
        reader.give_up();
        if reader.observed.understood == 0 && lines > 0 {
            return Err(ReadError::Nothing { lines });
        }
        Ok(reader.observed)
    }

    fn line(&mut self, text: &str) {
        if !self.pending.is_empty() {
            self.pending.push('\n');
            self.pending.push_str(text);
            // Only a bracket at the very left ends a document that stands over several lines.
            if text.starts_with(['}', ']']) {
                self.document();
            } else if self.pending.len() > LONGEST {
                self.give_up();
            }
        } else if text.starts_with(['{', '[']) {
            text.clone_into(&mut self.pending);
            self.document();
        } else {
            self.text(text);
        }
    }

    /// Reads what is pending, if it is at its end.
    fn document(&mut self) {
        let mut values = Vec::new();
        for value in serde_json::Deserializer::from_str(&self.pending).into_iter::<Value>() {
            match value {
                Ok(value) => values.push(value),
                Err(error) if error.is_eof() => return,
                Err(_) => return self.give_up(),
            }
        }
        self.pending.clear();
        for value in &values {
            self.value(value);
        }
    }

    /// What is pending is no document: each of its lines for itself, then.
    fn give_up(&mut self) {
        for line in std::mem::take(&mut self.pending).lines() {
            self.text(line);
        }
    }

    fn value(&mut self, value: &Value) {
        let part = |key| value.get(key);
        if let Value::Array(values) = value {
            for value in values {
                self.value(value);
            }
        } else if let Some(Value::Array(found)) = part("events") {
            for one in found {
                self.observed.note(events::event(one), self.ignored);
            }
        } else if part("action").is_some() && part("target").is_some() {
            self.observed.note(events::event(value), self.ignored);
        } else if let Some(Value::String(line)) = part("log") {
            // A container runtime's wrapping of a line.
            self.text(line.trim_end());
        } else {
            self.observed.note(log::value_of_log(value), self.ignored);
        }
    }

    fn text(&mut self, text: &str) {
        let inner = text.find('{').and_then(|at| serde_json::from_str::<Value>(&text[at..]).ok());
        match inner.filter(Value::is_object) {
            Some(value) => self.value(&value),
            None => self.observed.note(log::line(text), self.ignored),
        }
    }
}

/// The next line without its end; `false` when it was too long and is not whole. `None` at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let (mut any, mut whole) = (false, true);
    loop {
        let read = match input.fill_buf() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if read.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let end = read.iter().position(|byte| *byte == b'\n');
        let part = &read[..end.unwrap_or(read.len())];
        if line.len() + part.len() > LONGEST {
            whole = false;
        } else if whole {
            line.extend_from_slice(part);
        }
        let used = end.map_or(read.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(Some(whole));
        }
    }
}
