//! Whether an effect of Compose came to what was wanted.

use std::collections::BTreeSet;

use crate::module::compose::{Container, Progress};

/// What must be true of the containers afterwards.
#[derive(Default)]
pub struct Goal {
    /// Ids that may not be there any more.
    pub gone: BTreeSet<String>,
    pub running: bool,
    /// Running, and healthy where a check is defined.
    pub well: bool,
}

/// What isn't as wanted.
pub struct Faults {
    pub services: Vec<String>,
    pub why: Vec<String>,
}

impl Goal {
    pub fn faults(
        &self,
        now: &[&Container],
        status: i32,
        progress: &Progress,
        stderr: &str,
    ) -> Option<Faults> {
        let mut faults = Faults { services: Vec::new(), why: Vec::new() };
        for container in now {
            let why = if self.gone.contains(&container.id) {
                format!(
                    "{} was not recreated: its container is still {}",
                    container.service,
                    short(&container.id)
                )
            } else if self.well && !container.is_well() {
                format!("{} is not healthy", container.described())
            } else if status != 0 && matches!(container.health.as_str(), "unhealthy" | "starting")
                || self.running && !container.is_running() && container.exit_code != 0
            {
                container.described()
            } else {
                continue;
            };
            faults.why.push(why);
            faults.services.push(container.service.clone());
        }
        if status != 0 {
            let said =
                if progress.errors.is_empty() { last_line(stderr) } else { progress.errors.join("\n") };
            faults.why.push(format!("docker compose ended with status {status}: {said}"));
        }
        faults.services.dedup();
        (!faults.why.is_empty()).then_some(faults)
    }
}

impl Faults {
    pub fn message(&self, dir: &str, now: &[&Container]) -> String {
        let states: Vec<String> = now.iter().map(|c| c.described()).collect();
        let states = if states.is_empty() { "no containers".to_string() } else { states.join(", ") };
        format!("{}\nNow in {dir}: {states}", self.why.join("\n"))
    }

    pub fn help(&self, dir: &str) -> String {
        match self.services.first() {
            Some(service) => {
                format!(
                    "look at it on the host: cd {dir} && docker compose ps -a && docker compose logs --tail 100 {service}"
                )
            }
            None => format!("look at it on the host: cd {dir} && docker compose ps -a"),
        }
    }
}

pub fn last_line(text: &str) -> String {
    text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing").trim().to_string()
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
