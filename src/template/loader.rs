//! Finds the templates that a template includes, imports or extends, by the search path.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::eval::{Eval, Run};
use super::fault::Fault;
use super::parse::Mode;
use super::source_map::Source;
use super::value::Value;
use crate::source::{SourceFile, Span};

impl Eval<'_> {
    /// The first of the named templates that exists.
    pub fn load(&self, names: &Value, from: &Source) -> Run<Rc<Source>> {
        let names = self.template_names(names)?;
        for name in &names {
            if let Some(path) = self.template_path(name, from)? {
                return self.read_template(&path, name, from);
            }
        }
        let folders: Vec<String> = self.folders(from).iter().map(|d| d.display().to_string()).collect();
        Err(Fault::new(format!("template '{}' was not found", names.join("' or '")))
            .help(format!("Looked in: {}", folders.join(", "))))
    }

    pub fn exists(&self, names: &Value, from: &Source) -> Run<bool> {
        for name in self.template_names(names)? {
            if self.template_path(&name, from)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn template_names(&self, names: &Value) -> Run<Vec<String>> {
        match names {
            Value::Text(name) => Ok(vec![name.to_string()]),
            list => self.iterate(list)?.iter().map(|n| Ok(self.text_of(n)?.to_string())).collect(),
        }
    }

    fn folders(&self, from: &Source) -> Vec<PathBuf> {
        if from.search.is_empty() { vec![self.cx().playbook_dir.to_path_buf()] } else { from.search.clone() }
    }

    fn template_path(&self, name: &str, from: &Source) -> Run<Option<PathBuf>> {
        if Path::new(name).components().any(|c| matches!(c, std::path::Component::ParentDir)) {
            return Err(Fault::new(format!("template '{name}' was not found: '..' is not followed")));
        }
        // A leading slash doesn't leave the search path.
        let name = name.trim_start_matches('/');
        Ok(self.folders(from).into_iter().map(|dir| dir.join(name)).find(|path| path.is_file()))
    }

    fn read_template(&self, path: &Path, name: &str, from: &Source) -> Run<Rc<Source>> {
        let text =
            std::fs::read_to_string(path).map_err(|e| Fault::new(format!("cannot read {name}: {e}")))?;
        let file = SourceFile::new(path, text);
        let origin = Span { end: file.text.len(), ..Span::whole(&file) };
        self.shared.templar.file_source(&file.text.clone(), origin, &from.options, from.search.clone())
    }
}

impl super::Templar {
    /// A file's text, compiled.
    pub(super) fn file_source(
        &self,
        text: &str,
        origin: Span,
        options: &super::FileOptions,
        search: Vec<PathBuf>,
    ) -> Run<Rc<Source>> {
        let text: Arc<str> = Arc::from(text);
        let program = self
            .program(&text, &Mode::File(options.clone()))
            .map_err(|e| super::syntax_fault(&e, &text, Some(&origin)))?;
        Ok(Rc::new(Source {
            program,
            text,
            origin: Some(origin),
            options: options.clone(),
            search,
            secret: false,
        }))
    }
}
