//! Behaviour that playbooks written for Ansible count on.

mod support;

use support::Test;

#[test]
fn a_failed_host_is_left_out_of_later_plays_and_the_others_go_on() {
    Test::new()
        .file("inv", "a ansible_connection=local\nb ansible_connection=local\n")
        .file(
            "play.yml",
            "- hosts: all\n  gather_facts: false\n  tasks:\n    - ping:\n      failed_when: inventory_hostname == 'a'\n\
             - hosts: all\n  gather_facts: false\n  tasks:\n    - debug: msg=\"{{ ansible_play_hosts }} of {{ ansible_play_hosts_all }}\"\n",
        )
        .args(&["-i", "inv", "play.yml"])
        .run()
        .code(2)
        .says("['b'] of ['a', 'b']")
        .never_says("ok: [a]");
}

#[test]
fn each_batch_begins_with_the_name_of_its_play() {
    let play = |task: &str| {
        Test::new()
            .file("inv", "a ansible_connection=local\nb ansible_connection=local\n")
            .file(
                "play.yml",
                &format!(
                    "- name: p\n  hosts: all\n  serial: 1\n  gather_facts: false\n  tasks: [{{{task}: }}]\n"
                ),
            )
            .args(&["-i", "inv", "play.yml"])
            .run()
    };
    let ran = play("debug").success();
    assert_eq!(ran.stdout.matches("PLAY [p] **").count(), 2, "{}", ran.stdout);
    // Ours: who was left alone.
    play("fail").code(2).says("NO MORE HOSTS LEFT").says("Not begun: b.");
}

#[test]
fn clear_host_errors_takes_failed_hosts_back() {
    Test::new()
        .tasks(
            r#"
- block:
    - fail:
  always:
    - meta: clear_host_errors
- debug: msg="still here"
"#,
        )
        .run()
        .success()
        .says("still here");
}

#[test]
fn a_play_whose_hosts_all_fail_is_the_last() {
    Test::new()
        .file(
            "play.yml",
            "- hosts: localhost\n  gather_facts: false\n  tasks: [{fail: }]\n\
             - hosts: localhost\n  gather_facts: false\n  tasks: [{debug: {msg: too late}}]\n",
        )
        .run()
        .code(2)
        .never_says("too late")
        .says("NO MORE HOSTS LEFT");
}

#[test]
fn a_role_that_was_skipped_runs_where_it_is_named_again() {
    Test::new()
        .file("roles/a/tasks/main.yml", "- debug: msg=\"a runs\"\n")
        .file("roles/sets/tasks/main.yml", "- set_fact: {wanted: true}\n")
        .file(
            "play.yml",
            "- hosts: localhost\n  gather_facts: false\n  roles:\n    - {role: a, when: wanted is defined}\n    \
             - sets\n    - {role: a, when: wanted is defined}\n    - {role: a, when: wanted is defined}\n",
        )
        .run()
        .success()
        .recap("ok=2 changed=0 unreachable=0 failed=0 skipped=1");
}

#[test]
fn includes_of_a_loop_are_all_read_before_their_tasks_run() {
    let out = Test::new()
        .file("more.yml", "- debug: msg=\"task {{ item }}\"\n")
        .tasks("- include_tasks: more.yml\n  loop: [1, 2]")
        .run()
        .success()
        .recap("ok=4")
        .stdout;
    let at = |text: &str| out.find(text).unwrap_or_else(|| panic!("{text} in {out}"));
    assert!(at("(item=2)") < at("task 1"), "{out}");
}

#[test]
fn the_diff_is_part_of_the_result() {
    Test::new()
        .file("f", "a\n")
        .tasks(
            r#"
- lineinfile: {path: DIR/f, line: b}
  diff: true
  register: lines
- replace: {path: DIR/f, regexp: a, replace: c}
  diff: true
  register: one
- assert:
    that:
      - lines.diff[0].after == "a\nb\n"
      - one.diff.before == "a\nb\n"
"#,
        )
        .run()
        .success();
}

#[test]
fn a_template_may_name_the_module() {
    Test::new()
        .tasks(
            r#"
- action: "{{ wanted }} msg=hello"
  vars: {wanted: debug}
- action: {module: "{{ wanted }}", path: DIR/d, state: directory}
  vars: {wanted: ansible.builtin.file}
- action: "{{ wanted }}"
  vars: {wanted: no_such_thing}
  ignore_errors: true
"#,
        )
        .run()
        .success()
        .says("\"msg\": \"hello\"")
        .says("couldn't resolve module/action 'no_such_thing'")
        .recap("ok=3 changed=1");
}

