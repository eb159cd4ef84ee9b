//! From loaded plays to their tasks in running order, through includes whose names are written out.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::lint::Visit;
use crate::playbook::{Action, Block, BlockKind, Handler, IncludeRole, Item, Loader, Play, RoleFiles, Task};
use crate::source::{Diagnostics, Span, Text};

/// Includes within each other; more is a loop that only a condition ends.
const DEEPEST: usize = 20;
/// Tasks of one playbook that are looked at.
const MOST: usize = 100_000;

pub struct Walk<'a> {
    loader: &'a Loader,
    diags: &'a mut Diagnostics,
    walked: Walked,
    play: Option<Arc<Play>>,
    /// See [`Visit::site`]; `None` for what is written in the playbook itself.
    site: Option<Span>,
    in_rescue: bool,
    /// Places of the includes around.
    open: Vec<String>,
}

#[derive(Default)]
pub struct Walked {
    pub visits: Vec<Visit>,
    /// Files that tasks are in, folders of roles.
    pub files: HashSet<PathBuf>,
}

impl<'a> Walk<'a> {
    pub fn new(loader: &'a Loader, diags: &'a mut Diagnostics) -> Walk<'a> {
        Walk {
            loader,
            diags,
            walked: Walked::default(),
            play: None,
            site: None,
            in_rescue: false,
            open: Vec::new(),
        }
    }

    pub fn done(self) -> Walked {
        self.walked
    }

    pub fn play(&mut self, play: Arc<Play>) {
        self.play = Some(play.clone());
        for (_, items) in play.sections() {
            self.items(items);
        }
        play.handlers.iter().for_each(|handler| self.handler(handler));
    }

    pub fn handler(&mut self, handler: &Handler) {
        self.task(&Arc::new(handler.task.clone()));
    }

    pub fn items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Task(task) => self.task(task),
                Item::Block(block) => self.block(block),
            }
        }
    }

    fn block(&mut self, block: &Block) {
        match (&block.role, block.kind) {
            (Some(role), BlockKind::Role) => {
                self.walked.files.insert(role.path.clone());
                self.at(&block.span, |walk| walk.parts(block));
            }
            _ => self.parts(block),
        }
    }

    fn parts(&mut self, block: &Block) {
        self.items(&block.body);
        let before = std::mem::replace(&mut self.in_rescue, true);
        self.items(&block.rescue);
        self.in_rescue = before;
        self.items(&block.always);
    }

    fn task(&mut self, task: &Arc<Task>) {
        if self.walked.visits.len() >= MOST {
            return;
        }
        self.walked.files.extend(task.span.file.path.clone());
        let at = match &task.action {
            Action::Module(call) => &call.span,
            Action::IncludeTasks(include) => &include.span,
            Action::IncludeRole(include) => &include.span,
        };
        self.walked.visits.push(Visit {
            task: task.clone(),
            site: self.site.clone().unwrap_or_else(|| self.own(at)),
            play: self.play.clone(),
            in_rescue: self.in_rescue,
        });
        self.beside(task);
        match &task.action {
            Action::Module(_) => {}
            Action::IncludeTasks(include) => {
                let Some(play) = self.including(at, &include.file) else { return };
                let loaded = self.loader.include_tasks(include, &include.file, task, &play);
                self.included(at, loaded.map(|included| (included.items, Vec::new())));
            }
            Action::IncludeRole(include) => {
                let Some(play) = self.including(at, &include.role) else { return };
                let loaded = self.include_role(include, task, &play);
                self.included(at, loaded);
            }
        }
    }

    /// What undoes a task is no part of the flow, but is read.
    fn beside(&mut self, task: &Task) {
        let before = std::mem::replace(&mut self.in_rescue, true);
        self.items(&task.undo);
        self.in_rescue = before;
    }

    /// The play for an include that can be followed: its name is written out, and it isn't within
    /// itself.
    fn including(&self, at: &Span, name: &Text) -> Option<Arc<Play>> {
        let is_inside = self.open.iter().any(|open| *open == at.to_string());
        let follow = !name.is_template() && self.open.len() < DEEPEST && !is_inside;
        self.play.clone().filter(|_| follow)
    }

    fn include_role(
        &mut self,
        include: &IncludeRole,
        task: &Task,
        play: &Play,
    ) -> Result<(Vec<Item>, Vec<Arc<Handler>>), Diagnostics> {
        let fixed = |text: &Option<Text>| text.clone().filter(|text| !text.is_template());
        let files = RoleFiles {
            tasks: fixed(&include.files.tasks),
            vars: fixed(&include.files.vars),
            defaults: fixed(&include.files.defaults),
            handlers: fixed(&include.files.handlers),
        };
        let is_public = include.public.as_ref().and_then(|public| public.fixed()).copied().unwrap_or(false);
        let loaded = self.loader.include_role(include, &include.role, &files, task, play, is_public, true)?;
        self.walked.files.insert(loaded.role.path.clone());
        Ok((loaded.items, loaded.handlers))
    }

    fn included(&mut self, at: &Span, loaded: Result<(Vec<Item>, Vec<Arc<Handler>>), Diagnostics>) {
        match loaded {
            Ok((items, handlers)) => {
                self.open.push(at.to_string());
                self.at(at, |walk| {
                    walk.items(&items);
                    handlers.iter().for_each(|handler| walk.handler(handler));
                });
                self.open.pop();
            }
            Err(problems) => self.diags.0.extend(problems.0),
        }
    }

    /// Walks what stands at `site`, if that is in the playbook's own file.
    fn at(&mut self, site: &Span, walk: impl FnOnce(&mut Self)) {
        let before = self.site.clone();
        let is_own = |play: &Arc<Play>| play.span.file.name == site.file.name;
        if self.site.is_none() && self.play.as_ref().is_none_or(is_own) {
            self.site = Some(site.clone());
        }
        walk(self);
        self.site = before;
    }

    /// A place in the playbook's own file: the play itself for tasks of an imported file.
    fn own(&self, at: &Span) -> Span {
        match &self.play {
            Some(play) if play.span.file.name != at.file.name => play.span.clone(),
            _ => at.clone(),
        }
    }
}
