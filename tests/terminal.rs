//! What people see at a terminal: live status, colour by meaning, Ctrl-C.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use support::Test;

/// The program at a terminal of its own, as its foreground process.
struct Terminal {
    keys: File,
    shown: Receiver<Vec<u8>>,
    text: String,
    child: Child,
    test: Test,
}

impl Terminal {
    fn start(test: Test, columns: u16) -> Terminal {
        let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut master, mut slave) = (0, 0);
        // SAFETY: openpty fills both descriptors, which are owned here from then on.
        let (keys, tty) = unsafe {
            let opened = libc::openpty(
                &mut master,
                &mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            );
            assert_eq!(opened, 0);
            (File::from_raw_fd(master), File::from_raw_fd(slave))
        };
        let mut command = test.command();
        command.env_remove("NO_COLOR").env("TERM", "xterm");
        command.envs(test.env.iter().cloned()).arg("play.yml");
        let stream = || Stdio::from(tty.try_clone().expect("a descriptor"));
        command.stdin(stream()).stdout(stream()).stderr(stream());
        let raw = tty.as_raw_fd();
        // SAFETY: both calls are allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                if libc::setsid() < 0 || libc::ioctl(raw, libc::TIOCSCTTY as _, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().expect("it starts");
        let (send, shown) = channel();
        let mut screen = keys.try_clone().expect("a descriptor");
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            // The end of a terminal is an error on Linux.
            while let Ok(n @ 1..) = screen.read(&mut part) {
                if send.send(part[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { keys, shown, text: String::new(), child, test }
    }

    /// Reads until this was shown.
    #[track_caller]
    fn until(&mut self, wanted: &str) {
        let began = Instant::now();
        while !self.text.contains(wanted) {
            let left = Duration::from_secs(30).saturating_sub(began.elapsed());
            match self.shown.recv_timeout(left) {
                Ok(part) => self.text += &String::from_utf8_lossy(&part),
                Err(_) => panic!("{wanted:?} was not shown in\n{}", self.text.escape_debug()),
            }
        }
    }

    /// Waits until the run has made this file.
    #[track_caller]
    fn until_there(&self, file: &str) {
        let began = Instant::now();
        while !self.test.path().join(file).exists() {
            assert!(began.elapsed() < Duration::from_secs(30), "{file} did not appear");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn press_ctrl_c(&mut self) {
        self.keys.write_all(b"\x03").expect("a key");
    }

    /// All that was shown, and the exit code.
    fn end(&mut self) -> (String, i32) {
        let status = self.child.wait().expect("it ends");
        while let Ok(part) = self.shown.recv_timeout(Duration::from_millis(300)) {
            self.text += &String::from_utf8_lossy(&part);
        }
        (std::mem::take(&mut self.text), status.code().unwrap_or(-1))
    }
}

/// Without escape sequences.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\x1b' {
            out.push(c);
        } else if chars.next() == Some('[') {
            chars.by_ref().find(|c| c.is_ascii_alphabetic());
        }
    }
    out
}

/// What `--tags finish` of a rotation begins with.
fn finish() -> Test {
    let test = Test::new()
        .file(".token.json", "{\"rotated\": \"2026-01-01\", \"finish_after\": 0, \"previous\": {\"id\": 1}}")
        .tasks(
            "- import_role: {name: credential_record, tasks_from: due}
  vars: {seqn_record_prefix: DIR/., credential_record_of: token}
- debug: {msg: the old one goes}",
        );
    let roles = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("roles");
    std::os::unix::fs::symlink(roles, test.path().join("roles")).expect("a link");
    test
}

#[test]
fn the_old_credential_goes_when_its_name_is_typed() {
    for (typed, said, code) in [
        ("token", "the old one goes", 0),
        ("yes", "Type token when asked for it; where there is no terminal to ask at: -e confirm=token", 2),
    ] {
        let mut at = Terminal::start(finish(), 400);
        at.until("Type its name to confirm that (token)");
        at.keys.write_all(format!("{typed}\n").as_bytes()).expect("keys");
        let (text, ended) = at.end();
        assert_eq!(ended, code, "{text}");
        assert!(text.contains(said), "{said:?} is missing in\n{}", text.escape_debug());
    }
    // Check mode takes nothing away, and asks nobody.
    let checked = finish().args(&["play.yml", "--check"]).run().success();
    checked.says("the old one goes").never_says("Type its name");
}

const ALL_OUTCOMES: &str = "
- command: 'true'
- command: 'true'
  changed_when: false
- command: 'true'
  when: false
- command: 'false'
  ignore_errors: true
- name: a slow one
  command: sleep 0.4
";

#[test]
fn colour_says_what_a_line_means() {
    let (text, code) = Terminal::start(Test::new().tasks(ALL_OUTCOMES), 80).end();
    assert_eq!(code, 0, "{text}");
    for line in [
        "\x1b[33mchanged: [localhost]\x1b[0m",
        "\x1b[32mok: [localhost]\x1b[0m",
        "\x1b[36mskipping: [localhost]\x1b[0m",
        "\x1b[31mfatal: [localhost]: FAILED!",
        "\x1b[36m...ignoring\x1b[0m",
        "\x1b[33mchanged=3   \x1b[0m",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{}", text.escape_debug());
    }
}

#[test]
fn what_runs_now_is_shown_with_its_time() {
    let mut terminal = Terminal::start(Test::new().tasks("- name: a slow one\n  command: sleep 2.2"), 80);
    terminal.until("[localhost] a slow one 1s");
    let (text, code) = terminal.end();
    assert_eq!(code, 0);
    // It is gone at the end: its line was cleared before the result was written.
    let after = plain(text.rsplit_once("changed: [localhost]").expect("a result").1);
    assert!(!after.contains("a slow one"), "{after}");
}

#[test]
fn no_color_is_respected() {
    for name in ["NO_COLOR", "ANSIBLE_NOCOLOR"] {
        let (text, _) = Terminal::start(Test::new().tasks(ALL_OUTCOMES).env(name, "1"), 80).end();
        let is_colour = |part: &str| {
            part.split_once('m').is_some_and(|(code, _)| code.chars().all(|c| c.is_ascii_digit() || c == ';'))
        };
        let coloured = text.split("\x1b[").skip(1).any(is_colour);
        assert!(!coloured && plain(&text).contains("changed: [localhost]"), "{}", text.escape_debug());
    }
}

#[test]
fn a_narrow_terminal_is_not_overrun() {
    let name = "a task with a name that is much longer than this terminal is wide";
    let test = Test::new().tasks(&format!("- name: {name}\n  command: sleep 0.5"));
    let (text, _) = Terminal::start(test, 40).end();
    let text = plain(&text).replace('\r', "\n");
    let banner = text.lines().find(|line| line.starts_with("PLAY [")).expect("a banner");
    assert_eq!(banner.trim_end().len(), 40, "{banner}");
    let live: Vec<&str> = text.lines().filter(|line| line.contains("[localhost] a task with")).collect();
    assert!(!live.is_empty(), "{text}");
    assert!(live.iter().all(|line| line.chars().count() <= 40), "{live:?}");
}

#[test]
fn a_secret_is_masked_in_live_status_too() {
    let test = Test::new()
        .file("secret", "hunter2-hunter2")
        .tasks("- command: cat DIR/secret\n  no_log: true\n  register: s\n- name: with {{ s.stdout }}\n  command: sleep 0.5");
    let mut terminal = Terminal::start(test, 80);
    terminal.until("[localhost] with ********");
    let (text, _) = terminal.end();
    assert!(!text.contains("hunter2"), "{text}");
}

/// Tells when it has begun and when it is done.
const SLOW: &str = "- name: slow\n  command: sh -c 'echo x >DIR/begun; sleep 2; echo x >DIR/done'\n- command: touch DIR/never";

#[test]
fn ctrl_c_finishes_the_current_effect() {
    let test = Test::new().tasks(SLOW);
    let mut terminal = Terminal::start(test, 80);
    terminal.until_there("begun");
    terminal.press_ctrl_c();
    let (text, code) = terminal.end();
    assert_eq!(code, 130, "{text}");
    assert!(terminal.test.path().join("done").exists(), "the effect was cut: {text}");
    assert!(!terminal.test.path().join("never").exists(), "something new was begun");
    for said in ["Interrupted: finishing the current effects", "changed: [localhost]", "PLAY RECAP"] {
        assert!(plain(&text).contains(said), "{said:?} is missing in\n{text}");
    }
}

#[test]
fn ctrl_c_twice_stops_at_once_and_says_what_is_unfinished() {
    let test = Test::new().tasks(&SLOW.replace("sleep 2", "sleep 20"));
    let mut terminal = Terminal::start(test, 80);
    terminal.until_there("begun");
    terminal.press_ctrl_c();
    terminal.until("Ctrl-C again stops at once");
    let began = Instant::now();
    terminal.press_ctrl_c();
    let (text, code) = terminal.end();
    assert_eq!(code, 130, "{text}");
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    assert!(!terminal.test.path().join("never").exists());
    let text = plain(&text);
    assert!(text.contains("unfinished: [localhost] => slow"), "{text}");
    assert!(text.contains("PLAY RECAP"), "{text}");
}

#[test]
fn what_is_typed_for_a_private_prompt_is_not_shown() {
    let test = Test::new().file(
        "play.yml",
        "- hosts: localhost
  connection: local
  gather_facts: false
  vars_prompt: [{name: pw, prompt: The password}]
  tasks:
    - ansible.builtin.debug: {msg: 'it is {{ pw }}'}
    - ansible.builtin.assert: {that: pw == 'typed-' ~ 'by-hand'}
",
    );
    let mut terminal = Terminal::start(test, 80);
    terminal.until("The password");
    std::thread::sleep(Duration::from_millis(300));
    terminal.keys.write_all(b"typed-by-hand\n").expect("keys");
    let (text, code) = terminal.end();
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("typed-by-hand") && text.contains("********"), "{text}");
}

#[test]
fn a_password_manager_may_ask_at_the_terminal() {
    let test = Test::new()
        .tasks("- ansible.builtin.assert: {that: pw == 'opened-with-' ~ 'typed-by-hand'}")
        .file(
            "manager",
            "stty -echo; echo 'Unlock: ' >/dev/tty; read -r word; stty echo; echo opened-with-$word\n",
        )
        .args(&["--secret-command", "pw=sh manager"]);
    let mut terminal = Terminal::start(test, 80);
    terminal.until("Unlock: ");
    terminal.keys.write_all(b"typed-by-hand\n").expect("keys");
    let (text, code) = terminal.end();
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("typed-by-hand"), "{text}");
}
