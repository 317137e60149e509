//! Connections under gRPC: which endpoints want TLS, and how it is made
//! (reference: `client/v3/internal/endpoint`, `client/v3/config.go`).

use crate::heard::Socket;
use std::ffi::OsString;
use std::io;
use tls::{Connector, Settings};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// What a command line says of TLS. An empty path means that there is no such file.
#[derive(Clone, Debug, Default)]
pub struct TlsFlags {
    /// The client's certificate.
    pub cert: OsString,
    /// Its key.
    pub key: OsString,
    /// Whom to believe.
    pub cacert: OsString,
    /// The domain by which the endpoints were found, where that asks for TLS. Certificates are for the
    /// hosts all the same, as etcd's client has it.
    pub domain: String,
    /// Whether endpoints that do not say are spoken to as they are, if nothing else is given.
    pub insecure_transport: bool,
    /// Whether any server is believed.
    pub insecure_skip_verify: bool,
}

impl TlsFlags {
    /// The settings; none where endpoints that do not say are spoken to as they are.
    pub fn settings(&self) -> Option<Settings> {
        let files = [&self.cert, &self.key, &self.cacert];
        let are_none = files.iter().all(|file| file.is_empty()) && self.domain.is_empty();
        if are_none && self.insecure_transport && !self.insecure_skip_verify {
            return None;
        }
        Some(Settings {
            cert_file: self.cert.clone(),
            key_file: self.key.clone(),
            trusted_ca_file: self.cacert.clone(),
            skip_verify: self.insecure_skip_verify,
            ..Settings::default()
        })
    }
}

/// Connects to one endpoint, and finds out who it is where that is wanted.
pub(crate) enum Dialer {
    /// A socket in the file system.
    Unix(String),
    /// `host:port`, as it is.
    Plain(String),
    /// `host:port`, by TLS.
    Secure(String, Connector),
}

impl Dialer {
    /// Makes a connection; why there is none, in gRPC's words.
    pub(crate) async fn dial(&self) -> Result<Box<dyn Socket>, String> {
        let without_password = |why: String| match self {
            Dialer::Unix(address) | Dialer::Plain(address) | Dialer::Secure(address, _) => {
                why.replace(address.as_str(), &address::redacted(address))
            }
        };
        self.connection().await.map_err(without_password)
    }

    async fn connection(&self) -> Result<Box<dyn Socket>, String> {
        match self {
            Dialer::Unix(path) => match UnixStream::connect(path).await {
                Ok(socket) => Ok(Box::new(socket)),
                Err(error) => {
                    let why = words(&error);
                    Err(format!("Error while dialing: dial unix {path}: connect: {why}"))
                }
            },
            Dialer::Plain(address) => Ok(Box::new(connect(address).await?)),
            Dialer::Secure(address, connector) => {
                let socket = connect(address).await?;
                let told = |why: String| format!("authentication handshake failed: {why}");
                let name = connector.name(address).map_err(|error| told(error.to_string()))?;
                let shaken = TlsConnector::from(connector.config()).connect(name, socket).await;
                Ok(Box::new(shaken.map_err(|error| told(tls::explain_io(&error)))?))
            }
        }
    }

    /// What requests are addressed to.
    pub(crate) fn origin(&self) -> String {
        match self {
            Dialer::Unix(_) => "http://localhost".to_owned(),
            Dialer::Plain(address) => format!("http://{address}"),
            Dialer::Secure(address, _) => format!("https://{address}"),
        }
    }
}

/// A connection to the first address of a host that takes one.
async fn connect(address: &str) -> Result<TcpStream, String> {
    let dialing = |why: String| format!("Error while dialing: dial tcp{why}");
    let found = tokio::net::lookup_host(address).await.map_err(|error| {
        let shown = address::redacted(address);
        let host = shown.rsplit_once(':').map_or(shown.as_str(), |(host, _)| host);
        match error.kind() {
            io::ErrorKind::InvalidInput => dialing(format!(": address {address}: {error}")),
            _ => dialing(format!(": lookup {host}: no such host")),
        }
    })?;
    let mut why = dialing(format!(": lookup {address}: no such host"));
    for address in found {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // A socket that refuses the option still works.
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Err(error) => why = dialing(format!(" {address}: connect: {}", words(&error))),
        }
    }
    Err(why)
}

/// The system's words for a fault, as C and Go write them.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn faults_are_told_in_the_words_of_go() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let why = Dialer::Plain(address.clone()).dial().await.err().unwrap();
        let refused = "connect: connection refused";
        assert_eq!(why, format!("Error while dialing: dial tcp {address}: {refused}"));
        let odd = Dialer::Plain("root:s3cret@nohost.invalid:1".into());
        let why = odd.dial().await.err().unwrap();
        assert!(why.contains("root:xxxxx@nohost.invalid") && !why.contains("s3cret"), "{why}");
        let why = Dialer::Unix("/nowhere/x".into()).dial().await.err().unwrap();
        let none = "dial unix /nowhere/x: connect: no such file or directory";
        assert_eq!(why, format!("Error while dialing: {none}"));
    }

    #[test]
    fn flags_ask_for_tls_as_those_of_etcdctl() {
        let plain = TlsFlags { insecure_transport: true, ..TlsFlags::default() };
        assert!(plain.settings().is_none());
        let asked = TlsFlags { insecure_transport: false, ..plain.clone() };
        assert!(asked.settings().is_some_and(|settings| !settings.skip_verify));
        let skips = TlsFlags { insecure_skip_verify: true, ..plain.clone() };
        assert!(skips.settings().is_some_and(|settings| settings.skip_verify));
        let finds = TlsFlags { domain: "example.com".into(), ..plain.clone() };
        assert!(finds.settings().is_some_and(|settings| settings.server_name.is_empty()));
        let believes = TlsFlags { cacert: "ca".into(), ..plain };
        assert!(believes.settings().is_some_and(|settings| settings.trusted_ca_file == "ca"));
    }
}
