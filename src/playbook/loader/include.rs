//! Imports, which are read now, and includes, which are read during the run.

use std::path::PathBuf;
use std::sync::Arc;

use crate::playbook::keywords::{Level, merged};
use crate::playbook::{Action, IncludeRole, IncludeTasks, Item, Keywords, RoleFiles, Setting, Task};
use crate::source::args::{parse_bool, scalar_text};
use crate::source::{Diagnostic, Entry, Kind, Map, Node, Span, Text, Val};

use super::action::{Called, first_line};
use super::{Load, Site, roles};

/// What a task can call beside modules.
pub const INCLUDES: [&str; 4] = ["include_tasks", "import_tasks", "include_role", "import_role"];

/// The keywords that an include takes itself; all others go under `apply`.
const OF_INCLUDES: [&str; 20] = [
    "action",
    "args",
    "collections",
    "debugger",
    "ignore_errors",
    "loop",
    "loop_control",
    "name",
    "no_log",
    "register",
    "run_once",
    "tags",
    "timeout",
    "vars",
    "when",
    "listen",
    "include_tasks",
    "include_role",
    "ansible.builtin.include_tasks",
    "ansible.builtin.include_role",
];

const OF_ROLES: [&str; 9] = [
    "name",
    "role",
    "tasks_from",
    "vars_from",
    "defaults_from",
    "handlers_from",
    "public",
    "allow_duplicates",
    "rolespec_validate",
];

