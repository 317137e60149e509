//! The server program: flags, environment and configuration file from one table, logs, start and stop.

mod config;
mod describe;
mod flags;
mod gates;
mod logs;
mod origin;
mod run;
mod secure;
mod signals;
mod systemd;

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
    let args: Vec<String> = std::env::args().skip(1).collect();
    let settings = match flags::read(&args, std::env::vars()) {
        Ok(flags::Outcome::Run(settings)) => settings,
        Ok(flags::Outcome::Print(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(BAD_FLAGS);
        }
    };
    let config = config::Config::from_settings(&settings);
    let config = match config.and_then(|config| logs::init(&config.log).map(|()| config)) {
        Ok(config) => config,
        Err(error) => {
            // Standard error can always be had.
            let _ = logs::init(&logs::Options::default());
            describe::command_line(std::env::args());
            tracing::warn!(error, "failed to verify flags");
            logs::flush();
            return ExitCode::FAILURE;
        }
    };
    end_with_any_thread();
    describe::command_line(std::env::args());
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
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
