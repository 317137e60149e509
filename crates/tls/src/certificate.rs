//! What a certificate or a list of revocations says.

use crate::Error;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::collections::HashSet;
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

/// The addresses and hosts that a certificate is valid for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) hosts: Vec<String>,
}

fn parse<'d>(der: &'d CertificateDer<'_>) -> Option<X509Certificate<'d>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

/// The common name of a certificate's subject, the last one if there are several; none where it
/// has none.
pub fn common_name(der: &CertificateDer<'_>) -> Option<String> {
    let certificate = parse(der)?;
    let last = certificate.subject().iter_common_name().last()?;
    last.as_str().ok().filter(|name| !name.is_empty()).map(str::to_owned)
}

pub(crate) fn names(der: &CertificateDer<'_>) -> Names {
    let mut names = Names::default();
    let Some(certificate) = parse(der) else { return names };
    let Ok(Some(listed)) = certificate.subject_alternative_name() else { return names };
    for name in &listed.value.general_names {
        match name {
            GeneralName::DNSName(host) => names.hosts.push((*host).to_owned()),
            GeneralName::IPAddress(bytes) => names.ips.extend(ip(bytes)),
            _ => {}
        }
    }
    names
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// Whether a certificate is valid for a host or an address.
pub(crate) fn is_valid_for(der: &CertificateDer<'_>, host: &str) -> bool {
    let Ok(name) = ServerName::try_from(host) else { return false };
    ParsedCertificate::try_from(der).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
}

/// Whether it is valid at this time, in seconds since 1970.
pub(crate) fn is_valid_at(der: &CertificateDer<'_>, seconds: u64) -> bool {
    let Ok(time) = x509_parser::time::ASN1Time::from_timestamp(seconds as i64) else {
        return false;
    };
    parse(der).is_some_and(|certificate| certificate.validity().is_valid_at(time))
}

/// What a certificate may be used for, where it says so.
pub(crate) fn may_serve_and_ask(der: &CertificateDer<'_>) -> (bool, bool) {
    let Some(certificate) = parse(der) else { return (false, false) };
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => {
            let usage = usage.value;
            (usage.any || usage.server_auth, usage.any || usage.client_auth)
        }
        Ok(None) => (true, true),
        Err(_) => (false, false),
    }
}

/// A certificate's number, without zeros in front.
pub(crate) fn serial(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    Some(bare(parse(der)?.raw_serial()))
}

fn bare(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// The numbers in a list of revocations, which is DER as etcd wants it.
///
/// # Errors
/// It is no such list.
pub(crate) fn revoked(list: &[u8]) -> Result<HashSet<Vec<u8>>, Error> {
    let (_, list) =
        CertificateRevocationList::from_der(list).map_err(|_| Error::new("x509: malformed crl"))?;
    Ok(list.iter_revoked_certificates().map(|revoked| bare(revoked.raw_serial())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Authority;

    #[test]
    fn certificates_say_who_they_are_for() {
        let authority = Authority::new("ca");
        let made = authority.issue("m1", &["a.example", "10.0.0.1"]);
        assert_eq!(common_name(&made.der), Some("m1".into()));
        let expected =
            Names { ips: vec!["10.0.0.1".parse().unwrap()], hosts: vec!["a.example".into()] };
        assert_eq!(names(&made.der), expected);
        assert!(is_valid_for(&made.der, "a.example") && is_valid_for(&made.der, "10.0.0.1"));
        assert!(!is_valid_for(&made.der, "b.example") && !is_valid_for(&made.der, ""));
        assert!(!is_valid_at(&made.der, 0));
        assert_eq!(common_name(&CertificateDer::from(vec![1, 2])), None);
    }

    #[test]
    fn lists_of_revocations_are_lists_of_numbers() {
        let authority = Authority::new("ca");
        let (one, two) = (authority.issue("1", &[]), authority.issue("2", &[]));
        let list = revoked(&authority.revoke(&[&one])).unwrap();
        assert!(list.contains(&serial(&one.der).unwrap()));
        assert!(!list.contains(&serial(&two.der).unwrap()));
        assert!(revoked(b"-----").is_err());
    }
}
