//! The variables that one task on one host sees.

use std::sync::Arc;

use super::{Layer, Layers, Variables};
use crate::inventory::HostName;
use crate::source::{Map, Val};
use crate::template::{LazyMap, Names};

/// The variables that one task on one host sees, by Ansible's precedence. Made by
/// [`Variables::scope`]; keeps seeing the values of that moment.
#[derive(Clone)]
pub struct Scope {
    host: HostName,
    layers: Layers,
    /// `None` inside `hostvars`, whose scopes have no `hostvars` of their own.
    variables: Option<Arc<Variables>>,
}

impl Scope {
    pub(super) fn new(host: HostName, layers: Layers, variables: Option<Arc<Variables>>) -> Scope {
        Scope { host, layers, variables }
    }

    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Sets `item`, `ansible_loop`, a `loop_var` or an `index_var`: nothing is stronger.
    pub fn set_loop(&mut self, name: &str, value: Val) {
        self.layers.push(Layer::Loop, Map::from_iter([(Val::from(name), value)]));
    }

    /// Adds a layer, for what is known only after the scope was made (`ansible_delegated_vars`).
    pub fn push(&mut self, layer: Layer, vars: impl Into<Arc<Map>>) {
        self.layers.push(layer, vars);
    }

    /// The strongest raw value of a name, and where it comes from.
    pub fn find(&self, name: &str) -> Option<(Layer, &Val)> {
        self.layers.find(name).filter(|(layer, _)| *layer != Layer::CommandLine)
    }

    /// A connection setting such as `ansible_user`: as [`Scope::find`], with the command line's
    /// value where no variable is set.
    pub fn setting(&self, name: &str) -> Option<&Val> {
        self.layers.find(name).map(|(_, value)| value)
    }

    /// Every name with its strongest raw value.
    pub fn flatten(&self) -> Map {
        self.flatten_where(|layer| layer != Layer::CommandLine)
    }

    pub(super) fn flatten_where(&self, keep: impl Fn(Layer) -> bool) -> Map {
        let mut all = Map::new();
        for (_, vars) in self.layers.iter().filter(|(layer, _)| keep(*layer)) {
            // `omit` is a name that can be used, not a variable that can be shown.
            let shown = vars.iter().filter(|(_, v)| !matches!(v, Val::Omit));
            all.extend(shown.map(|(k, v)| (k.clone(), v.clone())));
        }
        all
    }
}

impl Names for Scope {
    fn get(&self, name: &str) -> Option<Val> {
        match self.find(name) {
            Some((_, value)) => Some(value.clone()),
            None if name == "vars" => Some(Val::map(self.flatten())),
            None => None,
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.flatten().keys().map(Val::key_text).collect();
        names.push("vars".into());
        if self.variables.is_some() {
            names.push("hostvars".into());
        }
        names
    }

    fn lazy(&self, name: &str) -> Option<Arc<dyn LazyMap>> {
        let variables = self.variables.as_ref().filter(|_| name == "hostvars")?;
        Some(Arc::new(HostVarsMap(variables.clone())))
    }
}

/// The magic variable `hostvars`.
struct HostVarsMap(Arc<Variables>);

impl LazyMap for HostVarsMap {
    fn keys(&self) -> Vec<String> {
        self.0.inventory().hosts().map(|h| h.name.to_string()).collect()
    }

    fn scope(&self, host: &str) -> Option<Arc<dyn Names + Send>> {
        Some(Arc::new(self.0.hostvars_scope(host)?))
    }
}
