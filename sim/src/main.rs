//! A whole cluster of members in one seeded thread: adversaries, workloads, and one file for each property checked.
//!
//! `sim [--seeds N] [--from N] [--members N] [--ms N] [--jobs N] [--twice] [--keep-going] [--mistake NAME]`
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program

use sim::{Counts, Failure, Mistake, Plan, Summary};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
    mistake: Option<Mistake>,
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
        mistake: None,
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
            "--mistake" => {
                let name = words.next().unwrap_or_default();
                let named = Mistake::named(&name);
                settings.mistake = Some(named.ok_or(format!("there is no mistake {name}"))?);
            }
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
    let (next, total) = (AtomicU64::new(0), Mutex::new(Total::default()));
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs {
            scope.spawn(|| work(settings, &next, &total));
        }
    });
    let total = total.into_inner().unwrap_or_default();
    println!("{} seeds, {} failures: {:?}", settings.seeds, total.failures, total.counts);
    total.show_speed();
    if total.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// What all runs came to.
#[derive(Default)]
struct Total {
    counts: Counts,
    failures: u64,
    /// Time that threads spent on it.
    busy: Duration,
}

impl Total {
    fn show_speed(&self) {
        let (simulated, busy) = (self.counts.ms as f64 / 3.6e6, self.busy.as_secs_f64() / 3600.0);
        if busy > 0.0 {
            let speed = simulated / busy;
            println!("{simulated:.2} cluster-hours, {speed:.0} in an hour of one processor");
        }
    }
}

/// For how long this thread has had a processor, where the system tells.
fn thread_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn work(settings: Settings, next: &AtomicU64, total: &Mutex<Total>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= settings.seeds {
            return;
        }
        let (begun, used) = (Instant::now(), thread_time());
        let result = run(settings, settings.from + number);
        let busy = thread_time().zip(used).map(|(now, before)| now - before);
        let Ok(mut total) = total.lock() else { return };
        total.busy += busy.unwrap_or_else(|| begun.elapsed());
        match result {
            Ok(summary) => total.counts.add(&summary.counts),
            Err(failure) => {
                eprintln!("{failure}");
                total.failures += 1;
                if !settings.keep_going {
                    next.store(settings.seeds, Ordering::Relaxed);
                }
            }
        }
        if (number + 1).is_multiple_of(500) {
            println!("{} seeds: {:?}", number + 1, total.counts);
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
    plan.mistake = settings.mistake;
    let summary = sim::run(plan)?;
    if settings.twice && sim::run(plan)? != summary {
        let (property, why) = ("determinism", "a second run differs".to_owned());
        let event = summary.counts.events;
        return Err(Box::new(Failure { seed, event, property, why, tail: String::new() }));
    }
    Ok(summary)
}
