//! Values that must never be seen: their storage, the one output filter that knows them all, where
//! they come from (generated, age files, ansible-vault files) and what Postgres stores of them.

pub mod agefile;
pub mod archive;
pub mod command;
mod common;
pub mod edit;
pub mod error;
pub mod files;
pub mod forms;
pub mod generate;
pub mod gpg;
pub mod harden;
pub mod identities;
#[cfg(test)]
mod interop;
pub mod keys;
pub mod names;
mod needles;
pub mod pieces;
#[cfg(test)]
mod properties;
pub mod recipients;
pub mod redactor;
pub mod scram;
pub mod source;
pub mod stream;
pub mod value;
pub mod vault;

pub use error::{Error, ErrorKind};
pub use generate::generate;
pub use harden::harden_process;
pub use identities::{AskPassphrase, Identities};
pub use keys::{Keys, Opened};
pub use redactor::{MASK, Redactor, Registered};
pub use stream::RedactingWriter;
pub use value::Secret;
