//! Values of vaults: in results, errors, listings and files.

use crate::Scenario;

/// `include_vars` of an encrypted file, with verbosity.
#[test]
fn ansible_10194() {
    Scenario::tasks("- ansible.builtin.include_vars: sensitive.yml\n")
        .vault("sensitive.yml", "data: SECRET\nlines: |\n  first\n  SECRET\n")
        .says("ansible_facts")
        .leaks_nothing();
}

/// A command with a vault's value among its arguments, and that command failing.
#[test]
fn ansible_18184() {
    for (after, code) in [("", 0), ("; exit 3", 2)] {
        Scenario::play(
            "vars_files: [secret.yml]",
            &format!("- ansible.builtin.shell: 'echo -password {{{{ was_pwd }}}}{after}'\n"),
        )
        .vault("secret.yml", "was_pwd: SECRET\n")
        .ends(code)
        .leaks_nothing();
    }
}

/// The same in a newer version, with `command`.
#[test]
fn ansible_82172() {
    Scenario::tasks("- ansible.builtin.command: {argv: [echo, --password, '{{ pw }}']}\n")
        .vault_vars("pw: SECRET\n")
        .in_process_list()
        .leaks_nothing();
}

/// Listing an inventory and one host of it.
#[test]
fn ansible_41371() {
    for args in [["--list", "-i"], ["--host=web", "-i"]] {
        Scenario::command(&[args[0], args[1], "hosts.ini"])
            .called("ansible-inventory")
            .file("hosts.ini", "[all]\nweb\n")
            .vault("group_vars/all/vault", "db_password: SECRET\n")
            .says("db_password")
            .leaks_nothing();
    }
}

/// Mistakes of YAML in an encrypted file, whose message would show the line.
#[test]
fn ansible_6601() {
    Scenario::tasks("- ansible.builtin.debug: {msg: x}\n")
        .arg("-e")
        .arg("@secret.yml")
        .vault("secret.yml", "a: 1\npassword: \"SECRET\n b: [\n")
        .ends(1)
        .says("secret.yml")
        .leaks_nothing();
    Scenario::tasks("- ansible.builtin.include_vars: secret.yml\n")
        .vault("secret.yml", "a: 1\nSECRET: : SECRET\n")
        .fails()
        .leaks_nothing();
}

/// `copy` with the content of a vault leaves no temporary file, on either side.
#[test]
fn ansible_32896() {
    Scenario::tasks("- ansible.builtin.copy: {content: '{{ key }}', dest: DIR/there, mode: '0600'}\n")
        .vault_vars("key: SECRET\n")
        .writes("there")
        .leaks_nothing();
}

/// A vaulted file as the source of `copy` and `template`: decrypted without a file in between.
#[test]
fn ansible_15417() {
    Scenario::tasks(
        "
- ansible.builtin.copy: {src: key.pem, dest: DIR/there}
- ansible.builtin.template: {src: conf.j2, dest: DIR/conf}
",
    )
    .vault("files/key.pem", "-----BEGIN X-----\nSECRET\n-----END X-----\n")
    .vault("templates/conf.j2", "password = SECRET\n")
    .writes("there")
    .writes("conf")
    .leaks_nothing();
}

/// Editing a vault: what the editor saw is not left behind and not logged.
#[test]
fn ansible_25719() {
    Scenario::command(&["edit", "secret.yml"])
        .called("ansible-vault")
        .env("EDITOR", "sh -c 'echo more: 1 >> \"$0\"'")
        .vault("secret.yml", "password: SECRET\n")
        .always_hidden()
        .leaks_nothing();
}

/// A secret that was found by a lookup in a task, and goes on through facts.
#[test]
fn hashivault_414() {
    Scenario::tasks(
        "
- ansible.builtin.set_fact: {from_manager: \"{{ lookup('secret_command', 'cat DIR/secret.txt') }}\"}
- ansible.builtin.set_fact: {inside: {url: 'https://user:{{ from_manager }}@host/', list: ['{{ from_manager | b64encode }}']}}
- ansible.builtin.debug: {var: inside}
- ansible.builtin.shell: 'echo {{ from_manager }} | base64 >&2; false'
  ignore_errors: true
",
    )
    .file("secret.txt", "SECRET\n")
    .says("********")
    .always_hidden()
    .leaks_nothing();
}
