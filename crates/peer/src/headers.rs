//! Who a request is from, in headers, and whether it may be answered.
//!
//! ```text
//! X-Server-From           the sender's id, hexadecimal as all ids
//! X-Server-Version        its version
//! X-Min-Cluster-Version   the lowest version it talks to
//! X-Etcd-Cluster-ID       its cluster
//! X-PeerURLs              where to reach it, separated by commas
//! X-Raft-To               whom it means; on streams only
//! ```

use crate::config::Config;
use crate::handler::{Ground, Refused};
use http::header::HOST;
use http::request::Builder;
use http::{HeaderMap, HeaderValue, Method, Request};

pub(crate) const CLUSTER_ID: &str = "x-etcd-cluster-id";
pub(crate) const SERVER_VERSION: &str = "x-server-version";
const FROM: &str = "x-server-from";
const MIN_CLUSTER_VERSION: &str = "x-min-cluster-version";
const PEER_URLS: &str = "x-peerurls";
const RAFT_TO: &str = "x-raft-to";

pub(crate) const INCOMPATIBLE_VERSION: &str = "incompatible version";
pub(crate) const CLUSTER_ID_MISMATCH: &str = "cluster ID mismatch";

/// Members that sent no version are from before there was that header.
const UNSAID: Version = Version { major: 2, minor: 0 };

/// As much of a version as compatibility depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u64,
    minor: u64,
}

impl Version {
    /// The first two of three numbers; what follows a `-` or a `+` does not count.
    pub(crate) fn parse(text: &str) -> Option<Version> {
        let core = text.split(['-', '+']).next()?;
        let numbers: Option<Vec<u64>> = core.split('.').map(|part| part.parse().ok()).collect();
        match numbers?.as_slice() {
            [major, minor, _patch] => Some(Version { major: *major, minor: *minor }),
            _ => None,
        }
    }

    /// Of the answer of a peer. What cannot be read counts as unsaid.
    pub(crate) fn of_server(headers: &HeaderMap) -> Version {
        of(headers, SERVER_VERSION).unwrap_or(UNSAID)
    }

    /// Whether members of this version serve both kinds of stream.
    pub(crate) fn has_streams(self) -> bool {
        self >= Version { major: 2, minor: 1 }
    }
}

/// `None` where the header is there and no version.
fn of(headers: &HeaderMap, name: &str) -> Option<Version> {
    match headers.get(name) {
        None => Some(UNSAID),
        Some(value) if value.is_empty() => Some(UNSAID),
        Some(value) => Version::parse(value.to_str().ok()?),
    }
}

/// This member, as it presents itself to others.
#[derive(Debug)]
pub(crate) struct Identity {
    version: Version,
    min_cluster_version: Version,
    pub(crate) cluster_id: HeaderValue,
    pub(crate) server_version: HeaderValue,
    member_id: HeaderValue,
    min_cluster_header: HeaderValue,
    local_urls: Option<HeaderValue>,
}

impl Identity {
    /// `None` where the configuration has a malformed version or address.
    pub(crate) fn new(config: &Config) -> Option<Identity> {
        let local_urls = config.local_urls.join(",");
        let local_urls = match local_urls.as_str() {
            "" => None,
            urls => Some(HeaderValue::from_str(urls).ok()?),
        };
        Some(Identity {
            version: Version::parse(&config.server_version)?,
            min_cluster_version: Version::parse(&config.min_cluster_version)?,
            cluster_id: hex(config.cluster_id),
            server_version: HeaderValue::from_str(&config.server_version).ok()?,
            member_id: hex(config.member_id),
            min_cluster_header: HeaderValue::from_str(&config.min_cluster_version).ok()?,
            local_urls,
        })
    }

