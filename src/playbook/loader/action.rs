//! A task's module and its arguments, in all the forms that Ansible takes.

use std::collections::HashMap;

use crate::playbook::keywords::Level;
use crate::playbook::splitter::{key_values, module_and_rest};
use crate::playbook::{FreeForm, Keywords, ModuleInfo};
use crate::source::diagnostic::nearest;
use crate::source::yaml::span_at;
use crate::source::{Diagnostic, Entry, Kind, Map, Node, Severity, Span, Text, Val};

use super::Load;
use super::fields::is_unsupported;

/// What a task calls.
pub struct Called {
    pub target: Target,
    pub written: String,
    pub span: Span,
    pub args: Map,
    /// Of each argument: its name and its value.
    pub places: HashMap<String, (Span, Span)>,
    /// A template that gives more arguments.
    pub template: Option<Text>,
    /// `local_action`: on the machine of the operator.
    pub local: bool,
    /// A mistake in its arguments was reported that would only bring others after it.
    pub is_broken: bool,
}

#[derive(Clone)]
pub enum Target {
    Module(ModuleInfo),
    /// `action: "{{ … }}"`: known only when the task runs.
    Template(Text),
    IncludeTasks,
    ImportTasks,
    IncludeRole,
    ImportRole,
}

impl Target {
    fn free_form(&self) -> FreeForm {
        match self {
            Target::Module(info) => info.free_form,
            _ => FreeForm::Words,
        }
    }
}

