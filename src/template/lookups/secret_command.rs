//! `secret_command`, ours: what a password manager prints, run once a run, always Secret.

use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("secret_command", run).impure();

fn run(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    let commands = &eval.shared.templar.secret_commands;
    let mut found = Vec::with_capacity(terms.len());
    for term in &terms {
        let command = eval.text_of(term)?;
        let secret = commands.secret(&command, eval.cx().playbook_dir).map_err(|e| {
            let fault = Fault::new(e.message);
            match e.help {
                Some(help) => fault.help(help),
                None => fault,
            }
        })?;
        let text = secret.expose().unwrap_or_default();
        eval.cx().hooks.keep_secret(text);
        found.push(Value::text(text));
    }
    // Not before: why a command failed may be said.
    eval.tainted.set(true);
    Ok(found)
}
