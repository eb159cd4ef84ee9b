//! Why something about secrets did not work. Never holds a secret.

use std::fmt;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No identity or password that we have opens it.
    NoKey,
    /// It isn't whole: cut, changed, or not in the format that it claims.
    Damaged,
    /// The request itself is refused (too short, no recipients, unchanged password).
    Refused,
    /// A file or program could not be used.
    Io,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    /// What to type or check next.
    pub help: Option<String>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), help: None }
    }

    pub fn no_key(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NoKey, message)
    }

    pub fn damaged(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Damaged, message)
    }

    pub fn refused(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Refused, message)
    }

    /// `what` is a verb: "read", "write".
    pub fn io(what: &str, path: &Path, e: &std::io::Error) -> Error {
        let reason = match e.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_string(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_string(),
            std::io::ErrorKind::IsADirectory => "it is a directory".to_string(),
            _ => e.to_string(),
        };
        Error::new(ErrorKind::Io, format!("could not {what} {}: {reason}", path.display()))
    }

    pub fn help(mut self, help: impl Into<String>) -> Error {
        self.help = Some(help.into());
        self
    }

    /// The same, about the file at `path`.
    pub fn about(mut self, path: &Path) -> Error {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Error {}
