//! The linear strategy: every task on all hosts before the next one; blocks with rescue and
//! always; transactions.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use indexmap::IndexMap;

use crate::inventory::HostName;
use crate::playbook::{Block, BlockKind, Item};
use crate::source::{Map, Val};

use super::event::Event;
use super::instance::put;
use super::play::PlayRun;
use super::undo::{self, RunTasks, Undone};
use crate::run::history;
use crate::run::record::{Record, StepId};

/// Hosts that failed, each with the task and the result that did it.
pub type Failures = IndexMap<HostName, FailedTask>;

/// What `rescue` sees as `ansible_failed_task` and `ansible_failed_result`.
#[derive(Debug, Clone)]
pub struct FailedTask {
    pub task: Val,
    pub result: Val,
}

/// Runs tasks on one host, apart from the list that is going on.
pub struct OnHost<'r, 'e> {
    pub run: &'r PlayRun<'e>,
    pub host: HostName,
}

#[async_trait]
impl RunTasks for OnHost<'_, '_> {
    async fn run_tasks(&self, tasks: &[Item], _: &[StepId]) -> Result<(), String> {
        // Each time something else: a loop's items have the same tasks.
        let site = history::undo_site(&self.run.site, self.run.engine.next_task_id()).into();
        let frame = Frame { rescuable: true, undoing: true, site, ..Frame::default() };
        let failed = self.run.items(tasks, std::slice::from_ref(&self.host), &frame).await;
        match failed.values().next() {
            None => Ok(()),
            Some(failed) => Err(format!("its `undo:` failed: {}", failed.message())),
        }
    }
}

impl FailedTask {
    fn message(&self) -> String {
        self.result.get("msg").map_or_else(|| self.result.to_json().to_string(), Val::key_text)
    }
}

/// Where a list of tasks stands.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// A failure here is met by a `rescue` further out.
    pub rescuable: bool,
    /// Inverses are kept: a `transaction: true` block is around.
    pub transaction: bool,
    /// Loop variables of the includes around.
    pub vars: Vec<(String, Val)>,
    pub handlers: bool,
    /// These tasks take something back: an interrupt doesn't keep them from their end.
    pub undoing: bool,
    /// Identity of the role whose tasks these are, for `meta: end_role`.
    pub role: Option<Arc<str>>,
    /// What an Instance's id begins with: play, batch, includes around.
    pub site: Arc<str>,
}

