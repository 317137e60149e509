//! Signals: two of them stop the member, some end it at once, the rest do nothing.
//!
//! ```text
//! TERM INT                      stop, then end by that signal, so that the status tells why (143, 130);
//!                               before the member has opened its data: end at once
//! QUIT BUS TRAP ABRT SYS        end at once by that signal
//! HUP ILL FPE SEGV STKFLT       the system's default: end at once; HUP not under nohup
//! TSTP TTIN TTOU CONT CHLD      the system's default
//! all others                    nothing; KILL and STOP are nobody's choice
//! ```
//! A parent that blocks signals, or ignores those of the first two rows, changes none of this. As Go's
//! runtime has it for the reference, but for those that end with a dump: there all threads are printed and
//! the status is 2, here the system makes a core file where it is told to.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use signal_hook::consts::{SIGABRT, SIGBUS, SIGINT, SIGQUIT, SIGSYS, SIGTERM, SIGTRAP};
use signal_hook::low_level::emulate_default_handler;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Signals for which the system's default is right.
const LEFT_ALONE: &[Signal] = &[
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGABRT,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGSEGV,
    Signal::SIGSTKFLT,
    Signal::SIGSYS,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
    Signal::SIGCHLD,
];

/// What asks the member to stop. Clones see the same.
#[derive(Clone)]
pub(crate) struct Stop {
    /// The signal that came last, 0 for none.
    received: Arc<AtomicUsize>,
    /// There is nothing to be closed yet.
    at_once: Arc<AtomicBool>,
}

/// The signal that asked the member to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StopSignal(i32);

/// Lets every thread that starts from now on be left in peace by all signals but those that mean
/// something, and waits for the two that stop the member. Must come before there are other threads.
///
/// # Errors
/// The system's.
pub(crate) fn prepare() -> io::Result<Stop> {
    // Blocked rather than ignored or caught: no call of any thread is cut short by them.
    let mut ignored = SigSet::all();
    LEFT_ALONE.iter().for_each(|signal| ignored.remove(*signal));
    // In place of the mask that the parent left: what it blocked would never come.
    ignored.thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // Rust's runtime has a handler that takes the first of these for a fault, finds none, and gives the
    // signal back to the system; the one that somebody sends must not be lost to it.
    raise(Signal::SIGSEGV)?;
    let (received, at_once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    // Also where whoever started the program ignores them, and Rust's own handler lets the second pass.
    for signal in [SIGQUIT, SIGBUS, SIGTRAP, SIGABRT, SIGSYS] {
        signal_hook::flag::register_conditional_default(signal, Arc::new(AtomicBool::new(true)))?;
    }
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&at_once))?;
        signal_hook::flag::register_usize(signal, Arc::clone(&received), signal as usize)?;
    }
    Ok(Stop { received, at_once })
}

impl Stop {
    /// From now on the member must be closed before the program ends.
    pub(crate) fn in_order(&self) {
        self.at_once.store(false, Ordering::SeqCst);
    }

    /// The signal, once there is one. Another one does not hurry a member that stops.
    pub(crate) fn signal(&self) -> Option<StopSignal> {
        match self.received.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(StopSignal(signal as i32)),
        }
    }
}

impl StopSignal {
    /// As Go says it.
    pub(crate) fn name(self) -> &'static str {
        if self.0 == SIGINT { "interrupt" } else { "terminated" }
    }

    /// Ends the program by this signal, unless it is the first process of all, which no signal ends.
    pub(crate) fn end(self) -> ExitCode {
        const INIT: u32 = 1;
        if std::process::id() != INIT {
            let _ = emulate_default_handler(self.0);
        }
        ExitCode::SUCCESS
    }
}
