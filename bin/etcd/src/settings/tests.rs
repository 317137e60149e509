//! What each setting takes and refuses, as a flag, as a variable and in the file.

use super::rows::ROWS;
use super::*;
use std::ffi::OsStr;
use std::path::Path;

fn run_os(args: Vec<OsString>, variables: Vec<(OsString, OsString)>) -> Result<Outcome, Refusal> {
    read(args, variables)
}

fn outcome(args: &[&str], variables: &[(&str, &str)]) -> Result<Outcome, Refusal> {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    run_os(args.iter().map(Into::into).collect(), variables.collect())
}

fn run(args: &[&str], variables: &[(&str, &str)]) -> Result<(Box<Settings>, Vec<Note>), Refusal> {
    match outcome(args, variables)? {
        Outcome::Run(settings, notes) => Ok((settings, notes)),
        Outcome::Print(text) => panic!("{text}"),
    }
}

fn flags(args: &[&str]) -> Box<Settings> {
    run(args, &[]).unwrap().0
}

/// The refusal of flags: code 2.
fn usage(args: &[&str]) -> String {
    match outcome(args, &[]) {
        Err(Refusal::Usage(text)) => text.lines().next().unwrap_or_default().to_owned(),
        other => panic!("{args:?}: {other:?}"),
    }
}

/// The refusal of anything else: code 1.
fn verify(args: &[&str], variables: &[(&str, &str)]) -> String {
    match outcome(args, variables) {
        Err(Refusal::Verify(text)) => text,
        other => panic!("{args:?} {variables:?}: {other:?}"),
    }
}

/// A configuration file with this text.
fn file(text: &str) -> Result<(Box<Settings>, Vec<Note>), Refusal> {
    file_with(text, &[], &[])
}

fn file_with(
    text: &str,
    args: &[&str],
    variables: &[(&str, &str)],
) -> Result<(Box<Settings>, Vec<Note>), Refusal> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etcd.yml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    run(&[&["--config-file", path], args].concat(), variables)
}

