//! Loads what was found, as a run would load it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::inventory::{Inventory, LoadOptions};
use crate::playbook::{AloneSection, IncludedRole, Language, Loader, Play, RoleFiles, Vault};
use crate::source::yaml::{self, read_file};
use crate::source::{Diagnostic, Diagnostics, Map, Node, Severity, SourceFile, Text, Val};

use super::files::{File, Kind, kind_by_content};
use super::project::{Content, Document, Flow, Project};
use walk::Walk;

mod walk;

/// What stands for everything encrypted: no variables where a file is expected, and where a value
/// is, a template, which fits everywhere.
const SEALED: &str = "{} # {{ sealed }}";
/// How an encrypted file begins.
const ENVELOPES: [&str; 3] =
    ["$ANSIBLE_VAULT;", "-----BEGIN AGE ENCRYPTED FILE-----", "age-encryption.org/v1"];

/// Loads all files.
///
/// # Errors
/// Files that can't be read. What is wrong in them is in the list.
pub fn load(
    cwd: &Path,
    found: Vec<File>,
    language: Arc<dyn Language>,
) -> Result<(Project, Vec<Diagnostic>), Diagnostics> {
    let vault: Vault = Arc::new(|_| Ok(SEALED.to_string()));
    let mut loading = Loading {
        cwd,
        loader: Loader::new(language.clone(), Map::new(), vault.clone()),
        language,
        vault,
        project: Project::default(),
        diags: Diagnostics::default(),
        seen: HashSet::new(),
    };
    let mut files = loading.read(found)?;
    // Playbooks first: what they use needs no reading by itself.
    for (file, _) in files.iter().filter(|(file, _)| file.kind == Some(Kind::Playbook)) {
        loading.playbook(&file.path);
    }
    for (file, document) in &mut files {
        match &file.kind {
            Some(kind @ (Kind::Tasks(Some(role)) | Kind::Handlers(Some(role)) | Kind::RoleMeta(role))) => {
                loading.role(role);
                loading.alone(&file.path, kind);
            }
            Some(kind @ (Kind::Tasks(None) | Kind::Handlers(None))) => loading.alone(&file.path, kind),
            Some(Kind::Inventory) => loading.inventory(document),
            Some(Kind::Vars) => loading.variables(document),
            Some(Kind::Playbook) | None => {}
        }
    }
    loading.project.documents = files.into_iter().map(|(_, document)| document).collect();
    Ok((loading.project, loading.diags.0))
}

/// Files that the tasks of playbooks are in and folders of their roles, through includes whose names
/// are written out.
pub fn reached<'p>(loader: &Loader, plays: impl Iterator<Item = &'p Play>) -> HashSet<PathBuf> {
    // What is wrong in what is included is found when it is included.
    let mut problems = Diagnostics::default();
    let mut walk = Walk::new(loader, &mut problems);
    plays.for_each(|play| walk.play(Arc::new(play.clone())));
    walk.done().files
}

struct Loading<'a> {
    cwd: &'a Path,
    loader: Loader,
    language: Arc<dyn Language>,
    vault: Vault,
    project: Project,
    diags: Diagnostics,
    /// Files of tasks, and folders of roles, that something has brought in.
    seen: HashSet<PathBuf>,
}

