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
    /// The deadline passed; the call may or may not have been executed.
    DeadlineExceeded,
    /// No server could be asked, so the call was certainly not executed.
    Unreachable {
        /// What became of the last attempt to connect.
        why: String,
        /// Whether that lasted until the deadline of the call.
        has_deadline: bool,
    },
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
            Error::DeadlineExceeded | Error::Unreachable { has_deadline: true, .. } => {
                Some(Code::DeadlineExceeded)
            }
            Error::Unreachable { .. } => Some(Code::Unavailable),
            Error::Config(_) | Error::Snapshot(_) => None,
        }
    }

    /// The server's text, without gRPC's frame.
    pub fn message(&self) -> &str {
        match self {
            Error::Status(status) => status.message(),
            Error::DeadlineExceeded | Error::Unreachable { has_deadline: true, .. } => {
                "context deadline exceeded"
            }
            Error::Unreachable { why, .. } => why,
            Error::Config(text) | Error::Snapshot(text) => text,
        }
    }

    /// Whether the call was certainly not executed: it never left this machine, or a server refused it.
    /// Otherwise nobody knows.
    pub fn is_certainly_not_done(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Config(_) => true,
            Error::Status(status) => matches!(
                status.code(),
                Code::InvalidArgument
                    | Code::NotFound
                    | Code::AlreadyExists
                    | Code::PermissionDenied
                    | Code::Unauthenticated
                    | Code::FailedPrecondition
                    | Code::OutOfRange
                    | Code::Unimplemented
            ),
            Error::DeadlineExceeded | Error::Snapshot(_) => false,
        }
    }

    /// Why no server could be asked, if that is what failed.
    pub fn unreachable(&self) -> Option<&str> {
        match self {
            Error::Unreachable { why, .. } => Some(why),
            _ => None,
        }
    }

    /// As gRPC in Go prints a status; what logs carry.
    pub fn framed(&self) -> String {
        match (self, self.code()) {
            (Error::Unreachable { why, .. }, Some(code)) => {
                frame(code, &format!("latest balancer error: {why}"))
            }
            (_, Some(code)) => frame(code, self.message()),
            (_, None) => self.message().to_owned(),
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
            Error::Unreachable { why, has_deadline: false } => {
                f.write_str(&frame(Code::Unavailable, why))
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
