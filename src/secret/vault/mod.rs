//! ansible-vault files, formats 1.1 and 1.2, both ways.
//!
//! AES-256 in counter mode, keys by PBKDF2-HMAC-SHA256 with 10,000 iterations, HMAC-SHA256 over the
//! ciphertext. The vault id of a 1.2 header is a hint: it is not authenticated, so every password is
//! tried, the one of that name first.

mod cipher;
mod passwords;

pub use passwords::{AskPassword, Password, Passwords};

use zeroize::Zeroizing;

use super::{Error, Secret};

const MAGIC: &str = "$ANSIBLE_VAULT";
/// The vault id that is not written into a header.
pub const DEFAULT_ID: &str = "default";
const LINE_WIDTH: usize = 80;

/// What a vault text says of itself before it is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// From a 1.2 header.
    pub id: Option<String>,
    salt: Vec<u8>,
    hmac: Vec<u8>,
    ciphertext: Vec<u8>,
}

/// A vault text that was opened.
#[derive(Debug)]
pub struct Opened {
    pub plaintext: Secret,
    /// Of the password that fitted.
    pub id: String,
}

/// Whether these bytes are a vault text.
pub fn is_vault(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC.as_bytes()) && bytes.is_ascii()
}

impl Envelope {
    /// Reads the text; it may be indented, as it is below `!vault |`.
    ///
    /// # Errors
    /// Damaged: which part, and where.
    pub fn parse(text: &str) -> Result<Envelope, Error> {
        let mut lines = text.trim().lines().map(str::trim);
        let header: Vec<&str> = lines.next().unwrap_or("").split(';').map(str::trim).collect();
        let id = match header[..] {
            [MAGIC, "1.1" | "1.2", "AES256"] => None,
            [MAGIC, "1.1" | "1.2", "AES256", id, ..] => Some(id.to_string()),
            [MAGIC, version, ..] if !matches!(version, "1.1" | "1.2") => {
                return Err(Error::damaged(format!("the vault format {version} is not supported"))
                    .help("rewrite it with `ansible-vault rekey`; formats 1.1 and 1.2 are read"));
            }
            [MAGIC, _, cipher, ..] => {
                return Err(Error::damaged(format!(
                    "the vault cipher {cipher} is not supported, only AES256"
                )));
            }
            _ => {
                return Err(Error::damaged(
                    "it is not an ansible-vault text: its first line isn't a vault header",
                ));
            }
        };
        let mut digits = Zeroizing::new(String::new());
        for (n, line) in lines.enumerate() {
            if let Some(bad) = line.chars().find(|c| !c.is_ascii_hexdigit()) {
                return Err(Error::damaged(format!(
                    "the vault text is damaged: {bad:?} in line {} is no hexadecimal digit",
                    n + 2
                )));
            }
            digits.push_str(line);
        }
        let cut = || Error::damaged("the vault text is damaged: it was cut or lines are missing");
        let inner = unhex(digits.as_bytes()).ok_or_else(cut)?;
        let mut parts = inner.splitn(3, |b| *b == b'\n');
        let mut part = || parts.next().and_then(unhex).ok_or_else(cut);
        let envelope = Envelope { id, salt: part()?, hmac: part()?, ciphertext: part()? };
        if envelope.hmac.len() != 32
            || envelope.ciphertext.is_empty()
            || !envelope.ciphertext.len().is_multiple_of(16)
        {
            return Err(cut());
        }
        Ok(envelope)
    }

    /// The text of a file: header and lines of 80 characters.
    pub fn to_text(&self) -> String {
        let inner = [hex(&self.salt), hex(&self.hmac), hex(&self.ciphertext)].join("\n");
        let digits = hex(inner.as_bytes());
        let mut text = match &self.id {
            Some(id) => format!("{MAGIC};1.2;AES256;{id}\n"),
            None => format!("{MAGIC};1.1;AES256\n"),
        };
        for line in digits.as_bytes().chunks(LINE_WIDTH) {
            text.extend(line.iter().map(|b| *b as char));
            text.push('\n');
        }
        text
    }
}

/// Encrypts; the header names the password's id unless that is `default`.
///
/// # Errors
/// The plaintext is a vault text already, or there is no random source.
pub fn encrypt(plaintext: &[u8], password: &Password) -> Result<String, Error> {
    if is_vault(plaintext) {
        return Err(Error::refused("input is already encrypted"));
    }
    let salt = super::generate::random_bytes::<32>()?;
    Ok(cipher::seal(plaintext, password, &salt).to_text())
}

/// Opens a vault text with whichever password fits, the one its header names first.
///
/// # Errors
/// `Damaged` when its form is broken; `NoKey` when no password fits, which is also what a changed
/// text looks like: the format can't tell them apart.
pub fn decrypt(text: &str, passwords: &Passwords) -> Result<Opened, Error> {
    let envelope = Envelope::parse(text)?;
    let candidates = passwords.in_order_for(envelope.id.as_deref());
    if candidates.is_empty() {
        return Err(Error::no_key("it is encrypted with ansible-vault, and no vault password was given")
            .help("give --ask-vault-pass, --vault-password-file FILE or --vault-id LABEL@SOURCE"));
    }
    for password in &candidates {
        if let Some(plaintext) = cipher::open(&envelope, password)? {
            return Ok(Opened { plaintext, id: password.id.clone() });
        }
    }
    let tried: Vec<&str> = candidates.iter().map(|p| p.id.as_str()).collect();
    let wanted = envelope.id.map(|id| format!(" (its header names {id})")).unwrap_or_default();
    Err(Error::no_key(format!(
        "no vault password opens it{wanted}; tried: {}. The password is wrong, or the text was changed",
        tried.join(", ")
    ))
    .help(
        "check --vault-id or --vault-password-file; if they are right, restore the file from version control",
    ))
}

