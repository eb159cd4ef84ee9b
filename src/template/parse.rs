//! Text → [`Program`]: minijinja's parser reads, this lowers its tree to ours.
//!
//! Its parser is used and its machine isn't: there, no undefined behaviour is Ansible's, values
//! lose their secret mark, and errors can't name the variable.

use std::cell::Cell;
use std::sync::Arc;

use minijinja::machinery::{Span as At, ast};
use minijinja::syntax::SyntaxConfig;

use super::FileOptions;
use super::filters;
use super::literal;
use super::lookups;
use super::program::*;
use super::tests;
use crate::source::diagnostic::nearest;

/// Deepest tree that is compiled; deeper ones are generated, not written.
const DEEPEST: usize = 400;
/// Operators in one expression.
const MOST_OPERATORS: usize = 5_000;
/// Operators for which the parser's tree surely fits its stack, however they nest.
const SAFE_OPERATORS: usize = 64_000;
/// Stack for the parser, which recurses up to 150 levels of its own, and for each operator of a
/// chain, which its tree takes when it is dropped.
const PARSER_STACK: usize = 4 * 1024 * 1024;
const OPERATOR_STACK: usize = 2 * 1024;

/// How a text is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A value in YAML. Backslashes in literals within `{{ }}` are kept: YAML has read them.
    Yaml,
    /// A value in YAML with the line ends and delimiters of a file.
    File(FileOptions),
    /// A bare expression (`until`, `var`).
    Expression,
    /// A bare expression whose literals may hold templates (`when`).
    Condition,
}

/// What is wrong with a text, at a place inside it.
#[derive(Debug, Clone)]
pub struct SyntaxError {
    pub message: String,
    pub help: Option<String>,
    pub at: Place,
}

type Lowered<T> = Result<T, SyntaxError>;

pub fn compile(text: &str, mode: &Mode) -> Lowered<Program> {
    let operators = operators(text);
    if operators > SAFE_OPERATORS
        && text.split("%}").flat_map(|t| t.split("}}")).any(|t| self::operators(t) > MOST_OPERATORS)
    {
        let message = "expression is too long".to_string();
        return Err(SyntaxError { message, help: None, at: Place::default() });
    }
    let stack = PARSER_STACK + operators.min(SAFE_OPERATORS) * OPERATOR_STACK;
    stacker::maybe_grow(stack, stack, || compile_on_stack(text, mode))
}

fn operators(text: &str) -> usize {
    let operator = |b: &u8| b"+-*/%~|.[(=<>".contains(b) || b.is_ascii_whitespace();
    text.bytes().filter(|b| operator(b)).count()
}

fn compile_on_stack(text: &str, mode: &Mode) -> Lowered<Program> {
    let defaults = FileOptions { keep_trailing_newline: false, ..FileOptions::default() };
    let options = match mode {
        Mode::File(options) => options,
        _ => &defaults,
    };
    let newline = match options.newline_sequence.as_str() {
        "\r\n" => "\r\n",
        "\r" => "\r",
        _ => "\n",
    };
    let masked = literal::mask(text);
    let source = masked.as_deref().unwrap_or(text);
    let mut lower =
        Lower { text, source, mode, newline, depth: 0, in_braces: false, embedded: Cell::default() };
    if matches!(mode, Mode::Expression | Mode::Condition) {
        if text.trim().is_empty() {
            return Err(lower.error("Empty expressions are not allowed.", Place::default()));
        }
        let expr = minijinja::machinery::parse_expr(source).map_err(|e| lower.parser_error(&e, text))?;
        let body = vec![Stmt::Emit(lower.expr(&expr)?)];
        return Ok(Program { body, trailing_newlines: 0, newline, embedded: lower.embedded.get() });
    }
    let syntax = syntax(options).map_err(|e| lower.error(&e, Place::default()))?;
    let tree =
        minijinja::machinery::parse(source, "template", syntax).map_err(|e| lower.parser_error(&e, text))?;
    let ast::Stmt::Template(template) = &tree else {
        return Err(lower.error("the parser returned no template", Place::default()));
    };
    let body = lower.stmts(&template.children)?;
    let trailing_newlines = match mode {
        Mode::File(options) if !options.keep_trailing_newline => 0,
        _ => text.len() - text.trim_end_matches('\n').len(),
    };
    Ok(Program { body, trailing_newlines, newline, embedded: lower.embedded.get() })
}