impl Load<'_> {
    pub fn import_tasks(&mut self, task: Task, own: Keywords, mut called: Called, site: &Site) -> Vec<Item> {
        self.refuse_loop(&task, &called);
        let Some((file, at)) = self.file_argument(&mut called) else { return Vec::new() };
        self.refuse_rest(&called, &["file"]);
        let inner = Site { inherited: own.within(&site.inherited), ..site.clone() };
        let Some(name) = self.known_now(&file, &inner, "the file of an import", &at) else {
            return Vec::new();
        };
        self.included_file(&name, &at, &inner).map(|(_, items)| items).unwrap_or_default()
    }

    /// The tasks of a file; `None` if there is no such file or it can't be read.
    pub fn included_file(&mut self, name: &str, at: &Span, site: &Site) -> Option<(PathBuf, Vec<Item>)> {
        let path = self.find_tasks_file(name, at, site)?;
        let part =
            path.file_stem().map_or_else(|| name.to_string(), |stem| stem.to_string_lossy().into_owned());
        let inner = site.child(part);
        let items = self.within_file(&path, at, |load| {
            let node = load.document(&path, Some(at))?;
            if node.is_null() {
                let message = format!("{} holds no tasks", path.display());
                load.diags.push(Diagnostic::warning("empty-file", message, at));
            }
            Some(load.items(&node, &inner))
        })??;
        Some((path, items))
    }

    pub fn import_role(&mut self, task: Task, own: Keywords, mut called: Called, site: &Site) -> Vec<Item> {
        if site.in_handlers {
            self.error("misplaced-import", "a role can't be a handler", &called.span);
            return Vec::new();
        }
        self.refuse_loop(&task, &called);
        let vars = own.vars.clone();
        let inner = Site { inherited: own.within(&site.inherited), ..site.clone() };
        let Some(asked) = self.role_arguments(&mut called) else { return Vec::new() };
        self.refuse_rest(&called, &OF_ROLES);
        let mut fixed = |name: &str, setting: Option<Setting<bool>>, otherwise: bool| match setting {
            None => otherwise,
            Some(Setting::Fixed(value)) => value,
            Some(Setting::Template(text)) => {
                let at = text.origin().unwrap_or(&called.span).clone();
                let Some(word) = self.known_now(&text, &inner, &format!("`{name}`"), &at) else {
                    return otherwise;
                };
                parse_bool(&word).unwrap_or_else(|| {
                    self.error("bad-argument", format!("`{name}` must be a boolean, not `{word}`"), &at);
                    otherwise
                })
            }
        };
        let public = fixed("public", asked.public, true);
        let allow_duplicates = fixed("allow_duplicates", asked.allow_duplicates, true);
        let validate = fixed("rolespec_validate", asked.rolespec_validate, true);
        let written = roles::Use {
            vars,
            files: asked.files,
            public,
            allow_duplicates: Some(allow_duplicates),
            validate,
            from_include: true,
            ..roles::Use::of(asked.role, &called.span)
        };
        let Some(loaded) = self.role(written, &inner) else { return Vec::new() };
        self.imported_roles.push(loaded.role);
        self.imported_handlers.extend(loaded.handlers);
        loaded.items
    }

    pub fn include_tasks(
        &mut self,
        mut task: Task,
        own: Keywords,
        mut called: Called,
        named: &[(&str, &Entry)],
        site: &Site,
    ) -> Vec<Item> {
        self.refuse_keywords_of_tasks(named, &called);
        let apply = self.apply(named, &called);
        let Some((file, _)) = self.file_argument(&mut called) else { return Vec::new() };
        called.take("apply");
        self.refuse_rest(&called, &["file", "apply"]);
        let params = own.vars.clone();
        task.action = Action::IncludeTasks(IncludeTasks {
            written: called.written,
            span: called.span,
            file,
            inherited: Box::new(inherited_through(apply, &params, site)),
            params,
            in_handlers: site.in_handlers,
            in_transaction: site.in_transaction,
        });
        task.keywords = own.within(&site.inherited);
        vec![Item::Task(Arc::new(task))]
    }

    pub fn include_role(
        &mut self,
        mut task: Task,
        own: Keywords,
        mut called: Called,
        named: &[(&str, &Entry)],
        site: &Site,
    ) -> Vec<Item> {
        if site.in_handlers {
            self.error("misplaced-import", "a role can't be a handler", &called.span);
            return Vec::new();
        }
        self.refuse_keywords_of_tasks(named, &called);
        let apply = self.apply(named, &called);
        called.take("apply");
        let Some(asked) = self.role_arguments(&mut called) else { return Vec::new() };
        let mut known = OF_ROLES.to_vec();
        known.push("apply");
        self.refuse_rest(&called, &known);
        let params = own.vars.clone();
        task.action = Action::IncludeRole(IncludeRole {
            written: called.written,
            span: called.span,
            role: asked.role,
            files: asked.files,
            public: asked.public,
            allow_duplicates: asked.allow_duplicates,
            rolespec_validate: asked.rolespec_validate,
            inherited: Box::new(inherited_through(apply, &params, site)),
            params,
            in_transaction: site.in_transaction,
        });
        task.keywords = own.within(&site.inherited);
        vec![Item::Task(Arc::new(task))]
    }

    /// The file to read: free text, or `file`.
    fn file_argument(&mut self, called: &mut Called) -> Option<(Text, Span)> {
        let name = if called.args.contains_key("_raw_params") { "_raw_params" } else { "file" };
        let at = called.place(name);
        match called.take(name) {
            Some(Val::Text(text)) if !text.trim().is_empty() => Some((text, at)),
            Some(_) => {
                self.error("bad-argument", format!("the file of `{}` must be text", called.written), &at);
                None
            }
            None => {
                self.error("bad-argument", format!("`{}` names no file", called.written), &called.span);
                None
            }
        }
    }

    fn role_arguments(&mut self, called: &mut Called) -> Option<Asked> {
        let role = called.take("name").or_else(|| called.take("role"));
        let Some(Val::Text(role)) = role else {
            let message = format!("`{}` needs the `name` of a role", called.written);
            self.error("bad-argument", message, &called.span);
            return None;
        };
        called.take("role");
        let mut from = |name: &str| match called.take(name) {
            None | Some(Val::Null) => None,
            Some(Val::Text(text)) => Some(text),
            Some(other) => {
                let message = format!("`{name}` must be a string, not {}", other.type_name());
                let at = called.place(name);
                self.error("bad-argument", message, &at);
                None
            }
        };
        let files = RoleFiles {
            tasks: from("tasks_from"),
            vars: from("vars_from"),
            defaults: from("defaults_from"),
            handlers: from("handlers_from"),
        };
        let mut flag = |name: &str| match called.take(name)? {
            Val::Bool(b) => Some(Setting::Fixed(b)),
            Val::Text(t) if t.is_template() => Some(Setting::Template(t)),
            other => {
                let parsed = scalar_text(&other).and_then(|t| parse_bool(&t));
                if parsed.is_none() {
                    let at = called.place(name);
                    self.error("bad-argument", format!("`{name}` must be a boolean, not {other:?}"), &at);
                }
                parsed.map(Setting::Fixed)
            }
        };
        let public = flag("public");
        let allow_duplicates = flag("allow_duplicates");
        let rolespec_validate = flag("rolespec_validate");
        Some(Asked { role, files, public, allow_duplicates, rolespec_validate })
    }

    /// Reports arguments that nothing has taken.
    fn refuse_rest(&mut self, called: &Called, known: &[&str]) {
        for name in called.args.keys().map(Val::key_text) {
            let at = called.places.get(&name).map_or(&called.span, |(name, _)| name).clone();
            if name == "apply" {
                let message = format!(
                    "`{}` takes no `apply`: its keywords already go to what it imports",
                    called.written
                );
                self.error("bad-argument", message, &at);
                continue;
            }
            let message = match name.as_str() {
                "_raw_params" => format!("`{}` takes no free text", called.written),
                _ => format!("`{}` has no argument `{name}`", called.written),
            };
            self.unknown("bad-argument", message, &at, &name, known.iter().copied());
        }
    }

    fn refuse_loop(&mut self, task: &Task, called: &Called) {
        if let Some(loop_) = &task.loop_ {
            let other = called.written.replace("import_", "include_");
            self.diags.push(
                Diagnostic::error("loop-on-import", format!("`{}` can't loop", called.written), &loop_.span)
                    .help(format!("an import is read once, before the run; use `{other}`")),
            );
        }
    }

    /// What an include can't do itself.
    fn refuse_keywords_of_tasks(&mut self, named: &[(&str, &Entry)], called: &Called) {
        for (key, entry) in named {
            let is_own = OF_INCLUDES.contains(key) || *key == called.written || key.starts_with("with_");
            if is_own || !Level::Handler.knows(key) {
                continue;
            }
            let message = format!("`{key}` has no effect on `{}` itself", called.written);
            let diagnostic = Diagnostic::error("misplaced-keyword", message, &entry.key.span);
            self.diags.push(if Level::Block.knows(key) {
                diagnostic.help(format!(
                    "to give it to the included tasks, write it under `apply:` of `{}`",
                    called.written
                ))
            } else {
                diagnostic
            });
        }
    }

    /// The keywords under `apply`.
    fn apply(&mut self, named: &[(&str, &Entry)], called: &Called) -> Keywords {
        let mut keywords = Keywords::default();
        let arguments: Vec<&Node> = named
            .iter()
            .filter(|(k, _)| *k == called.written || *k == "args")
            .map(|(_, e)| &e.value)
            .collect();
        let Some(node) = arguments.iter().find_map(|node| node.get("apply")) else { return keywords };
        let entries = match &node.kind {
            Kind::Map(entries) => entries,
            Kind::Null => return keywords,
            _ => {
                let message = format!("`apply` must be a mapping of keywords, not {}", node.type_name());
                self.error("bad-argument", message, &first_line(&node.span));
                return keywords;
            }
        };
        for (key, entry) in self.named(entries) {
            let is_known = Level::Block.knows(key) && key != "name";
            if !(is_known && self.shared(&mut keywords, key, entry)) && key != "name" {
                self.unknown_keyword(Level::Block, key, entry);
            }
        }
        keywords
    }
}

/// The arguments of `include_role` and `import_role`.
struct Asked {
    role: Text,
    files: RoleFiles,
    public: Option<Setting<bool>>,
    allow_duplicates: Option<Setting<bool>>,
    rolespec_validate: Option<Setting<bool>>,
}

fn inherited_through(apply: Keywords, params: &Arc<Map>, site: &Site) -> Keywords {
    let vars = merged(params, &apply.vars);
    Keywords { vars, ..apply }.within(&site.inherited)
}
