//! Templates: Jinja's language with Ansible's semantics, over [`Val`].
//!
//! minijinja's parser reads the text ([`parse`]); our own evaluator runs it ([`eval`]), because only
//! so an undefined attribute can stay undefined, a secret keep its bit and an error name its
//! variable.
//!
//! The way of one template: text → [`program::Program`] (kept by [`Templar`]) → [`eval::Eval`], one
//! per render with one taint cell → [`value::Value`] → [`Val`], whole and without templates.

mod call;
mod context;
mod convert;
mod dates;
mod error;
mod eval;
mod exec;
mod expr;
mod fault;
mod filters;
mod format;
mod functions;
mod literal;
mod loader;
mod lookups;

pub use lookups::names as lookup_names;
mod methods;
mod ops;
mod parse;
mod print;
mod program;
mod random;
mod regex;
mod resolve;
mod source_map;
#[cfg(test)]
mod suite;
mod tests;
mod value;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};

pub use context::{Hooks, LazyMap, Names, NoHooks, RenderCx};
pub use error::TemplateError;

use crate::secret::command::Commands;
use crate::source::{Diagnostic, SourceFile, Span, Text, Val};
use eval::{Eval, Run, Shared, Stack};
use fault::Fault;
use parse::{Mode, SyntaxError};
use program::Program;
use source_map::{Source, span_within};
use value::Value;

/// Compiled texts that are kept.
const KEPT: usize = 4096;

type Programs = HashMap<Arc<str>, Arc<Program>>;

