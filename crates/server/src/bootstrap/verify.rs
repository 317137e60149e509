//! What is wrong with a list of first members, in the words of etcd
//! (reference: `server/config/config.go`).

use super::urls::resolver;
use address::Urls;
use membership::InitialCluster;
use std::collections::BTreeMap;

/// # Errors
/// The list does not name this member.
pub(super) fn has_local_member(initial: &InitialCluster, name: &str) -> Result<(), String> {
    initial.listed.check_name(name).map(drop).map_err(|error| error.to_string())
}

/// # Errors
/// The list is no good for a new cluster.
pub(super) fn beginning(
    initial: &InitialCluster,
    name: &str,
    advertised: &[String],
) -> Result<(), String> {
    let resolver = resolver();
    let checked = Urls::new(advertised).and_then(|advertised| {
        initial.listed.check(name, &advertised, &|url| resolver.resolve(url))
    });
    checked.map_err(|error| error.to_string())
}

/// # Errors
/// The list is no good for joining a cluster.
pub(super) fn joining(initial: &InitialCluster, discovers: bool) -> Result<(), String> {
    initial.listed.check_duplicates().map_err(|error| error.to_string())?;
    if discovers {
        return Err("discovery URL should not be set when joining existing initial cluster".into());
    }
    Ok(())
}

/// # Errors
/// Two members have the same id: they have the same URLs.
pub(super) fn distinct_ids(initial: &InitialCluster) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for member in &initial.members {
        if seen.insert(member.id, &member.name).is_some() {
            return Err(format!("member exists with identical ID {:x}", member.id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_those_of_etcd() {
        let list = |text| InitialCluster::parse(text, "t").unwrap();
        let check =
            |initial, advertised: &str| beginning(&list(initial), "a", &[advertised.to_owned()]);
        assert_eq!(check("a=http://[fd00:0::1]:1", "http://[fd00::1]:1"), Ok(()));
        assert_eq!(
            check("a=http://1.1.1.1:1", "http://1.1.1.1:2").unwrap_err(),
            "--initial-cluster has a=http://1.1.1.1:1 but missing from \
             --initial-advertise-peer-urls=http://1.1.1.1:2 \
             (resolved urls: \"http://1.1.1.1:2\" != \"http://1.1.1.1:1\")"
        );
        assert_eq!(
            has_local_member(&list("a=http://h:1"), "m").unwrap_err(),
            "couldn't find local name \"m\" in the initial cluster configuration"
        );
        let twice = list("a=http://h:1,b=http://h:1");
        assert_eq!(
            joining(&twice, false).unwrap_err(),
            "initial cluster a=http://h:1,b=http://h:1 has duplicate url"
        );
        assert!(distinct_ids(&twice).unwrap_err().starts_with("member exists with identical ID"));
    }
}
