//! Leases kept alive.

use crate::connection::Client;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::retry::{PAUSE, is_about_token, name_loss};
use crate::stream::{Both, Opening};
use proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use std::time::{Duration, Instant};
use tonic::{Code, Status};

const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const NOT_FOUND: &str = "etcdserver: requested lease not found";
/// How long a stream may stay silent before another one is tried: a sixth of the time to live, but
/// within these bounds. A renewal does no harm when it is done twice.
const ANSWER_TIMEOUT_MIN: Duration = Duration::from_millis(250);
const ANSWER_TIMEOUT_MAX: Duration = Duration::from_secs(5);

type Stream = Both<LeaseKeepAliveRequest, LeaseKeepAliveResponse>;

/// One lease kept alive: renewed at a third of its time to live until it is gone.
pub struct KeepAlive {
    client: Client,
    id: i64,
    stream: Option<Stream>,
    renew_at: Instant,
    expires_at: Option<Instant>,
    answer_timeout: Duration,
}

impl Client {
    /// Renews a lease once.
    ///
    /// # Errors
    /// `requested lease not found`, and those of the call.
    pub async fn keep_alive_once(
        &self,
        id: i64,
        deadline: Deadline,
    ) -> Result<LeaseKeepAliveResponse, Error> {
        let mut keep_alive = self.keep_alive(id);
        match keep_alive.next_until(deadline).await? {
            Some(answer) => Ok(answer),
            None => Err(Status::new(Code::NotFound, NOT_FOUND).into()),
        }
    }

    /// Keeps a lease alive for as long as [`KeepAlive::next`] is called.
    pub fn keep_alive(&self, id: i64) -> KeepAlive {
        KeepAlive {
            client: self.clone(),
            id,
            stream: None,
            renew_at: Instant::now(),
            expires_at: None,
            answer_timeout: ANSWER_TIMEOUT_MAX,
        }
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
            let until = self.expires_at.map_or(Deadline::NONE, Deadline::at);
            match self.next_until(until).await {
                // Nobody is there yet; until the lease is known to be over, somebody may come.
                Err(Error::Unreachable { .. } | Error::DeadlineExceeded) => {
                    if self.has_expired() {
                        return Ok(None);
                    }
                }
                done => return done,
            }
        }
    }

    fn has_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= Instant::now())
    }

    async fn next_until(
        &mut self,
        deadline: Deadline,
    ) -> Result<Option<LeaseKeepAliveResponse>, Error> {
        let mut timeout = self.answer_timeout;
        loop {
            if self.has_expired() {
                return Ok(None);
            }
            let shown = self.client.token().current();
            let status = match deadline.limit(self.renew(deadline, timeout)).await? {
                Ok(answer) if answer.ttl <= 0 => return Ok(None),
                Ok(answer) => {
                    self.note(answer.ttl);
                    return Ok(Some(answer));
                }
                Err(Error::Status(status)) => status,
                Err(error) => return Err(error),
            };
            self.stream = None;
            timeout = (timeout * 2).min(ANSWER_TIMEOUT_MAX);
            if is_about_token(status.message()) && self.client.token().can_renew() {
                self.client.renew(&shown, deadline).await?;
            } else if !matches!(status.code(), Code::Unavailable | Code::Internal) {
                return Err(Error::Status(status));
            }
            deadline.limit(tokio::time::sleep(PAUSE)).await?;
        }
    }

    fn note(&mut self, ttl_seconds: i64) {
        let ttl = Duration::from_secs(ttl_seconds.unsigned_abs());
        self.renew_at = Instant::now() + ttl / 3;
        self.expires_at = Instant::now().checked_add(ttl);
        self.answer_timeout = (ttl / 6).clamp(ANSWER_TIMEOUT_MIN, ANSWER_TIMEOUT_MAX);
    }

    /// Asks once, on the stream that there is or on a new one.
    async fn renew(
        &mut self,
        deadline: Deadline,
        timeout: Duration,
    ) -> Result<LeaseKeepAliveResponse, Error> {
        let lost = || Status::unavailable("the keep-alive stream ended");
        let request = LeaseKeepAliveRequest { id: self.id };
        let Some(stream) = &mut self.stream else {
            let opening = Opening { path: KEEP_ALIVE, requires_leader: false, request };
            let mut stream: Stream = self.client.stream(opening, deadline).await?;
            let first = std::mem::take(&mut stream.first);
            self.stream = Some(stream);
            return Ok(first);
        };
        stream.requests.try_send(request).map_err(|_| lost())?;
        let answer = tokio::time::timeout(timeout, stream.answers.message()).await;
        let answer = answer.map_err(|_| lost())?.map_err(name_loss)?;
        Ok(answer.ok_or_else(lost)?)
    }
}
