//! A request's header fields, judged: a gRPC call, a plain request, or nothing that can be served.

use super::hpack::Field;
use crate::frame;
use crate::rpc::{CallHead, Code, Metadata, Status};
use bytes::Bytes;
use std::net::SocketAddr;

/// Fields of one request count up to this much, 32 bytes of overhead each included.
pub(crate) const LIST_BYTES_MAX: usize = 64 * 1024;

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Call a method.
    Grpc,
    /// Answer as a web server.
    Plain,
    /// Answer at once with this HTTP status and this end.
    Abort(u16, Status),
    /// Reset: it breaks HTTP's rules.
    Malformed,
    /// Reset: it is too long to be looked at.
    TooLarge,
}

/// A request before its body.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// What to do with it.
    pub(crate) verdict: Verdict,
    /// As gRPC handlers see it.
    pub(crate) call: CallHead,
    /// The method.
    pub(crate) method: Bytes,
    /// The path with its query.
    pub(crate) path: String,
    /// How long its body is, where it says so.
    pub(crate) content_length: Option<u64>,
}

/// Collects fields. A later error never hides an earlier one.
#[derive(Default)]
pub(crate) struct Builder {
    bytes: usize,
    is_malformed: bool,
    refused: Option<Status>,
    is_grpc: bool,
    saw_regular: bool,
    method: Option<Bytes>,
    path: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    content_length: Option<u64>,
    call: CallHead,
}

impl Builder {
    /// The next field.
    pub(crate) fn push(&mut self, field: Field) {
        self.bytes += field.size();
        if self.bytes > LIST_BYTES_MAX || self.is_malformed {
            return;
        }
        match field.name.first() {
            Some(b':') => self.pseudo(field),
            _ => self.regular(field),
        }
    }

    fn pseudo(&mut self, field: Field) {
        let slot = match &field.name[..] {
            b":method" => &mut self.method,
            b":path" => &mut self.path,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            _ => {
                self.is_malformed = true;
                return;
            }
        };
        let again = slot.replace(field.value).is_some();
        self.is_malformed |= again || self.saw_regular;
    }

    fn regular(&mut self, field: Field) {
        self.saw_regular = true;
        if !name_is_sound(&field.name) || !value_is_sound(&field.value) {
            self.is_malformed = true;
            return;
        }
        match &field.name[..] {
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => self.is_malformed = true,
            b"te" => self.is_malformed |= field.value != "trailers",
            b"content-type" => self.is_grpc = is_grpc(&field.value),
            b"content-length" => self.length(&field.value),
            b"grpc-timeout" => self.timeout(&field.value),
            b"grpc-encoding" => self.encoding(&field.value),
            _ => {}
        }
        self.call.metadata.push(field.name, field.value);
    }

    fn length(&mut self, value: &[u8]) {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let parsed = text(value).parse().ok().filter(|_| is_number);
        self.is_malformed |= parsed.is_none() || self.content_length.is_some();
        self.content_length = parsed;
    }

    fn timeout(&mut self, value: &[u8]) {
        match frame::timeout(text(value)) {
            Ok(timeout) => self.call.timeout = Some(timeout),
            Err(why) => {
                let why = format!("malformed grpc-timeout: {why}");
                self.refused = Some(Status::new(Code::Internal, why));
            }
        }
    }

    fn encoding(&mut self, value: &[u8]) {
        if !value.is_empty() && value != b"identity" {
            let name = text(value);
            let why = format!("grpc: Decompressor is not installed for grpc-encoding {name:?}");
            self.refused.get_or_insert(Status::new(Code::Unimplemented, why));
        }
    }

    /// The whole request.
    pub(crate) fn finish(mut self, peer: Option<SocketAddr>) -> Head {
        let path = self.path.take().and_then(|path| String::from_utf8(path.into()).ok());
        let verdict = self.verdict(path.as_deref());
        if verdict == Verdict::Plain
            && let Some(host) = self.authority
            && self.call.metadata.get("host").is_none()
        {
            self.call.metadata.push(Bytes::from_static(b"host"), host);
        }
        self.call.peer = peer;
        Head {
            verdict,
            call: self.call,
            method: self.method.unwrap_or_default(),
            path: path.unwrap_or_default(),
            content_length: self.content_length,
        }
    }

