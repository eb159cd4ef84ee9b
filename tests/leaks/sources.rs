//! Where secrets come from: flags, password managers, and the warning about `-e`.

use std::os::unix::fs::PermissionsExt;

use crate::scenario::planted;
use crate::support::{Ran, Test};

const SHOW: &str =
    "- ansible.builtin.debug: {msg: 'is {{ pw }}'}\n- ansible.builtin.assert: {that: pw | length == 40}\n";

fn private(test: Test, path: &str, text: &str, mode: u32) -> Test {
    let test = test.file(path, text);
    std::fs::set_permissions(test.path().join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    test
}

fn hidden(ran: Ran, secret: &str) -> Ran {
    ran.success().says("********").never_says(secret)
}

#[test]
fn a_file_a_descriptor_and_a_command() {
    let secret = planted();
    let secret = secret.as_str();
    let file = private(Test::new().tasks(SHOW), "pw", &format!("{secret}\n"), 0o600);
    hidden(file.args(&["play.yml", "--secret-file", "pw=pw"]).run(), secret);

    let command = private(Test::new().tasks(SHOW), "pw", &format!("{secret}\n"), 0o600);
    hidden(command.args(&["play.yml", "--secret-command", "pw=cat DIR/pw"]).run(), secret);

    let pipe = Test::new().tasks(SHOW);
    let script = format!("exec \"$0\" play.yml --secret-file pw=/dev/fd/3 3<<X\n{secret}\nX");
    hidden(in_shell(pipe, &script), secret);

    let descriptor = Test::new().tasks(
        "- ansible.builtin.debug: {msg: '{{ pw }}'}\n- ansible.builtin.assert: {that: pw | length == 40}\n- ansible.builtin.command: ls -l /proc/self/fd\n  register: fds\n- ansible.builtin.assert: {that: \"'/pw' not in fds.stdout\"}\n",
    );
    let script = "exec \"$0\" play.yml --secret-fd pw=7 7< pw";
    hidden(in_shell(private(descriptor, "pw", secret, 0o600), script), secret);

    let adhoc = private(Test::new(), "pw", secret, 0o600);
    let adhoc = adhoc.args(&["localhost", "-c", "local", "-m", "debug", "-a", "msg='is {{ pw }}'"]);
    hidden(adhoc.called("ansible").args(&["--secret-file", "pw=pw"]).run(), secret);
}

/// The program as `$0` of a shell script.
fn in_shell(test: Test, script: &str) -> Ran {
    let mut command = std::process::Command::new("bash");
    let program = test.command();
    command.args(["-c", script]).arg(program.get_program()).current_dir(test.path());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.stdin(std::process::Stdio::null()).output().expect("bash runs");
    test.ran(output)
}

#[test]
fn they_are_stronger_than_everything_and_never_templates() {
    let test = Test::new().file(
        "play.yml",
        "- hosts: localhost
  connection: local
  gather_facts: false
  vars: {pw: from-the-play}
  tasks:
    - ansible.builtin.set_fact: {pw: from-a-fact}
    - ansible.builtin.assert: {that: \"pw == '{' ~ '{ 7 * 7 }' ~ '}'\"}
",
    );
    let test = private(test, "pw", "{{ 7 * 7 }}\n", 0o600);
    test.args(&["play.yml", "-e", "pw=x", "--secret-file", "pw=DIR/pw"]).run().success();
}

#[test]
fn sources_that_are_refused() {
    for (flag, value, expected) in [
        (
            "--secret-file",
            "pw=open",
            "open is open to others than its owner (mode 0644), so it can't hold a secret",
        ),
        ("--secret-file", "pw=no-such", "--secret-file pw: could not read"),
        ("--secret-file", "pw=empty", "it is empty"),
        ("--secret-file", "pw", "--secret-file needs NAME=PATH"),
        ("--secret-file", "a-b=pw", "no template can use a variable named 'a-b'"),
        ("--secret-fd", "pw=99", "the descriptor 99 is not open for reading"),
        ("--secret-fd", "pw=x", "'x' is not the number of a descriptor"),
        (
            "--secret-command",
            "pw=no-such-program",
            "no-such-program can't be started: there is no such program",
        ),
        ("--secret-command", "pw=sh -c 'echo locked >&2; exit 9'", "sh failed (exit status 9): locked"),
    ] {
        let test = private(Test::new().tasks(SHOW), "open", "x", 0o644);
        let test = private(test, "empty", "\n", 0o600);
        test.args(&["play.yml", flag, value]).run().code(1).says(expected);
    }
    let test = private(Test::new().tasks(SHOW), "pw", "x", 0o600);
    let twice = ["play.yml", "--secret-file", "pw=pw", "--secret-command", "pw=cat pw"];
    test.args(&twice).run().code(1).says("a source for the secret pw is given already");
}

#[test]
fn the_lookup_runs_once_and_is_secret() {
    let secret = planted();
    let test = Test::new().tasks(
        "
- ansible.builtin.assert: {that: \"(lookup('secret_command', manager) ~ lookup('secret_command', manager)) | length == 80\"}
  vars: {manager: 'sh ./manager x'}
  loop: [1, 2]
- ansible.builtin.debug: {msg: \"{{ query('secret_command', 'sh ./manager x', './manager | head -1') }}\"}
- ansible.builtin.debug: {msg: \"{{ lookup('secret_command', 'sh -c \\\"echo locked >&2; exit 4\\\"') }}\"}
  ignore_errors: true
- ansible.builtin.shell: echo {{ lookup('secret_command', 'sh ./manager x') | b64encode }}
",
    );
    let test = private(test, "manager", &format!("#!/bin/sh\necho $0 $1 >> ran\necho {secret}\n"), 0o700);
    test.args(&["play.yml", "-vvv"])
        .run()
        .success()
        .says("********")
        .says("sh failed (exit status 4): locked")
        .never_says(&secret)
        .holds("ran", "./manager x\n./manager\n");
}

/// What the shell put together wrongly is shown without the secret in it.
#[test]
fn mistakes_around_a_secret_on_the_command_line() {
    let secret = planted();
    for (given, said) in [
        (format!("db_password=two {secret}"), "a word of it is not key=value"),
        (format!("db_password={secret}' x=1"), "unbalanced"),
        (format!("{{\"db_password\": \"{secret}\", \"x\""), "<extra vars>"),
    ] {
        let test = Test::new().tasks("- ansible.builtin.debug: {msg: x}\n");
        test.args(&["play.yml", "-e", &given]).run().code(1).says(said).never_says(&secret);
    }
}

#[test]
fn a_secret_on_the_command_line_is_warned_of() {
    let test = Test::new().tasks("- ansible.builtin.debug: {msg: done}\n");
    let ran = test.args(&["play.yml", "-e", "db_password=hunter2hunter2 level=3"]).run().success();
    ran.stderr(
        "[WARNING]: The value of db_password was given with -e, so the process list and the shell's history saw it. Use --secret-file db_password=FILE, --secret-command db_password='pass show db_password', vars_prompt, or an encrypted -e @FILE instead.",
    );
    let test = Test::new()
        .tasks("- ansible.builtin.debug: {msg: done}\n")
        .file("vars.yml", "db_password: hunter2hunter2\n");
    test.args(&["play.yml", "-e", "@vars.yml", "-e", "password_file=/x/y"]).run().success().stderr("");
}

/// A secret that is a piece of JSON itself, and one that is a number, hide what holds them and break
/// nothing.
#[test]
fn lines_of_json_stay_json() {
    let tasks = "
- ansible.builtin.debug: {msg: {k: Zq7xWv93kLm, other: shown}}
- ansible.builtin.debug: {msg: {number: 4711774117, other: shown}}
- ansible.builtin.debug: {msg: plain}
";
    let test = private(Test::new().tasks(tasks), "piece", "\"k\":\"Zq7xWv93kLm\"\n", 0o600);
    let test = private(test, "number", "4711774117\n", 0o600);
    let flags = ["play.yml", "--secret-file", "a=piece", "--secret-file", "b=number", "--output", "json"];
    let ran = test.again(&flags, &[]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(!said.contains("Zq7xWv93kLm") && !said.contains("4711774117"), "{said}");
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let of = |msg: serde_json::Value| lines.iter().filter(|line| line["result"]["msg"] == msg).count();
    assert_eq!(of("********".into()), 1, "{said}");
    assert_eq!(of(serde_json::json!({"number": "********", "other": "shown"})), 1, "{said}");
    assert_eq!(of("plain".into()), 1, "{said}");
}
