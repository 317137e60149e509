//! URLs and addresses as Go and etcd read, write and compare them.
//!
//! A member's identity is a hash over the text of its URLs, so that text must be the one that Go's
//! `net/url` writes, byte for byte, and what Go refuses must be refused here. General URL parsers
//! follow the rules of browsers, which lower the case of hosts, drop ports that go without saying
//! and read `010` as eight.
//!
//! ```text
//! "HTTP://u@[FD00::1%25lo]:2380?x"      the text
//!  ----   - -----------------  -
//!  scheme   host and port, without escapes     Url
//! "http://u@[FD00::1%25lo]:2380?x"      as_str(): the form that is advertised, stored and hashed
//! ```
//!
//! [`Url`] is `net/url`, [`Urls`] and [`UrlsByName`] are `client/pkg/types`, [`same`] is `pkg/netutil`,
//! the checks of [`Urls`] are those of `server/embed`, and [`Endpoint`] is what etcd's client makes of
//! an endpoint. Nothing here opens a socket, and names become addresses only through what a caller hands
//! in; with the feature `names` that may be a `Resolver`, which asks the system and waits.

mod cluster;
mod endpoint;
mod escape;
mod host;
mod ip;
mod listen;
#[cfg(feature = "names")]
mod names;
mod quote;
mod redact;
mod running;
mod same;
mod url;
mod urls;

pub use endpoint::{Endpoint, Target, Tls};
pub use host::{is_number_of_c, join_host_port, normalize_host, port_number, split_host_port};
pub use ip::parse_ip;
#[cfg(feature = "names")]
pub use names::Resolver;
pub use quote::quote;
pub use redact::{is_cut_through, redacted};
pub use running::redacted_text;
pub use same::{resolve, same};
pub use url::Url;
pub use urls::{Urls, UrlsByName};

/// Why text is no address, in the words of Go or etcd. Shown, it has no password of what it quotes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{shown}")]
pub struct Error {
    shown: String,
    /// The same with all that Go would quote. [`std::fmt::Debug`] must not have it either.
    exact: Exact,
}

impl Error {
    /// Words that quote nothing secret.
    pub(crate) fn new(words: impl Into<String>) -> Error {
        Error { shown: words.into(), exact: Exact(None) }
    }

    /// Words that quote values which may hold passwords, each of them by way of [`Quoting`].
    pub(crate) fn quoting(words: impl Fn(Quoting) -> String) -> Error {
        let (shown, exact) = (words(Quoting::Shown), words(Quoting::Exact));
        let exact = Exact(Some(exact).filter(|exact| *exact != shown));
        Error { shown, exact }
    }

    /// The words as Go has them, passwords and all, for comparison with those; never to be shown.
    pub fn exact(&self) -> &str {
        self.exact.0.as_deref().unwrap_or(&self.shown)
    }
}

/// How values are quoted in an error's words.
#[derive(Clone, Copy)]
pub(crate) enum Quoting {
    Shown,
    Exact,
}

impl Quoting {
    /// A value as it stands.
    pub(crate) fn plain(self, value: &str) -> String {
        match self {
            Quoting::Shown => redacted(value),
            Quoting::Exact => value.to_owned(),
        }
    }

    /// A value in quotation marks.
    pub(crate) fn quoted(self, value: &str) -> String {
        quote(self.plain(value).as_bytes())
    }

    /// The words of another error.
    pub(crate) fn error(self, error: &Error) -> String {
        match self {
            Quoting::Shown => error.to_string(),
            Quoting::Exact => error.exact().to_owned(),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Exact(Option<String>);

impl std::fmt::Debug for Exact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}
