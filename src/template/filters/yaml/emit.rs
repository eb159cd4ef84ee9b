//! Collections in PyYAML's block and flow styles.

use super::scalar::{self, Place};
use crate::source::Val;
use crate::template::eval::{Eval, Run, grow};
use crate::template::fault::Fault;
use crate::template::filters::json::sort_keys;
use crate::template::print;
use crate::template::value::Value;

const DEEPEST: usize = 200;
/// Longest key that PyYAML writes without `? `.
const LONGEST_KEY: usize = 128;

pub struct Layout {
    pub indent: usize,
    pub width: usize,
    pub flow: Option<bool>,
    pub sort_keys: bool,
}

pub struct Emitter<'e, 'a> {
    eval: &'e Eval<'a>,
    layout: Layout,
    out: String,
    /// Characters since the last line end.
    column: usize,
}

/// A tree with its texts made, so that styles can be chosen before writing.
enum Tree {
    Scalar(String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
}

impl Tree {
    fn is_scalar(&self) -> bool {
        matches!(self, Tree::Scalar(_) | Tree::Text(_))
    }

    fn is_empty(&self) -> bool {
        match self {
            Tree::List(l) => l.is_empty(),
            Tree::Map(m) => m.is_empty(),
            _ => false,
        }
    }
}

impl<'e, 'a> Emitter<'e, 'a> {
    pub fn new(eval: &'e Eval<'a>, layout: Layout) -> Emitter<'e, 'a> {
        Emitter { eval, layout, out: String::new(), column: 0 }
    }

    pub fn document(&mut self, value: &Value) -> Run<String> {
        let tree = self.tree(value, 0)?;
        self.node(&tree, 0, Position::Root);
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        Ok(std::mem::take(&mut self.out))
    }

    fn tree(&self, value: &Value, depth: usize) -> Run<Tree> {
        if depth > DEEPEST {
            return Err(Fault::plain("the value is nested too deeply, or holds itself"));
        }
        Ok(match value {
            Value::Undefined(u) => return Err(Fault::Undefined(u.clone())),
            Value::None => Tree::Scalar("null".into()),
            Value::Bool(b) => Tree::Scalar(b.to_string()),
            Value::Int(i) => Tree::Scalar(i.to_string()),
            Value::Float(f) => Tree::Scalar(float(*f)),
            Value::Text(s) => Tree::Text(s.to_string()),
            Value::DateTime(d) => Tree::Scalar(crate::template::dates::print(d)),
            Value::List(_) | Value::Tuple(_) | Value::Range(..) => Tree::List(
                self.eval
                    .iterate(value)?
                    .iter()
                    .map(|item| grow(|| self.tree(item, depth + 1)))
                    .collect::<Run<_>>()?,
            ),
            Value::Dict(_) | Value::Scope(_) | Value::Scopes(_) => {
                let mut entries: Vec<(Val, Value)> = self.eval.entries(value)?;
                if self.layout.sort_keys {
                    // PyYAML leaves the order as it is when the keys can't be sorted.
                    _ = sort_keys(&mut entries);
                }
                let mut map = Vec::with_capacity(entries.len());
                for (key, item) in entries {
                    let key = self.tree(&self.eval.value_of(&key), depth + 1)?;
                    map.push((key, grow(|| self.tree(&item, depth + 1))?));
                }
                Tree::Map(map)
            }
            other => {
                return Err(Fault::plain(format!(
                    "cannot represent an object of type {} in YAML",
                    other.type_name()
                )));
            }
        })
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        match text.rfind('\n') {
            Some(at) => self.column = text[at + 1..].chars().count(),
            None => self.column += text.chars().count(),
        }
    }

    fn new_line(&mut self, indent: usize) {
        self.push("\n");
        self.push(&" ".repeat(indent));
    }

    fn is_flow(&self, tree: &Tree) -> bool {
        if tree.is_empty() {
            return true;
        }
        match (self.layout.flow, tree) {
            (Some(flow), _) => flow,
            (None, Tree::List(items)) => items.iter().all(|i| self.plain_leaf(i)),
            (None, Tree::Map(map)) => map.iter().all(|(k, v)| self.plain_leaf(k) && self.plain_leaf(v)),
            (None, _) => false,
        }
    }

