//! TLS towards clients and towards members, as the flags say (reference: `server/embed/etcd.go`,
//! `server/embed/config.go`).

use crate::config::{Listen, number};
use crate::flags::{CLIENT_CNS, Settings};
use server::tls::{self, Acceptor, Endpoint, Protocols, Version, self_signed};
use std::path::Path;
use std::sync::Arc;

/// Both sides.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) client: Side,
    pub(crate) peer: Side,
    validity_years: u32,
}

/// One side.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) endpoint: Endpoint,
    pub(crate) settings: tls::Settings,
    /// Whether a certificate is made where there is none.
    auto: bool,
}

impl Tls {
    /// # Errors
    /// Versions that are none or exclude each other.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Tls, String> {
        let version = |name| Version::parse(settings.get(name)).map_err(|error| error.to_string());
        let (min, max) = (version("tls-min-version")?, version("tls-max-version")?);
        if max.is_some() && min > max {
            return Err(format!(
                "min version ({}) is greater than max version ({})",
                settings.get("tls-min-version"),
                settings.get("tls-max-version")
            ));
        }
        let suites = list(settings, "cipher-suites");
        if min == Some(Version::Tls13) && !suites.is_empty() {
            return Err("cipher suites cannot be configured when only TLS1.3 is enabled".into());
        }
        let text = |prefix: &str, name: &str| settings.get(&format!("{prefix}{name}")).to_owned();
        let both = |prefix: &str| tls::Settings {
            cert_file: text(prefix, "cert-file"),
            key_file: text(prefix, "key-file"),
            client_cert_file: text(prefix, "client-cert-file"),
            client_key_file: text(prefix, "client-key-file"),
            trusted_ca_file: text(prefix, "trusted-ca-file"),
            client_cert_auth: text(prefix, "client-cert-auth") == "true",
            cipher_suites: suites.clone(),
            version_min: min,
            version_max: max,
            ..tls::Settings::default()
        };
        let client = tls::Settings {
            crl_file: settings.get("client-crl-file").to_owned(),
            allowed_cns: list(settings, CLIENT_CNS),
            allowed_hostnames: list(settings, "client-cert-allowed-hostname"),
            ..both("")
        };
        let peer = tls::Settings {
            crl_file: settings.get("peer-crl-file").to_owned(),
            allowed_cns: list(settings, "peer-cert-allowed-cn"),
            allowed_hostnames: list(settings, "peer-cert-allowed-hostname"),
            skip_client_sans: settings.get("peer-skip-client-san-verification") == "true",
            ..both("peer-")
        };
        let side =
            |endpoint, settings, auto: &str| Side { endpoint, settings, auto: auto == "true" };
        Ok(Tls {
            client: side(Endpoint::Client, client, settings.get("auto-tls")),
            peer: side(Endpoint::Peer, peer, settings.get("peer-auto-tls")),
            validity_years: number(settings, "self-signed-cert-validity")?,
        })
    }

    /// What is in force towards members: made, if that is wanted; and logged.
    ///
    /// # Errors
    /// See [`Tls::client`].
    pub(crate) fn peer(&self, listen: &[Listen], data_dir: &Path) -> Result<InForce, String> {
        self.in_force(&self.peer, listen, &data_dir.join("fixtures").join("peer"))
    }

    /// The same towards clients.
    ///
    /// # Errors
    /// Suites that nobody knows, files that are no use, https without a certificate.
    pub(crate) fn client(&self, listen: &[Listen], data_dir: &Path) -> Result<InForce, String> {
        self.in_force(&self.client, listen, &data_dir.join("fixtures").join("client"))
    }

    /// What is in force towards clients, for the addresses of metrics as well.
    ///
    /// # Errors
    /// https without a certificate, files that are no use.
    pub(crate) fn metrics(&self, client: &InForce, listen: &[Listen]) -> Result<InForce, String> {
        let (settings, mut acceptor) = (client.settings.clone(), client.acceptor.clone());
        if acceptor.is_none() && listen.iter().any(|url| url.is_secure) {
            if settings.is_empty() {
                return Err("client TLS key/cert (--cert-file, --key-file) must be provided for \
                            metrics secure url"
                    .into());
            }
            let made = Acceptor::new(&settings, self.client.endpoint, Protocols::Http);
            acceptor = Some(Arc::new(made.map_err(|error| error.to_string())?));
        }
        Ok(InForce { settings, acceptor })
    }

    fn in_force(&self, side: &Side, listen: &[Listen], dir: &Path) -> Result<InForce, String> {
        let (endpoint, suites) = (side.endpoint, &side.settings.cipher_suites);
        tls::check_cipher_suites(suites).map_err(|error| error.to_string())?;
        let settings = self.made(side, listen, dir)?;
        if !settings.is_empty() {
            let text = match endpoint {
                Endpoint::Client => "starting with client TLS",
                Endpoint::Peer => "starting with peer TLS",
            };
            tracing::info!(tls_info = %settings, cipher_suites = ?suites, "{text}");
        }
        for url in listen {
            warn(endpoint, &settings, url);
        }
        let Some(secure) = listen.iter().find(|url| url.is_secure) else {
            return Ok(InForce { settings, acceptor: None });
        };
        if settings.is_empty() {
            return Err(match endpoint {
                Endpoint::Client => format!(
                    "TLS key/cert (--cert-file, --key-file) must be provided for client url {} \
                     with HTTPS scheme",
                    secure.url
                ),
                Endpoint::Peer => format!(
                    "cannot listen on TLS for {}: KeyFile and CertFile are not presented",
                    secure.address
                ),
            });
        }
        let protocols = match endpoint {
            Endpoint::Client => Protocols::Http,
            Endpoint::Peer => Protocols::Http1,
        };
        let acceptor = Acceptor::new(&settings, endpoint, protocols);
        let acceptor = Some(Arc::new(acceptor.map_err(|error| error.to_string())?));
        Ok(InForce { settings, acceptor })
    }

    /// The settings, with a certificate that is made for `--auto-tls`: it replaces them all.
    fn made(&self, side: &Side, listen: &[Listen], dir: &Path) -> Result<tls::Settings, String> {
        if !side.auto {
            return Ok(side.settings.clone());
        }
        let name = match side.endpoint {
            Endpoint::Client => "client",
            Endpoint::Peer => "peer",
        };
        if !side.settings.is_empty() {
            tracing::warn!("ignoring {name} auto TLS since certs given");
            return Ok(side.settings.clone());
        }
        let hosts: Vec<String> = listen.iter().map(|url| url.host.clone()).collect();
        let made = self_signed(dir, &hosts, self.validity_years);
        let made = made.map_err(|error| {
            tracing::error!(%error, "failed to get {name} self-signed certs");
            error.to_string()
        })?;
        let tls::Settings { cipher_suites, version_min, version_max, .. } = side.settings.clone();
        Ok(tls::Settings { cipher_suites, version_min, version_max, ..made })
    }
}

