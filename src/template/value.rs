//! A value inside a render: Python's types as Jinja sees them, lists and dicts resolved lazily.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::context::{LazyMap, Names};
use super::eval::{Eval, Frame, Run};
use super::fault::{Fault, Undefined};
use super::functions::Function;
use super::program::{For, Macro};
use super::source_map::Source;
use crate::source::Val;

/// The scope in which a raw value's templates are resolved.
#[derive(Clone)]
pub struct Home {
    /// `None` is the render's own scope.
    pub names: Option<Arc<dyn Names + Send>>,
    /// The variable through which it was reached, for messages.
    pub label: Arc<str>,
}

/// A place of a list or dict.
#[derive(Clone)]
pub enum Slot {
    Ready(Value),
    /// Resolved when it is asked for.
    Raw(Val, Home),
}

pub type Items = RefCell<Vec<Slot>>;
pub type Entries = RefCell<IndexMap<Val, Slot>>;

#[derive(Clone)]
pub enum Value {
    Undefined(Rc<Undefined>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Arc<str>),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Entries>),
    Omit,
    Range(i64, i64, i64),
    DateTime(chrono::NaiveDateTime),
    Delta(chrono::TimeDelta),
    /// A scope of variables as a dict: `vars`, `hostvars['web1']`.
    Scope(Home),
    /// `hostvars`.
    Scopes(Arc<dyn LazyMap>),
    Macro(Rc<Closure>),
    Method(Rc<(Value, &'static str)>),
    Function(&'static Function),
    /// An object with attributes that a template made: `namespace()`, `cycler()`, an import.
    Object(Rc<Object>),
}

pub struct Closure {
    pub decl: Arc<Macro>,
    pub frame: Rc<Frame>,
    pub source: Rc<Source>,
}

pub enum Object {
    Namespace(RefCell<IndexMap<Arc<str>, Value>>),
    Cycler(Vec<Value>, Cell<usize>),
    Joiner(Value, Cell<bool>),
    Module {
        frame: Rc<Frame>,
        output: Value,
    },
    Loop(Loop),
    /// The block of a parent template.
    Super {
        block: Arc<str>,
        depth: usize,
    },
    /// `self`, whose attributes are the blocks of this template.
    Blocks,
}

/// `loop` inside a `for`.
pub struct Loop {
    pub items: Vec<Value>,
    pub index0: Cell<usize>,
    pub depth0: usize,
    pub last_changed: RefCell<Option<Vec<Value>>>,
    /// The loop to run again for `loop(children)`, when it is recursive.
    pub again: Option<(Rc<Source>, Arc<For>, Rc<Frame>)>,
}

impl Value {
    pub fn text(s: impl Into<Arc<str>>) -> Value {
        Value::Text(s.into())
    }

    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Rc::new(RefCell::new(items.into_iter().map(Slot::Ready).collect())))
    }

    pub fn tuple(items: Vec<Value>) -> Value {
        Value::Tuple(Rc::new(RefCell::new(items.into_iter().map(Slot::Ready).collect())))
    }

    pub fn dict(entries: impl IntoIterator<Item = (Val, Value)>) -> Value {
        let entries = entries.into_iter().map(|(k, v)| (k, Slot::Ready(v))).collect();
        Value::Dict(Rc::new(RefCell::new(entries)))
    }

    /// A dict with text keys.
    pub fn record<const N: usize>(entries: [(&str, Value); N]) -> Value {
        Value::dict(entries.into_iter().map(|(k, v)| (Val::from(k), v)))
    }

    /// The name of its Python type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "UndefinedMarker",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) | Value::Scope(_) | Value::Scopes(_) => "dict",
            Value::Omit => "Omit",
            Value::Range(..) => "range",
            Value::DateTime(_) => "datetime",
            Value::Delta(_) => "timedelta",
            Value::Macro(_) => "Macro",
            Value::Method(_) => "method",
            Value::Function(_) => "function",
            Value::Object(o) => match &**o {
                Object::Namespace(_) => "Namespace",
                Object::Cycler(..) => "Cycler",
                Object::Joiner(..) => "Joiner",
                Object::Module { .. } => "TemplateModule",
                Object::Loop(_) => "LoopContext",
                Object::Super { .. } => "BlockReference",
                Object::Blocks => "TemplateReference",
            },
        }
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    /// The value, or the error that using something undefined is.
    pub fn defined(self) -> Run<Value> {
        match self {
            Value::Undefined(u) => Err(Fault::Undefined(u)),
            other => Ok(other),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(s) => Some(s),
            _ => None,
        }
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Value::Int(_) | Value::Float(_) | Value::Bool(_))
    }

    /// As an integer, where Python takes one (a bool counts as one).
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(i) => Some(*i),
            Value::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(f) => Some(*f),
            other => other.as_int().map(|i| i as f64),
        }
    }

    pub fn is_dict(&self) -> bool {
        matches!(self, Value::Dict(_) | Value::Scope(_) | Value::Scopes(_))
    }

    /// A list or tuple or range: what Ansible calls a sequence, which a text isn't.
    pub fn is_sequence(&self) -> bool {
        matches!(self, Value::List(_) | Value::Tuple(_) | Value::Range(..))
    }

    /// Python's `bool(x)`.
    pub fn truthy(&self) -> Run<bool> {
        Ok(match self {
            Value::Undefined(u) => return Err(Fault::Undefined(u.clone())),
            Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Text(s) => !s.is_empty(),
            Value::List(l) | Value::Tuple(l) => !l.borrow().is_empty(),
            Value::Dict(d) => !d.borrow().is_empty(),
            Value::Range(start, stop, step) => range_len(*start, *stop, *step) > 0,
            Value::Scopes(s) => !s.keys().is_empty(),
            Value::Delta(d) => !d.is_zero(),
            _ => true,
        })
    }

    /// A plain key for a dict; what can't be one is Python's `unhashable type`.
    pub fn key(&self, eval: &Eval) -> Run<Val> {
        match self {
            Value::List(_) | Value::Dict(_) | Value::Scope(_) | Value::Scopes(_) => {
                Err(Fault::new(format!("unhashable type: '{}'", self.type_name())))
            }
            other => eval.to_val(other.clone()),
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}
impl From<i64> for Value {
    fn from(i: i64) -> Value {
        Value::Int(i.into())
    }
}
impl From<usize> for Value {
    fn from(i: usize) -> Value {
        Value::Int(i as i128)
    }
}
impl From<f64> for Value {
    fn from(f: f64) -> Value {
        Value::Float(f)
    }
}
impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::text(s)
    }
}
impl From<String> for Value {
    fn from(s: String) -> Value {
        Value::text(s)
    }
}
impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        Value::list(items)
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::None, Into::into)
    }
}

