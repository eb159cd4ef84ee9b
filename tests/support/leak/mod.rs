//! What the leak test is made of.

pub mod cases;
pub mod sandbox;
pub mod search;
pub mod watch;
