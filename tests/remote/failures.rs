//! What can go wrong between here and a host: each a clear message in bounded time.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seqn_play::remote::{Command, Connection, Connections, Content, RemoteError, RemoteErrorKind, Target};
use seqn_play::remote::{Effect, TransportKind};
use staging::sandbox::{SshConfig, SshServer, generate_key};
use tokio::io::AsyncReadExt;

use crate::fixture::{Running, connection, find, free_port, is_root, key_pair, public, run, skip, within};
use crate::lock::Project;
use crate::suite::{bytes, sh, write};

/// Both ways over SSH, or the one that is possible here.
fn transports() -> Vec<TransportKind> {
    match find("ssh") {
        Some(_) => vec![TransportKind::Native, TransportKind::Ssh],
        None => {
            skip("there is no ssh on this machine");
            vec![TransportKind::Native]
        }
    }
}

/// A server that can be harmed, and a key for it.
struct Harmed {
    server: SshServer,
    dir: tempfile::TempDir,
}

impl Harmed {
    fn new() -> Harmed {
        Harmed::with(|_| {})
    }

    fn with(adjust: impl FnOnce(&mut SshConfig)) -> Harmed {
        let dir = tempfile::tempdir().unwrap();
        let key = key_pair(dir.path(), "key", "ed25519", "");
        let mut config = SshConfig::new("ops", dir.path());
        config.authorized_keys.push(public(&key).parse().unwrap());
        adjust(&mut config);
        let server = SshServer::start(config).unwrap();
        fs::write(dir.path().join("known_hosts"), server.known_hosts_line()).unwrap();
        Harmed { server, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Notices a silent host within a few seconds.
    fn connection(&self, transport: TransportKind) -> Connection {
        let mut connection = connection(transport, self.server.port(), "ops", self.dir.path());
        connection.ssh_args.extend(["-oServerAliveInterval=1", "-oServerAliveCountMax=2"].map(String::from));
        connection.timeout = Duration::from_secs(3);
        connection
    }
}

/// Connects and runs `echo ok`.
fn reach(connection: &Connection) -> Result<String, RemoteError> {
    within(60, async {
        let connections = Connections::new();
        let reached = async {
            let target = connections.target("host", connection).await?;
            Ok(target.probe(Command::argv(["echo", "ok"])).await?.stdout_text())
        };
        let result = reached.await;
        connections.close().await;
        result
    })
}

#[track_caller]
fn refused(connection: &Connection, words: &[&str]) -> RemoteError {
    let error = reach(connection).expect_err("nobody may get in here");
    assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
    for word in words {
        let whole = format!("{error}\n{}", error.help.clone().unwrap_or_default());
        assert!(whole.contains(word), "{:?}: {word:?} is missing in: {whole}", connection.transport);
    }
    error
}

fn works(connection: &Connection) {
    assert_eq!(reach(connection).map_err(|e| e.message), Ok("ok\n".into()), "{:?}", connection.transport);
}

#[test]
fn nobody_listens() {
    let harmed = Harmed::new();
    for transport in transports() {
        let mut connection = harmed.connection(transport);
        connection.port = Some(free_port());
        refused(&connection, &["nothing listens there (connection refused)", "ops@127.0.0.1"]);
    }
}

#[test]
fn what_listens_says_nothing_or_nonsense() {
    let harmed = Harmed::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nonsense = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nonsense.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = nonsense.accept() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
    for transport in transports() {
        let began = Instant::now();
        let mut connection = harmed.connection(transport);
        connection.port = Some(silent.local_addr().unwrap().port());
        refused(&connection, &["no answer within"]);
        assert!(began.elapsed() < Duration::from_secs(15));
        connection.port = Some(port);
        refused(&connection, &["Failed to connect to the host via ssh"]);
    }
}

#[test]
fn host_keys() {
    let harmed = Harmed::new();
    let known = harmed.path("known_hosts");
    let line = harmed.server.known_hosts_line();
    let (place, key) = line.trim_end().split_once(' ').unwrap();
    for transport in transports() {
        let connection = harmed.connection(transport);
        fs::write(&known, &line).unwrap();
        works(&connection);
        fs::write(&known, format!("# a comment\n*.example.com,{place} {key} comment\n")).unwrap();
        works(&connection);
        // Hashed, as Debian does.
        fs::write(&known, &line).unwrap();
        run("ssh-keygen", &["-q", "-H", "-f", known.to_str().unwrap()]);
        assert!(fs::read_to_string(&known).unwrap().starts_with("|1|"));
        works(&connection);
        fs::write(&known, "").unwrap();
        refused(&connection, &["the host key of 127.0.0.1 is not known", "compare the fingerprint"]);
        fs::write(&known, format!("{line}@revoked * {key}\n")).unwrap();
        refused(&connection, &["REVOKED"]);
        // Not the default, and only where somebody says so.
        fs::write(&known, "").unwrap();
        let trusting = Connection { host_key_checking: false, ..connection.clone() };
        works(&trusting);
        fs::write(&known, "").unwrap();
        let mut learning = connection.clone();
        learning.ssh_args.extend(["-o", "StrictHostKeyChecking=accept-new"].map(String::from));
        works(&learning);
        assert!(fs::read_to_string(&known).unwrap().contains(key), "it was learned");
        works(&connection);
    }
}

#[test]
fn a_changed_host_key() {
    let harmed = Harmed::with(|config| config.password = Some("open sesame".into()));
    let known = harmed.path("known_hosts");
    fs::write(&known, format!("\n{}", harmed.server.known_hosts_line())).unwrap();
    harmed.server.change_host_key(generate_key().unwrap());
    for transport in transports() {
        let connection = harmed.connection(transport);
        let place = format!("{}:2", known.display());
        let name = format!("ssh-keygen -R '[127.0.0.1]:{}'", harmed.server.port());
        refused(&connection, &["has CHANGED", &place, &name]);
        let mut learning = connection.clone();
        learning.ssh_args.extend(["-o", "StrictHostKeyChecking=accept-new"].map(String::from));
        refused(&learning, &["has CHANGED"]);
        // Who asks not to check still doesn't give a password away.
        let mut trusting = Connection { host_key_checking: false, ..connection };
        works(&trusting);
        if transport == TransportKind::Native {
            trusting.password = Some("open sesame".into());
            refused(&trusting, &["no password is sent to a host whose key has changed"]);
        }
    }
}

#[test]
fn wrong_keys_and_passwords() {
    let harmed = Harmed::with(|config| config.password = Some("open sesame".into()));
    let other = key_pair(harmed.dir.path(), "other", "ed25519", "");
    let locked = key_pair(harmed.dir.path(), "locked", "ed25519", "a passphrase");
    // The right one, but others can read it.
    let readable = harmed.path("readable");
    fs::copy(harmed.path("key"), &readable).unwrap();
    fs::copy(harmed.path("key.pub"), readable.with_extension("pub")).unwrap();
    fs::set_permissions(&readable, fs::Permissions::from_mode(0o644)).unwrap();
    for transport in transports() {
        let connection = harmed.connection(transport);
        let with = |key: &Path| Connection { private_key: Some(key.into()), ..connection.clone() };
        refused(&with(&other), &["refused the login with the key", "--private-key"]);
        refused(&with(&locked), &["refused the login with the key"]);
        refused(&with(&readable), &["can be read by others", "chmod 600"]);
        refused(&with(&harmed.path("nowhere")), &["refused the login with the key"]);
        let password = |text: &str| Connection {
            password: Some(seqn_play::source::Text::secret(text)),
            private_key: None,
            ..connection.clone()
        };
        // `ssh` asks the program itself for it, which this test isn't.
        if transport == TransportKind::Native {
            let words = ["refused the login with the password", "Permission denied"];
            let error = refused(&password("wr0ng"), &words);
            assert!(!format!("{error:?}").contains("wr0ng"));
            works(&password("open sesame"));
        }
        let nobody = Connection { user: Some("nobody else".into()), ..connection.clone() };
        refused(&nobody, &["refused the login"]);
    }
    let native =
        |key: &Path| Connection { private_key: Some(key.into()), ..harmed.connection(TransportKind::Native) };
    refused(&native(&locked), &["is protected by a passphrase and not in the agent"]);
    refused(&native(&harmed.path("nowhere")), &["there is no key"]);
}

#[test]
fn every_kind_of_key() {
    for (kind, bits) in [("ed25519", None), ("ecdsa", Some("384")), ("rsa", Some("3072"))] {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("own");
        let mut arguments = vec!["-q", "-t", kind, "-N", "", "-f", key.to_str().unwrap()];
        arguments.extend(bits.iter().flat_map(|bits| ["-b", bits]));
        run("ssh-keygen", &arguments);
        let harmed = Harmed::with(|config| config.authorized_keys = vec![public(&key).parse().unwrap()]);
        for transport in transports() {
            works(&Connection { private_key: Some(key.clone()), ..harmed.connection(transport) });
        }
        if kind == "rsa" {
            // The older file format, of which there are many.
            run("ssh-keygen", &["-q", "-p", "-m", "PEM", "-N", "", "-f", key.to_str().unwrap()]);
            works(&Connection { private_key: Some(key), ..harmed.connection(TransportKind::Native) });
        }
    }
}

#[test]
fn an_agent() {
    let Some(agent) = find("ssh-agent") else { return skip("there is no ssh-agent on this machine") };
    let harmed = Harmed::new();
    let locked = key_pair(harmed.dir.path(), "locked", "ed25519", "");
    let with_its_key = Harmed::with(|config| config.authorized_keys = vec![public(&locked).parse().unwrap()]);
    let socket = harmed.path("agent");
    let mut command = std::process::Command::new(agent);
    command.args(["-D", "-a"]).arg(&socket).stdout(std::process::Stdio::null());
    let _running = Running(command.spawn().unwrap());
    let end = Instant::now() + Duration::from_secs(5);
    while !socket.exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    let added = std::process::Command::new("ssh-add")
        .args(["-q", locked.to_str().unwrap()])
        .env("SSH_AUTH_SOCK", &socket)
        .status();
    assert!(added.unwrap().success());
    // Now only the agent can sign with it.
    run("ssh-keygen", &["-q", "-p", "-N", "a passphrase", "-f", locked.to_str().unwrap()]);
    for transport in transports() {
        for private_key in [None, Some(locked.clone())] {
            let mut connection = with_its_key.connection(transport);
            let place = format!("IdentityAgent={}", socket.display());
            connection.ssh_args.splice(0..0, ["-o".to_string(), place]);
            works(&Connection { private_key, ..connection });
        }
    }
}

#[test]
fn questions_instead_of_a_password() {
    let harmed = Harmed::with(|config| {
        config.password = Some("open sesame".into());
        config.asks_questions = true;
    });
    let mut connection = harmed.connection(TransportKind::Native);
    connection.password = Some("open sesame".into());
    works(&connection);
    connection.password = Some("wr0ng".into());
    refused(&connection, &["refused the login with the password", "Permission denied"]);
}

/// `ssh` gets the password from the program that started it.
#[test]
fn a_password_for_ssh() {
    if find("ssh").is_none() {
        return skip("there is no ssh on this machine");
    }
    let project = Project::new();
    for asks_questions in [false, true] {
        let harmed = Harmed::with(|config| {
            config.password = Some("open sesame".into());
            config.asks_questions = asks_questions;
        });
        for (password, code, words) in
            [("open sesame", 0, "ok=1"), ("wr0ng", 4, "refused the login with the password")]
        {
            let inventory = format!(
                "host ansible_host=127.0.0.1 ansible_port={} ansible_user=ops ansible_password='{password}' \
                 ansible_connection=ssh ansible_ssh_common_args='-F none -o UserKnownHostsFile={}'\n",
                harmed.server.port(),
                harmed.path("known_hosts").display()
            );
            fs::write(harmed.path("hosts"), inventory).unwrap();
            let play = "- hosts: all\n  gather_facts: false\n  tasks:\n    - command: echo hello\n";
            fs::write(harmed.path("play.yml"), play).unwrap();
            let ran = std::process::Command::new(env!("CARGO_BIN_EXE_seqn-play"))
                .args(["play.yml", "-i", "hosts", "--project", &project.0])
                .current_dir(harmed.dir.path())
                .env("HOME", harmed.dir.path())
                .output()
                .unwrap();
            let said =
                format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            assert_eq!(ran.status.code(), Some(code), "{said}");
            assert!(said.contains(words) && !said.contains("wr0ng"), "{said}");
        }
    }
}

#[test]
fn a_key_and_a_password() {
    let harmed = Harmed::with(|config| {
        config.password = Some("open sesame".into());
        config.needs_both = true;
    });
    let mut connection = harmed.connection(TransportKind::Native);
    connection.ssh_args.push("-oPreferredAuthentications=publickey,password".into());
    connection.password = Some("open sesame".into());
    works(&connection);
    connection.password = Some("wr0ng".into());
    refused(&connection, &["refused the login", "Permission denied"]);
}

/// A connected target on a runtime of its own, and what it may take.
fn connected(harmed: &Harmed, transport: TransportKind, run: impl AsyncFnOnce(&Target)) {
    within(60, async {
        let connections = Connections::new();
        let target = connections.target("host", &harmed.connection(transport)).await.unwrap();
        assert_eq!(sh(&target, "echo ready").await.stdout_text(), "ready\n");
        let began = Instant::now();
        run(&target).await;
        connections.close().await;
        assert!(began.elapsed() < Duration::from_secs(30), "{transport:?} took {:?}", began.elapsed());
    });
}

#[test]
fn a_host_that_goes_silent() {
    for transport in transports() {
        // While a command runs.
        let harmed = Harmed::new();
        connected(&harmed, transport, async |target| {
            let command = Effect::Run(Command::shell("sleep 2; echo never"));
            let freeze = async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                harmed.server.faults().freeze();
            };
            let (result, ()) = tokio::join!(target.apply(&command), freeze);
            let error = result.unwrap_err();
            assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
            assert!(error.message.contains("the connection was lost"), "{error}");
            // Nor does the next one hang.
            assert!(target.probe(Command::argv(["true"])).await.is_err());
        });
        // While much is on its way there.
        let harmed = Harmed::new();
        let large = vec![b'x'; 64 << 20];
        connected(&harmed, transport, async |target| {
            let effect = write(&harmed.path("to"), bytes(&large));
            let freeze = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                harmed.server.faults().freeze();
            };
            let (result, ()) = tokio::join!(target.apply(&effect), freeze);
            assert_eq!(result.unwrap_err().kind, RemoteErrorKind::Unreachable);
        });
        // Before the login.
        let harmed = Harmed::new();
        harmed.server.faults().freeze();
        refused(&harmed.connection(transport), &["no answer within"]);
    }
}

