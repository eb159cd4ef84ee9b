//! Becoming another user by the real sudo, su and doas, from users that exist for one test.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use seqn_play::remote::{
    Become, BecomeMethod, Command, Connection, Connections, Effect, EffectId, EffectState, LockRefused,
    RemoteError, RemoteErrorKind, TransportKind,
};
use seqn_play::source::Text;

use crate::fixture::{SHELLS, Sh, Sshd, connection, find, is_root, skip, within};
use crate::lock::{Project, effect};
use crate::suite;

const PASSWORD: &str = "right 'horse\" $1 \\battery";

/// They share the machine's user database and configuration files.
static MACHINE: Mutex<()> = Mutex::new(());

/// Two users with a password: `from` logs in, `to` is become.
struct Users {
    from: String,
    to: String,
    files: Vec<(String, Option<Vec<u8>>)>,
    _alone: MutexGuard<'static, ()>,
}

impl Users {
    /// Each name belongs to one test.
    fn new(needs: &str) -> Option<Users> {
        let alone = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !is_root() || find(needs).is_none() || find("useradd").is_none() {
            skip(&format!("{needs} and users for it can't be had here"));
            return None;
        }
        let id = std::process::id();
        let users =
            Users { from: format!("seqnf{id}"), to: format!("seqnt{id}"), files: Vec::new(), _alone: alone };
        for user in [&users.from, &users.to] {
            let made =
                Process::new(find("useradd").unwrap()).args(["-m", "-s", "/bin/sh", user]).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let mut set = Process::new(find("chpasswd").unwrap()).stdin(Stdio::piped()).spawn().unwrap();
            writeln!(set.stdin.take().unwrap(), "{user}:{PASSWORD}").unwrap();
            assert!(set.wait().unwrap().success());
        }
        Some(users)
    }

