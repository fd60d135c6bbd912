//! One port: health, metrics, the page. What is not for all asks the guard first.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
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
use super::guard::Guard;
use super::metrics;

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

/// What is sent with every answer. Nothing here is to be framed, guessed at, kept, or sent on; scripts and styles are the
/// page's own.
const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (
        http::header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (http::header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (http::header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// What the port answers with.
pub struct Site {
    /// What is known.
    pub board: Arc<Board>,
    /// Who may see it.
    pub guard: Guard,
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
        let mut answer = self.route(&request, verified);
        answer.headers_mut().extend(SECURITY.map(|(name, value)| (name, value)));
        if request.method() == Method::HEAD {
            *answer.body_mut() = Full::default();
        }
        answer
    }

    fn route(&self, request: &Request<Incoming>, verified: bool) -> Answer {
        let path = request.uri().path();
        let known = matches!(path, "/" | "/metrics");
        // Probes come without credentials, and learn nothing.
        if !matches!(path, "/healthz" | "/readyz") && !self.guard.admits(request.headers(), verified) {
            let mut answer = text(StatusCode::UNAUTHORIZED, "a token is needed\n");
            let realm = HeaderValue::from_static("Basic realm=\"regsweep\", charset=\"UTF-8\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
            return answer;
        }
        if known && request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "it can only be read\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
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
            _ => text(StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n"),
        }
    }
}

fn text(status: StatusCode, body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
