//! Integers with a prefix: as many bits of the first byte as are left, then seven bits a byte.

use super::HpackError;
use bytes::BufMut;

/// No length or index that makes sense is above this.
const VALUE_MAX: usize = 1 << 28;

/// Reads an integer whose first byte gives its low `prefix` bits; `at` moves behind it.
pub(super) fn read(block: &[u8], at: &mut usize, prefix: u8) -> Result<usize, HpackError> {
    let mask = (1usize << prefix) - 1;
    let first = usize::from(*block.get(*at).ok_or(HpackError::Truncated)?) & mask;
    *at += 1;
    if first < mask { Ok(first) } else { read_rest(block, at, mask) }
}

fn read_rest(block: &[u8], at: &mut usize, mut value: usize) -> Result<usize, HpackError> {
    let mut shift = 0;
    loop {
        let byte = *block.get(*at).ok_or(HpackError::Truncated)?;
        *at += 1;
        if shift > 21 {
            return Err(HpackError::Integer);
        }
        value += usize::from(byte & 0x7f) << shift;
        if value > VALUE_MAX {
            return Err(HpackError::Integer);
        }
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
}

/// Writes an integer; `flags` are the bits above its prefix in the first byte.
pub(super) fn write(out: &mut impl BufMut, flags: u8, prefix: u8, value: usize) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        return out.put_u8(flags | value as u8);
    }
    out.put_u8(flags | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, C.1.
    #[test]
    fn the_rfc_examples() {
        for (value, prefix, bytes) in
            [(10, 5, &[10u8][..]), (1337, 5, &[31, 154, 10]), (42, 8, &[42])]
        {
            let mut out = Vec::new();
            write(&mut out, 0, prefix, value);
            assert_eq!(out, bytes);
            let mut at = 0;
            assert_eq!(read(&out, &mut at, prefix), Ok(value));
            assert_eq!(at, out.len());
        }
    }

    #[test]
    fn endless_and_cut_integers_are_refused() {
        let mut at = 0;
        assert_eq!(read(&[31, 0x80], &mut at, 5), Err(HpackError::Truncated));
        let mut at = 0;
        let endless = [31, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0];
        assert_eq!(read(&endless, &mut at, 5), Err(HpackError::Integer));
    }
}
