//! A soak: a real registry, clients that push, pull, retag and delete without a pause, and `regsweep run` again and again
//! with the shortest times that are lawful. Whatever was acknowledged and is kept pulls byte for byte at the end, and the
//! garbage is gone.
//!
//! `REGSWEEP_SOAK_SECONDS` says how long the clients go on (60), `REGSWEEP_SOAK_SEED` repeats what they choose, and
//! `REGSWEEP_SOAK_KEEP` names a directory for the store and the diary of a soak that failed.

mod check;
mod content;
mod model;
mod pusher;
mod redis;
mod scene;
mod sweeper;
mod transfer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use regsweep::clock::{Clock as _, System};
use regsweep::synth::SplitMix64;

use crate::registry::on_both_versions;
use crate::registry::server::{Registry, Version};
use content::Pool;
use model::Model;
use pusher::{Pusher, since};
use scene::Scene;
use sweeper::Sweeper;

/// The policy's `grace`: no push takes longer.
const GRACE: Duration = Duration::from_secs(3);

/// `--settle`: no registry takes longer from its look at what a request needs to its last link.
const SETTLE: Duration = Duration::from_secs(1);

/// `trash.keep` where the trash outlives the clients.
const TRASH_LONG: &str = "1h";

/// `trash.keep` where it does not.
const TRASH_SHORT: &str = "6s";

const CLIENTS: usize = 5;

/// Runs after the clients went home, at most.
const LAST_RUNS: usize = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    Directory,
    Bucket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cache {
    None,
    Memory,
    Redis,
}

/// What is soaked.
#[derive(Debug, Clone, Copy)]
struct Combination {
    version: Version,
    storage: Storage,
    cache: Cache,
}

/// One function a combination, for both versions of the registry.
macro_rules! combinations {
    ($($name:ident: $storage:ident, $cache:ident;)+) => {
        on_both_versions!($($name),+);

        $(fn $name(version: Version) {
            soak(Combination { version, storage: Storage::$storage, cache: Cache::$cache });
        })+
    };
}

combinations! {
    in_a_directory_without_a_cache: Directory, None;
    in_a_directory_with_a_cache_in_memory: Directory, Memory;
    in_a_directory_with_redis: Directory, Redis;
    in_a_bucket_without_a_cache: Bucket, None;
    in_a_bucket_with_a_cache_in_memory: Bucket, Memory;
    in_a_bucket_with_redis: Bucket, Redis;
}

/// A test that failed while it held the lock has said so already.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[expect(
    clippy::print_stderr,
    reason = "the seed repeats what failed, and the summary is what a soak is for"
)]
fn say(text: &str) {
    eprintln!("{text}");
}

fn soak(combination: Combination) {
    let seconds = number("REGSWEEP_SOAK_SECONDS").unwrap_or(60);
    let seed = number("REGSWEEP_SOAK_SEED")
        .unwrap_or_else(|| u64::try_from(System.now().as_microsecond()).expect("after 1970"));
    let name = format!("{:?}-{:?}-{:?}", combination.version, combination.storage, combination.cache);
    say(&format!("soak {name}: REGSWEEP_SOAK_SEED={seed} REGSWEEP_SOAK_SECONDS={seconds}"));

    let scene = Scene::new(combination);
    let registry = scene.start_registry();
    let (model, pool) = (Model::new(), Pool::new(seed));
    let mut sweeper = Sweeper::default();
    let client = |number: usize| Pusher {
        model: &model,
        pool: &pool,
        client: registry.client(),
        random: SplitMix64::new(seed.wrapping_add(number as u64)),
        number,
        began: System.now(),
        pushed: 0,
    };
    settle_first_tags(&mut client(0));

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| {
                let mut client = client(number);
                scope.spawn(move || {
                    while since(client.began) < Duration::from_secs(seconds) {
                        client.act();
                    }
                })
            })
            .collect();
        let sweeping = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                sweeper.run(&scene, &registry, &model);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let ended: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // A tag whose last writer was told nothing certain is written once more.
        resolve_doubts(&mut client(0));
        done.store(true, Ordering::Relaxed);
        sweeping.join().expect("the sweeper");
        for client in ended {
            client.expect("a client");
        }
    });
    let registry = finish(&scene, registry, &model, &mut sweeper);
    judge(&name, &scene, registry, &model, &pool, &sweeper);
}

