//! `vars_prompt`.

use crate::module::Failure;
use crate::playbook::Play;
use crate::source::{Map, Val};

use super::Engine;

/// Each is asked once a command, unless `-e` has the answer or it was given when the run began.
///
/// # Errors
/// A prompt that isn't supported, or the journal can't be written.
pub fn answers(engine: &Engine, play: &Play) -> Result<Map, Failure> {
    let mut answers = Map::new();
    for prompt in &play.vars_prompt {
        if engine.variables.has_extra(&prompt.name) {
            continue;
        }
        if prompt.encrypt.is_some() {
            return Err(Failure::new(format!(
                "{}: vars_prompt with 'encrypt' is not supported; hash the value in a task",
                prompt.span
            )));
        }
        let earlier = match &engine.log {
            Some(log) => log.answer(&prompt.name)?,
            None => None,
        };
        let mut asked = engine.answers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = earlier.or_else(|| asked.get(&prompt.name).cloned()) {
            if let Some(log) = &engine.log {
                log.keep_answer(&prompt.name, &known)?;
            }
            engine.redactor.register_val(&known);
            answers.insert(prompt.name.as_str().into(), known);
            continue;
        }
        let question = prompt.prompt.as_ref().map_or(prompt.name.clone(), |p| p.to_string());
        let shown = match &prompt.default {
            Some(default) if !prompt.private => format!("{question} [{}]: ", default.key_text()),
            _ => format!("{question}: "),
        };
        let mut typed = engine.console.ask_now(&shown, !prompt.private);
        if prompt.confirm && typed.is_some() {
            while engine.console.ask_now(&format!("confirm {shown}"), !prompt.private) != typed {
                engine.console.say("***** VALUES ENTERED DO NOT MATCH ****");
                typed = engine.console.ask_now(&shown, !prompt.private);
            }
        }
        let value = match (typed.filter(|t| !t.is_empty()), &prompt.default) {
            (Some(text), _) if prompt.private => Val::secret(&text),
            (Some(text), _) => Val::from(text),
            (None, Some(default)) if prompt.private => default.clone().into_secret(),
            (None, Some(default)) => default.clone(),
            (None, None) => Val::from(""),
        };
        engine.redactor.register_val(&value);
        if let Some(log) = &engine.log {
            log.keep_answer(&prompt.name, &value)?;
        }
        asked.insert(prompt.name.clone(), value.clone());
        answers.insert(prompt.name.as_str().into(), value);
    }
    Ok(answers)
}
