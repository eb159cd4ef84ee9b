//! `meta`: what acts on the run itself.

use std::sync::Arc;

use crate::inventory::HostName;
use crate::playbook::{ModuleCall, Task};
use crate::source::Val;

use super::event::{Event, Outcome, Status, TaskLabel};
use super::instance::put;
use super::play::PlayRun;
use super::stats::Taken;
use super::strategy::{Failures, Frame};

/// Every action of `meta`.
pub const ACTIONS: [&str; 10] = [
    "noop",
    "flush_handlers",
    "refresh_inventory",
    "clear_facts",
    "clear_host_errors",
    "end_play",
    "end_batch",
    "end_host",
    "end_role",
    "reset_connection",
];

impl PlayRun<'_> {
    pub async fn meta(&self, task: &Task, call: &ModuleCall, hosts: &[HostName], frame: &Frame) -> Failures {
        let action = call.args.get("_raw_params").map(Val::key_text).unwrap_or_default();
        match action.trim() {
            "flush_handlers" => self.flush_handlers(hosts, frame).await,
            "noop" => Failures::new(),
            "refresh_inventory" => self.fail_all(
                task,
                hosts,
                frame,
                "meta: refresh_inventory is not supported: the inventory is read once a run",
            ),
            "clear_host_errors" => {
                if self.first_where(task, action.trim(), hosts, frame).is_some() {
                    self.tell_meta("cleared host errors");
                    let mut state = self.state();
                    state.failed.clear();
                    state.unreachable.clear();
                    // Whoever else was stopped by one of them goes on too.
                    state.stopped = false;
                    state.clears += 1;
                }
                Failures::new()
            }
            "end_play" | "end_batch" => {
                // Decided by the first host, as Ansible does.
                let what = action.trim();
                if self.first_where(task, what, hosts, frame).is_some() {
                    self.tell_meta(&what.replace("end_", "ending "));
                    let mut state = self.state();
                    state.ended.extend(hosts.iter().cloned());
                    state.batch_over = true;
                    state.play_over |= what == "end_play";
                }
                Failures::new()
            }
            "clear_facts" => {
                for host in self.those_where(task, action.trim(), hosts, frame) {
                    self.engine.variables.host_vars().clear_facts(&host);
                    self.tell_meta("facts cleared");
                }
                Failures::new()
            }
            "end_host" => {
                let leaving = self.those_where(task, action.trim(), hosts, frame);
                for host in &leaving {
                    self.tell_meta(&format!("ending play for {host}"));
                }
                self.state().ended.extend(leaving);
                Failures::new()
            }
            "end_role" => match &frame.role {
                Some(role) => {
                    let leaving = self.those_where(task, action.trim(), hosts, frame);
                    let name = task.role.as_ref().map_or("", |r| &r.name);
                    for host in &leaving {
                        self.tell_meta(&format!("ending role {name} for {host}"));
                    }
                    let mut state = self.state();
                    for host in leaving {
                        state.left_roles.insert((role.to_string(), host));
                    }
                    Failures::new()
                }
                None => self.fail_all(task, hosts, frame, "Cannot execute 'end_role' from outside of a role"),
            },
            "reset_connection" => {
                for host in self.those_where(task, action.trim(), hosts, frame) {
                    self.engine.connections.reset(&host).await;
                    self.tell_meta("reset connection");
                }
                Failures::new()
            }
            other => self.fail_all(
                task,
                hosts,
                frame,
                &format!("invalid meta action requested: {other}; it can be {}", ACTIONS.join(", ")),
            ),
        }
    }

    /// Its condition is false for a host.
    fn skip_meta(&self, task: &Task, label: &Arc<TaskLabel>, action: &str, host: &HostName) {
        let role = task.role.as_ref().map_or("", |r| &r.name);
        let more = match action {
            "end_host" => format!(", continuing execution for {host}"),
            "end_role" => format!(", continuing role {role} for {host}"),
            "end_play" => ", continuing play".into(),
            "end_batch" => ", continuing current batch".into(),
            _ => String::new(),
        };
        let reason = format!("{action} conditional evaluated to False{more}");
        self.tell_meta(&reason);
        let mut outcome = Outcome::skipped(&reason);
        put(&mut outcome.result, "msg", action);
        self.engine.sink.send(Event::InstanceDone {
            task: label.clone(),
            host: host.to_string(),
            delegate: None,
            outcome: Arc::new(outcome),
            ignored: false,
            looped: false,
        });
    }

    fn tell_meta(&self, message: &str) {
        self.engine.sink.send(Event::Meta { message: message.to_string() });
    }

    /// The hosts whose `when` holds. A condition that can't be judged fails nobody here: it is
    /// told and counts as false.
    fn those_where(&self, task: &Task, action: &str, hosts: &[HostName], frame: &Frame) -> Vec<HostName> {
        let layers = self.task_layers(task, frame);
        let search = self.search_path(task);
        let label = self.plain_label(task, hosts);
        hosts
            .iter()
            .filter(|host| {
                let instance = self.bystander(task, &label, host, frame, &layers, &search);
                match instance.holds(&self.scope(host, &layers)) {
                    Ok(true) => true,
                    Ok(false) => {
                        self.skip_meta(task, &label, action, host);
                        false
                    }
                    Err(why) => {
                        self.engine.stats.count(
                            host,
                            &Outcome::new(Status::Skipped, Default::default()),
                            Taken::Stands,
                        );
                        self.engine.sink.send(Event::Warning {
                            message: format!(
                                "{}: the condition can't be judged for {host}: {}",
                                task.span, why.message
                            ),
                        });
                        false
                    }
                }
            })
            .cloned()
            .collect()
    }

    fn first_where<'h>(
        &self,
        task: &Task,
        action: &str,
        hosts: &'h [HostName],
        frame: &Frame,
    ) -> Option<&'h HostName> {
        let first = hosts.first()?;
        let holds = !self.those_where(task, action, std::slice::from_ref(first), frame).is_empty();
        holds.then_some(first)
    }
}
