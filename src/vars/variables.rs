//! All variables of a run that belong to hosts, and the scopes made of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::files::{FolderVars, Vault, no_vault};
use super::{HostVars, Layer, Layers, RunInfo, Scope};
use crate::inventory::{Added, Entity, Host, HostName, Inventory, Sealed};
use crate::source::{Diagnostic, Diagnostics, Map, Val};

/// What a run knows before it starts.
pub struct Settings {
    pub run: RunInfo,
    /// `-e`, see [`extra_vars`](super::extra_vars).
    pub extra: Map,
    /// Settings of the command line that a variable overrides: `-u` as `ansible_user`.
    pub command_line: Map,
    /// Opens ansible-vault envelopes, inline and of whole files.
    pub vault: Vault,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { run: RunInfo::default(), extra: Map::new(), command_line: Map::new(), vault: no_vault() }
    }
}

/// All variables of a run that belong to hosts: the inventory with its `group_vars/` and
/// `host_vars/`, the playbook's, what the run learned, `-e` and the magic ones.
pub struct Variables {
    run: RunInfo,
    extra: Arc<Map>,
    command_line: Arc<Map>,
    vault: Vault,
    host_vars: HostVars,
    known: RwLock<Known>,
}

/// What changes when a host is added or the next playbook begins.
struct Known {
    inventory: Arc<Inventory>,
    /// Beside each inventory source, weak to strong.
    beside_inventory: Vec<FolderVars>,
    beside_playbook: Option<FolderVars>,
    magic: Arc<Map>,
    /// Layers of the inventory and of files, by host; made when first asked for.
    by_host: HashMap<HostName, Arc<Layers>>,
}

impl Variables {
    /// Reads `group_vars/` and `host_vars/` beside the inventory's sources. Values that can't be
    /// decrypted are not among the problems: see [`Variables::sealed_for`].
    pub fn load(inventory: Inventory, settings: Settings) -> (Arc<Variables>, Diagnostics) {
        let mut problems = Diagnostics::default();
        let mut beside_inventory: Vec<FolderVars> = vec![];
        for dir in folders_of(inventory.sources()) {
            let mut folder = FolderVars::new(&dir);
            folder.read_for(&inventory, &settings.vault, &mut problems);
            // Of a folder named twice the last place counts.
            beside_inventory.retain(|known| known.dir() != folder.dir());
            beside_inventory.push(folder);
        }
        let known = Known {
            inventory: Arc::new(inventory),
            beside_inventory,
            beside_playbook: None,
            magic: Arc::default(),
            by_host: HashMap::new(),
        };
        let variables = Variables {
            run: settings.run,
            extra: Arc::new(settings.extra),
            command_line: Arc::new(settings.command_line),
            vault: settings.vault,
            host_vars: HostVars::default(),
            known: RwLock::new(known),
        };
        variables.refresh(&mut variables.write());
        (Arc::new(variables), problems)
    }

    /// Begins a playbook: `playbook_dir` and the `group_vars/` and `host_vars/` beside it. What
    /// hosts learned in an earlier playbook of the same command stays.
    pub fn enter_playbook(&self, dir: &Path) -> Diagnostics {
        let mut problems = Diagnostics::default();
        let mut known = self.write();
        let mut folder = FolderVars::new(dir);
        folder.read_for(&known.inventory, &self.vault, &mut problems);
        known.beside_playbook = Some(folder);
        self.refresh(&mut known);
        problems
    }

    /// Whether `-e` sets this name.
    pub fn has_extra(&self, name: &str) -> bool {
        self.extra.contains_key(name)
    }

    /// The inventory as it is now.
    pub fn inventory(&self) -> Arc<Inventory> {
        self.read().inventory.clone()
    }

    /// What the run learned about hosts: facts, `set_fact`, results, `include_vars`.
    pub fn host_vars(&self) -> &HostVars {
        &self.host_vars
    }

