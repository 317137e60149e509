//! Whole handshakes, in memory.

use crate::testing::{Authority, Issued};
use crate::{Acceptor, Connector, Endpoint, Protocols, Settings, Version, explain, self_signed};
use rcgen::ExtendedKeyUsagePurpose as Usage;
use rustls::{ClientConnection, ServerConnection};
use std::ffi::OsString;
use std::path::Path;
use tempfile::TempDir;

/// What each side says in the end.
type Outcome = (Result<(), String>, Result<(), String>);

/// Passes bytes to and fro until both are done or one fails, and tells it the other.
fn shake(acceptor: &Acceptor, connector: &Connector, host: &str) -> Outcome {
    let name = connector.name(host).unwrap();
    let mut client = ClientConnection::new(connector.config(), name).unwrap();
    let mut server = ServerConnection::new(acceptor.config()).unwrap();
    let (mut asked, mut answered) = (Ok(()), Ok(()));
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        feed(&bytes, &mut answered, |bytes| {
            server.read_tls(bytes).unwrap();
            server.process_new_packets().map(drop)
        });
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        feed(&bytes, &mut asked, |bytes| {
            client.read_tls(bytes).unwrap();
            client.process_new_packets().map(drop)
        });
    }
    if answered.is_ok() {
        let shown = server.peer_certificates().unwrap_or_default();
        answered = acceptor.check(shown, "127.0.0.1".parse().unwrap());
    }
    (asked, answered)
}

fn feed(
    mut bytes: &[u8],
    outcome: &mut Result<(), String>,
    mut take: impl FnMut(&mut &[u8]) -> Result<(), rustls::Error>,
) {
    while outcome.is_ok() && !bytes.is_empty() {
        *outcome = take(&mut bytes).map_err(|error| explain(&error));
    }
}

struct Place {
    dir: TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap(), authority: Authority::new("ca") };
        std::fs::write(place.path("ca"), place.authority.pem()).unwrap();
        place
    }

    fn path(&self, name: &str) -> OsString {
        self.dir.path().join(name).into_os_string()
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A side that shows `issued` and believes the authority.
    fn side(&self, name: &str, issued: &Issued) -> Settings {
        let (cert_file, key_file) = issued.save(self.dir(), name);
        let trusted_ca_file = self.path("ca");
        Settings { cert_file, key_file, trusted_ca_file, ..Settings::default() }
    }

    fn member(&self) -> Settings {
        self.side("member", &self.authority.issue("m1", &["127.0.0.1", "localhost"]))
    }
}

fn peers(server: &Settings, client: &Settings) -> Outcome {
    let acceptor = Acceptor::new(server, Endpoint::Peer, Protocols::Http1).unwrap();
    shake(&acceptor, &Connector::new(client, &[]).unwrap(), "127.0.0.1:2380")
}

fn error(text: &str) -> Result<(), String> {
    Err(text.to_owned())
}

#[test]
fn members_with_certificates_of_one_authority_believe_each_other() {
    let place = Place::new();
    let member = place.member();
    assert_eq!(peers(&member, &member), (Ok(()), Ok(())));
    for version in [Version::Tls12, Version::Tls13] {
        let bound =
            Settings { version_max: Some(version), version_min: Some(version), ..member.clone() };
        assert_eq!(peers(&bound, &member), (Ok(()), Ok(())));
    }
    let old = Settings { version_max: Some(Version::Tls12), ..member.clone() };
    let new = Settings { version_min: Some(Version::Tls13), ..member };
    assert_eq!(
        peers(&new, &old),
        (
            error("remote error: tls: protocol version not supported"),
            error("tls: client offered only unsupported versions")
        )
    );
}

#[test]
fn strangers_are_refused_in_the_words_of_go() {
    let place = Place::new();
    let member = place.member();
    let unknown =
        "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    let other = Authority::new("ca").issue("m1", &["127.0.0.1"]);
    let stranger = place.side("stranger", &other);
    assert_eq!(
        peers(&member, &stranger),
        (error("remote error: tls: unknown certificate authority"), error(unknown))
    );
    assert_eq!(
        peers(&stranger, &member),
        (error(unknown), error("remote error: tls: bad certificate"))
    );
    let nobody = Settings { trusted_ca_file: place.path("ca"), ..Settings::default() };
    assert_eq!(
        peers(&member, &nobody),
        (
            error("remote error: tls: certificate required"),
            error("tls: client didn't provide a certificate")
        )
    );
    let elsewhere = place.side("elsewhere", &place.authority.issue("m", &["10.0.0.1"]));
    assert_eq!(
        peers(&elsewhere, &member).0,
        error(
            "tls: failed to verify certificate: x509: certificate is valid for 10.0.0.1, not \
             127.0.0.1"
        )
    );
    assert_eq!(
        peers(&member, &elsewhere).1,
        error("x509: certificate is valid for 10.0.0.1, not 127.0.0.1")
    );
    let lenient = Settings { skip_client_sans: true, ..member };
    assert_eq!(peers(&lenient, &elsewhere), (Ok(()), Ok(())));
}

