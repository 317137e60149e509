//! IP addresses as Go reads them (`netip.ParseAddr`, `net.ParseIP`).

use crate::quote;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address with the zone it belongs to; the zone is empty for most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zoned {
    pub(crate) ip: IpAddr,
    pub(crate) zone: Vec<u8>,
}

/// An address without a zone. One of IPv4 that is written as one of IPv6 is one of IPv4.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    parse_ip_bytes(text.as_bytes())
}

pub(crate) fn parse_ip_bytes(text: &[u8]) -> Option<IpAddr> {
    let address = parse(text).ok()?;
    address.zone.is_empty().then(|| address.ip.to_canonical())
}

/// Reads an address that may have a zone.
///
/// # Errors
/// What is wrong with it, in Go's words.
pub(crate) fn parse(text: &[u8]) -> Result<Zoned, String> {
    let reader = Reader { all: text };
    match text.iter().find(|byte| b".:%".contains(byte)) {
        Some(b'.') => {
            let ip = IpAddr::V4(Ipv4Addr::from(reader.v4(text)?));
            Ok(Zoned { ip, zone: Vec::new() })
        }
        Some(b':') => reader.v6(),
        Some(_) => Err(reader.refused("missing IPv6 address")),
        None => Err(reader.refused("unable to parse IP")),
    }
}

/// Knows the whole text, for its messages.
struct Reader<'t> {
    all: &'t [u8],
}

