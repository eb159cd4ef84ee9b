//! `high-blast-radius-unproven`.

use std::sync::Arc;

use crate::lint::{Found, Project, Rule, Visit};
use crate::source::Severity;

use super::change::{blast_radius, credential_change};

pub static RULE: Rule = Rule {
    name: "high-blast-radius-unproven",
    severity: Severity::Error,
    summary: "a play with a high blast radius changes a credential without asking for a proven backup",
    why: "\
A play says with the variable `blast_radius: high` that what it changes can lock everybody out. The role `blast_radius` \
refuses to go on unless this run has taken a backup and decrypted it; without the role the word promises what nobody \
checks.",
    bad: BAD,
    good: GOOD,
    check,
};

const BAD: &str = "\
- hosts: seqn
  vars:
    blast_radius: high
  tasks:
    - ansible.builtin.import_role:
        name: fresh_backup

    - name: Give the API its new session secret
      seqn.play.dotenv: # here
        path: /srv/seqn-auth/.env
        key: SESSION_SECRET
        value: \"{{ new_secret }}\"

    - ansible.builtin.include_role:
        name: recreate_and_verify
";

const GOOD: &str = "\
- hosts: seqn
  vars:
    blast_radius: high
  tasks:
    - ansible.builtin.import_role:
        name: fresh_backup

    - ansible.builtin.import_role:
        name: blast_radius

    - name: Give the API its new session secret
      seqn.play.dotenv:
        path: /srv/seqn-auth/.env
        key: SESSION_SECRET
        value: \"{{ new_secret }}\"

    - ansible.builtin.include_role:
        name: recreate_and_verify
";

fn check(project: &Project, found: &mut Found) {
    let is_high = |visits: &&[Visit]| blast_radius(&visits[0]) == Some("high");
    for playbook in &project.playbooks {
        for visits in playbook.tasks.chunk_by(is_same_play).filter(is_high) {
            let unproven = visits.iter().take_while(|visit| !visit.is_within("blast_radius"));
            let first = unproven.filter_map(|visit| Some((visit, credential_change(visit)?))).next();
            if let Some((visit, change)) = first {
                found.add(
                    format!(
                        "{change} with a high blast radius, and nothing asked for a proven backup before"
                    ),
                    &visit.site,
                    Some(&visit.task.span),
                    "ask first: `import_role: {name: blast_radius}`",
                );
            }
        }
    }
}

fn is_same_play(one: &Visit, next: &Visit) -> bool {
    match (&one.play, &next.play) {
        (Some(one), Some(next)) => Arc::ptr_eq(one, next),
        (one, next) => one.is_none() && next.is_none(),
    }
}
