//! What a crash can leave of the last writes, told from damage.
//!
//! A log is only ever appended to, into zeros, and a disk keeps or loses whole sectors of what was not
//! synced. So within one sector what was lost is everything after some record, to the sector's end:
//!
//! ```text
//! | sector                        | sector                        |
//! | record | length, record ......|...... record, more records ...| as it was written
//! | record | 0000000000000000000000|.....  record, more records ..| the first sector lost: torn
//! | record | 00000000, record ....|...... record, more records ...| no crash does that: damaged
//! ```
//! A length that does not agree with what the record says of itself is damage as well, although the
//! record then seems to end beyond the file or among zeros.
//!
//! Reference: `server/storage/wal/decoder.go` (isTornEntry), which looks at sectors only.

use crate::defect::{Defect, Tear};

/// The unit in which a disk loses writes.
const SECTOR_BYTES: usize = 512;
/// Bytes that are compared at a time.
const PIECE_BYTES: usize = 4096;

/// What is wrong where a record's length is zero: nothing, if only zeros follow.
pub(crate) fn after_zero_length(rest: &[u8], offset: usize) -> Option<Defect> {
    debug_assert!(is_zero(&rest[..8.min(rest.len())]), "it is asked about a length of zero");
    let (head, later) = rest.split_at(to_sector_end(offset).min(rest.len()));
    if !is_zero(head) {
        let what = "zeros stand in the place of a record's length, before bytes that are not zero";
        return Some(Defect::Damaged(what.into()));
    }
    (!is_zero(later)).then_some(Defect::Torn(Tear::LostLength))
}

/// Whether a sector that the record covers is all zeros: it never reached the disk.
pub(crate) fn is_torn(framed: &[u8], offset: usize) -> bool {
    let first = to_sector_end(offset).min(framed.len());
    let (head, rest) = framed.split_at(first);
    let sectors = std::iter::once(head).chain(rest.chunks(SECTOR_BYTES));
    sectors.filter(|sector| !sector.is_empty()).any(is_zero)
}

/// What a record that cannot be read says against the length in front of it. `body` is what is there
/// of the record, at this offset of the file; only the sector that the length lies in is believed.
pub(crate) fn contradiction(body: &[u8], len: usize, offset: usize) -> Option<String> {
    let head = &body[..to_sector_end(offset).min(body.len()).min(len)];
    // Where the length ends its sector, the next one may be lost.
    if offset.is_multiple_of(SECTOR_BYTES) && is_zero(&body[..SECTOR_BYTES.min(body.len())]) {
        return None;
    }
    match told_len(head)? {
        Some(told) if told == len as u64 => None,
        Some(told) => Some(format!("its length is {len}, but it says itself that it has {told}")),
        None => Some(format!("its length is {len}, but no record begins as it does")),
    }
}

/// How long a record says it is: nothing where too little of it is there, or where it is none.
#[allow(clippy::option_option)] // "it cannot be told" and "it is none" are two answers
fn told_len(head: &[u8]) -> Option<Option<u64>> {
    let mut rest = Head { bytes: head, at: 0 };
    for key in [TYPE_KEY, CRC_KEY] {
        if rest.byte()? != key {
            return Some(None);
        }
        let Some(_) = rest.varint()? else { return Some(None) };
    }
    // A record may end here, without data, or be cut off.
    if rest.byte()? != DATA_KEY {
        return Some(None);
    }
    let Some(data_len) = rest.varint()? else { return Some(None) };
    Some((rest.at as u64).checked_add(data_len))
}

const TYPE_KEY: u8 = 0x08;
const CRC_KEY: u8 = 0x10;
const DATA_KEY: u8 = 0x1a;
/// The longest number in protobuf's bytes.
const VARINT_BYTES_MAX: usize = 10;

struct Head<'h> {
    bytes: &'h [u8],
    at: usize,
}

impl Head<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    /// A number, or `Some(None)` where it has no end.
    #[allow(clippy::option_option)] // as above
    fn varint(&mut self) -> Option<Option<u64>> {
        let mut number = 0;
        for place in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(Some(number));
            }
        }
        Some(None)
    }
}

/// Bytes from an offset to the end of its sector.
fn to_sector_end(offset: usize) -> usize {
    SECTOR_BYTES - offset % SECTOR_BYTES
}

/// Compared in pieces: a segment has 64 MB of zeros before it is written.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];
    bytes.chunks(PIECE_BYTES).all(|piece| *piece == ZEROS[..piece.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Decoder, Encoder, Kind, LENGTH_BYTES};

    /// Records of 3000, 40 and 700 bytes of data, in a segment that has room for more, and where they
    /// begin.
    fn segment() -> (Vec<u8>, [usize; 4]) {
        let mut encoder = Encoder::new(7);
        let mut begins = [0; 4];
        for (n, len) in [3000, 40, 700].into_iter().enumerate() {
            encoder.bytes(Kind::Entry, &vec![9; len]);
            begins[n + 1] = encoder.buffer.len();
        }
        encoder.buffer.resize(8192, 0);
        (encoder.buffer, begins)
    }

    /// How reading ends.
    fn ends(segment: &[u8]) -> Result<usize, Defect> {
        let mut decoder = Decoder { crc: 7, offset: 0 };
        while decoder.next(segment)?.is_some() {}
        Ok(decoder.offset)
    }

    #[test]
    fn zeros_over_a_length_are_damage_unless_its_whole_sector_is_lost() {
        let (whole, begins) = segment();
        assert_eq!(ends(&whole), Ok(begins[3]));
        for begin in &begins[..3] {
            let mut zeroed = whole.clone();
            zeroed[*begin..begin + LENGTH_BYTES].fill(0);
            let Err(Defect::Damaged(what)) = ends(&zeroed) else { panic!("at {begin}") };
            assert!(what.contains("before bytes that are not zero"), "{what}");
            let mut lost = whole.clone();
            lost[*begin..begin + to_sector_end(*begin)].fill(0);
            assert_eq!(ends(&lost), Err(Defect::Torn(Tear::LostLength)), "at {begin}");
        }
    }

    #[test]
    fn no_length_is_believed_against_its_record() {
        let (whole, begins) = segment();
        for begin in &begins[..3] {
            for bit in 0..LENGTH_BYTES * 8 {
                let mut flipped = whole.clone();
                flipped[begin + bit / 8] ^= 1 << (bit % 8);
                let end = ends(&flipped);
                assert!(matches!(end, Err(Defect::Damaged(_))), "{begin}, bit {bit}: {end:?}");
            }
        }
    }

    #[test]
    fn whatever_sectors_a_crash_loses_of_the_last_writes_is_a_tear() {
        let (whole, begins) = segment();
        // Everything from the second record on was not synced.
        let first = begins[1] / SECTOR_BYTES;
        let count = begins[3].div_ceil(SECTOR_BYTES) - first;
        for lost in 1..1_usize << count {
            let mut left = whole.clone();
            for sector in (0..count).filter(|sector| lost >> sector & 1 == 1) {
                let at = (first + sector) * SECTOR_BYTES;
                left[at.max(begins[1])..at + SECTOR_BYTES].fill(0);
            }
            let end = ends(&left);
            assert!(matches!(end, Ok(_) | Err(Defect::Torn(_))), "{lost:b}: {end:?}");
        }
        for len in begins[1]..whole.len() {
            let end = ends(&whole[..len]);
            assert!(matches!(end, Ok(_) | Err(Defect::Torn(_))), "{len} bytes: {end:?}");
        }
    }
}
