//! Answers, shown in one of five formats.
//!
//! Every answer implements [`Show`], one method per format; what a format cannot show is refused
//! with the reference's words. Bytes go out as they are, so nothing here is a `String` that may
//! hold a key or a value.

mod endpoint;
mod fields;
mod json;
mod kv;
mod lease;
mod member;

pub(crate) use endpoint::{HashKvs, Health, Healths, Statuses};
pub(crate) use kv::quoted_type;
pub(crate) use lease::{Granted, KeptAlive, Leases, Revoked, TimeToLive};
pub(crate) use member::{Changed, Downgraded, Moved};

use crate::exit::Exit;
use cli::output::Format;
pub(crate) use cli::output::print;
use cli::table::{self, Table};
use fields::Fields;
use serde_json::Value;

/// A format, and what users can say about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    style: Style,
}

/// How bytes and identifiers look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// In hexadecimal.
    pub(crate) hex: bool,
    /// No keys, only values.
    pub(crate) value_only: bool,
}

/// An answer that can be shown. A format that cannot show it returns none.
pub(crate) trait Show {
    /// For people.
    fn simple(&self, style: Style) -> Vec<u8>;

    /// One field a line.
    fn fields(&self, _fields: &mut Fields) -> Option<()> {
        None
    }

    /// One line of JSON.
    fn json(&self, hex: bool) -> Option<Value>;

    /// The message as it crosses the wire.
    fn protobuf(&self) -> Option<Vec<u8>> {
        None
    }

    /// Rows and columns.
    fn table(&self) -> Option<Table> {
        None
    }
}

impl Output {
    /// The format of this name.
    pub(crate) fn new(name: &str, hex: bool) -> Output {
        let format = Format::named(name);
        Output { format, style: Style { hex, value_only: false } }
    }

    /// Refuses a name that means no format; asked once the arguments are known to be right.
    ///
    /// # Errors
    /// There is no such format.
    pub(crate) fn check(self) -> Result<(), Exit> {
        self.format.check()
    }

    /// Whether this is the format for people.
    pub(crate) fn is_simple(self) -> bool {
        self.format == Format::Simple
    }

    /// Whether this is the format of one field a line.
    pub(crate) fn is_fields(self) -> bool {
        self.format == Format::Fields
    }

    /// The same without keys.
    pub(crate) fn value_only(mut self) -> Output {
        self.style.value_only = true;
        self
    }

    /// Shows an answer.
    ///
    /// # Errors
    /// The format cannot show it, or standard output takes no more.
    pub(crate) fn show(self, answer: &impl Show) -> Result<(), Exit> {
        let unsupported = || self.format.unsupported();
        self.check()?;
        let bytes = match self.format {
            Format::Simple | Format::Unknown => answer.simple(self.style),
            Format::Fields => {
                let mut fields = Fields::new(self.style.hex);
                answer.fields(&mut fields).ok_or_else(unsupported)?;
                fields.text().into_bytes()
            }
            Format::Json => {
                let value = answer.json(self.style.hex).ok_or_else(unsupported)?;
                cli::json::line(&value).into_bytes()
            }
            Format::Protobuf => answer.protobuf().ok_or_else(unsupported)?,
            Format::Table => answer.table().ok_or_else(unsupported)?.text().into(),
        };
        print(&bytes)
    }
}
