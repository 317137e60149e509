//! A member, and its JSON.

use proto::etcdserverpb;
use serde::{Deserialize, Serialize};

/// A member as the `members` table stores it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where other members reach it.
    #[serde(rename = "peerURLs", default, deserialize_with = "null_is_empty")]
    pub peer_urls: Vec<String>,
    /// Whether it has no vote yet.
    #[serde(rename = "isLearner", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_learner: bool,
    /// Its name; empty until it has started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where clients reach it; empty until it has started.
    #[serde(
        rename = "clientURLs",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub client_urls: Vec<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(json)?.unwrap_or_default())
}

impl Member {
    /// The bytes that are stored.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data always becomes JSON")
    }
}

impl From<&Member> for etcdserverpb::Member {
    fn from(member: &Member) -> etcdserverpb::Member {
        etcdserverpb::Member {
            id: member.id,
            name: member.name.clone(),
            peer_ur_ls: member.peer_urls.clone(),
            client_ur_ls: member.client_urls.clone(),
            is_learner: member.is_learner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_that_of_etcd() {
        let mut member =
            Member { id: 5, peer_urls: vec!["http://a:1".into()], ..Member::default() };
        assert_eq!(member.to_json(), br#"{"id":5,"peerURLs":["http://a:1"]}"#);
        member.is_learner = true;
        member.name = "n".into();
        member.client_urls = vec!["http://a:2".into()];
        let json = member.to_json();
        assert_eq!(
            json,
            br#"{"id":5,"peerURLs":["http://a:1"],"isLearner":true,"name":"n","clientURLs":["http://a:2"]}"#
        );
        assert_eq!(serde_json::from_slice::<Member>(&json).unwrap(), member);
        let sparse: Member = serde_json::from_str(r#"{"id":1,"peerURLs":null,"x":2}"#).unwrap();
        assert!(sparse.peer_urls.is_empty());
    }
}
