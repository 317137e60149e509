//! One URL (Go's `net/url`).

use crate::escape::{Part, escape, tidy, unescape};
use crate::host::{normalize_host, port_number, split_host_port};
use crate::{Error, Quoting, ip, quote, redacted};
use std::cmp::Ordering;
use std::fmt;

/// A URL. Two are equal if they are written alike; whether they mean the same place is another question
/// ([`Url::is_same_place`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// As Go writes it.
    text: String,
    /// In lower case; empty where there is none.
    scheme: String,
    /// Host and port without escapes. What is no UTF-8 then is replaced.
    host: String,
    /// Without escapes.
    path: Vec<u8>,
    /// Where in `text` the host stands.
    host_at: (usize, usize),
}

impl Url {
    /// Reads any URL, relative ones too.
    ///
    /// # Errors
    /// What is wrong with it, in Go's words.
    pub fn parse(text: &str) -> Result<Url, Error> {
        let refused = |part: &str, why: &str| {
            Error::quoting(|quoting| match quoting {
                // What is wrong may be the password, and a piece of it tells nothing of being one.
                Quoting::Shown if redacted(text) != text => {
                    format!("parse {}: {}", quoting.quoted(text), without_quotes(why))
                }
                _ => format!("parse {}: {why}", quote(part.as_bytes())),
            })
        };
        let (main, fragment) = text.split_once('#').unwrap_or((text, ""));
        let parts = Parts::read(main).map_err(|why| refused(main, &why))?;
        let fragment = tidy(fragment, Part::Fragment).map_err(|why| refused(text, &why))?;
        Ok(parts.join(&fragment))
    }

    /// Reads the URL of a member: scheme, host and port, or a socket in the file system.
    ///
    /// # Errors
    /// What is wrong with it, in the words of Go or etcd.
    pub fn of_member(text: &str) -> Result<Url, Error> {
        let text = text.trim();
        let url = Url::parse(text)?;
        let refused =
            |why: &str| Err(Error::quoting(|quoting| format!("{why}: {}", quoting.plain(text))));
        match url.scheme.as_str() {
            "unix" | "unixs" => Ok(url),
            "http" | "https" if split_host_port(&url.host).is_err() => {
                refused("URL address does not have the form \"host:port\"")
            }
            "http" | "https" if !url.path.is_empty() => refused("URL must not contain a path"),
            "http" | "https" => Ok(url),
            _ => refused("URL scheme must be http, https, unix, or unixs"),
        }
    }

