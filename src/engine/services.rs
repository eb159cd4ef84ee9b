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
        let name = name.display().to_string();
        Ok(self.run.engine.templar.render_file(source, &name, &options, &self.render_cx(&hooks))?)
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

    fn open_vault(&self, envelope: &[u8]) -> Result<Vec<u8>, String> {
        let text = std::str::from_utf8(envelope).map_err(|_| "the envelope isn't text".to_string())?;
        (self.engine.vault)(text).map(String::into_bytes)
    }
}
