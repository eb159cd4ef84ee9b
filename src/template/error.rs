//! Why a render failed, for people.

use std::fmt;

use crate::source::{Diagnostic, Span};

/// Why a render failed. Never holds a Secret: a message that would quote a value says what the
/// value was only when no Secret was used in that render.
#[derive(Debug, Clone)]
pub struct TemplateError {
    /// In Ansible's words where people know them: `'foo' is undefined`.
    pub message: String,
    /// Where the failing text was written.
    pub span: Option<Span>,
    /// The variables that led there, outermost first.
    pub chain: Vec<String>,
    /// What to type instead.
    pub help: Option<String>,
    /// It failed because something is undefined.
    pub undefined: bool,
}

impl TemplateError {
    pub fn new(message: impl Into<String>) -> TemplateError {
        TemplateError { message: message.into(), span: None, chain: vec![], help: None, undefined: false }
    }

    pub fn diagnostic(&self) -> Diagnostic {
        let mut message = self.message.clone();
        if !self.chain.is_empty() {
            message = format!("{message} (through {})", self.chain.join(" → "));
        }
        let code = if self.undefined { "undefined-variable" } else { "template" };
        let mut d = Diagnostic::global(code, message);
        d.span = self.span.clone();
        d.help = self.help.clone();
        d
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.chain.is_empty() {
            write!(f, " (through {})", self.chain.join(" → "))?;
        }
        Ok(())
    }
}

impl std::error::Error for TemplateError {}
