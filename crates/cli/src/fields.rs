//! One field a line: `"Name" : value`.

use crate::go;
use std::fmt::Display;

/// The lines written so far.
pub struct Fields {
    hex: bool,
    text: String,
}

impl Fields {
    /// None yet; identifiers in hexadecimal, or not.
    pub fn new(hex: bool) -> Fields {
        Fields { hex, text: String::new() }
    }

    /// All of them.
    pub fn text(self) -> String {
        self.text
    }

    /// A value as it prints itself.
    pub fn add(&mut self, name: &str, value: impl Display) {
        self.text.push_str(&format!("\"{name}\" : {value}\n"));
    }

    /// A quoted value.
    pub fn quoted(&mut self, name: &str, value: &[u8]) {
        self.add(name, go::quote(value));
    }

    /// A member's or cluster's id.
    pub fn id(&mut self, name: &str, id: u64) {
        if self.hex {
            self.add(name, format_args!("{id:x}"));
        } else {
            self.add(name, id);
        }
    }

    /// A lease's id.
    pub fn lease(&mut self, name: &str, id: i64) {
        if self.hex {
            self.add(name, format_args!("{id:016x}"));
        } else {
            self.add(name, id);
        }
    }

    /// The end of a group.
    pub fn blank(&mut self) {
        self.text.push('\n');
    }
}
