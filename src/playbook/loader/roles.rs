//! Roles: found, with their variables, dependencies, tasks, handlers and argument specs.

use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::playbook::keywords::{Level, merged};
use crate::playbook::role::{Exports, Parent, PassedOn};
use crate::playbook::{Block, BlockKind, Handler, Item, Keywords, Role, RoleFiles, Task};
use crate::source::diagnostic::nearest;
use crate::source::{Diagnostic, Entry, Kind, Map, Node, Span, Text, Val};

use super::action::first_line;
use super::files::clean;
use super::{Load, Site};

/// One use of a role, as written.
pub struct Use {
    pub name: Text,
    pub span: Span,
    pub keywords: Keywords,
    pub vars: Arc<Map>,
    pub params: Arc<Map>,
    pub files: RoleFiles,
    pub public: bool,
    /// Overrides what the role says of itself.
    pub allow_duplicates: Option<bool>,
    pub validate: bool,
    /// `import_role` or `include_role`.
    pub from_include: bool,
}

impl Use {
    pub fn of(name: Text, span: &Span) -> Use {
        Use {
            name,
            span: span.clone(),
            keywords: Keywords::default(),
            vars: Arc::default(),
            params: Arc::default(),
            files: RoleFiles::default(),
            public: true,
            allow_duplicates: None,
            validate: true,
            from_include: false,
        }
    }
}

pub struct LoadedRole {
    pub role: Arc<Role>,
    /// Dependencies first, each a block.
    pub items: Vec<Item>,
    pub handlers: Vec<Arc<Handler>>,
    exports: Exports,
}

/// `meta/main.yml`.
#[derive(Default)]
struct Meta {
    allow_duplicates: bool,
    dependencies: Vec<Use>,
    collections: Option<Vec<Text>>,
    /// `argument_specs` of `meta/main.yml`, or of the file of that name.
    argument_specs: Option<Node>,
}

