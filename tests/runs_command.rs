//! `runs` and its subcommands as people see them: the list, the story of a run, abandon, prune, the
//! audit trail and what it notices.

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use support::Test;

fn project() -> Test {
    Test::new()
        .tasks(
            "
- name: First
  copy: {dest: DIR/first, content: x}
- name: Second
  copy: {dest: DIR/second, content: x}
",
        )
        .file("other.yml", "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - command: 'false'\n")
}

fn run(test: &Test, args: &[&str]) -> Output {
    run_with(test, args, None)
}

fn run_with(test: &Test, args: &[&str], fault: Option<&str>) -> Output {
    let mut command = test.command();
    command.args(args).env("TZ", "UTC");
    if let Some(fault) = fault {
        command.env("SEQN_PLAY_FAULT", fault);
    }
    command.output().expect("the program runs")
}

/// Both streams, without what differs from one run to the next.
fn told(test: &Test, output: &Output) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = text.replace(&test.path().display().to_string(), "DIR");
    let rules = [
        (r"\d{8}-\d{6}-[0-9a-f]{5}", "RUN"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+\+\d\d:\d\d)?", "TIME"),
        (r"\([^()]*@[^()]*\)", "(LOGIN@MACHINE)"),
        (r"\d+\.\d s", "N s"),
        (r"age1\w+", "AGE"),
        (r"   +", "  "),
    ];
    rules.iter().fold(text, |text, (rule, with)| {
        fancy_regex::Regex::new(rule).expect("a rule").replace_all(&text, *with).into_owned()
    })
}

#[track_caller]
fn same(got: &str, expected: &str) {
    let (got, expected) = (got.trim_matches('\n'), expected.trim_matches('\n'));
    if got != expected {
        let diff = similar::TextDiff::from_lines(expected, got);
        panic!("it differs (- expected, + got)\n{}", diff.unified_diff());
    }
}

/// A run that came to its end, one that failed, and one that was killed.
fn three_runs() -> Test {
    let test = project();
    let by = ["--actor", "Ann"];
    assert!(run(&test, &[&["play.yml", "--reason", "CHG-1"][..], &by].concat()).status.success());
    assert_eq!(run(&test, &[&["other.yml"][..], &by].concat()).status.code(), Some(2));
    std::fs::remove_file(test.path().join("second")).expect("it is there");
    let killed = run_with(&test, &[&["play.yml"][..], &by].concat(), Some("1:after-intent:kill"));
    assert_eq!(killed.status.code(), None);
    test
}

#[test]
fn the_list_and_the_story() {
    let test = project();
    same(&told(&test, &run(&test, &["runs"])), "There are no runs in DIR/.seqn-play/runs.");
    drop(test);
    let test = three_runs();
    same(
        &told(&test, &run(&test, &["runs"])),
        "
RUN  STATE  PLAYBOOK  INVENTORY  BY  UNFINISHED
RUN  cut  play.yml  Ann (LOGIN@MACHINE)  write DIR/second on localhost
RUN  failed  other.yml  Ann (LOGIN@MACHINE)
RUN  finished  play.yml  Ann (LOGIN@MACHINE)
",
    );
    same(
        &told(&test, &run(&test, &["runs", "show", "last"])),
        "
run  RUN
state  cut
begun  TIME by Ann (LOGIN@MACHINE)
playbook  play.yml
inventory  
hosts  localhost
opens for  AGE

First
  ok: [localhost] N s at TIME

Second
  cut: [localhost] write DIR/second was begun, its end isn't known, at TIME

Go on: seqn-play resume RUN
Go back: seqn-play rollback RUN
",
    );
}

#[test]
fn abandon_needs_a_reason_and_an_unfinished_run() {
    let test = three_runs();
    let without = run(&test, &["runs", "abandon", "last"]);
    assert_eq!(without.status.code(), Some(1));
    same(
        &told(&test, &without),
        "
error[run]: to abandon run RUN, say why
  = help: seqn-play runs abandon RUN --reason TEXT
",
    );
    let done = run(&test, &["runs", "abandon", "last", "--reason", "by hand"]);
    assert!(done.status.success());
    same(&told(&test, &done), "abandoned: RUN. What it changed stays as it is.");
    // It died before it could write its note.
    let note = test.journal().0.with_file_name("note.md");
    let note = std::fs::read_to_string(note).expect("a note");
    for said in
        ["# Maintenance note: play.yml", "- **Why:** by hand", "stays as it is", "of **Second** on localhost"]
    {
        assert!(note.contains(said), "{said:?} is missing in\n{note}");
    }
    let again = run(&test, &["runs", "abandon", "last", "--reason", "by hand"]);
    assert_eq!(again.status.code(), Some(1));
    same(&told(&test, &again), "error[run]: run RUN is not unfinished: it is abandoned");
    assert!(told(&test, &run(&test, &["runs", "show", "last"])).contains("abandoned  TIME by"));
    assert!(run(&test, &["play.yml"]).status.success(), "nothing stands in the way any more");
}

