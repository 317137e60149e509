//! Signals whose default would end a program where the reference goes on.

use signal_hook::consts::SIGXFSZ;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Makes a write beyond the limit on the size of files fail, as every other write does that finds no room,
/// rather than end the program. Programs that this one starts have the system's default again.
///
/// # Errors
/// The system's.
pub fn survive_file_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(|_| ())
}
