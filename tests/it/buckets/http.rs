//! Plain requests to the servers.

use std::sync::LazyLock;
use std::time::Duration;

use ureq::http::Request;

static AGENT: LazyLock<ureq::Agent> = LazyLock::new(|| {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        // A server may close a connection that is kept for later just as it is used again.
        .max_idle_connections(0)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into()
});

/// The status and the body that a request is answered with.
pub fn ask(request: Request<Vec<u8>>) -> (u16, String) {
    let name = format!("{} {}", request.method(), request.uri());
    let mut answer = AGENT.run(request).unwrap_or_else(|error| panic!("{name}: {error}"));
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap_or_default())
}

/// Sends a request and expects this status.
pub fn send(request: Request<Vec<u8>>, expected: u16) {
    let name = format!("{} {}", request.method(), request.uri());
    let (status, text) = ask(request);
    assert_eq!(status, expected, "{name}: {text}");
}

/// The status of a `GET`, or `None` while nobody listens.
pub fn status(url: &str) -> Option<u16> {
    AGENT.get(url).call().ok().map(|answer| answer.status().as_u16())
}
