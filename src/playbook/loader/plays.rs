//! Playbooks and plays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::inventory::names::is_variable;
use crate::playbook::keywords::{Level, merged, union};
use crate::playbook::{Condition, Item, Keywords, Order, Play, Setting, StaticPath, Strategy, VarsPrompt};
use crate::source::{Diagnostic, Diagnostics, Entry, Kind, Map, Node, SourceFile, Text, Val, yaml};

use super::action::first_line;
use super::files::clean;
use super::{Load, Loader, Site};

/// What an `import_playbook` gives to the plays it brings.
#[derive(Clone, Default)]
struct Imported {
    when: Vec<Condition>,
    tags: Vec<Text>,
    vars: Arc<Map>,
}

/// The plays of a playbook and of all that it imports.
pub fn playbook(
    loader: &Loader,
    path: &Path,
    playbook_dir: &Path,
    diags: &mut Diagnostics,
) -> Option<Vec<Play>> {
    let dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut load = Load::new(loader, diags, &dir, playbook_dir, Arc::default());
    let node = load.document(path, None)?;
    load.open.push(path.canonicalize().unwrap_or_else(|_| path.to_path_buf()));
    load.plays(&node, &Imported::default())
}

/// The plays in the text of a playbook that isn't a file.
pub fn playbook_of(
    loader: &Loader,
    file: &Arc<SourceFile>,
    dir: &Path,
    diags: &mut Diagnostics,
) -> Option<Vec<Play>> {
    let mut load = Load::new(loader, diags, dir, dir, Arc::default());
    let node = yaml::load_one(file, load.diags)?;
    load.plays(&node, &Imported::default())
}

