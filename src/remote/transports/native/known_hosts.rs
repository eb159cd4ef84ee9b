//! Which host keys are known: OpenSSH's known_hosts files.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::pattern;

/// One line about a host that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// `ssh-ed25519`
    pub kind: String,
    pub key: Vec<u8>,
    pub revoked: bool,
    pub file: PathBuf,
    pub line: usize,
}

impl Known {
    /// `FILE:LINE`
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// What the files say of a key that a host showed.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Known,
    /// Not there; with a line of the same host for another kind of key, if there is one.
    Unknown(Option<Known>),
    /// The line that has another key of the same kind.
    Changed(Known),
    /// The line that revokes it.
    Revoked(Known),
}

/// How a host stands in the files: with its port unless that is 22.
pub fn name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Every line of `files` about `name`. A file that isn't there knows nothing.
///
/// # Errors
/// A file that is there and can't be read.
pub fn lookup(files: &[PathBuf], name: &str) -> Result<Vec<Known>, String> {
    let mut known = Vec::new();
    for file in files {
        match std::fs::read(file) {
            // Comments may be in any encoding.
            Ok(bytes) => parse(&String::from_utf8_lossy(&bytes), file, name, &mut known),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(format!("can't read {}: {e}", file.display())),
        }
    }
    Ok(known)
}

fn parse(text: &str, file: &Path, name: &str, known: &mut Vec<Known>) {
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let Some(mut hosts) = words.next().filter(|w| !w.starts_with('#')) else { continue };
        let mut revoked = false;
        if let Some(marker) = hosts.strip_prefix('@') {
            match marker {
                "revoked" => revoked = true,
                // Certificates of hosts aren't asked for, so authorities vouch for nothing here.
                _ => continue,
            }
            let Some(next) = words.next() else { continue };
            hosts = next;
        }
        let (Some(kind), Some(key)) = (words.next(), words.next()) else { continue };
        if !speaks_of(hosts, name) {
            continue;
        }
        if let Ok(key) = STANDARD.decode(key) {
            known.push(Known { kind: kind.into(), key, revoked, file: file.to_path_buf(), line: index + 1 });
        }
    }
}

fn speaks_of(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return hashed
            .split_once('|')
            .and_then(|(salt, hash)| Some((STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?)))
            .and_then(|(salt, hash)| Some((Hmac::<Sha1>::new_from_slice(&salt).ok()?, hash)))
            .is_some_and(|(mac, hash)| mac.chain_update(name).verify_slice(&hash).is_ok());
    }
    pattern::any(hosts.to_lowercase().split(','), name)
}

/// What `known` (of one host) says of a key.
pub fn judge(known: &[Known], kind: &str, key: &[u8]) -> Verdict {
    let same = |k: &&Known| k.key == key;
    if let Some(line) = known.iter().filter(|k| k.revoked).find(same) {
        return Verdict::Revoked(line.clone());
    }
    let mut trusted = known.iter().filter(|k| !k.revoked);
    if trusted.clone().any(|k| same(&k)) {
        return Verdict::Known;
    }
    match trusted.clone().find(|k| k.kind == kind) {
        Some(line) => Verdict::Changed(line.clone()),
        None => Verdict::Unknown(trusted.next().cloned()),
    }
}

/// A line for a host's key, hashed if asked for.
pub fn line(name: &str, kind: &str, key: &[u8], hashed: bool) -> String {
    let hosts = match hashed {
        false => name.to_string(),
        true => {
            let salt: [u8; 20] = rand::random();
            let hash = Hmac::<Sha1>::new_from_slice(&salt).map(|mac| mac.chain_update(name).finalize());
            match hash {
                Ok(hash) => format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash.into_bytes())),
                Err(_) => name.to_string(),
            }
        }
    };
    format!("{hosts} {kind} {}\n", STANDARD.encode(key))
}