    /// As Go writes it: the form that is told to others, stored, sorted and hashed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme in lower case; empty where there is none.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether it asks for TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self.scheme.as_str(), "https" | "unixs")
    }

    /// Whether it means a socket in the file system.
    pub fn is_unix(&self) -> bool {
        matches!(self.scheme.as_str(), "unix" | "unixs")
    }

    /// Host and port as they are written, without escapes.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and port as they are written in [`Url::as_str`], which is ASCII.
    pub fn escaped_host(&self) -> &str {
        &self.text[self.host_at.0..self.host_at.1]
    }

    /// Where to connect to: the host without brackets, and its port. No host is this machine.
    ///
    /// # Errors
    /// There is no port, or it is too large.
    pub fn dial(&self) -> Result<(&str, u16), Error> {
        let (host, port) = split_host_port(&self.host)?;
        let host = if host.is_empty() { "localhost" } else { host };
        let port = match (port, self.is_secure()) {
            ("", false) => 80,
            ("", true) => 443,
            (port, _) => port_number(port)?,
        };
        Ok((host, port))
    }

    /// Whether both mean the same place, as far as that can be seen without resolving names.
    pub fn is_same_place(&self, other: &Url) -> bool {
        let is_same_host = || normalize_host(&self.host) == normalize_host(&other.host);
        self.scheme == other.scheme && self.path == other.path && is_same_host()
    }

    /// The same with another host.
    pub(crate) fn with_host(&self, host: &str) -> Url {
        let (start, end) = self.host_at;
        let escaped = escape(host.as_bytes(), Part::Host);
        Url {
            text: format!("{}{escaped}{}", &self.text[..start], &self.text[end..]),
            host: host.to_owned(),
            host_at: (start, start + escaped.len()),
            ..self.clone()
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Url {
    fn cmp(&self, other: &Url) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl PartialOrd for Url {
    fn partial_cmp(&self, other: &Url) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A URL without its fragment, taken apart.
#[derive(Default)]
struct Parts<'t> {
    scheme: String,
    /// What follows a scheme without a slash.
    opaque: &'t str,
    /// Whether nothing at all stands for the authority.
    has_no_authority: bool,
    /// Name and password, escaped.
    user: Option<String>,
    host: Vec<u8>,
    /// The path as it will be written.
    path: String,
    query: Option<&'t str>,
}

impl<'t> Parts<'t> {
    fn read(text: &'t str) -> Result<Parts<'t>, String> {
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("net/url: invalid control character in URL".into());
        }
        let (scheme, rest) = cut_scheme(text)?;
        let mut parts = Parts { scheme: scheme.to_ascii_lowercase(), ..Parts::default() };
        let rest = match rest.split_once('?') {
            Some((rest, query)) => {
                parts.query = Some(query);
                rest
            }
            None => rest,
        };
        if !rest.starts_with('/') {
            if !parts.scheme.is_empty() {
                parts.opaque = rest;
                return Ok(parts);
            }
            if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
                return Err("first path segment in URL cannot contain colon".into());
            }
        }
        let has_scheme = !parts.scheme.is_empty();
        let authority = rest.strip_prefix("//").filter(|rest| has_scheme || !rest.starts_with('/'));
        let path = match authority {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                parts.read_authority(authority)?;
                path
            }
            None => {
                parts.has_no_authority = has_scheme && rest.starts_with('/');
                rest
            }
        };
        parts.path = tidy(path, Part::Path)?;
        Ok(parts)
    }

    fn read_authority(&mut self, authority: &str) -> Result<(), String> {
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        self.host = read_host(&self.scheme, host)?;
        self.user = user.map(read_user).transpose()?;
        Ok(())
    }

    fn join(self, fragment: &str) -> Url {
        let mut text = String::new();
        if !self.scheme.is_empty() {
            text.push_str(&self.scheme);
            text.push(':');
        }
        let mut host_at = (text.len(), text.len());
        if self.opaque.is_empty() {
            let has_host = !self.host.is_empty() || self.user.is_some();
            let may_have = has_host || !self.scheme.is_empty() && !self.has_no_authority;
            if may_have && (has_host || !self.path.is_empty()) {
                text.push_str("//");
            }
            if let Some(user) = &self.user {
                text.push_str(user);
                text.push('@');
            }
            host_at.0 = text.len();
            text.push_str(&escape(&self.host, Part::Host));
            host_at.1 = text.len();
            let first = self.path.split('/').next().unwrap_or_default();
            if text.is_empty() && first.contains(':') {
                text.push_str("./");
            }
            text.push_str(&self.path);
        } else {
            text.push_str(self.opaque);
        }
        if let Some(query) = self.query {
            text.push('?');
            text.push_str(query);
        }
        if !fragment.is_empty() {
            text.push('#');
            text.push_str(fragment);
        }
        let path = unescape(self.path.as_bytes(), Part::Path).expect("it was just written");
        let host = String::from_utf8_lossy(&self.host).into_owned();
        Url { text, scheme: self.scheme, host, path, host_at }
    }
}

/// Words without what they quote.
fn without_quotes(why: &str) -> String {
    let mut parts = why.splitn(2, '"');
    let before = parts.next().unwrap_or_default();
    match parts.next().and_then(|rest| rest.rsplit_once('"')) {
        Some((_, after)) => format!("{before}\"xxxxx\"{after}"),
        None => why.to_owned(),
    }
}

/// What stands before the first colon, if that can be a scheme; empty where there is none.
fn cut_scheme(text: &str) -> Result<(&str, &str), String> {
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let end = text.bytes().position(|byte| !is_of_scheme(byte)).unwrap_or(text.len());
    let (scheme, rest) = text.split_at(end);
    let Some(rest) = rest.strip_prefix(':') else { return Ok(("", text)) };
    match scheme.bytes().next() {
        None => Err("missing protocol scheme".into()),
        Some(first) if first.is_ascii_alphabetic() => Ok((scheme, rest)),
        Some(_) => Ok(("", text)),
    }
}

fn read_user(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !text.chars().all(is_allowed) {
        return Err("net/url: invalid userinfo".into());
    }
    let part =
        |text: &str| Ok::<_, String>(escape(&unescape(text.as_bytes(), Part::User)?, Part::User));
    match text.split_once(':') {
        Some((name, password)) => Ok(format!("{}:{}", part(name)?, part(password)?)),
        None => part(text),
    }
}

/// Host and port without escapes.
fn read_host(scheme: &str, host: &str) -> Result<Vec<u8>, String> {
    match host.rfind('[') {
        Some(0) => return read_bracketed(&host[1..]),
        Some(_) => return Err("invalid IP-literal".into()),
        None => {}
    }
    // A list of hosts, as some databases have it, is not for these two.
    let colon = match scheme {
        "http" | "https" => host.find(':'),
        _ => host.rfind(':'),
    };
    if let Some(colon) = colon {
        check_port(&host[colon..])?;
    }
    unescape(host.as_bytes(), Part::Host)
}

/// `rest` follows the opening bracket.
fn read_bracketed(rest: &str) -> Result<Vec<u8>, String> {
    let Some(end) = rest.rfind(']') else { return Err("missing ']' in host".into()) };
    let (name, port) = (&rest[..end], &rest[end + 1..]);
    check_port(port)?;
    let (name, zone) = name.split_at(name.find("%25").unwrap_or(name.len()));
    let mut host = unescape(name.as_bytes(), Part::Host)?;
    host.extend(unescape(zone.as_bytes(), Part::Zone)?);
    let address = ip::parse(&host).map_err(|why| format!("invalid host: {why}"))?;
    if address.ip.is_ipv4() {
        return Err("invalid IP-literal".into());
    }
    Ok([b"[", host.as_slice(), b"]", port.as_bytes()].concat())
}

/// Nothing, or a colon and digits.
fn check_port(port: &str) -> Result<(), String> {
    let digits = port.strip_prefix(':');
    if port.is_empty() || digits.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Ok(());
    }
    Err(format!("invalid port {} after host", quote(port.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_written_as_go_writes_them() {
        for (text, written) in [
            ("http://127.0.0.1:2379", "http://127.0.0.1:2379"),
            ("HTTP://Host:2379", "http://Host:2379"),
            ("http://[FE80::1%25lo]:1", "http://[FE80::1%25lo]:1"),
            ("http://u:p%40@a:1?x#y z", "http://u:p%40@a:1?x#y%20z"),
            ("http://a:1?", "http://a:1?"),
            ("http://\u{fc}:1", "http://%C3%BC:1"),
            ("unix:/a b", "unix:/a%20b"),
            ("unix:///a%2fb", "unix:///a%2fb"),
            ("unix:a:1", "unix:a:1"),
            ("http:", "http:"),
            ("*", "*"),
            ("//a:1/b", "//a:1/b"),
            ("///b", "///b"),
            ("%3a", "%3a"),
        ] {
            assert_eq!(Url::parse(text).unwrap().as_str(), written, "{text}");
        }
    }

    #[test]
    fn refusals_have_the_words_of_go_and_etcd() {
        for (text, why) in [
            ("http://a", "URL address does not have the form \"host:port\": http://a"),
            ("http://a:1/", "URL must not contain a path: http://a:1/"),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("localhost:1", "URL scheme must be http, https, unix, or unixs: localhost:1"),
            (" ", "URL scheme must be http, https, unix, or unixs: "),
            ("http://a:x", "parse \"http://a:x\": invalid port \":x\" after host"),
            ("http://a:1:2", "parse \"http://a:1:2\": invalid port \":1:2\" after host"),
            (":1", "parse \":1\": missing protocol scheme"),
            ("1.2.3.4:5", "parse \"1.2.3.4:5\": first path segment in URL cannot contain colon"),
            ("http://[1.2.3.4]:1", "parse \"http://[1.2.3.4]:1\": invalid IP-literal"),
            ("http://%41:1", "parse \"http://%41:1\": invalid URL escape \"%41\""),
            ("http://a b:1", "parse \"http://a b:1\": invalid character \" \" in host name"),
            ("http://a\n:1", "parse \"http://a\\n:1\": net/url: invalid control character in URL"),
        ] {
            assert_eq!(Url::of_member(text).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn refusals_show_no_password() {
        for text in [
            "http://u:s3cret@a",
            "http://u:s3cret@a:1/",
            "ftp://u:s3cret@a:1",
            "http://u:s3cret/x@a:1",
            "http://u:s3cret#x@a:1",
            "http://u:s3cret?x@a:1",
            "http://u:x%zzs3cret@a:1",
            "http://u:x s3cret@a:1",
            "http://u:x\ns3cret@a:1",
            "http://u:[s3cret@a:1",
            "u:s3cret@a:1",
        ] {
            let error = Url::of_member(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error} {error:?}");
            assert!(error.exact().contains("s3cret"), "{}", error.exact());
        }
    }

    #[test]
    fn a_url_says_where_to_connect() {
        let dial = |text| Url::of_member(text).unwrap().dial().map(|(h, p)| (h.to_owned(), p));
        assert_eq!(dial("http://[::1]:2380"), Ok(("::1".into(), 2380)));
        assert_eq!(dial("https://a:"), Ok(("a".into(), 443)));
        let refused = dial("http://a:65536").unwrap_err();
        assert_eq!(refused.to_string(), "address 65536: invalid port");
        let zoned = Url::of_member("http://[fe80::1%25lo]:1").unwrap();
        assert_eq!((zoned.host(), zoned.escaped_host()), ("[fe80::1%lo]:1", "[fe80::1%25lo]:1"));
        let other = zoned.with_host("[::1%eth0]:2");
        assert_eq!((other.as_str(), other.host()), ("http://[::1%25eth0]:2", "[::1%eth0]:2"));
    }
}
