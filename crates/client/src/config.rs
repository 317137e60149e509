//! What a client is told once.

use crate::error::Error;
use std::time::Duration;
use tonic::transport::Endpoint;

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
    /// `host:port`, `http://host:port` or `unix://path`, at least one.
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
        }
    }

    /// How to reach one endpoint.
    pub(crate) fn endpoint(&self, name: &str) -> Result<Endpoint, Error> {
        let endpoint = Endpoint::from_shared(uri(name)?)
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

/// An endpoint as users write it, as a URI with a scheme.
fn uri(name: &str) -> Result<String, Error> {
    if name.starts_with("https://") || name.starts_with("unixs:") {
        let text = format!("endpoint {name:?}: encrypted connections are not supported yet");
        return Err(Error::Config(text));
    }
    if let Some(path) = name.strip_prefix("unix:") {
        return Ok(format!("unix:{}", path.strip_prefix("//").unwrap_or(path)));
    }
    Ok(if name.contains("://") { name.to_owned() } else { format!("http://{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcd_reads_them() {
        assert_eq!(uri("127.0.0.1:2379").unwrap(), "http://127.0.0.1:2379");
        assert_eq!(uri("http://a:1").unwrap(), "http://a:1");
        assert_eq!(uri("unix:///tmp/x").unwrap(), "unix:/tmp/x");
        assert!(uri("https://a:1").is_err());
    }
}
