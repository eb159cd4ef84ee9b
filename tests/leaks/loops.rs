//! Items of loops: shown by their label, when they fail, when they are skipped.

use crate::Scenario;

/// Items that hold secrets, with `no_log`.
#[test]
fn ansible_6998() {
    Scenario::tasks(
        "
- name: write
  ansible.builtin.copy:
    content: '{{ item.content }}'
    dest: 'DIR/{{ item.name }}'
  with_items:
    - {name: first, content: SECRET}
  no_log: true
",
    )
    .says("(item=")
    .writes("first")
    .leaks_nothing();
}

/// A `no_log` task whose items are skipped.
#[test]
fn ansible_10387() {
    Scenario::play(
        "vars: {people: [{name: a, password: SECRET, managed: false}]}",
        "
- name: add
  ansible.builtin.lineinfile: {path: DIR/out, create: true, line: 'Password {{ item.password }}'}
  with_items: '{{ people }}'
  when: item.managed
  no_log: true
",
    )
    .says("skipping: [localhost] => (item=")
    .leaks_nothing();
}

/// A dictionary of a vault as items of a command's arguments.
#[test]
fn ansible_11538() {
    Scenario::tasks(
        "
- name: keyring
  ansible.builtin.command: \"echo '{{ item.key }}' '{{ item.value.user }}' '{{ item.value.password }}'\"
  with_dict: '{{ keyring }}'
",
    )
    .vault_vars("keyring: {server: {user: me, password: SECRET}}\n")
    .says("(item=")
    .in_process_list()
    .leaks_nothing();
}

/// The same with `shell`, where the vault's values are the items themselves.
#[test]
fn ansible_11630() {
    Scenario::tasks(
        "
- name: configure
  ansible.builtin.shell: 'echo {{ item.key }} {{ item.value }}'
  with_dict: '{{ config }}'
",
    )
    .vault_vars("config: {mysql.pass: SECRET}\n")
    .says("(item=")
    .leaks_nothing();
}

/// One vaulted text inside a list of dictionaries.
#[test]
fn ansible_32355() {
    Scenario::tasks(
        "
- name: mount
  ansible.builtin.debug: {msg: 'mount {{ item.host }} {{ options }}'}
  vars: {options: 'user={{ item.user }},password={{ item.password }}'}
  with_items: '{{ mounts }}'
",
    )
    .vault("vault.yml", "password: SECRET\n")
    .vault_vars("password_of_mounts: SECRET\n")
    .file(
        "group_vars/all/mounts.yml",
        "mounts: [{host: nas, user: me, password: '{{ password_of_mounts }}'}]\n",
    )
    .says("'host': 'nas'")
    .leaks_nothing();
}

/// An argument that the module declares secret, from an item that nothing else marks.
#[test]
fn ansible_33912() {
    Scenario::play(
        "vars: {hosts: [{url: 'http://127.0.0.1:1/', password: SECRET}]}",
        "
- name: add
  ansible.builtin.uri: {url: '{{ item.url }}', url_username: admin, url_password: '{{ item.password }}'}
  with_items: '{{ hosts }}'
",
    )
    .fails()
    .says("(item=")
    .always_hidden()
    .leaks_nothing();
}

/// A label that hides the item, until it fails.
#[test]
fn ansible_38214() {
    Scenario::tasks(
        "
- name: details
  ansible.builtin.command: 'sh -c \"exit 1\"'
  loop: '{{ nodes }}'
  loop_control: {label: '{{ item.name }}'}
",
    )
    .vault_vars("node_password: SECRET\n")
    .file("group_vars/all/nodes.yml", "nodes: [{name: node1, password: '{{ node_password }}'}]\n")
    .fails()
    .says("(item=node1)")
    .leaks_nothing();
}

/// `no_log` that is a template over the item.
#[test]
fn ansible_43294() {
    Scenario::tasks(
        "
- name: some are hidden
  ansible.builtin.debug: {msg: '{{ item.value }}'}
  loop:
    - {value: shown, hide: false}
    - {value: SECRET, hide: true}
  no_log: '{{ item.hide and not off | default(false) }}'
",
    )
    .says("shown")
    .always_hidden()
    .leaks_nothing();
}

/// The same as the registered result of all items.
#[test]
fn ansible_51449() {
    Scenario::tasks(
        "
- ansible.builtin.command: echo {{ item }}
  loop: [SECRET]
  no_log: true
  register: all
- ansible.builtin.debug: {var: all}
- ansible.builtin.debug: {msg: 'was {{ all.results[0].stdout }}'}
",
    )
    .in_process_list()
    .leaks_nothing();
}

/// The content of a container's secret, item by item.
#[test]
fn ansible_49388() {
    Scenario::tasks(
        "
- seqn.play.dotenv: {path: DIR/.env, key: '{{ item.key }}', value: '{{ item.value }}', state: present}
  loop: '{{ secrets | dict2items }}'
",
    )
    .vault_vars("secrets: {API_TOKEN: SECRET}\n")
    .file(".env", "LEVEL=1\nAPI_TOKEN=old\n")
    .says("(item=")
    .writes(".env")
    .always_hidden()
    .leaks_nothing();
}

/// Users with their passwords as items.
#[test]
fn community_windows_262() {
    Scenario::tasks(
        "
- ansible.builtin.user: {name: '{{ item.name }}', password: '{{ item.password }}'}
  loop: '{{ accounts }}'
  check_mode: true
",
    )
    .vault_vars("accounts: [{name: no-such-user-here, password: SECRET}]\n")
    .says("(item=")
    .always_hidden()
    .leaks_nothing();
}

/// Items that are skipped, in a role's task that forgot `no_log`.
#[test]
fn geerlingguy_postgresql_275() {
    Scenario::tasks(
        "
- ansible.builtin.debug: {msg: 'deprecated privileges of {{ item.name }}'}
  with_items: '{{ users }}'
  when: item.priv is defined
",
    )
    .vault_vars("users: [{name: app, password: SECRET}]\n")
    .says("skipping: [localhost] => (item=")
    .leaks_nothing();
}
