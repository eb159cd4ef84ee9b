//! What `seqn-play secret` does with files: edit, show, encrypt, decrypt, keygen; and the same for
//! `ansible-vault`. The command line only parses flags and prints what these return.

use std::fs;
use std::path::Path;

use super::agefile::{self, Format};
use super::files::{self, Editor};
use super::recipients::{self, Recipients};
use super::vault::{self, Password, Passwords};
use super::{Error, Identities, Secret};

/// What an edit did.
#[derive(Debug, PartialEq, Eq)]
pub enum Edited {
    /// The text was left as it was, and the file with it.
    Unchanged,
    Written {
        /// How many can open it now, and how many could before (0: it is new).
        recipients: usize,
        before: usize,
    },
}

/// Edits an age-encrypted file, or makes a new one, encrypted to `given` or to the nearest
/// `.age-recipients`. A new file with `given` recipients and no `.age-recipients` above it gets one
/// beside it, so that the next edit encrypts to the same.
///
/// What was written is opened again with the operator's own identity before it replaces the file.
///
/// # Errors
/// It can't be opened, no recipients are known, the editor failed, the result could not be opened by
/// the operator, or somebody else changed the file meanwhile (the edit is then kept beside it).
pub fn edit(path: &Path, given: &[String], identities: &Identities, editor: Editor) -> Result<Edited, Error> {
    let before = read_if_there(path)?;
    // Everything that can fail is tried before a person starts typing.
    let old = match &before {
        Some(bytes) => agefile::decrypt(bytes, identities).map_err(|e| e.about(path))?,
        None => Secret::new(""),
    };
    let to = Recipients::for_file(path, given, &identities.recipients())?;
    let format = before.as_deref().and_then(agefile::format_of).unwrap_or(Format::Armored);
    agefile::encrypt(b"", &to, format)?;

    let Some(new) = files::edit_privately(path, old.expose_bytes(), editor)? else {
        return Ok(Edited::Unchanged);
    };
    let sealed = agefile::encrypt(new.expose_bytes(), &to, format)?;
    let opened = agefile::decrypt(&sealed, identities).map_err(|e| {
        Error::refused(format!("{} was not written: you could not open it yourself ({e})", path.display()))
            .help(format!("add your public key to {} or --recipient", recipients::FILE_NAME))
    })?;
    if opened != new {
        return Err(Error::damaged("what was encrypted reads back differently; nothing was written"));
    }
    if read_if_there(path)? != before {
        let aside = path.with_file_name(format!(
            "{}.edited",
            path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
        ));
        files::replace(&aside, &sealed)?;
        return Err(Error::refused(format!("{} was changed by somebody else meanwhile", path.display()))
            .help(format!("your version is in {} (encrypted); merge the two", aside.display())));
    }
    write_new(path, &sealed)?;
    record_recipients(path, given, &to)?;
    Ok(Edited::Written {
        recipients: to.len(),
        before: before.as_deref().map_or(0, agefile::recipient_count),
    })
}

/// The plaintext of an age or vault file.
///
/// # Errors
/// It isn't encrypted, or can't be opened.
pub fn show(path: &Path, keys: &super::Keys) -> Result<Secret, Error> {
    match keys.open(&read(path)?).map_err(|e| e.about(path))? {
        super::Opened::Secret(plain) => Ok(plain),
        super::Opened::Plain => Err(Error::refused(format!("{} is not encrypted", path.display()))),
    }
}

/// Encrypts a plain file in place to the recipients as [`edit`] finds them.
///
/// # Errors
/// It is encrypted already, missing, or no recipients are known.
pub fn encrypt(path: &Path, given: &[String], identities: &Identities) -> Result<usize, Error> {
    let plain = Secret::from_bytes(read(path)?);
    if agefile::is_age_file(plain.expose_bytes()) || vault::is_vault(plain.expose_bytes()) {
        return Err(Error::refused(format!("{} is encrypted already", path.display())));
    }
    let to = Recipients::for_file(path, given, &identities.recipients())?;
    files::replace(path, &agefile::encrypt(plain.expose_bytes(), &to, Format::Armored)?)?;
    record_recipients(path, given, &to)?;
    Ok(to.len())
}

/// Decrypts an age or vault file in place; only its owner can read it then.
///
/// # Errors
/// As [`show`].
pub fn decrypt(path: &Path, keys: &super::Keys) -> Result<(), Error> {
    let plain = show(path, keys)?;
    // Before the content is there, not after.
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|e| Error::io("write", path, &e))?;
    files::replace(path, plain.expose_bytes())
}

