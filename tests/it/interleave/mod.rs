//! Every order in which a push and a sweep can meet, in small worlds; and seeds for larger ones.
//!
//! The sweeper is the product's own code on a simulated bucket. Each of its requests for a key of the registry is a gate at
//! which pushers make some of theirs first. A schedule says how many at which gate, and before which request the sweeper
//! dies. What is assumed is what the product states: a push takes less than the grace, and a registry writes its links
//! within the settling time of its last look.

mod registry;
mod schedules;
mod store;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use regsweep::clock::Clock;
use regsweep::config::values::Period;
use regsweep::layout::Distribution;
use regsweep::pipeline::{self, Cycle, Cycled, Job, PipelineError};
use regsweep::plan::limits::Limits;
use regsweep::plan::{Mode, Plan, PurgeBan};
use regsweep::policy::Policy;
use regsweep::store::WriteStore;
use regsweep::sweep::Means;
use regsweep::sweep::cache::Caches;

use registry::{Acknowledged, Descriptors, Image, Registry, broken, data_key, revision_key};
use store::{Gates, Objects, Simulated};

/// Seconds.
const GRACE: u64 = 1000;
/// Longer than a lease holds.
const AFTER_A_DEATH: u64 = 200;

fn policy(trash: &str) -> Policy {
    let text = format!(
        "version: 1\ngrace: {GRACE}s\ntrash: {{ keep: {trash} }}\n\
         limits: {{ tags: 100%, bytes: 100%, repository_may_empty: true }}\n\
         classes: {{ kept: {{ match: [\"keep-*\"] }} }}\n\
         policies:\n  - name: all\n    repositories: [\"**\"]\n\
         \x20   tags: {{ kept: {{ keep: all }}, other: {{ keep: none }} }}\n    untagged: {{ keep: none }}\n"
    );
    Policy::parse(&text, "policy.yaml").unwrap()
}

/// Who acts when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// How many requests which pusher makes at a gate.
    pub turns: BTreeMap<usize, Vec<(usize, usize)>>,
    /// Before which of its requests the sweeper dies; counted over all cycles.
    pub death: Option<usize>,
}

/// What pushers do.
pub type Program = fn(Registry, Images) -> BoxFuture<'static, ()>;

/// The images of a world.
#[derive(Debug, Clone)]
pub struct Images {
    pub kept: Image,
    pub old: Image,
    pub untagged: Image,
    /// Shares layers with `old` and with an orphan.
    pub new: Image,
    /// Of `untagged` and another.
    pub index: Image,
    pub referrer: Image,
}

impl Images {
    fn new() -> Self {
        let old = Image::of(&["config-old", "base", "layer-old"]);
        let untagged = Image::of(&["config-untagged", "layer-untagged"]);
        let other = Image::of(&["config-other", "layer-old"]);
        Self {
            kept: Image::of(&["config-kept", "base"]),
            new: Image::of(&["config-new", "layer-old", "orphan"]),
            index: Image::index(vec![untagged.clone(), other]),
            referrer: Image::about(&["config-referrer", "orphan"], Some(&old)),
            old,
            untagged,
        }
    }

    fn all(&self) -> [&Image; 6] {
        [&self.kept, &self.old, &self.untagged, &self.new, &self.index, &self.referrer]
    }
}

struct Pusher {
    future: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for Pusher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("pusher")
    }
}

/// Everything that acts on one bucket.
#[derive(Debug)]
pub struct Simulation {
    objects: Arc<Mutex<Objects>>,
    told: Arc<Mutex<Acknowledged>>,
    pushers: Vec<Pusher>,
    started: Vec<AtomicBool>,
    registries: Vec<Registry>,
    schedule: Mutex<Schedule>,
    random: Option<schedules::Random>,
    gates: AtomicUsize,
    requests: AtomicUsize,
    turns: AtomicUsize,
    dead: AtomicBool,
    /// Seconds.
    settle: u64,
    /// What happened, when it is to be told.
    trace: Option<Mutex<Vec<String>>>,
}

