//! A watch that outlives its connections.

use crate::connection::Client;
use crate::error::Error;
use crate::retry::PAUSE;
use crate::retry::name_loss;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

const WATCH: &str = "/etcdserverpb.Watch/Watch";
const NO_LEADER: &str = "etcdserver: no leader";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";
/// Requests on their way to the server: the creation, and progress asked for.
const REQUESTS_MAX: usize = 4;

/// One watch, on a stream of its own. When its connection is lost it goes on at another endpoint,
/// from the first revision that it has not shown yet; so every event comes once and in order.
pub struct Watch {
    client: Client,
    /// What the next stream begins with; its start revision moves with what was shown.
    create: WatchCreateRequest,
    requires_leader: bool,
    stream: Option<Stream>,
    progress: (mpsc::Sender<()>, mpsc::Receiver<()>),
    /// Fragments of an answer that is not whole yet.
    fragments: Option<WatchResponse>,
    over: bool,
}

struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

/// What a watch shows.
#[derive(Debug, Default)]
pub struct WatchAnswer {
    /// Events, or a notification of progress, or the cancellation.
    pub response: WatchResponse,
    /// Why the stream ended for good, if that ended the watch.
    pub closed: Option<Error>,
}

impl WatchAnswer {
    /// Whether this only says how far the watch has come.
    pub fn is_progress(&self) -> bool {
        let response = &self.response;
        let quiet = response.events.is_empty() && response.compact_revision == 0;
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        quiet && !response.canceled && !response.created && revision != 0
    }

    /// Why the watch was canceled.
    pub fn reason(&self) -> Option<String> {
        let response = &self.response;
        if let Some(error) = &self.closed {
            return Some(error.to_string());
        }
        match () {
            () if response.compact_revision != 0 => Some(COMPACTED.into()),
            () if !response.canceled => None,
            () if response.cancel_reason.is_empty() => Some(FUTURE.into()),
            () => {
                let status = Status::failed_precondition(response.cancel_reason.clone());
                Some(Error::from(status).to_string())
            }
        }
    }
}

impl Client {
    /// Watches what `create` names. A watch that requires a leader ends when its member has none.
    pub fn watch(&self, create: WatchCreateRequest, requires_leader: bool) -> Watch {
        Watch {
            client: self.clone(),
            create,
            requires_leader,
            stream: None,
            progress: mpsc::channel(1),
            fragments: None,
            over: false,
        }
    }
}

impl Watch {
    /// Sending here asks the server how far the watch is; the answer comes through
    /// [`Watch::next`].
    pub fn progress_requests(&self) -> mpsc::Sender<()> {
        self.progress.0.clone()
    }

    /// The next answer; none when the watch is over, after an answer that says why.
    pub async fn next(&mut self) -> Option<WatchAnswer> {
        while !self.over {
            match self.receive().await {
                Ok(Some(response)) => {
                    if let Some(answer) = self.take(response) {
                        return Some(answer);
                    }
                }
                Ok(None) => self.stream = None,
                Err(status) if ends_watch(&status) => {
                    self.over = true;
                    let response = WatchResponse { canceled: true, ..WatchResponse::default() };
                    return Some(WatchAnswer { response, closed: Some(status.into()) });
                }
                Err(_) => {
                    self.stream = None;
                    self.fragments = None;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        None
    }

    /// The next message, whatever it is.
    async fn receive(&mut self) -> Result<Option<WatchResponse>, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let opened = open(&self.client, self.create.clone(), self.requires_leader).await?;
                self.stream.insert(opened)
            }
        };
        loop {
            tokio::select! {
                message = stream.answers.message() => return message.map_err(name_loss),
                Some(()) = self.progress.1.recv() => {
                    let union = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    // A stream that has just been lost is noticed by its answers.
                    let _ = stream.requests.try_send(WatchRequest { request_union: Some(union) });
                }
            }
        }
    }

    /// What a message means to the user: an answer, or nothing.
    fn take(&mut self, mut response: WatchResponse) -> Option<WatchAnswer> {
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        if response.created && !response.canceled {
            if self.create.start_revision == 0 {
                self.create.start_revision = revision + 1;
            }
            return None;
        }
        if let Some(mut whole) = self.fragments.take() {
            whole.events.append(&mut response.events);
            whole.fragment = response.fragment;
            response = whole;
        }
        if response.fragment {
            self.fragments = Some(response);
            return None;
        }
        let next = self.create.start_revision;
        if response.canceled || response.compact_revision != 0 {
            self.over = true;
        } else if let Some(kv) = response.events.last().and_then(|event| event.kv.as_ref()) {
            self.create.start_revision = next.max(kv.mod_revision + 1);
            let is_new = |revision: i64| revision >= next;
            response
                .events
                .retain(|event| event.kv.as_ref().is_none_or(|kv| is_new(kv.mod_revision)));
        } else {
            self.create.start_revision = next.max(revision + 1);
        }
        Some(WatchAnswer { response, closed: None })
    }
}

/// What no other attempt would change (`isHaltErr` in the reference), and the loss of the leader.
fn ends_watch(status: &Status) -> bool {
    !matches!(status.code(), Code::Unavailable | Code::Internal | Code::Unknown)
        || status.message() == NO_LEADER
}

async fn open(
    client: &Client,
    create: WatchCreateRequest,
    requires_leader: bool,
) -> Result<Stream, Status> {
    let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    requests.try_send(create).expect("a fresh channel has room");
    let receiver = ReceiverStream::new(receiver);
    let answers = client.stream(receiver, WATCH, requires_leader).await?;
    Ok(Stream { requests, answers })
}
