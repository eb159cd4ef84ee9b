//! What a journal keeps of secrets: encrypted to a key of the run, which is encrypted to the
//! operator's recipients.
//!
//! The key of a run is an age identity of its own. A passphrase or a hardware key is so asked for
//! once, not for each value, and `age` itself can open everything: first the key, then with it the
//! values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::agefile::{self, Format};
use crate::secret::recipients::Recipients;
use crate::secret::{Error, Identities, Secret, identities};

/// A value that only the key of its run opens: base64 of an age file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(String);

/// The key of a run.
pub struct Seal {
    recipient: Recipients,
    identity: Identities,
    secret: Secret,
}

impl Seal {
    /// A new key, and what the journal keeps of it: an armored age file.
    ///
    /// # Errors
    /// The recipients can't be mixed.
    pub fn new(recipients: &Recipients) -> Result<(Seal, String), Error> {
        let (secret, public) = identities::generate();
        let kept = agefile::encrypt(secret.expose_bytes(), recipients, Format::Armored)?;
        let seal = Seal::of(secret, &public)?;
        Ok((seal, String::from_utf8_lossy(&kept).into_owned()))
    }

    /// Opens what the journal keeps of a key.
    ///
    /// # Errors
    /// None of `identities` opens it.
    pub fn open(kept: &str, identities: &Identities) -> Result<Seal, Error> {
        let secret = agefile::decrypt(kept.as_bytes(), identities)?;
        let own = Identities::from_text("the key of the run", secret.clone())?;
        let public = own
            .recipients()
            .into_iter()
            .next()
            .ok_or_else(|| Error::damaged("the key of the run has no recipient"))?;
        Seal::of(secret, &public)
    }

    fn of(secret: Secret, public: &str) -> Result<Seal, Error> {
        Ok(Seal {
            recipient: Recipients::parse([public])?,
            identity: Identities::from_text("the key of the run", secret.clone())?,
            secret,
        })
    }

    /// # Errors
    /// The value can't be kept (a request), or encryption fails.
    pub fn seal<T: Serialize>(&self, value: &T) -> Result<Sealed, Error> {
        let plain = Zeroizing::new(
            serde_json::to_vec(value).map_err(|e| Error::refused(format!("a value can't be kept: {e}")))?,
        );
        agefile::encrypt(&plain, &self.recipient, Format::Binary).map(|bytes| Sealed(STANDARD.encode(bytes)))
    }

    /// # Errors
    /// It is no value of this run, or of another version.
    pub fn unseal<T: DeserializeOwned>(&self, sealed: &Sealed) -> Result<T, Error> {
        let bytes = STANDARD.decode(&sealed.0).map_err(|_| Error::damaged("a sealed value isn't base64"))?;
        let plain = agefile::decrypt(&bytes, &self.identity)?;
        serde_json::from_slice(plain.expose_bytes())
            .map_err(|e| Error::damaged(format!("a sealed value is of another kind: {}", e.classify_word())))
    }

    /// A fingerprint that tells nothing to whom doesn't have the key: HMAC-SHA-256, 16 hex digits.
    pub fn fingerprint(&self, bytes: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.expose_bytes()) else {
            return String::new();
        };
        mac.update(bytes);
        crate::source::hex::hex(&mac.finalize().into_bytes()[..8])
    }
}

/// What a parse error may say: its message could quote the value.
trait ClassifyWord {
    fn classify_word(&self) -> &'static str;
}

impl ClassifyWord for serde_json::Error {
    fn classify_word(&self) -> &'static str {
        match self.classify() {
            serde_json::error::Category::Data => "other fields than expected",
            _ => "no JSON",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recipient_opens_it() {
        let (mine, public) = identities::generate();
        let (other, _) = identities::generate();
        let (seal, kept) = Seal::new(&Recipients::parse([public.as_str()]).unwrap()).unwrap();
        let sealed = seal.seal(&vec!["a secret"]).unwrap();
        assert!(!format!("{kept}{}", sealed.0).contains("a secret"));
        let mine = Identities::from_text("mine", mine).unwrap();
        let opened = Seal::open(&kept, &mine).unwrap();
        assert_eq!(opened.unseal::<Vec<String>>(&sealed).unwrap(), ["a secret"]);
        assert_eq!(opened.fingerprint(b"x"), seal.fingerprint(b"x"));
        assert_ne!(seal.fingerprint(b"x"), seal.fingerprint(b"y"));
        let other = Identities::from_text("other", other).unwrap();
        assert!(Seal::open(&kept, &other).is_err());
        let why = opened.unseal::<u32>(&sealed).unwrap_err();
        assert!(!why.message.contains("a secret"), "{}", why.message);
    }
}
