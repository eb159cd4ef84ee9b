//! Templates: Jinja's language with Ansible's semantics, over [`Val`].
//!
//! minijinja's parser reads the text; [`eval`] runs it over our own values, because only so an
//! undefined attribute can stay undefined, a secret keep its bit and an error name its variable.

mod context;
mod error;

pub use context::{Hooks, LazyMap, Names, NoHooks, RenderCx};
pub use error::TemplateError;

use crate::source::{Diagnostic, Span, Text, Val};

/// Compiles and renders templates. Share it by reference or `Arc`: compiled texts are kept.
#[derive(Default)]
pub struct Templar {}

/// How a template file is read; Ansible's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileOptions {
    pub trim_blocks: bool,
    pub lstrip_blocks: bool,
    /// `\n`, `\r` or `\r\n`.
    pub newline_sequence: String,
    pub keep_trailing_newline: bool,
    pub variable: (String, String),
    pub block: (String, String),
    pub comment: (String, String),
}

impl Default for FileOptions {
    fn default() -> FileOptions {
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        FileOptions {
            trim_blocks: true,
            lstrip_blocks: false,
            newline_sequence: "\n".into(),
            keep_trailing_newline: true,
            variable: pair("{{", "}}"),
            block: pair("{%", "%}"),
            comment: pair("{#", "#}"),
        }
    }
}

impl Templar {
    pub fn new() -> Templar {
        Templar::default()
    }

    /// What is wrong with a template's text, at its place inside the text: syntax, and names of
    /// filters, tests and lookups that don't exist. `span` is where the text was written.
    pub fn check_template(&self, text: &str, span: &Span) -> Option<Diagnostic> {
        let _ = (text, span);
        None
    }

    /// As [`Templar::check_template`], for a bare expression (`when`, `until`, `var`).
    pub fn check_expression(&self, text: &str, span: &Span) -> Option<Diagnostic> {
        let _ = (text, span);
        None
    }

    /// Renders a whole tree. Only texts with an origin are templates; the result has no origin
    /// anywhere. List items and map entries that render to `omit` are left out; a lone `omit`
    /// stays [`Val::Omit`].
    ///
    /// # Errors
    /// The first template that fails, with the place where it was written.
    pub fn render(&self, val: &Val, cx: &RenderCx) -> Result<Val, TemplateError> {
        let _ = cx;
        Err(TemplateError::new(format!("cannot render {} yet", val.type_name())))
    }

    /// Evaluates `when`, `changed_when`, `failed_when`, `until` or one entry of `that`: a boolean,
    /// or a bare expression. `"{{ cond }}"` runs with `cond` as the expression.
    ///
    /// # Errors
    /// Also when the result isn't a boolean, as in ansible-core 2.19.
    pub fn condition(&self, expr: &Val, cx: &RenderCx) -> Result<bool, TemplateError> {
        self.render(expr, cx).map(|v| v.as_bool().unwrap_or(false))
    }

    /// Evaluates a bare expression (without `{{ }}`).
    pub fn expression(&self, text: &Text, cx: &RenderCx) -> Result<Val, TemplateError> {
        self.render(&Val::Text(text.clone()), cx)
    }

    /// Renders the text of a template file. `name` is shown in errors, and `include`, `import`
    /// and `extends` are resolved by `cx.search`.
    pub fn render_file(
        &self,
        source: &str,
        name: &str,
        options: &FileOptions,
        cx: &RenderCx,
    ) -> Result<Text, TemplateError> {
        let _ = (source, options, cx);
        Err(TemplateError::new(format!("cannot render {name} yet")))
    }

    /// Runs a lookup plugin as `with_NAME` does: `terms` are rendered already.
    ///
    /// # Errors
    /// An unknown lookup, named with the nearest; whatever the lookup reports.
    pub fn lookup(&self, name: &str, terms: &[Val], cx: &RenderCx) -> Result<Vec<Val>, TemplateError> {
        let _ = (terms, cx);
        Err(TemplateError::new(format!("cannot run the lookup {name} yet")))
    }
}
