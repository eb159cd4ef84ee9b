//! The lock on a host: who has it, who is refused, what is left beside it.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use seqn_play::remote::{
    Command, Connection, Connections, Content, Dead, Effect, EffectId, EffectState, Holder, HostLock,
    LockRefused, LockRequest, RemoteErrorKind, Target, TransportKind,
};

use crate::fixture::{SHELLS, Sshd, find, here, in_a_process, is_root, me, skip, within};
use crate::suite::{bytes, running, write};

/// A project of one test, gone with this value.
pub struct Project(pub String);

impl Project {
    pub fn new() -> Project {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = Path::new("/var/tmp/seqn-play");
        if std::fs::create_dir(base).is_ok() {
            std::fs::set_permissions(base, std::fs::Permissions::from_mode(0o1777)).unwrap();
        }
        Project(format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn dir(&self) -> PathBuf {
        PathBuf::from("/var/tmp/seqn-play").join(&self.0)
    }

    pub fn request(&self, run: &str) -> LockRequest {
        LockRequest::new(&self.0, Holder { run: run.into(), who: "Ada".into(), from: "laptop".into() })
    }

    /// The file of the lock that counts.
    fn lock(&self) -> PathBuf {
        let number = |path: &PathBuf| path.extension()?.to_str()?.parse::<u32>().ok();
        let files = std::fs::read_dir(self.dir()).unwrap().flatten().map(|e| e.path());
        files.filter(|f| number(f).is_some()).max_by_key(number).unwrap()
    }

    /// As if nobody had renewed it for a day.
    fn expire(&self) {
        crate::fixture::run("touch", &["-m", "-d", "@1", self.lock().to_str().unwrap()]);
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        std::fs::remove_dir_all(self.dir()).ok();
    }
}

pub fn effect(run: &str, name: &str) -> EffectId {
    EffectId { run: run.into(), effect: name.into(), user: None }
}

async fn lock(
    connections: &Connections,
    connection: &Connection,
    request: &LockRequest,
) -> Result<HostLock, LockRefused> {
    connections.lock("host", connection, request, |_| {}).await
}

fn by(refused: LockRefused) -> seqn_play::remote::HeldBy {
    match refused {
        LockRefused::Held(by) => *by,
        other => panic!("{other}"),
    }
}

fn sh(script: &str) -> Effect {
    Effect::Run(Command::shell(script))
}

/// Waits until it runs.
async fn begun(held: &HostLock, id: &EffectId) -> seqn_play::remote::Running {
    let began = Instant::now();
    loop {
        match held.effect(id).await.unwrap() {
            EffectState::Running(running) => return running,
            other => assert!(began.elapsed() < Duration::from_secs(20), "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that a lock must do, whatever the shell and the transport.
async fn all(connection: &Connection) {
    tokio::join!(
        one_holder(connection),
        a_dead_lock_is_taken_over(connection),
        files_are_the_login_users_alone(connection),
        effects_are_noted(connection),
        effects_are_ended(connection),
        what_nobody_can_know_has_vanished(connection),
        what_another_run_left_running_is_in_the_way(connection),
    );
}

async fn one_holder(connection: &Connection) {
    let project = Project::new();
    let (one, other) = (Connections::new(), Connections::new());
    let mut short = project.request("one");
    short.lease = Duration::from_secs(3);
    let held = lock(&one, connection, &short).await.unwrap();
    assert!(!held.is_lost() && held.broke().is_none());
    // Longer than its lease: it is renewed.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut request = project.request("two");
    request.break_dead = true;
    let refused = lock(&other, connection, &request).await.unwrap_err();
    let text = refused.to_string();
    let seen = by(refused);
    assert_eq!(seen.holder, project.request("one").holder);
    assert_eq!((seen.dead, seen.lease_seconds, seen.user.as_str()), (None, 3, me().as_str()));
    assert!(seen.renewed_seconds_ago <= 2, "{}", seen.renewed_seconds_ago);
    let age = chrono::Utc::now().timestamp() - seen.since;
    assert!((5..60).contains(&age), "{age}");
    assert!(text.starts_with("run one of Ada from laptop has the lock since 20"), "{text}");
    assert!(!held.is_lost());
    // Waiting is told once, is bounded, and ends when the lock is given back.
    let mut told = Vec::new();
    request.wait = Some(Duration::from_secs(1));
    let began = Instant::now();
    let waited = other.lock("host", connection, &request, |why| told.push(why.to_string())).await;
    assert!(by(waited.unwrap_err()).dead.is_none() && began.elapsed() >= Duration::from_secs(1));
    assert_eq!(told.len(), 1);
    request.wait = Some(Duration::from_secs(20));
    let give_back = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        held.release().await.unwrap();
    };
    let (waited, ()) = tokio::join!(lock(&other, connection, &request), give_back);
    let held = waited.unwrap();
    assert!(held.broke().is_none());
    held.release().await.unwrap();
    for n in 0..12 {
        lock(&one, connection, &project.request(&n.to_string())).await.unwrap().release().await.unwrap();
    }
    // Old locks don't pile up, nor what they were prepared in.
    let left = std::fs::read_dir(project.dir()).unwrap().count();
    assert!(left <= 10, "{left}");
    one.close().await;
    other.close().await;
}

async fn a_dead_lock_is_taken_over(connection: &Connection) {
    let project = Project::new();
    let (one, other) = (Connections::new(), Connections::new());
    let target = one.target("host", connection).await.unwrap();
    for (dead, why) in [(Dead::LeaseExpired, "its lease of 15 s"), (Dead::HostRestarted, "was restarted")] {
        // Long enough for what is between two renewals.
        let mut request = project.request("one");
        request.lease = Duration::from_secs(15);
        let held = lock(&one, connection, &request).await.unwrap();
        match dead {
            Dead::LeaseExpired => project.expire(),
            Dead::HostRestarted => {
                let text = std::fs::read_to_string(project.lock()).unwrap();
                let (first, rest) = text.split_once('\n').unwrap();
                let mut words: Vec<&str> = first.split(' ').collect();
                words[2] = "00000000-0000-0000-0000-000000000000";
                std::fs::write(project.lock(), format!("{}\n{rest}", words.join(" "))).unwrap();
            }
        }
        let mut request = project.request("two");
        let refused = lock(&other, connection, &request).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
        assert_eq!(by(refused).dead, Some(dead));
        request.break_dead = true;
        // Of many at once one wins.
        let many: Vec<Connections> = (0..4).map(|_| Connections::new()).collect();
        let all = many.iter().map(|connections| lock(connections, connection, &request));
        let (won, refused): (Vec<_>, Vec<_>) =
            futures::future::join_all(all).await.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), refused.len()), (1, 3));
        let new = won.into_iter().next().unwrap().unwrap();
        assert_eq!(new.broke().map(|by| (&*by.holder.run, by.dead)), Some(("one", Some(dead))));
        // Who had it doesn't know yet; the host does.
        let name = format!("late {why}");
        let error = target.apply_as(&sh("echo never"), &effect("one", &name)).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
        assert!(error.message.contains("taken over by another"), "{error}");
        assert_eq!(new.effect(&effect("one", &name)).await.unwrap(), EffectState::NeverBegan);
        let path = project.dir().join("late");
        let error = target.apply_as(&write(&path, bytes(b"x")), &effect("one", "file")).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
        assert!(!path.exists());
        assert!(held.append("file", b"late").await.is_err());
        let began = Instant::now();
        while !held.is_lost() && began.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(held.is_lost());
        let error = target.apply_as(&sh("echo never"), &effect("one", "later")).await.unwrap_err();
        assert!(error.message.contains("no longer ours"), "{error}");
        assert!(!new.is_lost());
        held.release().await.unwrap();
        assert!(lock(&one, connection, &project.request("three")).await.is_err());
        new.release().await.unwrap();
        for connections in many {
            connections.close().await;
        }
    }
    // What a crash of the host left of a lock, and what isn't one.
    std::fs::write(project.lock().with_extension("900"), "").unwrap();
    let refused = lock(&other, connection, &project.request("two")).await.unwrap_err();
    assert!(refused.to_string().contains("lock.900 is not a lock of this program"), "{refused}");
    one.close().await;
    other.close().await;
}

async fn files_are_the_login_users_alone(connection: &Connection) {
    let project = Project::new();
    let connections = Connections::new();
    let held = lock(&connections, connection, &project.request("one")).await.unwrap();
    assert_eq!(held.list().await.unwrap(), Vec::<String>::new());
    assert_eq!(held.read("one.journal").await.unwrap(), None);
    let every: Vec<u8> = (0..=255).filter(|b| *b != b'\n').collect();
    let large = vec![b'x'; 1 << 20];
    for line in [&every[..], b"", &large, b"last"] {
        held.append("one.journal", line).await.unwrap();
    }
    let whole = [&every[..], b"\n\n", &large, b"\nlast\n"].concat();
    assert!(held.read("one.journal").await.unwrap() == Some(whole));
    held.append("two", b"2").await.unwrap();
    assert_eq!(held.list().await.unwrap(), ["one.journal", "two"]);
    let uid = crate::fixture::run("id", &["-u"]);
    let dir = project.dir().join(format!("runs-{}", uid.trim()));
    let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&dir), mode(&dir.join("two"))), (0o700, 0o600));
    assert_eq!((mode(&project.dir()), mode(&project.dir().join("effects"))), (0o1777, 0o1777));
    // A line that came in part stays a line.
    std::fs::write(dir.join("two"), "torn").unwrap();
    held.append("two", b"next").await.unwrap();
    assert_eq!(held.read("two").await.unwrap().unwrap(), b"torn\nnext\n");
    held.remove("two").await.unwrap();
    held.remove("two").await.unwrap();
    for name in ["", "..", "a/b", "-rf", "$(id)", "a b"] {
        assert!(held.append(name, b"x").await.is_err(), "{name:?}");
    }
    held.release().await.unwrap();
    // Without a lock they can be read.
    let files = connections.files("host", connection, &project.0).await.unwrap();
    assert_eq!(files.list().await.unwrap(), ["one.journal"]);
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(files.list().await.unwrap_err().message.contains("is not a folder of yours with mode 0700"));
    connections.close().await;
}

