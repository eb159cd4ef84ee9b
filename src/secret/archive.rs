//! The operator's private keys that open archives of hosts, age identities or a GPG key. They never
//! leave this machine.

use std::io::Read;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Error, Identities, agefile, gpg};

/// More than any header has; what is read ahead to see which keys open an archive.
pub const HEADER_MAX: u64 = 64 * 1024;

/// What an archive is encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Age,
    Gpg,
}

/// Where a key is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum KeyAt {
    /// Identity files.
    Age(Vec<PathBuf>),
    /// The fingerprint of a key in the keyring.
    Gpg(String),
}

/// A key that can be used.
#[derive(Debug, Clone)]
pub enum Key {
    Age(Identities),
    Gpg(gpg::Key),
}

impl Key {
    /// # Errors
    /// It isn't there, or is something else than a key.
    pub fn load(at: &KeyAt) -> Result<Key, Error> {
        match at {
            KeyAt::Age(files) => Identities::load(files, None).map(Key::Age),
            KeyAt::Gpg(fingerprint) => gpg::Key::find(fingerprint).map(Key::Gpg),
        }
    }

    /// What archives are encrypted to so that it opens them: public keys of age, the fingerprint of a
    /// GPG key.
    pub fn recipients(&self) -> Vec<String> {
        match self {
            Key::Age(identities) => identities.recipients(),
            Key::Gpg(key) => vec![key.fingerprint().to_string()],
        }
    }

    /// Whether it opens the archive that begins with `head`. No more of it than [`HEADER_MAX`] is
    /// needed.
    ///
    /// # Errors
    /// It is no archive of the key's kind, or its header is damaged.
    pub fn opens(&self, head: &[u8]) -> Result<bool, Error> {
        match self {
            Key::Age(identities) => agefile::opens(head, identities),
            Key::Gpg(key) => key.opens(head),
        }
    }

    /// For how many recipients the archive that begins with `head` is.
    ///
    /// # Errors
    /// As [`opens`](Key::opens).
    pub fn recipient_count(&self, head: &[u8]) -> Result<usize, Error> {
        match self {
            Key::Age(_) => Ok(agefile::recipient_count(head)),
            Key::Gpg(_) => gpg::packets::recipients(head).map(|ids| ids.len()),
        }
    }

    /// A reader of the plaintext, in constant memory. Only a read to the end (`Ok(0)`) shows that it
    /// is whole; [`read_error`] tells what an error from it means.
    ///
    /// # Errors
    /// The key doesn't fit, or the header is damaged.
    pub fn decrypt_stream(&self, ciphertext: impl Read + Send + 'static) -> Result<Box<dyn Read>, Error> {
        match self {
            Key::Age(identities) => agefile::decrypt_stream(ciphertext, identities),
            Key::Gpg(key) => Ok(Box::new(key.decrypt_stream(ciphertext)?)),
        }
    }
}

/// An error while reading the plaintext: damage, or the source's own.
pub fn read_error(e: std::io::Error) -> Error {
    match e.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(own) => own.clone(),
        None => agefile::read_error(e),
    }
}
