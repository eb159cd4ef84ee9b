//! What Postgres stores of a password: SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677), computed here
//! so that the plaintext never enters SQL, and compared by recomputing the stored one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Error;
use super::generate::random_bytes;

/// The iterations that Postgres uses (`scram_iterations`).
pub const ITERATIONS: u32 = 4096;

/// Bytes of salt that Postgres uses.
const SALT_LENGTH: usize = 16;

/// More than anybody sets; a stored verifier that claims more is treated as damaged, since
/// recomputing it could take hours.
const MAX_ITERATIONS: u32 = 10_000_000;

/// What `pg_authid.rolpassword` can hold.
#[derive(Clone, PartialEq, Eq)]
pub enum Stored {
    Scram(Verifier),
    /// `md5` and 32 hex digits, lower-case as Postgres writes them.
    Md5(String),
    /// No password: the role can't log in with one.
    None,
    /// Neither; no password can be compared with it.
    Unknown(String),
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Stored {
    /// As read from `pg_authid.rolpassword`, NULL being `None`.
    pub fn parse(rolpassword: Option<&str>) -> Stored {
        let Some(text) = rolpassword.filter(|t| !t.is_empty()) else { return Stored::None };
        if let Some(verifier) = Verifier::parse(text) {
            Stored::Scram(verifier)
        } else if is_md5(text) {
            Stored::Md5(text.to_string())
        } else {
            Stored::Unknown(text.to_string())
        }
    }

    /// Whether `role` logs in with `password`. `None`: it can't be told.
    pub fn accepts(&self, role: &str, password: &str) -> Option<bool> {
        match self {
            Stored::Scram(verifier) => Some(verifier.matches(password)),
            Stored::Md5(stored) => Some(*stored == md5_verifier(role, password)),
            Stored::None => Some(false),
            Stored::Unknown(_) => None,
        }
    }

    /// For messages: `SCRAM-SHA-256`, `MD5`, `no password`, `a format unknown here`.
    pub fn kind(&self) -> &'static str {
        match self {
            Stored::Scram(_) => "SCRAM-SHA-256",
            Stored::Md5(_) => "MD5",
            Stored::None => "no password",
            Stored::Unknown(_) => "a format unknown here",
        }
    }
}

/// Shows no key.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SCRAM-SHA-256${}:…", self.iterations)
    }
}

impl Verifier {
    /// # Panics
    /// Never; `iterations` of 0 count as 1.
    pub fn new(password: &str, salt: &[u8], iterations: u32) -> Verifier {
        let mut salted = Zeroizing::new([0u8; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(
            prepare(password).as_bytes(),
            salt,
            iterations.max(1),
            salted.as_mut_slice(),
        );
        let client_key = Zeroizing::new(hmac_sha256(&*salted, b"Client Key"));
        Verifier {
            iterations: iterations.max(1),
            salt: salt.to_vec(),
            stored_key: Sha256::digest(*client_key).into(),
            server_key: hmac_sha256(&*salted, b"Server Key"),
        }
    }

    /// With a new salt and Postgres's iterations.
    ///
    /// # Errors
    /// No random source.
    pub fn fresh(password: &str) -> Result<Verifier, Error> {
        Ok(Verifier::new(password, &random_bytes::<SALT_LENGTH>()?, ITERATIONS))
    }

    /// As Postgres reads it (`parse_scram_secret`); anything else it would hash as a password.
    pub fn parse(text: &str) -> Option<Verifier> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let iterations = iterations.parse().ok().filter(|i| (1..=MAX_ITERATIONS).contains(i))?;
        Some(Verifier {
            iterations,
            salt: STANDARD.decode(salt).ok()?,
            stored_key: STANDARD.decode(stored).ok()?.try_into().ok()?,
            server_key: STANDARD.decode(server).ok()?.try_into().ok()?,
        })
    }

    /// Whether it was made from `password`: computed again with its salt and iterations.
    pub fn matches(&self, password: &str) -> bool {
        let again = Verifier::new(password, &self.salt, self.iterations);
        let differ = |a: &[u8; 32], b: &[u8; 32]| a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y));
        differ(&self.stored_key, &again.stored_key) | differ(&self.server_key, &again.server_key) == 0
    }
}

