//! The control shell of a host: one channel beside the work shells, as the login user, opened when
//! a lock is asked for. It gives way to nobody, and its traffic isn't counted as a task's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::refused;
use crate::remote::connections::{Observer, Route};
use crate::remote::shell::Shell;
use crate::remote::{Output, RemoteError, RemoteErrorKind};

const FUNCTIONS: &str = concat!(include_str!("alive.sh"), include_str!("lock.sh"));

/// Everything that it is asked is quick; a host that says nothing for longer is lost.
const LIMIT: Duration = Duration::from_secs(30);

/// What the host's functions say where a person must do something there.
const HELP: i32 = 7;

#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    name: String,
    /// Another one after the host's connection was made anew.
    route: std::sync::Mutex<Arc<dyn Route>>,
    shell: Mutex<Option<Shell>>,
    observer: Observer,
}

impl Control {
    pub fn new(name: &str, route: Arc<dyn Route>, observer: Observer) -> Control {
        let route = std::sync::Mutex::new(route);
        Control(Arc::new(Inner { name: name.into(), route, shell: Mutex::default(), observer }))
    }

    /// From now on its shell is opened there.
    pub fn reach_by(&self, route: Arc<dyn Route>) {
        *self.0.route.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = route;
    }

    fn route(&self) -> Arc<dyn Route> {
        self.0.route.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub fn host(&self) -> &str {
        &self.0.name
    }

    /// Runs a script that ends well; a lost shell is thrown away and the next call opens another.
    pub async fn run(&self, script: &str, what: &str) -> Result<Output, RemoteError> {
        let ran = tokio::time::timeout(LIMIT, async {
            let mut slot = self.0.shell.lock().await;
            let mut shell = match slot.take() {
                Some(shell) => shell,
                None => {
                    let mut shell = self.route().shell().await?;
                    shell.define(FUNCTIONS).await?;
                    shell
                }
            };
            let output = shell.run(script).await?;
            *slot = Some(shell);
            Ok::<_, RemoteError>(output)
        });
        let output = ran.await.map_err(|_| RemoteError {
            kind: RemoteErrorKind::Unreachable,
            message: format!("the host said nothing to {what} for {} s", LIMIT.as_secs()),
            help: None,
        })??;
        self.0.observer.tell(&self.0.name, || format!("{what}: status {}", output.status));
        if output.success() {
            return Ok(output);
        }
        let said = output.stderr_text();
        let said = said.trim();
        Err(match said.rsplit_once('\n') {
            Some((message, help)) if output.status == HELP => refused(message.into()).with_help(help),
            _ if said.is_empty() => refused(format!("{what} ended with status {}", output.status)),
            _ => refused(said.into()),
        })
    }
}
