//! Chromium, driven by its own `chromedriver` over the W3C's `WebDriver` protocol.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::Request;

/// Chromium with nothing of its own to say to anybody. It runs as root in containers, where its sandbox does not.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Runs the driver, and ends it and every browser of its session when standard input ends: whatever ends the test.
const KEEPER: &str = r#"
trap '' INT TERM HUP
setsid chromedriver --port=0 </dev/null &
driver=$!
exec >&-
cat >/dev/null
kill -9 "-$driver"
wait
"#;

/// A browser with one page.
pub struct Browser {
    keeper: Child,
    input: Option<ChildStdin>,
    agent: ureq::Agent,
    session: String,
}

impl Browser {
    /// Starts one, with its profile in `directory`.
    pub fn start(directory: &Path) -> Self {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .env("HOME", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let input = keeper.stdin.take();
        let mut port = None;
        let mut said = String::new();
        for line in BufReader::new(keeper.stdout.take().expect("a pipe")).lines() {
            let line = line.expect("text");
            if let Some((_, rest)) = line.split_once("started successfully on port ") {
                port = Some(rest.trim_end_matches('.').to_owned());
                break;
            }
            said.push_str(&line);
        }
        let port =
            port.unwrap_or_else(|| panic!("chromedriver does not start; tests/install installs it: {said}"));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        let mut browser = Self { keeper, input, agent, session: format!("http://127.0.0.1:{port}/session") };
        let profile = format!("--user-data-dir={}", directory.join("profile").display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let started = browser.post("", &wanted);
        let session =
            started["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {started}")).to_owned();
        browser.session = format!("{}/{session}", browser.session);
        browser
    }

    /// One command; the value of the answer.
    #[track_caller]
    fn post(&self, command: &str, body: &Value) -> Value {
        let url = format!("{}{command}", self.session);
        let request =
            Request::post(&url).header("Content-Type", "application/json").body(body.to_string()).unwrap();
        let mut answer = self.agent.run(request).unwrap_or_else(|error| panic!("{url}: {error}"));
        let mut text = String::new();
        answer.body_mut().as_reader().read_to_string(&mut text).unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        assert!(answer["value"]["error"].is_null(), "{command}: {text}");
        answer["value"].clone()
    }

    /// Opens a page and waits until it has loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// What a script returns. It is the driver's, not the page's, so no policy of the page forbids it.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// A command of Chromium's own protocol.
    fn tools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Gives the page another width, as a phone or a desktop has.
    pub fn resize(&self, width: u32, phone: bool) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": phone });
        self.tools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Tells the page that the system is `light` or `dark`.
    pub fn scheme(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.tools("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    /// A picture of the whole page, as PNG in base64.
    pub fn picture(&self) -> String {
        let picture =
            self.tools("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }));
        picture["data"].as_str().unwrap().to_owned()
    }

    /// What the console says.
    pub fn console(&self) -> Vec<Value> {
        self.post("/se/log", &json!({ "type": "browser" })).as_array().unwrap().clone()
    }

    /// Every URL that was asked for.
    pub fn requests(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "performance" }));
        let messages = log.as_array().unwrap().iter().map(|entry| {
            serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap()["message"].clone()
        });
        messages
            .filter(|message| message["method"] == "Network.requestWillBeSent")
            .map(|message| message["params"]["request"]["url"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser goes in good order, so that its profile can be removed; the keeper ends whatever is left.
        let _ = self.agent.run(Request::delete(&self.session).body(()).unwrap());
        drop(self.input.take());
        let _ = self.keeper.wait();
    }
}
