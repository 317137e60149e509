//! `host:port` (Go's `net.SplitHostPort`; etcd's `pkg/netutil/host_normalize.go`).

use crate::Error;
use crate::ip::parse_ip_bytes;

/// Host, without brackets, and port of `host:port`; either may be empty.
///
/// # Errors
/// There is no port, or there are more colons or brackets than can be understood.
pub fn split_host_port(address: &str) -> Result<(&str, &str), Error> {
    let refused =
        |why: &str| Err(Error::quoting(|quoting| address_error(&quoting.plain(address), why)));
    let Some(last_colon) = address.rfind(':') else { return refused("missing port in address") };
    let (host, after_host) = if let Some(inner) = address.strip_prefix('[') {
        let Some(end) = inner.find(']') else { return refused("missing ']' in address") };
        let after = &inner[end + 1..];
        if end + 2 != last_colon {
            let has_colon = after.starts_with(':');
            let colons = "too many colons in address";
            return refused(if has_colon { colons } else { "missing port in address" });
        }
        (&inner[..end], after)
    } else {
        (&address[..last_colon], address)
    };
    if !address.starts_with('[') && host.contains(':') {
        return refused("too many colons in address");
    }
    if host.contains('[') || after_host.contains('[') {
        return refused("unexpected '[' in address");
    }
    if after_host.contains(']') {
        return refused("unexpected ']' in address");
    }
    Ok((host, &address[last_colon + 1..]))
}

fn address_error(address: &str, why: &str) -> String {
    match address {
        "" => why.into(),
        address => format!("address {address}: {why}"),
    }
}

/// `host:port`, with brackets around a host that has colons.
pub fn join_host_port(host: &str, port: impl std::fmt::Display) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The number of a port; that of an empty one is 0.
///
/// # Errors
/// It is no number below 65536. Names of services do not count, for a URL cannot hold one.
pub fn port_number(port: &str) -> Result<u16, Error> {
    let digits = port.strip_prefix(['+', '-']).unwrap_or(port);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::new(format!("lookup tcp/{port}: unknown port")));
    }
    let digits = digits.trim_start_matches('0');
    let number = if digits.is_empty() { Ok(0) } else { digits.parse() };
    match number {
        Ok(number) if number == 0 || !port.starts_with('-') => Ok(number),
        _ => Err(Error::new(format!("address {port}: invalid port"))),
    }
}

/// Whether the C library would take a host for an address that is none in Go: `127.1`, `0x7f.0.0.1`,
/// `2130706433`. The system's resolver must not be asked for such a name, for it would find one.
pub fn is_number_of_c(host: &str) -> bool {
    let is_number = |part: &str| match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()),
    };
    parse_ip_bytes(host.as_bytes()).is_none()
        && host.split('.').count() <= 4
        && host.split('.').all(is_number)
}

/// The form in which hosts are compared: an address as it is usually written, a name as it is.
pub fn normalize_host(host: &str) -> String {
    let (name, port) = split_host_port(host).unwrap_or((host, ""));
    let colon = if port.is_empty() { "" } else { ":" };
    match parse_ip_bytes(name.trim_matches(['[', ']']).as_bytes()) {
        Some(ip) if ip.is_ipv6() => format!("[{ip}]{colon}{port}"),
        Some(ip) => format!("{ip}{colon}{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_told_apart() {
        for (address, host, port) in [
            ("a:1", "a", "1"),
            (":1", "", "1"),
            ("a:", "a", ""),
            ("[::1]:2", "::1", "2"),
            ("[]:2", "", "2"),
            ("[fe80::1%lo]:3", "fe80::1%lo", "3"),
        ] {
            assert_eq!(split_host_port(address).unwrap(), (host, port));
            assert!(host.is_empty() || join_host_port(host, port) == address);
        }
        for (address, why) in [
            ("", "missing port in address"),
            ("a", "address a: missing port in address"),
            ("[::1]", "address [::1]: missing port in address"),
            ("::1", "address ::1: too many colons in address"),
            ("[a:1", "address [a:1: missing ']' in address"),
            ("[a]:1:2", "address [a]:1:2: too many colons in address"),
            ("a[:1", "address a[:1: unexpected '[' in address"),
            ("a]:1", "address a]:1: unexpected ']' in address"),
        ] {
            assert_eq!(split_host_port(address).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn ports_are_numbers_below_65536() {
        for (port, number) in [("", 0), ("0", 0), ("02379", 2379), ("65535", 65535)] {
            assert_eq!(port_number(port), Ok(number));
        }
        for port in ["65536", "99999999999999999999", "http", "-1"] {
            assert!(port_number(port).is_err(), "{port}");
        }
        let refusal = port_number("65536").unwrap_err();
        assert_eq!(refusal.to_string(), "address 65536: invalid port");
    }

    #[test]
    fn numbers_of_c_are_no_addresses_of_go() {
        for host in ["127.1", "0x7f.1", "0X7F000001", "2130706433", "127.0.0.010", "0x.1", "1.2.3"]
        {
            assert!(is_number_of_c(host), "{host}");
        }
        for host in
            ["127.0.0.1", "::1", "a", "1.2.3.4.5", "127.1.", "", ".", "0x7g", "1.a", "fe80::1%lo"]
        {
            assert!(!is_number_of_c(host), "{host}");
        }
    }

    #[test]
    fn hosts_are_compared_by_address() {
        for (host, normal) in [
            ("[fd00:0::1]:1", "[fd00::1]:1"),
            ("[::ffff:10.0.0.1]:1", "10.0.0.1:1"),
            ("[FD00::1]", "[fd00::1]"),
            ("10.0.0.1", "10.0.0.1"),
            ("127.0.0.010:1", "127.0.0.010:1"),
            ("Host:1", "Host:1"),
        ] {
            assert_eq!(normalize_host(host), normal);
        }
    }
}
