//! A request's header fields, judged: a gRPC call, a plain request, or nothing that can be served.

use super::hpack::Field;
use crate::frame;
use crate::rpc::{CallHead, Code, Metadata, Status};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
    /// How long its body is, where it says so; calls are not held to it.
    pub(crate) content_length: Option<u64>,
    /// How its messages are packed, and the answers'.
    pub(crate) packing: Packing,
    /// What its content type says behind `application/grpc`; the answer says it too.
    pub(crate) subtype: Bytes,
}

/// How messages are packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Not at all.
    #[default]
    None,
    /// With gzip.
    Gzip,
    /// In a way of this name that nobody knows.
    Unknown(String),
}

impl Packing {
    /// What a call that cannot be read ends with, once its method is known.
    pub(crate) fn refusal(&self) -> Option<Status> {
        let Packing::Unknown(name) = self else { return None };
        let why = format!("grpc: Decompressor is not installed for grpc-encoding {name:?}");
        Some(Status::new(Code::Unimplemented, why))
    }
}

/// Shorter timeouts are over before anything can be done.
const TIMEOUT_MIN: Duration = Duration::from_micros(1);

/// Collects fields. A later error never hides an earlier one.
#[derive(Default)]
pub(crate) struct Builder {
    bytes: usize,
    is_malformed: bool,
    /// It breaks rules that gRPC does not insist on.
    is_improper: bool,
    refused: Option<Status>,
    is_grpc: bool,
    saw_regular: bool,
    hosts: usize,
    packing: Packing,
    subtype: Bytes,
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
            b":protocol" => return self.is_improper = true,
            _ => return self.is_malformed = true,
        };
        self.is_malformed |= !value_is_sound(&field.value);
        let again = slot.replace(field.value).is_some();
        self.is_malformed |= again || self.saw_regular;
    }

    fn regular(&mut self, field: Field) {
        self.saw_regular = true;
        if !name_is_sound(&field.name) || !value_is_sound(&field.value) {
            return self.is_malformed = true;
        }
        match &field.name[..] {
            b"connection" => self.is_malformed = true,
            b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
                self.is_improper = true;
            }
            b"te" => self.is_improper |= field.value != "trailers",
            b"host" => self.hosts += 1,
            b"content-type" => self.content_type(&field.value),
            b"content-length" => self.length(&field.value),
            b"grpc-timeout" => self.timeout(&field.value),
            b"grpc-encoding" => self.encoding(&field.value),
            name if name.ends_with(b"-bin") => self.binary(&field),
            _ => {}
        }
        self.call.metadata.push(field.name, field.value);
    }

    fn length(&mut self, value: &[u8]) {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let parsed = text(value).parse().ok().filter(|_| is_number);
        self.is_improper |= parsed.is_none() || self.content_length.is_some();
        self.content_length = parsed;
    }

    fn content_type(&mut self, value: &Bytes) {
        if let Some(subtype) = subtype(value) {
            self.is_grpc = true;
            self.subtype = value.slice(value.len() - subtype.len()..);
        }
    }

    fn binary(&mut self, field: &Field) {
        if let Some(place) = bad_base64(&field.value) {
            let (value, name) = (text(&field.value), text(&field.name));
            let why = format!(
                "malformed binary metadata {value:?} in header {name:?}: illegal base64 data at input byte {place}"
            );
            self.refused = Some(Status::new(Code::Internal, why));
        }
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
        self.packing = match value {
            b"" | b"identity" => Packing::None,
            b"gzip" => Packing::Gzip,
            other => Packing::Unknown(text(other).to_owned()),
        };
    }

    /// The whole request.
    pub(crate) fn finish(
        mut self,
        peer: Option<SocketAddr>,
        common_name: Option<Arc<str>>,
    ) -> Head {
        let path = self.path.take().map(|path| String::from_utf8_lossy(&path).into_owned());
        let verdict = self.verdict(path.as_deref());
        if verdict == Verdict::Plain
            && let Some(host) = self.authority
            && self.call.metadata.get("host").is_none()
        {
            self.call.metadata.push(Bytes::from_static(b"host"), host);
        }
        self.call.peer = peer;
        self.call.common_name = common_name;
        Head {
            verdict,
            call: self.call,
            method: self.method.unwrap_or_default(),
            path: path.unwrap_or_default(),
            content_length: self.content_length.filter(|_| !self.is_grpc),
            packing: self.packing,
            subtype: self.subtype,
        }
    }

    fn verdict(&mut self, path: Option<&str>) -> Verdict {
        if self.bytes > LIST_BYTES_MAX {
            return Verdict::TooLarge;
        }
        if self.is_malformed {
            return Verdict::Malformed;
        }
        if self.is_grpc {
            return self
                .refuse()
                .map_or(Verdict::Grpc, |(http, status)| Verdict::Abort(http, status));
        }
        let has_method = self.method.as_ref().is_some_and(|method| !method.is_empty());
        let has_path = path.is_some_and(|path| path.starts_with('/') || path == "*");
        if has_method && has_path && self.scheme.is_some() && !self.is_improper {
            return Verdict::Plain;
        }
        Verdict::Malformed
    }

    /// What ends a call before its method is looked for, in the order in which Go's server asks.
    fn refuse(&mut self) -> Option<(u16, Status)> {
        if self.hosts > 1 {
            let (authorities, hosts) = (usize::from(self.authority.is_some()), self.hosts);
            let why = format!(
                "num values of :authority: {authorities}, num values of host: {hosts}, both must only have 1 value as per HTTP/2 spec"
            );
            return Some((400, Status::new(Code::Internal, why)));
        }
        if let Some(status) = self.refused.take() {
            return Some((400, status));
        }
        if self.authority.is_none() && self.hosts == 0 {
            let why = "no host or :authority header present";
            return Some((400, Status::new(Code::Internal, why)));
        }
        let method = text(self.method.as_deref().unwrap_or_default());
        if method != "POST" {
            let why =
                format!("Received a HEADERS frame with :method {method:?} which should be POST");
            return Some((405, Status::new(Code::Internal, why)));
        }
        if self.call.timeout.is_some_and(|timeout| timeout < TIMEOUT_MIN) {
            return Some((200, Status::new(Code::DeadlineExceeded, "context deadline exceeded")));
        }
        None
    }
}

