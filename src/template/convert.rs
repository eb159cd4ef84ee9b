//! Values in and out of a render: [`Val`] → [`Value`], lazily; back, whole and without templates.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::eval::{DEEPEST, Eval, Run};
use super::fault::Fault;
use super::value::{Home, Object, Slot, Value};
use crate::source::{Map, Text, Val};

impl Eval<'_> {
    /// A raw value as it is seen by a template: itself, or what its template says.
    pub fn resolve(&self, raw: &Val, home: &Home) -> Run<Value> {
        match raw {
            Val::Text(text) if text.is_template() => self.nested(text, home),
            other => Ok(self.raw_value(other, home)),
        }
    }

    pub fn value_of(&self, val: &Val) -> Value {
        self.raw_value(val, &self.home)
    }

    pub fn raw_value(&self, raw: &Val, home: &Home) -> Value {
        let slot = |raw: &Val| match raw {
            Val::List(_) | Val::Map(_) => Slot::Raw(raw.clone(), home.clone()),
            Val::Text(t) if t.is_secret() || t.is_template() => Slot::Raw(raw.clone(), home.clone()),
            other => Slot::Ready(self.raw_value(other, home)),
        };
        match raw {
            Val::Null => Value::None,
            Val::Bool(b) => Value::Bool(*b),
            Val::Int(i) => Value::Int(i128::from(*i)),
            Val::Float(f) => Value::Float(*f),
            Val::Omit => Value::Omit,
            Val::Text(text) => {
                if text.is_secret() {
                    self.tainted.set(true);
                    self.secrets.borrow_mut().push(text.shared());
                    self.cx().hooks.keep_secret(text);
                }
                Value::Text(text.shared())
            }
            Val::List(items) => Value::List(Rc::new(RefCell::new(items.iter().map(slot).collect()))),
            Val::Map(map) => {
                let entries = map.iter().map(|(k, v)| (k.clone(), slot(v))).collect();
                Value::Dict(Rc::new(RefCell::new(entries)))
            }
        }
    }

    /// The value outside of the render, whole and without templates. Entries and items that are
    /// `omit` are left out.
    pub fn to_val(&self, value: Value) -> Run<Val> {
        self.to_val_at(value, 0)
    }

    fn to_val_at(&self, value: Value, depth: usize) -> Run<Val> {
        if depth > DEEPEST {
            return Err(Fault::plain("the value is nested too deeply, or holds itself"));
        }
        Ok(match value {
            Value::Undefined(u) => return Err(Fault::Undefined(u)),
            Value::None => Val::Null,
            Value::Bool(b) => Val::Bool(b),
            Value::Int(i) => Val::Int(
                i64::try_from(i)
                    .map_err(|_| Fault::new(format!("the integer {i} is too large: 64 bits are the most")))?,
            ),
            Value::Float(f) => Val::Float(f),
            Value::Text(s) => Val::Text(Text::new(s)),
            Value::Omit => Val::Omit,
            Value::List(items) | Value::Tuple(items) => {
                let mut list = Vec::new();
                for item in self.items_of(&items)? {
                    match self.to_val_at(item, depth + 1)? {
                        Val::Omit => {}
                        item => list.push(item),
                    }
                }
                Val::list(list)
            }
            dict @ (Value::Dict(_) | Value::Scope(_) | Value::Scopes(_)) => {
                let mut map = Map::new();
                for (key, item) in self.entries(&dict)? {
                    if key.has_secret() {
                        self.tainted.set(true);
                    }
                    match self.to_val_at(item, depth + 1)? {
                        Val::Omit => {}
                        item => {
                            map.insert(key.map_texts(&Text::plain), item);
                        }
                    }
                }
                Val::map(map)
            }
            Value::Object(o) => match &*o {
                Object::Module { output, .. } => self.to_val_at(output.clone(), depth + 1)?,
                _ => return Err(not_data("an object that only exists inside a template")),
            },
            dated @ (Value::DateTime(_) | Value::Delta(_)) => Val::from(self.str(&dated)?),
            Value::Range(..) => {
                return Err(not_data("a range").help("Make it a list: range(...) | list"));
            }
            Value::Macro(_) => return Err(not_data("a macro").help("Call it: name()")),
            Value::Method(m) => {
                return Err(not_data(&format!("the method '{}'", m.1)).help(format!("Call it: {}()", m.1)));
            }
            Value::Function(f) => {
                return Err(
                    not_data(&format!("the function '{}'", f.name)).help(format!("Call it: {}()", f.name))
                );
            }
        })
    }

    /// A value whose texts were moved and not changed: those that were Secret still are.
    pub fn moved(&self, value: Value) -> Run<Val> {
        let val = self.to_val(value)?;
        let secrets = self.secrets.borrow();
        let is_secret = |t: &Text| secrets.iter().any(|s| Arc::ptr_eq(s, &t.shared()));
        Ok(val.map_texts(&|t| if is_secret(t) { t.clone().into_secret() } else { t.clone() }))
    }

    /// The result of this render: whole first, then Secret in every text if one was used.
    pub fn finish(&self, value: Value) -> Run<Val> {
        let val = self.to_val(value)?;
        Ok(if self.tainted.get() { val.into_secret() } else { val })
    }

    /// A value to hand to another render, which can't know what this one used.
    pub fn hand_over(&self, value: Value) -> Run<Val> {
        self.finish(value)
    }
}

fn not_data(what: &str) -> Fault {
    Fault::plain(format!("the result is {what}, which is not data"))
}
