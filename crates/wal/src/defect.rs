//! Why no record could be read: damage, or what a crash leaves.

use std::fmt;

/// Why no record was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// A crash may have cut the write off.
    Torn(Tear),
    /// Anything else.
    Damaged(String),
}

/// Why what follows the last whole record of a log counts as cut off by a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// The file ends within a record.
    FileEnds,
    /// A sector that the record covers is all zeros.
    LostSector,
    /// Zeros stand in the place of a record's length, up to the end of the sector; later sectors
    /// hold other bytes.
    LostLength,
}

impl fmt::Display for Tear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tear::FileEnds => "the file ends within a record",
            Tear::LostSector => "a sector of the record is all zeros",
            Tear::LostLength => "zeros stand before bytes that are not zero",
        })
    }
}
