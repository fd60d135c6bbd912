//! What is in `deploy/`: every flag, variable and metric that it names is one that the program has, and every document is
//! one that those who read it accept. Nothing is deployed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::{CommandFactory as _, Parser as _};
use regsweep::cli::Cli;
use regsweep::config::registry::RegistryConfig;
use regsweep::policy::Policy;
use serde_json::Value;

mod chart;
mod manifests;
mod monitoring;
mod rights;

const PROGRAM: &str = env!("CARGO_BIN_EXE_regsweep");

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy().join(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}

/// Every text below `deploy/`, by its path there.
fn texts() -> Vec<(String, String)> {
    let (mut found, mut pending) = (Vec::new(), vec![deploy()]);
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(deploy()).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "{} files", found.len());
    found
}

/// The documents of a YAML text.
#[track_caller]
fn documents(origin: &str, text: &str) -> Vec<Value> {
    let read: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{origin}: {error}"));
    read.into_iter().filter(|document| !document.is_null()).collect()
}

/// A tool that `tests/install` installs into a directory of its own, or that the system has.
#[track_caller]
fn tool(name: &str) -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let own = set("REGSWEEP_TEST_SERVERS").or_else(|| Some(cache()?.join("regsweep-tests")));
    let own = own.map(|directory| directory.join("validators/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    own.into_iter()
        .chain(std::env::split_paths(&path))
        .find_map(|directory| Some(directory.join(name)).filter(|file| file.is_file()))
        .unwrap_or_else(|| panic!("there is no {name} here: tests/install installs it, or tests/run does"))
}

#[track_caller]
fn accepted(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{said}");
    said
}

/// The variables of a subcommand's arguments.
fn variables_of(subcommand: &str) -> BTreeSet<String> {
    let program = Cli::command();
    let command = program.find_subcommand(subcommand).unwrap_or_else(|| panic!("no {subcommand}"));
    command.get_arguments().filter_map(|one| Some(one.get_env()?.to_str().unwrap().to_owned())).collect()
}

/// Whether the program reads this variable without a flag for it: a secret.
fn is_secret(variable: &str) -> bool {
    ["REGSWEEP_TOKEN", "REGSWEEP_WEBHOOK_TOKEN"].contains(&variable)
}

/// Words of these letters that begin so.
fn words<'t>(text: &'t str, begin: &'t str, letters: fn(char) -> bool) -> impl Iterator<Item = &'t str> {
    text.match_indices(begin).map(move |(at, _)| {
        let rest = &text[at..];
        &rest[..rest.find(|letter| !letters(letter)).unwrap_or(rest.len())]
    })
}

#[test]
fn every_variable_is_one_that_the_program_reads() {
    let program = Cli::command();
    let known: BTreeSet<String> =
        program.get_subcommands().flat_map(|command| variables_of(command.get_name())).collect();
    let mut found = 0;
    for (path, text) in texts() {
        for word in words(&text, "REGSWEEP_", |letter| letter.is_ascii_uppercase() || letter == '_') {
            // The chart makes the rest of the name, and comments leave it out.
            if word == "REGSWEEP_" {
                continue;
            }
            assert!(known.contains(word) || is_secret(word), "deploy/{path}: nothing reads {word}");
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    let mut found = 0;
    for (path, text) in texts() {
        for line in text.lines().map(|line| line.trim_start_matches(['#', ' '])) {
            let typed = line
                .strip_prefix("regsweep ")
                .or_else(|| line.strip_prefix("ExecStart=/usr/local/bin/regsweep "));
            let Some(typed) = typed.filter(|typed| {
                let first = typed.split(' ').next().unwrap_or_default();
                Cli::command().find_subcommand(first).is_some()
            }) else {
                continue;
            };
            let words = std::iter::once("regsweep").chain(typed.split_whitespace());
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("deploy/{path}: {line}: {error}"));
            found += 1;
        }
    }
    assert!(found >= 4, "{found}");
}

/// A program that is to be started with these arguments and variables.
struct Started {
    origin: String,
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
}

impl Started {
    /// Every variable is one of the subcommand, and every value is one that it takes: it gets as far as to miss the files,
    /// which are elsewhere.
    #[track_caller]
    fn check(&self) {
        let Self { origin, arguments, variables } = self;
        let subcommand = arguments.first().unwrap_or_else(|| panic!("{origin}: no subcommand"));
        let known = variables_of(subcommand);
        let own = variables.iter().filter(|(name, _)| name.starts_with("REGSWEEP_"));
        for (name, _) in own.clone() {
            assert!(known.contains(name) || is_secret(name), "{origin}: {subcommand} does not read {name}");
        }
        // What comes from a secret is not here.
        let given = own.filter(|(_, value)| !value.is_empty());
        let output = Command::new(PROGRAM).args(arguments).env_clear().envs(given).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{origin}: {said}");
        assert!(said.starts_with("error: cannot ") && said.contains("/etc/"), "{origin}: {said}");
    }
}

/// The containers of whatever holds a pod.
fn pod(document: &Value) -> Option<&Value> {
    let spec = &document["spec"];
    let job = &spec["jobTemplate"]["spec"]["template"]["spec"];
    [job, &spec["template"]["spec"]].into_iter().find(|found| found.is_object())
}

/// The programs of ours in manifests.
fn started(origin: &str, documents: &[Value]) -> Vec<Started> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let containers = documents.iter().filter_map(pod).flat_map(|pod| pod["containers"].as_array().unwrap());
    containers
        .filter(|container| container["name"] == "regsweep")
        .map(|container| Started {
            origin: origin.to_owned(),
            arguments: container["args"].as_array().unwrap().iter().map(text).collect(),
            variables: container["env"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| (text(&one["name"]), text(&one["value"])))
                .collect(),
        })
        .collect()
}

#[test]
fn compose_is_hardened_and_starts_the_sidecar() {
    let compose = documents("compose.yaml", &read("compose.yaml")).remove(0);
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        assert!(service.get("privileged").is_none(), "{name}");
        let root = service["user"].as_str().unwrap().starts_with('0');
        assert_eq!(root, name == "owner", "{name}");
    }
    // Whoever writes the registry's files is who sweeps them.
    assert_eq!(services["regsweep"]["user"], services["registry"]["user"]);
    let environment = |service: &str| -> BTreeMap<String, String> {
        let variables = services[service]["environment"].as_object().unwrap();
        variables.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
    };
    Started {
        origin: "compose.yaml".to_owned(),
        arguments: vec![services["regsweep"]["command"][0].as_str().unwrap().to_owned()],
        variables: environment("regsweep"),
    }
    .check();
    told_of_events(
        "compose.yaml",
        &environment("registry")["REGISTRY_NOTIFICATIONS_ENDPOINTS"],
        "regsweep:9123",
    );
    for source in compose["configs"].as_object().unwrap().values() {
        assert!(deploy().join(source["file"].as_str().unwrap()).exists(), "{source}");
    }
}

