//! Templates inside variables: resolved where they are used, each a render of its own, with one
//! stack against cycles.

use std::rc::Rc;
use std::sync::Arc;

use super::eval::{DEEPEST, Eval, Resolving, Run, grow};
use super::fault::Fault;
use super::parse::Mode;
use super::program::*;
use super::source_map::Source;
use super::value::{Home, Value};
use crate::source::{Map, Text, Val};

impl Eval<'_> {
    /// Runs `f` while `text` counts as being resolved.
    fn resolving<T>(&self, text: &Text, home: &Home, f: impl FnOnce() -> Run<T>) -> Run<T> {
        let key =
            (text.as_str().as_ptr() as usize, std::ptr::from_ref(self.names_of(home)).cast::<()>() as usize);
        {
            let mut stack = self.stack().resolving.borrow_mut();
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
        self.stack().resolving.borrow_mut().pop();
        result
    }

    /// The template inside a variable, resolved in that variable's scope. It taints this render
    /// only where a Secret leaf of its result is handed out.
    pub fn nested(&self, text: &Text, home: &Home) -> Run<Value> {
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
            Ok(self.raw_value(&val, home))
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
            Val::Text(text) => {
                if text.is_secret() {
                    self.cx().hooks.keep_secret(text);
                }
                Val::Text(text.plain())
            }
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
    pub fn walk(&self, path: &Expr, home: &Home) -> Option<(Val, Home)> {
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
}

/// Jinja takes line ends from the end of a text; Ansible puts back as many as there were.
pub fn with_newlines(program: &Program, text: &str) -> Option<String> {
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
