//! `debug`: prints a message or a variable.

use async_trait::async_trait;

use crate::source::{Text, Val};

use super::{Answer, Control, ControlCx, Failure, text};

pub struct Debug;

#[async_trait]
impl Control for Debug {
    fn name(&self) -> &'static str {
        "debug"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        Some(&["msg", "var", "verbosity"])
    }

    fn raw_args(&self) -> &'static [&'static str] {
        &["var"]
    }

    async fn run(&self, args: &Val, cx: &ControlCx<'_>) -> Result<Answer, Failure> {
        if args.get("msg").is_some() && args.get("var").is_some() {
            return Err(Failure::new("'msg' and 'var' are incompatible options"));
        }
        let wanted = text(args, "verbosity").map_or(Ok(0), |v| {
            v.trim()
                .parse::<u8>()
                .map_err(|_| Failure::new(format!("verbosity must be an integer, got '{v}'")))
        })?;
        if wanted > cx.verbosity {
            return Ok(Answer { skipped: true, ..Answer::default() }
                .value("skipped_reason", "Verbosity threshold not met."));
        }
        match args.get("var") {
            Some(var) => {
                let (name, value) = variable(var, cx)?;
                Ok(Answer::default().value(&name, value))
            }
            None => {
                Ok(Answer::default().value("msg", args.get("msg").cloned().unwrap_or("Hello world!".into())))
            }
        }
    }
}

/// `var` is an expression; an undefined one is said so instead of failing the task.
fn variable(var: &Val, cx: &ControlCx<'_>) -> Result<(String, Val), Failure> {
    match var {
        Val::Text(expression) => {
            let name = match expression.is_template() {
                true => cx.templar.render(var, &cx.render)?.key_text(),
                false => expression.to_string(),
            };
            let expression = match expression.is_template() {
                // The name of a variable in a variable: evaluated once more, as Ansible does.
                true => expression
                    .origin()
                    .map_or_else(|| Text::new(name.as_str()), |o| Text::template(name.as_str(), o)),
                false => expression.clone(),
            };
            match cx.templar.expression(&expression, &cx.render) {
                Ok(value) => Ok((name, value)),
                Err(e) if e.undefined => Ok((name, "VARIABLE IS NOT DEFINED!".into())),
                Err(e) => Err(e.into()),
            }
        }
        other => {
            let value = cx.templar.render(other, &cx.render)?;
            Ok((value.repr(), value.clone()))
        }
    }
}
