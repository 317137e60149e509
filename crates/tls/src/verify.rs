//! Whether the other side is who it should be.
//!
//! rustls's own verifiers judge the chain. What is here is what etcd does beside: authorities that are
//! read from their file for every handshake, a certificate that is trusted itself, lists of
//! names that are allowed, and refusals that are told in Go's way.

use crate::certificate::{common_name, is_valid_at, is_valid_for, may_serve_and_ask};
use crate::files::{Kept, certificates};
use crate::settings::Settings;
use crate::suites::SIGNATURES;
use crate::{Error, words};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use std::ffi::OsString;
use std::sync::{Arc, OnceLock};

/// Whom to believe.
#[derive(Debug)]
struct Authorities {
    roots: Arc<RootCertStore>,
    /// The same as they were read; one of them may be shown itself.
    trusted: Vec<CertificateDer<'static>>,
    /// Judges those who connect; none where nobody is believed.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Authorities {
    fn new(
        trusted: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Authorities, Error> {
        let mut roots = RootCertStore::empty();
        for one in &trusted {
            let malformed = |error| Error::new(format!("x509: malformed certificate: {error}"));
            roots.add(one.clone()).map_err(malformed)?;
        }
        let roots = Arc::new(roots);
        let (own, provider) = (Arc::clone(&roots), Arc::clone(provider));
        // Nobody can be believed where there are no authorities.
        let clients = WebPkiClientVerifier::builder_with_provider(own, provider).build().ok();
        Ok(Authorities { roots, trusted, clients })
    }

    /// The system's; those that cannot be read are left out.
    fn of_the_system(provider: &Arc<CryptoProvider>) -> Authorities {
        let mut all = rustls_native_certs::load_native_certs().certs;
        all.retain(|one| RootCertStore::empty().add(one.clone()).is_ok());
        Authorities::new(all, provider).expect("each of them was added before")
    }
}

/// Where authorities come from.
#[derive(Debug)]
enum Trust {
    /// A file, read for every handshake. If it cannot be read any more, what was read last is kept.
    File { path: OsString, kept: Kept<Authorities> },
    /// The system, asked when somebody must be judged.
    System(OnceLock<Arc<Authorities>>),
}

/// Judges certificates.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    allowed_cns: Vec<String>,
    allowed_hostnames: Vec<String>,
    skip: bool,
    /// The subjects of the authorities when this was made, which those who connect are told.
    subjects: Vec<DistinguishedName>,
}

impl Verifier {
    /// # Errors
    /// The file of authorities cannot be read.
    pub(crate) fn new(
        settings: &Settings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verifier, Error> {
        let path = settings.trusted_ca_file.clone();
        let trust = match path.is_empty() {
            true => Trust::System(OnceLock::new()),
            false => Trust::File { path, kept: Kept::default() },
        };
        let mut verifier = Verifier {
            trust,
            provider: Arc::clone(provider),
            allowed_cns: settings.allowed_cns.clone(),
            allowed_hostnames: settings.allowed_hostnames.clone(),
            skip: settings.skip_verify,
            subjects: Vec::new(),
        };
        if matches!(verifier.trust, Trust::File { .. }) {
            verifier.subjects = verifier.read()?.roots.subjects();
        }
        Ok(verifier)
    }

    fn read(&self) -> Result<Arc<Authorities>, Error> {
        match &self.trust {
            Trust::System(asked) => {
                let ask = || Arc::new(Authorities::of_the_system(&self.provider));
                Ok(Arc::clone(asked.get_or_init(ask)))
            }
            Trust::File { path, kept } => kept
                .get(&[path], |bytes| Authorities::new(certificates(&bytes[0])?, &self.provider)),
        }
    }

    fn authorities(&self) -> Result<Arc<Authorities>, rustls::Error> {
        let error = match self.read() {
            Ok(authorities) => return Ok(authorities),
            Err(error) => error,
        };
        tracing::warn!(%error, "failed to read trusted certificates; those read last are used");
        let last = match &self.trust {
            Trust::File { kept, .. } => kept.last(),
            Trust::System(asked) => asked.get().cloned(),
        };
        last.ok_or_else(|| words::refusal(error.to_string()))
    }

    /// Whether the names of the one that was believed are among those allowed.
    fn check_allowed(&self, shown: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let (cns, hosts) = (&self.allowed_cns, &self.allowed_hostnames);
        let is_allowed = match (cns.is_empty(), hosts.is_empty()) {
            (true, true) => true,
            (false, _) => {
                let own = common_name(shown).unwrap_or_default();
                cns.contains(&own)
            }
            (true, false) => hosts.iter().any(|host| is_valid_for(shown, host)),
        };
        // Where nobody was judged, nobody can be one of those.
        let was_judged = !self.skip || cns.is_empty() && hosts.is_empty();
        if is_allowed && was_judged {
            return Ok(());
        }
        Err(words::refusal("client certificate authentication failed"))
    }
}

/// A certificate that is trusted itself needs nobody to vouch for it, as in Go.
fn is_trusted_itself(
    authorities: &Authorities,
    shown: &CertificateDer<'_>,
    now: UnixTime,
    serves: bool,
) -> bool {
    let (may_serve, may_ask) = may_serve_and_ask(shown);
    authorities.trusted.iter().any(|trusted| trusted == shown)
        && is_valid_at(shown, now.as_secs())
        && (if serves { may_serve } else { may_ask })
}

/// What Go says of a chain that it does not believe.
fn chain_error(error: rustls::Error) -> rustls::Error {
    use CertificateError as C;
    let rustls::Error::InvalidCertificate(why) = error else { return error };
    rustls::Error::InvalidCertificate(match why {
        // To Go an authority of the same name with another key is an unknown one.
        C::BadSignature => C::UnknownIssuer,
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            return words::unverified("certificate specifies an incompatible key usage");
        }
        other => other,
    })
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !self.skip {
            let authorities = self.authorities()?;
            let parsed = ParsedCertificate::try_from(end_entity)?;
            if !is_trusted_itself(&authorities, end_entity, now, true) {
                let roots = &authorities.roots;
                let all = SIGNATURES.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, all)
                    .map_err(|error| words::told_as_client(chain_error(error)))?;
            }
            verify_server_name(&parsed, server_name)?;
        }
        self.check_allowed(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &SIGNATURES)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let authorities = self.authorities()?;
        if !is_trusted_itself(&authorities, end_entity, now, false) {
            let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
            let judge = authorities.clients.as_ref().ok_or_else(unknown)?;
            judge.verify_client_cert(end_entity, intermediates, now).map_err(chain_error)?;
        }
        self.check_allowed(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &SIGNATURES)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}
