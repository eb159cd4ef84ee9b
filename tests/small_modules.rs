//! Modules that observe, wait, or change little: what they find, what check mode says of them, that
//! a transaction leaves nothing of them, and that a wrong argument is found before anything runs.

mod support;

use support::Test;

struct Case {
    task: &'static str,
    /// What must hold of its result, registered as `it`.
    finds: &'static str,
    /// `changed` and `skipped` of a run and of check mode.
    run: [u8; 2],
    check: [u8; 2],
    /// What a failing transaction says, if it had an effect.
    back: &'static str,
    /// The same with an argument that doesn't exist, and what is said about it.
    bad: (&'static str, &'static str),
}

const NOTHING: [u8; 2] = [0, 0];

const CASES: &[Case] = &[
    Case {
        task: "ping: {data: pling}",
        finds: "it.ping == 'pling'",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("ping: {dta: x}", "did you mean 'data'?"),
    },
    Case {
        task: "stat: {path: DIR/f, checksum_algorithm: sha256}",
        finds: "it.stat.exists and it.stat.size == 4 and it.stat.isreg and it.stat.checksum == 'a=1\n' | hash('sha256')",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("stat: {pth: x}", "did you mean 'path'?"),
    },
    Case {
        task: "stat: {path: DIR/not-there}",
        finds: "not it.stat.exists",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("stat: {}", "path"),
    },
    Case {
        task: "slurp: {src: DIR/f}",
        finds: "it.content | b64decode == 'a=1\n' and it.encoding == 'base64'",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("slurp: {surc: DIR/f}", "slurp has no argument 'surc'"),
    },
    Case {
        task: "seqn.play.dotenv_info: {path: DIR/.env, keys: [KEY]}",
        finds: "it.variables.KEY == 'a b'",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("seqn.play.dotenv_info: {pth: DIR/.env}", "did you mean 'path'?"),
    },
    Case {
        task: "seqn.play.fingerprint: {values: ['p{{ 1 }}', p1, p2], key: a key of this run}",
        finds: "it.fingerprints[0] == it.fingerprints[1] != it.fingerprints[2] and it.fingerprints[2] is match('^[0-9a-f]{12}$')",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("seqn.play.fingerprint: {values: [x]}", "key"),
    },
    Case {
        task: "seqn.play.secret_search: {values: ['a long secret 0815'], paths: [DIR/.env, DIR/f], report_only: true}",
        finds: "it is not changed and it is not failed",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("seqn.play.secret_search: {value: x}", "did you mean 'values'?"),
    },
    Case {
        task: "apt: {name: dpkg}",
        finds: "it is not changed",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("apt: {nme: dpkg}", "did you mean 'name'?"),
    },
    Case {
        task: "getent: {database: passwd, key: root}",
        finds: "it.ansible_facts.getent_passwd.root[1] == '0' and getent_passwd.root[2] == '0'",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("getent: {databse: passwd}", "did you mean 'database'?"),
    },
    Case {
        task: "wait_for: {path: DIR/f, search_regex: '^a=(.)', timeout: 5}",
        finds: "ansible_check_mode or it.match_groups == ['1']",
        run: NOTHING,
        check: [0, 1],
        back: "",
        bad: ("wait_for: {pot: 1}", "did you mean 'port'?"),
    },
    Case {
        task: "include_vars: {file: DIR/vars.yml, name: loaded}",
        finds: "it.ansible_facts.loaded.level == 3 and loaded.level == 3",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("include_vars: {flie: vars.yml}", "did you mean 'file'?"),
    },
    Case {
        task: "pause: {seconds: 1}",
        finds: "it.delta == 1",
        run: NOTHING,
        check: NOTHING,
        back: "",
        bad: ("pause: {secs: 1}", "pause has no argument 'secs'"),
    },
    Case {
        task: "script: {cmd: DIR/script.sh made, chdir: DIR, creates: DIR/made}",
        finds: "ansible_check_mode or it.stdout == 'made it'",
        run: [1, 0],
        check: [1, 0],
        back: "",
        bad: ("script: {cmd: DIR/script.sh, chdri: DIR}", "did you mean 'chdir'?"),
    },
    Case {
        task: "script: {cmd: DIR/script.sh f, creates: DIR/f}",
        finds: "it is skipped",
        run: [0, 1],
        check: [0, 1],
        back: "",
        bad: ("script: {create: DIR/f, cmd: x}", "did you mean 'creates'?"),
    },
    Case {
        task: "tempfile: {path: DIR, prefix: made., suffix: .d, state: directory}",
        finds: "ansible_check_mode or it.path is match('DIR/made\\..*\\.d$')",
        run: [1, 0],
        check: [0, 1],
        back: "undone: [localhost] => make a temporary file",
        bad: ("tempfile: {prefx: x}", "did you mean 'prefix'?"),
    },
];

