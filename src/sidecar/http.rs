//! One port: health, metrics, the page, and the registry's events. What is not for all asks the guard first.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::board::{Board, Role};
use super::events::{Declined, Intake};
use super::guard::Guard;
use super::{metrics, page};
use crate::clock::Clock;
use crate::report::html::content_security_policy;

mod tls;

pub use tls::{TlsError, TlsFiles};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long a client may take to send a request's headers, or to begin another, and to agree on encryption.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one request may take.
const ANSWER: Duration = Duration::from_secs(30);

/// How long one connection may be used before it is to be opened anew.
const LIFETIME: Duration = Duration::from_secs(600);

/// Bytes of a request's line and headers.
const HEADER_BYTES: usize = 16 * 1024;

/// A request's headers.
const HEADERS: usize = 64;

/// Bytes of a request's body. A registry posts one event or a few.
const BODY_BYTES: usize = 1024 * 1024;

/// What is sent with every answer: nothing here is to be framed, guessed at, kept, or sent on.
const SECURITY: [(HeaderName, HeaderValue); 4] = [
    (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (http::header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (http::header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// What a browser may do with what is no page.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// What the port answers with.
pub struct Site {
    /// What is known.
    pub board: Arc<Board>,
    /// Who may see it.
    pub guard: Guard,
    /// Where the registry's events go.
    pub intake: Arc<Intake>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

type Answer = Response<Full<Bytes>>;

/// Answers on `listener` until it is dropped.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, site: Arc<Site>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, for instance: that passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (tls, site) = (tls.clone(), site.clone());
        tokio::spawn(async move {
            connection(stream, tls, site).await;
            drop(slot);
        });
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, site: Arc<Site>) {
    let Some(tls) = tls else { return converse(stream, site, false).await };
    let Ok(Ok(stream)) = timeout(PATIENCE, tls.accept(stream)).await else { return };
    // The handshake has verified what was presented.
    let verified = stream.get_ref().1.peer_certificates().is_some();
    converse(stream, site, verified).await;
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, site: Arc<Site>, verified: bool) {
    let service = service_fn(move |request| {
        let site = site.clone();
        async move {
            let answer = timeout(ANSWER, site.answer(request, verified)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| text(StatusCode::REQUEST_TIMEOUT, "too slow\n")))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a client breaks off is its own affair.
    if timeout(LIFETIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(ANSWER, connection).await;
    }
}

impl Site {
    async fn answer(&self, request: Request<Incoming>, verified: bool) -> Answer {
        let head = request.method() == Method::HEAD;
        let mut answer = self.route(request, verified).await;
        answer.headers_mut().extend(SECURITY);
        answer.headers_mut().entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING);
        if head {
            *answer.body_mut() = Full::default();
        }
        answer
    }

    async fn route(&self, request: Request<Incoming>, verified: bool) -> Answer {
        let path = request.uri().path();
        // Probes come without credentials, and learn nothing.
        if !matches!(path, "/healthz" | "/readyz") && !self.guard.admits(request.headers(), verified) {
            let mut answer = text(StatusCode::UNAUTHORIZED, "a token is needed\n");
            let realm = HeaderValue::from_static("Basic realm=\"regsweep\", charset=\"UTF-8\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
            return answer;
        }
        let (allowed, fits) = match path {
            "/events" => ("POST", request.method() == Method::POST),
            _ => ("GET, HEAD", matches!(*request.method(), Method::GET | Method::HEAD)),
        };
        if !fits {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allowed}\n"));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "healthy\n"),
            "/readyz" => match self.board.facts().role {
                Role::Ending => text(StatusCode::SERVICE_UNAVAILABLE, "ending\n"),
                _ => text(StatusCode::OK, "ready\n"),
            },
            "/metrics" => {
                let mut answer = text(StatusCode::OK, &metrics::render(&self.board.facts()));
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
                answer
            }
            "/" => {
                let mut answer = text(StatusCode::OK, &page::render(&self.board.facts(), self.clock.now()));
                let policy = format!("{}; frame-ancestors 'none'", content_security_policy());
                let headers = answer.headers_mut();
                headers.insert(CONTENT_SECURITY_POLICY, policy.parse().unwrap_or(NOTHING));
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
                answer
            }
            "/events" => self.events(request).await,
            _ => text(StatusCode::NOT_FOUND, "there is /, /metrics, /events, /healthz and /readyz\n"),
        }
    }

    /// The registry's notification endpoint.
    async fn events(&self, request: Request<Incoming>) -> Answer {
        // What a page in a browser could send here without asking has another type.
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !(kind.starts_with("application/") && kind.ends_with("json")) {
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "events are JSON\n");
        }
        let Ok(body) = Limited::new(request.into_body(), BODY_BYTES).collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "too large, or broken off\n");
        };
        match self.intake.take(&body.to_bytes(), self.clock.now()) {
            Ok(()) => text(StatusCode::OK, "taken\n"),
            Err(declined @ Declined::Events(_)) => text(StatusCode::BAD_REQUEST, &format!("{declined}\n")),
            Err(declined @ Declined::Busy) => {
                let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, &format!("{declined}\n"));
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("30"));
                answer
            }
        }
    }
}

fn text(status: StatusCode, body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
