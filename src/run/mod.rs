//! What is kept of a run: its journal, what stands of it, where it is.

pub mod audit;
pub mod history;
pub mod journal;
pub mod record;
pub mod recorder;
pub mod seal;
pub mod store;
pub mod verify;