fn prepared(tasks: &str) -> Test {
    let test = Test::new()
        .file("f", "a=1\n")
        .file(".env", "KEY='a b'\nOTHER=x\n")
        .file("holds", "x = a long secret 0815\n")
        .file("vars.yml", "level: 3\n")
        .file("script.sh", "#!/bin/sh\ntouch \"$1\"; printf '%s it' \"$1\"\n")
        .tasks(tasks);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(test.path().join("script.sh"), mode).expect("a script");
    test
}

fn counts([changed, skipped]: [u8; 2]) -> [String; 2] {
    [format!("changed={changed}"), format!("skipped={skipped}")]
}

fn found(case: &Case) -> String {
    let finds = case.finds.replace('\n', "\\n");
    format!(
        "- {}\n  register: it\n- assert: {{that: \"{}\"}}",
        case.task,
        finds.replace('\\', "\\\\").replace("\\\\n", "\\n")
    )
}

fn names(test: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(test)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !["play.yml", ".seqn-play"].contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

#[test]
fn each_finds_what_is_there() {
    for case in CASES {
        let ran = prepared(&found(case)).run().success();
        counts(case.run).iter().fold(ran, |ran, count| ran.recap(count));
    }
}

#[test]
fn check_mode_says_the_same_and_changes_nothing() {
    for case in CASES {
        let test = prepared(&found(case));
        let before = names(test.path());
        let ran = test.args(&["play.yml", "--check", "--diff"]).run().success();
        assert_eq!(names(ran.dir.path()), before, "{}", case.task);
        counts(case.check).iter().fold(ran, |ran, count| ran.recap(count));
    }
}

#[test]
fn a_failed_transaction_takes_back_what_can_be() {
    for case in CASES {
        // Nobody can take back what a script or a package did; the task has to say that this is all
        // right.
        let one_way = case.task.starts_with("script");
        let word = if one_way || case.task.starts_with("apt") { "\n      one_way: ok" } else { "" };
        let test = prepared(&format!(
            "- transaction: true\n  block:\n    - {}{word}\n    - fail: {{msg: stop}}",
            case.task
        ));
        let before = names(test.path());
        let ran = test.run().code(2).says(case.back);
        if !one_way {
            assert_eq!(names(ran.dir.path()), before, "{}", case.task);
            assert!(
                case.back.is_empty() != ran.stdout.contains("undone: ["),
                "{}\n{}",
                case.task,
                ran.stdout
            );
        }
    }
}

/// What a script did is nobody's to undo; a transaction has to be told so.
#[test]
fn a_script_in_a_transaction_needs_a_word() {
    let test = prepared("- transaction: true\n  block:\n    - script: DIR/script.sh made\n");
    test.run().code(1).says("one_way: ok").lacks("made");
}

#[test]
fn a_wrong_argument_is_found_before_anything_runs() {
    for case in CASES {
        let (task, said) = case.bad;
        prepared(&format!("- command: touch DIR/ran\n- {task}")).run().code(1).lacks("ran").says(said);
    }
    let (task, said) = ("fail: {mgs: x}", "did you mean 'msg'?");
    prepared(&format!("- command: touch DIR/ran\n- {task}")).run().code(1).lacks("ran").says(said);
}

#[test]
fn those_that_fail() {
    for (task, said) in [
        ("fail: {msg: 'no {{ 1 + 1 }}'}", "no 2"),
        ("slurp: {src: DIR/not-there}", "not-there"),
        ("seqn.play.dotenv_info: {path: DIR/.env, keys: [NOT_THERE]}", "NOT_THERE"),
        ("seqn.play.secret_search: {values: ['a long secret 0815'], paths: [DIR/holds]}", "holds"),
        ("seqn.play.fingerprint: {values: [x], key: short}", "at least 16 characters"),
        ("getent: {database: passwd, key: nobody-of-this-name}", "could not be found in the database"),
        ("wait_for: {path: DIR/not-there, timeout: 1}", "Timeout when waiting for file"),
        ("wait_for: {port: 1, timeout: 1}", "Timeout when waiting for 127.0.0.1:1"),
        ("include_vars: DIR/not-there.yml", "not-there.yml"),
        ("script: DIR/not-there.sh", "not-there.sh"),
        ("tempfile: {path: DIR/not-there}", "not-there"),
    ] {
        for args in [&["play.yml"][..], &["play.yml", "--check"]] {
            // Check mode doesn't wait, run scripts or make folders.
            let acts = ["script", "tempfile", "wait_for"].iter().any(|module| task.starts_with(module));
            if args.len() > 1 && acts {
                continue;
            }
            prepared(&format!("- {task}")).args(args).run().code(2).says(said).recap("failed=1");
        }
    }
    let kept = "- getent: {database: passwd, key: nobody-of-this-name, fail_key: false}\n- fail: {msg: x}\n  when: false";
    prepared(kept).run().success().recap("skipped=1");
}
