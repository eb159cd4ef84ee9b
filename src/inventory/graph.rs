//! How hosts and groups hang together, and changing it: while loading, and by `add_host` and
//! `group_by` during a run.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use indexmap::{IndexMap, IndexSet};

use super::{Entity, Group, GroupName, Host, HostName, Inventory, LOCALHOST, Sealed};
use crate::source::{Map, Val};

/// Whether `add_host` or `group_by` changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    pub changed: bool,
}

impl Default for Inventory {
    fn default() -> Inventory {
        let mut new = Inventory {
            groups: IndexMap::new(),
            hosts: IndexMap::new(),
            implicit: OnceLock::new(),
            sources: vec![],
            sealed: vec![],
        };
        let all = new.add_group("all");
        let ungrouped = new.add_group("ungrouped");
        new.link(&all, &ungrouped);
        new.settle();
        new
    }
}

impl Inventory {
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Hosts that sources or `add_host` named, in the order met; never the implicit localhost.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The host of that name. A name for this machine answers with the localhost that a source
    /// names under any of its names, else with an implicit one whose connection is `local`.
    pub fn host(&self, name: &str) -> Option<&Host> {
        if let Some(host) = self.hosts.get(name) {
            return Some(host);
        }
        let name = *LOCALHOST.iter().find(|l| **l == name)?;
        let named = self.hosts.values().find(|h| LOCALHOST.contains(&&*h.name));
        Some(named.unwrap_or_else(|| self.implicit.get_or_init(|| Host::implicit(name))))
    }

    /// The host of that name, or the one whose `ansible_host` it is: what `delegate_to` means.
    pub fn host_by_address(&self, address: &str) -> Option<&Host> {
        self.host(address).or_else(|| {
            self.hosts.values().find(|h| h.vars.get("ansible_host").and_then(Val::as_str) == Some(address))
        })
    }

    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Values of the sources that could not be decrypted.
    pub fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    /// The groups of a host, parents included, `all` left out; weak first: by depth, priority and
    /// name, as their variables are merged.
    pub fn groups_of(&self, host: &Host) -> Vec<&Group> {
        let mut found: IndexSet<&str> = IndexSet::new();
        let mut todo: Vec<&str> = host.groups.iter().map(|g| &**g).collect();
        while let Some(name) = todo.pop() {
            if let Some(group) = self.groups.get(name)
                && found.insert(name)
            {
                todo.extend(group.parents.iter().map(|p| &**p));
            }
        }
        let mut groups: Vec<&Group> =
            found.iter().filter(|n| **n != "all").filter_map(|n| self.groups.get(*n)).collect();
        groups.sort_by(|a, b| (a.depth, a.priority, &a.name).cmp(&(b.depth, b.priority, &b.name)));
        groups
    }

    /// All hosts of a group and of the groups below it, level by level.
    pub fn hosts_of(&self, group: &str) -> Vec<HostName> {
        let mut hosts: IndexSet<HostName> = IndexSet::new();
        let mut seen: IndexSet<&str> = IndexSet::from([group]);
        let mut at = 0;
        while let Some(name) = seen.get_index(at).copied() {
            at += 1;
            if let Some(group) = self.groups.get(name) {
                hosts.extend(group.hosts.iter().cloned());
                seen.extend(group.children.iter().map(|c| &**c));
            }
        }
        hosts.into_iter().collect()
    }

    /// The magic variable `groups`: every group with all its hosts.
    pub fn groups_val(&self) -> Val {
        let names = |g: &Group| Val::from(self.hosts_of(&g.name).iter().map(|h| &**h).collect::<Vec<_>>());
        Val::map(self.groups.values().map(|g| (Val::from(&*g.name), names(g))).collect())
    }

