//! Runs that are killed, cut or interrupted: `resume` goes on, `rollback` goes back.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use support::{Test, told};

const PLACES: [&str; 5] = ["before-intent", "after-intent", "during", "after-effect", "after-record"];
const UNDO_PLACES: [&str; 3] = ["before-undo", "during-undo", "after-undo"];

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
    let ended = test.again(args, fault.as_slice());
    // On the operator's machine nobody notes what goes on after the program was killed.
    let goes_on = |process: std::fs::DirEntry| {
        std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == test.path())
    };
    while std::fs::read_dir("/proc").expect("processes").flatten().any(goes_on) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    ended
}

/// How many effects took something back in a test's only run; what left nothing has no label.
fn undone(test: &Test) -> usize {
    let (_, records) = test.journal();
    records.matches("\"record\":{\"undone\"").count() - records.matches("\"label\":\"\",\"error\"").count()
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

#[test]
fn resume_and_rollback_are_killed_and_typed_again() {
    let whole = rotation();
    let before = state(whole.path());
    let done = run(&whole, &["play.yml"], None);
    assert!(done.status.success(), "{}", told(&done));
    let (after, steps) = (settled(state(whole.path())), steps(&whole));
    let back = run(&whole, &["rollback", "last"], None);
    assert!(back.status.success(), "{}", told(&back));
    let undone = undone(&whole);
    assert!(undone >= 8, "{undone} undone in {}", whole.journal().1);

    // After a run that was killed before its first Step is on disk, `resume` does all of them.
    let resumes = (1..=steps).flat_map(|n| PLACES.map(|place| (true, format!("{n}:{place}:kill"))));
    let rollbacks = (1..=undone).flat_map(|n| UNDO_PLACES.map(|place| (false, format!("{n}:{place}:kill"))));
    for (forward, fault) in resumes.chain(rollbacks) {
        let test = rotation();
        let how = if forward { "resume" } else { "rollback" };
        run(&test, &["play.yml"], forward.then_some("1:before-intent:kill"));
        let killed = run(&test, &[how, "last"], Some(&fault));
        assert_eq!(killed.status.code(), None, "{how} {fault}: {}", told(&killed));
        let again = run(&test, &[how, "last"], None);
        assert!(again.status.success(), "{how} {fault}: {}", told(&again));
        if forward {
            assert_eq!(settled(state(test.path())), after, "{how} {fault}: {}", told(&again));
        } else {
            let mut back = state(test.path());
            back.remove("once");
            assert_eq!(back, before, "{how} {fault}: {}", told(&again));
        }
    }
}