/// Compiles and renders templates. Share it by reference or `Arc`: compiled texts are kept.
#[derive(Default)]
pub struct Templar {
    compiled: RwLock<HashMap<Mode, Programs>>,
    /// What `secret_command` was told.
    secret_commands: Commands,
}

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
        self.check(text, span, &Mode::Yaml)
    }

    /// As [`Templar::check_template`], for a bare expression (`when`, `until`, `var`). One that is
    /// wholly inside `{{ }}` is a template. One with a template in a literal gets a warning.
    pub fn check_expression(&self, text: &str, span: &Span) -> Option<Diagnostic> {
        let mode = if is_all_template(text) { Mode::Yaml } else { Mode::Condition };
        self.check(text, span, &mode)
    }

    fn check(&self, text: &str, span: &Span, mode: &Mode) -> Option<Diagnostic> {
        let error = match self.program(&Arc::from(text), mode) {
            Ok(program) => {
                let at = program.embedded.filter(|_| *mode == Mode::Condition)?;
                return Some(embedded_template(&span_within(text, span, at)));
            }
            Err(error) => error,
        };
        let place = span_within(text, span, error.at);
        let message = syntax_message(&error, mode);
        let mut found = Diagnostic::error("template-syntax", message, &place);
        found.help = error.help;
        Some(found)
    }

    /// Renders a whole tree. Only texts with an origin are templates; the result has no origin
    /// anywhere. List items and map entries that render to `omit` are left out; a lone `omit`
    /// stays [`Val::Omit`].
    ///
    /// # Errors
    /// The first template that fails, with the place where it was written.
    pub fn render(&self, val: &Val, cx: &RenderCx) -> Result<Val, TemplateError> {
        self.run(cx, |eval| eval.render_raw(val, &eval.home))
    }

    /// Evaluates `when`, `changed_when`, `failed_when`, `until` or one entry of `that`: a boolean,
    /// or a bare expression. `"{{ cond }}"` runs with `cond` as the expression.
    ///
    /// # Errors
    /// Also when the result isn't a boolean, as in ansible-core 2.19.
    pub fn condition(&self, expr: &Val, cx: &RenderCx) -> Result<bool, TemplateError> {
        let text = match expr {
            Val::Bool(b) => return Ok(*b),
            Val::Text(text) => text,
            Val::Null => return Err(empty_condition()),
            _ => return Err(TemplateError::new("Conditional expressions must be strings.")),
        };
        let result = if is_all_template(text.trim()) {
            let template = trimmed(text);
            match self.render(&Val::Text(template.clone()), cx)? {
                // Only a text that a person wrote is run as an expression.
                Val::Text(_) => match self.run(cx, |eval| eval.written_behind(&template, &eval.home))? {
                    Some(written) => self.evaluate(&written, &Mode::Condition, cx)?,
                    None => return Err(computed_condition(text)),
                },
                other => other,
            }
        } else {
            self.evaluate(&trimmed(text), &Mode::Condition, cx)?
        };
        match result {
            Val::Bool(b) => Ok(b),
            Val::Null if text.trim().is_empty() => Err(empty_condition()),
            other => {
                let mut error = TemplateError::new(format!(
                    "Conditional result ({}) was derived from value of type '{}'. \
                     Conditionals must have a boolean result.",
                    python_bool(&other),
                    other.type_name()
                ));
                error.span = text.origin().cloned();
                error.help = Some(
                    "Compare it (x == 'yes'), ask for its length (x | length > 0) or convert it (x | bool)."
                        .into(),
                );
                Err(error)
            }
        }
    }

    /// Evaluates a bare expression (without `{{ }}`).
    pub fn expression(&self, text: &Text, cx: &RenderCx) -> Result<Val, TemplateError> {
        self.evaluate(text, &Mode::Expression, cx)
    }

    /// Renders the text of a template file. `name` is shown in errors, and `include`, `import`
    /// and `extends` are resolved by `cx.search`: in its `templates` folders and in itself, and
    /// beside the file when `name` is a path.
    ///
    /// # Errors
    /// Whatever is wrong in the template or in one that it includes, with its place.
    pub fn render_file(
        &self,
        source: &str,
        name: &str,
        options: &FileOptions,
        cx: &RenderCx,
    ) -> Result<Text, TemplateError> {
        self.run(cx, |eval| {
            let (body, options) = overrides(source, options)?;
            // The header stays in the shown file, so that lines are counted with it.
            let file = Arc::new(SourceFile {
                name: name.to_string(),
                path: Some(PathBuf::from(name)),
                text: source.to_string(),
                secret: false,
            });
            let origin = Span { start: source.len() - body.len(), end: source.len(), ..Span::whole(&file) };
            let search = search_of(cx, Some(Path::new(name)));
            let source = self.file_source(body, origin, &options, search)?;
            let value = eval.run(&source)?;
            let text = if matches!(value, Value::None) { String::new() } else { eval.str(&value)? };
            Ok(if eval.tainted.get() { Text::secret(text) } else { Text::new(text) })
        })
    }

    /// Runs a lookup plugin as `with_NAME` does: `terms` are rendered already.
    ///
    /// # Errors
    /// An unknown lookup, named with the nearest; whatever the lookup reports.
    pub fn lookup(&self, name: &str, terms: &[Val], cx: &RenderCx) -> Result<Vec<Val>, TemplateError> {
        self.run(cx, |eval| {
            let terms_given = terms.iter().map(|t| eval.value_of(t)).collect();
            let lookup = lookups::named(name)?;
            let found = lookups::run(eval, lookup, terms_given, lookups::Options::of_with())?;
            let whole = |v| if lookup.moves { eval.moved(v) } else { eval.hand_over(v) };
            found.into_iter().map(whole).collect()
        })
    }

    // ── inside ──

    fn run<T>(&self, cx: &RenderCx, f: impl FnOnce(&Eval) -> Run<T>) -> Result<T, TemplateError> {
        let stack = Stack::default();
        let shared = Shared::new(self, cx, &stack);
        let eval = Eval::top(&shared);
        f(&eval).map_err(|fault| fault.hide(eval.tainted.get()).into_error())
    }

    fn evaluate(&self, text: &Text, mode: &Mode, cx: &RenderCx) -> Result<Val, TemplateError> {
        self.run(cx, |eval| {
            let source = self.source(text, mode)?;
            eval.run_expression(&source)
        })
    }

    /// A compiled text of a playbook or a variables file.
    fn source(&self, text: &Text, mode: &Mode) -> Run<Rc<Source>> {
        let shared = text.shared();
        let secret = text.is_secret();
        // A secret text isn't kept.
        let compiled =
            if secret { parse::compile(&shared, mode).map(Arc::new) } else { self.program(&shared, mode) };
        let program = compiled.map_err(|e| match secret {
            true => Fault::plain("Syntax error in a template whose text is secret and not shown"),
            false => {
                let message = syntax_message(&e, mode);
                syntax_fault(&SyntaxError { message, ..e }, &shared, text.origin())
            }
        })?;
        Ok(Rc::new(Source {
            program,
            text: shared,
            origin: text.origin().cloned(),
            options: FileOptions::default(),
            search: vec![],
            secret,
        }))
    }

    fn program(&self, text: &Arc<str>, mode: &Mode) -> Result<Arc<Program>, SyntaxError> {
        {
            let compiled = self.compiled.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(program) = compiled.get(mode).and_then(|of_mode| of_mode.get(text)) {
                return Ok(program.clone());
            }
        }
        let program = Arc::new(eval::grow(|| parse::compile(text, mode))?);
        let mut compiled = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        let of_mode = compiled.entry(mode.clone()).or_default();
        if of_mode.len() >= KEPT {
            of_mode.clear();
        }
        of_mode.insert(text.clone(), program.clone());
        Ok(program)
    }
}

/// `x` of `ansible.builtin.x`.
fn short_name(name: &str) -> &str {
    name.strip_prefix("ansible.builtin.").or_else(|| name.strip_prefix("ansible.legacy.")).unwrap_or(name)
}

