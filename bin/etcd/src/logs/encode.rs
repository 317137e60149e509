//! One line of the log, as zap's JSON encoder and its console encoder write it.
//!
//! ```text
//! json     {"level":"info","ts":"…","logger":"raft","caller":"drive/core.rs:7","msg":"…","k":"v"}
//! console  …\tinfo\traft\tdrive/core.rs:7\t…\t{"k": "v"}
//! ```
//! A field's name has hyphens where Rust's has underscores. A field given as bytes is JSON already; the
//! one named `fields` is an object whose members are fields of their own. The passwords of URLs are taken
//! out here, whoever logs them: addresses come from flags, files, other members and the database, and
//! messages and errors quote them.

use crate::settings::LogFormat;
use address::redacted_text;
use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Map, Value};
use std::fmt::Debug;
use std::io;
use std::time::SystemTime;
use tracing::field::{Field, Visit};

/// The field that holds more fields.
const FIELDS: &str = "fields";

/// What a line says.
pub(super) struct Line {
    level: &'static str,
    time: String,
    /// The part of the program with a log of its own, where it has a name.
    logger: String,
    caller: String,
    message: String,
    fields: Map<String, Value>,
}

impl Line {
    /// A line of this moment without a message.
    pub(super) fn new(level: &'static str, caller: String) -> Line {
        let (logger, message) = (String::new(), String::new());
        Line { level, time: now(), logger, caller, message, fields: Map::new() }
    }

    /// A line with a message and one field.
    pub(super) fn saying(
        level: &'static str,
        caller: String,
        message: &str,
        field: &str,
        value: u64,
    ) -> Line {
        let mut line = Line::new(level, caller);
        line.message = message.to_owned();
        line.fields.insert(field.to_owned(), value.into());
        line
    }

    /// The line's text, with its end.
    pub(super) fn encode(self, format: LogFormat) -> String {
        match format {
            LogFormat::Json => self.json(),
            LogFormat::Console => self.console(),
        }
    }

    fn json(self) -> String {
        let mut line = Map::new();
        line.insert("level".into(), self.level.into());
        line.insert("ts".into(), self.time.into());
        if !self.logger.is_empty() {
            line.insert("logger".into(), self.logger.into());
        }
        line.insert("caller".into(), self.caller.into());
        line.insert("msg".into(), self.message.into());
        line.extend(self.fields);
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        text
    }

    fn console(self) -> String {
        let mut columns = vec![self.time, self.level.to_owned()];
        if !self.logger.is_empty() {
            columns.push(self.logger);
        }
        columns.extend([self.caller, self.message]);
        if !self.fields.is_empty() {
            columns.push(spaced(&Value::Object(self.fields)));
        }
        let mut text = columns.join("\t");
        text.push('\n');
        text
    }

    fn put(&mut self, field: &str, value: Value) {
        match (field, without_passwords(value)) {
            ("message", Value::String(text)) => self.message = text,
            ("logger", Value::String(name)) => self.logger = name,
            (FIELDS, Value::Object(more)) => self.fields.extend(more),
            (name, value) => drop(self.fields.insert(name.replace('_', "-"), value)),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        let json = serde_json::from_slice(value);
        self.put(field.name(), json.unwrap_or_else(|_| String::from_utf8_lossy(value).into()));
    }
}

/// The same with all text as it may be shown.
fn without_passwords(value: Value) -> Value {
    match value {
        Value::String(text) => redacted_text(&text).into(),
        Value::Array(items) => items.into_iter().map(without_passwords).collect(),
        Value::Object(pairs) => {
            pairs.into_iter().map(|(name, value)| (name, without_passwords(value))).collect()
        }
        other => other,
    }
}

/// Where a line comes from, as zap shortens it: the file with its directory.
pub(super) fn caller(file: &str, line: u32) -> String {
    let from = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{line}", &file[from..])
}

/// The time as etcd's configuration of zap writes it: RFC 3339 with microseconds, in UTC.
fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

/// JSON with a space behind each colon and comma.
fn spaced(value: &Value) -> String {
    let mut text = Vec::new();
    let mut to = serde_json::Serializer::with_formatter(&mut text, Spaced);
    value.serialize(&mut to).expect("a value is always JSON, and memory takes it");
    String::from_utf8(text).expect("JSON is UTF-8")
}

struct Spaced;

impl Spaced {
    fn separate<W: ?Sized + io::Write>(out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }
}

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        Spaced::separate(out, first)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        Spaced::separate(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line() -> Line {
        let fields = json!({"urls": ["http://h:1", "http://h:2"], "n": 2, "ok": true});
        let Value::Object(fields) = fields else { unreachable!() };
        let caller = caller("crates/server/src/drive/core.rs", 7);
        Line {
            time: "T".into(),
            message: "a \"thing\"".into(),
            fields,
            ..Line::new("info", caller)
        }
    }

    #[test]
    fn json_begins_with_what_every_line_has() {
        let text = Line { logger: "raft".into(), ..line() }.encode(LogFormat::Json);
        let want = r#"{"level":"info","ts":"T","logger":"raft","caller":"drive/core.rs:7","msg":"a \"thing\"","urls":["http://h:1","http://h:2"],"n":2,"ok":true}"#;
        assert_eq!(text, format!("{want}\n"));
    }

    #[test]
    fn the_console_has_columns_and_then_the_fields() {
        let want = "T\tinfo\tdrive/core.rs:7\ta \"thing\"\t{\"urls\": [\"http://h:1\", \"http://h:2\"], \"n\": 2, \"ok\": true}\n";
        assert_eq!(line().encode(LogFormat::Console), want);
        let bare = Line { fields: Map::new(), logger: "raft".into(), ..line() };
        assert_eq!(
            bare.encode(LogFormat::Console),
            "T\tinfo\traft\tdrive/core.rs:7\ta \"thing\"\n"
        );
    }

    #[test]
    fn no_line_shows_a_password_of_a_url() {
        let mut line = line();
        line.put("message", "cannot reach http://root:pw@h:1".into());
        line.put("error", "parse \"http://root:pw@h\": no".into());
        line.put("urls", json!(["http://root:pw@h:1", "http://h:2"]));
        line.put("fields", json!({"initial-cluster": "m=http://root:pw@h:1", "n": 1}));
        let text = line.encode(LogFormat::Json);
        assert!(!text.contains("pw"), "{text}");
        assert_eq!(text.matches("http://root:xxxxx@h").count(), 4, "{text}");
    }

    #[test]
    fn a_caller_is_a_file_with_its_directory() {
        assert_eq!(caller("bin/etcd/src/main.rs", 1), "src/main.rs:1");
        assert_eq!(caller("main.rs", 1), "main.rs:1");
        assert_eq!(caller("src/main.rs", 1), "src/main.rs:1");
    }
}
