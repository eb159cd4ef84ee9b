//! Variables: where they come from, which wins, and the [`Scope`] that a task on a host sees.
//!
//! ```text
//! // Once a run:
//! let (variables, problems) = Variables::load(inventory, Settings { run, extra, vault, .. });
//! problems.extend(variables.enter_playbook(playbook_dir));
//! // Once a play and task; maps are shared, never copied:
//! let play = Layers::new().with(Layer::PlayVars, play_vars).with(Layer::Magic, play_info.vars());
//! let mut task = play.clone();
//! task.push(Layer::TaskVars, task_vars.clone());
//! // Once an Instance:
//! let mut scope = variables.scope("web1", &task);
//! scope.set_loop("item", item);
//! let cx = RenderCx { names: &scope, .. };
//! // Results:
//! variables.host_vars().register("web1", "result", result);
//! ```

pub mod dump;
mod extra;
pub mod facts;
mod files;
mod host_vars;
mod layers;
mod magic;
mod scope;
mod variables;

pub use extra::extra_vars;
pub use files::{Vault, check_vars_file, load_vars_file, no_vault};
pub use host_vars::HostVars;
pub use layers::{Layer, Layers};
pub use magic::{PlayInfo, RoleInfo, RunInfo, TaskInfo};
pub use scope::Scope;
pub use variables::{Settings, Variables};

pub use crate::inventory::names::{is_reserved, is_variable};

#[cfg(test)]
#[cfg(test)]
mod tests;
