//! Everything that can go wrong with a request, at every request of a run. The run ends with a word that is true of it,
//! nothing is lost, and the next run comes to where an undisturbed one comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use jiff::SignedDuration;

use super::memory::{Effect, Etags, Fault, Options, Request};
use super::trial::{Ground, Objects, Trial, all_cases, strings, try_all, without_remains_of_tags};
use crate::support::Files;

/// Threads that try cases side by side. Most of a case is waiting: for a process, or until a client tries again.
const THREADS: usize = 24;

/// Set to 1, every kind is tried at every request; otherwise each kind at some, and every request with some.
const ALL: &str = "REGSWEEP_FAULTS_ALL";

const FOR_EVER: u64 = u64::MAX;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// One way to go wrong.
struct Kind {
    name: &'static str,
    effect: Effect,
    /// To which operations it happens; all, when there are none.
    to: &'static [&'static str],
    lasts: Lasts,
    /// Whether the run may believe that a tag or a link of its history is gone, which a moment later is there.
    believed: bool,
    /// How the run may end.
    exits: &'static [i32],
    /// About how many requests it is tried at when not at all.
    tries: usize,
}

#[derive(Clone, Copy)]
enum Lasts {
    /// So many more times to requests like the first.
    Again(u64),
    /// With every request after it.
    ForAll,
}

const LISTS: &[&str] = &["ListObjectsV2"];
const READS: &[&str] = &["GetObject", "HeadObject"];
const BULK: &[&str] = &["DeleteObjects"];

/// Some steps failed, or the store could not be reached.
const TROUBLE: &[i32] = &[1, 4];
/// A client may have got over it.
const ANY: &[i32] = &[0, 1, 3, 4];
const DONE: &[i32] = &[0];

fn kinds() -> Vec<Kind> {
    use Lasts::{Again, ForAll};
    let kind = |name, effect, to, lasts, exits, tries| {
        let believed = effect == Effect::NO_SUCH_KEY;
        Kind { name, effect, to, lasts, believed, exits, tries }
    };
    let error = Effect::INTERNAL_ERROR;
    vec![
        kind("the store is down from then on", error.clone(), &[], ForAll, TROUBLE, 12),
        kind("500 for ever", error.clone(), &[], Again(FOR_EVER), ANY, 16),
        kind("500, and then well", error, &[], Again(2), DONE, 16),
        kind("slow down", Effect::SLOW_DOWN, &[], Again(1), DONE, 16),
        kind("403 for ever", Effect::ACCESS_DENIED, &[], Again(FOR_EVER), ANY, 16),
        kind("no answer to what was not carried out", Effect::Halt, &[], Again(0), ANY, 16),
        kind("no answer to what was carried out", Effect::HaltAfter, &[], Again(0), ANY, 16),
        kind("a connection lost before", Effect::HangUp, &[], Again(0), ANY, 16),
        kind("a connection lost after", Effect::LoseReply, &[], Again(0), ANY, 16),
        kind("half a bulk delete", Effect::RefuseHalf(true), BULK, Again(0), DONE, 9),
        kind("the other half of a bulk delete", Effect::RefuseHalf(false), BULK, Again(0), DONE, 9),
        kind("half of each bulk delete", Effect::RefuseHalf(true), BULK, ForAll, ANY, 9),
        kind("the other half of each bulk delete", Effect::RefuseHalf(false), BULK, ForAll, ANY, 9),
        kind("a page cut", Effect::CutBody, LISTS, Again(0), &[0, 4], 12),
        kind("a page cut each time", Effect::CutBody, LISTS, Again(FOR_EVER), &[4], 12),
        kind("a page torn", Effect::HangUpMidway, LISTS, Again(0), &[0, 4], 12),
        kind("a page without a token", Effect::NoToken, LISTS, Again(FOR_EVER), &[4], 12),
        kind("a body cut", Effect::CutBody, READS, Again(0), ANY, 12),
        kind("a body cut each time", Effect::CutBody, READS, Again(FOR_EVER), ANY, 12),
        kind("a body torn", Effect::HangUpMidway, READS, Again(0), ANY, 12),
        kind("gone when it is read", Effect::NO_SUCH_KEY, READS, Again(0), ANY, 24),
        kind("gone whenever it is read", Effect::NO_SUCH_KEY, READS, Again(FOR_EVER), ANY, 24),
        kind("an hour ahead", Effect::Shift(HOUR), &[], Again(FOR_EVER), ANY, 12),
        kind("an hour behind", Effect::Shift(-HOUR), &[], Again(FOR_EVER), ANY, 12),
        kind("an hour ahead from then on", Effect::Shift(HOUR), &[], ForAll, ANY, 12),
        kind("an hour behind from then on", Effect::Shift(-HOUR), &[], ForAll, ANY, 12),
    ]
}

