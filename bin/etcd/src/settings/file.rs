//! Settings from the configuration file: YAML, whose keys are the names of flags, some of them in
//! sections (`client-transport-security`, `peer-transport-security`, `discovery-config`,
//! `socket-options`).
//!
//! Values are of the kinds that the reference takes there: durations are nanoseconds, lists of URLs
//! are texts. Null says nothing. Keys may be written in any case.

use super::command_line::UNKNOWN_KEYS;
use super::earlier;
use super::notes::Note;
use super::rows::{self, Row};
use super::values::Unfit;
use super::yaml::{self, Node};
use super::{Settings, rows::variable_of};
use cli::go;
use std::io::ErrorKind;
use std::path::Path;

/// The section that must not be null, of all: so it is in the reference.
const PEER_SECTION: &str = "peer-transport-security";
/// How alike keys must be for one to be suggested for the other, of 1.
const LIKENESS_MIN: f64 = 0.8;

/// What becomes of keys that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownKeys {
    Refused,
    PassedOver,
}

/// Reads the file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(path: &Path, unknown: UnknownKeys) -> Result<(Settings, Vec<Note>), String> {
    let bytes = std::fs::read(path).map_err(|error| {
        let call = if error.kind() == ErrorKind::IsADirectory { "read" } else { "open" };
        go::path_error(call, path, &error)
    })?;
    let broken = |what: String| format!("error converting YAML to JSON: {what}");
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| broken(format!("yaml: byte {} is not UTF-8", error.valid_up_to())))?;
    let mut reader = Reader { settings: Settings::default(), notes: Vec::new(), unknown };
    match yaml::parse(text).map_err(broken)? {
        Node::Null => {}
        Node::Map(pairs) => reader.section("", pairs)?,
        other => return Err(mismatch(other.kind(), "the file", "a map")),
    }
    let Reader { mut settings, mut notes, .. } = reader;
    // In the file no years are one year.
    settings.tls.self_signed_cert_validity = settings.tls.self_signed_cert_validity.max(1);
    notes.push(Note::File(path.to_owned()));
    Ok((settings, notes))
}

fn mismatch(found: &str, key: &str, wanted: &str) -> String {
    format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into {key} \
         of type {wanted}"
    )
}

struct Reader {
    settings: Settings,
    notes: Vec<Note>,
    unknown: UnknownKeys,
}

impl Reader {
    /// In the order of keys, so that of several spellings the last counts.
    fn section(&mut self, above: &str, mut pairs: Vec<(String, Node)>) -> Result<(), String> {
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (key, node) in pairs {
            let key = if above.is_empty() { key } else { format!("{above}.{key}") };
            if let Some(row) = rows::of_key(&key) {
                self.value(row, node)?;
            } else if rows::is_section(&key) {
                match node {
                    Node::Map(pairs) => self.section(&key, pairs)?,
                    Node::Null if key == PEER_SECTION => return Err(format!("invalid {key}")),
                    Node::Null => {}
                    other => return Err(mismatch(other.kind(), &key, "a map")),
                }
            } else if earlier::is_earlier_key(&key) {
                self.notes.push(Note::Earlier(key));
            } else if self.unknown == UnknownKeys::PassedOver {
                self.notes.push(Note::Unknown(key));
            } else {
                return Err(unknown(&key));
            }
        }
        Ok(())
    }

    fn value(&mut self, row: &Row, node: Node) -> Result<(), String> {
        if node != Node::Null {
            let taken = (row.field)(&mut self.settings).set_node(&node);
            taken.map_err(|unfit| match unfit {
                Unfit::Kind { found, wanted } => mismatch(&found, row.key, wanted),
                Unfit::Value(text) => format!("unexpected error setting up {}: {text}", row.key),
            })?;
        }
        self.notes.extend(row.warning(&self.settings).map(Note::Warning));
        Ok(())
    }
}

/// What is wrong with a key that nobody knows, and what may have been meant.
fn unknown(key: &str) -> String {
    let (hint, variable) = (hint(key), variable_of(UNKNOWN_KEYS));
    format!(
        "unknown key {key:?} in the configuration file{hint}; unknown keys are passed over with \
         --{UNKNOWN_KEYS} or {variable}=true"
    )
}

/// First what has exactly that name elsewhere: a flag, or a key of another section; then what is alike.
fn hint(key: &str) -> String {
    let (above, name) = key.rsplit_once('.').map_or(("", key), |(above, name)| (above, name));
    let name = name.to_ascii_lowercase();
    // One flag has a point in its name.
    match rows::key_of_flag(key).or_else(|| rows::key_of_flag(&name)) {
        Some("") => {
            return format!(" (it is a flag alone, or the variable {})", variable_of(&name));
        }
        Some(written) if written != name || !above.is_empty() => {
            return format!(" (what is the flag --{name} is here {written:?})");
        }
        _ => {}
    }
    let elsewhere: Vec<String> =
        rows::by_end_of_key(&name).map(|row| format!("{:?}", row.key)).collect();
    if !elsewhere.is_empty() {
        return format!(" (did you mean {}?)", elsewhere.join(" or "));
    }
    let likeness = |known: &str| strsim::jaro_winkler(known, &name);
    let nearest = rows::names_below(above)
        .filter(|known| likeness(known) >= LIKENESS_MIN)
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    nearest.map_or(String::new(), |nearest| format!(" (did you mean {nearest:?}?)"))
}
