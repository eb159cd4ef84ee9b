//! Files that no playbook was seen to use, read for what is wrong in them.

use std::path::Path;

use crate::playbook::{Handler, IncludedRole, Item, Keywords, RoleFiles, StaticPath};
use crate::source::yaml::read_file;
use crate::source::{Diagnostics, Span, Text};

use super::{Load, Loader, Site, roles};

/// What [`Loader::tasks_alone`] reads a file as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Tasks,
    Handlers,
}

impl Loader {
    /// Reads a role by itself: its variables, `meta`, handlers and tasks; `files` as in
    /// `include_role`. `dir` is an absolute path.
    pub fn role_alone(&self, dir: &Path, files: RoleFiles, diags: &mut Diagnostics) -> Option<IncludedRole> {
        // The project: roles that this one names lie beside it, in the same folder.
        let project = dir.parent().and_then(Path::parent).unwrap_or(dir);
        let mut load = Load::new(self, diags, project, project, Default::default());
        let at = Span::whole(&crate::source::SourceFile::new(dir, String::new()));
        let name = Text::new(dir.display().to_string());
        let written = roles::Use { files, ..roles::Use::of(name, &at) };
        let loaded = load.role(written, &site(Section::Tasks))?;
        Some(IncludedRole { role: loaded.role, items: loaded.items, handlers: loaded.handlers })
    }

    /// Reads a file of tasks or handlers by itself, as if a playbook in `playbook_dir` used it.
    pub fn tasks_alone(
        &self,
        path: &Path,
        playbook_dir: &Path,
        section: Section,
        diags: &mut Diagnostics,
    ) -> Vec<Item> {
        let mut load = Load::new(self, diags, playbook_dir, playbook_dir, Default::default());
        // The place that an error about the file as a whole is shown at.
        let at = match read_file(path) {
            Ok(file) => Span::whole(&file),
            Err(problem) => {
                load.diags.push(problem);
                return Vec::new();
            }
        };
        let read = load.within_file(path, &at, |load| {
            let node = load.document(path, Some(&at))?;
            Some(match section {
                Section::Tasks => load.items(&node, &site(section)),
                Section::Handlers => load.handlers(&node, &site(section)).into_iter().map(item).collect(),
            })
        });
        read.flatten().unwrap_or_default()
    }
}

fn site(section: Section) -> Site {
    let (name, in_handlers) = match section {
        Section::Tasks => ("tasks", false),
        Section::Handlers => ("handlers", true),
    };
    Site {
        inherited: Keywords::default(),
        role: None,
        path: StaticPath::new(name),
        in_handlers,
        in_transaction: false,
    }
}

fn item(handler: std::sync::Arc<Handler>) -> Item {
    Item::Task(std::sync::Arc::new(handler.task.clone()))
}
