//! `seqn-play`: Ansible-style playbooks over SSH, needing nothing on the host but `sh`.
//!
//! `docs/architecture.md` tells the way of one task through these folders; arrows of `use` point
//! down this list only.

<<<<<<< HEAD
pub mod engine;
pub mod report;
pub mod module;
pub mod remote;
pub mod vars;
pub mod template;
pub mod playbook;
pub mod inventory;
=======
>>>>>>> secret
pub mod secret;
pub mod source;
