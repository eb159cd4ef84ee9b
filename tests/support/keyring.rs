//! A GnuPG keyring of its own, with keys that are made for a test.

#![allow(dead_code)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub struct Keyring(tempfile::TempDir);

impl Keyring {
    /// Says why there is none.
    pub fn new() -> Option<Keyring> {
        if Command::new("gpg").arg("--version").output().is_err() {
            assert!(std::env::var_os("SEQN_REQUIRE_ALL").is_none(), "no gpg on this machine");
            let _ = writeln!(std::io::stderr(), "skipped: no gpg on this machine");
            return None;
        }
        Some(Keyring(tempfile::tempdir().expect("a folder")))
    }

    /// `$GNUPGHOME`.
    pub fn home(&self) -> &str {
        self.0.path().to_str().expect("a path")
    }

    pub fn gpg(&self, args: &[&str], input: &[u8]) -> Output {
        let mut gpg = Command::new("gpg")
            .args(["--batch", "--quiet", "--no-tty", "--homedir", self.home()])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg");
        gpg.stdin.take().expect("a pipe").write_all(input).expect("it listens");
        gpg.wait_with_output().expect("it ends")
    }

    #[track_caller]
    fn well(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let ran = self.gpg(args, input);
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    }

    /// A new key, locked by a passphrase where one is given; its fingerprint.
    pub fn key(&self, name: &str, passphrase: &str) -> String {
        let loopback = ["--pinentry-mode", "loopback", "--passphrase", passphrase];
        let name = format!("{name}@backup.invalid");
        self.well(
            &[&loopback[..], &["--quick-generate-key", &name, "rsa2048", "cert", "never"]].concat(),
            b"",
        );
        let fingerprint = self.fingerprint(&name);
        self.subkey(&fingerprint, passphrase);
        self.lock();
        fingerprint
    }

    /// One more subkey that decrypts.
    pub fn subkey(&self, fingerprint: &str, passphrase: &str) {
        let loopback = ["--pinentry-mode", "loopback", "--passphrase", passphrase];
        self.well(
            &[&loopback[..], &["--quick-add-key", fingerprint, "rsa2048", "encr", "never"]].concat(),
            b"",
        );
    }

    fn fingerprint(&self, name: &str) -> String {
        let listed = self.well(&["--with-colons", "--list-keys", name], b"");
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).expect("a fingerprint");
        line.split(':').nth(9).expect("a fingerprint").to_string()
    }

    /// The agent forgets passphrases.
    pub fn lock(&self) {
        let ended = Command::new("gpgconf").args(["--homedir", self.home(), "--kill", "all"]).status();
        assert!(ended.is_ok_and(|status| status.success()), "the agent goes on");
    }

    pub fn encrypt(&self, to: &[&str], plain: &[u8]) -> Vec<u8> {
        let mut args = vec!["--trust-model", "always", "--encrypt"];
        to.iter().for_each(|key| args.extend(["-r", key]));
        self.well(&args, plain)
    }

    /// Whether it knows the key.
    pub fn has(&self, fingerprint: &str) -> bool {
        self.gpg(&["--list-keys", fingerprint], b"").status.success()
    }

    /// Whether it has a private key.
    pub fn is_private(&self) -> bool {
        let keys = Path::new(self.home()).join("private-keys-v1.d");
        std::fs::read_dir(keys).is_ok_and(|mut keys| keys.next().is_some())
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.lock();
    }
}
