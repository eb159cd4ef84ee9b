//! What tasks proved: backups, and checks of all kinds.

use serde::{Deserialize, Serialize};

use crate::run::recorder::now;
use crate::secret::Redactor;
use crate::source::Val;

use super::{Facts, Told, is_ok, short, text_of};

/// Modules whose tasks check something and change nothing by it.
const CHECKS: [&str; 7] =
    ["assert", "postgresql_login", "secret_search", "stays_well", "uri", "wait_for", "wait_for_connection"];

/// A file counts as made by the run also where its host's clock is behind by so much. Seconds.
const CLOCKS_DIFFER: f64 = 60.0;

/// A backup, and what is known of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backup {
    pub task: String,
    pub host: String,
    pub path: String,
    pub proof: String,
    /// It was opened with the operator's key, to its last byte.
    pub decrypted: bool,
}

/// What a task checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    pub task: String,
    pub host: String,
    pub item: Option<String>,
    pub at: String,
    /// `http://127.0.0.1/healthz: 200`; empty where a task hides its output.
    pub what: String,
    pub ok: bool,
    pub before: bool,
}

impl Facts {
    /// A backup is proven by `archive_decrypt`, which opens it to its last byte, or else by a `find` that
    /// sees a file which is not empty and was made since the run began.
    pub(super) fn proved(&mut self, told: &Told<'_>) {
        if !is_ok(told.outcome) {
            return;
        }
        match short(told.task) {
            "age_decrypt" | "archive_decrypt" => self.decrypted(told),
            "find" => self.found(told),
            _ => {}
        }
    }

    fn decrypted(&mut self, told: &Told<'_>) {
        let text = |key: &str| told.outcome.get(key).map(Val::key_text).unwrap_or_default();
        let path = text("path");
        if path.is_empty() {
            return;
        }
        self.backups.retain(|b| b.decrypted || b.host != told.host || b.path != path);
        let proof = format!(
            "decrypts with the operator's key: {} bytes of {} in an archive of {} bytes, SHA-256 of the content {}",
            text("size"),
            told.outcome.get("content").and_then(Val::as_str).unwrap_or("an unknown kind"),
            text("archive_size"),
            text("sha256"),
        );
        let (task, host) = (told.task.name.clone(), told.host.to_string());
        self.backups.push(Backup { task, host, path, proof, decrypted: true });
    }

    fn found(&mut self, told: &Told<'_>) {
        let began = chrono::DateTime::parse_from_rfc3339(&self.begun).map(|at| at.timestamp() as f64);
        for file in told.outcome.get("files").and_then(Val::as_list).unwrap_or_default() {
            let made = match file.get("mtime") {
                Some(Val::Float(at)) => *at,
                Some(Val::Int(at)) => *at as f64,
                _ => continue,
            };
            let size = file.get("size").and_then(Val::as_int).unwrap_or_default();
            let Some(path) = file.get("path").and_then(Val::as_str) else { continue };
            let fresh = began.as_ref().is_ok_and(|began| made + CLOCKS_DIFFER >= *began);
            if !fresh || size == 0 || self.backups.iter().any(|b| b.host == told.host && b.path == path) {
                continue;
            }
            let at = chrono::DateTime::from_timestamp(made as i64, 0)
                .map(|at| at.with_timezone(&chrono::Local).format("%H:%M:%S").to_string())
                .unwrap_or_default();
            self.backups.push(Backup {
                task: told.task.name.clone(),
                host: told.host.to_string(),
                path: path.to_string(),
                proof: format!("{size} bytes, made at {at}"),
                decrypted: false,
            });
        }
    }

    pub(super) fn checked(&mut self, told: &Told<'_>, redactor: &Redactor) {
        let module = short(told.task);
        if !CHECKS.contains(&module) || told.outcome.status == crate::engine::event::Status::Skipped {
            return;
        }
        let text = |key: &str| text_of(told.outcome, key, redactor).unwrap_or_default();
        let what = match module {
            "uri" if told.outcome.get("status").is_some() => format!("{}: {}", text("url"), text("status")),
            "postgresql_login" if told.outcome.get("accepted").is_some() => {
                let accepted = told.outcome.get("accepted").and_then(Val::as_bool) == Some(true);
                format!("{} at {}", if accepted { "let in" } else { "refused" }, text("address"))
            }
            "wait_for" if !text("port").is_empty() => format!("port {} {}", text("port"), text("state")),
            "wait_for" => text("path"),
            "stays_well" if told.outcome.get("rounds").is_some() => {
                format!("for {} s, asked {} times", text("elapsed"), text("rounds"))
            }
            // What it says of itself where nobody wrote a message.
            "assert" if text("msg") == "All assertions passed" => String::new(),
            _ => text("msg"),
        };
        let ok = is_ok(told.outcome);
        let (task, host) = (told.task.name.clone(), told.host.to_string());
        self.checks.push(Check {
            task: task.clone(),
            host,
            item: told.item.clone(),
            at: now(),
            what,
            ok,
            before: told.outcome.recalled,
        });
        let refused = told.outcome.get("accepted").and_then(Val::as_bool) == Some(false);
        if ok && !refused && !told.outcome.recalled {
            self.well_again(told.host, module, &task);
        }
    }
}
