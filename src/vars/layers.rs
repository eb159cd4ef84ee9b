//! Ansible's precedence of variables, as data.

use std::sync::Arc;

use crate::source::{Map, Val};

/// Where variables come from, weak to strong: a stronger layer's value replaces a weaker one's
/// whole (`hash_behaviour = replace`).
///
/// The first 22 are Ansible's documented precedence; the last two are what it adds on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Command-line values such as `-u` (`ansible_user`): settings, which templates don't see; ask
    /// for them with [`Scope::setting`](super::Scope::setting).
    CommandLine,
    RoleDefaults,
    /// Group variables written in the inventory itself.
    InventoryGroups,
    /// `group_vars/all` beside the inventory.
    InventoryGroupVarsAll,
    /// `group_vars/all` beside the playbook.
    PlaybookGroupVarsAll,
    InventoryGroupVars,
    PlaybookGroupVars,
    /// Host variables written in the inventory itself, and `inventory_hostname` and its kin.
    InventoryHosts,
    InventoryHostVars,
    PlaybookHostVars,
    /// Gathered facts and cacheable `set_fact`.
    Facts,
    PlayVars,
    PlayPrompts,
    PlayVarsFiles,
    /// A role's `vars/`, `vars:` where it is named, and what other roles export.
    RoleVars,
    BlockVars,
    TaskVars,
    IncludeVars,
    /// `set_fact` and registered results.
    SetFacts,
    RoleParams,
    IncludeParams,
    ExtraVars,
    /// What the engine says about the run, the play and the task: can't be overridden.
    Magic,
    /// `item`, `ansible_loop`, `loop_var`, `index_var`.
    Loop,
}

impl Layer {
    /// Weak to strong.
    pub const ALL: [Layer; 24] = [
        Layer::CommandLine,
        Layer::RoleDefaults,
        Layer::InventoryGroups,
        Layer::InventoryGroupVarsAll,
        Layer::PlaybookGroupVarsAll,
        Layer::InventoryGroupVars,
        Layer::PlaybookGroupVars,
        Layer::InventoryHosts,
        Layer::InventoryHostVars,
        Layer::PlaybookHostVars,
        Layer::Facts,
        Layer::PlayVars,
        Layer::PlayPrompts,
        Layer::PlayVarsFiles,
        Layer::RoleVars,
        Layer::BlockVars,
        Layer::TaskVars,
        Layer::IncludeVars,
        Layer::SetFacts,
        Layer::RoleParams,
        Layer::IncludeParams,
        Layer::ExtraVars,
        Layer::Magic,
        Layer::Loop,
    ];
}

/// Variables by layer. Within a layer what was added later is stronger. Adding and merging share
/// the maps, so building one per task and host copies no variable.
#[derive(Debug, Clone, Default)]
pub struct Layers(Vec<(Layer, Arc<Map>)>);

impl Layers {
    pub fn new() -> Layers {
        Layers::default()
    }

    /// Adds variables to a layer; stronger than what the layer holds already.
    pub fn push(&mut self, layer: Layer, vars: impl Into<Arc<Map>>) {
        let vars = vars.into();
        if !vars.is_empty() {
            let at = self.0.partition_point(|(l, _)| *l <= layer);
            self.0.insert(at, (layer, vars));
        }
    }

    pub fn with(mut self, layer: Layer, vars: impl Into<Arc<Map>>) -> Layers {
        self.push(layer, vars);
        self
    }

    /// Adds all of `others`, layer by layer.
    pub fn merge(&mut self, others: &Layers) {
        self.0.extend(others.0.iter().cloned());
        self.0.sort_by_key(|(layer, _)| *layer);
    }

    /// The strongest value of a name and the layer that it comes from.
    pub fn find(&self, name: &str) -> Option<(Layer, &Val)> {
        self.0.iter().rev().find_map(|(layer, vars)| vars.get(name).map(|v| (*layer, v)))
    }

    /// Weak to strong.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Layer, &Arc<Map>)> {
        self.0.iter().map(|(layer, vars)| (*layer, vars))
    }
}