impl Load<'_> {
    /// Finds what a task calls among its keys; reports keys that are neither keyword nor module.
    pub fn called(
        &mut self,
        task: &Node,
        entries: &[Entry],
        level: Level,
        outer: Option<&Keywords>,
    ) -> Option<Called> {
        let collections = self.searched_collections(entries, outer);
        let is_conditional = entries.iter().any(|e| e.key.as_str() == Some("when"))
            || outer.is_some_and(|o| !o.when.is_empty());
        let mut found: Option<Called> = None;
        let mut is_broken = false;
        let mut unknown: Vec<(&str, &Entry)> = Vec::new();
        for entry in entries {
            let Some(name) = entry.key.as_str() else { continue };
            let called = match name {
                "action" => self.action_keyword(entry, &collections, false),
                "local_action" => self.action_keyword(entry, &collections, true),
                _ if level.knows(name) || name.starts_with("with_") => continue,
                _ => match self.target(name, &entry.key.span, &collections) {
                    Some(Ok(target)) => self.module_key(name, entry, target),
                    Some(Err(())) => None,
                    None if is_conditional && is_unsupported(name) => {
                        self.warn_unsupported(name, &entry.key.span);
                        self.module_key(name, entry, Target::Module(unsupported(name)))
                    }
                    None => {
                        unknown.push((name, entry));
                        continue;
                    }
                },
            };
            match (called, &found) {
                (None, _) => is_broken = true,
                (Some(called), None) => found = Some(called),
                (Some(called), Some(first)) => {
                    let message =
                        format!("a task calls one module, not both `{}` and `{name}`", first.written);
                    self.diags.push(
                        Diagnostic::error("two-modules", message, &called.span)
                            .help("make two tasks of it, or check the indentation of this line"),
                    );
                    is_broken = true;
                }
            }
        }
        self.report_unknown_keys(&unknown, found.is_some() || is_broken, level);
        if found.is_none() && !is_broken && unknown.is_empty() {
            self.error("no-module", "this task calls no module", &first_line(&task.span));
        }
        let mut called = found?;
        if let Some(entry) = entries.iter().find(|e| e.key.as_str() == Some("args")) {
            self.more_args(&mut called, entry);
        }
        Some(called)
    }

    /// A task for another kind of host (`dnf` when it is a Red Hat) must not stop the run here.
    fn warn_unsupported(&mut self, name: &str, at: &Span) {
        let message =
            format!("the module `{name}` is not supported yet: the task fails if its condition holds");
        self.diags.push(Diagnostic::warning("unsupported", message, at));
    }

    /// A key that nobody knows is a mistyped keyword if one is near or the module is known;
    /// otherwise a module.
    fn report_unknown_keys(&mut self, unknown: &[(&str, &Entry)], has_module: bool, level: Level) {
        for (name, entry) in unknown {
            let is_keyword_like = nearest(name, level.keywords()).is_some();
            let names = self.language().module_names();
            let is_module_like = nearest(name, names.iter().map(String::as_str)).is_some();
            if *name == "listen" && level == Level::Task {
                let message = "`listen` is a keyword of a handler, not of a task";
                self.error("unknown-keyword", message, &entry.key.span);
            } else if has_module || (is_keyword_like && !is_module_like) {
                self.unknown_keyword(level, name, entry);
            } else if unknown.len() == 1 || is_module_like {
                self.unknown_module(name, &entry.key.span);
            } else {
                let message = format!("`{name}` is neither a module nor a keyword of {}", level.name());
                self.error("unknown-module", message, &entry.key.span);
            }
        }
    }

    /// `collections` of the task, or inherited.
    fn searched_collections(&mut self, entries: &[Entry], outer: Option<&Keywords>) -> Vec<String> {
        let own = entries.iter().find(|e| e.key.as_str() == Some("collections")).map(|e| &e.value);
        match own.map(|node| &node.kind) {
            Some(Kind::List(items)) => items.iter().filter_map(|i| i.as_str().map(String::from)).collect(),
            Some(Kind::Text { text, .. }) => vec![text.clone()],
            _ => outer
                .and_then(|o| o.collections.as_ref())
                .map(|list| list.iter().map(|t| t.to_string()).collect())
                .unwrap_or_default(),
        }
    }

    /// What a name calls; `Some(Err)` if that is an error that was reported.
    fn target(&mut self, name: &str, at: &Span, collections: &[String]) -> Option<Result<Target, ()>> {
        let short =
            ["ansible.builtin.", "ansible.legacy."].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
        Some(Ok(match short {
            "include_tasks" => Target::IncludeTasks,
            "import_tasks" => Target::ImportTasks,
            "include_role" => Target::IncludeRole,
            "import_role" => Target::ImportRole,
            "import_playbook" => {
                self.error("misplaced-import", "import_playbook stands between plays, not in one", at);
                return Some(Err(()));
            }
            "include" => {
                self.diags.push(
                    Diagnostic::error("unknown-module", "`include` was removed from Ansible", at)
                        .help("use include_tasks (read during the run) or import_tasks (read before it)"),
                );
                return Some(Err(()));
            }
            _ => {
                let language = self.language();
                let info = language.module(name).or_else(|| {
                    collections.iter().find_map(|collection| language.module(&format!("{collection}.{name}")))
                });
                Target::Module(info?)
            }
        }))
    }

    /// `copy: {src: a}` or `copy: src=a`
    fn module_key(&mut self, name: &str, entry: &Entry, target: Target) -> Option<Called> {
        let mut called = Called {
            target,
            written: name.to_string(),
            span: entry.key.span.clone(),
            args: Map::new(),
            places: HashMap::new(),
            template: None,
            local: false,
            is_broken: false,
        };
        match &entry.value.kind {
            Kind::Null => {}
            Kind::Map(entries) => self.add_entries(&mut called, entries),
            Kind::Text { text, .. } | Kind::Unsafe(text) => {
                let text = text.clone();
                self.add_words(&mut called, &text, &entry.value)?;
            }
            Kind::Vault(_) => {
                let val = self.val(&entry.value);
                called.args.insert("_raw_params".into(), val);
            }
            _ => {
                let message = format!(
                    "the arguments of `{name}` must be a mapping or text, not {}",
                    entry.value.type_name()
                );
                self.error("bad-argument", message, &entry.value.span);
                return None;
            }
        }
        Some(called)
    }

    /// `action: copy src=a` or `action: {module: copy, src: a}`
    fn action_keyword(&mut self, entry: &Entry, collections: &[String], local: bool) -> Option<Called> {
        let value = &entry.value;
        let (line, at, rest) = match &value.kind {
            Kind::Text { text, .. } => (text.clone(), value, &[][..]),
            Kind::Map(entries) => match value.get("module").and_then(|m| m.as_str().map(|text| (text, m))) {
                Some((text, node)) => (text.to_string(), node, &entries[..]),
                None => {
                    self.error("no-module", "this action names no `module`", &value.span);
                    return None;
                }
            },
            _ => {
                let message = format!("an action must be text or a mapping, not {}", value.type_name());
                self.error("wrong-type", message, &value.span);
                return None;
            }
        };
        let (name, words) = match module_and_rest(&line) {
            Ok(parts) => parts,
            Err(why) => {
                self.error("bad-argument", why, &at.span);
                return None;
            }
        };
        let span = piece(&at.span, &name);
        let target = match self.target(&name, &span, collections) {
            _ if name.contains("{{") => {
                let template = Text::template(name.as_str(), &span);
                self.check_text(&template);
                Target::Template(template)
            }
            Some(target) => target.ok()?,
            None => {
                self.unknown_module(&name, &span);
                return None;
            }
        };
        let mut called = Called {
            target,
            written: name,
            span,
            args: Map::new(),
            places: HashMap::new(),
            template: None,
            local,
            is_broken: false,
        };
        let rest: Vec<Entry> = rest.iter().filter(|e| e.key.as_str() != Some("module")).cloned().collect();
        for entry in &rest {
            match (entry.key.as_str(), &entry.value.kind) {
                (Some("args"), Kind::Map(inner)) => self.add_entries(&mut called, inner),
                (Some("args"), Kind::Text { text, .. }) => self.add_words(&mut called, text, &entry.value)?,
                _ => self.add_entries(&mut called, std::slice::from_ref(entry)),
            }
        }
        self.add_words(&mut called, &words, at)?;
        Some(called)
    }

    fn add_entries(&mut self, called: &mut Called, entries: &[Entry]) {
        for entry in entries {
            let name = self.val(&entry.key);
            let value = self.val(&entry.value);
            self.check_templates(&name);
            self.check_templates(&value);
            let key = name.key_text();
            if key.starts_with("_ansible_") {
                let message = "arguments that begin with `_ansible_` are not for playbooks";
                self.error("bad-argument", message, &entry.key.span);
                continue;
            }
            called.places.insert(key, (entry.key.span.clone(), entry.value.span.clone()));
            called.args.insert(name, value);
        }
    }

    /// Arguments in one text; `None` if it can't be parted.
    fn add_words(&mut self, called: &mut Called, text: &str, node: &Node) -> Option<()> {
        let words = match key_values(text, called.target.free_form()) {
            Ok(words) => words,
            Err(why) => {
                self.error("bad-argument", why, &node.span);
                return None;
            }
        };
        let is_template = matches!(node.kind, Kind::Text { .. });
        let make = |part: &str| {
            let span = piece(&node.span, part);
            let text = if is_template { Text::template(part, &span) } else { Text::new(part) };
            Val::Text(if node.span.file.secret { text.into_secret() } else { text })
        };
        if let Some(raw) = &words.raw {
            let val = make(raw);
            self.check_templates(&val);
            called.places.insert("_raw_params".into(), (node.span.clone(), node.span.clone()));
            called.args.insert("_raw_params".into(), val);
        }
        for (name, value) in &words.pairs {
            let at = piece(&node.span, &format!("{name}="));
            let name_span = Span { end: at.end.saturating_sub(1).max(at.start), ..at };
            let val = make(value);
            self.check_templates(&val);
            called.places.insert(name.clone(), (name_span.clone(), name_span));
            let key = if name.contains("{{") { make(name) } else { Val::from(name.as_str()) };
            self.check_templates(&key);
            called.args.insert(key, val);
        }
        Some(())
    }

    /// The keyword `args`: what the module's own key says wins.
    fn more_args(&mut self, called: &mut Called, entry: &Entry) {
        match &entry.value.kind {
            Kind::Null => {}
            Kind::Map(entries) => {
                let own = std::mem::take(&mut called.args);
                let places = std::mem::take(&mut called.places);
                self.add_entries(called, entries);
                called.args.extend(own);
                called.places.extend(places);
            }
            _ => match self.val(&entry.value) {
                Val::Text(text) if is_whole_template(&text) => {
                    self.check_text(&text);
                    called.template = Some(text);
                }
                _ => {
                    let message = "`args` must be a mapping, or a template that gives one";
                    self.error("wrong-type", message, &entry.value.span);
                }
            },
        }
    }

    /// Text for a module that takes none: a template that gives its arguments, or an error.
    pub fn check_free_form(&mut self, called: &mut Called) {
        let Target::Module(ModuleInfo { free_form: FreeForm::No, .. }) = called.target else { return };
        let Some(raw) = called.args.get("_raw_params").cloned() else { return };
        match &raw {
            Val::Text(text) if is_whole_template(text) && called.template.is_none() => {
                called.template = Some(text.clone());
                called.args.shift_remove("_raw_params");
            }
            _ => {
                let at = called.places.get("_raw_params").map_or(&called.span, |(_, value)| value).clone();
                let message = format!("`{}` takes no free text", called.written);
                self.diags.push(
                    Diagnostic::error("bad-argument", message, &at)
                        .help("write its arguments as `name: value` lines below it, or as name=value"),
                );
                called.args.shift_remove("_raw_params");
                called.is_broken = true;
            }
        }
    }

    /// What to warn of in the conditions of `assert`; whether they are right shows when they run.
    fn check_that(&mut self, that: &Val) {
        let mut found = Vec::new();
        that.each_text(&mut |text| found.extend(self.language().check_expression(text)));
        found.retain(|problem| problem.severity == Severity::Warning);
        self.diags.0.extend(found);
    }

    /// Lets the module check what is literal in its arguments.
    pub fn check_args(&mut self, called: &Called, info: &ModuleInfo, keywords: &Keywords) {
        let mut args = Map::new();
        for defaults in &keywords.module_defaults {
            match defaults.get(info.canonical.as_str()) {
                Some(Val::Map(more)) => args.extend(more.iter().map(|(k, v)| (k.clone(), v.clone()))),
                Some(_) => return,
                None => {}
            }
        }
        if called.template.is_some() || called.is_broken {
            return;
        }
        args.extend(called.args.iter().map(|(k, v)| (k.clone(), v.clone())));
        if info.canonical == "ansible.builtin.assert"
            && let Some(that) = called.args.get("that")
        {
            self.check_that(that);
        }
        // A wrong value is replaced by one that fits anything, so that all mistakes are found.
        for _ in 0..=called.args.len() {
            let Err(problem) = self.language().check_args(&info.canonical, &Val::map(args.clone())) else {
                return;
            };
            let Some((arg, (name, value))) =
                problem.arg.as_deref().and_then(|arg| called.places.get(arg).map(|place| (arg, place)))
            else {
                self.error(
                    "bad-argument",
                    format!("`{}`: {}", called.written, problem.message),
                    &called.span,
                );
                return;
            };
            let is_unknown =
                problem.message.contains("unknown field") || problem.message.contains("has no argument");
            if is_unknown {
                args.shift_remove(arg);
            } else {
                args.insert(Val::from(arg), Val::Text(Text::template("{{ any }}", value)));
            }
            self.error("bad-argument", problem.message.clone(), if is_unknown { name } else { value });
        }
    }
}

