//! What a service manager is told, by systemd's protocol (`sd_notify(3)`): that the member serves, that it
//! stops, and, where a watchdog wants to know, that it lives.
//!
//! ```text
//! NOTIFY_SOCKET   a datagram socket: a path, or `@` and a name of Linux's own
//! WATCHDOG_USEC   how long the manager waits for a sign of life; ours comes twice as often
//! WATCHDOG_PID    whose watchdog it is; this process's where it is absent
//! ```

use std::collections::VecDeque;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Messages that wait for a manager whose socket is full; more are lost, the oldest first.
const UNTOLD_MAX: usize = 8;

/// The manager, if there is one. Nothing waits for a manager that does not read: what its socket has no
/// room for is tried again with the next look, and a sign of life not even that.
pub(crate) struct Manager {
    socket: Option<OsString>,
    watchdog: Option<Watchdog>,
    /// In their order.
    untold: VecDeque<String>,
}

impl Manager {
    /// The one of the environment.
    pub(crate) fn of_environment() -> Manager {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty());
        let text = |name| env::var(name).ok();
        let limit = watchdog_limit(text("WATCHDOG_USEC"), text("WATCHDOG_PID"), std::process::id());
        let watchdog = limit.filter(|_| socket.is_some()).map(Watchdog::new);
        Manager { socket, watchdog, untold: VecDeque::new() }
    }

    /// The member serves. Without a manager this is told to nobody, as in etcd.
    pub(crate) fn ready(&mut self) {
        tracing::info!("notifying init daemon");
        match self.tell("READY=1") {
            Ok(()) => tracing::info!("successfully notified init daemon"),
            Err(error) => {
                let error = crate::reason::reason(&error);
                tracing::error!(%error, "failed to notify systemd for readiness");
            }
        }
        self.status("serving clients");
    }

    /// The member stops.
    pub(crate) fn stopping(&mut self) {
        // What goes wrong with it was said when the member became ready.
        let _ = self.tell("STOPPING=1");
        self.status("stopping");
    }

    fn status(&mut self, text: &str) {
        let _ = self.tell(&format!("STATUS={text}"));
    }

    /// Tells the manager, now or once its socket has room.
    fn tell(&mut self, what: &str) -> io::Result<()> {
        self.tell_rest();
        let told = match self.untold.is_empty() {
            true => self.send(what),
            false => Err(io::ErrorKind::WouldBlock.into()),
        };
        match told {
            Err(error) if is_full(&error) => {
                if self.untold.len() == UNTOLD_MAX {
                    self.untold.pop_front();
                }
                self.untold.push_back(what.to_owned());
                Ok(())
            }
            told => told,
        }
    }

    /// Tells what there was no room for.
    fn tell_rest(&mut self) {
        while let Some(what) = self.untold.front() {
            match self.send(what) {
                Err(error) if is_full(&error) => return,
                // A manager that is gone misses nothing.
                Ok(()) | Err(_) => drop(self.untold.pop_front()),
            }
        }
    }

    fn send(&self, what: &str) -> io::Result<()> {
        let Some(path) = &self.socket else { return Ok(()) };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&address(path)?)?;
        socket.send(what.as_bytes()).map(drop)
    }

    /// Tells the watchdog that the member lives, where it is time and `ask` shows it: it has the member
    /// call what it is given, sooner or later.
    pub(crate) fn watch(&mut self, ask: impl FnOnce(Box<dyn FnOnce() + Send>)) {
        self.tell_rest();
        let is_alive =
            self.watchdog.as_mut().is_some_and(|watchdog| watchdog.look(Instant::now(), ask));
        if is_alive {
            let _ = self.send("WATCHDOG=1");
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn address(path: &OsStr) -> io::Result<SocketAddr> {
    match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    }
}

/// How long the manager waits for a sign of life of the process `own_pid`.
fn watchdog_limit(usec: Option<String>, pid: Option<String>, own_pid: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own_pid)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec))
}

/// When to tell, and whether there is anything to tell: one question at a time is on its way to the member,
/// and only its answer is a sign of life.
struct Watchdog {
    interval: Duration,
    next: Instant,
    is_asked: bool,
    is_answered: Arc<AtomicBool>,
}

