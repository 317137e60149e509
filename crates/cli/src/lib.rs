//! What command lines share: etcd's flag habits, exit codes, output formats, and Go's way of printing.
//!
//! Users compare what a program prints with what etcd's prints, byte for byte, so the habits of the
//! reference's libraries are kept here once: how flags are read and refused ([`args`]), how a
//! command ends ([`exit`]), what it must not show ([`secret`]), the five formats of an answer ([`output`]), how values look ([`go`]), and,
//! where it is asked for, how services are found (`dns`).

pub mod args;
#[cfg(feature = "dns")]
pub mod dns;
pub mod exit;
pub mod fields;
mod find;
pub mod go;
pub mod json;
pub mod number;
pub mod output;
pub mod secret;
pub mod signals;
pub mod table;
