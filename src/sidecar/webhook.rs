//! Notices to whoever wants to know at once: a run finished, was refused or failed, or gave back what a push needed.
//!
//! They are sent one after another by a task of their own, so that a receiver that is slow or away holds up nothing.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde::Serialize;
use tokio::sync::mpsc;

use super::board::{Board, Ending, RunFacts};
use crate::clock::Clock;
use crate::config::registry::Secret;

/// Notices that wait to be sent; more are given up.
const WAITING: usize = 64;

/// How often one is sent before it is given up.
const ATTEMPTS: u32 = 6;

/// How long to wait before the second attempt, and twice as long before each after it.
const BACKOFF: Duration = Duration::from_secs(2);

/// How long one attempt may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The `schema` of a notice.
pub const SCHEMA: &str = "regsweep/notice/1";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run ended.
    Finished,
    /// A run was refused for safety.
    Refused,
    /// A run failed, or was cut off.
    Failed,
    /// A run brought back what a push needs.
    Healed,
    /// There is no registry yet to work on.
    Empty,
}

impl Event {
    /// What a run is worth telling.
    pub fn of(run: &RunFacts) -> Vec<Self> {
        let end = match run.ending {
            Ending::Done | Ending::SomeFailed | Ending::CutShort => Some(Self::Finished),
            Ending::Refused => Some(Self::Refused),
            Ending::Failed | Ending::Interrupted => Some(Self::Failed),
            Ending::Empty => Some(Self::Empty),
            // Whoever does the work tells of it.
            Ending::Standby => None,
        };
        let healed = (run.given_back > 0).then_some(Self::Healed);
        end.into_iter().chain(healed).collect()
    }
}

/// A notice as it is sent.
#[derive(Debug, Clone, Serialize)]
pub struct Notice<'n> {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// What happened.
    pub event: Event,
    /// The store's URL.
    pub store: &'n str,
    /// What became of the run.
    #[serde(flatten)]
    pub run: &'n RunFacts,
}

impl<'n> Notice<'n> {
    /// A notice of a run.
    pub fn of(event: Event, store: &'n str, run: &'n RunFacts) -> Self {
        Self { schema: SCHEMA, event, store, run }
    }
}

/// Where notices go. The address may hold a secret of its own, so it is never shown.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// The address.
    address: Secret,
    /// Its host, which may be shown.
    pub host: String,
    /// Sent as `Authorization: Bearer`.
    token: Option<Secret>,
}

impl Receiver {
    /// A receiver at `address`.
    ///
    /// # Errors
    /// Why the address is none, without quoting it.
    pub fn of(address: &Secret, token: Option<Secret>) -> Result<Self, &'static str> {
        let url = Url::parse(address.expose()).map_err(|_| "it is no URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("it is neither http:// nor https://");
        }
        let host = url.host_str().ok_or("it names no host")?.to_owned();
        Ok(Self { address: address.clone(), host, token })
    }
}

/// Hands notices to the task that sends them.
#[derive(Debug, Clone)]
pub struct Sender {
    queue: mpsc::Sender<Vec<u8>>,
    board: Arc<Board>,
}

impl Sender {
    /// Hands over a notice, or gives it up when too many wait.
    pub fn send(&self, notice: &Notice<'_>) {
        let handed = serde_json::to_vec(notice).is_ok_and(|body| self.queue.try_send(body).is_ok());
        if !handed {
            self.board.note(|facts| facts.totals.notices.1 += 1);
        }
    }
}

