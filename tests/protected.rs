//! Protected inventories: a reason, a plan, and the inventory's name.

mod support;

use support::Test;

const TASKS: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - name: Look
      command: touch DIR/looked
      check_mode: false
      changed_when: false
      register: looked
    - name: Depends on the look
      copy: {dest: DIR/depends, content: '{{ looked.cmd | join }}'}
    - name: Each of what the look finds
      copy: {dest: DIR/each, content: x}
      loop: '{{ looked.cmd }}'
      when: looked.cmd | length > 5
    - name: Write
      copy: {dest: DIR/written, content: new}
    - name: Tell somebody
      command: touch DIR/told
";

fn prod(tasks: &str) -> Test {
    Test::new()
        .file(
            "inventory/prod/hosts.yml",
            "all: {hosts: {box: {ansible_connection: local, seqn_protected: true}}}\n",
        )
        .file("play.yml", tasks)
        .args(&["play.yml", "-i", "prod"])
}

#[test]
fn without_a_reason_nothing_begins() {
    prod(TASKS)
        .run()
        .code(1)
        .stderr(
            "error[protected]: the inventory prod is protected: say why it is run\n   = help: --reason TEXT; it stands in the journal and the note",
        )
        .lacks("looked")
        .lacks("written");
}

#[test]
fn the_plan_is_shown_and_has_no_effect() {
    prod(TASKS)
        .args(&["--reason", "a drill"])
        .run()
        .code(1)
        .stdout(
            "
play.yml on prod (protected)
  hosts   box
  reason  a drill

Would change:
  [box] Write

Not known before the run:
  [box] Look: `check_mode: false`: it would really run, so a preview doesn't
  [box] Depends on the look: it depends on something unknown: object of type 'dict' has no attribute 'cmd'
  [box] Each of what the look finds: it depends on something unknown: object of type 'dict' has no attribute 'cmd'

Can't be taken back:
  [box] run touch (Tell somebody): what a command did cannot be undone by itself; give the task `undo:`

Interruption: none is foreseen.",
        )
        .says("the inventory prod is protected, and there is nobody to ask")
        .says("for a script: --yes prod")
        .lacks("looked")
        .lacks("written")
        .lacks(".seqn-play");
}

#[test]
fn the_name_lets_it_run() {
    let reason = ["--reason", "a drill", "--yes"];
    prod(TASKS).args(&reason).arg("staging").run().code(1).says("which is prod").lacks("written");
    let ran = prod(TASKS).args(&reason).arg("prod").run().success().recap("ok=4 changed=3");
    ran.holds("written", "new");
}

#[test]
fn where_nothing_would_change_it_must_be_told_twice() {
    let same = "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {dest: DIR/same, content: same}\n";
    let test = |more: &[&str]| {
        prod(same).file("same", "same").args(&["--reason", "a drill", "--yes", "prod"]).args(more).run()
    };
    test(&[]).code(1).says("nothing would change, so nothing was begun").says("--even-if-ok");
    test(&["--even-if-ok"]).success().recap("ok=1 changed=0");
}

#[test]
fn what_would_fail_is_not_begun() {
    let fails = "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {dest: DIR/written, content: x}\n    - assert: {that: 1 > 2, fail_msg: no way}\n";
    prod(fails)
        .args(&["--reason", "a drill", "--yes", "prod"])
        .run()
        .code(1)
        .says("Would fail:\n  [box] assert: no way")
        .says("the preview fails, so nothing was begun")
        .lacks("written");
}

#[test]
fn check_mode_needs_no_confirmation_and_tells_what_cant_be_taken_back() {
    prod(TASKS)
        .arg("--check")
        .run()
        .success()
        .says("can't be taken back: [box] run touch (Tell somebody): what a command did")
        .lacks("written");
}

#[test]
fn a_playbook_that_only_looks_needs_no_confirmation_and_cannot_change_anything() {
    let looks = TASKS.replace("  gather_facts: false\n", "  gather_facts: false\n  check_mode: true\n");
    prod(&looks)
        .run()
        .success()
        .recap("ok=3 changed=2")
        .holds("looked", "")
        .lacks("depends")
        .lacks("written")
        .lacks("told");
    // What it doesn't say of itself isn't believed.
    prod(&looks.replace("      changed_when: false\n", ""))
        .run()
        .code(2)
        .says("`run touch` would change something, and its playbook only looks")
        .lacks("looked");
    // One play that may change something is enough.
    prod(&[looks.as_str(), TASKS.trim_start()].concat())
        .run()
        .code(1)
        .says("say why it is run")
        .lacks("looked");
}
