//! A whole cluster of members in one seeded thread: adversaries, workloads, and one file for each property checked.
//!
//! `sim [--seeds N] [--from N] [--members N] [--ms N] [--jobs N] [--twice] [--keep-going]`
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program

use sim::{Counts, Failure, Plan, Summary};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
struct Settings {
    seeds: u64,
    from: u64,
    /// Members at first; 0 for what the seed says.
    members: usize,
    trouble_ms: Option<u64>,
    jobs: usize,
    /// Each seed is run twice, and the traces are compared.
    twice: bool,
    keep_going: bool,
}

fn settings() -> Result<Settings, String> {
    let mut settings = Settings {
        seeds: 100,
        from: 0,
        members: 0,
        trouble_ms: None,
        jobs: 1,
        twice: false,
        keep_going: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().ok_or(format!("{word} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{word}: {value} is no number"))
        };
        match word.as_str() {
            "--seeds" => settings.seeds = number()?,
            "--from" => settings.from = number()?,
            "--members" => settings.members = number()? as usize,
            "--ms" => settings.trouble_ms = Some(number()?),
            "--jobs" => settings.jobs = number()?.max(1) as usize,
            "--twice" => settings.twice = true,
            "--keep-going" => settings.keep_going = true,
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    Ok(settings)
}

fn main() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("sim: {why}");
            return ExitCode::FAILURE;
        }
    };
    show_panics();
    let (next, total) = (AtomicU64::new(0), Mutex::new((Counts::default(), 0u64)));
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs {
            scope.spawn(|| work(settings, &next, &total));
        }
    });
    let (counts, failures) = total.into_inner().unwrap_or_default();
    println!("{} seeds, {failures} failures: {counts:?}", settings.seeds);
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic ends the program where it is built to abort: the events are shown before.
fn show_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        if let Some(events) = sim::last_events() {
            eprintln!("{events}");
        }
    }));
}

fn work(settings: Settings, next: &AtomicU64, total: &Mutex<(Counts, u64)>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= settings.seeds {
            return;
        }
        let result = run(settings, settings.from + number);
        let Ok(mut total) = total.lock() else { return };
        match result {
            Ok(summary) => add(&mut total.0, &summary.counts),
            Err(failure) => {
                eprintln!("{failure}");
                total.1 += 1;
                if !settings.keep_going {
                    next.store(settings.seeds, Ordering::Relaxed);
                }
            }
        }
        if (number + 1).is_multiple_of(500) {
            println!("{} seeds: {:?}", number + 1, total.0);
        }
    }
}

fn run(settings: Settings, seed: u64) -> Result<Summary, Box<Failure>> {
    let members = match settings.members {
        0 => Plan::members_of(seed),
        members => members,
    };
    let mut plan = Plan::new(seed, members);
    plan.trouble_ms = settings.trouble_ms.unwrap_or(plan.trouble_ms);
    let summary = sim::run(plan)?;
    if settings.twice && sim::run(plan)? != summary {
        let (property, why) = ("determinism", "a second run differs".to_owned());
        let event = summary.counts.events;
        return Err(Box::new(Failure { seed, event, property, why, tail: String::new() }));
    }
    Ok(summary)
}

fn add(total: &mut Counts, more: &Counts) {
    total.events += more.events;
    total.leaders += more.leaders;
    total.committed += more.committed;
    total.applied += more.applied;
    total.writes += more.writes;
    total.reads += more.reads;
    total.stops += more.stops;
    total.databases += more.databases;
    total.changes += more.changes;
    total.watched += more.watched;
    total.renewals += more.renewals;
    total.forwarded += more.forwarded;
    total.expiries += more.expiries;
    total.checkpoints += more.checkpoints;
    total.failures += more.failures;
    total.departures += more.departures;
    total.no_space += more.no_space;
    total.restores += more.restores;
    total.ms += more.ms;
}
