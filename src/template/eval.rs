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
use super::program::*;
use super::resolve;
use super::source_map::Source;
use super::value::{Home, Value};
use crate::source::Val;
use crate::source::diagnostic::nearest;

pub type Run<T> = Result<T, Fault>;

/// Deepest nesting of variables that refer to variables, and of data.
pub const DEEPEST: usize = 200;
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
pub struct Resolving {
    pub text: usize,
    pub names: usize,
    pub label: Arc<str>,
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
    pub resolving: RefCell<Vec<Resolving>>,
    pub calls: Cell<usize>,
}

impl<'a> Shared<'a> {
    pub fn new(templar: &'a Templar, cx: &'a RenderCx<'a>, stack: &'a Stack) -> Shared<'a> {
        Shared { templar, cx, stack }
    }
}

/// The bodies of one block, the template's own first, then those of what it extends.
pub type Overrides = Vec<(Arc<Block>, Rc<Source>)>;

/// One render: one taint cell, one scope.
pub struct Eval<'a> {
    pub shared: &'a Shared<'a>,
    pub home: Home,
    /// Set when a Secret was handed out.
    pub tainted: Cell<bool>,
    /// The Secrets that were handed out; where a value is only moved, it is still the same text.
    pub secrets: RefCell<Vec<Arc<str>>>,
    source: RefCell<Option<Rc<Source>>>,
    pub blocks: RefCell<HashMap<Arc<str>, Overrides>>,
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
        let source = self.source();
        let (message, name) = match &source {
            // What is written in a secret text is a part of the secret.
            Some(source) if source.secret => ("a variable in a secret text is undefined".to_string(), None),
            _ => (message, name),
        };
        let help = name.and_then(|name| self.nearest_name(name));
        Value::Undefined(Rc::new(Undefined {
            message,
            name: name.map(str::to_string),
            source,
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
        if source.secret {
            self.tainted.set(true);
        }
        self.in_source(source, || {
            let value = self.program(&source.program, &Rc::default())?;
            self.put_back_newlines(&source.program, value)
        })
        .map_err(|fault| self.seal(fault, source))
    }

    pub fn seal(&self, fault: Fault, source: &Source) -> Fault {
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

    pub fn put_back_newlines(&self, program: &Program, value: Value) -> Run<Value> {
        Ok(match &value {
            Value::Text(text) => match resolve::with_newlines(program, text) {
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
        pieces.retain(|p| !matches!(p, Value::Omit));
        let mut out = String::new();
        for piece in pieces {
            // Collections are made plain first: tuples print as lists, `omit` is left out.
            let piece = match piece {
                Value::List(_) | Value::Tuple(_) | Value::Dict(_) => self.value_of(&self.to_val(piece)?),
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

/// Runs `f` with enough stack for it.
pub fn grow<T>(f: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(RED_ZONE, MORE_STACK, f)
}