/// What is in force on one side.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) settings: tls::Settings,
    /// For https.
    pub(crate) acceptor: Option<Arc<Acceptor>>,
}

fn warn(endpoint: Endpoint, settings: &tls::Settings, listen: &Listen) {
    if listen.is_secure {
        return;
    }
    let url = &listen.url;
    let (has_files, asks) = (!settings.is_empty(), settings.client_cert_auth);
    match endpoint {
        Endpoint::Client => {
            if has_files {
                tracing::warn!(
                    client_url = %url,
                    "scheme is http or unix while key and cert files are present; ignoring key \
                     and cert files"
                );
            }
            if asks {
                tracing::warn!(
                    client_url = %url,
                    "scheme is http or unix while --client-cert-auth is enabled; ignoring client \
                     cert auth for this URL"
                );
            }
        }
        Endpoint::Peer => {
            if has_files {
                tracing::warn!(
                    peer_url = %url,
                    "scheme is HTTP while key and cert files are present; ignoring key and cert \
                     files"
                );
            }
            if asks {
                tracing::warn!(
                    peer_url = %url,
                    "scheme is HTTP while --peer-client-cert-auth is enabled; ignoring client \
                     cert auth for this URL"
                );
            }
        }
    }
}

fn list(settings: &Settings, name: &str) -> Vec<String> {
    let items = settings.get(name).split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
