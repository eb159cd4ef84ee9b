//! Ansible's shape of output: banners, a line a host, PLAY RECAP.

use std::collections::BTreeMap;

use crate::engine::event::{Event, HostStats, Outcome, Status, TaskLabel};
use crate::remote::Traffic;
use crate::source::{Map, Val, diagnostic};

use super::{Paint, Reporter, Screen, Settings, diff};

/// What stands after an Outcome that the run came to before it was gone on with.
const RECALLED: &str = " (done before)";

pub struct Terminal {
    settings: Settings,
    /// The task whose banner was printed last.
    banner: Option<usize>,
    /// What has begun and isn't done, by host.
    running: BTreeMap<String, String>,
}

impl Terminal {
    pub fn new(settings: Settings) -> Terminal {
        Terminal { settings, banner: None, running: BTreeMap::new() }
    }

    /// As wide as Ansible's: 79 columns in a pipe, one less than a terminal has.
    fn banner(&self, screen: &Screen, text: &str) {
        let columns = screen.width.saturating_sub(1);
        let stars = columns.saturating_sub(unicode_width::UnicodeWidthStr::width(text));
        screen.line(Paint::Plain, &format!("\n{text} {}", "*".repeat(stars.max(3))));
    }

    fn task_banner(&mut self, screen: &Screen, task: &TaskLabel) {
        if self.banner == Some(task.id) {
            return;
        }
        self.banner = Some(task.id);
        let prefix = if task.handler { "RUNNING HANDLER" } else { "TASK" };
        self.banner(screen, &format!("{prefix} [{}]", task.name));
        if self.settings.verbosity >= 2 {
            screen.line(Paint::Verbose, &format!("task path: {}", task.span));
        }
    }

    fn diffs(&self, screen: &Screen, outcome: &Outcome) {
        if !self.settings.diff || outcome.status != Status::Changed {
            return;
        }
        for d in &outcome.diff {
            for (paint, line) in diff::unified(d) {
                screen.line(paint, &line);
            }
            screen.line(Paint::Plain, "");
        }
    }

    /// Result values as one line of JSON with sorted keys; indented from `-vvv` on and for `debug`.
    fn dump(&self, screen: &Screen, task: &TaskLabel, outcome: &Outcome, items: bool) -> String {
        let mut result: Map = outcome.result.clone();
        let always = is_debug(task) && matches!(outcome.status, Status::Ok);
        result.retain(|k, _| !k.as_str().is_some_and(|k| k.starts_with("_ansible")));
        if items {
            result.shift_remove("results");
        }
        // The word before says it already.
        result.shift_remove("failed");
        if self.settings.verbosity < 3 {
            result.shift_remove("invocation");
            result.shift_remove("diff");
        }
        if is_debug(task) {
            if result.contains_key("msg") {
                result.retain(|k, _| {
                    matches!(k.as_str(), Some("msg" | "exception" | "warnings" | "deprecations"))
                });
            } else {
                result.retain(|k, _| {
                    !matches!(
                        k.as_str(),
                        Some("changed" | "failed" | "skipped" | "invocation" | "skip_reason")
                    )
                });
            }
        }
        let redacted = screen.redactor().redact_val(&Val::map(result)).to_json();
        let sorted = sort_keys(redacted);
        if always || self.settings.verbosity > 2 { pretty(&sorted) } else { one_line(&sorted) }
    }

    fn verbose(&self, task: &TaskLabel, outcome: &Outcome) -> bool {
        self.settings.verbosity > 0 || (is_debug(task) && outcome.status == Status::Ok)
    }

    fn warnings(&self, screen: &Screen, outcome: &Outcome) {
        for warning in outcome.get("warnings").and_then(Val::as_list).unwrap_or_default() {
            if let Some(text) = warning.as_str() {
                screen.error_line(Paint::Warning, &format!("[WARNING]: {text}"));
            }
        }
    }

    fn item(&mut self, screen: &Screen, task: &TaskLabel, host: &str, label: &Val, outcome: &Outcome) {
        self.task_banner(screen, task);
        let item = plain(screen, label);
        self.warnings(screen, outcome);
        let (word, paint) = match outcome.status {
            Status::Ok => ("ok", Paint::Ok),
            Status::Changed => ("changed", Paint::Changed),
            Status::Skipped => ("skipping", Paint::Skipped),
            Status::Failed | Status::Unreachable => ("failed", Paint::Failed),
        };
        let mut text = match outcome.status {
            Status::Failed | Status::Unreachable => {
                format!("failed: [{host}] (item={item}) => {}", self.dump(screen, task, outcome, false))
            }
            _ => format!("{word}: [{host}] => (item={item})"),
        };
        if outcome.status == Status::Skipped {
            text.push(' ');
        }
        if !outcome.is_failed() && self.verbose(task, outcome) {
            text.push_str(&format!(" => {}", self.dump(screen, task, outcome, false)));
        }
        if outcome.recalled {
            text.push_str(RECALLED);
        }
        screen.line(paint, &text);
        self.diffs(screen, outcome);
    }

