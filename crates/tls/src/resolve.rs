//! The certificate that is shown, read for every handshake.

use crate::Error;
use crate::files::{Kept, pair};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

/// A certificate and its key in files.
#[derive(Debug)]
pub(crate) struct Shown {
    /// What it is called in logs: `peer`, or `client` where this side dials.
    role: &'static str,
    cert_file: OsString,
    key_file: OsString,
    kept: Kept<CertifiedKey>,
}

impl Shown {
    /// # Errors
    /// The files are no use now.
    pub(crate) fn new(role: &'static str, (cert, key): (&OsStr, &OsStr)) -> Result<Shown, Error> {
        let (cert_file, key_file) = (cert.to_owned(), key.to_owned());
        let shown = Shown { role, cert_file, key_file, kept: Kept::default() };
        shown.read()?;
        Ok(shown)
    }

    fn read(&self) -> Result<Arc<CertifiedKey>, Error> {
        self.kept.get(&[&self.cert_file, &self.key_file], |bytes| pair(&bytes[0], &bytes[1]))
    }

    fn fresh(&self) -> Option<Arc<CertifiedKey>> {
        let error = match self.read() {
            Ok(pair) => return Some(pair),
            Err(error) => error,
        };
        let is_there =
            [&self.cert_file, &self.key_file].iter().all(|file| Path::new(file).exists());
        let text = match is_there {
            true => format!("failed to create {} certificate", self.role),
            false => format!("failed to find {} cert files", self.role),
        };
        let (cert_file, key_file) = (self.cert_file.display(), self.key_file.display());
        tracing::warn!(%cert_file, %key_file, %error, "{text}");
        None
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.fresh()
    }
}

impl ResolvesClientCert for Shown {
    /// Whatever authorities the server names: it shall say itself what it thinks of this one.
    fn resolve(
        &self,
        _authorities: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.fresh()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
