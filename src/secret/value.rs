//! The storage of one Secret.

use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::source::Text;

/// A value that must never be seen: zeroized when dropped, kept from swap where the system lets us,
/// without `Display`, and with a `Debug` that shows nothing of it.
///
/// The lock on its memory is best effort (`RLIMIT_MEMLOCK`) and stays until the process ends:
/// locks count in pages, and unlocking one Secret could unlock its neighbour. Clones share it.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Box<[u8]>>>);

impl Secret {
    /// Takes the text; the buffer it came in is wiped.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret::from_bytes(text.into().into_bytes())
    }

    /// Takes the bytes; the buffer they came in is wiped.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Secret {
        let mut bytes = bytes.into();
        // A fresh buffer of the exact size: growing and shrinking leave copies behind.
        let kept: Box<[u8]> = bytes.as_slice().into();
        bytes.zeroize();
        lock(&kept);
        Secret(Arc::new(Zeroizing::new(kept)))
    }

    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is UTF-8.
    pub fn expose(&self) -> Option<&str> {
        std::str::from_utf8(self.expose_bytes()).ok()
    }

    /// As a run-time text with its secret bit set; bytes that aren't UTF-8 become U+FFFD.
    pub fn to_text(&self) -> Text {
        Text::secret(String::from_utf8_lossy(self.expose_bytes()))
    }

    pub fn len(&self) -> usize {
        self.expose_bytes().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// In constant time for equal lengths.
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        let (a, b) = (self.expose_bytes(), other.expose_bytes());
        a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y))) == 0
    }
}
impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("********")
    }
}

impl From<&Text> for Secret {
    fn from(text: &Text) -> Secret {
        Secret::new(text.as_str())
    }
}

fn lock(bytes: &[u8]) {
    if !bytes.is_empty() {
        // SAFETY: the range is a live allocation; mlock reads and writes nothing in it.
        unsafe { libc::mlock(bytes.as_ptr().cast(), bytes.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_and_compares_by_content() {
        let s = Secret::new("hunter2hunter2");
        assert_eq!(format!("{s:?}"), "********");
        assert_eq!(s, Secret::from_bytes(*b"hunter2hunter2"));
        assert_ne!(s, Secret::new("hunter2hunter3"));
        assert_ne!(s, Secret::new("hunter2"));
        assert!(s.to_text().is_secret());
        assert_eq!(Secret::from_bytes(vec![0xff]).expose(), None);
    }

    /// As far as the system allows; a clone is the same memory.
    #[cfg(target_os = "linux")]
    #[test]
    fn its_memory_is_locked() {
        let locked = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|l| l.strip_prefix("VmLck:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
        };
        // Larger than what other tests lock meanwhile.
        let secret = Secret::from_bytes(vec![7; 32 << 10]);
        assert!(locked() >= 32, "{} kB are locked", locked());
        assert_eq!(secret.clone().expose_bytes().as_ptr(), secret.expose_bytes().as_ptr());
    }
}