#[test]
fn certificates_are_for_one_side_only_if_they_say_so() {
    let place = Place::new();
    let member = place.member();
    let serves = place.authority.issue_for("m", &["127.0.0.1"], &[Usage::ServerAuth]);
    let serves = place.side("serves", &serves);
    assert_eq!(
        peers(&member, &serves),
        (
            error("remote error: tls: bad certificate"),
            error(
                "tls: failed to verify certificate: x509: certificate specifies an incompatible \
                 key usage"
            )
        )
    );
    assert_eq!(peers(&serves, &member), (Ok(()), Ok(())));
}

#[test]
fn only_those_with_allowed_names_are_let_in() {
    let place = Place::new();
    let member = place.member();
    let refused = (
        error("remote error: tls: bad certificate"),
        error("client certificate authentication failed"),
    );
    let allows = |cns: &[&str], hosts: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
        Settings { allowed_cns: list(cns), allowed_hostnames: list(hosts), ..member.clone() }
    };
    assert_eq!(peers(&allows(&["x", "m1"], &[]), &member), (Ok(()), Ok(())));
    assert_eq!(peers(&allows(&["x"], &[]), &member), refused);
    assert_eq!(peers(&allows(&[], &["localhost"]), &member), (Ok(()), Ok(())));
    assert_eq!(peers(&allows(&[], &["x"]), &member), refused);
    // The one that dials looks at the name as well.
    let (asked, answered) = peers(&member, &allows(&["x"], &[]));
    assert_eq!((answered, asked), refused);
    assert!(Connector::new(&allows(&["x"], &["y"]), &[]).is_err());
}

#[test]
fn files_are_read_for_every_handshake() {
    let place = Place::new();
    let member = place.member();
    let acceptor = Acceptor::new(&member, Endpoint::Peer, Protocols::Http1).unwrap();
    let connector = Connector::new(&member, &[]).unwrap();
    let shake = || shake(&acceptor, &connector, "127.0.0.1:1");
    assert_eq!(shake(), (Ok(()), Ok(())));
    let renewed = Authority::new("another");
    renewed.issue("m2", &["127.0.0.1"]).save(place.dir(), "member");
    assert!(shake().0.is_err(), "the renewed certificate was not shown");
    std::fs::write(place.path("ca"), renewed.pem()).unwrap();
    assert_eq!(shake(), (Ok(()), Ok(())));
    // A file that cannot be read any more takes nothing away from those that were believed.
    std::fs::remove_file(place.path("ca")).unwrap();
    assert_eq!(shake(), (Ok(()), Ok(())));
    std::fs::remove_file(place.path("member.key")).unwrap();
    assert!(shake().0.is_err() && shake().1.is_err());
    assert!(Acceptor::new(&member, Endpoint::Peer, Protocols::Http1).is_err());
}

#[test]
fn revoked_certificates_are_refused() {
    let place = Place::new();
    let issued = place.authority.issue("m1", &["127.0.0.1"]);
    let mut member = place.side("member", &issued);
    member.crl_file = place.path("crl");
    std::fs::write(&member.crl_file, place.authority.revoke(&[])).unwrap();
    assert_eq!(peers(&member, &member), (Ok(()), Ok(())));
    std::fs::write(&member.crl_file, place.authority.revoke(&[&issued])).unwrap();
    let why = peers(&member, &member).1.unwrap_err();
    assert!(why.starts_with("transport: certificate serial"), "{why}");
}

#[test]
fn members_with_certificates_of_their_own_believe_anyone() {
    let place = Place::new();
    let hosts = ["127.0.0.1:2380".to_owned()];
    let own = |name: &str| self_signed(&place.dir().join(name), &hosts, 1).unwrap();
    assert_eq!(peers(&own("a"), &own("b")), (Ok(()), Ok(())));
    // Whoever trusts just that certificate believes it, though nobody vouches for it.
    let a = own("a");
    let trusts = Settings { trusted_ca_file: a.cert_file.clone(), ..Settings::default() };
    assert_eq!(peers(&a, &trusts), (Ok(()), Ok(())));
}