/// A known module of Ansible that fails where it is reached.
fn unsupported(name: &str) -> ModuleInfo {
    let short = name.rsplit('.').next().unwrap_or(name);
    ModuleInfo { canonical: format!("ansible.builtin.{short}"), free_form: FreeForm::Command }
}

impl Called {
    /// The argument as text, without its being an argument any more.
    pub fn take(&mut self, name: &str) -> Option<Val> {
        self.args.shift_remove(name)
    }

    pub fn place(&self, name: &str) -> Span {
        self.places.get(name).map_or(&self.span, |(_, value)| value).clone()
    }
}

/// `{{ … }}` and nothing around it.
fn is_whole_template(text: &Text) -> bool {
    let trimmed = text.trim();
    text.is_template() && trimmed.starts_with("{{") && trimmed.ends_with("}}")
}

/// The place of a part of a scalar, where the part stands in the source as it is; else the whole.
fn piece(whole: &Span, part: &str) -> Span {
    let source = whole.file.text.get(whole.start..whole.end).unwrap_or("");
    match source.find(part) {
        Some(at) if !part.is_empty() && source.len() != part.len() => {
            span_at(&whole.file, whole.start + at, whole.start + at + part.len())
        }
        _ => whole.clone(),
    }
}

/// The beginning of a span: as far as its first line goes.
pub fn first_line(span: &Span) -> Span {
    let text = span.file.text.get(span.start..span.end).unwrap_or("");
    let width = text.lines().next().unwrap_or("").len();
    Span { end: span.start + width, ..span.clone() }
}

/// Whether keys make a mapping a block.
pub fn is_block(entries: &[Entry]) -> bool {
    entries.iter().any(|e| matches!(e.key.as_str(), Some("block" | "rescue" | "always")))
}
