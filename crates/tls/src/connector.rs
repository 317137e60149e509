//! Connections that are made.

use crate::resolve::Shown;
use crate::settings::Settings;
use crate::verify::Verifier;
use crate::{Error, suites};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::sync::Arc;

/// Makes sessions for connections that are made.
#[derive(Clone, Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: Option<String>,
}

impl Connector {
    /// Without certificate and key, this side shows none. `protocols` are offered inside.
    ///
    /// # Errors
    /// Settings that contradict each other, files that are no use.
    pub fn new(settings: &Settings, protocols: &[&str]) -> Result<Connector, Error> {
        if !settings.is_empty() {
            settings.check()?;
        }
        let provider = suites::provider(settings)?;
        let judge = Arc::new(Verifier::new(settings, &provider)?);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&suites::versions(settings))
            .map_err(|error| Error::new(format!("tls: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(judge);
        let mut config = match settings.is_empty() {
            true => builder.with_no_client_auth(),
            false => {
                let shown = Shown::new("client", settings.client_pair())?;
                builder.with_client_cert_resolver(Arc::new(shown))
            }
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = Some(settings.server_name.clone()).filter(|name| !name.is_empty());
        Ok(Connector { config: Arc::new(config), name })
    }

    /// Shows nothing and believes whom the system believes.
    pub fn usual() -> Connector {
        Connector::new(&Settings::default(), &[]).expect("nothing in it contradicts anything")
    }

    /// For a session.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Who the other side must be: the host of its address, which may have a port behind it,
    /// unless the settings name someone.
    ///
    /// # Errors
    /// The host is no name.
    pub fn name(&self, address: &str) -> Result<ServerName<'static>, Error> {
        let host = match &self.name {
            Some(name) => name.as_str(),
            None => host_of(address),
        };
        ServerName::try_from(host.to_owned())
            .map_err(|_| Error::new(format!("tls: {host:?} is not a name that a host can have")))
    }
}

/// What stands before the port; all of it where there is none. A zone is no part of a name.
fn host_of(address: &str) -> &str {
    let host = address::split_host_port(address).map_or(address, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.split('%').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        for (address, host) in [
            ("a.b:1", "a.b"),
            ("10.0.0.1:2", "10.0.0.1"),
            ("[::1]:3", "::1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[fe80::1%lo]:4", "fe80::1"),
        ] {
            assert_eq!(host_of(address), host);
        }
    }
}
