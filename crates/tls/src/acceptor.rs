//! Connections that come.

use crate::certificate::names;
use crate::check::{self, Revocations, System};
use crate::refusals::Refusals;
use crate::resolve::Shown;
use crate::settings::Settings;
use crate::verify::Verifier;
use crate::{Error, suites};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Clients.
    Client,
    /// Members, whose certificates must belong to their addresses.
    Peer,
}

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// `h2` or `http/1.1`, as the two sides agree; whoever speaks of neither speaks HTTP/1.1.
    Http,
    /// HTTP/1.1, without a word about it.
    Http1,
}

/// Makes sessions for connections that come.
#[derive(Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    endpoint: Endpoint,
    revocations: Option<Revocations>,
    checks_addresses: bool,
    refusals: Refusals,
}

impl Acceptor {
    /// How long a handshake may take.
    pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

    /// # Errors
    /// Settings that contradict each other, files that are no use.
    pub fn new(
        settings: &Settings,
        endpoint: Endpoint,
        protocols: Protocols,
    ) -> Result<Acceptor, Error> {
        settings.check()?;
        let provider = suites::provider(settings)?;
        let shown = Shown::new("peer", (&settings.cert_file, &settings.key_file))?;
        if !settings.client_cert_file.is_empty() {
            Shown::new("client", settings.client_pair())?;
        }
        let asks = settings.client_cert_auth || !settings.trusted_ca_file.is_empty();
        let judge = match asks {
            true => Arc::new(Verifier::new(settings, &provider)?) as _,
            false => WebPkiClientVerifier::no_client_auth(),
        };
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&suites::versions(settings))
            .map_err(|error| Error::new(format!("tls: {error}")))?;
        let mut config =
            builder.with_client_cert_verifier(judge).with_cert_resolver(Arc::new(shown));
        // Every connection is judged anew.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if protocols == Protocols::Http {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(Acceptor {
            config: Arc::new(config),
            endpoint,
            revocations: Revocations::new(&settings.crl_file),
            checks_addresses: endpoint == Endpoint::Peer && !settings.skip_client_sans,
            refusals: Refusals::new(Instant::now()),
        })
    }

    /// For a session.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whether [`Acceptor::check`] may ask for names of addresses, and so take its time.
    pub fn may_block(&self) -> bool {
        self.checks_addresses
    }

    /// Looks at what was shown once the handshake is done. Asks the system for names, if members
    /// connect.
    ///
    /// # Errors
    /// Why the connection must be closed.
    pub fn check(&self, shown: &[CertificateDer<'_>], remote: IpAddr) -> Result<(), String> {
        if let (true, Some(first)) = (self.checks_addresses, shown.first()) {
            check::address(first, remote, &System)?;
        }
        match &self.revocations {
            Some(revocations) if !shown.is_empty() => revocations.check(shown),
            _ => Ok(()),
        }
    }

    /// Logs a connection that was refused, as etcd does, but not more of them than anybody could read: where
    /// some were left out, the next line says how many. `shown` is what it showed, `name` whom it
    /// asked for.
    pub fn log_rejected(
        &self,
        remote: SocketAddr,
        name: Option<&str>,
        shown: &[CertificateDer<'_>],
        error: &str,
    ) {
        let text = match self.endpoint {
            Endpoint::Client => "rejected connection on client endpoint",
            Endpoint::Peer => "rejected connection on peer endpoint",
        };
        let (remote_addr, server_name) = (remote.to_string(), name.unwrap_or_default());
        if error == "EOF" {
            // Whoever only looks whether the port is open would fill the log.
            tracing::debug!(%remote_addr, server_name, error, "{text}");
            return;
        }
        let Some(left_out) = self.refusals.admit(Instant::now()) else { return };
        let left_out = (left_out > 0).then_some(left_out);
        match shown.first().map(names) {
            Some(names) => {
                let (ip_addresses, dns_names) = (format!("{:?}", names.ips), names.hosts);
                tracing::warn!(
                    %remote_addr, server_name, ip_addresses, ?dns_names, error, left_out, "{text}"
                );
            }
            None => tracing::warn!(%remote_addr, server_name, error, left_out, "{text}"),
        }
    }
}
