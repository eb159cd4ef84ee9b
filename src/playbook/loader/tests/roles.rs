//! Roles: search, variables, dependencies, handlers, argument specs.

use super::*;

fn project() -> Project {
    Project::new(&[
        (
            "site.yml",
            "
- hosts: all
  tags: play
  roles:
    - role: app
      when: wanted
      tags: deploy
      vars: {u: use, both: use}
      port_number: 80
    - db
  tasks:
    - import_role: {name: extra, tasks_from: other}
      vars: {given: 1}
  handlers:
    - name: own
      ping:
",
        ),
        ("roles/app/meta/main.yml", "dependencies:\n  - {role: base, when: dep}\nallow_duplicates: yes\n"),
        ("roles/app/defaults/main.yml", "d: app\ndb: app\n"),
        ("roles/app/vars/main.yml", "both: vars\nonly: app\n"),
        ("roles/app/tasks/main.yml", "- name: t\n  ping:\n- import_tasks: more.yml\n"),
        ("roles/app/tasks/more.yml", "- ping:\n"),
        ("roles/app/handlers/main.yml", "- name: restart\n  ping:\n  listen: topic\n"),
        ("roles/base/defaults/main/a.yml", "d: base\nbd: base\n"),
        ("roles/base/defaults/main/.hidden.yml", "d: hidden\n"),
        ("roles/base/vars/main.yml", "bv: base\nboth: base\n"),
        ("roles/base/tasks/main.yaml", "- name: b\n  ping:\n"),
        ("roles/base/handlers/main.yml", "- name: base handler\n  ping:\n"),
        ("roles/db/tasks/main.yml", "- debug:\n    msg: x\n"),
        ("roles/extra/tasks/other.yml", "- name: e\n  ping:\n"),
        ("roles/extra/handlers/main.yml", "- name: extra handler\n  ping:\n"),
    ])
}

fn json(map: &Arc<Map>) -> String {
    Val::Map(map.clone()).to_json().to_string()
}

#[test]
fn a_role_is_a_block_after_its_dependencies() {
    let play = project().play();
    assert_eq!(
        outline(&play.role_tasks),
        "roles/0/app/dependency/0/base role\n  \
         roles/0/app/dependency/0/base/main/0 [base : b] when [\"wanted\", \"dep\"] tags [\"play\", \"deploy\"]\n\
         roles/0/app role\n  \
         roles/0/app/main/0 [app : t] when [\"wanted\"] tags [\"play\", \"deploy\"]\n  \
         roles/0/app/main/1/more/0 [app : ping] when [\"wanted\"] tags [\"play\", \"deploy\"]\n\
         roles/1/db role\n  roles/1/db/main/0 [db : debug] tags [\"play\"]\n"
    );
    assert_eq!(
        outline(&play.tasks),
        "tasks/0/extra role\n  tasks/0/extra/other/0 [extra : e] tags [\"play\"]\n"
    );
    assert_eq!(play.roles.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["app", "db", "extra"]);
    let names: Vec<_> = play.handlers.iter().map(|h| h.task.name.as_ref().unwrap().as_str()).collect();
    assert_eq!(names, ["base handler", "restart", "own", "extra handler"]);
    let restart = &play.handlers[1];
    assert!(restart.answers_to("app : restart", Some("restart")) && restart.answers_to("app : topic", None));
}

