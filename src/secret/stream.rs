//! The [`Redactor`] for output that comes in pieces.

use std::io::{self, Write};

use super::redactor::{MASK, Redactor};

/// Redacts what is written through it, also where a secret comes in several pieces.
///
/// Only the end of what was written so far is held back, and only as far as it could be the
/// beginning of a secret (at most one byte less than the longest form). [`flush`](Write::flush)
/// keeps holding that back; [`finish`](RedactingWriter::finish) or dropping writes it.
pub struct RedactingWriter<W: Write> {
    redactor: Redactor,
    inner: Option<W>,
    held: Vec<u8>,
    /// How many of the held bytes belong to a secret whose mask is already written.
    masked: usize,
}

impl<W: Write> RedactingWriter<W> {
    pub fn new(redactor: Redactor, inner: W) -> RedactingWriter<W> {
        RedactingWriter { redactor, inner: Some(inner), held: Vec::new(), masked: 0 }
    }

    /// Writes what is held back and gives the inner writer.
    ///
    /// # Errors
    /// As the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.pass_on(true)?;
        let mut inner = self.inner.take().ok_or(io::ErrorKind::BrokenPipe)?;
        inner.flush()?;
        Ok(inner)
    }

    fn pass_on(&mut self, all: bool) -> io::Result<()> {
        let Some(inner) = self.inner.as_mut() else { return Ok(()) };
        let known = self.redactor.known();
        let begun = if all { 0 } else { known.forms.begun(&self.held) };
        let ready = self.held.len() - begun;

        let mut out = Vec::with_capacity(ready);
        let mut at = self.masked.min(ready);
        let mut covered = self.masked;
        for secret in known.forms.find(&self.held) {
            if secret.start >= ready {
                break;
            }
            // One that overlaps what is masked already only makes the mask longer.
            if secret.start >= covered {
                out.extend_from_slice(&self.held[at..secret.start]);
                out.extend_from_slice(MASK.as_bytes());
            }
            covered = covered.max(secret.end);
            at = covered.min(ready);
        }
        out.extend_from_slice(&self.held[at..ready]);
        drop(known);
        inner.write_all(&out)?;
        self.held.drain(..ready);
        self.masked = covered.saturating_sub(ready);
        Ok(())
    }
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        self.pass_on(false)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on(false)?;
        self.inner.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl<W: Write> Drop for RedactingWriter<W> {
    fn drop(&mut self) {
        // Nobody can be told of a failure here; `finish` is for whoever wants to know.
        let _ = self.pass_on(true);
        let _ = self.inner.as_mut().map(Write::flush);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a hunter2hunter2 b abcdefghijkl c aaaaaaaaaaaaaaaaaaaa hunter2hunte";

    fn redactor() -> Redactor {
        let r = Redactor::new();
        for s in ["hunter2hunter2", "abcdefg", "efghijkl", "aaaaaaa"] {
            r.register(s);
        }
        r
    }

    #[test]
    fn every_cut_gives_what_the_whole_gives() {
        let r = redactor();
        let whole = r.redact(TEXT).into_owned();
        assert_eq!(whole, "a ******** b ******** c ******** hunter2hunte");
        for size in 1..TEXT.len() {
            let mut w = RedactingWriter::new(r.clone(), Vec::new());
            for piece in TEXT.as_bytes().chunks(size) {
                w.write_all(piece).unwrap();
                w.flush().unwrap();
            }
            assert_eq!(String::from_utf8(w.finish().unwrap()).unwrap(), whole, "pieces of {size}");
        }
    }

    #[test]
    fn holds_back_only_what_may_become_a_secret() {
        let mut w = RedactingWriter::new(redactor(), Vec::new());
        w.write_all(b"Password: ").unwrap();
        assert_eq!(w.inner.as_ref().unwrap(), b"Password: ");
        w.write_all(b"hunter2").unwrap();
        assert_eq!(w.inner.as_ref().unwrap(), b"Password: ");
        w.write_all(b"!").unwrap();
        assert_eq!(w.inner.as_ref().unwrap(), b"Password: hunter2!");
    }

    #[test]
    fn an_endless_overlap_takes_constant_memory() {
        let mut w = RedactingWriter::new(redactor(), Vec::new());
        for _ in 0..10_000 {
            w.write_all(b"aaaaaaaaaa").unwrap();
            assert!(w.held.len() < 64);
        }
        assert_eq!(w.finish().unwrap(), MASK.as_bytes());
    }

    #[test]
    fn dropping_writes_the_rest() {
        let mut out = Vec::new();
        RedactingWriter::new(redactor(), &mut out).write_all(b"x hunter2").unwrap();
        assert_eq!(out, b"x hunter2");
    }
}