    /// A file of the machine as this test needs it; as it was afterwards.
    fn file(&mut self, path: &str, text: &str) {
        self.files.push((path.into(), std::fs::read(path).ok()));
        let beside = format!("{path}.seqn-test~");
        std::fs::write(&beside, text).unwrap();
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o440)).unwrap();
        std::fs::rename(&beside, path).unwrap();
    }

    fn sudoers(&mut self, text: &str) {
        let path = format!("/etc/sudoers.d/{}", self.from);
        self.file(&path, &text.replace("FROM", &self.from));
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        for (path, before) in self.files.iter().rev() {
            match before {
                Some(bytes) => std::fs::write(path, bytes).ok(),
                None => std::fs::remove_file(path).ok(),
            };
        }
        let end = Instant::now() + Duration::from_secs(5);
        for user in [&self.from, &self.to] {
            // A process of a session may need a moment to notice its end.
            while Instant::now() < end {
                let gone =
                    Process::new(find("userdel").unwrap()).args(["-r", user]).stderr(Stdio::null()).status();
                if gone.is_ok_and(|s| s.code() != Some(8)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            Process::new(find("userdel").unwrap())
                .args(["-f", "-r", user])
                .stderr(Stdio::null())
                .status()
                .ok();
        }
    }
}

fn login(sshd: &Sshd, users: &Users, transport: TransportKind) -> Connection {
    connection(transport, sshd.port, &users.from, sshd.dir.path())
}

fn by(method: BecomeMethod, user: &str, password: Option<&str>) -> Become {
    Become { method, user: user.into(), password: password.map(Text::secret), flags: None, exe: None }
}

/// Who one is after becoming.
fn become_(connection: &Connection, wanted: &Become) -> Result<String, RemoteError> {
    let connection = Connection { become_: Some(wanted.clone()), ..connection.clone() };
    within(90, async {
        let connections = Connections::new();
        let who = async {
            let target = connections.target("host", &connection).await?;
            let said = target.probe(Command::shell("id -un; echo err >&2")).await?;
            assert_eq!(said.stderr_text(), "err\n", "the streams are apart");
            Ok(said.stdout_text().trim().to_string())
        };
        let result = who.await;
        connections.close().await;
        result
    })
}

#[track_caller]
fn refused(connection: &Connection, wanted: &Become, words: &str) {
    let error = become_(connection, wanted).expect_err("nobody may be become");
    assert_eq!(error.kind, RemoteErrorKind::Become, "{error}");
    let whole = format!("{error}\n{}", error.help.clone().unwrap_or_default());
    assert!(whole.contains(words), "{words:?} is missing in: {whole}");
    assert!(!format!("{error:?}").contains("horse"), "{error:?}");
}

fn both() -> Vec<TransportKind> {
    let ssh = find("ssh").map(|_| TransportKind::Ssh);
    [TransportKind::Native].into_iter().chain(ssh).collect()
}

#[test]
fn sudo() {
    let Some(mut users) = Users::new("sudo") else { return };
    let to = users.to.clone();
    let right = by(BecomeMethod::Sudo, &to, Some(PASSWORD));
    for sh in SHELLS {
        // With the host's PATH, since sudo has one of its own.
        let keep = format!("Defaults:FROM !secure_path, timestamp_timeout=0\nFROM ALL=({to}) ALL\n");
        users.sudoers(&keep);
        let Some(sshd) = Sshd::start(sh) else { continue };
        let connection = login(&sshd, &users, TransportKind::Native);
        assert_eq!(become_(&connection, &right).map_err(|e| e.message), Ok(to.clone()), "{sh:?}");
    }
    let Some(sshd) = Sshd::start(Sh::Dash) else { return };
    for transport in both() {
        let connection = login(&sshd, &users, transport);
        users.sudoers(&format!("Defaults:FROM timestamp_timeout=0\nFROM ALL=({to}) ALL\n"));
        assert_eq!(become_(&connection, &right).map_err(|e| e.message), Ok(to.clone()));
        refused(&connection, &by(BecomeMethod::Sudo, &to, Some("wr0ng")), "the password is wrong");
        refused(&connection, &by(BecomeMethod::Sudo, &to, None), "none was given");
        refused(&connection, &by(BecomeMethod::Sudo, "root", Some(PASSWORD)), "not allowed");
        refused(&connection, &by(BecomeMethod::Sudo, "no'body $(id)", Some(PASSWORD)), "can't become");
        // A password that sudo doesn't ask for is no command.
        users.sudoers(&format!("FROM ALL=({to}) NOPASSWD: ALL\n"));
        for password in [Some("touch /tmp/seqn-pwned"), None] {
            assert_eq!(
                become_(&connection, &by(BecomeMethod::Sudo, &to, password)).map_err(|e| e.message),
                Ok(to.clone())
            );
        }
        assert!(!Path::new("/tmp/seqn-pwned").exists());
        users.sudoers("# nothing\n");
        refused(&connection, &right, "sudo");
        let absent = Become { exe: Some("/nowhere/sudo".into()), ..right.clone() };
        refused(&connection, &absent, "there is no sudo on this host");
    }
}

#[test]
fn sudo_that_wants_a_terminal() {
    let Some(mut users) = Users::new("sudo") else { return };
    let Some(sshd) = Sshd::start(Sh::Dash) else { return };
    let to = users.to.clone();
    for transport in both() {
        let connection = login(&sshd, &users, transport);
        users.sudoers(&format!("Defaults:FROM requiretty, timestamp_timeout=0\nFROM ALL=({to}) ALL\n"));
        let right = by(BecomeMethod::Sudo, &to, Some(PASSWORD));
        assert_eq!(become_(&connection, &right).map_err(|e| e.message), Ok(to.clone()));
        refused(&connection, &by(BecomeMethod::Sudo, &to, Some("wr0ng")), "the password is wrong");
        users.sudoers(&format!("Defaults:FROM requiretty\nFROM ALL=({to}) NOPASSWD: ALL\n"));
        assert_eq!(become_(&connection, &right).map_err(|e| e.message), Ok(to.clone()));
        let without = by(BecomeMethod::Sudo, &to, None);
        assert_eq!(become_(&connection, &without).map_err(|e| e.message), Ok(to.clone()));
    }
}

#[test]
fn su() {
    let Some(users) = Users::new("su") else { return };
    for sh in SHELLS {
        let Some(sshd) = Sshd::start(sh) else { continue };
        for transport in both() {
            let connection = login(&sshd, &users, transport);
            let right = by(BecomeMethod::Su, &users.to, Some(PASSWORD));
            assert_eq!(become_(&connection, &right).map_err(|e| e.message), Ok(users.to.clone()));
            if sh == Sh::Dash {
                let wrong = by(BecomeMethod::Su, &users.to, Some("wr0ng"));
                refused(&connection, &wrong, "the password is wrong");
                refused(&connection, &by(BecomeMethod::Su, &users.to, None), "none was given");
                refused(&connection, &by(BecomeMethod::Su, "seqn-nobody", Some("x")), "can't become");
            }
        }
    }
}

#[test]
fn doas() {
    let Some(mut users) = Users::new("doas") else { return };
    let (from, to) = (users.from.clone(), users.to.clone());
    let right = by(BecomeMethod::Doas, &to, Some(PASSWORD));
    for sh in SHELLS {
        users.file("/etc/doas.conf", &format!("permit {from} as {to}\n"));
        let Some(sshd) = Sshd::start(sh) else { continue };
        for transport in both() {
            let connection = login(&sshd, &users, transport);
            assert_eq!(become_(&connection, &right).map_err(|e| e.message), Ok(to.clone()), "{sh:?}");
        }
    }
    let Some(sshd) = Sshd::start(Sh::Dash) else { return };
    for transport in both() {
        let connection = login(&sshd, &users, transport);
        refused(&connection, &by(BecomeMethod::Doas, &to, Some("wr0ng")), "the password is wrong");
        refused(&connection, &by(BecomeMethod::Doas, &to, None), "none was given");
        refused(&connection, &by(BecomeMethod::Doas, "root", Some(PASSWORD)), "doas");
    }
    users.file("/etc/doas.conf", &format!("permit nopass {from} as {to}\n"));
    for password in [Some(PASSWORD), None] {
        let connection = login(&sshd, &users, TransportKind::Native);
        let wanted = by(BecomeMethod::Doas, &to, password);
        assert_eq!(become_(&connection, &wanted).map_err(|e| e.message), Ok(to.clone()));
    }
}

/// A complaint that comes in pieces, the first of which looks like a prompt.
#[test]
fn a_complaint_is_no_prompt() {
    let dir = tempfile::tempdir().unwrap();
    let Some(sshd) = Sshd::start(Sh::Dash) else { return };
    for (method, word) in [(BecomeMethod::Doas, "doas"), (BecomeMethod::Su, "su")] {
        let exe = dir.path().join(word);
        let script = format!("#!/bin/sh\nprintf '{word}: ' >&2\nsleep 0.3\necho 'not for you' >&2\nexit 1\n");
        std::fs::write(&exe, script).unwrap();
        std::fs::set_permissions(&exe, std::fs::Permissions::from_mode(0o755)).unwrap();
        for transport in both() {
            for password in [Some(PASSWORD), None] {
                let exe = Some(exe.display().to_string());
                let wanted = Become { exe, ..by(method, "root", password) };
                refused(&sshd.connection(transport), &wanted, &format!("{word}: not for you"));
            }
        }
    }
}

/// The whole suite as somebody else, whose shell is behind all of that.
#[test]
fn the_suite_after_becoming_root() {
    let Some(mut users) = Users::new("sudo") else { return };
    users.sudoers("Defaults:FROM !secure_path\nFROM ALL=(root) ALL\n");
    let Some(sshd) = Sshd::start(Sh::Dash) else { return };
    let connection = Connection {
        become_: Some(by(BecomeMethod::Sudo, "root", Some(PASSWORD))),
        ..login(&sshd, &users, TransportKind::Native)
    };
    within(120, async {
        let connections = Connections::new();
        let target = connections.target("host", &connection).await.unwrap();
        suite::all(&connections, &target, "dash").await;
        crate::kept::all(&connection, true).await;
        connections.close().await;
    });
}

/// More users at once than a host has channels for: shells that nobody uses make room.
#[test]
fn many_users_of_one_host() {
    let Some(mut users) = Users::new("sudo") else { return };
    users.sudoers("FROM ALL=(ALL) NOPASSWD: ALL\n");
    let Some(sshd) = Sshd::start(Sh::Dash) else { return };
    let who =
        ["root", "daemon", "bin", "sys", "games", "man", "lp", "mail", "news", "uucp", "backup", "root"];
    for transport in both() {
        let connection = login(&sshd, &users, transport);
        within(60, async {
            let connections = Connections::new();
            for user in who {
                let become_ = Some(by(BecomeMethod::Sudo, user, None));
                let connection = Connection { become_, ..connection.clone() };
                let target = connections.target("host", &connection).await.unwrap();
                let said = target.probe(Command::argv(["id", "-un"])).await.unwrap();
                assert_eq!(said.stdout_text().trim(), user);
            }
            connections.close().await;
        });
    }
}

/// Effects as somebody else are noted by him, believed only from him, and ended as him.
#[test]
fn effects_of_somebody_else() {
    let Some(mut users) = Users::new("sudo") else { return };
    users.sudoers("Defaults:FROM !secure_path\nFROM ALL=(ALL) NOPASSWD: ALL\n");
    for sh in SHELLS {
        let Some(sshd) = Sshd::start(sh) else { continue };
        let connection = login(&sshd, &users, TransportKind::Native);
        let become_ = Some(by(BecomeMethod::Sudo, &users.to, None));
        let as_other = Connection { become_, ..connection.clone() };
        let project = Project::new();
        within(60, async {
            let connections = Connections::new();
            let lock = connections.lock("host", &connection, &project.request("one"), |_| {}).await.unwrap();
            let target = connections.target("host", &as_other).await.unwrap();
            let nobodys = effect("one", "whoami");
            let id = EffectId { user: Some(users.to.clone()), ..nobodys.clone() };
            let umask = Effect::Run(Command::shell("id -un; exit 3"));
            let said = target.apply_as(&umask, &id).await.unwrap();
            assert_eq!((said.status, said.stdout_text()), (3, format!("{}\n", users.to)));
            assert_eq!(lock.effect(&id).await.unwrap(), EffectState::Ended { status: 3 });
            // He could have made it up for an effect that isn't his.
            assert_eq!(lock.effect(&nobodys).await.unwrap(), EffectState::NeverBegan);
            let id = EffectId { effect: "long".into(), ..id };
            let long = Effect::Run(Command::shell("sleep 60"));
            let end = async {
                let began = Instant::now();
                while !matches!(lock.effect(&id).await.unwrap(), EffectState::Running(_)) {
                    assert!(began.elapsed() < Duration::from_secs(10));
                }
                let error = lock.end(&id, None).await.unwrap_err();
                assert!(error.message.contains(&format!("only {} may", users.to)), "{error}");
                assert!(error.help.unwrap().contains("sudo kill -TERM -- -"));
                let another = Connections::new();
                let by = another.target("host", &as_other).await.unwrap();
                lock.end(&id, Some(&by)).await.unwrap();
                another.close().await;
            };
            let (said, ()) = tokio::join!(target.apply_as(&long, &id), end);
            assert_eq!(said.unwrap().status, 143);
            assert_eq!(lock.effect(&id).await.unwrap(), EffectState::Ended { status: 143 });
            lock.forget_effects().await.unwrap();
            assert_eq!(lock.effect(&id).await.unwrap(), EffectState::NeverBegan);
            lock.release().await.unwrap();
            connections.close().await;
            // Who else logs in can't trust a folder that a stranger made, and can that of one who
            // may become root anyway.
            let root = sshd.connection(TransportKind::Native);
            let (connections, roots) = (Connections::new(), Connections::new());
            let refused = roots.lock("host", &root, &project.request("two"), |_| {}).await.unwrap_err();
            assert!(refused.to_string().contains("who is neither root nor you nor"), "{refused}");
            let status = Process::new("usermod").args(["-aG", "sudo", &users.from]).status().unwrap();
            assert!(status.success());
            let lock = connections.lock("host", &connection, &project.request("one"), |_| {}).await.unwrap();
            let refused = roots.lock("host", &root, &project.request("two"), |_| {}).await.unwrap_err();
            let LockRefused::Held(seen) = refused else { panic!("{refused}") };
            assert_eq!((seen.holder.run.as_str(), &seen.user), ("one", &users.from));
            lock.release().await.unwrap();
            roots
                .lock("host", &root, &project.request("two"), |_| {})
                .await
                .unwrap()
                .release()
                .await
                .unwrap();
            connections.close().await;
            roots.close().await;
            let status = Process::new("gpasswd").args(["-d", &users.from, "sudo"]).status().unwrap();
            assert!(status.success());
        });
    }
}
