//! ECDSA on P-521, which ring has not: etcd makes such keys for `--auto-tls`.

use ::p521::SecretKey;
use ::p521::ecdsa::signature::{Signer as _, Verifier as _};
use ::p521::ecdsa::{Signature, SigningKey as Key, VerifyingKey};
use ::p521::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, PrivateKeyDer, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, alg_id,
};
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Verifies signatures with SHA-512.
pub(crate) static VERIFIER: &dyn SignatureVerificationAlgorithm = &P521;

#[derive(Debug)]
struct P521;

impl SignatureVerificationAlgorithm for P521 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA512
    }
}

/// A key on P-521; none where it is another kind.
pub(crate) fn signing_key(der: &PrivateKeyDer<'_>) -> Option<Arc<dyn SigningKey>> {
    let secret = match der {
        PrivateKeyDer::Sec1(der) => SecretKey::from_sec1_der(der.secret_sec1_der()).ok(),
        PrivateKeyDer::Pkcs8(der) => SecretKey::from_pkcs8_der(der.secret_pkcs8_der()).ok(),
        _ => None,
    }?;
    let public = secret.public_key().to_public_key_der().ok()?.into_vec();
    let key = Key::from_bytes(&secret.to_bytes()).ok()?;
    Some(Arc::new(Own { key: Arc::new(key), public }))
}

struct Own {
    key: Arc<Key>,
    /// SubjectPublicKeyInfo.
    public: Vec<u8>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key on P-521")
    }
}

impl SigningKey for Own {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let is_offered = offered.contains(&SignatureScheme::ECDSA_NISTP521_SHA512);
        is_offered.then(|| Box::new(Signs(Arc::clone(&self.key))) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.public.as_slice().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

struct Signs(Arc<Key>);

impl fmt::Debug for Signs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a signer on P-521")
    }
}

impl Signer for Signs {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature: Signature = self.0.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::p521::elliptic_curve::rand_core::OsRng;
    use rustls::pki_types::PrivateSec1KeyDer;

    #[test]
    fn keys_sign_what_the_verifier_believes() {
        let secret = SecretKey::random(&mut OsRng);
        let der = secret.to_sec1_der().unwrap();
        let der = PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der.to_vec()));
        let key = signing_key(&der).unwrap();
        assert!(key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).is_none());
        let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP521_SHA512]).unwrap();
        let signature = signer.sign(b"text").unwrap();
        let info = key.public_key().unwrap();
        // The point is what the key's information ends with.
        let point = &info[info.len() - 133..];
        assert!(VERIFIER.verify_signature(point, b"text", &signature).is_ok());
        assert!(VERIFIER.verify_signature(point, b"other", &signature).is_err());
    }
}
