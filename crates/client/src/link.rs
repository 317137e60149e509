//! One endpoint, and the connection to it that is kept up.

use crate::cause::innermost;
use crate::heard::{Ear, Heard, Mark};
use crate::retry::not_sent;
use crate::secure::Dialer;
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 24;
/// Servers close connections that ask oftener whether they live (as grpc-go, which asks no oftener either).
const KEEPALIVE_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// What all connections of a client are made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) dial_timeout: Duration,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
}

/// One endpoint.
pub(crate) struct Link {
    pub(crate) name: String,
    dialer: Dialer,
    state: Mutex<State>,
}

struct State {
    line: Option<Line>,
    /// Why there was no connection when one was last tried or lost.
    failure: Option<String>,
    /// Whether the endpoint was taken from the client.
    is_retired: bool,
}

type Driver = Pin<Box<Connection<TokioIo<Heard>, Body, TokioExecutor>>>;

impl Link {
    pub(crate) fn new(name: String, dialer: Dialer) -> Link {
        let state = State { line: None, failure: None, is_retired: false };
        Link { name, dialer, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Only whole values are stored, so a poisoned lock guards a whole value too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if there is one that is not over.
    pub(crate) fn line(&self) -> Option<Line> {
        self.state().line.clone().filter(|line| !line.sender.is_closed())
    }

    /// Why there is no connection.
    pub(crate) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    /// Gives the endpoint up. What is open ends by itself; whether there is anything.
    pub(crate) fn retire(&self) -> bool {
        let mut state = self.state();
        state.is_retired = true;
        state.line.take().is_some()
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.state().is_retired
    }

    pub(crate) fn up(&self, line: Line) {
        let mut state = self.state();
        if !state.is_retired {
            state.line = Some(line);
            state.failure = None;
        }
    }

    pub(crate) fn down(&self, why: String) {
        let mut state = self.state();
        state.line = None;
        state.failure = Some(format!("connection error: desc = \"transport: {why}\""));
    }

    /// Connects, and waits until the server speaks HTTP/2; or why that failed.
    pub(crate) async fn connect(&self, timing: Timing) -> Result<(Line, Driver), String> {
        let made = tokio::time::timeout(timing.dial_timeout, self.make(timing)).await;
        made.unwrap_or_else(|_| Err(format!("no answer within {:?}", timing.dial_timeout)))
    }

    async fn make(&self, timing: Timing) -> Result<(Line, Driver), String> {
        let ear = Arc::new(Ear::default());
        let io = TokioIo::new(Heard::new(self.dialer.dial().await?, Arc::clone(&ear)));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(Some(timing.keepalive_interval.max(KEEPALIVE_INTERVAL_MIN)))
            .keep_alive_timeout(timing.keepalive_timeout)
            // Servers close idle connections that ask.
            .keep_alive_while_idle(false);
        let unread =
            |why: &hyper::Error| format!("error reading server preface: {}", innermost(why));
        let (sender, driver) = builder.handshake(io).await.map_err(|error| unread(&error))?;
        let mut driver: Driver = Box::pin(driver);
        tokio::select! {
            ended = &mut driver => return Err(match ended {
                Ok(()) => "error reading server preface: EOF".to_owned(),
                Err(error) => unread(&error),
            }),
            () = ear.settings() => {}
        }
        let origin = self.dialer.origin().parse().map_err(|error| format!("{error}"))?;
        Ok((Line { sender, ear, origin }, driver))
    }
}

/// A connection on which the server has spoken.
#[derive(Clone)]
pub(crate) struct Line {
    sender: SendRequest<Body>,
    pub(crate) ear: Arc<Ear>,
    pub(crate) origin: Uri,
}

impl Line {
    pub(crate) fn is_same(&self, other: &Line) -> bool {
        Arc::ptr_eq(&self.ear, &other.ear)
    }

    /// If nothing was heard since, the connection is suspect; whether that is so.
    pub(crate) fn doubt(&self, mark: Mark) -> bool {
        let silent = self.ear.is_silent_since(mark);
        if silent {
            self.ear.suspect(mark);
        }
        silent
    }
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let sending = self.sender.try_send_request(request);
        Box::pin(async move {
            sending.await.map_err(|mut error| match error.take_message() {
                Some(_) => not_sent(error.into_error()),
                None => {
                    let error = error.into_error();
                    let mut status = Status::unavailable(innermost(&error));
                    status.set_source(Arc::new(error));
                    status
                }
            })
        })
    }
}
