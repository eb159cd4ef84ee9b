//! What a run learns about its hosts: facts, `set_fact`, registered results, `include_vars`.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::{Layer, Layers};
use crate::inventory::HostName;
use crate::source::{Map, Val};

/// What a run learned, by host. Readers keep what they have seen: a change makes a new map.
#[derive(Debug, Default)]
pub struct HostVars(RwLock<HashMap<HostName, Learned>>);

#[derive(Debug, Clone, Default)]
struct Learned {
    /// As modules return them: `ansible_distribution`, `services`.
    facts: Arc<Map>,
    /// The layer made of them: `ansible_facts`, and each fact as a variable.
    facts_layer: Arc<Map>,
    include_vars: Arc<Map>,
    set_facts: Arc<Map>,
}

impl HostVars {
    /// `ansible_facts` of a module's result: kept as `ansible_facts.x` and injected as variables.
    pub fn set_facts(&self, host: &str, facts: &Map) {
        self.change(host, |learned| {
            extend(&mut learned.facts, facts);
            learned.facts_layer = Arc::new(facts_layer(&learned.facts));
        });
    }

    /// `set_fact`, and `register` below: stronger than play, block and task variables.
    pub fn set_fact(&self, host: &str, name: &str, value: Val) {
        self.change(host, |learned| {
            Arc::make_mut(&mut learned.set_facts).insert(Val::from(name), value);
        });
    }

    /// `set_fact` with `cacheable`: a variable as [`HostVars::set_fact`], and a fact too.
    pub fn set_cacheable_fact(&self, host: &str, name: &str, value: Val) {
        self.set_fact(host, name, value.clone());
        self.set_facts(host, &Map::from_iter([(Val::from(name), value)]));
    }

    /// The result of a task under the name of its `register`.
    pub fn register(&self, host: &str, name: &str, result: Val) {
        self.set_fact(host, name, result);
    }

    /// The variables of `include_vars`: stronger than task variables, weaker than `set_fact`.
    pub fn include_vars(&self, host: &str, vars: &Map) {
        self.change(host, |learned| extend(&mut learned.include_vars, vars));
    }

    /// `meta: clear_facts`: gathered and cacheable facts go; `set_fact` and results stay.
    pub fn clear_facts(&self, host: &str) {
        self.change(host, |learned| {
            learned.facts = Arc::default();
            learned.facts_layer = Arc::default();
        });
    }

    /// The facts of a host as modules returned them; empty if none were.
    pub fn facts(&self, host: &str) -> Arc<Map> {
        self.read(host).facts
    }

    /// Whether `setup` ran for a host (`gathering = smart` asks this).
    pub fn has_gathered(&self, host: &str) -> bool {
        self.read(host).facts.contains_key("module_setup")
    }

    pub(super) fn layers(&self, host: &str, into: &mut Layers) {
        let learned = self.read(host);
        into.push(Layer::Facts, learned.facts_layer);
        into.push(Layer::IncludeVars, learned.include_vars);
        into.push(Layer::SetFacts, learned.set_facts);
    }

    fn read(&self, host: &str) -> Learned {
        let hosts = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        hosts.get(host).cloned().unwrap_or_default()
    }

    fn change(&self, host: &str, change: impl FnOnce(&mut Learned)) {
        let mut hosts = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        match hosts.get_mut(host) {
            Some(learned) => change(learned),
            None => change(hosts.entry(host.into()).or_default()),
        }
    }
}

fn extend(map: &mut Arc<Map>, more: &Map) {
    Arc::make_mut(map).extend(more.iter().map(|(k, v)| (k.clone(), v.clone())));
}

/// `ansible_facts` without the `ansible_` prefix (`ansible_local` keeps it), and every fact under
/// its own name unless it could change how the host is reached.
fn facts_layer(facts: &Map) -> Map {
    let mut layer = Map::new();
    let mut namespaced = Map::new();
    for (name, value) in facts {
        let Some(full) = name.as_str().filter(|n| !n.starts_with("_ansible_")) else { continue };
        let short = full.strip_prefix("ansible_").filter(|_| full != "ansible_local").unwrap_or(full);
        namespaced.insert(Val::from(short), value.clone());
        if !is_restricted(full) {
            layer.insert(name.clone(), value.clone());
        }
    }
    layer.insert(Val::from("ansible_facts"), Val::map(namespaced));
    layer
}

