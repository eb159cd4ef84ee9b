//! A YAML value with its place.

use super::{Map, Span, Text, Val};

/// A YAML value with its file, line and column.
#[derive(Debug, Clone)]
pub struct Node {
    pub span: Span,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// `plain` is false for quoted and block scalars.
    Text {
        text: String,
        plain: bool,
    },
    /// `!unsafe`: text that is never a template.
    Unsafe(String),
    /// `!vault`: an ansible-vault envelope, decrypted when variables are read.
    Vault(String),
    List(Vec<Node>),
    /// Merge keys applied, duplicates reported and the last one kept, in the order written.
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Node,
    pub value: Node,
}

/// Opens `!vault` envelopes met while a [`Node`] becomes a [`Val`].
pub type OpenVault<'a> = &'a dyn Fn(&str) -> Result<String, String>;

impl Node {
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// The text of a string scalar (not of numbers or booleans).
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text { text, .. } | Kind::Unsafe(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under a string key of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|e| e.key.as_str() == Some(key)).map(|e| &e.value)
    }

    /// What Ansible calls it in messages: `a string`, `a list`, …
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Int(_) => "an integer",
            Kind::Float(_) => "a number",
            Kind::Text { .. } | Kind::Unsafe(_) => "a string",
            Kind::Vault(_) => "an encrypted string",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The value, each string remembering its place and so being a template; `!vault` text is
    /// opened with `vault` and Secret, as is all text of a file that was encrypted as a whole.
    ///
    /// # Errors
    /// The span and reason of an envelope that could not be opened.
    pub fn to_val(&self, vault: OpenVault) -> Result<Val, (Span, String)> {
        Ok(match &self.kind {
            Kind::Null => Val::Null,
            Kind::Bool(b) => Val::Bool(*b),
            Kind::Int(i) => Val::Int(*i),
            Kind::Float(f) => Val::Float(*f),
            Kind::Text { text, .. } => {
                let text = Text::template(text.as_str(), &self.span);
                Val::Text(if self.span.file.secret { text.into_secret() } else { text })
            }
            Kind::Unsafe(text) if self.span.file.secret => Val::secret(text),
            Kind::Unsafe(text) => Val::from(text.as_str()),
            Kind::Vault(envelope) => {
                let text = vault(envelope).map_err(|why| (self.span.clone(), why))?;
                Val::Text(Text::template(text, &self.span).into_secret())
            }
            Kind::List(items) => {
                Val::list(items.iter().map(|n| n.to_val(vault)).collect::<Result<Vec<_>, _>>()?)
            }
            Kind::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for e in entries {
                    map.insert(e.key.to_val(vault)?, e.value.to_val(vault)?);
                }
                Val::map(map)
            }
        })
    }

    /// [`Node::to_val`] where no vault can be opened; an envelope stays as it is written.
    pub fn to_val_sealed(&self) -> Val {
        self.to_val(&|envelope| Ok(envelope.to_string())).unwrap_or(Val::Null)
    }
}