/// As Postgres stores it. It is as good as the password for a server, so treat it as Secret.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }
}

/// The verifier of a password, as text.
pub fn verifier(password: &str, salt: &[u8], iterations: u32) -> String {
    Verifier::new(password, salt, iterations).to_string()
}

/// Whether the SCRAM verifier `stored` was made from `password`; false for anything else.
pub fn matches(stored: &str, password: &str) -> bool {
    Verifier::parse(stored).is_some_and(|v| v.matches(password))
}

/// Whether Postgres would take `text` as an MD5 verifier.
pub fn is_md5(text: &str) -> bool {
    text.len() == 35
        && text.strip_prefix("md5").is_some_and(|h| h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Whether Postgres would store `text` as it is, instead of hashing it as a password.
pub fn is_verifier(text: &str) -> bool {
    is_md5(text) || Verifier::parse(text).is_some()
}

/// `md5(password || role)` as Postgres stores it.
pub fn md5_verifier(role: &str, password: &str) -> String {
    let mut hash = Md5::new();
    hash.update(password);
    hash.update(role);
    hash.finalize().iter().fold("md5".to_string(), |text, b| text + &format!("{b:02x}"))
}

/// SASLprep (RFC 4013) as Postgres applies it: ASCII is as it is, and a password that SASLprep
/// prohibits is used unprepared instead of being refused.
fn prepare(password: &str) -> Zeroizing<String> {
    if password.is_ascii() {
        return Zeroizing::new(password.to_string());
    }
    Zeroizing::new(stringprep::saslprep(password).map_or_else(|_| password.to_string(), String::from))
}

/// RFC 2104 with SHA-256.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677 section 3 (user, pencil).
    #[test]
    fn rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let v = Verifier::new("pencil", &salt, 4096);
        let auth = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        // ServerSignature proves ServerKey; ClientProof XOR ClientSignature gives ClientKey, whose
        // hash is StoredKey.
        assert_eq!(
            STANDARD.encode(hmac_sha256(&v.server_key, auth)),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let signature = hmac_sha256(&v.stored_key, auth);
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(p, s)| p ^ s).collect();
        assert_eq!(<[u8; 32]>::from(Sha256::digest(client_key)), v.stored_key);
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let text = verifier("pencil", b"0123456789abcdef", 4096);
        assert_eq!(Verifier::parse(&text).unwrap().to_string(), text);
        assert!(matches(&text, "pencil") && !matches(&text, "pencil ") && !matches(&text, ""));
        for damaged in [
            text.replace("SCRAM", "scram"),
            text.replace("4096", "0"),
            text.replace("4096", "4000000000"),
            text[..text.len() - 4].to_string(),
            text.replacen('$', "", 1),
            String::new(),
        ] {
            assert!(!is_verifier(&damaged) && !matches(&damaged, "pencil"), "{damaged}");
        }
        assert_eq!(format!("{:?}", Verifier::parse(&text).unwrap()), "SCRAM-SHA-256$4096:…");
    }

    #[test]
    fn what_a_role_has_stored() {
        let scram = verifier("p\u{e4}ss", b"0123456789abcdef", 4096);
        for (stored, password, expected) in [
            (Some(scram.as_str()), "p\u{e4}ss", Some(true)),
            // SASLprep: the decomposed spelling is the same password.
            (Some(scram.as_str()), "pa\u{308}ss", Some(true)),
            (Some(scram.as_str()), "pass", Some(false)),
            (Some("md53175bce1d3201d16594cebf9d7eb3f9d"), "postgres", Some(true)),
            (Some("md53175bce1d3201d16594cebf9d7eb3f9d"), "other", Some(false)),
            (None, "", Some(false)),
            (Some(""), "", Some(false)),
            (Some("plain"), "plain", None),
        ] {
            assert_eq!(Stored::parse(stored).accepts("postgres", password), expected, "{stored:?}");
        }
    }

    /// The examples of RFC 4013 section 3; what it prohibits stays as it is.
    #[test]
    fn saslprep() {
        for (raw, prepared) in [
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            ("\u{7}", "\u{7}"),
            ("\u{627}1", "\u{627}1"),
            ("a\u{a0}b", "a b"),
        ] {
            assert_eq!(*prepare(raw), prepared, "{raw:?}");
        }
    }
}
