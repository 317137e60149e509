//! Versions, cipher suites and signatures that are spoken.

use crate::settings::{Settings, Version};
use crate::{Error, p521};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::SignatureVerificationAlgorithm;
use rustls::{CipherSuite, SignatureScheme, SupportedProtocolVersion, version};
use std::sync::{Arc, LazyLock};

/// Go's names of cipher suites, and which of them are spoken here. The others are weak, and
/// accepted in lists for etcd's sake.
const NAMES: &[(&str, Option<CipherSuite>)] = &[
    ("TLS_RSA_WITH_RC4_128_SHA", None),
    ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", None),
    ("TLS_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_RSA_WITH_AES_128_CBC_SHA256", None),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", None),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", None),
    ("TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", None),
    ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", None),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", None),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    ("TLS_AES_128_GCM_SHA256", Some(CipherSuite::TLS13_AES_128_GCM_SHA256)),
    ("TLS_AES_256_GCM_SHA384", Some(CipherSuite::TLS13_AES_256_GCM_SHA384)),
    ("TLS_CHACHA20_POLY1305_SHA256", Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)),
];

/// Whether Go knows all these names.
///
/// # Errors
/// The first that it does not know.
pub fn check_names(names: &[String]) -> Result<(), Error> {
    match names.iter().find(|name| !NAMES.iter().any(|(known, _)| known == name)) {
        Some(name) => Err(Error::new(format!("unexpected TLS cipher suite {name:?}"))),
        None => Ok(()),
    }
}

/// What is spoken: all of ring's, or the named suites of TLS 1.2. Those of TLS 1.3 cannot be chosen,
/// in Go either.
pub(crate) fn provider(settings: &Settings) -> Result<Arc<CryptoProvider>, Error> {
    let names = &settings.cipher_suites;
    check_names(names)?;
    let mut provider = ring::default_provider();
    provider.signature_verification_algorithms = *SIGNATURES;
    if !names.is_empty() {
        let named = |suite: CipherSuite| {
            let has = |name: &String| NAMES.contains(&(name.as_str(), Some(suite)));
            names.iter().position(has)
        };
        let is_new = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
        provider.cipher_suites.retain(|suite| is_new(suite) || named(suite.suite()).is_some());
        // The order is that of the list.
        provider.cipher_suites.sort_by_key(|suite| match is_new(suite) {
            true => None,
            false => named(suite.suite()),
        });
    }
    Ok(Arc::new(provider))
}

/// The versions within the limits.
pub(crate) fn versions(settings: &Settings) -> Vec<&'static SupportedProtocolVersion> {
    let lowest = settings.version_min.unwrap_or(Version::Tls12);
    let highest = settings.version_max.unwrap_or(Version::Tls13);
    let all = [(Version::Tls13, &version::TLS13), (Version::Tls12, &version::TLS12)];
    let within = all.into_iter().filter(|(version, _)| (lowest..=highest).contains(version));
    within.map(|(_, version)| version).collect()
}

/// Ring's signatures, and P-521.
pub(crate) static SIGNATURES: LazyLock<WebPkiSupportedAlgorithms> = LazyLock::new(|| {
    let ring = ring::default_provider().signature_verification_algorithms;
    let mut all = ring.all.to_vec();
    all.push(p521::VERIFIER);
    let mut mapping = ring.mapping.to_vec();
    let p521: &'static [&'static dyn SignatureVerificationAlgorithm] =
        Box::leak(Box::new([p521::VERIFIER]));
    // Behind the other curves, before RSA: the order is a preference.
    let at = mapping.iter().take_while(|(scheme, _)| is_ecdsa(*scheme)).count();
    mapping.insert(at, (SignatureScheme::ECDSA_NISTP521_SHA512, p521));
    // Made once, and used for as long as the program runs.
    WebPkiSupportedAlgorithms { all: all.leak(), mapping: mapping.leak() }
});

fn is_ecdsa(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::ECDSA_NISTP256_SHA256 | SignatureScheme::ECDSA_NISTP384_SHA384
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_chosen_by_the_names_that_go_gives_them() {
        let of = |names: &[&str]| {
            let names = names.iter().map(|&name| name.into()).collect();
            let settings = Settings { cipher_suites: names, ..Settings::default() };
            let provider = provider(&settings)?;
            let old = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
            Ok::<_, Error>(old.map(|suite| suite.suite()).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]).unwrap().len(), 6);
        assert_eq!(
            of(&[
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
                "TLS_RSA_WITH_RC4_128_SHA",
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            ])
            .unwrap(),
            [
                CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            ]
        );
        assert_eq!(
            of(&["TLS_MINE"]).unwrap_err().to_string(),
            "unexpected TLS cipher suite \"TLS_MINE\""
        );
    }

    #[test]
    fn versions_are_within_the_limits() {
        let of = |version_min, version_max| {
            versions(&Settings { version_min, version_max, ..Settings::default() }).len()
        };
        assert_eq!(of(None, None), 2);
        assert_eq!(of(Some(Version::Tls13), None), 1);
        assert_eq!(of(Some(Version::Tls12), Some(Version::Tls12)), 1);
    }
}
