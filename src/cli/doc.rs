//! `seqn-play doc [MODULE…]`: the modules, and their arguments as the code declares them.

use clap::Parser;
use serde_json::{Map, Value, json};

use crate::module::{Entry, control, registry};
use crate::report::{Format, Paint, Screen, Settings as ReportSettings};
use crate::source::diagnostic::nearest;

use super::Command;
use super::setup::{self, Outputs};

/// Shows modules and their arguments.
#[derive(Debug, Parser)]
#[command(name = "seqn-play doc", version)]
pub struct Doc {
    /// Modules to show
    #[arg(value_name = "MODULE")]
    modules: Vec<String>,
    /// List all modules
    #[arg(short, long)]
    list: bool,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
    /// The kind of what is shown; only modules are documented
    #[arg(id = "type", short = 't', long = "type", value_name = "KIND", default_value = "module", value_parser = ["module"])]
    _kind: String,
}

/// What is shown of a module.
struct Page {
    name: String,
    /// JSON Schema of its arguments; `None` where only the names are known.
    schema: Option<Value>,
    names: Vec<String>,
}

impl Command for Doc {
    fn run(self) -> u8 {
        let outputs = Outputs::new(Format::Text, ReportSettings::default());
        let screen = &outputs.screen;
        if self.list || self.modules.is_empty() {
            let pages = all();
            match self.json {
                true => {
                    let names: Map<String, Value> =
                        pages.iter().map(|p| (p.name.clone(), json!(p.summary()))).collect();
                    say(screen, &format!("{:#}", Value::Object(names)));
                }
                false => {
                    pages.iter().for_each(|p| say(screen, format!("{:<45} {}", p.name, p.summary()).trim()))
                }
            }
            return 0;
        }
        let mut found = Map::new();
        let mut code = 0;
        for name in &self.modules {
            match page(name) {
                Some(page) if self.json => drop(found.insert(page.name.clone(), page.json())),
                Some(page) => page.show(screen),
                None => {
                    let pages = all();
                    let near = nearest(name, pages.iter().filter_map(|p| p.name.rsplit('.').next()));
                    let help = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    setup::complain(&format!("there is no module {name}{help}"));
                    code = 1;
                }
            }
        }
        if self.json {
            say(screen, &format!("{:#}", Value::Object(found)));
        }
        code
    }
}

fn say(screen: &Screen, text: &str) {
    screen.line(Paint::Plain, text);
}

fn all() -> Vec<Page> {
    let mut pages: Vec<Page> = registry::MODULES.iter().map(of_module).collect();
    pages.extend(control::CONTROLS.iter().map(|c| of_control(*c)));
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    pages
}

fn page(name: &str) -> Option<Page> {
    registry::find(name).map(of_module).or_else(|| control::find(name).map(of_control))
}

fn of_module(entry: &Entry) -> Page {
    Page {
        name: format!("{}.{}", entry.collection, entry.name),
        schema: Some((entry.schema)().to_value()),
        names: (entry.known_args)().iter().map(ToString::to_string).collect(),
    }
}

fn of_control(control: &dyn control::Control) -> Page {
    let names = control.known_args().unwrap_or_default();
    Page {
        name: format!("ansible.builtin.{}", control.name()),
        schema: None,
        names: names.iter().map(ToString::to_string).collect(),
    }
}

impl Page {
    fn summary(&self) -> String {
        let text = self.schema.as_ref().and_then(|s| s["description"].as_str()).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_string()
    }

    fn json(&self) -> Value {
        match &self.schema {
            Some(schema) => schema.clone(),
            None => {
                let names: Map<String, Value> = self.names.iter().map(|n| (n.clone(), json!({}))).collect();
                json!({"properties": names})
            }
        }
    }

    fn show(&self, screen: &Screen) {
        say(screen, &format!("> {}\n", self.name.to_uppercase()));
        if !self.summary().is_empty() {
            say(screen, &format!("  {}\n", self.summary()));
        }
        say(screen, "OPTIONS (* is required):\n");
        let properties = self.schema.as_ref().and_then(|s| s["properties"].as_object());
        let Some(properties) = properties else {
            self.names.iter().for_each(|name| say(screen, &format!("- {name}")));
            return;
        };
        let required = self.schema.as_ref().and_then(|s| s["required"].as_array());
        for (name, about) in properties {
            let is_required = required.is_some_and(|r| r.iter().any(|n| n == name));
            say(screen, &format!("{} {name}", if is_required { "*" } else { "-" }));
            for line in about["description"].as_str().unwrap_or_default().lines() {
                say(screen, &format!("      {line}"));
            }
            if let Some(default) = about.get("default").filter(|d| !d.is_null()) {
                say(screen, &format!("      default: {default}"));
            }
        }
    }
}
