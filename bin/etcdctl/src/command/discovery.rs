//! Endpoints by DNS: `_etcd-client-ssl._tcp.domain` and `_etcd-client._tcp.domain`
//! (reference: `etcdctl/ctlv3/command/global.go`, `client/pkg/srv`).

use crate::args::Global;
use crate::exit::Exit;
use cli::dns::{Names, Target};
use std::io::Write;

/// What a domain says; nothing where none is given.
pub(super) async fn endpoints(global: &Global) -> Result<Vec<String>, Exit> {
    if global.discovery_srv.is_empty() {
        return Ok(Vec::new());
    }
    let names = Names::of_system().map_err(Exit::error)?;
    let secure = names.targets(&service(global, "etcd-client-ssl")).await;
    let plain = names.targets(&service(global, "etcd-client")).await;
    let found = together(secure, plain).map_err(Exit::error)?;
    if global.insecure_discovery {
        return Ok(found);
    }
    let (plain, secure) = found.into_iter().partition(|found| found.starts_with("http://"));
    let plain: Vec<String> = plain;
    for endpoint in plain {
        // A warning that nobody can read stops no command.
        let _ = writeln!(std::io::stderr(), "ignoring discovered insecure endpoint {endpoint:?}");
    }
    Ok(secure)
}

/// The domain, unless whatever it says is believed: then endpoints that do not say want TLS.
pub(super) fn secure_domain(global: &Global) -> &str {
    if global.insecure_discovery { "" } else { &global.discovery_srv }
}

fn service(global: &Global, name: &str) -> String {
    let domain = &global.discovery_srv;
    match global.discovery_srv_name.as_str() {
        "" => format!("_{name}._tcp.{domain}"),
        suffix => format!("_{name}-{suffix}._tcp.{domain}"),
    }
}

/// The endpoints of both services. One of them is enough.
fn together(
    secure: Result<Vec<Target>, String>,
    plain: Result<Vec<Target>, String>,
) -> Result<Vec<String>, String> {
    let of = |scheme: &str, found: Vec<Target>| -> Vec<String> {
        found.iter().map(|target| format!("{scheme}://{}", target.address())).collect()
    };
    match (secure, plain) {
        (Err(secure), Err(plain)) => Err(format!("dns lookup errors: {secure} and {plain}")),
        (secure, plain) => {
            let mut all = of("https", secure.unwrap_or_default());
            all.extend(of("http", plain.unwrap_or_default()));
            Ok(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_is_enough() {
        let target = |port| Target { host: "a.".into(), port };
        let none = || Err("none".to_owned());
        assert_eq!(
            together(Ok(vec![target(1)]), Ok(vec![target(2)])).unwrap(),
            ["https://a.:1", "http://a.:2"]
        );
        assert_eq!(together(none(), Ok(vec![target(2)])).unwrap(), ["http://a.:2"]);
        assert_eq!(together(none(), none()).unwrap_err(), "dns lookup errors: none and none");
    }
}
