//! Single keywords: each value is checked for its type, templates where Ansible allows them.

use std::sync::Arc;

use crate::inventory::names::is_variable;
use crate::playbook::keywords::Level;
use crate::playbook::{Condition, Keywords, Setting};
use crate::source::args::parse_bool;
use crate::source::diagnostic::nearest;
use crate::source::{Diagnostic, Entry, Kind, Map, Node, Severity, Text, Val};

use super::Load;

/// What can't be run yet, with its reason: the one place to strike it from.
pub const UNSUPPORTED: [(&str, &str); 4] = [
    ("async", "tasks in the background are not supported yet; `timeout` bounds a task in the foreground"),
    ("debugger", "the task debugger is not supported"),
    ("strategy", "the debug strategy is not supported"),
    ("module_defaults group", "groups of modules are not supported in module_defaults; name each module"),
];

/// The modules of ansible-core, to tell one that is not supported from one that doesn't exist.
const ANSIBLE_MODULES: [&str; 66] = [
    "add_host",
    "apt",
    "apt_key",
    "apt_repository",
    "assemble",
    "assert",
    "async_status",
    "blockinfile",
    "command",
    "copy",
    "cron",
    "deb822_repository",
    "debconf",
    "debug",
    "dnf",
    "dnf5",
    "dpkg_selections",
    "expect",
    "fail",
    "fetch",
    "file",
    "find",
    "gather_facts",
    "get_url",
    "getent",
    "git",
    "group",
    "group_by",
    "hostname",
    "include_vars",
    "iptables",
    "known_hosts",
    "lineinfile",
    "meta",
    "mount_facts",
    "package",
    "package_facts",
    "pause",
    "ping",
    "pip",
    "raw",
    "reboot",
    "replace",
    "rpm_key",
    "script",
    "service",
    "service_facts",
    "set_fact",
    "set_stats",
    "setup",
    "shell",
    "slurp",
    "stat",
    "subversion",
    "systemd",
    "systemd_service",
    "sysvinit",
    "tempfile",
    "template",
    "unarchive",
    "uri",
    "user",
    "validate_argument_spec",
    "wait_for",
    "yum",
    "yum_repository",
];

/// A module of Ansible that isn't here.
pub fn is_unsupported(name: &str) -> bool {
    ANSIBLE_MODULES.contains(&name.rsplit('.').next().unwrap_or(name)) && is_builtin(name)
}

fn is_builtin(name: &str) -> bool {
    !name.contains('.') || name.starts_with("ansible.builtin.") || name.starts_with("ansible.legacy.")
}

