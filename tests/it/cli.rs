//! The command line: what it says, and how it ends.
//!
//! `testdata/cli/*.md` are transcripts that are also documentation. Each runs in a directory of its own, beside a small
//! registry and the policies of `testdata/cli`. `TRYCMD=overwrite` writes what is said now into them; put `[..]` again
//! where times stand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use clap::Parser as _;
use regsweep::clock::{Clock as _, System};
use regsweep::policy::Policy;
use regsweep::synth::{Builder, ImageSpec, Link, SplitMix64};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_regsweep");

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cli")
}

/// Files of `testdata/cli` whose names end in `extension`.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(testdata())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no .{extension} in testdata/cli");
    found
}

/// A registry of two repositories, the same every time but for its times.
fn registry(root: &Path) -> Builder {
    let mut builder = Builder::new(root, System.now().into()).unwrap();
    let mut random = SplitMix64::new(7);
    let mut push = |builder: &mut Builder, repository: &str, name: &str, days: u64| {
        // An hour on top, so that no age is on the edge of a day.
        builder.at(Duration::from_secs((days * 24 + 1) * 3600));
        let layer = builder.blob(&random.bytes(1500)).unwrap();
        let mut spec = ImageSpec::new(format!("{repository} {name}"), vec![layer]);
        spec.created = Some(std::time::SystemTime::UNIX_EPOCH);
        let digest = builder.image(repository, &spec).unwrap();
        builder.tag(repository, name, &digest).unwrap();
        digest
    };
    for (tag, days) in
        [("v1.0.0", 90), ("v1.1.0", 60), ("v2.0.0", 10), ("pr-7", 40), ("main", 30), ("main", 5)]
    {
        let digest = push(&mut builder, "library/app", tag, days);
        if tag == "v1.0.0" {
            builder.cosign("library/app", &digest, "sig").unwrap();
        }
    }
    // An image that names a layer which is not there.
    let lost = builder.dangling_layer_link("library/old", "1").unwrap();
    let mut broken = ImageSpec::new("library/old 1", vec![lost]);
    broken.created = Some(std::time::SystemTime::UNIX_EPOCH);
    let broken = builder.image("library/old", &broken).unwrap();
    builder.tag("library/old", "1", &broken).unwrap();
    let digest = push(&mut builder, "library/old", "2", 600);
    builder.empty_link(Link::Revision { repository: "library/old", digest: &digest }).unwrap();
    builder.blob(&[7; 3000]).unwrap();
    builder
}

/// A directory to run in: a registry, the store of a pull-through cache, an empty directory, and the policies.
fn scene(directory: &Path) {
    registry(&directory.join("registry"));
    registry(&directory.join("mirror")).foreign_file("scheduler-state.json", b"{}").unwrap();
    std::fs::create_dir(directory.join("empty")).unwrap();
    let log = testdata().with_file_name("pulls").join("access-2.8.2.log");
    std::fs::copy(log, directory.join("access.log")).unwrap();
    for policy in files("yaml") {
        std::fs::copy(&policy, directory.join(policy.file_name().unwrap())).unwrap();
    }
}

