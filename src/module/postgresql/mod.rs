//! Postgres servers, through `psql` on the host or in their container.

pub mod connection;
pub mod query;
pub mod quote;
pub mod role;
pub mod statement;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod tests_server;
pub mod user;
