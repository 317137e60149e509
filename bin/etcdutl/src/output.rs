//! Answers, shown in the formats of the reference.

use crate::hash_kv::HashKv;
use crate::status::Status;
use cli::exit::Exit;
use cli::fields::Fields;
use cli::output::{Format, print};
use cli::table::Table;
use cli::{go, json};
use serde_json::{Value, json};

/// An answer.
pub(crate) trait Show {
    /// One field a line.
    fn fields(&self, fields: &mut Fields);
    /// One line of JSON.
    fn json(&self) -> Value;
    /// Rows and columns; people get the rows without the box.
    fn table(&self) -> Table;
}

/// Shows an answer.
///
/// # Errors
/// The format cannot show it, or standard output takes no more.
pub(crate) fn show(format: Format, answer: &impl Show) -> Result<(), Exit> {
    match format {
        Format::Simple => print(answer.table().lines()),
        Format::Fields => {
            let mut fields = Fields::new(false);
            answer.fields(&mut fields);
            print(fields.text())
        }
        Format::Json => print(json::line(&answer.json())),
        Format::Table => print(answer.table().text()),
        Format::Protobuf | Format::Unknown => Err(format.unsupported()),
    }
}

impl Show for Status {
    fn fields(&self, fields: &mut Fields) {
        fields.add("Hash", self.hash);
        fields.add("Revision", self.revision);
        fields.add("Keys", self.total_keys);
        fields.add("Size", self.total_bytes);
        fields.add("Version", &self.version);
    }

    fn json(&self) -> Value {
        json!({
            "hash": self.hash,
            "revision": self.revision,
            "totalKey": self.total_keys,
            "totalSize": self.total_bytes,
            "version": self.version,
        })
    }

    fn table(&self) -> Table {
        let row = vec![
            format!("{:x}", self.hash),
            self.revision.to_string(),
            self.total_keys.to_string(),
            go::bytes(self.total_bytes),
            self.version.clone(),
        ];
        let header = vec!["hash", "revision", "total keys", "total size", "version"];
        Table { header, rows: vec![row] }
    }
}

impl Show for HashKv {
    fn fields(&self, fields: &mut Fields) {
        fields.add("Hash", self.hash);
        fields.add("Hash revision", self.hash_revision);
        fields.add("Compact revision", self.compact_revision);
    }

    fn json(&self) -> Value {
        json!({
            "hash": self.hash,
            "hashRevision": self.hash_revision,
            "compactRevision": self.compact_revision,
        })
    }

    fn table(&self) -> Table {
        let row = [i64::from(self.hash), self.hash_revision, self.compact_revision];
        let header = vec!["hash", "hash revision", "compact revision"];
        Table { header, rows: vec![row.map(|cell| cell.to_string()).to_vec()] }
    }
}
