//! `csvfile`: a column of the row whose key column has a value.

use super::find::require_file;
use super::options::words;
use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("csvfile", run).impure();

const OPTIONS: &[&str] = &["col", "default", "delimiter", "encoding", "file", "keycol"];

fn run(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    if terms.is_empty() {
        return Err(Fault::plain("Search key is required but was not found"));
    }
    let mut out = Vec::new();
    for term in terms {
        let mut options = options.clone();
        let (raw, pairs) = words(&eval.text_of(&term)?);
        if raw.is_empty() {
            return Err(Fault::plain("Search key is required but was not found"));
        }
        let key = raw.join(" ");
        for (name, value) in pairs {
            if !OPTIONS.contains(&&*name) {
                return Err(Fault::plain(format!("'{name}' is not a valid option")));
            }
            options.set(&name, &value);
        }
        let column = |options: &mut Options, name: &str, default: i128| -> Run<usize> {
            let n = eval.int_or(name, options.take(name), default)?;
            usize::try_from(n).map_err(|_| Fault::plain(format!("'{name}' must not be negative")))
        };
        let col = column(&mut options, "col", 1)?;
        let keycol = column(&mut options, "keycol", 0)?;
        let default = options.take("default");
        let delimiter = match &*options.text_or(eval, "delimiter", "TAB")? {
            "TAB" | "\\t" => '\t',
            one if one.chars().count() == 1 => one.chars().next().unwrap_or('\t'),
            other => return Err(Fault::new(format!("'delimiter' must be one character, not '{other}'"))),
        };
        let encoding = options.text_or(eval, "encoding", "utf-8")?;
        if !encoding.to_lowercase().starts_with("utf") {
            return Err(Fault::new(format!("the encoding '{encoding}' is not supported")).help("Use utf-8."));
        }
        let file = options.text_or(eval, "file", "ansible.csv")?;
        options.finish(OPTIONS)?;
        let path = require_file(eval, "files", &file)?;
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Fault::new(format!("cannot read {}: {e}", path.display())))?;
        let row = rows(&text, delimiter).into_iter().find(|row| row.get(keycol).is_some_and(|k| *k == key));
        match row {
            Some(row) => out.push(Value::text(
                row.get(col).ok_or_else(|| Fault::plain(format!("the row has no column {col}")))?.as_str(),
            )),
            None => match default {
                Some(list @ Value::List(_)) => out.extend(eval.iterate(&list)?),
                Some(default) => out.push(default),
                None => {}
            },
        }
    }
    Ok(out)
}

/// Rows as Python's `csv.excel` reads them: `""` inside quotes is a quote.
fn rows(text: &str, delimiter: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut any) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => {
                quoted = true;
                any = true;
            }
            c if quoted => field.push(c),
            c if c == delimiter => {
                row.push(std::mem::take(&mut field));
                any = true;
            }
            '\r' | '\n' => {
                if any || !field.is_empty() {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                any = false;
            }
            c => field.push(c),
        }
    }
    if any || !field.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}
