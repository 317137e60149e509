//! TLS towards clients and towards members, as the flags say (reference: `server/embed/etcd.go`,
//! `server/embed/config.go`).

use crate::listen::Listen;
use crate::settings::{self, Setting, Settings};
use std::path::Path;
use std::sync::Arc;
use tls::{self, Acceptor, Endpoint, Protocols, Version, self_signed};

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
        let [min, max] = settings.tls.versions()?;
        if max.is_some() && min > max {
            return Err(format!(
                "min version ({}) is greater than max version ({})",
                settings.tls.min_version.show(),
                settings.tls.max_version.show()
            ));
        }
        let suites = &settings.tls.cipher_suites;
        if min == Some(Version::Tls13) && !suites.is_empty() {
            return Err("cipher suites cannot be configured when only TLS1.3 is enabled".into());
        }
        let both = |endpoint, side: &settings::Side| Side {
            endpoint,
            settings: tls::Settings {
                cert_file: side.cert_file.clone(),
                key_file: side.key_file.clone(),
                client_cert_file: side.client_cert_file.clone(),
                client_key_file: side.client_key_file.clone(),
                trusted_ca_file: side.trusted_ca_file.clone(),
                crl_file: side.crl_file.clone(),
                client_cert_auth: side.client_cert_auth,
                allowed_cns: side.allowed_cns.clone(),
                allowed_hostnames: side.allowed_hostnames.clone(),
                skip_client_sans: side.skip_client_sans,
                cipher_suites: suites.clone(),
                version_min: min,
                version_max: max,
                ..tls::Settings::default()
            },
            auto: side.auto_tls,
        };
        Ok(Tls {
            client: both(Endpoint::Client, &settings.client_tls),
            peer: both(Endpoint::Peer, &settings.peer_tls),
            validity_years: u32::try_from(settings.tls.self_signed_cert_validity)
                .map_err(|_| "--self-signed-cert-validity is too long")?,
        })
    }

    /// The effective settings towards members. The certificate is made, if that is wanted; the settings are logged.
    ///
    /// # Errors
    /// See [`Tls::client`].
    pub(crate) fn peer(&self, listen: &[Listen], data_dir: &Path) -> Result<EffectiveTls, String> {
        self.effective(&self.peer, listen, &data_dir.join("fixtures").join("peer"))
    }

    /// The same towards clients.
    ///
    /// # Errors
    /// Suites that nobody knows, files that are no use, https without a certificate.
    pub(crate) fn client(
        &self,
        listen: &[Listen],
        data_dir: &Path,
    ) -> Result<EffectiveTls, String> {
        self.effective(&self.client, listen, &data_dir.join("fixtures").join("client"))
    }

    /// The effective settings towards clients, for the addresses of metrics as well.
    ///
    /// # Errors
    /// https without a certificate, files that are no use.
    pub(crate) fn metrics(
        &self,
        client: &EffectiveTls,
        listen: &[Listen],
    ) -> Result<EffectiveTls, String> {
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
        Ok(EffectiveTls { settings, acceptor })
    }

    fn effective(
        &self,
        side: &Side,
        listen: &[Listen],
        dir: &Path,
    ) -> Result<EffectiveTls, String> {
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
            return Ok(EffectiveTls { settings, acceptor: None });
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
        Ok(EffectiveTls { settings, acceptor })
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

/// The effective TLS settings of one side: what follows from flags, files and certificates made.
#[derive(Debug)]
pub(crate) struct EffectiveTls {
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
