//! What rules look at: the tasks of each playbook in running order, every task, every document.

use std::path::Path;
use std::sync::Arc;

use crate::playbook::{Action, LoopSource, ModuleCall, Play, Task};
use crate::source::{Map, Node, SourceFile, Span, Text, Val};

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Project {
    pub playbooks: Vec<Flow>,
    /// Every task and handler that was found, once for each place where it runs.
    pub tasks: Vec<Visit>,
    pub documents: Vec<Document>,
    /// Files that are encrypted as a whole.
    pub sealed: usize,
}

/// The tasks of one playbook in running order, plays one after the other, handlers after their
/// play's tasks; what only runs after a failure (`rescue`) is left out.
#[derive(Debug)]
pub struct Flow {
    pub tasks: Vec<Visit>,
}

/// A task, with what is known where it stands.
#[derive(Debug, Clone)]
pub struct Visit {
    pub task: Arc<Task>,
    /// Where the playbook's own file brings the task in: the task, the import, the use of a role.
    pub site: Span,
    /// `None` for a file that no playbook uses.
    pub play: Option<Arc<Play>>,
    /// The use of a role, as a whole: it has no other action than to bring its tasks.
    pub in_rescue: bool,
}

/// One file.
#[derive(Debug)]
pub struct Document {
    pub file: Arc<SourceFile>,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    Yaml(Node),
    /// Variables of an inventory in another format.
    Vars(Vec<Arc<Map>>),
    /// There was nothing to be understood in it.
    Unread,
}

impl Visit {
    /// The call, if the task calls a module.
    pub fn call(&self) -> Option<&ModuleCall> {
        match &self.task.action {
            Action::Module(call) => Some(call),
            _ => None,
        }
    }

    /// The module's short name; `""` for includes.
    pub fn module(&self) -> &str {
        self.call().map_or("", |call| call.canonical.rsplit('.').next().unwrap_or(&call.canonical))
    }

    /// The first of these arguments that is given: an argument and its aliases.
    pub fn arg(&self, names: &[&str]) -> Option<&Val> {
        let args = &self.call()?.args;
        names.iter().find_map(|name| args.get(name))
    }

    /// As [`Visit::arg`], as text.
    pub fn text_arg(&self, names: &[&str]) -> Option<&Text> {
        match self.arg(names)? {
            Val::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What `command`, `shell`, `raw` or `script` run; words of an `argv` with a space between them.
    pub fn command_line(&self) -> Option<String> {
        if !["command", "shell", "raw", "script"].contains(&self.module()) {
            return None;
        }
        Some(match self.arg(&["_raw_params", "cmd", "argv"])? {
            Val::List(words) => words.iter().map(Val::key_text).collect::<Vec<_>>().join(" "),
            other => other.key_text(),
        })
    }

    /// Whether the task never changes anything, whatever the run's mode.
    pub fn only_looks(&self) -> bool {
        self.task.keywords.only_look()
    }

    /// Whether a role around the task, or the file that it is in, has `word` in its name.
    pub fn is_within(&self, word: &str) -> bool {
        let task = &self.task;
        let roles = task
            .role
            .iter()
            .flat_map(|role| role.parents.iter().map(|parent| &parent.name).chain([&role.name]));
        let file =
            task.span.file.path.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy());
        let in_role = task.role.is_some();
        roles.into_iter().any(|role| role.contains(word))
            || (in_role || self.site.file.name != task.span.file.name)
                && file.is_some_and(|stem| stem.contains(word))
    }

    /// The texts that an argument can have, as far as the source says; `None` if it doesn't.
    pub fn known_texts(&self, text: &Text) -> Option<Vec<String>> {
        self.resolve(&Val::Text(text.clone()), 0)
    }

    fn resolve(&self, value: &Val, depth: usize) -> Option<Vec<String>> {
        const DEEPEST: usize = 8;
        let text = match value {
            Val::Text(text) => text,
            Val::Null | Val::Omit | Val::List(_) | Val::Map(_) => return None,
            other => return Some(vec![other.key_text()]),
        };
        if !text.is_template() {
            return Some(vec![text.to_string()]);
        }
        let path: Vec<&str> = variable(text)?.split('.').collect();
        let (name, attributes) = path.split_first()?;
        if depth > DEEPEST {
            return None;
        }
        let values = match self.looped(name) {
            Some(items) => items,
            None => vec![self.written(name)?],
        };
        let mut texts = Vec::new();
        for value in values {
            let value = attributes.iter().try_fold(value, |value, name| value.get(name).cloned())?;
            texts.extend(self.resolve(&value, depth + 1)?);
        }
        Some(texts)
    }

    /// The items of the task's loop, if `name` is its variable and they are written out.
    fn looped(&self, name: &str) -> Option<Vec<Val>> {
        let source = &self.task.loop_.as_ref()?.source;
        if self.task.loop_control.loop_var.as_str() != name {
            return None;
        }
        match source {
            LoopSource::Items(Val::List(items)) => Some(items.to_vec()),
            LoopSource::Lookup { name, terms: Val::List(items) } if name == "items" => Some(items.to_vec()),
            _ => None,
        }
    }

    /// A variable's value as the source around the task writes it, by Ansible's precedence.
    fn written(&self, name: &str) -> Option<Val> {
        let role = self.task.role.as_deref();
        let levels = [
            role.map(|role| &role.params),
            Some(&self.task.keywords.vars),
            role.map(|role| &role.vars),
            self.play.as_ref().map(|play| &play.vars),
            role.map(|role| &role.defaults),
        ];
        levels.into_iter().flatten().find_map(|vars| vars.get(name).cloned())
    }
}

/// The name in `{{ name }}` or `{{ name.attribute }}`, when the text is nothing else.
pub fn variable(text: &str) -> Option<&str> {
    let inside = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let is_name = inside.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    (is_name && !inside.is_empty()).then_some(inside)
}

impl Content {
    /// Calls `each` with every value, and the name of the key above it.
    pub fn each_text(&self, each: &mut dyn FnMut(Option<&str>, &str, &Span)) {
        match self {
            Content::Yaml(node) => in_node(None, node, each),
            Content::Vars(maps) => {
                for (name, value) in maps.iter().flat_map(|map| map.iter()) {
                    in_val(Some(&name.key_text()), value, each);
                }
            }
            Content::Unread => {}
        }
    }
}

fn in_node(name: Option<&str>, node: &Node, each: &mut dyn FnMut(Option<&str>, &str, &Span)) {
    use crate::source::Kind;
    match &node.kind {
        Kind::Text { text, .. } | Kind::Unsafe(text) => each(name, text, &node.span),
        Kind::Int(number) => each(name, &number.to_string(), &node.span),
        Kind::List(items) => items.iter().for_each(|item| in_node(name, item, each)),
        Kind::Map(entries) => entries.iter().for_each(|e| in_node(e.key.as_str(), &e.value, each)),
        Kind::Null | Kind::Bool(_) | Kind::Float(_) | Kind::Vault(_) => {}
    }
}

fn in_val(name: Option<&str>, value: &Val, each: &mut dyn FnMut(Option<&str>, &str, &Span)) {
    match value {
        Val::Text(text) if !text.is_secret() => {
            if let Some(origin) = text.origin() {
                each(name, text, origin);
            }
        }
        Val::List(items) => items.iter().for_each(|item| in_val(name, item, each)),
        Val::Map(map) => map.iter().for_each(|(k, v)| in_val(Some(&k.key_text()), v, each)),
        _ => {}
    }
}
