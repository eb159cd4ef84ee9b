//! Tests (`x is name(args)`): a family per file, one registry line each.

mod basic;
mod files;
mod patterns;
mod results;
mod sets;
mod urls;
mod versions;

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use super::call::Args;
use super::eval::{Eval, Run};
use super::value::Value;

/// Every family of tests.
const REGISTRY: &[&[Test]] =
    &[basic::TESTS, files::TESTS, patterns::TESTS, results::TESTS, sets::TESTS, urls::TESTS, versions::TESTS];

pub type Check = fn(&Eval, Value, Args) -> Run<bool>;

/// A test: `value is name(args)`.
pub struct Test {
    pub name: &'static str,
    pub run: Check,
    /// It handles undefined values itself; others pass them through.
    pub takes_undefined: bool,
}

impl Test {
    const fn new(name: &'static str, run: Check) -> Test {
        Test { name, run, takes_undefined: false }
    }

    const fn takes_undefined(self) -> Test {
        Test { takes_undefined: true, ..self }
    }
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Test>> =
    LazyLock::new(|| REGISTRY.iter().flat_map(|family| family.iter()).map(|t| (t.name, t)).collect());

/// By its short or its full name (`ansible.builtin.x`).
pub fn find(name: &str) -> Option<&'static Test> {
    BY_NAME.get(super::short_name(name)).copied()
}

pub fn names() -> Vec<&'static str> {
    BY_NAME.keys().copied().collect()
}
