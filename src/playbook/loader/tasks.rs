//! Lists of tasks: tasks, blocks, handlers.

use std::sync::Arc;

use crate::inventory::names::is_variable;
use crate::playbook::keywords::Level;
use crate::playbook::{
    Action, Block, BlockKind, Handler, Item, Keywords, Loop, LoopControl, LoopSource, ModuleCall, ModuleInfo,
    OneWay, Probe, Role, Setting, Task,
};
use crate::source::{Diagnostic, Entry, Kind, Node, Severity, Text, Val};

use super::action::{Called, Target, first_line, is_block};
use super::{Load, Site};

impl Load<'_> {
    /// A list of tasks and blocks; null is an empty one.
    pub fn items(&mut self, node: &Node, site: &Site) -> Vec<Item> {
        match &node.kind {
            Kind::Null => Vec::new(),
            Kind::List(nodes) => {
                nodes.iter().enumerate().flat_map(|(n, node)| self.item(node, &site.child(n))).collect()
            }
            _ => {
                let message = format!("a list of tasks is expected here, not {}", node.type_name());
                self.diags.push(
                    Diagnostic::error("wrong-type", message, &first_line(&node.span))
                        .help("each task begins with `- `"),
                );
                Vec::new()
            }
        }
    }

    /// One entry; several items if it is an import.
    fn item(&mut self, node: &Node, site: &Site) -> Vec<Item> {
        let Some(entries) = node.as_map() else {
            let message = format!("a task must be a mapping, not {}", node.type_name());
            self.error("wrong-type", message, &first_line(&node.span));
            return Vec::new();
        };
        if !self.count_task(&first_line(&node.span)) {
            return Vec::new();
        }
        if is_block(entries) {
            self.block(node, entries, site).map(|b| Item::Block(Arc::new(b))).into_iter().collect()
        } else {
            self.task(node, entries, site)
        }
    }

    fn block(&mut self, node: &Node, entries: &[Entry], site: &Site) -> Option<Block> {
        if site.in_handlers {
            let message = "a block can't be a handler";
            self.error("misplaced-block", message, &first_line(&node.span));
            return None;
        }
        let mut own = Keywords::default();
        let mut name = None;
        let mut transaction = false;
        let named = self.named(entries);
        for (key, entry) in &named {
            match *key {
                "block" | "rescue" | "always" => {}
                "name" => name = self.text(key, &entry.value),
                "transaction" => match self.boolean(key, &entry.value) {
                    Some(Setting::Fixed(wanted)) => transaction = wanted,
                    Some(Setting::Template(_)) => {
                        let message = "`transaction` must be written out, not be a template";
                        self.error("wrong-type", message, &entry.value.span);
                    }
                    None => {}
                },
                _ => {
                    let is_known = Level::Block.knows(key);
                    if !is_known || !self.shared(&mut own, key, entry) {
                        self.unknown_keyword(Level::Block, key, entry);
                    }
                }
            }
        }
        let keywords = own.within(&site.inherited);
        let inner = Site { inherited: keywords.clone(), ..site.clone() };
        let mut list = |part: &str, in_transaction: bool| {
            let nodes = named.iter().find(|(key, _)| *key == part).map(|(_, entry)| &entry.value);
            let inner = Site { in_transaction, ..inner.child(part) };
            nodes.map(|nodes| self.items(nodes, &inner)).unwrap_or_default()
        };
        let body = list("block", site.in_transaction || transaction);
        let rescue = list("rescue", site.in_transaction);
        let always = list("always", site.in_transaction);
        Some(Block {
            span: node.span.clone(),
            path: site.path.clone(),
            name,
            kind: BlockKind::Written,
            body,
            rescue,
            always,
            keywords,
            role: site.role.clone(),
            transaction,
        })
    }

    fn task(&mut self, node: &Node, entries: &[Entry], site: &Site) -> Vec<Item> {
        let level = if site.in_handlers { Level::Handler } else { Level::Task };
        let named = self.named(entries);
        let mut own = Keywords::default();
        let mut task = Task::implicit(&node.span, "", "", Val::Null, Keywords::default());
        task.name = None;
        task.implicit = false;
        task.path = site.path.clone();
        task.role = site.role.clone();
        let begun = self.diags.0.len();
        for (key, entry) in &named {
            if level.knows(key) || key.starts_with("with_") {
                self.task_keyword(&mut task, &mut own, key, entry);
            }
        }
        let called = self.called(node, entries, level, Some(&site.inherited));
        let Some(mut called) = called else { return Vec::new() };
        if matches!(own.ignore_errors, Some(Setting::Fixed(true))) {
            // Such a task may fail: it does so when it runs, and others are not kept from it.
            let templates = self.diags.0[begun..].iter_mut().filter(|d| d.code == "template-syntax");
            templates.for_each(|d| d.severity = Severity::Warning);
        }
        if called.local {
            own.delegate_to = Some(Text::new("localhost"));
        }
        match called.target.clone() {
            Target::Module(info) => {
                task.keywords = own.within(&site.inherited);
                let before = self.diags.0.len();
                self.check_free_form(&mut called);
                self.check_args(&called, &info, &task.keywords);
                if matches!(task.keywords.ignore_errors, Some(Setting::Fixed(true))) {
                    // Such a task may fail: it does so when it runs, and others are not kept from it.
                    self.diags.0[before..].iter_mut().for_each(|d| d.severity = Severity::Warning);
                }
                self.own_tasks(&mut task, &named, site);
                if site.in_transaction {
                    self.check_reversible(&task, &called, &info);
                }
                task.action = Action::Module(ModuleCall {
                    canonical: info.canonical,
                    written: called.written,
                    span: called.span,
                    args: Val::map(called.args),
                    args_template: called.template,
                    name: None,
                });
                vec![Item::Task(Arc::new(task))]
            }
            Target::Template(name) => {
                task.keywords = own.within(&site.inherited);
                self.own_tasks(&mut task, &named, site);
                if site.in_transaction {
                    let message = "inside a transaction the module of a task must be written out";
                    self.error("irreversible", message, &called.span);
                }
                task.action = Action::Module(ModuleCall {
                    canonical: String::new(),
                    written: called.written,
                    span: called.span,
                    args: Val::map(called.args),
                    args_template: called.template,
                    name: Some(name),
                });
                vec![Item::Task(Arc::new(task))]
            }
            Target::ImportTasks => self.import_tasks(task, own, called, site),
            Target::ImportRole => self.import_role(task, own, called, site),
            Target::IncludeTasks => self.include_tasks(task, own, called, &named, site),
            Target::IncludeRole => self.include_role(task, own, called, &named, site),
        }
    }

    fn task_keyword(&mut self, task: &mut Task, own: &mut Keywords, key: &str, entry: &Entry) {
        let value = &entry.value;
        match key {
            "name" => task.name = self.text(key, value),
            "register" => task.register = self.variable_name(key, value),
            "changed_when" => task.changed_when = self.conditions(key, value),
            "failed_when" => task.failed_when = self.conditions(key, value),
            "until" => task.until = self.conditions(key, value),
            "retries" => task.retries = self.integer(key, value),
            "delay" => task.delay = self.number(key, value),
            "async" => {
                task.async_ = self.integer(key, value);
                if !matches!(task.async_, None | Some(Setting::Fixed(0))) {
                    self.unsupported("async", &entry.key.span);
                }
            }
            "poll" => task.poll = self.integer(key, value),
            "loop" => self.loop_over(task, entry, None),
            "loop_control" => task.loop_control = self.loop_control(value),
            "one_way" => match value.as_str() {
                Some("ok") => task.one_way = OneWay::Accepted,
                Some(why) if why.contains(' ') => task.one_way = OneWay::Forward(why.trim().to_string()),
                _ => self.error(
                    "wrong-type",
                    "`one_way` is `ok` where nobody would want it back, or a sentence that says why only forward is left",
                    &value.span,
                ),
            },
            "listen" => task.listen = self.topics(value, task.role.as_deref()),
            "action" | "local_action" | "args" | "undo" => {}
            "probe" => task.probe = self.probe(value),
            "secrets" => task.secrets = self.texts(key, value),
            _ => match key.strip_prefix("with_") {
                Some(lookup) => self.loop_over(task, entry, Some(lookup)),
                None => drop(self.shared(own, key, entry)),
            },
        }
    }

    fn loop_over(&mut self, task: &mut Task, entry: &Entry, lookup: Option<&str>) {
        let value = &entry.value;
        if task.loop_.is_some() {
            self.error("two-loops", "a task has one loop", &entry.key.span);
            return;
        }
        if let Some(name) = lookup
            && !self.language().lookup(name)
        {
            let names = self.language().lookup_names();
            let message = format!("there is no lookup `{name}` for `with_{name}`");
            let known = names.iter().map(String::as_str);
            self.unknown("unknown-lookup", message, &entry.key.span, name, known);
            return;
        }
        let val = self.val(value);
        let is_template = matches!(&val, Val::Text(t) if t.is_template());
        let fits = match lookup {
            None => is_template || matches!(val, Val::List(_)),
            Some(_) => !matches!(val, Val::Null),
        };
        if !fits {
            let wanted = if lookup.is_none() { "a list, or a template that gives one" } else { "a value" };
            let message =
                format!("`{}` must be {wanted}, not {}", entry.key.as_str().unwrap_or(""), value.type_name());
            self.error("wrong-type", message, &value.span);
            return;
        }
        self.check_templates(&val);
        let source = match lookup {
            None => LoopSource::Items(val),
            Some(name) => LoopSource::Lookup { name: name.to_string(), terms: val },
        };
        task.loop_ = Some(Loop { span: value.span.clone(), source });
    }

    fn loop_control(&mut self, node: &Node) -> LoopControl {
        const KNOWN: [&str; 7] =
            ["loop_var", "index_var", "label", "pause", "extended", "extended_allitems", "break_when"];
        let mut control = LoopControl::default();
        let Some(entries) = node.as_map() else {
            if !node.is_null() {
                let message = format!("`loop_control` must be a mapping, not {}", node.type_name());
                self.error("wrong-type", message, &node.span);
            }
            return control;
        };
        for (key, entry) in self.named(entries) {
            let value = &entry.value;
            match key {
                "loop_var" => {
                    if let Some(text) = self.loop_variable(key, value) {
                        control.loop_var = text;
                    }
                }
                "index_var" => control.index_var = self.loop_variable(key, value),
                "label" => {
                    let val = self.val(value);
                    self.check_templates(&val);
                    control.label = Some(val);
                }
                "pause" => control.pause = self.number(key, value),
                "extended" => control.extended = self.boolean(key, value),
                "extended_allitems" => control.extended_allitems = self.boolean(key, value),
                "break_when" => control.break_when = self.conditions(key, value).unwrap_or_default(),
                _ => {
                    let message = format!("`{key}` is not a key of loop_control");
                    self.unknown("unknown-keyword", message, &entry.key.span, key, KNOWN);
                }
            }
        }
        control
    }

    fn loop_variable(&mut self, key: &str, node: &Node) -> Option<Text> {
        let text = self.text(key, node)?;
        if !text.is_template() && !is_variable(&text) {
            let message = format!("`{}` can't be the name of a variable", text.as_str());
            self.error("bad-variable-name", message, &node.span);
        }
        Some(text)
    }

    fn variable_name(&mut self, key: &str, node: &Node) -> Option<String> {
        let text = self.text(key, node)?;
        if is_variable(&text) {
            return Some(text.to_string());
        }
        let message = format!("`{}` can't be the name of a variable", text.as_str());
        let help = "a name begins with a letter or underscore and holds letters, digits and underscores";
        self.diags.push(Diagnostic::error("bad-variable-name", message, &node.span).help(help));
        None
    }

    fn probe(&mut self, value: &Node) -> Option<Probe> {
        match &value.kind {
            Kind::Bool(false) => Some(Probe::Never),
            Kind::Text { .. } => match self.val(value) {
                Val::Text(command) => Some(Probe::Command(command)),
                _ => None,
            },
            _ => {
                self.error(
                    "wrong-type",
                    "`probe` is a shell command that succeeds where the effect happened, or `false` where doing it \
                     again does no harm",
                    &value.span,
                );
                None
            }
        }
    }

    /// `undo`: tasks that run as this task runs, but when it is to be taken back.
    fn own_tasks(&mut self, task: &mut Task, named: &[(&str, &Entry)], site: &Site) {
        let inherited = Keywords { when: Vec::new(), notify: None, ..task.keywords.clone() };
        let inner = Site { inherited, in_handlers: false, in_transaction: false, ..site.clone() };
        if let Some((_, entry)) = named.iter().find(|(key, _)| *key == "undo") {
            task.undo = self.items(&entry.value, &Site { path: task.path.child("undo"), ..inner });
        }
    }

    fn check_reversible(&mut self, task: &Task, called: &Called, info: &ModuleInfo) {
        let is_answered_for = !task.undo.is_empty() || task.accepts_one_way();
        let why = self.language().irreversible(&info.canonical, &Val::map(called.args.clone()));
        if let (Some(why), false) = (why, is_answered_for) {
            let message = format!("`{}` can't be undone inside a transaction: {why}", called.written);
            self.diags.push(
                Diagnostic::error("irreversible", message, &called.span)
                    .help("give it `undo:` with tasks that take it back, or `one_way: ok`"),
            );
        }
    }

    /// Handlers of a play or role; imports and blocks give theirs.
    pub fn handlers(&mut self, node: &Node, site: &Site) -> Vec<Arc<Handler>> {
        let nodes = match &node.kind {
            Kind::Null => return Vec::new(),
            Kind::List(nodes) => nodes,
            _ => {
                let message = format!("a list of handlers is expected here, not {}", node.type_name());
                self.error("wrong-type", message, &first_line(&node.span));
                return Vec::new();
            }
        };
        let items = nodes.iter().enumerate().flat_map(|(n, node)| self.item(node, &site.child(n)));
        items
            .filter_map(|item| match item {
                Item::Task(task) => Some(Arc::new(Handler::of(Arc::unwrap_or_clone(task)))),
                Item::Block(_) => None,
            })
            .collect()
    }

    /// `listen`, also as a role's handlers can be called: `role : topic`.
    fn topics(&mut self, node: &Node, role: Option<&Role>) -> Vec<String> {
        let mut topics: Vec<String> = self.texts("listen", node).iter().map(|t| t.to_string()).collect();
        if let Some(role) = role {
            let own = topics.clone();
            for title in role.titles() {
                topics.extend(own.iter().map(|topic| format!("{title} : {topic}")));
            }
        }
        topics
    }
}