async fn effects_are_noted(connection: &Connection) {
    let project = Project::new();
    let connections = Connections::new();
    let target = connections.target("host", connection).await.unwrap();
    let id = |name: &str| effect("one", name);
    // Without a lock nothing is.
    assert_eq!(target.apply_as(&sh("exit 4"), &id("before")).await.unwrap().status, 4);
    let held = lock(&connections, connection, &project.request("one")).await.unwrap();
    assert_eq!(held.effect(&id("before")).await.unwrap(), EffectState::NeverBegan);
    let trips = async || connections.traffic().await["host"].round_trips;
    let before = trips().await;
    let mut command =
        Command::shell("cat; printf '%s' \"$A\" >&2; pwd; umask; exit 7").stdin("in\n").chdir("/usr");
    command.env.push(("A".into(), "it's".into()));
    command.env.push(("PATH".into(), "/usr/bin:/bin".into()));
    command.umask = Some("077".into());
    for (name, timeout) in [("run", None), ("limited", Some(Duration::from_secs(60)))] {
        command.timeout = timeout;
        let said = target.apply_as(&Effect::Run(command.clone()), &id(name)).await.unwrap();
        let out = said.stdout_text().replace("0077", "077");
        assert_eq!((said.status, &*out, &*said.stderr_text()), (7, "in\n/usr\n077\n", "it's"));
        assert_eq!(held.effect(&id(name)).await.unwrap(), EffectState::Ended { status: 7 });
    }
    // Nothing but a path of its own to find programs with, and no input.
    let mut alone = Command::shell("cat; echo out");
    alone.env.push(("PATH".into(), "/nowhere".into()));
    let said = target.apply_as(&Effect::Run(alone), &id("alone")).await.unwrap();
    assert_eq!((said.status, said.stdout_text()), (0, "out\n".into()), "{}", said.stderr_text());
    let secret = seqn_play::source::Text::secret("echo $((6 * 7)); cat");
    let command = Command::shell(secret).stdin(seqn_play::source::Text::secret("hidden"));
    let said = target.apply_as(&Effect::Run(command), &id("secret")).await.unwrap();
    assert_eq!(said.stdout_text(), "42\nhidden");
    let said = target.apply_as(&sh("kill -9 $$"), &id("killed")).await.unwrap();
    assert_eq!(said.status, 137);
    assert_eq!(held.effect(&id("killed")).await.unwrap(), EffectState::Ended { status: 137 });
    assert_eq!(trips().await - before, 5);
    // A child that is left behind isn't waited for.
    let began = Instant::now();
    let said = target.apply_as(&sh("(sleep 3; echo late) & echo first"), &id("child")).await.unwrap();
    assert_eq!(said.stdout_text(), "first\n");
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(held.effect(&id("child")).await.unwrap(), EffectState::Ended { status: 0 });
    // Files.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for (name, content) in [("small", &b"hidden"[..]), ("large", &[b'x'; 100_000])] {
        let done = target.apply_as(&write(&path, bytes(content)), &id(name)).await.unwrap();
        assert_eq!(done.stat.map(|s| s.size), Some(content.len() as u64));
        assert!(std::fs::read(&path).unwrap() == content);
        assert_eq!(held.effect(&id(name)).await.unwrap(), EffectState::Ended { status: 0 });
    }
    let nowhere = dir.path().join("nowhere/file");
    let effect = write(&nowhere, Content::Text("x".into()));
    let error = target.apply_as(&effect, &id("bad")).await.unwrap_err();
    assert!(error.message.contains("does not exist"), "{error}");
    assert_eq!(held.effect(&id("bad")).await.unwrap(), EffectState::Ended { status: 1 });
    // An id is an effect.
    let error = target.apply_as(&sh(&format!("rm {}", path.display())), &id("run")).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
    assert!(error.message.contains("applied before") && path.exists(), "{error}");
    assert_eq!(held.effect(&id("run")).await.unwrap(), EffectState::Ended { status: 7 });
    // Only names of folders are there, and nothing of what was done.
    for entry in std::fs::read_dir(project.dir().join("effects/one")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(entry.file_type().unwrap().is_dir(), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_hexdigit() || ".-began".contains(c)), "{name}");
    }
    held.forget_effects().await.unwrap();
    assert_eq!(std::fs::read_dir(project.dir().join("effects/one")).unwrap().count(), 0);
    assert_eq!(held.effect(&id("run")).await.unwrap(), EffectState::NeverBegan);
    held.release().await.unwrap();
    assert_eq!(target.apply_as(&sh("exit 5"), &id("run")).await.unwrap().status, 5);
    connections.close().await;
}

