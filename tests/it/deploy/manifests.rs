//! The manifests of `deploy/kubernetes`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{accepted, deploy, documents, pod, read, started, texts, told_of_events, tool};

/// Whether Kubernetes' own schemas accept these files, with no field that they do not know.
#[track_caller]
pub(super) fn valid(files: &[&Path]) {
    accepted(Command::new(tool("kubernetes-validate")).args(["--strict", "--quiet"]).args(files));
}

/// The profile "restricted" of Kubernetes' Pod Security Standards, and more.
#[track_caller]
pub(super) fn restricted(origin: &str, document: &Value) {
    let Some(pod) = pod(document) else { return };
    assert_eq!(pod["automountServiceAccountToken"], false, "{origin}");
    assert_eq!(pod["enableServiceLinks"], false, "{origin}");
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(key).is_none(), "{origin}: {key}");
    }
    for container in pod["containers"].as_array().unwrap() {
        let origin = format!("{origin}: {}", container["name"]);
        let either = |key: &str| {
            let own = &container["securityContext"][key];
            if own.is_null() { pod["securityContext"][key].clone() } else { own.clone() }
        };
        assert_eq!(either("runAsNonRoot"), true, "{origin}");
        assert!(either("runAsUser").as_u64().unwrap() > 0, "{origin}");
        assert_eq!(either("seccompProfile")["type"], "RuntimeDefault", "{origin}");
        let own = &container["securityContext"];
        assert_eq!(own["allowPrivilegeEscalation"], false, "{origin}");
        assert_eq!(own["readOnlyRootFilesystem"], true, "{origin}");
        assert_eq!(own["capabilities"]["drop"], serde_json::json!(["ALL"]), "{origin}");
    }
}

/// The manifests, by file.
fn all() -> Vec<(String, Vec<Value>)> {
    let files = texts().into_iter().filter(|(path, _)| path.starts_with("kubernetes/"));
    files.map(|(path, text)| (path.clone(), documents(&path, &text))).collect()
}

#[test]
fn kubernetes_accepts_them() {
    let paths: Vec<_> = all().into_iter().map(|(path, _)| deploy().join(path)).collect();
    valid(&paths.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>());
    // The validator finds what is wrong.
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("wrong.yaml");
    let text = read("kubernetes/cronjob.yaml").replace("concurrencyPolicy", "concurencyPolicy");
    std::fs::write(&wrong, text).unwrap();
    let output = Command::new(tool("kubernetes-validate")).arg("--strict").arg(&wrong).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn pods_are_restricted_and_start_what_there_is() {
    let mut programs = 0;
    for (path, documents) in all() {
        for document in &documents {
            restricted(&path, document);
            for container in pod(document).into_iter().flat_map(|pod| pod["containers"].as_array().unwrap()) {
                let resources = &container["resources"];
                assert!(resources["requests"]["cpu"].is_string(), "{path}: {}", container["name"]);
                assert!(resources["limits"]["memory"].is_string(), "{path}: {}", container["name"]);
            }
        }
        for program in started(&path, &documents) {
            program.check();
            programs += 1;
        }
    }
    assert_eq!(programs, 3);
}

#[test]
fn what_is_mounted_or_named_is_there() {
    let all = all();
    let named = |kind: &str, name: &Value| {
        let mut documents = all.iter().flat_map(|(_, documents)| documents);
        documents.any(|one| one["kind"] == kind && one["metadata"]["name"] == *name)
    };
    for (path, documents) in &all {
        for (document, pod) in documents.iter().filter_map(|document| Some((document, pod(document)?))) {
            assert!(named("ServiceAccount", &pod["serviceAccountName"]), "{path}");
            for volume in pod["volumes"].as_array().unwrap() {
                for (key, kind, name) in [
                    ("configMap", "ConfigMap", "name"),
                    ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
                ] {
                    if let Some(source) = volume.get(key) {
                        assert!(named(kind, &source[name]), "{path}: {source}");
                    }
                }
            }
            for container in pod["containers"].as_array().unwrap() {
                for mount in container["volumeMounts"].as_array().unwrap() {
                    let volumes = pod["volumes"].as_array().unwrap();
                    assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{path}: {mount}");
                }
            }
            if document["kind"] == "CronJob" {
                assert_eq!(document["spec"]["concurrencyPolicy"], "Forbid", "{path}");
            }
        }
    }
    let policies: Vec<&Value> = all
        .iter()
        .flat_map(|(_, documents)| documents)
        .filter(|document| document["kind"] == "NetworkPolicy")
        .map(|document| &document["spec"]["podSelector"]["matchLabels"]["app"])
        .collect();
    for (path, documents) in &all {
        for labels in documents.iter().filter(|document| pod(document).is_some()) {
            let spec = &labels["spec"];
            let template = spec.get("jobTemplate").map_or(&spec["template"], |job| &job["spec"]["template"]);
            assert!(policies.contains(&&template["metadata"]["labels"]["app"]), "{path}: no NetworkPolicy");
        }
    }
}

#[test]
fn the_registry_tells_its_sidecar_of_events() {
    let sidecar = documents("sidecar.yaml", &read("kubernetes/sidecar.yaml"));
    let containers = pod(&sidecar[0]).unwrap()["containers"].as_array().unwrap();
    let registry = containers.iter().find(|container| container["name"] == "registry").unwrap();
    let variables = registry["env"].as_array().unwrap();
    let endpoints = variables.iter().find(|one| one["name"] == "REGISTRY_NOTIFICATIONS_ENDPOINTS").unwrap();
    told_of_events("sidecar.yaml", endpoints["value"].as_str().unwrap(), "127.0.0.1:9123");
}
