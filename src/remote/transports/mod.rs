//! What opens channels to a host.

pub mod explain;
pub mod local;
pub mod native;
pub mod openssh;
