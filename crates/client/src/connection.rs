//! The connections to the endpoints, and calls over them.

use crate::config::Config;
use crate::error::Error;
use crate::gate::Way;
use crate::methods::{Repeat, Unary};
use crate::retry;
use crate::token::Token;
use http::uri::PathAndQuery;
use prost::Message;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// The version of the API that is spoken, for the server's metrics.
const INVALID_TOKEN: &str = "etcdserver: invalid auth token";
const OLD_REVISION: &str = "etcdserver: revision of auth store is old";
const USER_EMPTY: &str = "etcdserver: user name is empty";

/// Until when an answer is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Wait however long it takes.
    pub const NONE: Deadline = Deadline(None);

    /// So long from now.
    pub fn after(time: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(time))
    }

    /// So many seconds from now.
    pub fn in_seconds(seconds: u64) -> Deadline {
        Deadline::after(Duration::from_secs(seconds))
    }

    pub(crate) fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits for something no longer than this.
    pub(crate) async fn limit<F: Future>(self, future: F) -> Result<F::Output, Error> {
        match self.0 {
            None => Ok(future.await),
            Some(at) => {
                let limited = tokio::time::timeout_at(at.into(), future).await;
                limited.map_err(|_| Error::DeadlineExceeded)
            }
        }
    }
}

/// A client of one cluster; clones share its connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    channels: Vec<(Channel, Arc<Way>)>,
    /// Calls are spread over the endpoints in turn.
    next: AtomicUsize,
    config: Config,
    token: Token,
}

impl Client {
    /// A client; it connects when it is first used. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no endpoint, or one cannot be read, or a file for TLS.
    pub fn new(config: Config) -> Result<Client, Error> {
        if config.endpoints.is_empty() {
            return Err(Error::Config("etcdclient: no available endpoints".into()));
        }
        let channels = config.channels()?;
        let token = Token::new(config.credentials.clone());
        let inner = Inner { channels, next: AtomicUsize::new(0), config, token };
        Ok(Client { inner: Arc::new(inner) })
    }

    /// The endpoints as they were given.
    pub fn endpoints(&self) -> &[String] {
        &self.inner.config.endpoints
    }

    /// Sends a request and waits for its answer, from whichever endpoint gives one.
    ///
    /// # Errors
    /// The server's refusal, or why no server could be asked. After [`Error::DeadlineExceeded`]
    /// and after a lost connection the call may or may not have been executed.
    pub async fn call<R: Unary>(
        &self,
        request: R,
        deadline: Deadline,
    ) -> Result<R::Response, Error> {
        let attempts = async {
            self.login(deadline).await?;
            self.attempts(R::REPEAT, deadline, |channel, token| {
                let (client, message) = (self, request.clone());
                async move { client.unary(channel, token, message, deadline).await }
            })
            .await
        };
        deadline.limit(attempts).await?
    }

