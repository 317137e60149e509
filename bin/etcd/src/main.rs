//! The server program: flags, environment and configuration file from one table, logs, start and stop.

mod config;
mod flags;
mod gates;
mod logs;
mod origin;
mod run;
mod secure;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What Go's flag package exits with for a wrong flag.
const BAD_FLAGS: u8 = 2;

#[allow(clippy::print_stdout, clippy::print_stderr)] // a program talks to its user
fn main() -> ExitCode {
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
    let config = match config::Config::from_settings(&settings) {
        Ok(config) => config,
        Err(error) => {
            logs::init("info");
            tracing::warn!(error = %error, "failed to verify flags");
            logs::flush();
            return ExitCode::FAILURE;
        }
    };
    logs::init(&config.log_level);
    end_with_any_thread();
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
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
