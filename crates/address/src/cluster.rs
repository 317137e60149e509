//! What is wrong with a list of first members (etcd's `server/config`).

use crate::{Error, Quoting, Url, Urls, UrlsByName, quote, same};
use std::collections::BTreeSet;

impl UrlsByName {
    /// Whether a new cluster may begin with these members: this one is among them, what it advertises
    /// is what the list says of it, and every URL is there once. For `resolve` see [`same`].
    ///
    /// # Errors
    /// It may not.
    pub fn check(
        &self,
        name: &str,
        advertised: &Urls,
        resolve: &dyn Fn(&Url) -> Result<Option<String>, String>,
    ) -> Result<(), Error> {
        let listed = self.check_name(name)?;
        if let Err(why) = same(&advertised.texts(), &listed.texts(), resolve) {
            return Err(Error::quoting(|quoting| {
                mismatch(name, advertised, listed, &why, quoting)
            }));
        }
        self.check_duplicates()
    }

    /// The URLs of the member of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn check_name(&self, name: &str) -> Result<&Urls, Error> {
        let name_quoted = || quote(name.as_bytes());
        let place = "in the initial cluster configuration";
        let none = || Error::new(format!("couldn't find local name {} {place}", name_quoted()));
        self.get(name).ok_or_else(none)
    }

    /// Whether every URL is there once.
    ///
    /// # Errors
    /// One is not.
    pub fn check_duplicates(&self) -> Result<(), Error> {
        match self.has_duplicate_url() {
            true => Err(Error::quoting(|quoting| {
                format!("initial cluster {} has duplicate url", quoting.plain(&self.to_string()))
            })),
            false => Ok(()),
        }
    }
}

fn mismatch(name: &str, advertised: &Urls, listed: &Urls, why: &Error, quoting: Quoting) -> String {
    let why = quoting.error(why);
    let missing_in = |all: &Urls, of: &Urls| -> Vec<String> {
        let all: BTreeSet<&Url> = all.iter().collect();
        let missing: BTreeSet<&Url> = of.iter().filter(|url| !all.contains(url)).collect();
        missing.into_iter().map(Url::to_string).collect()
    };
    let missing = missing_in(advertised, listed);
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(|url| format!("{name}={url}")).collect();
        let missing = quoting.plain(&missing.join(","));
        let advertised = quoting.plain(&advertised.to_string());
        return format!(
            "--initial-cluster has {missing} but missing from \
             --initial-advertise-peer-urls={advertised} ({why})"
        );
    }
    let own = quoting.plain(&UrlsByName::from((name, advertised.clone())).to_string());
    let missing = missing_in(listed, advertised);
    if !missing.is_empty() {
        let missing = quoting.plain(&missing.join(","));
        return format!(
            "--initial-advertise-peer-urls has {missing} but missing from --initial-cluster={own}"
        );
    }
    let advertised = quoting.plain(&advertised.to_string());
    format!("failed to resolve {advertised} to match --initial-cluster={own} ({why})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve;

    fn check(advertised: &str, cluster: &str) -> Result<(), String> {
        let none = |name: &str| Err(format!("lookup {name}: no such host"));
        let cluster = UrlsByName::parse(cluster).unwrap();
        let advertised = Urls::parse(advertised).unwrap();
        let checked = cluster.check("m", &advertised, &|url| resolve(url, &none));
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn a_member_must_advertise_what_the_cluster_lists() {
        for (advertised, cluster) in [
            ("http://1.1.1.1:2", "m=http://1.1.1.1:2,n=http://1.1.1.1:3"),
            ("http://[::1]:2", "m=http://[0::1]:2"),
            ("HTTP://x:2", "m=http://x:2"),
        ] {
            assert_eq!(check(advertised, cluster), Ok(()));
        }
    }

    #[test]
    fn refusals_show_no_password() {
        for (advertised, cluster) in [
            ("http://u:s3cret@1.1.1.1:2", "m=http://u:s3cret@1.1.1.1:3"),
            ("http://u:s3cret@1.1.1.1:2", "m=http://1.1.1.1:2,m=http://u:s3cret@1.1.1.1:2"),
            ("http://u:s3cret@1.1.1.1:2,http://1.1.1.1:3", "m=http://1.1.1.1:3"),
            ("http://1.1.1.1:2", "m=http://1.1.1.1:2,n=http://u:s3cret@a:3,n=http://u:s3cret@a:3"),
        ] {
            let refusal = check(advertised, cluster).unwrap_err();
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
    }

    #[test]
    fn refusals_have_the_words_of_etcd() {
        let refusals = [
            (
                "http://a:2",
                "n=http://a:2",
                "couldn't find local name \"m\" in the initial cluster configuration",
            ),
            (
                "http://1.1.1.1:2",
                "m=http://1.1.1.1:2,n=http://1.1.1.1:2",
                "initial cluster m=http://1.1.1.1:2,n=http://1.1.1.1:2 has duplicate url",
            ),
            (
                "http://1.1.1.1:2",
                "m=http://1.1.1.1:3",
                "--initial-cluster has m=http://1.1.1.1:3 but missing from \
                 --initial-advertise-peer-urls=http://1.1.1.1:2 (resolved urls: \
                 \"http://1.1.1.1:2\" != \"http://1.1.1.1:3\")",
            ),
            (
                "http://1.1.1.1:2,http://1.1.1.1:3",
                "m=http://1.1.1.1:3",
                "--initial-advertise-peer-urls has http://1.1.1.1:2 but missing from \
                 --initial-cluster=m=http://1.1.1.1:2,m=http://1.1.1.1:3",
            ),
            (
                "http://1.1.1.1:2",
                "m=http://1.1.1.1:2,m=http://1.1.1.1:2",
                "failed to resolve http://1.1.1.1:2 to match --initial-cluster=m=http://1.1.1.1:2 \
                 (len([\"http://1.1.1.1:2\"]) != len([\"http://1.1.1.1:2\" \"http://1.1.1.1:2\"]))",
            ),
        ];
        for (advertised, cluster, refusal) in refusals {
            assert_eq!(check(advertised, cluster).unwrap_err(), refusal);
        }
    }
}
