//! `first_found`: the first of several files that exists.

use super::find::find_file;
use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::filters::normalise;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup { takes_undefined: true, ..Lookup::new("first_found", run).impure() };

/// Subfolders that `with_first_found` looks into; the function looks into none.
const KINDS: &[&str] = &["files", "templates", "vars"];

fn run(eval: &Eval, mut terms: Vec<Value>, mut options: Options) -> Run<Vec<Value>> {
    let mut skip = options.flag(eval, "skip", false)?;
    let paths = options.texts(eval, "paths")?;
    let files = options.take("files");
    let kinds = if options.by_with { KINDS } else { &[""] };
    options.finish(&["files", "paths", "skip"])?;
    if terms.is_empty() {
        terms.extend(files);
    }
    let mut wanted = Vec::new();
    collect(eval, &terms, &paths, &mut skip, &mut wanted)?;
    for name in &wanted {
        if let Some(path) = kinds.iter().find_map(|kind| find_file(eval, kind, name)) {
            return Ok(vec![Value::text(normalise(&path.display().to_string()))]);
        }
    }
    if skip {
        return Ok(vec![]);
    }
    Err(Fault::new("No file was found when using first_found.")
        .help(format!("Looked for: {}", wanted.join(", "))))
}

fn collect(
    eval: &Eval,
    terms: &[Value],
    paths: &[String],
    skip: &mut bool,
    out: &mut Vec<String>,
) -> Run<()> {
    for term in terms {
        match term {
            Value::Undefined(_) => {
                term.clone().defined()?;
            }
            Value::Text(names) => {
                let names = names.split([',', ';']).map(str::trim).filter(|n| !n.is_empty());
                for name in names {
                    if paths.is_empty() {
                        out.push(name.to_string());
                    }
                    out.extend(paths.iter().map(|p| format!("{}/{name}", p.trim_end_matches('/'))));
                }
            }
            list if list.is_sequence() => collect(eval, &eval.iterate(list)?, paths, skip, out)?,
            dict if dict.is_dict() => {
                let entries = eval.entries(dict)?.into_iter();
                let mut options = Options::new(entries.map(|(k, v)| (k.key_text().into(), v)).collect());
                let paths = options.texts(eval, "paths")?;
                *skip = options.flag(eval, "skip", *skip)?;
                let files: Vec<Value> = options.take("files").into_iter().collect();
                options.finish(&["files", "paths", "skip"])?;
                collect(eval, &files, &paths, skip, out)?;
            }
            other => {
                return Err(Fault::plain(format!(
                    "Invalid term supplied. A string, dict or list is required, not '{}'",
                    other.type_name()
                )));
            }
        }
    }
    Ok(())
}
