//! The receiving end of a stream: dials the peer, decodes what comes, and dials again.

use crate::body;
use crate::codec::{Decoder, is_link_heartbeat, message, msgappv2};
use crate::failure::Failure;
use crate::handler::Note;
use crate::shared::Shared;
use crate::status::Status;
use crate::stream::StreamKind;
use crate::urls::Picker;
use address::Url;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use prost::Message as _;
use proto::raftpb::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::{Instant, sleep_until, timeout};

/// Receives one kind of stream from one peer, for as long as its task runs.
pub(crate) struct Reader {
    pub(crate) id: u64,
    pub(crate) kind: StreamKind,
    pub(crate) shared: Arc<Shared>,
    pub(crate) picker: Arc<Picker>,
    pub(crate) status: Arc<Status>,
    /// Whether the peer gave the stream of this dial.
    pub(crate) is_open: AtomicBool,
}

impl Reader {
    /// Never ends by itself.
    pub(crate) async fn run(self) {
        loop {
            let next_dial = Instant::now() + self.shared.config.limits.dial_interval;
            self.is_open.store(false, Ordering::Relaxed);
            let failure = self.until_failure().await;
            self.report(&failure);
            sleep_until(next_dial).await;
        }
    }

    /// Receives over one connection until it ends.
    async fn until_failure(&self) -> Failure {
        let mut epoch = self.picker.epoch();
        tokio::select! {
            failure = self.receive() => failure,
            // The picker outlives this task.
            _ = epoch.changed() => Failure::Moved,
        }
    }

    fn report(&self, failure: &Failure) {
        let (id, stream, why) = (self.id, self.kind.name(), failure.to_string());
        let was_open = self.is_open.load(Ordering::Relaxed);
        let rejected = failure.rejection();
        let rejected = rejected.as_ref();
        self.shared.handler.note(&Note::StreamLost { id, stream, was_open, why: &why, rejected });
        match failure {
            // The next dial tells whether the peer is there.
            Failure::Closed | Failure::Moved | Failure::Unsupported => {}
            Failure::Removed => {
                self.status.deactivate(&why);
                self.shared.handler.expelled(self.id);
            }
            _ => self.status.deactivate(&why),
        }
    }

    async fn receive(&self) -> Failure {
        let url = self.picker.pick();
        match self.dial(&url).await {
            Ok(body) => {
                self.status.activate();
                self.is_open.store(true, Ordering::Relaxed);
                let (id, stream) = (self.id, self.kind.name());
                self.shared.handler.note(&Note::StreamOpened { id, stream });
                self.decode(body).await
            }
            Err(failure) => {
                self.picker.unreachable(&url);
                failure
            }
        }
    }

    async fn dial(&self, url: &Url) -> Result<Incoming, Failure> {
        let path = format!("/raft/stream/{}/{:x}", self.kind.name(), self.shared.config.member_id);
        let request = self
            .shared
            .identity
            .stream_request(url.escaped_host(), &path, self.id)
            .body(Empty::<Bytes>::new())
            .expect("an address that was parsed makes a request");
        let mut connection = self.shared.open(url).await?;
        let limit = self.shared.config.limits.read_timeout;
        let response = timeout(limit, connection.send_request(request)).await;
        let response = response.map_err(|_| Failure::TimedOut("waiting for an answer"))??;
        self.check(response).await
    }

    /// The stream, if the peer gives it.
    async fn check(&self, response: Response<Incoming>) -> Result<Incoming, Failure> {
        if self.shared.identity.lacks_streams(response.headers()) {
            return Err(Failure::Unsupported);
        }
        let status = response.status();
        match status {
            StatusCode::OK => return Ok(response.into_body()),
            StatusCode::GONE => return Err(Failure::Removed),
            StatusCode::NOT_FOUND => {
                let (peer, own) = (self.id, self.shared.config.member_id);
                return Err(Failure::Unknown { peer, own });
            }
            _ => {}
        }
        let limit = self.shared.config.limits.read_timeout;
        let (head, incoming) = response.into_parts();
        let text = body::answer(incoming, limit).await?;
        let text = String::from_utf8_lossy(&text);
        Err(match status {
            StatusCode::PRECONDITION_FAILED => Failure::of_precondition(&head.headers, &text),
            _ => Failure::of_status(status, &text),
        })
    }

    fn decoder(&self) -> Decoder {
        let max = self.shared.config.limits.stream_message_bytes_max;
        let local = self.shared.config.member_id;
        match self.kind {
            StreamKind::MsgApp => Decoder::MsgApp(msgappv2::Decoder::new(local, self.id, max)),
            StreamKind::Message => Decoder::Message(message::Decoder::new(max)),
        }
    }

    async fn decode(&self, mut body: Incoming) -> Failure {
        let mut decoder = self.decoder();
        loop {
            match body::piece(&mut body, self.shared.config.limits.read_timeout).await {
                Ok(Some(piece)) => decoder.push(piece),
                Ok(None) => {
                    return decoder.finish().map_or_else(Failure::from, |()| Failure::Closed);
                }
                Err(failure) => return failure,
            }
            if let Err(error) = self.deliver_all(&mut decoder) {
                return Failure::from(error);
            }
        }
    }

    fn deliver_all(&self, decoder: &mut Decoder) -> Result<(), crate::codec::CodecError> {
        while let Some(message) = decoder.message()? {
            self.status.received(message.encoded_len());
            if !is_link_heartbeat(&message) {
                self.deliver(message);
            }
        }
        Ok(())
    }

    fn deliver(&self, message: Message) {
        if self.shared.deliver(message).is_err() {
            self.status.receive_failed();
        }
    }
}
