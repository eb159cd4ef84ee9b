//! Runs a compiled template over the values of a scope: names, nesting, taint and results.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Templar;
use super::context::{Names, RenderCx};
use super::fault::{Fault, Undefined};
use super::functions;
use super::parse::Mode;
use super::program::*;
use super::source_map::Source;
use super::value::{Home, Slot, Value};
use crate::source::diagnostic::nearest;
use crate::source::{Map, Text, Val};

pub type Run<T> = Result<T, Fault>;

/// Deepest nesting of variables that refer to variables, and of data.
const DEEPEST: usize = 200;
/// Grows the stack when less than this is left: expressions nest further than threads' stacks.
const RED_ZONE: usize = 128 * 1024;
const MORE_STACK: usize = 2 * 1024 * 1024;

/// Variables that a template sets, around which those of the scope lie.
#[derive(Default)]
pub struct Frame {
    pub vars: RefCell<HashMap<Arc<str>, Value>>,
    pub parent: Option<Rc<Frame>>,
}

impl Frame {
    pub fn inside(parent: &Rc<Frame>) -> Rc<Frame> {
        Rc::new(Frame { vars: RefCell::default(), parent: Some(parent.clone()) })
    }

    pub fn set(&self, name: &Arc<str>, value: Value) {
        self.vars.borrow_mut().insert(name.clone(), value);
    }

    pub fn get(&self, name: &str) -> Option<Value> {
        let found = self.vars.borrow().get(name).cloned();
        found.or_else(|| self.parent.as_ref()?.get(name))
    }
}

/// A text that is being resolved: asked for again meanwhile, it would never end.
struct Resolving {
    text: usize,
    names: usize,
    label: Arc<str>,
}

/// What a render and the renders inside it share.
pub struct Shared<'a> {
    pub templar: &'a Templar,
    pub cx: &'a RenderCx<'a>,
    stack: &'a Stack,
}

/// The variables being resolved, over nested renders.
#[derive(Default)]
pub struct Stack {
    resolving: RefCell<Vec<Resolving>>,
    pub calls: Cell<usize>,
}

impl<'a> Shared<'a> {
    pub fn new(templar: &'a Templar, cx: &'a RenderCx<'a>, stack: &'a Stack) -> Shared<'a> {
        Shared { templar, cx, stack }
    }
}

/// One render: one taint cell, one scope.
pub struct Eval<'a> {
    pub shared: &'a Shared<'a>,
    pub home: Home,
    /// Set when a Secret was handed out.
    pub tainted: Cell<bool>,
    /// The Secrets that were handed out; where a value is only moved, it is still the same text.
    pub secrets: RefCell<Vec<Arc<str>>>,
    source: RefCell<Option<Rc<Source>>>,
    pub blocks: RefCell<HashMap<Arc<str>, Vec<(Arc<Block>, Rc<Source>)>>>,
    /// Frames that hold macros, which hold their frames: emptied at the end, or they would leak.
    pub macro_frames: RefCell<Vec<Rc<Frame>>>,
}

impl Drop for Eval<'_> {
    fn drop(&mut self) {
        for frame in self.macro_frames.borrow().iter() {
            frame.vars.take();
        }
    }
}

