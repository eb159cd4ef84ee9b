//! Content that stays beside its file while something replaces it, and is put back.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use seqn_play::remote::{
    Connection, Connections, Effect, Expect, RemoteError, RemoteErrorKind, Target, TransportKind,
};
use seqn_play::source::hex::sha256;

use crate::fixture::{SHELLS, Sh, Sshd, find, here, in_a_process, is_root, on_every_shell, skip, within};
use crate::suite::{bytes, write};

/// What [`Effect::Keep`] tells of a kept file, and where it is.
struct Kept {
    path: PathBuf,
    kept: PathBuf,
    inode: u64,
    mtime: i64,
    mode: String,
}

impl Kept {
    async fn new(host: &Target, path: &Path) -> Kept {
        let kept = path.with_file_name(format!(".{}.kept", path.file_name().unwrap().to_str().unwrap()));
        let said = host.apply(&keep(path, &kept)).await.unwrap().stdout_text();
        let words: Vec<&str> = said.split_whitespace().collect();
        let (inode, mtime, mode) = (words[0].parse().unwrap(), words[1].parse().unwrap(), words[2].into());
        let is = std::fs::metadata(&kept).unwrap();
        assert_eq!((is.ino(), is.mtime()), (inode, mtime));
        Kept { path: path.into(), kept, inode, mtime, mode }
    }

    async fn restore(&self, host: &Target, expect: Expect) -> Result<(), RemoteError> {
        let (kept, path) = (text(&self.kept), text(&self.path));
        let Kept { inode, mtime, .. } = *self;
        let effect = Effect::Restore { kept, path, inode, mtime, mode: self.mode.clone(), expect };
        host.apply(&effect).await.map(drop)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}

fn keep(path: &Path, kept: &Path) -> Effect {
    Effect::Keep { path: text(path), kept: text(kept) }
}

fn is(content: &[u8]) -> Expect {
    Expect::Sha256(sha256(content))
}

/// `linked`: the host's `ln` makes hard links.
pub async fn all(connection: &Connection, linked: bool) {
    let connections = Connections::new();
    let host = connections.target("host", connection).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = |name: &str, content: &str| {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    // Replaced, and put back as it was; the second time it is found so.
    for name in ["plain", "it's a name\n", "-rf", "back\\slash"] {
        let path = file(name, "old");
        if is_root() {
            std::os::unix::fs::chown(&path, Some(12345), Some(23456)).unwrap();
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4750)).unwrap();
        std::fs::File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        let before = std::fs::metadata(&path).unwrap();
        let kept = Kept::new(&host, &path).await;
        assert_eq!(kept.inode == before.ino(), linked, "{name:?}");
        let beside = || std::fs::metadata(&kept.kept).unwrap();
        let close = Effect::Close { kept: text(&kept.kept) };
        // While it has two names it is as it was.
        host.apply(&close).await.unwrap();
        let mode = if linked { 0o4750 } else { 0o600 };
        assert_eq!((beside().mode() & 0o7777, beside().uid(), beside().mtime()), (mode, before.uid(), 0));
        host.apply(&write(&path, bytes(b"new"))).await.unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        host.apply(&close).await.unwrap();
        assert_eq!(beside().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read(&kept.kept).unwrap(), b"old");
        for _ in 0..2 {
            kept.restore(&host, is(b"new")).await.unwrap();
            let after = std::fs::metadata(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"old", "{name:?}");
            let attributes = |m: &std::fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime());
            assert_eq!(attributes(&after), attributes(&before), "{name:?}");
            assert!(!kept.kept.exists());
        }
        std::fs::remove_file(&path).unwrap();
    }
    // Removed.
    let path = file("removed", "old");
    let kept = Kept::new(&host, &path).await;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another").unwrap();
    let error = kept.restore(&host, Expect::Absent).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
    std::fs::remove_file(&path).unwrap();
    kept.restore(&host, Expect::Absent).await.unwrap();
    kept.restore(&host, Expect::Absent).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"old");

    // Nothing has replaced it; nor where it was changed in place, and is one file with two names.
    let path = file("as it was", "old");
    let kept = Kept::new(&host, &path).await;
    // As a program does that was killed before it knew.
    let kept = match linked {
        true => {
            std::fs::write(&path, "older").unwrap();
            kept
        }
        false => Kept::new(&host, &path).await,
    };
    kept.restore(&host, is(b"new")).await.unwrap();
    kept.restore(&host, is(b"new")).await.unwrap_or_else(|e| assert!(linked, "{e}"));
    assert_eq!(std::fs::read(&path).unwrap(), if linked { &b"older"[..] } else { b"old" });
    assert!(!kept.kept.exists());

    // Somebody changed it since, or took it away.
    let path = file("changed", "old");
    let kept = Kept::new(&host, &path).await;
    host.apply(&write(&path, bytes(b"new"))).await.unwrap();
    std::fs::write(&path, "by hand").unwrap();
    let error = kept.restore(&host, is(b"new")).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
    assert!(error.message.contains("changed was changed by somebody else"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = kept.restore(&host, is(b"new")).await.unwrap_err();
    assert!(error.message.contains("changed is not there any more"), "{error}");
    std::fs::create_dir(&path).unwrap();
    assert_eq!(kept.restore(&host, Expect::Anything).await.unwrap_err().kind, RemoteErrorKind::Conflict);
    std::fs::remove_dir(&path).unwrap();
    kept.restore(&host, Expect::Anything).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"old");

    // A link took its place, to a folder too.
    let path = file("linked", "old");
    let kept = Kept::new(&host, &path).await;
    std::fs::remove_file(&path).unwrap();
    symlink(dir, &path).unwrap();
    kept.restore(&host, Expect::Anything).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert!(!std::fs::symlink_metadata(&path).unwrap().is_symlink());

    // What was kept is gone, or is another file.
    let path = file("gone", "old");
    let kept = Kept::new(&host, &path).await;
    host.apply(&write(&path, bytes(b"new"))).await.unwrap();
    std::fs::rename(&kept.kept, dir.join("aside")).unwrap();
    let error = kept.restore(&host, is(b"new")).await.unwrap_err();
    assert!(
        error.message.contains(".gone.kept, which held what was in ") && error.message.contains(" is gone"),
        "{error}"
    );
    std::fs::write(&kept.kept, "forged").unwrap();
    let error = kept.restore(&host, is(b"new")).await.unwrap_err();
    assert!(error.message.contains("is not the file that was kept"), "{error}");
    std::fs::remove_file(&kept.kept).unwrap();
    symlink(dir.join("aside"), &kept.kept).unwrap();
    assert!(kept.restore(&host, is(b"new")).await.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"new");

    // What can't be kept says so, and leaves nothing.
    std::fs::write(dir.join("x"), "x").unwrap();
    symlink(dir.join("x"), dir.join("link")).unwrap();
    for (path, kept) in [("nothing", "k"), ("link", "k"), ("", "k"), ("x", "nowhere/k"), ("x", "x/k")] {
        let error = host.apply(&keep(&dir.join(path), &dir.join(kept))).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Refused, "{path:?} {kept:?} {error}");
        assert!(!error.message.is_empty());
    }
    let left = std::fs::read_dir(dir).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.starts_with(".seqn") || name == "k").collect();
    assert_eq!(left, Vec::<String>::new());
    connections.close().await;
}

