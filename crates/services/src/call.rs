//! A call with its context: who calls, from where, and until when.

use bytes::Bytes;
use net::rpc::CallHead;
use replica::turn::{Author, Time};
use std::net::SocketAddr;
use std::sync::Arc;

/// By which way a call came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// gRPC from outside.
    Grpc,
    /// The JSON gateway.
    Json,
    /// The program itself calls: locks, elections, the older API, tests.
    #[default]
    InProcess,
    /// A proxy, for a client of its own.
    Proxy,
}

/// Who calls, as far as it is known before anybody is asked who he is.
#[derive(Clone, Debug, Default)]
pub struct Who {
    /// From where.
    pub address: Option<SocketAddr>,
    /// The common name in the certificate that was shown, if one had to be.
    pub common_name: Option<Arc<str>>,
    /// The token of authentication.
    pub token: Option<Bytes>,
}

/// The context of a call, which goes with it to every handler, waiter, read and watch.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Who calls.
    pub who: Who,
    /// By which way.
    pub origin: Origin,
    /// When nobody waits for the answer any more; `None` for a call without a limit.
    pub deadline: Option<Time>,
    /// Which trace the call is part of, as the W3C's `traceparent` says it.
    pub trace_parent: Option<Bytes>,
    /// The version of the API that the client speaks.
    pub api_version: Option<Bytes>,
    /// Whether the client would rather be refused than served by a member without a leader.
    pub requires_leader: bool,
}

impl Call {
    /// The context of a gRPC call that came in now.
    pub fn from_head(head: &CallHead, now: Time) -> Call {
        let mut call = Call {
            who: Who { address: head.peer, common_name: head.common_name.clone(), token: None },
            origin: Origin::Grpc,
            deadline: head.timeout.map(|timeout| now.saturating_add(timeout)),
            trace_parent: None,
            api_version: None,
            requires_leader: false,
        };
        for (name, value) in head.metadata.iter() {
            // The first value counts, as in etcd.
            let field = match &name[..] {
                b"token" | b"authorization" => &mut call.who.token,
                b"traceparent" => &mut call.trace_parent,
                b"client-api-version" => &mut call.api_version,
                b"hasleader" => {
                    call.requires_leader |= value == "true";
                    continue;
                }
                _ => continue,
            };
            if field.is_none() {
                *field = Some(value.clone());
            }
        }
        call
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_over(&self, now: Time) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Who writes, as the log remembers it, and until when it may be proposed. Nobody has a name before
    /// there is authentication.
    pub fn author(&self) -> Author {
        Author { deadline: self.deadline, ..Author::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::rpc::Metadata;

    #[test]
    fn a_call_knows_what_its_head_says() {
        let mut metadata = Metadata::default();
        for (name, value) in [
            ("content-type", "application/grpc"),
            ("token", "first"),
            ("token", "second"),
            ("hasleader", "true"),
            ("traceparent", "00-1-2-01"),
            ("client-api-version", "3.7"),
        ] {
            metadata.push(name.into(), value.into());
        }
        let timeout = Some(Time::from_secs(2));
        let head = CallHead { metadata, timeout, ..CallHead::default() };
        let call = Call::from_head(&head, Time::from_secs(5));
        assert_eq!(call.who.token.as_deref(), Some(&b"first"[..]));
        assert_eq!(call.trace_parent.as_deref(), Some(&b"00-1-2-01"[..]));
        assert_eq!(call.api_version.as_deref(), Some(&b"3.7"[..]));
        assert!(call.requires_leader && call.origin == Origin::Grpc);
        assert!(!call.is_over(Time::from_millis(6999)) && call.is_over(Time::from_secs(7)));
        assert_eq!(call.author().deadline, Some(Time::from_secs(7)));
    }
}
