//! Tasks, blocks and handlers.

use std::fmt;
use std::sync::Arc;

use crate::source::{Map, Span, Text, Val};

use super::{Keywords, Role, Setting};

/// A bare expression ([`Val::Text`]) or a literal boolean.
pub type Condition = Val;

/// Where a task stands: section / role / file / child indexes, such as
/// `tasks/2/rescue/0` or `roles/0/seqn_env/tasks/main/3`. Stable while the source around it is; no
/// line numbers. Unique within its play, or within the file or role loaded at run time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StaticPath(Arc<str>);

impl StaticPath {
    pub fn new(start: &str) -> StaticPath {
        StaticPath(start.into())
    }

    pub fn child(&self, part: impl fmt::Display) -> StaticPath {
        StaticPath(format!("{}/{part}", self.0).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StaticPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One entry of a list of tasks.
#[derive(Debug, Clone)]
pub enum Item {
    Task(Arc<Task>),
    Block(Arc<Block>),
}

#[derive(Debug, Clone)]
pub struct Task {
    /// The task's whole mapping.
    pub span: Span,
    pub path: StaticPath,
    /// As written; may be a template.
    pub name: Option<Text>,
    pub action: Action,
    /// Resolved: everything inherited is in it.
    pub keywords: Keywords,
    pub loop_: Option<Loop>,
    pub loop_control: LoopControl,
    /// A valid variable name.
    pub register: Option<String>,
    pub changed_when: Option<Vec<Condition>>,
    pub failed_when: Option<Vec<Condition>>,
    pub until: Option<Vec<Condition>>,
    /// Attempts after the first; 3 with `until` when not given.
    pub retries: Option<Setting<i64>>,
    /// Seconds between attempts; 5 when not given.
    pub delay: Option<Setting<f64>>,
    /// Seconds; 0 or `None` runs the task in the foreground.
    pub async_: Option<Setting<i64>>,
    /// Seconds between looks at an `async` task.
    pub poll: Option<Setting<i64>>,
    /// Ours: tasks that take this task's effect back.
    pub undo: Vec<Item>,
    /// Ours: whether an effect happened that was cut while it ran.
    pub probe: Option<Probe>,
    /// Ours: names of result values that are Secret, at any depth; the rest of the result isn't.
    pub secrets: Vec<Text>,
    /// Ours: what its author says about an effect that can't be taken back.
    pub one_way: OneWay,
    /// A handler's topics, role-qualified forms included; they move to [`Handler::listen`].
    pub listen: Vec<String>,
    /// The role that this task belongs to.
    pub role: Option<Arc<Role>>,
    /// Made by the loader, not written by a person (argument validation of a role).
    pub implicit: bool,
}

impl Task {
    /// Its author says that nobody needs what it does to be taken back.
    pub fn accepts_one_way(&self) -> bool {
        self.one_way == OneWay::Accepted || self.changes_nothing()
    }

    /// Why only forward is left after it, in its author's words.
    pub fn only_forward(&self) -> Option<&str> {
        match &self.one_way {
            OneWay::Forward(why) => Some(why),
            OneWay::Refused | OneWay::Accepted => None,
        }
    }

    /// `changed_when: false`: its author says that it only looks.
    pub fn changes_nothing(&self) -> bool {
        matches!(self.changed_when.as_deref(), Some([Val::Bool(false)]))
    }

    /// As shown when it starts, with `name` rendered by the caller: `role : name`.
    pub fn title(&self, rendered_name: Option<&str>) -> String {
        let own = rendered_name.unwrap_or_else(|| self.action.written());
        match (&self.role, &self.action, rendered_name) {
            (_, Action::IncludeRole(_), Some(name)) => name.to_string(),
            (_, Action::IncludeRole(include), None) => format!("{own} : {}", include.role.as_str()),
            (Some(role), _, _) => format!("{} : {own}", role.name),
            (None, _, _) => own.to_string(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OneWay {
    #[default]
    Refused,
    /// `one_way: ok`: nobody would want it back.
    Accepted,
    /// `one_way: SENTENCE`: after it the only way is forward, and why; `rollback` says so.
    Forward(String),
}

/// How a run that is gone on with learns whether an effect happened that it can't observe.
#[derive(Debug, Clone)]
pub enum Probe {
    /// `probe: false`: what was cut doesn't count; doing it again does no harm.
    Never,
    /// A shell command that succeeds on the host where it happened.
    Command(Text),
}

/// What a task does.
#[derive(Debug, Clone)]
pub enum Action {
    Module(ModuleCall),
    IncludeTasks(IncludeTasks),
    IncludeRole(IncludeRole),
}

impl Action {
    /// The module's name as written in the task.
    pub fn written(&self) -> &str {
        match self {
            Action::Module(call) => &call.written,
            Action::IncludeTasks(include) => &include.written,
            Action::IncludeRole(include) => &include.written,
        }
    }
}

#[derive(Debug, Clone)]
pub struct ModuleCall {
    /// The registry's name (`ansible.builtin.copy`).
    pub canonical: String,
    pub written: String,
    /// Of the module's name.
    pub span: Span,
    /// A map of arguments, not rendered; free-form text is under `_raw_params`.
    pub args: Val,
    /// `args: "{{ … }}"`: a template that gives more arguments; those in `args` win.
    pub args_template: Option<Text>,
    /// A template that names the module; `canonical` is empty then, until the task runs.
    pub name: Option<Text>,
}

/// `include_tasks`: a file of tasks, chosen for each host and loop item.
#[derive(Debug, Clone)]
pub struct IncludeTasks {
    pub written: String,
    pub span: Span,
    pub file: Text,
    /// What the included tasks inherit: the keywords around the include (not its own `when`,
    /// `tags`, …) with `apply` and the include's `vars` added.
    pub inherited: Box<Keywords>,
    /// The include's own `vars`; included tasks see them above facts and registers.
    pub params: Arc<Map>,
    /// Whether it stands among handlers.
    pub in_handlers: bool,
    pub in_transaction: bool,
}

/// `include_role`: a role, chosen for each host and loop item.
#[derive(Debug, Clone)]
pub struct IncludeRole {
    pub written: String,
    pub span: Span,
    pub role: Text,
    pub files: RoleFiles,
    pub public: Option<Setting<bool>>,
    pub allow_duplicates: Option<Setting<bool>>,
    pub rolespec_validate: Option<Setting<bool>>,
    /// As in [`IncludeTasks`].
    pub inherited: Box<Keywords>,
    /// The include's own `vars`: the role's, and as in [`IncludeTasks`].
    pub params: Arc<Map>,
    pub in_transaction: bool,
}

/// `tasks_from` and its like; `None` is `main`.
#[derive(Debug, Clone, Default)]
pub struct RoleFiles {
    pub tasks: Option<Text>,
    pub vars: Option<Text>,
    pub defaults: Option<Text>,
    pub handlers: Option<Text>,
}

#[derive(Debug, Clone)]
pub struct Loop {
    /// Of the loop's value.
    pub span: Span,
    pub source: LoopSource,
}

#[derive(Debug, Clone)]
pub enum LoopSource {
    /// `loop:` a list, or a template that gives one.
    Items(Val),
    /// `with_NAME:` the items are what the lookup NAME gives for these terms.
    Lookup { name: String, terms: Val },
}

#[derive(Debug, Clone)]
pub struct LoopControl {
    /// `item` unless written; may be a template.
    pub loop_var: Text,
    pub index_var: Option<Text>,
    pub label: Option<Val>,
    /// Seconds between items.
    pub pause: Option<Setting<f64>>,
    pub extended: Option<Setting<bool>>,
    /// `true` when not given.
    pub extended_allitems: Option<Setting<bool>>,
    pub break_when: Vec<Condition>,
}

impl Default for LoopControl {
    fn default() -> Self {
        LoopControl {
            loop_var: Text::new("item"),
            index_var: None,
            label: None,
            pause: None,
            extended: None,
            extended_allitems: None,
            break_when: Vec::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Block {
    pub span: Span,
    pub path: StaticPath,
    pub name: Option<Text>,
    pub kind: BlockKind,
    pub body: Vec<Item>,
    pub rescue: Vec<Item>,
    pub always: Vec<Item>,
    /// Resolved; the children have them too.
    pub keywords: Keywords,
    /// The role whose tasks these are.
    pub role: Option<Arc<Role>>,
    /// Ours: a failure inside undoes what the block did before `rescue` runs.
    pub transaction: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// `block:`
    Written,
    /// All tasks of one use of [`Block::role`]: skipped where that role ran before (unless it
    /// allows duplicates), left by `meta: end_role`. Its dependencies are blocks before it.
    Role,
}

/// A task that runs when it is notified.
#[derive(Debug, Clone)]
pub struct Handler {
    pub task: Task,
    /// Topics it also answers to, role-qualified forms included.
    pub listen: Vec<String>,
}

impl Handler {
    pub fn of(mut task: Task) -> Handler {
        let listen = std::mem::take(&mut task.listen);
        Handler { task, listen }
    }

    /// Whether a `notify` of `notified` means this handler, whose name was rendered by the caller.
    pub fn answers_to(&self, notified: &str, rendered_name: Option<&str>) -> bool {
        let by_name = rendered_name.is_some_and(|name| {
            name == notified
                || self.task.role.as_ref().is_some_and(|role| {
                    role.titles().any(|title| {
                        notified.strip_prefix(title).and_then(|rest| rest.strip_prefix(" : ")) == Some(name)
                    })
                })
        });
        by_name || self.listen.iter().any(|topic| topic == notified)
    }
}
