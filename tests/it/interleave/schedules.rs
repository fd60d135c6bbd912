//! Which schedules are played.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use regsweep::synth::SplitMix64;

use super::{Played, Program, Schedule, World, alone};

const PROGRAMS: [(&str, Program); 8] = [
    ("pushes the expired image again", |registry, images| {
        Box::pin(async move { registry.push("app", &images.old, Some("old"), None).await })
    }),
    ("pushes a new image of old layers", |registry, images| {
        Box::pin(async move { registry.push("app", &images.new, Some("keep-new"), None).await })
    }),
    ("mounts old layers into another repository", |registry, images| {
        Box::pin(async move { registry.push("other", &images.new, Some("keep-new"), Some("app")).await })
    }),
    ("gives the expired image a tag that stays", |registry, images| {
        Box::pin(async move { registry.retag("app", &images.old, "keep-old").await })
    }),
    ("deletes by digest, and pushes again", |registry, images| {
        Box::pin(async move {
            registry.delete("app", &images.old).await;
            registry.push("app", &images.old, Some("keep-again"), None).await;
        })
    }),
    ("pushes an index of an untagged image", |registry, images| {
        Box::pin(async move { registry.push("app", &images.index, Some("keep-index"), None).await })
    }),
    ("moves the expired tag to a new image", |registry, images| {
        Box::pin(async move { registry.push("app", &images.new, Some("old"), None).await })
    }),
    ("pushes a referrer of the expired image", |registry, images| {
        Box::pin(async move { registry.push("app", &images.referrer, Some("keep-referrer"), None).await })
    }),
];

/// What a seed decides.
#[derive(Debug)]
pub struct Random {
    numbers: Mutex<SplitMix64>,
    stopped: AtomicBool,
    deaths: AtomicUsize,
}

impl Random {
    fn new(seed: u64, deaths: usize) -> Self {
        Self {
            numbers: Mutex::new(SplitMix64::new(seed)),
            stopped: AtomicBool::new(false),
            deaths: AtomicUsize::new(deaths),
        }
    }

    fn below(&self, bound: usize) -> usize {
        self.numbers.lock().unwrap().below(bound)
    }

    /// Whose turn it is before the sweeper goes on; nobody's most of the time.
    pub fn turn(&self, pushers: usize) -> Option<usize> {
        (!self.stopped.load(Ordering::Relaxed) && self.below(4) == 0).then(|| self.below(pushers))
    }

