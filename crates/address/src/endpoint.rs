//! An endpoint as users of a client write it (etcd's `client/v3/internal/endpoint`).

use crate::Url;

/// Where a server is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect to.
    pub target: Target,
    /// Whom its certificate must be for; a port may follow.
    pub server_name: String,
    /// Whether it is spoken to by TLS.
    pub tls: Tls,
}

/// Where to connect to. It was not looked at: what is no address shows when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `host:port`.
    Tcp(String),
    /// The path of a socket in the file system.
    Unix(String),
}

/// Whether an endpoint is spoken to by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// In any case.
    Always,
    /// In no case.
    Never,
    /// Where the client has settings for it.
    IfSet,
}

impl Endpoint {
    /// What a text means. There is none that means nothing.
    pub fn parse(text: &str) -> Endpoint {
        let as_it_is = |server_name: &str, tls| Endpoint {
            target: Target::Tcp(text.to_owned()),
            server_name: server_name.to_owned(),
            tls,
        };
        if let Some((scheme @ ("unix" | "unixs"), rest)) = text.split_once(':') {
            return Endpoint::unix(scheme, rest);
        }
        if !text.contains("://") {
            return as_it_is(text, Tls::IfSet);
        }
        match Url::parse(text) {
            Err(_) => as_it_is(text, Tls::IfSet),
            Ok(url) => {
                let tls = match url.scheme() {
                    "http" => Tls::Never,
                    "https" => Tls::Always,
                    _ => return as_it_is(url.host(), Tls::IfSet),
                };
                let host = url.host().to_owned();
                Endpoint { target: Target::Tcp(host.clone()), server_name: host, tls }
            }
        }
    }

    fn unix(scheme: &str, rest: &str) -> Endpoint {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        Endpoint {
            target: Target::Unix(path.to_owned()),
            server_name: last_element(path).to_owned(),
            tls: if scheme == "unixs" { Tls::Always } else { Tls::IfSet },
        }
    }
}

/// The last element of a path (Go's `path.Base`).
fn last_element(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        _ if path.is_empty() => ".",
        Some(last) if !trimmed.is_empty() => last,
        _ => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcd_reads_them() {
        let tcp = |host: &str, name: &str, tls| Endpoint {
            target: Target::Tcp(host.into()),
            server_name: name.into(),
            tls,
        };
        for (text, endpoint) in [
            ("a:1", tcp("a:1", "a:1", Tls::IfSet)),
            ("http://a:1/x", tcp("a:1", "a:1", Tls::Never)),
            ("HTTPS://a:1", tcp("a:1", "a:1", Tls::Always)),
            ("http://a", tcp("a", "a", Tls::Never)),
            ("ftp://a:1", tcp("ftp://a:1", "a:1", Tls::IfSet)),
            ("http://a:x", tcp("http://a:x", "http://a:x", Tls::IfSet)),
            ("", tcp("", "", Tls::IfSet)),
        ] {
            assert_eq!(Endpoint::parse(text), endpoint, "{text}");
        }
        let unix = |path: &str, name: &str, tls| Endpoint {
            target: Target::Unix(path.into()),
            server_name: name.into(),
            tls,
        };
        for (text, endpoint) in [
            ("unix:///tmp/x:0", unix("/tmp/x:0", "x:0", Tls::IfSet)),
            ("unixs://a/b", unix("a/b", "b", Tls::Always)),
            ("unix:a", unix("a", "a", Tls::IfSet)),
        ] {
            assert_eq!(Endpoint::parse(text), endpoint, "{text}");
        }
    }
}
