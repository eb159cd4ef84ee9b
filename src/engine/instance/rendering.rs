//! What an Instance renders in its Scope: arguments, settings, conditions.

use crate::module::Failure;
use crate::playbook::{Condition, ModuleCall, Setting};
use crate::source::args::{parse_bool, scalar_text};
use crate::source::{Map, Text, Val};
use crate::template::{Hooks, RenderCx};
use crate::vars::Scope;

use super::{Instance, put};
use crate::engine::event::Outcome;
use crate::engine::loops;
use crate::engine::services::RunHooks;

impl Instance<'_> {
    /// `gathers`: a value made of `ansible_env` is left out, as this task is what brings it.
    pub(super) fn environment(&self, scope: &Scope, gathers: bool) -> Result<Vec<(String, Text)>, Failure> {
        let mut merged: indexmap::IndexMap<String, Text> = indexmap::IndexMap::new();
        for layer in &self.task.keywords.environment {
            let layer = match layer {
                Val::Map(_) => layer.clone(),
                other => self.render_with(scope, other)?,
            };
            match layer {
                Val::Map(map) => {
                    for (name, value) in map.iter() {
                        let name = self.render_with(scope, name)?;
                        let value = &match self.render_with(scope, value) {
                            Err(why) if gathers && why.message.contains("'ansible_env'") => continue,
                            rendered => rendered?,
                        };
                        let text = scalar_text(value).unwrap_or_else(|| {
                            let json = Text::new(value.to_json().to_string());
                            if value.has_secret() { json.into_secret() } else { json }
                        });
                        self.run.engine.redactor.register_val(&Val::Text(text.clone()));
                        merged.insert(name.key_text(), text);
                    }
                }
                Val::Null | Val::Omit => {}
                other => {
                    return Err(Failure::new(format!(
                        "environment must be a dictionary, received {}",
                        other.type_name()
                    )));
                }
            }
        }
        Ok(merged.into_iter().collect())
    }

    /// Arguments rendered once: module_defaults, then `args: "{{ … }}"`, then the task's own.
    pub(super) fn args(&self, scope: &Scope, call: &ModuleCall, raw: &[&str]) -> Result<Val, Failure> {
        let mut given = Map::new();
        for defaults in &self.task.keywords.module_defaults {
            if let Some(Val::Map(args)) = defaults.get(call.canonical.as_str()) {
                given.extend(args.iter().map(|(k, v)| (k.clone(), v.clone())));
            }
        }
        if let Some(template) = &call.args_template {
            match self.render_with(scope, &Val::Text(template.clone()))? {
                Val::Map(args) => given.extend(args.iter().map(|(k, v)| (k.clone(), v.clone()))),
                Val::Null | Val::Omit => {}
                other => {
                    return Err(Failure::new(format!(
                        "args must be a dictionary, not {}",
                        other.type_name()
                    )));
                }
            }
        }
        if let Some(args) = call.args.as_map() {
            given.extend(args.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        let mut rendered = Map::with_capacity(given.len());
        for (name, value) in given {
            let name = match &name {
                Val::Text(t) if t.is_template() => self.render_with(scope, &name)?,
                other => other.map_texts(&|t| t.plain()),
            };
            let value = match name.as_str().is_some_and(|n| raw.contains(&n)) {
                true => value,
                false => self.render_with(scope, &value)?,
            };
            if !matches!(value, Val::Omit) {
                rendered.insert(name, value);
            }
        }
        Ok(Val::map(rendered))
    }

    pub(super) fn loop_items(&self, scope: &Scope) -> Result<Vec<Val>, Failure> {
        let Some(loop_) = &self.task.loop_ else { return Ok(Vec::new()) };
        loops::items(self.run.engine, loop_, &|v| self.render_with(scope, v), &|name, terms| {
            let hooks = RunHooks { engine: self.run.engine };
            let cx = self.render_cx(scope, &hooks, self.run.engine.options.check);
            Ok(self.run.engine.templar.lookup(name, terms, &cx)?)
        })
    }

    /// Whether every condition of `when` holds.
    pub fn holds(&self, scope: &Scope) -> Result<bool, Failure> {
        Ok(self.all_hold(scope, &self.task.keywords.when)?.is_none())
    }

    /// The first condition of `when` that is false, as a skipped Outcome.
    pub(super) fn unmet_condition(&self, scope: &Scope) -> Result<Option<Outcome>, Failure> {
        let Some(unmet) = self.all_hold(scope, &self.task.keywords.when)? else { return Ok(None) };
        let mut outcome = Outcome::skipped("Conditional result was False");
        put(&mut outcome.result, "changed", false);
        put(&mut outcome.result, "skipped", true);
        put(&mut outcome.result, "false_condition", unmet.map_texts(&|t| t.plain()));
        Ok(Some(outcome))
    }

    /// `None` if all hold; else the first that doesn't.
    pub(super) fn all_hold(
        &self,
        scope: &Scope,
        conditions: &[Condition],
    ) -> Result<Option<Condition>, Failure> {
        let hooks = RunHooks { engine: self.run.engine };
        let cx = self.render_cx(scope, &hooks, self.run.engine.options.check);
        for condition in conditions {
            if !self.run.engine.templar.condition(condition, &cx)? {
                return Ok(Some(condition.clone()));
            }
        }
        Ok(None)
    }

    pub(super) fn render_cx<'s>(
        &'s self,
        scope: &'s Scope,
        hooks: &'s dyn Hooks,
        check: bool,
    ) -> RenderCx<'s> {
        RenderCx {
            names: scope,
            search: self.search,
            playbook_dir: &self.run.play.playbook_dir,
            check_mode: check,
            hooks,
            impure: None,
        }
    }

    pub fn render_with(&self, scope: &Scope, val: &Val) -> Result<Val, Failure> {
        let hooks = RunHooks { engine: self.run.engine };
        Ok(self
            .run
            .engine
            .templar
            .render(val, &self.render_cx(scope, &hooks, self.run.engine.options.check))?)
    }

    pub(super) fn text(&self, scope: &Scope, text: &Text) -> Result<String, Failure> {
        Ok(self.render_with(scope, &Val::Text(text.clone()))?.key_text())
    }

    pub fn boolean(
        &self,
        scope: &Scope,
        setting: &Option<Setting<bool>>,
        default: bool,
    ) -> Result<bool, Failure> {
        self.setting(scope, setting, default, "a boolean", parse_bool)
    }

    pub(super) fn integer(
        &self,
        scope: &Scope,
        setting: &Option<Setting<i64>>,
        default: i64,
    ) -> Result<i64, Failure> {
        self.setting(scope, setting, default, "an integer", |text| text.trim().parse().ok())
    }

    pub(super) fn number(
        &self,
        scope: &Scope,
        setting: &Option<Setting<f64>>,
        default: f64,
    ) -> Result<f64, Failure> {
        self.setting(scope, setting, default, "a number", |text| text.trim().parse().ok())
    }

    pub(super) fn setting<T: Copy>(
        &self,
        scope: &Scope,
        setting: &Option<Setting<T>>,
        default: T,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Failure> {
        match setting {
            None => Ok(default),
            Some(Setting::Fixed(value)) => Ok(*value),
            Some(Setting::Template(text)) => match self.render_with(scope, &Val::Text(text.clone()))? {
                Val::Omit | Val::Null => Ok(default),
                value => scalar_text(&value).and_then(|t| parse(&t)).ok_or_else(|| {
                    Failure::new(format!("{} must be {wanted}, got {value:?}", text.as_str()))
                }),
            },
        }
    }
}
