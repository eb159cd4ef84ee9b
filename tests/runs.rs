//! Whole runs on this machine: files in, command line, expected output and host state.

mod support;

use support::Test;

#[test]
fn output_has_ansibles_shape() {
    let play = "- name: Shape\n  hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    \
        - name: Greet {{ who }}\n      debug:\n        msg: hello {{ who | upper }}\n      vars: {who: world}\n    \
        - name: Write a line\n      lineinfile: {path: DIR/f, line: a=1, create: true}\n      notify: tell\n    \
        - name: Not now\n      command: 'false'\n      when: 1 > 2\n  handlers:\n    - name: tell\n      command: cat DIR/f\n";
    Test::new().file("play.yml", play).run().success().holds("f", "a=1\n").stdout(
        r#"
PLAY [Shape] *******************************************************************

TASK [Greet world] *************************************************************
ok: [localhost] => {
    "msg": "hello WORLD"
}

TASK [Write a line] ************************************************************
changed: [localhost]

TASK [Not now] *****************************************************************
skipping: [localhost]

RUNNING HANDLER [tell] *********************************************************
changed: [localhost]

PLAY RECAP *********************************************************************
localhost                  : ok=3    changed=2    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0   
"#,
    );
}

#[test]
fn every_source_error_is_shown_at_once_with_its_place_and_no_task_runs() {
    Test::new()
        .tasks(
            r#"
- command: touch DIR/ran
- debg: msg=hi
- name: x
  lineinfile: {pth: DIR/f}
  wehn: true
- debug: msg="{{ foo | uper }}"
- debug:
  when: "{{ foo }} == 1"
"#,
        )
        .run()
        .code(1)
        .lacks("ran")
        .stderr(
            r#"
error[unknown-module]: there is no module `debg`
  --> play.yml:6:7
   |
 6 |     - debg: msg=hi
   |       ^^^^
   = help: did you mean `debug`?

error[unknown-keyword]: `wehn` is not a keyword of a task
  --> play.yml:9:7
   |
 9 |       wehn: true
   |       ^^^^
   = help: did you mean `when`?

error[bad-argument]: lineinfile has no argument 'pth'; did you mean 'path'?
  --> play.yml:8:20
   |
 8 |       lineinfile: {pth: DIR/f}
   |                    ^^^

error[bad-argument]: `lineinfile`: missing required argument: path
  --> play.yml:8:7
   |
 8 |       lineinfile: {pth: DIR/f}
   |       ^^^^^^^^^^

error[template-syntax]: Syntax error in template: no filter is named 'uper'
   --> play.yml:10:28
    |
 10 |     - debug: msg="{{ foo | uper }}"
    |                            ^^^^
    = help: Did you mean 'upper'?

error[template-syntax]: Syntax error in expression: unexpected `}`, expected `:`
   --> play.yml:12:21
    |
 12 |       when: "{{ foo }} == 1"
    |                     ^
    = help: This is an expression already: write it without {{ }}.
"#,
        );
}

#[test]
fn check_mode_changes_nothing_and_sees_what_it_planned() {
    Test::new()
        .file("f", "a\n")
        .tasks(
            r#"
- lineinfile: {path: DIR/f, line: b}
- lineinfile: {path: DIR/f, line: b}
- stat: {path: DIR/new}
  register: before
- copy: {dest: DIR/new, content: x}
- stat: {path: DIR/new}
  register: after
- assert:
    that: [not before.stat.exists, after.stat.exists]
"#,
        )
        .args(&["play.yml", "--check", "--diff"])
        .run()
        .success()
        .holds("f", "a\n")
        .lacks("new")
        .says("+b")
        .recap("ok=6 changed=2");
}