impl Loading<'_> {
    /// Reads every file and settles its kind.
    fn read(&mut self, found: Vec<File>) -> Result<Vec<(File, Document)>, Diagnostics> {
        let mut files = Vec::new();
        let mut unreadable = Diagnostics::default();
        for file in found {
            if is_sealed(&file.path) {
                self.project.sealed += 1;
                continue;
            }
            match read_file(&file.path) {
                Ok(source) => files.extend(self.one(file, source)),
                // A file that was read but isn't text has a place.
                Err(problem) if problem.span.is_some() => self.diags.push(problem),
                Err(problem) => unreadable.push(problem),
            }
        }
        if unreadable.has_errors() { Err(unreadable) } else { Ok(files) }
    }

    fn one(&mut self, file: File, source: Arc<SourceFile>) -> Option<(File, Document)> {
        if file.kind == Some(Kind::Inventory) && !is_yaml(&file.path) {
            return Some((file, Document { file: source, content: Content::Unread }));
        }
        let mut problems = Diagnostics::default();
        let node = yaml::load_one(&source, &mut problems);
        let kind = match (file.kind.clone(), &node) {
            (Some(kind), _) => kind,
            (None, Some(node)) => {
                let is_module = |name: &str| self.language.module(name).is_some();
                match kind_by_content(node, is_module) {
                    Some(kind) => kind,
                    None if file.expected && node.as_map().is_some() => Kind::Vars,
                    None if file.expected => Kind::Playbook,
                    None => return None,
                }
            }
            (None, None) if file.expected || looks_like_playbook(&source.text) => Kind::Playbook,
            (None, None) => return None,
        };
        self.diags.0.extend(problems.0);
        let content = node.map_or(Content::Unread, Content::Yaml);
        Some((File { kind: Some(kind), ..file }, Document { file: source, content }))
    }

    fn playbook(&mut self, path: &Path) {
        let Some(playbook) = self.loader.playbook(path, &mut self.diags) else { return };
        let mut walk = Walk::new(&self.loader, &mut self.diags);
        for play in playbook.plays {
            walk.play(Arc::new(play));
        }
        let walked = walk.done();
        let visits = self.finish(walked);
        let tasks = visits.into_iter().filter(|visit| !visit.in_rescue).collect();
        self.project.playbooks.push(Flow { tasks });
    }

    /// A role that no playbook uses.
    fn role(&mut self, dir: &Path) {
        if self.seen.insert(dir.to_path_buf()) {
            self.role_alone(dir, RoleFiles::default());
        }
    }

    fn role_alone(&mut self, dir: &Path, files: RoleFiles) {
        let mut found = Diagnostics::default();
        let role = self.loader.role_alone(dir, files, &mut found);
        if let Some(IncludedRole { items, handlers, .. }) = role {
            let mut walk = Walk::new(&self.loader, &mut found);
            walk.items(&items);
            handlers.iter().for_each(|handler| walk.handler(handler));
            let walked = walk.done();
            self.finish(walked);
        }
        self.add_of_alone(found);
    }

    /// A file of tasks or handlers that nothing has brought in.
    fn alone(&mut self, path: &Path, kind: &Kind) {
        if !self.seen.insert(path.to_path_buf()) {
            return;
        }
        let (role, section, folder) = match kind {
            Kind::Tasks(role) => (role, AloneSection::Tasks, "tasks"),
            Kind::Handlers(role) => (role, AloneSection::Handlers, "handlers"),
            _ => return,
        };
        if let Some(role) = role {
            let name = path.strip_prefix(role.join(folder)).unwrap_or(path);
            let name = Some(Text::new(name.display().to_string()));
            let files = match section {
                AloneSection::Tasks => RoleFiles { tasks: name, ..RoleFiles::default() },
                AloneSection::Handlers => RoleFiles { handlers: name, ..RoleFiles::default() },
            };
            return self.role_alone(role, files);
        }
        // As if a playbook in the nearest folder with roles beside it used this file.
        let is_playbooks = |dir: &&Path| dir.join("roles").is_dir() || dir.ends_with("playbooks");
        let above = path.ancestors().skip(1).take_while(|dir| dir.starts_with(self.cwd));
        let playbook_dir = above.into_iter().find(is_playbooks).or(path.parent()).unwrap_or(self.cwd);
        let mut found = Diagnostics::default();
        let items = self.loader.tasks_alone(path, playbook_dir, section, &mut found);
        let mut walk = Walk::new(&self.loader, &mut found);
        walk.items(&items);
        let walked = walk.done();
        self.finish(walked);
        self.add_of_alone(found);
    }

    /// Names that only a play's variables could tell are no mistakes here.
    fn add_of_alone(&mut self, found: Diagnostics) {
        self.diags.0.extend(found.0.into_iter().filter(|problem| problem.code != "not-known-yet"));
    }

    fn finish(&mut self, walked: walk::Walked) -> Vec<super::Visit> {
        self.seen.extend(walked.files);
        self.project.tasks.extend(walked.visits.iter().cloned());
        walked.visits
    }

    fn inventory(&mut self, document: &mut Document) {
        let Some(path) = &document.file.path else { return };
        let open = |envelope: &str| (self.vault)(envelope);
        let source = [path.display().to_string()];
        let (inventory, found) = Inventory::load(&source, &LoadOptions::new(self.cwd, &open));
        self.diags.0.extend(found.0);
        match &document.content {
            Content::Yaml(node) => check_templates(&*self.language, node, &mut self.diags),
            _ => {
                let groups = inventory.groups().map(|group| group.vars.clone());
                let hosts = inventory.hosts().map(|host| host.vars.clone());
                document.content = Content::Vars(groups.chain(hosts).collect());
            }
        }
    }

    fn variables(&mut self, document: &Document) {
        let Some(path) = &document.file.path else { return };
        crate::vars::check_vars_file(path, &self.vault, &mut self.diags);
        if let Content::Yaml(node) = &document.content {
            check_templates(&*self.language, node, &mut self.diags);
        }
    }
}

/// A variable's mistake shows only where it is used: a warning, as for variables of plays.
fn check_templates(language: &dyn Language, node: &Node, diags: &mut Diagnostics) {
    fn check(language: &dyn Language, value: &Val, diags: &mut Diagnostics) {
        match value {
            Val::Text(text) if text.is_template() => {
                let problem = language.check_template(text);
                diags.0.extend(problem.map(|problem| Diagnostic { severity: Severity::Warning, ..problem }));
            }
            Val::List(items) => items.iter().for_each(|item| check(language, item, diags)),
            Val::Map(map) => map.values().for_each(|value| check(language, value, diags)),
            _ => {}
        }
    }
    check(language, &node.to_val_sealed(), diags);
}

fn is_sealed(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 40];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
    ENVELOPES.iter().any(|envelope| start[..read].starts_with(envelope.as_bytes()))
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yml" || ending == "yaml" || ending == "json")
}

/// Of a file that can't be parsed: whether it was meant as a playbook.
fn looks_like_playbook(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start_matches(['-', ' ']);
        ["hosts:", "import_playbook:", "ansible.builtin.import_playbook:"].iter().any(|k| line.starts_with(k))
    })
}