impl Load<'_> {
    pub fn unsupported(&mut self, what: &str, at: &crate::source::Span) {
        let reason = UNSUPPORTED.iter().find(|(name, _)| *name == what).map_or(what, |(_, reason)| reason);
        self.error("unsupported", reason, at);
    }

    /// The keywords of a mapping; keys that are no text are errors.
    pub fn named<'n>(&mut self, entries: &'n [Entry]) -> Vec<(&'n str, &'n Entry)> {
        let mut named = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry.key.as_str() {
                Some(name) => named.push((name, entry)),
                None => {
                    let message = format!("a keyword must be text, not {}", entry.key.type_name());
                    self.error("unknown-keyword", message, &entry.key.span);
                }
            }
        }
        named
    }

    pub fn unknown_keyword(&mut self, level: Level, name: &str, entry: &Entry) {
        let message = format!("`{name}` is not a keyword of {}", level.name());
        self.unknown("unknown-keyword", message, &entry.key.span, name, level.keywords());
    }

    /// Reads a keyword that is inherited; `false` if it is none.
    pub fn shared(&mut self, into: &mut Keywords, name: &str, entry: &Entry) -> bool {
        let value = &entry.value;
        match name {
            "when" => into.when = self.conditions(name, value).unwrap_or_default(),
            "tags" => into.tags = self.tags(value),
            "vars" => into.vars = self.vars(value),
            "environment" => into.environment = self.environment(value),
            "module_defaults" => into.module_defaults = self.module_defaults(value),
            "notify" => into.notify = Some(self.texts(name, value)),
            "collections" => into.collections = Some(self.texts(name, value)),
            "connection" => into.connection = self.text(name, value),
            "port" => into.port = self.integer(name, value),
            "remote_user" | "user" => into.remote_user = self.text(name, value),
            "become" => into.become_ = self.boolean(name, value),
            "become_user" => into.become_user = self.text(name, value),
            "become_method" => into.become_method = self.text(name, value),
            "become_flags" => into.become_flags = self.text(name, value),
            "become_exe" => into.become_exe = self.text(name, value),
            "delegate_to" => into.delegate_to = self.text(name, value),
            "delegate_facts" => into.delegate_facts = self.boolean(name, value),
            "no_log" => into.no_log = self.boolean(name, value),
            "run_once" => into.run_once = self.boolean(name, value),
            "ignore_errors" => into.ignore_errors = self.boolean(name, value),
            "ignore_unreachable" => into.ignore_unreachable = self.boolean(name, value),
            "any_errors_fatal" => into.any_errors_fatal = self.boolean(name, value),
            "check_mode" => into.check_mode = self.boolean(name, value),
            "diff" => into.diff = self.boolean(name, value),
            "throttle" => into.throttle = self.integer(name, value),
            "timeout" => into.timeout = self.integer(name, value),
            "debugger" => into.debugger = self.debugger(value),
            "again" => match value.as_str() {
                Some("ok") => into.again = true,
                _ => self.error("wrong-type", "`again` can only be `ok`", &value.span),
            },
            _ => return false,
        }
        true
    }

    fn wrong_type(&mut self, name: &str, wanted: &str, got: &Node) {
        let shown = match &got.kind {
            Kind::Text { text, .. } | Kind::Unsafe(text) if !got.span.file.secret => format!(": `{text}`"),
            _ => String::new(),
        };
        let message = format!("`{name}` must be {wanted}, not {}{shown}", got.type_name());
        self.error("wrong-type", message, &got.span);
    }

    /// A scalar as text; nothing stays nothing.
    pub fn text(&mut self, name: &str, node: &Node) -> Option<Text> {
        match &node.kind {
            Kind::Null => None,
            Kind::List(_) | Kind::Map(_) => {
                self.wrong_type(name, "a string", node);
                None
            }
            _ => {
                let text = self.scalar_text(node);
                self.check_text(&text);
                Some(text)
            }
        }
    }

    /// Text as it is written; numbers and booleans as Python writes them.
    fn scalar_text(&mut self, node: &Node) -> Text {
        match self.val(node) {
            Val::Text(text) => text,
            other => crate::source::args::scalar_text(&other).unwrap_or_else(|| Text::new("")),
        }
    }

    pub fn boolean(&mut self, name: &str, node: &Node) -> Option<Setting<bool>> {
        self.setting(name, node, "a boolean", |val| match val {
            Val::Bool(b) => Some(*b),
            other => parse_bool(&crate::source::args::scalar_text(other)?),
        })
    }

    pub fn integer(&mut self, name: &str, node: &Node) -> Option<Setting<i64>> {
        self.setting(name, node, "an integer", |val| match val {
            Val::Int(i) => Some(*i),
            Val::Float(f) if f.fract() == 0.0 && f.abs() < 1e15 => Some(*f as i64),
            Val::Text(t) => t.trim().parse().ok(),
            _ => None,
        })
    }

    pub fn number(&mut self, name: &str, node: &Node) -> Option<Setting<f64>> {
        self.setting(name, node, "a number", |val| match val {
            Val::Int(i) => Some(*i as f64),
            Val::Float(f) => Some(*f),
            Val::Text(t) => t.trim().parse().ok(),
            _ => None,
        })
    }

    /// A number or a number with `%`.
    pub fn percent(&mut self, name: &str, node: &Node) -> Option<Setting<f64>> {
        self.setting(name, node, "a percentage", |val| match val {
            Val::Int(i) => Some(*i as f64),
            Val::Float(f) => Some(*f),
            Val::Text(t) => t.replace('%', "").trim().parse().ok(),
            _ => None,
        })
    }

    fn setting<T>(
        &mut self,
        name: &str,
        node: &Node,
        wanted: &str,
        parse: impl Fn(&Val) -> Option<T>,
    ) -> Option<Setting<T>> {
        if node.is_null() {
            return None;
        }
        let val = if matches!(node.kind, Kind::List(_) | Kind::Map(_)) { Val::Null } else { self.val(node) };
        if let Val::Text(text) = &val
            && text.is_template()
        {
            self.check_text(text);
            return Some(Setting::Template(text.clone()));
        }
        match parse(&val) {
            Some(value) => Some(Setting::Fixed(value)),
            None => {
                self.wrong_type(name, wanted, node);
                None
            }
        }
    }

    /// A list of texts; a lone one is a list of one.
    pub fn texts(&mut self, name: &str, node: &Node) -> Vec<Text> {
        let items = match &node.kind {
            Kind::Null => return Vec::new(),
            Kind::List(items) => &items[..],
            _ => std::slice::from_ref(node),
        };
        items.iter().filter_map(|item| self.text(name, item)).collect()
    }

    /// `a, b`, a list, or templates. A comma inside a template doesn't part.
    pub fn tags(&mut self, node: &Node) -> Vec<Text> {
        let mut tags = Vec::new();
        match &node.kind {
            Kind::Null => {}
            Kind::Text { .. } | Kind::Unsafe(_) => {
                let text = self.scalar_text(node);
                self.check_text(&text);
                if text.is_template() || !text.contains(',') {
                    tags.push(text);
                } else {
                    tags.extend(text.split(',').map(|t| Text::template(t.trim(), &node.span)));
                }
            }
            Kind::List(items) => {
                for item in items {
                    match &item.kind {
                        Kind::Text { .. } | Kind::Unsafe(_) | Kind::Int(_) => {
                            tags.extend(self.text("tags", item));
                        }
                        Kind::List(_) => tags.extend(self.tags(item)),
                        _ => self.wrong_type("tags", "a list of strings", item),
                    }
                }
            }
            Kind::Int(_) => tags.extend(self.text("tags", node)),
            _ => self.wrong_type("tags", "a string or a list", node),
        }
        tags
    }

    /// Conditions: bare expressions or booleans, one or a list. `None` if nothing is written.
    pub fn conditions(&mut self, name: &str, node: &Node) -> Option<Vec<Condition>> {
        let items = match &node.kind {
            Kind::Null => return None,
            Kind::List(items) => &items[..],
            _ => std::slice::from_ref(node),
        };
        let mut conditions = Vec::new();
        for item in items {
            match &item.kind {
                Kind::Null => {}
                Kind::Bool(b) => conditions.push(Val::Bool(*b)),
                Kind::Text { .. } => {
                    let text = self.scalar_text(item);
                    if let Some(problem) = self.language().check_expression(&text) {
                        self.diags.push(problem);
                    }
                    conditions.push(Val::Text(text));
                }
                _ => self.wrong_type(name, "an expression or a boolean", item),
            }
        }
        Some(conditions)
    }

    /// A mapping of variables. Templates in them are checked, but as they might never be used, a
    /// mistake there is a warning.
    pub fn vars(&mut self, node: &Node) -> Arc<Map> {
        let entries = match &node.kind {
            Kind::Null => return Arc::default(),
            Kind::Map(entries) => entries,
            _ => {
                let message = format!("variables must be a mapping, not {}", node.type_name());
                self.diags.push(
                    Diagnostic::error("wrong-type", message, &node.span).help("write `name: value` lines"),
                );
                return Arc::default();
            }
        };
        let mut vars = Map::with_capacity(entries.len());
        for entry in entries {
            let Some(name) = entry.key.as_str().filter(|name| is_variable(name)) else {
                let shown = entry.key.to_val_sealed().key_text();
                let message = format!("`{shown}` can't be the name of a variable");
                let help =
                    "a name begins with a letter or underscore and holds letters, digits and underscores";
                self.diags.push(Diagnostic::error("bad-variable-name", message, &entry.key.span).help(help));
                continue;
            };
            let value = self.val(&entry.value);
            let before = self.diags.0.len();
            self.check_templates(&value);
            for problem in &mut self.diags.0[before..] {
                problem.severity = Severity::Warning;
            }
            vars.insert(Val::from(name), value);
        }
        Arc::new(vars)
    }

    fn environment(&mut self, node: &Node) -> Vec<Val> {
        let items = match &node.kind {
            Kind::Null => return Vec::new(),
            Kind::List(items) => &items[..],
            _ => std::slice::from_ref(node),
        };
        let mut environment = Vec::new();
        for item in items {
            let val = self.val(item);
            let is_template = matches!(&val, Val::Text(t) if t.is_template());
            if is_template || matches!(val, Val::Map(_)) {
                self.check_templates(&val);
                environment.push(val);
            } else if !item.is_null() {
                self.wrong_type("environment", "a mapping", item);
            }
        }
        environment
    }

    /// Arguments by canonical module name.
    fn module_defaults(&mut self, node: &Node) -> Vec<Arc<Map>> {
        let items = match &node.kind {
            Kind::Null => return Vec::new(),
            Kind::List(items) => &items[..],
            _ => std::slice::from_ref(node),
        };
        let mut all = Vec::new();
        for item in items {
            let Some(entries) = item.as_map() else {
                self.wrong_type("module_defaults", "a mapping of module names", item);
                continue;
            };
            let mut defaults = Map::new();
            for (name, entry) in self.named(entries) {
                if name.starts_with("group/") {
                    self.unsupported("module_defaults group", &entry.key.span);
                    continue;
                }
                let Some(module) = self.language().module(name) else {
                    self.unknown_module(name, &entry.key.span);
                    continue;
                };
                let value = self.val(&entry.value);
                self.check_templates(&value);
                match &value {
                    Val::Map(_) => {}
                    Val::Text(t) if t.is_template() => {}
                    Val::Null => continue,
                    _ => {
                        self.wrong_type(name, "a mapping of arguments", &entry.value);
                        continue;
                    }
                }
                defaults.insert(Val::from(module.canonical), value);
            }
            all.push(Arc::new(defaults));
        }
        all
    }

    fn debugger(&mut self, node: &Node) -> Option<Text> {
        const WHEN: [&str; 5] = ["always", "never", "on_failed", "on_skipped", "on_unreachable"];
        let text = self.text("debugger", node)?;
        if !text.is_template() && !WHEN.contains(&text.as_str()) {
            let message = format!("`debugger` must be one of: {}", WHEN.join(", "));
            self.unknown("wrong-type", message, &node.span, &text, WHEN);
        } else if text.as_str() != "never" {
            self.unsupported("debugger", &node.span);
        }
        Some(text)
    }

    /// Reports a text that is no valid template.
    pub fn check_text(&mut self, text: &Text) {
        if text.is_template()
            && let Some(problem) = self.language().check_template(text)
        {
            self.diags.push(problem);
        }
    }

    /// [`Load::check_text`] for every text in a value.
    pub fn check_templates(&mut self, val: &Val) {
        match val {
            Val::Text(text) => self.check_text(text),
            Val::List(items) => items.iter().for_each(|v| self.check_templates(v)),
            Val::Map(map) => map.iter().for_each(|(k, v)| {
                self.check_templates(k);
                self.check_templates(v);
            }),
            _ => {}
        }
    }

    pub fn unknown_module(&mut self, name: &str, span: &crate::source::Span) {
        let names = self.language().module_names();
        let short = |n: &str| n.rsplit('.').next().unwrap_or(n).to_string();
        if is_unsupported(name) {
            self.error("unsupported", format!("the module `{name}` is not supported yet"), span);
            return;
        }
        let message = format!("there is no module `{name}`");
        let mut known: Vec<&str> = names.iter().map(String::as_str).collect();
        known.extend(super::include::INCLUDES);
        let diagnostic = Diagnostic::error("unknown-module", message, span);
        // A wrong namespace with a right name is nearer than any other word.
        let same = names.iter().find(|n| short(n) == short(name) && n.as_str() != name);
        let (namespace, own) = name.rsplit_once('.').unwrap_or(("", name));
        let near = same.cloned().or_else(|| {
            let whole = nearest(name, known.iter().copied()).map(String::from);
            whole.or_else(|| nearest(own, known).map(|near| format!("{namespace}.{near}")))
        });
        self.diags.push(match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }
}