    /// `add_host`: adds a host or updates its variables and groups. `groups` that don't exist are
    /// made. A `name` is taken as it is; `host:port` is split by the caller.
    pub fn add_host_at_run(&mut self, name: &str, vars: &Map, groups: &[String]) -> Added {
        let mut changed = !self.hosts.contains_key(name);
        let host = self.add_host(name, None);
        let known = &mut self.hosts[&host];
        if vars.iter().any(|(k, v)| known.vars.get(k) != Some(v)) {
            Arc::make_mut(&mut known.vars).extend(vars.iter().map(|(k, v)| (k.clone(), v.clone())));
            changed = true;
        }
        for group in groups {
            let known = self.groups.len();
            let group = self.add_group(group);
            changed |= self.groups.len() > known;
            changed |= self.join(&group, &host);
        }
        if changed {
            self.settle();
        }
        Added { changed }
    }

    /// `group_by`: puts a host into a group, under parents, making what doesn't exist.
    ///
    /// # Errors
    /// An unknown host, or parents that would make a cycle.
    pub fn group_host_at_run(
        &mut self,
        host: &str,
        group: &str,
        parents: &[String],
    ) -> Result<Added, String> {
        let host = match self.hosts.get(host) {
            Some(host) => host.name.clone(),
            None if LOCALHOST.contains(&host) => self.keep_implicit(host),
            None => return Err(format!("{host} cannot be matched in inventory")),
        };
        let mut changed = false;
        let group = self.add_group(group);
        for parent in parents {
            changed |= !self.groups.contains_key(&**parent);
            let parent = self.add_group(parent);
            changed |= self.add_child(&parent, &group)?;
        }
        changed |= self.join(&group, &host);
        if changed {
            self.settle();
        }
        Ok(Added { changed })
    }

    /// The implicit localhost becomes a known host when it joins a group.
    fn keep_implicit(&mut self, name: &str) -> HostName {
        let host = self.host(name).cloned().unwrap_or_else(|| Host::implicit(name));
        let name = host.name.clone();
        self.hosts.entry(name.clone()).or_insert(host);
        name
    }

    pub(super) fn add_group(&mut self, name: &str) -> GroupName {
        let name: GroupName = name.into();
        self.groups.entry(name.clone()).or_insert_with(|| Group::new(&name));
        name
    }

    pub(super) fn add_host(&mut self, name: &str, source: Option<&Path>) -> HostName {
        let name: HostName = name.into();
        self.hosts.entry(name.clone()).or_insert_with(|| Host {
            name: name.clone(),
            vars: Arc::default(),
            groups: IndexSet::new(),
            source: source.map(Path::to_path_buf),
            implicit: false,
        });
        name
    }

    /// A host that a source lists, `port` of its `host:port` kept as `ansible_port`.
    pub(super) fn add_listed_host(
        &mut self,
        name: &str,
        port: Option<u16>,
        source: Option<&Path>,
    ) -> HostName {
        let new = !self.hosts.contains_key(name);
        let host = self.add_host(name, source);
        if let (true, Some(port)) = (new, port) {
            let port = Val::from(i64::from(port));
            self.set_var(&Entity::Host(host.clone()), Val::from("ansible_port"), port);
        }
        host
    }

    /// Puts a host into a group; both exist.
    pub(super) fn join(&mut self, group: &str, host: &str) -> bool {
        let (Some(group), Some(host)) = (self.groups.get_mut(group), self.hosts.get_mut(host)) else {
            return false;
        };
        host.groups.insert(group.name.clone());
        group.hosts.insert(host.name.clone())
    }

    /// Puts a group under another; both exist.
    ///
    /// # Errors
    /// In Ansible's words, when that would make a cycle.
    pub(super) fn add_child(&mut self, parent: &str, child: &str) -> Result<bool, String> {
        if parent == child {
            return Err(format!("can't add group {parent} to itself"));
        }
        let mut above = vec![parent];
        let mut seen = IndexSet::new();
        while let Some(name) = above.pop() {
            if name == child {
                return Err(format!(
                    "Adding group '{child}' as child to '{parent}' creates a recursive dependency loop."
                ));
            }
            if seen.insert(name)
                && let Some(group) = self.groups.get(name)
            {
                above.extend(group.parents.iter().map(|p| &**p));
            }
        }
        let (parent, child) = (GroupName::from(parent), GroupName::from(child));
        Ok(self.link(&parent, &child))
    }

