//! What a rehearsal leaves to be attached to a change request: output, JSON, JUnit, HTML, and what
//! its runs left.

use crate::Scenario;

fn rehearsal(tasks: &str) -> Scenario {
    let tasks: String = tasks.trim_matches('\n').lines().map(|line| format!("    {line}\n")).collect();
    Scenario::command(&[
        "rehearse",
        "play.yml",
        "-i",
        "staging.yml",
        "--faults",
        "kill,disk-full",
        "--shard",
        "1/5",
    ])
    .file("staging.yml", "all: {hosts: {box: {ansible_connection: local, seqn_may_break: true}}}\n")
    .file("play.yml", &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"))
    .vault_vars("password: SECRET\n")
    .unvaried()
    .always_hidden()
}

#[test]
fn of_a_secret_that_is_written_and_shown() {
    rehearsal(
        "
- name: Write {{ password }}
  copy: {dest: DIR/used, content: \"{{ password }}\\n\"}
- name: Show it
  debug: {msg: 'it is {{ password }}'}
- name: Send it
  command: {argv: ['true', it, is, '{{ password | b64encode }}']}
  one_way: ok
  again: ok
  probe: false
",
    )
    .writes("used")
    .in_process_list()
    .says("REHEARSAL PASSED")
    .leaks_nothing();
}

#[test]
fn of_a_secret_in_what_fails() {
    rehearsal(
        "
- name: Write it
  copy: {dest: DIR/used, content: \"{{ password }}\\n\"}
- name: Fail with it
  command: {argv: [sh, -c, 'echo {{ password }} >&2; exit 3']}
  when: not ansible_check_mode
",
    )
    .writes("used")
    .in_process_list()
    .ends(2)
    .says("REHEARSAL FAILED")
    .leaks_nothing();
}