    pub fn may_die(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed) && self.deaths.load(Ordering::Relaxed) > 0
    }

    pub fn dies(&self) -> bool {
        if !self.may_die() || self.below(100) != 0 {
            return false;
        }
        self.deaths.fetch_sub(1, Ordering::Relaxed);
        true
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Plays, and when something was lost plays it once more and tells all.
fn play(world: &World, programs: &[Program], schedule: &Schedule, name: &str) -> Played {
    world.play(programs, schedule.clone(), None, false).unwrap_or_else(|_| {
        let told = world.play(programs, schedule.clone(), None, true).expect_err("it was not the same twice");
        panic!("{name}: {schedule:?}\n{told}");
    })
}

/// How many schedules of each kind are played: well spread over all of them, unless `REGSWEEP_SCHEDULES` says how many, or
/// `all`.
fn wanted(usually: usize) -> usize {
    match std::env::var("REGSWEEP_SCHEDULES").as_deref() {
        Ok("all") => usize::MAX,
        Ok(count) => count.parse().expect("REGSWEEP_SCHEDULES is a number or `all`"),
        Err(_) => usually,
    }
}

/// Numbers below `all`, spread well: all of them when as many are wanted.
fn spread(all: usize, wanted: usize) -> impl Fn(usize) -> Option<usize> {
    let count = all.min(wanted);
    move |index| {
        if index >= count {
            return None;
        }
        // Steps of the golden ratio of all there is never gather anywhere.
        let turned = (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let spread = (u128::from(turned) * all as u128) >> 64;
        Some(if count == all { index } else { usize::try_from(spread).expect("below all") })
    }
}

#[expect(clippy::print_stdout, reason = "how many were played is what is wanted of a campaign")]
fn tell(played: usize, what: &str) {
    println!("{played} {what} played");
}

/// Plays the schedules of many numbers on as many threads as there are processors.
fn on_all_processors(count: impl Fn(usize) -> Option<usize> + Sync, one: impl Fn(usize) + Sync) -> usize {
    let next = AtomicUsize::new(0);
    let played = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..threads {
            scope.spawn(|| {
                alone(|| {
                    while let Some(number) = count(next.fetch_add(1, Ordering::Relaxed)) {
                        one(number);
                        played.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
        }
    });
    played.into_inner()
}

/// A program in a world, and how many gates, requests and turns there are.
struct Small {
    name: String,
    world: World,
    program: Program,
    gates: usize,
    requests: usize,
    turns: usize,
    /// Each cycle looks again, and no cache is stale: what is told is there is there at once.
    at_once: bool,
}

fn worlds() -> [(&'static str, World); 8] {
    [
        ("no cache", World::new(false, true)),
        ("a stale cache", World::new(true, true)),
        ("no cache, the next cycle looks again", World::new(false, false)),
        ("a stale cache, the next cycle looks again", World::new(true, false)),
        ("no cache, trash is purged", World::forgetful(false)),
        ("a stale cache, trash would be purged", World::forgetful(true)),
        ("no cache, a slow registry", World::slow(false)),
        ("a stale cache, a slow registry", World::slow(true)),
    ]
}

fn small_worlds() -> Vec<Small> {
    alone(|| {
        let mut found = Vec::new();
        for (what, world) in worlds() {
            for (name, program) in PROGRAMS {
                let at_once = Schedule { turns: [(0, vec![(0, 1000)])].into(), death: None };
                let first = play(&world, &[program], &at_once, name);
                let last = play(&world, &[program], &Schedule::default(), name);
                found.push(Small {
                    name: format!("{name} ({what})"),
                    world: world.remembering(),
                    program,
                    gates: last.gates.max(first.gates) + 8,
                    requests: last.requests.max(first.requests) + 20,
                    turns: first.turns,
                    at_once: what == "no cache",
                });
            }
        }
        found
    })
}

/// Takes a number apart.
fn digits<const N: usize>(mut number: usize, bounds: [usize; N]) -> [usize; N] {
    bounds.map(|bound| {
        let digit = number % bound;
        number /= bound;
        digit
    })
}

/// A push makes some of its requests at one gate and the rest at a later one.
#[test]
fn every_push_that_pauses_once() {
    let mut played = 0;
    let worlds = small_worlds();
    for small in &worlds {
        let bounds = [small.turns, small.gates, small.gates];
        let all: usize = bounds.iter().product();
        played += on_all_processors(spread(all, wanted(10_000) / worlds.len()), |number| {
            let [before, first, later] = digits(number, bounds);
            let turns = if before == 0 || first == later {
                [(first, vec![(0, 1000)])].into()
            } else if first < later {
                [(first, vec![(0, before)]), (later, vec![(0, 1000)])].into()
            } else {
                // The other half of the square: three parts.
                let middle = first.midpoint(later);
                [(later, vec![(0, before)]), (middle, vec![(0, 1)]), (first, vec![(0, 1000)])].into()
            };
            play(&small.world, &[small.program], &Schedule { turns, death: None }, &small.name);
        });
    }
    tell(played, "schedules");
}

/// A push stops right before it writes its tag, writes it at any later gate, and the sweeper goes on.
#[test]
fn a_tag_is_written_at_every_moment() {
    let worlds = small_worlds();
    let moved: Vec<&Small> =
        worlds.iter().filter(|small| small.name.contains("tag") && small.at_once).collect();
    assert!(!moved.is_empty());
    for small in moved {
        let bounds = [small.gates, small.gates];
        on_all_processors(spread(bounds.iter().product(), usize::MAX), |number| {
            let [stops, later] = digits(number, bounds);
            if stops < later {
                let turns = [(stops, vec![(0, small.turns - 1)]), (later, vec![(0, 1000)])].into();
                play(&small.world, &[small.program], &Schedule { turns, death: None }, &small.name);
            }
        });
    }
}

/// The sweeper dies before any of its requests, and another takes over, while a push goes on.
#[test]
fn every_death_beside_a_push() {
    let mut played = 0;
    let worlds = small_worlds();
    for small in &worlds {
        let bounds = [small.turns, small.gates, small.requests];
        let all: usize = bounds.iter().product();
        played += on_all_processors(spread(all, wanted(8_000) / worlds.len()), |number| {
            let [before, gate, death] = digits(number, bounds);
            // Without a first part the push is made as a whole; else its rest comes when the cycle has ended.
            let count = if before == 0 { 1000 } else { before };
            let schedule = Schedule { turns: [(gate, vec![(0, count)])].into(), death: Some(death) };
            play(&small.world, &[small.program], &schedule, &small.name);
        });
    }
    tell(played, "schedules");
}

/// A push looks at data that then goes to the trash; the sweeper dies before it looks again, and another follows while the
/// push has not written its link yet.
#[test]
fn trash_of_a_dead_sweeper_was_purged_before_pushes_had_settled() {
    alone(|| {
        let world = World::slow(false);
        let (name, program) = PROGRAMS[0];
        for gate in (42..60).step_by(2) {
            for death in (180..240).step_by(5) {
                let schedule = Schedule { turns: [(gate, vec![(0, 16)])].into(), death: Some(death) };
                play(&world, &[program], &schedule, name);
            }
        }
    });
}

/// Several pushers, any order, up to three deaths.
#[test]
fn seeds() {
    let start: u64 = std::env::var("REGSWEEP_SEED").map_or(1, |seed| seed.parse().unwrap());
    let worlds = alone(worlds).map(|(name, world)| (name, world.remembering()));
    let wanted = wanted(7_000);
    let count = move |index: usize| (index < wanted).then_some(index);
    let played = on_all_processors(count, |number| {
        let seed = start + number as u64;
        let random = || Random::new(seed, usize::try_from(seed % 4).unwrap());
        let choice = random();
        let pushers = 2 + choice.below(2);
        let (_, world) = &worlds[choice.below(worlds.len())];
        let programs: Vec<Program> = (0..pushers).map(|_| PROGRAMS[choice.below(PROGRAMS.len())].1).collect();
        if world.play(&programs, Schedule::default(), Some(random()), false).is_err() {
            let told = world.play(&programs, Schedule::default(), Some(random()), true);
            panic!("REGSWEEP_SEED={seed}: {}", told.expect_err("it was not the same twice"));
        }
    });
    tell(played, "seeds");
}

/// Why nothing is purged beside a cache that nobody clears: it would be lost.
#[test]
fn a_purge_beside_a_stale_cache_loses_an_image() {
    alone(|| {
        let world = World { trusts_cache: true, ..World::forgetful(true) };
        let (_, program) = PROGRAMS[1];
        let late = |gate| Schedule { turns: [(gate, vec![(0, 1000)])].into(), death: None };
        let found = (0..400).any(|gate| {
            world.play(&[program], late(gate), None, false).is_err_and(|why| why.starts_with("LOST"))
        });
        assert!(found, "the refusal to purge beside a stale cache is idle");
    });
}

/// A blob that is uploaded while the roots are read is no candidate.
#[test]
fn candidates_are_listed_before_roots() {
    alone(|| {
        let world = World::new(false, true);
        let told = world.told(&Schedule::default());
        let first = |part: &str| told.iter().position(|line| line.starts_with(part)).unwrap();
        let (blobs, repositories) = (
            first("sweeper list docker/registry/v2/blobs/"),
            first("sweeper list docker/registry/v2/repositories/"),
        );
        assert!(blobs < repositories, "{told:#?}");
    });
}
