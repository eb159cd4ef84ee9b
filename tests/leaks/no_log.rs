//! `no_log`, and what must hold it up: verbosity, environment, diffs, errors, conditions.

use crate::Scenario;

/// An argument declared secret, in what `-vvvv` tells of a call.
#[test]
fn ansible_6581() {
    Scenario::tasks(
        "- ansible.builtin.uri: {url: 'http://127.0.0.1:1/', url_username: me, url_password: SECRET}\n",
    )
    .fails()
    .always_hidden()
    .leaks_nothing();
}

/// Arguments as `key=value` text, seen again through a registered loop.
#[test]
fn ansible_11253() {
    Scenario::tasks(
        "
- ansible.builtin.copy: content=\"SECRET\" dest=DIR/there
  with_items: [one]
  no_log: true
  register: answer
- ansible.builtin.shell: 'echo something else {{ item.item }}'
  with_items: '{{ answer.results }}'
",
    )
    .writes("there")
    .leaks_nothing();
}

/// Arguments of a `no_log` task at `-vv` and more.
#[test]
fn ansible_11946() {
    Scenario::tasks("- ansible.builtin.shell: 'echo SECRET'\n  no_log: true\n")
        .says("censored")
        .in_process_list()
        .leaks_nothing();
}

/// The same when the task fails.
#[test]
fn ansible_13648() {
    Scenario::tasks("- ansible.builtin.command: /no/such/program SECRET\n  no_log: true\n")
        .fails()
        .leaks_nothing();
}

/// `shell` with a password in its text, whose exchange with the host is shown.
#[test]
fn ansible_51318() {
    Scenario::tasks("- ansible.builtin.shell: 'echo Authenticating; test x = \"SECRET\"'\n  no_log: true\n")
        .fails()
        .in_process_list()
        .leaks_nothing();
}

/// `environment` of a `no_log` task, and of a play.
#[test]
fn ansible_24181() {
    Scenario::tasks(
        "
- ansible.builtin.command: env
  environment: {AWS_SECRET_ACCESS_KEY: SECRET}
  no_log: true
",
    )
    .in_process_list()
    .leaks_nothing();
    Scenario::play("environment: {TOKEN: '{{ token }}'}", "- ansible.builtin.command: printenv TOKEN\n")
        .vault_vars("token: SECRET\n")
        .in_process_list()
        .leaks_nothing();
}

/// The same with the values of a vault.
#[test]
fn f5_ansible_1474() {
    Scenario::play(
        "environment: {F5_PASSWORD: '{{ password }}'}",
        "- ansible.builtin.shell: 'echo \"$F5_PASSWORD\" | rev | rev; exit 1'\n",
    )
    .vault_vars("password: SECRET\n")
    .fails()
    .in_process_list()
    .leaks_nothing();
}

/// `ANSIBLE_NO_LOG` for everything (CVE-2024-0690).
#[test]
fn ansible_82565() {
    Scenario::tasks(
        "
- ansible.builtin.shell: echo SECRET
  loop: [SECRET]
- ansible.builtin.debug: {msg: SECRET}
",
    )
    .env("ANSIBLE_NO_LOG", "true")
    .in_process_list()
    .leaks_nothing();
}

/// `include_vars` with `no_log` (CVE-2024-8775).
#[test]
fn ansible_84184() {
    Scenario::tasks(
        "
- ansible.builtin.include_vars: plain.yml
  no_log: true
- ansible.builtin.include_vars: {file: plain.yml, name: loaded}
  no_log: true
",
    )
    .file("plain.yml", "password: SECRET\n")
    .says("censored")
    .leaks_nothing();
}

/// A condition whose result is no boolean, and is quoted.
#[test]
fn ansible_85612() {
    Scenario::tasks("- ansible.builtin.debug: {msg: x}\n  when: cluster_password\n  no_log: true\n")
        .vault_vars("cluster_password: SECRET\n")
        .fails()
        .says("Conditionals must have a boolean result")
        .always_hidden()
        .leaks_nothing();
    Scenario::tasks("- ansible.builtin.assert: {that: \"password == 'x' ~ password\"}\n")
        .vault_vars("password: SECRET\n")
        .fails()
        .always_hidden()
        .leaks_nothing();
}

/// The content of `copy` in check mode (CVE-2020-14332).
#[test]
fn ansible_71033() {
    Scenario::tasks("- ansible.builtin.copy: {content: 'a={{ key }}', dest: DIR/there}\n")
        .vault_vars("key: SECRET\n")
        .writes("there")
        .leaks_nothing();
}

/// Secrets in sub-options, when the options are wrong (CVE-2019-14858).
#[test]
fn ansible_63405() {
    Scenario::tasks(
        "
- ansible.builtin.validate_argument_spec:
    argument_spec:
      accounts:
        type: list
        elements: dict
        options: {name: {type: str, choices: [a]}, password: {type: str, no_log: true}}
    provided_arguments:
      accounts: [{name: '{{ password }}', password: '{{ password }}'}]
",
    )
    .vault_vars("password: SECRET\n")
    .fails()
    .leaks_nothing();
}

/// The same without a mistake of its own, as a list of credentials.
#[test]
fn ansible_62642() {
    Scenario::tasks(
        "
- ansible.builtin.validate_argument_spec:
    argument_spec: {credentials: {type: list, elements: dict, options: {value: {type: int}}}}
    provided_arguments: {credentials: [{value: '{{ password }}'}]}
",
    )
    .vault_vars("password: SECRET\n")
    .fails()
    .says("unable to convert to int")
    .always_hidden()
    .leaks_nothing();
}

/// Attempts that fail and are told one by one.
#[test]
fn ansible_12214() {
    Scenario::tasks(
        "
- ansible.builtin.shell: 'echo SECRET; exit 1'
  register: tried
  until: tried is success
  retries: 1
  delay: 0
  no_log: true
",
    )
    .fails()
    .in_process_list()
    .leaks_nothing();
}

/// Other outputs than the terminal's (CVE-2019-14864): `--output json` is one of each test's ways.
#[test]
fn ansible_63522() {
    Scenario::tasks(
        "
- ansible.builtin.set_fact: {token: SECRET}
  no_log: true
- ansible.builtin.debug: {var: token}
- ansible.builtin.fail: {msg: 'token {{ token }} was refused'}
",
    )
    .fails()
    .leaks_nothing();
}

/// A passphrase given to a module is in no process list (CVE-2018-16837).
#[test]
fn ansible_47436() {
    Scenario::tasks(
        "
- ansible.builtin.shell:
    cmd: 'read -r word; sleep 0.1; test -n \"$word\"'
    stdin: '{{ passphrase }}'
- ansible.builtin.shell: 'sleep 0.1; echo {{ passphrase }} > DIR/there'
- ansible.builtin.assert:
    that: lookup('pipe', 'sleep 0.1; read -r x || echo no ' ~ passphrase) == 'no ' ~ passphrase
",
    )
    .vault_vars("passphrase: SECRET\n")
    .writes("there")
    .leaks_nothing();
}
