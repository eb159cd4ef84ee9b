//! Playbooks from files: keywords, imports and roles resolved, every error found.
//!
//! `files` finds and reads, `fields` reads single keywords, `action` a task's module and
//! arguments, `tasks` tasks and blocks, `include` imports and includes, `roles` roles, `plays`
//! plays. [`Load`] is what one reading knows; [`Site`] what a list of tasks inherits.

mod action;
mod alone;
mod fields;
mod files;
mod include;
mod plays;
mod roles;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::source::diagnostic::nearest;
use crate::source::{Diagnostic, Diagnostics, Map, SourceFile, Span, Text, Val};

use super::{
    Handler, IncludeRole, IncludeTasks, Item, Keywords, Language, Play, Playbook, Role, RoleFiles,
    StaticPath, Task,
};

pub use alone::Section as AloneSection;

/// Opens an ansible-vault envelope; the error says why not, and never shows content.
pub type Vault = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// More tasks than this come only from imports that multiply each other.
const MAX_TASKS: usize = 100_000;

/// Reads playbooks, and during a run what they include.
#[derive(Clone)]
pub struct Loader {
    language: Arc<dyn Language>,
    extra: Map,
    vault: Vault,
    roles_path: Vec<PathBuf>,
    collections_path: Vec<PathBuf>,
    sources: Sources,
}

/// Every file that was read, and the SHA-256 of its text.
type Sources = Arc<Mutex<BTreeMap<PathBuf, String>>>;

/// The tasks of an `include_tasks`.
#[derive(Debug)]
pub struct IncludedTasks {
    pub file: PathBuf,
    pub items: Vec<Item>,
}

/// The tasks and handlers of an `include_role`, dependencies included.
#[derive(Debug)]
pub struct IncludedRole {
    pub role: Arc<Role>,
    pub items: Vec<Item>,
    pub handlers: Vec<Arc<Handler>>,
}

impl Loader {
    /// `extra` are the variables of `-e`. Roles are also looked for in `ANSIBLE_ROLES_PATH`, or
    /// where Ansible looks without it.
    pub fn new(language: Arc<dyn Language>, extra: Map, vault: Vault) -> Loader {
        let (roles_path, collections_path) = (files::default_roles_path(), files::default_collections_path());
        Loader { language, extra, vault, roles_path, collections_path, sources: Sources::default() }
    }

    /// The files that were read so far, each with the SHA-256 of its text.
    pub fn sources(&self) -> BTreeMap<PathBuf, String> {
        self.sources.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Reads a playbook with everything that it imports. All that is wrong goes to `diags`; `None`
    /// when nothing useful could be read.
    pub fn playbook(&self, path: &Path, diags: &mut Diagnostics) -> Option<Playbook> {
        let dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let plays = plays::playbook(self, path, &dir, diags)?;
        Some(Playbook { plays })
    }

    /// Reads a playbook that was made, not found in a file: `file` holds its text, and `dir` is the
    /// folder that it counts as lying in.
    pub fn playbook_of(
        &self,
        file: &Arc<SourceFile>,
        dir: &Path,
        diags: &mut Diagnostics,
    ) -> Option<Playbook> {
        let plays = plays::playbook_of(self, file, dir, diags)?;
        Some(Playbook { plays })
    }

    /// Reads the tasks that `task`, an `include_tasks`, brings in; `file` is its rendered name.
    ///
    /// # Errors
    /// A file that isn't found, and everything wrong in it.
    pub fn include_tasks(
        &self,
        include: &IncludeTasks,
        file: &str,
        task: &Task,
        play: &Play,
    ) -> Result<IncludedTasks, Diagnostics> {
        let mut diags = Diagnostics::default();
        let mut load = Load::new(self, &mut diags, &play.dir, &play.playbook_dir, play.vars.clone());
        let site = Site {
            inherited: Keywords::clone(&include.inherited),
            role: task.role.clone(),
            path: StaticPath::new(file),
            in_handlers: include.in_handlers,
            in_transaction: include.in_transaction,
        };
        let loaded = load.included_file(file, &include.span, &site);
        finish(loaded.map(|(file, items)| IncludedTasks { file, items }), diags)
    }

    /// Reads the role that `task`, an `include_role`, brings in; `name` and `files` are rendered.
    ///
    /// # Errors
    /// A role that isn't found, and everything wrong in it.
    #[allow(clippy::too_many_arguments)]
    pub fn include_role(
        &self,
        include: &IncludeRole,
        name: &str,
        files: &RoleFiles,
        task: &Task,
        play: &Play,
        public: bool,
        allow_duplicates: bool,
    ) -> Result<IncludedRole, Diagnostics> {
        let mut diags = Diagnostics::default();
        let mut load = Load::new(self, &mut diags, &play.dir, &play.playbook_dir, play.vars.clone());
        let site = Site {
            inherited: Keywords::clone(&include.inherited),
            role: task.role.clone(),
            path: StaticPath::new("role"),
            in_handlers: false,
            in_transaction: include.in_transaction,
        };
        let written = roles::Use {
            vars: include.params.clone(),
            files: files.clone(),
            public,
            allow_duplicates: Some(allow_duplicates),
            validate: include.rolespec_validate.as_ref().and_then(|s| s.fixed()).copied().unwrap_or(true),
            from_include: true,
            ..roles::Use::of(Text::new(name), &include.span)
        };
        let loaded = load.role(written, &site);
        finish(
            loaded.map(|loaded| IncludedRole {
                role: loaded.role,
                items: loaded.items,
                handlers: loaded.handlers,
            }),
            diags,
        )
    }
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("roles_path", &self.roles_path).finish_non_exhaustive()
    }
}