impl Simulation {
    /// One request of a pusher; `false` when it has none left.
    fn turn(&self, pusher: usize) -> bool {
        let mut future = self.pushers[pusher].future.lock().unwrap();
        let Some(running) = future.as_mut() else { return false };
        self.started[pusher].store(true, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
        if Pin::new(running).poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            *future = None;
        }
        if let Some(trace) = &self.trace {
            trace.lock().unwrap().push(format!("pusher {pusher}"));
        }
        true
    }

    /// Whoever is between a look and a write of the registry writes.
    fn finish_requests(&self) {
        for (pusher, registry) in self.registries.iter().enumerate() {
            while *registry.busy.lock().unwrap() && self.turn(pusher) {}
        }
    }

    /// Whoever has begun to push comes to an end.
    fn finish_pushes(&self, also_new: bool) {
        for pusher in 0..self.pushers.len() {
            if also_new || self.started[pusher].load(Ordering::Relaxed) {
                while self.turn(pusher) {}
            }
        }
    }

    /// Whether the sweeper may still die.
    fn may_die(&self) -> bool {
        let requests = self.requests.load(Ordering::Relaxed);
        self.schedule.lock().unwrap().death.is_some_and(|death| death >= requests)
            || self.random.as_ref().is_some_and(schedules::Random::may_die)
    }

    fn advance(&self, seconds: u64) {
        self.objects.lock().unwrap().now += seconds;
    }

    fn gate(&self) {
        let gate = self.gates.fetch_add(1, Ordering::Relaxed);
        let turns = self.schedule.lock().unwrap().turns.remove(&gate);
        for (pusher, count) in turns.into_iter().flatten() {
            for _ in 0..count {
                self.turn(pusher);
            }
        }
        if let Some(random) = &self.random {
            while let Some(pusher) = random.turn(self.pushers.len()) {
                self.turn(pusher);
            }
        }
    }
}

impl Gates for Simulation {
    fn pass(&self, operation: &'static str, key: &str) -> bool {
        if self.dead.load(Ordering::Relaxed) {
            return false;
        }
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        if key.starts_with("docker/") {
            self.gate();
        }
        let dies = self.schedule.lock().unwrap().death == Some(request)
            || self.random.as_ref().is_some_and(schedules::Random::dies);
        if let Some(trace) = &self.trace {
            trace
                .lock()
                .unwrap()
                .push(format!("{} {operation} {key}", if dies { "DIES before" } else { "sweeper" }));
        }
        self.dead.store(dies, Ordering::Relaxed);
        !dies
    }
}

#[derive(Debug)]
struct SimulatedClock(Arc<Simulation>);

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let now = self.0.objects.lock().unwrap().now;
        Timestamp::from_second(i64::try_from(now).unwrap()).unwrap()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        // A dead process does not wait.
        if !self.0.dead.load(Ordering::Relaxed) {
            self.0.finish_requests();
            self.0.gate();
            self.0.finish_requests();
        }
        // Waiting for pushes to settle takes five steps, however long it is.
        self.0.advance(time.as_secs().max(self.0.settle.div_ceil(5)));
        Box::pin(std::future::ready(()))
    }
}

/// A world before anybody acts, and how it is swept.
#[derive(Debug, Clone)]
pub struct World {
    images: Images,
    objects: Objects,
    told: Acknowledged,
    cache: Option<Descriptors>,
    /// Cycles in which the pushers act.
    pub cycles: usize,
    /// Whether each cycle waits and looks again.
    pub verifies: bool,
    /// The longest time between a registry's last look and its link, in seconds.
    pub settle: u64,
    /// Whether trash is purged although a cache may answer for it.
    pub trusts_cache: bool,
    pub policy: Arc<Policy>,
    /// States from which all has gone well; nothing is remembered without it.
    pub seen: Option<Seen>,
}

/// States of a world in which nobody acts any more but the sweeper, from which it came to a good end.
///
/// From there on all is decided by the state, and many schedules lead to the same few: the rest of them need not be played
/// again. A state is its hash of 64 bits.
pub type Seen = Arc<Mutex<HashSet<u64>>>;

/// How a played schedule went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Played {
    pub gates: usize,
    pub requests: usize,
    /// Of pushers.
    pub turns: usize,
    pub mended: usize,
    pub deaths: usize,
}

