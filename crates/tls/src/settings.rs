//! What the flags say, of one side of a member: towards clients, or towards members.

use crate::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Version {
    /// As flags name it; none where the flag is empty.
    ///
    /// # Errors
    /// Another name.
    pub fn parse(text: &str) -> Result<Option<Version>, Error> {
        match text {
            "" => Ok(None),
            "TLS1.2" => Ok(Some(Version::Tls12)),
            "TLS1.3" => Ok(Some(Version::Tls13)),
            _ => Err(Error::new(format!(
                "unexpected TLS version {text:?} (must be one of: TLS1.2, TLS1.3)"
            ))),
        }
    }
}

/// What the flags say. An empty path means that there is no such file; paths may hold any bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The certificate, for connections that come, and for those that are made unless there is
    /// another for them.
    pub cert_file: OsString,
    /// Its key.
    pub key_file: OsString,
    /// The certificate for connections that are made.
    pub client_cert_file: OsString,
    /// Its key.
    pub client_key_file: OsString,
    /// Whom to believe; without it, whom the system believes.
    pub trusted_ca_file: OsString,
    /// Revoked certificates.
    pub crl_file: OsString,
    /// Whether those who connect must show a certificate. Implied by `trusted_ca_file`.
    pub client_cert_auth: bool,
    /// Names of subjects of which the other side must have one.
    pub allowed_cns: Vec<String>,
    /// Hosts for one of which the other side's certificate must be valid.
    pub allowed_hostnames: Vec<String>,
    /// Whether it does not matter if a certificate belongs to the address it comes from.
    pub skip_client_sans: bool,
    /// Go's names of the cipher suites of TLS 1.2; all where there are none.
    pub cipher_suites: Vec<String>,
    /// The oldest version.
    pub version_min: Option<Version>,
    /// The newest version.
    pub version_max: Option<Version>,
    /// The name in the other side's certificate, where it is not the host's.
    pub server_name: String,
    /// Whether anyone is believed; so it is with certificates that members make themselves.
    pub skip_verify: bool,
}

impl Settings {
    /// Whether there is no certificate for connections that come.
    pub fn is_empty(&self) -> bool {
        self.cert_file.is_empty() && self.key_file.is_empty()
    }

    /// Certificate and key for connections that are made.
    pub(crate) fn client_pair(&self) -> (&OsStr, &OsStr) {
        match self.client_cert_file.is_empty() {
            true => (&self.cert_file, &self.key_file),
            false => (&self.client_cert_file, &self.client_key_file),
        }
    }

    /// # Errors
    /// Half of a pair, and limits that exclude each other.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cert_file.is_empty() || self.key_file.is_empty() {
            return Err(Error::new(format!(
                "KeyFile and CertFile must both be present[key: {}, cert: {}]",
                self.key_file.display(),
                self.cert_file.display()
            )));
        }
        if self.client_cert_file.is_empty() != self.client_key_file.is_empty() {
            return Err(Error::new(format!(
                "ClientKeyFile and ClientCertFile must both be present or both absent: key: {}, \
                 cert: {}]",
                self.client_key_file.display(),
                self.client_cert_file.display()
            )));
        }
        if !self.allowed_cns.is_empty() && !self.allowed_hostnames.is_empty() {
            return Err(Error::new(format!(
                "AllowedCNs and AllowedHostnames are mutually exclusive (cns={}, hostnames={})",
                quoted(&self.allowed_cns),
                quoted(&self.allowed_hostnames)
            )));
        }
        Ok(())
    }
}

/// A list of text as Go's `%q` prints it.
pub(crate) fn quoted(list: &[String]) -> String {
    let list: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", list.join(" "))
}

/// As etcd logs it.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cert = {}, key = {}, client-cert={}, client-key={}, trusted-ca = {}, \
             client-cert-auth = {}, crl-file = {}",
            self.cert_file.display(),
            self.key_file.display(),
            self.client_cert_file.display(),
            self.client_key_file.display(),
            self.trusted_ca_file.display(),
            self.client_cert_auth,
            self.crl_file.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused_in_the_words_of_etcd() {
        let pair = Settings { cert_file: "c".into(), key_file: "k".into(), ..Settings::default() };
        assert_eq!(pair.check(), Ok(()));
        let refused = |settings: Settings| settings.check().unwrap_err().to_string();
        assert_eq!(
            refused(Settings { key_file: OsString::new(), ..pair.clone() }),
            "KeyFile and CertFile must both be present[key: , cert: c]"
        );
        assert_eq!(
            refused(Settings { client_key_file: "ck".into(), ..pair.clone() }),
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: ck, cert: ]"
        );
        let both = Settings {
            allowed_cns: vec!["a".into()],
            allowed_hostnames: vec!["b".into(), "c".into()],
            ..pair
        };
        assert_eq!(
            refused(both),
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\"], \
             hostnames=[\"b\" \"c\"])"
        );
    }

    #[test]
    fn versions_have_names() {
        assert_eq!(Version::parse(""), Ok(None));
        assert_eq!(Version::parse("TLS1.3"), Ok(Some(Version::Tls13)));
        assert_eq!(
            Version::parse("TLS1.1").unwrap_err().to_string(),
            "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)"
        );
    }
}