/// A host's `ln` as it is where the file system has no hard links.
fn without_links(folder: &Path) {
    let ln = folder.join("ln");
    std::fs::remove_file(&ln).ok();
    std::fs::write(&ln, "#!/bin/sh\necho \"ln: Operation not permitted\" >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&ln, PermissionsExt::from_mode(0o755)).unwrap();
}

fn over_ssh(transport: TransportKind) {
    on_every_shell(transport, |sshd, sh| {
        within(120, all(&sshd.connection(transport), true));
        without_links(&sshd.dir.path().join(sh.name()));
        within(120, all(&sshd.connection(transport), false));
    });
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
    if let Ok(linked) = std::env::var("LINKS_OF_THIS_TEST") {
        return within(120, all(&here(), linked == "1"));
    }
    for linked in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        for sh in SHELLS {
            let Some(path) = sh.path(dir.path()) else {
                skip(&format!("there is no {} on this machine", sh.name()));
                continue;
            };
            if !linked {
                without_links(&dir.path().join(sh.name()));
            }
            let links = if linked { "1" } else { "0" };
            in_a_process("kept::here_on_every_shell", &[("PATH", &path), ("LINKS_OF_THIS_TEST", links)]);
        }
    }
}

/// A copy that the disk has no room for.
#[test]
fn a_full_disk_is_told_before_anything_is_changed() {
    if !is_root() || find("mount").is_none() {
        return skip("a small file system can't be mounted here");
    }
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
        .arg(dir.path())
        .output()
        .unwrap();
    if !mounted.status.success() {
        return skip("a small file system can't be mounted here");
    }
    let path = dir.path().join("large");
    std::fs::write(&path, vec![b'x'; 2 << 20]).unwrap();
    let sshd = Sshd::start(Sh::Dash);
    if let Some(sshd) = &sshd {
        without_links(&sshd.dir.path().join("dash"));
        let connection = sshd.connection(TransportKind::Native);
        let error = within(60, async {
            let connections = Connections::new();
            let host = connections.target("host", &connection).await.unwrap();
            let refused = host.apply(&keep(&path, &dir.path().join(".large.kept"))).await.unwrap_err();
            connections.close().await;
            refused
        });
        assert_eq!(error.kind, RemoteErrorKind::Refused);
        assert!(error.message.contains("No space left on device"), "{error}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    let unmounted = std::process::Command::new("umount").arg(dir.path()).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(left, ["large"]);
}
