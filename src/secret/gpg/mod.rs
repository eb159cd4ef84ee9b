//! GPG keys of the operator, through `gpg` itself: its keyring, its agent, its smart cards. The private
//! half stays where `gpg` has it.

mod decrypt;
mod keyring;
pub mod packets;

use std::io::Read;
use std::process::{Command, Stdio};

pub use keyring::PublicKey;

use self::decrypt::Decrypting;
use self::packets::KeyId;
use super::{Error, ErrorKind};

/// A key whose private half the operator's keyring has.
#[derive(Debug, Clone)]
pub struct Key {
    fingerprint: String,
    /// How archives name it: the ids of its keys that decrypt.
    ids: Vec<KeyId>,
}

impl Key {
    /// Looks it up in the operator's keyring (`$GNUPGHOME`, else `~/.gnupg`).
    ///
    /// # Errors
    /// It isn't there, its private half isn't, or `fingerprint` isn't a whole one.
    pub fn find(fingerprint: &str) -> Result<Key, Error> {
        let fingerprint = normalised(fingerprint)?;
        let listed = run(&["--with-colons", "--list-secret-keys", &fingerprint])?;
        let ids = if listed.0 { keyring::decrypting(&listed.1, &fingerprint) } else { Vec::new() };
        if ids.is_empty() {
            return Err(Error::no_key(format!(
                "no private GPG key {fingerprint} that decrypts is in the operator's keyring"
            ))
            .help("look with `gpg --list-secret-keys`; $GNUPGHOME names another keyring"));
        }
        Ok(Key { fingerprint, ids })
    }

    /// Of the whole key, in upper case.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether it is among the recipients of the message that begins with `head`.
    ///
    /// # Errors
    /// It is no encrypted message, or doesn't tell.
    pub fn opens(&self, head: &[u8]) -> Result<bool, Error> {
        Ok(packets::recipients(head)?.iter().any(|id| self.ids.contains(id)))
    }

    /// A reader of the plaintext, opened with this key and no other.
    ///
    /// # Errors
    /// It isn't among the recipients, or `gpg` can't be started.
    pub fn decrypt_stream(&self, ciphertext: impl Read + Send + 'static) -> Result<Decrypting, Error> {
        Decrypting::start(self, ciphertext)
    }
}

/// The public half of a key in the operator's keyring, armored, and what a listing of it says.
///
/// # Errors
/// It isn't there.
pub fn public_half(fingerprint: &str) -> Result<(String, PublicKey), Error> {
    let missing = || {
        Error::no_key(format!("no GPG key {fingerprint} is in the operator's keyring"))
            .help("look with `gpg --list-keys`; $GNUPGHOME names another keyring")
    };
    let listed = run(&["--with-colons", "--list-keys", fingerprint])?;
    let key = PublicKey::read(&listed.1, fingerprint).ok_or_else(missing)?;
    let (exported, armored) =
        run(&["--armor", "--export-options", "export-minimal", "--export", fingerprint])?;
    if !exported || armored.is_empty() {
        return Err(missing());
    }
    Ok((armored, key))
}

/// A whole fingerprint as `gpg` writes it. A shorter id, a name or an address can be another key's too.
///
/// # Errors
/// It is something else.
pub fn normalised(fingerprint: &str) -> Result<String, Error> {
    let digits: String = fingerprint.split_whitespace().collect();
    if [40, 64].contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(digits.to_uppercase());
    }
    Err(Error::refused(format!("{fingerprint:?} is not the whole fingerprint of a GPG key"))
        .help("it has 40 hexadecimal digits: `gpg --list-secret-keys --with-fingerprint`"))
}

/// `gpg` without a terminal: it asks nobody. (With `--quiet` it wouldn't say that a key is locked.)
fn gpg() -> Command {
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--no-tty", "--pinentry-mode", "error"]).env("LC_ALL", "C").stdin(Stdio::null());
    gpg
}

/// Whether it succeeded, and what it printed.
fn run(args: &[&str]) -> Result<(bool, String), Error> {
    let ran = gpg().args(args).output().map_err(not_started)?;
    Ok((ran.status.success(), String::from_utf8_lossy(&ran.stdout).into_owned()))
}

fn not_started(e: std::io::Error) -> Error {
    let reason = match e.kind() {
        std::io::ErrorKind::NotFound => "there is no such program".to_string(),
        _ => e.to_string(),
    };
    Error::new(ErrorKind::Io, format!("gpg can't be started on this machine: {reason}"))
}