#[test]
fn variables_of_a_role_follow_ansibles_precedence() {
    let play = project().play();
    let app = &play.roles[0];
    // Its dependencies' defaults lie under its own.
    assert_eq!(json(&app.defaults), r#"{"d":"app","bd":"base","db":"app"}"#);
    assert_eq!(json(&app.vars), r#"{"bv":"base","both":"use","only":"app","u":"use"}"#);
    assert_eq!(json(&app.params), r#"{"port_number":80}"#);
    let exports = app.exports.as_ref().unwrap();
    assert_eq!(json(&exports.vars), r#"{"bv":"base","both":"vars","only":"app"}"#);
    assert!(app.allow_duplicates);
    assert_eq!(app.dependencies, ["base"]);
    let base = block(&play.role_tasks[0]).role.clone().unwrap();
    // A dependency sees what depends on it, below its own.
    assert_eq!(json(&base.defaults), r#"{"d":"base","db":"app","bd":"base"}"#);
    assert_eq!(json(&base.vars), r#"{"u":"use","both":"base","only":"app","bv":"base"}"#);
    assert_eq!(json(&base.params), r#"{"port_number":80}"#);
    assert_eq!(base.parents.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["app"]);
    let extra = &play.roles[2];
    assert_eq!(json(&extra.vars), r#"{"given":1}"#);
    assert!(extra.allow_duplicates);
}

#[test]
fn two_uses_are_the_same_role_when_nothing_differs() {
    let play = Project::new(&[
        (
            "site.yml",
            "- hosts: all\n  roles: [r, r, {role: r, x: 1}, {role: r, x: 2}, {role: r, tags: t}, {role: r, vars: {x: 1}}]\n",
        ),
        ("roles/r/tasks/main.yml", "- ping:\n"),
    ])
    .play();
    let ids: Vec<&str> = play.roles.iter().map(|r| r.identity.as_str()).collect();
    assert_eq!(ids[0], ids[1]);
    let different: std::collections::HashSet<_> = ids[1..].iter().collect();
    assert_eq!(different.len(), 5);
}

#[test]
fn a_role_is_included_during_the_run() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  roles: [outer]\n"),
        (
            "roles/outer/tasks/main.yml",
            "- include_role: {name: '{{ r }}', public: yes, tasks_from: t, apply: {tags: a}}\n  vars: {v: 1}\n",
        ),
        ("roles/outer/defaults/main.yml", "o: outer\n"),
        ("roles/inner/tasks/t.yml", "- ping:\n"),
        ("roles/inner/defaults/main.yml", "i: inner\n"),
        ("roles/inner/handlers/main.yml", "- name: h\n  ping:\n"),
    ]);
    let play = project.play();
    let site = task(&block(&play.role_tasks[0]).body[0]);
    let Action::IncludeRole(include) = &site.action else { panic!() };
    assert_eq!(site.title(None), "include_role : {{ r }}");
    let loaded =
        project.loader().include_role(include, "inner", &include.files, site, &play, true, true).unwrap();
    assert_eq!(json(&loaded.role.defaults), r#"{"o":"outer","i":"inner"}"#);
    assert_eq!(json(&loaded.role.vars), r#"{"v":1}"#);
    assert!(loaded.role.exports.is_some());
    assert_eq!(outline(&loaded.items), "role/inner role\n  role/inner/t/0 [inner : ping] tags [\"a\"]\n");
    assert_eq!(loaded.handlers.len(), 1);
    assert_eq!(loaded.role.parents[0].name, "outer");
    let missing =
        project.loader().include_role(include, "iner", &include.files, site, &play, true, true).unwrap_err();
    assert!(project.shown(&missing).contains("there is no role `iner`"), "{}", project.shown(&missing));
    assert!(project.shown(&missing).contains("did you mean `inner`?"));
}

#[test]
fn argument_specs_become_a_task() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  roles: [{role: r, x: 1}]\n"),
        (
            "roles/r/meta/argument_specs.yml",
            "argument_specs:\n  main:\n    short_description: the role\n    options:\n      x: {type: int, required: true}\n",
        ),
        ("roles/r/tasks/main.yml", "- ping:\n"),
    ]);
    let play = project.play();
    assert_eq!(
        outline(&play.role_tasks),
        "roles/0/r role\n  \
         roles/0/r/validate [r : Validating arguments against arg spec 'main' - the role] tags [\"always\"]\n  \
         roles/0/r/main/0 [r : ping]\n"
    );
    let validate = task(&block(&play.role_tasks[0]).body[0]);
    assert!(validate.implicit);
    let path = project.path().join("roles/r").display().to_string();
    assert_eq!(
        call(validate).replace(&path, "PATH"),
        r#"ansible.builtin.validate_argument_spec {"argument_spec":{"x":{"type":"int","required":true}},"provided_arguments":{"x":1},"validate_args_context":{"type":"role","name":"r","argument_spec_name":"main","path":"PATH"}}"#
    );
}

#[test]
fn mistakes_in_roles_have_their_place() {
    let project = Project::new(&[
        (
            "site.yml",
            "- hosts: all\n  roles:\n  - rol\n  - {role: r, wehn: x}\n  - {tags: x}\n  - role: a\n  tasks:\n  - \
             import_role: {name: r, tasks_from: nope}\n",
        ),
        ("roles/role/tasks/main.yml", "- ping:\n"),
        ("roles/r/meta/main.yml", "dependancies: []\nargument_specs: {main: {options: {x: {typ: int}}}}\n"),
        ("roles/r/vars/main.yml", "- x\n"),
        ("roles/a/meta/main.yml", "dependencies: [b]\n"),
        ("roles/b/meta/main.yml", "dependencies: [a]\n"),
    ]);
    let shown = project.load().1;
    for wanted in [
        "error[missing-role]: there is no role `rol`\n --> site.yml:3:5\n   |\n 3 |   - rol\n   |     ^^^\n   = help: did you mean `role`?\n",
        "warning[near-keyword]: `wehn` is not a keyword of a role: it becomes a parameter\n --> site.yml:4:15\n",
        "error[missing-keyword]: this role has no name: `role` is missing\n --> site.yml:5:5\n",
        "error[missing-file]: role `r`: the role has no file tasks/nope\n --> site.yml:8:5\n",
        "error[unknown-keyword]: `dependancies` is not a keyword of a role's meta/main\n --> roles/r/meta/main.yml:1:1\n   |\n 1 | dependancies: []\n   | ^^^^^^^^^^^^\n   = help: did you mean `dependencies`?\n",
        "error[unknown-keyword]: `typ` is not a key of an option in an argument spec\n --> roles/r/meta/main.yml:2:39\n",
        "error[wrong-type]: variables must be a mapping, not a list\n --> roles/r/vars/main.yml:1:1\n",
        "roles/a imports itself\n --> roles/b/meta/main.yml:1:16\n",
    ] {
        let wanted = wanted.replace("\n --> ", "\n  --> ");
        assert!(shown.contains(&wanted), "{wanted}\nnot in\n{shown}");
    }
}
