//! Runs that are killed, cut or interrupted: `resume` goes on, `rollback` goes back.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use support::{Test, told};

const PLACES: [&str; 5] = ["before-intent", "after-intent", "during", "after-effect", "after-record"];

/// A rotation in small: a generated secret in two files, a loop, includes, handlers, a transaction.
const ROTATION: &str = "
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Make the secret
      set_fact:
        secret: \"{{ lookup('password', '/dev/null length=32') }}\"
      no_log: true
    - name: First reader
      lineinfile: {path: DIR/state/one, regexp: '^key=', line: 'key={{ secret }}', create: true}
      register: first
      notify: Tell
    - name: Included
      include_tasks: more.yml
      loop: [x, y]
    - name: Both readers or none
      transaction: true
      block:
        - name: Second reader
          copy: {dest: DIR/state/two, content: 'key={{ secret }}', mode: '0600'}
        - name: Only where the first changed
          copy: {dest: DIR/state/three, content: 'after a change'}
          when: first is changed
    - name: Once
      command: {cmd: touch DIR/state/once, creates: DIR/state/once}
      one_way: ok
    - name: Remove
      file: {path: DIR/state/old, state: absent}
  handlers:
    - name: Tell
      copy: {dest: DIR/state/told, content: told}
";

const MORE: &str = "
- name: Each of a loop
  copy: {dest: 'DIR/state/loop-{{ item }}-{{ number }}', content: '{{ item }}{{ number }}'}
  loop: [1, 2]
  loop_control: {loop_var: number}
";

fn rotation() -> Test {
    Test::new()
        .file("play.yml", ROTATION)
        .file("more.yml", MORE)
        .file("state/one", "# kept\nkey=before\n")
        .file("state/two", "key=before")
        .file("state/old", "to be removed")
        .arg("play.yml")
}

/// Every file below `state`.
fn state(dir: &Path) -> BTreeMap<String, String> {
    std::fs::read_dir(dir.join("state"))
        .expect("the state")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let text = std::fs::read_to_string(entry.path()).expect("a file");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect()
}

fn run(test: &Test, args: &[&str], fault: Option<&str>) -> Output {
    let fault = fault.map(|fault| ("SEQN_PLAY_FAULT", fault));
    test.again(args, fault.as_slice())
}

/// How many Steps the journal of a test's only run has.
fn steps(test: &Test) -> usize {
    test.journal().1.matches("\"record\":{\"intent\"").count()
}

/// The state without the value of the secret, which must be the same everywhere.
fn settled(mut state: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let secret = state["two"].strip_prefix("key=").expect("a key").to_string();
    assert!(secret.len() == 32, "no new secret in {state:?}");
    state.values_mut().for_each(|text| *text = text.replace(&secret, "SECRET"));
    state
}

#[test]
fn killed_at_every_step_it_goes_on_and_goes_back() {
    let whole = rotation();
    let before = state(whole.path());
    let done = run(&whole, &["play.yml"], None);
    assert!(done.status.success(), "{}", told(&done));
    let after = settled(state(whole.path()));
    assert_eq!(after["one"], "# kept\nkey=SECRET\n");
    let steps = steps(&whole);
    assert!(steps >= 10, "{steps} steps");

    let mut cases = 0;
    for step in 1..=steps {
        for place in PLACES {
            let fault = format!("{step}:{place}:kill");
            for forward in [true, false] {
                let test = rotation();
                let killed = run(&test, &["play.yml"], Some(&fault));
                assert_eq!(killed.status.code(), None, "{fault}: {}", told(&killed));
                let blocked = run(&test, &["play.yml"], None);
                if step > 1 || place != "before-intent" {
                    assert_eq!(blocked.status.code(), Some(1), "{fault}: {}", told(&blocked));
                    assert!(told(&blocked).contains("is unfinished"), "{fault}: {}", told(&blocked));
                    let how = if forward { "resume" } else { "rollback" };
                    let ended = run(&test, &[how, "last"], None);
                    assert!(ended.status.success(), "{fault} {how}: {}", told(&ended));
                    match forward {
                        true => assert_eq!(settled(state(test.path())), after, "{fault}: {}", told(&ended)),
                        // A command with `one_way: ok` leaves what it made.
                        false => {
                            let mut back = state(test.path());
                            back.remove("once");
                            assert_eq!(back, before, "{fault}: {}", told(&ended));
                        }
                    }
                    let again = run(&test, &[how, "last"], None);
                    assert_eq!(again.status.code(), Some(1), "{fault} {how} twice: {}", told(&again));
                }
                cases += 1;
            }
        }
    }
    println!("{cases} cases: {steps} steps, {} places, forward and back", PLACES.len());
}
