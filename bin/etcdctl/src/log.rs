//! The few lines that the reference logs while a command runs, on standard error in zap's shape.

use serde_json::{Map, Value, json};
use std::io::Write;
use std::time::SystemTime;

/// Writes one line.
pub(crate) fn line(level: &str, message: &str, fields: &[(&str, Value)]) {
    let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    let head = [("level", json!(level)), ("ts", json!(now)), ("msg", json!(message))];
    let all = head.into_iter().chain(fields.iter().cloned());
    let object: Map<String, Value> = all.map(|(name, value)| (name.to_owned(), value)).collect();
    // A log that nobody can read stops no command.
    let _ = writeln!(std::io::stderr(), "{}", Value::Object(object));
}

/// An `ETCDCTL_` variable that means nothing. Its value is not shown: it may be a password under a
/// mistyped name.
pub(crate) fn unknown_variable(name: &str) {
    line("warn", "unrecognized environment variable", &[("environment-variable", json!(name))]);
}

/// A variable and a flag that say the same thing.
pub(crate) fn shadowed_variable(name: &str) {
    let text = "conflicting environment variable is shadowed by corresponding command-line flag \
                (either unset environment variable or disable flag))";
    line("fatal", text, &[("environment-variable", json!(name))]);
}

/// A call that no server answered.
pub(crate) fn failed_call(method: &str, error: &client::Error) {
    let fields = [("method", json!(method)), ("error", json!(error.framed()))];
    line("warn", "retrying of unary invoker failed", &fields);
}
