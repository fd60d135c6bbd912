//! What Prometheus reads: the board in its text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::board::{Ending, Facts, Role};
use crate::report::audit::Class;

/// The media type of what [`render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Actions whose counts are told from the start, so that a rate can be taken of the first.
const ACTIONS: [&str; 5] = ["untag", "delete-manifest", "unlink", "sweep", "purge"];

type Labels = Vec<(&'static str, String)>;

struct Writer {
    registry: Registry,
}

impl Writer {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    /// A gauge that is left out as long as nobody knows.
    fn time(&mut self, name: &str, help: &str, time: Option<Timestamp>) {
        if let Some(time) = time {
            self.gauge(name, help, float(u64::try_from(time.as_second()).unwrap_or(0)));
        }
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (String, u64)>,
    ) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (key, value) in values {
            family.get_or_create(&vec![(label, key)]).set(float(value));
        }
        self.registry.register(name, help, family);
    }

    /// A counter; its name goes without `_total`.
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.registry.register(name, help, counter);
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (String, f64)>,
    ) {
        let family = Family::<Labels, Counter<f64, AtomicU64>>::default();
        for (key, value) in values {
            family.get_or_create(&vec![(label, key)]).inc_by(value);
        }
        self.registry.register(name, help, family);
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn float(value: u64) -> f64 {
    value as f64
}

/// The board as Prometheus reads it.
pub fn render(facts: &Facts) -> String {
    let mut writer = Writer { registry: Registry::with_prefix("regsweep") };
    let version = [("version".to_owned(), 1)];
    let version = version.map(|_| (env!("CARGO_PKG_VERSION").to_owned(), 1));
    writer.gauges("build_info", "The version of regsweep", "version", version.into_iter());
    schedule(&mut writer, facts);
    holdings(&mut writer, facts);
    sums(&mut writer, facts);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &writer.registry);
    plain(&text)
}

fn schedule(writer: &mut Writer, facts: &Facts) {
    let is = |yes: bool| if yes { 1.0 } else { 0.0 };
    writer.gauge(
        "run_in_progress",
        "Whether a run is under way",
        is(matches!(facts.role, Role::Running { .. })),
    );
    writer.gauge(
        "standby",
        "Whether another replica does the work",
        is(matches!(facts.role, Role::Standby { .. })),
    );
    writer.gauge(
        "policy_outdated",
        "Whether the policy file has an error, so that the last good one is gone by",
        is(facts.policy_problem.is_some()),
    );
    writer.time("last_run_start_timestamp_seconds", "When a run last began", facts.last_start);
    writer.time("last_success_timestamp_seconds", "When a run last ended as it should", facts.last_success);
    writer.time("next_run_timestamp_seconds", "When the next run is due", facts.next_due);
}

fn holdings(writer: &mut Writer, facts: &Facts) {
    let holdings = &facts.holdings;
    if let Some(audit) = &holdings.audit {
        let of = |part: fn(&crate::report::audit::Amount) -> u64| {
            audit.classes.iter().map(move |(class, amount)| (class_name(*class), part(amount)))
        };
        writer.gauges("store_objects", "Objects in the store by class", "class", of(|amount| amount.objects));
        writer.gauges("store_bytes", "Bytes in the store by class", "class", of(|amount| amount.bytes));
        let problems = u64::try_from(audit.problems.len()).unwrap_or(u64::MAX);
        writer.gauge("store_problems", "What is broken or not understood in the store", float(problems));
        let listed = Some(audit.listed_at);
        writer.time("store_listed_timestamp_seconds", "When the store was listed for these numbers", listed);
    }
    writer.gauge(
        "condemned_blobs",
        "Blobs that nothing refers to, waiting for the grace",
        float(holdings.condemned),
    );
    writer.gauge("trash_objects", "Objects in the trash", float(holdings.trash_objects));
    writer.gauge("trash_bytes", "Bytes in the trash", float(holdings.trash_bytes));
}