impl World {
    /// One kept and one expired image in `app`, an untagged one, and an orphan; `cached`: the registry's cache knows all.
    pub fn new(cached: bool, verifies: bool) -> Self {
        let images = Images::new();
        let objects = Arc::new(Mutex::new(Objects { now: 1_800_000_000, ..Objects::default() }));
        let told: Arc<Mutex<Acknowledged>> = Arc::default();
        let cache = cached.then(Arc::default);
        let registry = Registry {
            objects: objects.clone(),
            told: told.clone(),
            cache: cache.clone(),
            busy: Arc::default(),
        };
        let orphan = Image::of(&["orphan"]);
        finish(registry.push("app", &images.kept, Some("keep-1"), None));
        finish(registry.push("app", &images.old, Some("old"), None));
        finish(registry.push("app", &images.untagged, None, None));
        finish(registry.push("app", &orphan, None, None));
        // Of the last only the layer is left.
        let mut all = objects.lock().unwrap().clone();
        all.keys.remove(&revision_key("app", &orphan.digest));
        all.keys.remove(&data_key(&orphan.digest));
        all.now += 10 * GRACE;
        let cache = cache.map(|cache: Arc<Mutex<BTreeSet<_>>>| cache.lock().unwrap().clone());
        let told = told.lock().unwrap().clone();
        Self {
            images,
            objects: all,
            told,
            cache,
            cycles: 2,
            verifies,
            settle: 5,
            trusts_cache: false,
            policy: Arc::new(policy("90d")),
            seen: None,
        }
    }

    /// The same with trash that is purged soon: what pushers may come back for goes for good meanwhile.
    pub fn forgetful(cached: bool) -> Self {
        Self { cycles: 4, policy: Arc::new(policy("1s")), ..Self::new(cached, true) }
    }

    /// The same beside a registry so slow that whoever follows a dead sweeper comes before its pushes have settled.
    pub fn slow(cached: bool) -> Self {
        Self { settle: AFTER_A_DEATH + 100, ..Self::forgetful(cached) }
    }

    /// The same, where no end is played twice.
    pub fn remembering(&self) -> Self {
        Self { seen: Some(Seen::default()), ..self.clone() }
    }

    /// The state before a cycle, if all that follows is decided by it and it is to be remembered.
    fn at_rest(&self, simulation: &Simulation, cycle: usize) -> Option<u64> {
        let nobody_pushes = simulation.pushers.iter().all(|pusher| pusher.future.lock().unwrap().is_none());
        if self.seen.is_none() || simulation.trace.is_some() || !nobody_pushes || simulation.may_die() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        cycle.hash(&mut hasher);
        let objects = simulation.objects.lock().unwrap();
        (&objects.keys, objects.now).hash(&mut hasher);
        let told = simulation.told.lock().unwrap();
        for (tag, (image, at)) in &told.tags {
            (tag, &image.digest, at).hash(&mut hasher);
        }
        told.pending.hash(&mut hasher);
        for registry in &simulation.registries {
            registry.cache.as_ref().map(|cache| cache.lock().unwrap().clone()).hash(&mut hasher);
        }
        Some(hasher.finish())
    }

    /// Whether it went well from this state before; else it is noted as one that is about to be tried.
    fn went_well(&self, state: Option<u64>, tried: &mut Vec<u64>) -> bool {
        let (Some(state), Some(seen)) = (state, &self.seen) else { return false };
        tried.push(state);
        seen.lock().unwrap().contains(&state)
    }

    fn limits(&self) -> Limits {
        let settle = jiff::SignedDuration::from_secs(i64::try_from(self.settle).unwrap());
        Limits { settle: Period::from_signed(settle), ..Limits::of(&self.policy) }
    }

