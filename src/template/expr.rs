//! Evaluates expressions.

use std::rc::Rc;
use std::sync::Arc;

use super::call::Args;
use super::eval::{Eval, Frame, Run, grow};
use super::fault::Fault;
use super::filters::Filter;
use super::methods;
use super::program::*;
use super::tests::Test;
use super::value::{Object, Value, range_len};
use crate::source::Val;

impl Eval<'_> {
    pub fn expr(&self, expr: &Expr, frame: &Rc<Frame>) -> Run<Value> {
        match &expr.kind {
            Kind::Const(c) => Ok(constant(c)),
            Kind::Var(name) => self.lookup_name(name, frame, expr.at),
            _ => grow(|| self.compound(expr, frame)).map_err(|fault| fault.at(expr.at)),
        }
    }

    fn compound(&self, expr: &Expr, frame: &Rc<Frame>) -> Run<Value> {
        Ok(match &expr.kind {
            Kind::Const(c) => constant(c),
            Kind::Var(name) => return self.lookup_name(name, frame, expr.at),
            Kind::Embedded(program) => {
                let inner = Rc::new(Frame::default());
                return self.program(program, &inner);
            }
            Kind::List(items) => Value::list(self.exprs(items, frame)?),
            Kind::Tuple(items) => Value::tuple(self.exprs(items, frame)?),
            Kind::Dict(entries) => {
                let mut dict = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let key = self.expr(key, frame)?.defined()?.key(self)?;
                    dict.push((key, self.expr(value, frame)?));
                }
                Value::dict(dict)
            }
            Kind::Attr(object, name) => {
                let object = self.expr(object, frame)?;
                return self.attribute(&object, name, expr.at);
            }
            Kind::Item(object, key) => {
                let object = self.expr(object, frame)?;
                let key = self.expr(key, frame)?;
                return self.subscript(&object, &key, expr.at);
            }
            Kind::Slice(object, parts) => {
                let object = self.expr(object, frame)?;
                if object.is_undefined() {
                    return Ok(object);
                }
                let mut bounds = [None; 3];
                for (bound, part) in bounds.iter_mut().zip(&**parts) {
                    if let Some(part) = part {
                        *bound = match self.expr(part, frame)?.defined()? {
                            Value::None => None,
                            other => Some(
                                other
                                    .as_int()
                                    .ok_or_else(|| Fault::plain("slice indices must be integers or None"))?,
                            ),
                        };
                    }
                }
                return self.slice(&object, bounds);
            }
            Kind::Not(inner) => Value::Bool(!self.expr(inner, frame)?.truthy()?),
            Kind::Neg(inner) => match self.expr(inner, frame)?.defined()? {
                Value::Float(f) => Value::Float(-f),
                other => match other.as_int() {
                    Some(i) => Value::Int(i.checked_neg().ok_or_else(too_large)?),
                    None => {
                        return Err(Fault::plain(format!(
                            "bad operand type for unary -: '{}'",
                            other.type_name()
                        )));
                    }
                },
            },
            Kind::And(left, right) => {
                let left = self.expr(left, frame)?;
                if left.truthy()? { self.expr(right, frame)? } else { left }
            }
            Kind::Or(left, right) => {
                let left = self.expr(left, frame)?;
                if left.truthy()? { left } else { self.expr(right, frame)? }
            }
            Kind::Math(op, left, right) => {
                let left = self.expr(left, frame)?.defined()?;
                let right = self.expr(right, frame)?.defined()?;
                return self.math(*op, &left, &right);
            }
            Kind::Compare(first, rest) => {
                let mut left = self.expr(first, frame)?;
                for (op, right) in rest {
                    let right = self.expr(right, frame)?;
                    if !self.compare(*op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Value::Bool(true)
            }
            Kind::If { test, yes, no } => {
                if self.expr(test, frame)?.truthy()? {
                    self.expr(yes, frame)?
                } else if let Some(no) = no {
                    self.expr(no, frame)?
                } else {
                    self.undefined(
                        "the inline if-expression evaluated to false and no else section was defined."
                            .to_string(),
                        None,
                        expr.at,
                    )
                }
            }
            Kind::Filter(filter, value, args) => {
                let value = match value {
                    Some(value) => self.expr(value, frame)?,
                    None => Value::text(""),
                };
                let args = self.args(args, frame)?;
                return self.filter(filter, value, args);
            }
            Kind::Test(test, value, args) => {
                let value = self.expr(value, frame)?;
                let args = self.args(args, frame)?;
                return self.test(test, value, args);
            }
            Kind::Call(callee, args) => return self.call_expr(callee, args, frame, expr.at),
        })
    }

    fn exprs(&self, items: &[Expr], frame: &Rc<Frame>) -> Run<Vec<Value>> {
        items.iter().map(|item| self.expr(item, frame)).collect()
    }

    pub fn args(&self, args: &[Arg], frame: &Rc<Frame>) -> Run<Args> {
        let mut out = Args::default();
        for arg in args {
            match arg {
                Arg::Pos(e) => out.pos.push(self.expr(e, frame)?),
                Arg::Named(name, e) => out.named.push((name.clone(), self.expr(e, frame)?)),
                Arg::Splat(e) => {
                    let list = self.expr(e, frame)?;
                    out.pos.extend(self.iterate_lazy(&list)?);
                }
                Arg::NamedSplat(e) => {
                    let dict = self.expr(e, frame)?;
                    for (key, value) in self.entries(&dict)? {
                        let Some(key) = key.as_str() else {
                            return Err(Fault::plain("keywords must be strings"));
                        };
                        out.named.push((Arc::from(key), value));
                    }
                }
            }
        }
        Ok(out)
    }

    // ── plugins ──

    /// Applies a filter. Something undefined passes through filters that don't handle it.
    pub fn filter(&self, filter: &Filter, value: Value, args: Args) -> Run<Value> {
        if !filter.takes_undefined {
            if value.is_undefined() {
                return Ok(value);
            }
            if let Some(undefined) = args.first_undefined() {
                return Ok(undefined);
            }
        }
        if filter.impure {
            self.impure();
        }
        self.undefined_as_value((filter.run)(self, value, args))
            .map_err(|f| f.during(|| format!("The filter plugin 'ansible.builtin.{}' failed", filter.name)))
    }

    /// Applies a test: a boolean, or what was undefined.
    pub fn test(&self, test: &Test, value: Value, args: Args) -> Run<Value> {
        if !test.takes_undefined {
            if value.is_undefined() {
                return Ok(value);
            }
            if let Some(undefined) = args.first_undefined() {
                return Ok(undefined);
            }
        }
        let result = (test.run)(self, value, args).map(Value::Bool);
        self.undefined_as_value(result)
            .map_err(|f| f.during(|| format!("The test plugin 'ansible.builtin.{}' failed", test.name)))
    }

    fn undefined_as_value(&self, result: Run<Value>) -> Run<Value> {
        match result {
            Err(Fault::Undefined(u)) => Ok(Value::Undefined(u)),
            other => other,
        }
    }

    // ── calls ──

    fn call_expr(&self, callee: &Expr, args: &[Arg], frame: &Rc<Frame>, at: Place) -> Run<Value> {
        if let Kind::Attr(object, name) = &callee.kind {
            let object = self.expr(object, frame)?;
            if object.is_undefined() {
                return Ok(object);
            }
            if let Some(name) = methods::find(&object, name) {
                let args = self.args(args, frame)?;
                return self.call_method(&object, name, args);
            }
            let member = self.attribute(&object, name, callee.at)?;
            let args = self.args(args, frame)?;
            return self.call(&member, args, at);
        }
        let callee = self.expr(callee, frame)?;
        let args = self.args(args, frame)?;
        self.call(&callee, args, at)
    }

    fn call_method(&self, object: &Value, name: &'static str, args: Args) -> Run<Value> {
        if let Some(undefined) = args.first_undefined() {
            return Ok(undefined);
        }
        self.undefined_as_value(methods::call(self, object, name, args))
    }

    pub fn call(&self, callee: &Value, args: Args, at: Place) -> Run<Value> {
        match callee {
            Value::Undefined(_) => Ok(callee.clone()),
            Value::Function(f) => {
                if !f.takes_undefined
                    && let Some(undefined) = args.first_undefined()
                {
                    return Ok(undefined);
                }
                if f.impure {
                    self.impure();
                }
                self.undefined_as_value((f.run)(self, args, at))
            }
            Value::Method(m) => self.call_method(&m.0, m.1, args),
            Value::Macro(closure) => self.call_macro(closure, args, None),
            Value::Object(object) => match &**object {
                Object::Loop(again) => {
                    let [children] = args.bind(["iterable"])?;
                    let children =
                        children.ok_or_else(|| Fault::plain("loop() needs the list to loop over"))?;
                    self.loop_again(again, &children)
                }
                Object::Joiner(separator, used) => {
                    Ok(if used.replace(true) { separator.clone() } else { Value::text("") })
                }
                Object::Super { block, depth } => self.call_block(block, *depth, at),
                _ => Err(not_callable(callee)),
            },
            other => Err(not_callable(other)),
        }
    }

    // ── attributes and subscripts ──

    /// `object.name`: the attribute, else the item. Of something undefined it is undefined.
    pub fn attribute(&self, object: &Value, name: &str, at: Place) -> Run<Value> {
        let found = self.attribute_only(object, name, at)?;
        if found.is_undefined()
            && object.is_dict()
            && let Some(value) = self.entry(object, &Val::from(name))?
        {
            return Ok(value);
        }
        Ok(found)
    }

    /// The attribute, never the item.
    pub fn attribute_only(&self, object: &Value, name: &str, at: Place) -> Run<Value> {
        if object.is_undefined() {
            return Ok(object.clone());
        }
        if let Some(method) = methods::find(object, name) {
            return Ok(Value::Method(Rc::new((object.clone(), method))));
        }
        match self.member(object, name)? {
            Some(value) => Ok(value),
            None => Ok(self.no_attribute(object, name, at)),
        }
    }

    /// `object[key]`: the item, else the attribute.
    pub fn subscript(&self, object: &Value, key: &Value, at: Place) -> Run<Value> {
        if object.is_undefined() {
            return Ok(object.clone());
        }
        if key.is_undefined() {
            key.clone().defined()?;
        }
        let found = match object {
            Value::List(items) | Value::Tuple(items) => match key.as_int() {
                Some(i) => {
                    let len = items.borrow().len();
                    match wrap_index(i, len) {
                        Some(i) => self.item_at(items, i)?,
                        None => None,
                    }
                }
                None => None,
            },
            Value::Text(text) => match key.as_int() {
                Some(i) => wrap_index(i, text.chars().count())
                    .and_then(|i| text.chars().nth(i))
                    .map(|c| Value::text(c.to_string())),
                None => None,
            },
            Value::Range(start, stop, step) => key
                .as_int()
                .and_then(|i| wrap_index(i, range_len(*start, *stop, *step)))
                .map(|i| Value::Int(i128::from(*start) + i as i128 * i128::from(*step))),
            dict if dict.is_dict() => match key.key(self) {
                Ok(key) => self.entry(dict, &key)?,
                Err(_) => None,
            },
            _ => None,
        };
        if let Some(value) = found {
            return Ok(value);
        }
        if let Some(name) = key.as_str() {
            if let Some(method) = methods::find(object, name) {
                return Ok(Value::Method(Rc::new((object.clone(), method))));
            }
            if let Some(value) = self.member(object, name)? {
                return Ok(value);
            }
            return Ok(self.no_attribute(object, name, at));
        }
        let message = format!("object of type '{}' has no attribute {}", object.type_name(), self.repr(key)?);
        Ok(self.undefined_quoting(message, at))
    }

    fn no_attribute(&self, object: &Value, name: &str, at: Place) -> Value {
        let message = if self.tainted.get() && self.quotes_at(at).is_none_or(|text| !text.contains(name)) {
            format!("object of type '{}' has no such attribute", object.type_name())
        } else {
            format!("object of type '{}' has no attribute '{name}'", object.type_name())
        };
        self.undefined(message, None, at)
    }

    /// The template's own text at a place: what stands there is no secret.
    fn quotes_at(&self, at: Place) -> Option<String> {
        let source = self.source()?;
        source.text.get(at.start as usize..at.end as usize).map(str::to_string)
    }

    pub fn entry(&self, dict: &Value, key: &Val) -> Run<Option<Value>> {
        match dict {
            Value::Dict(entries) => self.entry_at(entries, key),
            other => self.scope_entry(other, key),
        }
    }

    /// Attributes that are not items: of dates, `loop`, namespaces, imports.
    fn member(&self, object: &Value, name: &str) -> Run<Option<Value>> {
        Ok(match object {
            Value::DateTime(_) | Value::Delta(_) => super::dates::member(object, name),
            Value::Object(o) => match &**o {
                Object::Namespace(vars) => vars.borrow().get(name).cloned(),
                Object::Module { frame, .. } => {
                    if name.starts_with('_') {
                        None
                    } else {
                        frame.vars.borrow().get(name).cloned()
                    }
                }
                Object::Cycler(items, at) => match name {
                    "current" => items.get(at.get()).cloned(),
                    _ => None,
                },
                Object::Loop(l) => super::exec::loop_member(l, name),
                Object::Blocks => self
                    .blocks
                    .borrow()
                    .contains_key(name)
                    .then(|| Value::Object(Rc::new(Object::Super { block: Arc::from(name), depth: 0 }))),
                Object::Super { block, depth } if name == "super" => {
                    let more = self.blocks.borrow().get(block).is_some_and(|b| b.len() > depth + 1);
                    more.then(|| {
                        Value::Object(Rc::new(Object::Super { block: block.clone(), depth: depth + 1 }))
                    })
                }
                _ => None,
            },
            Value::Macro(m) => match name {
                "name" => Some(Value::Text(m.decl.name.clone())),
                "arguments" => {
                    Some(Value::tuple(m.decl.params.iter().map(|p| Value::Text(p.clone())).collect()))
                }
                _ => None,
            },
            // groupby's pairs
            Value::Tuple(items) if items.borrow().len() == 2 => match name {
                "grouper" => self.item_at(items, 0)?,
                "list" => self.item_at(items, 1)?,
                _ => None,
            },
            _ => None,
        })
    }

    pub fn slice(&self, object: &Value, [start, stop, step]: [Option<i128>; 3]) -> Run<Value> {
        let pick = |len: usize| slice_indices(len, start, stop, step);
        Ok(match object {
            Value::Text(text) => {
                let chars: Vec<char> = text.chars().collect();
                Value::text(pick(chars.len())?.into_iter().map(|i| chars[i]).collect::<String>())
            }
            Value::List(items) => {
                let items = self.items_of(items)?;
                Value::list(pick(items.len())?.into_iter().map(|i| items[i].clone()).collect())
            }
            Value::Tuple(items) => {
                let items = self.items_of(items)?;
                Value::tuple(pick(items.len())?.into_iter().map(|i| items[i].clone()).collect())
            }
            Value::Range(..) => {
                let items = self.iterate(object)?;
                Value::list(pick(items.len())?.into_iter().map(|i| items[i].clone()).collect())
            }
            other => {
                return Err(Fault::plain(format!("'{}' object is not subscriptable", other.type_name())));
            }
        })
    }

    pub fn compare(&self, op: Compare, left: &Value, right: &Value) -> Run<bool> {
        use std::cmp::Ordering::{Greater, Less};
        Ok(match op {
            Compare::Eq => self.equal(left, right)?,
            Compare::Ne => !self.equal(left, right)?,
            Compare::In => {
                if left.is_undefined() {
                    left.clone().defined()?;
                }
                self.contains(right, left)?
            }
            Compare::NotIn => {
                if left.is_undefined() {
                    left.clone().defined()?;
                }
                !self.contains(right, left)?
            }
            Compare::Lt => self.order(left, right, "<")? == Some(Less),
            Compare::Gt => self.order(left, right, ">")? == Some(Greater),
            Compare::Le => self.order(left, right, "<=")?.is_some_and(|o| o != Greater),
            Compare::Ge => self.order(left, right, ">=")?.is_some_and(|o| o != Less),
        })
    }
}