    /// `add_host`: the host is there for later plays, with its `host_vars/` and `group_vars/`.
    ///
    /// # Errors
    /// Variable files of the new host or groups that can't be read.
    pub fn add_host(&self, name: &str, vars: &Map, groups: &[String]) -> Result<Added, Diagnostics> {
        self.change_inventory(|inventory| Ok(inventory.add_host_at_run(name, vars, groups)))
    }

    /// `group_by`: puts a host into a group, for later plays.
    ///
    /// # Errors
    /// Parents that would make a cycle; variable files of a new group that can't be read.
    pub fn group_by(&self, host: &str, group: &str, parents: &[String]) -> Result<Added, Diagnostics> {
        self.change_inventory(|inventory| inventory.group_host_at_run(host, group, parents))
    }

    /// Values of these hosts and their groups that could not be decrypted. Ask before a host is
    /// touched: in a scope such a variable is not defined.
    pub fn sealed_for(&self, hosts: &[HostName]) -> Diagnostics {
        let known = self.read();
        let mut owners: Vec<Entity> = vec![Entity::Group("all".into())];
        for name in hosts {
            owners.push(Entity::Host(name.clone()));
            if let Some(host) = known.inventory.host(name) {
                owners.extend(known.inventory.groups_of(host).iter().map(|g| Entity::Group(g.name.clone())));
            }
        }
        let owners: std::collections::HashSet<Entity> = owners.into_iter().collect();
        let of_files = known.folders().flat_map(FolderVars::sealed);
        let mine =
            known.inventory.sealed().iter().chain(of_files).filter(|s: &&Sealed| owners.contains(&s.owner));
        Diagnostics(mine.map(|s| s.problem.clone()).collect())
    }

    /// The variables that a task on a host sees. `layers` is what the engine knows of play and
    /// task; the host's own layers, `-e` and the run's magic variables are added here. A host that
    /// no inventory has (a delegation to a bare address) sees what is everybody's.
    pub fn scope(self: &Arc<Self>, host: &str, layers: &Layers) -> Scope {
        let (name, mut all) = self.layers_of(host);
        all.merge(layers);
        Scope::new(name, all, Some(self.clone()))
    }

    /// What `hostvars[host]` sees: nothing of a play. `None` for an unknown host.
    pub(super) fn hostvars_scope(&self, host: &str) -> Option<Scope> {
        self.read().inventory.host(host)?;
        let (name, layers) = self.layers_of(host);
        Some(Scope::new(name, layers, None))
    }

