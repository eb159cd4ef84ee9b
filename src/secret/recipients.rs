//! Who can open an age file.
//!
//! An age file doesn't say who can open it. So recipients are written down in a file
//! `.age-recipients`, one public key a line (`#` begins a comment), which holds for its folder and
//! all below it: the nearest one above a file counts.

use std::path::{Path, PathBuf};

use super::Error;

pub const FILE_NAME: &str = ".age-recipients";

/// At least one public key.
#[derive(Clone)]
pub struct Recipients(Vec<Recipient>);

#[derive(Clone)]
enum Recipient {
    Native(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl Recipients {
    /// Each of `keys` is a public key (`age1…`, `ssh-ed25519 …`, `ssh-rsa …`).
    ///
    /// # Errors
    /// None given, or one is something else.
    pub fn parse<'k>(keys: impl IntoIterator<Item = &'k str>) -> Result<Recipients, Error> {
        let list = keys.into_iter().map(parse_one).collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            return Err(Error::refused("no recipients: nobody could open the file"));
        }
        Ok(Recipients(list))
    }

    /// From a file of one key a line.
    ///
    /// # Errors
    /// It can't be read, has none, or a line is no key.
    pub fn from_file(path: &Path) -> Result<Recipients, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::io("read the recipients in", path, &e))?;
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        Recipients::parse(lines).map_err(|e| e.about(path))
    }

    /// Those of `given`, each a public key or a file of them; without any, those of the nearest
    /// `.age-recipients`.
    ///
    /// # Errors
    /// There are none; the help names `own`, the operator's public keys.
    pub fn for_file(path: &Path, given: &[String], own: &[String]) -> Result<Recipients, Error> {
        if !given.is_empty() {
            let mut list = Vec::new();
            for key in given {
                if key.starts_with("age1") || key.starts_with("ssh-") {
                    list.push(parse_one(key)?);
                } else {
                    list.extend(Recipients::from_file(Path::new(key))?.0);
                }
            }
            return Ok(Recipients(list));
        }
        match nearest(path) {
            Some(file) => Recipients::from_file(&file),
            None => {
                let own = own.first().map_or("age1…", String::as_str);
                Err(Error::refused(format!("no recipients are known for {}", path.display())).help(format!(
                    "write them to {FILE_NAME} beside it or above, one a line, or pass --recipient; yours is {own}"
                )))
            }
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As written in a recipients file.
    pub fn to_lines(&self) -> String {
        self.0.iter().map(|r| format!("{r}\n")).collect()
    }

    pub fn as_age(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.0.iter().map(|r| match r {
            Recipient::Native(key) => key as &dyn age::Recipient,
            Recipient::Ssh(key) => key as &dyn age::Recipient,
        })
    }
}

/// The `.age-recipients` that holds for `path`.
pub fn nearest(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().skip(1).map(|dir| dir.join(FILE_NAME)).find(|file| file.is_file())
}

fn parse_one(key: &str) -> Result<Recipient, Error> {
    if key.starts_with("AGE-SECRET-KEY-") {
        return Err(Error::refused("a private key was given as a recipient").help(
            "give its public key (`age-keygen -y FILE`); treat the private one as exposed if it was typed",
        ));
    }
    if let Ok(native) = key.parse() {
        return Ok(Recipient::Native(native));
    }
    use age::ssh::ParseRecipientKeyError as Why;
    key.parse().map(Recipient::Ssh).map_err(|why| {
        let short: String = key.chars().take(24).collect();
        Error::refused(match why {
            Why::RsaModulusTooLarge => format!("the RSA key {short}… is too large for age"),
            Why::RsaModulusTooSmall => format!("the RSA key {short}… is too weak for age (under 2048 bits)"),
            Why::Unsupported(kind) => {
                format!("age can't encrypt to {kind} keys, only to ssh-ed25519 and ssh-rsa")
            }
            _ => format!("{short:?} is no age recipient"),
        })
        .help("a recipient is a public key: age1…, ssh-ed25519 … or ssh-rsa …")
    })
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Recipient::Native(key) => write!(f, "{key}"),
            Recipient::Ssh(key) => write!(f, "{key}"),
        }
    }
}
impl std::fmt::Debug for Recipients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(Recipient::to_string)).finish()
    }
}