impl PlayRun<'_> {
    /// Runs a list of tasks on hosts and tells which failed. A host that failed takes no further
    /// part in this list.
    pub fn items<'a>(
        &'a self,
        items: &'a [Item],
        hosts: &'a [HostName],
        frame: &'a Frame,
    ) -> BoxFuture<'a, Failures> {
        Box::pin(async move {
            let mut failures = Failures::new();
            for item in items {
                let alive: Vec<HostName> =
                    self.still(hosts, frame).into_iter().filter(|h| !failures.contains_key(h)).collect();
                if alive.is_empty() || self.is_cut(frame) {
                    break;
                }
                let clears = self.state().clears;
                let failed = match item {
                    Item::Task(task) => self.task(task, &alive, frame).await,
                    Item::Block(block) => self.block(block, &alive, frame).await,
                };
                if self.state().clears > clears {
                    failures.clear();
                }
                if !frame.rescuable {
                    self.note_failed(&failed);
                }
                failures.extend(failed);
            }
            failures
        })
    }

    async fn block(&self, block: &Block, hosts: &[HostName], frame: &Frame) -> Failures {
        let (hosts, frame) = match (block.kind, &block.role) {
            (BlockKind::Role, Some(role)) => {
                let hosts = self.enter_role(role, hosts);
                (hosts, Frame { role: Some(role.identity.as_str().into()), ..frame.clone() })
            }
            _ => (hosts.to_vec(), frame.clone()),
        };
        if hosts.is_empty() {
            return Failures::new();
        }
        let body = Frame {
            rescuable: frame.rescuable || !block.rescue.is_empty(),
            transaction: frame.transaction || block.transaction,
            ..frame.clone()
        };
        let marks = self.open_transaction(block, &hosts);
        let mut failures = self.items(&block.body, &hosts, &body).await;
        if block.transaction {
            let below = format!("{}/{}", frame.site, block.path);
            let commit = Frame { site: format!("{below}/commit").into(), ..body.clone() };
            self.fail_cut(&hosts, &mut failures);
            failures.extend(self.commit(&hosts, &failures, &commit).await);
            self.roll_back(&marks, &below, &mut failures).await;
        }
        if !block.rescue.is_empty() && !failures.is_empty() {
            let rescued: Vec<HostName> = failures.keys().cloned().collect();
            for (host, failed) in &failures {
                let learned = self.engine.variables.host_vars();
                learned.set_fact(host, "ansible_failed_task", failed.task.clone());
                learned.set_fact(host, "ansible_failed_result", failed.result.clone());
            }
            failures = self.items(&block.rescue, &rescued, &frame).await;
        }
        if !block.always.is_empty() {
            let clears = self.state().clears;
            let failed_in_always = self.items(&block.always, &hosts, &frame).await;
            if self.state().clears > clears {
                failures.clear();
            }
            failures.extend(failed_in_always);
        }
        if let (BlockKind::Role, Some(role)) = (block.kind, &block.role) {
            self.leave_role(role, &hosts);
        }
        failures
    }

    /// Whether an interrupt ends what is going on here, before its end.
    pub fn is_cut(&self, frame: &Frame) -> bool {
        let cut = self.engine.interrupt.is_raised() && !frame.undoing;
        if cut {
            self.state().cut = true;
        }
        cut
    }

    /// A transaction that an interrupt cut has failed: half of it must not stay.
    fn fail_cut(&self, hosts: &[HostName], failures: &mut Failures) {
        if !self.state().cut {
            return;
        }
        for host in hosts {
            failures.entry(host.clone()).or_insert_with(|| {
                let mut result = Map::new();
                put(&mut result, "msg", "interrupted");
                put(&mut result, "failed", true);
                FailedTask { task: Val::map(Map::new()), result: Val::map(result) }
            });
        }
    }

    /// Remembers how far each host's applied Steps go, so that a failure takes back only this
    /// block's.
    fn open_transaction(&self, block: &Block, hosts: &[HostName]) -> IndexMap<HostName, usize> {
        if !block.transaction {
            return IndexMap::new();
        }
        let mut state = self.state();
        hosts.iter().map(|h| (h.clone(), state.applied.entry(h.clone()).or_default().len())).collect()
    }

    /// Handlers that were notified inside run before the block counts as done.
    async fn commit(&self, hosts: &[HostName], failed: &Failures, frame: &Frame) -> Failures {
        let alive: Vec<HostName> = hosts.iter().filter(|h| !failed.contains_key(*h)).cloned().collect();
        self.flush_handlers(&alive, frame).await
    }

    /// Undoes what failed hosts applied since their mark.
    async fn roll_back(&self, marks: &IndexMap<HostName, usize>, below: &str, failures: &mut Failures) {
        let failed: Vec<HostName> = failures.keys().cloned().collect();
        for host in failed {
            let Some(mark) = marks.get(&host) else { continue };
            let applied = {
                let mut state = self.state();
                state.notified.values_mut().for_each(|hosts| {
                    hosts.shift_remove(&host);
                });
                let all = state.applied.entry(host.clone()).or_default();
                all.split_off((*mark).min(all.len()))
            };
            let mut failed_undo = Vec::new();
            let runner = OnHost { run: self, host: host.clone() };
            let (below, name) = (below.to_string(), host.to_string());
            self.engine.note(&Record::Undoing { below: below.clone(), host: name.clone() });
            let mut told = |step: Undone| failed_undo.extend(self.engine.undone(&host, step));
            undo::undo(applied, &runner, &mut told).await;
            if self.state().unreachable.contains(&host) {
                // Its `rescue` doesn't run, so nobody else tells.
                let how = if failed_undo.is_empty() { "Everything" } else { "NOT everything" };
                let message = format!("{host}: {how} that the transaction did was undone");
                self.engine.sink.send(Event::Notice { message });
            }
            if failed_undo.is_empty() {
                self.engine.note(&Record::Void { below, host: name });
            }
            if let Some(failed) = failures.get_mut(&host)
                && let Some(result) = failed.result.as_map()
            {
                let mut result: Map = result.clone();
                put(&mut result, "undone", failed_undo.is_empty());
                if !failed_undo.is_empty() {
                    put(&mut result, "not_undone", Val::from(failed_undo));
                }
                failed.result = Val::map(result);
            }
        }
    }
}
