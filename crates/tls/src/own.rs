//! Certificates that a member makes for itself, for `--auto-tls` and `--peer-auto-tls`.

use crate::settings::Settings;
use crate::{Error, files};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A certificate for these hosts, each with its port, in `cert.pem` and `key.pem` of a directory. What
/// is there already is used. Nobody can vouch for it, so with these settings anyone is believed.
///
/// # Errors
/// No validity at all, a host that is none, files that cannot be written.
pub fn self_signed(dir: &Path, hosts: &[String], validity_years: u32) -> Result<Settings, Error> {
    if validity_years == 0 {
        return Err(Error::new("selfSignedCertValidity is invalid,it should be greater than 0"));
    }
    let failed = |path: &Path, error: &std::io::Error| Error::file(path.as_os_str(), error);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| failed(dir, &error))?;
    let dir = fs::canonicalize(dir).map_err(|error| failed(dir, &error))?;
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    if !(cert.exists() && key.exists()) {
        let (cert_pem, key_pem) = make(hosts, validity_years)?;
        write(&cert, &cert_pem, 0o644)?;
        write(&key, &key_pem, 0o600)?;
    }
    let (cert, key) = (cert.into_os_string(), key.into_os_string());
    Ok(Settings {
        cert_file: cert.clone(),
        key_file: key.clone(),
        client_cert_file: cert,
        client_key_file: key,
        skip_verify: true,
        ..Settings::default()
    })
}

/// Certificate and key. The key is on P-256, where etcd takes P-521: every TLS knows it.
fn make(hosts: &[String], validity_years: u32) -> Result<(String, String), Error> {
    let failed = |error: rcgen::Error| Error::new(format!("cannot generate cert: {error}"));
    let hosts: Vec<String> = hosts.iter().map(|host| bare(host)).collect();
    let mut params = CertificateParams::new(hosts).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::CrlSign,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + YEAR.saturating_mul(validity_years)).into();
    tracing::warn!(
        certificate_validity_bound_not_after =
            %humantime::format_rfc3339_seconds(now + YEAR.saturating_mul(validity_years)),
        "automatically generate certificates"
    );
    let key = KeyPair::generate().map_err(failed)?;
    let made = params.self_signed(&key).map_err(failed)?;
    files::pair(made.pem().as_bytes(), key.serialize_pem().as_bytes())?;
    Ok((made.pem(), key.serialize_pem()))
}

fn bare(host: &str) -> String {
    address::split_host_port(host).map_or(host, |(host, _)| host).to_owned()
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Error::file(path.as_os_str(), &error))?;
    let kind = if mode == 0o600 { "key" } else { "cert" };
    tracing::info!(path = %path.display(), "created {kind} file");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{is_valid_for, names};

    #[test]
    fn a_certificate_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("fixtures").join("peer");
        let hosts = ["127.0.0.1:2380".to_owned(), "localhost:2380".to_owned()];
        let settings = self_signed(&dir, &hosts, 1).unwrap();
        assert!(
            settings.skip_verify
                && Path::new(&settings.key_file).ends_with("fixtures/peer/key.pem")
        );
        let pem = fs::read(&settings.cert_file).unwrap();
        let made = files::certificates(&pem).unwrap().remove(0);
        assert!(is_valid_for(&made, "127.0.0.1") && is_valid_for(&made, "localhost"));
        assert_eq!(names(&made).ips.len(), 1);
        assert_eq!(self_signed(&dir, &hosts, 1).unwrap(), settings);
        assert_eq!(fs::read(&settings.cert_file).unwrap(), pem);
        assert!(self_signed(&dir, &hosts, 0).unwrap_err().to_string().contains("greater than 0"));
    }
}
