//! Leases kept alive.

use crate::connection::Client;
use crate::error::Error;
use crate::retry::PAUSE;
use proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const NOT_FOUND: &str = "etcdserver: requested lease not found";
/// How long a stream may stay silent before another one is tried.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// One lease kept alive: renewed at a third of its time to live until it is gone.
pub struct KeepAlive {
    client: Client,
    id: i64,
    stream: Option<Stream>,
    renew_at: Instant,
    expires_at: Option<Instant>,
}

struct Stream {
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Client {
    /// Renews a lease once.
    ///
    /// # Errors
    /// `requested lease not found`, and those of the call.
    pub async fn keep_alive_once(&self, id: i64) -> Result<LeaseKeepAliveResponse, Error> {
        let mut keep_alive = self.keep_alive(id);
        match keep_alive.next().await? {
            Some(answer) => Ok(answer),
            None => Err(Status::new(Code::NotFound, NOT_FOUND).into()),
        }
    }

    /// Keeps a lease alive for as long as [`KeepAlive::next`] is called.
    pub fn keep_alive(&self, id: i64) -> KeepAlive {
        let renew_at = Instant::now();
        KeepAlive { client: self.clone(), id, stream: None, renew_at, expires_at: None }
    }
}

impl KeepAlive {
    /// Waits until it is time, renews the lease, and returns the answer; none when the lease has
    /// expired or was revoked. A lost connection is replaced while the lease may still live.
    ///
    /// # Errors
    /// What the server says and no other endpoint would say differently.
    pub async fn next(&mut self) -> Result<Option<LeaseKeepAliveResponse>, Error> {
        tokio::time::sleep_until(self.renew_at.into()).await;
        loop {
            if self.expires_at.is_some_and(|at| at <= Instant::now()) {
                return Ok(None);
            }
            match self.renew().await {
                Ok(answer) if answer.ttl <= 0 => return Ok(None),
                Ok(answer) => {
                    let ttl = Duration::from_secs(answer.ttl.unsigned_abs());
                    self.renew_at = Instant::now() + ttl / 3;
                    self.expires_at = Instant::now().checked_add(ttl);
                    return Ok(Some(answer));
                }
                Err(status) if matches!(status.code(), Code::Unavailable | Code::Internal) => {
                    self.stream = None;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(status) => return Err(status.into()),
            }
        }
    }

    async fn renew(&mut self) -> Result<LeaseKeepAliveResponse, Status> {
        let lost = || Status::unavailable("the keep-alive stream ended");
        let stream = match &mut self.stream {
            Some(stream) => {
                let request = LeaseKeepAliveRequest { id: self.id };
                stream.requests.send(request).await.map_err(|_| lost())?;
                stream
            }
            None => self.stream.insert(open(&self.client, self.id).await?),
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, stream.answers.message()).await;
        answer.map_err(|_| lost())??.ok_or_else(lost)
    }
}

/// Opens a stream; the first request goes with it.
async fn open(client: &Client, id: i64) -> Result<Stream, Status> {
    let (requests, receiver) = mpsc::channel(1);
    requests.try_send(LeaseKeepAliveRequest { id }).expect("a fresh channel has room for one");
    let answers = client.stream(ReceiverStream::new(receiver), KEEP_ALIVE, false).await?;
    Ok(Stream { requests, answers })
}