/// Facts that never become variables, as they would change the connection, the engine or which host
/// this is. Facts are stronger than the inventory, so a host could say it is another.
fn is_restricted(name: &str) -> bool {
    const NAMES: [&str; 28] = [
        "add_group",
        "add_host",
        "ansible_become",
        "ansible_connection",
        "ansible_connection_user",
        "ansible_docker_extra_args",
        "ansible_facts",
        "ansible_host",
        "ansible_module_compression",
        "ansible_network_os",
        "ansible_password",
        "ansible_pipelining",
        "ansible_playbook_python",
        "ansible_port",
        "ansible_private_key_file",
        "ansible_rsync_path",
        "ansible_scp_extra_args",
        "ansible_sftp_extra_args",
        "ansible_shell_executable",
        "ansible_shell_type",
        "ansible_timeout",
        "ansible_user",
        "group_names",
        "hostvars",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
    ];
    const CONNECTIONS: [&str; 6] = ["ssh", "paramiko_ssh", "local", "psrp", "winrm", "become"];
    if name.starts_with("ansible_ssh_host_key_") {
        return false;
    }
    let of_connection = |rest: &str| {
        CONNECTIONS.iter().any(|c| rest.strip_prefix(c).is_some_and(|r| r.starts_with('_')))
            && !rest.ends_with("_bridge")
            && !rest.ends_with("_gwbridge")
    };
    NAMES.contains(&name)
        || (name.starts_with("ansible_") && name.ends_with("_interpreter"))
        || name.strip_prefix("ansible_").is_some_and(of_connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(entries: [(&str, Val); N]) -> Map {
        entries.into_iter().map(|(k, v)| (Val::from(k), v)).collect()
    }

    fn get(store: &HostVars, name: &str) -> Option<(Layer, Val)> {
        let mut layers = Layers::new();
        store.layers("h", &mut layers);
        layers.find(name).map(|(l, v)| (l, v.clone()))
    }

    #[test]
    fn facts_are_namespaced_and_injected_and_cannot_redirect_the_connection() {
        let store = HostVars::default();
        store.set_facts(
            "h",
            &map([
                ("ansible_distribution", Val::from("Debian")),
                ("ansible_local", Val::map(Map::new())),
                ("services", Val::from(1)),
                ("ansible_host", Val::from("evil")),
                ("ansible_ssh_common_args", Val::from("-o ProxyCommand=evil")),
                ("ansible_become_exe", Val::from("evil")),
                ("ansible_perl_interpreter", Val::from("evil")),
                ("ansible_ssh_host_key_rsa_public", Val::from("AAAA")),
                ("ansible_local_bridge", Val::from("x")),
                ("_ansible_facts_gathered", Val::from(true)),
                ("inventory_hostname", Val::from("other")),
            ]),
        );
        let facts = get(&store, "ansible_facts").unwrap().1;
        assert_eq!(facts.get("distribution"), Some(&Val::from("Debian")));
        assert!(facts.get("ansible_local").is_some() && facts.get("local").is_none());
        assert!(facts.get("host").is_some() && facts.get("_ansible_facts_gathered").is_none());
        for (name, injected) in [
            ("ansible_distribution", true),
            ("services", true),
            ("ansible_local", true),
            ("ansible_host", false),
            ("ansible_ssh_common_args", false),
            ("ansible_become_exe", false),
            ("ansible_perl_interpreter", false),
            ("ansible_ssh_host_key_rsa_public", true),
            ("ansible_local_bridge", true),
            ("_ansible_facts_gathered", false),
            ("inventory_hostname", false),
        ] {
            assert_eq!(get(&store, name).is_some(), injected, "{name}");
        }
    }

    #[test]
    fn each_kind_goes_to_its_layer_and_clear_facts_takes_only_facts() {
        let store = HostVars::default();
        store.include_vars("h", &map([("i", Val::from(1))]));
        store.set_cacheable_fact("h", "c", Val::from(2));
        store.register("h", "r", Val::from(3));
        assert_eq!(get(&store, "i"), Some((Layer::IncludeVars, Val::from(1))));
        assert_eq!(get(&store, "r"), Some((Layer::SetFacts, Val::from(3))));
        assert_eq!(get(&store, "ansible_facts").unwrap().1.get("c"), Some(&Val::from(2)));
        store.clear_facts("h");
        assert_eq!(get(&store, "c"), Some((Layer::SetFacts, Val::from(2))));
        assert_eq!(get(&store, "ansible_facts"), None);
    }
}
