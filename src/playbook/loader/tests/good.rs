//! What is read, and as what.

use super::*;

#[test]
fn every_form_of_an_action_means_the_same() {
    for (text, wanted) in [
        ("- copy: {src: a, dest: b}", r#"ansible.builtin.copy {"src":"a","dest":"b"}"#),
        (
            "- ansible.builtin.copy:\n    src: a\n    dest: b",
            r#"ansible.builtin.copy {"src":"a","dest":"b"}"#,
        ),
        ("- ansible.legacy.copy: src=a dest='b c'", r#"ansible.builtin.copy {"src":"a","dest":"b c"}"#),
        ("- action: copy src=a dest=b", r#"ansible.builtin.copy {"src":"a","dest":"b"}"#),
        ("- action: {module: copy, src: a, dest: b}", r#"ansible.builtin.copy {"src":"a","dest":"b"}"#),
        ("- action: {module: copy src=a, args: {dest: b}}", r#"ansible.builtin.copy {"dest":"b","src":"a"}"#),
        ("- copy: src=a\n  args: {dest: b, src: c}", r#"ansible.builtin.copy {"dest":"b","src":"a"}"#),
        ("- copy: '{{ all }}'", r#"ansible.builtin.copy {} + {{ all }}"#),
        ("- copy: {src: a}\n  args: '{{ more }}'", r#"ansible.builtin.copy {"src":"a"} + {{ more }}"#),
        ("- ping:", "ansible.builtin.ping {}"),
        (
            "- shell: echo a=b | cat chdir=/tmp",
            r#"ansible.builtin.shell {"_raw_params":"echo a=b | cat","chdir":"/tmp"}"#,
        ),
        ("- command: {cmd: ls}\n  args: {chdir: /}", r#"ansible.builtin.command {"chdir":"/","cmd":"ls"}"#),
        ("- meta: flush_handlers", r#"ansible.builtin.meta {"_raw_params":"flush_handlers"}"#),
        ("- set_fact: a=1 b='{{ c }}'", r#"ansible.builtin.set_fact {"a":"1","b":"{{ c }}"}"#),
        (
            "- docker_compose_v2: {project_src: /x}\n  collections: [community.docker]",
            r#"community.docker.docker_compose_v2 {"project_src":"/x"}"#,
        ),
        ("- include_tasks: a b.yml", "include_tasks a b.yml"),
        ("- include_tasks: {file: '{{ x }}.yml'}", "include_tasks {{ x }}.yml"),
        ("- include_role: name=x", "include_role x"),
    ] {
        assert_eq!(call(task(&tasks(text)[0])), wanted, "{text}");
    }
    let local = tasks("- local_action: command ls");
    assert_eq!(task(&local[0]).keywords.delegate_to.as_ref().map(Text::as_str), Some("localhost"));
}

#[test]
fn keywords_are_inherited_and_accumulate() {
    let play = play(
        "
- hosts: all
  become: true
  become_user: app
  tags: play
  environment: {A: 1}
  vars: {p: 1}
  module_defaults: {copy: {mode: '0600'}}
  tasks:
    - name: outer
      when: first
      tags: [b1, b2]
      vars: {x: 1, y: 1}
      environment: {B: 2}
      become_user: root
      notify: h
      ignore_errors: '{{ maybe }}'
      block:
        - ping:
          when: [second, true]
          tags: 'play, own'
          vars: {y: 2}
          environment: '{{ env_c }}'
          notify: [i, j]
          module_defaults: {ansible.builtin.copy: {force: true}}
      rescue:
        - ping:
      always:
        - ping:
          become: no
",
    );
    let outer = block(&play.tasks[0]);
    let inner = task(&outer.body[0]);
    let keywords = &inner.keywords;
    assert_eq!(format!("{:?}", keywords.when), r#"["first", "second", true]"#);
    assert_eq!(texts(&keywords.tags), ["play", "b1", "b2", "own"]);
    assert_eq!(Val::Map(keywords.vars.clone()).to_json().to_string(), r#"{"x":1,"y":2}"#);
    assert_eq!(format!("{:?}", keywords.environment), r#"[{"A": 1}, {"B": 2}, "{{ env_c }}"]"#);
    assert_eq!(texts(keywords.notify.as_ref().unwrap()), ["i", "j"]);
    assert_eq!(keywords.become_user.as_ref().map(Text::as_str), Some("root"));
    assert!(matches!(keywords.become_, Some(Setting::Fixed(true))));
    assert!(matches!(keywords.ignore_errors, Some(Setting::Template(_))));
    let defaults: Vec<String> =
        keywords.module_defaults.iter().map(|d| Val::Map(d.clone()).to_json().to_string()).collect();
    assert_eq!(
        defaults,
        [r#"{"ansible.builtin.copy":{"mode":"0600"}}"#, r#"{"ansible.builtin.copy":{"force":true}}"#]
    );
    assert!(matches!(task(&outer.always[0]).keywords.become_, Some(Setting::Fixed(false))));
    assert_eq!(texts(task(&outer.rescue[0]).keywords.notify.as_ref().unwrap()), ["h"]);
    assert_eq!(
        outline(&play.tasks),
        "tasks/0 block\n  \
         tasks/0/block/0 [ping] when [\"first\", \"second\", true] tags [\"play\", \"b1\", \"b2\", \"own\"]\n  \
         tasks/0/rescue/0 [ping] when [\"first\"] tags [\"play\", \"b1\", \"b2\"]\n  \
         tasks/0/always/0 [ping] when [\"first\"] tags [\"play\", \"b1\", \"b2\"]\n"
    );
    assert_eq!(Val::Map(play.vars).to_json().to_string(), r#"{"p":1}"#);
}

#[test]
fn a_task_has_all_its_keywords() {
    let items = tasks(
        "
- name: '{{ who }}'
  shell: x
  register: out
  changed_when: out.rc == 2
  failed_when: [a, b]
  until: out is success
  retries: '5'
  delay: 0.5
  poll: 0
  async: 0
  loop: [1, 2]
  loop_control: {loop_var: i, index_var: n, label: '{{ i.name }}', pause: 1, extended: yes, break_when: i > 1}
  no_log: true
  run_once: on
  throttle: 2
  timeout: 30
  delegate_to: localhost
  delegate_facts: true
  check_mode: false
  diff: no
  any_errors_fatal: false
  ignore_unreachable: true
  connection: local
  port: 2222
  remote_user: op
  become_method: su
  become_flags: -H
  become_exe: /bin/su
  debugger: never
",
    );
    let task = task(&items[0]);
    assert_eq!(task.register.as_deref(), Some("out"));
    assert_eq!(format!("{:?}", task.changed_when), r#"Some(["out.rc == 2"])"#);
    assert_eq!(task.failed_when.as_ref().unwrap().len(), 2);
    assert!(matches!(task.retries, Some(Setting::Fixed(5))));
    assert!(matches!(task.delay, Some(Setting::Fixed(d)) if d == 0.5));
    let control = &task.loop_control;
    assert_eq!(control.loop_var.as_str(), "i");
    assert_eq!(control.label.as_ref().and_then(Val::as_str), Some("{{ i.name }}"));
    assert!(matches!(control.pause, Some(Setting::Fixed(p)) if p == 1.0));
    assert_eq!(control.break_when.len(), 1);
    let k = &task.keywords;
    assert!(matches!((&k.port, &k.timeout), (Some(Setting::Fixed(2222)), Some(Setting::Fixed(30)))));
    assert_eq!(k.become_flags.as_ref().map(Text::as_str), Some("-H"));
}

#[test]
fn loops_keep_their_source() {
    let of = |text: &str| match task(&tasks(&format!("- ping:\n  {text}"))[0]).loop_.clone().unwrap().source {
        LoopSource::Items(val) => format!("items {val:?}"),
        LoopSource::Lookup { name, terms } => format!("{name} {terms:?}"),
    };
    assert_eq!(of("loop: '{{ l }}'"), r#"items "{{ l }}""#);
    assert_eq!(of("with_items: [a, [b]]"), r#"items ["a", ["b"]]"#);
    assert_eq!(of("with_fileglob: '*.x'"), r#"fileglob "*.x""#);
    assert_eq!(of("with_dict: {a: 1}"), r#"dict {"a": 1}"#);
}

#[test]
fn a_play_has_all_its_keywords() {
    let play = play(
        "
- name: p
  hosts: [a, 'b:&c']
  gather_facts: no
  gather_subset: [min]
  gather_timeout: 5
  fact_path: /x
  vars_files: [a.yml, [b.yml, c.yml]]
  vars_prompt: [{name: v, prompt: 'V?', private: no, default: 5}]
  force_handlers: true
  max_fail_percentage: '30%'
  serial: [1, '50%', '{{ n }}']
  strategy: ansible.builtin.linear
  order: reverse_sorted
  user: deploy
  handlers:
    - name: restart
      ping:
      listen: [topic, other]
",
    );
    assert_eq!(texts(&play.hosts), ["a", "b:&c"]);
    assert!(matches!(play.gather_facts, Some(Setting::Fixed(false))));
    assert!(matches!(play.max_fail_percentage, Some(Setting::Fixed(p)) if p == 30.0));
    assert_eq!(format!("{:?}", play.serial), r#"[1, "50%", "{{ n }}"]"#);
    assert_eq!(play.order, crate::playbook::Order::ReverseSorted);
    assert_eq!(play.keywords.remote_user.as_ref().map(Text::as_str), Some("deploy"));
    assert_eq!((play.vars_prompt[0].name.as_str(), play.vars_prompt[0].private), ("v", false));
    let handler = &play.handlers[0];
    assert_eq!(handler.listen, ["topic", "other"]);
    assert!(handler.answers_to("topic", None) && handler.answers_to("restart", Some("restart")));
    assert!(!handler.answers_to("nobody", Some("restart")));
}

#[test]
fn imports_are_read_in_place() {
    let project = Project::new(&[
        (
            "site.yml",
            "
- hosts: all
  vars: {part: db}
  tasks:
    - import_tasks: 'sub/{{ part }}.yml'
      when: outer
      tags: imported
      vars: {v: 1}
    - import_tasks: {file: '{{ env }}.yml'}
  handlers:
    - import_tasks: handlers.yml
",
        ),
        ("sub/db.yml", "- ping:\n- import_tasks: more.yml\n  when: inner\n"),
        ("sub/more.yml", "- name: deepest\n  ping:\n  tags: own\n"),
        ("prod.yml", "- block:\n  - ping:\n"),
        ("handlers.yml", "- name: h1\n  ping:\n  listen: t\n- name: h2\n  ping:\n"),
    ]);
    let play = project.play();
    assert_eq!(
        outline(&play.tasks),
        "tasks/0/db/0 [ping] when [\"outer\"] tags [\"imported\"]\n\
         tasks/0/db/1/more/0 [deepest] when [\"outer\", \"inner\"] tags [\"imported\", \"own\"]\n\
         tasks/1/prod/0 block\n  tasks/1/prod/0/block/0 [ping]\n"
    );
    assert_eq!(task(&play.tasks[1]).keywords.vars.get("v"), Some(&Val::Int(1)));
    assert_eq!(play.handlers.iter().map(|h| h.listen.len()).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn imported_playbooks_take_conditions_tags_and_variables() {
    let project = Project::new(&[
        (
            "site.yml",
            "- import_playbook: sub/a.yml\n  when: c\n  tags: t\n  vars: {x: 2}\n- hosts: b\n  tasks: [{ping: }]\n",
        ),
        ("sub/a.yml", "- hosts: a\n  tags: own\n  vars: {x: 1, y: 1}\n  tasks:\n  - import_tasks: t.yml\n"),
        ("sub/t.yml", "- ping:\n"),
    ]);
    let (plays, problems) = project.load();
    assert_eq!((problems.as_str(), plays.len()), ("", 2));
    assert_eq!(outline(&plays[0].tasks), "tasks/0/t/0 [ping] when [\"c\"] tags [\"own\", \"t\"]\n");
    assert_eq!(Val::Map(plays[0].vars.clone()).to_json().to_string(), r#"{"x":2,"y":1}"#);
    assert_eq!(format!("{:?}", plays[0].imported_when), r#"["c"]"#);
    assert_eq!(
        (plays[0].dir.clone(), plays[0].playbook_dir.clone()),
        (project.path().join("sub"), project.path())
    );
    assert!(plays[1].imported_when.is_empty());
}

#[test]
fn includes_are_read_during_the_run() {
    let project = Project::new(&[
        (
            "site.yml",
            "
- hosts: all
  become: yes
  tasks:
    - block:
        - include_tasks:
            file: '{{ which }}.yml'
            apply: {tags: applied, when: a, vars: {w: 1}}
          when: not inherited
          tags: nor this
          vars: {v: 1}
          loop: [1]
      when: b
",
        ),
        ("tasks/x.yml", "- ping:\n"),
        ("inc.yml", "- name: in\n  ping:\n  when: c\n"),
        ("broken.yml", "- pong:\n- wehn: x\n  ping:\n"),
    ]);
    let play = project.play();
    let site = task(&block(&play.tasks[0]).body[0]);
    let Action::IncludeTasks(include) = &site.action else { panic!() };
    assert_eq!(format!("{:?}", site.keywords.when), r#"["b", "not inherited"]"#);
    let loaded = project.loader().include_tasks(include, "inc.yml", site, &play).unwrap();
    assert_eq!(loaded.file, project.path().join("inc.yml"));
    assert_eq!(outline(&loaded.items), "inc.yml/inc/0 [in] when [\"b\", \"a\", \"c\"] tags [\"applied\"]\n");
    let keywords = &task(&loaded.items[0]).keywords;
    assert_eq!(Val::Map(keywords.vars.clone()).to_json().to_string(), r#"{"v":1,"w":1}"#);
    assert!(matches!(keywords.become_, Some(Setting::Fixed(true))));

    let problems = project.loader().include_tasks(include, "broken.yml", site, &play).unwrap_err();
    let codes: Vec<_> = problems.0.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["unknown-module", "unknown-keyword"]);
    let problems = project.loader().include_tasks(include, "none.yml", site, &play).unwrap_err();
    assert_eq!(problems.0[0].message, "there is no file of tasks `none.yml`");
}

#[test]
fn sealed_values_are_secret() {
    let sealed = "$ANSIBLE_VAULT;1.1;AES256\n- copy: {content: hunter2, dest: /x}\n";
    let project = Project::new(&[
        (
            "site.yml",
            "- hosts: all\n  vars:\n    pw: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      open\n  tasks:\n  - \
             import_tasks: sealed.yml\n  - copy: {dest: /y, content: !unsafe '{{ x }}'}\n",
        ),
        ("sealed.yml", sealed),
    ]);
    let play = project.play();
    assert!(play.vars.get("pw").unwrap().has_secret());
    let Action::Module(call) = &task(&play.tasks[0]).action else { panic!() };
    assert!(call.args.get("content").unwrap().has_secret());
    let Action::Module(call) = &task(&play.tasks[1]).action else { panic!() };
    assert!(matches!(call.args.get("content"), Some(Val::Text(t)) if !t.is_template() && !t.is_secret()));
}

#[test]
fn transactions_want_a_way_back() {
    let items = tasks(
        "
- transaction: true
  block:
    - shell: a
      undo: [{shell: b}]
    - shell: c
      one_way: ok
    - shell: d
      changed_when: false
",
    );
    let block = block(&items[0]);
    assert!(block.transaction);
    assert_eq!(task(&block.body[0]).undo.len(), 1);
    assert_eq!(outline(&task(&block.body[0]).undo), "tasks/0/block/0/undo/0 [shell]\n");
}

/// Mutated playbooks must never panic, whatever comes of it.
#[test]
fn mutations_never_panic() {
    let seed = "- hosts: all\n  vars: {a: 1}\n  roles:\n  - {role: r, when: x}\n  tasks:\n  - name: n\n    copy: src=a \
                dest='{{ b }}'\n    when: [a, b]\n    loop: [1]\n    tags: a,b\n  - block:\n    - include_tasks: {file: \
                x, apply: {tags: t}}\n    rescue:\n    - import_tasks: t.yml\n  handlers:\n  - action: shell x\n    \
                listen: y\n- import_playbook: site.yml\n";
    let words = [
        "block:",
        "when:",
        "- ",
        "  ",
        "{{",
        "}}",
        "'",
        "\"",
        "role",
        "import_tasks: ",
        ": ",
        "[",
        "]",
        "~",
        "hosts",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let project = Project::new(&[("t.yml", "- ping:\n"), ("roles/r/tasks/main.yml", "- ping:\n")]);
    for _ in 0..800 {
        let mut lines: Vec<String> = seed.lines().map(String::from).collect();
        for _ in 0..=random(4) {
            let at = random(lines.len());
            match random(4) {
                0 => drop(lines.remove(at)),
                1 => {
                    let line = lines[random(lines.len())].clone();
                    lines.insert(at, line);
                }
                2 => lines[at] = lines[at].replacen(' ', "", random(3)),
                _ => {
                    let line = &mut lines[at];
                    let mut place = random(line.len() + 1);
                    while !line.is_char_boundary(place) {
                        place -= 1;
                    }
                    line.insert_str(place, words[random(words.len())]);
                }
            }
        }
        std::fs::write(project.path().join("site.yml"), lines.join("\n")).unwrap();
        project.load();
    }
}

#[test]
fn a_task_says_what_is_secret_and_why_only_forward_is_left() {
    let all = tasks("- ping:\n  one_way: The old one is dead.\n  secrets: [key, cookies]\n");
    let task = task(&all[0]);
    assert_eq!(task.only_forward(), Some("The old one is dead."));
    assert!(!task.accepts_one_way());
    assert_eq!(task.secrets.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["key", "cookies"]);
}
