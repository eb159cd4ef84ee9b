//! Vault passwords and where they come from: `--vault-id LABEL@SOURCE`, password files, scripts and
//! prompts, by Ansible's rules.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::DEFAULT_ID;
use crate::secret::{Error, ErrorKind, Secret};

#[derive(Debug, Clone, PartialEq)]
pub struct Password {
    /// Its label; `default` where none was given.
    pub id: String,
    pub secret: Secret,
}

/// The vault passwords of a run, in the order given.
#[derive(Debug, Clone, Default)]
pub struct Passwords {
    list: Vec<Password>,
    /// Only the password that a header names opens it (`DEFAULT_VAULT_ID_MATCH`).
    pub match_ids: bool,
}

/// Asks a person for a password without showing it; `None` when there is nobody to ask.
pub type AskPassword<'a> = &'a dyn Fn(&str) -> Option<Secret>;

/// Exit status by which a client script says that it has no password for the id.
const UNKNOWN_ID: i32 = 2;

impl Passwords {
    pub fn new(list: Vec<Password>) -> Passwords {
        Passwords { list, match_ids: false }
    }

    pub fn add(&mut self, password: Password) {
        self.list.push(password);
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Password> {
        self.list.iter()
    }

    /// What to try on a text whose header names `id`.
    pub(super) fn in_order_for(&self, id: Option<&str>) -> Vec<&Password> {
        let wanted = id.unwrap_or(DEFAULT_ID);
        let (first, rest): (Vec<_>, Vec<_>) = self.list.iter().partition(|p| p.id == wanted);
        if self.match_ids { first } else { first.into_iter().chain(rest).collect() }
    }

    /// The password to encrypt with: the one labelled `encrypt_id` (`--encrypt-vault-id`), or the
    /// only one.
    ///
    /// # Errors
    /// None was given, no such label, or several without saying which.
    pub fn for_encryption(&self, encrypt_id: Option<&str>) -> Result<&Password, Error> {
        let labels = || self.list.iter().map(|p| p.id.as_str()).collect::<Vec<_>>().join(",");
        match (encrypt_id, &self.list[..]) {
            (_, []) => Err(Error::no_key("A vault password is required to use Ansible's Vault")
                .help("give --ask-vault-pass, --vault-password-file FILE or --vault-id LABEL@SOURCE")),
            (Some(id), list) => list.iter().find(|p| p.id == id).ok_or_else(|| {
                Error::no_key(format!(
                    "Did not find a match for --encrypt-vault-id={id} in the known vault-ids {}",
                    labels()
                ))
            }),
            (None, [only]) => Ok(only),
            (None, list) if list.iter().all(|p| p.id == list[0].id) => Ok(&list[0]),
            (None, _) => Err(Error::refused(format!(
                "The vault-ids {} are available to encrypt. Specify the vault-id to encrypt with --encrypt-vault-id",
                labels()
            ))),
        }
    }
}

impl Password {
    /// From `LABEL@SOURCE` or `SOURCE`, where SOURCE is `prompt`, a file or an executable.
    ///
    /// # Errors
    /// The source is missing, empty, failed, or nobody could be asked.
    pub fn from_vault_id(vault_id: &str, ask: AskPassword) -> Result<Password, Error> {
        // As Ansible: the first `@` parts, and a source may hold more of them.
        let (id, source) = match vault_id.split_once('@') {
            Some(("", source)) => (DEFAULT_ID, source),
            Some((id, source)) => (id, source),
            None => (DEFAULT_ID, vault_id),
        };
        match source {
            "prompt" | "prompt_ask_vault_pass" => {
                let question = match source {
                    "prompt_ask_vault_pass" => "Vault password: ".to_string(),
                    _ => format!("Vault password ({id}): "),
                };
                let typed = ask(&question).ok_or_else(|| {
                    Error::no_key(format!("no terminal to ask for the vault password ({id})"))
                        .help("use --vault-password-file FILE where nobody can type")
                })?;
                Password::checked(id, typed.expose_bytes().trim_ascii(), &"prompt")
            }
            _ => Password::from_file(id, Path::new(source)),
        }
    }

    /// From a file, or the output of an executable one. A script named `…-client` (before its
    /// extension) gets `--vault-id ID`.
    ///
    /// # Errors
    /// Missing, a directory, empty, or the script failed.
    pub fn from_file(id: &str, path: &Path) -> Result<Password, Error> {
        let shown = path.display();
        let about = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::Io, format!("The vault password file {shown} was not found"))
            }
            _ => Error::io("read the vault password file", path, &e),
        })?;
        if about.is_dir() {
            return Err(Error::refused(format!(
                "The vault password file provided '{shown}' can not be a directory"
            )));
        }
        if about.permissions().mode() & 0o111 != 0 {
            return Password::checked(id, run_script(id, path)?.expose_bytes().trim_ascii_newlines(), &shown);
        }
        let read = std::fs::read(path).map_err(|e| Error::io("read the vault password file", path, &e))?;
        Password::checked(id, Secret::from_bytes(read).expose_bytes().trim_ascii(), &shown)
    }

    fn checked(id: &str, password: &[u8], source: &dyn std::fmt::Display) -> Result<Password, Error> {
        if password.is_empty() {
            return Err(Error::refused(format!(
                "Invalid vault password was provided from {source}: it is empty"
            )));
        }
        Ok(Password { id: id.to_string(), secret: Secret::from_bytes(password) })
    }
}

