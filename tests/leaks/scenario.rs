//! One public report of a leak as a test: its scenario with a planted secret, run at `-vvv --diff`,
//! in check mode and with JSON and JUnit output; then nothing that was printed, written or shown in a process
//! list may hold the secret, in any encoding.

use std::path::Path;
use std::time::SystemTime;

use seqn_play::secret::Secret;
use seqn_play::secret::vault::{self, Password};

use crate::search::{Search, changed_files};
use crate::support::{Ran, Test};
use crate::watch::Watch;

/// How each scenario runs.
const WAYS: [&[&str]; 4] = [
    &["-vvv", "--diff"],
    &["-vvv", "--diff", "--check"],
    &["-vvv", "--diff", "--output", "json"],
    &["-vvv", "--diff", "--output", "junit"],
];

const VAULT_PASSWORD: &str = "opens-the-vault-of-a-test";

#[derive(Clone)]
struct File {
    path: String,
    text: String,
    sealed: bool,
}

/// `SECRET` in any of its texts stands for the planted secret, `DIR` for the folder of the run.
#[derive(Clone)]
pub struct Scenario {
    files: Vec<File>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    called: Option<&'static str>,
    ways: Vec<Vec<String>>,
    code: i32,
    says: Vec<String>,
    holders: Vec<String>,
    in_process_list: bool,
    control: bool,
}

impl Scenario {
    /// The tasks of one play on this machine.
    pub fn tasks(tasks: &str) -> Scenario {
        Scenario::play("", tasks)
    }

    /// The same, with more keywords of the play.
    pub fn play(keywords: &str, tasks: &str) -> Scenario {
        let indented = |text: &str, by: &str| -> String {
            text.trim_matches('\n').lines().map(|l| format!("{by}{l}\n")).collect()
        };
        let head = "- hosts: localhost\n  connection: local\n  gather_facts: false\n";
        let play = format!("{head}{}  tasks:\n{}", indented(keywords, "  "), indented(tasks, "    "));
        Scenario::command(&["play.yml"]).file("play.yml", &play)
    }

    /// A command line of its own.
    pub fn command(args: &[&str]) -> Scenario {
        Scenario {
            files: Vec::new(),
            args: args.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            called: None,
            ways: WAYS.iter().map(|way| way.iter().map(ToString::to_string).collect()).collect(),
            code: 0,
            says: Vec::new(),
            holders: Vec::new(),
            in_process_list: false,
            control: true,
        }
    }

    /// By another of the program's names, as it is and not in several ways.
    pub fn called(self, name: &'static str) -> Scenario {
        Scenario { called: Some(name), ..self.unvaried() }
    }

    /// With no flags but its own.
    pub fn unvaried(self) -> Scenario {
        Scenario { ways: vec![Vec::new()], ..self }
    }

    pub fn file(mut self, path: &str, text: &str) -> Scenario {
        self.files.push(File { path: path.into(), text: text.into(), sealed: false });
        self
    }

    /// A file that ansible-vault encrypted.
    pub fn vault(mut self, path: &str, text: &str) -> Scenario {
        self.files.push(File { path: path.into(), text: text.into(), sealed: true });
        self
    }

    /// Encrypted variables of all hosts.
    pub fn vault_vars(self, text: &str) -> Scenario {
        self.vault("group_vars/all/vault.yml", text)
    }