/// Runs the program of this build, with nothing of the caller's environment that configures it.
fn regsweep(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os() {
        if ["REGSWEEP_", "REGISTRY_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn document(directory: &Path, arguments: &[&str], status: i32) -> Value {
    let output = regsweep(directory, arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(status), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[track_caller]
fn assert_says(output: &Output, status: i32, phrases: &[&str]) {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{said}");
    for phrase in phrases {
        assert!(said.contains(phrase), "no {phrase:?} in:\n{said}");
    }
}

#[test]
fn transcripts() {
    let scenes = tempfile::tempdir().unwrap();
    for transcript in files("md") {
        let copy = scenes.path().join(transcript.file_name().unwrap());
        std::fs::copy(&transcript, &copy).unwrap();
        // trycmd runs a transcript in the directory of its name.
        let directory = copy.with_extension("in");
        std::fs::create_dir(&directory).unwrap();
        scene(&directory);
    }
    let cases = trycmd::TestCases::new();
    cases
        .register_bin("regsweep", Path::new(PROGRAM))
        .env("REGSWEEP_LOG", "warn")
        .insert_var("[REGSWEEP]", PROGRAM)
        .unwrap()
        .case(scenes.path().join("*.md"));
    let outcome = std::panic::catch_unwind(|| cases.run());
    if std::env::var("TRYCMD").is_ok_and(|mode| mode == "overwrite") {
        for transcript in files("md") {
            std::fs::copy(scenes.path().join(transcript.file_name().unwrap()), &transcript).unwrap();
        }
    }
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure);
    }
}

fn keys(document: &Value) -> Vec<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn documents_have_a_schema_and_these_fields() {
    let directory = tempfile::tempdir().unwrap();
    scene(directory.path());
    let here = directory.path();
    let audit = document(here, &["audit", "registry", "-p", "policy.yaml", "--json"], 0);
    assert_eq!(audit["schema"], "regsweep/audit/1");
    assert_eq!(
        keys(&audit),
        [
            "blobs",
            "classes",
            "foreign_examples",
            "layout",
            "listed_at",
            "problems",
            "requests",
            "saw",
            "schema",
            "store",
            "total",
        ]
    );
    let sum: u64 =
        audit["classes"].as_object().unwrap().values().map(|class| class["bytes"].as_u64().unwrap()).sum();
    assert_eq!(audit["total"]["bytes"], sum);
    assert_eq!(
        keys(&audit["problems"]),
        ["broken_images", "corrupt_links", "dangling_tags", "gaps", "opaque_manifests", "stray_trash",]
    );

    let plan = document(here, &["plan", "registry", "-p", "policy.yaml", "--offline", "--json"], 0);
    assert_eq!(plan["schema"], "regsweep/plan-report/1");
    assert_eq!(keys(&plan), ["plan", "problems", "refusals", "requests", "schema"]);
    assert_eq!(plan["plan"]["schema"], "regsweep/plan/1");
    assert_eq!(keys(&plan["plan"]), ["condemned", "freed", "header", "schema", "steps"]);

    let status = document(here, &["status", "registry", "--json"], 0);
    assert_eq!(status["schema"], "regsweep/status/1");
    assert_eq!(status["lease"], Value::Null);

    let run = document(here, &["run", "registry", "-p", "policy.yaml", "--offline", "--json"], 0);
    assert_eq!(run["schema"], "regsweep/run-report/1");
    assert_eq!(run["planned_steps"], plan["plan"]["steps"].as_array().unwrap().len());
    assert_eq!(run["freed"], plan["plan"]["freed"]);
    assert_eq!(run["executed"]["failed"], Value::Array(Vec::new()));

    let undoable = document(here, &["restore", "registry", "--json"], 0);
    assert_eq!(undoable["schema"], "regsweep/undoable/1");
    let name = undoable["runs"][0]["run"].as_str().unwrap();
    assert_eq!(run["run"], name);
    let restored = document(here, &["restore", "registry", name, "--json"], 0);
    assert_eq!(restored["schema"], "regsweep/restore-report/1");
    assert_eq!(restored["lost"], Value::Array(Vec::new()));
    assert!(restored["data"].as_u64().unwrap() > 0, "{restored}");
}

#[test]
fn a_refusal_is_in_the_document_as_well() {
    let directory = tempfile::tempdir().unwrap();
    scene(directory.path());
    let arguments = ["plan", "registry", "-p", "policy.yaml", "--offline", "--json", "--accept", "bytes=1%"];
    let plan = document(directory.path(), &arguments, 3);
    assert!(plan["refusals"][0].as_str().unwrap().contains("--accept bytes="), "{plan}");
    let arguments = ["run", "registry", "-p", "policy.yaml", "--offline", "--json", "--accept", "bytes=1%"];
    let run = document(directory.path(), &arguments, 3);
    assert_eq!(run["refusals"], plan["refusals"]);
    assert_eq!(run["executed"], Value::Null);
}

#[test]
fn a_plan_that_was_edited_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    scene(directory.path());
    let here = directory.path();
    let arguments = ["plan", "registry", "-p", "policy.yaml", "--offline", "--out", "plan.json"];
    assert_says(&regsweep(here, &arguments), 0, &["to carry it out"]);
    let whole: Value = serde_json::from_slice(&std::fs::read(here.join("plan.json")).unwrap()).unwrap();
    let refused = |edit: &dyn Fn(&mut Value), phrase: &str| {
        let mut plan = whole.clone();
        edit(&mut plan);
        std::fs::write(here.join("edited.json"), plan.to_string()).unwrap();
        let output = regsweep(here, &["run", "registry", "--plan", "edited.json", "--offline"]);
        assert_says(&output, 3, &["refused, and nothing was done", phrase]);
    };
    refused(
        &|plan| plan["header"]["listed_at"] = "2020-01-01T00:00:00Z".into(),
        "one of more than 1d is not carried out: make it again",
    );
    refused(
        &|plan| plan["header"]["policy_hash"] = "0".repeat(64).into(),
        "the plan was made by another version of the policy: make it again, or leave out the policy",
    );
    // A tag that the policy keeps: it goes, says the edited plan, for the reason that another one goes.
    let other = |plan: &mut Value| {
        let steps = plan["steps"].as_array_mut().unwrap();
        let step = steps.iter_mut().find(|step| step["tag"] == "pr-7").unwrap();
        step["tag"] = "v2.0.0".into();
    };
    refused(&other, "would lose something");
    let output = regsweep(here, &["run", "registry", "--plan", "plan.json", "--offline"]);
    assert_says(&output, 0, &["undo"]);
}

#[test]
fn a_store_that_has_lost_its_repositories_is_not_swept() {
    let directory = tempfile::tempdir().unwrap();
    scene(directory.path());
    let here = directory.path();
    let arguments = ["run", "registry", "-p", "policy.yaml", "--offline"];
    assert_says(&regsweep(here, &arguments), 0, &["undo"]);
    let repositories = here.join("registry/docker/registry/v2/repositories");
    #[expect(clippy::disallowed_methods, reason = "takes away what a later run has to miss")]
    std::fs::rename(&repositories, here.join("elsewhere")).unwrap();
    let output = regsweep(here, &arguments);
    assert_says(
        &output,
        3,
        &[
            "0 repositories are there, and the last run left 2",
            ": a listing that stops short looks like that. If they were deleted, run again with --accept shrink=100%",
        ],
    );
}

#[test]
fn the_policies_and_commands_of_the_readme_are_right() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (mut policies, mut commands) = (0, 0);
    for (index, block) in readme.split("```").enumerate().filter(|(index, _)| index % 2 == 1) {
        if let Some(policy) = block.strip_prefix("yaml\n") {
            let policy =
                Policy::parse(policy, "README.md").unwrap_or_else(|error| panic!("block {index}: {error}"));
            assert_eq!(policy.warnings(), Vec::<String>::new());
            policies += 1;
        }
        for line in block.lines() {
            let line = line.split(" #").next().unwrap_or_default().trim();
            let typed =
                line.strip_prefix("cargo run --release -- ").or_else(|| line.strip_prefix("regsweep "));
            if let Some(typed) = typed {
                let words = std::iter::once("regsweep").chain(typed.split_whitespace());
                regsweep::cli::Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
                commands += 1;
            }
        }
    }
    assert!(policies > 0 && commands > 0);
}
