//! A password, typed where nobody sees it (reference: the Go package `speakeasy`).

use crate::exit::Exit;
use crate::output::print;
use client::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use tokio::signal::unix::{SignalKind, signal};

/// How the reference's exits where a signal comes while it asks.
const INTERRUPTED: i32 = 255;

/// Asks for a password: on a terminal without echo, and otherwise the next line of standard input.
pub(super) async fn ask(prompt: &str) -> Result<Secret, Exit> {
    print(prompt)?;
    let quiet = Quiet::begin();
    let mut typed = tokio::task::spawn_blocking(line);
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

/// A line of standard input, and not a byte more: what follows belongs to the command.
fn line() -> std::io::Result<String> {
    let mut input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let (mut line, mut byte) = (Vec::new(), [0]);
    while input.read(&mut byte)? > 0 && byte != *b"\n" {
        line.extend(byte);
    }
    String::from_utf8(line).map_err(|_| std::io::Error::other("invalid UTF-8"))
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
