//! Runs statements: loops, blocks, macros, includes, imports and inheritance.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::call::Args;
use super::eval::{Eval, Frame, Run};
use super::fault::Fault;
use super::program::*;
use super::source_map::Source;
use super::value::{Closure, Loop, Object, Value};

/// How a run of statements ended.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Continue,
    Break,
}

type Out = Vec<Value>;

impl Eval<'_> {
    /// Runs a whole template, with the templates that it extends.
    pub fn template(&self, body: &[Stmt], frame: &Rc<Frame>, out: &mut Out) -> Run<()> {
        let Some(source) = self.source() else {
            return self.block(body, frame, out).map(|_| ());
        };
        if !frame.vars.borrow().contains_key("self") {
            frame.set(&Arc::from("self"), Value::Object(Rc::new(Object::Blocks)));
        }
        self.register_blocks(body, &source);
        let Some(at) = body.iter().position(|s| matches!(s, Stmt::Extends(_))) else {
            return self.block(body, frame, out).map(|_| ());
        };
        self.block(&body[..at], frame, out)?;
        let Stmt::Extends(name) = &body[at] else { return Ok(()) };
        let name = self.expr(name, frame)?.defined()?;
        let parent = self.load(&name, &source)?;
        // Of what follows `extends` only definitions count; the blocks run where the parent says.
        for stmt in &body[at + 1..] {
            match stmt {
                Stmt::Set(..)
                | Stmt::SetBlock(..)
                | Stmt::Macro(_)
                | Stmt::Import(..)
                | Stmt::FromImport(..)
                | Stmt::Do(_) => {
                    self.stmt(stmt, frame, &mut vec![])?;
                }
                Stmt::Extends(e) => {
                    return Err(Fault::plain("extended multiple times").at(e.at));
                }
                _ => {}
            }
        }
        self.deeper(|| self.in_source(&parent, || self.template(&parent.program.body, frame, out)))
    }

    fn register_blocks(&self, body: &[Stmt], source: &Rc<Source>) {
        for stmt in body {
            match stmt {
                Stmt::Block(block) => {
                    let mut blocks = self.blocks.borrow_mut();
                    blocks.entry(block.name.clone()).or_default().push((block.clone(), source.clone()));
                    drop(blocks);
                    self.register_blocks(&block.body, source);
                }
                Stmt::For(f) => self.register_blocks(&f.body, source),
                Stmt::If(_, yes, no) => {
                    self.register_blocks(yes, source);
                    self.register_blocks(no, source);
                }
                Stmt::With(_, body) | Stmt::Scope(body) | Stmt::Filter(_, body) => {
                    self.register_blocks(body, source);
                }
                _ => {}
            }
        }
    }

    fn block(&self, body: &[Stmt], frame: &Rc<Frame>, out: &mut Out) -> Run<Flow> {
        for stmt in body {
            let flow = self.stmt(stmt, frame, out)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn stmt(&self, stmt: &Stmt, frame: &Rc<Frame>, out: &mut Out) -> Run<Flow> {
        match stmt {
            Stmt::Text(text) => out.push(Value::Text(text.clone())),
            Stmt::Emit(expr) => {
                let value = self.expr(expr, frame)?;
                match &value {
                    Value::Object(o) => match &**o {
                        Object::Module { output, .. } => out.push(output.clone()),
                        _ => out.push(value),
                    },
                    _ => out.push(value),
                }
            }
            Stmt::If(test, yes, no) => {
                let yes_it_is = self.expr(test, frame)?.truthy().map_err(|f| f.at(test.at))?;
                return super::eval::grow(|| self.block(if yes_it_is { yes } else { no }, frame, out));
            }
            Stmt::For(f) => return super::eval::grow(|| self.run_for(f, frame, out)),
            Stmt::With(bindings, body) => {
                let inner = Frame::inside(frame);
                for (target, value) in bindings {
                    let value = self.expr(value, frame)?;
                    self.bind(target, value, &inner)?;
                }
                return self.block(body, &inner, out);
            }
            Stmt::Set(target, value) => {
                let value = self.expr(value, frame)?;
                self.bind(target, value, frame)?;
            }
            Stmt::SetBlock(target, filter, body) => {
                let mut value = self.capture(body, &Frame::inside(frame))?;
                if let Some(filter) = filter {
                    value = self.apply_chain(filter, value, frame)?;
                }
                self.bind(target, value, frame)?;
            }
            Stmt::Filter(filter, body) => {
                let value = self.capture(body, &Frame::inside(frame))?;
                out.push(self.apply_chain(filter, value, frame)?);
            }
            Stmt::Scope(body) => return self.block(body, &Frame::inside(frame), out),
            Stmt::Block(block) => out.push(self.call_block_in(&block.name, 0, block.at, frame)?),
            Stmt::Macro(decl) => {
                let closure = self.closure(decl, frame)?;
                frame.set(&decl.name, closure);
            }
            Stmt::Call(call, decl) => out.push(self.call_with_caller(call, decl, frame)?),
            Stmt::Do(expr) => {
                self.expr(expr, frame)?.defined()?;
            }
            Stmt::Continue => return Ok(Flow::Continue),
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Include { name, ignore_missing, context } => {
                let names = self.expr(name, frame)?.defined()?;
                let Some(source) = self.source() else {
                    return Err(Fault::plain("an include needs a template"));
                };
                let included = match self.load(&names, &source) {
                    Err(_) if *ignore_missing && !self.exists(&names, &source)? => return Ok(Flow::On),
                    loaded => loaded.map_err(|f| f.at(name.at))?,
                };
                let inner = self.context_frame(*context, frame);
                self.deeper(|| {
                    self.in_source(&included, || self.template(&included.program.body, &inner, out))
                })?;
            }
            Stmt::Import(name, target, context) => {
                let module = self.import(name, *context, frame)?;
                self.bind(target, module, frame)?;
            }
            Stmt::FromImport(name, names, context) => {
                let module = self.import(name, *context, frame)?;
                for (from, to) in names {
                    let value = self.attribute(&module, from, name.at)?;
                    if value.is_undefined() {
                        frame.set(
                            to,
                            self.undefined(
                                format!("the imported template does not export the requested name '{from}'"),
                                None,
                                name.at,
                            ),
                        );
                    } else {
                        frame.set(to, value);
                    }
                }
            }
            Stmt::Extends(name) => {
                return Err(Fault::plain("'extends' must stand at the top of a template").at(name.at));
            }
        }
        Ok(Flow::On)
    }

    /// The output of a body, with the type of its only piece.
    fn capture(&self, body: &[Stmt], frame: &Rc<Frame>) -> Run<Value> {
        let mut out = Vec::new();
        self.block(body, frame, &mut out)?;
        match self.concat(out)? {
            Value::None => Ok(Value::text("")),
            value => Ok(value),
        }
    }

    /// `{% filter a | b %}`: the innermost filter of the chain has no value of its own.
    fn apply_chain(&self, chain: &Expr, value: Value, frame: &Rc<Frame>) -> Run<Value> {
        let Kind::Filter(filter, inner, args) = &chain.kind else {
            return Err(Fault::plain("expected a filter").at(chain.at));
        };
        let value = match inner {
            Some(inner) => self.apply_chain(inner, value, frame)?,
            None => value,
        };
        let args = self.args(args, frame)?;
        self.filter(filter, value, args).map_err(|f| f.at(chain.at))
    }

    pub fn bind(&self, target: &Target, value: Value, frame: &Rc<Frame>) -> Run<()> {
        match target {
            Target::Name(name) => frame.set(name, value),
            Target::Attr(object, name, at) => {
                let object = self.lookup_name(object, frame, *at)?.defined()?;
                match &object {
                    Value::Object(o) => match &**o {
                        Object::Namespace(vars) => {
                            vars.borrow_mut().insert(name.clone(), value);
                        }
                        _ => {
                            return Err(
                                Fault::plain("cannot assign attribute on non-namespace object").at(*at)
                            );
                        }
                    },
                    _ => return Err(Fault::plain("cannot assign attribute on non-namespace object").at(*at)),
                }
            }
            Target::Many(targets, at) => {
                let values = self.iterate_lazy(&value).map_err(|f| f.at(*at))?;
                if values.len() != targets.len() {
                    let message = if values.len() < targets.len() {
                        format!(
                            "not enough values to unpack (expected {}, got {})",
                            targets.len(),
                            values.len()
                        )
                    } else {
                        format!("too many values to unpack (expected {})", targets.len())
                    };
                    return Err(Fault::plain(message).at(*at));
                }
                for (target, value) in targets.iter().zip(values) {
                    self.bind(target, value, frame)?;
                }
            }
        }
        Ok(())
    }

    // ── loops ──

    fn run_for(&self, f: &Arc<For>, frame: &Rc<Frame>, out: &mut Out) -> Run<Flow> {
        let over = self.expr(&f.over, frame)?;
        self.loop_over(f, &over, frame, 0, out).map_err(|e| e.at(f.over.at))
    }

    fn loop_over(
        &self,
        f: &Arc<For>,
        over: &Value,
        frame: &Rc<Frame>,
        depth0: usize,
        out: &mut Out,
    ) -> Run<Flow> {
        let mut items = self.iterate_lazy(over)?;
        if let Some(test) = &f.only_if {
            let mut kept = Vec::new();
            for item in items {
                let inner = Frame::inside(frame);
                self.bind(&f.target, item.clone(), &inner)?;
                if self.expr(test, &inner)?.truthy().map_err(|e| e.at(test.at))? {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            return self.block(&f.otherwise, frame, out);
        }
        let source = self.source();
        let state = Rc::new(Object::Loop(Loop {
            items: items.clone(),
            index0: Cell::new(0),
            depth0,
            last_changed: RefCell::new(None),
            again: source.filter(|_| f.recursive).map(|s| (s, f.clone(), frame.clone())),
        }));
        let loop_name: Arc<str> = Arc::from("loop");
        for (i, item) in items.into_iter().enumerate() {
            if let Object::Loop(l) = &*state {
                l.index0.set(i);
            }
            let inner = Frame::inside(frame);
            inner.set(&loop_name, Value::Object(state.clone()));
            self.bind(&f.target, item, &inner)?;
            if self.block(&f.body, &inner, out)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// `loop(children)` of a recursive loop.
    pub fn loop_again(&self, state: &Loop, children: &Value) -> Run<Value> {
        let Some((source, f, frame)) = &state.again else {
            return Err(Fault::plain(
                "Tried to call non recursive loop.  Maybe you forgot the 'recursive' modifier.",
            ));
        };
        let mut out = Vec::new();
        self.deeper(|| {
            self.in_source(source, || self.loop_over(f, children, frame, state.depth0 + 1, &mut out))
        })?;
        match self.concat(out)? {
            Value::None => Ok(Value::text("")),
            value => Ok(value),
        }
    }

    // ── macros ──

    fn closure(&self, decl: &Arc<Macro>, frame: &Rc<Frame>) -> Run<Value> {
        let Some(source) = self.source() else {
            return Err(Fault::plain("a macro needs a template"));
        };
        self.macro_frames.borrow_mut().push(frame.clone());
        Ok(Value::Macro(Rc::new(Closure { decl: decl.clone(), frame: frame.clone(), source })))
    }

    fn call_with_caller(&self, call: &Expr, decl: &Arc<Macro>, frame: &Rc<Frame>) -> Run<Value> {
        let Kind::Call(callee, args) = &call.kind else {
            return Err(Fault::plain("expected a call").at(call.at));
        };
        let caller = self.closure(decl, frame)?;
        let callee = self.expr(callee, frame)?.defined()?;
        let mut args = self.args(args, frame)?;
        match &callee {
            Value::Macro(closure) => self.call_macro(closure, args, Some(caller)),
            other => {
                args.named.push((Arc::from("caller"), caller));
                self.call(other, args, call.at)
            }
        }
        .map_err(|f| f.at(call.at))
    }

    pub fn call_macro(&self, closure: &Closure, args: Args, caller: Option<Value>) -> Run<Value> {
        let decl = &closure.decl;
        let frame = Frame::inside(&closure.frame);
        let mut pos = args.pos.into_iter();
        let mut named = args.named;
        let first_default = decl.params.len() - decl.defaults.len();
        for (i, param) in decl.params.iter().enumerate() {
            let by_name = named.iter().position(|(n, _)| n == param).map(|at| named.remove(at).1);
            let value = match (pos.next(), by_name) {
                (Some(_), Some(_)) => {
                    return Err(Fault::plain(format!(
                        "macro '{}' got multiple values for argument '{param}'",
                        decl.name
                    )));
                }
                (Some(value), None) | (None, Some(value)) => value,
                (None, None) => match i.checked_sub(first_default).and_then(|i| decl.defaults.get(i)) {
                    Some(default) => self.in_source(&closure.source, || self.expr(default, &frame))?,
                    None => self.undefined(format!("parameter '{param}' was not provided"), None, decl.at),
                },
            };
            frame.set(param, value);
        }
        let rest: Vec<Value> = pos.collect();
        if let Some(caller) = caller.or_else(|| {
            let at = named.iter().position(|(n, _)| &**n == "caller")?;
            Some(named.remove(at).1)
        }) {
            frame.set(&Arc::from("caller"), caller);
        }
        if !rest.is_empty() && !decl.varargs {
            return Err(Fault::plain(format!(
                "macro '{}' takes not more than {} argument(s)",
                decl.name,
                decl.params.len()
            )));
        }
        if let Some((name, _)) = named.first()
            && !decl.kwargs
        {
            return Err(Fault::plain(format!("macro '{}' takes no keyword argument '{name}'", decl.name)));
        }
        frame.set(&Arc::from("varargs"), Value::tuple(rest));
        let kwargs = named.into_iter().map(|(n, v)| (crate::source::Val::from(&*n), v));
        frame.set(&Arc::from("kwargs"), Value::dict(kwargs));
        self.deeper(|| self.in_source(&closure.source, || self.capture(&decl.body, &frame)))
    }

    // ── blocks of inheritance ──

    pub fn call_block(&self, name: &Arc<str>, depth: usize, at: Place) -> Run<Value> {
        self.call_block_in(name, depth, at, &Rc::default())
    }

    fn call_block_in(&self, name: &Arc<str>, depth: usize, at: Place, frame: &Rc<Frame>) -> Run<Value> {
        let found = self.blocks.borrow().get(name).and_then(|b| b.get(depth).cloned());
        let Some((block, source)) = found else {
            return Err(Fault::plain(format!("block '{name}' is not defined")).at(at));
        };
        if block.required && depth == 0 && self.blocks.borrow().get(name).is_some_and(|b| b.len() == 1) {
            return Err(Fault::plain(format!("Required block '{name}' not found")).at(at));
        }
        let inner = Frame::inside(frame);
        let parent = Value::Object(Rc::new(Object::Super { block: name.clone(), depth: depth + 1 }));
        inner.set(&Arc::from("super"), parent);
        self.deeper(|| self.in_source(&source, || self.capture(&block.body, &inner)))
    }

    // ── other templates ──

    fn context_frame(&self, context: Context, frame: &Rc<Frame>) -> Rc<Frame> {
        match context {
            Context::With => Frame::inside(frame),
            Context::Without => Rc::default(),
        }
    }

    fn import(&self, name: &Expr, context: Context, frame: &Rc<Frame>) -> Run<Value> {
        let names = self.expr(name, frame)?.defined()?;
        let Some(source) = self.source() else {
            return Err(Fault::plain("an import needs a template"));
        };
        let imported = self.load(&names, &source).map_err(|f| f.at(name.at))?;
        let inner = self.context_frame(context, frame);
        self.macro_frames.borrow_mut().push(inner.clone());
        let mut out = Vec::new();
        self.deeper(|| self.in_source(&imported, || self.block(&imported.program.body, &inner, &mut out)))?;
        let output = self.concat(out)?;
        Ok(Value::Object(Rc::new(Object::Module { frame: inner, output })))
    }
}

/// The attributes of `loop`.
pub fn loop_member(l: &Loop, name: &str) -> Option<Value> {
    let (i, n) = (l.index0.get(), l.items.len());
    Some(match name {
        "index" => Value::from(i + 1),
        "index0" => Value::from(i),
        "revindex" => Value::from(n - i),
        "revindex0" => Value::from(n - i - 1),
        "first" => Value::Bool(i == 0),
        "last" => Value::Bool(i + 1 == n),
        "length" => Value::from(n),
        "depth" => Value::from(l.depth0 + 1),
        "depth0" => Value::from(l.depth0),
        "previtem" => return i.checked_sub(1).and_then(|i| l.items.get(i).cloned()),
        "nextitem" => return l.items.get(i + 1).cloned(),
        _ => return None,
    })
}
