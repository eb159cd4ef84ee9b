//! The SSH server, met by the real `ssh` client, whole and harmed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use russh::keys::ssh_key::LineEnding;
use staging::sandbox::{SshConfig, SshServer, generate_key};

struct Fixture {
    server: SshServer,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Option<Fixture> {
        Fixture::with(|_| {})
    }

    fn with(adjust: impl FnOnce(&mut SshConfig)) -> Option<Fixture> {
        if !staging::system::has("ssh") {
            let set = |key: &str, value: &str| std::env::var(key).is_ok_and(|is| is == value);
            assert!(
                !set("SEQN_REQUIRE_ALL", "1") && !set("CI", "true"),
                "no ssh client, and nothing may be skipped here"
            );
            let _ = writeln!(std::io::stderr(), "skipped: no ssh client on this machine");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let key = generate_key().unwrap();
        let file = dir.path().join("key");
        fs::write(&file, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut config = SshConfig::new("ops", dir.path());
        config.authorized_keys.push(key.public_key().clone());
        adjust(&mut config);
        let server = SshServer::start(config).unwrap();
        fs::write(dir.path().join("known_hosts"), server.known_hosts_line()).unwrap();
        Some(Fixture { server, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn ssh(&self, options: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=5", "-o"])
            .arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()))
            .arg("-i")
            .arg(self.path("key"))
            .args(["-p", &self.server.port().to_string()])
            .args(options)
            .arg("ops@127.0.0.1")
            .stdin(Stdio::null());
        ssh
    }

    fn run(&self, command: &str) -> Output {
        self.ssh(&[]).arg(command).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs with this input, written while the output is read.
fn fed(mut command: Command, input: Vec<u8>) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    out
}

#[test]
fn commands_streams_and_statuses() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let out = fixture.run("echo out; echo err >&2; exit 3");
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout), "out\n");
    assert_eq!(text(&out.stderr), "err\n");
    let out = fixture.run("echo $HOME $USER; pwd");
    let home = fixture.dir.path().canonicalize().unwrap();
    let home = home.display();
    assert_eq!(text(&out.stdout), format!("{home} ops\n{home}\n"));
    // ssh turns a signal into 255.
    assert_eq!(fixture.run("kill -TERM $$").status.code(), Some(255));
    // A shell without a command, which reads from the channel.
    let out = fed(fixture.ssh(&["-T"]), b"echo a\nexit 4\n".to_vec());
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(4), "a\n".to_owned()));
}

#[test]
fn bytes_pass_unchanged_in_both_directions() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let bytes: Vec<u8> = (0..6_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut cat = fixture.ssh(&[]);
    cat.arg("cat; printf end");
    let out = fed(cat, bytes.clone());
    assert_eq!(out.stdout.len(), bytes.len() + 3);
    assert!(out.stdout.starts_with(&bytes) && out.stdout.ends_with(b"end"));
    // A process that reads nothing, and one that closes its input, leave the rest alone.
    let mut deaf = fixture.ssh(&[]);
    deaf.arg("exec <&-; echo done");
    assert_eq!(text(&fed(deaf, bytes).stdout), "done\n");
}

#[test]
fn a_terminal_where_one_is_asked_for() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let out = fixture.ssh(&["-tt"]).arg("tty && echo yes; exit 5").output().unwrap();
    assert_eq!(out.status.code(), Some(5));
    assert!(text(&out.stdout).contains("/dev/pts/"), "{}", text(&out.stdout));
    assert!(text(&out.stdout).contains("yes\r\n"));
}

#[test]
fn several_channels_on_one_connection_up_to_the_limit() {
    let Some(fixture) = Fixture::with(|config| config.max_sessions = 3) else {
        return;
    };
    let socket = fixture.path("mux");
    let control = format!("ControlPath={}", socket.display());
    let mut master = fixture.ssh(&["-M", "-N", "-o", &control, "-o", "ControlPersist=no"]).spawn().unwrap();
    let begun = Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(5));
    }
    let over = |command: &str| {
        let mut ssh = fixture.ssh(&["-o", &control, "-o", "ControlMaster=no"]);
        ssh.arg(command).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh
    };
    let mut held: Vec<_> =
        (0..3).map(|_| over("echo on; read x").stdin(Stdio::piped()).spawn().unwrap()).collect();
    for child in &mut held {
        let mut first = [0; 3];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    }
    assert_eq!(fixture.server.connections(), 1);
    // OpenSSH then takes a connection of its own, after saying why.
    let out = over("true").output().unwrap();
    assert!(text(&out.stderr).contains("refused by peer"), "{out:?}");
    for mut child in held {
        child.stdin.take();
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
    assert!(over("true").output().unwrap().status.success());
    master.kill().unwrap();
    master.wait().unwrap();
}

