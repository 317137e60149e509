//! What a client is told once.

use crate::error::Error;
use crate::secret::Secret;
use crate::secure::Dialer;
use std::fmt;
use std::time::Duration;
use tls::Connector;

/// etcd's limits on messages, in bytes.
const SEND_MAX_BYTES: usize = 2 * 1024 * 1024;
const RECEIVE_MAX_BYTES: usize = i32::MAX as usize;

/// Who the client is, where the cluster asks.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A user's name and password, exchanged for a token.
    Password {
        /// The user.
        name: String,
        /// Its password.
        password: Secret,
    },
    /// A token made elsewhere.
    Token(Secret),
}

/// What a client is told once.
#[derive(Clone)]
pub struct Config {
    /// `host:port`, `http://host:port`, `https://host:port` or `unix://path`, at least one.
    pub endpoints: Vec<String>,
    /// How long one attempt to connect may take.
    pub dial_timeout: Duration,
    /// How often a connection with open calls is asked whether it lives. Below 10 s it counts as 10 s,
    /// as in Go: servers close connections that ask oftener than every 5 s.
    pub keepalive_interval: Duration,
    /// How long that answer may take.
    pub keepalive_timeout: Duration,
    /// A request may be this long.
    pub send_max_bytes: usize,
    /// An answer may be this long.
    pub receive_max_bytes: usize,
    /// Who the client is.
    pub credentials: Option<Credentials>,
    /// TLS for `https` and for endpoints that do not say; `http` goes without. Where there is none,
    /// `https` believes whom the system believes, and endpoints that do not say go without.
    pub tls: Option<tls::Settings>,
    /// Is told of every call that no server answered: its method, and why.
    pub observer: Option<fn(&str, &Error)>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self.endpoints.iter().map(|name| address::redacted(name));
        f.debug_struct("Config")
            .field("endpoints", &endpoints.collect::<Vec<_>>())
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The usual settings for some endpoints.
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Config {
        Config {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            dial_timeout: Duration::from_secs(2),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(6),
            send_max_bytes: SEND_MAX_BYTES,
            receive_max_bytes: RECEIVE_MAX_BYTES,
            credentials: None,
            tls: None,
            observer: None,
        }
    }

    /// How each of some endpoints is connected to.
    pub(crate) fn dialers(&self, endpoints: &[String]) -> Result<Vec<Dialer>, Error> {
        if endpoints.is_empty() {
            return Err(Error::Config("etcdclient: no available endpoints".into()));
        }
        let settings = self.tls.clone().unwrap_or_default();
        let connector = Connector::new(&settings, &["h2"]);
        let connector = connector.map_err(|error| Error::Config(error.to_string()))?;
        endpoints.iter().map(|name| self.dialer(name, &connector)).collect()
    }

    fn dialer(&self, name: &str, connector: &Connector) -> Result<Dialer, Error> {
        let dialer = match Target::parse(name, self.tls.is_some())? {
            Target::Unix(uri) => Dialer::Unix(uri.trim_start_matches("unix:").to_owned()),
            Target::Plain(address) => Dialer::Plain(address),
            Target::Secure(address) => Dialer::Secure(address, connector.clone()),
        };
        match dialer.origin().parse::<http::Uri>() {
            Ok(_) => Ok(dialer),
            Err(error) => Err(refused(name, error)),
        }
    }
}

/// An endpoint that cannot be read, without what nobody should see.
fn refused(name: &str, why: impl std::fmt::Display) -> Error {
    Error::Config(format!("endpoint {:?}: {why}", address::redacted(name)))
}

/// What an endpoint as users write it means.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// The URI of a socket in the file system.
    Unix(String),
    /// `host:port`, as it is.
    Plain(String),
    /// `host:port`, by TLS.
    Secure(String),
}

impl Target {
    /// `has_tls`: whether those that do not say are spoken to by TLS.
    fn parse(name: &str, has_tls: bool) -> Result<Target, Error> {
        let endpoint = address::Endpoint::parse(name);
        let is_secure = match endpoint.tls {
            address::Tls::Always => true,
            address::Tls::Never => false,
            address::Tls::IfSet => has_tls,
        };
        match endpoint.target {
            address::Target::Unix(_) if is_secure => {
                Err(refused(name, "TLS over unix sockets is not supported yet"))
            }
            address::Target::Unix(path) => Ok(Target::Unix(format!("unix:{path}"))),
            address::Target::Tcp(address) if address.contains("://") => {
                Err(refused(name, "unknown scheme or no address"))
            }
            address::Target::Tcp(address) if is_secure => Ok(Target::Secure(address)),
            address::Target::Tcp(address) => Ok(Target::Plain(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let mut config = Config::new(["http://u:s3cret@a:1"]);
        let password = "s3cret".into();
        config.credentials = Some(Credentials::Password { name: "root".into(), password });
        let shown = format!("{config:?}");
        assert!(shown.contains("root") && !shown.contains("s3cret"), "{shown}");
        config.credentials = Some(Credentials::Token("s3cret".into()));
        assert!(!format!("{config:?}").contains("s3cret"));
        let error = config.dialers(&["ftp://u:s3cret@a:1".into()]).err().unwrap();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn endpoints_are_read_as_etcd_reads_them() {
        let plain = |name: &str| Target::Plain(name.into());
        let secure = |name: &str| Target::Secure(name.into());
        let parse = |name| Target::parse(name, false).unwrap();
        assert_eq!(parse("127.0.0.1:2379"), plain("127.0.0.1:2379"));
        assert_eq!(parse("http://a:1"), plain("a:1"));
        assert_eq!(parse("unix:///tmp/x"), Target::Unix("unix:/tmp/x".into()));
        assert_eq!(parse("https://a:1"), secure("a:1"));
        assert_eq!(parse("HTTPS://u@[::1]:1/x"), secure("[::1]:1"));
        let parse = |name| Target::parse(name, true);
        assert_eq!(parse("127.0.0.1:2379").unwrap(), secure("127.0.0.1:2379"));
        assert_eq!(parse("http://a:1").unwrap(), plain("a:1"));
        assert!(parse("unixs:///tmp/x").is_err() && parse("ftp://a:1").is_err());
    }
}
