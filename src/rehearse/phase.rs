//! A run or a rollback on its own time: tasks, Steps, endpoints.

use crate::report::rehearsal::{Mark, Phase, Ran as Task, Watched};
use crate::run::store::Stored;

use super::program::Ended;

/// Where everything was, on the time of a phase.
pub fn phase(name: &str, ended: &Ended, run: &Stored, endpoints: Vec<Watched>) -> Phase {
    let seconds = ended.took.as_secs_f64();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let mut started: Vec<(serde_json::Value, f64)> = Vec::new();
    let (mut tasks, mut undone) = (Vec::new(), Vec::new());
    for told in &ended.told {
        let event = &told.event;
        match event["event"].as_str() {
            Some("instance_started") => {
                started.push((serde_json::json!([event["host"], event["task"]["at"]]), told.at));
            }
            Some("instance_done") => {
                let key = serde_json::json!([event["host"], event["task"]["at"]]);
                let from = started.iter().rposition(|(k, _)| *k == key).map(|at| started.swap_remove(at).1);
                let (task, host) = (text(&event["task"]["name"]), text(&event["host"]));
                let (status, from) = (text(&event["status"]), from.unwrap_or(told.at));
                tasks.push(Task { task, host, status, from, to: told.at });
            }
            Some("undone") => {
                let (host, label) = (text(&event["host"]), format!("undo: {}", text(&event["step"])));
                undone.push(Mark { at: told.at, host, label });
            }
            _ => {}
        }
    }
    let mark = |step: &crate::run::history::Step| {
        let at = chrono::DateTime::parse_from_rfc3339(&step.intent.at).ok()?;
        let at = at.signed_duration_since(ended.begun).num_milliseconds() as f64 / 1000.0;
        let (host, label) = (step.intent.host.clone(), step.intent.label.clone());
        (0.0..=seconds).contains(&at).then_some(Mark { at, host, label })
    };
    let steps = run.history.steps.iter().filter_map(mark).chain(undone).collect();
    let begun = ended.begun.to_rfc3339_opts(chrono::SecondsFormat::Millis, false);
    Phase { name: name.to_string(), begun, seconds, tasks, steps, endpoints }
}
