//! Age files: encrypting and opening, armored or binary.

use std::io::{BufReader, Cursor, Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter};
use age::{DecryptError, Decryptor, Encryptor};

use super::archive::HEADER_MAX;
use super::recipients::Recipients;
use super::{Error, ErrorKind, Identities, Secret};

const BINARY_BEGIN: &[u8] = b"age-encryption.org/";
const ARMOR_BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Binary,
    /// Text: what version control and YAML files take.
    Armored,
}

/// Whether these bytes begin an age file.
pub fn is_age_file(bytes: &[u8]) -> bool {
    bytes.starts_with(BINARY_BEGIN) || is_armored(bytes)
}

/// The format of an age file; `None` if it isn't one.
pub fn format_of(bytes: &[u8]) -> Option<Format> {
    match bytes {
        b if b.starts_with(BINARY_BEGIN) => Some(Format::Binary),
        b if is_armored(b) => Some(Format::Armored),
        _ => None,
    }
}

fn is_armored(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(ARMOR_BEGIN)
}

/// Encrypts to every recipient.
///
/// # Errors
/// The recipients can't be mixed.
pub fn encrypt(plaintext: &[u8], recipients: &Recipients, format: Format) -> Result<Vec<u8>, Error> {
    let failed = |e: std::io::Error| Error::new(ErrorKind::Io, format!("could not encrypt: {e}"));
    let format = match format {
        Format::Binary => age::armor::Format::Binary,
        Format::Armored => age::armor::Format::AsciiArmor,
    };
    let encryptor = Encryptor::with_recipients(recipients.as_age())
        .map_err(|e| Error::refused(format!("could not encrypt: {e}")))?;
    let armored = ArmoredWriter::wrap_output(Vec::new(), format).map_err(failed)?;
    let mut out = encryptor.wrap_output(armored).map_err(failed)?;
    out.write_all(plaintext).map_err(failed)?;
    out.finish().and_then(ArmoredWriter::finish).map_err(failed)
}

/// Opens a whole age file in memory.
///
/// # Errors
/// No identity fits, or it is damaged.
pub fn decrypt(bytes: &[u8], identities: &Identities) -> Result<Secret, Error> {
    read_all(decrypt_stream(bytes, identities)?)
}

/// A reader of the plaintext, in constant memory. Bytes that it gives are authentic, but only a
/// read to the end (`Ok(0)`) shows that none are missing. An I/O error of kind `InvalidData` or
/// `UnexpectedEof` from it means damage.
///
/// # Errors
/// No identity fits, or the header is damaged.
pub fn decrypt_stream<'r>(
    mut ciphertext: impl Read + 'r,
    identities: &Identities,
) -> Result<Box<dyn Read + 'r>, Error> {
    let mut head = Vec::new();
    ciphertext.by_ref().take(HEADER_MAX).read_to_end(&mut head).map_err(read_error)?;
    if !is_age_file(&head) {
        return Err(Error::damaged(match head.len() {
            0 => "it is empty, so no age file",
            _ => "it is not an age file",
        }));
    }
    if is_armored(&head) {
        // An editor may have left blank lines in front, which age refuses.
        let space = head.len() - head.trim_ascii_start().len();
        head.drain(..space);
    }
    if Decryptor::new_buffered(reader(&head[..])).map_err(why)?.is_scrypt() {
        return Err(Error::refused("it is encrypted with a passphrase; encrypt it to recipients instead"));
    }
    if identities.is_empty() {
        return Err(Error::no_key("it is encrypted with age, and there is no identity to open it").help(
            format!(
                "give --age-identity FILE, set ${}, or put one at ~/.config/seqn-play/identity.txt",
                super::identities::ENV_VAR
            ),
        ));
    }
    // A passphrase is asked for only when no key without one fits.
    let fits = |keys: &[Box<dyn age::Identity>]| {
        let attempt = Decryptor::new_buffered(reader(&head[..]))
            .and_then(|d| d.decrypt(keys.iter().map(|key| &**key)).map(drop));
        !matches!(attempt, Err(DecryptError::NoMatchingKeys))
    };
    let mut keys = identities.keys(false)?;
    if identities.has_locked() && !fits(&keys) {
        keys = identities.keys(true)?;
    }
    let plain = Decryptor::new_buffered(reader(Cursor::new(head).chain(ciphertext)))
        .and_then(|d| d.decrypt(keys.iter().map(|key| &**key)))
        .map_err(|e| match e {
            DecryptError::NoMatchingKeys => {
                let tried: Vec<String> = identities.paths().map(|p| p.display().to_string()).collect();
                Error::no_key(format!("it is not encrypted to any identity in {}", tried.join(", ")))
                    .help("give the right one with --age-identity, or have it encrypted to your public key")
            }
            e => why(e),
        })?;
    Ok(Box::new(plain))
}

/// Whether one of these identities opens the file that begins with `head`. No more of it than
/// [`HEADER_MAX`] is needed.
///
/// # Errors
/// It is no age file, or its header is damaged.
pub fn opens(head: &[u8], identities: &Identities) -> Result<bool, Error> {
    match decrypt_stream(head, identities) {
        Ok(_) => Ok(true),
        Err(e) if e.kind == ErrorKind::NoKey => Ok(false),
        Err(e) => Err(e),
    }
}

/// How many recipients the header of an age file has; for telling that some were lost.
pub fn recipient_count(bytes: &[u8]) -> usize {
    let mut text = Vec::new();
    let mut dearmored = ArmoredReader::new(bytes.trim_ascii_start()).take(HEADER_MAX);
    // What can't be read has no recipients, and opening it says why.
    let _ = dearmored.read_to_end(&mut text);
    text.split(|b| *b == b'\n')
        .take_while(|line| !line.starts_with(b"---"))
        .filter(|line| {
            [&b"-> X25519 "[..], b"-> ssh-", b"-> scrypt "].iter().any(|kind| line.starts_with(kind))
        })
        .count()
}

/// Armored or binary, as it comes.
pub(super) fn reader<R: Read>(bytes: R) -> BufReader<ArmoredReader<BufReader<R>>> {
    BufReader::new(ArmoredReader::new(bytes))
}

/// The whole plaintext.
pub(super) fn read_all(mut plain: impl Read) -> Result<Secret, Error> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    plain.read_to_end(&mut bytes).map_err(read_error)?;
    Ok(Secret::from_bytes(bytes.as_slice()))
}

/// An error while reading the plaintext: damage, or the source's own.
pub fn read_error(e: std::io::Error) -> Error {
    match e.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
            Error::damaged("the age file is damaged: it was cut or changed")
        }
        _ => Error::new(ErrorKind::Io, format!("could not read the age file: {e}")),
    }
}

fn why(e: DecryptError) -> Error {
    match e {
        DecryptError::NoMatchingKeys => Error::no_key("no identity fits"),
        DecryptError::KeyDecryptionFailed => {
            Error::no_key("the SSH key that it is encrypted to could not be unlocked: no or wrong passphrase")
        }
        DecryptError::UnknownFormat => Error::damaged("it is in a version of the age format unknown here"),
        DecryptError::Io(e) => match read_error(e) {
            e if e.kind == ErrorKind::Damaged => e,
            e => Error::damaged(format!("the age file is damaged: {}", e.message)),
        },
        e => Error::damaged(format!("the age file is damaged: {e}")),
    }
}
