//! Decrypts an archive to its end without keeping it: what is proved is that the key opens it,
//! that nothing is missing or changed, and that the content begins as it should.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tokio::io::AsyncRead;

use crate::secret::archive::{Key, read_error};
use crate::secret::pieces::{PIECE, pieces};
use crate::secret::{Error, ErrorKind};
use crate::source::hex::hex;

/// What the plaintext shall look like, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// `pg_dump -Fc` (`PGDMP`).
    PgDump,
    /// A plain `pg_dump` or `pg_dumpall`: SQL text with their comment.
    Sql,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Tar,
    Zip,
}

/// What decrypting to the end showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Bytes of plaintext.
    pub size: u64,
    /// Of the plaintext, lower-case hex.
    pub sha256: String,
    /// Bytes of the archive itself.
    pub archive_size: u64,
    /// What its first bytes say it is.
    pub content: Option<Content>,
}

/// Bytes that decide what a content is: `ustar` stands at 257.
const HEAD: usize = 512;

impl Content {
    /// As named in arguments and results.
    pub fn name(self) -> &'static str {
        match self {
            Content::PgDump => "pg_dump",
            Content::Sql => "sql",
            Content::Gzip => "gzip",
            Content::Zstd => "zstd",
            Content::Xz => "xz",
            Content::Bzip2 => "bzip2",
            Content::Tar => "tar",
            Content::Zip => "zip",
        }
    }

    /// What these first bytes are the beginning of.
    pub fn of(head: &[u8]) -> Option<Content> {
        Some(match head {
            h if h.starts_with(b"PGDMP") => Content::PgDump,
            [0x1f, 0x8b, 0x08, ..] => Content::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Content::Zstd,
            h if h.starts_with(b"\xfd7zXZ\0") => Content::Xz,
            h if h.starts_with(b"BZh") => Content::Bzip2,
            h if h.starts_with(b"PK\x03\x04") || h.starts_with(b"PK\x05\x06") => Content::Zip,
            h if h.get(257..262) == Some(b"ustar") => Content::Tar,
            h if h.windows(19).any(|w| w == b"PostgreSQL database") => Content::Sql,
            _ => return None,
        })
    }
}

/// Reads `archive` to its end through `key`, in constant memory.
///
/// # Errors
/// The key doesn't fit, or it is damaged, cut, or couldn't be read.
pub fn prove(archive: impl Read + Send + 'static, key: &Key) -> Result<Proof, Error> {
    let archive_size = Arc::new(AtomicU64::new(0));
    let counted = Counted { inner: archive, bytes: archive_size.clone() };
    let mut hash = Sha256::new();
    let mut head = Vec::with_capacity(HEAD);
    let mut size = 0;
    {
        let mut plain = key.decrypt_stream(counted)?;
        let mut piece = zeroize::Zeroizing::new(vec![0; PIECE]);
        loop {
            let n = plain.read(&mut piece).map_err(read_error)?;
            if n == 0 {
                break;
            }
            hash.update(&piece[..n]);
            size += n as u64;
            let missing = HEAD - head.len();
            head.extend_from_slice(&piece[..n.min(missing)]);
        }
    }
    let archive_size = archive_size.load(Ordering::Relaxed);
    Ok(Proof { size, sha256: hex(hash.finalize()), archive_size, content: Content::of(&head) })
}

/// [`prove`] of what comes asynchronously, such as a file of a host; decrypting runs on a thread of
/// its own.
///
/// # Errors
/// As [`prove`].
pub async fn prove_async(archive: impl AsyncRead + Unpin, key: Key) -> Result<Proof, Error> {
    let (pump, encrypted) = pieces();
    let work = tokio::task::spawn_blocking(move || prove(encrypted, &key));
    pump.run(archive).await;
    work.await.map_err(|e| Error::new(ErrorKind::Io, format!("decrypting was cut short: {e}")))?
}

struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(into)?;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::agefile::{Format, encrypt};
    use crate::secret::recipients::Recipients;
    use crate::secret::{Identities, identities};

    fn keys() -> (Key, Recipients) {
        let (identity, recipient) = identities::generate();
        (
            Key::Age(Identities::from_text("key", identity).unwrap()),
            Recipients::parse([recipient.as_str()]).unwrap(),
        )
    }

    #[test]
    fn what_contents_begin_with() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let cases: [(&[u8], Option<Content>); 8] = [
            (b"PGDMP\x01\x0e", Some(Content::PgDump)),
            (b"--\n-- PostgreSQL database dump\n--\n", Some(Content::Sql)),
            (b"--\n-- PostgreSQL database cluster dump\n--\n", Some(Content::Sql)),
            (&[0x1f, 0x8b, 0x08, 0], Some(Content::Gzip)),
            (&tar, Some(Content::Tar)),
            (b"PK\x03\x04", Some(Content::Zip)),
            (b"error: could not connect", None),
            (b"", None),
        ];
        for (head, expected) in cases {
            assert_eq!(Content::of(head), expected);
        }
    }

    #[tokio::test]
    async fn proves_to_the_end_sync_and_async() {
        let (ids, to) = keys();
        let plain: Vec<u8> = b"PGDMP".iter().copied().chain((0..1_000_000).map(|i| i as u8)).collect();
        for format in [Format::Binary, Format::Armored] {
            let sealed = encrypt(&plain, &to, format).unwrap();
            let proof = prove(std::io::Cursor::new(sealed.clone()), &ids).unwrap();
            assert_eq!(proof.size, plain.len() as u64);
            assert_eq!(proof.archive_size, sealed.len() as u64);
            assert_eq!(proof.content, Some(Content::PgDump));
            assert_eq!(proof.sha256, crate::source::hex::sha256(&plain));
            assert_eq!(prove_async(&sealed[..], ids.clone()).await.unwrap(), proof);

            for cut in [sealed.len() / 2, sealed.len() - 40] {
                let error = prove_async(&sealed[..cut], ids.clone()).await.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Damaged, "{error}");
            }
            let error = prove_async(&sealed[..], keys().0).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::NoKey, "{error}");
        }
    }

    #[tokio::test]
    async fn a_source_that_fails_is_no_proof() {
        struct Fails<'b>(&'b [u8]);
        impl AsyncRead for Fails<'_> {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let n = self.0.len().min(buffer.remaining());
                if n == 0 {
                    return std::task::Poll::Ready(Err(std::io::Error::other("connection lost")));
                }
                let (now, later) = self.0.split_at(n);
                buffer.put_slice(now);
                self.0 = later;
                std::task::Poll::Ready(Ok(()))
            }
        }
        let (ids, to) = keys();
        let sealed = encrypt(&vec![0; 300_000], &to, Format::Binary).unwrap();
        let error = prove_async(Fails(&sealed[..200_000]), ids).await.unwrap_err();
        assert!(error.message.contains("connection lost"), "{error}");
    }

    /// 256 MiB through a pipe that never holds more than a piece of it.
    /// In a process of its own: the peak counts what other tests need at the same time.
    #[test]
    fn memory_stays_constant() {
        const ALONE: &str = "SEQN_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let name = "module::archive_decrypt::prove::tests::memory_stays_constant";
            let alone = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env(ALONE, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&alone.stdout);
            assert!(alone.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let (ids, to) = keys();
        let (reader, writer) = std::io::pipe().unwrap();
        let work = std::thread::spawn(move || {
            use std::io::Write;
            let keys: Vec<_> = to.as_age().collect();
            let mut out =
                age::Encryptor::with_recipients(keys.into_iter()).unwrap().wrap_output(writer).unwrap();
            for _ in 0..256 {
                out.write_all(&vec![7; 1 << 20]).unwrap();
            }
            out.finish().unwrap();
        });
        let before = resident();
        let proof = prove(reader, &ids).unwrap();
        work.join().unwrap();
        assert_eq!(proof.size, 256 << 20);
        assert!(resident() < before + (64 << 20));
    }

    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}
