//! `fail`: fails with a message.

use async_trait::async_trait;

use crate::source::Val;

use super::{Answer, Control, ControlCx, Failure};

pub struct Fail;

#[async_trait]
impl Control for Fail {
    fn name(&self) -> &'static str {
        "fail"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        Some(&["msg"])
    }

    async fn run(&self, args: &Val, _: &ControlCx<'_>) -> Result<Answer, Failure> {
        let message = args.get("msg").cloned().unwrap_or("Failed as requested from task".into());
        Ok(Answer { failed: true, ..Answer::default() }.value("msg", message))
    }
}
