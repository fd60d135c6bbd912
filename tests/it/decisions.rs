//! The same store and the same policy give the same plan, however many threads look.

use regsweep::inventory::Depth;
use regsweep::layout::Distribution;
use regsweep::pipeline;
use regsweep::plan::Mode;
use regsweep::store::{Access, ReadStore};
use regsweep::synth::Recipe;

use crate::support::{days_later, job, location, policy, present, wait};

const POLICY: &str = "version: 1
grace: 1h
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
classes:
  release: { match: ['v*'], order_by: semver }
  built: { match: ['re:build-([0-9]+)'], order_by: captures }
policies:
  - name: created
    repositories: ['**/*1', '**/*3']
    clock: created
    tags: { release: { keep: { last: { minors: 2 } } }, other: { keep: { last: 3, weekly: 2 } } }
    untagged: { keep: { last: 1 } }
  - name: pushed
    repositories: ['**/*2', '**/*4']
    clock: pushed
    tags: { release: { keep: { daily: 2, monthly: 1 } }, other: { keep: { yearly: 1, all: { last: 4, within: 20d } } } }
    untagged: { keep: { weekly: 1 } }
  - name: rest
    repositories: ['**']
    tags: { release: { keep: { last: 4 } }, built: { keep: { last: 2 } }, other: { keep: { within: 10d } } }
    untagged: { keep: { last: 2 } }
    limits: { max_delete: 3 }
";

#[test]
fn plans_are_the_same_across_runs_and_numbers_of_threads() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let recipe = Recipe {
        seed: 11,
        repositories: 12,
        tags: 15,
        history: 2,
        multiarch: 0.3,
        referrers: 0.2,
        ..Recipe::default()
    };
    recipe.generate(&root, present()).unwrap();
    let policy = policy(POLICY);
    let job = job(Some(&policy), Mode::Online);
    let clock = days_later(30);
    let plan = |threads: usize| {
        let access = Access { concurrency: Some(threads), ..Access::DEFAULT };
        let store = ReadStore::open(&location(&root), &access).unwrap();
        let mark = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let survey = wait(pipeline::survey(&store, &Distribution, &job, Depth::Names, &clock)).unwrap();
        let rules = regsweep::graph::Rules {
            policy: job.policy,
            grace: job.limits.grace.as_signed(),
            pins: &[],
            references: &survey.references,
            pulls: &survey.pulls,
            now: survey.now,
        };
        let marks = mark.install(|| regsweep::graph::mark(&survey.inventory, &rules));
        let decisions: Vec<String> = marks
            .repositories
            .iter()
            .flat_map(|repository| repository.tags.iter().map(ToString::to_string))
            .collect();
        (survey.plan(&store, &Distribution, &job).steps, decisions)
    };
    let first = plan(1);
    assert!(
        first.0.len() > 20 && first.1.len() > 100,
        "{} steps, {} decisions",
        first.0.len(),
        first.1.len()
    );
    for threads in [1, 2, 3, 16] {
        let again = plan(threads);
        assert_eq!(again.1, first.1, "{threads} threads");
        assert!(again.0 == first.0, "{threads} threads: other steps");
    }
}
