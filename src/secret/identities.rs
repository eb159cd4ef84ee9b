//! The operator's age identities: native keys, SSH keys, and passphrase-protected files of either.
//! They never leave this machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use age::secrecy::{ExposeSecret, SecretString};
use age::{Callbacks, DecryptError};

use super::agefile::{is_age_file, read_all, reader};
use super::{Error, Secret};

/// Asks a person for a passphrase without showing it; `None` when there is nobody to ask.
pub type AskPassphrase = Arc<dyn Fn(&str) -> Option<Secret> + Send + Sync>;

/// Colon-separated paths of identity files.
pub const ENV_VAR: &str = "SEQN_AGE_IDENTITY";

/// Age identities, cheap to clone. A passphrase is asked for when first needed, and once.
#[derive(Clone, Default)]
pub struct Identities {
    files: Arc<Vec<KeyFile>>,
    ask: Option<Ask>,
}

struct KeyFile {
    path: PathBuf,
    content: Secret,
    kind: Kind,
    /// The identities inside a protected file, once its passphrase was given.
    unlocked: Mutex<Option<Secret>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Lines of `AGE-SECRET-KEY-1…`.
    Native,
    /// An SSH private key; one with a passphrase asks when a file is encrypted to it.
    Ssh,
    /// An age file with a passphrase, holding native identities.
    Protected,
}

/// Where identities are looked for: `--age-identity` flags, else `$SEQN_AGE_IDENTITY`, else
/// `seqn-play/identity.txt` in `$XDG_CONFIG_HOME` or `~/.config`, if it exists.
pub fn default_paths(flags: &[PathBuf], env: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    if !flags.is_empty() {
        return flags.to_vec();
    }
    if let Some(paths) = env(ENV_VAR).filter(|p| !p.is_empty()) {
        return paths.split(':').filter(|p| !p.is_empty()).map(PathBuf::from).collect();
    }
    default_path(env).filter(|p| p.exists()).into_iter().collect()
}

/// `seqn-play/identity.txt` in `$XDG_CONFIG_HOME` or `~/.config`, whether or not it exists.
pub fn default_path(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let config = env("XDG_CONFIG_HOME")
        .filter(|p| !p.is_empty())
        .map(PathBuf::from)
        .or_else(|| env("HOME").map(|home| Path::new(&home).join(".config")));
    config.map(|dir| dir.join("seqn-play/identity.txt"))
}

impl Identities {
    /// Reads identity files.
    ///
    /// # Errors
    /// A file is missing, or holds something else than identities.
    pub fn load(paths: &[PathBuf], ask: Option<AskPassphrase>) -> Result<Identities, Error> {
        let files = paths
            .iter()
            .map(|path| {
                let content = std::fs::read(path).map_err(|e| {
                    Error::io("read the age identity file", path, &e)
                        .help("make one with `seqn-play secret keygen`, or name another with --age-identity")
                })?;
                KeyFile::new(path.clone(), Secret::from_bytes(content))
            })
            .collect::<Result<_, _>>()?;
        Ok(Identities { files: Arc::new(files), ask: ask.map(Ask::new) })
    }

    /// From the text of one identity file; `name` is shown in messages.
    ///
    /// # Errors
    /// It holds something else than identities.
    pub fn from_text(name: &str, text: Secret) -> Result<Identities, Error> {
        let file = KeyFile::new(PathBuf::from(name), text)?;
        Ok(Identities { files: Arc::new(vec![file]), ask: None })
    }