/// What a registry is told of where to post its events.
#[track_caller]
fn told_of_events(origin: &str, endpoints: &str, host: &str) {
    let endpoints: Value =
        serde_json::from_str(endpoints).unwrap_or_else(|error| panic!("{origin}: {error}"));
    assert_eq!(endpoints[0]["url"], format!("http://{host}/events"), "{origin}");
    let header = endpoints[0]["headers"]["Authorization"][0].as_str().unwrap();
    assert!(header.starts_with("Bearer $"), "{origin}: {header}");
}

#[test]
fn policies_and_configurations_can_be_read() {
    let policy = read("policy.yaml");
    let parsed = Policy::parse(&policy, "deploy/policy.yaml").unwrap();
    assert_eq!(parsed.warnings(), Vec::<String>::new());
    let manifests = documents("configuration.yaml", &read("kubernetes/configuration.yaml"));
    let map = |name: &str, key: &str| {
        let found =
            manifests.iter().find(|one| one["kind"] == "ConfigMap" && one["metadata"]["name"] == name);
        found.unwrap()["data"][key].as_str().unwrap().to_owned()
    };
    assert_eq!(map("regsweep", "policy.yaml"), policy, "one is a copy of the other");
    for (origin, text) in
        [("registry.yml", read("registry.yml")), ("configuration.yaml", map("registry", "config.yml"))]
    {
        let config = RegistryConfig::read(&text, origin, &BTreeMap::new()).unwrap();
        assert_eq!(config.storage.name(), "filesystem", "{origin}");
        let cache = format!("{:?}", config.cache);
        assert!(cache.contains("redis:6379"), "{origin}: {cache}");
    }
}

#[test]
fn versions_are_those_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let dockerfile = read("Dockerfile");
    assert!(
        dockerfile.contains(&format!("\nARG VERSION={version}\n")),
        "the Dockerfile is of another version"
    );
    let chart = documents("Chart.yaml", &read("helm/regsweep/Chart.yaml")).remove(0);
    assert_eq!((chart["version"].as_str(), chart["appVersion"].as_str()), (Some(version), Some(version)));
    let mut images = 0;
    for (path, text) in texts() {
        for word in
            words(&text, "regsweep:", |letter| letter.is_ascii_alphanumeric() || ":.-".contains(letter))
        {
            let tag = &word["regsweep:".len()..];
            if tag.starts_with(|letter: char| letter.is_ascii_digit()) && tag.contains('.') {
                assert_eq!(tag, version, "deploy/{path}: {word}");
                images += 1;
            }
        }
    }
    assert!(images >= 4, "{images}");
}

#[test]
fn the_dockerfile_is_as_linted_and_copies_what_there_is() {
    accepted(
        Command::new(tool("hadolint"))
            .args(["--no-color", "--ignore", "DL3008"])
            .arg(deploy().join("Dockerfile")),
    );
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignored = std::fs::read_to_string(top.join(".dockerignore")).unwrap();
    let kept: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(kept.contains(&"src") && kept.contains(&"Cargo.lock"), "{kept:?}");
    for name in kept {
        assert!(top.join(name).exists(), ".dockerignore: there is no {name}");
    }
}

#[test]
fn units_are_verified_and_exposed_to_little() {
    let analyze = tool("systemd-analyze");
    let directory = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for (path, text) in texts() {
        if let Some(name) = path.strip_prefix("systemd/") {
            let unit = directory.path().join(name);
            std::fs::write(&unit, text.replace("/usr/local/bin/regsweep", PROGRAM)).unwrap();
            units.push(unit);
        }
    }
    assert_eq!(units.len(), 3, "{units:?}");
    let said = accepted(Command::new(&analyze).args(["verify", "--man=no"]).args(&units));
    assert!(!said.contains("regsweep"), "{said}");
    for unit in units.iter().filter(|unit| unit.extension().is_some_and(|extension| extension == "service")) {
        accepted(Command::new(&analyze).args(["security", "--offline=true", "--threshold=20"]).arg(unit));
    }
}
