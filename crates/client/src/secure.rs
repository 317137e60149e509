//! Connections under tonic: which endpoints want TLS, and how it is made
//! (reference: `client/v3/internal/endpoint`, `client/v3/config.go`).

use crate::gate::{Gated, Socket, Way};
use http::Uri;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tls::{Connector, Settings};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// What a command line says of TLS. An empty path means that there is no such file.
#[derive(Clone, Debug, Default)]
pub struct TlsFlags {
    /// The client's certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
    /// Whom to believe.
    pub cacert: String,
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
        let files = [&self.cert, &self.key, &self.cacert, &self.domain];
        let are_none = files.iter().all(|text| text.is_empty());
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
#[derive(Clone)]
pub(crate) struct Dialer {
    connector: Option<Connector>,
    /// `host:port`.
    address: String,
    way: Arc<Way>,
}

impl Dialer {
    /// With `connector`, by TLS. `way` tells whether requests could go out.
    pub(crate) fn new(connector: Option<Connector>, address: &str, way: &Arc<Way>) -> Dialer {
        Dialer { connector, address: address.to_owned(), way: Arc::clone(way) }
    }

    async fn dial(self) -> io::Result<TokioIo<Gated>> {
        let socket = TcpStream::connect(&self.address).await?;
        // A socket that refuses the option still works.
        let _ = socket.set_nodelay(true);
        let socket = match &self.connector {
            Some(connector) => self.shake(connector, socket).await?,
            None => Socket::Plain(socket),
        };
        Ok(TokioIo::new(Gated::new(socket, self.way)))
    }

    async fn shake(&self, connector: &Connector, socket: TcpStream) -> io::Result<Socket> {
        let name = connector.name(&self.address);
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let told = |error: io::Error| {
            let why = tls::explain_io(&error);
            io::Error::new(error.kind(), format!("authentication handshake failed: {why}"))
        };
        let shaken = TlsConnector::from(connector.config()).connect(name, socket).await;
        Ok(Socket::Secure(Box::new(shaken.map_err(told)?)))
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Gated>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
