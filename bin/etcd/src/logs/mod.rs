//! The log in zap's shapes: what is told, at which level, as JSON or for the console, and where it goes.
//!
//! Nobody waits for whoever reads it: lines go through a bounded queue to a thread for each output,
//! and are dropped, and counted, when that is full.

mod encode;
mod outputs;

use encode::Line;
use outputs::Output;
use std::sync::OnceLock;
use tracing::{Event, Level as Severity, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The rooms whose lines are an operator's business at every level; of libraries, warnings are enough.
const ROOMS: &[&str] = &["etcd", "client", "peer", "server", "tls"];
/// The target of the line after which the program ends: above all levels.
pub(crate) const FATAL: &str = "fatal";

/// From which level on lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    /// Only what ends the program: zap's `dpanic`, `panic` and `fatal`.
    Fatal,
}

impl Level {
    /// By zap's names, in any case; none means `info`.
    pub(crate) fn parse(text: &str) -> Option<Level> {
        Some(match text.to_lowercase().as_str() {
            "debug" => Level::Debug,
            "" | "info" => Level::Info,
            "warn" | "warning" => Level::Warn,
            "error" => Level::Error,
            "dpanic" | "panic" | "fatal" => Level::Fatal,
            _ => return None,
        })
    }

    fn filter(self) -> LevelFilter {
        match self {
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            Level::Error | Level::Fatal => LevelFilter::ERROR,
        }
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Json,
    /// Columns, and the fields as JSON behind them.
    Console,
}

impl Format {
    /// By etcd's names; none means `json`.
    ///
    /// # Errors
    /// The word that etcd has for another one.
    pub(crate) fn parse(text: &str) -> Result<Format, String> {
        match text {
            "" | "json" => Ok(Format::Json),
            "console" => Ok(Format::Console),
            _ => Err(format!("unknown log format: {text}, supported values json, console")),
        }
    }
}

/// What is logged, and where to.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) level: Level,
    /// `default`, `stderr`, `stdout`, or files.
    pub(crate) outputs: Vec<String>,
    pub(crate) format: Format,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            level: Level::default(),
            outputs: vec![outputs::DEFAULT.to_owned()],
            format: Format::default(),
        }
    }
}

/// Where lines go, once they go anywhere.
static OUTPUTS: OnceLock<Vec<Output>> = OnceLock::new();

/// Begins to log. Only the first call that succeeds counts.
///
/// # Errors
/// The output that cannot be had, in etcd's words; nothing is logged then.
pub(crate) fn init(options: &Options) -> Result<(), String> {
    let opened = outputs::open(&options.outputs, options.format)?;
    if OUTPUTS.set(opened).is_err() {
        return Ok(());
    }
    let zap = Zap { format: options.format, only_fatal: options.level == Level::Fatal };
    let level = options.level.filter();
    let rooms = ROOMS.iter().chain([&FATAL]).map(|room| (*room, level));
    let filter =
        Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(rooms);
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
    format: Format,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_zap() {
        assert_eq!(Level::parse("WARNING"), Some(Level::Warn));
        assert_eq!(Level::parse("Info"), Some(Level::Info));
        assert_eq!(Level::parse(""), Some(Level::Info));
        assert_eq!(Level::parse("dpanic"), Some(Level::Fatal));
        assert_eq!(Level::parse("nonsense"), None);
    }

    #[test]
    fn formats_are_those_of_etcd() {
        assert_eq!(Format::parse("console"), Ok(Format::Console));
        assert_eq!(Format::parse(""), Ok(Format::Json));
        let refusal = Format::parse("xml").unwrap_err();
        assert_eq!(refusal, "unknown log format: xml, supported values json, console");
    }
}