async fn effects_are_ended(connection: &Connection) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = u64::from(std::process::id()) * 100 + u64::from(NEXT.fetch_add(1, Ordering::Relaxed));
    let project = Project::new();
    let connections = Connections::new();
    let target = connections.target("host", connection).await.unwrap();
    let held = lock(&connections, connection, &project.request("one")).await.unwrap();
    let id = effect("one", "long");
    // The second one doesn't hear TERM.
    for (n, trap) in [(0, ""), (1, "trap '' TERM; ")] {
        let id = EffectId { effect: format!("{}{n}", id.effect), ..id.clone() };
        let script = format!("{trap}sleep 97.{own} & sleep 97.{own}; sleep 97.{own}");
        let effect = sh(&script);
        let applied = target.apply_as(&effect, &id);
        let end = async {
            let seen = begun(&held, &id).await;
            // All of it.
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(seen.run == "one" && seen.user == me() && seen.group == Some(seen.pid), "{seen:?}");
            let waited = held.wait_for(&id, Duration::from_secs(1)).await.unwrap();
            assert_eq!(waited, EffectState::Running(seen));
            held.end(&id, None).await.unwrap()
        };
        let (said, state) = tokio::join!(applied, end);
        assert!([143, 137].contains(&said.unwrap().status));
        // Its status may be noted a moment later.
        assert!(
            matches!(state, EffectState::Ended { status: 143 | 137 } | EffectState::Vanished),
            "{state:?}"
        );
        let state = held.effect(&id).await.unwrap();
        assert!(matches!(state, EffectState::Ended { status: 143 | 137 }), "{state:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!running(&format!("97.{own}")));
    }
    held.release().await.unwrap();
    connections.close().await;
}

