//! HPACK (RFC 7541): header blocks in both directions.
//!
//! ```text
//! 1xxxxxxx  field of the tables, by index
//! 01xxxxxx  literal that enters the dynamic table; index of its name, or 0 and the name
//! 001xxxxx  new size of the dynamic table
//! 000nxxxx  literal that stays out of the table; n: it must never enter one
//! string:   huffman bit, length in 7 bits and more, bytes
//! ```

mod decode;
mod encode;
mod huffman;
mod integer;
mod table;

pub(crate) use decode::Decoder;
pub(crate) use encode::{ResponseEncoder, literal};
pub(crate) use table::Field;

/// Why a header block cannot be read. The tables of both sides then differ for good, so every
/// case ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HpackError {
    /// The block ends within a field.
    Truncated,
    /// An integer above 2^28.
    Integer,
    /// A string that no encoder makes.
    Huffman,
    /// An index that no table has.
    Index,
    /// A table size above what was allowed, or after the first field.
    TableSize,
}
