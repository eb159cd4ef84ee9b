//! What `ansible-inventory` shows: `--list`, `--host`, `--graph`, `--yaml`.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use super::{Layer, Layers, Variables};
use crate::inventory::{Entity, Group, Host, HostName, Inventory, Limit, PatternError};
use crate::source::{Map, Val};

/// Reads an inventory for showing. Values are raw: templates are not rendered.
pub struct Dump<'a> {
    variables: &'a Arc<Variables>,
    inventory: Arc<Inventory>,
    shown: HashSet<HostName>,
    hosts: Vec<HostName>,
    /// `--export`: variables where they are defined instead of everything a host sees.
    export: bool,
}

/// What a host sees by being a host, not by being given variables.
const INTERNAL: [&str; 6] = [
    "ansible_facts",
    "group_names",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
];

impl<'a> Dump<'a> {
    /// # Errors
    /// A limit that cannot be applied.
    pub fn new(
        variables: &'a Arc<Variables>,
        limit: Option<&Limit>,
        export: bool,
    ) -> Result<Dump<'a>, PatternError> {
        let inventory = variables.inventory();
        let hosts = inventory.select(&["all".into()], limit)?.hosts;
        Ok(Dump { variables, inventory, shown: hosts.iter().cloned().collect(), hosts, export })
    }

    /// `--list`: what an inventory script would answer.
    pub fn list(&self) -> Val {
        let mut groups = Map::new();
        let mut seen: HashSet<&str> = HashSet::from(["all"]);
        let mut todo = vec!["all"];
        while let Some(group) = todo.pop().and_then(|name| self.inventory.group(name)) {
            let mut shown = Map::new();
            if &*group.name != "all" {
                let hosts: Vec<&str> = self.hosts_of(group).map(|h| &**h).collect();
                put(&mut shown, "hosts", hosts.is_empty(), || Val::from(hosts));
            }
            let children: Vec<&str> = group.children.iter().map(|c| &**c).collect();
            put(&mut shown, "children", children.is_empty(), || Val::from(children));
            self.put_group_vars(&mut shown, group);
            if !shown.is_empty() {
                groups.insert(Val::from(&*group.name), Val::map(shown));
            }
            todo.extend(group.children.iter().map(|c| &**c).filter(|c| seen.insert(c)));
        }
        let mut hostvars = Map::new();
        for host in self.hosts.iter().filter_map(|h| self.inventory.host(h)) {
            let vars = self.host_vars(host);
            put(&mut hostvars, &host.name, vars.is_empty(), || Val::map(vars));
        }
        groups.sort_by(|a, _, b, _| a.as_str().cmp(&b.as_str()));
        let meta = [("hostvars", Val::map(hostvars)), ("profile", Val::from("inventory_legacy"))];
        let meta = Val::map(meta.into_iter().map(|(k, v)| (Val::from(k), v)).collect());
        groups.shift_insert(0, Val::from("_meta"), meta);
        Val::map(groups)
    }

    /// `--list --yaml`: a YAML inventory.
    pub fn yaml(&self) -> Val {
        let mut seen = (HashSet::new(), HashSet::new());
        let all = self.inventory.group("all").map(|g| self.yaml_group(g, &mut seen)).unwrap_or_default();
        Val::map(if all.is_empty() { all } else { Map::from_iter([(Val::from("all"), Val::map(all))]) })
    }

    /// A group's hosts and children; variables of a host and the inside of a group only the first
    /// time.
    fn yaml_group(&self, group: &Group, seen: &mut (HashSet<HostName>, HashSet<String>)) -> Map {
        let mut children = Map::new();
        for child in group.children.iter().filter_map(|c| self.inventory.group(c)) {
            let key = Val::from(&*child.name);
            if seen.1.contains(&*child.name) {
                children.insert(key, Val::map(Map::new()));
                continue;
            }
            let inside = self.yaml_group(child, seen);
            if !inside.is_empty() {
                children.insert(key, Val::map(inside));
            }
            seen.1.insert(child.name.to_string());
        }
        let mut hosts = Map::new();
        if &*group.name != "all" {
            for host in self.hosts_of(group).filter_map(|h| self.inventory.host(h)) {
                let first = seen.0.insert(host.name.clone());
                let vars = if first { self.host_vars(host) } else { Map::new() };
                hosts.insert(Val::from(&*host.name), Val::map(vars));
            }
        }
        let mut shown = Map::new();
        put(&mut shown, "children", children.is_empty(), || Val::map(children));
        put(&mut shown, "hosts", hosts.is_empty(), || Val::map(hosts));
        self.put_group_vars(&mut shown, group);
        shown
    }

    /// `--host NAME`.
    ///
    /// # Errors
    /// A host that is not known.
    pub fn host(&self, name: &str) -> Result<Val, PatternError> {
        let host = self.inventory.host(name).ok_or_else(|| {
            PatternError(format!(
                "You must pass a single valid host to --host parameter, and there is no host '{name}'"
            ))
        })?;
        Ok(Val::map(self.host_vars(host)))
    }

    /// `--graph [GROUP]`, with `vars` as by `--vars`.
    ///
    /// # Errors
    /// A group that is not known.
    pub fn graph(&self, group: &str, vars: bool) -> Result<String, PatternError> {
        let group = self
            .inventory
            .group(group)
            .ok_or_else(|| PatternError("Pattern must be valid group name when using --graph".into()))?;
        let mut out = String::new();
        self.graph_group(group, 0, vars, &mut out);
        Ok(out)
    }

    fn graph_group(&self, group: &Group, depth: usize, vars: bool, out: &mut String) {
        graph_line(&format!("@{}:", group.name), depth, out);
        for child in group.children.iter().filter_map(|c| self.inventory.group(c)) {
            self.graph_group(child, depth + 1, vars, out);
        }
        if &*group.name != "all" {
            for host in group.hosts.iter().filter_map(|h| self.inventory.host(h)) {
                graph_line(&host.name, depth + 1, out);
                if vars {
                    graph_vars(&self.host_vars(host), depth + 2, out);
                }
            }
        }
        if vars {
            graph_vars(&self.group_vars(group), depth + 1, out);
        }
    }

    fn hosts_of<'g>(&'g self, group: &'g Group) -> impl Iterator<Item = &'g HostName> {
        group.hosts.iter().filter(|h| self.shown.contains(*h))
    }

    fn put_group_vars(&self, shown: &mut Map, group: &Group) {
        if self.export {
            let vars = self.group_vars(group);
            put(shown, "vars", vars.is_empty(), || Val::map(vars));
        }
    }

    fn group_vars(&self, group: &Group) -> Map {
        let mut vars = (*group.vars).clone();
        vars.extend(self.variables.folder_vars(&Entity::Group(group.name.clone())));
        if group.priority != 1 {
            vars.insert(Val::from("ansible_group_priority"), Val::from(group.priority));
        }
        visible(vars)
    }

    fn host_vars(&self, host: &Host) -> Map {
        if self.export {
            let mut vars = (*host.vars).clone();
            vars.extend(self.variables.folder_vars(&Entity::Host(host.name.clone())));
            return visible(vars);
        }
        let scope = self.variables.scope(&host.name, &Layers::new());
        visible(scope.flatten_where(|layer| !matches!(layer, Layer::Magic | Layer::CommandLine)))
    }
}