    fn link(&mut self, parent: &GroupName, child: &GroupName) -> bool {
        if let Some(group) = self.groups.get_mut(child) {
            group.parents.insert(parent.clone());
        }
        self.groups.get_mut(parent).is_some_and(|g| g.children.insert(child.clone()))
    }

    /// Sets a variable of a host or group that exists; `ansible_group_priority` of a group is its
    /// priority instead.
    pub(super) fn set_var(&mut self, owner: &Entity, name: Val, value: Val) {
        match owner {
            Entity::Host(host) => {
                if let Some(host) = self.hosts.get_mut(host) {
                    Arc::make_mut(&mut host.vars).insert(name, value);
                }
            }
            Entity::Group(group) => {
                if let Some(group) = self.groups.get_mut(group) {
                    if name.as_str() == Some("ansible_group_priority")
                        && let Some(priority) = as_priority(&value)
                    {
                        group.priority = priority;
                    } else {
                        Arc::make_mut(&mut group.vars).insert(name, value);
                    }
                }
            }
        }
    }

    pub(super) fn seal(&mut self, sealed: Sealed) {
        self.sealed.push(sealed);
    }

    pub(super) fn name_source(&mut self, source: String) {
        self.sources.push(source);
    }

    /// What holds after every change: a group without another parent is under `all`, a host
    /// without a group is in `ungrouped` and one with a group is not, depths are right.
    pub(super) fn settle(&mut self) {
        let all: GroupName = "all".into();
        let orphans: Vec<GroupName> = self
            .groups
            .values()
            .filter(|g| g.parents.is_empty() && g.name != all)
            .map(|g| g.name.clone())
            .collect();
        for group in orphans {
            self.link(&all, &group);
        }
        let ungrouped: GroupName = "ungrouped".into();
        let Inventory { groups, hosts, .. } = self;
        for host in hosts.values_mut() {
            let grouped = host.groups.iter().any(|g| **g != *all && **g != *ungrouped);
            if grouped && host.groups.shift_remove(&ungrouped) {
                groups[&ungrouped].hosts.shift_remove(&host.name);
            } else if !grouped && !host.implicit {
                host.groups.insert(ungrouped.clone());
                groups[&ungrouped].hosts.insert(host.name.clone());
            }
        }
        self.measure_depths();
    }

    /// The longest way from a group without parents, from the top down.
    fn measure_depths(&mut self) {
        let mut waiting: HashMap<GroupName, usize> =
            self.groups.values().map(|g| (g.name.clone(), g.parents.len())).collect();
        let mut ready: Vec<GroupName> =
            self.groups.values().filter(|g| g.parents.is_empty()).map(|g| g.name.clone()).collect();
        self.groups.values_mut().for_each(|g| g.depth = 0);
        while let Some(name) = ready.pop() {
            let (below, children) = (self.groups[&name].depth + 1, self.groups[&name].children.clone());
            for child in children {
                let group = &mut self.groups[&child];
                group.depth = group.depth.max(below);
                if let Some(parents) = waiting.get_mut(&child) {
                    *parents -= 1;
                    if *parents == 0 {
                        ready.push(child);
                    }
                }
            }
        }
    }
}

fn as_priority(value: &Val) -> Option<i64> {
    value.as_int().or_else(|| value.as_str()?.trim().parse().ok())
}

impl Group {
    fn new(name: &GroupName) -> Group {
        Group {
            name: name.clone(),
            vars: Arc::default(),
            hosts: IndexSet::new(),
            children: IndexSet::new(),
            parents: IndexSet::new(),
            depth: 0,
            priority: 1,
        }
    }
}

impl Host {
    fn implicit(name: &str) -> Host {
        let vars = Map::from_iter([(Val::from("ansible_connection"), Val::from("local"))]);
        Host {
            name: name.into(),
            vars: Arc::new(vars),
            groups: IndexSet::new(),
            source: None,
            implicit: true,
        }
    }

    /// `inventory_hostname_short`: the name up to its first dot; an address as it is.
    pub fn short_name(&self) -> &str {
        if self.name.parse::<std::net::IpAddr>().is_ok() {
            return &self.name;
        }
        self.name.split('.').next().unwrap_or(&self.name)
    }
}