fn run_script(id: &str, path: &Path) -> Result<Secret, Error> {
    let shown = path.display();
    let is_client = path.file_stem().is_some_and(|s| s.to_string_lossy().ends_with("-client"));
    // A bare name would be looked for in $PATH.
    let program = if path.components().count() == 1 { Path::new(".").join(path) } else { path.into() };
    let mut command = Command::new(program);
    if is_client {
        command.args(["--vault-id", id]);
    }
    // A script may ask a person itself: stdin and stderr stay the terminal's.
    let output = command.stdin(Stdio::inherit()).stderr(Stdio::inherit()).output().map_err(|e| {
        Error::new(ErrorKind::Io, format!("Problem running vault password script {shown} ({e})"))
            .help("if this is not a script, remove the executable bit from the file")
    })?;
    let secret = Secret::from_bytes(output.stdout);
    match output.status.code() {
        Some(0) => Ok(secret),
        Some(UNKNOWN_ID) if is_client => Err(Error::no_key(format!(
            "Vault password client script {shown} did not find a secret for vault-id={id}"
        ))),
        code => Err(Error::new(
            ErrorKind::Io,
            format!(
                "Vault password script {shown} failed ({})",
                code.map_or("ended by a signal".to_string(), |c| format!("exit status {c}"))
            ),
        )),
    }
}

trait TrimNewlines {
    fn trim_ascii_newlines(&self) -> &[u8];
}
impl TrimNewlines for [u8] {
    fn trim_ascii_newlines(&self) -> &[u8] {
        let newline = |b: &u8| matches!(b, b'\r' | b'\n');
        let start = self.iter().position(|b| !newline(b)).unwrap_or(self.len());
        let end = self.iter().rposition(|b| !newline(b)).map_or(start, |i| i + 1);
        &self[start..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, content: &str, mode: u32) -> std::path::PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn sources() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = |_: &str| None;
        let plain = file(dir.path(), "pass", "  p w \n", 0o600);
        let script = file(dir.path(), "pass.sh", "#!/bin/sh\nprintf ' p w \\n'\n", 0o700);
        let client =
            file(dir.path(), "my-client.sh", "#!/bin/sh\n[ $2 = prod ] || exit 2\necho \"$1=$2\"\n", 0o700);
        let empty = file(dir.path(), "empty", "\n", 0o600);
        let failing = file(dir.path(), "fail.sh", "#!/bin/sh\necho half; exit 3\n", 0o700);
        let from = |spec: String| Password::from_vault_id(&spec, &nobody);
        let text = |p: Result<Password, Error>| p.map(|p| (p.id, p.secret.expose().unwrap().to_string()));
        for (spec, expected) in [
            (plain.display().to_string(), Ok(("default", "p w"))),
            (format!("dev@{}", plain.display()), Ok(("dev", "p w"))),
            (format!("@{}", script.display()), Ok(("default", " p w "))),
            (format!("prod@{}", client.display()), Ok(("prod", "--vault-id=prod"))),
            (format!("dev@{}", client.display()), Err("did not find a secret for vault-id=dev")),
            (empty.display().to_string(), Err("it is empty")),
            (failing.display().to_string(), Err("exit status 3")),
            (dir.path().display().to_string(), Err("can not be a directory")),
            ("/no/such/file".to_string(), Err("/no/such/file was not found")),
            ("dev@prompt".to_string(), Err("no terminal to ask for the vault password (dev)")),
        ] {
            match (text(from(spec.clone())), expected) {
                (Ok((id, secret)), Ok(e)) => assert_eq!((id.as_str(), secret.as_str()), e),
                (Err(error), Err(e)) => assert!(error.message.contains(e), "{spec}: {error}"),
                (got, e) => panic!("{spec}: {got:?} instead of {e:?}"),
            }
        }
        let asked = Password::from_vault_id("dev@prompt", &|q| {
            assert_eq!(q, "Vault password (dev): ");
            Some(Secret::new("typed\n"))
        });
        assert_eq!(asked.unwrap().secret.expose(), Some("typed"));
    }

    #[test]
    fn which_one_encrypts() {
        let p = |id: &str| Password { id: id.into(), secret: Secret::new(id) };
        let two = Passwords::new(vec![p("a"), p("b")]);
        assert_eq!(two.for_encryption(Some("b")).unwrap().id, "b");
        assert!(two.for_encryption(None).unwrap_err().message.contains("vault-ids a,b are available"));
        assert!(two.for_encryption(Some("c")).unwrap_err().message.contains("--encrypt-vault-id=c"));
        assert_eq!(Passwords::new(vec![p("a")]).for_encryption(None).unwrap().id, "a");
        assert!(Passwords::default().for_encryption(None).is_err());
    }

    #[test]
    fn the_named_one_is_tried_first_and_alone_when_ids_must_match() {
        let p = |id: &str| Password { id: id.into(), secret: Secret::new(id) };
        let mut all = Passwords::new(vec![p("a"), p("b"), p("default")]);
        let order = |all: &Passwords, id| {
            all.in_order_for(id).iter().map(|p| p.id.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(&all, Some("b")), "b a default");
        assert_eq!(order(&all, None), "default a b");
        all.match_ids = true;
        assert_eq!(order(&all, Some("b")), "b");
    }
}
