//! What can be wrong with settings and files.

use std::ffi::OsStr;

/// What is wrong with settings or files; the text says it all, in the words of etcd where it has any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Error {
    pub(crate) fn new(text: impl Into<String>) -> Error {
        Error(text.into())
    }

    /// A file that cannot be read, as Go says it.
    pub(crate) fn file(path: &OsStr, error: &std::io::Error) -> Error {
        let path = path.display();
        if error.kind() == std::io::ErrorKind::IsADirectory {
            return Error(format!("read {path}: is a directory"));
        }
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        Error(format!("open {path}: {reason}"))
    }
}