    /// Plays one schedule to its end.
    ///
    /// # Errors
    /// What was lost or left, with all that happened where `tell` asks for it.
    pub fn play(
        &self,
        programs: &[Program],
        schedule: Schedule,
        random: Option<schedules::Random>,
        tell: bool,
    ) -> Result<Played, String> {
        let simulation = self.simulation(programs, schedule, random, tell);
        let mut played = Played::default();
        let mut tried = Vec::new();
        let result = self.act(&simulation, &mut played, &mut tried);
        if let (Ok(()), Some(seen)) = (&result, &self.seen) {
            seen.lock().unwrap().extend(tried);
        }
        result.map(|()| played).map_err(|why| match &simulation.trace {
            Some(trace) => format!("{why}\n{}", trace.lock().unwrap().join("\n")),
            None => why,
        })
    }

    fn simulation(
        &self,
        programs: &[Program],
        schedule: Schedule,
        random: Option<schedules::Random>,
        tell: bool,
    ) -> Arc<Simulation> {
        let objects = Arc::new(Mutex::new(self.objects.clone()));
        let told = Arc::new(Mutex::new(self.told.clone()));
        let cache = self.cache.clone().map(|cache| Arc::new(Mutex::new(cache)));
        let registries: Vec<Registry> = programs
            .iter()
            .map(|_| Registry {
                objects: objects.clone(),
                told: told.clone(),
                cache: cache.clone(),
                busy: Arc::default(),
            })
            .collect();
        let pushers = programs
            .iter()
            .zip(&registries)
            .map(|(program, registry)| Pusher {
                future: Mutex::new(Some(program(registry.clone(), self.images.clone()))),
            })
            .collect();
        Arc::new(Simulation {
            objects,
            told,
            pushers,
            started: programs.iter().map(|_| AtomicBool::new(false)).collect(),
            registries,
            schedule: Mutex::new(schedule),
            random,
            gates: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
            settle: self.settle,
            trace: tell.then(Mutex::default),
        })
    }

    /// What the sweeper asks for when nobody disturbs it.
    pub fn told(&self, schedule: &Schedule) -> Vec<String> {
        let simulation = self.simulation(&[], schedule.clone(), None, true);
        let mut played = Played::default();
        self.allowed(&simulation, &mut played).unwrap();
        let trace = simulation.trace.as_ref().unwrap().lock().unwrap();
        trace.clone()
    }

    fn act(
        &self,
        simulation: &Arc<Simulation>,
        played: &mut Played,
        tried: &mut Vec<u64>,
    ) -> Result<(), String> {
        let told = &simulation.told;
        for cycle in 0..self.cycles {
            loop {
                if self.went_well(self.at_rest(simulation, cycle), tried) {
                    return Ok(());
                }
                let Err(error) = self.allowed(simulation, played) else { break };
                if !simulation.dead.swap(false, Ordering::Relaxed) {
                    return Err(format!("a cycle failed: {error}"));
                }
                played.deaths += 1;
                if AFTER_A_DEATH >= self.settle {
                    simulation.finish_requests();
                }
                simulation.advance(AFTER_A_DEATH);
            }
            // While a cache is stale a push may be acknowledged at any time of which nothing is there: the next cycle sees it.
            let sure = self.verifies && self.cache.is_none();
            if sure {
                check(simulation, &told.lock().unwrap(), "after a cycle")?;
            }
            simulation.finish_pushes(false);
            if sure {
                check(simulation, &told.lock().unwrap(), "when a push had come to its end after a cycle")?;
            }
            simulation.advance(GRACE + 1);
        }
        played.gates = simulation.gates.load(Ordering::Relaxed);
        played.requests = simulation.requests.load(Ordering::Relaxed);
        simulation.finish_pushes(true);
        played.turns = simulation.turns.load(Ordering::Relaxed);
        // Nobody dies any more, and nobody pushes: it comes to an end.
        simulation.schedule.lock().unwrap().death = None;
        if let Some(random) = &simulation.random {
            random.stop();
        }
        if self.went_well(self.at_rest(simulation, self.cycles), tried) {
            return Ok(());
        }
        for round in 0.. {
            let (steps, plan) = self.allowed(simulation, played)?;
            check(simulation, &told.lock().unwrap(), "at the end")?;
            if steps == 0 && plan.condemned.is_empty() {
                break;
            }
            if round > 6 {
                return Err(format!("it does not come to an end: {plan:#?}"));
            }
            simulation.advance(GRACE + 1);
        }
        self.check_garbage(&simulation.objects.lock().unwrap())
    }