    /// Opens a stream of answers to one request.
    pub(crate) async fn server_stream<M, A>(
        &self,
        request: M,
        path: &'static str,
        repeat: Repeat,
        deadline: Deadline,
    ) -> Result<Streaming<A>, Error>
    where
        M: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let attempts = async {
            self.login(deadline).await?;
            self.attempts(repeat, deadline, |channel, token| {
                let (client, message) = (self, request.clone());
                async move {
                    let mut grpc = client.ready(channel).await?;
                    let codec = ProstCodec::<M, A>::default();
                    let message = prepare(message, token, deadline);
                    let path = PathAndQuery::from_static(path);
                    let opened = grpc.server_streaming(message, path, codec).await;
                    Ok(opened.map_err(retry::name_loss)?.into_inner())
                }
            })
            .await
        };
        deadline.limit(attempts).await?
    }

    /// Opens a stream both ways; `head` adds to its metadata.
    pub(crate) async fn stream<M, A>(
        &self,
        requests: tokio_stream::wrappers::ReceiverStream<M>,
        path: &'static str,
        requires_leader: bool,
    ) -> Result<Streaming<A>, Status>
    where
        M: Message + 'static,
        A: Message + Default + 'static,
    {
        let token = self.inner.token.current();
        let mut grpc = self.ready(self.turn().0).await?;
        let codec = ProstCodec::<M, A>::default();
        let mut requests = prepare(requests, token, Deadline::NONE);
        if requires_leader {
            let yes = MetadataValue::from_static("true");
            requests.metadata_mut().insert("hasleader", yes);
        }
        let path = PathAndQuery::from_static(path);
        let opened = grpc.streaming(requests, path, codec).await.map_err(retry::name_loss)?;
        Ok(opened.into_inner())
    }

    /// Tries one endpoint after the other, by the rules of [`retry`].
    async fn attempts<A, F, Fut>(
        &self,
        repeat: Repeat,
        deadline: Deadline,
        mut attempt: F,
    ) -> Result<A, Error>
    where
        F: FnMut(Channel, Option<String>) -> Fut,
        Fut: Future<Output = Result<A, Status>>,
    {
        let endpoints = self.inner.channels.len();
        let mut number = 0;
        let mut renewed = false;
        loop {
            number += 1;
            let (channel, way) = self.turn();
            let mark = way.mark();
            let status = match attempt(channel, self.inner.token.current()).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            if !renewed && token_is_old(&status) && self.inner.token.can_renew() {
                renewed = true;
                self.renew().await?;
                continue;
            }
            // What was not sent may wait for a server until the deadline, if there is one.
            let unsent = retry::was_not_sent(&status) || way.was_shut_since(mark);
            let patient = deadline.0.is_some() && unsent;
            let spent = number >= retry::ATTEMPTS_MAX && !patient;
            if spent || !(unsent || retry::may_repeat(&status, repeat, endpoints)) {
                return Err(status.into());
            }
            if number % endpoints == 0 {
                tokio::time::sleep(retry::PAUSE).await;
            }
        }
    }

    async fn unary<R: Unary>(
        &self,
        channel: Channel,
        token: Option<String>,
        message: R,
        deadline: Deadline,
    ) -> Result<R::Response, Status> {
        let mut grpc = self.ready(channel).await?;
        let codec = ProstCodec::<R, R::Response>::default();
        let message = prepare(message, token, deadline);
        let path = PathAndQuery::from_static(R::PATH);
        let answer = grpc.unary(message, path, codec).await.map_err(retry::name_loss)?;
        Ok(answer.into_inner())
    }

    /// The next endpoint's connection.
    fn turn(&self) -> (Channel, Arc<Way>) {
        let turn = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.inner.channels[turn % self.inner.channels.len()].clone()
    }

    async fn ready(&self, channel: Channel) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut grpc = tonic::client::Grpc::new(channel)
            .max_encoding_message_size(self.inner.config.send_max_bytes)
            .max_decoding_message_size(self.inner.config.receive_max_bytes);
        let ready = grpc.ready().await;
        ready.map_err(|error| retry::name_loss(Status::from_error(Box::new(error))))?;
        Ok(grpc)
    }

    /// Gets the first token, where there are a name and a password.
    async fn login(&self, deadline: Deadline) -> Result<(), Error> {
        if self.inner.token.is_missing() {
            deadline.limit(self.renew()).await??;
        }
        Ok(())
    }

    /// Exchanges name and password for a token.
    async fn renew(&self) -> Result<(), Error> {
        let Some(request) = self.inner.token.request() else { return Ok(()) };
        let answer = self.attempts_plain(request).await;
        self.inner.token.renewed(answer)
    }

    async fn attempts_plain<R: Unary>(&self, request: R) -> Result<R::Response, Error> {
        loop {
            let (channel, way) = self.turn();
            let mark = way.mark();
            match self.unary(channel, None, request.clone(), Deadline::NONE).await {
                Ok(answer) => return Ok(answer),
                Err(status) if retry::was_not_sent(&status) || way.was_shut_since(mark) => {
                    tokio::time::sleep(retry::PAUSE).await;
                }
                Err(status) => return Err(status.into()),
            }
        }
    }
}

fn token_is_old(status: &Status) -> bool {
    status.code() == Code::Unauthenticated && status.message() == INVALID_TOKEN
        || [OLD_REVISION, USER_EMPTY].contains(&status.message())
}

/// A message with the metadata that goes with every call.
fn prepare<M>(message: M, token: Option<String>, deadline: Deadline) -> Request<M> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("client-api-version", MetadataValue::from_static(proto::VERSION));
    if let Some(Ok(token)) = token.map(|token| token.parse()) {
        metadata.insert("token", token);
    }
    if let Some(remaining) = deadline.remaining() {
        request.set_timeout(remaining);
    }
    request
}