impl Reader<'_> {
    fn refused(&self, why: &str) -> String {
        format!("ParseAddr({}): {why}", quote(self.all))
    }

    fn refused_at(&self, why: &str, at: &[u8]) -> String {
        match at {
            [] => self.refused(why),
            at => format!("{} (at {})", self.refused(why), quote(at)),
        }
    }

    /// Four numbers below 256, none with a zero before others.
    fn v4(&self, text: &[u8]) -> Result<[u8; 4], String> {
        let mut fields = [0; 4];
        let (mut field, mut digits, mut value) = (0, 0, 0_u32);
        for (at, &byte) in text.iter().enumerate() {
            if byte.is_ascii_digit() {
                if digits == 1 && value == 0 {
                    return Err(self.refused("IPv4 field has octet with leading zero"));
                }
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return Err(self.refused("IPv4 field has value >255"));
                }
            } else if byte == b'.' {
                if at == 0 || at == text.len() - 1 || text[at - 1] == b'.' {
                    let why = "IPv4 field must have at least one digit";
                    return Err(self.refused_at(why, &text[at..]));
                }
                if field == 3 {
                    return Err(self.refused("IPv4 address too long"));
                }
                fields[field] = value as u8;
                (field, digits, value) = (field + 1, 0, 0);
            } else {
                return Err(self.refused_at("unexpected character", &text[at..]));
            }
        }
        if field < 3 {
            return Err(self.refused("IPv4 address too short"));
        }
        fields[3] = value as u8;
        Ok(fields)
    }

    fn v6(&self) -> Result<Zoned, String> {
        let at = self.all.iter().position(|&byte| byte == b'%');
        let (text, zone) = match at {
            Some(at) => (&self.all[..at], &self.all[at + 1..]),
            None => (self.all, &[][..]),
        };
        if at.is_some() && zone.is_empty() {
            return Err(self.refused("zone must be a non-empty string"));
        }
        let ip = IpAddr::V6(Ipv6Addr::from(self.groups(text)?));
        Ok(Zoned { ip, zone: zone.to_vec() })
    }

    /// Eight groups of up to four hexadecimal digits; `::` stands for those that are left out, and the
    /// last two may be written as an address of IPv4.
    fn groups(&self, text: &[u8]) -> Result<[u8; 16], String> {
        let mut ip = [0; 16];
        let mut rest = text;
        let (mut filled, mut gap) = (0, None);
        if let Some(after) = rest.strip_prefix(b"::") {
            if after.is_empty() {
                return Ok(ip);
            }
            (rest, gap) = (after, Some(0));
        }
        while filled < 16 {
            let (group, length) = self.group(rest)?;
            if rest.get(length) == Some(&b'.') {
                let fields = self.embedded(rest, filled, gap.is_some())?;
                ip[filled..filled + 4].copy_from_slice(&fields);
                (filled, rest) = (filled + 4, &[]);
                break;
            }
            ip[filled..filled + 2].copy_from_slice(&group.to_be_bytes());
            (filled, rest) = (filled + 2, &rest[length..]);
            if rest.is_empty() {
                break;
            }
            rest = self.after_colon(rest)?;
            if rest.first() == Some(&b':') {
                if gap.is_some() {
                    return Err(self.refused_at("multiple :: in address", rest));
                }
                (rest, gap) = (&rest[1..], Some(filled));
                if rest.is_empty() {
                    break;
                }
            }
        }
        if !rest.is_empty() {
            return Err(self.refused_at("trailing garbage after address", rest));
        }
        match gap {
            None if filled < 16 => Err(self.refused("address string too short")),
            Some(_) if filled == 16 => {
                Err(self.refused("the :: must expand to at least one field of zeros"))
            }
            None => Ok(ip),
            Some(gap) => {
                ip[gap..].rotate_right(16 - filled);
                Ok(ip)
            }
        }
    }

    /// A group and how many digits it has.
    fn group(&self, text: &[u8]) -> Result<(u16, usize), String> {
        let mut value = 0;
        let mut length = 0;
        for &byte in text {
            let Some(digit) = char::from(byte).to_digit(16) else { break };
            if length > 3 {
                return Err(self.refused_at("each group must have 4 or less digits", text));
            }
            value = value * 16 + digit;
            length += 1;
        }
        if length == 0 {
            let why = "each colon-separated field must have at least one digit";
            return Err(self.refused_at(why, text));
        }
        Ok((value as u16, length))
    }

    fn embedded(&self, text: &[u8], filled: usize, has_gap: bool) -> Result<[u8; 4], String> {
        if !has_gap && filled != 12 {
            let why = "embedded IPv4 address must replace the final 2 fields of the address";
            return Err(self.refused_at(why, text));
        }
        if filled + 4 > 16 {
            let why = "too many hex fields to fit an embedded IPv4 at the end of the address";
            return Err(self.refused_at(why, text));
        }
        self.v4(text)
    }

    fn after_colon<'a>(&self, text: &'a [u8]) -> Result<&'a [u8], String> {
        match text {
            [b':', rest @ ..] if !rest.is_empty() => Ok(rest),
            [b':'] => Err(self.refused_at("colon must be followed by more characters", text)),
            _ => Err(self.refused_at("unexpected character, want colon", text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_the_rules_of_go() {
        let read = |text| parse_ip(text).map(|ip| ip.to_string());
        for (text, ip) in [
            ("127.0.0.1", "127.0.0.1"),
            ("fd00:0::1", "fd00::1"),
            ("FD00:0:0:0:0:0:0:1", "fd00::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::", "::"),
            ("1::", "1::"),
            ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
        ] {
            assert_eq!(read(text).as_deref(), Some(ip), "{text}");
        }
        for text in ["127.0.0.010", "1.2.3", "0x7f.0.0.1", "fe80::1%lo", "1::2::3", "", "12345::"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(parse(b"fe80::1%lo").unwrap().zone, b"lo");
    }

    #[test]
    fn refusals_have_the_words_of_go() {
        let refusal = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(refusal("x"), "ParseAddr(\"x\"): unable to parse IP");
        assert_eq!(
            refusal("1::12345"),
            "ParseAddr(\"1::12345\"): each group must have 4 or less digits (at \"12345\")"
        );
        assert_eq!(
            refusal("127.0.0.010"),
            "ParseAddr(\"127.0.0.010\"): IPv4 field has octet with leading zero"
        );
    }
}
