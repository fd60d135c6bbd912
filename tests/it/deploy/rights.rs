//! The policies of `deploy/iam`: what they grant, and that it is enough.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use regsweep::synth::{Builder, ImageSpec};
use serde_json::{Value, json};
use ureq::http::Request;

use super::{documents, read};
use crate::buckets::http;
use crate::buckets::process::Process;
use crate::buckets::servers;
use crate::registry::command::POLICY;
use crate::support::{Picture, present};

fn policy(name: &str) -> Value {
    documents(name, &read(&format!("iam/{name}"))).remove(0)
}

fn actions(policy: &Value) -> BTreeSet<String> {
    let of = |statement: &Value| match &statement["Action"] {
        Value::Array(actions) => actions.iter().map(|action| action.as_str().unwrap().to_owned()).collect(),
        one => vec![one.as_str().unwrap().to_owned()],
    };
    policy["Statement"].as_array().unwrap().iter().flat_map(of).collect()
}

#[test]
fn an_audit_may_change_nothing_and_a_sweep_what_the_readme_says() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let named: BTreeSet<String> =
        super::words(&readme, "s3:", |letter| letter.is_ascii_alphanumeric() || letter == ':')
            .filter(|word| word.len() > "s3:".len())
            .map(str::to_owned)
            .collect();
    let (audit, sweep) = (actions(&policy("s3-audit.json")), actions(&policy("s3-sweep.json")));
    assert_eq!(sweep, named, "the policy (left) and the README");
    let changes = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"].map(str::to_owned);
    assert_eq!(sweep.difference(&audit).cloned().collect::<BTreeSet<_>>(), BTreeSet::from(changes));

    let gcs = |name: &str| policy(name)["includedPermissions"].clone();
    assert_eq!(gcs("gcs-audit.yaml"), json!(["storage.objects.list", "storage.objects.get"]));
    assert_eq!(
        gcs("gcs-sweep.yaml"),
        json!([
            "storage.objects.list",
            "storage.objects.get",
            "storage.objects.create",
            "storage.objects.delete"
        ])
    );
    let blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
    let azure = |name: &str| policy(name)["DataActions"].clone();
    assert_eq!(azure("azure-audit.json"), json!([format!("{blobs}/read")]));
    let changing = ["read", "write", "delete"].map(|action| format!("{blobs}/{action}"));
    assert_eq!(azure("azure-sweep.json"), json!(changing));
}

/// A server of S3 and IAM that asks everybody for their rights, once it is told to.
struct Guarded {
    process: Process,
    endpoint: String,
}

impl Guarded {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap().keep();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut command = Command::new(servers::find("moto_server").unwrap());
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.env("INITIAL_NO_AUTH_ACTION_COUNT", "1000000");
        let guarded = Self {
            process: Process::start(&command, directory, &[]),
            endpoint: format!("http://127.0.0.1:{port}"),
        };
        while http::status(&format!("{}/moto-api/", guarded.endpoint)) != Some(200) {
            assert!(guarded.process.runs(), "{}", guarded.process.log());
            thread::sleep(Duration::from_millis(50));
        }
        guarded
    }

    /// A request to one of its services, which it tells by what is signed for.
    fn ask(&self, service: &str, method: &str, path: &str, kind: &str, body: Vec<u8>) -> String {
        let scope = format!("AKIATEST/20260101/us-east-1/{service}/aws4_request");
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.endpoint))
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
            )
            .header("content-type", kind)
            .body(body)
            .unwrap();
        let (status, text) = http::ask(request);
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        text
    }

    fn iam(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.append_pair("Action", action).append_pair("Version", "2010-05-08");
        body.extend_pairs(parameters);
        self.ask("iam", "POST", "", "application/x-www-form-urlencoded", body.finish().into_bytes())
    }

    /// Every file below `root` under its path there.
    fn fill(&self, bucket: &str, root: &Path) {
        self.ask("s3", "PUT", bucket, "", Vec::new());
        for (key, (bytes, _)) in Picture::of(root).files().0 {
            self.ask("s3", "PUT", &format!("{bucket}/{key}"), "application/octet-stream", bytes);
        }
    }

    /// A user who may do what these policies say, as variables.
    fn user(&self, name: &str, policies: &[&Value]) -> [(&'static str, String); 4] {
        self.iam("CreateUser", &[("UserName", name)]);
        for (index, policy) in policies.iter().enumerate() {
            let (index, policy) = (format!("policy-{index}"), policy.to_string());
            self.iam(
                "PutUserPolicy",
                &[("UserName", name), ("PolicyName", &index), ("PolicyDocument", &policy)],
            );
        }
        let answer = self.iam("CreateAccessKey", &[("UserName", name)]);
        let field = |name: &str| {
            let rest =
                answer.split(&format!("<{name}>")).nth(1).unwrap_or_else(|| panic!("{name}: {answer}"));
            rest.split('<').next().unwrap().to_owned()
        };
        [
            ("AWS_ACCESS_KEY_ID", field("AccessKeyId")),
            ("AWS_SECRET_ACCESS_KEY", field("SecretAccessKey")),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
        ]
    }
}

#[test]
fn the_policies_of_s3_are_enough_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = Builder::new(directory.path(), present()).unwrap();
    let layer = builder.blob(b"a layer").unwrap();
    let image = builder.image("apps/web", &ImageSpec::new("apps/web kept-1", vec![layer])).unwrap();
    builder.tag("apps/web", "kept-1", &image).unwrap();
    for orphan in 0..3 {
        builder.blob(&[orphan; 1000]).unwrap();
    }
    let server = Guarded::start();
    server.fill("my-registry", directory.path());
    let audit = server.user("audit", &[&policy("s3-audit.json")]);
    // S3 asks for the right to delete at each key, also in a request that deletes many, and this server at the bucket.
    let of_bucket = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::my-registry" },
    ]});
    let sweep = server.user("sweep", &[&policy("s3-sweep.json"), &of_bucket]);
    server.ask("s3", "POST", "moto-api/reset-auth", "text/plain", b"0".to_vec());
    let regsweep = |user: &[(&'static str, String)], arguments: &[&str]| {
        let mut command = Command::new(super::PROGRAM);
        command.env_clear().envs(user.iter().map(|(name, value)| (name, value)));
        let output = command.args(arguments).args(["--manifest-cache", "off"]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let file = directory.path().join("policy.yaml");
    std::fs::write(&file, POLICY).unwrap();
    let run = ["run", "s3://my-registry", "--offline", "--json", "--policy", file.to_str().unwrap()];

    let (status, told, said) = regsweep(&audit, &["audit", "s3://my-registry", "--json"]);
    assert_eq!(status, Some(0), "{said}");
    let audited: Value = serde_json::from_str(&told).unwrap();
    assert!(audited["total"]["objects"].as_u64().unwrap() >= 9, "{audited}");
    let (status, _, said) = regsweep(&audit, &run);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("these credentials may not"), "{said}");

    let (status, told, said) = regsweep(&sweep, &run);
    assert_eq!(status, Some(0), "{said}");
    let report: Value = serde_json::from_str(&told).unwrap();
    assert!(report["planned_steps"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["executed"]["failed"], json!([]), "{report}");
    let name = report["run"].as_str().unwrap();
    let (status, _, said) = regsweep(&sweep, &["restore", "s3://my-registry", name]);
    assert_eq!(status, Some(0), "{said}");
}
