//! A value at run time: scalar, list or map, with a secret bit on each text.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::{Equivalent, IndexMap};

use super::Span;

pub type Map = IndexMap<Val, Val>;

/// A value at run time. Cloning is cheap: lists, maps and texts are shared.
#[derive(Clone, Default)]
pub enum Val {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    List(Arc<Vec<Val>>),
    Map(Arc<Map>),
    /// The value of the variable `omit`: an argument that has it is treated as not given.
    Omit,
}

/// A string and what is known about it.
///
/// `origin` is where a person wrote it; only such a text is a template. What modules, facts,
/// lookups and renders return has no origin, so nothing that came from a host is ever evaluated.
#[derive(Clone)]
pub struct Text {
    text: Arc<str>,
    origin: Option<Arc<Span>>,
    secret: bool,
}

impl Text {
    pub fn new(text: impl Into<Arc<str>>) -> Text {
        Text { text: text.into(), origin: None, secret: false }
    }

    pub fn secret(text: impl Into<Arc<str>>) -> Text {
        Text { text: text.into(), origin: None, secret: true }
    }

    /// A text that was written at `origin` and is a template.
    pub fn template(text: impl Into<Arc<str>>, origin: &Span) -> Text {
        Text { text: text.into(), origin: Some(Arc::new(origin.clone())), secret: false }
    }

    pub fn into_secret(self) -> Text {
        Text { secret: true, ..self }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// Where it was written, if it is a template.
    pub fn origin(&self) -> Option<&Span> {
        self.origin.as_deref()
    }

    /// Whether rendering can change it: written by a person, and holding template delimiters.
    pub fn is_template(&self) -> bool {
        self.origin.is_some()
            && (self.text.contains("{{") || self.text.contains("{%") || self.text.contains("{#"))
    }

    /// The same text, never a template again.
    pub fn plain(&self) -> Text {
        Text { text: self.text.clone(), origin: None, secret: self.secret }
    }

    pub fn shared(&self) -> Arc<str> {
        self.text.clone()
    }
}

impl From<&str> for Text {
    fn from(s: &str) -> Text {
        Text::new(s)
    }
}
impl From<String> for Text {
    fn from(s: String) -> Text {
        Text::new(s)
    }
}

/// Equal by content, whatever the secret bit or origin.
impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.text == other.text
    }
}
impl Eq for Text {}
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        str::hash(self, state);
    }
}

impl std::ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}

impl Val {
    pub fn list(items: Vec<Val>) -> Val {
        Val::List(Arc::new(items))
    }

    pub fn map(map: Map) -> Val {
        Val::Map(Arc::new(map))
    }

    pub fn secret(text: &str) -> Val {
        Val::Text(Text::secret(text))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Val::Text(t) => Some(t),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Val::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Val::Int(i) => Some(*i),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Val]> {
        match self {
            Val::List(l) => Some(l),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Val::Map(m) => Some(m),
            _ => None,
        }
    }

    /// The value under a text key of a map.
    pub fn get(&self, key: &str) -> Option<&Val> {
        self.as_map()?.get(key)
    }

    /// Whether any text in it is Secret.
    pub fn has_secret(&self) -> bool {
        match self {
            Val::Text(t) => t.is_secret(),
            Val::List(l) => l.iter().any(Val::has_secret),
            Val::Map(m) => m.iter().any(|(k, v)| k.has_secret() || v.has_secret()),
            _ => false,
        }
    }

    /// Whether any text in it is a template still to be rendered.
    pub fn has_template(&self) -> bool {
        match self {
            Val::Text(t) => t.is_template(),
            Val::List(l) => l.iter().any(Val::has_template),
            Val::Map(m) => m.iter().any(|(k, v)| k.has_template() || v.has_template()),
            _ => false,
        }
    }

    /// Gives every text leaf to `f`; keys too.
    pub fn each_text(&self, f: &mut dyn FnMut(&Text)) {
        match self {
            Val::Text(t) => f(t),
            Val::List(l) => l.iter().for_each(|v| v.each_text(f)),
            Val::Map(m) => m.iter().for_each(|(k, v)| {
                k.each_text(f);
                v.each_text(f);
            }),
            _ => {}
        }
    }

