//! Which names variables can have.
