//! The schema of the policy language, by a validator that knows nothing of regsweep.

use std::path::Path;

use boon::{Compiler, Schemas};
use regsweep::policy::{Policy, presets, schema};
use serde_json::Value;

/// What the schema says of a document.
fn validate(text: &str) -> Result<(), String> {
    let document: Value = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.add_resource(schema::ID, schema::schema()).unwrap();
    let index = compiler.compile(schema::ID, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    schemas.validate(&document, index).map_err(|error| error.to_string())
}

/// The YAML documents of a directory of the package.
fn documents(directory: &str) -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut found: Vec<(String, String)> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    assert!(found.len() > 2, "{}", directory.display());
    found
}

#[test]
fn every_policy_that_is_read_is_valid_by_the_schema() {
    let presets =
        presets::names().iter().map(|name| ((*name).to_owned(), presets::text(name).unwrap().to_owned()));
    let files = documents("testdata/policies").into_iter().chain(documents("testdata/cli"));
    let mut read = 0;
    for (name, text) in presets.chain(files).filter(|(name, text)| Policy::parse(text, name).is_ok()) {
        validate(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        read += 1;
    }
    assert!(read > 8, "{read}");
}

#[test]
fn what_is_wrong_is_wrong_by_the_schema_too() {
    let policy = |rest: &str| format!("version: 1\npolicies: [{{ name: a, repositories: '**', {rest} }}]\n");
    for text in [
        "{}".to_owned(),
        "version: 2".to_owned(),
        "version: '1'".to_owned(),
        "version: 1\npolicys: []".to_owned(),
        "version: 1\ngrace: 1m".to_owned(),
        "version: 1\ngrace: 24".to_owned(),
        "version: 1\ngrace: -1h".to_owned(),
        "version: 1\nlimits: { tags: 25 }".to_owned(),
        "version: 1\nlimits: { repository_may_empty: 'no' }".to_owned(),
        "version: 1\nrepositories: { empty: delete }".to_owned(),
        "version: 1\nclasses: { a: { order_by: semver } }".to_owned(),
        "version: 1\nclasses: { a: { match: [] } }".to_owned(),
        "version: 1\nclasses: { a: { match: 'a*', order_by: version } }".to_owned(),
        "version: 1\nclasses: { a: { match: 'a*', order_by: [] } }".to_owned(),
        "version: 1\nclasses: { a: { match: 'a*', order_by: [0] } }".to_owned(),
        "version: 1\npolicies: [{ name: a }]".to_owned(),
        "version: 1\npolicies: [{ repositories: '**' }]".to_owned(),
        policy("preset: rubyn"),
        policy("clock: built"),
        policy("tags: { other: {} }"),
        policy("tags: { other: { keep: null } }"),
        policy("tags: { other: { keep: some } }"),
        policy("tags: { other: { keep: {} } }"),
        policy("tags: { other: { keep: { last: 0 } } }"),
        policy("tags: { other: { keep: { last: -1 } } }"),
        policy("tags: { other: { keep: { last: {} } } }"),
        policy("tags: { other: { keep: { hourly: 3 } } }"),
        policy("tags: { other: { keep: { all: { all: { last: 1 } } } } }"),
        policy("limits: { min_keep: 1.5 }"),
        policy("protect: { repositories: ['a'] }"),
        policy("protect: { in_use: [{ file: 'a' }] }"),
        "version: 1\nprotect: { digests_from: pins.txt }".to_owned(),
        "version: 1\nprotect: { digests_from: [''] }".to_owned(),
        "version: 1\nprotect: { digests_from: [{ max_age: 2h }] }".to_owned(),
        "version: 1\nprotect: { digests_from: [{ command: 'pins' }] }".to_owned(),
        "version: 1\nprotect: { digests_from: [{ file: 'a', may_be_empty: 1 }] }".to_owned(),
        "version: 1\nprotect: { in_use: ['running.txt'] }".to_owned(),
        "version: 1\nprotect: { in_use: [{}] }".to_owned(),
        "version: 1\nprotect: { in_use: [{ file: a, command: b, max_age: 2h }] }".to_owned(),
        "version: 1\nprotect: { in_use: [{ file: a, max_age: 2h, timeout: 5s }] }".to_owned(),
        "version: 1\nprotect: { in_use: [{ command: b, max_age: 2h }] }".to_owned(),
        "version: 1\npulls: { max_gap: soon }".to_owned(),
        "version: 1\npulls: { ignore: { agents: 'a' } }".to_owned(),
        "version: 1\npulls: { ignore: { users: [1] } }".to_owned(),
    ] {
        assert!(validate(&text).is_err(), "the schema takes {text}");
        assert!(Policy::parse(&text, "policy.yaml").is_err(), "the reader takes {text}");
    }
}

#[test]
fn what_is_odd_but_right_is_right_by_the_schema_too() {
    for text in [
        "version: 1\ngrace: null\nprotect:\n",
        "version: 1\ngrace: 0\ntrash: { keep: 0 }\n",
        "version: 1\nprotect: { tags: [], repositories: golden }\nclasses: { a: { match: a, order_by: null } }\n",
        "version: 1\nclasses: { a: { match: 're:a([0-9]+)', order_by: [1] }, b: { match: 're:(b)', order_by: captures } }\n",
        "version: 1\npolicies: [{ name: a, repositories: '**', tags: { other: { keep: { last: 3, within: null } } } }]\n",
        "version: 1\nprotect: { digests_from: [pins.txt, { file: more.txt, max_age: 1d, may_be_empty: true }] }\n",
        "version: 1\nprotect: { in_use: [{ file: a, max_age: 2h }, { command: 'kubectl get pods', timeout: 30s }] }\n",
        "version: 1\nprotect: { digests_from: [], in_use: [] }\npulls: { max_gap: null, ignore: }\n",
        "version: 1\npulls: { max_gap: 2d, ignore: { user_agents: 'trivy/*', users: [], addresses: [10.0.0.0/8] } }\n",
        "version: 1\npolicies: [{ name: a, repositories: '**', clock: pulled, protect: { in_use: [{ command: a }] } }]\n",
    ] {
        Policy::parse(text, "policy.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"));
        validate(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}
