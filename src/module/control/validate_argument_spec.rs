//! `validate_argument_spec`: variables against the argument specification of a role.

use async_trait::async_trait;

use crate::source::args::{parse_bool, scalar_text};
use crate::source::{Map, Val};

use super::{Answer, Control, ControlCx, Failure};

pub struct ValidateArgumentSpec;

#[async_trait]
impl Control for ValidateArgumentSpec {
    fn name(&self) -> &'static str {
        "validate_argument_spec"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        Some(&["argument_spec", "provided_arguments", "validate_args_context"])
    }

    fn required_args(&self) -> &'static [&'static str] {
        &["argument_spec"]
    }

    async fn run(&self, args: &Val, cx: &ControlCx<'_>) -> Result<Answer, Failure> {
        let spec = args
            .get("argument_spec")
            .and_then(Val::as_map)
            .ok_or_else(|| Failure::new("Incorrect type for argument_spec, expected dict"))?;
        let mut given = Map::new();
        for name in spec.keys().map(Val::key_text) {
            if let Some(value) = cx.render.names.get(&name) {
                given.insert(name.as_str().into(), cx.templar.render(&value, &cx.render)?);
            }
        }
        if let Some(more) = args.get("provided_arguments").and_then(Val::as_map) {
            given.extend(more.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        let mut errors = Vec::new();
        check_options(spec, &given, "", &mut errors);
        let context = args.get("validate_args_context").cloned().unwrap_or_else(|| Map::new().into());
        let answer = Answer::default().value("validate_args_context", context);
        if errors.is_empty() {
            return Ok(answer.value("msg", "The arg spec validation passed"));
        }
        let message = format!("Validation of arguments failed:\n{}", errors.join("\n"));
        let answer = answer
            .value("argument_errors", Val::from(errors))
            .value("argument_spec_data", spec.clone())
            .value("msg", message);
        Ok(Answer { failed: true, ..answer })
    }
}

/// Checks `given` against the options of a spec, with messages as Ansible's.
fn check_options(spec: &Map, given: &Map, within: &str, errors: &mut Vec<String>) {
    let place = if within.is_empty() { String::new() } else { format!(" found in {within}") };
    let mut missing: Vec<String> = spec
        .iter()
        .filter(|(name, option)| {
            option.get("required").and_then(scalar_text).and_then(|t| parse_bool(&t)) == Some(true)
                && !given.contains_key(*name)
        })
        .map(|(name, _)| name.key_text())
        .collect();
    if !missing.is_empty() {
        missing.sort();
        errors.push(format!("missing required arguments: {}{place}", missing.join(", ")));
    }
    for (name, option) in spec {
        if let Some(value) = given.get(name).filter(|v| !matches!(v, Val::Null)) {
            check_value(&name.key_text(), option, value, within, errors);
        }
    }
}

fn check_value(name: &str, option: &Val, value: &Val, within: &str, errors: &mut Vec<String>) {
    let place = if within.is_empty() { String::new() } else { format!(" found in '{within}'") };
    let wanted = option.get("type").and_then(Val::as_str).unwrap_or("str");
    if !fits(wanted, value) {
        errors.push(format!(
            "argument '{name}' is of type {} and we were unable to convert to {wanted}{place}",
            value.type_name()
        ));
        return;
    }
    if let Some(choices) = option.get("choices").and_then(Val::as_list) {
        let asked = match value {
            Val::List(items) => items.to_vec(),
            one => vec![one.clone()],
        };
        let same =
            |a: &Val, b: &Val| a == b || (scalar_text(a).is_some() && scalar_text(a) == scalar_text(b));
        let bad: Vec<String> =
            asked.iter().filter(|v| !choices.iter().any(|c| same(c, v))).map(Val::key_text).collect();
        if !bad.is_empty() {
            let allowed: Vec<String> = choices.iter().map(Val::key_text).collect();
            let one_of = if matches!(value, Val::List(_)) { "one or more of" } else { "one of" };
            errors.push(format!(
                "value of {name} must be {one_of}: {}, got: {}{place}",
                allowed.join(", "),
                bad.join(", ")
            ));
        }
    }
    let elements = option.get("elements").and_then(Val::as_str);
    if let (Some(elements), Val::List(items)) = (elements, value) {
        for item in items.iter().filter(|i| !fits(elements, i)) {
            errors.push(format!(
                "Elements value for option '{name}' is of type {} and we were unable to convert to {elements}{place}",
                item.type_name()
            ));
        }
    }
    if let Some(options) = option.get("options").and_then(Val::as_map) {
        let path = if within.is_empty() { name.to_string() } else { format!("{within} -> {name}") };
        match value {
            Val::Map(inner) => check_options(options, inner, &path, errors),
            Val::List(items) => {
                for inner in items.iter().filter_map(Val::as_map) {
                    check_options(options, inner, &path, errors);
                }
            }
            _ => {}
        }
    }
}

fn fits(wanted: &str, value: &Val) -> bool {
    let text = || scalar_text(value);
    match wanted {
        "bool" => text().is_some_and(|t| parse_bool(&t).is_some()),
        "int" => text().is_some_and(|t| t.trim().parse::<i64>().is_ok()) && !matches!(value, Val::Bool(_)),
        "float" => text().is_some_and(|t| t.trim().parse::<f64>().is_ok()) && !matches!(value, Val::Bool(_)),
        "dict" => match value {
            Val::Map(_) => true,
            Val::Text(t) => t.trim_start().starts_with('{') || t.contains('='),
            _ => false,
        },
        "list" => !matches!(value, Val::Map(_)),
        "str" | "path" => text().is_some() || matches!(value, Val::List(_) | Val::Map(_)) && wanted == "str",
        _ => true,
    }
}