    fn done(
        &mut self,
        screen: &Screen,
        task: &TaskLabel,
        host: &str,
        outcome: &Outcome,
        ignored: bool,
        looped: bool,
    ) {
        self.task_banner(screen, task);
        self.warnings(screen, outcome);
        let mut text = match outcome.status {
            Status::Ok if looped => return,
            Status::Changed if looped => return,
            Status::Ok => format!("ok: [{host}]"),
            Status::Changed => format!("changed: [{host}]"),
            Status::Skipped => format!("skipping: [{host}]"),
            Status::Failed if looped => {
                if ignored {
                    screen.line(Paint::Skipped, "...ignoring");
                }
                return;
            }
            Status::Failed => {
                if self.settings.verbosity < 2 {
                    screen.line(Paint::Verbose, &format!("task path: {}", task.span));
                }
                format!("fatal: [{host}]: FAILED! => {}", self.dump(screen, task, outcome, false))
            }
            Status::Unreachable => {
                format!("fatal: [{host}]: UNREACHABLE! => {}", self.dump(screen, task, outcome, false))
            }
        };
        if !outcome.is_failed() && self.verbose(task, outcome) {
            text.push_str(&format!(" => {}", self.dump(screen, task, outcome, looped)));
        }
        if let Some(cause) = &outcome.unknown {
            text = format!("unknown: [{host}] ({cause})");
        }
        if outcome.recalled {
            text.push_str(RECALLED);
        }
        let paint = match outcome.status {
            _ if outcome.unknown.is_some() => Paint::Warning,
            Status::Ok => Paint::Ok,
            Status::Changed => Paint::Changed,
            Status::Skipped => Paint::Skipped,
            Status::Failed => Paint::Failed,
            Status::Unreachable => Paint::Unreachable,
        };
        screen.line(paint, &text);
        if outcome.is_failed() {
            if let Some(msg) = outcome.get("msg").and_then(Val::as_str).filter(|m| m.contains('\n')) {
                screen.line(Paint::Failed, msg);
            }
            if let Some(help) = outcome.get("help").and_then(Val::as_str) {
                screen.line(Paint::Failed, &format!("  help: {help}"));
            }
        }
        if outcome.is_failed() && ignored {
            screen.line(Paint::Skipped, "...ignoring");
        }
        self.diffs(screen, outcome);
    }

    fn recap(&self, screen: &Screen, stats: &[HostStats]) {
        self.banner(screen, "PLAY RECAP");
        let mut stats: Vec<&HostStats> = stats.iter().collect();
        stats.sort_by(|a, b| a.host.cmp(&b.host));
        for s in stats {
            let host_paint = if s.failed + s.unreachable > 0 {
                Paint::Failed
            } else if s.changed > 0 {
                Paint::Changed
            } else {
                Paint::Ok
            };
            let count = |name: &str, n: u64, paint: Paint| {
                let text = format!("{name}={n:<4}");
                if n > 0 { screen.paint(paint, &text) } else { text }
            };
            // Ansible pads the coloured name to 37 bytes and the plain one to 26 columns.
            let mut line = format!(
                "{} : {} {} {} {} {} {} {}",
                screen.paint(host_paint, &format!("{:<26}", s.host)),
                count("ok", s.ok, Paint::Ok),
                count("changed", s.changed, Paint::Changed),
                count("unreachable", s.unreachable, Paint::Unreachable),
                count("failed", s.failed, Paint::Failed),
                count("skipped", s.skipped, Paint::Skipped),
                count("rescued", s.rescued, Paint::Ok),
                count("ignored", s.ignored, Paint::Warning),
            );
            if self.settings.check && s.unknown > 0 {
                line.push_str(&format!(" {}", count("unknown", s.unknown, Paint::Warning)));
            }
            screen.painted_line(&line);
        }
        screen.line(Paint::Plain, "");
    }
}