#[test]
fn a_module_for_other_hosts_stops_only_those_that_reach_it() {
    let play =
        |when: &str| Test::new().tasks(&format!("- dnf: {{name: x}}\n  when: {when}\n- debug: msg=on"));
    play("false").run().success().says("warning[unsupported]").says("\"msg\": \"on\"");
    play("true").run().code(2).says("the module `dnf` is not supported yet");
    Test::new().tasks("- dnf: {name: x}").run().code(1).says("error[unsupported]");
}

#[test]
fn a_task_that_may_fail_may_have_a_broken_template() {
    Test::new()
        .tasks(
            r#"
- debug: msg="{{ 1 | nofilter }}"
  ignore_errors: true
  register: broken
- assert:
    that: [broken is failed, "'nofilter' in broken.msg"]
"#,
        )
        .run()
        .success();
}

#[test]
fn handlers_include_what_lies_among_the_tasks_of_their_role() {
    Test::new()
        .file("roles/r/tasks/main.yml", "- command: \"true\"\n  notify: tidy\n")
        .file("roles/r/tasks/cleanup.yml", "- debug: msg=cleaned\n")
        .file("roles/r/handlers/main.yml", "- name: tidy\n  include_tasks: cleanup.yml\n")
        .file("play.yml", "- hosts: localhost\n  gather_facts: false\n  roles: [r]\n")
        .run()
        .success()
        .says("\"msg\": \"cleaned\"");
}

#[test]
fn a_role_may_import_other_tasks_of_itself_but_not_without_end() {
    let role = |tasks: &str| {
        Test::new()
            .file("roles/r/tasks/main.yml", tasks)
            .file("roles/r/tasks/other.yml", "- debug: msg=other\n")
            .file("play.yml", "- hosts: localhost\n  gather_facts: false\n  roles: [r]\n")
    };
    role("- import_role: {name: r, tasks_from: other.yml}\n").run().success().says("\"msg\": \"other\"");
    role("- import_role: {name: r}\n").run().code(1).says("endless-import");
}

#[test]
fn roles_of_collections_are_found_beside_the_playbook() {
    Test::new()
        .file("collections/ansible_collections/acme/infra/roles/web/tasks/main.yml", "- debug: msg=web\n")
        .file("play.yml", "- hosts: localhost\n  gather_facts: false\n  roles: [acme.infra.web]\n")
        .run()
        .success()
        .says("TASK [acme.infra.web : debug]")
        .says("\"msg\": \"web\"");
}

#[test]
fn names_that_are_there_without_facts() {
    Test::new()
        .file("t.j2", "{{ ansible_managed }} {{ template_path == template_fullpath }}\n")
        .file("hosts", "ĪīĬĭ ansible_connection=local\n")
        .file(
            "play.yml",
            "- hosts: ĪīĬĭ\n  gather_facts: false\n  tasks:\n    - assert: {that: 'ansible_facts == {}'}\n    \
             - template: {src: t.j2, dest: DIR/f}\n    - copy: {dest: DIR/vars, content: \"{{ hostvars['ĪīĬĭ'] | to_json }}\"}\n",
        )
        .args(&["-i", "hosts", "play.yml"])
        .run()
        .success()
        .holds("f", "Ansible managed True\n");
}

#[test]
fn what_failed_when_said_outlives_exhausted_retries() {
    Test::new()
        .tasks("- command: 'true'\n  register: r\n  until: 1 == 0\n  retries: 2\n  delay: 0\n  failed_when: r.attempts > 6")
        .run()
        .success()
        .recap("ok=1 changed=1");
}

#[test]
fn facts_are_gathered_as_often_as_asked() {
    let plays = || {
        let play =
            "- hosts: localhost\n  tasks:\n    - debug: msg=\"{{ ansible_facts.system is defined }}\"\n";
        Test::new().file("play.yml", &play.repeat(2))
    };
    plays().run().success().recap("ok=4");
    plays().env("ANSIBLE_GATHERING", "smart").run().success().recap("ok=3");
    plays().env("ANSIBLE_GATHERING", "explicit").run().success().recap("ok=2").says("\"msg\": false");
}

#[test]
fn fact_gathering_does_not_need_the_environment_that_it_brings() {
    Test::new()
        .file(
            "play.yml",
            "- hosts: localhost\n  gather_subset: [\"!all\", env]\n  environment: {MADE: \"{{ ansible_env.HOME }}/x\"}\n  tasks:\n    \
             - shell: echo $MADE\n      register: r\n    - assert: {that: \"r.stdout == ansible_env.HOME ~ '/x'\"}\n",
        )
        .run()
        .success();
}

