//! The offline tool: looks at, restores, migrates and defragments files that no member uses.
//!
//! `args` says what may be typed; `status`, `hash_kv`, `restore`, `migrate` and `defrag` are the
//! commands; `output` shows answers in the formats of the reference. Files of others are opened for
//! reading only, and no file, however damaged, makes a command panic.

mod args;
mod command;
mod defrag;
mod files;
mod hash_kv;
mod log;
mod log_version;
mod migrate;
mod output;
mod restore;
mod status;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // the helpers of tests too
mod tests;

use cli::exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    let ready = cli::signals::survive_file_limit().map_err(Exit::from);
    let outcome = ready.and_then(|()| args::parse(std::env::args_os())).and_then(command::run);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.leave(),
    }
}