impl<'a> Eval<'a> {
    pub fn new(shared: &'a Shared<'a>, home: Home) -> Eval<'a> {
        Eval {
            shared,
            home,
            tainted: Cell::new(false),
            secrets: RefCell::default(),
            source: RefCell::default(),
            blocks: RefCell::default(),
            macro_frames: RefCell::default(),
        }
    }

    /// In the render's own scope.
    pub fn top(shared: &'a Shared<'a>) -> Eval<'a> {
        Eval::new(shared, Home { names: None, label: Arc::from("") })
    }

    pub fn cx(&self) -> &RenderCx<'a> {
        self.shared.cx
    }

    pub fn stack(&self) -> &'a Stack {
        self.shared.stack
    }

    pub fn names_of<'s>(&'s self, home: &'s Home) -> &'s dyn Names {
        match &home.names {
            Some(names) => &**names,
            None => self.shared.cx.names,
        }
    }

    /// Says that this render used something that can answer differently next time.
    pub fn impure(&self) {
        if let Some(flag) = self.shared.cx.impure {
            flag.store(true, Ordering::Relaxed);
        }
    }

    pub fn source(&self) -> Option<Rc<Source>> {
        self.source.borrow().clone()
    }

    /// Runs `f` in another template's text: faults are placed there.
    pub fn in_source<T>(&self, source: &Rc<Source>, f: impl FnOnce() -> Run<T>) -> Run<T> {
        let outer = self.source.replace(Some(source.clone()));
        let result = f().map_err(|fault| self.locate(fault, source));
        self.source.replace(outer);
        result
    }

    fn locate(&self, fault: Fault, source: &Source) -> Fault {
        match fault {
            Fault::Failed(mut f) => {
                if f.span.is_none() {
                    f.span = source.span(f.at.unwrap_or_default());
                    if f.chain.is_empty() {
                        f.chain = self.chain();
                    }
                }
                Fault::Failed(f)
            }
            undefined => undefined,
        }
    }

    /// The variables being resolved now, outermost first.
    fn chain(&self) -> Vec<String> {
        let stack = self.shared.stack.resolving.borrow();
        stack.iter().filter(|r| !r.label.is_empty()).map(|r| r.label.to_string()).collect()
    }

    pub fn undefined(&self, message: String, name: Option<&str>, at: Place) -> Value {
        let help = name.and_then(|name| self.nearest_name(name));
        Value::Undefined(Rc::new(Undefined {
            message,
            name: name.map(str::to_string),
            source: self.source(),
            at,
            chain: self.chain(),
            help,
        }))
    }

    /// As [`Eval::undefined`], with a message that quotes a value: not where a Secret was used.
    pub fn undefined_quoting(&self, message: String, at: Place) -> Value {
        if self.tainted.get() {
            let hidden = "the value is undefined; what it is called could be a secret and is not shown";
            return self.undefined(hidden.into(), None, at);
        }
        self.undefined(message, None, at)
    }

    fn nearest_name(&self, name: &str) -> Option<String> {
        let names = self.names_of(&self.home).names();
        nearest(name, names.iter().map(String::as_str)).map(|near| format!("Did you mean '{near}'?"))
    }

    // ── names ──

    /// A variable of a scope, its template resolved; `None` when there is none.
    pub fn variable(&self, name: &str, home: &Home) -> Run<Option<Value>> {
        let names = self.names_of(home);
        if let Some(scopes) = names.lazy(name) {
            return Ok(Some(Value::Scopes(scopes)));
        }
        if let Some(raw) = names.get(name) {
            let home = Home { names: home.names.clone(), label: Arc::from(name) };
            return self.resolve(&raw, &home).map(Some);
        }
        if name == "vars" {
            return Ok(Some(Value::Scope(home.clone())));
        }
        Ok(None)
    }

    pub fn lookup_name(&self, name: &Arc<str>, frame: &Rc<Frame>, at: Place) -> Run<Value> {
        if let Some(value) = frame.get(name) {
            return Ok(value);
        }
        if let Some(value) = self.variable(name, &self.home)? {
            return Ok(value);
        }
        if let Some(value) = functions::global(name) {
            return Ok(value);
        }
        Ok(self.undefined(format!("'{name}' is undefined"), Some(name), at))
    }

    // ── values in and out ──

    /// A raw value as it is seen by a template: itself, or what its template says.
    pub fn resolve(&self, raw: &Val, home: &Home) -> Run<Value> {
        match raw {
            Val::Text(text) if text.is_template() => self.nested(text, home),
            other => Ok(self.from_raw(other, home)),
        }
    }

    pub fn from_val(&self, val: &Val) -> Value {
        self.from_raw(val, &self.home)
    }

    fn from_raw(&self, raw: &Val, home: &Home) -> Value {
        let slot = |raw: &Val| match raw {
            Val::List(_) | Val::Map(_) => Slot::Raw(raw.clone(), home.clone()),
            Val::Text(t) if t.is_secret() || t.is_template() => Slot::Raw(raw.clone(), home.clone()),
            other => Slot::Ready(self.from_raw(other, home)),
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
                super::value::Object::Module { output, .. } => self.to_val_at(output.clone(), depth + 1)?,
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
    fn finish(&self, value: Value) -> Run<Val> {
        let val = self.to_val(value)?;
        Ok(if self.tainted.get() { val.into_secret() } else { val })
    }

    /// A value to hand to another render, which can't know what this one used.
    pub fn hand_over(&self, value: Value) -> Run<Val> {
        self.finish(value)
    }

    // ── texts inside values ──

    /// Runs `f` while `text` counts as being resolved.
    fn resolving<T>(&self, text: &Text, home: &Home, f: impl FnOnce() -> Run<T>) -> Run<T> {
        let key =
            (text.as_str().as_ptr() as usize, std::ptr::from_ref(self.names_of(home)).cast::<()>() as usize);
        {
            let mut stack = self.shared.stack.resolving.borrow_mut();
            let again = stack.iter().position(|r| (r.text, r.names) == key);
            if again.is_some() || stack.len() > DEEPEST {
                let from = again.unwrap_or(0);
                let mut chain: Vec<&str> =
                    stack[from..].iter().map(|r| &*r.label).filter(|l| !l.is_empty()).collect();
                chain.push(&home.label);
                chain.truncate(12);
                let mut fault =
                    Fault::plain(format!("Recursive loop detected in template: {}", chain.join(" → ")));
                if let Fault::Failed(f) = &mut fault {
                    f.span = text.origin().cloned();
                }
                return Err(fault);
            }
            stack.push(Resolving { text: key.0, names: key.1, label: home.label.clone() });
        }
        let result = grow(f);
        self.shared.stack.resolving.borrow_mut().pop();
        result
    }

    /// The template inside a variable, resolved in that variable's scope. It taints this render
    /// only where a Secret leaf of its result is handed out.
    fn nested(&self, text: &Text, home: &Home) -> Run<Value> {
        let result = self.resolving(text, home, || {
            let source = self.compile(text)?;
            if let Some(path) = source.program.lone_expression()
                && let Some((raw, home)) = self.walk(path, home)
            {
                let value = self.resolve(&raw, &home)?;
                return self.put_back_newlines(&source.program, value);
            }
            let child = Eval::new(self.shared, home.clone());
            let value = child.run(&source)?;
            if let dated @ (Value::DateTime(_) | Value::Delta(_)) = value {
                return Ok(dated);
            }
            let mut val = child.finish(value).map_err(|f| child.seal(f, &source))?;
            if text.is_secret() {
                val = val.into_secret();
            }
            Ok(self.from_raw(&val, home))
        });
        match result {
            Err(Fault::Undefined(u)) => Ok(Value::Undefined(u)),
            other => other,
        }
    }

    /// Renders a tree whose texts may be templates; each template is a render of its own.
    pub fn render_raw(&self, raw: &Val, home: &Home) -> Run<Val> {
        Ok(match raw {
            Val::Text(text) if text.is_template() => return self.render_text(text, home),
            Val::Text(text) => Val::Text(text.plain()),
            Val::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items.iter() {
                    match self.render_raw(item, home)? {
                        Val::Omit => {}
                        item => list.push(item),
                    }
                }
                Val::list(list)
            }
            Val::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for (key, value) in entries.iter() {
                    match self.render_raw(value, home)? {
                        Val::Omit => {}
                        value => {
                            map.insert(key.map_texts(&Text::plain), value);
                        }
                    }
                }
                Val::map(map)
            }
            other => other.clone(),
        })
    }

    fn render_text(&self, text: &Text, home: &Home) -> Run<Val> {
        self.resolving(text, home, || {
            let source = self.compile(text)?;
            let val = match source.program.lone_expression().and_then(|path| self.walk(path, home)) {
                Some((raw, home)) => put_back(&source.program, self.render_raw(&raw, &home)?),
                None => Eval::new(self.shared, home.clone()).run_whole(&source)?,
            };
            Ok(if text.is_secret() { val.into_secret() } else { val })
        })
    }

    pub fn compile(&self, text: &Text) -> Run<Rc<Source>> {
        self.compile_as(text, &Mode::Yaml)
    }

    pub fn compile_as(&self, text: &Text, mode: &Mode) -> Run<Rc<Source>> {
        self.shared.templar.source(text, mode)
    }

    /// Follows an expression that is only a path through the raw values, so that each leaf keeps
    /// its type and its own secret bit. `None` when it isn't one, or when it leads nowhere.
    fn walk(&self, path: &Expr, home: &Home) -> Option<(Val, Home)> {
        let mut steps = Vec::new();
        let mut expr = path;
        let name = loop {
            match &expr.kind {
                Kind::Var(name) => break name,
                Kind::Attr(inner, key) => {
                    steps.push((Val::from(&**key), true));
                    expr = inner;
                }
                Kind::Item(inner, key) => {
                    match &key.kind {
                        Kind::Const(Const::Text(key)) => steps.push((Val::from(&**key), false)),
                        Kind::Const(Const::Int(i)) => steps.push((Val::Int(i64::try_from(*i).ok()?), false)),
                        _ => return None,
                    }
                    expr = inner;
                }
                _ => return None,
            }
        };
        steps.reverse();
        let mut steps = steps.into_iter();
        let mut home = home.clone();
        let mut start = name.to_string();
        if let Some(scopes) = self.names_of(&home).lazy(name) {
            let host = steps.next()?.0;
            let scope = scopes.scope(host.as_str()?)?;
            home.names = Some(scope);
            start = steps.next()?.0.as_str()?.to_string();
            if self.names_of(&home).lazy(&start).is_some() {
                return None;
            }
        }
        let mut value = self.names_of(&home).get(&start)?;
        home.label = Arc::from(start);
        for (key, attribute) in steps {
            (value, home) = self.settle(value, home)?;
            value = match (&value, &key) {
                (Val::Map(map), Val::Text(name)) => {
                    if attribute && super::methods::is_dict_method(name) {
                        return None;
                    }
                    map.get(name.as_str())?.clone()
                }
                (Val::Map(map), key) => map.get(key)?.clone(),
                (Val::List(list), Val::Int(i)) => {
                    let index = if *i < 0 { *i + list.len() as i64 } else { *i };
                    list.get(usize::try_from(index).ok()?)?.clone()
                }
                _ => return None,
            };
        }
        Some((value, home))
    }

    /// The text that a person wrote in the variable to which a template leads; `None` where the
    /// template computes a text.
    pub fn written_behind(&self, template: &Text, home: &Home) -> Run<Option<Text>> {
        self.resolving(template, home, || {
            let source = self.compile(template)?;
            let Some(mut expr) = source.program.lone_expression() else { return Ok(None) };
            while let Kind::If { test, yes, no: Some(no) } = &expr.kind {
                expr = if self.expr(test, &Rc::default())?.truthy()? { yes } else { no };
            }
            match self.walk(expr, home) {
                Some((Val::Text(inner), home)) if inner.is_template() => self.written_behind(&inner, &home),
                Some((Val::Text(inner), _)) if inner.origin().is_some() => Ok(Some(inner)),
                _ => Ok(None),
            }
        })
    }

    /// A raw value that is a template, made the value that it stands for.
    fn settle(&self, value: Val, home: Home) -> Option<(Val, Home)> {
        let Val::Text(text) = &value else { return Some((value, home)) };
        if !text.is_template() {
            return Some((value, home));
        }
        self.resolving(text, &home, || {
            let source = self.compile(text)?;
            if let Some(path) = source.program.lone_expression()
                && source.program.trailing_newlines == 0
                && let Some((inner, home)) = self.walk(path, &home)
            {
                return Ok(self.settle(inner, home));
            }
            let val = Eval::new(self.shared, home.clone()).run_whole(&source)?;
            Ok(Some((val, home.clone())))
        })
        .ok()
        .flatten()
    }

    // ── programs ──

    /// Runs a program and returns its whole result.
    pub fn run_whole(&self, source: &Rc<Source>) -> Run<Val> {
        let value = self.run(source)?;
        self.finish(value).map_err(|fault| self.seal(fault, source))
    }

    /// As [`Eval::run_whole`], where an expression that is only a path keeps its own secret bits.
    pub fn run_expression(&self, source: &Rc<Source>) -> Run<Val> {
        match source.program.lone_expression().and_then(|path| self.walk(path, &self.home)) {
            Some((raw, home)) => self.render_raw(&raw, &home),
            None => self.run_whole(source),
        }
    }

    /// Runs a program; faults are placed, and quote no Secret.
    pub fn run(&self, source: &Rc<Source>) -> Run<Value> {
        self.in_source(source, || {
            let value = self.program(&source.program, &Rc::default())?;
            self.put_back_newlines(&source.program, value)
        })
        .map_err(|fault| self.seal(fault, source))
    }

    fn seal(&self, fault: Fault, source: &Source) -> Fault {
        self.locate(fault, source).hide(self.tainted.get())
    }

    pub fn program(&self, program: &Program, frame: &Rc<Frame>) -> Run<Value> {
        if let Some(expr) = program.lone_expression() {
            return self.expr(expr, frame);
        }
        let mut out = Vec::new();
        self.template(&program.body, frame, &mut out)?;
        self.concat(out)
    }

    fn put_back_newlines(&self, program: &Program, value: Value) -> Run<Value> {
        Ok(match &value {
            Value::Text(text) => match with_newlines(program, text) {
                Some(text) => Value::text(text),
                None => value,
            },
            _ => value,
        })
    }

    /// What a template's pieces are together: nothing, the one piece with its type, or their text.
    pub fn concat(&self, pieces: Vec<Value>) -> Run<Value> {
        let mut pieces: Vec<Value> = pieces.into_iter().filter(|p| !matches!(p, Value::None)).collect();
        if pieces.len() <= 1 {
            return Ok(pieces.pop().unwrap_or(Value::None));
        }
        let mut out = String::new();
        for piece in pieces {
            // Collections are made plain first: tuples print as lists, `omit` is left out.
            let piece = match piece {
                Value::List(_) | Value::Tuple(_) | Value::Dict(_) => self.from_val(&self.to_val(piece)?),
                other => other,
            };
            out.push_str(&self.str(&piece)?);
        }
        Ok(Value::text(out))
    }

    /// Runs `f` one call deeper; too many are an error, as they would never end.
    pub fn deeper<T>(&self, f: impl FnOnce() -> Run<T>) -> Run<T> {
        let calls = &self.shared.stack.calls;
        if calls.get() > DEEPEST {
            return Err(Fault::plain("maximum recursion depth exceeded"));
        }
        calls.set(calls.get() + 1);
        let result = grow(f);
        calls.set(calls.get() - 1);
        result
    }
}

/// Jinja takes line ends from the end of a text; Ansible puts back as many as there were.
fn with_newlines(program: &Program, text: &str) -> Option<String> {
    let left = text.len() - text.trim_end_matches('\n').len();
    let missing = program.trailing_newlines.checked_sub(left).filter(|n| *n > 0)?;
    Some(format!("{text}{}", program.newline.repeat(missing)))
}

fn put_back(program: &Program, val: Val) -> Val {
    let Val::Text(text) = &val else { return val };
    match with_newlines(program, text) {
        Some(longer) if text.is_secret() => Val::Text(Text::secret(longer)),
        Some(longer) => Val::from(longer),
        None => val,
    }
}

/// Runs `f` with enough stack for it.
pub fn grow<T>(f: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(RED_ZONE, MORE_STACK, f)
}

fn not_data(what: &str) -> Fault {
    Fault::plain(format!("the result is {what}, which is not data"))
}
