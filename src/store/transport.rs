//! What passes between us and an object store: every request is counted by kind, and their number at once follows what
//! the store can bear.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};
use tokio::sync::Semaphore;

use super::metered::Meter;

/// How many requests are made at once: grows by one after a whole round without complaint, halves when the store says
/// that it is too many (503 `SlowDown`, 429).
#[derive(Debug)]
pub(super) struct Gate {
    permits: Semaphore,
    /// The number of permits there should be.
    limit: AtomicUsize,
    /// Permits to take out of circulation when they come back.
    surplus: AtomicUsize,
    most: usize,
    /// Successes since the limit last changed.
    quiet: AtomicUsize,
    /// Seconds divided by this many are between two requests, where a rate was asked for.
    pace: Option<tokio::sync::Mutex<tokio::time::Interval>>,
}

impl Gate {
    /// A gate for at most `most` requests at once, and at most `per_second` in each second.
    pub(super) fn new(most: usize, per_second: Option<u32>) -> Self {
        let most = most.max(1);
        let pace = per_second.filter(|rate| *rate > 0).map(|rate| {
            let mut interval = tokio::time::interval(Duration::from_secs(1) / rate);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            tokio::sync::Mutex::new(interval)
        });
        Self {
            permits: Semaphore::new(most),
            limit: AtomicUsize::new(most),
            surplus: AtomicUsize::new(0),
            most,
            quiet: AtomicUsize::new(0),
            pace,
        }
    }

    /// Waits for its turn and makes one request.
    async fn pass(
        &self,
        call: impl Future<Output = Result<HttpResponse, HttpError>>,
    ) -> Result<HttpResponse, HttpError> {
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.ok();
        if let Some(pace) = &self.pace {
            pace.lock().await.tick().await;
        }
        let answer = call.await;
        let surplus =
            self.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |surplus| surplus.checked_sub(1));
        if let (Ok(_), Some(permit)) = (surplus, permit) {
            permit.forget();
        }
        match &answer {
            Ok(answer) if is_complaint(answer.status()) => self.shrink(),
            Ok(_) => self.grow(),
            Err(_) => {}
        }
        answer
    }

    fn shrink(&self) {
        self.quiet.store(0, Ordering::Relaxed);
        let halved = self.limit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |limit| {
            (limit > 1).then_some(limit.div_ceil(2))
        });
        if let Ok(before) = halved {
            self.surplus.fetch_add(before - before.div_ceil(2), Ordering::Relaxed);
            tracing::info!(limit = before.div_ceil(2), "the store asks to slow down");
        }
    }

    fn grow(&self) {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit >= self.most || self.quiet.fetch_add(1, Ordering::Relaxed) < limit {
            return;
        }
        self.quiet.store(0, Ordering::Relaxed);
        self.limit.fetch_add(1, Ordering::Relaxed);
        self.permits.add_permits(1);
    }

    /// How many requests may be made at once now.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
}

fn is_complaint(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

/// Makes clients whose requests are counted and gated.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    pub(super) meter: Arc<Meter>,
    pub(super) gate: Arc<Gate>,
}

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { inner, transport: self.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    transport: Transport,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let kind = Kind::of(&request);
        let sent = request.body().content_length() as u64;
        let answer = self.transport.gate.pass(self.inner.execute(request)).await;
        let received = answer.as_ref().ok().and_then(|answer| {
            answer.headers().get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()
        });
        let meter = &self.transport.meter;
        match kind {
            Kind::List => meter.list(),
            Kind::Stat => meter.stat(),
            Kind::Get => meter.get(received.unwrap_or(0)),
            Kind::Put => meter.put(sent),
            Kind::Copy => meter.copy(),
            Kind::Delete => meter.delete(),
            Kind::Other => meter.other(),
        }
        match (kind, answer) {
            (Kind::List, Ok(page)) if page.status() == StatusCode::OK => whole(page).await,
            (_, answer) => answer,
        }
    }
}

/// A page that says that there is more and not how to ask for it was cut: the client library takes it for the last one.
#[derive(Debug, thiserror::Error)]
#[error(
    "a page of the listing says that it is not the last, and not how to ask for the next: it was cut on the way"
)]
struct Cut;

/// Reads a page of a listing whole and looks whether it can be one. A connection that ends in its middle is seen here too,
/// where the request can be made again.
async fn whole(page: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (parts, body) = page.into_parts();
    let body = body.bytes().await?;
    let has = |words: &[u8]| body.windows(words.len()).any(|window| window == words);
    // At the end of some servers' pages and at the beginning of others'; Azure has no such word, and an empty token is one.
    if has(b"<IsTruncated>true<")
        && !has(b"<NextContinuationToken>")
        && !has(b"<NextMarker>")
        && !has(b"<NextKeyMarker>")
    {
        return Err(HttpError::new(HttpErrorKind::Decode, Cut));
    }
    Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(body)))
}

/// What a request is billed as.
enum Kind {
    List,
    Stat,
    Get,
    Put,
    Copy,
    Delete,
    Other,
}

impl Kind {
    fn of(request: &HttpRequest) -> Self {
        let query = request.uri().query().unwrap_or("");
        let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
        let copies = ["x-amz-copy-source", "x-goog-copy-source", "x-ms-copy-source"];
        match *request.method() {
            Method::GET
                if has("list-type") || query.contains("comp=list") || has("uploads") || has("versions") =>
            {
                Self::List
            }
            Method::GET if has("versioning") => Self::Other,
            Method::GET => Self::Get,
            Method::HEAD => Self::Stat,
            Method::PUT if copies.iter().any(|name| request.headers().contains_key(*name)) => Self::Copy,
            Method::PUT => Self::Put,
            Method::DELETE => Self::Delete,
            // S3's and Azure's bulk deletes, and where S3 begins and ends an upload in parts; anything else that is posted
            // asks for a token.
            Method::POST if has("delete") || query.contains("comp=batch") => Self::Delete,
            Method::POST if has("uploads") || has("uploadId") => Self::Put,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> HttpResponse {
        let body = HttpResponseBody::from(bytes::Bytes::new());
        http::Response::builder().status(status).body(body).unwrap()
    }

    #[tokio::test]
    async fn a_page_that_was_cut_is_no_page() {
        let page = |text: &'static str| {
            let body = HttpResponseBody::from(bytes::Bytes::from(text));
            whole(http::Response::builder().status(200).body(body).unwrap())
        };
        assert!(page("<IsTruncated>true</IsTruncated><Contents/>").await.is_err());
        for last in [
            "<IsTruncated>false</IsTruncated>",
            "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>",
            "<NextMarker/>",
        ] {
            assert_eq!(page(last).await.unwrap().into_body().bytes().await.unwrap(), last);
        }
    }

    #[tokio::test]
    async fn a_complaint_halves_what_is_made_at_once_and_quiet_brings_it_back() {
        let gate = Gate::new(8, None);
        gate.pass(async { Ok(answer(503)) }).await.unwrap();
        assert_eq!(gate.limit(), 4);
        for _ in 0..3 {
            gate.pass(async { Ok(answer(429)) }).await.unwrap();
        }
        assert_eq!(gate.limit(), 1);
        for _ in 0..200 {
            gate.pass(async { Ok(answer(200)) }).await.unwrap();
        }
        assert_eq!(gate.limit(), 8);
        assert_eq!(gate.permits.available_permits() - gate.surplus.load(Ordering::Relaxed), 8);
    }
}
