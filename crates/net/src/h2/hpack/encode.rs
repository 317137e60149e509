//! Writes header blocks. What a gRPC server says hardly changes, so two fields enter the client's
//! table once and are one byte afterwards; everything else is a plain literal.

use super::integer;
use bytes::{BufMut, BytesMut};

/// The first index behind the static table: the newest field of the dynamic one.
const DYNAMIC_FIRST: u8 = 62;
/// The table that every client has before it says otherwise.
const TABLE_BYTES_DEFAULT: u32 = 4096;

const STATUS_200: u8 = 0x88;
const NAME_STATUS: usize = 8;
const NAME_CONTENT_TYPE: usize = 31;

/// The two fields that enter the table.
#[derive(Clone, Copy)]
enum Fixed {
    ContentType = 0,
    StatusOk = 1,
}

/// The sending side of one connection's header compression.
pub(crate) struct ResponseEncoder {
    /// Fields in the client's table; the later, the lower their index.
    entered: u8,
    /// When each was entered, counted from 0.
    order: [Option<u8>; 2],
    /// Whether the client has a table we may use.
    has_table: bool,
    /// The next block must tell that the table is given up.
    resign: bool,
}

impl ResponseEncoder {
    /// For a new connection.
    pub(crate) fn new() -> ResponseEncoder {
        ResponseEncoder { entered: 0, order: [None; 2], has_table: true, resign: false }
    }

    /// The client's limit for the table. Less than the default and we do without, which costs some
    /// bytes and needs no bookkeeping.
    pub(crate) fn limit(&mut self, bytes_max: u32) {
        if bytes_max < TABLE_BYTES_DEFAULT && self.has_table {
            *self = ResponseEncoder { has_table: false, resign: true, ..ResponseEncoder::new() };
        }
    }

    /// The headers that begin every answered gRPC call.
    pub(crate) fn grpc_headers(&mut self, out: &mut BytesMut) {
        self.status(out, 200);
        self.fixed(out, Fixed::ContentType);
    }

    /// The trailer of success.
    pub(crate) fn grpc_ok(&mut self, out: &mut BytesMut) {
        self.begin(out);
        self.fixed(out, Fixed::StatusOk);
    }

    /// Begins a block that holds no `:status`.
    pub(crate) fn begin(&mut self, out: &mut BytesMut) {
        if std::mem::take(&mut self.resign) {
            out.put_u8(0x20);
        }
    }

    /// Begins a block with `:status`.
    pub(crate) fn status(&mut self, out: &mut BytesMut, status: u16) {
        self.begin(out);
        if status == 200 {
            return out.put_u8(STATUS_200);
        }
        integer::write(out, 0, 4, NAME_STATUS);
        string(out, status.to_string().as_bytes());
    }

    fn fixed(&mut self, out: &mut BytesMut, field: Fixed) {
        if let Some(order) = self.order[field as usize] {
            return out.put_u8(0x80 | (DYNAMIC_FIRST + self.entered - 1 - order));
        }
        let flags = if self.has_table { 0x40 } else { 0 };
        let prefix = if self.has_table { 6 } else { 4 };
        match field {
            Fixed::ContentType => {
                integer::write(out, flags, prefix, NAME_CONTENT_TYPE);
                string(out, b"application/grpc");
            }
            Fixed::StatusOk => {
                out.put_u8(flags);
                string(out, b"grpc-status");
                string(out, b"0");
            }
        }
        if self.has_table {
            self.order[field as usize] = Some(self.entered);
            self.entered += 1;
        }
    }
}

/// A field that enters no table.
pub(crate) fn literal(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_u8(0);
    string(out, name);
    string(out, value);
}

fn string(out: &mut BytesMut, text: &[u8]) {
    integer::write(out, 0, 7, text.len());
    out.put_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::hpack::Decoder;

    fn read(decoder: &mut Decoder, block: &BytesMut) -> Vec<String> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        decoder
            .decode(block, |f| fields.push(format!("{}={}", text(&f.name), text(&f.value))))
            .unwrap();
        fields
    }

    #[test]
    fn answers_shrink_to_three_bytes() {
        let (mut encoder, mut decoder) = (ResponseEncoder::new(), Decoder::new());
        for round in 0..3 {
            let (mut head, mut tail) = (BytesMut::new(), BytesMut::new());
            encoder.grpc_headers(&mut head);
            encoder.grpc_ok(&mut tail);
            assert_eq!(read(&mut decoder, &head), [":status=200", "content-type=application/grpc"]);
            assert_eq!(read(&mut decoder, &tail), ["grpc-status=0"]);
            assert!(round == 0 || (&head[..], &tail[..]) == (&[0x88, 0xbf][..], &[0xbe][..]));
        }
    }

    #[test]
    fn a_client_with_a_small_table_gets_literals() {
        let (mut encoder, mut decoder) = (ResponseEncoder::new(), Decoder::new());
        for limit in [4096, 100, 100] {
            encoder.limit(limit);
            let mut head = BytesMut::new();
            encoder.grpc_headers(&mut head);
            literal(&mut head, b"x", b"y");
            let fields = read(&mut decoder, &head);
            assert_eq!(fields, [":status=200", "content-type=application/grpc", "x=y"]);
        }
        assert_eq!(decoder.changes(), 2, "one field, and then the table was given up");
    }

    #[test]
    fn other_statuses_are_literals() {
        let mut out = BytesMut::new();
        ResponseEncoder::new().status(&mut out, 404);
        assert_eq!(read(&mut Decoder::new(), &out), [":status=404"]);
    }
}
