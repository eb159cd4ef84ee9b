//! `docker_compose_v2` in each of its states, by real Compose on a VPS with a real engine: what check
//! mode predicts, what becomes of the containers, that it is `ok` the second time, and that a
//! transaction brings back what was.

#[path = "support/leak/mod.rs"]
mod leak;
#[path = "support/operator.rs"]
mod operator;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use leak::sandbox::Sandbox;
use operator::{Ended, Operator, Vps};
use serde_json::Value;

/// The service that the cases act on; nothing depends on it.
const SERVICE: &str = "legacy-webhooks";

/// The container of a service, as Docker shows it.
#[derive(Debug, Clone, PartialEq)]
struct Container {
    id: String,
    running: bool,
    started: String,
}

type Seen = Option<Container>;

struct Case {
    /// Arguments beside the project and the service.
    task: &'static str,
    /// What Compose is told first.
    from: &'static str,
    /// What becomes of the container.
    after: fn(&Seen, &Seen) -> bool,
    /// It changes something each time.
    always: bool,
    /// What is there once a transaction has taken it back.
    undone: fn(&Seen, &Seen) -> bool,
}

const UP: &str = "up --detach --no-deps legacy-webhooks";
const STOP: &str = "stop legacy-webhooks";
const REMOVE: &str = "rm --stop --force legacy-webhooks";

const CASES: &[Case] = &[
    Case {
        task: "state: present",
        from: REMOVE,
        after: |_, now| runs(now),
        always: false,
        undone: |_, now| now.is_none(),
    },
    Case {
        task: "state: present",
        from: STOP,
        after: |before, now| runs(now) && same(before, now),
        always: false,
        undone: |before, now| same(before, now) && !runs(now),
    },
    Case {
        task: "state: present, recreate: always, wait: true",
        from: UP,
        after: |before, now| runs(now) && !same(before, now),
        always: true,
        undone: |before, now| runs(now) && !same(before, now),
    },
    Case {
        task: "state: stopped",
        from: UP,
        after: |before, now| same(before, now) && !runs(now),
        always: false,
        undone: |before, now| runs(now) && same(before, now),
    },
    Case {
        task: "state: stopped",
        from: REMOVE,
        after: |_, now| now.is_some() && !runs(now),
        always: false,
        undone: |_, now| now.is_none(),
    },
    Case {
        task: "state: restarted",
        from: UP,
        after: |before, now| runs(now) && same(before, now) && before != now,
        always: true,
        undone: |before, now| runs(now) && same(before, now),
    },
    Case {
        task: "state: absent",
        from: UP,
        after: |_, now| now.is_none(),
        always: false,
        undone: |_, now| runs(now),
    },
];

fn runs(seen: &Seen) -> bool {
    seen.as_ref().is_some_and(|container| container.running)
}

fn same(one: &Seen, other: &Seen) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.id == other.id)
}

#[test]
fn compose_in_each_of_its_states() {
    let Some(staging) = leak::sandbox::staging_with_docker() else { return };
    let vps = Sandbox::with_docker(&staging);
    let mut it = Operator::new(vps.project(), vps.operator(), Vps::new(vps.told()));
    for case in CASES {
        let acted = format!("{} from `{}`", case.task, case.from);
        let task = format!(
            "community.docker.docker_compose_v2: {{project_src: '{{{{ seqn_project_dir }}}}', services: [{SERVICE}], {}}}",
            case.task
        );
        compose(&mut it, case.from);
        let others = containers(&it);
        let before = others.get(SERVICE).cloned();

        play(&mut it, &format!("- {task}"), "--check").code(0).recaps("changed=1");
        assert_eq!(containers(&it), others, "{acted}, only predicted");

        let undone = play(
            &mut it,
            &format!(
                "- transaction: true\n  block:\n    - {task}\n      register: it\n    - fail: {{msg: 'was {{{{ it is changed }}}}'}}"
            ),
            "",
        );
        undone.code(2).says("was True").says("undone: [vps] => ");
        let now = containers(&it).get(SERVICE).cloned();
        assert!((case.undone)(&before, &now), "{acted}, taken back: {before:?} {now:?}");

        compose(&mut it, case.from);
        let before = containers(&it).get(SERVICE).cloned();
        let twice = format!(
            "- {task}\n- {task}\n  register: again\n- assert: {{that: again is {}changed}}",
            if case.always { "" } else { "not " }
        );
        play(&mut it, &twice, "").code(0);
        let mut seen = containers(&it);
        let now = seen.get(SERVICE).cloned();
        assert!((case.after)(&before, &now), "{acted}: {before:?} {now:?}");
        // Nothing else was touched.
        let mut others = others;
        others.remove(SERVICE);
        seen.remove(SERVICE);
        assert_eq!(seen, others, "{acted}");
    }
    what_it_refuses(&mut it);
}

fn what_it_refuses(it: &mut Operator) {
    let (project, there) = ("project_src: /nowhere", "project_src: '{{ seqn_project_dir }}'");
    for (args, code, said) in [
        (format!("{project}, sevices: [x]"), 1, "did you mean 'services'?"),
        (format!("{project}, state: stoped"), 1, "stoped"),
        (
            format!("{project}, docker_host: a, cli_context: b"),
            1,
            "mutually exclusive: docker_host|cli_context",
        ),
        ("state: present".to_string(), 1, "one of the following is required: definition, project_src"),
        ("definition: {services: {}}".to_string(), 1, "definition is not supported"),
        (format!("{there}, services: [not-there]"), 2, "not-there"),
        (project.to_string(), 2, "/nowhere"),
    ] {
        let tasks = format!("- command: 'true'\n- community.docker.docker_compose_v2: {{{args}}}");
        let ended = play(it, &tasks, "").code(code).says(said);
        // What is wrong in the file is found before anything runs.
        assert_eq!(code == 1, !ended.said.contains("TASK ["), "{args}\n{}", ended.said);
    }
}

/// Tells Compose something, by hand.
fn compose(it: &mut Operator, words: &str) {
    let tasks = format!("- command: docker compose {words}\n  args: {{chdir: '{{{{ seqn_project_dir }}}}'}}");
    play(it, &tasks, "").code(0);
}

/// All containers of the project, by their services.
fn containers(it: &Operator) -> BTreeMap<String, Container> {
    let project = format!("label=com.docker.compose.project={}", it.raised("name"));
    let ids = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &project]);
    let words: Vec<&str> = ["inspect"].into_iter().chain(ids.split_whitespace()).collect();
    let all: Vec<Value> = serde_json::from_str(&docker(&words)).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_string();
    let one = |container: &Value| {
        let service = text(&container["Config"]["Labels"]["com.docker.compose.service"]);
        let state = &container["State"];
        let running = state["Running"] == true;
        (service, Container { id: text(&container["Id"]), running, started: text(&state["StartedAt"]) })
    };
    all.iter().map(one).collect()
}

fn docker(words: &[&str]) -> String {
    let out = Command::new("docker").args(words).stdin(Stdio::null()).output().expect("docker runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs a play of these tasks on the VPS.
fn play(it: &mut Operator, tasks: &str, flags: &str) -> Ended {
    let tasks: String = tasks.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("- hosts: seqn\n  gather_facts: false\n  tasks:\n{tasks}");
    fs::write(it.project.join("services.yml"), text).expect("a file");
    it.run(&format!("services.yml -i staging {flags}"))
}