impl Kind {
    fn fault(&self, nth: u64) -> Fault {
        match self.lasts {
            Lasts::Again(times) => Fault::nth("*", nth, self.effect.clone()).again(times),
            Lasts::ForAll => Fault::from_nth("*", nth, self.effect.clone()),
        }
    }

    /// At which requests it is tried, from 1.
    fn tried_at(&self, place: usize, tries: usize, requests: &[Request]) -> Vec<u64> {
        let concerns = |operation: &str| self.to.is_empty() || self.to.contains(&operation);
        let numbered = (1..).zip(requests).filter(|(_, request)| concerns(&request.operation));
        let at: Vec<u64> = numbered.map(|(nth, _)| nth).collect();
        let step = if all_cases(ALL) { 1 } else { at.len().div_ceil(tries).max(1) };
        at.into_iter().skip(place % step).step_by(step).collect()
    }
}

/// A run that is disturbed.
struct Disturbed {
    arguments: Vec<String>,
    options: Options,
    grace: Duration,
    /// By how much fewer cases are tried than a kind has.
    thinned: usize,
    before: Objects,
    after: Files,
    requests: Vec<Request>,
}

impl Disturbed {
    fn new(ground: &Ground, arguments: &[&str], options: Options, before: Objects) -> Self {
        let arguments = strings(arguments);
        let trial = Trial::new(ground, &options);
        trial.begin(&before);
        trial.run("run", &arguments).expect(0);
        let requests = trial.server.requests();
        let kinds: BTreeSet<&String> = requests.iter().map(|request| &request.operation).collect();
        assert!(requests.len() > 100 && kinds.len() >= 5, "{}: {kinds:?}", requests.len());
        Self { arguments, options, grace: Duration::ZERO, thinned: 1, before, after: trial.files(), requests }
    }

    #[expect(clippy::print_stderr, reason = "with --nocapture one sees how runs ended")]
    fn disturb(&self, ground: &Ground, wanted: impl Fn(&Kind) -> bool) {
        let mut kinds = kinds();
        kinds.retain(wanted);
        let cases: Vec<(&Kind, u64)> = (0..)
            .zip(&kinds)
            .flat_map(|(place, kind)| {
                kind.tried_at(place, kind.tries.div_ceil(self.thinned), &self.requests)
                    .into_iter()
                    .map(move |nth| (kind, nth))
            })
            .collect();
        let met: Mutex<BTreeMap<(&str, i32, bool), usize>> = Mutex::default();
        try_all(ground, THREADS, &self.options, &cases, |trial, (kind, nth)| {
            let ended = self.attempt(trial, kind, *nth);
            *met.lock().unwrap().entry((kind.name, ended.0, ended.1)).or_default() += 1;
        });
        for ((name, exit, touched), times) in met.into_inner().unwrap() {
            let touched = if touched { "something was done" } else { "nothing was done" };
            eprintln!("{times:4} times {name}: exit {exit}, {touched}");
        }
    }