#[test]
fn a_failed_transaction_goes_back_and_rescue_sees_it() {
    Test::new()
        .file("f", "old\n")
        .tasks(
            r#"
- block:
    - copy: {dest: DIR/f, content: "new\n"}
    - copy: {dest: DIR/made, content: "x"}
    - file: {path: DIR/dir, state: directory}
    - fail: {msg: verification failed}
  transaction: true
  rescue:
    - debug: msg="undone={{ ansible_failed_result.undone }} {{ ansible_failed_result.msg }}"
"#,
        )
        .run()
        .success()
        .holds("f", "old\n")
        .lacks("made")
        .lacks("dir")
        .says("undone=True verification failed")
        .says("undone: [localhost] => ")
        .recap("rescued=1");
}

#[test]
fn what_somebody_else_changed_since_is_not_taken_back() {
    Test::new()
        .file("f", "old\n")
        .file("g", "old\n")
        .tasks(
            r#"
- transaction: true
  block:
    - copy: {dest: DIR/g, content: "new\n"}
    - copy: {dest: DIR/f, content: "new\n"}
    - shell: echo somebody elses >DIR/f
      one_way: ok
    - fail: {msg: verification failed}
"#,
        )
        .run()
        .code(2)
        .holds("f", "somebody elses\n")
        .holds("g", "old\n")
        .says("NOT undone: [localhost] => write DIR/f: DIR/f was changed by somebody else");
}

#[test]
fn a_task_says_itself_how_it_is_taken_back() {
    Test::new()
        .tasks(
            r#"
- block:
    - copy: {dest: DIR/made, content: "x"}
    - command: touch DIR/ran
      undo:
        - command: mv DIR/ran DIR/taken-back
    - command: touch DIR/stays
      one_way: ok
    - command: "true"
      undo:
        - fail: {msg: it will not go}
    - fail: {msg: verification failed}
  transaction: true
  rescue:
    - debug: msg="undone={{ ansible_failed_result.undone }} {{ ansible_failed_result.not_undone }}"
"#,
        )
        .run()
        .success()
        .lacks("made")
        .lacks("ran")
        .holds("taken-back", "")
        .holds("stays", "")
        .says("undone: [localhost] => command (by its `undo:`)")
        .says("undone=False ['command (by its `undo:`): its `undo:` failed: it will not go']");
}

#[test]
fn settings_of_a_play_may_be_templates() {
    let play = |settings: &str| {
        let play = format!(
            "- hosts: a,b,c\n  connection: local\n  gather_facts: false\n  vars: {{most: 50, one: 1, word: x}}\n  {settings}\n  \
             tasks:\n    - command: /bin/false\n      when: inventory_hostname != 'c'\n      throttle: \"{{{{ one }}}}\"\n    \
             - debug: msg=went-on\n"
        );
        Test::new().file("play.yml", &play).args(&["-i", "a,b,c,", "play.yml"]).run()
    };
    play("max_fail_percentage: \"{{ most }}\"").code(2).never_says("went-on");
    play("max_fail_percentage: \"{{ most + 30 }}\"").code(2).says("went-on");
    play("max_fail_percentage: \"{{ word }}\"")
        .code(2)
        .says("`max_fail_percentage` can't be 'x'")
        .never_says("went-on");
}

#[test]
fn a_censored_loop_shows_no_item() {
    Test::new()
        .tasks(
            r#"
- debug: msg={{ item }}
  loop: [visible-word]
  no_log: "{{ hide }}"
  vars: {hide: true}
"#,
        )
        .run()
        .success()
        .says("(item=(censored due to no_log))")
        .never_says("visible-word");
}

#[test]
fn a_transaction_that_holds_keeps_its_changes() {
    Test::new()
        .tasks(
            r#"
- block:
    - copy: {dest: DIR/f, content: "new\n"}
  transaction: true
"#,
        )
        .run()
        .success()
        .holds("f", "new\n")
        .recap("ok=1 changed=1");
}

#[test]
fn a_command_in_a_transaction_needs_a_word() {
    Test::new()
        .tasks(
            r#"
- block:
    - command: touch DIR/ran
  transaction: true
"#,
        )
        .run()
        .code(1)
        .lacks("ran")
        .says("one_way");
}