fn sums(writer: &mut Writer, facts: &Facts) {
    let totals = &facts.totals;
    let runs = Ending::ALL.iter().map(|ending| {
        (ending.name().to_owned(), float(totals.runs.get(ending.name()).copied().unwrap_or(0)))
    });
    writer.counters("runs", "Runs by how they ended", "result", runs);
    let mut steps: BTreeMap<String, f64> = ACTIONS.map(|action| (action.to_owned(), 0.0)).into();
    steps.extend(totals.steps.iter().map(|(action, count)| (action.clone(), float(*count))));
    writer.counters("steps", "Steps carried out, by action", "action", steps.into_iter());
    writer.counter("failed_steps", "Steps that could not be carried out", totals.failed_steps);
    writer.counter("freed_bytes", "Bytes of data that left their place", totals.freed_bytes);
    writer.counter("purged_bytes", "Bytes deleted from the trash", totals.purged_bytes);
    writer.counter(
        "given_back_objects",
        "Blobs and links brought back because a push needs them",
        totals.given_back,
    );
    let refusals = totals.refusals.iter().map(|(rule, count)| ((*rule).to_owned(), float(*count)));
    writer.counters("refusals", "Refused runs, by rule", "rule", refusals);
    let cost = &totals.requests;
    let kinds = [
        ("list", cost.list),
        ("stat", cost.stat),
        ("get", cost.get),
        ("put", cost.put),
        ("rename", cost.rename),
        ("copy", cost.copy),
        ("delete", cost.delete),
        ("other", cost.other),
    ];
    let kinds = kinds.into_iter().map(|(kind, count)| (kind.to_owned(), float(count)));
    writer.counters("requests", "Requests to the store, by kind", "kind", kinds);
    writer.counter("read_bytes", "Bytes read from the store", cost.bytes_read);
    writer.counter("written_bytes", "Bytes written to the store", cost.bytes_written);
    let phases = totals.phase_seconds.iter().map(|(phase, seconds)| ((*phase).to_owned(), *seconds));
    writer.counters("phase_seconds", "Seconds by what was done in them", "phase", phases);
    let events = &totals.events;
    let events = [
        ("pull", events.pulls),
        ("ignored_pull", events.ignored),
        ("other", events.others),
        ("not_understood", events.not_understood),
    ];
    let events = events.into_iter().map(|(kind, count)| (kind.to_owned(), float(count)));
    writer.counters("events", "Events of the registry, by what they are", "kind", events);
    let declined = totals.events.declined;
    writer.counter("declined_deliveries", "Deliveries of events that were not answered 200", declined);
    writer.time("last_event_timestamp_seconds", "When the registry last told of something", facts.last_event);
    let (delivered, lost) = totals.notices;
    let notices = [("delivered", delivered), ("given_up", lost)];
    let notices = notices.into_iter().map(|(result, count)| (result.to_owned(), float(count)));
    writer.counters("notices", "Notices to the webhook, by what became of them", "result", notices);
}

/// A class as JSON documents name it.
fn class_name(class: Class) -> String {
    class.label().replace(' ', "_").replace("expired_by_policy", "expired")
}

/// `OpenMetrics` text in the older format, which every version of Prometheus reads: there the name of a counter's family
/// ends in `_total` as that of its samples does, and names that are announced have samples.
fn plain(open: &str) -> String {
    let lines: Vec<&str> = open.lines().collect();
    let mut text = String::with_capacity(open.len());
    for (index, line) in lines.iter().enumerate() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                let kind =
                    lines[index..].iter().find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")));
                let Some(kind) = kind else { continue };
                let full = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
                let sample = |line: &&str| line.starts_with(&full) && !line[full.len()..].starts_with('_');
                if lines[index..].iter().any(sample) {
                    let _ = writeln!(text, "# HELP {full} {help}\n# TYPE {full} {kind}");
                }
            }
            (Some("#"), ..) => {}
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sidecar::board::{Board, RunFacts};

    #[test]
    fn counters_have_one_name_and_families_without_samples_are_left_out() {
        let text = render(&Facts::default());
        assert!(
            text.contains("# TYPE regsweep_freed_bytes_total counter\nregsweep_freed_bytes_total 0\n"),
            "{text}"
        );
        assert!(
            !text.contains("refusals") && !text.contains("EOF") && !text.contains("last_success"),
            "{text}"
        );
        for line in text.lines().filter(|line| line.starts_with("# HELP ")) {
            assert!(!line.contains("_total_total"), "{line}");
        }
    }

    #[test]
    fn runs_add_up() {
        let board = Board::default();
        for ending in [Ending::Done, Ending::Refused, Ending::Done] {
            let mut run = RunFacts::begun(Timestamp::UNIX_EPOCH);
            run.ending = ending;
            run.freed_bytes = 10;
            run.done.insert("sweep".into(), 2);
            if ending == Ending::Refused {
                run.rules = vec!["too_much", "shrunk"];
            }
            run.phase_seconds.insert("listing blobs", 0.25);
            board.ended(Arc::new(run));
        }
        board.note(|facts| facts.next_due = Some(Timestamp::from_second(1_700_000_000).unwrap()));
        let text = render(&board.facts());
        for line in [
            "regsweep_runs_total{result=\"done\"} 2.0",
            "regsweep_runs_total{result=\"failed\"} 0.0",
            "regsweep_steps_total{action=\"sweep\"} 6.0",
            "regsweep_freed_bytes_total 30",
            "regsweep_refusals_total{rule=\"shrunk\"} 1.0",
            "regsweep_phase_seconds_total{phase=\"listing blobs\"} 0.75",
            "regsweep_next_run_timestamp_seconds 1700000000.0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
