//! Mistakes, as people see them.

use super::*;

/// Each mistake with its whole message. The text begins after `- hosts: all` / `  tasks:`.
#[test]
fn mistakes_in_tasks_are_shown_with_their_place() {
    for (text, wanted) in [
        (
            "- ping:\n  wehn: x",
            "error[unknown-keyword]: `wehn` is not a keyword of a task\n  --> site.yml:4:7\n   |\n 4 |       wehn: x\n   |       ^^^^\n   = help: did you mean `when`?\n",
        ),
        (
            "- name: n\n  pnig:",
            "error[unknown-module]: there is no module `pnig`\n  --> site.yml:4:7\n   |\n 4 |       pnig:\n   |       ^^^^\n   = help: did you mean `ping`?\n",
        ),
        (
            "- unarchive: {src: x}",
            "error[unsupported]: the module `unarchive` is not supported yet\n  --> site.yml:3:7\n",
        ),
        (
            "- ansible.builtin.pnig: {}",
            "error[unknown-module]: there is no module `ansible.builtin.pnig`\n  --> site.yml:3:7\n   |\n 3 |     - ansible.builtin.pnig: {}\n   |       ^^^^^^^^^^^^^^^^^^^^\n   = help: did you mean `ansible.builtin.ping`?\n",
        ),
        (
            "- community.general.docker_compose_v2: {}",
            "error[unknown-module]: there is no module `community.general.docker_compose_v2`\n  --> site.yml:3:7\n   |\n 3 |     - community.general.docker_compose_v2: {}\n   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n   = help: did you mean `community.docker.docker_compose_v2`?\n",
        ),
        (
            "- name: nothing",
            "error[no-module]: this task calls no module\n  --> site.yml:3:7\n   |\n 3 |     - name: nothing\n   |       ^^^^^^^^^^^^^\n",
        ),
        (
            "- ping:\n  copy: {dest: x}",
            "error[two-modules]: a task calls one module, not both `ping` and `copy`\n  --> site.yml:4:7\n   |\n 4 |       copy: {dest: x}\n   |       ^^^^\n   = help: make two tasks of it, or check the indentation of this line\n",
        ),
        (
            "- just text",
            "error[wrong-type]: a task must be a mapping, not a string\n  --> site.yml:3:7\n   |\n 3 |     - just text\n   |       ^^^^^^^^^\n",
        ),
        (
            "- copy:\n    dest: x\n    froce: yes",
            "error[bad-argument]: unknown field `froce`, expected one of `dest`, `src`, `content`, `force`, `mode`\n  --> site.yml:5:9\n   |\n 5 |         froce: yes\n   |         ^^^^^\n",
        ),
        (
            "- copy:\n    dest: x\n    force: perhaps",
            "error[bad-argument]: force must be a boolean, got str: \"perhaps\"\n  --> site.yml:5:16\n   |\n 5 |         force: perhaps\n   |                ^^^^^^^\n",
        ),
        (
            "- copy:\n    dst: x\n    force: perhaps",
            "error[bad-argument]: `copy`: missing required argument: dest\n  --> site.yml:3:7\n   |\n 3 |     - copy:\n   |       ^^^^\n\nerror[bad-argument]: unknown field `dst`, expected one of `dest`, `src`, `content`, `force`, `mode`\n  --> site.yml:4:9\n   |\n 4 |         dst: x\n   |         ^^^\n\nerror[bad-argument]: force must be a boolean, got str: \"perhaps\"\n  --> site.yml:5:16\n",
        ),
        (
            "- copy: src=x frce=1 dest=y",
            "error[bad-argument]: unknown field `frce`, expected one of `dest`, `src`, `content`, `force`, `mode`\n  --> site.yml:3:19\n   |\n 3 |     - copy: src=x frce=1 dest=y\n   |                   ^^^^\n",
        ),
        (
            "- copy: {src: x}",
            "error[bad-argument]: `copy`: missing required argument: dest\n  --> site.yml:3:7\n   |\n 3 |     - copy: {src: x}\n   |       ^^^^\n",
        ),
        (
            "- copy: just words",
            "error[bad-argument]: `copy` takes no free text\n  --> site.yml:3:13\n   |\n 3 |     - copy: just words\n   |             ^^^^^^^^^^\n   = help: write its arguments as `name: value` lines below it, or as name=value\n\n1 error\n",
        ),
        (
            "- shell: echo 'open",
            "error[bad-argument]: a quote in these arguments is never closed\n  --> site.yml:3:14\n   |\n 3 |     - shell: echo 'open\n   |              ^^^^^^^^^^\n",
        ),
        (
            "- debug: {msg: '{{ x'}",
            "error[template-syntax]: `{{` is never closed\n  --> site.yml:3:20\n   |\n 3 |     - debug: {msg: '{{ x'}\n   |                    ^^^^^^\n",
        ),
        (
            "- ping:\n  when: a ==",
            "error[template-syntax]: the expression ends too early\n  --> site.yml:4:13\n",
        ),
        (
            "- ping:\n  become: perhaps",
            "error[wrong-type]: `become` must be a boolean, not a string: `perhaps`\n  --> site.yml:4:15\n   |\n 4 |       become: perhaps\n   |               ^^^^^^^\n",
        ),
        (
            "- ping:\n  retries: many",
            "error[wrong-type]: `retries` must be an integer, not a string: `many`\n  --> site.yml:4:16\n",
        ),
        (
            "- ping:\n  when: {a: b}",
            "error[wrong-type]: `when` must be an expression or a boolean, not a mapping\n  --> site.yml:4:13\n",
        ),
        (
            "- ping:\n  register: a-b",
            "error[bad-variable-name]: `a-b` can't be the name of a variable\n  --> site.yml:4:17\n",
        ),
        (
            "- ping:\n  vars: [a]",
            "error[wrong-type]: variables must be a mapping, not a list\n  --> site.yml:4:13\n   |\n 4 |       vars: [a]\n   |             ^^^\n   = help: write `name: value` lines\n",
        ),
        (
            "- ping:\n  with_itmes: [a]",
            "error[unknown-lookup]: there is no lookup `itmes` for `with_itmes`\n  --> site.yml:4:7\n   |\n 4 |       with_itmes: [a]\n   |       ^^^^^^^^^^\n   = help: did you mean `items`?\n",
        ),
        (
            "- ping:\n  loop: [1]\n  with_items: [2]",
            "error[two-loops]: a task has one loop\n  --> site.yml:5:7\n",
        ),
        (
            "- ping:\n  loop: text",
            "error[wrong-type]: `loop` must be a list, or a template that gives one, not a string\n  --> site.yml:4:13\n",
        ),
        (
            "- ping:\n  loop: [1]\n  loop_control: {lable: x}",
            "error[unknown-keyword]: `lable` is not a key of loop_control\n  --> site.yml:5:22\n   |\n 5 |       loop_control: {lable: x}\n   |                      ^^^^^\n   = help: did you mean `label`?\n",
        ),
        (
            "- ping:\n  async: 10\n  poll: 0",
            "error[unsupported]: tasks in the background are not supported yet; `timeout` bounds a task in the foreground\n  --> site.yml:4:7\n",
        ),
        (
            "- ping:\n  debugger: on_failed",
            "error[unsupported]: the task debugger is not supported\n  --> site.yml:4:17\n",
        ),
        (
            "- ping:\n  listen: x",
            "error[unknown-keyword]: `listen` is a keyword of a handler, not of a task\n  --> site.yml:4:7\n",
        ),
        (
            "- include: x.yml",
            "error[unknown-module]: `include` was removed from Ansible\n  --> site.yml:3:7\n   |\n 3 |     - include: x.yml\n   |       ^^^^^^^\n   = help: use include_tasks (read during the run) or import_tasks (read before it)\n",
        ),
        (
            "- import_tasks: t.yml\n  loop: [1]",
            "error[loop-on-import]: `import_tasks` can't loop\n  --> site.yml:4:13\n   |\n 4 |       loop: [1]\n   |             ^^^\n   = help: an import is read once, before the run; use `include_tasks`\n",
        ),
        (
            "- import_tasks: '{{ later }}.yml'",
            "error[not-known-yet]: the file of an import must be known before the run: {{ later }}.yml is undefined\n  --> site.yml:3:21\n",
        ),
        (
            "- include_tasks: t.yml\n  become: yes",
            "error[misplaced-keyword]: `become` has no effect on `include_tasks` itself\n  --> site.yml:4:7\n   |\n 4 |       become: yes\n   |       ^^^^^^\n   = help: to give it to the included tasks, write it under `apply:` of `include_tasks`\n",
        ),
        (
            "- import_tasks: {file: t.yml, apply: {tags: x}}",
            "error[bad-argument]: `import_tasks` takes no `apply`: its keywords already go to what it imports\n  --> site.yml:3:35\n",
        ),
        (
            "- include_role: {nmae: x}",
            "error[bad-argument]: `include_role` needs the `name` of a role\n  --> site.yml:3:7\n",
        ),
        (
            "- include_role: {name: x, task_from: y}",
            "error[bad-argument]: `include_role` has no argument `task_from`\n  --> site.yml:3:31\n   |\n 3 |     - include_role: {name: x, task_from: y}\n   |                               ^^^^^^^^^\n   = help: did you mean `tasks_from`?\n",
        ),
        (
            "- block:\n  - ping:\n  resuce: []",
            "error[unknown-keyword]: `resuce` is not a keyword of a block\n  --> site.yml:5:7\n   |\n 5 |       resuce: []\n   |       ^^^^^^\n   = help: did you mean `rescue`?\n",
        ),
        (
            "- block:\n    ping:",
            "error[wrong-type]: a list of tasks is expected here, not a mapping\n  --> site.yml:4:9\n",
        ),
        (
            "- transaction: yes\n  block:\n  - shell: x",
            "error[irreversible]: `shell` can't be undone inside a transaction: nobody knows what it changes\n  --> site.yml:5:9\n   |\n 5 |       - shell: x\n   |         ^^^^^\n   = help: give it `undo:` with tasks that take it back, or `one_way: ok`\n",
        ),
        (
            "- ping:\n  probe: [{ping: }]",
            "error[wrong-type]: `probe` is a shell command that succeeds where the effect happened, or `false` where doing it again does no harm\n  --> site.yml:4:14\n",
        ),
        ("- ping:\n  again: yes", "error[wrong-type]: `again` can only be `ok`\n  --> site.yml:4:14\n"),
        (
            "- ping:\n  one_way: yes",
            "error[wrong-type]: `one_way` is `ok` where nobody would want it back, or a sentence that says why only forward is left\n  --> site.yml:4:16\n",
        ),
        (
            "- debug:\n    msg: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      bad",
            "error[vault]: this can't be decrypted: the vault password is wrong\n  --> site.yml:5:11\n",
        ),
        (
            "- ping:\n  module_defaults: {cpoy: {}, group/aws: {}}",
            "error[unknown-module]: there is no module `cpoy`\n  --> site.yml:4:25\n   |\n 4 |       module_defaults: {cpoy: {}, group/aws: {}}\n   |                         ^^^^\n   = help: did you mean `copy`?\n\nerror[unsupported]: groups of modules",
        ),
    ] {
        let shown = problems(&format!("- hosts: all\n  tasks:\n{}", indented(text)));
        assert!(shown.starts_with(wanted), "wanted\n{wanted}\ngot\n{shown}");
    }
}

