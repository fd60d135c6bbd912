//! The lines of a registry's logs: its access log in Apache's combined format, and its own log in logrus's text and JSON
//! formats, all three as distribution 2.x and 3.x write them.
//!
//! Whatever stands before a line, as journals and container runtimes put it, is skipped.

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use regex::Regex;
use serde_json::Value;

use super::read::Seen;
use super::{Pull, address, reference, repository};

/// `host ident user [time] "METHOD uri PROTOCOL" status bytes "referer" "user agent"`
static COMBINED: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(?:^|\s)(?<host>\S+) \S+ (?<user>\S+) \[(?<time>[^\]]{20,40})\] "(?<method>[A-Z]+) (?<uri>\S+)[^"]*" (?<status>\d{3}) \S+(?: "(?:[^"\\]|\\.)*" "(?<agent>(?:[^"\\]|\\.)*)")?"#;
    Regex::new(pattern).unwrap_or_else(|_| unreachable!("the expression is a constant"))
});

/// One request that was answered.
#[derive(Default)]
struct Request<'r> {
    method: &'r str,
    uri: &'r str,
    status: Option<u16>,
    user_agent: Option<Cow<'r, str>>,
    user: Option<Cow<'r, str>>,
    address: Option<&'r str>,
}

impl Request<'_> {
    fn seen(self, at: Timestamp) -> Seen {
        let known = |text: Option<Cow<'_, str>>| {
            text.map(Cow::into_owned).filter(|text| !text.is_empty() && text != "-")
        };
        Seen {
            at,
            pull: self.pull(at),
            address: self.address.and_then(address),
            user_agent: known(self.user_agent),
            user: known(self.user),
        }
    }

    /// A GET of a manifest that was answered with it, or with "you have it".
    fn pull(&self, at: Timestamp) -> Option<Pull> {
        if self.method != "GET" || !matches!(self.status, Some(200 | 304)) {
            return None;
        }
        let path = self.uri.split(['?', '#']).next()?;
        // A registry may be served below a prefix.
        let (_, path) = path.split_once("/v2/")?;
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let (name, asked) = path.rsplit_once("/manifests/")?;
        let (tag, manifest) = reference(asked)?;
        Some(Pull { repository: repository(name)?, tag, manifest, at })
    }
}

/// What one line of text tells; `None` when it is no line of a registry's.
pub(super) fn line(text: &str) -> Option<Seen> {
    logrus(text).or_else(|| combined(text))
}

fn combined(text: &str) -> Option<Seen> {
    let found = COMBINED.captures(text)?;
    let at = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", &found["time"]).ok()?.to_timestamp().ok()?;
    let group = |name| found.name(name).map(|group| group.as_str());
    let request = Request {
        method: group("method")?,
        uri: group("uri")?,
        status: group("status")?.parse().ok(),
        user_agent: group("agent").map(unescaped),
        user: group("user").map(Cow::Borrowed),
        address: group("host"),
    };
    Some(request.seen(at))
}

/// `time="2026-01-31T12:00:00Z" level=info msg="response completed" key=value …`
fn logrus(text: &str) -> Option<Seen> {
    let mut rest = &text[text.find("time=\"")?..];
    let (mut request, mut at, mut level) = (Request::default(), None, false);
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = value(after);
        match key.trim_start() {
            "time" if at.is_none() => at = value.parse::<Timestamp>().ok(),
            "level" => level = true,
            "http.request.method" => request.method = borrowed(&value)?,
            "http.request.uri" => request.uri = borrowed(&value)?,
            "http.request.remoteaddr" => request.address = borrowed(&value),
            "http.request.useragent" => request.user_agent = Some(value),
            "auth.user.name" => request.user = Some(value),
            "http.response.status" => request.status = value.parse().ok(),
            _ => {}
        }
        rest = after;
    }
    (level && at.is_some()).then(|| request.seen(at.unwrap_or_default()))
}

/// The value at the beginning of a text, with or without quotes, and what comes after it.
fn value(text: &str) -> (Cow<'_, str>, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        return (Cow::Borrowed(&text[..end]), &text[end..]);
    };
    let mut escaped = false;
    for (at, byte) in quoted.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return (unescaped(&quoted[..at]), &quoted[at + 1..]),
            _ => {}
        }
    }
    (unescaped(quoted), "")
}

/// What a client wrote with quotes or backslashes in it can be no path of a registry.
fn borrowed<'v>(value: &Cow<'v, str>) -> Option<&'v str> {
    match value {
        Cow::Borrowed(value) => Some(value),
        Cow::Owned(_) => None,
    }
}

/// Takes the backslashes before quotes and backslashes out; other escapes stay as they are written.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('\\', Some('"' | '\\')) => plain.extend(letters.next()),
            _ => plain.push(letter),
        }
    }
    Cow::Owned(plain)
}

/// What one line in JSON tells; `None` when it is no line of a registry's.
pub(super) fn value_of_log(value: &Value) -> Option<Seen> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let at = text("time")?.parse().ok()?;
    text("level")?;
    let status = value.get("http.response.status").and_then(Value::as_u64);
    let request = Request {
        method: text("http.request.method").unwrap_or_default(),
        uri: text("http.request.uri").unwrap_or_default(),
        status: status.and_then(|status| u16::try_from(status).ok()),
        user_agent: text("http.request.useragent").map(Cow::Borrowed),
        user: text("auth.user.name").map(Cow::Borrowed),
        address: text("http.request.remoteaddr"),
    };
    Some(request.seen(at))
}
