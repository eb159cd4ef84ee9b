//! Inventory scripts: an executable that answers `--list` (and `--host NAME`) with JSON.

use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexSet;
use serde_json::Value;

use super::{Entity, HostName, Inventory, Sealed};
use crate::source::node::OpenVault;
use crate::source::{Diagnostic, Diagnostics, Map, SourceFile, Span, Text, Val};

/// More output than any inventory needs.
const MOST_OUTPUT: u64 = 256 << 20;
/// Of what a failed script said on stderr, the end is shown.
const SHOWN_STDERR: usize = 2000;

/// Runs a script and reads its answer into `inventory`. One call may take `timeout`.
pub(super) fn read(
    path: &Path,
    timeout: Duration,
    vault: OpenVault,
    inventory: &mut Inventory,
    problems: &mut Diagnostics,
) {
    let Some((answer, span)) = ask(path, &["--list"], timeout, problems) else { return };
    let Value::Object(groups) = answer else {
        let message = format!("Value is {} instead of 'dict'.", type_name(&answer));
        problems.push(Diagnostic::error("inventory-script", message, &span));
        return;
    };
    let mut reader = Reader { inventory, problems, path, vault, span: span.clone(), hosts: IndexSet::new() };
    let mut meta = None;
    for (name, data) in &groups {
        if name == "_meta" {
            meta = reader.meta(data);
        } else {
            reader.group(name, data);
        }
    }
    let hosts = std::mem::take(&mut reader.hosts);
    for host in hosts {
        let vars = match &meta {
            Some(hostvars) => hostvars.get(&*host).cloned(),
            // Without `_meta` every host is asked for, as Ansible does.
            None => match ask(path, &["--host", &host], timeout, reader.problems) {
                Some((vars, _)) => Some(vars),
                None => return,
            },
        };
        reader.vars(&Entity::Host(host), vars.as_ref());
    }
}

struct Reader<'a> {
    inventory: &'a mut Inventory,
    problems: &'a mut Diagnostics,
    path: &'a Path,
    vault: OpenVault<'a>,
    span: Span,
    hosts: IndexSet<HostName>,
}

impl Reader<'_> {
    fn error(&mut self, message: String) {
        self.problems.push(Diagnostic::error("inventory-script", message, &self.span));
    }

    fn wrong_type(&mut self, what: &str, got: &Value, wanted: &str) {
        self.error(format!("Value contains '{what}' which is {} instead of '{wanted}'.", type_name(got)));
    }

    fn meta(&mut self, meta: &Value) -> Option<serde_json::Map<String, Value>> {
        match meta.get("hostvars") {
            Some(Value::Object(hostvars)) => Some(hostvars.clone()),
            None if meta.is_object() => {
                self.wrong_type("_meta.hostvars", &Value::Null, "dict");
                Some(serde_json::Map::new())
            }
            other => {
                self.wrong_type("_meta.hostvars", &other.cloned().unwrap_or_else(|| meta.clone()), "dict");
                Some(serde_json::Map::new())
            }
        }
    }

    fn group(&mut self, name: &str, data: &Value) {
        super::names::check_group(name, &self.span, self.problems);
        let group = self.inventory.add_group(name);
        // `"web": ["a", "b"]` is short for its hosts; a map without any known key, as old scripts
        // wrote, is a host of the group's name with these variables.
        let (hosts, vars, children) = match data {
            Value::Object(data) if ["hosts", "vars", "children"].iter().any(|k| data.contains_key(*k)) => {
                (data.get("hosts").cloned(), data.get("vars").cloned(), data.get("children").cloned())
            }
            Value::Object(_) => (Some(Value::Array(vec![Value::from(name)])), Some(data.clone()), None),
            other => (Some(other.clone()), None, None),
        };
        for host in self.names(&format!("{name}.hosts"), hosts) {
            let host = self.inventory.add_listed_host(&host, None, Some(self.path));
            self.inventory.join(&group, &host);
            self.hosts.insert(host);
        }
        self.vars(&Entity::Group(group.clone()), vars.as_ref());
        for child in self.names(&format!("{name}.children"), children) {
            let child = self.inventory.add_group(&child);
            if let Err(why) = self.inventory.add_child(&group, &child) {
                self.error(why);
            }
        }
    }

    fn names(&mut self, what: &str, list: Option<Value>) -> Vec<String> {
        let items = match list {
            None => return vec![],
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong_type(what, &other, "list");
                return vec![];
            }
        };
        let mut names = vec![];
        for item in items {
            match item {
                Value::String(name) if !name.is_empty() => names.push(name),
                other => self.wrong_type(what, &other, "str"),
            }
        }
        names
    }

    fn vars(&mut self, owner: &Entity, vars: Option<&Value>) {
        let name = match owner {
            Entity::Host(name) | Entity::Group(name) => name.clone(),
        };
        let vars = match vars {
            None => return,
            Some(Value::Object(vars)) => vars,
            Some(other) => return self.wrong_type(&format!("{name}.vars"), other, "dict"),
        };
        for (key, value) in vars {
            super::names::check_variable(key, &self.span, self.problems);
            match self.val(value) {
                Ok(value) => self.inventory.set_var(owner, Val::from(key.as_str()), value),
                Err(why) => {
                    let message = format!("cannot decrypt {key}: {why}");
                    let problem = Diagnostic::error("vault", message, &self.span);
                    self.inventory.seal(Sealed { owner: owner.clone(), problem });
                }
            }
        }
    }

    /// A value; its texts are templates, but for `{"__ansible_unsafe": …}`; `{"__ansible_vault": …}`
    /// is opened.
    fn val(&self, json: &Value) -> Result<Val, String> {
        Ok(match json {
            Value::String(text) => Val::Text(Text::template(text.as_str(), &self.span)),
            Value::Array(items) => Val::list(items.iter().map(|v| self.val(v)).collect::<Result<_, _>>()?),
            Value::Object(map) => {
                if let (1, Some((key, Value::String(text)))) = (map.len(), map.iter().next()) {
                    match key.as_str() {
                        "__ansible_unsafe" => return Ok(Val::from(text.as_str())),
                        "__ansible_vault" => {
                            let opened = (self.vault)(text)?;
                            return Ok(Val::Text(Text::template(opened, &self.span).into_secret()));
                        }
                        _ => {}
                    }
                }
                let entries = map.iter().map(|(k, v)| Ok((Val::from(k.as_str()), self.val(v)?)));
                Val::map(entries.collect::<Result<Map, String>>()?)
            }
            scalar => Val::from_json(scalar),
        })
    }
}