/// Sorted by name, without what is internal.
fn visible(mut vars: Map) -> Map {
    vars.retain(|name, _| name.as_str().is_none_or(|n| !INTERNAL.contains(&n)));
    vars.sort_by(|a, _, b, _| a.as_str().cmp(&b.as_str()));
    vars
}

fn put(map: &mut Map, name: &str, empty: bool, value: impl FnOnce() -> Val) {
    if !empty {
        map.insert(Val::from(name), value());
    }
}

fn graph_line(text: &str, depth: usize, out: &mut String) {
    if depth > 0 {
        out.push_str(&"  |".repeat(depth));
        out.push_str("--");
    }
    out.push_str(text);
    out.push('\n');
}

fn graph_vars(vars: &Map, depth: usize, out: &mut String) {
    for (name, value) in vars {
        let text = value.as_str().map_or_else(|| python(value), String::from);
        graph_line(&format!("{{{} = {text}}}", name.key_text()), depth, out);
    }
}

/// A value as Python's `repr` writes it.
fn python(value: &Val) -> String {
    let join = |items: Vec<String>| items.join(", ");
    match value {
        Val::Null | Val::Omit => "None".into(),
        Val::Bool(true) => "True".into(),
        Val::Bool(false) => "False".into(),
        Val::Int(i) => i.to_string(),
        Val::Float(f) => format!("{f:?}"),
        Val::Text(t) => {
            let quote = if t.contains('\'') && !t.contains('"') { '"' } else { '\'' };
            let mut out = String::from(quote);
            for c in t.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\t' => out.push_str("\\t"),
                    '\r' => out.push_str("\\r"),
                    c if c == quote => {
                        out.push('\\');
                        out.push(c);
                    }
                    c if c.is_control() => {
                        let _ = write!(out, "\\x{:02x}", c as u32);
                    }
                    c => out.push(c),
                }
            }
            out.push(quote);
            out
        }
        Val::List(items) => format!("[{}]", join(items.iter().map(python).collect())),
        Val::Map(map) => {
            let entry = |(k, v): (&Val, &Val)| format!("{}: {}", python(k), python(v));
            format!("{{{}}}", join(map.iter().map(entry).collect()))
        }
    }
}
