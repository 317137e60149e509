//! The five formats of an answer, and where it goes.

use crate::exit::Exit;
use std::io::Write;

/// How an answer is shown. A program refuses what a format cannot show with [`Format::unsupported`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Simple,
    /// One field a line.
    Fields,
    /// One line of JSON.
    Json,
    /// The message as it crosses the wire.
    Protobuf,
    /// Rows and columns.
    Table,
    /// No format has the name that was given.
    Unknown,
}

impl Format {
    /// The format of this name.
    pub fn named(name: &str) -> Format {
        match name {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "protobuf" => Format::Protobuf,
            "table" => Format::Table,
            _ => Format::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Simple => "simple",
            Format::Fields => "fields",
            Format::Json => "json",
            Format::Protobuf => "protobuf",
            Format::Table => "table",
            Format::Unknown => "unknown",
        }
    }

    /// Refuses a name that means no format; asked once the arguments are known to be right.
    ///
    /// # Errors
    /// There is no such format.
    pub fn check(self) -> Result<(), Exit> {
        match self {
            Format::Unknown => Err(Exit::feature("unsupported output format")),
            _ => Ok(()),
        }
    }

    /// The refusal of an answer that this format cannot show.
    pub fn unsupported(self) -> Exit {
        Exit::feature(format!("{} not supported as output format", self.name()))
    }
}

/// Writes to standard output, at once.
///
/// # Errors
/// It takes no more.
pub fn print(bytes: impl AsRef<[u8]>) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes.as_ref())?;
    Ok(out.flush()?)
}
