//! The maintenance note of a run, and the hooks that get the same facts, as people and programs see
//! them.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;

use support::Test;

const SECRET: &str = "aVerySecretValue0123";

/// Changes with and without secrets, a backup, checks, a loop, a failure that is ignored.
const PLAY: &str = "
- name: Change something
  hosts: web
  connection: local
  gather_facts: false
  tasks:
    - name: Take a backup
      command: cp DIR/archive.age DIR/backups/today.age
      one_way: ok
    - name: Find the backup
      find: {paths: DIR/backups, patterns: '*.age'}
    - name: Prove the backup
      archive_decrypt: {path: DIR/backups/today.age}
    - name: Write a *line*
      lineinfile: {path: DIR/app.env, regexp: '^A=', line: 'A=2'}
    - name: Write the key
      lineinfile: {path: DIR/app.env, regexp: '^KEY=', line: 'KEY={{ key }}'}
      notify: Tell
    - name: Write a secret file
      copy: {dest: DIR/secret, content: '{{ key }}', mode: '0600'}
    - name: Hidden
      copy: {dest: DIR/hidden, content: 'nobody should see this'}
      no_log: true
    - name: Each
      copy: {dest: 'DIR/each-{{ item }}', content: '{{ item }}'}
      loop: [a, b]
    - name: Nothing to do
      lineinfile: {path: DIR/app.env, line: A=2}
    - name: Ask the service
      uri: {url: 'http://127.0.0.1:PORT/healthz'}
    - name: Compare
      assert: {that: 1 + 1 == 2}
    - name: Allowed to fail
      command: 'false'
      ignore_errors: true
      changed_when: false
  handlers:
    - name: Tell
      copy: {dest: DIR/told, content: told}
";

struct Service(u16);

impl Service {
    /// Answers every request with 200, and hands over what it was told.
    fn start() -> (Service, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (told, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut request = Vec::new();
                let mut part = [0; 4096];
                loop {
                    let read = stream.read(&mut part).unwrap_or(0);
                    request.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        if read == 0 { break } else { continue }
                    };
                    let length = head.lines().find_map(|l| {
                        let (name, value) = l.split_once(':')?;
                        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
                    });
                    if read == 0 || body.len() >= length.unwrap_or(0) {
                        stream
                            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                            .ok();
                        told.send(text).ok();
                        break;
                    }
                }
            }
        });
        (Service(port), heard)
    }
}

fn project(port: u16) -> Test {
    let test = Test::new()
        .file("play.yml", &PLAY.replace("PORT", &port.to_string()))
        .file("inv.yml", "web:\n  hosts: {web1: {}}\n")
        .file("key", SECRET)
        .file("app.env", "A=1\nKEY=before\nB=2\n")
        .file("backups/.keep", "");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(test.path().join("key"), private).expect("a mode");
    let identity =
        seqn_play::secret::Identities::load(&[support::identity().to_path_buf()], None).expect("one");
    let keys = identity.recipients();
    let recipients = seqn_play::secret::recipients::Recipients::parse(keys.iter().map(String::as_str))
        .expect("recipients");
    let archive = seqn_play::secret::agefile::encrypt(
        b"-- PostgreSQL database dump\n",
        &recipients,
        seqn_play::secret::agefile::Format::Binary,
    );
    std::fs::write(test.path().join("archive.age"), archive.expect("an archive")).expect("a file");
    test
}

fn run(test: &Test, args: &[&str]) -> Output {
    run_with(test, args, |_| {})
}

fn run_with(test: &Test, args: &[&str], more: impl FnOnce(&mut std::process::Command)) -> Output {
    let mut command = test.command();
    command.args(args).env("TZ", "UTC");
    more(&mut command);
    command.output().expect("the program runs")
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run_folder(test: &Test) -> PathBuf {
    let runs = std::fs::read_dir(test.path().join(".seqn-play/runs")).expect("runs");
    runs.flatten().next().expect("a run").path()
}

fn note(test: &Test) -> String {
    std::fs::read_to_string(run_folder(test).join("note.md")).expect("a note")
}

/// Without what differs from one run to the next.
fn settled(text: &str, dir: &Path, port: u16) -> String {
    let text = text.replace(&dir.display().to_string(), "DIR").replace(&format!(":{port}/"), ":PORT/");
    let rules = [
        (r"\d{8}-\d{6}-[0-9a-f]{5}", "RUN"),
        (r"\d{4}-\d\d-\d\d", "DATE"),
        (r"\d\d:\d\d:\d\d", "TIME"),
        (r"DATE \d\d:\d\d\b", "DATE TIME"),
        (r"\d+\.\d s", "N s"),
        (r"\([^()]*@[^()]*\)", "(LOGIN@MACHINE)"),
        (r"in an archive of \d+ bytes", "in an archive of N bytes"),
    ];
    rules.iter().fold(text, |text, (rule, with)| {
        fancy_regex::Regex::new(rule).expect("a rule").replace_all(&text, *with).into_owned()
    })
}

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/note").join(name);
    std::fs::read_to_string(path).expect("a golden text")
}

