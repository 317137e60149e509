//! Scripts of commands with their recorded output, for the tests of every room.
//!
//! A script is a text file of blocks, in the format of Go's `datadriven` library, so that a program
//! with that library can record what the reference prints for the same commands:
//!
//! ```text
//! # The purpose: what the script shows, and which rule or fault it holds.
//!
//! # A comment on the next command.
//! command word key=value key=(several, values)
//! input lines, where the command takes any
//! ----
//! the expected output, up to an empty line
//!
//! command
//! ----
//! ----
//! an output that contains empty lines stands between two pairs of separators
//!
//! ----
//! ----
//! ```
//!
//! A [`Suite`] runs every script of a directory. The test gives it a machine for each script: a
//! closure that takes a [`Directive`] and returns what the command prints. A test fails with a line
//! diff where the output differs, where a directory is missing, where it holds fewer scripts than
//! the test says, and where a script does not begin with its purpose.
//!
//! With `HOLDFAST_REWRITE=1` in the environment the outputs of [`Suite::own`] scripts are written
//! down as they are. Scripts that record the reference ([`Suite::recorded`]) are never rewritten here.
//!
//! The crate serves tests only: other crates name it under `dev-dependencies`.
#![allow(clippy::print_stdout)] // a test says what it ran and what it left out

mod diff;
mod directive;
mod parse;
mod suite;

pub use diff::diff;
pub use directive::{Arg, Directive};
pub use parse::{Script, ScriptError};
pub use suite::Suite;
