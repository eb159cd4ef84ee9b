//! Credentials of HTTP and of databases: in arguments, addresses, headers, answers, failures.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::Scenario;

/// Answers each request with its own headers and body as JSON, until the test ends.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 16384];
            let read = stream.read(&mut request).unwrap_or(0);
            let said = String::from_utf8_lossy(&request[..read]).into_owned();
            let token = said.split("token=").nth(1).unwrap_or_default();
            let token: String = token.chars().take_while(char::is_ascii_alphanumeric).collect();
            let body = serde_json::json!({"said": said, token.as_str(): 1}).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Echo: {token}\r\n");
            let _ = write!(stream, "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        }
    });
    port
}

/// `url_password`.
#[test]
fn ansible_20427() {
    Scenario::tasks(&format!(
        "
- ansible.builtin.uri:
    url: http://127.0.0.1:{}/
    url_username: me
    url_password: SECRET
    force_basic_auth: true
    return_content: true
  check_mode: false
",
        echo()
    ))
    .says("authorization: ")
    .always_hidden()
    .leaks_nothing();
}

/// An answer that has the secret as a key (CVE-2020-14330).
#[test]
fn ansible_70762() {
    Scenario::tasks(&format!(
        "
- ansible.builtin.uri:
    url: http://127.0.0.1:{}/?token={{{{ token }}}}
    return_content: true
  register: answer
  check_mode: false
- ansible.builtin.debug: {{var: answer.json}}
",
        echo()
    ))
    .vault_vars("token: SECRET\n")
    .says("********")
    .leaks_nothing();
}

/// A bearer token among the headers.
#[test]
fn ansible_80977() {
    Scenario::tasks(&format!(
        "
- ansible.builtin.uri:
    url: http://127.0.0.1:{}/
    headers: {{Authorization: 'Bearer {{{{ token }}}}'}}
    return_content: true
  check_mode: false
",
        echo()
    ))
    .vault_vars("token: SECRET\n")
    .says("authorization: ")
    .leaks_nothing();
}

/// A password in an address, when the request fails.
#[test]
fn ansible_87362() {
    Scenario::tasks("- ansible.builtin.uri: {url: 'http://me:SECRET@127.0.0.1:1/x'}\n")
        .fails()
        .always_hidden()
        .leaks_nothing();
}

/// The same of a repository's address in a command that fails.
#[test]
fn ansible_84557() {
    Scenario::tasks(
        "- ansible.builtin.command: 'sh -c \"echo fatal: https://me:{{ password | urlencode }}@host/x >&2; exit 128\"'\n",
    )
    .vault_vars("password: SECRET\n")
    .fails()
    .in_process_list()
    .always_hidden()
    .leaks_nothing();
}

/// Credentials in a body that is refused before it is sent.
#[test]
fn community_general_11000() {
    Scenario::tasks(
        "
- ansible.builtin.uri:
    url: http://127.0.0.1:1/
    method: POST
    body_format: json
    body: {credentials: [{type: password, value: '{{ password }}'}]}
    timeout: '{{ password }}'
",
    )
    .vault_vars("password: SECRET\n")
    .fails()
    .leaks_nothing();
}

/// A database login that fails, with its password as a plain value. (No report of its own.)
#[test]
fn a_postgres_login_that_fails() {
    Scenario::play(
        "vars: {pw: SECRET}",
        "
- community.postgresql.postgresql_query:
    query: SELECT 1
    login_host: 127.0.0.1
    login_port: 1
    login_user: app
    login_password: '{{ pw }}'
",
    )
    .fails()
    .always_hidden()
    .leaks_nothing();
}

/// Roles with their passwords as items.
#[test]
fn ansible_69700() {
    Scenario::play(
        "vars: {users: [{name: app, password: SECRET}]}",
        "
- community.postgresql.postgresql_user:
    name: '{{ item.name }}'
    password: '{{ item.password }}'
    login_host: 127.0.0.1
    login_port: 1
  loop: '{{ users }}'
  no_log: true
",
    )
    .fails()
    .always_hidden()
    .leaks_nothing();
}
