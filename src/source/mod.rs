//! Text → [`Node`] with spans; YAML 1.1 scalars; [`Diagnostic`]; [`Val`].
//!
//! Everything above this folder speaks of source through these types.

pub mod args;
pub mod diagnostic;
pub mod hex;
pub mod node;
pub mod python_re;
pub mod span;
pub mod stored;
pub mod val;
pub mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use node::{Entry, Kind, Node};
pub use span::{SourceFile, Span};
pub use val::{Map, Text, Val};