impl Load<'_> {
    /// A list of uses: of `roles:` or of `dependencies:`.
    pub fn role_uses(&mut self, node: &Node) -> Vec<Use> {
        match &node.kind {
            Kind::Null => Vec::new(),
            Kind::List(items) => items.iter().filter_map(|item| self.role_use(item)).collect(),
            _ => {
                let message = format!("a list of roles is expected here, not {}", node.type_name());
                self.error("wrong-type", message, &first_line(&node.span));
                Vec::new()
            }
        }
    }

    fn role_use(&mut self, node: &Node) -> Option<Use> {
        let entries = match &node.kind {
            Kind::Text { .. } | Kind::Int(_) => {
                return self.text("role", node).map(|name| Use::of(name, &node.span));
            }
            Kind::Map(entries) => entries,
            _ => {
                let message = format!("a role must be a name or a mapping, not {}", node.type_name());
                self.error("wrong-type", message, &first_line(&node.span));
                return None;
            }
        };
        let Some(name) = ["role", "name", "src"].iter().find_map(|key| node.get(key)) else {
            let message = "this role has no name: `role` is missing";
            self.error("missing-keyword", message, &first_line(&node.span));
            return None;
        };
        let mut written = Use::of(self.text("role", name)?, &name.span);
        let mut params = Map::new();
        for (key, entry) in self.named(entries) {
            match key {
                "role" | "name" | "src" | "version" | "scm" => {}
                "vars" => written.vars = self.vars(&entry.value),
                _ if Level::Role.knows(key) => drop(self.shared(&mut written.keywords, key, entry)),
                _ => {
                    self.warn_near_keyword(key, entry);
                    let value = self.val(&entry.value);
                    self.check_templates(&value);
                    params.insert(Val::from(key), value);
                }
            }
        }
        written.params = Arc::new(params);
        Some(written)
    }

    /// Any other key of a role is a parameter; one that looks like a keyword is pointed out.
    fn warn_near_keyword(&mut self, key: &str, entry: &Entry) {
        if key.len() > 3
            && let Some(near) = nearest(key, Level::Role.keywords())
        {
            let message = format!("`{key}` is not a keyword of a role: it becomes a parameter");
            let help = format!("did you mean `{near}`?");
            self.diags.push(Diagnostic::warning("near-keyword", message, &entry.key.span).help(help));
        }
    }

    /// Reads a role with its dependencies.
    pub fn role(&mut self, written: Use, site: &Site) -> Option<LoadedRole> {
        let name = self.known_now(&written.name, site, "the name of a role", &written.span)?;
        let (name, path) = self.find_role(&name, site.role.as_deref(), &written.span)?;
        // A role may import other tasks of itself.
        let shown = match &written.files.tasks {
            Some(from) => path.join("tasks").join(&**from),
            None => path.clone(),
        };
        self.within_file(&shown, &written.span.clone(), |load| load.role_at(name, path, written, site))
    }

    fn role_at(&mut self, name: String, path: PathBuf, written: Use, site: &Site) -> LoadedRole {
        let at = written.span.clone();
        let site = Site { path: site.path.child(&name), in_handlers: false, ..site.clone() };
        let from = |text: &Option<Text>| text.as_ref().map(|t| t.to_string());
        let own_defaults =
            Arc::new(self.role_vars(&path, "defaults", from(&written.files.defaults).as_deref(), &at));
        let folder_vars = Arc::new(self.role_vars(&path, "vars", from(&written.files.vars).as_deref(), &at));
        let meta = self.role_meta(&path, &at);

        let outer = site.role.clone();
        let outer = outer.as_deref();
        let above = outer.map(|r| r.passed_on.clone()).unwrap_or_default();
        let passed_on = PassedOn {
            defaults: merged(&above.defaults, &own_defaults),
            vars: merged(&merged(&above.vars, &written.vars), &folder_vars),
            params: merged(&above.params, &written.params),
        };
        let mut parents = outer.map(|r| r.parents.clone()).unwrap_or_default();
        parents.extend(outer.map(|r| Parent { name: r.name.clone(), path: r.path.clone() }));
        let identity = identity(&name, &path, &written);
        let mut role = Role {
            path,
            span: at,
            defaults: passed_on.defaults.clone(),
            vars: passed_on.vars.clone(),
            params: passed_on.params.clone(),
            exports: None,
            allow_duplicates: written.allow_duplicates.unwrap_or(meta.allow_duplicates),
            parents,
            dependencies: Vec::new(),
            identity,
            argument_specs: meta.argument_specs.as_ref().map(|node| self.val(node)).unwrap_or_default(),
            passed_on,
            name,
        };

        let mut keywords = written.keywords.clone().within(&site.inherited);
        keywords.collections = meta.collections.clone();
        let inner = Site { inherited: keywords, ..site };
        let (mut items, mut handlers) = (Vec::new(), Vec::new());
        let mut exports = Exports { defaults: Arc::default(), vars: Arc::default() };
        let parent = Arc::new(role.clone());
        for (n, dependency) in meta.dependencies.into_iter().enumerate() {
            let site = Site {
                role: Some(parent.clone()),
                path: inner.path.child("dependency").child(n),
                ..inner.clone()
            };
            let Some(loaded) = self.role(dependency, &site) else { continue };
            role.dependencies.extend(loaded.role.dependencies.iter().cloned());
            role.dependencies.push(loaded.role.name.clone());
            exports.defaults = merged(&exports.defaults, &loaded.exports.defaults);
            exports.vars = merged(&exports.vars, &loaded.exports.vars);
            items.extend(loaded.items);
            handlers.extend(loaded.handlers);
        }
        role.defaults = merged(&exports.defaults, &role.defaults);
        let own_vars = merged(&folder_vars, &written.vars);
        role.vars = merged(&merged(&parent_vars(outer), &exports.vars), &own_vars);
        exports.defaults = merged(&exports.defaults, &own_defaults);
        exports.vars = merged(&exports.vars, &folder_vars);
        role.exports = written.public.then(|| exports.clone());

        let role = Arc::new(role);
        let inner = Site { role: Some(role.clone()), ..inner };
        let block = self.role_block(&role, &written, meta.argument_specs.as_ref(), &inner);
        items.push(Item::Block(Arc::new(block)));
        handlers.extend(self.role_handlers(&role, &written, &inner));
        LoadedRole { role, items, handlers, exports }
    }

    fn role_block(&mut self, role: &Arc<Role>, written: &Use, specs: Option<&Node>, site: &Site) -> Block {
        let entry_point = written.files.tasks.as_ref().map(|t| t.to_string());
        let part = entry_point.clone().unwrap_or_else(|| "main".to_string());
        let tasks = site.child(&part);
        let mut body = Vec::new();
        if let Some(specs) = specs
            && written.validate
            && let Some(spec) = specs.get(part.trim_end_matches(".yml"))
        {
            body.extend(self.validation(role, &part, spec, written, site).map(|t| Item::Task(Arc::new(t))));
        }
        match Load::role_file(&role.path, "tasks", entry_point.as_deref()) {
            Ok(Some(file)) if file.is_file() => {
                if let Some(node) = self.document(&file, Some(&written.span)) {
                    body.extend(self.items(&node, &tasks));
                }
            }
            Ok(_) => {}
            Err(why) => self.error("missing-file", format!("role `{}`: {why}", role.name), &written.span),
        }
        Block {
            span: written.span.clone(),
            path: site.path.clone(),
            name: None,
            kind: BlockKind::Role,
            body,
            rescue: Vec::new(),
            always: Vec::new(),
            keywords: site.inherited.clone(),
            role: Some(role.clone()),
            transaction: false,
        }
    }

    fn role_handlers(&mut self, role: &Arc<Role>, written: &Use, site: &Site) -> Vec<Arc<Handler>> {
        let from = written.files.handlers.as_ref().map(|t| t.to_string());
        let site = Site { in_handlers: true, in_transaction: false, ..site.child("handlers") };
        match Load::role_file(&role.path, "handlers", from.as_deref()) {
            Ok(Some(file)) if file.is_file() => match self.document(&file, Some(&written.span)) {
                Some(node) => self.handlers(&node, &site),
                None => Vec::new(),
            },
            Ok(_) => Vec::new(),
            Err(why) => {
                self.error("missing-file", format!("role `{}`: {why}", role.name), &written.span);
                Vec::new()
            }
        }
    }

    /// Where a role lies: beside the playbook or its folder `playbooks`, on the roles path, beside
    /// the role that uses it.
    fn find_role(&mut self, name: &str, user: Option<&Role>, at: &Span) -> Option<(String, PathBuf)> {
        if let Some(path) = self.collection_role(name) {
            return Some((name.to_string(), path));
        }
        let mut places = vec![self.dir.join("roles"), self.playbook_dir.join("roles")];
        // A project keeps `roles/` beside `playbooks/`.
        if self.playbook_dir.file_name().is_some_and(|name| name == "playbooks") {
            places.extend(self.playbook_dir.parent().map(|project| project.join("roles")));
        }
        places.extend(self.loader.roles_path.iter().cloned());
        places.extend(user.and_then(|r| r.path.parent()).map(Path::to_path_buf));
        places.extend([self.dir.clone(), self.playbook_dir.clone()]);
        let mut looked: Vec<PathBuf> = Vec::new();
        for place in places {
            let candidate = clean(&place.join(name));
            if !name.is_empty() && candidate.is_dir() {
                let is_path = Path::new(name).is_absolute();
                let last = candidate.file_name().map(|n| n.to_string_lossy().into_owned());
                return Some((last.filter(|_| is_path).unwrap_or_else(|| name.to_string()), candidate));
            }
            if !looked.contains(&place) {
                looked.push(place);
            }
        }
        let known = looked.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten();
        let known: Vec<String> = known
            .filter(|e| {
                ["tasks", "meta", "defaults", "handlers"].iter().any(|part| e.path().join(part).is_dir())
            })
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        let shown: Vec<String> = looked.iter().map(|p| p.display().to_string()).collect();
        let diagnostic = Diagnostic::error("missing-role", format!("there is no role `{name}`"), at);
        self.diags.push(match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(format!("looked in {}", shown.join(", "))),
        });
        None
    }

    /// `acme.infra.web`: a role of a collection beside the playbook, or in
    /// `ANSIBLE_COLLECTIONS_PATH`.
    fn collection_role(&self, name: &str) -> Option<PathBuf> {
        let [namespace, collection, role] = name.split('.').collect::<Vec<_>>()[..] else { return None };
        let beside = [self.dir.join("collections"), self.playbook_dir.join("collections")];
        let mut places = beside.iter().chain(&self.loader.collections_path);
        places.find_map(|place| {
            let path = place.join("ansible_collections").join(namespace).join(collection);
            Some(path.join("roles").join(role)).filter(|role| role.is_dir())
        })
    }

    fn role_meta(&mut self, path: &Path, at: &Span) -> Meta {
        const KNOWN: [&str; 5] =
            ["allow_duplicates", "dependencies", "galaxy_info", "argument_specs", "collections"];
        let mut meta = Meta::default();
        if let Ok(Some(file)) = Load::role_file(path, "meta", None)
            && file.is_file()
            && let Some(node) = self.document(&file, Some(at))
        {
            match &node.kind {
                Kind::Null => {}
                Kind::Map(entries) => {
                    for (key, entry) in self.named(entries) {
                        match key {
                            "allow_duplicates" => {
                                let setting = self.boolean(key, &entry.value);
                                meta.allow_duplicates =
                                    setting.and_then(|s| s.fixed().copied()).unwrap_or(false);
                            }
                            "dependencies" => meta.dependencies = self.role_uses(&entry.value),
                            "collections" => meta.collections = Some(self.texts(key, &entry.value)),
                            "argument_specs" => meta.argument_specs = Some(entry.value.clone()),
                            "galaxy_info" => {}
                            _ if Level::Role.knows(key) => {}
                            _ => {
                                let message = format!("`{key}` is not a keyword of a role's meta/main");
                                self.unknown("unknown-keyword", message, &entry.key.span, key, KNOWN);
                            }
                        }
                    }
                }
                _ => {
                    let message = format!("a role's meta/main must be a mapping, not {}", node.type_name());
                    self.error("wrong-type", message, &first_line(&node.span));
                }
            }
        }
        for ending in ["yml", "yaml", "json"] {
            let file = path.join("meta").join(format!("argument_specs.{ending}"));
            if file.is_file() {
                meta.argument_specs =
                    self.document(&file, Some(at)).and_then(|node| node.get("argument_specs").cloned());
                break;
            }
        }
        if let Some(specs) = meta.argument_specs.clone() {
            self.check_specs(&specs);
        }
        meta
    }

    /// The task that checks a role's variables against its argument spec, before all its others.
    fn validation(
        &mut self,
        role: &Role,
        entry_point: &str,
        spec: &Node,
        written: &Use,
        site: &Site,
    ) -> Option<Task> {
        const MODULE: &str = "ansible.builtin.validate_argument_spec";
        let Some(module) = self.language().module(MODULE) else {
            self.error(
                "unsupported",
                format!("argument specs of roles need `{MODULE}`"),
                &first_line(&spec.span),
            );
            return None;
        };
        let mut name = format!("Validating arguments against arg spec '{entry_point}'");
        if let Some(short) = spec.get("short_description").and_then(Node::as_str) {
            name = format!("{name} - {short}");
        }
        let options = spec.get("options").map(|node| self.val(node));
        let context: [(&str, Val); 4] = [
            ("type", Val::from("role")),
            ("name", Val::from(role.name.as_str())),
            ("argument_spec_name", Val::from(entry_point)),
            ("path", Val::from(role.path.display().to_string())),
        ];
        let map = |entries: Vec<(&str, Val)>| {
            Val::map(entries.into_iter().map(|(k, v)| (Val::from(k), v)).collect())
        };
        let args = map(vec![
            ("argument_spec", options.unwrap_or_else(|| Val::map(Map::new()))),
            ("provided_arguments", Val::Map(written.params.clone())),
            ("validate_args_context", map(context.to_vec())),
        ]);
        let mut keywords = Keywords::default();
        keywords.tags.push(Text::new("always"));
        let mut task =
            Task::implicit(&spec.span, &name, &module.canonical, args, keywords.within(&site.inherited));
        task.path = site.path.child("validate");
        task.role = site.role.clone();
        Some(task)
    }

    /// Checks the shape of argument specs, so that a mistyped key doesn't switch a check off.
    fn check_specs(&mut self, specs: &Node) {
        let Some(entry_points) = specs.as_map() else {
            if !specs.is_null() {
                self.error(
                    "wrong-type",
                    "argument_specs must be a mapping of entry points",
                    &first_line(&specs.span),
                );
            }
            return;
        };
        for entry_point in entry_points {
            if let Some(options) = entry_point.value.get("options") {
                self.check_options(options);
            }
        }
    }

    fn check_options(&mut self, options: &Node) {
        const KNOWN: [&str; 18] = [
            "type",
            "required",
            "default",
            "choices",
            "elements",
            "options",
            "description",
            "version_added",
            "no_log",
            "aliases",
            "apply_defaults",
            "mutually_exclusive",
            "required_together",
            "required_one_of",
            "required_if",
            "required_by",
            "removed_in_version",
            "fallback",
        ];
        const TYPES: [&str; 13] = [
            "str", "bool", "int", "float", "path", "raw", "jsonarg", "json", "bytes", "bits", "list", "dict",
            "any",
        ];
        for (name, option) in options.as_map().map(|entries| self.named(entries)).unwrap_or_default() {
            let Some(entries) = option.value.as_map() else {
                let message =
                    format!("the option `{name}` must be a mapping, not {}", option.value.type_name());
                self.error("wrong-type", message, &option.key.span);
                continue;
            };
            for (key, entry) in self.named(entries) {
                if !KNOWN.contains(&key) && !key.starts_with("removed") && !key.starts_with("deprecated") {
                    let message = format!("`{key}` is not a key of an option in an argument spec");
                    self.unknown("unknown-keyword", message, &entry.key.span, key, KNOWN);
                }
                if let ("type" | "elements", Some(value)) = (key, entry.value.as_str())
                    && !TYPES.contains(&value)
                {
                    let message = format!("`{value}` is not a type of an option");
                    self.unknown("wrong-type", message, &entry.value.span, value, TYPES);
                }
                if key == "options" {
                    self.check_options(&entry.value);
                }
            }
        }
    }
}

fn parent_vars(outer: Option<&Role>) -> Arc<Map> {
    outer.map(|r| r.passed_on.vars.clone()).unwrap_or_default()
}

/// Keyed by this process, so that it tells nothing about secret parameters.
fn identity(name: &str, path: &Path, written: &Use) -> String {
    static KEY: OnceLock<std::hash::RandomState> = OnceLock::new();
    let key = KEY.get_or_init(std::hash::RandomState::new);
    let json = |map: &Arc<Map>| Val::Map(map.clone()).to_json().to_string();
    let texts = |texts: &[Text]| texts.iter().map(|t| t.to_string()).collect::<Vec<_>>();
    let file = |text: &Option<Text>| text.as_ref().map(|t| t.to_string());
    let hash = key.hash_one((
        path,
        json(&written.params),
        json(&written.vars),
        Val::list(written.keywords.when.clone()).to_json().to_string(),
        texts(&written.keywords.tags),
        [
            file(&written.files.tasks),
            file(&written.files.vars),
            file(&written.files.defaults),
            file(&written.files.handlers),
        ],
        written.from_include,
    ));
    format!("{name}#{hash:016x}")
}
