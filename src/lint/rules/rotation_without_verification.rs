//! `rotation-without-verification`.

use crate::lint::{Found, Project, Rule, Visit};
use crate::source::Severity;

use super::change::credential_change;

pub static RULE: Rule = Rule {
    name: "rotation-without-verification",
    severity: Severity::Error,
    summary: "a playbook changes a credential and checks nothing afterwards",
    why: "\
That every task was `ok` says that the new credential was written, not that anybody can log in with it. After its last \
change a playbook has to look from outside: `uri`, `postgresql_login`, `postgresql_query`, `postgresql_ping`, \
`archive_decrypt`, `assert`, `stays_well`, `wait_for`, a command with `curl`, or a role or a file of tasks with `verify` in its name \
(`recreate_and_verify`). Checks in `rescue` don't count: they only run when something has failed.",
    bad: BAD,
    good: GOOD,
    check,
};

const BAD: &str = "\
- hosts: seqn
  tasks:
    - ansible.builtin.import_role:
        name: fresh_backup

    - name: Give the API its new session secret
      seqn.play.dotenv: # here
        path: /srv/seqn-auth/.env
        key: SESSION_SECRET
        value: \"{{ new_secret }}\"

    - community.docker.docker_compose_v2:
        project_src: /srv/seqn-auth
        services: [silver-auth-api]
        recreate: always
";

const GOOD: &str = "\
- hosts: seqn
  tasks:
    - ansible.builtin.import_role:
        name: fresh_backup

    - name: Give the API its new session secret
      seqn.play.dotenv:
        path: /srv/seqn-auth/.env
        key: SESSION_SECRET
        value: \"{{ new_secret }}\"

    - community.docker.docker_compose_v2:
        project_src: /srv/seqn-auth
        services: [silver-auth-api]
        recreate: always

    - name: Confirm that the API answers
      ansible.builtin.uri:
        url: http://127.0.0.1:8080/healthz
";

const CHECKS: [&str; 9] = [
    "uri",
    "postgresql_login",
    "postgresql_query",
    "postgresql_ping",
    "age_decrypt",
    "archive_decrypt",
    "assert",
    "stays_well",
    "wait_for",
];

fn check(project: &Project, found: &mut Found) {
    for playbook in &project.playbooks {
        for visit in playbook.tasks.iter().rev().take_while(|visit| !is_check(visit)) {
            if let Some(change) = credential_change(visit) {
                found.add(
                    format!("{change}, and nothing is checked after it"),
                    &visit.site,
                    Some(&visit.task.span),
                    "prove that it works: `include_role: {name: recreate_and_verify}`, or a `uri` on what logs in with it",
                );
                break;
            }
        }
    }
}

fn is_check(visit: &Visit) -> bool {
    let asks = |line: String| line.contains("curl") || line.contains("wget");
    let calls = CHECKS.contains(&visit.module()) || visit.command_line().is_some_and(asks);
    (calls && credential_change(visit).is_none()) || visit.is_within("verify")
}
