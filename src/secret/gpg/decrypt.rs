//! `gpg --decrypt` as a reader. What is proved is that the one key opens the message, and that nothing
//! of it is missing or changed.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::thread::JoinHandle;

use super::{Error, Key, gpg, not_started, packets};
use crate::secret::archive::HEADER_MAX;
use crate::secret::{ErrorKind, pieces::PIECE};

/// A running `gpg`.
pub struct Decrypting {
    child: Child,
    plain: ChildStdout,
    key: Key,
    /// What gives the message to it, and what hears what it says; taken at the end.
    helpers: Option<(JoinHandle<io::Result<()>>, JoinHandle<String>)>,
}

impl Decrypting {
    pub fn start(key: &Key, mut ciphertext: impl Read + Send + 'static) -> Result<Decrypting, Error> {
        let mut head = Vec::new();
        let failed = crate::secret::archive::read_error;
        ciphertext.by_ref().take(HEADER_MAX).read_to_end(&mut head).map_err(failed)?;
        if !key.opens(&head)? {
            let ids = packets::recipients(&head)?.join(", ");
            return Err(Error::no_key(format!(
                "it is not encrypted to the GPG key {}, but to {ids}",
                key.fingerprint
            )));
        }
        // `gpg` takes whichever of its keys fits first.
        let head = packets::only_for(&head, &key.ids)?;
        let mut child = gpg()
            .args(["--status-fd", "2", "--decrypt"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let (Some(mut stdin), Some(plain), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::new(ErrorKind::Io, "gpg was started without its pipes"));
        };
        let feeding = std::thread::spawn(move || {
            let mut source = head.chain(ciphertext);
            let mut piece = vec![0; PIECE];
            loop {
                let n = source.read(&mut piece)?;
                // One that reads no more says itself why.
                if n == 0 || stdin.write_all(&piece[..n]).is_err() {
                    return Ok(());
                }
            }
        });
        let hearing = std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stderr.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        Ok(Decrypting { child, plain, key: key.clone(), helpers: Some((feeding, hearing)) })
    }

    /// Whether the end is the end of a whole message.
    fn ended(&mut self) -> Result<(), Error> {
        let Some((feeding, hearing)) = self.helpers.take() else { return Ok(()) };
        let status = self.child.wait().map_err(not_started)?;
        let said = hearing.join().unwrap_or_default();
        match feeding.join() {
            Ok(Ok(())) => judge(&said, status.success(), &self.key.fingerprint),
            Ok(Err(e)) => Err(Error::new(ErrorKind::Io, format!("could not read the archive: {e}"))),
            Err(_) => Err(Error::new(ErrorKind::Io, "decrypting was cut short")),
        }
    }
}

impl Read for Decrypting {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.plain.read(into)? {
            0 if !into.is_empty() => self.ended().map(|()| 0).map_err(io::Error::other),
            n => Ok(n),
        }
    }
}

impl Drop for Decrypting {
    fn drop(&mut self) {
        if self.helpers.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// `pkdecrypt_failed` where the agent would have had to ask a person (libgpg-error: no pinentry, no
/// passphrase, a wrong one, cancelled).
const LOCKED: [u32; 4] = [85, 177, 11, 99];

/// What `gpg` said, judged by its status lines.
fn judge(said: &str, success: bool, fingerprint: &str) -> Result<(), Error> {
    let statuses = || said.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
    let has = |status: &str| statuses().any(|line| line == status);
    let with = statuses().find_map(|line| line.strip_prefix("DECRYPTION_KEY ")?.split(' ').nth(1));
    if success && has("DECRYPTION_OKAY") && has("GOODMDC") {
        return match with {
            Some(with) if with == fingerprint => Ok(()),
            _ => Err(Error::no_key(format!("gpg opened it, but not with the key {fingerprint}"))),
        };
    }
    if has("BADMDC") || (with.is_some() && !has("DECRYPTION_OKAY")) {
        return Err(Error::damaged("the archive is damaged: it was cut or changed"));
    }
    let refused =
        statuses().find_map(|line| line.strip_prefix("ERROR pkdecrypt_failed ")?.parse::<u32>().ok());
    if refused.is_some_and(|code| LOCKED.contains(&(code & 0xffff))) {
        return Err(Error::no_key(format!(
            "the private GPG key {fingerprint} is locked, and nobody can be asked for its passphrase here"
        ))
        .help(format!(
            "unlock it in your agent first: `echo | gpg --trust-model always -r {fingerprint} -e | gpg -d`"
        )));
    }
    let last = said.lines().rfind(|line| line.starts_with("gpg: ")).unwrap_or("gpg: it did not say why");
    Err(Error::no_key(format!("gpg could not decrypt it ({})", &last["gpg: ".len()..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "C868A0A94EDD40CF6A7DF2C98FB229C2F5A0F427";
    const OPENED: &str = "\
[GNUPG:] ENC_TO 86768F63B127FC96 1 0
[GNUPG:] DECRYPTION_KEY D8318265542DDCBB39F3045B86768F63B127FC96 C868A0A94EDD40CF6A7DF2C98FB229C2F5A0F427 u
[GNUPG:] BEGIN_DECRYPTION
[GNUPG:] DECRYPTION_INFO 2 9 0
";
    const WELL: &str = "[GNUPG:] DECRYPTION_OKAY\n[GNUPG:] GOODMDC\n[GNUPG:] END_DECRYPTION\n";
    const LOCKED: &str = "\
[GNUPG:] ENC_TO D350C091F75DF353 1 0
gpg: public key decryption failed: No pinentry
[GNUPG:] ERROR pkdecrypt_failed 67108949
[GNUPG:] DECRYPTION_FAILED
gpg: decryption failed: No secret key
";

    #[test]
    fn what_gpg_says() {
        let well = format!("{OPENED}{WELL}");
        assert_eq!(judge(&well, true, KEY), Ok(()));
        for (said, success, why) in [
            (well.clone(), false, "did not say why"),
            (well.replace("GOODMDC", "BADMDC"), true, "damaged"),
            (well.replace("[GNUPG:] GOODMDC\n", ""), true, "could not decrypt"),
            (OPENED.to_string(), true, "damaged"),
            (well.replace(KEY, &"A".repeat(40)), true, "but not with the key"),
            (LOCKED.to_string(), false, "is locked"),
            (LOCKED.replace("67108949", "67108881"), false, "(decryption failed: No secret key)"),
            (String::new(), false, "did not say why"),
        ] {
            let error = judge(&said, success, KEY).unwrap_err();
            assert!(error.message.contains(why), "{said}\n{error}");
        }
    }
}
