//! A line that moves on a terminal; a line every ten seconds elsewhere. Both on stderr.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::talk;
use crate::report::text::number;
use crate::store::{Progress, ReadStore, Requests, Standing};

/// How often the line on a terminal moves.
const LIVELY: Duration = Duration::from_millis(250);

/// How often a line is written where nobody may be looking.
const CALM: Duration = Duration::from_secs(10);

/// Shows how far a command has come until it is dropped.
#[derive(Debug)]
pub(super) struct Shown {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// Begins to show.
    pub(super) fn of(store: &ReadStore) -> Self {
        let (stop, stopped) = channel();
        let store = store.clone();
        let terminal = std::io::stderr().is_terminal();
        let thread = std::thread::spawn(move || {
            let bar = terminal.then(|| {
                let bar = ProgressBar::new_spinner();
                bar.set_style(
                    ProgressStyle::with_template("{spinner} {msg}")
                        .unwrap_or_else(|_| ProgressStyle::default_spinner()),
                );
                bar
            });
            let every = if terminal { LIVELY } else { CALM };
            let mut before = Before::default();
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let Some(line) = before.line(store.progress(), store.requests(), every) else { continue };
                match &bar {
                    Some(bar) => {
                        bar.set_message(line);
                        bar.tick();
                    }
                    None => talk(&line),
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // Hanging up ends the thread at once; its line is gone before anything else is said.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the last line knew.
#[derive(Default)]
struct Before {
    standing: Option<Standing>,
    requests: u64,
}

impl Before {
    fn line(&mut self, progress: &Arc<Progress>, cost: Requests, every: Duration) -> Option<String> {
        let standing = progress.standing();
        let requests = cost.all();
        let rate = per_second(requests.saturating_sub(self.requests), every);
        let same = self.standing.is_some_and(|before| before.phase == standing.phase);
        let done_before = self.standing.filter(|_| same).map_or(0, |before| before.done);
        let speed = per_second(standing.done.saturating_sub(done_before), every);
        self.requests = requests;
        self.standing = Some(standing);
        if standing.phase.is_empty() {
            return None;
        }
        let count = match standing.total {
            Some(total) => format!("{} of {}", number(standing.done), number(total)),
            None => number(standing.done),
        };
        let left = standing.total.map(|total| total.saturating_sub(standing.done)).filter(|_| speed > 0);
        let left = left.map(|left| format!(", about {} left", duration(left / speed))).unwrap_or_default();
        Some(format!("{}: {count}, {} requests a second{left}", standing.phase, number(rate)))
    }
}

fn per_second(count: u64, every: Duration) -> u64 {
    count * 1000 / u64::try_from(every.as_millis()).unwrap_or(1).max(1)
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_phase_count_speed_and_what_is_left() {
        let progress = Arc::new(Progress::default());
        let mut before = Before::default();
        let every = Duration::from_secs(10);
        assert_eq!(before.line(&progress, Requests::default(), every), None);
        progress.begin("listing blobs", None);
        progress.add(12_345);
        let cost = Requests { list: 130, ..Requests::default() };
        let line = before.line(&progress, cost, every).unwrap();
        assert_eq!(line, "listing blobs: 12,345, 13 requests a second");
        progress.begin("reading manifests", Some(5000));
        progress.add(1000);
        let cost = Requests { list: 130, get: 1000, ..Requests::default() };
        let line = before.line(&progress, cost, every).unwrap();
        assert_eq!(line, "reading manifests: 1,000 of 5,000, 100 requests a second, about 40 s left");
    }
}