fn finish<T>(loaded: Option<T>, diags: Diagnostics) -> Result<T, Diagnostics> {
    match loaded {
        Some(loaded) if !diags.has_errors() => Ok(loaded),
        _ => Err(diags),
    }
}

/// One reading: where errors go, and what was found on the way.
struct Load<'l> {
    loader: &'l Loader,
    diags: &'l mut Diagnostics,
    /// Folder of the playbook file being read.
    dir: PathBuf,
    /// Folder of the playbook that the run began with.
    playbook_dir: PathBuf,
    play_vars: Arc<Map>,
    /// Of `import_role`.
    imported_roles: Vec<Arc<Role>>,
    imported_handlers: Vec<Arc<Handler>>,
    /// Files being read, the outermost first: an import of one of them never ends.
    open: Vec<PathBuf>,
    tasks: usize,
}

/// What a list of tasks inherits from where it stands.
#[derive(Clone)]
struct Site {
    inherited: Keywords,
    role: Option<Arc<Role>>,
    path: StaticPath,
    in_handlers: bool,
    in_transaction: bool,
}

impl Site {
    fn child(&self, part: impl std::fmt::Display) -> Site {
        Site { path: self.path.child(part), ..self.clone() }
    }
}

impl<'l> Load<'l> {
    fn new(
        loader: &'l Loader,
        diags: &'l mut Diagnostics,
        dir: &Path,
        playbook_dir: &Path,
        play_vars: Arc<Map>,
    ) -> Load<'l> {
        Load {
            loader,
            diags,
            dir: dir.to_path_buf(),
            playbook_dir: playbook_dir.to_path_buf(),
            play_vars,
            imported_roles: Vec::new(),
            imported_handlers: Vec::new(),
            open: Vec::new(),
            tasks: 0,
        }
    }

    fn language(&self) -> &'l dyn Language {
        &*self.loader.language
    }

    fn error(&mut self, code: &'static str, message: impl Into<String>, span: &Span) {
        self.diags.push(Diagnostic::error(code, message, span));
    }

    /// An error about a word that nobody knows, with the nearest one that is known.
    fn unknown<'a>(
        &mut self,
        code: &'static str,
        message: String,
        span: &Span,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let diagnostic = Diagnostic::error(code, message, span);
        self.diags.push(match nearest(word, known) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }

    /// Counts a task; `false` when there are too many to go on.
    fn count_task(&mut self, span: &Span) -> bool {
        self.tasks += 1;
        if self.tasks == MAX_TASKS + 1 {
            let message = format!("more than {MAX_TASKS} tasks: do these imports multiply each other?");
            self.error("too-many-tasks", message, span);
        }
        self.tasks <= MAX_TASKS
    }

    /// The text that a name has before the run: templates in it may use the variables of the play,
    /// the role and `-e`.
    fn known_now(&mut self, text: &Text, site: &Site, what: &str, span: &Span) -> Option<String> {
        if !text.is_template() {
            return Some(text.to_string());
        }
        let mut vars = Map::new();
        let mut add = |more: &Map| vars.extend(more.iter().map(|(k, v)| (k.clone(), v.clone())));
        if let Some(role) = &site.role {
            add(&role.defaults);
        }
        add(&self.play_vars);
        if let Some(role) = &site.role {
            add(&role.vars);
            add(&role.params);
        }
        add(&site.inherited.vars);
        add(&self.loader.extra);
        vars.insert("playbook_dir".into(), Val::from(self.playbook_dir.display().to_string()));
        if let Some(role) = &site.role {
            vars.insert("role_name".into(), Val::from(role.name.as_str()));
            vars.insert("role_path".into(), Val::from(role.path.display().to_string()));
        }
        match self.language().render_static(text, &vars) {
            Ok(rendered) => Some(rendered),
            Err(why) => {
                let message = format!("{what} must be known before the run: {why}");
                let help = "only variables of the play, the role and -e are known here; \
                            an include_* is read during the run and may use all";
                self.diags.push(Diagnostic::error("not-known-yet", message, span).help(help));
                None
            }
        }
    }
}

impl Task {
    /// A task that nobody wrote, such as fact gathering; `module` is a canonical name.
    pub fn implicit(span: &Span, name: &str, module: &str, args: Val, keywords: Keywords) -> Task {
        let short = module.rsplit('.').next().unwrap_or(module);
        Task {
            span: span.clone(),
            path: StaticPath::new(short),
            name: Some(Text::new(name)),
            action: super::Action::Module(super::ModuleCall {
                canonical: module.to_string(),
                written: short.to_string(),
                span: span.clone(),
                args,
                args_template: None,
                name: None,
            }),
            keywords,
            loop_: None,
            loop_control: super::LoopControl::default(),
            register: None,
            changed_when: None,
            failed_when: None,
            until: None,
            retries: None,
            delay: None,
            async_: None,
            poll: None,
            undo: Vec::new(),
            secrets: Vec::new(),
            probe: None,
            one_way: super::OneWay::Refused,
            listen: Vec::new(),
            role: None,
            implicit: true,
        }
    }
}
