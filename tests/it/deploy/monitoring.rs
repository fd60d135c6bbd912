//! Alert rules and the dashboard: only metrics that there are, with labels that they have, and rules that fire when they
//! should.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::{accepted, deploy, documents, read, tool, words};

/// The metrics of the README, with their labels.
fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `regsweep_"));
    let metrics: BTreeMap<_, _> = rows
        .map(|row| {
            let cell = row.split('`').next().unwrap();
            let (name, labels) = cell.split_once('{').unwrap_or((cell, ""));
            let labels =
                labels.trim_end_matches('}').split(',').map(str::trim).filter(|label| !label.is_empty());
            (format!("regsweep_{name}"), labels.map(str::to_owned).collect())
        })
        .collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    metrics
}

/// Metrics and labels of an expression are those that are exported; answers the metrics.
#[track_caller]
fn known(expression: &str, legend: &str) -> Vec<String> {
    let metrics = metrics();
    let name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let found: Vec<String> = words(expression, "regsweep_", name).map(str::to_owned).collect();
    let mut labels: BTreeSet<&str> = BTreeSet::from(["job", "instance"]);
    for metric in &found {
        let of_metric = metrics.get(metric).unwrap_or_else(|| panic!("there is no {metric}: {expression}"));
        labels.extend(of_metric.iter().map(String::as_str));
    }
    let grouped = expression.match_indices("by (").flat_map(|(at, word)| {
        let rest = &expression[at + word.len()..];
        rest[..rest.find(')').unwrap()].split(", ")
    });
    let selected = expression.match_indices(['{', ',']).filter_map(|(at, _)| {
        let rest = expression[at + 1..].trim_start();
        let end = rest.find(|letter| !name(letter))?;
        rest[end..].starts_with('=').then_some(&rest[..end])
    });
    let shown = legend.match_indices("{{").map(|(at, word)| {
        let rest = &legend[at + word.len()..];
        &rest[..rest.find('}').unwrap()]
    });
    for label in grouped.chain(selected).chain(shown) {
        assert!(labels.contains(label), "nothing has a label {label} in {expression} {legend}");
    }
    found
}

fn rules() -> Vec<Value> {
    let rules = documents("rules", &read("prometheus/regsweep.rules.yaml")).remove(0);
    rules["groups"][0]["rules"].as_array().unwrap().clone()
}

#[test]
fn rules_are_accepted_and_fire_when_they_should() {
    let promtool = tool("promtool");
    let directory = deploy().join("prometheus");
    accepted(Command::new(&promtool).args(["check", "rules", "regsweep.rules.yaml"]).current_dir(&directory));
    let said = accepted(
        Command::new(&promtool).args(["test", "rules", "regsweep.test.yaml"]).current_dir(&directory),
    );
    assert!(said.contains("SUCCESS"), "{said}");
    let tests = documents("tests", &read("prometheus/regsweep.test.yaml")).remove(0);
    let cases = || {
        tests["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap())
    };
    for rule in rules() {
        let of_rule = || cases().filter(|case| case["alertname"] == rule["alert"]);
        assert!(
            of_rule().any(|case| case.get("exp_alerts").is_some()),
            "{} is not seen to fire",
            rule["alert"]
        );
        assert!(
            of_rule().any(|case| case.get("exp_alerts").is_none()),
            "{} is not seen silent",
            rule["alert"]
        );
    }
}

#[test]
fn rules_ask_for_metrics_that_there_are() {
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        let metrics = known(expression, "");
        assert!(!metrics.is_empty() || expression.starts_with("up{"), "{rule}");
        for text in rule["annotations"].as_object().unwrap().values() {
            known(text.as_str().unwrap(), "");
        }
    }
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let dashboard: Value = serde_json::from_str(&read("grafana/regsweep.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let (mut shown, mut queries) = (BTreeSet::new(), Vec::new());
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            shown.extend(known(expression, target["legendFormat"].as_str().unwrap()));
            queries.push(expression.replace("$__rate_interval", "5m"));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            known(query, "");
        }
    }
    for (metric, labels) in metrics() {
        let needed = !labels.is_empty() && !metric.ends_with("_info");
        assert!(!needed || shown.contains(&metric), "{metric} is not on the dashboard");
    }
    // The queries are right, as rules are.
    let rules: Vec<Value> = queries
        .iter()
        .enumerate()
        .map(|(index, query)| serde_json::json!({ "record": format!("query:{index}"), "expr": query }))
        .collect();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let groups = serde_json::json!({ "groups": [{ "name": "queries", "rules": rules }] });
    std::fs::write(file.path(), groups.to_string()).unwrap();
    accepted(Command::new(tool("promtool")).args(["check", "rules", "--lint=none"]).arg(file.path()));
}