#[test]
fn list_tasks_knows_tags_that_the_play_gives() {
    Test::new()
        .file(
            "play.yml",
            "- hosts: localhost\n  vars: {mine: [x, y]}\n  tasks:\n    - name: one\n      ping:\n      tags: \"{{ mine }}\"\n",
        )
        .args(&["play.yml", "--list-tasks"])
        .run()
        .success()
        .says("one\tTAGS: [x, y]");
}

#[test]
fn meta_is_told_at_vv() {
    Test::new()
        .tasks("- meta: end_host\n  when: false\n- meta: end_play")
        .args(&["play.yml", "-vv"])
        .run()
        .success()
        .says("skipping: [localhost] => {\"msg\": \"end_host\", \"skip_reason\": \"end_host conditional")
        .says("META: end_host conditional evaluated to False, continuing execution for localhost")
        .says("META: ending play")
        .says("1 plays in play.yml");
}

#[test]
fn ansible_runs_one_module() {
    let adhoc = |args: &[&str]| Test::new().called("ansible").args(args).run();
    adhoc(&["localhost", "-m", "ping"])
        .success()
        .stdout("localhost | SUCCESS => {\n    \"changed\": false,\n    \"ping\": \"pong\"\n}");
    adhoc(&["localhost", "-a", "echo hi"]).success().stdout("localhost | CHANGED | rc=0 >>\nhi");
    adhoc(&["localhost", "-o", "-m", "shell", "-a", "echo a; echo b"])
        .success()
        .stdout("localhost | CHANGED | rc=0 | (stdout) a\\nb");
    adhoc(&["localhost", "-m", "command", "-a", "{\"cmd\": \"echo json\"}"]).success().says("\njson");
    adhoc(&["localhost", "-a", "exit 3", "-m", "shell"])
        .code(2)
        .says("localhost | FAILED | rc=3 >>")
        .says("non-zero return code");
    adhoc(&["localhost", "-a", "sleep 20", "--task-timeout", "1"])
        .code(2)
        .says("localhost | FAILED! =>")
        .says("failed to execute in the expected time frame (1)");
    adhoc(&["a,b", "-i", "a,b,c,", "--list-hosts"]).success().stdout("  hosts (2):\n    a\n    b");
    adhoc(&["nobody", "-m", "ping"]).success().says("No hosts matched");
    adhoc(&["localhost", "-m", "png"]).code(1).says("did you mean `ping`?");
}

#[test]
fn ansible_doc_shows_what_the_code_declares() {
    let doc = |args: &[&str]| Test::new().called("ansible-doc").args(args).run();
    doc(&["-l"])
        .success()
        .says("ansible.builtin.lineinfile")
        .says("seqn.play.dotenv")
        .says("ansible.builtin.debug");
    doc(&["slurp"]).success().says("> ANSIBLE.BUILTIN.SLURP").says("* src");
    doc(&["lineinfil"]).code(1).says("did you mean lineinfile?");
    let json = doc(&["-j", "slurp"]).success().stdout;
    let page: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(page["ansible.builtin.slurp"]["properties"]["src"].is_object(), "{json}");
}

#[test]
fn wait_for_connection_outlasts_a_host_that_is_away() {
    Test::new()
        .tasks("- wait_for_connection: {timeout: 5}\n  register: r\n- assert: {that: r.elapsed == 0}")
        .run()
        .success();
    Test::new()
        .file("inv", "h ansible_host=127.0.0.1 ansible_port=1 ansible_connection=ssh\n")
        .file(
            "play.yml",
            "- hosts: h\n  gather_facts: false\n  tasks:\n    - wait_for_connection: {timeout: 1, sleep: 0.3}\n",
        )
        .args(&["-i", "inv", "play.yml"])
        .run()
        .code(2)
        .says("timed out waiting for the host")
        .says("connection refused");
}

#[test]
fn a_label_sees_the_items_result_and_fails_the_item_where_it_is_broken() {
    Test::new()
        .tasks(
            r#"
- command: "echo said-{{ item }}"
  loop: [a, b]
  loop_control: {label: "{{ r.stdout }}"}
  register: r
  when: item == "a"
  ignore_errors: true
- assert:
    that: "r.results[1].msg is contains('Failed to template loop_control.label')"
"#,
        )
        .run()
        .success()
        .says("changed: [localhost] => (item=said-a)")
        .says("failed: [localhost] (item=b)");
}

