//! Filters: a family per file, one registry line each.

mod combining;
mod convert;
mod crypt;
mod dicts;
mod encode;
mod hashing;
mod json;
mod lists;
mod math;
mod paths;
mod regexes;
mod select;
mod sets;
mod strings;
mod time;
mod urls;
mod yaml;

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use super::call::Args;
use super::eval::{Eval, Run};
use super::value::Value;

pub use convert::boolean;
pub use crypt::{password_hash, random_salt};
pub use lists::flatten_into;
pub use paths::{expanduser, glob, normalise};
pub use select::path_of as attribute_path;
pub use urls::split as split_url;

/// Every family of filters.
const REGISTRY: &[&[Filter]] = &[
    combining::FILTERS,
    convert::FILTERS,
    crypt::FILTERS,
    dicts::FILTERS,
    encode::FILTERS,
    hashing::FILTERS,
    json::FILTERS,
    lists::FILTERS,
    math::FILTERS,
    paths::FILTERS,
    regexes::FILTERS,
    select::FILTERS,
    sets::FILTERS,
    strings::FILTERS,
    time::FILTERS,
    urls::FILTERS,
    yaml::FILTERS,
];

pub type Apply = fn(&Eval, Value, Args) -> Run<Value>;

/// A filter: `value | name(args)`.
pub struct Filter {
    pub name: &'static str,
    pub run: Apply,
    /// It handles undefined values itself; others pass them through.
    pub takes_undefined: bool,
    /// It can answer differently next time.
    pub impure: bool,
}

impl Filter {
    const fn new(name: &'static str, run: Apply) -> Filter {
        Filter { name, run, takes_undefined: false, impure: false }
    }

    const fn takes_undefined(self) -> Filter {
        Filter { takes_undefined: true, ..self }
    }

    const fn impure(self) -> Filter {
        Filter { impure: true, ..self }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Filter>> =
    LazyLock::new(|| REGISTRY.iter().flat_map(|family| family.iter()).map(|f| (f.name, f)).collect());

/// By its short or its full name (`ansible.builtin.x`).
pub fn find(name: &str) -> Option<&'static Filter> {
    BY_NAME.get(super::short_name(name)).copied()
}

pub fn names() -> Vec<&'static str> {
    BY_NAME.keys().copied().collect()
}