fn file_refusal(text: &str) -> String {
    match file(text) {
        Err(Refusal::Verify(text)) => text,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn flags_come_in_every_form_of_go() {
    let args = ["-name", "a", "--data-dir=d", "-max-wals=3", "--pre-vote", "--unsafe-no-fsync=T"];
    let settings = flags(&args);
    assert_eq!((settings.member.name.as_str(), settings.member.max_wals), ("a", 3));
    assert_eq!(settings.member.data_dir, Path::new("d"));
    assert!(settings.cluster.pre_vote && settings.member.unsafe_no_fsync);
    assert_eq!(settings.member.heartbeat_interval_ms, 100);
    // A value may begin with dashes, and the last one counts.
    let args = ["--quota-backend-bytes", "-10", "--name", "--x", "-name", "-y", "--"];
    let settings = flags(&args);
    assert_eq!((settings.member.quota_backend_bytes, settings.member.name.as_str()), (-10, "-y"));
    assert_eq!(flags(&["--max-wals=0x1_0"]).member.max_wals, 16);
    flags(&["--snapshot", "--vv=3", "-test.coverprofile=x"]);
}

#[test]
fn wrong_flags_are_told_in_the_words_of_go() {
    let words = [
        ("--pre-vote=yes", "invalid boolean value \"yes\" for -pre-vote: parse error"),
        ("--pre-vote=", "invalid boolean value \"\" for -pre-vote: parse error"),
        ("-client-cert-auth=on", "invalid boolean value \"on\" for -client-cert-auth: parse error"),
        ("--version=foo", "invalid boolean value \"foo\" for -version: parse error"),
        ("--max-wals=x", "invalid value \"x\" for flag -max-wals: parse error"),
        ("--max-wals=-1", "invalid value \"-1\" for flag -max-wals: parse error"),
        (
            "--max-wals=99999999999999999999",
            "invalid value \"99999999999999999999\" for flag -max-wals: value out of range",
        ),
        (
            "--grpc-keepalive-min-time=5",
            "invalid value \"5\" for flag -grpc-keepalive-min-time: parse error",
        ),
        (
            "--max-concurrent-streams=x",
            "invalid value \"x\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            "--initial-cluster-state=foo",
            "invalid value \"foo\" for flag -initial-cluster-state: invalid value",
        ),
        (
            "--v2-deprecation=foo",
            "invalid value \"foo\" for flag -v2-deprecation: invalid value \"foo\"",
        ),
        (
            "--feature-gates=Foo=true",
            "invalid value \"Foo=true\" for flag -feature-gates: unrecognized feature gate: Foo",
        ),
        ("--nonsense", "flag provided but not defined: -nonsense"),
        ("--nonsense=1", "flag provided but not defined: -nonsense"),
        ("--name x", "flag provided but not defined: -name x"),
        ("-name [x] y=z", "flag provided but not defined: -name [x] y"),
        ("--max-wals", "flag needs an argument: -max-wals"),
        ("---x", "bad flag syntax: ---x"),
        ("-=x", "bad flag syntax: -=x"),
        ("--=x", "bad flag syntax: --=x"),
    ];
    for (flag, text) in words {
        assert_eq!(usage(&[flag]), text);
    }
    // The first mistake counts.
    assert!(usage(&["--pre-vote=yes", "--help"]).contains("-pre-vote"));
    assert!(usage(&["--nonsense", "--help"]).contains("-nonsense"));
    assert!(usage(&["--nonsense", "word"]).contains("-nonsense"));
    assert!(usage(&["--pre-vote=2", "--pre-vote=1"]).contains("\"2\""));
}

#[test]
fn what_a_mistyped_flag_may_have_meant_is_told() {
    let refusal = |flag| match outcome(&[flag], &[]) {
        Err(Refusal::Usage(text)) => text,
        other => panic!("{other:?}"),
    };
    let near = refusal("--data-dirr=x");
    assert!(near.contains("Did you mean --data-dir?"), "{near}");
    for (gone, hint) in [
        ("--debug", "use --log-level=debug"),
        ("--enable-v2=true", "leave it out"),
        ("-proxy=off", "leave it out"),
        ("--experimental-initial-corrupt-check", "--feature-gates=InitialCorruptCheck=true"),
        ("--experimental-compaction-batch-limit=1", "use --compaction-batch-limit"),
    ] {
        let text = refusal(gone);
        assert!(text.contains("not defined") && text.contains(hint), "{text}");
    }
}

#[test]
fn words_that_are_no_flags_are_refused() {
    assert_eq!(verify(&["pos", "--nonsense"], &[]), "\"pos\" is not a valid flag");
    assert_eq!(verify(&["--pre-vote", "false"], &[]), "\"false\" is not a valid flag");
    assert_eq!(verify(&["--version", "-"], &[]), "\"-\" is not a valid flag");
    assert_eq!(verify(&["--", "--name=x"], &[]), "\"--name=x\" is not a valid flag");
    assert!(verify(&["gateway", "start"], &[]).contains("not supported by this version"));
}

#[test]
fn help_and_version_are_printed() {
    for args in [&["--help"][..], &["-h"], &["-help", "--nonsense"], &["--name=x", "-h=y"]] {
        let Ok(Outcome::Print(text)) = outcome(args, &[]) else { panic!("{args:?}") };
        for row in ROWS.iter().filter(|row| !row.name.is_empty() && !row.section.is_empty()) {
            assert!(text.contains(&format!("--{}", row.name)), "{}", row.name);
        }
        assert!(!text.contains("--vv") && text.contains("--config-file-ignore-unknown-keys"));
    }
    for args in [&["--version"][..], &["-version=1", "--name=x"]] {
        let Ok(Outcome::Print(text)) = outcome(args, &[]) else { panic!("{args:?}") };
        assert!(text.starts_with("etcd Version: 3."), "{text}");
    }
    flags(&["--version=false"]);
}

#[test]
fn variables_count_where_no_flag_does() {
    let said = [
        ("ETCD_NAME", "x"),
        ("ETCD_DATA_DIR", ""),
        ("ETCD_STRICT_RECONFIG_CHECK", "F"),
        ("ETCD_CLIENT_CERT_AUTH", "True"),
        ("ETCD_FOO", "secret"),
        ("ETCD_VERSION", "9"),
        ("ETCD_MAX_SNAPSHOTS", "3"),
        ("PATH", "y"),
    ];
    let (settings, notes) = run(&[], &said).unwrap();
    assert_eq!(settings.member.name, "x");
    assert!(settings.client_tls.client_cert_auth && !settings.cluster.strict_reconfig_check);
    for note in [
        Note::Special("ETCD_VERSION".into()),
        Note::Used("ETCD_NAME".into()),
        Note::Unrecognized("ETCD_FOO".into()),
        // Empty is not set.
        Note::Unrecognized("ETCD_DATA_DIR".into()),
    ] {
        assert!(notes.contains(&note), "{note:?} in {notes:?}");
    }
    let deprecated = |note: &&Note| matches!(note, Note::Warning(text) if text.contains("--max-snapshots is deprecated"));
    assert_eq!(notes.iter().filter(deprecated).count(), 1);
    assert!(!format!("{notes:?}").contains("secret"));
}

#[test]
fn wrong_variables_are_told_in_the_words_of_etcd() {
    let refused = |name, value| verify(&[], &[(name, value)]);
    assert_eq!(
        refused("ETCD_PRE_VOTE", "yes"),
        "invalid value \"yes\" for ETCD_PRE_VOTE: parse error"
    );
    assert_eq!(refused("ETCD_MAX_WALS", "x"), "invalid value \"x\" for ETCD_MAX_WALS: parse error");
    assert!(
        refused("ETCD_INITIAL_CLUSTER_STATE", "foo")
            .ends_with("ETCD_INITIAL_CLUSTER_STATE: invalid value")
    );
    let both = verify(&["--name", "a"], &[("ETCD_NAME", "a"), ("ETCD_MAX_WALS", "x")]);
    assert!(
        both.contains("\"ETCD_NAME\" is shadowed by corresponding command-line flag"),
        "{both}"
    );
}

#[cfg(unix)]
#[test]
fn any_bytes_may_come() {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let run = |args: &[&[u8]], variables: &[(&[u8], &[u8])]| {
        let variables = variables.iter().map(|(name, value)| (bytes(name), bytes(value)));
        run_os(args.iter().map(|arg| bytes(arg)).collect(), variables.collect())
    };
    // Variables of others, and one that belongs to nothing.
    let others: &[(&[u8], &[u8])] = &[(b"PS1", b"\xe9"), (b"\xff", b"x"), (b"ETCD_\xe9", b"\xe9")];
    assert!(matches!(run(&[], others), Ok(Outcome::Run(..))));
    assert!(matches!(run(&[b"--version"], others), Ok(Outcome::Print(_))));
    for outcome in [run(&[b"--data-dir", b"\xe9"], &[]), run(&[], &[(b"ETCD_DATA_DIR", b"\xe9")])] {
        let Ok(Outcome::Run(settings, _)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(settings.member.data_dir.as_os_str(), OsStr::from_bytes(b"\xe9"));
    }
    for (args, code_2) in [
        (&[&b"--name=\xe9"[..]][..], true),
        (&[b"--\xe9"], true),
        (&[b"\xe9"], false),
        (&[b"--max-wals", b"\xe9"], true),
        (&[b"--config-file", b"\xe9"], false),
    ] {
        let refusal = run(args, &[]).unwrap_err();
        assert_eq!(matches!(refusal, Refusal::Usage(_)), code_2, "{refusal}");
    }
    let refusal = run(&[], &[(b"ETCD_MAX_WALS", b"\xe9")]).unwrap_err();
    assert_eq!(refusal.to_string(), "invalid value \"\\xe9\" for ETCD_MAX_WALS: parse error");
}

#[test]
fn a_file_replaces_flags_and_variables() {
    let text = "name: f\nmax-wals: 7\nlog-outputs: [stderr]\n";
    let (settings, notes) =
        file_with(text, &["--name", "ignored"], &[("ETCD_MAX_WALS", "x"), ("ETCD_FOO", "y")])
            .unwrap();
    assert_eq!((settings.member.name.as_str(), settings.member.max_wals), ("f", 7));
    assert!(matches!(notes[..], [Note::File(_)]), "{notes:?}");
    // Wrong flags are wrong all the same.
    assert!(usage(&["--config-file=nope", "--pre-vote=yes"]).contains("-pre-vote"));
    assert_eq!(
        verify(&[], &[("ETCD_CONFIG_FILE", "nope")]),
        "open nope: no such file or directory"
    );
    let both = verify(&["--config-file=nope2"], &[("ETCD_CONFIG_FILE", "nope")]);
    assert_eq!(both, "open nope2: no such file or directory");
    assert_eq!(verify(&["--config-file=/"], &[]), "read /: is a directory");
    flags(&["--config-file="]);
}

#[test]
fn sections_are_flags_under_other_names() {
    let text = "client-transport-security:\n  cert-file: c\n  allowed-cn: [a, b]\n  auto-tls: yes\n\
                peer-transport-security:\n  client-cert-auth: true\n  allowed-cn: [m]\n  \
                skip-client-san-verification: on\n\
                discovery-config:\n  token: t\n  client:\n    endpoints: [h:1]\n    dial-timeout: 7\n    \
                auth: {username: u, password: p}\n    secure: {cacert: ca, insecure-transport: false}\n\
                socket-options: {reuse-address: true}\n";
    let (settings, _) = file(text).unwrap();
    let (client, peer) = (&settings.client_tls, &settings.peer_tls);
    assert_eq!(
        (client.cert_file.to_str(), client.allowed_cns.join("+")),
        (Some("c"), "a+b".to_owned())
    );
    assert!(client.auto_tls && peer.client_cert_auth && peer.skip_client_sans && !peer.auto_tls);
    assert_eq!(peer.allowed_cns, ["m"]);
    let found = &settings.discovery;
    assert_eq!(
        (found.token.as_str(), found.endpoints.show(), found.dial_timeout),
        ("t", "h:1".into(), Nanos(7))
    );
    assert_eq!((found.user.name.as_str(), found.password.expose()), ("u", "p"));
    assert!(found.cacert == "ca" && !found.insecure_transport);
    assert!(!format!("{settings:?}").contains("\"p\""));
}

#[test]
fn values_in_the_file_are_of_the_kinds_of_etcd() {
    for text in [
        "pre-vote: yes",
        "pre-vote: ",
        "max-wals: 5.0",
        "max-wals: 1e3",
        "name: ~",
        "",
        "grpc-keepalive-min-time: 5000000000",
        "listen-client-urls: \"\"",
        "log-outputs: []",
        "log-outputs: [null]",
        "client-transport-security:",
        "cors:",
        "cors: ''",
        "Name: x",
        "name: a\n---\n}",
        "initial-cluster-state: ''",
        "v2-deprecation: foo",
        "listen-metrics-urls: http://127.0.0.1:1,http://127.0.0.1:2",
    ] {
        assert!(file(text).is_ok(), "{text}: {:?}", file(text).err());
    }
    for (text, reason) in [
        ("pre-vote: \"true\"", "cannot unmarshal string into pre-vote of type bool"),
        ("pre-vote: 1", "cannot unmarshal number into pre-vote of type bool"),
        ("pre-vote: t", "cannot unmarshal string into pre-vote of type bool"),
        ("max-wals: \"5\"", "cannot unmarshal string into max-wals of type uint"),
        ("max-wals: 5.5", "cannot unmarshal number 5.5 into max-wals of type uint"),
        ("max-wals: -1", "cannot unmarshal number -1 into max-wals of type uint"),
        ("name: 5", "cannot unmarshal number into name of type string"),
        ("name: [a]", "cannot unmarshal array into name of type string"),
        ("name: {a: b}", "cannot unmarshal object into name of type string"),
        (
            "grpc-keepalive-min-time: 5s",
            "cannot unmarshal string into grpc-keepalive-min-time of type time.Duration",
        ),
        (
            "listen-metrics-urls: [http://127.0.0.1:9]",
            "cannot unmarshal array into listen-metrics-urls of type string",
        ),
        ("log-outputs: stderr", "cannot unmarshal string into log-outputs of type []string"),
        ("cipher-suites: ''", "cannot unmarshal string into cipher-suites of type []string"),
        (
            "peer-transport-security: true",
            "cannot unmarshal bool into peer-transport-security of type a map",
        ),
        ("peer-transport-security:", "invalid peer-transport-security"),
        (
            "client-transport-security: {client-cert-auth: 1}",
            "cannot unmarshal number into client-transport-security.client-cert-auth of type bool",
        ),
        (
            "peer-transport-security: {allowed-cn: a}",
            "into peer-transport-security.allowed-cn of type []string",
        ),
        ("listen-client-urls: foo", "unexpected error setting up listen-client-urls"),
        ("[]", "cannot unmarshal array"),
        ("foo", "cannot unmarshal string"),
        ("name: \"a", "error converting YAML to JSON: yaml: "),
        ("initial-cluster-state: foo", "unexpected clusterState \"foo\""),
        ("feature-gates: X=true", "unrecognized feature gate: X"),
    ] {
        let refusal = file_refusal(text);
        assert!(refusal.contains(reason), "{text}: {refusal}");
    }
    // In the file no years are one, and addresses of one kind do not ask for the other.
    assert_eq!(file("self-signed-cert-validity: 0").unwrap().0.tls.self_signed_cert_validity, 1);
    assert!(
        !file("listen-client-urls: http://127.0.0.1:1")
            .unwrap()
            .0
            .member
            .listen_client_urls
            .is_given
    );
}

#[test]
fn unknown_keys_are_refused_unless_the_operator_says_otherwise() {
    let refusal = file_refusal("nmae: f\nmax-wals: 3");
    assert!(refusal.contains("unknown key \"nmae\""), "{refusal}");
    assert!(refusal.contains("did you mean \"name\"?"), "{refusal}");
    assert!(refusal.contains("ETCD_CONFIG_FILE_IGNORE_UNKNOWN_KEYS=true"), "{refusal}");
    let inner = file_refusal("peer-transport-security: {cert-flie: x}");
    assert!(inner.contains("did you mean \"cert-file\"?"), "{inner}");
    let section = file_refusal("peer-transport-securty: {cert-file: x}");
    assert!(section.contains("did you mean \"peer-transport-security\"?"), "{section}");
    for far in ["zzzzzz: 1", "peer-transport-security: {foo: 1}"] {
        assert!(!file_refusal(far).contains("did you mean"));
    }
    let switch = "ETCD_CONFIG_FILE_IGNORE_UNKNOWN_KEYS";
    for (args, variables) in
        [(&["--config-file-ignore-unknown-keys"][..], &[][..]), (&[], &[(switch, "1")])]
    {
        let (settings, notes) = file_with("nmae: f\nmax-wals: 3", args, variables).unwrap();
        assert_eq!(settings.member.max_wals, 3);
        assert!(notes.contains(&Note::Unknown("nmae".into())), "{notes:?}");
    }
    let wrong = file_with("name: f", &[], &[(switch, "yes")]).unwrap_err();
    assert_eq!(wrong, Refusal::Verify(format!("invalid value \"yes\" for {switch}: parse error")));
    // Without a file it says nothing, and is known.
    assert_eq!(run(&[], &[(switch, "true")]).unwrap().1, []);
}

#[test]
fn flags_and_keys_taken_for_each_other_are_told_where_they_belong() {
    for (text, hint) in [
        ("config-file: x", "(it is a flag alone, or the variable ETCD_CONFIG_FILE)"),
        ("version: true", "(it is a flag alone, or the variable ETCD_VERSION)"),
        ("peer-crl-file: x", "(it is a flag alone, or the variable ETCD_PEER_CRL_FILE)"),
        (
            "Cert-File: x",
            "(what is the flag --cert-file is here \"client-transport-security.cert-file\")",
        ),
        ("allowed-cn: [x]", "\"client-transport-security.allowed-cn\" or \"peer-transport"),
        ("client-transport-security: {name: x}", "(what is the flag --name is here \"name\")"),
        ("\u{feff}# c\n\u{feff}: x\n", ""),
    ] {
        let refusal = file_refusal(text);
        assert!(refusal.contains(hint), "{text}: {refusal}");
    }
    // Every flag is a key, or is told what to write.
    for row in ROWS.iter().filter(|row| !row.name.is_empty() && row.key != row.name) {
        if super::earlier::is_earlier_key(row.name) {
            continue;
        }
        let refusal = file_refusal(&format!("{}: x", row.name));
        let told = match row.key {
            "" => "it is a flag alone".to_owned(),
            key => format!("is here {key:?}"),
        };
        assert!(refusal.contains(&told), "{refusal}");
    }
    // Every key is a flag, or is told where it belongs.
    for row in ROWS.iter().filter(|row| !row.key.is_empty() && row.key != row.name) {
        let Err(Refusal::Usage(refusal)) = read([format!("--{}=x", row.key).into()], []) else {
            panic!("{} is no flag", row.key)
        };
        let told = match row.name {
            "" => format!("{:?} in the configuration file", row.key),
            flag => format!("--{flag}"),
        };
        assert!(refusal.contains(&told), "{refusal}");
    }
    let Err(Refusal::Usage(section)) = read(["--peer-transport-security=x".into()], []) else {
        panic!("a section is no flag")
    };
    assert!(section.contains("is a section of the configuration file"), "{section}");
}

#[test]
fn no_refusal_shows_a_password() {
    let urls = ["http://root:pw@h:x", "http://root:pw/x@h:1", "http://root:pw@h", "root:pw@h:1"];
    for url in urls {
        for row in ROWS.iter().filter(|row| !row.name.is_empty()) {
            let flag = read([format!("--{}={url}", row.name).into()], []);
            let variable = read([], [(row.variable().into(), url.into())]);
            let word = read([url.into()], []);
            for refused in [flag, variable, word].into_iter().filter_map(Result::err) {
                assert!(!refused.to_string().contains("pw"), "{refused}");
            }
        }
    }
    let mistyped = read(["--discovery-user:root:pw".into()], []).unwrap_err();
    assert!(!mistyped.to_string().contains("pw"), "{mistyped}");
}

#[cfg(unix)]
#[test]
fn paths_and_tokens_may_hold_any_bytes() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = |head: &str| OsString::from_vec([head.as_bytes(), b"\xe9"].concat());
    let names = [
        "data-dir",
        "wal-dir",
        "cert-file",
        "key-file",
        "client-cert-file",
        "client-key-file",
        "trusted-ca-file",
        "client-crl-file",
        "peer-cert-file",
        "peer-key-file",
        "peer-client-cert-file",
        "peer-client-key-file",
        "peer-trusted-ca-file",
        "peer-crl-file",
        "discovery-cert",
        "discovery-key",
        "discovery-cacert",
        "log-outputs",
        "initial-cluster-token",
    ];
    for name in names {
        let flag = read([bytes(&format!("--{name}=/x"))], []);
        assert!(matches!(flag, Ok(Outcome::Run(..))), "{name}: {flag:?}");
        let variable = rows::variable_of(name);
        let variable = read([], [(variable.into(), bytes("/x"))]);
        assert!(matches!(variable, Ok(Outcome::Run(..))), "{name}: {variable:?}");
    }
}

#[test]
fn keys_of_earlier_versions_are_passed_over() {
    let text = "enable-v2: true\nproxy: 'off'\nproxy-failure-wait: 5000\ndebug: false\n\
                discovery:\ndiscovery-fallback: 'proxy'\nexperimental-initial-corrupt-check: true\n\
                experimental-snapshot-catch-up-entries: 5\nmax-snapshots: 4\n";
    let (settings, notes) = file(text).unwrap();
    let earlier = notes.iter().filter(|note| matches!(note, Note::Earlier(_))).count();
    assert_eq!((settings.member.max_snapshots, earlier), (4, 8));
}

/// Every key and value of the sample file that etcd publishes.
const SAMPLE: &str = "
name: 'default'
data-dir:
wal-dir:
snapshot-count: 10000
heartbeat-interval: 100
election-timeout: 1000
quota-backend-bytes: 0
listen-peer-urls: http://localhost:2380
listen-client-urls: http://localhost:2379
max-wals: 5
cors:
initial-advertise-peer-urls: http://localhost:2380
advertise-client-urls: http://localhost:2379
discovery:
discovery-fallback: 'proxy'
discovery-proxy:
discovery-srv:
initial-cluster:
initial-cluster-token: 'etcd-cluster'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: true
client-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false
peer-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false
  allowed-cn:
  allowed-hostname:
self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: \"1\"
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
]
tls-min-version: 'TLS1.2'
tls-max-version: 'TLS1.3'
";

#[test]
fn the_sample_file_of_etcd_starts_a_member() {
    let (mut settings, notes) = file(SAMPLE).unwrap();
    assert!(!settings.cluster.strict_reconfig_check);
    let log = settings.logging.check().unwrap();
    assert_eq!((log.level, log.format), (LogLevel::Debug, LogFormat::Json));
    assert_eq!(log.outputs, [LogOutput::Stderr]);
    let config = crate::config::Config::from_settings(&mut settings).unwrap();
    let hour = AutoCompaction::Period(Duration::from_secs(3600));
    assert_eq!(config.server.auto_compaction, Some(hour));
    assert_eq!(config.tls.client.settings.cipher_suites.len(), 2);
    let earlier = notes.iter().filter(|note| matches!(note, Note::Earlier(_))).count();
    assert_eq!(earlier, 3, "{notes:?}");
    // The sample file of v3.4 had these besides.
    let before =
        "enable-v2: true\nproxy: 'off'\nproxy-failure-wait: 5000\ndebug: false\nmax-snapshots: 5\n";
    assert!(file(&format!("{before}{SAMPLE}")).is_ok());
}

/// Every way to say something: as a flag, as a variable, and in the file.
fn in_every_way(name: &str, value: &str) -> Vec<Result<Box<Settings>, Refusal>> {
    let row = ROWS.iter().find(|row| row.name == name).unwrap();
    let variable = row.variable();
    let mut ways = vec![
        run(&[&format!("--{name}={value}")], &[]).map(|(settings, _)| settings),
        run(&[], &[(&variable, value)]).map(|(settings, _)| settings),
    ];
    if !row.key.is_empty() {
        // Flags of durations have units, keys have nanoseconds; the rest can be written alike.
        let nanos = cli::number::nanoseconds(value);
        let is_number = value.parse::<i64>().is_ok();
        let is_text = matches!(name, "auto-compaction-retention" | "auth-token" | "cors");
        let value = match nanos {
            Ok(nanos) if !is_text && !is_number => nanos.to_string(),
            _ if is_text => format!("{value:?}"),
            _ => value.to_owned(),
        };
        let keys: Vec<&str> = row.key.split('.').collect();
        let text = keys.iter().rev().fold(value, |inner, key| format!("{{{key}: {inner}}}"));
        ways.push(file(&text).map(|(settings, _)| settings));
    }
    ways
}

#[test]
fn what_asks_for_nothing_is_taken_in_every_way() {
    for (name, value) in [
        ("auto-compaction-retention", "0"),
        ("auto-compaction-retention", "0s"),
        ("auto-compaction-mode", "revision"),
        ("enable-pprof", "false"),
        ("enable-pprof", "true"),
        ("enable-grpc-gateway", "false"),
        ("enable-grpc-gateway", "true"),
        ("auth-token", "simple"),
        ("auth-token-ttl", "300"),
        ("bcrypt-cost", "10"),
        ("cors", "*"),
        ("host-whitelist", "'*'"),
        ("memory-mlock", "false"),
        ("backend-batch-limit", "10000"),
        ("socket-reuse-port", "false"),
        ("socket-reuse-address", "true"),
        ("raft-read-timeout", "1s"),
        ("v2-deprecation", "gone"),
        ("enable-log-rotation", "false"),
        ("warning-apply-duration", "100ms"),
        ("warning-unary-request-duration", "0s"),
        ("enable-distributed-tracing", "false"),
        ("distributed-tracing-address", "x"),
        ("distributed-tracing-sampling-rate", "5"),
        ("corrupt-check-time", "0s"),
        ("compact-hash-check-time", "2m"),
        ("compaction-batch-limit", "1000"),
        ("compaction-sleep-interval", "10ms"),
        ("bootstrap-defrag-threshold-megabytes", "0"),
        ("downgrade-check-time", "5s"),
    ] {
        // Quotes are for the file alone.
        let ways = if value.starts_with('\'') { 2 } else { 3 };
        for way in in_every_way(name, value.trim_matches('\'')).into_iter().take(ways) {
            let mut settings = way.unwrap_or_else(|refusal| panic!("{name}={value}: {refusal}"));
            assert_eq!(unsupported(&mut settings), None, "{name}={value}");
            assert_eq!(settings.absent.check(), Ok(()), "{name}={value}");
        }
    }
}

#[test]
fn what_asks_for_something_absent_is_refused_in_every_way() {
    for (name, value) in [
        ("auth-token", "jwt,sign-method=RS256"),
        ("auth-token-ttl", "60"),
        ("bcrypt-cost", "12"),
        ("cors", "http://127.0.0.1:1"),
        ("host-whitelist", "a"),
        ("listen-client-http-urls", "http://127.0.0.1:1"),
        ("memory-mlock", "true"),
        ("backend-batch-limit", "5"),
        ("socket-reuse-port", "true"),
        ("raft-write-timeout", "6s"),
        ("enable-log-rotation", "true"),
        ("warning-apply-duration", "1s"),
        ("warning-unary-request-duration", "1s"),
        ("enable-distributed-tracing", "true"),
        ("corrupt-check-time", "1m"),
        ("compaction-batch-limit", "10"),
        ("compaction-sleep-interval", "1s"),
        ("bootstrap-defrag-threshold-megabytes", "10"),
        ("downgrade-check-time", "1s"),
    ] {
        for way in in_every_way(name, value) {
            let mut settings = way.unwrap_or_else(|refusal| panic!("{name}={value}: {refusal}"));
            let refusal = unsupported(&mut settings).unwrap_or_else(|| panic!("{name}={value}"));
            assert!(
                refusal.starts_with(&format!("--{name}={value}")) || value == "60s",
                "{refusal}"
            );
            assert!(refusal.contains("is not supported by this version"), "{refusal}");
        }
    }
}

#[test]
fn the_table_is_whole() {
    let mut names: Vec<&str> =
        ROWS.iter().map(|row| row.name).filter(|name| !name.is_empty()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a flag is there twice");
    // etcd v3.7.3 has 126 with those that it ignores, `config-file` and `version`.
    assert_eq!(count, 126);
    // No text of a default is refused by its own field.
    for row in ROWS.iter().filter(|row| !row.name.is_empty() && !row.section.is_empty()) {
        let mut settings = Settings::default();
        let shown = (row.field)(&mut settings).show();
        let taken = (row.field)(&mut settings).set_text(OsStr::new(&shown));
        assert_eq!(taken, Ok(()), "{}", row.name);
        assert_eq!((row.field)(&mut settings).show(), shown, "{}", row.name);
    }
}