#[test]
fn prune_never_removes_an_unfinished_run() {
    let test = three_runs();
    let unsaid = run(&test, &["runs", "prune"]);
    assert_eq!(unsaid.status.code(), Some(1));
    let young = run(&test, &["runs", "prune", "--older-than", "1"]);
    same(&told(&test, &young), "removed: 0; 3 are left");
    let all = run(&test, &["runs", "prune", "--keep", "0", "--actor", "Ann"]);
    same(&told(&test, &all), "removed: 2; 1 are left");
    assert!(told(&test, &run(&test, &["runs"])).contains("RUN  cut  play.yml"));
    // It can still be gone on with, and then removed.
    assert!(run(&test, &["resume", "last"]).status.success());
    same(&told(&test, &run(&test, &["runs", "prune", "--keep", "0"])), "removed: 1; 0 are left");
    let whole = run(&test, &["runs", "verify"]);
    assert!(whole.status.success(), "{}", told(&test, &whole));
}

#[test]
fn the_audit_trail_tells_who_when_and_why() {
    let test = three_runs();
    assert!(run(&test, &["rollback", "last", "--actor", "Bob", "--reason", "too late"]).status.success());
    let first = told(&test, &run(&test, &["runs"])).lines().count();
    assert_eq!(first, 4);
    run(&test, &["runs", "prune", "--keep", "1", "--actor", "Cleo"]);
    same(
        &told(&test, &run(&test, &["runs", "audit"])),
        "
WHEN  WHO  WHAT  RUN  PLAYBOOK  INVENTORY  HOSTS  CHANGED  WHY
TIME  Ann (LOGIN@MACHINE)  begun  RUN  play.yml  localhost  CHG-1
TIME  Ann (LOGIN@MACHINE)  finished  RUN  play.yml  localhost  localhost=2
TIME  Ann (LOGIN@MACHINE)  begun  RUN  other.yml  localhost
TIME  Ann (LOGIN@MACHINE)  failed  RUN  other.yml  localhost  localhost=1
TIME  Ann (LOGIN@MACHINE)  begun  RUN  play.yml  localhost
TIME  Bob (LOGIN@MACHINE)  going back  RUN  play.yml  localhost  too late
TIME  Bob (LOGIN@MACHINE)  rolled back  RUN  play.yml  localhost  1 taken back
TIME  Cleo (LOGIN@MACHINE)  pruned  RUN  other.yml  localhost
TIME  Cleo (LOGIN@MACHINE)  pruned  RUN  play.yml  localhost
",
    );
    let json = run(&test, &["runs", "audit", "--json"]);
    let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&json.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!((lines.len(), lines[1]["changed"]["localhost"].as_u64()), (9, Some(2)));
    assert_eq!((lines[0]["what"].as_str(), lines[0]["reason"].as_str()), (Some("begun"), Some("CHG-1")));
    let later = told(&test, &run(&test, &["runs", "audit", "--since", "2999-01-01"]));
    same(&later, "There is nothing in DIR/.seqn-play/audit.");
    let today = run(&test, &["runs", "audit", "--since", lines[5]["at"].as_str().expect("a time"), "--json"]);
    assert_eq!(String::from_utf8_lossy(&today.stdout).lines().count(), 4);
    let wrong = run(&test, &["runs", "audit", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(told(&test, &wrong).contains("--since yesterday is no date"));
}

fn audit(test: &Test) -> PathBuf {
    test.path().join(".seqn-play/audit")
}

/// The folder of the nth run, the oldest is 0.
fn folder(test: &Test, number: usize) -> PathBuf {
    let mut runs: Vec<PathBuf> = std::fs::read_dir(test.path().join(".seqn-play/runs"))
        .expect("runs")
        .flatten()
        .map(|e| e.path())
        .collect();
    runs.sort();
    runs.swap_remove(number)
}

/// Changes a file line by line.
fn lines(path: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let text = std::fs::read_to_string(path).expect("a file");
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    change(&mut lines);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(path, text).expect("a file");
}

#[test]
fn verify_notices_every_change() {
    type Change = fn(&Test);
    let cases: [(&str, Change, &[&str]); 11] = [
        (
            "a line is edited",
            |t| lines(&audit(t), |l| l[1] = l[1].replace("Ann", "Eve")),
            &["the audit trail, line 2 (of run RUN): its checksum is wrong"],
        ),
        ("a line is taken out", |t| lines(&audit(t), |l| drop(l.remove(1))), &["the audit trail, line 2"]),
        (
            "two lines change places",
            |t| lines(&audit(t), |l| l.swap(1, 2)),
            &["the audit trail, line 2", "the audit trail, line 3"],
        ),
        (
            "a line is put in",
            |t| lines(&audit(t), |l| l.insert(1, l[0].clone())),
            &["the audit trail, line 2"],
        ),
        (
            "a line is no line",
            |t| lines(&audit(t), |l| l[1] = "noise".into()),
            &["the audit trail, line 2: it isn't a line of a journal"],
        ),
        (
            "the end is cut off",
            |t| lines(&audit(t), |l| l.truncate(l.len() - 1)),
            &["the audit trail was cut off at its end: it has 4 lines, run RUN wrote line 5"],
        ),
        (
            "the trail is gone",
            |t| std::fs::remove_file(audit(t)).expect("it"),
            &["the audit trail was cut off at its end: it has 0 lines, run RUN wrote line 5"],
        ),
        (
            "a journal is edited",
            |t| {
                lines(&folder(t, 0).join("journal"), |l| l[3] = l[3].replace("localhost", "otherhost"));
            },
            &["the journal of run RUN, line 4: its checksum is wrong"],
        ),
        (
            "a journal is cut off",
            |t| lines(&folder(t, 0).join("journal"), |l| l.truncate(l.len() - 2)),
            &["the journal of run RUN was cut off or replaced: what it held at TIME is not in it"],
        ),
        (
            "a run is gone",
            |t| std::fs::remove_dir_all(folder(t, 1)).expect("it"),
            &["run RUN is gone, and nobody pruned it"],
        ),
        ("nothing is wrong", |_| {}, &[]),
    ];
    let test = three_runs();
    let (own, kept) = (test.path().join(".seqn-play"), test.path().join("kept"));
    let copy = |from: &Path, to: &Path| {
        std::fs::remove_dir_all(to).ok();
        let done = std::process::Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
        assert!(done.success());
    };
    copy(&own, &kept);
    for (case, change, expected) in cases {
        copy(&kept, &own);
        change(&test);
        let verified = run(&test, &["runs", "verify"]);
        let text = told(&test, &verified);
        for line in expected {
            assert!(text.contains(line), "{case}: {line:?} is missing in\n{text}");
        }
        let code = if expected.is_empty() { 0 } else { 1 };
        assert_eq!(verified.status.code(), Some(code), "{case}: {text}");
        // Whatever is wrong, what comes after it is written, and believed.
        if expected.is_empty() {
            same(&text, "Whole: 5 lines of the audit trail, 3 journals.");
        }
    }
    copy(&kept, &own);
    lines(&audit(&test), |l| l[1] = l[1].replace("Ann", "Eve"));
    assert!(run(&test, &["resume", "last"]).status.success());
    let text = told(&test, &run(&test, &["runs", "verify"]));
    same(
        &text,
        "
the audit trail, line 2 (of run RUN): its checksum is wrong: it was changed, lines before it are gone, or it is from another run
Not as written: 1 of 7 lines of the audit trail, 3 journals. Compare with a backup of DIR/.seqn-play/runs.
",
    );
}

#[test]
fn many_programs_at_once_write_one_trail() {
    let mut test = Test::new();
    for number in 0..8 {
        let play = "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - copy: {dest: DIR/N, content: x}\n";
        test = test.file(&format!("play{number}.yml"), &play.replace('N', &format!("f{number}")));
    }
    let running: Vec<_> = (0..8)
        .map(|number| {
            let mut command = test.command();
            command.arg(format!("play{number}.yml")).stdout(std::process::Stdio::null());
            command.spawn().expect("a program")
        })
        .collect();
    for mut program in running {
        assert!(program.wait().expect("its end").success());
    }
    same(&told(&test, &run(&test, &["runs", "verify"])), "Whole: 16 lines of the audit trail, 8 journals.");
}

#[test]
fn who_it_was_is_told_by_git_the_login_and_the_key_in_that_order() {
    let test = project().file(".ssh/id_ed25519.pub", "ssh-ed25519 AAAAC3 cara@laptop\n");
    let by = |environment: &[(&str, &str)], git: bool| {
        let mut command = test.command();
        command.arg("play.yml").env_remove("USER").env_remove("LOGNAME");
        command.env("GIT_CONFIG_NOSYSTEM", "1").envs(environment.iter().copied());
        std::fs::write(test.path().join(".gitconfig"), if git { "[user]\nname = Ann A\n" } else { "" })
            .unwrap();
        let output = command.output().expect("the program runs");
        assert!(output.status.success(), "{}", told(&test, &output));
        let (_, journal) = test.journal();
        let begun: serde_json::Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
        begun["record"]["begun"]["by"].as_str().unwrap().to_string()
    };
    assert!(by(&[("USER", "bob")], true).starts_with("Ann A (bob@"));
    assert!(by(&[("USER", "bob")], false).starts_with("bob (bob@"));
    assert!(by(&[], false).starts_with("cara@laptop (cara@laptop@"));
}
