//! Names of segments.

/// A segment's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    /// Counts from 0 without a gap.
    pub(crate) sequence: u64,
    /// The index of the first entry that may be in it.
    pub(crate) index: u64,
}

impl SegmentName {
    pub(crate) fn file_name(self) -> String {
        format!("{:016x}-{:016x}.wal", self.sequence, self.index)
    }

    pub(crate) fn parse(name: &str) -> Option<SegmentName> {
        let (sequence, index) = name.strip_suffix(".wal")?.split_once('-')?;
        let hex = |digits: &str| {
            let plain = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        Some(SegmentName { sequence: hex(sequence)?, index: hex(index)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let name = SegmentName { sequence: 10, index: 0xabcdef };
        assert_eq!(name.file_name(), "000000000000000a-0000000000abcdef.wal");
        assert_eq!(SegmentName::parse(&name.file_name()), Some(name));
        for bad in ["0.tmp", "a-b.wal", "000000000000000a-0000000000abcdef.wal.broken"] {
            assert_eq!(SegmentName::parse(bad), None);
        }
    }
}
