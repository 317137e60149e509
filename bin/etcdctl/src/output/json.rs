//! Messages as the reference's JSON: fields by their protobuf names, in their order, without those
//! that are zero; bytes in base64, enumerations as numbers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, Value as Field};
use serde_json::{Map, Value};
use std::sync::LazyLock;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).expect("the build made these descriptors")
});

/// A message as an object.
pub(super) fn message<M: Message + Name>(message: &M) -> Value {
    let descriptor = POOL.get_message_by_name(&M::full_name()).expect("every message is described");
    let bytes = message.encode_to_vec();
    let message = DynamicMessage::decode(descriptor, bytes.as_slice())
        .expect("what was just encoded can be decoded");
    Value::Object(object(&message))
}

fn object(message: &DynamicMessage) -> Map<String, Value> {
    let descriptor = message.descriptor();
    let mut object = Map::new();
    for field in descriptor.fields().filter(|field| message.has_field(field)) {
        // The members of a choice lie in an object of their own (a Go interface).
        let target = match field.containing_oneof() {
            None => &mut object,
            Some(choice) => nested(&mut object, &pascal(choice.name())),
        };
        let name = field.name().to_owned();
        target.insert(name, value(&message.get_field(&field)));
    }
    object
}

fn nested<'a>(object: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let entry = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
    entry.as_object_mut().expect("it was made as an object")
}

fn pascal(name: &str) -> String {
    let upper = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').filter(|word| !word.is_empty()).map(upper).collect()
}

fn value(field: &Field) -> Value {
    match field {
        Field::Bool(value) => Value::from(*value),
        Field::I32(value) | Field::EnumNumber(value) => Value::from(*value),
        Field::I64(value) => Value::from(*value),
        Field::U32(value) => Value::from(*value),
        Field::U64(value) => Value::from(*value),
        Field::F32(value) => Value::from(*value),
        Field::F64(value) => Value::from(*value),
        Field::String(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => base64(bytes),
        Field::Message(message) => Value::Object(object(message)),
        Field::List(values) => values.iter().map(value).collect(),
        Field::Map(_) => unreachable!("etcd's messages have no maps"),
    }
}

/// Bytes in base64.
pub(super) fn base64(bytes: &[u8]) -> Value {
    Value::from(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cli::json::line;
    use proto::etcdserverpb::{RangeResponse, ResponseOp, TxnResponse, response_op::Response};
    use proto::mvccpb::KeyValue;

    #[test]
    fn messages_look_as_in_go() {
        let kv = KeyValue { key: "<a".into(), version: 1, ..KeyValue::default() };
        let range = RangeResponse { kvs: vec![kv], count: 1, ..RangeResponse::default() };
        let op = ResponseOp { response: Some(Response::ResponseRange(range)) };
        let txn = TxnResponse { responses: vec![op], ..TxnResponse::default() };
        let text = r#"{"responses":[{"Response":{"response_range":{"kvs":[{"key":"PGE=","version":1}],"count":1}}}]}"#;
        assert_eq!(line(&message(&txn)), format!("{text}\n"));
    }
}