#[test]
fn a_missing_program_says_nothing() {
    Test::new()
        .tasks("- command: no-such-program\n  register: r\n  failed_when: r.stdout ~ r.stderr != '' or r.rc != 2")
        .run()
        .success();
}

#[test]
fn handlers_of_a_collections_role_answer_to_its_short_name_too() {
    let role = "collections/ansible_collections/acme/infra/roles/web";
    Test::new()
        .file(&format!("{role}/tasks/main.yml"), "- command: 'true'\n  notify: \"web : restart\"\n")
        .file(&format!("{role}/handlers/main.yml"), "- name: restart\n  debug: msg=restarted\n")
        .file("play.yml", "- hosts: localhost\n  gather_facts: false\n  roles: [acme.infra.web]\n")
        .run()
        .success()
        .says("\"msg\": \"restarted\"");
}

#[test]
fn of_handlers_with_one_name_the_plays_first_runs() {
    let handler = |text: &str| format!("- name: tell\n  debug: msg={text}\n");
    Test::new()
        .file("roles/r/handlers/main.yml", &handler("of-the-role"))
        .file("roles/r/tasks/main.yml", "[]\n")
        .file(
            "play.yml",
            "- hosts: localhost\n  gather_facts: false\n  roles: [r]\n  tasks:\n    - command: 'true'\n      notify: tell\n  handlers:\n    \
             - {name: tell, debug: {msg: first}}\n    - {name: tell, debug: {msg: second}}\n",
        )
        .run()
        .success()
        .says("\"msg\": \"first\"")
        .never_says("second")
        .never_says("of-the-role");
}

#[test]
fn arguments_that_a_template_gave_are_checked_too() {
    Test::new()
        .tasks("- file: \"{{ given }}\"\n  vars: {given: {path: DIR/f, stat: absent}}")
        .run()
        .code(2)
        .says("Unsupported parameters for (file) module: stat. Supported parameters include: ");
}

#[test]
fn a_task_in_check_mode_sees_the_host_and_not_what_others_planned() {
    Test::new()
        .file("f", "x")
        .tasks(
            r#"
- file: {path: DIR/f, state: absent}
  check_mode: true
  register: first
- file: {path: DIR/f, state: absent}
  check_mode: true
  register: second
- assert: {that: [first is changed, second is changed]}
"#,
        )
        .run()
        .success()
        .holds("f", "x");
}

#[test]
fn a_link_that_leads_up_is_copied_as_a_link() {
    let test = Test::new().file("files/d/f", "x").tasks("- copy: {src: d, dest: DIR/to}");
    std::os::unix::fs::symlink("../d", test.path().join("files/d/round")).expect("a link");
    let ran = test.run().success().holds("to/d/f", "x");
    assert!(ran.dir.path().join("to/d/round").is_symlink());
}

/// ansible-core 2.19 renders them still, and warns.
#[test]
fn a_template_in_a_literal_of_a_condition_is_warned_of() {
    let ran = Test::new()
        .tasks(
            "
- set_fact: {name: a, at: 'x a y'}
- debug: {msg: when}
  when: \"'{{ name }}' in at\"
- assert:
    that:
      - name == 'a'
      - \"'{{ name }}' == name\"
- debug: {msg: \"{{ lookup('vars', '{{ \\\"name\\\" }}') }}\"}
- command: echo a
  register: said
  changed_when: false
  failed_when: said.stdout != \"{{ name }}\"
",
        )
        .run()
        .success()
        .recap("ok=5 changed=0");
    ran.stderr(
        r#"
warning[embedded-template]: Jinja constant strings should not contain embedded templates. This feature will be disabled by default in ansible-core 2.23.
  --> play.yml:7:14
   |
 7 |       when: "'{{ name }}' in at"
   |              ^^^^^^^^^^^^
   = help: Use inline expressions, for example: `when: "{{ a_var }}" == 42` becomes `when: a_var == 42`

warning[embedded-template]: Jinja constant strings should not contain embedded templates. This feature will be disabled by default in ansible-core 2.23.
   --> play.yml:11:14
    |
 11 |           - "'{{ name }}' == name"
    |              ^^^^^^^^^^^^
    = help: Use inline expressions, for example: `when: "{{ a_var }}" == 42` becomes `when: a_var == 42`

warning[embedded-template]: Jinja constant strings should not contain embedded templates. This feature will be disabled by default in ansible-core 2.23.
   --> play.yml:16:35
    |
 16 |       failed_when: said.stdout != "{{ name }}"
    |                                   ^^^^^^^^^^^^
    = help: Use inline expressions, for example: `when: "{{ a_var }}" == 42` becomes `when: a_var == 42`
"#,
    );
}
