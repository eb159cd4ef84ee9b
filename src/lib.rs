//! `seqn-play`: Ansible-style playbooks over SSH, needing nothing on the host but `sh`.
//!
//! `docs/architecture.md` tells the way of one task through these folders; arrows of `use` point
//! down this list only.

pub mod cli;
pub mod engine;
pub mod inventory;
pub mod lint;
pub mod module;
pub mod playbook;
pub mod rehearse;
pub mod remote;
pub mod report;
pub mod run;
pub mod secret;
pub mod source;
pub mod template;
pub mod vars;
