//! `template`: a rendered template file.

use super::find::require_file;
use super::{Lookup, Options};
use crate::source::{Map, SourceFile, Span, Val};
use crate::template::FileOptions;
use crate::template::context::{LazyMap, Names, RenderCx};
use crate::template::eval::{Eval, Run, Shared};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("template", run).impure();

const OPTIONS: &[&str] = &[
    "comment_end_string",
    "comment_start_string",
    "template_vars",
    "trim_blocks",
    "variable_end_string",
    "variable_start_string",
];

fn run(eval: &Eval, terms: Vec<Value>, mut options: Options) -> Run<Vec<Value>> {
    let mut file = FileOptions::default();
    for (name, to) in [
        ("variable_start_string", &mut file.variable.0),
        ("variable_end_string", &mut file.variable.1),
        ("comment_start_string", &mut file.comment.0),
        ("comment_end_string", &mut file.comment.1),
    ] {
        if let Some(given) = options.text(eval, name)? {
            *to = given.to_string();
        }
    }
    file.trim_blocks = options.flag(eval, "trim_blocks", true)?;
    // Unused by Ansible since native types are always kept, and still accepted.
    options.take("convert_data");
    options.take("jinja2_native");
    let vars = match options.take("template_vars") {
        Some(vars) => match eval.hand_over(vars)? {
            Val::Map(map) => (*map).clone(),
            _ => return Err(Fault::plain("'template_vars' must be a dict")),
        },
        None => Map::new(),
    };
    options.finish(OPTIONS)?;
    terms.iter().map(|term| render(eval, &eval.text_of(term)?, &vars, &file)).collect()
}

fn render(eval: &Eval, name: &str, vars: &Map, options: &FileOptions) -> Run<Value> {
    let path = require_file(eval, "templates", name)?;
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Fault::new(format!("cannot read {}: {e}", path.display())))?;
    let base = eval.names_of(&eval.home);
    let mut all = Map::new();
    all.insert(Val::from("template_path"), Val::from(name));
    all.insert(Val::from("template_fullpath"), Val::from(path.display().to_string()));
    if base.get("ansible_managed").is_none() {
        all.insert(Val::from("ansible_managed"), Val::from("Ansible managed"));
    }
    all.extend(vars.iter().map(|(k, v)| (k.clone(), v.clone())));
    let names = Overlay { over: all, base };
    let cx = RenderCx { names: &names, ..*eval.cx() };
    let shared = Shared::new(eval.shared.templar, &cx, eval.stack());
    let file = SourceFile::new(&path, text);
    let origin = Span { end: file.text.len(), ..Span::whole(&file) };
    let source = eval.shared.templar.file_source(
        &file.text,
        origin,
        options,
        crate::template::search_of(&cx, Some(&path)),
    )?;
    let val = eval.deeper(|| Eval::top(&shared).run_whole(&source))?;
    Ok(eval.value_of(&val))
}

/// Variables over those of the render.
struct Overlay<'a> {
    over: Map,
    base: &'a dyn Names,
}

impl Names for Overlay<'_> {
    fn get(&self, name: &str) -> Option<Val> {
        self.over.get(name).cloned().or_else(|| self.base.get(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.base.names();
        names.extend(self.over.keys().map(Val::key_text));
        names
    }

    fn lazy(&self, name: &str) -> Option<std::sync::Arc<dyn LazyMap>> {
        if self.over.contains_key(name) { None } else { self.base.lazy(name) }
    }
}
