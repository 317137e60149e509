//! How a command ends.

use std::io::Write;
use std::process::ExitCode;

/// A command's end, other than success: the text after `Error:` and the exit code, both etcd's.
#[derive(Debug)]
pub struct Exit {
    code: u8,
    message: Option<String>,
    usage: Option<String>,
}

impl Exit {
    fn new(code: u8, message: impl ToString) -> Exit {
        Exit { code, message: Some(message.to_string()), usage: None }
    }

    /// Something failed.
    pub fn error(message: impl ToString) -> Exit {
        Exit::new(1, message)
    }

    /// The server could not be talked to.
    pub fn connection(message: impl ToString) -> Exit {
        Exit::new(2, message)
    }

    /// A line of a transaction or a watch cannot be read.
    pub fn input(message: impl ToString) -> Exit {
        Exit::new(3, message)
    }

    /// A flag has a value that it cannot have.
    pub fn feature(message: impl ToString) -> Exit {
        Exit::new(4, message)
    }

    /// What was under way ended too early.
    pub fn interrupted(message: impl ToString) -> Exit {
        Exit::new(5, message)
    }

    /// The arguments are wrong.
    pub fn args(message: impl ToString) -> Exit {
        Exit::new(128, message)
    }

    /// Failed, and everything has been said.
    pub fn silent() -> Exit {
        Exit { code: 1, message: None, usage: None }
    }

    /// A flag or command that is not there; the usage follows.
    pub fn usage(message: impl ToString, usage: String) -> Exit {
        Exit { usage: Some(usage), ..Exit::error(message) }
    }

    /// The text, for commands within commands.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    /// Says what there is to say.
    pub fn leave(self) -> ExitCode {
        let mut err = std::io::stderr();
        if let Some(message) = self.message {
            // Nobody is left to hear that this failed.
            let _ = writeln!(err, "Error: {message}");
        }
        if let Some(usage) = self.usage {
            let _ = writeln!(err, "{usage}");
        }
        ExitCode::from(self.code)
    }
}

/// Every error ends a command with its text.
impl<E: std::error::Error> From<E> for Exit {
    fn from(error: E) -> Exit {
        Exit::error(error)
    }
}