#[test]
fn exit_codes_are_ansibles() {
    Test::new().tasks("- fail:").run().code(2);
    Test::new().tasks("- fail:\n  ignore_errors: true").run().code(0);
    Test::new().arg("missing.yml").run().code(1).says("missing.yml was not found");
    Test::new()
        .file("play.yml", "- hosts: h\n  gather_facts: false\n  tasks: [{ping: }]\n")
        .file("inv", "h ansible_host=127.0.0.1 ansible_port=1 ansible_connection=ssh\n")
        .args(&["-i", "inv", "play.yml"])
        .run()
        .code(4)
        .says("UNREACHABLE")
        .says("connection refused");
}

#[test]
fn a_no_log_task_shows_nothing_and_registers_secrets() {
    Test::new()
        .tasks(
            r#"
- command: echo correct-horse-battery
  no_log: true
  register: hidden
- debug: msg="it is {{ hidden.stdout }}"
- copy: {dest: DIR/f, content: "{{ hidden.stdout }}"}
"#,
        )
        .args(&["play.yml", "-vvv", "--diff"])
        .run()
        .success()
        .never_says("correct-horse-battery")
        .holds("f", "correct-horse-battery");
}

#[test]
fn an_undefined_variable_is_named_with_its_place() {
    Test::new()
        .tasks("- name: use it\n  debug: {msg: \"{{ passwrd }}\"}\n  vars: {password: x}")
        .run()
        .code(2)
        .says("'passwrd' is undefined")
        .says("--> play.yml:6:")
        .says("Did you mean 'password'?");
}

#[test]
fn a_pipe_gets_no_colour_and_json_is_a_line_an_event() {
    let ran = Test::new().tasks("- debug: {msg: hi}").args(&["play.yml", "--output", "json"]).run().success();
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|l| serde_json::from_str(l).expect("each line is JSON")).collect();
    let names: Vec<&str> = events.iter().filter_map(|e| e["event"].as_str()).collect();
    assert_eq!(
        names,
        [
            "run_started",
            "play_started",
            "task_started",
            "instance_started",
            "instance_done",
            "recap",
            "run_ended"
        ]
    );
    assert_eq!(events[4]["result"]["msg"], "hi");
}

#[test]
fn lists_and_syntax_check_touch_nothing() {
    let play = || {
        Test::new().tasks(
            "- name: one\n  command: touch DIR/ran\n  tags: [a, b]\n- name: two\n  command: touch DIR/ran",
        )
    };
    play()
        .args(&["play.yml", "--list-tasks", "--tags", "a"])
        .run()
        .success()
        .lacks("ran")
        .stdout("playbook: play.yml\n\n  play #1 (localhost): localhost\tTAGS: []\n    tasks:\n      one\tTAGS: [a, b]");
    play()
        .args(&["play.yml", "--list-hosts"])
        .run()
        .success()
        .lacks("ran")
        .says("hosts (1):\n      localhost");
    play().args(&["play.yml", "--list-tags"]).run().success().lacks("ran").says("TASK TAGS: [a, b]");
    play().args(&["play.yml", "--syntax-check"]).run().success().lacks("ran").stdout("playbook: play.yml");
    play()
        .args(&["play.yml", "--start-at-task", "two", "--skip-tags", "a"])
        .run()
        .success()
        .recap("ok=1 changed=1");
}

#[test]
fn bare_names_are_looked_for_in_their_folders() {
    Test::new()
        .file(
            "playbooks/site.yml",
            "- hosts: web\n  gather_facts: false\n  tasks: [{debug: {msg: \"{{ colour }}\"}}]\n",
        )
        .file("inventory/prod/hosts.yml", "all: {hosts: {web: {ansible_connection: local}}}\n")
        .file("inventory/prod/group_vars/all.yml", "colour: green\n")
        .args(&["site.yml", "-i", "prod"])
        .run()
        .success()
        .says("\"msg\": \"green\"");
}

