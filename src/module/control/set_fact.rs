//! `set_fact`: variables for the rest of the run.

use async_trait::async_trait;

use crate::source::{Map, Val};
use crate::vars::is_variable;

use super::{Answer, Control, ControlCx, Failure, boolean};

pub struct SetFact;

#[async_trait]
impl Control for SetFact {
    fn name(&self) -> &'static str {
        "set_fact"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        None
    }

    async fn run(&self, args: &Val, cx: &ControlCx<'_>) -> Result<Answer, Failure> {
        let cacheable = boolean(args, "cacheable", false)?;
        let facts: Map = args
            .as_map()
            .map(|m| {
                m.iter()
                    .filter(|(k, _)| k.as_str() != Some("cacheable"))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect()
            })
            .unwrap_or_default();
        if facts.is_empty() {
            return Err(Failure::new(
                "No key/value pairs provided, at least one is required for this action to succeed",
            ));
        }
        if let Some(bad) = facts.keys().find(|k| !k.as_str().is_some_and(is_variable)) {
            return Err(Failure::new(format!(
                "The variable name '{}' is not valid. Variables must start with a letter or underscore \
                 character, and contain only letters, numbers and underscores.",
                bad.key_text()
            )));
        }
        for host in cx.learners {
            for (name, value) in &facts {
                let name = name.key_text();
                match cacheable {
                    true => cx.variables.host_vars().set_cacheable_fact(host, &name, value.clone()),
                    false => cx.variables.host_vars().set_fact(host, &name, value.clone()),
                }
            }
        }
        Ok(Answer::default().value("ansible_facts", facts).value("_ansible_facts_cacheable", cacheable))
    }
}