/// Trailers of a request: nothing reads them, but they must be sound.
pub(crate) fn is_trailer(field: &Field) -> bool {
    name_is_sound(&field.name) && value_is_sound(&field.value)
}

impl Head {
    /// Whether the answer's headers are other than usual.
    pub(crate) fn is_unusual(&self) -> bool {
        self.packing == Packing::Gzip || !self.subtype.is_empty()
    }

    /// The content type of the answer to a call.
    pub(crate) fn content_type(&self) -> Vec<u8> {
        let mut text = b"application/grpc".to_vec();
        if !self.subtype.is_empty() {
            text.push(b'+');
            text.extend_from_slice(&self.subtype);
        }
        text
    }

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

/// What a content type says behind `application/grpc`; `None` where it is another.
fn subtype(content_type: &[u8]) -> Option<&[u8]> {
    let rest = content_type.strip_prefix(b"application/grpc")?;
    match rest.split_first() {
        None => Some(rest),
        Some((b'+' | b';', subtype)) => Some(subtype),
        Some(_) => None,
    }
}

/// The first byte that is wrong in base64, padded or not.
fn bad_base64(value: &[u8]) -> Option<usize> {
    let is_padded = value.len().is_multiple_of(4);
    let padding =
        if is_padded { value.iter().rev().take_while(|byte| **byte == b'=').count() } else { 0 };
    let (digits, rest) = value.split_at(value.len() - padding.min(2));
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let wrong = digits.iter().position(|byte| !is_digit(byte));
    let is_short = digits.len() % 4 == 1 || (padding > 0 && (digits.len() + rest.len()) % 4 != 0);
    wrong.or(is_short.then_some(digits.len()))
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

/// As Go sees it: no controls but tabs; space at the ends may be.
fn value_is_sound(value: &[u8]) -> bool {
    !value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
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
        builder.finish(None, None)
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
            ("x", "\u{1}"),
            ("connection", "close"),
        ];
        for field in bad {
            assert_eq!(with(field), Verdict::Malformed, "{field:?}");
        }
        for missing in 0..3 {
            let mut fields = CALL[..4].to_vec();
            fields.remove(missing);
            assert_eq!(head(&fields).verdict, Verdict::Malformed, "{missing}");
        }
    }

