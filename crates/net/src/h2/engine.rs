//! The server: its loops' threads, begun and ended.

use super::connection::Limits;
use super::event_loop::{EventLoop, WAKE};
use super::inbox::{Inbox, Note};
use super::policy::millis;
use super::session::Services;
use crate::Listener;
use crate::http::HttpService;
use crate::permits::ConnectionPermits;
use crate::rpc::GrpcService;
use crate::web::WebThreads;
use mio::{Poll, Waker};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How to serve.
#[derive(Debug)]
pub struct Config {
    /// Bound sockets.
    pub listeners: Vec<Listener>,
    /// Threads that move bytes and call handlers.
    pub threads: usize,
    /// Connections at once; more wait to be accepted.
    pub connections_max: usize,
    /// A message may be this long.
    pub recv_max_bytes: usize,
    /// Streams at once on one connection.
    pub concurrent_streams_max: u32,
    /// How often the server asks a silent connection whether it lives.
    pub keepalive_interval: Duration,
    /// How long it waits for that answer.
    pub keepalive_timeout: Duration,
    /// How often a client may ask the same.
    pub keepalive_min_time: Duration,
}

/// A running server. Dropping it stops it at once.
pub struct Server {
    threads: Vec<JoinHandle<()>>,
    inboxes: Vec<Arc<Inbox>>,
    running: Arc<Running>,
    web: Option<WebThreads>,
}

/// How many loops run.
struct Running {
    loops: Mutex<usize>,
    one_ended: Condvar,
}

impl Server {
    /// Begins to serve.
    ///
    /// # Errors
    /// Those of making threads and of registering the sockets.
    pub fn start(
        config: Config,
        grpc: Arc<dyn GrpcService>,
        http: Arc<dyn HttpService>,
    ) -> io::Result<Server> {
        let (web_threads, web) = WebThreads::start(http)?;
        let services = Arc::new(Services { grpc, web });
        let limits = Arc::new(limits(&config));
        let mut loops = Vec::new();
        for _ in 0..config.threads.max(1) {
            loops.push(event_loop(&services, &limits)?);
        }
        let inboxes: Vec<_> = loops.iter().map(|each| Arc::clone(&each.inbox)).collect();
        for listener in config.listeners {
            let Listener { socket, acceptor } = listener;
            socket.set_nonblocking(true)?;
            loops[0].listen(mio::net::TcpListener::from_std(socket), acceptor)?;
        }
        loops[0].all.clone_from(&inboxes);
        loops[0].permits = ConnectionPermits::new(config.connections_max);
        let running = Running { loops: Mutex::new(loops.len()), one_ended: Condvar::new() };
        let running = Arc::new(running);
        let web = Some(web_threads);
        let mut server = Server { threads: Vec::new(), inboxes, running, web };
        for each in loops {
            server.spawn(each)?;
        }
        Ok(server)
    }

    /// Takes no more connections and calls, and waits up to `grace` for those that are open.
    pub fn stop(mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        if let Some(web) = &mut self.web {
            web.drain();
        }
        for inbox in &self.inboxes {
            inbox.send(Note::Drain);
        }
        self.running.wait(deadline);
        self.end();
        if let Some(web) = self.web.take() {
            web.stop(deadline.saturating_duration_since(Instant::now()));
        }
    }

    fn spawn(&mut self, mut each: EventLoop) -> io::Result<()> {
        let running = Arc::clone(&self.running);
        let name = format!("net-{}", self.threads.len());
        let run = move || {
            each.run();
            running.ended();
        };
        self.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    fn end(&mut self) {
        for inbox in &self.inboxes {
            inbox.send(Note::Stop);
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if let Some(web) = self.web.take() {
            web.stop(Duration::ZERO);
        }
    }
}

impl Running {
    fn ended(&self) {
        *self.loops.lock() -= 1;
        self.one_ended.notify_all();
    }

    fn wait(&self, deadline: Instant) {
        let mut loops = self.loops.lock();
        while *loops > 0 && !self.one_ended.wait_until(&mut loops, deadline).timed_out() {}
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        recv_max_bytes: config.recv_max_bytes,
        concurrent_streams_max: config.concurrent_streams_max,
        keepalive_interval: config.keepalive_interval,
        keepalive_timeout: config.keepalive_timeout,
        keepalive_min_ms: millis(config.keepalive_min_time),
    }
}

fn event_loop(services: &Arc<Services>, limits: &Arc<Limits>) -> io::Result<EventLoop> {
    let poll = Poll::new()?;
    let inbox = Arc::new(Inbox::new(Waker::new(poll.registry(), WAKE)?));
    Ok(EventLoop::new(poll, inbox, Arc::clone(services), Arc::clone(limits)))
}
