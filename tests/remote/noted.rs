//! What effects leave on a host under its lock, and what becomes of it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use seqn_play::remote::{
    Command, Connection, Connections, Content, Effect, EffectId, EffectState, HostLock, LockRefused,
    LockRequest, RemoteErrorKind, Running, Target,
};

use crate::fixture::me;
use crate::lock::{Project, effect, lock, sh};
use crate::suite::{Gate, bytes, comes_to_its_end, write};

pub async fn all(connection: &Connection) {
    tokio::join!(
        effects_are_noted(connection),
        effects_are_ended(connection),
        what_is_fenced_off_never_begins(connection),
        what_nobody_can_know_has_vanished(connection),
        what_another_run_left_running_is_in_the_way(connection),
    );
}

/// Waits until it runs.
async fn begun(held: &HostLock, id: &EffectId) -> Running {
    let began = Instant::now();
    loop {
        match held.effect(id).await.unwrap() {
            EffectState::Running(running) => return running,
            other => assert!(began.elapsed() < Duration::from_secs(20), "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
    // A child that is left behind isn't waited for: what it waits for comes later.
    let gate = Gate::new();
    let left = sh(&format!("({}; echo late) & echo first", gate.script()));
    let said = target.apply_as(&left, &id("child")).await.unwrap();
    assert_eq!(said.stdout_text(), "first\n");
    gate.open();
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
    // At the end for good there is no folder either, and the run can be begun anew.
    for _ in 0..2 {
        let held = lock(&connections, connection, &project.request("one")).await.unwrap();
        assert_eq!(target.apply_as(&sh("exit 6"), &id("again")).await.unwrap().status, 6);
        held.release_for_good().await.unwrap();
        assert_eq!(std::fs::read_dir(project.dir().join("effects")).unwrap().count(), 0);
    }
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
        comes_to_its_end(&format!("97.{own}")).await;
    }
    held.release().await.unwrap();
    connections.close().await;
}

async fn what_is_fenced_off_never_begins(connection: &Connection) {
    let project = Project::new();
    let connections = Connections::new();
    let target = connections.target("host", connection).await.unwrap();
    let held = lock(&connections, connection, &project.request("one")).await.unwrap();
    let file = project.dir().join("late");
    let id = effect("one", "late");
    for _ in 0..2 {
        held.fence(&id).await.unwrap();
    }
    let error = target.apply_as(&sh(&format!("echo >{}", file.display())), &id).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
    assert!(error.message.contains("too late") && !file.exists(), "{error}");
    assert_eq!(held.effect(&id).await.unwrap(), EffectState::NeverBegan);
    // What has begun goes on.
    let (id, gate) = (effect("one", "running"), Gate::new());
    let run = gate.wait();
    let fence = async {
        begun(&held, &id).await;
        held.fence(&id).await.unwrap();
        assert!(matches!(held.effect(&id).await.unwrap(), EffectState::Running(_)));
        gate.open();
    };
    let (said, ()) = tokio::join!(target.apply_as(&run, &id), fence);
    assert_eq!(said.unwrap().status, 0);
    assert_eq!(held.effect(&id).await.unwrap(), EffectState::Ended { status: 0 });
    held.forget_effects().await.unwrap();
    assert_eq!(std::fs::read_dir(project.dir().join("effects/one")).unwrap().count(), 0);
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
    let gate = Gate::new();
    let effect = gate.wait();
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
        gate.open();
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
        let gate = Gate::new();
        let run = gate.wait();
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
                request.wait = Some(Duration::from_secs(60));
            }
            request.end_effects = end;
            let mut told = Vec::new();
            let new = other.lock("host", connection, &request, |why| {
                told.push(why.to_string());
                gate.open();
            });
            let new = new.await.unwrap();
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
    let gate = Gate::new();
    let run = gate.wait();
    let id = effect("one", "own");
    let again = async {
        begun(&first, &id).await;
        first.release().await.unwrap();
        let again = lock(one, connection, &project.request("one")).await.unwrap();
        assert!(matches!(again.effect(&id).await.unwrap(), EffectState::Running(_)));
        gate.open();
        let state = again.wait_for(&id, Duration::from_secs(10)).await.unwrap();
        assert_eq!(state, EffectState::Ended { status: 0 });
        again.release().await.unwrap();
    };
    tokio::join!(async { target.apply_as(&run, &id).await.unwrap() }, again);
}
