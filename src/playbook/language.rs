//! What the loader must know of the layers above it: modules and templates.

use crate::source::args::ArgError;
use crate::source::{Diagnostic, Map, Text, Val};

/// What a module does with text that isn't `key=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FreeForm {
    /// Such text is an error (`copy`).
    #[default]
    No,
    /// Words without `=` become the argument `_raw_params` (`meta`, `include_vars`).
    Words,
    /// The whole text becomes `_raw_params`, but for `creates=`, `removes=`, `chdir=`,
    /// `executable=`, `stdin=`, `stdin_add_newline=`, `strip_empty_ends=` (`command`, `shell`, `raw`, `script`).
    Command,
}

/// A module as the loader needs to know it.
#[derive(Debug, Clone)]
pub struct ModuleInfo {
    /// Its full name, by which the registry finds it (`ansible.builtin.copy`).
    pub canonical: String,
    pub free_form: FreeForm,
}

/// The registries of modules and templates, as the loader sees them.
pub trait Language: Send + Sync {
    /// A module by its short or full name; `collections` are searched for short names that are
    /// not built in.
    fn module(&self, name: &str) -> Option<ModuleInfo>;

    /// Every name that [`Language::module`] answers to, for suggestions.
    fn module_names(&self) -> Vec<String>;

    /// Checks the arguments of a module (by canonical name); templates in them fit anything.
    ///
    /// # Errors
    /// The first argument that is unknown, missing or of the wrong type.
    fn check_args(&self, module: &str, args: &Val) -> Result<(), ArgError>;

    /// Why the effects of a module (by canonical name) with these arguments can't be undone, as a
    /// sentence for people; `None` if they can, if there are none, or if only the host can tell.
    /// Inside a transaction such a task needs `undo:` or `one_way: ok`.
    fn irreversible(&self, module: &str, args: &Val) -> Option<String>;

    /// A mistake in a text with `{{ }}`, `{% %}` or `{# #}` in it. The diagnostic's span should
    /// be within the text's origin.
    fn check_template(&self, text: &Text) -> Option<Diagnostic>;

    /// A mistake in a bare expression (`when`, `changed_when`, `until`, …).
    fn check_expression(&self, text: &Text) -> Option<Diagnostic>;

    /// Whether there is a lookup of this name (`with_NAME`).
    fn lookup(&self, name: &str) -> bool;

    /// Every lookup's name, for suggestions.
    fn lookup_names(&self) -> Vec<String>;

    /// Renders what must be known before the run: the file of a static import, the name of a
    /// role. Only `vars` of the play and extra variables are there.
    ///
    /// # Errors
    /// Why it can't be rendered.
    fn render_static(&self, text: &Text, vars: &Map) -> Result<String, String>;
}