/// A run that sees nothing kept at all refuses to go on, so that each repository has something for good.
fn settle_first_tags(client: &mut Pusher<'_>) {
    for repository in &client.model.repositories {
        for tag in repository.tags.iter().filter(|tag| tag.settled) {
            let image = client.pool.fresh(&format!("first of {}", repository.name), &mut client.random);
            client.push_settled(repository, tag, &image);
            assert!(locked(&tag.state).image().is_some(), "{}:{} was not taken", repository.name, tag.name);
        }
    }
}

fn resolve_doubts(client: &mut Pusher<'_>) {
    for repository in &client.model.repositories {
        for tag in &repository.tags {
            if !locked(&tag.state).is_certain() {
                client.model.count("tags in doubt");
                let image =
                    client.pool.fresh(&format!("{}:{}", repository.name, tag.name), &mut client.random);
                client.push_settled(repository, tag, &image);
            }
        }
    }
}

/// Runs until two in a row find nothing to do.
fn finish(scene: &Scene, registry: Registry, model: &Model, sweeper: &mut Sweeper) -> Registry {
    let mut idle = 0;
    for _ in 0..LAST_RUNS {
        thread::sleep(GRACE + SETTLE);
        idle = if sweeper.run(scene, &registry, model) == 0 { idle + 1 } else { 0 };
        if idle == 2 {
            return registry;
        }
    }
    model.fault(format!("after {LAST_RUNS} runs with nobody else there is still something to do"));
    registry
}

fn judge(name: &str, scene: &Scene, registry: Registry, model: &Model, pool: &Pool, sweeper: &Sweeper) {
    let mut wrong = model.faults();
    wrong.extend(check::everything(&registry.client(), model));
    registry.stop();
    let registry = scene.start_registry();
    let again = check::everything(&registry.client(), model);
    wrong.extend(again.into_iter().map(|what| format!("after a restart: {what}")));
    if scene.forget() {
        let cold = check::everything(&registry.client(), model);
        wrong.extend(cold.into_iter().map(|what| format!("with nothing in Redis: {what}")));
    }
    wrong.extend(check_garbage(scene, model, pool));
    if sweeper.count("untag") == 0 || sweeper.count("sweep") == 0 {
        wrong.push("nothing was swept: the soak shows nothing".to_owned());
    }
    say(&format!("soak {name}: {}\nsoak {name}: {}", model.summary(), sweeper.summary()));
    for trouble in model.troubles().iter().take(5) {
        say(&format!("soak {name}: {trouble}"));
    }
    if wrong.is_empty() {
        return;
    }
    if let Some(directory) = scene.keep(name) {
        std::fs::write(directory.join("diary"), model.diary(&[])).expect("the diary");
        std::fs::write(directory.join("log"), registry.log()).expect("the log");
        std::fs::write(directory.join("wrong"), wrong.join("\n")).expect("what is wrong");
        say(&format!("soak {name}: kept in {}", directory.display()));
    }
    panic!("{name}: {} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is in the registry's place and nothing needs.
fn check_garbage(scene: &Scene, model: &Model, pool: &Pool) -> Vec<String> {
    let mut wrong = Vec::new();
    let audit = scene.audit().expect(0).json();
    for class in ["expired", "unreferenced", "in_grace", "broken_image"] {
        let of = |part: &str| audit[part][class]["objects"].as_u64().expect("a number");
        let (objects, blobs) = (of("classes"), of("blobs"));
        if objects > 0 {
            wrong.push(format!("the audit finds {objects} objects, {blobs} of them blobs, in class {class}"));
        }
    }
    let needed = check::needed(model, pool);
    let present = scene.data();
    wrong.extend(present.difference(&needed).map(|digest| format!("the data of {digest} is garbage")));
    wrong
}
