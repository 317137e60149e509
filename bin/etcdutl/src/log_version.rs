//! The lowest version of etcd that can read what a restart would apply again.
//!
//! The definitions of the messages say since when each message, field and value of an enumeration
//! exists; the highest of those that an entry uses counts. As in the reference, only what entries
//! hold directly or nested one in another is looked at, not what lies in repeated fields.
//!
//! Reference: `server/storage/wal/version.go`.

use disk::Disk;
use membership::Version;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, Kind, ReflectMessage,
    Value,
};
use proto::etcdserverpb::InternalRaftRequest;
use proto::raftpb::{Entry, EntryType};
use std::path::Path;

/// Changes of membership can be read since then, by their form.
const CONF_CHANGE: Version = Version { major: 3, minor: 0, patch: 0 };
const CONF_CHANGE_V2: Version = Version { major: 3, minor: 4, patch: 0 };

/// The version that the entries after the log's last snapshot need; none where nothing says.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn lowest(disk: &dyn Disk, wal_dir: &Path) -> Result<Option<Version>, String> {
    let snapshots = wal::valid_snapshots(disk, wal_dir)
        .map_err(|fault| format!("failed to get the lastest snapshot: {fault}"))?;
    let newest = snapshots.last().cloned().unwrap_or_default();
    let found = wal::read(disk, wal_dir, &newest)
        .map_err(|fault| format!("failed to read wal: {fault}"))?;
    let versions = Versions::new();
    let mut highest = None;
    for entry in &found.entries {
        let needed = versions.of_entry(entry);
        let needed = needed.map_err(|why| {
            format!("failed to read wal: entry {} is malformed: {why}", entry.index())
        })?;
        highest = highest.max(needed);
    }
    Ok(highest)
}

/// What the definitions say.
struct Versions {
    pool: DescriptorPool,
    message: ExtensionDescriptor,
    field: ExtensionDescriptor,
    enumeration: ExtensionDescriptor,
    enum_value: ExtensionDescriptor,
}

impl Versions {
    fn new() -> Versions {
        let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET)
            .expect("the build made these descriptors");
        let option = |name: &str| {
            let name = format!("versionpb.etcd_version_{name}");
            pool.get_extension_by_name(&name).expect("the options are among the descriptors")
        };
        Versions {
            message: option("msg"),
            field: option("field"),
            enumeration: option("enum"),
            enum_value: option("enum_value"),
            pool,
        }
    }

    fn of_entry(&self, entry: &Entry) -> Result<Option<Version>, String> {
        let data = entry.data.clone().unwrap_or_default();
        match EntryType::try_from(entry.r#type.unwrap_or_default()) {
            Ok(EntryType::EntryNormal) => self.of_request(&data),
            Ok(EntryType::EntryConfChange) => Ok(Some(CONF_CHANGE)),
            Ok(EntryType::EntryConfChangeV2) => Ok(Some(CONF_CHANGE_V2)),
            Err(_) => Err("it is of an unknown type".into()),
        }
    }

    fn of_request(&self, data: &[u8]) -> Result<Option<Version>, String> {
        let request = InternalRaftRequest::decode(data).map_err(|error| error.to_string())?;
        let tested = match &request.downgrade_version_test {
            Some(test) => Some(Version::parse(&test.ver).ok_or("it tests no version")?),
            None => None,
        };
        let name = "etcdserverpb.InternalRaftRequest";
        let descriptor = self.pool.get_message_by_name(name).expect("every message is described");
        let message =
            DynamicMessage::decode(descriptor, data).map_err(|error| error.to_string())?;
        Ok(self.of_message(&message).max(tested))
    }

    fn of_message(&self, message: &DynamicMessage) -> Option<Version> {
        let descriptor = message.descriptor();
        let mut highest = said(&descriptor.options(), &self.message);
        for (field, value) in message.fields() {
            highest = highest.max(said(&field.options(), &self.field));
            highest = highest.max(match (value, field.kind()) {
                (Value::Message(nested), _) => self.of_message(nested),
                (Value::EnumNumber(number), Kind::Enum(kind)) => self.of_value(&kind, *number),
                _ => None,
            });
        }
        highest
    }

    fn of_value(&self, kind: &EnumDescriptor, number: i32) -> Option<Version> {
        let value = kind.get_value(number);
        let value = value.and_then(|value| said(&value.options(), &self.enum_value));
        said(&kind.options(), &self.enumeration).max(value)
    }
}

/// The version in an option; `3.5` is short for `3.5.0`.
fn said(options: &DynamicMessage, option: &ExtensionDescriptor) -> Option<Version> {
    if !options.has_extension(option) {
        return None;
    }
    let value = options.get_extension(option);
    let text = value.as_str()?;
    Version::parse(text).or_else(|| Version::parse(&format!("{text}.0")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::etcdserverpb::{
        DowngradeVersionTestRequest, LeaseCheckpointRequest, PutRequest, RangeRequest,
    };
    use proto::membershippb::ClusterVersionSetRequest;

    fn needed(request: InternalRaftRequest) -> Option<String> {
        let data = Some(request.encode_to_vec().into());
        let entry = Entry { data, ..Entry::default() };
        Versions::new().of_entry(&entry).unwrap().map(|version| version.to_string())
    }

    #[test]
    fn the_highest_version_that_an_entry_uses_counts() {
        let request = InternalRaftRequest::default;
        let put = PutRequest { key: "k".into(), ..PutRequest::default() };
        let ignoring = PutRequest { ignore_value: true, ..put.clone() };
        let put = InternalRaftRequest { put: Some(put), ..request() };
        assert_eq!(needed(put), None, "what has always been there says nothing");
        let put = InternalRaftRequest { put: Some(ignoring), ..request() };
        assert_eq!(needed(put).as_deref(), Some("3.2.0"));
        let range = RangeRequest { min_mod_revision: 1, ..RangeRequest::default() };
        let range = InternalRaftRequest { range: Some(range), ..request() };
        assert_eq!(needed(range).as_deref(), Some("3.1.0"));
        let checkpoint = Some(LeaseCheckpointRequest::default());
        let checkpoint = InternalRaftRequest { lease_checkpoint: checkpoint, ..request() };
        assert_eq!(needed(checkpoint).as_deref(), Some("3.4.0"));
        let version = Some(ClusterVersionSetRequest::default());
        let version = InternalRaftRequest { cluster_version_set: version, ..request() };
        assert_eq!(needed(version).as_deref(), Some("3.5.0"));
        let test = DowngradeVersionTestRequest { ver: "3.9.1".into() };
        let test = InternalRaftRequest { downgrade_version_test: Some(test), ..request() };
        assert_eq!(needed(test).as_deref(), Some("3.9.1"));
    }

    #[test]
    fn changes_of_membership_are_old() {
        let of = |kind: EntryType| Entry { r#type: Some(kind as i32), ..Entry::default() };
        let versions = Versions::new();
        assert_eq!(versions.of_entry(&of(EntryType::EntryConfChange)), Ok(Some(CONF_CHANGE)));
        assert_eq!(versions.of_entry(&of(EntryType::EntryConfChangeV2)), Ok(Some(CONF_CHANGE_V2)));
        let unknown = Entry { r#type: Some(9), ..Entry::default() };
        assert!(versions.of_entry(&unknown).is_err());
    }
}
