//! What Compose reports of its work on stderr, with `--progress plain`, dry or not.

use crate::source::{Map, Val};

/// What one run of Compose reported.
#[derive(Debug, Default, PartialEq)]
pub struct Progress {
    pub actions: Vec<Action>,
    /// `Error` lines, and lines that are none of Compose's reports when it failed.
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
}

/// Something that Compose began to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// `container`, `network`, `volume`, `image`, `service`, as results name them.
    pub what: &'static str,
    pub id: String,
    /// `Creating`, `Starting`, `Recreate`, …
    pub status: String,
}

impl Action {
    pub fn is_pull(&self) -> bool {
        self.status == "Pulling"
    }

    pub fn is_build(&self) -> bool {
        self.status == "Building"
    }

    pub fn result(&self) -> Val {
        let mut map = Map::new();
        map.insert("what".into(), self.what.into());
        map.insert("id".into(), self.id.as_str().into());
        map.insert("status".into(), self.status.as_str().into());
        Val::map(map)
    }
}

const WORKING: &[&str] = &[
    "Creating",
    "Starting",
    "Restarting",
    "Stopping",
    "Killing",
    "Removing",
    "Recreate",
    "Pulling",
    "Building",
];

impl Progress {
    /// Reads the stderr of one run of Compose.
    pub fn parse(stderr: &str) -> Progress {
        let mut progress = Progress::default();
        for line in stderr.lines() {
            let line = line.trim();
            let line = line.strip_prefix("DRY-RUN MODE -").unwrap_or(line).trim();
            if !line.is_empty() {
                progress.line(line);
            }
        }
        progress
    }

    fn line(&mut self, line: &str) {
        if let Some(message) = logged(line, "warning") {
            self.warnings.push(message);
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (what, id, status) = match words.as_slice() {
            ["Container", id, rest @ ..] => ("container", *id, rest),
            ["Network", id, rest @ ..] => ("network", *id, rest),
            ["Volume", id, rest @ ..] => ("volume", *id, rest),
            ["Image", id, rest @ ..] => ("image", *id, rest),
            ["build", "service", id] => ("service", *id, &["Building"][..]),
            [id, rest @ ..] => ("service", *id, rest),
            [] => return,
        };
        match status {
            [status] if WORKING.contains(status) => {
                let action = Action { what, id: id.to_string(), status: status.to_string() };
                if !self.actions.contains(&action) {
                    self.actions.push(action);
                }
            }
            ["Error", ..] => self.errors.push(line.to_string()),
            ["Warning", ..] => self.warnings.push(line.to_string()),
            _ if what != "service" => {}
            // "dependency failed to start", "no such service", what the engine said.
            _ if status.len() > 1 => self.errors.push(line.to_string()),
            _ => {}
        }
    }

    /// What changes a host: pulling is none by itself, and building only if asked.
    pub fn changes(&self, ignore_build: bool) -> bool {
        self.actions.iter().any(|a| !(a.is_pull() || ignore_build && a.is_build()))
    }

    pub fn any(&self, status: &str) -> bool {
        self.actions.iter().any(|a| a.what == "container" && a.status == status)
    }

    /// The names of containers with this status.
    pub fn containers(&self, status: &str) -> impl Iterator<Item = &str> {
        let status = status.to_string();
        self.actions
            .iter()
            .filter(move |a| a.what == "container" && a.status == status)
            .map(|a| a.id.as_str())
    }

    pub fn result(&self) -> Val {
        Val::list(self.actions.iter().map(Action::result).collect())
    }
}

/// The message of a line of Compose's log (`time="…" level=warning msg="…"`).
fn logged(line: &str, level: &str) -> Option<String> {
    if !line.starts_with("time=") || !line.contains(&format!("level={level}")) {
        return None;
    }
    let (_, message) = line.split_once("msg=")?;
    serde_json::from_str(message).ok().or_else(|| Some(message.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRY: &str = " DRY-RUN MODE -  Container p-api-1  Recreate
 DRY-RUN MODE -  Container p-api-1  Recreated
 DRY-RUN MODE -  Container 0ef69839063b_p-api-1  Starting
 DRY-RUN MODE -  Container 0ef69839063b_p-api-1  Started
 DRY-RUN MODE -  Container p-api-1  Waiting
 DRY-RUN MODE -  Container p-api-1  Healthy
";

    fn statuses(stderr: &str) -> Vec<String> {
        Progress::parse(stderr).actions.iter().map(|a| format!("{} {} {}", a.what, a.id, a.status)).collect()
    }

    #[test]
    fn only_what_is_begun_is_an_action() {
        assert_eq!(statuses(DRY), ["container p-api-1 Recreate", "container 0ef69839063b_p-api-1 Starting"]);
        assert_eq!(
            statuses(
                " Network p_default  Creating\n Network p_default  Created\n Container p-db-1 Creating\n"
            ),
            ["network p_default Creating", "container p-db-1 Creating"]
        );
        assert_eq!(statuses(" Container p-db-1  Running\n"), Vec::<String>::new());
        assert_eq!(
            statuses("build service app\n db Pulling\n db Pulled\n"),
            ["service app Building", "service db Pulling"]
        );
    }

    #[test]
    fn pulling_and_building_are_no_change_by_themselves() {
        assert!(Progress::parse(DRY).changes(true));
        assert!(!Progress::parse(" db Pulling \n db Pulled\nbuild service app\n").changes(true));
        assert!(Progress::parse("build service app\n").changes(false));
        assert!(!Progress::parse(" Container p-db-1  Running\n").changes(true));
    }

    #[test]
    fn errors_and_warnings_are_kept_apart() {
        let progress = Progress::parse(
            " Container p-db-1  Error\ntime=\"2026-01-01T00:00:00Z\" level=warning msg=\"The \\\"X\\\" variable is not set.\"\ndependency failed to start: container p-db-1 is unhealthy\n",
        );
        assert_eq!(progress.warnings, ["The \"X\" variable is not set."]);
        assert_eq!(
            progress.errors,
            ["Container p-db-1  Error", "dependency failed to start: container p-db-1 is unhealthy"]
        );
    }
}
