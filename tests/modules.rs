//! Every module that changes files, on a real file system through a real `sh`: what check mode
//! predicts, what `--diff` shows, that it changes once, that a transaction takes it back, and that a
//! wrong argument is found before anything runs.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use support::Test;

/// A module's task, from the state that every case begins with.
struct Case {
    task: &'static str,
    /// Part of what `--diff` shows; empty where there is nothing to show.
    diff: &'static str,
    /// A path of the test's folder that is there afterwards, and nothing of that name before.
    made: &'static str,
    /// The same with an argument that doesn't exist, and what is said about it.
    bad: (&'static str, &'static str),
}

const CASES: &[Case] = &[
    Case {
        task: "copy: {dest: DIR/f, content: \"new\\n\"}",
        diff: "+new",
        made: "",
        bad: ("copy: {dst: DIR/f, content: x}", "copy has no argument 'dst'; did you mean 'dest'?"),
    },
    Case {
        task: "copy: {src: DIR/from/, dest: DIR/tree, mode: '0600'}",
        diff: "",
        made: "tree/below/leaf",
        bad: ("copy: {dest: DIR/x}", "src (or content) is required"),
    },
    Case {
        task: "template: {src: DIR/t.j2, dest: DIR/f}",
        diff: "+2 is two",
        made: "",
        bad: ("template: {source: x, dest: DIR/f}", "template has no argument 'source'"),
    },
    Case {
        task: "lineinfile: {path: DIR/f, line: 'b=2', regexp: '^b='}",
        diff: "+b=2",
        made: "",
        bad: ("lineinfile: {path: DIR/f, lien: x}", "did you mean 'line'?"),
    },
    Case {
        task: "blockinfile: {path: DIR/f, block: 'in a block'}",
        diff: "+in a block",
        made: "",
        bad: ("blockinfile: {path: DIR/f, bock: x}", "did you mean 'block'?"),
    },
    Case {
        task: "replace: {path: DIR/f, regexp: 'a=1', replace: 'a=7'}",
        diff: "+a=7",
        made: "",
        bad: ("replace: {path: DIR/f, regex: x}", "did you mean 'regexp'?"),
    },
    Case {
        task: "assemble: {src: DIR/from/below, dest: DIR/f}",
        diff: "+a leaf",
        made: "",
        bad: ("assemble: {src: DIR/from, dst: x}", "did you mean 'dest'?"),
    },
    Case {
        task: "seqn.play.dotenv: {path: DIR/f, key: a, value: 'x y'}",
        diff: "+a=(new value)",
        made: "",
        bad: ("seqn.play.dotenv: {path: DIR/f, kye: a, value: x}", "did you mean 'key'?"),
    },
    Case {
        task: "file: {path: DIR/deep/er, state: directory, mode: '0711'}",
        diff: "",
        made: "deep/er",
        bad: ("file: {path: DIR/x, state: directroy}", "directroy"),
    },
    Case {
        task: "file: {path: DIR/new, state: touch}",
        diff: "",
        made: "new",
        bad: ("file: {path: DIR/x, mod: '0600'}", "did you mean 'mode'?"),
    },
    Case {
        task: "file: {src: f, dest: DIR/link, state: link}",
        diff: "",
        made: "link",
        bad: ("file: {state: link}", "missing required argument"),
    },
    Case {
        task: "file: {path: DIR/f, mode: '0640'}",
        diff: "",
        made: "",
        bad: ("file: {path: DIR/f, mode: '0640', stat: x}", "did you mean 'state'?"),
    },
    Case {
        task: "file: {path: DIR/f, state: absent}",
        diff: "",
        made: "",
        bad: ("file: {path: DIR/f, state: gone}", "gone"),
    },
];

/// Kind, mode, content or target of all that is below a folder. The playbook itself is left out.
fn state(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            // What the program keeps of its runs.
            if path.ends_with(".seqn-play") {
                continue;
            }
            let meta = std::fs::symlink_metadata(&path).expect("an entry");
            let is = match () {
                () if meta.is_dir() => {
                    open.push(path.clone());
                    "a folder".to_string()
                }
                () if meta.is_symlink() => format!("{:?}", std::fs::read_link(&path)),
                () => std::fs::read_to_string(&path).unwrap_or_default(),
            };
            let name = path.strip_prefix(dir).expect("below").display().to_string();
            if name != "play.yml" {
                let mode = meta.permissions().mode() & 0o7777;
                found.insert(name, format!("{mode:o} {}:{} {is}", meta.uid(), meta.gid()));
            }
        }
    }
    found
}

fn prepared(tasks: &str) -> Test {
    Test::new()
        .file("f", "# kept\na=1\nb=1\n")
        .file("t.j2", "{{ 1 + 1 }} is two\n")
        .file("from/below/leaf", "a leaf\n")
        .file("from/top", "the top\n")
        .tasks(tasks)
}

#[test]
fn check_mode_predicts_and_changes_nothing() {
    for case in CASES {
        let test = prepared(&format!("- {}", case.task));
        let before = state(test.path());
        let ran = test.args(&["play.yml", "--check", "--diff"]).run().success().recap("changed=1");
        assert_eq!(state(ran.dir.path()), before, "{}", case.task);
        assert!(ran.stdout.contains(case.diff), "{}: no {:?} in\n{}", case.task, case.diff, ran.stdout);
    }
}

#[test]
fn what_was_changed_is_ok_the_second_time() {
    for case in CASES.iter().filter(|c| !c.task.contains("touch")) {
        let twice =
            format!("- {0}\n- {0}\n  register: again\n- assert: {{that: again is not changed}}", case.task);
        let ran = prepared(&twice).args(&["play.yml", "--diff"]).run().success().recap("changed=1");
        assert!(ran.stdout.contains(case.diff), "{}: no {:?} in\n{}", case.task, case.diff, ran.stdout);
        assert!(
            case.made.is_empty() || std::fs::symlink_metadata(ran.dir.path().join(case.made)).is_ok(),
            "{}",
            case.task
        );
    }
}

#[test]
fn a_transaction_takes_it_back() {
    for case in CASES {
        let test = prepared(&format!(
            "- transaction: true\n  block:\n    - {}\n      register: it\n    - fail: {{msg: \"was {{{{ it is changed }}}}\"}}",
            case.task
        ));
        let before = state(test.path());
        let ran = test.run().code(2).says("was True").says("undone: [localhost] =>").never_says("NOT undone");
        assert_eq!(state(ran.dir.path()), before, "{}", case.task);
    }
}

#[test]
fn a_wrong_argument_is_found_before_anything_runs() {
    for case in CASES {
        let (task, said) = case.bad;
        let test = prepared(&format!("- command: touch DIR/ran\n- {task}"));
        test.run().code(1).lacks("ran").says(said);
    }
}

#[test]
fn a_new_file_is_as_the_umask_says() {
    for (umask, mode) in [("0007", 0o660), ("0027", 0o640), ("0077", 0o600), ("0022", 0o644), ("0000", 0o666)]
    {
        let test = prepared("- copy: {dest: DIR/new, content: x}");
        let plain = test.command();
        let status = std::process::Command::new("sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" play.yml")])
            .arg(plain.get_program())
            .current_dir(test.path())
            .output()
            .expect("sh runs")
            .status;
        assert!(status.success(), "{umask}");
        let made = std::fs::metadata(test.path().join("new")).expect("a file").permissions().mode();
        assert_eq!(made & 0o7777, mode, "umask {umask}");
    }
}