pub fn too_large() -> Fault {
    Fault::plain("the integer is too large")
}

fn not_callable(value: &Value) -> Fault {
    Fault::plain(format!("'{}' object is not callable", value.type_name()))
}

fn constant(c: &Const) -> Value {
    match c {
        Const::None => Value::None,
        Const::Bool(b) => Value::Bool(*b),
        Const::Int(i) => Value::Int(*i),
        Const::Float(f) => Value::Float(*f),
        Const::Text(s) => Value::Text(s.clone()),
    }
}

fn wrap_index(index: i128, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i128 } else { index };
    usize::try_from(index).ok().filter(|i| *i < len)
}

/// The indices that Python's `x[start:stop:step]` picks.
fn slice_indices(len: usize, start: Option<i128>, stop: Option<i128>, step: Option<i128>) -> Run<Vec<usize>> {
    let len = len as i128;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Fault::plain("slice step cannot be zero"));
    }
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let clamp = |i: i128| (if i < 0 { i + len } else { i }).clamp(low, high);
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    let mut at = start.map_or(first, clamp);
    let stop = stop.map_or(last, clamp);
    let mut out = Vec::new();
    while if step > 0 { at < stop } else { at > stop } {
        out.extend(usize::try_from(at).ok());
        at = at.saturating_add(step);
    }
    Ok(out)
}
