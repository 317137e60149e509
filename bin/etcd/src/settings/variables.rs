//! Settings from variables, where no flag says otherwise.

use super::notes::Note;
use super::rows::ROWS;
use super::values::refused;
use super::{Settings, command_line};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// A variable that the reference uses itself and lets nobody set.
const SPECIAL: &str = "ETCD_VERSION";
const PREFIX: &[u8] = b"ETCD_";

/// The variables that begin with `ETCD_`. Their values may be any bytes.
pub(super) struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    pub(super) fn new(all: impl IntoIterator<Item = (OsString, OsString)>) -> Variables {
        let ours = |name: &OsString| name.as_encoded_bytes().starts_with(PREFIX);
        Variables(all.into_iter().filter(|(name, _)| ours(name)).collect())
    }

    /// The value, where there is one that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Sets what they say, and notes which do.
    ///
    /// # Errors
    /// A variable beside its flag, or a value that is none.
    pub(super) fn apply(
        &self,
        settings: &mut Settings,
        given: &BTreeSet<&'static str>,
        notes: &mut Vec<Note>,
    ) -> Result<(), String> {
        let mut used = BTreeSet::new();
        // Of several wrong ones the last by name is told, as in the reference.
        let mut wrong: BTreeMap<&str, String> = BTreeMap::new();
        if self.get(SPECIAL).is_some() {
            used.insert(OsString::from(SPECIAL));
            notes.push(Note::Special(SPECIAL.into()));
        }
        for row in ROWS.iter().filter(|row| !row.name.is_empty() && !given.contains(row.name)) {
            let variable = row.variable();
            let Some(value) = self.get(&variable) else { continue };
            used.insert(OsString::from(&variable));
            if let Err(reason) = (row.field)(settings).set_text(value) {
                let (value, reason) = refused((row.field)(settings), value, reason);
                wrong.insert(row.name, format!("invalid value {value} for {variable}: {reason}"));
                continue;
            }
            notes.push(Note::Used(variable));
            notes.extend(row.warning(settings).map(Note::Warning));
        }
        used.extend(command_line::special_variables().map(OsString::from));
        self.look_at_others(&used, given, notes)?;
        wrong.pop_last().map_or(Ok(()), |(_, reason)| Err(reason))
    }

    /// Variables that were not used: those beside a flag are refused, the others are noted.
    fn look_at_others(
        &self,
        used: &BTreeSet<OsString>,
        given: &BTreeSet<&'static str>,
        notes: &mut Vec<Note>,
    ) -> Result<(), String> {
        let shadowed: BTreeSet<OsString> =
            given.iter().map(|flag| super::rows::variable_of(flag).into()).collect();
        for name in self.0.keys().filter(|name| !used.contains(*name)) {
            let shown = name.to_string_lossy();
            if shadowed.contains(name) {
                return Err(format!(
                    "conflicting environment variable {shown:?} is shadowed by corresponding \
                     command-line flag (either unset environment variable or disable flag)"
                ));
            }
            notes.push(Note::Unrecognized(shown.into_owned()));
        }
        Ok(())
    }
}