    fn verdict(&mut self, path: Option<&str>) -> Verdict {
        if self.bytes > LIST_BYTES_MAX {
            return Verdict::TooLarge;
        }
        let Some(method) = self.method.as_ref().filter(|method| !method.is_empty()) else {
            return Verdict::Malformed;
        };
        let has_path = path.is_some_and(|path| path.starts_with('/') || path == "*");
        if self.is_malformed || !has_path || self.scheme.is_none() {
            return Verdict::Malformed;
        }
        if !self.is_grpc {
            return Verdict::Plain;
        }
        if let Some(status) = self.refused.take() {
            let http = if status.code == Code::Unimplemented { 200 } else { 400 };
            return Verdict::Abort(http, status);
        }
        if method != "POST" {
            let method = text(method);
            let why =
                format!("Received a HEADERS frame with :method {method:?} which should be POST");
            return Verdict::Abort(405, Status::new(Code::Internal, why));
        }
        Verdict::Grpc
    }
}

/// Trailers of a request: nothing reads them, but they must be sound.
pub(crate) fn is_trailer(field: &Field) -> bool {
    name_is_sound(&field.name) && value_is_sound(&field.value)
}

impl Head {
    /// The metadata as plain HTTP has it; what cannot be said there is left out.
    pub(crate) fn header_map(metadata: &Metadata) -> http::HeaderMap {
        let mut map = http::HeaderMap::new();
        for (name, value) in metadata.iter() {
            let name = http::HeaderName::from_bytes(name);
            if let (Ok(name), Ok(value)) =
                (name, http::HeaderValue::from_maybe_shared(value.clone()))
            {
                map.append(name, value);
            }
        }
        map
    }
}

fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default()
}

/// RFC 9113, 8.2.1: no upper case, no controls, nothing beyond ASCII, no colon.
fn name_is_sound(name: &[u8]) -> bool {
    let bad =
        |byte: &u8| *byte <= b' ' || byte.is_ascii_uppercase() || *byte >= 0x7f || *byte == b':';
    !name.is_empty() && !name.iter().any(bad)
}

fn value_is_sound(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let ends_bare = !is_space(value.first()) && !is_space(value.last());
    ends_bare && !value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &[(&str, &str)] = &[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a.B/C"),
        (":authority", "here"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];

    fn head(fields: &[(&'static str, &'static str)]) -> Head {
        let mut builder = Builder::default();
        for (name, value) in fields {
            let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
            builder.push(Field { name: bytes(name), value: bytes(value) });
        }
        builder.finish(None)
    }

    fn with(field: (&'static str, &'static str)) -> Verdict {
        let mut fields = CALL.to_vec();
        fields.retain(|(name, _)| *name != field.0 || name.starts_with(':'));
        fields.push(field);
        head(&fields).verdict
    }

    #[test]
    fn calls_and_plain_requests() {
        let call = head(CALL);
        assert_eq!((call.verdict, call.path.as_str()), (Verdict::Grpc, "/a.B/C"));
        assert_eq!(with(("content-type", "application/grpc+proto")), Verdict::Grpc);
        assert_eq!(with(("content-type", "application/grpc-web")), Verdict::Plain);
        let plain = head(&CALL[..4]);
        assert_eq!((plain.verdict, plain.call.get("host")), (Verdict::Plain, Some("here")));
        assert_eq!(Head::header_map(&plain.call.metadata)["host"], "here");
    }

    #[test]
    fn malformed_requests() {
        let bad = [
            (":path", "/twice"),
            (":status", "200"),
            ("Upper", "case"),
            ("", "nameless"),
            ("a b", "space"),
            ("x", "line\nbreak"),
            ("x", " space"),
            ("te", "gzip"),
            ("connection", "close"),
            ("content-length", "1x"),
        ];
        for field in bad {
            assert_eq!(with(field), Verdict::Malformed, "{field:?}");
        }
        for missing in 0..3 {
            let mut fields = CALL.to_vec();
            fields.remove(missing);
            assert_eq!(head(&fields).verdict, Verdict::Malformed, "{missing}");
        }
    }

    #[test]
    fn refusals_say_what_go_says() {
        let Verdict::Abort(400, status) = with(("grpc-timeout", "1")) else { panic!() };
        let text = "malformed grpc-timeout: transport: timeout string is too short: \"1\"";
        assert_eq!(status.message, text);
        let Verdict::Abort(200, status) = with(("grpc-encoding", "gzip")) else { panic!() };
        let text = "grpc: Decompressor is not installed for grpc-encoding \"gzip\"";
        assert_eq!((status.code, &*status.message), (Code::Unimplemented, text));
        let mut get = CALL.to_vec();
        get[0].1 = "GET";
        assert!(matches!(head(&get).verdict, Verdict::Abort(405, _)));
    }

    #[test]
    fn long_lists_are_not_kept() {
        let mut builder = Builder::default();
        let field = Field { name: Bytes::from_static(b"x"), value: vec![b'y'; 4096].into() };
        for _ in 0..100 {
            builder.push(field.clone());
        }
        assert!(builder.call.metadata.iter().count() < 17);
        assert_eq!(builder.finish(None).verdict, Verdict::TooLarge);
    }
}