fn syntax(options: &FileOptions) -> Result<SyntaxConfig, String> {
    let pair = |p: &(String, String)| (p.0.clone(), p.1.clone());
    let (v, b, c) = (pair(&options.variable), pair(&options.block), pair(&options.comment));
    SyntaxConfig::builder()
        .variable_delimiters(v.0, v.1)
        .block_delimiters(b.0, b.1)
        .comment_delimiters(c.0, c.1)
        .trim_blocks(options.trim_blocks)
        .lstrip_blocks(options.lstrip_blocks)
        // Jinja takes one line end; how many there were is put back after the render.
        .keep_trailing_newline(false)
        .build()
        .map_err(|e| format!("invalid delimiters: {}", e.detail().unwrap_or("they collide")))
}

struct Lower<'t> {
    text: &'t str,
    /// What the parser saw: `text`, or its masked form of the same length.
    source: &'t str,
    mode: &'t Mode,
    newline: &'static str,
    depth: usize,
    /// Inside `{{ }}`, not `{% %}`.
    in_braces: bool,
    /// The first literal that holds a template.
    embedded: Cell<Option<Place>>,
}

impl Lower<'_> {
    fn error(&self, message: &str, at: Place) -> SyntaxError {
        SyntaxError { message: message.to_string(), help: None, at }
    }

    fn parser_error(&self, e: &minijinja::Error, text: &str) -> SyntaxError {
        let message = e.detail().map_or_else(|| e.kind().to_string(), str::to_string);
        let at = e.range().map_or(Place::default(), |r| Place {
            start: r.start.min(text.len()) as u32,
            end: r.end.min(text.len()) as u32,
        });
        let expression = matches!(self.mode, Mode::Expression | Mode::Condition);
        let help = (expression && (text.contains("{{") || text.contains("{%")))
            .then(|| "This is an expression already: write it without {{ }}.".to_string());
        SyntaxError { message, help, at }
    }

    fn place(at: At) -> Place {
        Place { start: at.start_offset, end: at.end_offset }
    }

    /// A name or raw text as it was written: the parser's slice points into `source`.
    fn original(&self, slice: &str) -> &str {
        let start = (slice.as_ptr() as usize).wrapping_sub(self.source.as_ptr() as usize);
        self.text.get(start..start + slice.len()).unwrap_or("")
    }

    fn name(&self, slice: &str, at: At) -> Lowered<Arc<str>> {
        let name = self.original(slice);
        if name.contains('\\') {
            return Err(self.error("unexpected char '\\\\'", Self::place(at)));
        }
        Ok(if name.is_empty() { Arc::from(slice) } else { Arc::from(name) })
    }

    fn stmts(&mut self, stmts: &[ast::Stmt]) -> Lowered<Vec<Stmt>> {
        stmts.iter().map(|s| self.stmt(s)).collect()
    }

    fn stmt(&mut self, stmt: &ast::Stmt) -> Lowered<Stmt> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("template is nested too deeply", Place::default()));
        }
        let lowered = self.stmt_inner(stmt);
        self.depth -= 1;
        lowered
    }

    fn stmt_inner(&mut self, stmt: &ast::Stmt) -> Lowered<Stmt> {
        Ok(match stmt {
            ast::Stmt::Template(t) => Stmt::Scope(self.stmts(&t.children)?),
            ast::Stmt::EmitRaw(raw) => Stmt::Text(self.raw(raw.raw)),
            ast::Stmt::EmitExpr(e) => {
                self.in_braces = true;
                let expr = self.expr(&e.expr);
                self.in_braces = false;
                Stmt::Emit(expr?)
            }
            ast::Stmt::ForLoop(f) => Stmt::For(Arc::new(For {
                target: self.target(&f.target)?,
                over: self.expr(&f.iter)?,
                only_if: f.filter_expr.as_ref().map(|e| self.expr(e)).transpose()?,
                recursive: f.recursive,
                body: self.stmts(&f.body)?,
                otherwise: self.stmts(&f.else_body)?,
            })),
            ast::Stmt::IfCond(i) => {
                Stmt::If(self.expr(&i.expr)?, self.stmts(&i.true_body)?, self.stmts(&i.false_body)?)
            }
            ast::Stmt::WithBlock(w) => {
                let mut bindings = Vec::with_capacity(w.assignments.len());
                for (target, value) in &w.assignments {
                    bindings.push((self.target(target)?, self.expr(value)?));
                }
                Stmt::With(bindings, self.stmts(&w.body)?)
            }
            ast::Stmt::Set(s) => Stmt::Set(self.target(&s.target)?, self.expr(&s.expr)?),
            ast::Stmt::SetBlock(s) => Stmt::SetBlock(
                self.target(&s.target)?,
                s.filter.as_ref().map(|f| self.expr(f)).transpose()?,
                self.stmts(&s.body)?,
            ),
            ast::Stmt::AutoEscape(a) => Stmt::Scope(self.stmts(&a.body)?),
            ast::Stmt::FilterBlock(f) => Stmt::Filter(self.expr(&f.filter)?, self.stmts(&f.body)?),
            ast::Stmt::Block(b) => Stmt::Block(Arc::new(Block {
                name: self.name(b.name, b.span())?,
                required: b.required,
                at: Self::place(b.span()),
                body: self.stmts(&b.body)?,
            })),
            ast::Stmt::Import(i) => Stmt::Import(
                self.expr(&i.expr)?,
                self.target(&i.name)?,
                self.context(i.span(), Context::Without),
            ),
            ast::Stmt::FromImport(i) => {
                let mut names = Vec::with_capacity(i.names.len());
                for (name, alias) in &i.names {
                    let Target::Name(from) = self.target(name)? else { continue };
                    let to = match alias.as_ref().map(|a| self.target(a)).transpose()? {
                        Some(Target::Name(alias)) => alias,
                        _ => from.clone(),
                    };
                    names.push((from, to));
                }
                Stmt::FromImport(self.expr(&i.expr)?, names, self.context(i.span(), Context::Without))
            }
            ast::Stmt::Extends(e) => Stmt::Extends(self.expr(&e.name)?),
            ast::Stmt::Include(i) => Stmt::Include {
                name: self.expr(&i.name)?,
                ignore_missing: i.ignore_missing,
                context: self.context(i.span(), Context::With),
            },
            ast::Stmt::Macro(m) => Stmt::Macro(self.macro_decl(m)?),
            ast::Stmt::CallBlock(c) => {
                let call = self.call(&c.call, Self::place(c.call.span()))?;
                Stmt::Call(call, self.macro_decl(&c.macro_decl)?)
            }
            ast::Stmt::Continue(_) => Stmt::Continue,
            ast::Stmt::Break(_) => Stmt::Break,
            ast::Stmt::Do(d) => Stmt::Do(self.call(&d.call, Self::place(d.call.span()))?),
        })
    }

    /// The parser reads `with context` and forgets it; the words are still there.
    fn context(&self, at: At, default: Context) -> Context {
        let words = self.source.get(at.start_offset as usize..at.end_offset as usize).unwrap_or("");
        let squeezed = words.split_whitespace().collect::<Vec<_>>().join(" ");
        if squeezed.contains(" without context") {
            Context::Without
        } else if squeezed.contains(" with context") {
            Context::With
        } else {
            default
        }
    }

    fn macro_decl(&mut self, m: &ast::Spanned<ast::Macro>) -> Lowered<Arc<Macro>> {
        let mut params = Vec::with_capacity(m.args.len());
        for arg in &m.args {
            if let Target::Name(name) = self.target(arg)? {
                params.push(name);
            }
        }
        let (start, end) = (m.span().start_offset as usize, m.span().end_offset as usize);
        let written = self.text.get(start..end).unwrap_or("");
        let (varargs, kwargs) = (written.contains("varargs"), written.contains("kwargs"));
        Ok(Arc::new(Macro {
            varargs,
            kwargs,
            name: self.name(m.name, m.span())?,
            params,
            defaults: m.defaults.iter().map(|d| self.expr(d)).collect::<Lowered<_>>()?,
            body: self.stmts(&m.body)?,
            at: Self::place(m.span()),
        }))
    }

    fn target(&mut self, expr: &ast::Expr) -> Lowered<Target> {
        let at = Self::place(expr.span());
        Ok(match expr {
            ast::Expr::Var(v) => Target::Name(self.name(v.id, v.span())?),
            ast::Expr::GetAttr(g) => match &g.expr {
                ast::Expr::Var(v) => {
                    Target::Attr(self.name(v.id, v.span())?, self.name(g.name, g.span())?, at)
                }
                _ => return Err(self.error("cannot assign to this expression", at)),
            },
            ast::Expr::List(l) => {
                Target::Many(l.items.iter().map(|i| self.target(i)).collect::<Lowered<_>>()?, at)
            }
            ast::Expr::Tuple(t) => {
                Target::Many(t.items.iter().map(|i| self.target(i)).collect::<Lowered<_>>()?, at)
            }
            _ => return Err(self.error("cannot assign to this expression", at)),
        })
    }

    /// Raw text, its line ends made `newline`.
    fn raw(&self, slice: &str) -> Arc<str> {
        let text = self.original(slice);
        if !text.contains('\r') && self.newline == "\n" {
            return Arc::from(text);
        }
        let unix = text.replace("\r\n", "\n").replace('\r', "\n");
        Arc::from(if self.newline == "\n" { unix } else { unix.replace('\n', self.newline) })
    }

    fn boxed(&mut self, expr: &ast::Expr) -> Lowered<Box<Expr>> {
        self.expr(expr).map(Box::new)
    }

    fn expr(&mut self, expr: &ast::Expr) -> Lowered<Expr> {
        self.depth += 1;
        let at = Self::place(expr.span());
        if self.depth > DEEPEST {
            return Err(self.error("expression is nested too deeply", at));
        }
        let kind = self.kind(expr, at);
        self.depth -= 1;
        Ok(Expr { at, kind: kind? })
    }

    fn kind(&mut self, expr: &ast::Expr, at: Place) -> Lowered<Kind> {
        Ok(match expr {
            ast::Expr::Var(v) => Kind::Var(self.name(v.id, v.span())?),
            ast::Expr::Const(c) => self.constant(&c.value, at, *self.mode == Mode::Condition)?,
            ast::Expr::Slice(s) => {
                let mut part = |e: &Option<ast::Expr>| e.as_ref().map(|e| self.expr(e)).transpose();
                let parts = [part(&s.start)?, part(&s.stop)?, part(&s.step)?];
                Kind::Slice(self.boxed(&s.expr)?, Box::new(parts))
            }
            ast::Expr::UnaryOp(u) => match u.op {
                ast::UnaryOpKind::Not => Kind::Not(self.boxed(&u.expr)?),
                ast::UnaryOpKind::Neg => Kind::Neg(self.boxed(&u.expr)?),
            },
            ast::Expr::BinOp(b) => self.binary(b)?,
            ast::Expr::Compare(c) => {
                let mut rest = Vec::with_capacity(c.ops.len());
                for op in &c.ops {
                    rest.push((compare(op.op), self.expr(&op.expr)?));
                }
                Kind::Compare(self.boxed(&c.expr)?, rest)
            }
            ast::Expr::IfExpr(i) => Kind::If {
                test: self.boxed(&i.test_expr)?,
                yes: self.boxed(&i.true_expr)?,
                no: i.false_expr.as_ref().map(|e| self.boxed(e)).transpose()?,
            },
            ast::Expr::Filter(f) => {
                let name = self.original(f.name);
                let filter =
                    filters::find(name).ok_or_else(|| self.unknown("filter", name, filters::names(), at))?;
                let value = f.expr.as_ref().map(|e| self.boxed(e)).transpose()?;
                let args = self.args(&f.args, false)?;
                self.check_named_plugin(filter.name, &args)?;
                Kind::Filter(filter, value, args)
            }
            ast::Expr::Test(t) => {
                let name = self.original(t.name);
                let test = tests::find(name).ok_or_else(|| self.unknown("test", name, tests::names(), at))?;
                Kind::Test(test, self.boxed(&t.expr)?, self.args(&t.args, false)?)
            }
            ast::Expr::GetAttr(g) => {
                let name = self.name(g.name, g.span())?;
                Kind::Attr(self.boxed(&g.expr)?, name)
            }
            ast::Expr::GetItem(g) => Kind::Item(self.boxed(&g.expr)?, self.boxed(&g.subscript_expr)?),
            ast::Expr::Call(c) => return self.call(c, at).map(|e| e.kind),
            ast::Expr::List(l) => Kind::List(l.items.iter().map(|i| self.expr(i)).collect::<Lowered<_>>()?),
            ast::Expr::Tuple(t) => Kind::Tuple(t.items.iter().map(|i| self.expr(i)).collect::<Lowered<_>>()?),
            ast::Expr::Map(m) => {
                let mut entries = Vec::with_capacity(m.keys.len());
                for (key, value) in m.keys.iter().zip(&m.values) {
                    entries.push((self.expr(key)?, self.expr(value)?));
                }
                Kind::Dict(entries)
            }
        })
    }

    fn binary(&mut self, b: &ast::BinOp) -> Lowered<Kind> {
        use ast::BinOpKind as Op;
        let left = self.boxed(&b.left)?;
        let right = self.boxed(&b.right)?;
        let math = |op, left, right| Ok(Kind::Math(op, left, right));
        let compare = match b.op {
            Op::ScAnd => return Ok(Kind::And(left, right)),
            Op::ScOr => return Ok(Kind::Or(left, right)),
            Op::Add => return math(Math::Add, left, right),
            Op::Sub => return math(Math::Sub, left, right),
            Op::Mul => return math(Math::Mul, left, right),
            Op::Div => return math(Math::Div, left, right),
            Op::FloorDiv => return math(Math::FloorDiv, left, right),
            Op::Rem => return math(Math::Rem, left, right),
            Op::Pow => return math(Math::Pow, left, right),
            Op::Concat => return math(Math::Concat, left, right),
            Op::Eq => Compare::Eq,
            Op::Ne => Compare::Ne,
            Op::Lt => Compare::Lt,
            Op::Lte => Compare::Le,
            Op::Gt => Compare::Gt,
            Op::Gte => Compare::Ge,
            Op::In => Compare::In,
        };
        Ok(Kind::Compare(left, vec![(compare, *right)]))
    }

    fn call(&mut self, c: &ast::Call, at: Place) -> Lowered<Expr> {
        let callee = self.boxed(&c.expr)?;
        let lookup = matches!(&callee.kind, Kind::Var(name) if matches!(&**name, "lookup" | "query" | "q"));
        let args = self.args(&c.args, lookup)?;
        if lookup
            && let Some(Arg::Pos(Expr { kind: Kind::Const(Const::Text(name)), at })) = args.first()
            && lookups::find(name).is_none()
        {
            return Err(self.unknown("lookup", name, lookups::names(), *at));
        }
        Ok(Expr { at, kind: Kind::Call(callee, args) })
    }

    fn args(&mut self, args: &[ast::CallArg], terms: bool) -> Lowered<Vec<Arg>> {
        args.iter()
            .enumerate()
            .map(|(i, arg)| {
                Ok(match arg {
                    ast::CallArg::Pos(e) if terms && i > 0 => Arg::Pos(self.term(e)?),
                    ast::CallArg::Pos(e) => Arg::Pos(self.expr(e)?),
                    ast::CallArg::Kwarg(name, e) => Arg::Named(self.name(name, e.span())?, self.expr(e)?),
                    ast::CallArg::PosSplat(e) => Arg::Splat(self.expr(e)?),
                    ast::CallArg::KwargSplat(e) => Arg::NamedSplat(self.expr(e)?),
                })
            })
            .collect()
    }

    /// A term of a lookup: its literals may hold templates.
    fn term(&mut self, expr: &ast::Expr) -> Lowered<Expr> {
        let at = Self::place(expr.span());
        let kind = match expr {
            ast::Expr::Const(c) => self.constant(&c.value, at, true)?,
            ast::Expr::List(l) => Kind::List(l.items.iter().map(|i| self.term(i)).collect::<Lowered<_>>()?),
            ast::Expr::Tuple(t) => Kind::Tuple(t.items.iter().map(|i| self.term(i)).collect::<Lowered<_>>()?),
            ast::Expr::Map(m) => {
                let mut entries = Vec::with_capacity(m.keys.len());
                for (key, value) in m.keys.iter().zip(&m.values) {
                    entries.push((self.expr(key)?, self.term(value)?));
                }
                Kind::Dict(entries)
            }
            other => return self.expr(other),
        };
        Ok(Expr { at, kind })
    }

    fn constant(&self, value: &minijinja::Value, at: Place, embedded: bool) -> Lowered<Kind> {
        use minijinja::value::ValueKind;
        Ok(Kind::Const(match value.kind() {
            ValueKind::None | ValueKind::Undefined => Const::None,
            ValueKind::Bool => Const::Bool(value.is_true()),
            ValueKind::Number => match i128::try_from(value.clone()) {
                Ok(int) if value.is_integer() => Const::Int(int),
                _ => Const::Float(
                    f64::try_from(value.clone()).map_err(|_| self.error("number is too large", at))?,
                ),
            },
            _ => {
                let text = self.literal(at)?;
                let holds_template = text.contains("{{") || text.contains("{%") || text.contains("{#");
                if embedded && holds_template {
                    let program = compile(&text, &Mode::Yaml).map_err(|e| SyntaxError { at, ..e })?;
                    self.embedded.set(self.embedded.get().or(Some(at)));
                    return Ok(Kind::Embedded(Arc::new(program)));
                }
                Const::Text(text.into())
            }
        }))
    }

    /// The literal (or several, which join) at a place of the text.
    fn literal(&self, at: Place) -> Lowered<String> {
        let written = self.text.get(at.start as usize..at.end as usize).unwrap_or("");
        let keep_backslashes = *self.mode == Mode::Yaml && self.in_braces;
        literal::read(written, keep_backslashes).map_err(|why| self.error(&why, at))
    }

    fn unknown(&self, what: &str, name: &str, known: Vec<&'static str>, at: Place) -> SyntaxError {
        let help = nearest(name, known).map(|near| format!("Did you mean '{near}'?"));
        SyntaxError { message: format!("no {what} is named '{name}'"), help, at }
    }

    /// `map('upper')`, `select('match', …)`: a literal name of a filter or test is checked now.
    fn check_named_plugin(&self, filter: &str, args: &[Arg]) -> Lowered<()> {
        let text = |i: usize| match args.get(i) {
            Some(Arg::Pos(Expr { kind: Kind::Const(Const::Text(name)), at })) => Some((name, *at)),
            _ => None,
        };
        match filter {
            "map" => match text(0) {
                Some((name, at)) if filters::find(name).is_none() => {
                    Err(self.unknown("filter", name, filters::names(), at))
                }
                _ => Ok(()),
            },
            "select" | "reject" | "selectattr" | "rejectattr" => {
                match text(if filter.ends_with("attr") { 1 } else { 0 }) {
                    Some((name, at)) if tests::find(name).is_none() => {
                        Err(self.unknown("test", name, tests::names(), at))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

fn compare(op: ast::CompareOpKind) -> Compare {
    use ast::CompareOpKind as Op;
    match op {
        Op::Eq => Compare::Eq,
        Op::Ne => Compare::Ne,
        Op::Lt => Compare::Lt,
        Op::Lte => Compare::Le,
        Op::Gt => Compare::Gt,
        Op::Gte => Compare::Ge,
        Op::In => Compare::In,
        Op::NotIn => Compare::NotIn,
    }
}