pub fn range_len(start: i64, stop: i64, step: i64) -> usize {
    let (span, step) = if step > 0 {
        (i128::from(stop) - i128::from(start), i128::from(step))
    } else {
        (i128::from(start) - i128::from(stop), -i128::from(step))
    };
    if span <= 0 { 0 } else { usize::try_from((span + step - 1) / step).unwrap_or(usize::MAX) }
}

impl Eval<'_> {
    /// Python's `==`.
    pub fn equal(&self, a: &Value, b: &Value) -> Run<bool> {
        Ok(match (a, b) {
            (Value::Undefined(u), _) | (_, Value::Undefined(u)) => return Err(Fault::Undefined(u.clone())),
            (Value::None, Value::None) | (Value::Omit, Value::Omit) => true,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (a, b) if a.is_number() && b.is_number() => match (a.as_int(), b.as_int()) {
                (Some(a), Some(b)) => a == b,
                _ => a.as_float() == b.as_float(),
            },
            (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
                if Rc::ptr_eq(x, y) {
                    return Ok(true);
                }
                let (x, y) = (self.items_of(x)?, self.items_of(y)?);
                if x.len() != y.len() {
                    return Ok(false);
                }
                for (x, y) in x.iter().zip(&y) {
                    if !self.equal(x, y)? {
                        return Ok(false);
                    }
                }
                true
            }
            (a, b) if a.is_dict() && b.is_dict() => {
                let (x, y) = (self.entries(a)?, self.entries(b)?);
                if x.len() != y.len() {
                    return Ok(false);
                }
                let y: IndexMap<Val, Value> = y.into_iter().collect();
                for (key, value) in &x {
                    match y.get(key) {
                        Some(other) if self.equal(value, other)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Value::Range(a, b, c), Value::Range(x, y, z)) => (a, b, c) == (x, y, z),
            (Value::DateTime(a), Value::DateTime(b)) => a == b,
            (Value::Delta(a), Value::Delta(b)) => a == b,
            (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b),
            (Value::Macro(a), Value::Macro(b)) => Rc::ptr_eq(a, b),
            _ => false,
        })
    }

    /// Python's `<`, `>` and friends; `None` for a comparison with NaN.
    pub fn order(&self, a: &Value, b: &Value, op: &str) -> Run<Option<Ordering>> {
        Ok(match (a, b) {
            (Value::Undefined(u), _) | (_, Value::Undefined(u)) => return Err(Fault::Undefined(u.clone())),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (a, b) if a.is_number() && b.is_number() => match (a.as_int(), b.as_int()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => a.as_float().partial_cmp(&b.as_float()),
            },
            (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
                let (x, y) = (self.items_of(x)?, self.items_of(y)?);
                for (x, y) in x.iter().zip(&y) {
                    if !self.equal(x, y)? {
                        return self.order(x, y, op);
                    }
                }
                Some(x.len().cmp(&y.len()))
            }
            (Value::DateTime(a), Value::DateTime(b)) => Some(a.cmp(b)),
            (Value::Delta(a), Value::Delta(b)) => Some(a.cmp(b)),
            (a, b) => {
                return Err(Fault::new(format!(
                    "'{op}' not supported between instances of '{}' and '{}'",
                    a.type_name(),
                    b.type_name()
                )));
            }
        })
    }

    /// Sorts as Python does: stable, and an error when two items can't be compared.
    pub fn sort_by_key(&self, items: &mut [(Value, Value)], reverse: bool) -> Run<()> {
        let mut failed = None;
        items.sort_by(|a, b| {
            if failed.is_some() {
                return Ordering::Equal;
            }
            let (x, y) = if reverse { (&b.0, &a.0) } else { (&a.0, &b.0) };
            match self.order(x, y, "<") {
                Ok(order) => order.unwrap_or(Ordering::Equal),
                Err(e) => {
                    failed = Some(e);
                    Ordering::Equal
                }
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// Python's `needle in haystack`.
    pub fn contains(&self, haystack: &Value, needle: &Value) -> Run<bool> {
        match haystack {
            Value::Undefined(u) => Err(Fault::Undefined(u.clone())),
            Value::Text(text) => match needle {
                Value::Text(part) => Ok(text.contains(&**part)),
                Value::Undefined(u) => Err(Fault::Undefined(u.clone())),
                other => Err(Fault::new(format!(
                    "'in <string>' requires string as left operand, not {}",
                    other.type_name()
                ))),
            },
            Value::Dict(d) => Ok(d.borrow().contains_key(&needle.key(self)?)),
            Value::Scopes(s) => Ok(needle.as_str().is_some_and(|n| s.scope(n).is_some())),
            Value::Scope(home) => {
                let Some(name) = needle.as_str() else { return Ok(false) };
                Ok(self.names_of(home).get(name).is_some() || self.names_of(home).lazy(name).is_some())
            }
            Value::Range(start, stop, step) => Ok(match needle.as_int() {
                Some(i) => {
                    let (start, stop, step) = (i128::from(*start), i128::from(*stop), i128::from(*step));
                    let inside = if step > 0 { i >= start && i < stop } else { i <= start && i > stop };
                    inside && (i - start) % step == 0
                }
                None => false,
            }),
            other => {
                for item in self.iterate(other)? {
                    if self.equal(&item, needle)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Python's `len(x)`.
    pub fn length(&self, value: &Value) -> Run<usize> {
        Ok(match value {
            Value::Undefined(u) => return Err(Fault::Undefined(u.clone())),
            Value::Text(s) => s.chars().count(),
            Value::List(l) | Value::Tuple(l) => l.borrow().len(),
            Value::Dict(d) => d.borrow().len(),
            Value::Range(a, b, c) => range_len(*a, *b, *c),
            Value::Scope(home) => self.names_of(home).names().len(),
            Value::Scopes(s) => s.keys().len(),
            Value::Object(o) => match &**o {
                Object::Loop(l) => l.items.len(),
                _ => return Err(no_len(value)),
            },
            other => return Err(no_len(other)),
        })
    }

    /// The items of a list, each resolved.
    pub fn items_of(&self, items: &Rc<Items>) -> Run<Vec<Value>> {
        let len = items.borrow().len();
        let mut out = Vec::with_capacity(len);
        for i in 0..len {
            if let Some(item) = self.item_at(items, i)? {
                out.push(item);
            }
        }
        Ok(out)
    }

    pub fn item_at(&self, items: &Rc<Items>, index: usize) -> Run<Option<Value>> {
        let slot = items.borrow().get(index).cloned();
        match slot {
            None => Ok(None),
            Some(Slot::Ready(value)) => Ok(Some(value)),
            Some(Slot::Raw(raw, home)) => {
                let value = self.resolve(&raw, &home)?;
                if let Some(slot) = items.borrow_mut().get_mut(index) {
                    *slot = Slot::Ready(value.clone());
                }
                Ok(Some(value))
            }
        }
    }

    pub fn entry_at(&self, dict: &Rc<Entries>, key: &Val) -> Run<Option<Value>> {
        let slot = dict.borrow().get(key).cloned();
        match slot {
            None => Ok(None),
            Some(Slot::Ready(value)) => Ok(Some(value)),
            Some(Slot::Raw(raw, home)) => {
                let value = self.resolve(&raw, &home)?;
                if let Some(slot) = dict.borrow_mut().get_mut(key) {
                    *slot = Slot::Ready(value.clone());
                }
                Ok(Some(value))
            }
        }
    }

    pub fn keys(&self, value: &Value) -> Run<Vec<Val>> {
        Ok(match value {
            Value::Dict(d) => d.borrow().keys().cloned().collect(),
            Value::Scope(home) => self.names_of(home).names().into_iter().map(Val::from).collect(),
            Value::Scopes(s) => s.keys().into_iter().map(Val::from).collect(),
            Value::Undefined(u) => return Err(Fault::Undefined(u.clone())),
            other => return Err(Fault::new(format!("'{}' is not a dictionary", other.type_name()))),
        })
    }

    /// The entries of a dict, each value resolved.
    pub fn entries(&self, value: &Value) -> Run<Vec<(Val, Value)>> {
        let mut out = Vec::new();
        for key in self.keys(value)? {
            let item = match value {
                Value::Dict(d) => self.entry_at(d, &key)?,
                other => self.scope_entry(other, &key)?,
            };
            if let Some(item) = item {
                out.push((key, item));
            }
        }
        Ok(out)
    }

    /// A variable of a scope, or a scope of `hostvars`.
    pub fn scope_entry(&self, value: &Value, key: &Val) -> Run<Option<Value>> {
        let Some(name) = key.as_str() else { return Ok(None) };
        match value {
            Value::Scope(home) => self.variable(name, home),
            Value::Scopes(scopes) => Ok(scopes.scope(name).map(|names| {
                Value::Scope(Home { names: Some(names), label: Arc::from(format!("hostvars['{name}']")) })
            })),
            _ => Ok(None),
        }
    }

    /// Python's `iter(x)`, whole; an undefined item is an error.
    pub fn iterate(&self, value: &Value) -> Run<Vec<Value>> {
        let items = self.iterate_lazy(value)?;
        items.into_iter().map(Value::defined).collect()
    }

    /// Python's `iter(x)`, whole; an item may be undefined until it is used.
    pub fn iterate_lazy(&self, value: &Value) -> Run<Vec<Value>> {
        match value {
            Value::Undefined(u) => Err(Fault::Undefined(u.clone())),
            Value::List(l) | Value::Tuple(l) => self.items_of(l),
            Value::Text(s) => Ok(s.chars().map(|c| Value::text(c.to_string())).collect()),
            Value::Dict(_) | Value::Scope(_) | Value::Scopes(_) => {
                Ok(self.keys(value)?.into_iter().map(|k| self.value_of(&k)).collect())
            }
            Value::Range(start, stop, step) => {
                let len = range_len(*start, *stop, *step);
                if len > LONGEST_RANGE {
                    return Err(Fault::new(format!("range too big: {len} items, at most {LONGEST_RANGE}")));
                }
                Ok((0..len as i128).map(|i| Value::Int(i128::from(*start) + i * i128::from(*step))).collect())
            }
            other => Err(Fault::new(format!("'{}' object is not iterable", other.type_name()))),
        }
    }
}

/// Longest range that is turned into a list.
const LONGEST_RANGE: usize = 10_000_000;

fn no_len(value: &Value) -> Fault {
    Fault::plain(format!("object of type '{}' has no len()", value.type_name()))
}
