//! The members a cluster begins with, as `--initial-cluster` names them.

use crate::{Member, cluster_id, member_id};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// What is wrong with the list.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// An element is not `name=url`.
    #[error("{0:?} is not of the form name=url")]
    NotAPair(String),
    /// Nothing is listed.
    #[error("the list of members is empty")]
    Empty,
}

/// Names with their peer URLs, and the identities that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    /// Every member, with its name, by its id.
    pub members: Vec<Member>,
    /// The cluster's id.
    pub cluster_id: u64,
}

impl InitialCluster {
    /// Reads `name=url,name=url`; a name may come again with another URL.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(list: &str, token: &str) -> Result<InitialCluster, ParseError> {
        let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, url) =
                pair.split_once('=').ok_or_else(|| ParseError::NotAPair(pair.into()))?;
            if name.is_empty() || url.is_empty() {
                return Err(ParseError::NotAPair(pair.into()));
            }
            by_name.entry(name).or_default().push(url.into());
        }
        if by_name.is_empty() {
            return Err(ParseError::Empty);
        }
        let named = by_name.into_iter().map(|(name, peer_urls)| (name.to_owned(), peer_urls));
        Ok(InitialCluster::new(named, token))
    }

    /// The members of these names and peer URLs.
    pub fn new(
        named: impl IntoIterator<Item = (String, Vec<String>)>,
        token: &str,
    ) -> InitialCluster {
        let mut members: Vec<Member> = Vec::new();
        for (name, mut peer_urls) in named {
            peer_urls.sort();
            let id = member_id(&peer_urls, token, None);
            members.push(Member { id, name, peer_urls, ..Member::default() });
        }
        members.sort_by_key(|member| member.id);
        let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        InitialCluster { cluster_id: cluster_id(&ids), members }
    }

    /// Whether a URL is listed twice: such a cluster must not begin.
    pub fn has_duplicate_url(&self) -> bool {
        let mut seen = std::collections::BTreeSet::new();
        !self.members.iter().flat_map(|member| &member.peer_urls).all(|url| seen.insert(url))
    }

    /// The member of a name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }
}

/// As [`InitialCluster::parse`] reads it, in order.
impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.members.iter().flat_map(|member| {
            member.peer_urls.iter().map(move |url| format!("{}={url}", member.name))
        });
        let mut pairs: Vec<String> = pairs.collect();
        pairs.sort();
        f.write_str(&pairs.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_checked() {
        let read = |list| InitialCluster::parse(list, "t");
        let two = read("a=http://h:1,b=http://h:2,a=http://h:0").unwrap();
        assert_eq!(two.named("a").unwrap().peer_urls, ["http://h:0", "http://h:1"]);
        assert_eq!(two.members.len(), 2);
        assert_eq!(read(""), Err(ParseError::Empty));
        assert_eq!(read("a"), Err(ParseError::NotAPair("a".into())));
        assert!(read("a=u,b=u").unwrap().has_duplicate_url() && !two.has_duplicate_url());
        assert_eq!(two.to_string(), "a=http://h:0,a=http://h:1,b=http://h:2");
    }
}
