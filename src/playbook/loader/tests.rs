use std::fmt::Write as _;

use super::*;
use crate::playbook::{Action, Block, BlockKind, FreeForm, LoopSource, ModuleInfo, Setting};
use crate::source::args::ArgError;
use crate::source::diagnostic::render_all;

mod bad;
mod good;
mod roles;

/// A few modules, and templates that only have to be closed.
struct Tiny;

impl Language for Tiny {
    fn module(&self, name: &str) -> Option<ModuleInfo> {
        let short =
            ["ansible.builtin.", "ansible.legacy."].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
        let (canonical, free_form) = match short {
            "command" | "shell" | "raw" => (format!("ansible.builtin.{short}"), FreeForm::Command),
            "meta" | "set_fact" | "include_vars" => (format!("ansible.builtin.{short}"), FreeForm::Words),
            "copy" | "debug" | "ping" | "file" | "validate_argument_spec" => {
                (format!("ansible.builtin.{short}"), FreeForm::No)
            }
            "community.docker.docker_compose_v2" => (short.to_string(), FreeForm::No),
            _ => return None,
        };
        Some(ModuleInfo { canonical, free_form })
    }

    fn irreversible(&self, module: &str, _: &Val) -> Option<String> {
        let is_command = self.module(module)?.free_form == FreeForm::Command;
        is_command.then(|| "nobody knows what it changes".to_string())
    }

    fn module_names(&self) -> Vec<String> {
        ["command", "shell", "copy", "debug", "ping", "file", "meta", "community.docker.docker_compose_v2"]
            .map(String::from)
            .to_vec()
    }

    fn check_args(&self, module: &str, args: &Val) -> Result<(), ArgError> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Copy {
            dest: String,
            src: Option<String>,
            content: Option<Val>,
            #[serde(default)]
            force: bool,
            mode: Option<Val>,
        }
        match module {
            "ansible.builtin.copy" => crate::source::args::check_literals::<Copy>(args),
            _ => Ok(()),
        }
    }

    fn check_template(&self, text: &Text) -> Option<Diagnostic> {
        let is_open = text.matches("{{").count() != text.matches("}}").count();
        is_open.then(|| Diagnostic::error("template-syntax", "`{{` is never closed", text.origin().unwrap()))
    }

    fn check_expression(&self, text: &Text) -> Option<Diagnostic> {
        text.ends_with("==").then(|| {
            Diagnostic::error("template-syntax", "the expression ends too early", text.origin().unwrap())
        })
    }

    fn lookup(&self, name: &str) -> bool {
        matches!(name, "items" | "dict" | "fileglob")
    }

    fn lookup_names(&self) -> Vec<String> {
        ["items", "dict", "fileglob"].map(String::from).to_vec()
    }

    fn render_static(&self, text: &Text, vars: &Map) -> Result<String, String> {
        let mut rendered = text.to_string();
        for (name, value) in vars {
            rendered = rendered.replace(&format!("{{{{ {} }}}}", name.key_text()), &value.key_text());
        }
        if rendered.contains("{{") { Err(format!("{rendered} is undefined")) } else { Ok(rendered) }
    }
}

/// Files in a folder of their own, and a loader for them.
struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Project {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Project { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().to_path_buf()
    }

    fn loader(&self) -> Loader {
        let mut extra = Map::new();
        extra.insert("env".into(), Val::from("prod"));
        let vault: Vault = Arc::new(|envelope| match envelope.contains("bad") {
            true => Err("the vault password is wrong".into()),
            false => Ok(envelope.replace("$ANSIBLE_VAULT;1.1;AES256\n", "")),
        });
        let mut loader = Loader::new(Arc::new(Tiny), extra, vault);
        loader.roles_path.clear();
        loader
    }

    /// `site.yml`, and what was wrong with it, with places relative to the project.
    fn load(&self) -> (Vec<Play>, String) {
        let mut diags = Diagnostics::default();
        let playbook = self.loader().playbook(&self.path().join("site.yml"), &mut diags);
        let problems = self.shown(&diags);
        (playbook.map(|p| p.plays).unwrap_or_default(), problems)
    }

    fn shown(&self, diags: &Diagnostics) -> String {
        render_all(diags, false, 100_000).replace(&format!("{}/", self.path().display()), "")
    }

    /// The only play of a playbook without mistakes.
    fn play(&self) -> Play {
        let (mut plays, problems) = self.load();
        assert_eq!(problems, "");
        assert_eq!(plays.len(), 1);
        plays.remove(0)
    }
}

/// One play with these tasks, which hold no mistake.
fn tasks(text: &str) -> Vec<Item> {
    play(&format!("- hosts: all\n  tasks:\n{}", indented(text))).tasks
}

fn play(text: &str) -> Play {
    Project::new(&[("site.yml", text)]).play()
}

fn indented(text: &str) -> String {
    text.lines().map(|l| format!("    {l}\n")).collect()
}

/// What is wrong with one play.
fn problems(text: &str) -> String {
    Project::new(&[("site.yml", text), ("t.yml", "- ping:\n")]).load().1
}

fn task(item: &Item) -> &Task {
    match item {
        Item::Task(task) => task,
        Item::Block(_) => panic!("not a task"),
    }
}

fn block(item: &Item) -> &Block {
    match item {
        Item::Block(block) => block,
        Item::Task(_) => panic!("not a block"),
    }
}

fn texts(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(Text::as_str).collect()
}

/// Module and arguments on one line.
fn call(task: &Task) -> String {
    match &task.action {
        Action::Module(call) => {
            let more = call.args_template.as_ref().map(|t| format!(" + {}", t.as_str())).unwrap_or_default();
            format!("{} {}{more}", call.canonical, call.args.to_json())
        }
        Action::IncludeTasks(include) => format!("include_tasks {}", include.file.as_str()),
        Action::IncludeRole(include) => format!("include_role {}", include.role.as_str()),
    }
}

/// Paths, names and conditions of all tasks, a block's indented below it.
fn outline(items: &[Item]) -> String {
    fn write(items: &[Item], depth: usize, out: &mut String) {
        let pad = "  ".repeat(depth);
        for item in items {
            match item {
                Item::Task(task) => {
                    let when = match &task.keywords.when[..] {
                        [] => String::new(),
                        when => format!(" when {when:?}"),
                    };
                    let tags = match &task.keywords.tags[..] {
                        [] => String::new(),
                        tags => format!(" tags {:?}", texts(tags)),
                    };
                    let name = task.name.as_ref().map(Text::as_str);
                    let _ = writeln!(out, "{pad}{} [{}]{when}{tags}", task.path, task.title(name));
                }
                Item::Block(block) => {
                    let kind = match block.kind {
                        BlockKind::Written => "block",
                        BlockKind::Role => "role",
                    };
                    let _ = writeln!(out, "{pad}{} {kind}", block.path);
                    write(&block.body, depth + 1, out);
                    write(&block.rescue, depth + 1, out);
                    write(&block.always, depth + 1, out);
                }
            }
        }
    }
    let mut out = String::new();
    write(items, 0, &mut out);
    out
}