#[test]
fn mistakes_in_plays_are_shown_with_their_place() {
    for (text, wanted) in [
        (
            "",
            "error[no-playbook]: the playbook is empty\n  --> site.yml:1:1\n   = help: a play begins with `- hosts: …`\n",
        ),
        (
            "hosts: all\n",
            "error[no-playbook]: a playbook must be a list of plays, not a mapping\n  --> site.yml:1:1\n   |\n 1 | hosts: all\n   | ^^^^^^^^^^\n   = help: a play begins with `- hosts: …`\n",
        ),
        (
            "- name: x\n  tasks: []\n",
            "error[missing-keyword]: this play has no `hosts`\n  --> site.yml:1:3\n   |\n 1 | - name: x\n   |   ^^^^^^^\n",
        ),
        ("- hosts:\n", "error[missing-keyword]: `hosts` names no host\n  --> site.yml:1:3\n"),
        ("- hosts: ['']\n", "error[missing-keyword]: `hosts` names no host\n  --> site.yml:1:10\n"),
        (
            "- hosts: all\n  task: []\n",
            "error[unknown-keyword]: `task` is not a keyword of a play\n  --> site.yml:2:3\n   |\n 2 |   task: []\n   |   ^^^^\n   = help: did you mean `tasks`?\n",
        ),
        ("- hosts: all\n  when: x\n", "error[unknown-keyword]: `when` is not a keyword of a play\n"),
        ("- hosts: all\n  strategy: debug\n", "error[unsupported]: the debug strategy is not supported"),
        (
            "- hosts: all\n  strategy: free\n",
            "warning[strategy]: `free` runs as `linear`: hosts wait for each other after every task\n  --> site.yml:2:13\n",
        ),
        (
            "- hosts: all\n  strategy: lineer\n",
            "error[wrong-type]: there is no strategy `lineer`\n  --> site.yml:2:13\n   |\n 2 |   strategy: lineer\n   |             ^^^^^^\n   = help: did you mean `linear`?\n",
        ),
        (
            "- hosts: all\n  strategy: '{{ s }}'\n  vars: {s: free}\n",
            "warning[strategy]: `free` runs as `linear`: hosts wait for each other after every task\n  --> site.yml:2:13\n",
        ),
        ("- hosts: all\n  order: up\n", "error[wrong-type]: `order` must be one of: inventory, "),
        (
            "- hosts: all\n  serial: [x]\n",
            "error[wrong-type]: `serial` must be numbers of hosts or percentages",
        ),
        (
            "- hosts: all\n  vars: {a-b: 1}\n",
            "error[bad-variable-name]: `a-b` can't be the name of a variable\n",
        ),
        ("- hosts: all\n  vars: {a: '{{ x'}\n", "warning[template-syntax]: `{{` is never closed\n"),
        (
            "- hosts: all\n  vars_prompt: [{prompt: x}]\n",
            "error[bad-variable-name]: a prompt needs the `name`",
        ),
        ("- hosts: all\n  handlers: [{block: []}]\n", "error[misplaced-block]: a block can't be a handler\n"),
        (
            "- import_playbook: no.yml\n",
            "error[missing-file]: there is no playbook `no.yml`\n  --> site.yml:1:20\n",
        ),
        (
            "- import_playbook: site.yml\n",
            "error[endless-import]: site.yml imports itself\n  --> site.yml:1:20\n",
        ),
        (
            "- hosts: all\n  tasks:\n  - import_tasks: gone.yml\n",
            "error[missing-file]: there is no file of tasks `gone.yml`\n  --> site.yml:3:19\n   |\n 3 |   - import_tasks: gone.yml\n   |                   ^^^^^^^^\n   = help: looked for gone.yml\n",
        ),
    ] {
        let shown = problems(text);
        assert!(shown.starts_with(wanted), "wanted\n{wanted}\ngot\n{shown}");
    }
}

