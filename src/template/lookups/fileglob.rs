//! `fileglob`: files that match a pattern, not into subfolders.

use std::path::PathBuf;

use super::find::find_file;
use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::filters::glob;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("fileglob", run).impure();

fn run(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    let mut out = Vec::new();
    for term in terms {
        let term = eval.text_of(&term)?;
        let folders: Vec<PathBuf> = match term.rsplit_once('/') {
            Some(("", _)) => vec![PathBuf::from("/")],
            Some((folder, _)) => find_file(eval, "files", folder).into_iter().collect(),
            None => {
                let searched = eval.cx().search.iter().map(PathBuf::as_path).chain([eval.cx().playbook_dir]);
                searched.flat_map(|dir| [dir.join("files"), dir.to_path_buf()]).collect()
            }
        };
        let name = term.rsplit('/').next().unwrap_or("");
        for folder in folders {
            let found = glob(&folder.join(name).display().to_string())?;
            let files: Vec<PathBuf> = found.into_iter().filter(|p| p.is_file()).collect();
            if !files.is_empty() {
                out.extend(files.iter().map(|p| Value::text(p.display().to_string())));
                break;
            }
        }
    }
    Ok(out)
}
