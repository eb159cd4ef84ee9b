//! A task's own `undo:` tasks, run by a rollback: they use what the run knew, so its plays are gone
//! through again with what is recorded, up to the task; nothing else is done on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::event::{Event, Sink};
use super::instance::Instance;
use super::play::PlayRun;
use super::strategy::OnHost;
use super::undo::RunTasks;

/// Whose `undo:` an engine is to run, instead of a run.
pub struct OwnUndo {
    /// Its id, with its loop item.
    instance: String,
    screen: Arc<Screen>,
    ended: mpsc::UnboundedSender<Result<(), String>>,
}

/// Where to hear how it went; never, where the plays don't come to that task.
pub type Ended = mpsc::UnboundedReceiver<Result<(), String>>;

impl OwnUndo {
    pub fn new(instance: &str, screen: Arc<Screen>) -> (OwnUndo, Ended) {
        let (ended, heard) = mpsc::unbounded_channel();
        (OwnUndo { instance: instance.into(), screen, ended }, heard)
    }

    fn is_of(&self, task_on_host: &str) -> bool {
        self.instance.strip_prefix(task_on_host).is_some_and(|item| item.is_empty() || item.starts_with('#'))
    }
}

/// Hides what was told when the run was there; remembers why a host came no further.
pub struct Screen {
    shown: Arc<dyn Sink>,
    open: AtomicBool,
    failure: std::sync::Mutex<Option<String>>,
}

impl Screen {
    pub fn new(shown: Arc<dyn Sink>) -> Arc<Screen> {
        Arc::new(Screen { shown, open: AtomicBool::new(false), failure: Default::default() })
    }

    /// Why the plays didn't come to the task.
    pub fn why(&self) -> String {
        let failure = self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*failure {
            Some(why) => format!("the plays did not come to it again: {why}"),
            None => "the plays did not come to it again".into(),
        }
    }
}

impl Sink for Screen {
    fn send(&self, event: Event) {
        if self.open.load(Ordering::Relaxed) {
            return self.shown.send(event);
        }
        let why = match &event {
            Event::InstanceDone { outcome, ignored: false, .. } if outcome.is_failed() => {
                outcome.get("msg").map(crate::source::Val::key_text)
            }
            Event::Diagnostic(problem) => Some(problem.message.clone()),
            _ => None,
        };
        if why.is_some() {
            *self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = why;
        }
    }
}

impl PlayRun<'_> {
    /// Runs the `undo:` of this Instance if it is the one; then nothing more happens.
    pub async fn own_undo(&self, instance: &Instance<'_>) {
        let Some(own) = self.engine.own_undo.as_ref().filter(|own| own.is_of(&instance.id)) else { return };
        own.screen.open.store(true, Ordering::Relaxed);
        let runner = OnHost { run: self, host: instance.host.clone() };
        let ended = runner.run_tasks(&instance.task.undo, &[]).await;
        // Nobody listens any more where the program is at its end.
        own.ended.send(ended).ok();
        std::future::pending::<()>().await;
    }
}