    /// From the texts of several identity files.
    ///
    /// # Errors
    /// One holds something else than identities.
    pub fn from_texts(texts: &[crate::source::Text]) -> Result<Identities, Error> {
        let files = texts
            .iter()
            .map(|text| KeyFile::new(PathBuf::from("the operator's identity"), Secret::from(text)))
            .collect::<Result<_, _>>()?;
        Ok(Identities { files: Arc::new(files), ask: None })
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|f| f.path.as_path())
    }

    /// The public keys of these identities: what to encrypt to so that they can open it. Protected
    /// files are left out as long as nobody had to open them.
    pub fn recipients(&self) -> Vec<String> {
        let mut all = Vec::new();
        for file in self.files.iter() {
            match file.kind {
                Kind::Native => all.extend(native_recipients(&file.content)),
                Kind::Ssh => all.extend(ssh_identity(&file.content).and_then(|key| {
                    age::ssh::Recipient::try_from(key).ok().map(|recipient| recipient.to_string())
                })),
                Kind::Protected => {
                    let unlocked = file.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
                    all.extend(unlocked.iter().flat_map(native_recipients));
                }
            }
        }
        all
    }

    /// The keys as the age crate wants them. With `unlock`, protected files are opened too.
    pub(super) fn keys(&self, unlock: bool) -> Result<Vec<Box<dyn age::Identity>>, Error> {
        let mut keys: Vec<Box<dyn age::Identity>> = Vec::new();
        for file in self.files.iter() {
            match file.kind {
                Kind::Native => keys.extend(native_keys(&file.content)),
                Kind::Ssh => keys.extend(ssh_identity(&file.content).map(|key| {
                    let ask = self.ask.clone().unwrap_or_default().for_file(&file.path);
                    Box::new(key.with_callbacks(ask)) as Box<dyn age::Identity>
                })),
                Kind::Protected => {
                    let mut unlocked = file.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
                    if unlocked.is_none() && unlock {
                        *unlocked = Some(self.unlock(file)?);
                    }
                    keys.extend(unlocked.iter().flat_map(native_keys));
                }
            }
        }
        Ok(keys)
    }

    /// Whether a file is still closed by its passphrase.
    pub(super) fn has_locked(&self) -> bool {
        self.files.iter().any(|f| {
            f.kind == Kind::Protected && f.unlocked.lock().unwrap_or_else(PoisonError::into_inner).is_none()
        })
    }

    fn unlock(&self, file: &KeyFile) -> Result<Secret, Error> {
        let question = format!("Passphrase for {}: ", file.path.display());
        let passphrase = self.ask.as_ref().and_then(|ask| (ask.person)(&question)).ok_or_else(|| {
            Error::no_key(format!("{} needs its passphrase and nobody can be asked", file.path.display()))
                .help("run at a terminal, or use an identity without a passphrase")
        })?;
        let passphrase = SecretString::from(passphrase.expose().unwrap_or_default().to_string());
        let key = age::scrypt::Identity::new(passphrase);
        let opened = age::Decryptor::new_buffered(reader(file.content.expose_bytes().trim_ascii_start()))
            .and_then(|d| d.decrypt(std::iter::once(&key as &dyn age::Identity)));
        let plain = match opened {
            Ok(plain) => read_all(plain).map_err(|e| e.about(&file.path))?,
            Err(DecryptError::DecryptionFailed | DecryptError::NoMatchingKeys) => {
                return Err(Error::no_key(format!("wrong passphrase for {}", file.path.display())));
            }
            Err(e) => return Err(Error::damaged(e.to_string()).about(&file.path)),
        };
        check_native(&plain).map_err(|e| e.about(&file.path))?;
        Ok(plain)
    }
}

/// Shows where they come from, and nothing of them.
impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.paths()).finish()
    }
}

impl KeyFile {
    fn new(path: PathBuf, content: Secret) -> Result<KeyFile, Error> {
        let kind = kind_of(&content).map_err(|e| e.about(&path))?;
        Ok(KeyFile { path, content, kind, unlocked: Mutex::new(None) })
    }
}

