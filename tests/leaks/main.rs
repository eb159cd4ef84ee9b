//! Public reports of leaks in Ansible, its collections and roles, each as a test that is named by its
//! number: the same scenario, run with this program, shows nothing. `scenario.rs` says how.
//!
//! A test has its control wherever there can be one: with the vault opened and `no_log` off it must show
//! the secret, or the test would prove nothing.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/leak/search.rs"]
mod search;
#[path = "../support/leak/watch.rs"]
mod watch;

mod diffs;
mod http;
mod loops;
mod no_log;
mod rehearse;
mod scenario;
mod sources;
mod vault;

use scenario::Scenario;
