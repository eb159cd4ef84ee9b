//! `file`: the text of a file. `unvault`: the text of an encrypted one.

use super::find::require_file;
use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("file", run).impure();
pub const UNVAULT: Lookup = Lookup::new("unvault", unvault).impure();

const VAULT: &[u8] = b"$ANSIBLE_VAULT;";

fn run(eval: &Eval, terms: Vec<Value>, mut options: Options) -> Run<Vec<Value>> {
    let lstrip = options.flag(eval, "lstrip", false)?;
    let rstrip = options.flag(eval, "rstrip", true)?;
    options.finish(&["lstrip", "rstrip"])?;
    let mut out = Vec::new();
    for term in terms {
        let text = read(eval, &eval.text_of(&term)?)?;
        let text = if lstrip { text.trim_start() } else { &text };
        out.push(Value::text(if rstrip { text.trim_end() } else { text }));
    }
    Ok(out)
}

fn unvault(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    terms.iter().map(|term| Ok(Value::text(read(eval, &eval.text_of(term)?)?))).collect()
}

/// A file's text; an encrypted one is opened, and Secret.
pub fn read(eval: &Eval, name: &str) -> Run<String> {
    let path = require_file(eval, "files", name)?;
    let mut bytes =
        std::fs::read(&path).map_err(|e| Fault::new(format!("Unable to access the file '{name}': {e}")))?;
    if bytes.starts_with(VAULT) {
        eval.tainted.set(true);
        bytes = eval.cx().hooks.open_vault(&bytes).map_err(|why| {
            Fault::plain(format!("the encrypted file '{}' could not be opened: {why}", path.display()))
        })?;
    }
    String::from_utf8(bytes).map_err(|_| Fault::new(format!("the file '{name}' is not UTF-8 text")))
}