#[test]
fn extra_vars_come_in_three_forms_and_win() {
    Test::new()
        .file("more.yml", "c: 3\n")
        .tasks("- debug: {msg: \"{{ a }}{{ b }}{{ c }}\"}\n  vars: {a: 0, b: 0, c: 0}")
        .args(&["play.yml", "-e", "a=1", "-e", "{b: 2}", "-e", "@more.yml"])
        .run()
        .success()
        .says("\"msg\": \"123\"");
}

/// Runs tasks and presses Ctrl-C once as soon as the file `begun` is there.
fn interrupted(tasks: &str) -> support::Ran {
    use std::time::{Duration, Instant};
    let test = Test::new().tasks(tasks);
    let mut command = test.command();
    command.arg("play.yml").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("it starts");
    let begun = test.path().join("begun");
    let started = Instant::now();
    while !begun.exists() && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: our own child.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    test.ran(child.wait_with_output().expect("it ends"))
}

#[test]
fn ctrl_c_finishes_the_current_effect_and_reports() {
    interrupted(
        "- command: sh -c 'echo begun >DIR/begun; sleep 1; echo done >DIR/done'\n- command: touch DIR/never",
    )
    .code(130)
    .holds("done", "done\n")
    .lacks("never")
    .says("PLAY RECAP");
}

#[test]
fn ctrl_c_takes_back_the_transaction_that_it_cuts() {
    interrupted(
        r#"
- block:
    - copy: {dest: DIR/made, content: "x"}
    - command: sh -c 'echo begun >DIR/begun; sleep 1; echo done >DIR/done'
      undo:
        - command: rm DIR/done
        - command: touch DIR/taken-back
    - command: touch DIR/never
      one_way: ok
  transaction: true
  rescue:
    - command: touch DIR/rescued
"#,
    )
    .code(130)
    .lacks("made")
    .lacks("done")
    .lacks("never")
    .lacks("rescued")
    .holds("taken-back", "")
    .says("undone: [localhost] => write DIR/made")
    .says("PLAY RECAP");
}

#[test]
fn a_broken_vars_file_stops_the_play() {
    let ran = Test::new()
        .file("broken.yml", "a: [1\n")
        .file(
            "play.yml",
            "- hosts: localhost\n  connection: local\n  gather_facts: false\n  vars_files: [broken.yml]\n  tasks:\n    - copy: {dest: DIR/done, content: x}\n",
        )
        .run();
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    ran.says("broken.yml:").lacks("done");
}

#[test]
fn what_only_an_author_can_take_back_is_refused_in_a_transaction() {
    for (task, why) in [
        ("command: x", "nobody but its author knows"),
        ("apt: {name: x}", "scripts of a package"),
        ("user: {name: x, state: absent}", "an account that was removed"),
        ("uri: {url: 'http://127.0.0.1:1', method: POST}", "what a server did"),
        ("community.postgresql.postgresql_query: {query: DELETE FROM t}", "what SQL did"),
        ("community.postgresql.postgresql_user: {name: x, state: absent}", "a dropped role"),
        (
            "community.docker.docker_compose_v2: {project_src: /x, state: absent, remove_volumes: true}",
            "volumes",
        ),
    ] {
        let block = |more: &str| format!("- transaction: true\n  block:\n    - {task}\n{more}");
        Test::new()
            .tasks(&block(""))
            .run()
            .code(1)
            .says("error[irreversible]")
            .says(why)
            .says("play.yml:7:11");
        for answer in ["one_way: ok", "changed_when: false", "undo: [{debug: }]"] {
            let answered = block(&format!("      {answer}\n"));
            Test::new().tasks(&answered).args(&["play.yml", "--syntax-check"]).run().success();
        }
    }
    for task in ["uri: {url: 'http://127.0.0.1:1'}", "user: {name: x}", "apt: {update_cache: true}"] {
        let block = format!("- transaction: true\n  block:\n    - {task}\n");
        Test::new().tasks(&block).args(&["play.yml", "--syntax-check"]).run().success();
    }
}