    /// Applies `f` to every text leaf (keys too), keeping the shape.
    pub fn map_texts(&self, f: &dyn Fn(&Text) -> Text) -> Val {
        match self {
            Val::Text(t) => Val::Text(f(t)),
            Val::List(l) => Val::list(l.iter().map(|v| v.map_texts(f)).collect()),
            Val::Map(m) => Val::map(m.iter().map(|(k, v)| (k.map_texts(f), v.map_texts(f))).collect()),
            other => other.clone(),
        }
    }

    /// Applies `f` to each value of a map by its key; other values stay as they are.
    pub fn map_entries(&self, f: impl Fn(&str, Val) -> Val) -> Val {
        match self {
            Val::Map(m) => {
                Val::map(m.iter().map(|(k, v)| (k.clone(), f(&k.key_text(), v.clone()))).collect())
            }
            other => other.clone(),
        }
    }

    /// Every text leaf Secret.
    pub fn into_secret(self) -> Val {
        self.map_texts(&|t| t.clone().into_secret())
    }

    /// The Python type name that Ansible's users know: `str`, `dict`, …
    pub fn type_name(&self) -> &'static str {
        match self {
            Val::Null => "NoneType",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Float(_) => "float",
            Val::Text(_) => "str",
            Val::List(_) => "list",
            Val::Map(_) => "dict",
            Val::Omit => "omit",
        }
    }

    /// As JSON, for output only. Secrets are *not* hidden here: whatever prints this passes the
    /// Redactor.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as J;
        match self {
            Val::Null | Val::Omit => J::Null,
            Val::Bool(b) => J::Bool(*b),
            Val::Int(i) => J::from(*i),
            Val::Float(f) => serde_json::Number::from_f64(*f).map_or(J::Null, J::Number),
            Val::Text(t) => J::String(t.to_string()),
            Val::List(l) => J::Array(l.iter().map(Val::to_json).collect()),
            Val::Map(m) => J::Object(m.iter().map(|(k, v)| (k.key_text(), v.to_json())).collect()),
        }
    }

    pub fn from_json(json: &serde_json::Value) -> Val {
        use serde_json::Value as J;
        match json {
            J::Null => Val::Null,
            J::Bool(b) => Val::Bool(*b),
            J::Number(n) => {
                n.as_i64().map(Val::Int).unwrap_or_else(|| Val::Float(n.as_f64().unwrap_or(f64::NAN)))
            }
            J::String(s) => Val::from(s.as_str()),
            J::Array(l) => Val::list(l.iter().map(Val::from_json).collect()),
            J::Object(m) => {
                Val::map(m.iter().map(|(k, v)| (Val::from(k.as_str()), Val::from_json(v))).collect())
            }
        }
    }

    /// As Python's `repr` writes it: `{'a': [1, True, None]}`.
    pub fn repr(&self) -> String {
        let mut out = String::new();
        self.write_repr(&mut out);
        out
    }

    fn write_repr(&self, out: &mut String) {
        match self {
            Val::Null | Val::Omit => out.push_str("None"),
            Val::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
            Val::Int(i) => out.push_str(&i.to_string()),
            Val::Float(f) => out.push_str(&format!("{f:?}")),
            Val::Text(t) => {
                let quote = if t.contains('\'') && !t.contains('"') { '"' } else { '\'' };
                out.push(quote);
                for c in t.chars() {
                    match c {
                        '\n' => out.push_str("\\n"),
                        '\r' => out.push_str("\\r"),
                        '\t' => out.push_str("\\t"),
                        '\\' => out.push_str("\\\\"),
                        c if c == quote => {
                            out.push('\\');
                            out.push(c);
                        }
                        c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
                        c => out.push(c),
                    }
                }
                out.push(quote);
            }
            Val::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    item.write_repr(out);
                }
                out.push(']');
            }
            Val::Map(entries) => {
                out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    key.write_repr(out);
                    out.push_str(": ");
                    value.write_repr(out);
                }
                out.push('}');
            }
        }
    }

    /// A key as text, as `json.dumps` turns keys into text.
    pub fn key_text(&self) -> String {
        match self {
            Val::Null => "null".into(),
            Val::Bool(b) => b.to_string(),
            Val::Int(i) => i.to_string(),
            Val::Float(f) => f.to_string(),
            Val::Text(t) => t.to_string(),
            other => other.to_json().to_string(),
        }
    }
}

