//! Modules and templates as the loader asks for them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::module::{Failure, control, registry};
use crate::playbook::{FreeForm, Language, ModuleCall, ModuleInfo};
use crate::source::args::ArgError;
use crate::source::diagnostic::nearest;
use crate::source::{Diagnostic, Map, Span, Text, Val};
use crate::template::{Names, NoHooks, RenderCx, Templar};

use super::meta;

/// The registries, as the loader sees them.
pub struct Registries {
    pub templar: Arc<Templar>,
}

/// Modules whose free-form text is a command line.
const COMMANDS: [&str; 4] = ["command", "shell", "raw", "script"];

/// Why the engine can't ever undo what a module does with these arguments.
pub fn irreversible(module: &str, args: &Val) -> Option<&'static str> {
    (registry::find(module)?.one_way)(args)
}

impl Language for Registries {
    fn module(&self, name: &str) -> Option<ModuleInfo> {
        if matches!(name.strip_prefix("ansible.builtin.").unwrap_or(name), "meta" | "ansible.legacy.meta") {
            return Some(ModuleInfo { canonical: "ansible.builtin.meta".into(), free_form: FreeForm::Words });
        }
        if let Some(control) = control::find(name) {
            return Some(ModuleInfo {
                canonical: format!("ansible.builtin.{}", control.name()),
                free_form: if control.free_form() { FreeForm::Words } else { FreeForm::No },
            });
        }
        let module = registry::find(name)?;
        let free_form = match module.free_form {
            Some(_) if COMMANDS.contains(&module.name) => FreeForm::Command,
            Some(_) => FreeForm::Words,
            None => FreeForm::No,
        };
        Some(ModuleInfo { canonical: format!("{}.{}", module.collection, module.name), free_form })
    }

    fn module_names(&self) -> Vec<String> {
        let controls = control::CONTROLS.iter().map(|c| c.name().to_string());
        let modules = registry::MODULES.iter().map(|m| m.name.to_string());
        controls.chain(modules).chain(["meta".to_string()]).collect()
    }

    fn check_args(&self, module: &str, args: &Val) -> Result<(), ArgError> {
        if module == "ansible.builtin.meta" {
            return check_meta(args);
        }
        if let Some(control) = control::find(module) {
            return check_control(control, args);
        }
        let Some(entry) = registry::find(module) else { return Ok(()) };
        let known = (entry.known_args)();
        unknown_argument(args, entry.name, known)?;
        (entry.check_literals)(args)
    }

    fn irreversible(&self, module: &str, args: &Val) -> Option<String> {
        irreversible(module, args).map(String::from)
    }

    fn check_template(&self, text: &Text) -> Option<Diagnostic> {
        self.templar.check_template(text, text.origin()?)
    }

    fn check_expression(&self, text: &Text) -> Option<Diagnostic> {
        self.templar.check_expression(text, text.origin()?)
    }

    fn lookup(&self, name: &str) -> bool {
        crate::template::lookup_names().contains(&name)
    }

    fn lookup_names(&self) -> Vec<String> {
        crate::template::lookup_names().into_iter().map(String::from).collect()
    }

    fn render_static(&self, text: &Text, vars: &Map) -> Result<String, String> {
        render_known(&self.templar, text, vars).map(|v| v.key_text())
    }
}

/// A text with nothing but the variables that are known before the run.
///
/// # Errors
/// It needs others, or is wrong.
pub fn render_known(templar: &Templar, text: &Text, vars: &Map) -> Result<Val, String> {
    struct Static<'a>(&'a Map);
    impl Names for Static<'_> {
        fn get(&self, name: &str) -> Option<Val> {
            self.0.get(name).cloned()
        }
        fn names(&self) -> Vec<String> {
            self.0.keys().map(Val::key_text).collect()
        }
    }
    let names = Static(vars);
    let dir = text.origin().and_then(Span::dir).map(PathBuf::from).unwrap_or_default();
    let search = [dir.clone()];
    let cx = RenderCx {
        names: &names,
        search: &search,
        playbook_dir: &dir,
        check_mode: true,
        hooks: &NoHooks,
        impure: None,
    };
    templar.render(&Val::Text(text.clone()), &cx).map_err(|e| e.to_string())
}

/// A call whose module was named by a template: looked up, and its arguments' names checked.
///
/// # Errors
/// There is no such module, or it takes no such argument.
pub fn named(call: &ModuleCall, name: &str) -> Result<ModuleCall, Failure> {
    let (canonical, check) = if let Some(control) = control::find(name) {
        (format!("ansible.builtin.{}", control.name()), check_control(control, &call.args))
    } else if let Some(entry) = registry::find(name) {
        let known = (entry.known_args)();
        let mut names = call.args.clone();
        if let (Some(_), Val::Map(args)) = (entry.free_form, &mut names) {
            Arc::make_mut(args).shift_remove("_raw_params");
        }
        (format!("{}.{}", entry.collection, entry.name), unknown_argument(&names, entry.name, known))
    } else {
        return Err(Failure::new(format!("couldn't resolve module/action '{name}'")));
    };
    check.map_err(|wrong| Failure::new(wrong.message))?;
    Ok(ModuleCall { canonical, written: name.to_string(), name: None, ..call.clone() })
}

fn check_meta(args: &Val) -> Result<(), ArgError> {
    let wrong = |message: String| ArgError { arg: None, message };
    match args.get("_raw_params") {
        Some(Val::Text(t)) if t.is_template() => {
            Err(wrong("meta takes a literal action, not a template".into()))
        }
        Some(action) if meta::ACTIONS.contains(&action.key_text().trim()) => Ok(()),
        Some(action) => Err(wrong(format!(
            "meta has no action '{}'; it can be {}",
            action.key_text(),
            meta::ACTIONS.join(", ")
        ))),
        None => Err(wrong(format!("meta needs an action: {}", meta::ACTIONS.join(", ")))),
    }
}

fn check_control(control: &dyn control::Control, args: &Val) -> Result<(), ArgError> {
    if let Some(known) = control.known_args() {
        unknown_argument(args, control.name(), known)?;
    }
    match control.required_args().iter().find(|name| args.get(name).is_none()) {
        Some(missing) => {
            Err(ArgError { arg: None, message: format!("missing required argument: {missing}") })
        }
        None => Ok(()),
    }
}

fn unknown_argument(args: &Val, module: &str, known: &[&str]) -> Result<(), ArgError> {
    for name in args.as_map().into_iter().flat_map(|m| m.keys()).map(Val::key_text) {
        if !known.contains(&name.as_str()) && !name.contains("{{") {
            let mut message = format!("{module} has no argument '{name}'");
            if let Some(near) = nearest(&name, known.iter().copied()) {
                message.push_str(&format!("; did you mean '{near}'?"));
            }
            return Err(ArgError { arg: Some(name), message });
        }
    }
    Ok(())
}
