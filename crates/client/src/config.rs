//! What a client is told once.

use crate::error::Error;
use crate::gate::Way;
use crate::secure::Dialer;
use std::sync::Arc;
use std::time::Duration;
use tls::Connector;
use tonic::transport::{Channel, Endpoint};

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
        password: String,
    },
    /// A token made elsewhere.
    Token(String),
}

/// What a client is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port`, `http://host:port`, `https://host:port` or `unix://path`, at least one.
    pub endpoints: Vec<String>,
    /// How long one attempt to connect may take.
    pub dial_timeout: Duration,
    /// How often a silent connection is asked whether it lives.
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
        }
    }

    /// Connections to all endpoints, each made when it is first needed.
    pub(crate) fn channels(&self) -> Result<Vec<(Channel, Arc<Way>)>, Error> {
        let settings = self.tls.clone().unwrap_or_default();
        let connector = Connector::new(&settings, &["h2"]);
        let connector = connector.map_err(|error| Error::Config(error.to_string()))?;
        self.endpoints.iter().map(|name| self.channel(name, &connector)).collect()
    }

    fn channel(&self, name: &str, connector: &Connector) -> Result<(Channel, Arc<Way>), Error> {
        let way = Arc::new(Way::default());
        let (uri, dialer) = match Target::parse(name, self.tls.is_some())? {
            Target::Unix(uri) => {
                let channel = self.endpoint(name, uri)?.connect_lazy();
                return Ok((channel, Way::unknown()));
            }
            Target::Plain(address) => {
                (format!("http://{address}"), Dialer::new(None, &address, &way))
            }
            Target::Secure(address) => {
                let dialer = Dialer::new(Some(connector.clone()), &address, &way);
                (format!("https://{address}"), dialer)
            }
        };
        Ok((self.endpoint(name, uri)?.connect_with_connector_lazy(dialer), way))
    }

    fn endpoint(&self, name: &str, uri: String) -> Result<Endpoint, Error> {
        let endpoint = Endpoint::from_shared(uri)
            .map_err(|error| Error::Config(format!("endpoint {name:?}: {error}")))?;
        Ok(endpoint
            .connect_timeout(self.dial_timeout)
            .http2_keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 24))
    }
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
                let text = format!("endpoint {name:?}: TLS over unix sockets is not supported yet");
                Err(Error::Config(text))
            }
            address::Target::Unix(path) => Ok(Target::Unix(format!("unix:{path}"))),
            address::Target::Tcp(address) if address.contains("://") => {
                Err(Error::Config(format!("endpoint {name:?}: unknown scheme or no address")))
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
