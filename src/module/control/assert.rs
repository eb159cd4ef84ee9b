//! `assert`: fails unless every condition holds.

use async_trait::async_trait;

use crate::source::Val;

use super::{Answer, Control, ControlCx, Failure, boolean};

pub struct Assert;

#[async_trait]
impl Control for Assert {
    fn name(&self) -> &'static str {
        "assert"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        Some(&["that", "msg", "fail_msg", "success_msg", "quiet"])
    }

    fn required_args(&self) -> &'static [&'static str] {
        &["that"]
    }

    fn raw_args(&self) -> &'static [&'static str] {
        &["that", "msg", "fail_msg", "success_msg"]
    }

    async fn run(&self, args: &Val, cx: &ControlCx<'_>) -> Result<Answer, Failure> {
        let quiet = boolean(args, "quiet", false)?;
        let conditions = match args.get("that") {
            Some(Val::List(items)) => items.to_vec(),
            Some(one) => vec![one.clone()],
            None => return Err(Failure::new("conditional required in \"that\" string")),
        };
        // Messages are rendered only when they are shown: they may speak of what a failed
        // condition found undefined.
        let message = |names: &[&str], default: &str| -> Result<Val, Failure> {
            match names.iter().find_map(|n| args.get(n)) {
                Some(given) => Ok(cx.templar.render(given, &cx.render)?),
                None => Ok(default.into()),
            }
        };
        for condition in &conditions {
            if !cx.templar.condition(condition, &cx.render)? {
                let mut answer = Answer { failed: true, ..Answer::default() }
                    .value("evaluated_to", false)
                    .value("assertion", plain(condition))
                    .value("msg", message(&["fail_msg", "msg"], "Assertion failed")?);
                if quiet {
                    answer.result.shift_remove("evaluated_to");
                    answer.result.shift_remove("assertion");
                }
                return Ok(answer);
            }
        }
        Ok(Answer::default().value("msg", message(&["success_msg"], "All assertions passed")?))
    }
}

fn plain(condition: &Val) -> Val {
    condition.map_texts(&|t| t.plain())
}
