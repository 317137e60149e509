//! A client, and its calls.

use crate::config::Config;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::link::Line;
use crate::methods::{Repeat, Unary};
use crate::pool::Pool;
use crate::retry::{self, Attempts, Next};
use crate::token::{Shown, Token};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::uri::PathAndQuery;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// A read that has heard nothing for so long is asked of another server as well.
const HEDGE_AFTER: Duration = Duration::from_millis(100);
/// Servers that one read is asked of at the same time.
const HEDGES_MAX: usize = 3;
/// Reads of one client that are asked of more than one server at the same time.
const HEDGED_MAX: usize = 64;

/// A client of one cluster; clones share its connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    config: Config,
    token: Token,
    hedges: Semaphore,
}

impl Client {
    /// A client; it begins to connect to all endpoints. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no endpoint, or one cannot be read, or a file for TLS.
    pub fn new(config: Config) -> Result<Client, Error> {
        let pool = Pool::new(&config)?;
        let token = Token::new(config.credentials.clone());
        let inner = Inner { pool, config, token, hedges: Semaphore::new(HEDGED_MAX) };
        Ok(Client { inner: Arc::new(inner) })
    }

    /// The endpoints.
    pub fn endpoints(&self) -> Vec<String> {
        self.inner.pool.endpoints()
    }

    /// Changes the endpoints. Connections to those that stay are kept; what is under way at those that
    /// go is finished. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Config`] where there is none, or one cannot be read; then nothing changes.
    pub fn set_endpoints<S: Into<String>>(
        &self,
        endpoints: impl IntoIterator<Item = S>,
    ) -> Result<(), Error> {
        let endpoints: Vec<String> = endpoints.into_iter().map(Into::into).collect();
        self.inner.pool.set_endpoints(&self.inner.config, &endpoints)
    }

    /// Sends a request and waits for its answer, from whichever endpoint gives one.
    ///
    /// # Errors
    /// The server's refusal, or why no server could be asked. After [`Error::DeadlineExceeded`]
    /// and after a lost connection the call may or may not have been executed, see
    /// [`Error::is_certainly_not_done`].
    pub async fn call<R: Unary>(
        &self,
        request: R,
        deadline: Deadline,
    ) -> Result<R::Response, Error> {
        let answer = self.try_call(request, deadline).await;
        if let Err(error) = &answer {
            self.observe(R::PATH, error);
        }
        answer
    }

    /// Tells whoever wants to know of a call that no server answered.
    fn observe(&self, path: &str, error: &Error) {
        let is_silence = matches!(error, Error::Unreachable { .. } | Error::DeadlineExceeded);
        if let Some(observer) = self.inner.config.observer.filter(|_| is_silence) {
            observer(path, error);
        }
    }

