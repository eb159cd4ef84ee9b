//! Commands and webhooks that are told of a run, on the operator's machine: the facts of the note as
//! JSON. What goes wrong with one is a warning, never a failure of the run.

use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::engine::event::Event;
use crate::remote::http::{self, Body, Follow, Tls};
use crate::remote::{Connections, HttpFailure, HttpRequest};
use crate::run::store::Store;
use crate::source::Text;

use super::facts::{Facts, How};
use super::{Paint, Reporter, Screen};

/// Bytes of an answer that are read: nobody looks at more.
const ANSWER: u64 = 1 << 16;

/// When a hook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    Start,
    Success,
    Failure,
}

/// One entry of `seqn_play_notify`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// A program and its arguments; the JSON is on its standard input.
    command: Option<Vec<String>>,
    /// Gets the JSON as a POST.
    url: Option<String>,
    #[serde(default = "always")]
    on: Vec<Moment>,
    /// Seconds that it may take.
    #[serde(default = "ten")]
    timeout: u64,
}

fn always() -> Vec<Moment> {
    vec![Moment::Start, Moment::Success, Moment::Failure]
}

fn ten() -> u64 {
    10
}

/// An address can hold a token.
impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Hook {
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        match (&self.command, &self.url) {
            (Some(argv), None) if argv.is_empty() => Err("the command is empty".into()),
            (Some(_), None) => Ok(()),
            (None, Some(url)) if url.starts_with("https://") || url.starts_with("http://") => Ok(()),
            (None, Some(_)) => Err("the url is neither https:// nor http://".into()),
            _ => Err("it needs either `command` or `url`".into()),
        }
    }

    /// For people, without what may be a token.
    fn name(&self) -> String {
        match (&self.command, &self.url) {
            (Some(argv), _) => argv.first().cloned().unwrap_or_default(),
            (None, Some(url)) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
            }
            (None, None) => String::new(),
        }
    }

    /// # Errors
    /// Why nobody knows whether it heard.
    fn tell(&self, json: &str, hidden: &[String]) -> Result<(), String> {
        let limit = Duration::from_secs(self.timeout);
        match (&self.command, &self.url) {
            (Some(argv), _) => run(argv, json, hidden, limit),
            (None, Some(url)) => post(url, json, limit),
            (None, None) => Ok(()),
        }
    }
}

/// Tells the hooks of a run.
pub struct Hooks {
    facts: Facts,
    store: Store,
    hooks: Vec<Hook>,
    running: Vec<(String, JoinHandle<Result<(), String>>)>,
}

impl Hooks {
    /// Tells those that want to know of the beginning; the run doesn't wait for them.
    pub fn begin(facts: Facts, store: Store, hooks: Vec<Hook>, screen: &Screen) -> Hooks {
        let mut own = Hooks { facts, store, hooks, running: Vec::new() };
        own.tell(Moment::Start, screen);
        own
    }

    fn tell(&mut self, moment: Moment, screen: &Screen) {
        let wanted: Vec<Hook> = self.hooks.iter().filter(|h| h.on.contains(&moment)).cloned().collect();
        if wanted.is_empty() {
            return;
        }
        let json = match self.json(moment, screen) {
            Ok(json) => json,
            Err(e) => return warn(screen, "any", &e.to_string()),
        };
        // What only our own environment holds is a secret all the same.
        let redactor = screen.redactor();
        let hidden: Vec<String> = std::env::vars_os()
            .filter(|(_, value)| {
                let value = value.to_string_lossy();
                redactor.redact(&value) != value
            })
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect();
        for hook in wanted {
            let (name, json, hidden) = (hook.name(), json.clone(), hidden.clone());
            self.running.push((name, std::thread::spawn(move || hook.tell(&json, &hidden))));
        }
    }

    fn json(&self, moment: Moment, screen: &Screen) -> Result<String, serde_json::Error> {
        let facts = self.facts.redacted(screen.redactor())?;
        let mut all = serde_json::Map::new();
        all.insert("event".into(), serde_json::to_value(moment)?);
        if let serde_json::Value::Object(facts) = serde_json::to_value(facts)? {
            all.extend(facts);
        }
        serde_json::to_string(&all)
    }

    fn wait(&mut self, screen: &Screen) {
        for (name, thread) in self.running.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(why)) => warn(screen, &name, &why),
                Err(_) => warn(screen, &name, "it could not be run"),
            }
        }
    }
}

impl Reporter for Hooks {
    fn on(&mut self, event: &Event, screen: &Screen) {
        self.facts.on(event, screen.redactor());
        if !matches!(event, Event::RunEnded { .. }) {
            return;
        }
        if let Ok(run) = self.store.load(&self.facts.run) {
            self.facts.settle(&run.history);
        }
        self.wait(screen);
        let well = self.facts.how.is_some_and(How::is_success);
        self.tell(if well { Moment::Success } else { Moment::Failure }, screen);
        self.wait(screen);
    }
}

fn warn(screen: &Screen, name: &str, why: &str) {
    screen.error_line(Paint::Warning, &format!("[WARNING]: the hook {name} was not told: {why}"));
}

fn run(argv: &[String], json: &str, hidden: &[String], limit: Duration) -> Result<(), String> {
    let Some((program, args)) = argv.split_first() else { return Ok(()) };
    let mut said = tempfile::tempfile().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    // A group of its own, so that all of it can be ended.
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
    command.stderr(said.try_clone().map_err(|e| e.to_string())?);
    for name in hidden {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(|e| format!("it can't be started: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let json = json.to_string();
        // Who doesn't read it all, or any of it, must not hold us up.
        std::thread::spawn(move || stdin.write_all(json.as_bytes()).ok());
    }
    let Some(status) = wait_for(&mut child, limit)? else {
        return Err(format!("it took longer than {} seconds", limit.as_secs()));
    };
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    said.rewind().and_then(|()| said.take(ANSWER).read_to_string(&mut text)).ok();
    let last = text.trim().lines().last().map(|line| format!(": {line}")).unwrap_or_default();
    Err(format!("{status}{last}"))
}

fn wait_for(child: &mut Child, limit: Duration) -> Result<Option<std::process::ExitStatus>, String> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= limit {
            // SAFETY: it signals the group that this child leads, which is not waited for yet.
            unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
            child.wait().map_err(|e| e.to_string())?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn post(url: &str, json: &str, limit: Duration) -> Result<(), String> {
    let request = HttpRequest {
        method: "POST".into(),
        url: Text::secret(url),
        headers: vec![("Content-Type".into(), Text::new("application/json"))],
        body: Some(Body::Text(Text::new(json))),
        follow: Follow::None,
        timeout: limit,
        max_body: ANSWER,
        tls: Tls::default(),
    };
    let sending = async {
        let connections = Connections::new();
        let operator = connections.operator().await.map_err(|e| e.message)?;
        let answer = http::send(&operator, &request).await.result;
        connections.close().await;
        match answer {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => Err(format!("it answered {} {}", answer.status, answer.reason)),
            Err(HttpFailure::Request(why)) => Err(why),
            Err(HttpFailure::Remote(e)) => Err(e.message),
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let told: Result<(), String> = runtime.map_err(|e| e.to_string())?.block_on(sending);
    // The address may be a secret of its own.
    told.map_err(|why| why.replace(url, "the url"))
}
