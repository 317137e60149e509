//! What is looked at when a handshake is done: revocations, and whether a certificate belongs to the
//! address it comes from.

use crate::certificate::{Names, names, revoked, serial};
use crate::files::Kept;
use crate::settings::quoted;
use rustls::pki_types::CertificateDer;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Revoked certificates, in a file.
#[derive(Debug)]
pub(crate) struct Revocations {
    file: OsString,
    kept: Kept<HashSet<Vec<u8>>>,
}

impl Revocations {
    /// None where there is no file.
    pub(crate) fn new(file: &OsStr) -> Option<Revocations> {
        let file = Some(file.to_owned()).filter(|file| !file.is_empty())?;
        Some(Revocations { file, kept: Kept::default() })
    }

    /// # Errors
    /// One of these is revoked, or the list cannot be read.
    pub(crate) fn check(&self, shown: &[CertificateDer<'_>]) -> Result<(), String> {
        let list = self.kept.get(&[&self.file], |bytes| revoked(&bytes[0]));
        let list = list.map_err(|error| error.to_string())?;
        match shown.iter().filter_map(serial).find(|serial| list.contains(serial)) {
            Some(serial) => {
                let hex: String = serial.iter().map(|byte| format!("{byte:02x}")).collect();
                Err(format!("transport: certificate serial {hex} revoked"))
            }
            None => Ok(()),
        }
    }
}

/// Names of addresses and addresses of names.
pub(crate) trait Lookup {
    fn hosts_of(&self, ip: IpAddr) -> Result<Vec<String>, String>;
    fn ips_of(&self, host: &str) -> Result<Vec<IpAddr>, String>;
}

/// The system's; it may take its time.
pub(crate) struct System;

impl Lookup for System {
    fn hosts_of(&self, ip: IpAddr) -> Result<Vec<String>, String> {
        let no_name = |_| format!("lookup {ip}: no such host");
        // Where there is no name, the system gives the address instead.
        let (host, _) = dns_lookup::getnameinfo(&SocketAddr::new(ip, 0), 0).map_err(no_name)?;
        Ok(if host == ip.to_string() { Vec::new() } else { vec![host] })
    }

    fn ips_of(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let none = || format!("lookup {host}: no such host");
        if address::is_number_of_c(host) {
            return Err(none());
        }
        let found = (host, 0).to_socket_addrs().map_err(|_| none())?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Whether a certificate belongs to the address it comes from. One that names nobody does.
///
/// # Errors
/// It belongs to others.
pub(crate) fn address(
    shown: &CertificateDer<'_>,
    remote: IpAddr,
    lookup: &dyn Lookup,
) -> Result<(), String> {
    let remote = remote.to_canonical();
    let Names { ips, hosts } = names(shown);
    if ips.contains(&remote) || ips.is_empty() && hosts.is_empty() {
        return Ok(());
    }
    if hosts.is_empty() {
        let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
        return Err(format!("x509: certificate is valid for {}, not {remote}", ips.join(", ")));
    }
    match is_one_of(&hosts, remote, lookup) {
        Ok(true) => Ok(()),
        Ok(false) => Err(mismatch(remote, &hosts, "")),
        Err(why) => Err(mismatch(remote, &hosts, &format!(" ({why})"))),
    }
}

fn mismatch(remote: IpAddr, hosts: &[String], why: &str) -> String {
    let remote = remote.to_string();
    format!("tls: {remote:?} does not match any of DNSNames {}{why}", quoted(hosts))
}

fn is_one_of(hosts: &[String], remote: IpAddr, lookup: &dyn Lookup) -> Result<bool, String> {
    let mut why = None;
    match lookup.hosts_of(remote) {
        Ok(own) if own.iter().any(|own| is_named(hosts, own.trim_end_matches('.'))) => {
            return Ok(true);
        }
        Ok(_) => {}
        Err(error) => why = Some(error),
    }
    for host in hosts.iter().filter(|host| !host.starts_with("*.")) {
        match lookup.ips_of(host) {
            Ok(ips) if ips.contains(&remote) => return Ok(true),
            Ok(_) => {}
            Err(error) => why = Some(error),
        }
    }
    why.map_or(Ok(false), Err)
}

fn is_named(hosts: &[String], own: &str) -> bool {
    hosts.iter().any(|host| match host.strip_prefix('*') {
        Some(end) if end.starts_with('.') => own.ends_with(end),
        _ => host == own,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Authority;

    struct Known;

    impl Lookup for Known {
        fn hosts_of(&self, ip: IpAddr) -> Result<Vec<String>, String> {
            match ip.to_string().as_str() {
                "10.0.0.1" => Ok(vec!["a.example.com.".into()]),
                _ => Ok(Vec::new()),
            }
        }

        fn ips_of(&self, host: &str) -> Result<Vec<IpAddr>, String> {
            match host {
                "b.example.com" => Ok(vec!["10.0.0.2".parse().unwrap()]),
                _ => Err(format!("lookup {host}: no such host")),
            }
        }
    }

    #[test]
    fn a_certificate_belongs_to_the_addresses_it_names() {
        let authority = Authority::new("ca");
        let check = |names: &[&str], remote: &str| {
            address(&authority.issue("m", names).der, remote.parse().unwrap(), &Known)
        };
        assert_eq!(check(&[], "10.0.0.9"), Ok(()));
        assert_eq!(check(&["10.0.0.1"], "10.0.0.1"), Ok(()));
        assert_eq!(check(&["10.0.0.1"], "::ffff:10.0.0.1"), Ok(()));
        assert_eq!(
            check(&["10.0.0.1", "10.0.0.2"], "10.0.0.3").unwrap_err(),
            "x509: certificate is valid for 10.0.0.1, 10.0.0.2, not 10.0.0.3"
        );
        assert_eq!(check(&["*.example.com"], "10.0.0.1"), Ok(()));
        assert_eq!(check(&["a.example.com"], "10.0.0.1"), Ok(()));
        assert_eq!(check(&["b.example.com"], "10.0.0.2"), Ok(()));
        assert_eq!(check(&["10.0.0.7", "b.example.com"], "10.0.0.2"), Ok(()));
        assert_eq!(
            check(&["*.example.com"], "10.0.0.2").unwrap_err(),
            "tls: \"10.0.0.2\" does not match any of DNSNames [\"*.example.com\"]"
        );
        assert_eq!(
            check(&["c.example.com"], "10.0.0.2").unwrap_err(),
            "tls: \"10.0.0.2\" does not match any of DNSNames [\"c.example.com\"] (lookup \
             c.example.com: no such host)"
        );
    }

    #[test]
    fn revoked_certificates_are_refused_by_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("crl");
        let authority = Authority::new("ca");
        let made = authority.issue("m", &[]);
        let revocations = Revocations::new(file.as_os_str()).unwrap();
        let check = || revocations.check(std::slice::from_ref(&made.der));
        assert!(check().unwrap_err().ends_with("no such file or directory"));
        std::fs::write(&file, authority.revoke(&[])).unwrap();
        assert_eq!(check(), Ok(()));
        std::fs::write(&file, authority.revoke(&[&made])).unwrap();
        let refused = check().unwrap_err();
        assert!(refused.starts_with("transport: certificate serial "), "{refused}");
        assert!(refused.ends_with(" revoked"), "{refused}");
    }
}
