//! The server program: flags, environment and configuration file from one table, logs, start and stop.

mod as_set;
mod config;
mod default_host;
mod describe;
mod listen;
mod logs;
mod origin;
mod reason;
mod run;
mod secure;
mod settings;
mod signals;
mod systemd;

use config::Config;
use settings::{Log, Note, Outcome, Refusal};
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What Go's flag package exits with for a wrong flag.
const BAD_FLAGS: u8 = 2;
/// How long it may take to report a thread that failed.
const REPORT_LIMIT: Duration = Duration::from_secs(1);

#[allow(clippy::print_stdout, clippy::print_stderr)] // a program talks to its user
fn main() -> ExitCode {
    let stop = match signals::prepare() {
        Ok(stop) => stop,
        Err(error) => {
            eprintln!("cannot wait for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut settings, notes) =
        match settings::read(std::env::args_os().skip(1), std::env::vars_os()) {
            Ok(Outcome::Run(settings, notes)) => (settings, notes),
            Ok(Outcome::Print(text)) => {
                println!("{text}");
                return ExitCode::SUCCESS;
            }
            Err(refusal) => return refuse(&refusal),
        };
    let log = settings.logging.check();
    if let Err(refusal) = log.and_then(|log| logs::init(&log).map_err(Refusal::Verify)) {
        return refuse(&refusal);
    }
    end_with_any_thread();
    describe::command_line(std::env::args_os());
    notes.iter().for_each(Note::log);
    let config = match Config::from_settings(&mut settings) {
        Ok(config) => config,
        Err(error) => return unverified(&error),
    };
    let end = run::run(&config, &stop);
    if let Err(error) = &end {
        tracing::error!(target: logs::FATAL, %error, "discovery failed");
    }
    logs::flush();
    match end {
        Ok(run::End::Signal(signal)) => signal.end(),
        Ok(run::End::Removed) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Ends before the log is open.
#[allow(clippy::print_stderr)] // a program talks to its user
fn refuse(refusal: &Refusal) -> ExitCode {
    match refusal {
        Refusal::Usage(text) => {
            eprintln!("{}", address::redacted_text(text));
            ExitCode::from(BAD_FLAGS)
        }
        Refusal::Verify(text) => {
            // Standard error can always be had.
            let _ = logs::init(&Log::default());
            describe::command_line(std::env::args_os());
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
        tracing::error!(panic = %info, "a thread failed");
        logs::flush();
        // Whoever does not read what is reported does not keep the program from ending.
        std::thread::spawn(|| {
            std::thread::sleep(REPORT_LIMIT);
            std::process::abort();
        });
        report(info);
        std::process::abort();
    }));
}
