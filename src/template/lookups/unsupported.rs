//! Lookups of Ansible that don't exist here, each with what to use instead.

use super::Lookup;
use crate::template::fault::Fault;

pub const CONFIG: Lookup = Lookup::new("config", |_, _, _| {
    Err(Fault::plain("the lookup 'config' is not supported: there is no ansible.cfg here"))
});
pub const URL: Lookup = Lookup::new("url", |_, _, _| {
    Err(Fault::plain("the lookup 'url' is not supported")
        .help("Use the module 'uri' and register its result."))
});
