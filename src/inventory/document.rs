//! Files of hosts and variables: read, and decrypted where they are encrypted as a whole.

use std::path::Path;
use std::sync::Arc;

use crate::source::node::OpenVault;
use crate::source::{Diagnostic, SourceFile, Span};

/// What a text begins with that is encrypted as a whole: by ansible-vault, or by age with armor.
const SEALED: [&str; 2] = ["$ANSIBLE_VAULT;", "-----BEGIN AGE ENCRYPTED FILE-----"];
const BINARY_AGE: &[u8] = b"age-encryption.org/v1\n";

/// The text of a file.
pub(crate) struct Document {
    pub file: Arc<SourceFile>,
    /// The whole file was encrypted: so every value in it is Secret.
    pub secret: bool,
}

impl Document {
    /// Reads a file, and opens it if it is encrypted as a whole. Bytes that aren't UTF-8 may stand
    /// only in comment lines.
    ///
    /// # Errors
    /// A file that can't be read, is no text or can't be decrypted (code `vault`).
    pub fn read(path: &Path, vault: OpenVault) -> Result<Document, Diagnostic> {
        let bytes = std::fs::read(path).map_err(|why| {
            Diagnostic::global("unreadable", format!("cannot read {}: {}", path.display(), why.kind()))
        })?;
        if bytes.starts_with(BINARY_AGE) {
            let message = format!("{} is a binary age file", path.display());
            return Err(Diagnostic::global("vault", message).help("use a text one, made with `age --armor`"));
        }
        let text = String::from_utf8(bytes).or_else(|e| without_odd_comments(path, e.as_bytes()))?;
        let file = SourceFile::new(path, text);
        if !SEALED.iter().any(|header| file.text.starts_with(header)) {
            return Ok(Document { file, secret: false });
        }
        match vault(&file.text) {
            Ok(text) => Ok(Document { file: SourceFile::sealed(path, text), secret: true }),
            Err(why) => {
                let message = format!("cannot decrypt {}: {why}", file.name);
                Err(Diagnostic::error("vault", message, &Span::whole(&file)))
            }
        }
    }
}

/// Comment lines that aren't UTF-8 become empty comments; any other such line is an error.
fn without_odd_comments(path: &Path, bytes: &[u8]) -> Result<String, Diagnostic> {
    let mut text = String::with_capacity(bytes.len());
    for (n, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(_) if line.starts_with(b"#") || line.starts_with(b";") => text.push_str("#\n"),
            Err(_) => {
                let start = text.len();
                text.push_str(&String::from_utf8_lossy(line));
                let file = SourceFile::new(path, text);
                let span = Span { end: file.text.len(), file, start, line: n as u32 + 1, column: 1 };
                return Err(Diagnostic::error("encoding", "this line is not UTF-8", &span));
            }
        }
    }
    Ok(text)
}
