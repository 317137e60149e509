//! No message shows a password or a token by `{:?}`, whatever its field is called next year.
#![allow(clippy::unwrap_used)]

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use proto::etcdserverpb::{AuthenticateRequest, InternalRaftRequest};
use proto::{authpb, etcdserverpb};
use std::fmt::Debug;

/// Parts of the names of fields that are secrets.
const SECRET: [&str; 2] = ["password", "token"];
const VALUE: &str = "s3cret";

fn shown<M: Message + Default + Debug>(bytes: &[u8]) -> String {
    format!("{:?}", M::decode(bytes).unwrap())
}

type Shown = fn(&[u8]) -> String;

const MESSAGES: &[(&str, Shown)] = &[
    ("authpb.User", shown::<authpb::User>),
    ("etcdserverpb.AuthUserAddRequest", shown::<etcdserverpb::AuthUserAddRequest>),
    (
        "etcdserverpb.AuthUserChangePasswordRequest",
        shown::<etcdserverpb::AuthUserChangePasswordRequest>,
    ),
    ("etcdserverpb.AuthenticateRequest", shown::<AuthenticateRequest>),
    ("etcdserverpb.AuthenticateResponse", shown::<etcdserverpb::AuthenticateResponse>),
    (
        "etcdserverpb.InternalAuthenticateRequest",
        shown::<etcdserverpb::InternalAuthenticateRequest>,
    ),
];

/// The numbers of the fields that are secrets.
fn secrets(message: &DescriptorProto) -> Vec<u32> {
    let is_text = |kind: Type| matches!(kind, Type::String | Type::Bytes);
    let fields = message.field.iter().filter(|field| is_text(field.r#type()));
    let names = fields.filter(|field| {
        let name = field.name().to_lowercase();
        SECRET.iter().any(|secret| name.contains(secret))
    });
    names.map(|field| field.number().cast_unsigned()).collect()
}

#[test]
fn every_message_with_a_secret_hides_it() {
    let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut found = 0;
    for file in &set.file {
        for message in &file.message_type {
            let numbers = secrets(message);
            if numbers.is_empty() {
                continue;
            }
            found += 1;
            let name = format!("{}.{}", file.package(), message.name());
            let known = MESSAGES.iter().find(|(known, _)| *known == name);
            let (_, shown) = known.unwrap_or_else(|| panic!("{name} holds secrets, see build.rs"));
            let mut bytes = Vec::new();
            for number in numbers {
                encode_key(number, WireType::LengthDelimited, &mut bytes);
                encode_varint(VALUE.len() as u64, &mut bytes);
                bytes.extend(VALUE.bytes());
            }
            let shown = shown(&bytes);
            assert!(!shown.contains(VALUE) && shown.contains("[secret]"), "{shown}");
        }
    }
    assert_eq!(found, MESSAGES.len());
}

#[test]
fn messages_within_others_hide_it_too() {
    let authenticate = etcdserverpb::InternalAuthenticateRequest {
        name: "root".into(),
        password: VALUE.into(),
        simple_token: VALUE.into(),
    };
    let entry =
        InternalRaftRequest { authenticate: Some(authenticate), ..InternalRaftRequest::default() };
    let shown = format!("{entry:?}");
    assert!(shown.contains("root") && !shown.contains(VALUE), "{shown}");
    let none = format!("{:?}", AuthenticateRequest::default());
    assert_eq!(none, "AuthenticateRequest { name: \"\", password: \"\" }");
}
