//! The lock on a host: who has it, who is refused, what is left beside it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use seqn_play::remote::{
    Command, Connection, Connections, Dead, Effect, EffectId, EffectState, Holder, HostLock, LockRefused,
    LockRequest, RemoteErrorKind, TransportKind,
};

use crate::fixture::{self, here, is_root, me, on_every_shell, within};
use crate::suite::{bytes, write};

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
        LockRequest::new(
            &self.0,
            Holder {
                run: run.into(),
                who: "Ada".into(),
                from: "laptop".into(),
                program: format!("{:?}", std::time::Instant::now()),
            },
        )
    }

    /// The file of the lock that counts.
    fn lock(&self) -> PathBuf {
        let number = |path: &PathBuf| path.extension()?.to_str()?.parse::<u32>().ok();
        let files = std::fs::read_dir(self.dir()).unwrap().flatten().map(|e| e.path());
        files.filter(|f| number(f).is_some()).max_by_key(number).unwrap()
    }

    /// As if nobody had renewed it for a day.
    pub fn expire(&self) {
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

pub async fn lock(
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

pub fn sh(script: &str) -> Effect {
    Effect::Run(Command::shell(script))
}

/// Everything that a lock must do, whatever the shell and the transport.
async fn all(connection: &Connection) {
    tokio::join!(
        one_holder(connection),
        a_dead_lock_is_taken_over(connection),
        files_are_the_login_users_alone(connection),
        a_new_connection_keeps_it(connection),
        crate::noted::all(connection),
    );
}

async fn one_holder(connection: &Connection) {
    let project = Project::new();
    let (one, other) = (Connections::new(), Connections::new());
    let mut short = project.request("one");
    short.lease = Duration::from_secs(15);
    let held = lock(&one, connection, &short).await.unwrap();
    assert!(!held.is_lost() && held.broke().is_none());
    // Longer than its lease: it is renewed.
    tokio::time::sleep(Duration::from_secs(18)).await;
    let mut request = project.request("two");
    request.break_dead = true;
    let refused = lock(&other, connection, &request).await.unwrap_err();
    let text = refused.to_string();
    let seen = by(refused);
    let Holder { run, who, from, .. } = &seen.holder;
    assert_eq!([&**run, who, from], ["one", "Ada", "laptop"]);
    assert_eq!((seen.dead, seen.lease_seconds, seen.user.as_str()), (None, 15, me().as_str()));
    assert!(seen.renewed_seconds_ago <= 15, "{}", seen.renewed_seconds_ago);
    let age = chrono::Utc::now().timestamp() - seen.since;
    assert!((18..120).contains(&age), "{age}");
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
        // Who had it may not know yet; the host does.
        let name = format!("late {why}");
        let error = target.apply_as(&sh("echo never"), &effect("one", &name)).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
        let knows = held.is_lost() && error.message.contains("no longer ours");
        assert!(knows || error.message.contains("taken over by another"), "{error}");
        assert_eq!(new.effect(&effect("one", &name)).await.unwrap(), EffectState::NeverBegan);
        let path = project.dir().join("late");
        let error = target.apply_as(&write(&path, bytes(b"x")), &effect("one", "file")).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
        assert!(!path.exists());
        assert!(held.append("file", b"late").await.is_err());
        let began = Instant::now();
        while !held.is_lost() && began.elapsed() < Duration::from_secs(30) {
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

/// As `meta: reset_connection` makes one.
async fn a_new_connection_keeps_it(connection: &Connection) {
    let project = Project::new();
    let connections = Connections::new();
    let mut request = project.request("one");
    request.lease = Duration::from_secs(15);
    let held = lock(&connections, connection, &request).await.unwrap();
    let refused = lock(&connections, connection, &request).await.unwrap_err();
    assert!(refused.to_string().contains("has a lock on host already"), "{refused}");
    connections.reset("host").await;
    tokio::time::sleep(Duration::from_secs(18)).await;
    let target = connections.target("host", connection).await.unwrap();
    let said = target.apply_as(&sh("exit 3"), &effect("one", "after")).await.unwrap();
    assert!(!held.is_lost() && said.status == 3);
    assert_eq!(held.effect(&effect("one", "after")).await.unwrap(), EffectState::Ended { status: 3 });
    held.release().await.unwrap();
    connections.close().await;
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
    let uid = crate::fixture::run("id", &["-u"]);
    let dir = project.dir().join(format!("runs-{}", uid.trim()));
    // A line that came in part stays a line.
    std::fs::write(dir.join("two"), "torn").unwrap();
    for line in [&b"next"[..], b"last"] {
        held.append("two", line).await.unwrap();
    }
    assert_eq!(held.read("two").await.unwrap().unwrap(), b"torn\nnext\nlast\n");
    held.append("three", b"3").await.unwrap();
    held.append("two", b"2").await.unwrap();
    assert_eq!(held.read("two").await.unwrap().unwrap(), b"torn\nnext\nlast\n2\n");
    assert_eq!(held.list().await.unwrap(), ["one.journal", "three", "two"]);
    let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&dir), mode(&dir.join("three"))), (0o700, 0o600));
    assert_eq!((mode(&project.dir()), mode(&project.dir().join("effects"))), (0o1777, 0o1777));
    held.remove("three").await.unwrap();
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

fn over_ssh(transport: TransportKind) {
    on_every_shell(transport, |sshd, _| within(240, all(&sshd.connection(transport))));
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
    fixture::here_on_every_shell("lock::here_on_every_shell");
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
