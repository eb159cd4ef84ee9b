//! Files of hosts and variables: read, decrypted as a whole where they are, parsed.

use std::path::Path;
use std::sync::Arc;

use crate::source::node::OpenVault;
use crate::source::{Diagnostic, Diagnostics, Entry, Kind, Node, SourceFile, Span};

/// What a file begins with that is an ansible-vault envelope as a whole.
const VAULT_HEADER: &str = "$ANSIBLE_VAULT;";

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
        let text = String::from_utf8(bytes).or_else(|e| without_odd_comments(path, e.as_bytes()))?;
        let file = SourceFile::new(path, text);
        if !file.text.starts_with(VAULT_HEADER) {
            return Ok(Document { file, secret: false });
        }
        match vault(&file.text) {
            Ok(text) => Ok(Document { file: SourceFile::new(path, text), secret: true }),
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

/// Parses YAML (JSON is YAML too); `None` after an error.
pub(crate) fn parse(file: &Arc<SourceFile>, problems: &mut Diagnostics) -> Option<Node> {
    fn node(value: &serde_yaml::Value, span: &Span) -> Node {
        use serde_yaml::Value as Y;
        let kind = match value {
            Y::Null => Kind::Null,
            Y::Bool(b) => Kind::Bool(*b),
            Y::Number(n) => n.as_i64().map_or_else(|| Kind::Float(n.as_f64().unwrap_or(0.0)), Kind::Int),
            Y::String(s) => Kind::Text { text: s.clone(), plain: true },
            Y::Sequence(l) => Kind::List(l.iter().map(|v| node(v, span)).collect()),
            Y::Mapping(m) => {
                Kind::Map(m.iter().map(|(k, v)| Entry { key: node(k, span), value: node(v, span) }).collect())
            }
            Y::Tagged(t) => match (t.tag.to_string().as_str(), &t.value) {
                ("!vault", Y::String(s)) => Kind::Vault(s.clone()),
                ("!unsafe", Y::String(s)) => Kind::Unsafe(s.clone()),
                (_, v) => return node(v, span),
            },
        };
        Node { span: span.clone(), kind }
    }
    let span = Span::whole(file);
    match serde_yaml::from_str::<serde_yaml::Value>(&file.text) {
        Ok(value) => Some(node(&value, &span)),
        Err(why) => {
            problems.push(Diagnostic::error("yaml", why.to_string(), &span));
            None
        }
    }
}
