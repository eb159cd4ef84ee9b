//! Options of lookups: keyword arguments, and `key=value` words inside a term.

use std::sync::Arc;

use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

#[derive(Clone, Default)]
pub struct Options {
    given: Vec<(Arc<str>, Value)>,
    /// Asked by `with_NAME`, not by the function `lookup`.
    pub by_with: bool,
}

impl Options {
    pub fn new(given: Vec<(Arc<str>, Value)>) -> Options {
        Options { given, by_with: false }
    }

    pub fn of_with() -> Options {
        Options { given: vec![], by_with: true }
    }

    /// Takes an option out; Python's `None` is as good as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.given.iter().position(|(n, _)| &**n == name)?;
        Some(self.given.remove(at).1).filter(|v| !matches!(v, Value::None))
    }

    pub fn text(&mut self, eval: &Eval, name: &str) -> Run<Option<Arc<str>>> {
        self.take(name).map(|v| eval.text_of(&v)).transpose()
    }

    pub fn text_or(&mut self, eval: &Eval, name: &str, default: &str) -> Run<Arc<str>> {
        Ok(self.text(eval, name)?.unwrap_or_else(|| Arc::from(default)))
    }

    pub fn flag(&mut self, eval: &Eval, name: &str, default: bool) -> Run<bool> {
        match self.take(name) {
            None => Ok(default),
            Some(Value::Text(s)) => crate::template::filters::boolean(&s)
                .ok_or_else(|| Fault::new(format!("the option '{name}' must be a boolean, not '{s}'"))),
            Some(other) => eval.flag(Some(other)),
        }
    }

    /// A list, or one value, or a text with commas, as texts.
    pub fn texts(&mut self, eval: &Eval, name: &str) -> Run<Vec<String>> {
        match self.take(name) {
            None => Ok(vec![]),
            Some(Value::Text(s)) => {
                Ok(s.split(',').map(|p| p.trim().to_string()).filter(|p| !p.is_empty()).collect())
            }
            Some(list) if list.is_sequence() => {
                eval.iterate(&list)?.iter().map(|v| Ok(eval.text_of(v)?.to_string())).collect()
            }
            Some(other) => Ok(vec![eval.text_of(&other)?.to_string()]),
        }
    }

    /// Sets what words of a term say, over what is there.
    pub fn set(&mut self, name: &str, value: &str) {
        self.given.retain(|(n, _)| &**n != name);
        self.given.push((Arc::from(name), Value::text(value)));
    }

    /// # Errors
    /// An option that nothing took.
    pub fn finish(self, known: &[&str]) -> Run<()> {
        match self.given.first() {
            None => Ok(()),
            Some((name, _)) => Err(Fault::plain(format!("there is no option '{name}'"))
                .help(format!("The options are: {}", known.join(", ")))),
        }
    }
}

/// A term split into its words, quotes respected, as `key=value` pairs and the rest.
pub fn words(term: &str) -> (Vec<String>, Vec<(String, String)>) {
    let mut words: Vec<String> = Vec::new();
    let mut quote = None;
    let mut open = false;
    for c in term.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                if !open {
                    words.push(String::new());
                    open = true;
                }
            }
            (c, None) if c.is_whitespace() => open = false,
            (c, _) => {
                if !open {
                    words.push(String::new());
                    open = true;
                }
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    let (mut raw, mut pairs) = (Vec::new(), Vec::new());
    for word in words {
        match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => pairs.push((key.to_string(), value.to_string())),
            _ => raw.push(word),
        }
    }
    (raw, pairs)
}