#[test]
fn a_connection_that_is_cut() {
    for transport in transports() {
        let harmed = Harmed::new();
        let faults = harmed.server.faults();
        let large = vec![b'x'; 8 << 20];
        fs::write(harmed.path("from"), &large).unwrap();
        connected(&harmed, transport, async |target| {
            // A part must not look like the whole.
            faults.cut_after_sent(3_000_000);
            let mut part = Vec::new();
            let mut stream = target.download(harmed.path("from").to_str().unwrap()).await.unwrap();
            let error = stream.read_to_end(&mut part).await.unwrap_err();
            assert!(part.len() < large.len(), "{error}");
        });
        connected(&harmed, transport, async |target| {
            faults.cut_after_sent(3_000_000);
            let to = harmed.path("fetched");
            let from = harmed.path("from").display().to_string();
            let error = target.apply(&Effect::Fetch { from, to: to.clone() }).await.unwrap_err();
            assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
            assert!(!to.exists());
        });
        fs::write(harmed.path("to"), "old").unwrap();
        connected(&harmed, transport, async |target| {
            faults.cut_after_received(3_000_000);
            let error = target.apply(&write(&harmed.path("to"), bytes(&large))).await.unwrap_err();
            assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
            assert!(error.message.contains("on the host is as it was"), "{error}");
        });
        assert_eq!(fs::read_to_string(harmed.path("to")).unwrap(), "old");
        // The part that came is taken away by the host itself.
        let end = Instant::now() + Duration::from_secs(5);
        let left = || {
            fs::read_dir(harmed.dir.path())
                .unwrap()
                .flatten()
                .any(|e| e.file_name().to_string_lossy().starts_with(".seqn"))
        };
        while left() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!left(), "a part of the upload is left");
        connected(&harmed, transport, async |target| {
            let cut = async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                faults.cut_now();
            };
            let command = Effect::Run(Command::shell("sleep 1; echo never"));
            let (result, ()) = tokio::join!(target.apply(&command), cut);
            let error = result.unwrap_err();
            assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
            assert!(error.help.unwrap_or_default().contains("is not known; look there"));
        });
    }
}

