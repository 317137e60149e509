//! A watch that outlives its connections.

use crate::connection::Client;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::retry::{PAUSE, is_about_token, name_loss};
use crate::stream::{Both, Opening};
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::mpsc;
use tonic::{Code, Status};

const WATCH: &str = "/etcdserverpb.Watch/Watch";
const NO_LEADER: &str = "etcdserver: no leader";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";
/// Orders that wait for the watch; one of a kind is as good as two.
const ORDERS_MAX: usize = 2;
/// Times in a row that a creation is refused for its token before that is believed.
const REFUSALS_MAX: usize = 3;

type Stream = Both<WatchRequest, WatchResponse>;

/// One watch, on a stream of its own. When its connection is lost it goes on at another endpoint,
/// from the first revision that it has not shown yet; so every event comes once and in order.
/// Dropping it cancels it.
pub struct Watch {
    client: Client,
    /// What the next stream begins with; its start revision moves with what was shown.
    create: WatchCreateRequest,
    requires_leader: bool,
    stream: Option<Stream>,
    id: i64,
    orders: (mpsc::Sender<Order>, mpsc::Receiver<Order>),
    /// What the creation brought already.
    pending: Option<WatchAnswer>,
    /// Fragments of an answer that is not whole yet.
    fragments: Option<WatchResponse>,
    over: bool,
}

/// What is asked of a watch while it waits.
#[derive(Clone, Copy, Debug)]
enum Order {
    Progress,
    Cancel,
}

/// A way to a watch from elsewhere, while somebody waits in [`Watch::next`].
#[derive(Clone, Debug)]
pub struct WatchHandle(mpsc::Sender<Order>);

impl WatchHandle {
    /// Asks the server how far the watch is; the answer comes through [`Watch::next`].
    pub fn request_progress(&self) {
        // A request that waits already asks the same.
        let _ = self.0.try_send(Order::Progress);
    }

    /// Cancels the watch: [`Watch::next`] shows what came before, the cancellation, and then nothing.
    pub async fn cancel(&self) {
        // A watch that is gone is canceled.
        let _ = self.0.send(Order::Cancel).await;
    }

    /// Whether the watch is gone.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
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
            // A refused creation says so in a whole error's words already.
            () if response.cancel_reason.starts_with("rpc error: ") => {
                Some(response.cancel_reason.clone())
            }
            () => {
                let status = Status::failed_precondition(response.cancel_reason.clone());
                Some(Error::from(status).to_string())
            }
        }
    }
}

impl Client {
    /// Watches what `create` names. The server has created the watch when this returns: it shows
    /// whatever is written afterwards. A watch that requires a leader ends when its member has none.
    ///
    /// A creation that the server refuses is shown by [`Watch::next`], as any other cancellation.
    /// Without a deadline this waits for a server however long it takes.
    ///
    /// # Errors
    /// No server could be asked until the deadline, or none would ever answer differently.
    pub async fn watch(
        &self,
        create: WatchCreateRequest,
        requires_leader: bool,
        deadline: Deadline,
    ) -> Result<Watch, Error> {
        let mut watch = Watch {
            client: self.clone(),
            create,
            requires_leader,
            stream: None,
            id: 0,
            orders: mpsc::channel(ORDERS_MAX),
            pending: None,
            fragments: None,
            over: false,
        };
        watch.open(deadline).await?;
        Ok(watch)
    }
}

impl Watch {
    /// A handle for others.
    pub fn handle(&self) -> WatchHandle {
        WatchHandle(self.orders.0.clone())
    }

    /// The revision from which the watch would go on: it has shown everything before.
    pub fn next_revision(&self) -> i64 {
        self.create.start_revision
    }

