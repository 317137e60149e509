//! rustls's errors in the words of Go: operators know them from etcd's logs, and the other side is
//! sent the alert that Go would send.

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use std::error::Error as _;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

/// rustls chooses an alert by the kind of an error. Those that shall be told as `bad_certificate`
/// carry their text as the names of a certificate that is not valid for this one.
const MARK: &str = "refused.invalid";

/// An error with this text, told as `bad_certificate`.
pub(crate) fn refusal(text: impl Into<String>) -> Error {
    let expected = ServerName::try_from(MARK).expect("the mark is a name");
    let presented = vec![text.into()];
    Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented })
}

/// The same for a chain that is not believed.
pub(crate) fn unverified(why: &str) -> Error {
    refusal(format!("{UNVERIFIED}{why}"))
}

const UNVERIFIED: &str = "tls: failed to verify certificate: x509: ";

/// Go tells a server that its certificate is bad, whatever is wrong with it.
pub(crate) fn told_as_client(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(_) => refusal(explain(&error)),
        other => other,
    }
}

/// An error of a handshake as Go says it; where Go has no word for it, as rustls does.
pub fn explain(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "tls: client didn't provide a certificate".into(),
        Error::InvalidCertificate(why) => certificate(why),
        Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_text(*alert)),
        Error::InvalidMessage(_) => "tls: first record does not look like a TLS handshake".into(),
        Error::NoApplicationProtocol => {
            "tls: client requested unsupported application protocols".into()
        }
        Error::PeerIncompatible(why) => incompatible(why),
        other => format!("tls: {other}"),
    }
}

/// The same for an error that came through a socket.
pub fn explain_io(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let source = || error.source().and_then(|source| source.downcast_ref::<Error>());
    match inner.or_else(source) {
        Some(error) => explain(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".into(),
        None if error.kind() == io::ErrorKind::ConnectionReset => {
            "read: connection reset by peer".into()
        }
        None if error.kind() == io::ErrorKind::TimedOut => "i/o timeout".into(),
        None => error.to_string(),
    }
}

fn certificate(why: &CertificateError) -> String {
    use CertificateError as C;
    match why {
        C::NotValidForNameContext { expected, presented } => match (expected, &presented[..]) {
            (ServerName::DnsName(name), [text]) if name.as_ref() == MARK => text.clone(),
            _ => names(expected, presented),
        },
        C::UnknownIssuer => format!("{UNVERIFIED}certificate signed by unknown authority"),
        C::ExpiredContext { time, not_after } => expired(*time, "after", *not_after),
        C::NotValidYetContext { time, not_before } => expired(*time, "before", *not_before),
        other => format!("tls: failed to verify certificate: {other}"),
    }
}

fn names(expected: &ServerName<'_>, presented: &[String]) -> String {
    let expected = expected.to_str();
    if presented.is_empty() {
        return format!(
            "{UNVERIFIED}certificate is not valid for any names, but wanted to match {expected}"
        );
    }
    // rustls shows them as `DnsName("a")` and `IpAddress(1.2.3.4)`.
    let bare = |name: &String| match name.split_once('(') {
        Some((_, name)) => name.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.clone(),
    };
    let presented: Vec<String> = presented.iter().map(bare).collect();
    format!("{UNVERIFIED}certificate is valid for {}, not {expected}", presented.join(", "))
}

fn expired(now: UnixTime, side: &str, limit: UnixTime) -> String {
    let shown = |time: UnixTime| {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.as_secs()))
    };
    format!(
        "{UNVERIFIED}certificate has expired or is not yet valid: current time {} is {side} {}",
        shown(now),
        shown(limit)
    )
}

fn incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::NoCipherSuitesInCommon => {
            "tls: no cipher suite supported by both client and server".into()
        }
        PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls12NotOffered
        // Whoever speaks 1.2 names signatures.
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::Tls13RequiredForQuic
        | PeerIncompatible::SupportedVersionsExtensionRequired => {
            "tls: client offered only unsupported versions".into()
        }
        other => format!("tls: the other side is incompatible: {other:?}"),
    }
}

fn alert_text(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let text = match alert {
        A::CloseNotify => "close notify",
        A::UnexpectedMessage => "unexpected message",
        A::BadRecordMac => "bad record MAC",
        A::HandshakeFailure => "handshake failure",
        A::BadCertificate => "bad certificate",
        A::UnsupportedCertificate => "unsupported certificate",
        A::CertificateRevoked => "revoked certificate",
        A::CertificateExpired => "expired certificate",
        A::CertificateUnknown => "unknown certificate",
        A::IllegalParameter => "illegal parameter",
        A::UnknownCA => "unknown certificate authority",
        A::AccessDenied => "access denied",
        A::DecodeError => "error decoding message",
        A::DecryptError => "error decrypting message",
        A::ProtocolVersion => "protocol version not supported",
        A::InsufficientSecurity => "insufficient security level",
        A::InternalError => "internal error",
        A::NoApplicationProtocol => "no application protocol",
        A::CertificateRequired => "certificate required",
        other => return format!("alert({})", u8::from(other)),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_the_words_of_go() {
        let named = |name: &str, presented: &[&str]| {
            let expected = ServerName::try_from(name.to_owned()).unwrap();
            let presented = presented.iter().map(|&name| name.into()).collect();
            explain(&CertificateError::NotValidForNameContext { expected, presented }.into())
        };
        assert_eq!(
            named("a.b", &["DnsName(\"c.d\")", "IpAddress(1.2.3.4)"]),
            "tls: failed to verify certificate: x509: certificate is valid for c.d, 1.2.3.4, not a.b"
        );
        let unknown = Error::from(CertificateError::UnknownIssuer);
        let text = "tls: failed to verify certificate: x509: certificate signed by unknown \
                    authority";
        assert_eq!(explain(&unknown), text);
        assert_eq!(explain(&told_as_client(unknown)), text);
        assert_eq!(explain(&refusal("no")), "no");
        let alert = Error::AlertReceived(AlertDescription::BadCertificate);
        assert_eq!(
            explain_io(&io::Error::new(io::ErrorKind::InvalidData, alert)),
            "remote error: tls: bad certificate"
        );
        assert_eq!(explain_io(&io::ErrorKind::UnexpectedEof.into()), "EOF");
        let time = UnixTime::since_unix_epoch(Duration::from_secs(60));
        let late = CertificateError::ExpiredContext { time, not_after: time };
        assert!(
            explain(&late.into())
                .ends_with("current time 1970-01-01T00:01:00Z is after 1970-01-01T00:01:00Z")
        );
    }

    #[test]
    fn refusals_are_told_as_bad_certificates() {
        let Error::InvalidCertificate(why) = refusal("no") else { panic!("another kind") };
        assert_eq!(AlertDescription::from(why), AlertDescription::BadCertificate);
    }
}