#[test]
fn a_shell_that_talks_first() {
    for transport in transports() {
        let harmed = Harmed::new();
        harmed.server.faults().noise_before_shell("Welcome! Password: \nuptime 3 days\n");
        connected(&harmed, transport, async |target| {
            assert_eq!(sh(target, "echo ok").await.stdout_text(), "ok\n");
            let path = harmed.path("file");
            let large = vec![0; 200_000];
            target.apply(&write(&path, bytes(&large))).await.unwrap();
            assert_eq!(fs::read(&path).unwrap(), large);
            let mut read = Vec::new();
            target.download(path.to_str().unwrap()).await.unwrap().read_to_end(&mut read).await.unwrap();
            assert_eq!(read, large);
        });
        harmed.server.faults().noise_before_shell("endless ".repeat(100_000));
        refused(&harmed.connection(transport), &["no shell could be started", "it said: endless"]);
    }
}

#[test]
fn an_account_without_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let nologin = dir.path().join("nologin");
    fs::write(&nologin, "#!/bin/sh\necho This account is currently not available.\nexit 1\n").unwrap();
    fs::set_permissions(&nologin, fs::Permissions::from_mode(0o755)).unwrap();
    let harmed = Harmed::with(|config| config.login_shell = nologin.clone());
    for transport in transports() {
        refused(&harmed.connection(transport), &["This account is currently not available."]);
    }
}

