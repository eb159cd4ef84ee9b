//! Effects that outlive who began them: found, waited for and understood by who comes after.

use std::io::Write;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use seqn_play::remote::{
    Command, Connection, Connections, Effect, EffectId, EffectState, RemoteErrorKind, TransportKind,
};

use crate::fixture::{SHELLS, Sshd, connection, find, here, me, skip, within};
use crate::lock::{Project, effect};

/// It has begun once `begun` is there, and ends when `go` is.
fn long(dir: &Path) -> Effect {
    let dir = dir.display();
    Effect::Run(Command::shell(format!(
        "touch {dir}/begun; n=0; while [ ! -e {dir}/go ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; \
         echo said; exit 6"
    )))
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same run comes back over a connection of its own, and asks.
fn comes_back(connection: &Connection, project: &Project, dir: &Path, id: &EffectId) {
    within(60, async {
        let connections = Connections::new();
        let mut request = project.request("one");
        request.break_dead = true;
        request.wait = Some(Duration::from_secs(20));
        let lock = connections.lock("host", connection, &request, |_| {}).await.unwrap();
        assert_eq!(lock.broke().map(|by| by.holder.run.as_str()), Some("one"));
        assert!(matches!(lock.effect(id).await.unwrap(), EffectState::Running(_)));
        let state = lock.wait_for(id, Duration::from_millis(500)).await.unwrap();
        assert!(matches!(state, EffectState::Running(_)), "{state:?}");
        std::fs::write(dir.join("go"), "").unwrap();
        let state = lock.wait_for(id, Duration::from_secs(20)).await.unwrap();
        assert_eq!(state, EffectState::Ended { status: 6 });
        lock.release().await.unwrap();
        connections.close().await;
    });
}

/// The process that began it is killed, whatever the transport and the shell.
#[test]
fn the_process_is_killed() {
    if let Ok(dir) = std::env::var("DIR_OF_THIS_TEST") {
        return begin(Path::new(&dir));
    }
    for sh in SHELLS {
        let Some(sshd) = Sshd::start(sh) else { continue };
        for kind in ["local", "native", "ssh"] {
            if kind == "ssh" && find("ssh").is_none() {
                skip("there is no ssh on this machine");
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let project = Project::new();
            let path = format!("{}:{}", sh.folder(sshd.dir.path()).unwrap().display(), "/usr/bin:/bin");
            let mut child = Process::new(std::env::current_exe().unwrap())
                .args(["--exact", "cut_off::the_process_is_killed", "--nocapture", "--test-threads=1"])
                .env("DIR_OF_THIS_TEST", dir.path())
                .env("PROJECT", &project.0)
                .env("KIND", kind)
                .env("PORT", sshd.port.to_string())
                .env("KEYS", sshd.dir.path())
                .env("PATH", path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            wait_until("it begins", || dir.path().join("begun").exists());
            child.kill().unwrap();
            child.wait().unwrap();
            writeln!(std::io::stderr(), "{} over {kind}", sh.name()).ok();
            let connection = match kind {
                "local" => here(),
                _ => sshd.connection(TransportKind::Native),
            };
            comes_back(&connection, &project, dir.path(), &effect("one", "long"));
        }
    }
}

fn begin(dir: &Path) {
    let set = |name: &str| std::env::var(name).unwrap();
    let over =
        |transport| connection(transport, set("PORT").parse().unwrap(), &me(), Path::new(&set("KEYS")));
    let connection = match set("KIND").as_str() {
        "local" => here(),
        "ssh" => over(TransportKind::Ssh),
        _ => over(TransportKind::Native),
    };
    within(100, async {
        let connections = Connections::new();
        let holder = seqn_play::remote::Holder {
            run: "one".into(),
            who: "Ada".into(),
            from: "laptop".into(),
            program: format!("{:?}", std::time::Instant::now()),
        };
        let mut request = seqn_play::remote::LockRequest::new(set("PROJECT"), holder);
        request.lease = Duration::from_secs(3);
        let _lock = connections.lock("host", &connection, &request, |_| {}).await.unwrap();
        let target = connections.target("host", &connection).await.unwrap();
        target.apply_as(&long(dir), &effect("one", "long")).await.unwrap();
    });
}

/// Only the connection is: who began it learns that its lock is lost.
#[test]
fn the_connection_is_cut() {
    for sh in SHELLS {
        let Some(sshd) = Sshd::start(sh) else { continue };
        for transport in [TransportKind::Native, TransportKind::Ssh] {
            if transport == TransportKind::Ssh && find("ssh").is_none() {
                skip("there is no ssh on this machine");
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let project = Project::new();
            let connection = sshd.connection(transport);
            within(60, async {
                let connections = Connections::new();
                let mut request = project.request("one");
                request.lease = Duration::from_secs(6);
                let lock = connections.lock("host", &connection, &request, |_| {}).await.unwrap();
                let target = connections.target("host", &connection).await.unwrap();
                let run = long(dir.path());
                let id = effect("one", "long");
                let cut = async {
                    while !dir.path().join("begun").exists() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    cut(&sshd, transport);
                };
                let (applied, ()) = tokio::join!(target.apply_as(&run, &id), cut);
                assert_eq!(applied.unwrap_err().kind, RemoteErrorKind::Unreachable);
                // Who renews it connects again, so it outlives the connection, and so does the effect.
                tokio::time::sleep(Duration::from_secs(8)).await;
                assert!(!lock.is_lost());
                let state = lock.effect(&id).await.unwrap();
                assert!(matches!(state, EffectState::Running(_)), "{state:?}");
                drop(lock);
                let error = target.apply_as(&run, &effect("one", "next")).await.unwrap_err();
                assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
                connections.close().await;
            });
            comes_back(&connection, &project, dir.path(), &effect("one", "long"));
        }
    }
}

/// Kills the master of `ssh`, or sshd's process of the connection.
fn cut(sshd: &Sshd, transport: TransportKind) {
    let mut found = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let ours = match transport {
            TransportKind::Ssh => {
                line.starts_with("ssh\0-M") && line.contains(&format!("Port={}", sshd.port))
            }
            _ => line.starts_with("sshd: ") && parent(pid) == Some(sshd.pid()),
        };
        if ours {
            // SAFETY: a process of this test.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            found += 1;
        }
    }
    assert_eq!(found, 1);
}

fn parent(pid: i32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
