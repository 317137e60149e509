//! Streams: opened where a server answers, with the token of the day.

use crate::connection::{Client, prepare};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::link::Line;
use crate::methods::Repeat;
use crate::retry::{self, Attempts, Next};
use http::uri::PathAndQuery;
use prost::Message;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

/// How long a member may be silent before the stream is opened at another one that is not; each time
/// twice as long.
pub(crate) const SILENCE_FIRST: Duration = Duration::from_millis(100);
/// Requests on their way to the server.
const REQUESTS_MAX: usize = 4;

/// The answers to one request.
pub(crate) struct Pieces<A> {
    first: Option<A>,
    rest: Streaming<A>,
}

impl<A: Message + Default + 'static> Pieces<A> {
    pub(crate) async fn next(&mut self, deadline: Deadline) -> Result<Option<A>, Error> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => Ok(deadline.limit(self.rest.message()).await?.map_err(retry::name_loss)?),
        }
    }
}

/// A stream both ways, and its first answer.
pub(crate) struct Both<M, A> {
    pub(crate) requests: mpsc::Sender<M>,
    pub(crate) answers: Streaming<A>,
    pub(crate) first: A,
}

/// What a stream both ways begins with.
pub(crate) struct Opening<M> {
    pub(crate) path: &'static str,
    pub(crate) requires_leader: bool,
    pub(crate) request: M,
}

impl Client {
    /// Opens a stream of answers to one request. The first answer has come when this returns, so
    /// whatever speaks against the call was heard here, where it can be tried again.
    pub(crate) async fn server_stream<M, A>(
        &self,
        request: M,
        path: &'static str,
        repeat: Repeat,
        deadline: Deadline,
    ) -> Result<Pieces<A>, Error>
    where
        M: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.attempts(repeat, deadline, |client, line| {
            let request = request.clone();
            async move {
                let mut grpc = client.grpc(line);
                let message = prepare(request, &client.token().current(), deadline);
                let (path, codec) =
                    (PathAndQuery::from_static(path), ProstCodec::<M, A>::default());
                let opened = grpc.server_streaming(message, path, codec).await;
                let mut rest = opened.map_err(retry::name_loss)?.into_inner();
                let first = rest.message().await.map_err(retry::name_loss)?;
                Ok(Pieces { first, rest })
            }
        })
        .await
    }

    /// Opens a stream both ways and waits for the answer to its first request.
    pub(crate) async fn stream<M, A>(
        &self,
        opening: Opening<M>,
        deadline: Deadline,
    ) -> Result<Both<M, A>, Error>
    where
        M: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let opening = &opening;
        self.attempts(Repeat::Read, deadline, |client, line| async move {
            let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
            let request = opening.request.clone();
            requests.try_send(request).expect("a fresh channel has room for one");
            let receiver = ReceiverStream::new(receiver);
            let mut head = prepare(receiver, &client.token().current(), Deadline::NONE);
            if opening.requires_leader {
                let yes = MetadataValue::from_static("true");
                head.metadata_mut().insert("hasleader", yes);
            }
            let path = PathAndQuery::from_static(opening.path);
            let opened = client.grpc(line).streaming(head, path, ProstCodec::default()).await;
            let mut answers: Streaming<A> = opened.map_err(retry::name_loss)?.into_inner();
            let first = answers.message().await.map_err(retry::name_loss)?;
            let ended = || Status::unavailable("the stream ended before its first answer");
            Ok(Both { requests, answers, first: first.ok_or_else(ended)? })
        })
        .await
    }

    /// Tries one connection after the other. One that is silent is left for another that is not.
    async fn attempts<'a, T, F: Future<Output = Result<T, Status>>>(
        &'a self,
        repeat: Repeat,
        deadline: Deadline,
        attempt: impl Fn(&'a Client, Line) -> F,
    ) -> Result<T, Error> {
        self.login(deadline).await?;
        let mut attempts = Attempts::new(repeat);
        let mut silence = SILENCE_FIRST;
        loop {
            let line = self.pool().line(deadline).await;
            let line = line.map_err(|error| attempts.unreachable(error))?;
            let shown = self.token().current();
            let heard = self.unless_silent(&line, &mut silence, attempt(self, line.clone()));
            let status = match deadline.limit(heard).await? {
                Ok(opened) => return Ok(opened),
                Err(status) => status,
            };
            match attempts.judge(status, self.pool().len(), self.token().can_renew()) {
                Next::Renew => self.renew(&shown, deadline).await?,
                Next::Again(pause) => deadline.limit(tokio::time::sleep(pause)).await?,
                Next::Stop(error) => return Err(error),
            }
        }
    }

    /// Waits for something on a connection, unless nothing is heard on it and there is another.
    pub(crate) async fn unless_silent<T>(
        &self,
        line: &Line,
        silence: &mut Duration,
        future: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::pin!(future);
        loop {
            let mark = line.ear.mark();
            match tokio::time::timeout(*silence, &mut future).await {
                Ok(done) => return done,
                Err(_) if line.doubt(mark) && self.pool().has_sound(std::slice::from_ref(line)) => {
                    *silence = silence.saturating_mul(2);
                    return Err(Status::unavailable("the member is silent"));
                }
                Err(_) => {}
            }
        }
    }
}