fn trimmed(text: &Text) -> Text {
    let inner = text.trim();
    if inner.len() == text.len() {
        return text.clone();
    }
    let out = match text.origin() {
        Some(origin) => Text::template(inner, origin),
        None => Text::new(inner),
    };
    if text.is_secret() { out.into_secret() } else { out }
}

/// Whether a text seems to be nothing but a template: delimiters at both ends.
fn is_all_template(text: &str) -> bool {
    let text = text.trim();
    ["{{", "{%", "{#"].iter().any(|d| text.starts_with(d))
        && ["}}", "%}", "#}"].iter().any(|d| text.ends_with(d))
}

fn empty_condition() -> TemplateError {
    TemplateError::new("Empty conditional expressions are not allowed.")
}

fn computed_condition(condition: &Text) -> TemplateError {
    let mut error = TemplateError::new(
        "Encountered untrusted expression: the text that this template makes was computed, not written",
    );
    error.span = condition.origin().cloned();
    error.help = Some("Write the expression without {{ }}, for example: when: x == 'yes'".into());
    error
}

fn python_bool(val: &Val) -> &'static str {
    let truthy = match val {
        Val::Null => false,
        Val::Bool(b) => *b,
        Val::Int(i) => *i != 0,
        Val::Float(f) => *f != 0.0,
        Val::Text(t) => !t.is_empty(),
        Val::List(l) => !l.is_empty(),
        Val::Map(m) => !m.is_empty(),
        Val::Omit => true,
    };
    if truthy { "True" } else { "False" }
}

fn syntax_message(error: &SyntaxError, mode: &Mode) -> String {
    let kind = match mode {
        Mode::Expression | Mode::Condition => "expression",
        _ => "template",
    };
    format!("Syntax error in {kind}: {}", error.message)
}

fn syntax_fault(error: &SyntaxError, text: &str, origin: Option<&Span>) -> Fault {
    let mut fault = Fault::plain(error.message.clone());
    if let Fault::Failed(f) = &mut fault {
        f.help.clone_from(&error.help);
        f.span = origin.map(|origin| span_within(text, origin, error.at));
    }
    fault
}

/// Where templates named by a template are looked for: beside it, then in each folder of the
/// search path, in its `templates` first.
fn search_of(cx: &RenderCx, file: Option<&Path>) -> Vec<PathBuf> {
    let mut search: Vec<PathBuf> = file.and_then(Path::parent).map(Path::to_path_buf).into_iter().collect();
    for folder in cx.search {
        search.push(folder.join("templates"));
        search.push(folder.clone());
    }
    search.push(cx.playbook_dir.to_path_buf());
    search
}

/// `#jinja2: trim_blocks: False, …` in the first line overrides options.
fn overrides<'t>(text: &'t str, options: &FileOptions) -> Run<(&'t str, FileOptions)> {
    let mut options = options.clone();
    let Some(rest) = text.strip_prefix("#jinja2:") else { return Ok((text, options)) };
    let (line, body) =
        rest.split_once('\n').ok_or_else(|| Fault::plain("Missing newline after '#jinja2:' override."))?;
    for pair in line.split(',') {
        let (key, value) = pair.split_once(':').ok_or_else(|| {
            Fault::plain(format!("Missing key-value separator `:` in '#jinja2:' override pair '{pair}'."))
        })?;
        let (key, value) = (key.trim(), value.trim());
        let text = value.trim_matches(['"', '\'']).replace("\\n", "\n").replace("\\r", "\r");
        let flag = || match value {
            "True" | "true" => Ok(true),
            "False" | "false" => Ok(false),
            _ => Err(Fault::plain(format!("'#jinja2:' override '{key}' must be True or False"))),
        };
        match key {
            "trim_blocks" => options.trim_blocks = flag()?,
            "lstrip_blocks" => options.lstrip_blocks = flag()?,
            "keep_trailing_newline" => options.keep_trailing_newline = flag()?,
            "newline_sequence" => options.newline_sequence = text,
            "variable_start_string" => options.variable.0 = text,
            "variable_end_string" => options.variable.1 = text,
            "block_start_string" => options.block.0 = text,
            "block_end_string" => options.block.1 = text,
            "comment_start_string" => options.comment.0 = text,
            "comment_end_string" => options.comment.1 = text,
            other => return Err(Fault::plain(format!("Invalid '#jinja2:' override key '{other}'."))),
        }
    }
    Ok((body, options))
}

/// In ansible-core 2.19's words.
fn embedded_template(at: &Span) -> Diagnostic {
    let message = "Jinja constant strings should not contain embedded templates. This feature will be disabled \
                   by default in ansible-core 2.23.";
    Diagnostic::warning("embedded-template", message, at).help(
        "Use inline expressions, for example: `when: \"{{ a_var }}\" == 42` becomes `when: a_var == 42`",
    )
}