fn type_name(json: &Value) -> &'static str {
    match json {
        Value::Null => "'NoneType'",
        Value::Bool(_) => "'bool'",
        Value::Number(_) => "'number'",
        Value::String(_) => "'str'",
        Value::Array(_) => "'list'",
        Value::Object(_) => "'dict'",
    }
}

/// Runs the script once; its answer as JSON, nothing on stdout meaning `{}` for a host.
fn ask(path: &Path, args: &[&str], timeout: Duration, problems: &mut Diagnostics) -> Option<(Value, Span)> {
    let command = format!("{} {}", path.display(), args.join(" "));
    let output = match run(path, args, timeout) {
        Ok(output) => output,
        Err(why) => {
            let mut d =
                Diagnostic::global("inventory-script", format!("inventory script {command}: {}", why.0));
            d.help = why.1;
            problems.push(d);
            return None;
        }
    };
    let file = SourceFile::typed(&format!("<output of {command}>"), output);
    if file.text.trim().is_empty() && args[0] == "--host" {
        return Some((Value::Object(Default::default()), Span::whole(&file)));
    }
    match serde_json::from_str(&file.text) {
        Ok(json) => Some((json, Span::whole(&file))),
        Err(why) => {
            let span = place(&file, why.line(), why.column());
            let message = format!("Inventory script result could not be parsed as JSON: {why}");
            problems.push(Diagnostic::error("inventory-script", message, &span));
            None
        }
    }
}

fn place(file: &Arc<SourceFile>, line: usize, column: usize) -> Span {
    let before: usize = file.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let text = file.text[before..].lines().next().unwrap_or_default();
    let start = text.char_indices().map(|(at, _)| at).take_while(|at| *at < column).last().unwrap_or(0);
    let column = text[..start].chars().count() as u32 + 1;
    Span { file: file.clone(), start: before + start, end: before + text.len(), line: line as u32, column }
}

/// What the script printed, or what went wrong and what it said itself.
fn run(path: &Path, args: &[&str], timeout: Duration) -> Result<String, (String, Option<String>)> {
    let mut child = spawn(path, args).map_err(|why| (format!("cannot be started: {why}"), None))?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child, timeout);
    // Whatever it left behind would hold the pipes open.
    end_group(&child);
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    let said = String::from_utf8_lossy(&stderr);
    let said = said.trim();
    let from = said.char_indices().rev().map(|(at, _)| at).take(SHOWN_STDERR).last().unwrap_or(0);
    let said =
        (!said.is_empty()).then(|| format!("Standard error from inventory script:\n{}", &said[from..]));
    match status {
        None => Err((format!("gave no answer within {} s and was ended", timeout.as_secs_f64()), said)),
        Some(Err(why)) => Err((format!("could not be waited for: {why}"), said)),
        Some(Ok(status)) if !status.success() => {
            let how = status.code().map_or_else(
                || "was ended by a signal".into(),
                |c| format!("returned non-zero exit code {c}"),
            );
            Err((how, said))
        }
        Some(Ok(_)) if stdout.len() as u64 >= MOST_OUTPUT => {
            Err((format!("printed more than {} MiB", MOST_OUTPUT >> 20), said))
        }
        Some(Ok(_)) => String::from_utf8(stdout)
            .map_err(|_| ("result contained characters that cannot be interpreted as UTF-8".into(), said)),
    }
}

fn spawn(path: &Path, args: &[&str]) -> std::io::Result<Child> {
    let mut tries = 0;
    loop {
        let child = Command::new(path)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        match child {
            // Somebody is just writing it.
            Err(why) if why.kind() == ErrorKind::ExecutableFileBusy && tries < 50 => tries += 1,
            child => return child,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

type Drain = std::thread::JoinHandle<Vec<u8>>;

fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<Drain> {
    pipe.map(|pipe| {
        std::thread::spawn(move || {
            let mut read = vec![];
            // What came before an error is what there is.
            let _ = pipe.take(MOST_OUTPUT).read_to_end(&mut read);
            read
        })
    })
}

fn collect(drain: Option<Drain>) -> Vec<u8> {
    drain.and_then(|d| d.join().ok()).unwrap_or_default()
}

fn wait(child: &mut Child, timeout: Duration) -> Option<std::io::Result<std::process::ExitStatus>> {
    let until = Instant::now() + timeout;
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Ok(None) if Instant::now() >= until => {
                end_group(child);
                let _ = child.wait();
                return None;
            }
            Ok(None) => std::thread::sleep(pause),
            Err(why) => return Some(Err(why)),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn end_group(child: &Child) {
    // SAFETY: kill only takes numbers; the group is the one made for this child.
    unsafe { libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL) };
}
