//! `--diff`: of what is secret, and of what was before.

use crate::Scenario;

/// `lineinfile` with `no_log`.
#[test]
fn ansible_29688() {
    Scenario::tasks(
        "
- ansible.builtin.lineinfile: {path: DIR/conf, regexp: ^password=, line: password=SECRET}
  no_log: true
",
    )
    .file("conf", "user=a\npassword=old\n")
    .leaks_nothing();
}

/// `template` and `copy` with `no_log`, and what the file held before.
#[test]
fn ansible_14402() {
    Scenario::tasks(
        "
- ansible.builtin.copy: {content: \"new\\n\", dest: DIR/conf}
  no_log: true
",
    )
    .file("conf", "user=a\npassword=SECRET\n")
    .leaks_nothing();
    Scenario::tasks(
        "
- ansible.builtin.template: {src: conf.j2, dest: DIR/out}
  no_log: true
",
    )
    .file("templates/conf.j2", "password=SECRET\n")
    .writes("out")
    .leaks_nothing();
}

/// The password file that a template of vaulted values writes.
#[test]
fn autobase_469() {
    Scenario::tasks(
        "
- ansible.builtin.template: {src: pgpass.j2, dest: DIR/out, mode: '0600'}
- ansible.builtin.template: {src: pgpass.j2, dest: DIR/out, mode: '0600'}
  vars: {more: ':x'}
",
    )
    .file("templates/pgpass.j2", "localhost:5432:*:postgres:{{ password }}{{ more | default('') }}\n")
    .vault_vars("password: SECRET\n")
    .writes("out")
    .says("the content is secret")
    .leaks_nothing();
}

/// `.my.cnf` with a password that changes: neither the new one nor the known old one.
#[test]
fn ansible_percona_75() {
    Scenario::tasks(
        "- ansible.builtin.copy: {content: \"[client]\\npassword='{{ new }}'\\n\", dest: DIR/my.cnf}\n",
    )
    .file("my.cnf", "[client]\npassword='SECRET'\n")
    .vault_vars("old: SECRET\nnew: another-password-of-this\n")
    .leaks_nothing();
}

/// A key of several lines, indented by the module that writes it.
#[test]
fn community_crypto_125() {
    Scenario::tasks(
        "
- ansible.builtin.blockinfile: {path: DIR/conf, create: true, block: '{{ key | indent(4, true) }}'}
- ansible.builtin.replace: {path: DIR/conf, regexp: 'END X', replace: 'END Y'}
",
    )
    .vault_vars("key: |\n  -----BEGIN X-----\n  SECRET\n  -----END X-----\n")
    .writes("conf")
    .leaks_nothing();
}

/// `.env` of a project, changed and shown.
#[test]
fn community_docker_559() {
    Scenario::tasks("- seqn.play.dotenv: {path: DIR/.env, key: DB_PASSWORD, value: '{{ password }}'}\n")
        .file(".env", "DB_PASSWORD=old-one-of-these\n")
        .vault_vars("password: SECRET\n")
        .writes(".env")
        .always_hidden()
        .leaks_nothing();
}