    /// Scalars leave PyYAML free to write their collection on one line.
    fn plain_leaf(&self, tree: &Tree) -> bool {
        tree.is_scalar()
    }

    /// `indent` is that of the collection around it.
    fn node(&mut self, tree: &Tree, indent: usize, position: Position) {
        match tree {
            Tree::Scalar(s) => self.push(s),
            Tree::Text(s) => {
                let place = Place {
                    indent: if position == Position::Root { 0 } else { indent + self.layout.indent },
                    column: self.column,
                    width: self.layout.width,
                    key: position == Position::Key,
                    flow: matches!(position, Position::Flow | Position::FlowKey),
                };
                let text = scalar::write(s, &place);
                self.push(&text);
            }
            flow if self.is_flow(flow) || matches!(position, Position::Flow | Position::FlowKey) => {
                self.flow(flow, indent);
            }
            Tree::List(items) => self.block_list(items, indent, position),
            Tree::Map(entries) => self.block_map(entries, indent, position),
        }
    }

    fn block_list(&mut self, items: &[Tree], indent: usize, position: Position) {
        // Inside a map a list stands at the map's own indentation.
        let at = match position {
            Position::Item => indent + self.layout.indent,
            _ => indent,
        };
        for (i, item) in items.iter().enumerate() {
            if i > 0 || position == Position::Value {
                self.new_line(at);
            }
            self.push("-");
            let nested = !item.is_scalar() && !self.is_flow(item);
            self.push(&" ".repeat(if nested { self.layout.indent - 1 } else { 1 }));
            self.node(item, at, Position::Item);
        }
    }

    fn block_map(&mut self, entries: &[(Tree, Tree)], indent: usize, position: Position) {
        let at = match position {
            Position::Root => 0,
            _ => indent + self.layout.indent,
        };
        for (i, (key, value)) in entries.iter().enumerate() {
            if i > 0 || position == Position::Value {
                self.new_line(at);
            }
            if simple_key(key) {
                self.node(key, at, Position::Key);
                self.push(":");
            } else {
                self.push("? ");
                self.node(key, at, Position::Item);
                self.new_line(at);
                self.push(":");
            }
            if value.is_scalar() || self.is_flow(value) {
                self.push(" ");
            }
            self.node(value, at, Position::Value);
        }
    }

    fn flow(&mut self, tree: &Tree, indent: usize) {
        let at = indent + self.layout.indent;
        match tree {
            Tree::List(items) => {
                self.push("[");
                for (i, item) in items.iter().enumerate() {
                    self.flow_separator(i, at);
                    self.node(item, at, Position::Flow);
                }
                self.push("]");
            }
            Tree::Map(entries) => {
                self.push("{");
                for (i, (key, value)) in entries.iter().enumerate() {
                    self.flow_separator(i, at);
                    self.node(key, at, Position::FlowKey);
                    self.push(": ");
                    self.node(value, at, Position::Flow);
                }
                self.push("}");
            }
            scalar => self.node(scalar, indent, Position::Flow),
        }
    }

    fn flow_separator(&mut self, i: usize, indent: usize) {
        if i > 0 {
            self.push(",");
        }
        if self.column > self.layout.width {
            self.new_line(indent);
        } else if i > 0 {
            self.push(" ");
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Root,
    Item,
    Key,
    Value,
    Flow,
    FlowKey,
}

fn simple_key(key: &Tree) -> bool {
    match key {
        Tree::Scalar(s) => s.len() < LONGEST_KEY,
        Tree::Text(s) => s.len() < LONGEST_KEY && !s.contains('\n'),
        collection => collection.is_empty(),
    }
}

/// As PyYAML writes a float: YAML wants a point before the exponent.
fn float(f: f64) -> String {
    if f.is_nan() {
        return ".nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { ".inf".into() } else { "-.inf".into() };
    }
    let text = print::float(f);
    match text.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0e{exponent}"),
        _ => text,
    }
}
