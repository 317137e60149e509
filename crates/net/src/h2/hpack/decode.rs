//! Reads header blocks.

use super::table::{Field, Table};
use super::{HpackError, huffman, integer};
use bytes::Bytes;

/// The dynamic table's limit, which is the protocol's default: we announce no other.
const TABLE_BYTES_MAX: usize = 4096;

/// The receiving side of one connection's header compression.
pub(crate) struct Decoder {
    table: Table,
    /// Strings are unpacked here.
    scratch: Vec<u8>,
}

impl Decoder {
    /// With an empty dynamic table.
    pub(crate) fn new() -> Decoder {
        Decoder { table: Table::new(TABLE_BYTES_MAX), scratch: Vec::new() }
    }

    /// Hands over the fields of a whole block in order.
    ///
    /// # Errors
    /// What cannot be read; the decoder is then of no more use.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        mut each: impl FnMut(Field),
    ) -> Result<(), HpackError> {
        let mut at = 0;
        let mut seen_field = false;
        while let Some(first) = block.get(at) {
            if first & 0xe0 == 0x20 {
                if seen_field {
                    return Err(HpackError::TableSize);
                }
                self.resize(block, &mut at)?;
                continue;
            }
            seen_field = true;
            each(self.field(*first, block, &mut at)?);
        }
        Ok(())
    }

    /// See [`Table::changes`].
    pub(crate) fn changes(&self) -> u64 {
        self.table.changes()
    }

    fn resize(&mut self, block: &[u8], at: &mut usize) -> Result<(), HpackError> {
        let max = integer::read(block, at, 5)?;
        if max > TABLE_BYTES_MAX {
            return Err(HpackError::TableSize);
        }
        self.table.resize(max);
        Ok(())
    }

    fn field(&mut self, first: u8, block: &[u8], at: &mut usize) -> Result<Field, HpackError> {
        if first & 0x80 != 0 {
            let index = integer::read(block, at, 7)?;
            return self.table.get(index).ok_or(HpackError::Index);
        }
        let enters = first & 0x40 != 0;
        let index = integer::read(block, at, if enters { 6 } else { 4 })?;
        let name = match index {
            0 => self.string(block, at)?,
            _ => self.table.get(index).ok_or(HpackError::Index)?.name,
        };
        let field = Field { name, value: self.string(block, at)? };
        if enters {
            self.table.insert(field.clone());
        }
        Ok(field)
    }

    fn string(&mut self, block: &[u8], at: &mut usize) -> Result<Bytes, HpackError> {
        let packed = block.get(*at).ok_or(HpackError::Truncated)? & 0x80 != 0;
        let len = integer::read(block, at, 7)?;
        let raw = block.get(*at..*at + len).ok_or(HpackError::Truncated)?;
        *at += len;
        if !packed {
            return Ok(Bytes::copy_from_slice(raw));
        }
        self.scratch.clear();
        huffman::decode(raw, &mut self.scratch)?;
        Ok(Bytes::copy_from_slice(&self.scratch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let value = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| value(pair).unwrap()).collect()
    }

    fn decoded(decoder: &mut Decoder, block: &str) -> String {
        let mut out = String::new();
        let result = decoder.decode(&hex(block), |field| {
            let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            out.push_str(&format!("{}: {}\n", text(&field.name), text(&field.value)));
        });
        result.unwrap();
        out
    }

    const FIRST: &str = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n";

    fn three_requests(blocks: [&str; 3]) {
        let mut decoder = Decoder::new();
        assert_eq!(decoded(&mut decoder, blocks[0]), FIRST);
        assert_eq!(decoded(&mut decoder, blocks[1]), format!("{FIRST}cache-control: no-cache\n"));
        let third = ":method: GET\n:scheme: https\n:path: /index.html\n\
                     :authority: www.example.com\ncustom-key: custom-value\n";
        assert_eq!(decoded(&mut decoder, blocks[2]), third);
        assert_eq!(decoder.changes(), 3);
    }

    /// RFC 7541, C.3.
    #[test]
    fn requests_without_huffman() {
        three_requests([
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ]);
    }

    /// RFC 7541, C.4.
    #[test]
    fn requests_with_huffman() {
        three_requests([
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ]);
    }

    /// RFC 7541, C.6: a table of 256 bytes, so that fields give way.
    #[test]
    fn responses_with_eviction() {
        let mut decoder = Decoder::new();
        decoder.table.resize(256);
        let rest = "cache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
                    location: https://www.example.com\n";
        let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 \
                     82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
        assert_eq!(decoded(&mut decoder, first), format!(":status: 302\n{rest}"));
        assert_eq!(decoded(&mut decoder, "4883 640e ffc1 c0bf"), format!(":status: 307\n{rest}"));
        let third = "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b \
                     d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 \
                     0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07";
        let text = ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n\
                    location: https://www.example.com\ncontent-encoding: gzip\n\
                    set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n";
        assert_eq!(decoded(&mut decoder, third), text);
    }

    /// RFC 7541, C.2.
    #[test]
    fn literals_that_stay_out() {
        let mut decoder = Decoder::new();
        let path = "040c 2f73 616d 706c 652f 7061 7468";
        assert_eq!(decoded(&mut decoder, path), ":path: /sample/path\n");
        let secret = "1008 7061 7373 776f 7264 0673 6563 7265 74";
        assert_eq!(decoded(&mut decoder, secret), "password: secret\n");
        assert_eq!(decoder.changes(), 0);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let refused = |bytes: &str| Decoder::new().decode(&hex(bytes), |_| {}).unwrap_err();
        assert_eq!(refused("80"), HpackError::Index);
        assert_eq!(refused("be"), HpackError::Index);
        assert_eq!(refused("7f00 01 61"), HpackError::Index);
        assert_eq!(refused("410f 77"), HpackError::Truncated);
        assert_eq!(refused("3fe2 1f"), HpackError::TableSize, "4097 bytes");
        assert_eq!(refused("8220"), HpackError::TableSize, "after a field");
    }
}
