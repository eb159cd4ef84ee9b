//! `pipe` and `lines`: what a command prints, run by `sh` in the playbook's folder.

use std::process::{Command, Stdio};

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
    let done = Command::new("sh")
        .arg("-c")
        .arg(&*command)
        .current_dir(eval.cx().playbook_dir)
        .stdin(Stdio::null())
        .output()
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