    /// A request to the peer at `address`, without its body.
    pub(crate) fn request(&self, method: Method, address: &str, path: &str) -> Builder {
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address)
            .header(FROM, &self.member_id)
            .header(SERVER_VERSION, &self.server_version)
            .header(MIN_CLUSTER_VERSION, &self.min_cluster_header)
            .header(CLUSTER_ID, &self.cluster_id);
        if let Some(urls) = &self.local_urls {
            builder = builder.header(PEER_URLS, urls);
        }
        builder
    }

    /// A request for a stream of `to`.
    pub(crate) fn stream_request(&self, address: &str, path: &str, to: u64) -> Builder {
        self.request(Method::GET, address, path).header(RAFT_TO, hex(to))
    }

    /// Whether the sender is of this cluster and of a version that fits.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Ground> {
        let server = of(headers, SERVER_VERSION);
        let min_cluster = of(headers, MIN_CLUSTER_VERSION);
        let fits = server.is_some_and(|version| version >= self.min_cluster_version)
            && min_cluster.is_some_and(|version| version <= self.version);
        if !fits {
            return Err(Ground::Version);
        }
        match headers.get(CLUSTER_ID) == Some(&self.cluster_id) {
            true => Ok(()),
            false => Err(Ground::Cluster),
        }
    }

    /// Why the versions do not fit, in the words of etcd.
    pub(crate) fn misfit(&self, headers: &HeaderMap) -> String {
        let text = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let is_old =
            of(headers, SERVER_VERSION).is_none_or(|version| version < self.min_cluster_version);
        let side = if is_old { "remote" } else { "local" };
        let local = self.server_version.to_str().unwrap_or_default();
        let (from, version) = (text(FROM), text(SERVER_VERSION));
        format!("{side} version is too low: remote[{from}]={version}, local={local}")
    }

    /// Whether an answer says that the peer is too old for streams. Newer ones have them.
    pub(crate) fn lacks_streams(&self, headers: &HeaderMap) -> bool {
        let remote = Version::of_server(headers);
        remote < self.version && !remote.has_streams()
    }

    /// Whether a stream is meant for this member.
    pub(crate) fn is_meant(&self, headers: &HeaderMap) -> bool {
        headers.get(RAFT_TO) == Some(&self.member_id)
    }
}

/// A refused request, as its sender describes itself in its headers.
pub(crate) fn refused<'a>(headers: &'a HeaderMap, ground: Ground, detail: &'a str) -> Refused<'a> {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Refused {
        ground,
        from: sender(headers).unwrap_or(0),
        version: text(SERVER_VERSION),
        min_cluster_version: text(MIN_CLUSTER_VERSION),
        cluster_id: text(CLUSTER_ID),
        detail,
    }
}

/// Whom a stream is meant for, as the request has it.
pub(crate) fn meant(headers: &HeaderMap) -> &str {
    headers.get(RAFT_TO).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Who sent a request, if it says so.
pub(crate) fn sender(headers: &HeaderMap) -> Option<u64> {
    parse_id(headers.get(FROM)?.to_str().ok()?)
}

/// Where the sender of a request can be reached; empty if it does not say.
pub(crate) fn sender_urls(headers: &HeaderMap) -> Vec<String> {
    let text = headers.get(PEER_URLS).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(',').filter(|url| !url.is_empty()).map(str::to_owned).collect()
}

/// An id as etcd writes it.
pub(crate) fn parse_id(text: &str) -> Option<u64> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

fn hex(id: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("{id:x}")).expect("hexadecimal digits are visible")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::new(&Config::new(0xa, 0xc)).unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn versions_are_compared_by_their_first_two_numbers() {
        assert_eq!(Version::parse("3.7.0-rc.1"), Version::parse("3.7.9+git"));
        assert!(Version::parse("3.10.0") > Version::parse("3.9.0"));
        for bad in ["", "3", "3.7", "3.x.1", "3.7.1.2"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn who_may_talk_to_whom() {
        let cases = [
            ("3.7.9", "3.0.0", "c", Ok(())),
            ("3.0.9", "3.7.9", "c", Ok(())),
            ("4.0.0", "3.0.0", "c", Ok(())),
            ("2.3.8", "2.1.0", "c", Err(Ground::Version)),
            ("3.7.9", "3.8.0", "c", Err(Ground::Version)),
            ("three", "3.0.0", "c", Err(Ground::Version)),
            ("3.7.9", "3.0.0", "d", Err(Ground::Cluster)),
            ("3.7.9", "3.0.0", "0c", Err(Ground::Cluster)),
        ];
        for (server, min_cluster, cluster, expected) in cases {
            let headers = headers(&[
                (SERVER_VERSION, server),
                (MIN_CLUSTER_VERSION, min_cluster),
                (CLUSTER_ID, cluster),
            ]);
            assert_eq!(identity().check(&headers), expected, "{server} {min_cluster} {cluster}");
        }
        assert_eq!(identity().check(&HeaderMap::new()), Err(Ground::Version));
    }

    #[test]
    fn ids_are_bare_hexadecimal() {
        assert_eq!(parse_id("ff"), Some(255));
        assert_eq!(parse_id("00FF"), Some(255));
        for bad in ["", "+1", "0x1", "g", "11112222333344445"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_of_a_sender_are_separated_by_commas() {
        let headers = headers(&[(PEER_URLS, "http://a:1,http://b:2")]);
        assert_eq!(sender_urls(&headers), ["http://a:1", "http://b:2"]);
        assert!(sender_urls(&HeaderMap::new()).is_empty());
    }
}
