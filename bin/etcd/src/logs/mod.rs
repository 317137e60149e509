//! The log in zap's shapes: what is told, at which level, as JSON or for the console, and where it goes.
//!
//! Nobody waits for whoever reads it: lines go through a bounded queue to a thread for each output,
//! and are dropped, and counted, when that is full.

mod encode;
mod outputs;

use crate::settings::{Log, LogFormat, LogLevel};
use encode::Line;
use outputs::Output;
use std::sync::OnceLock;
use tracing::{Event, Level as Severity, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The rooms whose lines are an operator's business at every level; of libraries, warnings are enough.
const ROOMS: &[&str] = &["etcd", "server", "services", "tls"];
/// The target of the line after which the program ends: above all levels.
pub(crate) const FATAL: &str = "fatal";

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        _ => LevelFilter::ERROR,
    }
}

/// Where lines go, once they go anywhere.
static OUTPUTS: OnceLock<Vec<Output>> = OnceLock::new();

/// Begins to log. Only the first call that succeeds counts.
///
/// # Errors
/// The output that cannot be had, in etcd's words; nothing is logged then.
pub(crate) fn init(options: &Log) -> Result<(), String> {
    let opened = outputs::open(&options.outputs, options.format)?;
    if OUTPUTS.set(opened).is_err() {
        return Ok(());
    }
    let zap = Zap { format: options.format, only_fatal: options.level > LogLevel::Error };
    let level = filter(options.level);
    let rooms = ROOMS.iter().chain([&FATAL]).map(|room| (*room, level));
    let filter = Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(rooms);
    let subscriber = tracing_subscriber::registry().with(zap.with_filter(filter));
    // There is no other subscriber that could have been first.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Waits a moment until everything logged so far is written.
pub(crate) fn flush() {
    outputs::flush(OUTPUTS.get().map_or(&[], |all| all));
}

struct Zap {
    format: LogFormat,
    only_fatal: bool,
}

impl<S: Subscriber> Layer<S> for Zap {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let meta = event.metadata();
        let is_fatal = meta.target() == FATAL;
        if self.only_fatal && !is_fatal {
            return;
        }
        let level = match *meta.level() {
            _ if is_fatal => "fatal",
            Severity::ERROR => "error",
            Severity::WARN => "warn",
            Severity::INFO => "info",
            _ => "debug",
        };
        let caller = encode::caller(meta.file().unwrap_or("?"), meta.line().unwrap_or(0));
        let mut line = Line::new(level, caller);
        event.record(&mut line);
        let text = line.encode(self.format);
        for output in OUTPUTS.get().into_iter().flatten() {
            output.write(&text);
        }
    }
}