impl Load<'_> {
    fn plays(&mut self, node: &Node, imported: &Imported) -> Option<Vec<Play>> {
        let Some(entries) = node.as_list() else {
            let message = match &node.kind {
                Kind::Null => "the playbook is empty".to_string(),
                _ => format!("a playbook must be a list of plays, not {}", node.type_name()),
            };
            self.diags.push(
                Diagnostic::error("no-playbook", message, &first_line(&node.span))
                    .help("a play begins with `- hosts: …`"),
            );
            return None;
        };
        let mut plays = Vec::new();
        for entry in entries {
            let Some(keys) = entry.as_map() else {
                let message = format!("a play must be a mapping, not {}", entry.type_name());
                self.error("wrong-type", message, &first_line(&entry.span));
                continue;
            };
            let import = keys
                .iter()
                .find(|e| e.key.as_str().is_some_and(|k| k.rsplit('.').next() == Some("import_playbook")));
            match import {
                Some(import) => plays.extend(self.imported_plays(keys, import, imported)),
                None => plays.extend(self.play(entry, keys, imported)),
            }
        }
        Some(plays)
    }

    fn imported_plays(&mut self, entries: &[Entry], import: &Entry, outer: &Imported) -> Vec<Play> {
        let mut own = Keywords::default();
        for (key, entry) in self.named(entries) {
            let is_import = std::ptr::eq(entry, import);
            if !is_import
                && !(Level::ImportPlaybook.knows(key) && (key == "name" || self.shared(&mut own, key, entry)))
            {
                self.unknown_keyword(Level::ImportPlaybook, key, entry);
            }
        }
        let at = &import.value.span;
        let Some(file) = self.text("import_playbook", &import.value) else {
            self.error("missing-keyword", "import_playbook names no file", &import.key.span);
            return Vec::new();
        };
        let inner = Imported {
            when: outer.when.iter().cloned().chain(own.when).collect(),
            tags: union(&outer.tags, own.tags),
            vars: merged(&own.vars, &outer.vars),
        };
        let site = section_site(Keywords { vars: inner.vars.clone(), ..Keywords::default() }, "");
        let Some(name) = self.known_now(&file, &site, "the file of an import", at) else { return Vec::new() };
        let path = clean(&self.dir.join(&name));
        if !path.is_file() {
            let message = format!("there is no playbook `{name}`");
            self.diags.push(
                Diagnostic::error("missing-file", message, at).help(format!("looked for {}", path.display())),
            );
            return Vec::new();
        }
        let outer_dir =
            std::mem::replace(&mut self.dir, path.parent().map(PathBuf::from).unwrap_or_default());
        let plays = self.within_file(&path, at, |load| {
            let node = load.document(&path, Some(at))?;
            load.plays(&node, &inner)
        });
        self.dir = outer_dir;
        plays.flatten().unwrap_or_default()
    }

    fn play(&mut self, node: &Node, entries: &[Entry], imported: &Imported) -> Option<Play> {
        let mut own = Keywords::default();
        let mut play = Play {
            span: node.span.clone(),
            dir: self.dir.clone(),
            playbook_dir: self.playbook_dir.clone(),
            name: None,
            hosts: Vec::new(),
            keywords: Keywords::default(),
            vars: Arc::default(),
            vars_files: Vec::new(),
            vars_prompt: Vec::new(),
            gather_facts: None,
            gather_subset: None,
            gather_timeout: None,
            fact_path: None,
            force_handlers: None,
            max_fail_percentage: None,
            serial: Vec::new(),
            strategy: Strategy::default(),
            order: Order::default(),
            imported_when: imported.when.clone(),
            roles: Vec::new(),
            pre_tasks: Vec::new(),
            role_tasks: Vec::new(),
            tasks: Vec::new(),
            post_tasks: Vec::new(),
            handlers: Vec::new(),
        };
        let named = self.named(entries);
        for (key, entry) in &named {
            if !self.play_keyword(&mut play, &mut own, key, entry) {
                self.unknown_keyword(Level::Play, key, entry);
            }
        }
        if named.iter().all(|(key, _)| *key != "hosts") {
            let message = "this play has no `hosts`";
            self.error("missing-keyword", message, &first_line(&node.span));
        }
        play.vars = merged(&own.vars, &imported.vars);
        own.vars = Arc::default();
        own.tags = union(&own.tags, imported.tags.clone());
        self.play_vars = play.vars.clone();
        play.keywords = own;
        let section = |name: &str| named.iter().find(|(key, _)| *key == name).map(|(_, entry)| &entry.value);
        play.strategy = section("strategy").map(|node| self.strategy(node)).unwrap_or_default();
        play.order = section("order").map(|node| self.order(node)).unwrap_or_default();

        let inherited = Keywords { when: imported.when.clone(), ..play.keywords.clone() };
        let tasks = |load: &mut Self, name: &str| -> Vec<Item> {
            let site = section_site(inherited.clone(), name);
            section(name).map(|node| load.items(node, &site)).unwrap_or_default()
        };
        play.pre_tasks = tasks(self, "pre_tasks");
        let role_uses = section("roles").map(|node| self.role_uses(node)).unwrap_or_default();
        for (n, written) in role_uses.into_iter().enumerate() {
            let site = section_site(inherited.clone(), "roles").child(n);
            if let Some(loaded) = self.role(written, &site) {
                play.roles.push(loaded.role);
                play.role_tasks.extend(loaded.items);
                play.handlers.extend(loaded.handlers);
            }
        }
        play.tasks = tasks(self, "tasks");
        play.post_tasks = tasks(self, "post_tasks");
        let site = Site { in_handlers: true, ..section_site(inherited, "handlers") };
        play.handlers.extend(section("handlers").map(|node| self.handlers(node, &site)).unwrap_or_default());
        play.handlers.append(&mut self.imported_handlers);
        play.roles.append(&mut self.imported_roles);
        Some(play)
    }

    /// Reads a play's keyword, but for its tasks; `false` if it is none.
    fn play_keyword(&mut self, play: &mut Play, own: &mut Keywords, key: &str, entry: &Entry) -> bool {
        let value = &entry.value;
        match key {
            "name" => play.name = self.text(key, value),
            "hosts" => play.hosts = self.hosts(value, entry),
            "vars_files" => play.vars_files = self.vars_files(value),
            "vars_prompt" => play.vars_prompt = self.vars_prompt(value),
            "gather_facts" => play.gather_facts = self.boolean(key, value),
            "gather_subset" => play.gather_subset = (!value.is_null()).then(|| self.texts(key, value)),
            "gather_timeout" => play.gather_timeout = self.integer(key, value),
            "fact_path" => play.fact_path = self.text(key, value),
            "force_handlers" => play.force_handlers = self.boolean(key, value),
            "max_fail_percentage" => play.max_fail_percentage = self.percent(key, value),
            "serial" => play.serial = self.serial(value),
            // They may use the play's variables, which might be written below them.
            "strategy" | "order" => {}
            "roles" | "pre_tasks" | "tasks" | "post_tasks" | "handlers" => {}
            "user" if own.remote_user.is_some() => {
                self.error(
                    "wrong-type",
                    "`user` is the old name of `remote_user`: give one of them",
                    &entry.key.span,
                );
            }
            _ => return Level::Play.knows(key) && self.shared(own, key, entry),
        }
        true
    }

    fn hosts(&mut self, node: &Node, entry: &Entry) -> Vec<Text> {
        let hosts = self.texts("hosts", node);
        let is_empty = |text: &Text| text.trim().is_empty();
        if hosts.is_empty() || hosts.iter().any(is_empty) {
            let at = if node.is_null() { &entry.key.span } else { &node.span };
            self.error("missing-keyword", "`hosts` names no host", at);
        }
        hosts
    }

    fn vars_files(&mut self, node: &Node) -> Vec<Val> {
        let items = match &node.kind {
            Kind::Null => return Vec::new(),
            Kind::List(items) => &items[..],
            _ => std::slice::from_ref(node),
        };
        let mut files = Vec::new();
        for item in items {
            let val = self.val(item);
            let fits = match &val {
                Val::Text(_) => true,
                Val::List(names) => names.iter().all(|n| n.as_str().is_some()),
                _ => false,
            };
            if fits {
                self.check_templates(&val);
                files.push(val);
            } else {
                let message =
                    format!("a variables file must be a name or a list of names, not {}", item.type_name());
                self.error("wrong-type", message, &item.span);
            }
        }
        files
    }

    fn vars_prompt(&mut self, node: &Node) -> Vec<VarsPrompt> {
        let items = match &node.kind {
            Kind::Null => return Vec::new(),
            Kind::List(items) => &items[..],
            _ => std::slice::from_ref(node),
        };
        items.iter().filter_map(|item| self.prompt(item)).collect()
    }

    fn prompt(&mut self, node: &Node) -> Option<VarsPrompt> {
        const KNOWN: [&str; 9] =
            ["name", "prompt", "default", "private", "confirm", "encrypt", "salt_size", "salt", "unsafe"];
        let Some(entries) = node.as_map() else {
            let message = format!("a prompt must be a mapping, not {}", node.type_name());
            self.error("wrong-type", message, &first_line(&node.span));
            return None;
        };
        let mut prompt = VarsPrompt {
            span: node.span.clone(),
            name: String::new(),
            prompt: None,
            default: None,
            private: true,
            confirm: false,
            encrypt: None,
            salt: None,
            salt_size: None,
            is_unsafe: false,
        };
        for (key, entry) in self.named(entries) {
            let value = &entry.value;
            let flag = |load: &mut Self, otherwise| match load.boolean(key, value) {
                Some(Setting::Fixed(b)) => b,
                _ => otherwise,
            };
            match key {
                "name" => prompt.name = self.text(key, value).map(|t| t.to_string()).unwrap_or_default(),
                "prompt" => prompt.prompt = self.text(key, value),
                "default" => prompt.default = Some(self.val(value)),
                "private" => prompt.private = flag(self, true),
                "confirm" => prompt.confirm = flag(self, false),
                "unsafe" => prompt.is_unsafe = flag(self, false),
                "encrypt" => prompt.encrypt = self.text(key, value).map(|t| t.to_string()),
                "salt" => prompt.salt = self.text(key, value),
                "salt_size" => {
                    prompt.salt_size = self.integer(key, value).and_then(|s| s.fixed().copied());
                }
                _ => {
                    let message = format!("`{key}` is not a key of a prompt");
                    self.unknown("unknown-keyword", message, &entry.key.span, key, KNOWN);
                }
            }
        }
        if !is_variable(&prompt.name) {
            let message = "a prompt needs the `name` of a variable";
            self.error("bad-variable-name", message, &first_line(&node.span));
            return None;
        }
        Some(prompt)
    }

    fn serial(&mut self, node: &Node) -> Vec<Val> {
        let items = match &node.kind {
            Kind::Null => return Vec::new(),
            Kind::List(items) => &items[..],
            _ => std::slice::from_ref(node),
        };
        let mut serial = Vec::new();
        for item in items {
            let val = self.val(item);
            let fits = match &val {
                Val::Int(_) => true,
                Val::Text(t) if t.is_template() => true,
                Val::Text(t) => t.strip_suffix('%').unwrap_or(t).trim().parse::<f64>().is_ok(),
                _ => false,
            };
            if fits {
                self.check_templates(&val);
                serial.push(val);
            } else {
                let message = "`serial` must be numbers of hosts or percentages such as \"30%\"";
                self.error("wrong-type", message, &item.span);
            }
        }
        serial
    }

    fn strategy(&mut self, node: &Node) -> Strategy {
        const KNOWN: [&str; 4] = ["linear", "free", "host_pinned", "debug"];
        let Some(written) = self.play_word("strategy", node) else { return Strategy::default() };
        let name = written.rsplit('.').next().unwrap_or(&written);
        let strategy = match name {
            "linear" => Strategy::Linear,
            "free" => Strategy::Free,
            "host_pinned" => Strategy::HostPinned,
            "debug" => Strategy::Debug,
            _ => {
                let message = format!("there is no strategy `{written}`");
                self.unknown("wrong-type", message, &node.span, name, KNOWN);
                Strategy::Linear
            }
        };
        match strategy {
            Strategy::Linear => {}
            Strategy::Debug => self.unsupported("strategy", &node.span),
            // Waiting for each other is one of the orders that these allow.
            Strategy::Free | Strategy::HostPinned => self.diags.push(Diagnostic::warning(
                "strategy",
                format!("`{name}` runs as `linear`: hosts wait for each other after every task"),
                &node.span,
            )),
        }
        strategy
    }

    /// A word that must be known before the run.
    fn play_word(&mut self, key: &str, node: &Node) -> Option<String> {
        let text = self.text(key, node)?;
        self.known_now(&text, &section_site(Keywords::default(), ""), &format!("`{key}`"), &node.span)
    }

    fn order(&mut self, node: &Node) -> Order {
        const KNOWN: [&str; 5] = ["inventory", "reverse_inventory", "sorted", "reverse_sorted", "shuffle"];
        let Some(written) = self.play_word("order", node) else { return Order::default() };
        match written.as_str() {
            "inventory" | "default" => Order::Inventory,
            "reverse_inventory" => Order::ReverseInventory,
            "sorted" => Order::Sorted,
            "reverse_sorted" => Order::ReverseSorted,
            "shuffle" => Order::Shuffle,
            other => {
                let message = format!("`order` must be one of: {}", KNOWN.join(", "));
                self.unknown("wrong-type", message, &node.span, other, KNOWN);
                Order::Inventory
            }
        }
    }
}

/// Where a section of a play begins.
fn section_site(inherited: Keywords, name: &str) -> Site {
    Site { inherited, role: None, path: StaticPath::new(name), in_handlers: false, in_transaction: false }
}
