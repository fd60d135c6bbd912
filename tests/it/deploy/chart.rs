//! The Helm chart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use regsweep::cli::Cli;
use serde_json::{Value, json};

use super::manifests::{restricted, valid};
use super::{deploy, documents, read, started, tool};

/// Values that are enough.
fn least() -> Value {
    json!({ "registryRelease": "registry" })
}

/// Values of the registry's chart as its users write them: what this one has no use for does no harm.
fn registry() -> Value {
    json!({
        "replicaCount": 1,
        "image": { "repository": "registry", "tag": "3.0.0" },
        "ingress": { "enabled": true, "hosts": ["registry.example.org"] },
        "persistence": { "enabled": true, "size": "100Gi", "deleteEnabled": true },
        "secrets": { "htpasswd": "", "haSharedSecret": "" },
        "configData": { "version": 0.1, "storage": { "cache": { "blobdescriptor": "inmemory" } } },
        "garbageCollect": { "enabled": false, "schedule": "15 3 * * *", "resources": { "limits": { "memory": "1Gi" } } },
    })
}

fn with(mut one: Value, other: &Value) -> Value {
    for (key, value) in other.as_object().unwrap() {
        let merged = match one.get(key) {
            Some(own) if own.is_object() => with(own.clone(), value),
            _ => value.clone(),
        };
        one[key] = merged;
    }
    one
}

/// A value for each flag, as the schema asks for it.
fn every_flag() -> Value {
    let schema: Value = serde_json::from_str(&read("helm/regsweep/values.schema.json")).unwrap();
    let flags = schema["properties"]["regsweep"]["properties"]["flags"]["properties"].as_object().unwrap();
    let given: BTreeMap<&str, Value> = BTreeMap::from([
        // One of two, and the other is made up.
        ("store", json!("")),
        ("plan", json!("")),
        ("schedule", json!("")),
        ("every", json!("6h")),
        ("layout", json!("distribution")),
        ("accept", json!(["tags=40%", "bytes=90%"])),
        ("registryUrl", json!(["http://registry-0:5000", "http://registry-1:5000"])),
        ("jitter", json!("5%")),
        ("window", json!("22:00-04:00")),
        ("listen", json!("[::]:9000")),
        ("settle", json!("later")),
        ("maxRuntime", json!("90min")),
        ("ignoreAddress", json!(["10.0.0.0/8", "fd00::/8"])),
        ("ignoreUserAgent", json!(["Trivy*", "a, b"])),
        ("registryConfig", json!("/etc/distribution/config.yml")),
        ("dryRun", json!(false)),
        ("reportOrphans", json!(false)),
    ]);
    let value = |(name, schema): (&String, &Value)| {
        let value = given.get(name.as_str()).cloned().unwrap_or_else(|| match &schema["type"] {
            Value::String(kind) if kind == "boolean" => json!(true),
            Value::Array(kinds) if kinds.contains(&json!("integer")) => json!(7),
            Value::String(kind) if kind == "array" => json!(["/etc/regsweep/one", "/etc/regsweep/two"]),
            _ => json!("/etc/regsweep/some"),
        });
        (name.clone(), value)
    };
    Value::Object(flags.iter().map(value).collect())
}