/// The same content under another password.
///
/// # Errors
/// As [`decrypt`] and [`encrypt`].
pub fn rekey(text: &str, old: &Passwords, new: &Password) -> Result<String, Error> {
    encrypt(decrypt(text, old)?.plaintext.expose_bytes(), new)
}

/// The YAML of `ansible-vault encrypt_string`: `name: !vault |` and the indented text.
///
/// # Errors
/// As [`encrypt`].
pub fn encrypt_string(name: Option<&str>, plaintext: &[u8], password: &Password) -> Result<String, Error> {
    let mut yaml = name.map(|n| format!("{n}: ")).unwrap_or_default() + "!vault |";
    for line in encrypt(plaintext, password)?.lines() {
        yaml.push_str("\n          ");
        yaml.push_str(line);
    }
    Ok(yaml)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        text.push(DIGITS[usize::from(b >> 4)] as char);
        text.push(DIGITS[usize::from(b & 15)] as char);
    }
    text
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::*;

    /// Written by ansible-vault 2.19 with the password `vault-pass-1`.
    const BY_ANSIBLE: &str = include_str!("fixtures/by_ansible.vault");

    fn password(id: &str, text: &str) -> Password {
        Password { id: id.into(), secret: Secret::new(text) }
    }

    fn passwords(list: &[(&str, &str)]) -> Passwords {
        Passwords::new(list.iter().map(|(id, text)| password(id, text)).collect())
    }

    #[test]
    fn opens_what_ansible_wrote() {
        let opened = decrypt(BY_ANSIBLE, &passwords(&[("default", "vault-pass-1")])).unwrap();
        assert_eq!(opened.plaintext.expose(), Some("db_password: s3cret\nlist: [1, 2]\n"));
    }

    #[test]
    fn round_trip_of_every_padding_length() {
        for length in 0..40 {
            let plain = vec![b'x'; length];
            let text = encrypt(&plain, &password("prod", "p")).unwrap();
            assert!(text.starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"));
            let opened = decrypt(&text, &passwords(&[("a", "other"), ("prod", "p")])).unwrap();
            assert_eq!((opened.plaintext.expose_bytes(), opened.id.as_str()), (&plain[..], "prod"));
        }
    }

    #[test]
    fn wrong_password_and_damage_are_told_apart_where_they_can_be() {
        let text = encrypt(b"hello", &password("default", "right")).unwrap();
        // The first digit of the second line, whatever the ciphertext makes it.
        let (header, body) = text.split_once('\n').unwrap();
        let damaged = format!("{header}\nz{}", &body[1..]);
        let cases: [(String, ErrorKind, &str); 7] = [
            (text.clone(), ErrorKind::NoKey, "tried: x, y"),
            (text.replacen(";1.1;", ";1.0;", 1), ErrorKind::Damaged, "format 1.0"),
            (text.replacen("AES256", "AES", 1), ErrorKind::Damaged, "cipher AES "),
            (text[..text.len() - 30].into(), ErrorKind::Damaged, "cut"),
            (text.lines().take(2).collect::<Vec<_>>().join("\n"), ErrorKind::Damaged, "cut"),
            (damaged, ErrorKind::Damaged, "'z' in line 2"),
            ("hello".into(), ErrorKind::Damaged, "not an ansible-vault text"),
        ];
        for (text, kind, message) in cases {
            let error = decrypt(&text, &passwords(&[("x", "wrong"), ("y", "wronger")])).unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(message), "{error}");
        }
        let none = decrypt(&text, &Passwords::default()).unwrap_err();
        assert!(none.help.unwrap().contains("--vault-password-file"));
        assert_eq!(
            encrypt(text.as_bytes(), &password("x", "y")).unwrap_err().message,
            "input is already encrypted"
        );
    }

    #[test]
    fn rekey_and_inline_strings() {
        let old = encrypt(b"hello", &password("default", "old")).unwrap();
        let new = rekey(&old, &passwords(&[("default", "old")]), &password("new", "new")).unwrap();
        assert_eq!(decrypt(&new, &passwords(&[("new", "new")])).unwrap().plaintext.expose(), Some("hello"));
        let yaml = encrypt_string(Some("key"), b"hello", &password("default", "old")).unwrap();
        let (head, envelope) = yaml.split_once('\n').unwrap();
        assert_eq!(head, "key: !vault |");
        assert!(envelope.lines().all(|l| l.starts_with("          ") && l.len() <= 90));
        assert_eq!(decrypt(envelope, &passwords(&[("d", "old")])).unwrap().plaintext.expose(), Some("hello"));
    }
}
