//! Where something was written.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One text that was read: a file, or something typed (`-e`), under a name that people recognise.
#[derive(Debug)]
pub struct SourceFile {
    /// As shown to people: relative to the working directory where possible.
    pub name: String,
    /// Where it lies; `None` for what was typed.
    pub path: Option<PathBuf>,
    pub text: String,
    /// Whether it was opened from an encrypted file: its text is never shown.
    pub secret: bool,
}

impl SourceFile {
    /// SHA-256 of the text, lower-case hex.
    pub fn sha256(&self) -> String {
        super::hex::sha256(&self.text)
    }

    pub fn new(path: &Path, text: String) -> Arc<Self> {
        Arc::new(SourceFile { name: shown_name(path), path: Some(path.to_path_buf()), text, secret: false })
    }

    /// The decrypted text of an encrypted file: kept out of every excerpt.
    pub fn sealed(path: &Path, text: String) -> Arc<Self> {
        Arc::new(SourceFile { name: shown_name(path), path: Some(path.to_path_buf()), text, secret: true })
    }

    /// A text that came from no file, such as `<extra vars>`.
    pub fn typed(name: &str, text: String) -> Arc<Self> {
        Arc::new(SourceFile { name: name.to_string(), path: None, text, secret: false })
    }
}

/// Relative to the working directory where possible.
fn shown_name(path: &Path) -> String {
    let cwd = std::env::current_dir().ok();
    let shown = cwd.as_deref().and_then(|cwd| path.strip_prefix(cwd).ok()).unwrap_or(path);
    shown.display().to_string()
}

/// A stretch of one source. Offsets are bytes into `file.text`; line and column count from 1,
/// columns in characters.
#[derive(Clone)]
pub struct Span {
    pub file: Arc<SourceFile>,
    pub start: usize,
    pub end: usize,
    pub line: u32,
    pub column: u32,
}

impl Span {
    pub fn whole(file: &Arc<SourceFile>) -> Span {
        Span { file: file.clone(), start: 0, end: 0, line: 1, column: 1 }
    }

    /// The folder of the file, for relative includes.
    pub fn dir(&self) -> Option<&Path> {
        self.file.path.as_deref().and_then(Path::parent)
    }
}

/// `file:line:column`
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.name, self.line, self.column)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
