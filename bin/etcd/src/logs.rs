//! Logs as JSON lines in zap's shape, on standard error.
//!
//! Nobody waits for whoever reads them: lines go through a bounded queue to a thread of their own,
//! and are dropped, and counted, when it is full.

use serde_json::{Map, Value};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Lines that may wait to be written.
const LINES_MAX: usize = 4096;
/// How long the last lines may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

enum Item {
    Line(String),
    /// Everything before is written: whoever waits is told.
    Flush(SyncSender<()>),
}

/// The way to the thread that writes.
static LINES: OnceLock<SyncSender<Item>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

fn write_all(lines: &Receiver<Item>) {
    let mut out = std::io::stderr();
    for item in lines {
        // There is nowhere to complain to when it fails.
        match item {
            Item::Line(line) => drop(out.write_all(line.as_bytes())),
            Item::Flush(done) => drop(done.send(())),
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(
                lines = dropped,
                "log lines were dropped, for they could not be written"
            );
        }
    }
}

/// Waits a moment until everything logged so far is written.
pub(crate) fn flush() {
    let (done, written) = sync_channel(1);
    if let Some(lines) = LINES.get()
        && lines.try_send(Item::Flush(done)).is_ok()
    {
        // Whoever does not read in time does not get the rest.
        let _ = written.recv_timeout(FLUSH_LIMIT);
    }
}

fn write(line: String) {
    if LINES.get().is_none_or(|lines| lines.try_send(Item::Line(line)).is_err()) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Begins to log at a level.
pub(crate) fn init(level: &str) {
    let filter = match level {
        "debug" => LevelFilter::DEBUG,
        "warn" => LevelFilter::WARN,
        "error" | "dpanic" | "panic" | "fatal" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let (sender, lines) = sync_channel(LINES_MAX);
    if LINES.set(sender).is_ok() {
        std::thread::spawn(move || write_all(&lines));
    }
    let subscriber = tracing_subscriber::registry().with(Zap.with_filter(filter));
    // Only the first subscriber counts; there is no other.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Zap;

impl<S: Subscriber> Layer<S> for Zap {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let meta = event.metadata();
        let level = match *meta.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = Map::new();
        line.insert("level".into(), level.into());
        line.insert("ts".into(), timestamp().into());
        let caller = format!("{}:{}", meta.file().unwrap_or("?"), meta.line().unwrap_or(0));
        line.insert("caller".into(), caller.into());
        line.insert("msg".into(), fields.message.into());
        line.extend(fields.others);
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        write(text);
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().replace('_', "-"), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// The time as zap writes it: RFC 3339 with microseconds, in UTC.
fn timestamp() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}