    async fn try_call<R: Unary>(
        &self,
        request: R,
        deadline: Deadline,
    ) -> Result<R::Response, Error> {
        self.login(deadline).await?;
        let mut attempts = Attempts::new(R::REPEAT);
        loop {
            let line = self.pool().line(deadline).await;
            let line = line.map_err(|error| attempts.unreachable(error))?;
            let shown = self.token().current();
            let answer = self.side_by_side(line, &request, &shown, deadline);
            let status = match deadline.limit(answer).await? {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            match attempts.judge(status, self.pool().len(), self.token().can_renew()) {
                Next::Renew => self.renew(&shown, deadline).await?,
                Next::Again(pause) => deadline.limit(tokio::time::sleep(pause)).await?,
                Next::Stop(error) => return Err(error),
            }
        }
    }

    /// Waits until any endpoint was reached, and no longer than one attempt to connect may take.
    ///
    /// # Errors
    /// [`Error::Unreachable`], with the reason.
    pub async fn reach(&self) -> Result<(), Error> {
        let deadline = Deadline::after(self.inner.config.dial_timeout);
        self.pool().line(deadline).await.map(|_| ())
    }

    /// Gets a token now, where there are a name and a password; the first call would do it otherwise.
    ///
    /// # Errors
    /// The server's refusal, or why no server could be asked.
    pub async fn login(&self, deadline: Deadline) -> Result<(), Error> {
        if self.token().is_missing() {
            self.renew(&self.token().current(), deadline).await?;
        }
        Ok(())
    }

    /// Asks one server and, if it is a read on which nothing is heard, others too.
    async fn side_by_side<R: Unary>(
        &self,
        first: Line,
        request: &R,
        shown: &Shown,
        deadline: Deadline,
    ) -> Result<R::Response, Status> {
        let ask = |line: &Line| self.unary(line.clone(), prepare(request.clone(), shown, deadline));
        let mut running = FuturesUnordered::new();
        let mut mark = first.ear.mark();
        running.push(ask(&first));
        let mut asked = vec![first];
        let mut permit = None;
        loop {
            tokio::select! {
                Some(answer) = running.next() => match answer {
                    Err(status) if status.code() == Code::Unavailable && !running.is_empty() => {}
                    answer => return answer,
                },
                () = tokio::time::sleep(HEDGE_AFTER) => {
                    let last = asked.last().expect("one was asked first");
                    let may = R::REPEAT == Repeat::Read && asked.len() < HEDGES_MAX;
                    if !last.doubt(mark) {
                        mark = last.ear.mark();
                        continue;
                    }
                    if !may || !self.pool().has_sound(&asked) {
                        continue;
                    }
                    permit = permit.or_else(|| self.inner.hedges.try_acquire().ok());
                    if permit.is_none() {
                        continue;
                    }
                    if let Some(line) = self.pool().pick(&asked) {
                        mark = line.ear.mark();
                        running.push(ask(&line));
                        asked.push(line);
                    }
                }
            }
        }
    }

    async fn unary<R: Unary>(
        &self,
        line: Line,
        message: Request<R>,
    ) -> Result<R::Response, Status> {
        let codec = ProstCodec::<R, R::Response>::default();
        let path = PathAndQuery::from_static(R::PATH);
        let answer = self.grpc(line).unary(message, path, codec).await;
        Ok(answer.map_err(retry::name_loss)?.into_inner())
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(crate) fn token(&self) -> &Token {
        &self.inner.token
    }

    pub(crate) fn grpc(&self, line: Line) -> tonic::client::Grpc<Line> {
        let origin = line.origin.clone();
        tonic::client::Grpc::with_origin(line, origin)
            .max_encoding_message_size(self.inner.config.send_max_bytes)
            .max_decoding_message_size(self.inner.config.receive_max_bytes)
    }

    /// Exchanges name and password for a token in place of the one that was shown.
    pub(crate) async fn renew(&self, shown: &Shown, deadline: Deadline) -> Result<(), Error> {
        let renewed = self.token().renew(shown, |request| async move {
            let mut attempts = Attempts::new(Repeat::Safe);
            loop {
                let line = self.pool().line(deadline).await?;
                let message = prepare(request.clone(), &Shown::none(), deadline);
                let status = match self.unary(line, message).await {
                    Ok(answer) => return Ok(answer),
                    Err(status) => status,
                };
                match attempts.judge(status, self.pool().len(), false) {
                    Next::Again(pause) => tokio::time::sleep(pause).await,
                    Next::Stop(error) => return Err(error),
                    Next::Renew => unreachable!("nothing else renews a token"),
                }
            }
        });
        deadline.limit(renewed).await?
    }
}

/// A message with the metadata that goes with every call.
pub(crate) fn prepare<M>(message: M, shown: &Shown, deadline: Deadline) -> Request<M> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("client-api-version", MetadataValue::from_static(proto::VERSION));
    if let Some(Ok(token)) = shown.token.as_ref().map(|token| token.expose().parse()) {
        let mut token: MetadataValue<_> = token;
        token.set_sensitive(true);
        metadata.insert("token", token);
    }
    if let Some(remaining) = deadline.remaining() {
        request.set_timeout(remaining);
    }
    request
}
