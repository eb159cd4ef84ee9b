//! Hosts as the program reaches them: every transport, every shell, and what can go wrong.
//!
//! Real shells, a real sshd on loopback, and for the faults an SSH server that can be harmed. A
//! test that lacks something of this machine says so and is skipped; with SEQN_REQUIRE_ALL=1 (as
//! in CI) that is a failure.

mod become_user;
mod cut_off;
mod failures;
mod fixture;
mod hosts;
mod kept;
mod large;
mod lock;
mod noted;
mod secrets;
mod starters;
mod suite;