async fn what_nobody_can_know_has_vanished(connection: &Connection) {
    let project = Project::new();
    let connections = Connections::new();
    let target = connections.target("host", connection).await.unwrap();
    let held = lock(&connections, connection, &project.request("one")).await.unwrap();
    let marks = || {
        let all = std::fs::read_dir(project.dir().join("effects/one")).unwrap().flatten().map(|e| e.path());
        all.map(|path| (path.file_name().unwrap().to_str().unwrap().to_string(), path)).collect::<Vec<_>>()
    };
    let id = effect("one", "x");
    let effect = sh("sleep 4");
    let applied = target.apply_as(&effect, &id);
    let look = async {
        begun(&held, &id).await;
        let (name, path) = marks().pop().unwrap();
        let (before, boot) = name.rsplit_once('.').unwrap();
        let parts: Vec<&str> = before.split('.').collect();
        let other = |name: String| path.with_file_name(name);
        // Another start of the host; another process of that number; none at all.
        let started = format!("{}.1.{boot}", parts[..5].join("."));
        let gone = format!("{}.4190000.4190000.1.{boot}", parts[..3].join("."));
        let rebooted = format!("{before}.00000000-0000-0000-0000-000000000000");
        assert!(matches!(held.effect(&id).await.unwrap(), EffectState::Running(_)));
        for name in [rebooted, started, gone] {
            std::fs::rename(&path, other(name.clone())).unwrap();
            assert_eq!(held.effect(&id).await.unwrap(), EffectState::Vanished, "{name}");
            std::fs::rename(other(name), &path).unwrap();
        }
        assert!(matches!(held.effect(&id).await.unwrap(), EffectState::Running(_)));
    };
    let (said, ()) = tokio::join!(applied, look);
    assert_eq!(said.unwrap().status, 0);
    assert_eq!(held.effect(&id).await.unwrap(), EffectState::Ended { status: 0 });
    held.release().await.unwrap();
    connections.close().await;
}

