//! A host as a module sees it: [`Observation`]s in, answers out; and as the engine changes it:
//! [`Effect`]s. Behind both, one shell protocol over three transports.

pub mod askpass;
pub mod become_user;
pub mod connections;
mod download;
pub mod effect;
pub mod feed;
pub mod fetch;
pub mod host;
pub mod http;
mod lasting;
pub mod lock;
pub mod observation;
mod overlay;
pub mod quote;
mod script;
pub mod shell;
mod shells;
pub mod target;
mod transports;
pub mod trouble;
mod upload;

pub use become_user::{Become, BecomeMethod};
pub use connections::{Connection, Connections, TransportKind};
pub use effect::{Attributes, CONFLICT, Command, Content, Effect, Expect, Output, Program};
pub use host::Traffic;
pub use http::{Follow, HttpFailure, HttpRequest, HttpResponse, Tls};
pub use lock::files::HostFiles;
pub use lock::{Dead, EffectId, EffectState, HeldBy, Holder, HostLock, LockRefused, LockRequest, Running};
pub use observation::{Answer, Checksum, FileKind, FileRead, Observation, Stat};
pub use overlay::overlay;
pub use target::{Host, RemoteError, RemoteErrorKind, Stream, Target};