/// Makes a new identity file (0600) and returns its recipient.
///
/// # Errors
/// The file exists: an identity is never overwritten.
pub fn keygen(path: &Path) -> Result<String, Error> {
    if path.exists() {
        return Err(Error::refused(format!("{} exists; an identity is never overwritten", path.display()))
            .help("move it away first if nothing is encrypted to it any more"));
    }
    if let Some(dir) = path.parent().filter(|d| *d != Path::new("")) {
        fs::create_dir_all(dir).map_err(|e| Error::io("make the folder", dir, &e))?;
    }
    let (identity, recipient) = super::identities::generate();
    files::replace(path, identity.expose_bytes())?;
    Ok(recipient)
}

/// `ansible-vault create` (nothing is there yet) and `edit`: vault id and password stay.
///
/// # Errors
/// As [`edit`], without recipients.
pub fn vault_edit(path: &Path, passwords: &Passwords, editor: Editor) -> Result<Edited, Error> {
    let before = read(path)?;
    let text = vault_text(path, &before)?;
    let opened = vault::decrypt(text, passwords).map_err(|e| e.about(path))?;
    let Some(new) = files::edit_privately(path, opened.plaintext.expose_bytes(), editor)? else {
        return Ok(Edited::Unchanged);
    };
    let id = vault::Envelope::parse(text)?.id.unwrap_or_else(|| vault::DEFAULT_ID.to_string());
    let fitted = passwords.iter().find(|p| p.id == opened.id).map(|p| p.secret.clone());
    let password = Password { id, secret: fitted.ok_or_else(|| Error::no_key("its password is gone"))? };
    if read(path)? != before {
        return Err(Error::refused(format!("{} was changed by somebody else meanwhile", path.display())));
    }
    files::replace(path, vault::encrypt(new.expose_bytes(), &password)?.as_bytes())?;
    Ok(Edited::Written { recipients: 1, before: 1 })
}

/// `ansible-vault create`.
///
/// # Errors
/// The file exists, or the editor failed.
pub fn vault_create(path: &Path, password: &Password, editor: Editor) -> Result<Edited, Error> {
    if path.exists() {
        return Err(Error::refused(format!("{} exists, please use 'edit' instead", path.display())));
    }
    let new = files::edit_privately(path, b"", editor)?.unwrap_or_else(|| Secret::new(""));
    if let Some(dir) = path.parent().filter(|d| *d != Path::new("")) {
        fs::create_dir_all(dir).map_err(|e| Error::io("make the folder", dir, &e))?;
    }
    files::replace(path, vault::encrypt(new.expose_bytes(), password)?.as_bytes())?;
    Ok(Edited::Written { recipients: 1, before: 0 })
}

/// `ansible-vault encrypt FILE`.
///
/// # Errors
/// It is encrypted already or can't be read.
pub fn vault_encrypt(path: &Path, output: &Path, password: &Password) -> Result<(), Error> {
    let plain = Secret::from_bytes(read(path)?);
    let sealed = vault::encrypt(plain.expose_bytes(), password).map_err(|e| e.about(path))?;
    files::replace(output, sealed.as_bytes())
}

/// `ansible-vault decrypt FILE`.
///
/// # Errors
/// It isn't a vault file, or no password fits.
pub fn vault_decrypt(path: &Path, output: &Path, passwords: &Passwords) -> Result<(), Error> {
    let bytes = read(path)?;
    let opened = vault::decrypt(vault_text(path, &bytes)?, passwords).map_err(|e| e.about(path))?;
    files::replace(output, opened.plaintext.expose_bytes())
}

/// `ansible-vault rekey FILE`.
///
/// # Errors
/// As [`vault_decrypt`].
pub fn vault_rekey(path: &Path, old: &Passwords, new: &Password) -> Result<(), Error> {
    let bytes = read(path)?;
    let sealed = vault::rekey(vault_text(path, &bytes)?, old, new).map_err(|e| e.about(path))?;
    files::replace(path, sealed.as_bytes())
}

fn vault_text<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) if vault::is_vault(bytes) => Ok(text),
        _ => Err(Error::refused(format!(
            "input is not vault encrypted data. {} is not a vault encrypted file",
            path.display()
        ))),
    }
}

fn record_recipients(path: &Path, given: &[String], to: &Recipients) -> Result<(), Error> {
    if given.is_empty() || recipients::nearest(path).is_some() {
        return Ok(());
    }
    let file = path.with_file_name(recipients::FILE_NAME);
    fs::write(&file, format!("# Who can open the age files in this folder and below.\n{}", to.to_lines()))
        .map_err(|e| Error::io("write", &file, &e))
}

fn write_new(path: &Path, sealed: &[u8]) -> Result<(), Error> {
    let is_new = !path.exists();
    files::replace(path, sealed)?;
    if is_new {
        // Encrypted, and meant for version control: as readable as any new file.
        use std::os::unix::fs::PermissionsExt;
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o644));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|e| Error::io("read", path, &e))
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path, &e)),
    }
}
