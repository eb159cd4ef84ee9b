//! Everything that opens encrypted files in a run.

use super::{Error, Identities, Secret, agefile, vault};

/// The operator's age identities and vault passwords.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    pub age: Identities,
    pub vault: vault::Passwords,
}

/// The content of a file that may have been encrypted.
#[derive(Debug)]
pub enum Opened {
    Plain,
    /// It was encrypted: everything in it is Secret.
    Secret(Secret),
}

impl Keys {
    /// Opens the bytes of a vars file, template or any other file: an age file (binary, or text
    /// that is an armored age file), an ansible-vault file, or neither.
    ///
    /// # Errors
    /// It is encrypted and no key fits, or it is damaged.
    pub fn open(&self, bytes: &[u8]) -> Result<Opened, Error> {
        if agefile::is_age_file(bytes) {
            return agefile::decrypt(bytes, &self.age).map(Opened::Secret);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if vault::is_vault(bytes) => {
                vault::decrypt(text, &self.vault).map(|opened| Opened::Secret(opened.plaintext))
            }
            _ => Ok(Opened::Plain),
        }
    }

    /// Opens the text of a `!vault` scalar: an ansible-vault text or an armored age file.
    ///
    /// # Errors
    /// As [`open`](Keys::open); also what is neither.
    pub fn open_text(&self, envelope: &str) -> Result<Secret, Error> {
        match self.open(envelope.trim().as_bytes())? {
            Opened::Secret(secret) => Ok(secret),
            Opened::Plain => {
                Err(Error::damaged("it is neither an ansible-vault text nor an armored age file"))
            }
        }
    }
}
