//! Modules that act on the run rather than on a host.