impl Reporter for Terminal {
    fn on(&mut self, event: &Event, screen: &Screen) {
        match event {
            Event::RunStarted { playbooks, plays, .. } => {
                if self.settings.verbosity > 1 {
                    for playbook in playbooks {
                        self.banner(screen, &format!("PLAYBOOK: {playbook}"));
                        screen.line(Paint::Verbose, &format!("{plays} plays in {playbook}"));
                    }
                }
            }
            Event::PlayStarted { name, .. } => self.banner(screen, &format!("PLAY [{name}]")),
            Event::NoHosts { .. } => screen.line(Paint::Skipped, "skipping: no hosts matched"),
            Event::TaskStarted(task) => self.task_banner(screen, task),
            Event::Included { file, hosts, item } => {
                let mut text = format!("included: {file} for {}", hosts.join(", "));
                if let Some(item) = item {
                    text.push_str(&format!(" => (item={})", plain(screen, item)));
                }
                screen.line(Paint::Skipped, &text);
            }
            Event::InstanceStarted { task, host } => {
                self.running.insert(host.clone(), task.name.clone());
                screen.running(host, &task.name);
            }
            Event::ItemDone { task, host, delegate, label, outcome, .. } => {
                self.item(screen, task, &host_label(host, delegate), label, outcome);
            }
            Event::Retrying { task, host, left, outcome } => {
                let mut text = format!("FAILED - RETRYING: [{host}]: {} ({left} retries left).", task.name);
                if self.settings.verbosity > 2 {
                    text.push_str(&format!("Result was: {}", self.dump(screen, task, outcome, false)));
                }
                screen.line(Paint::Verbose, &text);
            }
            Event::InstanceDone { task, host, delegate, outcome, ignored, looped } => {
                self.running.remove(host);
                screen.finished(host);
                self.done(screen, task, &host_label(host, delegate), outcome, *ignored, *looped);
            }
            Event::Undone { host, label, error: None } => {
                screen.line(Paint::Changed, &format!("undone: [{host}] => {label}"));
            }
            Event::Undone { host, label, error: Some(why) } => {
                screen.line(Paint::Failed, &format!("NOT undone: [{host}] => {label}: {why}"));
            }
            Event::Notice { message } => screen.line(Paint::Plain, message),
            Event::Meta { message } => {
                if self.settings.verbosity >= 2 {
                    screen.line(Paint::Verbose, &format!("META: {message}"));
                }
            }
            Event::Warning { message } => screen.error_line(Paint::Warning, &format!("[WARNING]: {message}")),
            Event::Deprecated { message } => {
                screen.error_line(Paint::Warning, &format!("[DEPRECATION WARNING]: {message}"));
            }
            Event::Diagnostic(d) => {
                screen.error_line(Paint::Plain, &diagnostic::render(d, screen.has_colour(), screen.width));
            }
            Event::NoMoreHosts => self.banner(screen, "NO MORE HOSTS LEFT"),
            Event::Interrupted => screen.error_line(
                Paint::Warning,
                "Interrupted: finishing the current effects. Ctrl-C again stops at once.",
            ),
            Event::Recap(stats) => self.recap(screen, stats),
            Event::Stopped => {
                for (host, task) in std::mem::take(&mut self.running) {
                    screen.finished(&host);
                    screen.error_line(Paint::Failed, &format!("unfinished: [{host}] => {task}"));
                }
                screen.error_line(Paint::Failed, "Stopped at once. Look on the host before running again.");
            }
            Event::Traffic { host, traffic } => {
                if self.settings.verbosity >= 3 {
                    let Traffic { round_trips, sent, received } = traffic;
                    let text = format!("{round_trips} round trips, {sent} bytes sent, {received} received");
                    screen.line(Paint::Verbose, &format!("<{host}> TRAFFIC {text}"));
                }
            }
            // For the note, and who reads JSON.
            Event::RunEnded { .. } => {}
            Event::Exchange { host, text } => {
                if self.settings.verbosity >= 3 {
                    screen.line(Paint::Verbose, &format!("<{host}> {text}"));
                }
            }
        }
    }
}

fn is_debug(task: &TaskLabel) -> bool {
    matches!(task.action.rsplit('.').next(), Some("debug"))
}

fn host_label(host: &str, delegate: &Option<String>) -> String {
    match delegate {
        Some(to) if to != host => format!("{host} -> {to}"),
        _ => host.to_string(),
    }
}

/// An item as Python's `str` shows it.
fn plain(screen: &Screen, item: &Val) -> String {
    match screen.redactor().redact_val(item) {
        Val::Text(t) => t.to_string(),
        other => other.repr(),
    }
}

pub(super) fn sort_keys(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value as J;
    match value {
        J::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(k, v)| (k, sort_keys(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            J::Object(entries.into_iter().collect())
        }
        J::Array(items) => J::Array(items.into_iter().map(sort_keys).collect()),
        other => other,
    }
}

/// `json.dumps` with its default separators (`, ` and `: `).
pub(super) fn one_line(value: &serde_json::Value) -> String {
    use serde_json::Value as J;
    match value {
        J::Object(map) => {
            let parts: Vec<String> =
                map.iter().map(|(k, v)| format!("{}: {}", J::String(k.clone()), one_line(v))).collect();
            format!("{{{}}}", parts.join(", "))
        }
        J::Array(items) => format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

pub(super) fn pretty(value: &serde_json::Value) -> String {
    use serde::Serialize;
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(
        &mut out,
        serde_json::ser::PrettyFormatter::with_indent(b"    "),
    );
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => value.to_string(),
    }
}
