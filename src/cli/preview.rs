//! What a run on a protected inventory would do, and the confirmation that it asks for.

use std::sync::{Arc, Mutex};

use crate::engine::Ending;
use crate::engine::event::{Event, Outcome, Sink, Status};
use crate::engine::prospects::{Prospect, Way};
use crate::module::control::Console;
use crate::report::{Paint, Screen};
use crate::secret::Error;

use super::setup::Outputs;

/// What check mode predicted.
#[derive(Default)]
pub struct Prediction {
    pub changed: Vec<(String, String)>,
    pub unknown: Vec<(String, String, String)>,
    pub failed: Vec<(String, String, String)>,
    pub steps: Vec<Prospect>,
}

/// Collects what a preview predicts; shows nothing but what is wrong in the source.
pub struct Collector {
    pub prediction: Mutex<Prediction>,
    pub shown: Arc<dyn Sink>,
}

impl Sink for Collector {
    fn send(&self, event: Event) {
        match event {
            Event::InstanceDone { task, host, outcome, ignored, .. } => {
                self.note(task.name.clone(), host, &outcome, ignored);
            }
            Event::Diagnostic(_) => self.shown.send(event),
            _ => {}
        }
    }
}

impl Collector {
    fn note(&self, task: String, host: String, outcome: &Outcome, ignored: bool) {
        let mut prediction = self.prediction.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let message = || outcome.get("msg").map(|m| m.key_text()).unwrap_or_default();
        match (&outcome.unknown, outcome.status) {
            (Some(cause), _) => prediction.unknown.push((host, task, cause.clone())),
            (None, Status::Changed) => prediction.changed.push((host, task)),
            (None, Status::Failed | Status::Unreachable) if !ignored => {
                prediction.failed.push((host, task, message()));
            }
            _ => {}
        }
    }
}

/// What a protected run is confirmed with.
pub struct Confirmation {
    /// The inventory's name, to be typed.
    pub name: String,
    pub playbooks: String,
    pub hosts: Vec<String>,
    pub reason: String,
    /// `--yes`
    pub yes: Option<String>,
    /// `--even-if-ok`
    pub even_if_ok: bool,
}

/// Shows the plan and asks for the name.
///
/// # Errors
/// It would fail, or change nothing; or the name is another one.
pub fn confirm(
    wanted: &Confirmation,
    prediction: &Prediction,
    ending: Ending,
    outputs: &Outputs,
) -> Result<(), Error> {
    show(wanted, prediction, &outputs.screen);
    if !prediction.failed.is_empty() || matches!(ending, Ending::Failed | Ending::Unreachable | Ending::Error)
    {
        return Err(Error::refused("the preview fails, so nothing was begun")
            .help("what fails is listed above; the same with --check shows more"));
    }
    if prediction.changed.is_empty() && prediction.unknown.is_empty() && !wanted.even_if_ok {
        return Err(Error::refused("nothing would change, so nothing was begun")
            .help("--even-if-ok runs it all the same"));
    }
    let name = &wanted.name;
    if let Some(yes) = &wanted.yes {
        return match yes == name {
            true => Ok(()),
            false => {
                Err(Error::refused(format!("--yes {yes} is not the name of this inventory, which is {name}")))
            }
        };
    }
    let question = format!("\nType the name of the inventory ({name}) to go on: ");
    match outputs.console().ask_now(&question, true).as_deref().map(str::trim) {
        Some(typed) if typed == name => Ok(()),
        Some(_) => Err(Error::refused("that is not its name; nothing was begun")),
        None => Err(Error::refused(format!("the inventory {name} is protected, and there is nobody to ask"))
            .help(format!("for a script: --yes {name}"))),
    }
}

fn show(wanted: &Confirmation, prediction: &Prediction, screen: &Screen) {
    let say = |paint: Paint, text: String| screen.line(paint, &text);
    say(Paint::Plain, format!("\n{} on {} (protected)", wanted.playbooks, wanted.name));
    say(Paint::Plain, format!("  hosts   {}", wanted.hosts.join(", ")));
    say(Paint::Plain, format!("  reason  {}", wanted.reason));
    let heading = |text: &str| say(Paint::Plain, format!("\n{text}"));
    if !prediction.changed.is_empty() {
        heading("Would change:");
    }
    for (host, task) in &prediction.changed {
        say(Paint::Changed, format!("  [{host}] {task}"));
    }
    if !prediction.unknown.is_empty() {
        heading("Not known before the run:");
    }
    for (host, task, cause) in &prediction.unknown {
        say(Paint::Warning, format!("  [{host}] {task}: {cause}"));
    }
    if !prediction.failed.is_empty() {
        heading("Would fail:");
    }
    for (host, task, message) in &prediction.failed {
        say(Paint::Failed, format!("  [{host}] {task}: {message}"));
    }
    let forward: Vec<(&Prospect, &String)> = prediction
        .steps
        .iter()
        .filter_map(|step| match &step.way {
            Way::Forward(why) => Some((step, why)),
            Way::Back | Way::Again => None,
        })
        .collect();
    if !forward.is_empty() {
        heading("Can't be taken back:");
    }
    for (step, why) in forward {
        say(Paint::Warning, format!("  [{}] {} ({}): {why}", step.host, step.label, step.task));
    }
    let interrupting: Vec<&Prospect> = prediction.steps.iter().filter(|s| s.way == Way::Again).collect();
    heading(if interrupting.is_empty() {
        "Interruption: none is foreseen."
    } else {
        "Interruption, while these run:"
    });
    for step in interrupting {
        say(Paint::Plain, format!("  [{}] {}", step.host, step.label));
    }
}
