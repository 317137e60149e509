//! Why a call failed.

use std::fmt;
use tonic::Status;

pub use tonic::Code;

/// etcd's own errors begin so; they are shown without gRPC's frame.
const ETCD_PREFIX: &str = "etcdserver: ";

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// The server, or the way to it, said so.
    Status(Box<Status>),
    /// The deadline passed.
    DeadlineExceeded,
    /// The client cannot be made from what it was told.
    Config(String),
    /// A snapshot did not arrive whole; what is wrong with it.
    Snapshot(String),
}

impl Error {
    /// The gRPC code, where there is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Status(status) => Some(status.code()),
            Error::DeadlineExceeded => Some(Code::DeadlineExceeded),
            Error::Config(_) | Error::Snapshot(_) => None,
        }
    }

    /// The server's text, without gRPC's frame.
    pub fn message(&self) -> &str {
        match self {
            Error::Status(status) => status.message(),
            Error::DeadlineExceeded => "context deadline exceeded",
            Error::Config(text) | Error::Snapshot(text) => text,
        }
    }

    /// As gRPC in Go prints a status; what logs carry.
    pub fn framed(&self) -> String {
        match self.code() {
            Some(code) => frame(code, self.message()),
            None => self.message().to_owned(),
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        Error::Status(Box::new(status))
    }
}

impl fmt::Display for Error {
    /// As etcd's Go client prints the same error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Status(status) if !status.message().starts_with(ETCD_PREFIX) => {
                f.write_str(&frame(status.code(), status.message()))
            }
            _ => f.write_str(self.message()),
        }
    }
}

impl std::error::Error for Error {}

fn frame(code: Code, message: &str) -> String {
    let name = match code {
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    };
    format!("rpc error: code = {name} desc = {message}")
}
