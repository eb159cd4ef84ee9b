//! What templates answer, next to what ansible-core 2.19.14 answered to the same (`*.txt`).

mod secrets;
mod semantics;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Names, NoHooks, RenderCx, Templar, TemplateError};
use crate::source::{Diagnostics, Map, SourceFile, Span, Text, Val, yaml};

/// Variables as a file holds them.
pub struct Vars(pub Map);

impl Vars {
    pub fn yaml(text: &str) -> Vars {
        let file = SourceFile::typed("vars.yml", text.to_string());
        let mut diags = Diagnostics::default();
        let node = yaml::load_one(&file, &mut diags).expect("valid YAML");
        Vars(node.to_val_sealed().as_map().cloned().unwrap_or_default())
    }

    pub fn with(mut self, name: &str, value: Val) -> Vars {
        self.0.insert(Val::from(name), value);
        self
    }
}

impl Names for Vars {
    fn get(&self, name: &str) -> Option<Val> {
        self.0.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().map(Val::key_text).collect()
    }
}

pub fn cx<'a>(names: &'a dyn Names, search: &'a [PathBuf], dir: &'a Path) -> RenderCx<'a> {
    RenderCx { names, search, playbook_dir: dir, check_mode: false, hooks: &NoHooks, impure: None }
}

/// A template as a person wrote it.
pub fn written(text: &str) -> Text {
    let file = SourceFile::typed("play.yml", text.to_string());
    Text::template(text, &Span { end: text.len(), ..Span::whole(&file) })
}

pub fn render(text: &str, vars: &Vars) -> Result<Val, TemplateError> {
    Templar::new().render(&Val::Text(written(text)), &cx(vars, &[], Path::new("/")))
}

type Answer = fn(&Templar, &Text, &RenderCx) -> Result<Val, TemplateError>;

/// Compares every case of a file: `=>` a value as JSON, `!!` an error, whose last part must be in
/// ours after a `~~` line was put by hand.
fn compare(file: &str, cases: &str, answer: Answer) {
    let vars = Vars::yaml(include_str!("vars.yml"));
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/template/suite"));
    let templar = Arc::new(Templar::new());
    let mut wrong = Vec::new();
    let mut lines = cases.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() || line.starts_with("##") {
            continue;
        }
        let text: String = if line.starts_with('"') {
            serde_json::from_str(line).expect("a JSON string")
        } else {
            line.to_string()
        };
        let expected = lines.next().expect("an answer below each template");
        let got = answer(&templar, &written(&text), &cx(&vars, &[], &dir));
        let problem = match (expected.split_at(3), &got) {
            (("=> ", json), Ok(val)) => {
                let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
                let same = exactly(&Val::from_json(&json), val);
                (!same).then(|| format!("want {json}\n     got {}", val.to_json()))
            }
            (("=> ", json), Err(e)) => Some(format!("want {json}\n     got error: {e}")),
            (("!! ", _), Err(_)) => None,
            (("!! ", message), Ok(val)) => Some(format!("want error: {message}\n     got {}", val.to_json())),
            (other, _) => panic!("{file}: not an answer: {other:?}"),
        };
        if let Some(problem) = problem {
            wrong.push(format!("{line}\n    {problem}"));
        }
    }
    assert!(wrong.is_empty(), "{file}: {} wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// Equal with the same types: 1 is neither 1.0 nor true here.
fn exactly(a: &Val, b: &Val) -> bool {
    match (a, b) {
        (Val::List(a), Val::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| exactly(a, b))
        }
        (Val::Map(a), Val::Map(b)) => {
            let keys = |m: &Map| m.keys().map(Val::key_text).collect::<Vec<_>>();
            keys(a) == keys(b) && a.values().zip(b.values()).all(|(a, b)| exactly(a, b))
        }
        (Val::Float(a), Val::Float(b)) => a == b || (a - b).abs() < 1e-12 * a.abs(),
        _ => a.type_name() == b.type_name() && a == b,
    }
}

macro_rules! recorded {
    ($($test:ident: $file:literal => $answer:expr;)*) => {
        $(#[test]
        fn $test() {
            compare($file, include_str!($file), $answer);
        })*
    };
}

fn as_template(templar: &Templar, text: &Text, cx: &RenderCx) -> Result<Val, TemplateError> {
    templar.render(&Val::Text(text.clone()), cx)
}

fn as_condition(templar: &Templar, text: &Text, cx: &RenderCx) -> Result<Val, TemplateError> {
    templar.condition(&Val::Text(text.clone()), cx).map(Val::Bool)
}

fn as_expression(templar: &Templar, text: &Text, cx: &RenderCx) -> Result<Val, TemplateError> {
    templar.expression(text, cx)
}

recorded! {
    language_is_ansibles: "language.txt" => as_template;
    statements_are_ansibles: "statements.txt" => as_template;
    filters_are_ansibles: "filters.txt" => as_template;
    tests_are_ansibles: "tests.txt" => as_template;
    lookups_are_ansibles: "lookups.txt" => as_template;
    conditions_are_ansibles: "condition.txt" => as_condition;
    expressions_are_ansibles: "expression.txt" => as_expression;
}
