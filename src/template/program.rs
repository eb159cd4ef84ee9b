//! A compiled template: Jinja's syntax tree, owned, with filters and tests already found.

use std::sync::Arc;

use super::filters::Filter;
use super::tests::Test;

/// Byte offsets into the template's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    pub start: u32,
    pub end: u32,
}

/// A compiled text.
#[derive(Debug)]
pub struct Program {
    pub body: Vec<Stmt>,
    /// Line ends at the end of the text, which Jinja takes away and Ansible puts back.
    pub trailing_newlines: usize,
    pub newline: &'static str,
    /// The first literal that holds a template itself and is rendered: [`Kind::Embedded`].
    pub embedded: Option<Place>,
}

impl Program {
    /// The expression, if the text is exactly one.
    pub fn lone_expression(&self) -> Option<&Expr> {
        match &self.body[..] {
            [Stmt::Emit(expr)] => Some(expr),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub struct Expr {
    pub at: Place,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Const {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Arc<str>),
}

#[derive(Debug)]
pub enum Kind {
    Const(Const),
    /// A literal that holds a template itself; rendered where Ansible does: in conditions and in
    /// the terms of lookups.
    Embedded(Arc<Program>),
    Var(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attr(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Not(Box<Expr>),
    Neg(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Math(Math, Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(Compare, Expr)>),
    If {
        test: Box<Expr>,
        yes: Box<Expr>,
        no: Option<Box<Expr>>,
    },
    /// Without a value it is applied to a block's output.
    Filter(&'static Filter, Option<Box<Expr>>, Vec<Arg>),
    Test(&'static Test, Box<Expr>, Vec<Arg>),
    Call(Box<Expr>, Vec<Arg>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Math {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
    Concat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Debug)]
pub enum Arg {
    Pos(Expr),
    Named(Arc<str>, Expr),
    Splat(Expr),
    NamedSplat(Expr),
}

/// What a value is bound to.
#[derive(Debug)]
pub enum Target {
    Name(Arc<str>),
    /// `ns.x` of a namespace.
    Attr(Arc<str>, Arc<str>, Place),
    Many(Vec<Target>, Place),
}

#[derive(Debug)]
pub enum Stmt {
    Text(Arc<str>),
    Emit(Expr),
    For(Arc<For>),
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    Set(Target, Expr),
    SetBlock(Target, Option<Expr>, Vec<Stmt>),
    Filter(Expr, Vec<Stmt>),
    /// `{% autoescape %}`: Ansible never escapes, so only its body counts.
    Scope(Vec<Stmt>),
    Block(Arc<Block>),
    Import(Expr, Target, Context),
    FromImport(Expr, Vec<(Arc<str>, Arc<str>)>, Context),
    Extends(Expr),
    Include {
        name: Expr,
        ignore_missing: bool,
        context: Context,
    },
    Macro(Arc<Macro>),
    Call(Expr, Arc<Macro>),
    Do(Expr),
    Continue,
    Break,
}

/// Whether an included or imported template sees the caller's variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    With,
    Without,
}

#[derive(Debug)]
pub struct For {
    pub target: Target,
    pub over: Expr,
    pub only_if: Option<Expr>,
    pub recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
}

#[derive(Debug)]
pub struct Block {
    pub name: Arc<str>,
    pub required: bool,
    pub at: Place,
    pub body: Vec<Stmt>,
}

#[derive(Debug)]
pub struct Macro {
    pub name: Arc<str>,
    pub params: Vec<Arc<str>>,
    /// Of the last parameters.
    pub defaults: Vec<Expr>,
    pub body: Vec<Stmt>,
    /// Whether it uses `varargs` and `kwargs`, and so takes arguments that have no name.
    pub varargs: bool,
    pub kwargs: bool,
    pub at: Place,
}
