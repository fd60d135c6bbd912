//! The connection: where a request is counted and refused before it is carried out, and where an answer is torn.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::StreamingBlob;
use s3s::service::S3Service;
use s3s::{Body, HttpResponse, S3Error, S3Result, StdError, s3_error};
use tokio::net::{TcpListener, TcpStream};

use super::Shared;
use super::faults::{Effect, writes};

/// What becomes of the answer to one request. It travels with the request, from where the request is known to where the
/// answer is sent.
#[derive(Debug, Clone, Default)]
struct Torn(Arc<Mutex<Option<Effect>>>);

impl Torn {
    fn set(&self, effect: Effect) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(effect);
    }

    fn take(&self) -> Option<Effect> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What goes wrong while an operation is carried out, left with its request.
#[derive(Debug, Clone, Default)]
pub struct Within(pub Vec<Effect>);

/// Counts, delays and refuses.
pub struct Gate(pub Arc<Shared>);

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied));
        }
        let operation = context.s3_op().name().to_owned();
        let key = context.s3_path().get_object_key().unwrap_or_default().to_owned();
        let effects = self.0.meet(&operation, &key);
        let options = self.0.options();
        tokio::time::sleep(options.latency).await;
        if options.read_only && writes(&operation) {
            return Err(s3_error!(AccessDenied));
        }
        let torn = context.extensions_mut().get_or_insert_default::<Torn>().clone();
        let mut within = Vec::new();
        for effect in effects {
            match effect {
                Effect::Delay(time) => tokio::time::sleep(time).await,
                Effect::Refuse { status, code } => return Err(refusal(status, code)),
                Effect::HangUp => {
                    torn.set(effect);
                    return Err(s3_error!(InternalError));
                }
                Effect::Halt => {
                    self.0.halt().await;
                    torn.set(Effect::HangUp);
                    return Err(s3_error!(InternalError));
                }
                Effect::LoseReply | Effect::CutBody | Effect::HangUpMidway | Effect::HaltAfter => {
                    torn.set(effect);
                }
                Effect::NoToken
                | Effect::Ends
                | Effect::RefuseKeys { .. }
                | Effect::RefuseHalf(_)
                | Effect::Shift(_) => within.push(effect),
            }
        }
        context.extensions_mut().insert(Within(within));
        Ok(())
    }
}

fn refusal(status: u16, code: &str) -> S3Error {
    let Ok(code) = code.parse();
    let mut error = S3Error::with_message(code, "as the test has it");
    error.set_status_code(StatusCode::from_u16(status).expect("a status"));
    error
}

/// Answers all connections until it is dropped.
pub async fn serve(listener: TcpListener, service: S3Service, shared: Arc<Shared>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let open = Open::new(shared.clone());
            tokio::spawn(converse(stream, service.clone(), open));
        }
    }
}

/// A connection, as long as it is open.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn converse(stream: TcpStream, service: S3Service, open: Open) {
    let _ = stream.set_nodelay(true);
    let each = service_fn(|request| answer(&service, &open.0, request));
    // An error is a client that went away, or a connection that a fault closes.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), each).await;
}

async fn answer(
    service: &S3Service,
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<HttpResponse, StdError> {
    let torn = Torn::default();
    let mut request = request.map(Body::from);
    request.extensions_mut().insert(torn.clone());
    let response = service.call(request).await?;
    let Some(effect) = torn.take() else { return Ok(response) };
    let (mut head, body) = response.into_parts();
    let bytes = match effect {
        Effect::CutBody | Effect::HangUpMidway => whole(body).await?,
        Effect::HaltAfter => {
            shared.halt().await;
            return Err(io::Error::other("hung up").into());
        }
        _ => return Err(io::Error::other("hung up").into()),
    };
    let half = bytes.slice(..bytes.len() / 2);
    let length = if effect == Effect::CutBody { half.len() } else { bytes.len() };
    head.headers.insert(CONTENT_LENGTH, length.into());
    let body = if effect == Effect::CutBody {
        Body::from(half)
    } else {
        let parts = [Ok(half), Err(io::Error::other("hung up"))];
        Body::from(StreamingBlob::wrap(futures::stream::iter(parts)))
    };
    Ok(HttpResponse::from_parts(head, body))
}

async fn whole(body: Body) -> Result<Bytes, StdError> {
    let mut body = Box::pin(body);
    let mut bytes = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}