    pub(super) fn folder_vars(&self, owner: &Entity) -> Map {
        let known = self.read();
        let mut all = Map::new();
        for vars in known.folders().filter_map(|f| f.vars(owner)) {
            all.extend(vars.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        all
    }

    fn layers_of(&self, host: &str) -> (HostName, Layers) {
        let (name, own, magic) = {
            let known = self.read();
            let name = known.inventory.host(host).map_or_else(|| host.into(), |h| h.name.clone());
            (name.clone(), known.by_host.get(&name).cloned(), known.magic.clone())
        };
        let own = own.unwrap_or_else(|| {
            let mut known = self.write();
            let layers = Arc::new(known.inventory_layers(&name));
            known.by_host.insert(name.clone(), layers.clone());
            layers
        });
        let mut all = (*own).clone();
        self.host_vars.layers(&name, &mut all);
        all.push(Layer::CommandLine, self.command_line.clone());
        all.push(Layer::ExtraVars, self.extra.clone());
        all.push(Layer::Magic, magic);
        (name, all)
    }

    fn change_inventory(
        &self,
        change: impl FnOnce(&mut Inventory) -> Result<Added, String>,
    ) -> Result<Added, Diagnostics> {
        let mut known = self.write();
        let added = change(Arc::make_mut(&mut known.inventory))
            .map_err(|why| Diagnostics(vec![Diagnostic::global("inventory", why)]))?;
        if added.changed {
            let mut problems = Diagnostics::default();
            let inventory = known.inventory.clone();
            for folder in known.folders_mut() {
                folder.read_for(&inventory, &self.vault, &mut problems);
            }
            self.refresh(&mut known);
            if problems.has_errors() {
                return Err(problems);
            }
        }
        Ok(added)
    }

    fn refresh(&self, known: &mut Known) {
        let playbook_dir = known.beside_playbook.as_ref().map(FolderVars::dir);
        let mut magic = self.run.vars(known.inventory.sources(), playbook_dir);
        magic.insert(Val::from("groups"), known.inventory.groups_val());
        known.magic = Arc::new(magic);
        known.by_host.clear();
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Known {
    fn folders(&self) -> impl Iterator<Item = &FolderVars> {
        self.beside_inventory.iter().chain(&self.beside_playbook)
    }

    fn folders_mut(&mut self) -> impl Iterator<Item = &mut FolderVars> {
        self.beside_inventory.iter_mut().chain(&mut self.beside_playbook)
    }

    /// Levels 3 to 10 of Ansible's precedence for one host.
    fn inventory_layers(&self, host: &str) -> Layers {
        let mut layers = Layers::new();
        let all = Entity::Group("all".into());
        let host = self.inventory.host(host);
        let groups = host.map(|h| self.inventory.groups_of(h)).unwrap_or_default();
        let in_order = self.inventory.group("all").into_iter().chain(groups.iter().copied());
        for group in in_order {
            layers.push(Layer::InventoryGroups, group.vars.clone());
        }
        let of_groups: Vec<Entity> = groups.iter().map(|g| Entity::Group(g.name.clone())).collect();
        let of_host = host.map(|h| Entity::Host(h.name.clone()));
        let mut add = |folder: &FolderVars, for_all: Layer, for_groups: Layer, for_host: Layer| {
            let of_groups = of_groups.iter().map(|g| (for_groups, g));
            let owners =
                [(for_all, &all)].into_iter().chain(of_groups).chain(of_host.as_ref().map(|h| (for_host, h)));
            for (layer, owner) in owners {
                if let Some(vars) = folder.vars(owner) {
                    layers.push(layer, vars.clone());
                }
            }
        };
        for folder in &self.beside_inventory {
            add(folder, Layer::InventoryGroupVarsAll, Layer::InventoryGroupVars, Layer::InventoryHostVars);
        }
        if let Some(folder) = &self.beside_playbook {
            add(folder, Layer::PlaybookGroupVarsAll, Layer::PlaybookGroupVars, Layer::PlaybookHostVars);
        }
        if let Some(host) = host {
            layers.push(Layer::InventoryHosts, host.vars.clone());
            layers.push(Layer::InventoryHosts, host_magic(host, &groups));
        }
        layers
    }
}

/// Names of the host itself. As in Ansible these are host variables, so `-e` can replace them.
fn host_magic(host: &Host, groups: &[&crate::inventory::Group]) -> Map {
    let mut group_names: Vec<&str> = groups.iter().map(|g| &*g.name).collect();
    group_names.sort_unstable();
    let mut magic = Map::from_iter([
        (Val::from("inventory_hostname"), Val::from(&*host.name)),
        (Val::from("inventory_hostname_short"), Val::from(host.short_name())),
        (Val::from("group_names"), Val::from(group_names)),
        // Empty until something is gathered, so that it can be asked.
        (Val::from("ansible_facts"), Val::map(Map::new())),
    ]);
    if !host.implicit {
        let text = |p: Option<&Path>| Val::from(p.map(|p| p.to_string_lossy().into_owned()));
        let file = host.source.as_deref();
        magic.insert(Val::from("inventory_file"), text(file));
        magic.insert(Val::from("inventory_dir"), text(file.and_then(Path::parent)));
    }
    magic
}

/// The folder whose `group_vars/` and `host_vars/` belong to each source.
fn folders_of(sources: &[String]) -> Vec<PathBuf> {
    let mut folders = vec![];
    for source in sources {
        let path = Path::new(source);
        if path.is_dir() {
            folders.push(path.to_path_buf());
        } else if (path.exists() || !source.contains(','))
            && let Some(parent) = path.parent()
        {
            folders.push(parent.to_path_buf());
        }
    }
    folders
}
