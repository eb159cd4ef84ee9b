//! Secrets that lie where a person says: in a file, or behind a descriptor that we inherited.

use std::fs::File;
use std::io::Read;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Error, ErrorKind, Secret};

/// More than this is no password or key; a device that never ends isn't either.
const MOST: u64 = 1024 * 1024;

/// The content of a file, without one newline at its end.
///
/// # Errors
/// It can't be read, is no text, or others can read it too. A pipe (`<(pass show x)`) is nobody's
/// but ours.
pub fn from_file(path: &Path) -> Result<Secret, Error> {
    let failed = |e: std::io::Error| Error::io("read", path, &e);
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let mode = about.permissions().mode() & 0o7777;
    if about.is_file() && mode & 0o077 != 0 {
        let shown = path.display();
        return Err(Error::refused(format!(
            "{shown} is open to others than its owner (mode {mode:04o}), so it can't hold a secret"
        ))
        .help(format!("chmod 600 {shown}; if others could read it, rotate the secret")));
    }
    read(file).map_err(|e| e.about(path))
}

/// All that the descriptor gives, without one newline at its end; then it is closed, so that no
/// process that we start inherits it.
///
/// # Errors
/// It isn't open for reading, or what it gives is no text.
pub fn from_descriptor(number: i32) -> Result<Secret, Error> {
    // SAFETY: asks about a number, whatever it is.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    if !open || number == libc::STDOUT_FILENO || number == libc::STDERR_FILENO {
        let message = format!("the descriptor {number} is not open for reading");
        return Err(Error::new(ErrorKind::Io, message)
            .help("give it one: seqn-play … --secret-fd NAME=3 3< <(pass show x)"));
    }
    // SAFETY: it is open, and whoever named it gave it to us.
    let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(number) });
    let secret = read(&mut *file)
        .map_err(|e| Error { message: format!("the descriptor {number}: {}", e.message), ..e });
    if number != libc::STDIN_FILENO {
        drop(ManuallyDrop::into_inner(file));
    }
    secret
}

fn read(from: impl Read) -> Result<Secret, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    from.take(MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::new(ErrorKind::Io, format!("it can't be read: {e}")))?;
    if bytes.len() as u64 > MOST {
        return Err(Error::refused("it holds more than 1 MiB, which is no secret"));
    }
    text(&bytes)
}

/// What a source gave, as a secret: text, not empty, without one newline at its end.
pub(super) fn text(bytes: &[u8]) -> Result<Secret, Error> {
    let kept = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if kept.is_empty() {
        return Err(Error::refused("it is empty"));
    }
    if std::str::from_utf8(kept).is_err() || kept.contains(&0) {
        return Err(Error::refused("it isn't text (UTF-8)").help("give bytes as base64"));
    }
    Ok(Secret::from_bytes(kept))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn said(found: Result<Secret, Error>) -> String {
        found.map_or_else(|e| e.message, |s| s.expose().unwrap_or_default().to_string())
    }

    #[test]
    fn a_file_of_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (content, mode, expected) in [
            (&b"hunter2hunter2\n"[..], 0o600, "hunter2hunter2"),
            (b"hunter2\r\n", 0o400, "hunter2"),
            (b" two \n\n", 0o600, " two \n"),
            (b"x", 0o640, "is open to others than its owner (mode 0640)"),
            (b"x", 0o604, "is open to others than its owner (mode 0604)"),
            (b"\n", 0o600, "it is empty"),
            (b"\xff\xfe", 0o600, "it isn't text (UTF-8)"),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let said = said(from_file(&path));
            assert!(said.ends_with(expected) || said.contains(expected), "{mode:o}: {said}");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        assert!(said(from_file(&dir.path().join("no"))).contains("there is no such file"));
    }

    #[test]
    fn what_is_no_descriptor_for_reading() {
        for number in [1, 2, 987] {
            assert!(said(from_descriptor(number)).contains("not open for reading"), "{number}");
        }
    }
}
