//! Handlers: notified by changes, run once in the order in which they are defined.

use std::sync::Arc;

use indexmap::IndexSet;

use crate::inventory::HostName;
use crate::playbook::{Handler, Item};
use crate::source::Val;

use super::play::PlayRun;
use super::strategy::{Failures, Frame};

impl PlayRun<'_> {
    /// Marks what a change notified. Of several handlers with the notified name one runs; all that
    /// listen to the topic run.
    ///
    /// # Errors
    /// No handler answers to the name.
    pub fn notify(&self, host: &HostName, name: &str) -> Result<(), String> {
        let handlers = self.handlers();
        let named = |h: &Arc<Handler>| {
            h.task.name.as_ref().map(|t| {
                let rendered = self.render_title(&Val::Text(t.clone()));
                rendered.key_text()
            })
        };
        let answers = |h: &Arc<Handler>| {
            let own = named(h);
            h.answers_to(name, own.as_deref()) && !h.listen.iter().any(|l| l == name)
        };
        // What was defined later wins: the play's over a role's. In one list the first does.
        let list = |h: &Arc<Handler>| h.task.role.as_ref().map(|r| r.identity.clone());
        let last = handlers.iter().rev().find(|h| answers(h)).map(list);
        let by_name = last.and_then(|own| handlers.iter().position(|h| list(h) == own && answers(h)));
        let listening: Vec<usize> = handlers
            .iter()
            .enumerate()
            .filter(|(_, h)| h.listen.iter().any(|l| l == name))
            .map(|(i, _)| i)
            .collect();
        let found: IndexSet<usize> = by_name.into_iter().chain(listening).collect();
        if found.is_empty() {
            return Err(format!(
                "The requested handler '{name}' was not found in either the main handlers list nor in the \
                 listening handlers list"
            ));
        }
        let mut state = self.state();
        for index in found {
            state.notified.entry(index).or_default().insert(host.clone());
        }
        Ok(())
    }

    /// Runs what was notified on these hosts.
    pub async fn flush_handlers(&self, hosts: &[HostName], frame: &Frame) -> Failures {
        let mut failures = Failures::new();
        let frame = Frame { handlers: true, role: None, site: self.next_flush(frame), ..frame.clone() };
        let mut index = 0;
        while let Some(handler) = self.handlers().get(index).cloned() {
            let waiting: Vec<HostName> = {
                let mut state = self.state();
                let notified = state.notified.entry(index).or_default();
                let mine: Vec<HostName> = hosts
                    .iter()
                    .filter(|h| notified.contains(*h) && !failures.contains_key(*h))
                    .cloned()
                    .collect();
                for host in &mine {
                    notified.shift_remove(host);
                }
                mine
            };
            let waiting = self.still(&waiting, &frame);
            if !waiting.is_empty() {
                let item = [Item::Task(Arc::new(handler.task.clone()))];
                failures.extend(self.items(&item, &waiting, &frame).await);
            }
            index += 1;
        }
        failures
    }
}
