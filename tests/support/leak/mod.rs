//! What the leak test is made of. Each test that includes this uses a part of it.

#![allow(dead_code)]

pub mod cases;
pub mod sandbox;
pub mod search;
pub mod watch;
