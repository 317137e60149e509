//! The pipeline: messages by post, a few at once, for peers without a working stream.

use crate::body;
use crate::failure::Failure;
use crate::handler::Note;
use crate::shared::Shared;
use crate::status::Status;
use crate::urls::Picker;
use address::Url;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use prost::Message as _;
use proto::raftpb::{Message, MessageType};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

/// What all workers of a pipeline share.
pub(crate) struct Pipeline {
    pub(crate) id: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) picker: Arc<Picker>,
    pub(crate) status: Arc<Status>,
    /// Messages that wait for a worker.
    pub(crate) queue: Mutex<mpsc::Receiver<Message>>,
}

/// One post at a time, over a connection that is kept between posts.
struct Worker {
    pipeline: Arc<Pipeline>,
    kept: Option<(Url, SendRequest<Full<Bytes>>)>,
}

impl Pipeline {
    /// Posts what waits, until the queue is closed.
    pub(crate) async fn work(self: Arc<Self>) {
        let mut worker = Worker { pipeline: Arc::clone(&self), kept: None };
        loop {
            let message = self.queue.lock().await.recv().await;
            let Some(message) = message else { return };
            let result = worker.post(&message).await;
            self.report(&message, result);
        }
    }

    fn report(&self, message: &Message, result: Result<(), Failure>) {
        let is_snapshot = message.r#type() == MessageType::MsgSnap;
        let handler = &self.shared.handler;
        match &result {
            Ok(()) => {
                self.status.activate();
                self.status.sent(message.encoded_len());
            }
            Err(failure) => {
                self.status.deactivate(&failure.to_string());
                self.status.send_failed();
                handler.unreachable(self.id);
                if let Some(why) = failure.rejection() {
                    handler.note(&Note::PostRefused { id: self.id, why: &why });
                }
            }
        }
        if is_snapshot {
            handler.snapshot_done(self.id, result.is_ok());
        }
        if matches!(result, Err(Failure::Removed)) {
            handler.expelled(self.id);
        }
    }
}

impl Worker {
    async fn post(&mut self, message: &Message) -> Result<(), Failure> {
        let url = self.pipeline.picker.pick();
        let data = Bytes::from(message.encode_to_vec());
        let result = self.post_to(&url, data).await;
        if result.is_err() {
            self.kept = None;
            self.pipeline.picker.unreachable(&url);
        }
        result
    }

    async fn post_to(&mut self, url: &Url, data: Bytes) -> Result<(), Failure> {
        let silence_max = self.pipeline.shared.config.limits.read_timeout;
        let response = match self.send_over_kept(url, &data).await {
            Some(response) => response,
            None => {
                let mut connection = self.pipeline.shared.open(url).await?;
                let request = self.request(url, data);
                let response = limited(silence_max, connection.send_request(request)).await?;
                self.kept = Some((url.clone(), connection));
                response
            }
        };
        check(response, silence_max).await
    }

    /// The answer, if the kept connection still works. Where it does not, the message may or may
    /// not have arrived; raft does not mind it twice.
    async fn send_over_kept(&mut self, url: &Url, data: &Bytes) -> Option<Response<Incoming>> {
        let (kept_url, mut connection) = self.kept.take()?;
        if kept_url != *url || connection.is_closed() {
            return None;
        }
        let silence_max = self.pipeline.shared.config.limits.read_timeout;
        let request = self.request(url, data.clone());
        limited(silence_max, connection.ready()).await.ok()?;
        let response = limited(silence_max, connection.send_request(request)).await.ok()?;
        self.kept = Some((kept_url, connection));
        Some(response)
    }

    fn request(&self, url: &Url, data: Bytes) -> Request<Full<Bytes>> {
        let identity = &self.pipeline.shared.identity;
        identity
            .request(Method::POST, url.escaped_host(), "/raft")
            .header(CONTENT_TYPE, "application/protobuf")
            .body(Full::new(data))
            .expect("an address that was parsed makes a request")
    }
}

async fn limited<T>(
    limit: Duration,
    future: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, Failure> {
    let done = timeout(limit, future).await;
    Ok(done.map_err(|_| Failure::TimedOut("waiting for an answer"))??)
}

/// Whether the peer took what was posted.
pub(crate) async fn check(
    response: Response<Incoming>,
    silence_max: Duration,
) -> Result<(), Failure> {
    let (head, incoming) = response.into_parts();
    let status = head.status;
    let text = body::answer(incoming, silence_max).await?;
    let text = String::from_utf8_lossy(&text);
    match status {
        StatusCode::NO_CONTENT => Ok(()),
        // No etcd answers so, though each takes it for its removal. That another member listens at
        // the address must not stop a healthy one.
        StatusCode::FORBIDDEN if !text.contains("mismatch member") => Err(Failure::Removed),
        StatusCode::PRECONDITION_FAILED => Err(Failure::of_precondition(&head.headers, &text)),
        _ => Err(Failure::of_status(status, &text)),
    }
}