fn kind_of(content: &Secret) -> Result<Kind, Error> {
    if is_age_file(content.expose_bytes()) {
        let header = age::Decryptor::new_buffered(reader(content.expose_bytes().trim_ascii_start()))
            .map_err(|e| Error::damaged(e.to_string()))?;
        return if header.is_scrypt() {
            Ok(Kind::Protected)
        } else {
            Err(Error::refused("an identity file can be protected by a passphrase, not by another key"))
        };
    }
    if content.expose_bytes().trim_ascii_start().starts_with(b"-----BEGIN ") {
        return match ssh_identity(content) {
            Some(age::ssh::Identity::Unsupported(_)) => Err(Error::refused(
                "age can't use this kind of SSH key; it takes ssh-ed25519 and ssh-rsa keys",
            )),
            Some(_) => Ok(Kind::Ssh),
            None => Err(Error::damaged("it is not a whole SSH private key")),
        };
    }
    check_native(content)?;
    Ok(Kind::Native)
}

fn check_native(content: &Secret) -> Result<(), Error> {
    let text = content.expose().ok_or_else(|| Error::damaged("it is not text, so no age identity"))?;
    let mut found = false;
    for (n, line) in key_lines(text) {
        if line.parse::<age::x25519::Identity>().is_ok() {
            found = true;
            continue;
        }
        let error = Error::damaged(format!("line {n} is no age identity"));
        return Err(if line.starts_with("age1") || line.starts_with("ssh-") {
            error.help("that is a public key; the identity begins with AGE-SECRET-KEY-1")
        } else if line.starts_with("AGE-PLUGIN-") {
            error.help("identities of age plugins are not supported; use a native or SSH key")
        } else {
            error.help("an identity begins with AGE-SECRET-KEY-1; make one with `seqn-play secret keygen`")
        });
    }
    if found { Ok(()) } else { Err(Error::damaged("it holds no age identity")) }
}

fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn natives(content: &Secret) -> Vec<age::x25519::Identity> {
    key_lines(content.expose().unwrap_or_default()).filter_map(|(_, line)| line.parse().ok()).collect()
}

fn native_keys(content: &Secret) -> Vec<Box<dyn age::Identity>> {
    natives(content).into_iter().map(|key| Box::new(key) as Box<dyn age::Identity>).collect()
}

fn native_recipients(content: &Secret) -> Vec<String> {
    natives(content).iter().map(|key| key.to_public().to_string()).collect()
}

fn ssh_identity(content: &Secret) -> Option<age::ssh::Identity> {
    age::ssh::Identity::from_buffer(content.expose_bytes(), None).ok()
}

/// A new native identity: the text of its file, and its recipient.
pub fn generate() -> (Secret, String) {
    let key = age::x25519::Identity::generate();
    let recipient = key.to_public().to_string();
    let now = chrono::Local::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, false);
    let text = format!("# created: {now}\n# public key: {recipient}\n{}\n", key.to_string().expose_secret());
    (Secret::new(text), recipient)
}

/// Remembers answers by file, so that a passphrase is typed once a run.
#[derive(Clone)]
struct Ask {
    person: AskPassphrase,
    answers: Arc<Mutex<HashMap<PathBuf, Secret>>>,
}

impl Default for Ask {
    fn default() -> Ask {
        Ask::new(Arc::new(|_| None))
    }
}

impl Ask {
    fn new(person: AskPassphrase) -> Ask {
        Ask { person, answers: Arc::default() }
    }

    fn for_file(self, path: &Path) -> AskAbout {
        AskAbout { ask: self, path: path.to_path_buf() }
    }
}

#[derive(Clone)]
struct AskAbout {
    ask: Ask,
    path: PathBuf,
}

impl Callbacks for AskAbout {
    fn display_message(&self, _: &str) {}
    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }
    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }
    fn request_passphrase(&self, _: &str) -> Option<SecretString> {
        let mut answers = self.ask.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if !answers.contains_key(&self.path) {
            let answer = (self.ask.person)(&format!("Passphrase for {}: ", self.path.display()))?;
            answers.insert(self.path.clone(), answer);
        }
        answers.get(&self.path).and_then(|a| a.expose()).map(|a| SecretString::from(a.to_string()))
    }
}
