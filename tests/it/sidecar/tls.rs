//! Encryption, and clients that are known by their certificates.

use std::path::Path;
use std::process::Command;

use super::Scene;

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let output = output.expect("openssl: tests/install");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority `NAME-ca.pem`, and `NAME.pem` with `NAME.key` that it has signed for 127.0.0.1.
fn signed(directory: &Path, name: &str) {
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(
        directory,
        &format!("req -x509 {curve} -subj /CN={name}-authority -keyout {name}-ca.key -out {name}-ca.pem"),
    );
    openssl(directory, &format!("req {curve} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        directory,
        &format!(
            "x509 -req -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial -days 2 -extfile names -out \
             {name}.pem"
        ),
    );
}

#[test]
fn clients_with_a_certificate_of_the_authority_are_let_in() {
    let scene = Scene::new();
    let directory = scene.directory.path();
    for name in ["server", "friend", "stranger"] {
        signed(directory, name);
    }
    let file = |name: &str| scene.path(name).display().to_string();
    let (certificate, key, authority) = (file("server.pem"), file("server.key"), file("friend-ca.pem"));
    let sidecar = scene.serve(&[
        "--every",
        "6h",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
        "--tls-client-ca",
        &authority,
    ]);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(&std::fs::read(scene.path("server-ca.pem")).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let get = |identity: Option<&str>, path: &str| {
        let mut client = reqwest::Client::builder().no_proxy().tls_certs_only([root.clone()]);
        if let Some(name) = identity {
            let mut pem = std::fs::read(scene.path(&format!("{name}.pem"))).unwrap();
            pem.extend(std::fs::read(scene.path(&format!("{name}.key"))).unwrap());
            client = client.identity(reqwest::Identity::from_pem(&pem).unwrap());
        }
        let url = format!("https://{}{path}", sidecar.address);
        let answer = runtime.block_on(client.build().unwrap().get(url).send());
        answer.map(|answer| answer.status().as_u16())
    };
    assert_eq!(get(Some("friend"), "/metrics").unwrap(), 200);
    assert_eq!(get(None, "/metrics").unwrap(), 401);
    assert_eq!(get(None, "/healthz").unwrap(), 200);
    assert!(get(Some("stranger"), "/metrics").is_err());
    assert!(get(Some("stranger"), "/healthz").is_err());
    // In clear nobody is answered.
    assert_eq!(sidecar.get("/healthz").status, 0);
}

#[test]
fn certificates_that_are_none_are_named() {
    let scene = Scene::new();
    signed(scene.directory.path(), "one");
    signed(scene.directory.path(), "other");
    let file = |name: &str| scene.path(name).display().to_string();
    let refused = |certificate: &str, key: &str| {
        let (certificate, key) = (file(certificate), file(key));
        scene.refused(&["--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key]).stderr
    };
    assert!(refused("gone.pem", "one.key").contains("cannot read the certificate from"));
    assert!(refused("policy.yaml", "one.key").contains("there is no certificate in it"));
    assert!(refused("one.pem", "one.pem").contains("cannot read the private key from"));
    let said = refused("one.pem", "other.key");
    assert!(said.contains("cannot be used with its key"), "{said}");
}