    /// The next answer; none when the watch is over, after an answer that says why.
    pub async fn next(&mut self) -> Option<WatchAnswer> {
        loop {
            if let Some(answer) = self.pending.take() {
                return Some(answer);
            }
            if self.over {
                return None;
            }
            let received = match self.stream.is_some() {
                true => self.receive().await,
                false => match self.open(Deadline::NONE).await {
                    Ok(()) => continue,
                    Err(error) => return Some(self.close(error)),
                },
            };
            match received {
                Ok(Some(response)) => self.pending = self.take(response),
                Err(status) if ends_watch(&status) => return Some(self.close(status.into())),
                Ok(None) | Err(_) => {
                    self.lose();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Cancels the watch and waits until the server has done so; what comes before that is not shown.
    /// Afterwards the watch is over.
    ///
    /// # Errors
    /// The deadline passed. Dropping the watch cancels it as well, without waiting.
    pub async fn cancel(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.order(Order::Cancel);
        let canceled = async {
            while self.stream.is_some() && !self.over {
                match self.receive().await {
                    Ok(Some(response)) => self.over = response.canceled,
                    Ok(None) | Err(_) => self.lose(),
                }
            }
        };
        deadline.limit(canceled).await?;
        (self.over, self.pending) = (true, None);
        self.lose();
        Ok(())
    }

    fn lose(&mut self) {
        self.stream = None;
        self.fragments = None;
    }

    fn close(&mut self, error: Error) -> WatchAnswer {
        self.over = true;
        self.lose();
        let response = WatchResponse { canceled: true, ..WatchResponse::default() };
        WatchAnswer { response, closed: Some(error) }
    }

    /// Gets a stream on which the server has created the watch, or has refused to.
    async fn open(&mut self, deadline: Deadline) -> Result<(), Error> {
        let mut refusals = 0;
        loop {
            let shown = self.client.token().current();
            let create = RequestUnion::CreateRequest(self.create.clone());
            let request = WatchRequest { request_union: Some(create) };
            let opening = Opening { path: WATCH, requires_leader: self.requires_leader, request };
            let mut stream: Stream = match self.client.stream(opening, deadline).await {
                Ok(stream) => stream,
                // Nobody is there yet, and there is no hurry.
                Err(Error::Unreachable { .. }) if deadline == Deadline::NONE => continue,
                Err(Error::Status(status))
                    if deadline == Deadline::NONE && !ends_watch(&status) =>
                {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let first = std::mem::take(&mut stream.first);
            let is_renewable = self.client.token().can_renew() && refusals < REFUSALS_MAX;
            if first.canceled && is_about_token(&first.cancel_reason) && is_renewable {
                refusals += 1;
                self.client.renew(&shown, deadline).await?;
                continue;
            }
            self.id = first.watch_id;
            self.stream = Some(stream);
            self.pending = self.take(first);
            return Ok(());
        }
    }

    /// The next message, whatever it is.
    async fn receive(&mut self) -> Result<Option<WatchResponse>, Status> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            tokio::select! {
                message = stream.answers.message() => return message.map_err(name_loss),
                Some(order) = self.orders.1.recv() => self.order(order),
            }
        }
    }

    fn order(&mut self, order: Order) {
        let union = match order {
            Order::Progress => RequestUnion::ProgressRequest(WatchProgressRequest {}),
            Order::Cancel => RequestUnion::CancelRequest(WatchCancelRequest { watch_id: self.id }),
        };
        if let Some(stream) = &self.stream {
            let request = WatchRequest { request_union: Some(union) };
            // A stream that has just been lost is noticed by its answers.
            let _ = stream.requests.try_send(request);
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
            whole.canceled |= response.canceled;
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
            if response.events.is_empty() {
                return None;
            }
        } else {
            self.create.start_revision = next.max(revision + 1);
        }
        Some(WatchAnswer { response, closed: None })
    }
}

/// What no other attempt would change (`isHaltErr` in the reference), and the loss of the leader.
fn ends_watch(status: &Status) -> bool {
    let is_lost = matches!(status.code(), Code::Unavailable | Code::Internal | Code::Unknown);
    let is_about_token = is_about_token(status.message());
    !(is_lost || is_about_token) || status.message() == NO_LEADER
}