impl From<&str> for Val {
    fn from(s: &str) -> Val {
        Val::Text(Text::new(s))
    }
}
impl From<String> for Val {
    fn from(s: String) -> Val {
        Val::Text(Text::new(s))
    }
}
impl From<bool> for Val {
    fn from(b: bool) -> Val {
        Val::Bool(b)
    }
}
impl From<i64> for Val {
    fn from(i: i64) -> Val {
        Val::Int(i)
    }
}
impl From<Text> for Val {
    fn from(t: Text) -> Val {
        Val::Text(t)
    }
}
impl From<Map> for Val {
    fn from(m: Map) -> Val {
        Val::map(m)
    }
}
impl<T: Into<Val>> From<Vec<T>> for Val {
    fn from(items: Vec<T>) -> Val {
        Val::list(items.into_iter().map(Into::into).collect())
    }
}
impl<T: Into<Val>> From<Option<T>> for Val {
    fn from(value: Option<T>) -> Val {
        value.map_or(Val::Null, Into::into)
    }
}

/// Values are equal as in Python: by content, `1 == 1.0`, whatever their secret bit or origin.
impl PartialEq for Val {
    fn eq(&self, other: &Val) -> bool {
        match (self, other) {
            (Val::Null, Val::Null) | (Val::Omit, Val::Omit) => true,
            (Val::Bool(a), Val::Bool(b)) => a == b,
            (Val::Int(a), Val::Int(b)) => a == b,
            (Val::Float(a), Val::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Val::Int(i), Val::Float(f)) | (Val::Float(f), Val::Int(i)) => *i as f64 == *f,
            (Val::Bool(b), Val::Int(i)) | (Val::Int(i), Val::Bool(b)) => i64::from(*b) == *i,
            (Val::Text(a), Val::Text(b)) => a.text == b.text,
            (Val::List(a), Val::List(b)) => a == b,
            (Val::Map(a), Val::Map(b)) => a == b,
            _ => false,
        }
    }
}
impl Eq for Val {}

/// Consistent with `==`, and a text hashes like `str`, so that maps can be asked with a `&str`.
impl Hash for Val {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Val::Text(t) => str::hash(t, state),
            Val::Null | Val::Omit => 0u8.hash(state),
            Val::Bool(b) => (i64::from(*b) as f64).to_bits().hash(state),
            Val::Int(i) => (*i as f64).to_bits().hash(state),
            Val::Float(f) => f.to_bits().hash(state),
            Val::List(l) => l.len().hash(state),
            Val::Map(m) => m.len().hash(state),
        }
    }
}

impl Equivalent<Val> for str {
    fn equivalent(&self, key: &Val) -> bool {
        key.as_str() == Some(self)
    }
}

/// Shows shape and public values; a Secret shows as `********`.
impl fmt::Debug for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Val::Null => f.write_str("null"),
            Val::Omit => f.write_str("omit"),
            Val::Bool(b) => write!(f, "{b}"),
            Val::Int(i) => write!(f, "{i}"),
            Val::Float(x) => write!(f, "{x:?}"),
            Val::Text(t) => fmt::Debug::fmt(t, f),
            Val::List(l) => f.debug_list().entries(l.iter()).finish(),
            Val::Map(m) => f.debug_map().entries(m.iter()).finish(),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret { f.write_str("********") } else { fmt::Debug::fmt(&*self.text, f) }
    }
}

impl serde::Serialize for Val {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Val::Null | Val::Omit => s.serialize_unit(),
            Val::Bool(b) => s.serialize_bool(*b),
            Val::Int(i) => s.serialize_i64(*i),
            Val::Float(f) => s.serialize_f64(*f),
            Val::Text(t) => s.serialize_str(t),
            Val::List(l) => s.collect_seq(l.iter()),
            Val::Map(m) => s.collect_map(m.iter()),
        }
    }
}