/// Appends a line to a known_hosts file, which is made if it isn't there.
///
/// # Errors
/// The file can't be written.
pub fn learn(file: &Path, line: &str) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(folder) = file.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    let newline = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{newline}{line}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"key one";
    const OTHER: &[u8] = b"key two";

    fn known(text: &str, name: &str) -> Vec<Known> {
        let mut known = Vec::new();
        let text = text.replace("KEY", &STANDARD.encode(KEY)).replace("OTHER", &STANDARD.encode(OTHER));
        parse(&text, Path::new("/kh"), name, &mut known);
        known
    }

    fn verdict(text: &str, name: &str) -> String {
        match judge(&known(text, name), "ssh-ed25519", KEY) {
            Verdict::Known => "known".into(),
            Verdict::Unknown(None) => "unknown".into(),
            Verdict::Unknown(Some(k)) => format!("unknown, {} at {}", k.kind, k.place()),
            Verdict::Changed(k) => format!("changed at {}", k.place()),
            Verdict::Revoked(k) => format!("revoked at {}", k.place()),
        }
    }

    #[test]
    fn lines_of_every_shape() {
        for (text, name, expected) in [
            ("", "h", "unknown"),
            ("h ssh-ed25519 KEY", "h", "known"),
            ("h ssh-ed25519 KEY a comment", "h", "known"),
            ("# h ssh-ed25519 KEY", "h", "unknown"),
            ("\n\n  h\tssh-ed25519\tKEY", "h", "known"),
            ("H ssh-ed25519 KEY", "h", "known"),
            ("a,h,10.0.0.1 ssh-ed25519 KEY", "10.0.0.1", "known"),
            ("*.org,!x.org ssh-ed25519 KEY", "a.org", "known"),
            ("*.org,!x.org ssh-ed25519 KEY", "x.org", "unknown"),
            ("h ssh-ed25519 OTHER", "h", "changed at /kh:1"),
            ("x ssh-ed25519 OTHER\nh ssh-ed25519 OTHER", "h", "changed at /kh:2"),
            ("h ssh-ed25519 OTHER\nh ssh-ed25519 KEY", "h", "known"),
            ("h ssh-rsa OTHER", "h", "unknown, ssh-rsa at /kh:1"),
            ("@revoked h ssh-ed25519 KEY", "h", "revoked at /kh:1"),
            ("h ssh-ed25519 KEY\n@revoked * ssh-ed25519 KEY", "h", "revoked at /kh:2"),
            ("@revoked h ssh-ed25519 OTHER", "h", "unknown"),
            ("@cert-authority h ssh-ed25519 KEY", "h", "unknown"),
            ("[h]:2222 ssh-ed25519 KEY", "[h]:2222", "known"),
            ("h ssh-ed25519 KEY", "[h]:2222", "unknown"),
            ("[h]:2222 ssh-ed25519 KEY", "h", "unknown"),
            ("h ssh-ed25519 !!!", "h", "unknown"),
            ("h ssh-ed25519", "h", "unknown"),
        ] {
            assert_eq!(verdict(text, name), expected, "{text:?} {name}");
        }
    }

    #[test]
    fn hashed_hosts_are_found_by_name_and_port() {
        for name in ["h", "[h]:2222"] {
            let line = line(name, "ssh-ed25519", KEY, true);
            assert!(line.starts_with("|1|") && !line.contains("h]"), "{line}");
            assert_eq!(verdict(&line, name), "known");
            assert_eq!(verdict(&line, "other"), "unknown");
        }
        // As ssh-keygen -H writes it.
        let made = "|1|lPdGPxDorPB4T9jnaCDMGAB1YwI=|2ceUG4LVKKdznK1lM8VBUWq0vBU= ssh-ed25519 KEY";
        assert_eq!(verdict(made, "db.example.com"), "known");
        assert_eq!(verdict("|1|bad ssh-ed25519 KEY\n|1|a|b ssh-ed25519 KEY", "h"), "unknown");
    }

    #[test]
    fn learning_keeps_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ssh/known_hosts");
        learn(&file, "a ssh-ed25519 AAAA\n").unwrap();
        std::fs::write(&file, "a ssh-ed25519 AAAA").unwrap();
        learn(&file, "b ssh-ed25519 BBBB\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a ssh-ed25519 AAAA\nb ssh-ed25519 BBBB\n");
    }
}