/// Renders the chart with each of these values; a text of manifests, or why it was refused.
fn render(cases: &BTreeMap<&str, Value>) -> (Value, BTreeMap<String, Result<String, String>>) {
    let asked = json!({ "chart": deploy().join("helm/regsweep"), "cases": cases });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/deploy/render.py");
    let mut child = Command::new(tool("python"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cases = answer["cases"].as_object().unwrap().iter();
    let cases = cases.map(|(name, case)| {
        let text = |key: &str| case[key].as_str().map(str::to_owned);
        (name.clone(), text("manifests").ok_or_else(|| text("refused").unwrap()))
    });
    (answer["lint"].clone(), cases.collect())
}

#[test]
fn every_flag_has_a_value() {
    let values = documents("values.yaml", &read("helm/regsweep/values.yaml")).remove(0);
    let of_values: BTreeSet<String> =
        values["regsweep"]["flags"].as_object().unwrap().keys().cloned().collect();
    let of_schema: BTreeSet<String> = every_flag().as_object().unwrap().keys().cloned().collect();
    let program = Cli::command();
    let mut of_program = BTreeSet::new();
    for command in ["run", "serve"].map(|name| program.find_subcommand(name).unwrap()) {
        for variable in command.get_arguments().filter_map(clap::Arg::get_env) {
            let name = variable.to_str().unwrap().trim_start_matches("REGSWEEP_").to_lowercase();
            let mut parts = name.split('_');
            let mut camel = parts.next().unwrap().to_owned();
            for part in parts {
                camel.push_str(&part[..1].to_uppercase());
                camel.push_str(&part[1..]);
            }
            of_program.insert(camel);
        }
    }
    // It is written in the values themselves, and becomes a file.
    assert!(of_program.remove("policy"));
    // The chart stands beside distribution's registry, and no Nexus.
    of_program.retain(|name: &String| !name.starts_with("nexus") && name != "evidence");
    let where_to = "deploy/helm/regsweep has to know each flag in values.yaml, values.schema.json, and templates/_helpers.tpl \
                    if only one of run and serve has it";
    assert_eq!(of_values, of_program, "values.yaml (left) and the program: {where_to}");
    assert_eq!(of_schema, of_program, "values.schema.json (left) and the program: {where_to}");
}

#[test]
fn it_renders_to_what_kubernetes_accepts() {
    let secrets =
        json!({ "token": { "existingSecret": "regsweep" }, "webhookToken": { "existingSecret": "webhook" } });
    let policy = json!({ "version": 1, "grace": "24h" });
    let serve = with(least(), &with(secrets, &json!({ "mode": "serve", "policy": policy })));
    let everything = json!({
        "flags": every_flag(),
        "networkPolicy": { "enabled": true },
        "podLabels": { "team": "images" },
    });
    let s3 = json!({
        "storage": "s3",
        "s3": { "bucket": "images", "region": "eu-central-1", "secure": true },
        "secrets": { "s3": { "secretRef": "keys" } },
    });
    let own = |values: Value| json!({ "regsweep": values });
    let of_secret = json!({ "secretKeyRef": { "name": "regsweep", "key": "url" } });
    let secret = json!({ "name": "REGSWEEP_REGISTRY_URL", "valueFrom": of_secret });
    let cases = BTreeMap::from([
        ("least", own(least())),
        ("serve", own(serve.clone())),
        ("all", own(with(least(), &everything))),
        ("all-serve", own(with(serve.clone(), &everything))),
        ("registry", with(registry(), &own(least()))),
        ("registry-serve", with(registry(), &own(serve))),
        ("s3", with(s3, &own(least()))),
        ("azure", with(json!({ "storage": "azure" }), &own(least()))),
        ("password", own(with(least(), &json!({ "extraEnvVars": [secret] })))),
        ("named", with(json!({ "fullnameOverride": "images" }), &own(least()))),
    ]);
    let (lint, rendered) = render(&cases);
    for message in lint["messages"].as_array().unwrap() {
        assert!(message["severity"].as_u64().unwrap() <= 1, "{message}");
    }
    assert_eq!(lint["errors"], json!([]));
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (name, text) in &rendered {
        let text = text.as_ref().unwrap_or_else(|why| panic!("{name}: {why}"));
        let manifests = documents(name, text);
        let programs = started(name, &manifests);
        assert_eq!(programs.len(), 1, "{name}");
        programs[0].check();
        for manifest in &manifests {
            restricted(name, manifest);
            if manifest["kind"] == "CronJob" {
                assert_eq!(manifest["spec"]["concurrencyPolicy"], "Forbid", "{name}");
            }
        }
        let file = directory.path().join(format!("{name}.yaml"));
        std::fs::write(&file, text).unwrap();
        files.push(file);
    }
    valid(&files.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>());
    named_as_the_registry_names(&rendered);
}

/// The registry's chart calls its claim and its Service after the release, and its `ConfigMap` and Secret with an ending.
fn named_as_the_registry_names(rendered: &BTreeMap<String, Result<String, String>>) {
    let text = |name: &str| rendered[name].as_ref().unwrap();
    for (case, names) in [
        ("registry", ["claimName: registry-docker-registry\n", "name: registry-docker-registry-config\n"]),
        ("named", ["claimName: images\n", "name: images-config\n"]),
        ("azure", ["name: registry-docker-registry-secret\n", "key: azureAccountKey\n"]),
        ("s3", ["name: keys\n", "key: s3SecretKey\n"]),
    ] {
        for name in names {
            assert!(text(case).contains(name), "{case}: no {name:?} in\n{}", text(case));
        }
    }
    let manifests = documents("registry", text("registry"));
    let job = manifests.iter().find(|manifest| manifest["kind"] == "CronJob").unwrap();
    assert_eq!(job["spec"]["schedule"], "15 3 * * *");
    let program = &started("registry", &manifests)[0];
    assert_eq!(program.arguments, ["run", "--registry-url=http://registry-docker-registry:5000"]);
    assert_eq!(program.variables["REGISTRY_STORAGE_DELETE_ENABLED"], "true");
    // A flag would win over the variable.
    assert_eq!(started("password", &documents("password", text("password")))[0].arguments, ["run"]);
    let all = &started("all", &documents("all", text("all")))[0];
    assert_eq!(all.arguments[1..3], ["--accept=tags=40%", "--accept=bytes=90%"]);
    assert_eq!(all.variables["REGSWEEP_CONCURRENCY"], "7");
    let policy = documents("serve", text("serve"));
    let policy = policy.iter().find(|manifest| manifest["kind"] == "ConfigMap").unwrap();
    let policy = policy["data"]["policy.yaml"].as_str().unwrap();
    regsweep::policy::Policy::parse(policy, "the chart's policy").unwrap();
}

#[test]
fn what_would_lose_data_or_cannot_work_is_refused() {
    let own = |values: &Value| json!({ "regsweep": with(least(), values) });
    let none = json!({});
    let cases = BTreeMap::from([
        ("two collectors", with(json!({ "garbageCollect": { "enabled": true } }), &own(&none))),
        ("no claim", with(json!({ "persistence": { "enabled": false } }), &own(&none))),
        ("swift", with(json!({ "storage": "swift" }), &own(&none))),
        ("no token", own(&json!({ "mode": "serve" }))),
        ("no release", json!({ "regsweep": { "registryRelease": "" } })),
        ("no such flag", own(&json!({ "flags": { "evry": "6h" } }))),
        ("no duration", own(&json!({ "flags": { "maxRuntime": "4" } }))),
    ]);
    let expected = BTreeMap::from([
        ("two collectors", "garbageCollect.enabled"),
        ("no claim", "persistence.enabled"),
        ("swift", "filesystem, s3, gcs and azure"),
        ("no token", "regsweep.token.existingSecret is needed"),
        ("no release", "regsweep.registryRelease is needed"),
        ("no such flag", "evry"),
        ("no duration", "maxRuntime"),
    ]);
    let cases = std::iter::once(("fine", own(&none))).chain(cases).collect();
    let (_, rendered) = render(&cases);
    for (name, phrase) in expected {
        let why = rendered[name].as_ref().expect_err(name);
        assert!(why.contains(phrase), "{name}: {why}");
    }
}
