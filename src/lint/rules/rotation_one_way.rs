//! `rotation-one-way`.

use crate::engine::language::irreversible;
use crate::lint::{Found, Project, Rule, Visit};
use crate::playbook::Action;
use crate::source::Severity;

use super::change::credential_change;

pub static RULE: Rule = Rule {
    name: "rotation-one-way",
    severity: Severity::Warning,
    summary: "a playbook that changes a credential has a step that can't be taken back",
    why: "\
`seqn-play rollback` goes back to the state before a run, but not past a step of which nobody knows how to undo it: a \
command, a script, a request. Say what takes it back (`undo:` in a transaction), that nobody would want it back \
(`one_way: ok`), why only forward is left (`one_way:` with a sentence), or that it only looks (`changed_when: false`).",
    bad: BAD,
    good: GOOD,
    check,
};

const BAD: &str = "\
- hosts: seqn
  tasks:
    - ansible.builtin.import_role:
        name: fresh_backup

    - ansible.builtin.command: /srv/seqn-auth/flush-sessions.sh # here

    - name: Give the API its new client secret
      seqn.play.dotenv:
        path: /srv/seqn-auth/.env
        key: OIDC_CLIENT_SECRET
        value: \"{{ new_secret }}\"

    - ansible.builtin.include_role:
        name: recreate_and_verify
";

const GOOD: &str = "\
- hosts: seqn
  tasks:
    - ansible.builtin.import_role:
        name: fresh_backup

    - ansible.builtin.command: /srv/seqn-auth/flush-sessions.sh
      one_way: ok

    - name: Give the API its new client secret
      seqn.play.dotenv:
        path: /srv/seqn-auth/.env
        key: OIDC_CLIENT_SECRET
        value: \"{{ new_secret }}\"

    - ansible.builtin.include_role:
        name: recreate_and_verify
";

fn check(project: &Project, found: &mut Found) {
    for playbook in &project.playbooks {
        if !playbook.tasks.iter().any(|visit| credential_change(visit).is_some()) {
            continue;
        }
        for visit in playbook.tasks.iter().filter(|visit| !visit.in_rescue && !visit.only_looks()) {
            if let Some(what) = one_way(visit) {
                let task = &visit.task.span;
                found.add(
                    format!("`{what}` can't be taken back by `seqn-play rollback`"),
                    task,
                    Some(task),
                    "say `undo:`, `one_way:` (`ok`, or why only forward is left), or `changed_when: false` where it only looks",
                );
            }
        }
    }
}

/// The module of a task that nothing answers for.
fn one_way(visit: &Visit) -> Option<&str> {
    let task = &visit.task;
    let Action::Module(call) = &task.action else { return None };
    let answered = !task.undo.is_empty() || task.accepts_one_way() || task.only_forward().is_some();
    (irreversible(&call.canonical, &call.args).is_some() && !answered).then_some(call.written.as_str())
}
