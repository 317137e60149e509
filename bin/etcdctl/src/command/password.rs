//! A password, typed where nobody sees it (reference: the Go package `speakeasy`).

use crate::exit::Exit;
use crate::output::print;
use client::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::BufRead;
use tokio::signal::unix::{SignalKind, signal};

/// How the reference's exits where a signal comes while it asks.
const INTERRUPTED: i32 = 255;

/// Asks for a password: on a terminal without echo, and otherwise the next line of standard input.
pub(super) async fn ask(prompt: &str) -> Result<Secret, Exit> {
    print(prompt)?;
    let quiet = Quiet::begin();
    let mut typed = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = tokio::select! {
        line = &mut typed => line,
        () = interrupted() => {
            // The thread that reads cannot be ended.
            drop(quiet);
            std::process::exit(INTERRUPTED)
        }
    };
    drop(quiet);
    print("\n")?;
    let failed = |error: &dyn std::error::Error| {
        Exit::error(format!("failed during password entry: {error}"))
    };
    let line = line.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    Ok(line.trim().into())
}

/// Waits for a signal that would end the program.
async fn interrupted() {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let Ok([mut first, mut second, mut third]) = signals(kinds) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
        _ = third.recv() => {}
    }
}

fn signals(kinds: [SignalKind; 3]) -> std::io::Result<[tokio::signal::unix::Signal; 3]> {
    let [first, second, third] = kinds;
    Ok([signal(first)?, signal(second)?, signal(third)?])
}

/// A terminal that shows nothing of what is typed, as long as this lives.
struct Quiet(Option<Termios>);

impl Quiet {
    fn begin() -> Quiet {
        let Ok(before) = tcgetattr(std::io::stdin()) else { return Quiet(None) };
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // What was typed ahead stays.
        match tcsetattr(std::io::stdin(), OptionalActions::Drain, &quiet) {
            Ok(()) => Quiet(Some(before)),
            Err(_) => Quiet(None),
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that is gone needs no echo.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, before);
        }
    }
}