    pub fn arg(mut self, arg: &str) -> Scenario {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Scenario {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The run fails.
    pub fn fails(self) -> Scenario {
        self.ends(2)
    }

    pub fn ends(self, code: i32) -> Scenario {
        Scenario { code, ..self }
    }

    /// What the plain run must say: that the scenario came as far as the leak was.
    pub fn says(mut self, text: &str) -> Scenario {
        self.says.push(text.into());
        self
    }

    /// A file that the playbook wrote the secret into on purpose.
    pub fn writes(mut self, path: &str) -> Scenario {
        self.holders.push(path.into());
        self
    }

    /// The playbook itself puts the secret among a command's arguments, or into its environment.
    pub fn in_process_list(self) -> Scenario {
        Scenario { in_process_list: true, ..self }
    }

    /// Without protection it wouldn't be shown either (an argument that a module declares secret).
    pub fn always_hidden(self) -> Scenario {
        Scenario { control: false, ..self }
    }

    /// Runs it in each way.
    #[track_caller]
    pub fn leaks_nothing(self) {
        for way in &self.ways {
            let secret = planted();
            let (ran, found) = self.run(way, &secret, true);
            assert!(found.is_empty(), "{way:?} leaks {secret}:\n{}\n{}", found.join("\n"), ran.stdout);
            if !way.iter().any(|arg| arg == "--check") {
                assert_eq!(ran.code, self.code, "{way:?}\n{}\n{}", ran.stdout, ran.stderr);
            }
            if !way.iter().any(|arg| arg == "--output") {
                for text in &self.says {
                    assert!(
                        ran.stdout.contains(text.as_str()) || ran.stderr.contains(text.as_str()),
                        "{way:?} doesn't say {text:?}\n{}\n{}",
                        ran.stdout,
                        ran.stderr
                    );
                }
            }
        }
        if self.control {
            let (ran, found) = self.run(&self.ways[0], &planted(), false);
            let is_shown = found.iter().any(|f| f.starts_with("stdout") || f.starts_with("stderr"));
            assert!(
                is_shown,
                "unprotected, the secret isn't shown either: this test proves nothing\n{}\n{}",
                ran.stdout, ran.stderr
            );
        }
    }

    /// One run, protected as written, or with every vault opened and every `no_log` turned off.
    fn run(&self, way: &[String], secret: &str, protected: bool) -> (Ran, Vec<String>) {
        let search = Search::default();
        search.add(secret);
        let mut test = Test::new();
        if let Some(name) = self.called {
            test = test.called(name);
        }
        let mut holders = vec!["vault-password".to_string()];
        for file in &self.files {
            let text = file.text.replace("SECRET", secret);
            let text = match (file.sealed, protected) {
                (true, true) => seal(&text),
                (false, false) => text.replace("no_log: true", "no_log: false"),
                _ => text,
            };
            test = test.file(&file.path, &text);
            holders.push(file.path.clone());
        }
        holders.extend(self.holders.iter().cloned());
        let temporary = test.path().join("tmp");
        std::fs::create_dir(&temporary).expect("a folder");
        let password = test.path().join("vault-password");
        test = test
            .file("vault-password", VAULT_PASSWORD)
            .env("ANSIBLE_VAULT_PASSWORD_FILE", &password.display().to_string())
            .env("TMPDIR", &temporary.display().to_string());
        for (name, value) in &self.env {
            if protected || name != "ANSIBLE_NO_LOG" {
                test = test.env(name, &value.replace("SECRET", secret));
            }
        }
        for arg in self.args.iter().chain(way) {
            test = test.arg(arg);
        }
        let began = SystemTime::now();
        let watch = (!self.in_process_list).then(|| Watch::start(&search, &["cmdline", "environ"]));
        let ran = test.run();
        let mut found = watch.map(Watch::stop).unwrap_or_default();
        found.extend(search.in_text("stdout", ran.stdout.as_bytes()));
        found.extend(search.in_text("stderr", ran.stderr.as_bytes()));
        let holders: Vec<_> = holders.iter().map(|path| ran.dir.path().join(path)).collect();
        let places = [ran.dir.path().to_path_buf(), "/dev/shm".into()];
        let mut files = changed_files(&places, began);
        files.extend(crate::search::files_in(Path::new("/tmp"), began));
        files.retain(|path| !holders.contains(path));
        found.extend(files.iter().flat_map(|path| search.in_file(path)));
        (ran, found)
    }
}

/// A new secret: found in nothing that isn't it. It has no `I`, so that no part of it is `DIR`.
pub fn planted() -> String {
    let secret = seqn_play::secret::generate("abcdefghijklmnopqrstuvwxyzABCDEFGHJKLMNOPQRSTUVWXYZ", 40);
    secret.expect("random letters").expose().expect("text").to_string()
}

fn seal(text: &str) -> String {
    let password = Password { id: "default".into(), secret: Secret::new(VAULT_PASSWORD) };
    vault::encrypt(text.as_bytes(), &password).expect("a vault")
}
