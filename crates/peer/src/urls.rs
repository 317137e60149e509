//! Where a peer is to be found, and which of its addresses to try next.

use parking_lot::Mutex;
use std::fmt;
use tokio::sync::watch;

/// Why text is no peer address; the texts are etcd's.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum UrlError {
    /// There is none at all.
    #[error("no valid URLs given")]
    None,
    /// Another scheme.
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
    /// No port.
    #[error("URL address does not have the form \"host:port\": {0}")]
    Address(String),
    /// More than an address.
    #[error("URL must not contain a path: {0}")]
    Path(String),
}

/// How the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

/// The address of a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerUrl {
    /// As it was given.
    text: String,
    pub(crate) scheme: Scheme,
    /// `host:port`, or the path of a socket.
    pub(crate) address: String,
}

impl PeerUrl {
    fn parse(text: &str) -> Result<PeerUrl, UrlError> {
        let text = text.trim();
        let refused = || UrlError::Scheme(text.to_owned());
        let (scheme, address) = text.split_once("://").ok_or_else(refused)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(refused()),
        };
        if matches!(scheme, Scheme::Http | Scheme::Https) {
            check_address(text, address)?;
        }
        Ok(PeerUrl { text: text.to_owned(), scheme, address: address.to_owned() })
    }

    /// Every one of `texts`, in the order in which etcd tries them.
    pub(crate) fn parse_all<S: AsRef<str>>(texts: &[S]) -> Result<Vec<PeerUrl>, UrlError> {
        let urls: Result<Vec<PeerUrl>, _> =
            texts.iter().map(|text| PeerUrl::parse(text.as_ref())).collect();
        let mut urls = urls?;
        if urls.is_empty() {
            return Err(UrlError::None);
        }
        urls.sort();
        Ok(urls)
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn check_address(text: &str, address: &str) -> Result<(), UrlError> {
    let bare = || UrlError::Address(text.to_owned());
    if let Some(at) = address.find(['/', '?', '#']) {
        let text = text.to_owned();
        return Err(if at == 0 { UrlError::Address(text) } else { UrlError::Path(text) });
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(bare)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = bracketed || !host.contains([':', '[', ']', ' ', '@']);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    if is_host && is_port { Ok(()) } else { Err(bare()) }
}

/// Chooses among a peer's addresses: the same one until it fails, then the next, round and round.
/// There is always at least one.
#[derive(Debug)]
pub(crate) struct Picker {
    choice: Mutex<Choice>,
    /// Counts changes of the addresses.
    epoch: watch::Sender<u64>,
}

#[derive(Debug)]
struct Choice {
    urls: Vec<PeerUrl>,
    picked: usize,
}

impl Picker {
    /// `urls` is not empty.
    pub(crate) fn new(urls: Vec<PeerUrl>) -> Picker {
        assert!(!urls.is_empty(), "a peer has an address");
        Picker { choice: Mutex::new(Choice { urls, picked: 0 }), epoch: watch::Sender::new(0) }
    }

    pub(crate) fn pick(&self) -> PeerUrl {
        let choice = self.choice.lock();
        choice.urls[choice.picked].clone()
    }

    /// `url` did not work. It may have been given up already.
    pub(crate) fn unreachable(&self, url: &PeerUrl) {
        let mut choice = self.choice.lock();
        if choice.urls[choice.picked] == *url {
            choice.picked = (choice.picked + 1) % choice.urls.len();
        }
    }

    /// From now on the peer is at `urls`. Whoever watches the epoch dials anew.
    pub(crate) fn update(&self, urls: Vec<PeerUrl>) {
        assert!(!urls.is_empty(), "a peer has an address");
        let mut choice = self.choice.lock();
        if choice.urls == urls {
            return;
        }
        *choice = Choice { urls, picked: 0 };
        drop(choice);
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Changes with the addresses.
    pub(crate) fn epoch(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_etcd_takes() {
        for good in ["http://127.0.0.1:2380", " https://a.b:1 ", "http://[::1]:80", "unix://x:1"] {
            assert!(PeerUrl::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:1", "ftp://a:1", "http://a", "http://a:1/", "http://a:x"] {
            assert!(PeerUrl::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(PeerUrl::parse_all::<&str>(&[]), Err(UrlError::None));
    }

    #[test]
    fn a_failed_address_gives_way_to_the_next_one() {
        let urls = PeerUrl::parse_all(&["http://b:2", "http://a:1"]).unwrap();
        let picker = Picker::new(urls);
        let first = picker.pick();
        assert_eq!(first.to_string(), "http://a:1");
        picker.unreachable(&first);
        picker.unreachable(&first);
        let second = picker.pick();
        assert_eq!(second.to_string(), "http://b:2");
        picker.unreachable(&second);
        assert_eq!(picker.pick(), first);
    }

    #[test]
    fn only_a_change_of_addresses_is_told() {
        let urls = PeerUrl::parse_all(&["http://a:1"]).unwrap();
        let picker = Picker::new(urls.clone());
        let epoch = picker.epoch();
        picker.update(urls);
        assert!(!epoch.has_changed().unwrap());
        picker.update(PeerUrl::parse_all(&["http://b:1"]).unwrap());
        assert!(epoch.has_changed().unwrap());
        assert_eq!(picker.pick().to_string(), "http://b:1");
    }
}