#[test]
fn all_mistakes_of_all_files_come_at_once() {
    let project = Project::new(&[
        (
            "site.yml",
            "- hosts: all\n  becom: yes\n  pre_tasks:\n  - import_tasks: a.yml\n  roles: [r]\n  tasks:\n  - pnig:\n- hosts: b\n  tasks:\n  - import_tasks: broken.yml\n  - copy: {}\n",
        ),
        ("a.yml", "- ping:\n  wehn: 1\n- import_tasks: a.yml\n"),
        ("broken.yml", "- ping: [\n"),
        ("roles/r/tasks/main.yml", "- copy: {dst: x}\n"),
        ("roles/r/handlers/main.yml", "- shel: x\n"),
    ]);
    let shown = project.load().1;
    let places: Vec<&str> = shown.lines().filter_map(|l| l.trim_start().strip_prefix("--> ")).collect();
    assert_eq!(
        places,
        [
            "a.yml:2:3",
            "a.yml:3:17",
            "broken.yml:1:9",
            "roles/r/handlers/main.yml:1:3",
            "roles/r/tasks/main.yml:1:3",
            "roles/r/tasks/main.yml:1:10",
            "site.yml:2:3",
            "site.yml:7:5",
            "site.yml:11:5",
        ],
        "{shown}"
    );
    assert!(shown.ends_with("\n9 errors\n"), "{shown}");
}

#[test]
fn imports_that_multiply_each_other_end() {
    let ten = |file: &str| format!("- import_tasks: {file}\n").repeat(10);
    let mut files: Vec<(String, String)> =
        (0..6).map(|n| (format!("t{n}.yml"), ten(&format!("t{}.yml", n + 1)))).collect();
    files.push(("t6.yml".into(), "- ping:\n".repeat(10)));
    files.push(("site.yml".into(), "- hosts: all\n  tasks:\n  - import_tasks: t0.yml\n".into()));
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let shown = Project::new(&files).load().1;
    assert!(shown.contains("error[too-many-tasks]"), "{shown}");
}

#[test]
fn a_playbook_that_is_missing_is_named() {
    let shown = Project::new(&[]).load().1;
    assert_eq!(shown, "error[unreadable-file]: site.yml can't be read: there is no such file\n\n1 error\n");
}
