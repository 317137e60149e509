//! The command line client: etcd's commands, flags, output formats and exit codes.
//!
//! `args` says what may be typed, `command` has one function per command, `output` shows answers
//! in the five formats; `cli` prints values as the reference's language does.

mod args;
mod command;
mod compare;
mod environment;
mod line;
mod log;
mod output;

use cli::{exit, go};
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = cli::signals::survive_file_limit() {
        return exit::Exit::error(format!("cannot start: {error}")).leave();
    }
    let invocation = match args::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(exit) => return exit.leave(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(command::run(invocation)),
        Err(error) => Err(exit::Exit::error(format!("cannot start: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.leave(),
    }
}