#[track_caller]
fn same(got: &str, expected: &str) {
    let (got, expected) = (got.trim_matches('\n'), expected.trim_matches('\n'));
    if got != expected {
        let diff = similar::TextDiff::from_lines(expected, got);
        panic!("the note differs (- expected, + got)\n{}", diff.unified_diff());
    }
}

const ARGS: [&str; 11] = [
    "play.yml",
    "-i",
    "inv.yml",
    "--limit",
    "web1",
    "--secret-file",
    "key=key",
    "--actor",
    "Ann",
    "--reason",
    "CHG-7: quarterly",
];

#[test]
fn a_whole_note() {
    let (Service(port), _heard) = Service::start();
    let test = project(port);
    let ran = run(&test, &[&ARGS[..], &["--note-dir", "notes"]].concat());
    assert!(ran.status.success(), "{}", said(&ran));
    let text = note(&test);
    let shown = settled(&text, test.path(), port);
    println!("{text}");
    assert!(!text.contains(SECRET) && !text.contains("nobody should see this"), "{text}");
    same(&shown, &golden("whole.md"));

    let id = run_folder(&test).file_name().expect("an id").to_string_lossy().into_owned();
    let day = format!("{}-{}-{}", &id[..4], &id[4..6], &id[6..8]);
    let copy = test.path().join(format!("notes/{day}-play-{id}.md"));
    assert_eq!(std::fs::read_to_string(&copy).expect("a copy"), text);

    let back = run(&test, &["rollback", "last", "--actor", "Bob", "--reason", "CHG-7 is off"]);
    assert!(back.status.success(), "{}", said(&back));
    let after = note(&test);
    let added = after.strip_prefix(&text).expect("what was there stays");
    same(&settled(added, test.path(), port), &golden("rolled_back.md"));
}

/// What a hook was told, one JSON a line.
fn heard(test: &Test) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(test.path().join("heard")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn with_hooks(tasks: &str, notify: &str) -> Test {
    let test =
        Test::new().tasks(tasks).file("inv.yml", "all:\n  hosts: {localhost: {}}\n").file("key", SECRET);
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(test.path().join("key"), private).expect("a mode");
    test.file("group_vars/all.yml", &format!("seqn_play_notify:\n{notify}"))
}

const HOOKED: [&str; 5] = ["play.yml", "-i", "inv.yml", "--secret-file", "key=key"];

#[test]
fn commands_hear_the_facts_on_their_standard_input_and_no_secret_anywhere() {
    let notify = "- command: [sh, -c, 'cat >>DIR/heard; echo >>DIR/heard; env >>DIR/env; ps -ef >>DIR/ps']\n";
    let test = with_hooks(
        "- copy: {dest: DIR/f, content: 'a{{ key }}'}\n- debug: {msg: 'it is {{ key }}'}\n- fail: {msg: 'not {{ key }}'}",
        notify,
    );
    let ran = run_with(&test, &HOOKED, |c| {
        c.env("PLANTED", SECRET);
    });
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran));
    let told = heard(&test);
    let events: Vec<_> = told.iter().map(|t| t["event"].as_str().unwrap_or_default()).collect();
    assert_eq!(events, ["start", "failure"]);
    assert_eq!(told[1]["how"], "failed");
    assert_eq!(told[1]["changes"][0]["host"], "localhost");
    assert_eq!(told[1]["failures"][0]["message"], "********");
    assert_eq!(told[1]["run"], run_folder(&test).file_name().expect("an id").to_string_lossy().as_ref());
    for file in ["heard", "env", "ps"] {
        let text = std::fs::read_to_string(test.path().join(file)).expect(file);
        assert!(!text.contains(SECRET), "{file}: {text}");
        assert!(file != "ps" || !text.contains("\"changes\""), "{text}");
    }
    assert!(std::fs::read_to_string(test.path().join("env")).expect("it").contains("PATH="));
}