/// Begins to send. The task ends when every sender is gone and what was handed over is sent or given up.
///
/// # Errors
/// When there is no way to encrypt.
pub fn begin(
    receiver: Receiver,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
) -> Result<(Sender, tokio::task::JoinHandle<()>), reqwest::Error> {
    // The first caller in the process says where the means to encrypt come from.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .connect_timeout(ANSWER)
        .timeout(ANSWER)
        .redirect(Policy::none())
        .user_agent(concat!("regsweep/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let (queue, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    let noted = board.clone();
    let task = tokio::spawn(async move {
        while let Some(body) = waiting.recv().await {
            let delivered = deliver(&client, &receiver, &body, clock.as_ref()).await;
            noted.note(|facts| {
                let (sent, lost) = &mut facts.totals.notices;
                *(if delivered { sent } else { lost }) += 1;
            });
        }
    });
    Ok((Sender { queue, board }, task))
}

/// Sends one notice, again where that may help.
async fn deliver(client: &Client, receiver: &Receiver, body: &[u8], clock: &dyn Clock) -> bool {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            clock.sleep(BACKOFF * 2u32.pow(attempt - 1)).await;
        }
        let mut request = client
            .post(receiver.address.expose())
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_vec());
        if let Some(token) = &receiver.token {
            request = request.bearer_auth(token.expose());
        }
        match request.send().await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => return true,
            // What is wrong with it stays wrong, unless it comes too soon or too often.
            Ok(status)
                if status.is_client_error()
                    && !matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) =>
            {
                tracing::warn!(host = receiver.host, %status, "the webhook refuses a notice");
                return false;
            }
            Ok(status) => tracing::info!(host = receiver.host, %status, "the webhook is asked again"),
            Err(error) => {
                let why = error.without_url().to_string();
                tracing::info!(host = receiver.host, why, "the webhook is asked again");
            }
        }
    }
    tracing::warn!(host = receiver.host, "a notice to the webhook is given up");
    false
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    use jiff::Timestamp;

    use super::*;
    use crate::clock::Manual;

    /// Answers one request after another with these statuses, and says what came.
    fn answering(statuses: &'static [u16]) -> (String, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/hook/s3cret", listener.local_addr().unwrap());
        let (told, heard) = channel();
        std::thread::spawn(move || {
            for status in statuses {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let (mut lines_of_head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                    lines_of_head.push_str(&line.to_ascii_lowercase());
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                told.send(format!("{lines_of_head}\n{}", String::from_utf8(body).unwrap())).unwrap();
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        (address, heard)
    }

    fn refused() -> RunFacts {
        let mut run = RunFacts::begun(Timestamp::UNIX_EPOCH);
        run.ending = Ending::Refused;
        run.why = vec!["too much".into()];
        run
    }

    async fn notices(statuses: &'static [u16]) -> ((u64, u64), Vec<String>) {
        let (address, heard) = answering(statuses);
        let board = Arc::new(Board::default());
        let token = Some(Secret::from("the-token".to_owned()));
        let receiver = Receiver::of(&Secret::from(address), token).unwrap();
        assert!(
            !format!("{receiver:?}").contains("s3cret") && !format!("{receiver:?}").contains("the-token")
        );
        let clock = Arc::new(Manual::at(Timestamp::UNIX_EPOCH));
        let (sender, task) = begin(receiver, board.clone(), clock).unwrap();
        let run = refused();
        for event in Event::of(&run) {
            sender.send(&Notice::of(event, "file:///registry", &run));
        }
        drop(sender);
        task.await.unwrap();
        (board.facts().totals.notices, heard.try_iter().collect())
    }

    #[tokio::test]
    async fn a_notice_is_sent_until_it_is_taken() {
        let (counts, came) = notices(&[500, 503, 429, 204]).await;
        assert_eq!(counts, (1, 0));
        assert_eq!(came.len(), 4);
        let (head, body) = came[3].rsplit_once('\n').unwrap();
        assert!(
            head.starts_with("post /hook/s3cret http/1.1")
                && head.contains("authorization: bearer the-token"),
            "{head}"
        );
        let notice: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&notice["schema"], &notice["event"]), (&SCHEMA.into(), &"refused".into()));
        assert_eq!((&notice["why"][0], &notice["store"]), (&"too much".into(), &"file:///registry".into()));
    }

    #[tokio::test]
    async fn a_notice_is_given_up_when_it_is_refused_or_nobody_is_there() {
        assert_eq!(notices(&[400]).await.0, (0, 1));
        // The listener goes away after one answer.
        assert_eq!(notices(&[500]).await.0, (0, 1));
    }

    #[test]
    fn what_is_told_of_a_run() {
        let mut run = refused();
        run.given_back = 1;
        assert_eq!(Event::of(&run), [Event::Refused, Event::Healed]);
        (run.ending, run.given_back) = (Ending::Standby, 0);
        assert_eq!(Event::of(&run), []);
    }

    #[test]
    fn addresses_that_are_none_are_not_quoted() {
        for address in ["hook", "ftp://host/hook", "unix:/run/hook"] {
            let why = Receiver::of(&Secret::from(address.to_owned()), None).unwrap_err();
            assert!(!why.contains("hook"), "{why}");
        }
    }
}
