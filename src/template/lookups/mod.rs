//! Lookups: one file each, one registry line each.

mod csvfile;
mod data;
mod env;
mod file;
mod fileglob;
mod find;
mod first_found;
mod ini;
mod inventory_hostnames;
mod options;
mod password;
mod pipe;
mod random_choice;
mod secret_command;
mod sequence;
mod subelements;
mod template;
mod unsupported;
mod variables;

use super::call::Args;
use super::eval::{Eval, Run};
use super::fault::Fault;
use super::program::Place;
use super::value::Value;
use crate::source::diagnostic::nearest;

pub use options::Options;

/// Every lookup.
const REGISTRY: &[Lookup] = &[
    csvfile::LOOKUP,
    data::DICT,
    data::FLATTENED,
    data::INDEXED_ITEMS,
    data::ITEMS,
    data::LIST,
    data::NESTED,
    data::TOGETHER,
    env::LOOKUP,
    file::LOOKUP,
    file::UNVAULT,
    fileglob::LOOKUP,
    first_found::LOOKUP,
    ini::LOOKUP,
    inventory_hostnames::LOOKUP,
    password::LOOKUP,
    pipe::LINES,
    pipe::PIPE,
    random_choice::LOOKUP,
    secret_command::LOOKUP,
    sequence::LOOKUP,
    subelements::LOOKUP,
    template::LOOKUP,
    unsupported::CONFIG,
    unsupported::URL,
    variables::VARNAMES,
    variables::VARS,
];

pub type RunLookup = fn(&Eval, Vec<Value>, Options) -> Run<Vec<Value>>;

/// A lookup: `lookup('name', *terms, **options)`, or `with_name: terms`.
pub struct Lookup {
    pub name: &'static str,
    pub run: RunLookup,
    /// It handles undefined terms itself.
    pub takes_undefined: bool,
    /// It can answer differently next time: files, environment, commands, chance.
    pub impure: bool,
    /// What it returns is Secret.
    pub secret: bool,
    /// It returns its terms or parts of them, unchanged.
    pub moves: bool,
}

impl Lookup {
    const fn new(name: &'static str, run: RunLookup) -> Lookup {
        Lookup { name, run, takes_undefined: false, impure: false, secret: false, moves: false }
    }

    const fn moves(self) -> Lookup {
        Lookup { moves: true, ..self }
    }

    const fn impure(self) -> Lookup {
        Lookup { impure: true, ..self }
    }
}

/// By its short or its full name (`ansible.builtin.x`).
pub fn find(name: &str) -> Option<&'static Lookup> {
    let name = super::short_name(name);
    REGISTRY.iter().find(|l| l.name == name)
}

pub fn names() -> Vec<&'static str> {
    REGISTRY.iter().map(|l| l.name).collect()
}

/// A lookup by name.
pub fn named(name: &str) -> Run<&'static Lookup> {
    find(name).ok_or_else(|| {
        let fault = Fault::new(format!("no lookup is named '{name}'"));
        match nearest(name, names()) {
            Some(near) => fault.help(format!("Did you mean '{near}'?")),
            None => fault,
        }
    })
}

/// Runs a lookup with terms that are values.
pub fn run(eval: &Eval, lookup: &Lookup, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    if lookup.impure {
        eval.impure();
    }
    if lookup.secret {
        eval.tainted.set(true);
    }
    let found = (lookup.run)(eval, terms, options)
        .map_err(|f| f.during(|| format!("The lookup plugin 'ansible.builtin.{}' failed", lookup.name)))?;
    if lookup.secret {
        found.iter().filter_map(Value::as_str).for_each(|text| eval.cx().hooks.keep_secret(text));
    }
    Ok(found)
}

/// What `errors=` says about a lookup that fails.
enum OnError {
    Fail,
    Ignore,
}

/// The functions `lookup`, `query` and `q`.
pub fn call(eval: &Eval, mut args: Args, at: Place, query: bool) -> Run<Value> {
    if args.pos.is_empty() {
        return Err(Fault::plain("lookup() needs the name of a lookup"));
    }
    let name = args.pos.remove(0).defined()?;
    let lookup = named(&eval.text_of(&name)?)?;
    if !lookup.takes_undefined
        && let Some(undefined) = args.first_undefined()
    {
        return Ok(undefined);
    }
    let wantlist = query | eval.flag(args.take("wantlist"))?;
    let on_error = match &*eval.text_or(args.take("errors"), "strict")? {
        "strict" => OnError::Fail,
        "warn" | "ignore" => OnError::Ignore,
        other => return Err(Fault::new(format!("'errors' must be strict, warn or ignore, not '{other}'"))),
    };
    let options = Options::new(args.named);
    let found = match run(eval, lookup, args.pos, options) {
        Err(Fault::Failed(_)) if matches!(on_error, OnError::Ignore) => {
            return Ok(if wantlist { Value::list(vec![]) } else { Value::None });
        }
        found => found.map_err(|f| f.at(at))?,
    };
    if wantlist || found.is_empty() {
        return Ok(Value::list(found));
    }
    if let [only] = &found[..] {
        return Ok(only.clone());
    }
    let texts: Option<Vec<&str>> = found.iter().map(Value::as_str).collect();
    Ok(match texts {
        Some(texts) => Value::text(texts.join(",")),
        None => Value::list(found),
    })
}