async fn what_another_run_left_running_is_in_the_way(connection: &Connection) {
    let project = Project::new();
    let (one, other) = (Connections::new(), Connections::new());
    let target = one.target("host", connection).await.unwrap();
    for end in [false, true] {
        let held = lock(&one, connection, &project.request("one")).await.unwrap();
        let id = effect("one", if end { "ended" } else { "waited for" });
        let run = sh(if end { "sleep 60" } else { "sleep 5" });
        let applied = target.apply_as(&run, &id);
        let take = async {
            begun(&held, &id).await;
            project.expire();
            let mut request = LockRequest { break_dead: true, ..project.request("two") };
            if !end {
                let refused = lock(&other, connection, &request).await.unwrap_err();
                assert!(refused.to_string().contains(" of run one as "), "{refused}");
                let LockRefused::StillRunning(running) = refused else { panic!("{refused}") };
                assert_eq!(running.len(), 1);
                request.wait = Some(Duration::from_secs(20));
            }
            request.end_effects = end;
            let mut told = Vec::new();
            let new =
                other.lock("host", connection, &request, |why| told.push(why.to_string())).await.unwrap();
            assert_eq!(told.len(), usize::from(!end));
            let state = new.wait_for(&id, Duration::ZERO).await.unwrap();
            let expected = if end { 143 } else { 0 };
            assert_eq!(state, EffectState::Ended { status: expected });
            // Its own run goes on, and asks itself.
            new.release().await.unwrap();
        };
        let (said, ()) = tokio::join!(applied, take);
        assert_eq!(said.unwrap().success(), !end);
        drop(held);
    }
    the_same_run_goes_on(&one, connection, &project, &target).await;
    one.close().await;
    other.close().await;
}

