//! `meta`: what acts on the run itself.

use crate::inventory::HostName;
use crate::playbook::{ModuleCall, Task};
use crate::source::Val;

use super::event::{Event, Outcome, Status};
use super::instance::Instance;
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
                if self.first_where(task, hosts, frame).is_some() {
                    self.tell_meta("cleared host errors");
                    let mut state = self.state();
                    state.failed.clear();
                    state.unreachable.clear();
                    state.clears += 1;
                }
                Failures::new()
            }
            "end_play" | "end_batch" => {
                // Decided by the first host, as Ansible does.
                let what = action.trim().trim_start_matches("end_");
                if self.first_where(task, hosts, frame).is_none() {
                    let going_on = if what == "play" { "play" } else { "current batch" };
                    let told = format!("end_{what} conditional evaluated to False, continuing {going_on}");
                    self.tell_meta(&told);
                } else {
                    self.tell_meta(&format!("ending {what}"));
                    let mut state = self.state();
                    state.ended.extend(hosts.iter().cloned());
                    state.batch_over = true;
                    state.play_over |= action.trim() == "end_play";
                }
                Failures::new()
            }
            "clear_facts" => {
                for host in self.those_where(task, hosts, frame) {
                    self.engine.variables.host_vars().clear_facts(&host);
                    self.tell_meta("facts cleared");
                }
                Failures::new()
            }
            "end_host" => {
                let leaving = self.those_where(task, hosts, frame);
                for host in hosts {
                    self.tell_meta(&match leaving.contains(host) {
                        true => format!("ending play for {host}"),
                        false => format!(
                            "end_host conditional evaluated to False, continuing execution for {host}"
                        ),
                    });
                }
                self.state().ended.extend(leaving);
                Failures::new()
            }
            "end_role" => match &frame.role {
                Some(role) => {
                    let leaving = self.those_where(task, hosts, frame);
                    let name = task.role.as_ref().map_or("", |r| &r.name);
                    for host in hosts {
                        self.tell_meta(&match leaving.contains(host) {
                            true => format!("ending role {name} for {host}"),
                            false => format!(
                                "end_role conditional evaluated to False, continuing role {name} for {host}"
                            ),
                        });
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
                for host in self.those_where(task, hosts, frame) {
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

    fn tell_meta(&self, message: &str) {
        self.engine.sink.send(Event::Meta { message: message.to_string() });
    }

    /// The hosts whose `when` holds. A condition that can't be judged fails nobody here: it is
    /// told and counts as false.
    fn those_where(&self, task: &Task, hosts: &[HostName], frame: &Frame) -> Vec<HostName> {
        let layers = self.task_layers(task, frame);
        let search = self.search_path(task);
        let label = self.plain_label(task, hosts);
        hosts
            .iter()
            .filter(|host| {
                let instance = Instance {
                    run: self,
                    task,
                    label: &label,
                    host: (*host).clone(),
                    frame,
                    layers: &layers,
                    search: &search,
                    learners: vec![],
                };
                match instance.holds(&self.scope(host, &layers)) {
                    Ok(holds) => holds,
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

    fn first_where<'h>(&self, task: &Task, hosts: &'h [HostName], frame: &Frame) -> Option<&'h HostName> {
        let first = hosts.first()?;
        let holds = !self.those_where(task, std::slice::from_ref(first), frame).is_empty();
        holds.then_some(first)
    }
}
