//! What the engine does for modules and lookups.

use std::path::{Path, PathBuf};

use crate::module::Failure;
use crate::module::context::{Services, TemplateOptions};
use crate::secret::keys::Opened;
use crate::source::{Text, Val};
use crate::template::{FileOptions, Hooks, RenderCx};
use crate::vars::Scope;

use super::Engine;
use super::play::PlayRun;

pub struct EngineServices<'a> {
    pub run: &'a PlayRun<'a>,
    pub scope: &'a Scope,
    pub search: &'a [PathBuf],
    pub check: bool,
}

impl EngineServices<'_> {
    fn render_cx<'s>(&'s self, hooks: &'s RunHooks<'s>) -> RenderCx<'s> {
        RenderCx {
            names: self.scope,
            search: self.search,
            playbook_dir: &self.run.play.playbook_dir,
            check_mode: self.check,
            hooks,
            impure: None,
        }
    }
}

impl Services for EngineServices<'_> {
    fn render_file(&self, source: &str, name: &Path, options: &TemplateOptions) -> Result<Text, Failure> {
        let hooks = RunHooks { engine: self.run.engine };
        let options = FileOptions {
            trim_blocks: options.trim_blocks,
            lstrip_blocks: options.lstrip_blocks,
            newline_sequence: options.newline_sequence.clone(),
            keep_trailing_newline: options.keep_trailing_newline,
            variable: options.variable.clone(),
            block: options.block.clone(),
            comment: options.comment.clone(),
        };
        let mut scope = self.scope.clone();
        let path = name.display().to_string();
        for (variable, value) in template_vars(name, &path) {
            scope.set_loop(variable, value);
        }
        if scope.find("ansible_managed").is_none() {
            scope.set_loop("ansible_managed", Val::from("Ansible managed"));
        }
        let of_template = EngineServices { scope: &scope, ..*self };
        let name = path;
        Ok(self.run.engine.templar.render_file(source, &name, &options, &of_template.render_cx(&hooks))?)
    }

    fn variable(&self, name: &str) -> Option<Val> {
        let raw = crate::template::Names::get(self.scope, name)?;
        let hooks = RunHooks { engine: self.run.engine };
        self.run.engine.templar.render(&raw, &self.render_cx(&hooks)).ok()
    }

    fn open_encrypted(&self, bytes: &[u8]) -> Result<(Vec<u8>, bool), Failure> {
        open_encrypted(self.run.engine, bytes)
    }

    fn age_identities(&self) -> Vec<Text> {
        self.run.engine.identities.clone()
    }

    fn keep_secret(&self, value: &Text) {
        self.run.engine.redactor.register(value);
    }

    fn never_secret(&self, value: &str) {
        self.run.engine.redactor.never_hide(value);
    }
}

/// Plain bytes come back as they are; an ansible-vault or age envelope is opened.
fn open_encrypted(engine: &Engine, bytes: &[u8]) -> Result<(Vec<u8>, bool), Failure> {
    match engine.keys.open(bytes) {
        Ok(Opened::Plain) => Ok((bytes.to_vec(), false)),
        Ok(Opened::Secret(plain)) => {
            if let Some(text) = plain.expose() {
                engine.redactor.register(text);
            }
            Ok((plain.expose_bytes().to_vec(), true))
        }
        Err(e) => {
            let mut failure = Failure::new(e.to_string());
            failure.help = e.help;
            Err(failure)
        }
    }
}

/// What some lookups need from the run.
pub struct RunHooks<'a> {
    pub engine: &'a Engine,
}

impl Hooks for RunHooks<'_> {
    fn hostnames(&self, pattern: &str) -> Result<Vec<String>, String> {
        let selection = self
            .engine
            .variables
            .inventory()
            .select(&[pattern.to_string()], None)
            .map_err(|e| e.to_string())?;
        Ok(selection.hosts.iter().map(ToString::to_string).collect())
    }

    fn keep_secret(&self, text: &str) {
        self.engine.redactor.register(text);
    }

    fn open_vault(&self, envelope: &[u8]) -> Result<Vec<u8>, String> {
        let text = std::str::from_utf8(envelope).map_err(|_| "the envelope isn't text".to_string())?;
        (self.engine.vault)(text).map(String::into_bytes)
    }
}

/// What a template sees of itself.
fn template_vars(file: &Path, path: &str) -> Vec<(&'static str, Val)> {
    use std::os::unix::fs::MetadataExt;
    let mut vars = vec![
        ("template_path", Val::from(path)),
        ("template_fullpath", Val::from(path)),
        ("template_run_date", moment(chrono::Local::now())),
    ];
    if let Ok(node) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        vars.push(("template_host", Val::from(node.trim())));
    }
    if let Ok(meta) = std::fs::metadata(file) {
        vars.push(("template_uid", Val::from(owner(meta.uid()))));
        if let Ok(time) = meta.modified() {
            vars.push(("template_mtime", moment(time.into())));
        }
    }
    vars
}

/// The name of a user of this machine; the number where it has none.
fn owner(uid: u32) -> String {
    let number = uid.to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_string())
    });
    name.unwrap_or(number)
}

/// As Python prints a `datetime`.
fn moment(time: chrono::DateTime<chrono::Local>) -> Val {
    Val::from(time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}