#[test]
fn other_login_shells() {
    for shell in ["fish", "csh", "tcsh", "zsh"] {
        let Some(program) = find(shell) else { continue };
        let harmed = Harmed::with(|config| config.login_shell = program);
        for transport in transports() {
            works(&harmed.connection(transport));
        }
    }
}

#[test]
fn a_host_that_allows_few_sessions() {
    for transport in transports() {
        let harmed = Harmed::new();
        fs::write(harmed.path("file"), "content").unwrap();
        harmed.server.faults().refuse_sessions_over(1);
        connected(&harmed, transport, async |target| {
            let error = target.download(harmed.path("file").to_str().unwrap()).await.err().unwrap();
            assert!(error.message.contains("no channel to ops@127.0.0.1"), "{error}");
            assert_eq!(sh(target, "echo ok").await.stdout_text(), "ok\n");
        });
    }
}

/// A file system of its own, gone with this value.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &str) -> Option<Mount> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = is_root().then(|| {
            let mut mount = std::process::Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path());
            mount.output().is_ok_and(|o| o.status.success())
        });
        if mounted != Some(true) {
            skip("a file system can't be mounted here");
            return None;
        }
        Some(Mount(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}

#[test]
fn a_place_for_temporary_files_that_runs_nothing() {
    let Some(mount) = Mount::new("noexec,size=4m") else { return };
    let harmed = Harmed::with(|config| {
        config.environment.push(("TMPDIR".into(), mount.0.path().display().to_string()));
        config.home = mount.0.path().into();
    });
    for transport in transports() {
        connected(&harmed, transport, async |target| {
            assert_eq!(sh(target, "echo ok").await.stdout_text(), "ok\n");
            let path = mount.0.path().join("file");
            target.apply(&write(&path, bytes(&[1; 200_000]))).await.unwrap();
            let script = Command::shell(seqn_play::source::Text::secret("echo secretly"));
            let said = target.apply(&Effect::Run(script)).await.unwrap();
            assert_eq!(said.stdout_text(), "secretly\n");
        });
    }
}

#[test]
fn a_full_disk() {
    let Some(mount) = Mount::new("size=256k") else { return };
    let harmed = Harmed::new();
    let path = mount.0.path().join("file");
    for transport in transports() {
        fs::write(&path, "old").unwrap();
        connected(&harmed, transport, async |target| {
            // In one piece with the script, and on a channel of its own.
            fs::write(mount.0.path().join("filler"), vec![0; 240 << 10]).unwrap();
            for size in [40_000, 8_000_000] {
                let error = target.apply(&write(&path, bytes(&vec![1; size]))).await.unwrap_err();
                assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
                assert!(error.message.contains("No space left on device"), "{size}: {error}");
                assert_eq!(fs::read_to_string(&path).unwrap(), "old");
            }
            fs::remove_file(mount.0.path().join("filler")).unwrap();
            let names: Vec<_> =
                fs::read_dir(mount.0.path()).unwrap().flatten().map(|e| e.file_name()).collect();
            assert_eq!(names, ["file"], "no part is left");
            target.apply(&write(&path, Content::Text("new".into()))).await.unwrap();
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }
}

/// Whatever stands between ssh and the host.
#[test]
fn a_proxy_that_hangs() {
    if find("ssh").is_none() {
        return skip("there is no ssh on this machine");
    }
    let mut connection = Harmed::new().connection(TransportKind::Ssh);
    connection.timeout = Duration::from_secs(1);
    connection.ssh_args.extend(["-o", "ProxyCommand=sleep 33"].map(String::from));
    let began = Instant::now();
    refused(&connection, &["no answer within"]);
    assert!(began.elapsed() < Duration::from_secs(30));
}
