//! The lines that a command logs on standard error, in the shape of the reference's console log.

use serde_json::Value;
use std::io::Write;
use std::time::SystemTime;

/// How much a line matters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

/// Writes one line: time, level, text and fields, with tabs between.
pub(crate) fn line(level: Level, message: &str, fields: &[(&str, Value)]) {
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let level = match level {
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}: {value}", Value::from(*name))).collect();
    let fields =
        if fields.is_empty() { String::new() } else { format!("\t{{{}}}", fields.join(", ")) };
    // A log that nobody can read stops no command.
    let _ = writeln!(std::io::stderr(), "{now}\t{level}\t{message}{fields}");
}

/// What is being done.
pub(crate) fn info(message: &str, fields: &[(&str, Value)]) {
    line(Level::Info, message, fields);
}

/// What may go wrong.
pub(crate) fn warn(message: &str, fields: &[(&str, Value)]) {
    line(Level::Warn, message, fields);
}
