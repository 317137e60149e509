//! Plain requests to other members: `/members`, `/version`, `/leases` and so on.

use crate::Transport;
use crate::failure::Failure;
use crate::idle::{Asking, Idle};
use crate::link::Dialer;
use crate::{Config, body};
use address::Url;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tls::Connector;
use tokio::time::timeout;

/// What a member answered.
#[derive(Clone, Debug)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, of at most 64 KiB.
    pub body: Bytes,
}

/// A request that any member may answer.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where it may be asked, in turn until one answers.
    pub urls: Vec<String>,
    /// The path.
    pub path: String,
    /// What is posted; none for a GET.
    pub posted: Option<Bytes>,
    /// How long one answer may take.
    pub limit: Duration,
}

impl Transport {
    /// Asks; `then` gets the answer, or why the last member asked did not give one, on a thread of
    /// the transport.
    pub fn ask(
        &self,
        question: Question,
        then: impl FnOnce(Result<Page, String>) + Send + 'static,
    ) {
        let shared = Arc::clone(self.shared());
        self.shared().bulk.spawn(async move {
            then(ask(&shared.dialer, &shared.idle, &question).await);
        });
    }
}

/// Asks before there is a transport, and waits. `connector` is for https.
///
/// # Errors
/// Why the last member asked did not answer.
pub fn ask_and_wait(question: &Question, connector: &Connector) -> Result<Page, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let connector = connector.clone();
    let dialer = Dialer::new(&Config { connector, ..Config::new(0, 0) });
    runtime.block_on(ask(&dialer, &Idle::default(), question))
}

async fn ask(dialer: &Dialer, idle: &Idle, question: &Question) -> Result<Page, String> {
    let mut why = "there is nobody to ask".to_owned();
    for url in &question.urls {
        let parsed = match Url::of_member(url) {
            Ok(parsed) => parsed,
            Err(error) => {
                why = error.to_string();
                continue;
            }
        };
        match timeout(question.limit, ask_one(dialer, idle, &parsed, question)).await {
            Ok(Ok(page)) => return Ok(page),
            Ok(Err(failure)) => why = failure.to_string(),
            Err(_) => why = format!("{url}: timed out waiting for an answer"),
        }
    }
    Err(why)
}

/// Asks over a connection that is open, or over a fresh one.
async fn ask_one(
    dialer: &Dialer,
    idle: &Idle,
    url: &Url,
    question: &Question,
) -> Result<Page, Failure> {
    let mut request = request(url, question)?;
    if let Some(mut connection) = idle.take(url.host()).await {
        match connection.try_send_request(request).await {
            Ok(response) => return read(idle, url, question, connection, response).await,
            // It was closed at the other end before anything went out: nobody was asked.
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(error.into_error().into()),
            },
        }
    }
    let link = dialer.connect(url).await?;
    let (mut connection, driver) = http1::handshake(TokioIo::new(link)).await?;
    // It ends with the connection; what breaks it shows in the answer.
    tokio::spawn(async move {
        let _ = driver.await;
    });
    let response = connection.send_request(request).await?;
    read(idle, url, question, connection, response).await
}

fn request(url: &Url, question: &Question) -> Result<Request<Full<Bytes>>, Failure> {
    let method = if question.posted.is_some() { Method::POST } else { Method::GET };
    let request = Request::builder()
        .method(method)
        .uri(&question.path)
        .header(HOST, url.escaped_host())
        .header(CONTENT_TYPE, "application/protobuf")
        .body(Full::new(question.posted.clone().unwrap_or_default()))
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(request)
}

async fn read(
    idle: &Idle,
    url: &Url,
    question: &Question,
    connection: Asking,
    response: Response<Incoming>,
) -> Result<Page, Failure> {
    let (head, incoming) = response.into_parts();
    let body = body::answer(incoming, question.limit).await?;
    idle.keep(url.host(), connection);
    Ok(Page { status: head.status.as_u16(), headers: head.headers, body })
}
