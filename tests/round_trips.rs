//! What modules cost in round trips: exact numbers, the same on every machine and transport.

mod support;

use support::Test;

/// A task, and the round trips of its run that changes and of the one after it that doesn't.
const COSTS: [(&str, [u64; 2]); 9] = [
    ("lineinfile: {path: DIR/f, line: b}", [2, 1]),
    ("lineinfile: {path: DIR/f, regexp: ^a, line: c, backup: true}", [2, 1]),
    ("blockinfile: {path: DIR/f, block: b}", [2, 1]),
    ("copy: {dest: DIR/new, content: x}", [2, 1]),
    ("copy: {dest: DIR/new, content: x, mode: '0600'}", [2, 1]),
    // What goes back must be known before: which parents will be made, what will be gone.
    ("file: {path: DIR/d, state: directory}", [3, 1]),
    ("file: {path: DIR/f, state: absent}", [3, 1]),
    ("dotenv: {path: DIR/.env, key: A, value: '2'}", [2, 1]),
    ("command: touch DIR/made creates=DIR/made", [2, 1]),
];

#[test]
fn one_round_trip_to_see_and_one_to_change() {
    let mut wrong = Vec::new();
    for (task, expected) in COSTS {
        let test = Test::new()
            .file("f", "a\n")
            .file(".env", "A=1\n")
            .file("hosts.yml", "all: {hosts: {box: {ansible_connection: local}}}\n")
            .file("play.yml", &format!("- hosts: box\n  gather_facts: false\n  tasks:\n    - {task}\n"))
            .args(&["-i", "hosts.yml", "play.yml", "--output", "json"]);
        let run = |changed: u64| {
            let ran = test.command().output().expect("it runs");
            let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
            let event = |name: &str| {
                let events = said.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
                events.into_iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("{said}"))
            };
            assert_eq!(event("recap")["hosts"][0]["changed"], changed, "{task}: {said}");
            event("traffic")["round_trips"].as_u64().expect("a number")
        };
        let cost = [run(1), run(0)];
        if cost != expected {
            wrong.push(format!("{task}: {cost:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_equal_question_is_asked_once() {
    let stat = "    - stat: {path: DIR/f, get_mime: false, get_attributes: false}\n";
    let ran = Test::new()
        .file("f", "a\n")
        .file("hosts.yml", "all: {hosts: {box: {ansible_connection: local}}}\n")
        .file("play.yml", &format!("- hosts: box\n  gather_facts: false\n  tasks:\n{}", stat.repeat(5)))
        .args(&["-i", "hosts.yml", "play.yml", "-vvv"])
        .run()
        .success();
    ran.says("<box> TRAFFIC 1 round trips, ").recap("ok=5");
}
