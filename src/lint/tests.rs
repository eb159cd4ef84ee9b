//! Every rule by its own examples; comments that allow; the manual.

use std::path::Path;

use super::*;

const ROLES: [(&str, &str); 3] = [
    ("blast_radius", "- ansible.builtin.assert:\n    that: fresh_backup_proof is defined\n"),
    ("fresh_backup", "- ansible.builtin.command: ./backup-local.sh\n  one_way: ok\n"),
    ("recreate_and_verify", "- ansible.builtin.uri:\n    url: http://127.0.0.1:8080/healthz\n"),
];

/// A project with this one playbook and the roles that examples may use.
fn linted(playbook: &str) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (role, tasks) in ROLES {
        write(&format!("roles/{role}/tasks/main.yml"), tasks);
    }
    write("playbooks/example.yml", playbook);
    lint(dir.path(), &[]).unwrap()
}

/// `code:line` of each finding.
fn found(report: &Report) -> Vec<String> {
    let line = |d: &Diagnostic| d.span.as_ref().map_or(0, |span| span.line);
    report.findings.iter().map(|d| format!("{}:{}", d.code, line(d))).collect()
}

#[test]
fn each_rule_finds_its_bad_example_and_passes_its_good_one() {
    for rule in rules::RULES {
        let bad = linted(rule.bad);
        let marked = rule.bad.lines().position(|line| line.ends_with("# here")).unwrap() + 1;
        assert_eq!(found(&bad), [format!("{}:{marked}", rule.name)], "{:#?}", bad.findings);
        let good = linted(rule.good);
        assert!(good.findings.is_empty(), "{}: {:#?}", rule.name, good.findings);
    }
}

#[test]
fn names_and_shapes_of_rules() {
    let names: Vec<&str> = rules::RULES.iter().map(|rule| rule.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for rule in rules::RULES {
        assert!(rule.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", rule.name);
        assert!(!rule.summary.ends_with('.') && rule.why.ends_with('.'), "{}", rule.name);
    }
}

#[test]
fn the_manual_says_what_the_rules_say() {
    let manual = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lint.md")).unwrap();
    let expected: Vec<String> = rules::RULES.iter().map(|rule| output::rules::explain(rule)).collect();
    let (_, told) = manual.split_once("## Rules\n\n").expect("a chapter on rules");
    assert_eq!(told.trim(), expected.join("\n").trim(), "paste what `seqn-play lint --explain RULE` says");
}

#[test]
fn comments_allow() {
    let with = |above: &str, beside: &str| {
        found(&linted(&format!(
            "- hosts: seqn\n  vars:\n    {above}\n    db_password: hunter2 {beside}\n  tasks: []\n"
        )))
    };
    for (above, beside, expected) in [
        ("# a comment", "", vec!["literal-secret:4"]),
        ("# seqn-play: allow literal-secret -- of a test", "", vec![]),
        ("", "# seqn-play: allow literal-secret -- of a test", vec![]),
        ("", "# noqa: literal-secret", vec![]),
        ("", "# noqa: literal-secret no-changed-when", vec![]),
        ("", "# noqa", vec!["literal-secret:4"]),
        ("", "# seqn-play: allow env-edit-not-dotenv -- x", vec!["literal-secret:4", "unused-allow:4"]),
        ("", "# seqn-play: allow literal-secret", vec!["bad-allow:4"]),
        ("", "# seqn-play: allow literal-secrets -- x", vec!["literal-secret:4", "bad-allow:4"]),
        ("", "# seqn-play: alow literal-secret -- x", vec!["literal-secret:4", "bad-allow:4"]),
    ] {
        assert_eq!(with(above, beside), expected, "{above}|{beside}");
    }
}

#[test]
fn a_task_is_allowed_above_its_name_too() {
    let tasks = "- hosts: seqn\n  tasks:\n    # seqn-play: allow env-edit-not-dotenv -- made once\n    - name: x\n      \
                 ansible.builtin.copy:\n        dest: /srv/.env\n        content: ''\n";
    let report = linted(tasks);
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.allowed, 1);
}

#[test]
fn a_rotation_is_followed_through_roles_and_plays() {
    let change = "    - seqn.play.dotenv: {path: .env, key: SESSION_SECRET, value: '{{ x }}'}\n";
    let play = |tasks: &str| format!("- hosts: seqn\n  tasks:\n{tasks}");
    let backup = "    - ansible.builtin.include_role: {name: fresh_backup}\n";
    let verify = "    - ansible.builtin.include_role: {name: recreate_and_verify}\n";
    let both = ["rotation-without-backup:3", "rotation-without-verification:3"];
    for (name, playbook, expected) in [
        ("nothing", play(change), &both[..]),
        ("all", play(&[backup, change, verify].concat()), &[]),
        (
            "too late, too early",
            play(&[verify, change, backup].concat()),
            &["rotation-without-backup:4", "rotation-without-verification:4"],
        ),
        ("plays in order", [play(backup), play(change), play(verify)].concat(), &[]),
        (
            "a command",
            play(&["    - command: ./backup-local.sh\n      one_way: ok\n", change, verify].concat()),
            &[],
        ),
        (
            "only looked at",
            play(
                "    - seqn.play.dotenv: {path: .env, key: SESSION_SECRET, value: '{{ x }}'}\n      check_mode: true\n",
            ),
            &[],
        ),
        ("no credential", play("    - seqn.play.dotenv: {path: .env, key: LOG_LEVEL, value: warn}\n"), &[]),
        (
            "a loop over no credential",
            play(
                "    - seqn.play.dotenv: {path: .env, key: '{{ item }}', value: '{{ x }}'}\n      loop: [LOG_LEVEL, PORT]\n",
            ),
            &[],
        ),
        (
            "a loop over one",
            play(
                "    - seqn.play.dotenv: {path: .env, key: '{{ item.k }}', value: '{{ x }}'}\n      loop: [{k: PORT}, {k: SESSION_SECRET}]\n",
            ),
            &both,
        ),
        (
            "a variable",
            play(
                "    - seqn.play.dotenv: {path: .env, key: '{{ k }}', value: '{{ x }}'}\n      vars: {k: PORT}\n",
            ),
            &[],
        ),
        ("unknown", play("    - seqn.play.dotenv: {path: .env, key: '{{ k }}', value: '{{ x }}'}\n"), &both),
        (
            "checked in rescue",
            play(
                &[
                    backup,
                    "    - block:\n",
                    "        - seqn.play.dotenv: {path: .env, key: SESSION_SECRET, value: '{{ x }}'}\n",
                    "      rescue:\n        - ansible.builtin.uri: {url: 'http://127.0.0.1/'}\n",
                ]
                .concat(),
            ),
            &["rotation-without-verification:5"],
        ),
    ] {
        let report = linted(&playbook);
        assert_eq!(found(&report), expected, "{name}: {:#?}", report.findings);
    }
}