    /// One case; the exit code, and whether anything of the registry was changed.
    fn attempt(&self, trial: &Trial<'_>, kind: &Kind, nth: u64) -> (i32, bool) {
        let Request { operation, key } = &self.requests[usize::try_from(nth).unwrap() - 1];
        let what = format!("{} at request {nth} of {} ({operation} {key})", kind.name, self.requests.len());
        trial.begin(&self.before);
        let before = trial.files();
        trial.server.fault(kind.fault(nth));
        let mut command = trial.command("run", &self.arguments);
        let ended = command.env("AWS_TIMEOUT", "2s").output().expect("regsweep runs");
        trial.server.heal();
        let ended = crate::registry::command::Finished::new(&ended);
        assert!(kind.exits.contains(&ended.status), "{what}: {ended:?}");
        let said = ended.status == 0
            || ended.status == 1
            || ended.stderr.contains("error: ")
            || !ended.stdout.is_empty();
        assert!(said, "{what}: it says nothing: {ended:?}");
        let now = trial.files();
        trial.ground.assert_nothing_lost(&now, &what);
        if !kind.believed {
            trial.ground.assert_no_tag_dangles(&now, &what);
        }
        let what = format!("{what} ({}), then a run", ended.status);
        let left = self.left_by_runs_without_faults(trial, kind, &what);
        left.assert_same_content(&self.after, &what);
        (ended.status, now.0.len() != before.0.len())
    }
}

impl Disturbed {
    /// What is there after one more run; or after two, beside a registry, where a blob may have to wait for its grace once
    /// more, and where a link was thought gone that is there: then its blob comes back before both go.
    fn left_by_runs_without_faults(&self, trial: &Trial<'_>, kind: &Kind, what: &str) -> Files {
        let again = || {
            let ended = trial.run("run", &self.arguments);
            assert_eq!(ended.status, 0, "{what}: {ended:?}");
            if kind.believed { without_remains_of_tags(&trial.files()) } else { trial.files() }
        };
        let left = again();
        let may_wait = kind.believed || !self.grace.is_zero();
        if !may_wait || left.0.len() == self.after.0.len() {
            return left;
        }
        trial.ground.assert_nothing_lost(&left, what);
        std::thread::sleep(self.grace + Duration::from_millis(100));
        again()
    }
}

/// Names in a page of a listing: a few pages for each.
const PAGE: usize = 20;

fn options() -> Options {
    Options { page: PAGE, ..Options::default() }
}

#[test]
fn an_offline_run_survives_every_fault_at_every_request() {
    let ground = Ground::new(&Options::default());
    let policy = ground.policy("trash.yaml", &[]);
    let arguments = ["-p", &policy, "--offline", "--json", "--concurrency", "1"];
    Disturbed::new(&ground, &arguments, options(), ground.origin.clone()).disturb(&ground, |_| true);
}

/// Where an entity tag is no MD5, what a tag points to is read and not concluded.
#[test]
fn what_is_gone_when_it_is_read_is_not_gone_where_tags_are_read() {
    let options = Options { etags: Etags::Opaque, ..options() };
    let ground = Ground::new(&options);
    let policy = ground.policy("trash.yaml", &[]);
    let arguments = ["-p", &policy, "--offline", "--json", "--concurrency", "1"];
    let disturbed = Disturbed::new(&ground, &arguments, options, ground.origin.clone());
    disturbed.disturb(&ground, |kind| kind.believed);
}

#[test]
fn the_second_cycle_beside_a_registry_survives_every_fault_at_every_request() {
    let ground = Ground::new(&options());
    let policy = ground.policy("online.yaml", &[("grace: 0", "grace: 1s")]);
    let arguments = ["-p", &policy, "--json", "--concurrency", "1", "--settle", "0s"];
    let trial = Trial::new(&ground, &options());
    trial.begin(&ground.origin);
    trial.run("run", &strings(&arguments)).expect(0);
    let grace = Duration::from_secs(1);
    std::thread::sleep(grace + Duration::from_millis(200));
    let disturbed = Disturbed::new(&ground, &arguments, options(), trial.server.snapshot());
    Disturbed { grace, thinned: 2, ..disturbed }.disturb(&ground, |_| true);
}
