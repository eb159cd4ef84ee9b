//! Why an evaluation stopped, and what it is when something undefined is used.

use std::rc::Rc;

use super::error::TemplateError;
use super::program::Place;
use super::source_map::Source;
use crate::source::Span;

/// Something that has no value, on its way to where it is used.
#[derive(Debug, Clone)]
pub struct Undefined {
    /// `'foo' is undefined`
    pub message: String,
    /// The variable's own name, when it is one that nobody set: for the nearest name.
    pub name: Option<String>,
    /// Where it was written.
    pub source: Option<Rc<Source>>,
    pub at: Place,
    /// The variables that led there, outermost first.
    pub chain: Vec<String>,
    pub help: Option<String>,
}

/// Why an evaluation stopped.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Something undefined was used.
    Undefined(Rc<Undefined>),
    Failed(Box<Failure>),
}

#[derive(Debug, Clone)]
pub struct Failure {
    /// What was being done: `The filter plugin 'from_json' failed`.
    pub doing: Option<String>,
    pub message: String,
    /// The message quotes a value: it is said without where a Secret was used.
    pub quotes: bool,
    pub at: Option<Place>,
    pub span: Option<Span>,
    pub chain: Vec<String>,
    pub help: Option<String>,
}

impl Fault {
    /// A message that may quote values; it is hidden when a Secret was used in the render.
    pub fn new(message: impl Into<String>) -> Fault {
        Fault::Failed(Box::new(Failure {
            doing: None,
            message: message.into(),
            quotes: true,
            at: None,
            span: None,
            chain: vec![],
            help: None,
        }))
    }

    /// A message that holds no value, so that it may always be shown.
    pub fn plain(message: impl Into<String>) -> Fault {
        let mut fault = Fault::new(message);
        if let Fault::Failed(f) = &mut fault {
            f.quotes = false;
        }
        fault
    }

    pub fn help(mut self, help: impl Into<String>) -> Fault {
        if let Fault::Failed(f) = &mut self {
            f.help.get_or_insert(help.into());
        }
        self
    }

    /// Remembers the innermost place.
    pub fn at(mut self, place: Place) -> Fault {
        if let Fault::Failed(f) = &mut self {
            f.at.get_or_insert(place);
        }
        self
    }

    /// Says what was being done; shown even where the message itself must be hidden.
    pub fn during(mut self, doing: impl FnOnce() -> String) -> Fault {
        if let Fault::Failed(f) = &mut self
            && f.doing.is_none()
        {
            f.doing = Some(doing());
        }
        self
    }

    /// The error for people; `secret` says that a Secret was used where it arose.
    pub fn hide(self, secret: bool) -> Fault {
        match self {
            Fault::Failed(mut f) if secret && f.quotes => {
                f.message = "the reason is not shown, because it could quote a secret value".into();
                f.help = None;
                f.quotes = false;
                Fault::Failed(f)
            }
            other => other,
        }
    }

    pub fn into_error(self) -> TemplateError {
        match self {
            Fault::Undefined(u) => TemplateError {
                message: u.message.clone(),
                span: u.source.as_ref().and_then(|s| s.span(u.at)),
                chain: u.chain.clone(),
                help: u.help.clone(),
                undefined: true,
            },
            Fault::Failed(f) => TemplateError {
                message: match f.doing {
                    Some(doing) => format!("{doing}: {}", f.message),
                    None => f.message,
                },
                span: f.span,
                chain: f.chain,
                help: f.help,
                undefined: false,
            },
        }
    }
}
