//! `pause`: waits for a time, or for the operator.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::source::{Text, Val};

use super::{Answer, Control, ControlCx, Failure, boolean, text};

pub struct Pause;

#[async_trait]
impl Control for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        Some(&["echo", "minutes", "prompt", "seconds"])
    }

    fn once(&self) -> bool {
        true
    }

    async fn run(&self, args: &Val, cx: &ControlCx<'_>) -> Result<Answer, Failure> {
        let echo = boolean(args, "echo", true)?;
        let number = |name: &str| -> Result<Option<f64>, Failure> {
            match text(args, name) {
                None => Ok(None),
                Some(t) => t.trim().parse::<f64>().map(Some).map_err(|_| {
                    Failure::new(format!(
                        "argument '{name}' is of type str and we were unable to convert to int: '{t}'"
                    ))
                }),
            }
        };
        let (minutes, seconds) = (number("minutes")?, number("seconds")?);
        if minutes.is_some() && seconds.is_some() {
            return Err(Failure::new("parameters are mutually exclusive: minutes|seconds"));
        }
        let began = Instant::now();
        let started = chrono::Local::now();
        let mut typed = Text::new("");
        let waited = match minutes.map(|m| m * 60.0).or(seconds) {
            Some(seconds) => {
                let seconds = seconds.max(1.0);
                cx.console.say(&format!("Pausing for {seconds:.0} seconds"));
                if let Some(prompt) = text(args, "prompt") {
                    cx.console.say(&prompt);
                }
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                format!("Paused for {:.2} seconds", began.elapsed().as_secs_f64())
            }
            None => {
                let prompt =
                    text(args, "prompt").unwrap_or("Press enter to continue, Ctrl+C to interrupt".into());
                match cx.console.ask(&format!("{prompt}:\n"), echo).await {
                    // What was typed blind is Secret.
                    Some(line) if !echo => typed = Text::secret(line),
                    Some(line) => typed = Text::new(line),
                    None => cx.console.say("Not waiting for response to prompt as stdin is not interactive"),
                }
                format!("Paused for {:.2} minutes", began.elapsed().as_secs_f64() / 60.0)
            }
        };
        Ok(Answer::default()
            .value("rc", 0i64)
            .value("stderr", "")
            .value("stdout", waited)
            .value("start", started.to_string())
            .value("stop", chrono::Local::now().to_string())
            .value("delta", began.elapsed().as_secs() as i64)
            .value("echo", echo)
            .value("user_input", Val::Text(typed)))
    }
}
