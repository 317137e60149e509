//! Files: what is in them, and what was made of it last.

use crate::{Error, p521};
use parking_lot::Mutex;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::ffi::OsStr;
use std::fs;
use std::sync::Arc;

/// What was made of some files, for as long as they hold the same bytes.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    last: Mutex<Option<Made<T>>>,
}

/// What the files held, and what was made of that.
type Made<T> = (Vec<Vec<u8>>, Arc<T>);

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept { last: Mutex::new(None) }
    }
}

impl<T> Kept<T> {
    /// Reads the files; makes something of them if they changed.
    ///
    /// # Errors
    /// A file cannot be read, or nothing can be made of it.
    pub(crate) fn get(
        &self,
        paths: &[&OsStr],
        make: impl FnOnce(&[Vec<u8>]) -> Result<T, Error>,
    ) -> Result<Arc<T>, Error> {
        let read = |path: &&OsStr| fs::read(path).map_err(|error| Error::file(path, &error));
        let bytes = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut last = self.last.lock();
        if let Some((before, made)) = &*last
            && *before == bytes
        {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(make(&bytes)?);
        *last = Some((bytes, Arc::clone(&made)));
        Ok(made)
    }

    /// What was made last, however old.
    pub(crate) fn last(&self) -> Option<Arc<T>> {
        self.last.lock().as_ref().map(|(_, made)| Arc::clone(made))
    }
}

/// A certificate with those that vouch for it, and its key.
///
/// # Errors
/// There are none in PEM, or they do not belong together.
pub(crate) fn pair(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, Error> {
    let chain = certificates(certificate)?;
    if chain.is_empty() {
        return Err(Error::new(match PrivateKeyDer::from_pem_slice(certificate) {
            Ok(_) => {
                "tls: failed to find certificate PEM data in certificate input, but did find a \
                 private key; PEM inputs may have been switched"
            }
            Err(_) => "tls: failed to find any PEM data in certificate input",
        }));
    }
    let no_key = |_| {
        Error::new(match certificates(key) {
            Ok(found) if !found.is_empty() => {
                "tls: found a certificate rather than a key in the PEM for the private key"
            }
            _ => "tls: failed to find any PEM data in key input",
        })
    };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(no_key)?;
    let key = match p521::signing_key(&key) {
        Some(key) => key,
        None => {
            any_supported_type(&key).map_err(|_| Error::new("tls: failed to parse private key"))?
        }
    };
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(Error::new("tls: private key does not match public key"))
        }
        // A key that does not tell is believed.
        Ok(()) | Err(rustls::Error::InconsistentKeys(_)) => Ok(pair),
        Err(error) => Err(Error::new(format!("x509: malformed certificate: {error}"))),
    }
}

/// Every certificate in a PEM file.
///
/// # Errors
/// One is damaged.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.map_err(|error| Error::new(format!("x509: malformed certificate: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Authority;

    #[test]
    fn what_is_made_is_made_again_when_files_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let path = path.as_os_str();
        let kept = Kept::default();
        let get = || kept.get(&[path], |bytes| Ok(bytes[0].clone()));
        assert_eq!(
            get().unwrap_err().to_string(),
            format!("open {}: no such file or directory", path.display())
        );
        fs::write(path, "one").unwrap();
        let one = get().unwrap();
        assert!(Arc::ptr_eq(&one, &get().unwrap()));
        fs::write(path, "two").unwrap();
        assert_eq!(*get().unwrap(), b"two");
        fs::remove_file(path).unwrap();
        assert!(get().is_err() && kept.last().is_some());
    }

    #[test]
    fn a_key_must_belong_to_its_certificate() {
        let authority = Authority::new("ca");
        let (one, two) = (authority.issue("1", &[]), authority.issue("2", &[]));
        assert!(pair(one.pem.as_bytes(), one.key.as_bytes()).is_ok());
        let refused = |certificate: &str, key: &str| {
            pair(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(refused(&one.pem, &two.key), "tls: private key does not match public key");
        assert_eq!(refused("", &one.key), "tls: failed to find any PEM data in certificate input");
        assert_eq!(refused(&one.pem, ""), "tls: failed to find any PEM data in key input");
    }
}
