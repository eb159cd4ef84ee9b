//! A host as a module sees it: [`Observation`]s in, answers out; and as the engine changes it:
//! [`Effect`]s. Behind both, one shell protocol over three transports.

pub mod effect;
pub mod fetch;
pub mod http;
pub mod observation;
pub mod target;

pub use effect::{Attributes, Command, Content, Effect, Expect, Output, Program};
pub use http::{Follow, HttpFailure, HttpRequest, HttpResponse, Tls};
pub use observation::{Answer, Checksum, FileKind, FileRead, Observation, Stat};
pub use target::{Host, RemoteError, RemoteErrorKind, Stream, Target};
