//! Percent escapes; which bytes need one depends on the part of the URL (RFC 3986, as `net/url` has it).

use crate::quote;

/// A part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    User,
    Host,
    /// The zone of an IPv6 address.
    Zone,
    Path,
    Fragment,
}

impl Part {
    /// Whether the byte stands for itself here.
    pub(crate) fn holds(self, byte: u8) -> bool {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            return true;
        }
        let others: &[u8] = match self {
            Part::User => b"$&+,;=",
            Part::Host | Part::Zone => b"!$&'()*+,;=:[]<>\"",
            Part::Path => b"$&+,/:;=@",
            Part::Fragment => b"$&+,/:;=?@!()*",
        };
        others.contains(&byte)
    }

    fn is_host(self) -> bool {
        matches!(self, Part::Host | Part::Zone)
    }
}

/// The bytes that a text means.
///
/// # Errors
/// An escape that is none or is not allowed here, a byte that a host cannot have.
pub(crate) fn unescape(text: &[u8], part: Part) -> Result<Vec<u8>, String> {
    let mut found = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            found.push(escaped_byte(rest, part)?);
            rest = &rest[3..];
            continue;
        }
        if part.is_host() && byte.is_ascii() && !part.holds(byte) {
            return Err(format!("invalid character {} in host name", quote(&[byte])));
        }
        found.push(byte);
        rest = after;
    }
    Ok(found)
}

/// The byte that the escape at the beginning of `text` means. In hosts it must be one that is not
/// ASCII, or the percent sign before a zone.
fn escaped_byte(text: &[u8], part: Part) -> Result<u8, String> {
    let refused = || format!("invalid URL escape {}", quote(&text[..text.len().min(3)]));
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let (Some(high), Some(low)) = (digit(1), digit(2)) else { return Err(refused()) };
    let byte = (high * 16 + low) as u8;
    let is_refused = match part {
        Part::Host => byte.is_ascii() && byte != b'%',
        Part::Zone => byte != b'%' && byte != b' ' && !Part::Host.holds(byte),
        Part::User | Part::Path | Part::Fragment => false,
    };
    if is_refused { Err(refused()) } else { Ok(byte) }
}

/// The text that means these bytes.
pub(crate) fn escape(bytes: &[u8], part: Part) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if part.holds(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// A path or fragment as it was written, where that is a valid way to write it; otherwise the usual way.
///
/// # Errors
/// See [`unescape`].
pub(crate) fn tidy(text: &str, part: Part) -> Result<String, String> {
    let meant = unescape(text.as_bytes(), part)?;
    let is_kept = |byte: u8| b"!$&'()*+,;=:@[]%".contains(&byte) || part.holds(byte);
    if text.bytes().all(is_kept) {
        return Ok(text.to_owned());
    }
    Ok(escape(&meant, part))
}
