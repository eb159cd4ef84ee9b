//! The rotation as it is, and with each of its tasks failing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use seqn_play::source::yaml::{load_one, read_file};
use seqn_play::source::{Diagnostics, Node};

use super::sandbox::Ran;

/// Keywords that would keep a task from failing at once.
const AGAINST: [&str; 4] = ["failed_when", "until", "retries", "delay"];
/// What isn't run itself but brings tasks.
const BRINGERS: [&str; 4] = ["import_role", "include_role", "import_tasks", "include_tasks"];

pub struct Case {
    /// The name of the task that fails; none does in the first case.
    task: Option<String>,
    /// Files of the project that are different: path from its root, text.
    pub files: Vec<(PathBuf, String)>,
    /// The task is one of a rescue, which runs when another has failed.
    in_rescue: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            None => f.write_str("a rotation that succeeds"),
            Some(task) => write!(f, "a rotation where `{task}` fails"),
        }
    }
}

impl Case {
    pub fn succeeds(&self) -> bool {
        self.task.is_none()
    }

    /// Whether the run went as this case wants it.
    pub fn judge(&self, ran: &Ran, old: &str, now: &str, new: &str) {
        let Ran { said, code, .. } = ran;
        match &self.task {
            None => {
                assert_eq!(*code, 0, "{self}\n{said}");
                assert_eq!(now, new, "{self}\n{said}");
            }
            Some(task) => {
                let begun = format!("{task}] **");
                assert!(said.contains(&begun), "{self}: it never came to that\n{said}");
                assert_eq!(*code, 2, "{self}\n{said}");
                assert!(now == old || now == new, "{self}: .env holds neither password\n{said}");
            }
        }
    }
}

/// The roles of the database rotation, and what they have for other playbooks.
const ROLES: [&str; 7] = [
    "blast_radius",
    "credential_record",
    "database_password",
    "env_edit",
    "fresh_backup",
    "preflight",
    "recreate_and_verify",
];
const OF_OTHERS: [&str; 3] = ["tasks/due.yml", "tasks/finished.yml", "tasks/last.yml"];

/// A task as it stands in a file.
struct Found {
    name: String,
    /// The text of the file with this task failing.
    failing: String,
    in_rescue: bool,
}

pub fn all() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![PathBuf::from("playbooks/rotate-db-password.yml")];
    for role in ROLES.map(|role| root.join("roles").join(role)) {
        let mut tasks: Vec<_> =
            fs::read_dir(role.join("tasks")).unwrap().map(|file| file.unwrap().path()).collect();
        tasks.sort();
        tasks.retain(|file| !OF_OTHERS.iter().any(|other| file.ends_with(other)));
        files.extend(tasks.into_iter().map(|path| path.strip_prefix(root).unwrap().to_path_buf()));
    }
    let mut cases = vec![Case { task: None, files: Vec::new(), in_rescue: false }];
    for file in files {
        for found in tasks_of(&root.join(&file), "true") {
            let files = vec![(file.clone(), found.failing)];
            let name = shown(&root.join(&file), found.name);
            cases.push(Case { task: Some(name), files, in_rescue: found.in_rescue });
        }
    }
    // The backups after the rotation are taken by the same tasks as those before it.
    let backup = PathBuf::from("roles/fresh_backup/tasks/main.yml");
    let after = tasks_of(&root.join(&backup), "rotated_databases is defined").remove(1);
    cases.push(Case { task: Some(after.name), files: vec![(backup, after.failing)], in_rescue: false });
    // What is in a rescue needs a reason to be run.
    let reason = tasks_of(&root.join("roles/recreate_and_verify/tasks/verify.yml"), "true").remove(0).failing;
    for case in cases.iter_mut().filter(|case| case.in_rescue) {
        case.files.push(("roles/recreate_and_verify/tasks/verify.yml".into(), reason.clone()));
    }
    cases
}

/// A name that a role gives the task by default, as it is shown.
fn shown(file: &Path, name: String) -> String {
    let Some(variable) = name.strip_prefix("{{ ").and_then(|rest| rest.strip_suffix(" }}")) else {
        return name;
    };
    let defaults = file.parent().and_then(Path::parent).expect("a role").join("defaults/main.yml");
    let source = read_file(&defaults).unwrap_or_else(|problem| panic!("{problem:?}"));
    let root = load_one(&source, &mut Diagnostics::default()).expect("YAML");
    root.get(variable).and_then(Node::as_str).expect("a default").to_string()
}

/// The tasks of a file, each with the file's text in which it fails under a condition.
fn tasks_of(path: &Path, condition: &str) -> Vec<Found> {
    let source = read_file(path).unwrap_or_else(|problem| panic!("{problem:?}"));
    let root = load_one(&source, &mut Diagnostics::default()).expect("YAML");
    let mut found = Vec::new();
    walk(&source.text, &root, (condition, false), &mut found);
    found
}

/// Lists of plays, blocks and tasks.
fn walk(text: &str, list: &Node, (condition, in_rescue): (&str, bool), found: &mut Vec<Found>) {
    for item in list.as_list().unwrap_or_default() {
        let mut is_task = true;
        for section in ["pre_tasks", "tasks", "post_tasks", "block", "rescue", "always"] {
            if let Some(inner) = item.get(section) {
                is_task = false;
                walk(text, inner, (condition, in_rescue || section == "rescue"), found);
            }
        }
        let keys = || item.as_map().unwrap_or_default().iter();
        let brings = keys().any(|entry| {
            let key = entry.key.as_str().unwrap_or_default();
            key == "hosts" || BRINGERS.contains(&key.rsplit('.').next().unwrap_or(key))
        });
        if is_task && !brings {
            let name = item.get("name").and_then(Node::as_str).expect("every task has a name").to_string();
            found.push(Found { name, failing: failing(text, item, condition), in_rescue });
        }
    }
}

/// The text with this task failing under a condition.
fn failing(text: &str, task: &Node, condition: &str) -> String {
    let entries = task.as_map().expect("a task is a map");
    let mut text = text.to_string();
    // From the end, so that places before stay right.
    for entry in entries.iter().rev() {
        if entry.key.as_str().is_some_and(|key| AGAINST.contains(&key)) {
            text.replace_range(entry.key.span.start..entry.value.span.end, "");
        }
    }
    let first = &entries[0].key.span;
    let indent = " ".repeat(first.column as usize - 1);
    text.insert_str(first.start, &format!("failed_when: {condition}\n{indent}"));
    text
}