#[test]
fn webhooks_get_a_post() {
    let (Service(port), heard) = Service::start();
    let test = with_hooks(
        "- copy: {dest: DIR/f, content: '{{ key }}'}",
        &format!("- {{url: 'http://127.0.0.1:{port}/hook', on: [success]}}\n"),
    );
    let ran = run(&test, &HOOKED);
    assert!(ran.status.success() && !said(&ran).contains("WARNING"), "{}", said(&ran));
    let request = heard.recv_timeout(std::time::Duration::from_secs(10)).expect("a request");
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n") && !request.contains(SECRET), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    let told: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((told["event"].as_str(), told["how"].as_str()), (Some("success"), Some("finished")));
    assert!(heard.try_recv().is_err(), "it was told more than once");
}

#[test]
fn what_goes_wrong_with_a_hook_is_a_warning_and_nothing_more() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let notify = format!(
        "- {{command: [sh, -c, 'echo no such room >&2; exit 3'], on: [success]}}\n\
         - {{command: [sh, -c, 'sleep 600; true'], on: [success], timeout: 1}}\n\
         - {{command: [DIR/missing], on: [start]}}\n\
         - {{url: 'http://127.0.0.1:{closed}/token-in-a-path', on: [success]}}\n"
    );
    let test = with_hooks("- copy: {dest: DIR/f, content: x}", &notify);
    let begun = std::time::Instant::now();
    let ran = run(&test, &HOOKED);
    let text = said(&ran);
    assert!(ran.status.success(), "{text}");
    assert!(begun.elapsed().as_secs() < 30, "it waited for a hook that does not end");
    for expected in [
        "[WARNING]: the hook sh was not told: exit status: 3: no such room",
        "[WARNING]: the hook sh was not told: it took longer than 1 seconds",
        "missing was not told: it can't be started: No such file or directory",
        &format!("[WARNING]: the hook http://127.0.0.1:{closed} was not told: "),
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in {text}");
    }
    assert!(!text.contains("token-in-a-path"), "{text}");
}

#[test]
fn a_wrong_hook_is_an_error_before_anything_is_done() {
    for (notify, why) in [
        ("- {comand: [x]}\n", "entry 1"),
        ("- {command: [x]}\n- {url: 'ftp://x'}\n", "entry 2: the url is neither https:// nor http://"),
        ("- {on: [start]}\n", "it needs either `command` or `url`"),
        ("  no list\n", "it isn't a list"),
    ] {
        let test = with_hooks("- copy: {dest: DIR/f, content: x}", notify);
        let ran = run(&test, &HOOKED);
        assert_eq!(ran.status.code(), Some(1), "{}", said(&ran));
        assert!(said(&ran).contains("seqn_play_notify") && said(&ran).contains(why), "{}", said(&ran));
        assert!(!test.path().join("f").exists() && !test.path().join(".seqn-play").exists());
    }
}

#[test]
fn a_run_that_is_stopped_is_told_and_gone_on_with_in_the_same_note() {
    let test = with_hooks(
        "- copy: {dest: DIR/first, content: x}\n- command: sh -c 'echo begun >DIR/mark; sleep 2'\n  one_way: ok\n\
         - copy: {dest: DIR/last, content: x}",
        "- {command: [sh, -c, 'cat >>DIR/heard; echo >>DIR/heard']}\n",
    );
    let mut command = test.command();
    command.args(HOOKED).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("a program");
    while !test.path().join("mark").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let ran = child.wait_with_output().expect("its end");
    assert_eq!(ran.status.code(), Some(130), "{}", said(&ran));
    let text = note(&test);
    assert!(text.contains("stopped with Ctrl-C"), "{text}");
    assert!(text.contains("/first`") && !text.contains("/last`"), "{text}");
    assert!(text.contains(" Or go on: `seqn-play resume "), "{text}");

    let resumed = run(&test, &["resume", "last", "--reason", "the rest of it"]);
    assert!(resumed.status.success(), "{}", said(&resumed));
    let all = note(&test);
    let more = all.strip_prefix(&text).expect("what was there stays");
    assert!(more.starts_with("\n## Gone on with, "), "{more}");
    assert!(more.contains("- **Why:** the rest of it\n"), "{more}");
    assert!(more.contains("before the run was gone on with") && more.contains("/last`"), "{more}");
    let events: Vec<_> = heard(&test).iter().map(|t| format!("{} {}", t["event"], t["what"])).collect();
    assert_eq!(
        events,
        ["\"start\" \"run\"", "\"failure\" \"run\"", "\"start\" \"resume\"", "\"success\" \"resume\""]
    );
}

#[test]
fn without_a_journal_there_is_no_note() {
    let test = Test::new().tasks("- copy: {dest: DIR/f, content: x}");
    let ran = run(&test, &["play.yml", "--check", "--note-dir", "notes"]);
    assert!(ran.status.success(), "{}", said(&ran));
    assert!(!test.path().join("notes").exists() && !test.path().join(".seqn-play").exists());
}
