//! [`Node`](crate::source::Node) → typed [`Play`], [`Block`], [`Task`], [`Handler`], [`Role`].
//!
//! Everything that can be wrong in the source is found here, with its place, before a host is
//! touched. Keywords that are inherited (play → block → task, import → its tasks, role → its
//! tasks) are already resolved in each [`Task::keywords`], so nobody above walks up the tree.
//! Values stay [`Val`](crate::source::Val) with their origins; nothing is rendered here.

pub mod keywords;
pub mod language;
pub mod loader;
pub mod play;
pub mod role;
pub mod splitter;
pub mod task;

pub use keywords::{Keywords, Setting};
pub use language::{FreeForm, Language, ModuleInfo};
pub use loader::{AloneSection, IncludedRole, IncludedTasks, Loader, Vault};
pub use play::{Order, Play, Playbook, Section, Strategy, VarsPrompt};
pub use role::{Exports, Parent, Role};
pub use task::{
    Action, Block, BlockKind, Condition, Handler, IncludeRole, IncludeTasks, Item, Loop, LoopControl,
    LoopSource, ModuleCall, OneWay, Probe, RoleFiles, StaticPath, Task,
};
