//! The Huffman code of RFC 7541, appendix B.
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols,
//! and each length goes on where the one before it stopped. So the lengths are all there is to know;
//! the tables are computed from them when this file is compiled.

use super::HpackError;

const SYMBOLS: usize = 257;
const EOS: u16 = 256;
const LEN_MAX: usize = 30;
/// Codes up to this long are found by one look; headers hardly use others.
const FAST_BITS: u32 = 10;

#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// All codes of one length.
#[derive(Clone, Copy)]
struct Level {
    /// The first code.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where their symbols begin in [`Tables::symbols`].
    offset: u32,
}

struct Tables {
    levels: [Level; LEN_MAX + 1],
    /// Symbols in the order of their codes.
    symbols: [u16; SYMBOLS],
    /// By the next [`FAST_BITS`] bits: a symbol and its length, which is 0 where the code is longer.
    fast: [(u8, u8); 1 << FAST_BITS],
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut levels = [Level { first: 0, count: 0, offset: 0 }; LEN_MAX + 1];
    let mut symbols = [0; SYMBOLS];
    let mut fast = [(0, 0); 1 << FAST_BITS];
    let (mut code, mut placed, mut len) = (0u32, 0usize, 1usize);
    while len <= LEN_MAX {
        levels[len] = Level { first: code, count: 0, offset: placed as u32 };
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                symbols[placed] = symbol as u16;
                if len <= FAST_BITS as usize {
                    fill(&mut fast, code, len as u32, symbol as u8);
                }
                placed += 1;
                code += 1;
                levels[len].count += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        len += 1;
    }
    Tables { levels, symbols, fast }
}

/// Enters a short code under every continuation of it.
const fn fill(fast: &mut [(u8, u8); 1 << FAST_BITS], code: u32, len: u32, symbol: u8) {
    let spare = FAST_BITS - len;
    let mut rest = 0;
    while rest < 1 << spare {
        fast[((code << spare) | rest) as usize] = (symbol, len as u8);
        rest += 1;
    }
}

/// Appends the bytes that `input` stands for.
///
/// # Errors
/// [`HpackError::Huffman`] for the end-of-string symbol and for padding that is not up to seven ones.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let mut input = input.iter();
    // The low `held` bits of `window` are still to be read.
    let (mut window, mut held) = (0u64, 0u32);
    loop {
        while held <= 48
            && let Some(byte) = input.next()
        {
            window = (window << 8) | u64::from(*byte);
            held += 8;
        }
        let (symbol, len) = TABLES.fast[peek(window, held)];
        if len != 0 && u32::from(len) <= held {
            out.push(symbol);
            held -= u32::from(len);
            continue;
        }
        match long(window, held)? {
            Some((symbol, len)) => {
                out.push(symbol);
                held -= len;
            }
            None => return padding(window, held),
        }
    }
}

/// The next bits, filled up with ones.
fn peek(window: u64, held: u32) -> usize {
    let mask = (1u64 << FAST_BITS) - 1;
    let bits = if held >= FAST_BITS {
        window >> (held - FAST_BITS)
    } else {
        let short = FAST_BITS - held;
        (window << short) | ((1 << short) - 1)
    };
    (bits & mask) as usize
}

/// A code longer than [`FAST_BITS`], if there is a whole one.
fn long(window: u64, held: u32) -> Result<Option<(u8, u32)>, HpackError> {
    for len in FAST_BITS + 1..=(LEN_MAX as u32).min(held) {
        let level = TABLES.levels[len as usize];
        let code = ((window >> (held - len)) & ((1 << len) - 1)) as u32;
        let place = code.wrapping_sub(level.first);
        if place < level.count {
            let symbol = TABLES.symbols[(level.offset + place) as usize];
            if symbol == EOS {
                return Err(HpackError::Huffman);
            }
            return Ok(Some((symbol as u8, len)));
        }
    }
    Ok(None)
}

fn padding(window: u64, held: u32) -> Result<(), HpackError> {
    let mask = (1u64 << held) - 1;
    if held < 8 && window & mask == mask { Ok(()) } else { Err(HpackError::Huffman) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other direction, for tests only: what we send is never compressed.
    fn encode(text: &[u8]) -> Vec<u8> {
        let (mut out, mut window, mut held) = (Vec::new(), 0u64, 0u32);
        for byte in text {
            let len = u32::from(LENGTHS[usize::from(*byte)]);
            let level = TABLES.levels[len as usize];
            let from = level.offset as usize;
            let place = TABLES.symbols[from..].iter().position(|s| *s == u16::from(*byte)).unwrap();
            window = (window << len) | u64::from(level.first + place as u32);
            held += len;
            while held >= 8 {
                held -= 8;
                out.push((window >> held) as u8);
            }
        }
        if held > 0 {
            out.push(((window << (8 - held)) as u8) | ((1u16 << (8 - held)) - 1) as u8);
        }
        out
    }

    #[test]
    fn rfc_strings() {
        let golden: [(&[u8], &str); 4] = [
            (
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f], "custom-key"),
            (&[0x9b, 0xd9, 0xab], "gzip"),
        ];
        for (bytes, text) in golden {
            let mut out = Vec::new();
            decode(bytes, &mut out).unwrap();
            assert_eq!(out, text.as_bytes());
            assert_eq!(encode(text.as_bytes()), bytes);
        }
    }

    #[test]
    fn every_byte_comes_back() {
        for first in 0..=255u8 {
            let text = [first, b'a', first.wrapping_mul(7), first];
            let mut out = Vec::new();
            decode(&encode(&text), &mut out).unwrap();
            assert_eq!(out, text);
        }
    }

    #[test]
    fn bad_endings_are_refused() {
        for bad in [&[0xff][..], &[0xff, 0xff, 0xff, 0xff], &[0x1e], &[0x00]] {
            assert_eq!(decode(bad, &mut Vec::new()), Err(HpackError::Huffman), "{bad:?}");
        }
    }
}
