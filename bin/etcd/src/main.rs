//! The server program: flags, environment and configuration file from one table, logs, start and stop.

mod config;
mod gates;
mod logs;
mod origin;
mod run;
mod secure;
mod settings;

use config::Config;
use settings::{Note, Outcome, Refusal};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What Go's flag package exits with for a wrong flag.
const BAD_FLAGS: u8 = 2;

#[allow(clippy::print_stdout)] // a program talks to its user
fn main() -> ExitCode {
    let (mut settings, notes) =
        match settings::read(std::env::args_os().skip(1), std::env::vars_os()) {
            Ok(Outcome::Run(settings, notes)) => (settings, notes),
            Ok(Outcome::Print(text)) => {
                println!("{text}");
                return ExitCode::SUCCESS;
            }
            Err(refusal) => return refuse(&refusal),
        };
    let log = match settings.logging.check() {
        Ok(log) => log,
        Err(refusal) => return refuse(&refusal),
    };
    logs::init(log.level.name());
    end_with_any_thread();
    notes.iter().for_each(Note::log);
    let config = match Config::from_settings(&mut settings) {
        Ok(config) => config,
        Err(error) => return unverified(&error),
    };
    let code = match run::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "failed to run the member");
            ExitCode::FAILURE
        }
    };
    logs::flush();
    code
}

/// Ends before the log is open.
#[allow(clippy::print_stderr)] // a program talks to its user
fn refuse(refusal: &Refusal) -> ExitCode {
    match refusal {
        Refusal::Usage(text) => {
            eprintln!("{text}");
            ExitCode::from(BAD_FLAGS)
        }
        Refusal::Verify(text) => {
            logs::init("info");
            unverified(text)
        }
    }
}

/// Ends with what is wrong as the last word of the log.
fn unverified(error: &str) -> ExitCode {
    tracing::warn!(error = %error, "failed to verify flags");
    logs::flush();
    ExitCode::FAILURE
}

/// A thread that panics takes the member with it: without it the member would go on as if it lived.
fn end_with_any_thread() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        tracing::error!(panic = %info, "a thread failed");
        logs::flush();
        std::process::abort();
    }));
}
