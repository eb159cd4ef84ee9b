//! `rotation-without-backup`.

use crate::lint::{Found, Project, Rule, Visit};
use crate::source::Severity;

use super::change::{blast_radius, credential_change};

pub static RULE: Rule = Rule {
    name: "rotation-without-backup",
    severity: Severity::Error,
    summary: "a playbook changes a credential before it has taken a backup",
    why: "\
A new password that is written but lost, or a `.env` that is half written, can lock everybody out of the database. The \
way back is a backup taken by the same playbook, before its first change. What counts: a role or a file of tasks with \
`backup` in its name (`fresh_backup`), a command that runs something with `backup` in its name, `pg_dump`. A key of \
`dotenv` that only the run can name is taken for a credential. A play with the variable `blast_radius: low` changes \
what a new value repairs, such as a token that can be made anew; it needs no backup.",
    bad: BAD,
    good: GOOD,
    check,
};

const BAD: &str = "\
- hosts: seqn
  tasks:
    - name: Give the API its new client secret
      seqn.play.dotenv: # here
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
        for visit in playbook.tasks.iter().take_while(|visit| !is_backup(visit)) {
            if blast_radius(visit) == Some("low") {
                continue;
            }
            if let Some(change) = credential_change(visit) {
                let at = &visit.task.span;
                let place = if at.file.name == visit.site.file.name {
                    String::new()
                } else {
                    format!(" ({}:{})", at.file.name, at.line)
                };
                found.add(
                    format!("{change}{place}, and no backup was taken before"),
                    &visit.site,
                    Some(at),
                    "take one first: `import_role: {name: fresh_backup}`",
                );
                break;
            }
        }
    }
}

fn is_backup(visit: &Visit) -> bool {
    let makes_one = |line: String| {
        let line = line.to_lowercase();
        line.contains("backup") || line.contains("pg_dump")
    };
    !visit.only_looks() && (visit.is_within("backup") || visit.command_line().is_some_and(makes_one))
}