/// The same run takes it although something of its own may still run.
async fn the_same_run_goes_on(
    one: &Connections,
    connection: &Connection,
    project: &Project,
    target: &Target,
) {
    let first = lock(one, connection, &project.request("one")).await.unwrap();
    let run = sh("sleep 3");
    let id = effect("one", "own");
    let again = async {
        begun(&first, &id).await;
        first.release().await.unwrap();
        let again = lock(one, connection, &project.request("one")).await.unwrap();
        assert!(matches!(again.effect(&id).await.unwrap(), EffectState::Running(_)));
        let state = again.wait_for(&id, Duration::from_secs(10)).await.unwrap();
        assert_eq!(state, EffectState::Ended { status: 0 });
        again.release().await.unwrap();
    };
    tokio::join!(async { target.apply_as(&run, &id).await.unwrap() }, again);
}

fn over_ssh(transport: TransportKind) {
    if transport == TransportKind::Ssh && find("ssh").is_none() {
        return skip("there is no ssh on this machine");
    }
    for sh in SHELLS {
        let Some(sshd) = Sshd::start(sh) else { continue };
        writeln!(std::io::stderr(), "{}", sh.name()).ok();
        within(240, all(&sshd.connection(transport)));
    }
}

#[test]
fn over_native() {
    over_ssh(TransportKind::Native);
}

#[test]
fn over_ssh_on_every_shell() {
    over_ssh(TransportKind::Ssh);
}

#[test]
fn here_on_every_shell() {
    if std::env::var("SH_OF_THIS_TEST").is_ok() {
        return within(240, all(&here()));
    }
    let dir = tempfile::tempdir().unwrap();
    for sh in SHELLS {
        match sh.path(dir.path()) {
            Some(path) => drop(in_a_process(
                "lock::here_on_every_shell",
                &[("PATH", &path), ("SH_OF_THIS_TEST", sh.name())],
            )),
            None => skip(&format!("there is no {} on this machine", sh.name())),
        }
    }
}

/// Nothing is used that somebody else could have planted.
#[test]
fn planted_folders_are_refused() {
    let refused = |project: &Project, words: &str| {
        within(60, async {
            let connections = Connections::new();
            let refused = lock(&connections, &here(), &project.request("one")).await.unwrap_err();
            let LockRefused::Failed(error) = refused else { panic!("{refused}") };
            assert!(error.message.contains(words), "{error}");
            assert!(error.help.as_ref().is_some_and(|help| help.contains("sudo")), "{error:?}");
        });
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let first = Project::new();
    within(20, async {
        let connections = Connections::new();
        lock(&connections, &here(), &first.request("one")).await.unwrap().release().await.unwrap();
    });
    let linked = Project::new();
    symlink(elsewhere.path(), linked.dir()).unwrap();
    refused(&linked, "is not a folder");
    std::fs::remove_file(linked.dir()).unwrap();
    std::fs::remove_dir_all(first.dir().join("effects")).unwrap();
    symlink(elsewhere.path(), first.dir().join("effects")).unwrap();
    refused(&first, "/effects is not a folder");
    std::fs::remove_file(first.dir().join("effects")).unwrap();
    symlink(elsewhere.path(), first.dir().join("lock.2")).unwrap();
    refused(&first, "lock.2 is not a lock of this program");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    if is_root() {
        let owned = Project::new();
        std::fs::create_dir(owned.dir()).unwrap();
        std::fs::set_permissions(owned.dir(), std::fs::Permissions::from_mode(0o1777)).unwrap();
        std::os::unix::fs::chown(owned.dir(), Some(12345), None).unwrap();
        refused(&owned, "who is neither root nor you nor an administrator");
    }
    let wrong = Project::new();
    std::fs::create_dir(wrong.dir()).unwrap();
    std::fs::set_permissions(wrong.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Our own, from a start that was cut.
    within(20, async {
        let connections = Connections::new();
        lock(&connections, &here(), &wrong.request("one")).await.unwrap().release().await.unwrap();
    });
}
