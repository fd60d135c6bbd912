//! The events that a registry posts to its notification endpoints: distribution's
//! `application/vnd.docker.distribution.events.v2+json`, the same in 2.x and 3.x.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::read::{Observed, Seen};
use super::{Pull, address, repository, tag};
use crate::policy::IgnoredPulls;

/// Why a body is no envelope of events.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It has no list of events.
    #[error("the body has no list of `events`: it is not what a registry posts to a notification endpoint")]
    NoEvents,
}

#[derive(Deserialize)]
struct Event {
    action: String,
    timestamp: Timestamp,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    request: Request,
    #[serde(default)]
    actor: Actor,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Target {
    media_type: Option<String>,
    digest: Option<String>,
    repository: Option<String>,
    tag: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Request {
    addr: Option<String>,
    method: Option<String>,
    useragent: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Actor {
    name: Option<String>,
}

/// Reads one envelope, as it is posted.
///
/// # Errors
/// When it is none. An event in it that is not understood is counted, and no error.
pub fn read_events(body: &[u8], ignored: &IgnoredPulls) -> Result<Observed, EventsError> {
    let envelope: Value = serde_json::from_slice(body)?;
    let events = envelope.get("events").and_then(Value::as_array).ok_or(EventsError::NoEvents)?;
    let mut observed = Observed::default();
    for one in events {
        observed.note(event(one), ignored);
    }
    Ok(observed)
}

/// What one event tells; `None` when it is none.
pub(super) fn event(value: &Value) -> Option<Seen> {
    let Event { action, timestamp, target, request, actor } = Event::deserialize(value).ok()?;
    let pull = (action == "pull" && request.method.as_deref() != Some("HEAD"))
        .then(|| target.pull(timestamp))
        .flatten();
    Some(Seen {
        at: timestamp,
        pull,
        user_agent: request.useragent.filter(|agent| !agent.is_empty()),
        user: actor.name.filter(|name| !name.is_empty()),
        address: request.addr.as_deref().and_then(address),
    })
}

impl Target {
    /// The pull of a manifest; that of a blob is none of its own.
    fn pull(&self, at: Timestamp) -> Option<Pull> {
        let manifest = match (&self.url, &self.tag) {
            (Some(url), _) => url.contains("/manifests/"),
            (None, Some(_)) => true,
            (None, None) => self.media_type.as_deref() != Some("application/octet-stream"),
        };
        if !manifest {
            return None;
        }
        let tag = self.tag.as_deref().and_then(tag);
        let digest = self.digest.as_deref().and_then(|digest| digest.parse().ok());
        if tag.is_none() && digest.is_none() {
            return None;
        }
        Some(Pull { repository: repository(self.repository.as_deref()?)?, tag, manifest: digest, at })
    }
}
