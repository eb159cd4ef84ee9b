//! `seqn-play rollback` of tasks that have `undo:` of their own: they are run from the playbook, with
//! what the run knew.

mod support;

use std::process::Output;

use support::{Test, told};

#[track_caller]
fn go(test: &Test, args: &[&str], code: i32) -> String {
    came(&test.again(args, &[]), code)
}

#[track_caller]
fn came(output: &Output, code: i32) -> String {
    let said = told(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[track_caller]
fn says(said: &str, text: &str) {
    assert!(said.contains(text), "{text:?} is missing in {said}");
}

#[track_caller]
fn holds(test: &Test, file: &str, expected: &str) {
    assert_eq!(std::fs::read_to_string(test.path().join(file)).unwrap_or_default(), expected, "{file}");
}

/// Writes into a file what a service would be told, and does more.
fn tell(what: &str, more: &str) -> String {
    format!("{{cmd: 'echo {what} >>DIR/told{more}'}}")
}

/// The second play's tasks know what its own variables and results are.
fn two_plays() -> Test {
    let plays = format!(
        "
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {{where: first}}
  tasks:
    - name: A secret
      set_fact: {{secret: \"{{{{ lookup('password', '/dev/null length=20') }}}}\"}}
    - name: Set it
      shell: {set}
      register: answer
      undo:
        - shell: {unset}
        - name: What was answered
          shell: {answered}
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {{where: second}}
  tasks:
    - copy: {{dest: DIR/one, content: new}}
    - name: Each
      shell: {each}
      loop: [x, y]
      undo:
        - shell: {unset}
    - command: \"{{{{ end | default('false') }}}}\"
      changed_when: false
",
        set = tell("set {{ where }}", "; echo {{ secret }} >DIR/secret; echo answered {{ where }}"),
        unset = tell("unset {{ where }}", ""),
        answered = tell("was {{ answer.stdout }}", " && [ \"$(cat DIR/secret)\" = {{ secret }} ]"),
        each = tell("each {{ item }}", ""),
    );
    Test::new().file("one", "old").file("play.yml", &plays)
}

const DONE: &str = "set first\neach x\neach y\n";

#[test]
fn it_runs_newest_first_with_what_the_run_knew() {
    let test = two_plays();
    go(&test, &["play.yml"], 2);
    holds(&test, "told", DONE);
    let said = go(&test, &["rollback", "last", "--check"], 0);
    assert_eq!(said.matches("would undo: [localhost] => Each (by its `undo:`)").count(), 2, "{said}");
    holds(&test, "told", DONE);
    let said = go(&test, &["rollback", "last"], 0);
    let order = ["Each (by its", "Each (by its", "write ", "TASK [What was answered]", "Set it (by its"];
    let mut rest = &said[..];
    for next in order {
        says(rest, next);
        rest = &rest[rest.find(next).unwrap() + next.len()..];
    }
    // What was told when the run was there is not told again.
    assert!(!said.contains("TASK [A secret]") && !said.contains("PLAY ["), "{said}");
    holds(&test, "told", &format!("{DONE}unset second\nunset second\nunset first\nwas answered first\n"));
    holds(&test, "one", "old");
    says(&go(&test, &["runs"], 0), "rolled back");
    says(&go(&test, &["rollback", "last"], 1), "nothing of it stands");
}

#[test]
fn a_finished_run_goes_back_too() {
    let test = two_plays();
    go(&test, &["play.yml", "-e", "end=true"], 0);
    go(&test, &["rollback", "last"], 0);
    holds(&test, "told", &format!("{DONE}unset second\nunset second\nunset first\nwas answered first\n"));
}

#[test]
fn another_playbook_is_refused_before_anything_is_done() {
    let test = two_plays();
    go(&test, &["play.yml"], 2);
    let play = test.path().join("play.yml");
    let text = std::fs::read_to_string(&play).unwrap();
    std::fs::write(&play, text.replace("What was answered", "What it said")).unwrap();
    let said = go(&test, &["rollback", "last"], 1);
    says(&said, "play.yml was changed");
    says(&said, "--changed-playbook");
    holds(&test, "told", DONE);
    holds(&test, "one", "new");
    std::fs::remove_file(&play).unwrap();
    says(&go(&test, &["rollback", "last"], 1), "play.yml");
    holds(&test, "one", "new");
    std::fs::write(&play, text.replace("unset {{ where }}", "back")).unwrap();
    go(&test, &["rollback", "last", "--changed-playbook"], 0);
    holds(&test, "told", &format!("{DONE}back\nback\nback\nwas answered first\n"));
}

#[test]
fn what_failed_is_tried_again_and_nothing_else() {
    let test = Test::new().file("one", "old").tasks(
        "
- copy: {dest: DIR/one, content: new}
- name: Mark
  command: touch DIR/mark
  undo:
    - command: rm DIR/mark
- name: Last
  copy: {dest: DIR/two, content: new}
",
    );
    go(&test, &["play.yml"], 0);
    std::fs::remove_file(test.path().join("mark")).unwrap();
    let said = go(&test, &["rollback", "last"], 2);
    says(&said, "Mark (by its `undo:`)");
    says(&said, "its `undo:` failed: ");
    says(&said, "Not everything of run");
    holds(&test, "one", "old");
    std::fs::write(test.path().join("mark"), "").unwrap();
    let said = go(&test, &["rollback", "last"], 0);
    assert!(!said.contains("write "), "{said}");
    assert!(!test.path().join("mark").exists());
}

#[test]
fn a_task_that_was_cut_is_taken_back_by_it() {
    let test = two_plays();
    for place in ["after-intent", "during", "after-effect", "after-record"] {
        std::fs::remove_file(test.path().join("told")).ok();
        let ended = test.again(&["play.yml"], &[("SEQN_PLAY_FAULT", &format!("1:{place}:kill"))]);
        assert_eq!(ended.status.code(), None, "{}", told(&ended));
        // What it said may be known to nobody: then the second of the tasks says so.
        let output = test.again(&["rollback", "last"], &[]);
        let after = std::fs::read_to_string(test.path().join("told")).unwrap_or_default();
        let set = after.strip_prefix("set first\n");
        let undone = set.unwrap_or(&after);
        // Never set behind the undo: a task that is still going is waited for.
        let right = undone.starts_with("unset first\n") && !undone.contains("\nset first");
        // Killed in its middle it may not have come so far.
        let begun = place == "during" || set.is_some() == (place != "after-intent");
        assert!(right && begun, "{place}: {after}{}", told(&output));
        go(
            &test,
            &["runs", "abandon", "last", "--reason", "seen"],
            if output.status.success() { 1 } else { 0 },
        );
    }
}

#[test]
fn what_a_transaction_took_back_so_is_not_taken_back_again() {
    let test = Test::new().tasks(
        "
- name: Before
  copy: {dest: DIR/one, content: new}
- transaction: true
  block:
    - name: Mark
      command: touch DIR/mark
      loop: [1, 2]
      undo:
        - copy: {dest: DIR/undone, content: new}
        - command: touch DIR/touched
    - fail: {msg: stop}
",
    );
    go(&test, &["play.yml"], 2);
    holds(&test, "undone", "new");
    go(&test, &["rollback", "last"], 0);
    assert!(!test.path().join("one").exists());
    holds(&test, "undone", "new");
}

#[test]
fn a_preview_counts_it_as_a_way_back() {
    let said = go(&two_plays(), &["play.yml", "--check", "-e", "end=true"], 0);
    assert!(!said.contains("can't be taken back"), "{said}");
}