impl Watchdog {
    fn new(limit: Duration) -> Watchdog {
        let is_answered = Arc::default();
        Watchdog { interval: limit / 2, next: Instant::now(), is_asked: false, is_answered }
    }

    /// Whether the member has shown that it lives.
    fn look(&mut self, now: Instant, ask: impl FnOnce(Box<dyn FnOnce() + Send>)) -> bool {
        if !self.is_asked && now >= self.next {
            (self.is_asked, self.next) = (true, now + self.interval);
            let answered = Arc::clone(&self.is_answered);
            ask(Box::new(move || answered.store(true, Ordering::Release)));
        }
        let is_alive = self.is_answered.swap(false, Ordering::AcqRel);
        self.is_asked &= !is_alive;
        is_alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(socket: impl Into<OsString>) -> Manager {
        Manager { socket: Some(socket.into()), watchdog: None, untold: VecDeque::new() }
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 100];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_hears_of_the_beginning_and_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut manager = manager(&path);
        manager.ready();
        assert_eq!(heard(&socket), "READY=1");
        assert_eq!(heard(&socket), "STATUS=serving clients");
        manager.stopping();
        assert_eq!(heard(&socket), "STOPPING=1");
        assert_eq!(heard(&socket), "STATUS=stopping");
    }

    #[test]
    fn a_socket_may_have_a_name_of_linux_s_own() {
        let name = format!("holdfast-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        manager(format!("@{name}")).tell("READY=1").unwrap();
        assert_eq!(heard(&socket), "READY=1");
    }

    #[test]
    fn a_manager_that_is_not_there_is_told_of() {
        assert!(manager("/nonexistent/notify").tell("READY=1").is_err());
    }

    #[test]
    fn a_manager_that_reads_nothing_holds_nothing_up_and_hears_of_it_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut manager = manager(&path);
        manager.watchdog = Some(Watchdog::new(Duration::ZERO));
        let is_full = (0..100_000).any(|_| manager.send("X=1").is_err());
        assert!(is_full, "the socket's queue has an end");
        let begun = Instant::now();
        manager.ready();
        // A sign of life that is late is none.
        (0..100).for_each(|_| manager.watch(|answer| answer()));
        manager.stopping();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        socket.set_nonblocking(true).unwrap();
        while socket.recv(&mut [0; 10]).is_ok() {}
        socket.set_nonblocking(false).unwrap();
        manager.watchdog = None;
        manager.watch(|_| panic!("there is no watchdog"));
        let told = ["READY=1", "STATUS=serving clients", "STOPPING=1", "STATUS=stopping"];
        told.iter().for_each(|what| assert_eq!(heard(&socket), *what));
        (0..100).for_each(|n| manager.untold.push_back(n.to_string()));
        manager.socket = Some(path.with_file_name("none").into());
        manager.tell_rest();
        assert!(manager.untold.is_empty(), "a manager that is gone misses nothing");
    }

    #[test]
    fn a_watchdog_is_this_process_s_or_none() {
        let limit = |usec: &str, pid: Option<&str>| {
            watchdog_limit(Some(usec.to_owned()), pid.map(str::to_owned), 7)
        };
        assert_eq!(limit("2000000", Some("7")), Some(Duration::from_secs(2)));
        assert_eq!(limit("2000000", None), Some(Duration::from_secs(2)));
        assert_eq!(limit("2000000", Some("8")), None);
        assert_eq!(limit("0", None), None);
        assert_eq!(limit("x", None), None);
        assert_eq!(watchdog_limit(None, None, 7), None);
    }

    #[test]
    fn a_sign_of_life_is_an_answer_and_not_the_time() {
        let mut watchdog = Watchdog::new(Duration::from_secs(2));
        let mut question = None;
        let start = watchdog.next;
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(!watchdog.look(start, |asked| question = Some(asked)));
        let answer = question.take().expect("the member is asked");
        // It hangs: nothing is told, and nothing more is asked.
        assert!(!watchdog.look(later(10), |_| panic!("one question at a time")));
        answer();
        assert!(watchdog.look(later(11), |_| panic!("it has just answered")));
        assert!(!watchdog.look(later(12), |asked| question = Some(asked)));
        assert!(question.is_some());
    }
}