    /// A cycle that is not refused.
    fn allowed(&self, simulation: &Arc<Simulation>, played: &mut Played) -> Result<(usize, Plan), String> {
        let cycled = self.cycle(simulation, played).map_err(|error| format!("{error:?}"))?;
        let steps = cycled.steps;
        cycled.plan.map(|plan| (steps, plan)).map_err(|refused| format!("refused: {:?}", refused.refusals))
    }

    fn cycle(&self, simulation: &Arc<Simulation>, played: &mut Played) -> Result<Cycled, PipelineError> {
        let client = Simulated { objects: simulation.objects.clone(), gates: simulation.clone(), page: 4 };
        let clock = SimulatedClock(simulation.clone());
        let caches = Caches::default();
        let job = Job {
            policy: Some(&self.policy),
            limits: self.limits(),
            mode: Mode::Online,
            manifest_cache: None,
            purge_ban: (self.cache.is_some() && !self.trusts_cache)
                .then(|| PurgeBan { manifests_only: false, why: "a cache may answer for it".to_owned() }),
            database: regsweep::evidence::Database::default(),
            records: regsweep::plan::RecordMode::default(),
            halted: None,
        };
        // Two runs of one moment would share a name.
        simulation.advance(1);
        tokio::runtime::Handle::current().block_on(async {
            let store = WriteStore::over(Arc::new(client), "simulated", 1)?;
            let means = Means { store: &store, layout: &Distribution, caches: &caches, clock: &clock };
            let session = pipeline::begin(&means, &job.limits).await?;
            let cycle = Cycle { means, job: &job, waits: self.verifies, stop: &|| false };
            let cycled = cycle.run(&session, None, &mut |_, _, _| {}).await;
            session.lease.release().await?;
            let cycled = cycled?;
            played.mended += cycled.mended.len();
            Ok(cycled)
        })
    }

    /// Of manifests, links and data nothing is left that no tag needs.
    fn check_garbage(&self, objects: &Objects) -> Result<(), String> {
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for key in objects.below("docker/").filter(|key| key.ends_with("/current/link")) {
            let digest = std::str::from_utf8(&objects.keys[key].body).unwrap();
            let image = self.images.all().into_iter().find(|image| image.digest == digest);
            let image = image.ok_or_else(|| format!("{key} points to something unknown"))?;
            for part in image.children.iter().chain([image]) {
                needed.insert(data_key(&part.digest));
                needed.extend(part.blobs.iter().map(|(digest, _)| data_key(digest)));
            }
        }
        match objects.below("docker/registry/v2/blobs/").find(|key| !needed.contains(*key)) {
            Some(key) => Err(format!("LEFT: nothing needs {key}")),
            None => Ok(()),
        }
    }
}

/// What somebody was told is there is there, unless the policy may have taken it since.
fn check(simulation: &Simulation, told: &Acknowledged, when: &str) -> Result<(), String> {
    let objects = simulation.objects.lock().unwrap();
    for ((repository, tag), (image, at)) in &told.tags {
        let current = objects.get(&registry::current_key(repository, tag));
        let kept = tag.starts_with("keep-") || objects.now - at < GRACE;
        match current {
            Some(body) if *body == image.digest.as_bytes() => {
                if let Some(key) = broken(&objects, repository, image) {
                    return Err(format!("LOST {when}: {repository}:{tag} needs {key}"));
                }
            }
            None if !kept => {}
            // Given back in the moment before the push writes it itself.
            Some(body)
                if told.pending.iter().any(|(name, pending, digest)| {
                    (name, pending) == (repository, tag) && *body == digest.as_bytes()
                }) => {}
            other => return Err(format!("LOST {when}: the tag {repository}:{tag} says {other:?}")),
        }
    }
    Ok(())
}

fn finish(push: impl Future<Output = ()>) {
    let mut push = std::pin::pin!(push);
    while push.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
}

/// Runs on one thread all that the product would run on many: an order is an order.
pub fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    threads.install(|| {
        let _inside = runtime.enter();
        work()
    })
}
