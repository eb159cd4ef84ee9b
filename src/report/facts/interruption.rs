//! How long a service was away, by a plain rule.
//!
//! An interruption of a host begins with the first Step that makes a service go away (stop, restart,
//! recreate) and ends with the first check of health after it that is well: `uri`, `wait_for`,
//! `wait_for_connection`, or `postgresql_login` that is let in. The next such Step begins another.
//! A command of a handler counts as such a Step; what one of another task restarts is not known.

use chrono::{DateTime, Local, SecondsFormat};
use serde::{Deserialize, Serialize};

use crate::engine::event::AppliedStep;

use crate::module::CHECKS_OF_HEALTH;

use super::Facts;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Interruption {
    pub host: String,
    /// The Step that it began with.
    pub step: String,
    pub from: String,
    pub to: Option<String>,
    pub seconds: Option<f64>,
    /// The task that saw the service well again.
    pub seen_by: Option<String>,
}

impl Facts {
    pub(super) fn interrupted_by(&mut self, host: &str, steps: &[AppliedStep]) {
        let Some(first) = steps.iter().find(|s| s.interrupts) else { return };
        if self.interruptions.iter().any(|i| i.host == host && i.to.is_none()) {
            return;
        }
        self.interruptions.push(Interruption {
            host: host.to_string(),
            step: first.label.clone(),
            from: written(first.began),
            to: None,
            seconds: None,
            seen_by: None,
        });
    }

    pub(super) fn well_again(&mut self, host: &str, module: &str, task: &str) {
        if !CHECKS_OF_HEALTH.contains(&module) {
            return;
        }
        if let Some(open) = self.interruptions.iter_mut().find(|i| i.host == host && i.to.is_none()) {
            let now = Local::now();
            let took = DateTime::parse_from_rfc3339(&open.from).map(|from| now.signed_duration_since(from));
            open.seconds = took.ok().map(|took| took.num_milliseconds() as f64 / 1000.0);
            open.to = Some(written(now));
            open.seen_by = Some(task.to_string());
        }
    }
}

fn written(at: DateTime<Local>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, false)
}
