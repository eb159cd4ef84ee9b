//! What a module may use while it plans.

use std::path::{Path, PathBuf};

use crate::remote::Target;
use crate::source::{Text, Val};

use super::Failure;

/// What a module may use while it plans: its host, the operator's machine, and the run's settings.
pub struct PlanCx<'a> {
    pub target: &'a Target,
    /// The machine that runs `seqn-play`.
    pub operator: &'a Target,
    pub check: bool,
    pub diff: bool,
    /// Folders in which a role's or playbook's `files/` and `templates/` are looked for, nearest
    /// first (`ansible_search_path`).
    pub search: &'a [PathBuf],
    pub playbook_dir: &'a Path,
    /// `environment:` of the task, merged and rendered; commands get it.
    pub environment: &'a [(String, Text)],
    /// Unique to this Instance: names temporary files.
    pub instance: &'a str,
    pub services: &'a dyn Services,
}

/// What the engine does for a module.
pub trait Services: Send + Sync {
    /// Renders a template file of the operator's machine in the task's Scope.
    ///
    /// # Errors
    /// The template's own error, with its place.
    fn render_file(&self, source: &str, name: &Path, options: &TemplateOptions) -> Result<Text, Failure>;

    /// A variable of the task's Scope, rendered.
    fn variable(&self, name: &str) -> Option<Val>;

    /// Opens an age- or vault-encrypted file's bytes; plain bytes come back as they are, with
    /// `false`.
    ///
    /// # Errors
    /// No key fits, or the envelope is damaged.
    fn open_encrypted(&self, bytes: &[u8]) -> Result<(Vec<u8>, bool), Failure>;

    /// Age identities of the operator, as text (never sent to a host).
    fn age_identities(&self) -> Vec<Text>;

    /// From now on this value is hidden wherever it would be shown: for what a module reads on a
    /// host and knows to be a secret.
    fn keep_secret(&self, value: &Text);

    /// From now on this value isn't hidden where it stands among secrets: the name of a public key.
    fn never_secret(&self, value: &str);
}

/// The arguments of the `template` module that change how a file is read.
#[derive(Debug, Clone)]
pub struct TemplateOptions {
    pub trim_blocks: bool,
    pub lstrip_blocks: bool,
    pub keep_trailing_newline: bool,
    pub newline_sequence: String,
    pub variable: (String, String),
    pub block: (String, String),
    pub comment: (String, String),
}

impl Default for TemplateOptions {
    fn default() -> Self {
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        TemplateOptions {
            trim_blocks: true,
            lstrip_blocks: false,
            keep_trailing_newline: true,
            newline_sequence: "\n".into(),
            variable: pair("{{", "}}"),
            block: pair("{%", "%}"),
            comment: pair("{#", "#}"),
        }
    }
}

impl PlanCx<'_> {
    /// A file of the operator's machine named by `src`: absolute, or the first found in `subdir`
    /// (`files`, `templates`) or directly below each search folder, as Ansible looks.
    ///
    /// # Errors
    /// Every place that was looked at.
    pub fn find(&self, subdir: &str, src: &str) -> Result<PathBuf, Failure> {
        let home = std::env::var("HOME").unwrap_or_default();
        let src = match src.strip_prefix("~/") {
            Some(rest) => format!("{home}/{rest}"),
            None => src.to_string(),
        };
        let candidates: Vec<PathBuf> = if Path::new(&src).is_absolute() {
            vec![PathBuf::from(&src)]
        } else {
            self.search.iter().flat_map(|dir| [dir.join(subdir).join(&src), dir.join(&src)]).collect()
        };
        candidates.iter().find(|p| p.exists()).cloned().ok_or_else(|| {
            let looked: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
            Failure::new(format!("Could not find or access '{src}'\nSearched in:\n\t{}", looked.join("\n\t")))
        })
    }
}