#[test]
fn forwarding_leads_to_loopback_only() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = target.local_addr().unwrap().port();
    let echo = thread::spawn(move || {
        let (mut stream, _) = target.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(text.to_uppercase().as_bytes()).unwrap();
    });
    let through = fixture.ssh(&["-W", &format!("127.0.0.1:{port}")]);
    assert_eq!(text(&fed(through, b"hello".to_vec()).stdout), "HELLO");
    echo.join().unwrap();
    let refused = fixture.ssh(&["-W", "192.0.2.1:80"]).output().unwrap();
    assert!(text(&refused.stderr).contains("administratively prohibited"));
}

#[test]
fn faults() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let faults = fixture.server.faults();

    faults.noise_before_shell("Welcome!\n");
    assert_eq!(text(&fixture.run("echo x").stdout), "Welcome!\nx\n");
    faults.noise_before_shell("");

    faults.refuse_sessions_over(0);
    assert_eq!(fixture.run("true").status.code(), Some(255));
    faults.refuse_sessions_over(10);
    assert!(fixture.run("true").status.success());

    // Cut in the middle of a large output, and in the middle of the login; then whole again.
    for bytes in [200_000, 1_000, 0] {
        faults.cut_after_sent(bytes);
        let out = fixture.run("head -c 1000000 /dev/zero");
        assert_eq!(out.status.code(), Some(255), "{bytes}");
        assert!(out.stdout.len() as u64 <= bytes);
        assert_eq!(fixture.run("head -c 1000000 /dev/zero").stdout.len(), 1_000_000);
    }
    faults.cut_after_received(100_000);
    let mut reading = fixture.ssh(&[]);
    reading.arg("cat >/dev/null");
    assert_eq!(fed(reading, vec![0; 1_000_000]).status.code(), Some(255));

    // Frozen, the client's own keepalive finds out; thawed, a session goes on.
    let mut waiting = fixture.ssh(&[]);
    let mut waiting = waiting.arg("echo on; sleep 0.3; echo off").stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 3];
    waiting.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    faults.freeze();
    thread::sleep(Duration::from_millis(600));
    assert!(waiting.try_wait().unwrap().is_none());
    faults.thaw();
    let out = waiting.wait_with_output().unwrap();
    assert_eq!(text(&out.stdout), "off\n");

    fixture.server.change_host_key(generate_key().unwrap());
    let out = fixture.run("true");
    assert_eq!(out.status.code(), Some(255));
    assert!(text(&out.stderr).contains("REMOTE HOST IDENTIFICATION HAS CHANGED"));
}

#[test]
fn what_a_client_leaves_running_ends_with_the_server() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let pid = fixture.path("pid");
    let mut child = fixture.ssh(&[]);
    let mut child =
        child.arg(format!("echo $$ > {}; trap '' HUP PIPE TERM; sleep 1000", pid.display())).spawn().unwrap();
    let begun = Instant::now();
    let number = loop {
        let text = fs::read_to_string(&pid).unwrap_or_default();
        if let Ok(number) = text.trim().parse::<u32>() {
            break number;
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(5));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    thread::sleep(Duration::from_millis(200));
    // As with a real sshd, the command outlives its client.
    let process = staging::sandbox::process::Process::of(number).unwrap();
    assert!(process.is_alive());
    drop(fixture.server);
    assert!(process.wait(Duration::from_secs(5)));
}

#[tokio::test]
async fn a_test_with_a_runtime_of_its_own_can_start_it() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    assert!(fixture.run("true").status.success());
    assert_eq!(fixture.server.sessions_opened(), 1);
}
