//! `pipe` and `lines`: what a command prints, run by `sh` in the playbook's folder.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::methods::splitlines;
use crate::template::value::Value;

pub const PIPE: Lookup = Lookup::new("pipe", pipe).impure();
pub const LINES: Lookup = Lookup::new("lines", lines).impure();

fn pipe(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    terms.iter().map(|term| Ok(Value::text(output(eval, term, "pipe")?.trim_end()))).collect()
}

fn lines(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    let mut out = Vec::new();
    for term in &terms {
        out.extend(splitlines(&output(eval, term, "lines")?, false).into_iter().map(Value::text));
    }
    Ok(out)
}

fn output(eval: &Eval, term: &Value, lookup: &str) -> Run<String> {
    let command = eval.text_of(term)?;
    let done = run(&command, eval.cx().playbook_dir)
        .map_err(|e| Fault::plain(format!("sh could not be started: {e}")))?;
    if !done.status.success() {
        let code = done.status.code().map_or_else(|| done.status.to_string(), |c| c.to_string());
        let said = String::from_utf8_lossy(&done.stderr);
        let said = said.trim().lines().last().map_or(String::new(), |l| format!(": {l}"));
        return Err(Fault::new(format!("lookup_plugin.{lookup}({command}) returned {code}{said}")));
    }
    String::from_utf8(done.stdout)
        .map_err(|_| Fault::new(format!("the output of '{command}' is not UTF-8 text")))
}

/// The command is read from a pipe: it can hold a Secret, and an argument list is everybody's.
fn run(command: &str, dir: &Path) -> io::Result<Output> {
    let mut shell = Command::new("sh")
        .args(["-c", "eval \"$(cat)\" </dev/null"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut script) = shell.stdin.take() {
        // A shell that ended already says itself why.
        script.write_all(command.as_bytes()).ok();
    }
    shell.wait_with_output()
}