    #[test]
    fn calls_are_forgiven_what_go_forgives_and_plain_requests_are_not() {
        for field in
            [("te", "gzip"), ("upgrade", "x"), ("content-length", "1x"), (":protocol", "x")]
        {
            let mut plain = CALL[..4].to_vec();
            plain.insert(if field.0.starts_with(':') { 0 } else { 4 }, field);
            let mut call = CALL.to_vec();
            call.insert(if field.0.starts_with(':') { 0 } else { 6 }, field);
            let verdicts = (head(&plain).verdict, head(&call).verdict);
            assert_eq!(verdicts, (Verdict::Malformed, Verdict::Grpc), "{field:?}");
        }
        let call = head(&[&CALL[..2], &CALL[3..]].concat());
        assert_eq!((call.verdict, &*call.path), (Verdict::Grpc, ""));
        assert_eq!(with(("x", " space ")), Verdict::Grpc);
    }

    #[test]
    fn refusals_say_what_go_says() {
        let Verdict::Abort(400, status) = with(("grpc-timeout", "1")) else { panic!() };
        let text = "malformed grpc-timeout: transport: timeout string is too short: \"1\"";
        assert_eq!(status.message, text);
        let Verdict::Abort(200, status) = with(("grpc-timeout", "0S")) else { panic!() };
        assert_eq!(status.code, Code::DeadlineExceeded);
        let Verdict::Abort(400, status) = with(("x-bin", "a$==")) else { panic!() };
        let text = "malformed binary metadata \"a$==\" in header \"x-bin\": illegal base64 data at input byte 1";
        assert_eq!(status.message, text);
        let mut fields = CALL.to_vec();
        fields.extend([("host", "a"), ("host", "b")]);
        assert!(matches!(head(&fields).verdict, Verdict::Abort(400, _)));
        let mut fields = CALL.to_vec();
        fields.retain(|(name, _)| *name != ":authority");
        let Verdict::Abort(400, status) = head(&fields).verdict else { panic!() };
        assert_eq!(status.message, "no host or :authority header present");
        fields.push(("host", "here"));
        assert_eq!(head(&fields).verdict, Verdict::Grpc);
        for (method, said) in [(Some("GET"), "GET"), (None, "")] {
            let mut fields = CALL[1..].to_vec();
            fields.splice(0..0, method.map(|method| (":method", method)));
            let Verdict::Abort(405, status) = head(&fields).verdict else { panic!() };
            assert!(status.message.contains(&format!(":method {said:?} which")));
        }
    }

    #[test]
    fn packing_and_subtype_are_noted() {
        let with = |name, value| {
            let mut fields = CALL.to_vec();
            fields.retain(|(known, _)| *known != name);
            fields.push((name, value));
            head(&fields)
        };
        assert_eq!(with("grpc-encoding", "identity").packing, Packing::None);
        assert_eq!(with("grpc-encoding", "gzip").packing, Packing::Gzip);
        let status = with("grpc-encoding", "snappy").packing.refusal().unwrap();
        let text = "grpc: Decompressor is not installed for grpc-encoding \"snappy\"";
        assert_eq!((status.code, &*status.message), (Code::Unimplemented, text));
        for (value, subtype) in [("application/grpc", ""), ("application/grpc;x", "x")] {
            assert_eq!(with("content-type", value).subtype, subtype);
        }
    }

    #[test]
    fn base64_is_looked_at_closely_enough() {
        for (value, bad) in [
            ("", None),
            ("YQ", None),
            ("YQ==", None),
            ("YWI=", None),
            ("Y", Some(1)),
            ("Y===", Some(1)),
            ("Y-Q=", Some(1)),
        ] {
            assert_eq!(bad_base64(value.as_bytes()), bad, "{value}");
        }
    }

    #[test]
    fn long_lists_are_not_kept() {
        let mut builder = Builder::default();
        let field = Field { name: Bytes::from_static(b"x"), value: vec![b'y'; 4096].into() };
        for _ in 0..100 {
            builder.push(field.clone());
        }
        assert!(builder.call.metadata.iter().count() < 17);
        assert_eq!(builder.finish(None, None).verdict, Verdict::TooLarge);
    }
}
