//! Arguments of filters, tests, functions, methods and lookups.

use std::sync::Arc;

use super::eval::{Eval, Run};
use super::fault::Fault;
use super::value::Value;

#[derive(Default, Clone)]
pub struct Args {
    pub pos: Vec<Value>,
    pub named: Vec<(Arc<str>, Value)>,
}

impl Args {
    pub fn of(pos: Vec<Value>) -> Args {
        Args { pos, named: vec![] }
    }

    pub fn first_undefined(&self) -> Option<Value> {
        let named = self.named.iter().map(|(_, v)| v);
        self.pos.iter().chain(named).find(|v| v.is_undefined()).cloned()
    }

    /// Takes a named argument out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(n, _)| &**n == name)?;
        Some(self.named.remove(at).1)
    }

    /// The arguments by the names of the parameters, positional ones in their order.
    ///
    /// # Errors
    /// Too many, an unknown name, or one given twice.
    pub fn bind<const N: usize>(self, params: [&str; N]) -> Run<[Option<Value>; N]> {
        let mut out = [const { None }; N];
        if self.pos.len() > N {
            return Err(Fault::plain(format!(
                "takes at most {N} arguments, but {} were given",
                self.pos.len()
            )));
        }
        for (slot, value) in out.iter_mut().zip(self.pos) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let Some(at) = params.iter().position(|p| **p == *name) else {
                let fault = Fault::plain(format!("got an unexpected keyword argument '{name}'"));
                return Err(if params.is_empty() {
                    fault
                } else {
                    fault.help(format!("It takes: {}", params.join(", ")))
                });
            };
            if out[at].replace(value).is_some() {
                return Err(Fault::plain(format!("got multiple values for argument '{name}'")));
            }
        }
        Ok(out)
    }
}

/// Conversions of bound arguments; `name` is the parameter.
impl Eval<'_> {
    /// The text of a value, as Ansible's `to_text` makes it.
    pub fn text_of(&self, value: &Value) -> Run<Arc<str>> {
        match value {
            Value::Text(s) => Ok(s.clone()),
            other => Ok(Arc::from(self.str(other)?)),
        }
    }

    pub fn required(&self, name: &str, value: Option<Value>) -> Run<Value> {
        value.ok_or_else(|| Fault::plain(format!("missing required argument: '{name}'")))
    }

    pub fn text_or(&self, value: Option<Value>, default: &str) -> Run<Arc<str>> {
        match value {
            Some(v) => self.text_of(&v),
            None => Ok(Arc::from(default)),
        }
    }

    pub fn flag(&self, value: Option<Value>) -> Run<bool> {
        value.map_or(Ok(false), |v| v.truthy())
    }

    pub fn int_or(&self, name: &str, value: Option<Value>, default: i128) -> Run<i128> {
        match value {
            None => Ok(default),
            Some(v) => self.int_of(name, &v),
        }
    }

    pub fn int_of(&self, name: &str, value: &Value) -> Run<i128> {
        match value {
            Value::Float(f) if f.fract() == 0.0 => Ok(*f as i128),
            Value::Text(s) => {
                s.trim().parse().map_err(|_| Fault::new(format!("'{name}' must be an integer, not '{s}'")))
            }
            other => other.as_int().ok_or_else(|| {
                Fault::plain(format!("'{name}' must be an integer, not {}", other.type_name()))
            }),
        }
    }

    /// `None` for an argument that is absent or Python's `None`.
    pub fn given(&self, value: Option<Value>) -> Option<Value> {
        value.filter(|v| !matches!(v, Value::None))
    }
}
