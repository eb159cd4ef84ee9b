//! What every host must do, whatever its shell and however it is reached.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seqn_play::remote::{
    Attributes, Command, Connections, Content, Effect, Expect, Observation, Output, RemoteErrorKind, Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub async fn all(connections: &Connections, host: &Target, sh: &str) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    its_sh_is(host, sh).await;
    streams_and_statuses(host).await;
    late_output_stays_where_it_belongs(host).await;
    output_is_bounded(host).await;
    a_command_out_of_time_is_ended_with_its_children(host).await;
    bytes_are_kept(host, dir).await;
    names_are_only_names(host, &dir.join("names")).await;
    a_listing_cant_be_forged(host, &dir.join("forged")).await;
    writes_are_atomic_and_checked(host, &dir.join("writes")).await;
    other_names_of_a_file_are_looked_at_again(host, &dir.join("links")).await;
    folders_are_made_with_their_parents(host, &dir.join("folders")).await;
    equal_questions_are_asked_once(connections, host, &dir.join("once")).await;
    channels_are_shared(host, &dir.join("shared")).await;
    streams_to_ports(host).await;
    // Nothing of ours is left.
    for entry in walk(dir) {
        assert!(!entry.contains(".seqn"), "{entry} is left");
    }
}

pub async fn sh(host: &Target, script: &str) -> Output {
    host.apply(&Effect::Run(Command::shell(script))).await.unwrap()
}

pub fn write(path: &Path, content: Content) -> Effect {
    Effect::Write {
        path: path.to_str().unwrap().into(),
        content,
        attributes: Attributes::default(),
        expect: Expect::Anything,
        validate: None,
        backup: false,
    }
}

pub fn bytes(content: &[u8]) -> Content {
    Content::Bytes(Arc::from(content))
}

/// What a command waits at, so that no test has to guess how long the machine takes.
pub struct Gate(tempfile::TempDir);

impl Gate {
    pub fn new() -> Gate {
        Gate(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.0.path().join("open")
    }

    /// A command that runs until the gate is opened, 60 s at most.
    pub fn wait(&self) -> Effect {
        Effect::Run(Command::shell(self.script()))
    }

    pub fn script(&self) -> String {
        let path = self.path();
        format!(
            "n=0; until [ -e {0} ] || [ $n = 600 ]; do sleep 0.1; n=$((n + 1)); done; [ -e {0} ]",
            path.display()
        )
    }

    pub fn open(&self) {
        std::fs::write(self.path(), "").unwrap();
    }
}

fn walk(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

/// Else the rest of the suite would show nothing.
async fn its_sh_is(host: &Target, name: &str) {
    let said = host.probe(Command::argv(["sh", "-c", "readlink /proc/$$/exe; :"])).await.unwrap();
    assert!(said.stdout_text().trim_end().ends_with(&format!("/{name}")), "{}", said.stdout_text());
}

async fn streams_and_statuses(host: &Target) {
    let said = sh(host, "echo out; echo err >&2; exit 3").await;
    assert_eq!((said.status, said.stdout_text(), said.stderr_text()), (3, "out\n".into(), "err\n".into()));
    // Neither the end of a script nor a signal nor a syntax error ends the shell.
    assert_eq!(sh(host, "kill -9 $$").await.status, 137);
    assert_ne!(sh(host, "if then").await.status, 0);
    let said = host.probe(Command::argv(["printf", "no newline"])).await.unwrap();
    assert_eq!((said.status, said.stdout_text()), (0, "no newline".into()));
    let said = host.apply(&Effect::Run(Command::argv(["cat"]).stdin("given\n\n"))).await.unwrap();
    assert_eq!(said.stdout_text(), "given\n\n");
    // Nothing of the protocol is on a command's input.
    assert_eq!(sh(host, "cat; echo end").await.stdout_text(), "end\n");
    let mut command = Command::shell("printf '%s\\n' \"$GREETING\"; pwd; umask").chdir("/usr");
    command.env.push(("GREETING".into(), "it's \"me\" \\n $HOME".into()));
    command.umask = Some("027".into());
    let said = host.apply(&Effect::Run(command)).await.unwrap();
    assert_eq!(said.stdout_text().replace("0027", "027"), "it's \"me\" \\n $HOME\n/usr\n027\n");
    let mut command = Command::shell("echo ran");
    command.env.push(("A=1; echo injected; B".into(), "x".into()));
    let said = host.apply(&Effect::Run(command)).await.unwrap();
    assert!(said.status != 0 && said.stdout.is_empty(), "{}", said.stdout_text());
    assert!(said.stderr_text().contains("A=1; echo injected; B"), "{}", said.stderr_text());
}

async fn late_output_stays_where_it_belongs(host: &Target) {
    let (gate, said_so) = (Gate::new(), Gate::new());
    let late = format!("({}; echo late; echo late >&2; : >{})", gate.script(), said_so.path().display());
    // A child that is left behind isn't waited for: what it waits for comes later.
    assert_eq!(sh(host, &format!("{late} & echo first")).await.stdout_text(), "first\n");
    gate.open();
    let said = sh(host, &format!("{}; echo second", said_so.script())).await;
    assert_eq!((said.stdout_text(), said.stderr_text()), ("second\n".into(), String::new()));
}

async fn output_is_bounded(host: &Target) {
    let said = sh(host, "head -c 9000000 /dev/zero; head -c 9000000 /dev/zero >&2").await;
    assert_eq!((said.stdout.len(), said.stderr.len()), (9_000_000, 9_000_000));
    let error = host.probe(Command::shell("head -c 70000000 /dev/zero")).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Limit, "{error}");
    // The shell that is still printing was thrown away.
    assert_eq!(sh(host, "echo fine").await.stdout_text(), "fine\n");
}

async fn a_command_out_of_time_is_ended_with_its_children(host: &Target) {
    // Not those of another test at the same time.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let own = u64::from(std::process::id()) * 100 + NEXT.fetch_add(1, Ordering::Relaxed);
    let began = Instant::now();
    let script = format!("sleep 98.{own} & sleep 98.{own}; echo never");
    let command = Command::shell(script).timeout(Duration::from_secs(1));
    let said = host.apply(&Effect::Run(command)).await.unwrap();
    assert_eq!((said.status, said.stdout_text()), (143, String::new()), "{}", said.stderr_text());
    assert!(began.elapsed() < Duration::from_secs(5));
    // One that is in time keeps its streams and its status, and nothing stays to watch it.
    let command = Command::shell("cat; echo e >&2; exit 7").stdin("in").timeout(Duration::from_secs(own));
    let said = host.apply(&Effect::Run(command)).await.unwrap();
    assert_eq!((said.status, said.stdout_text(), said.stderr_text()), (7, "in".into(), "e\n".into()));
    for words in [format!("98.{own}"), format!("sleep\0{own}\0")] {
        comes_to_its_end(&words).await;
    }
}

/// Whether a process of this machine has this in its arguments.
fn running(words: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(words)
    })
}

/// Until nothing of this machine has this in its arguments.
pub async fn comes_to_its_end(words: &str) {
    let began = Instant::now();
    while running(words) {
        assert!(began.elapsed() < Duration::from_secs(20), "`{words}` still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn bytes_are_kept(host: &Target, dir: &Path) {
    let every: Vec<u8> = (0..=255).collect();
    let nuls = vec![0; 1000];
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let contents: [&[u8]; 7] = [b"", b"\n", b"no newline", b"two\n\n", &every, &nuls, &large];
    for (n, content) in contents.iter().enumerate() {
        let path = dir.join(format!("bytes{n}"));
        host.apply(&write(&path, bytes(content))).await.unwrap();
        assert!(std::fs::read(&path).unwrap() == **content, "written {n}");
        let read = host.read(path.to_str().unwrap(), 10 << 20).await.unwrap();
        assert!(read.content == *content, "read {n}");
        let mut downloaded = Vec::new();
        host.download(path.to_str().unwrap()).await.unwrap().read_to_end(&mut downloaded).await.unwrap();
        assert!(downloaded == *content, "downloaded {n}");
    }
    // From a file here, small and large, and from one of the host.
    for size in [100, 3_000_000] {
        let from = dir.join("from");
        std::fs::write(&from, &large[..size]).unwrap();
        let to = dir.join("to");
        let content = Content::Operator { path: from.clone(), size: size as u64 };
        host.apply(&write(&to, content)).await.unwrap();
        assert!(std::fs::read(&to).unwrap() == large[..size]);
        let content = Content::Host { path: from.to_str().unwrap().into() };
        host.apply(&write(&dir.join("copy"), content)).await.unwrap();
        assert!(std::fs::read(dir.join("copy")).unwrap() == large[..size]);
    }
    let error = host.read(dir.join("to").to_str().unwrap(), 1000).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Limit, "{error}");
    let error = host.download("/nowhere/at all").await.err().unwrap();
    assert!(error.message.contains("/nowhere/at all is not a file"), "{error}");
}

async fn names_are_only_names(host: &Target, dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    let names = [
        "a b",
        "it's",
        "back\\slash\\tab\\c",
        "new\nline",
        "ends with newline\n",
        "-rf",
        "*",
        "[x]",
        "$(touch pwned)`touch pwned`;touch pwned",
        "!bang",
        "~",
        "ünï©ode",
        "\u{1b}[31m",
        "%s%n",
    ];
    for name in names {
        for path in [dir.join(name), dir.join(name).join(name)] {
            let text = path.to_str().unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            host.apply(&write(&path, bytes(b"one"))).await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"one", "{name:?}");
            let large = vec![b'x'; 100_000];
            let mut effect = write(&path, bytes(&large));
            if let Effect::Write { backup, .. } = &mut effect {
                *backup = true;
            }
            let output = host.apply(&effect).await.unwrap();
            let kept = output.stdout_text();
            let kept = kept.strip_suffix('\n').unwrap();
            assert_eq!(std::fs::read(kept).unwrap(), b"one", "{kept:?}");
            std::fs::remove_file(kept).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), large, "{name:?}");
            assert_eq!(host.read(text, 1 << 20).await.unwrap().content, large);
            let stat = host.stat(text).await.unwrap().unwrap();
            assert_eq!((stat.path.as_str(), stat.size), (text, 100_000));
            let listed = host.list(path.parent().unwrap().to_str().unwrap(), false).await.unwrap();
            assert_eq!(listed.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), [text]);
            let link = dir.join("link");
            let effect = Effect::Link {
                path: link.to_str().unwrap().into(),
                target: text.into(),
                hard: false,
                force: true,
            };
            host.apply(&effect).await.unwrap();
            host.apply(&write(&link, bytes(b"through the link"))).await.unwrap();
            assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(std::fs::read(&path).unwrap(), b"through the link", "{name:?}");
            host.apply(&Effect::Remove { path: link.to_str().unwrap().into(), recurse: false })
                .await
                .unwrap();
            let moved = dir.join("moved");
            let effect = Effect::Rename { from: text.into(), path: moved.to_str().unwrap().into() };
            host.apply(&effect).await.unwrap();
            std::fs::remove_file(&moved).unwrap();
            let effect = Effect::Directory { path: text.into(), attributes: mode("0750") };
            host.apply(&effect).await.unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o750, "{name:?}");
            let said = host.probe(Command::argv(["printf", "%s", text])).await.unwrap();
            assert_eq!(said.stdout_text(), text);
            let said = host.probe(Command::argv(["pwd"]).chdir(text)).await.unwrap();
            assert_eq!(said.stdout_text(), format!("{text}\n"));
        }
        host.apply(&Effect::Remove { path: dir.join(name).to_str().unwrap().into(), recurse: true })
            .await
            .unwrap();
    }
    assert_eq!(walk(dir), Vec::<String>::new());
}

fn mode(mode: &str) -> Attributes {
    Attributes { mode: Some(mode.into()), ..Attributes::default() }
}

/// Whoever may name a file in a folder could otherwise show others that aren't there.
async fn a_listing_cant_be_forged(host: &Target, dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    let name = "x\n81a4 0 0 5 1 1 1 1 1 1 root root ,? - - - \u{2215}etc\u{2215}shadow";
    std::fs::write(dir.join(name), "").unwrap();
    std::fs::write(dir.join("other"), "").unwrap();
    let listed = host.list(dir.to_str().unwrap(), true).await.unwrap();
    let mut paths: Vec<_> = listed.iter().map(|s| s.path.clone()).collect();
    paths.sort();
    assert_eq!(paths, [dir.join("other").to_str().unwrap(), dir.join(name).to_str().unwrap()]);
}

async fn writes_are_atomic_and_checked(host: &Target, dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    let path = dir.join("file");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4751)).unwrap();
    let owned = crate::fixture::is_root().then(|| {
        std::os::unix::fs::chown(&path, Some(12345), Some(23456)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4751)).unwrap();
    });
    let before = std::fs::metadata(&path).unwrap();
    let open = std::fs::File::open(&path).unwrap();
    let expecting = |expect| {
        let mut effect = write(&path, bytes(b"new"));
        if let Effect::Write { expect: e, .. } = &mut effect {
            *e = expect;
        }
        effect
    };
    // Somebody else was faster.
    for expect in [Expect::Absent, Expect::Sha256("0".repeat(64))] {
        let error = host.apply(&expecting(expect)).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Conflict, "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
    host.apply(&expecting(Expect::Sha256(seqn_play::source::hex::sha256(b"old")))).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    if owned.is_some() {
        assert_eq!((after.uid(), after.gid()), (12345, 23456));
    }
    // Replaced, not written into: who had it open still sees the old one.
    assert_ne!(after.ino(), before.ino());
    assert_eq!(std::io::read_to_string(open).unwrap(), "old");
    // A link stays a link, also a chain and one whose target isn't there yet.
    symlink("file", dir.join("link")).unwrap();
    symlink("link", dir.join("chain")).unwrap();
    symlink("fresh", dir.join("dangling")).unwrap();
    host.apply(&write(&dir.join("chain"), bytes(b"newer"))).await.unwrap();
    host.apply(&write(&dir.join("dangling"), bytes(b"made"))).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"newer");
    assert_eq!(std::fs::read(dir.join("fresh")).unwrap(), b"made");
    for link in ["link", "chain", "dangling"] {
        assert!(std::fs::symlink_metadata(dir.join(link)).unwrap().is_symlink(), "{link}");
    }
    // What a check refuses never appears.
    let mut effect = write(&path, bytes(b"bad"));
    if let Effect::Write { validate, .. } = &mut effect {
        *validate = Some("grep -q good %s".into());
    }
    let error = host.apply(&effect).await.unwrap_err();
    assert!(error.message.contains("failed to validate"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"newer");
    for place in ["nowhere/file", "file/below"] {
        let error = host.apply(&write(&dir.join(place), bytes(b"x"))).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
        assert!(error.message.contains("does not exist"), "{error}");
        let error = host.apply(&write(&dir.join(place), bytes(&[b'x'; 100_000]))).await.unwrap_err();
        assert!(error.message.contains("does not exist"), "{error}");
    }
    let error = host.apply(&write(dir, bytes(b"x"))).await.unwrap_err();
    assert!(error.message.contains("is a directory"), "{error}");
    assert!(walk(dir).iter().all(|name| !name.contains(".seqn")));
}

/// An answer may be remembered only as long as nothing could have changed it.
async fn other_names_of_a_file_are_looked_at_again(host: &Target, dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    let real = dir.join("real");
    std::fs::write(&real, "1").unwrap();
    symlink(&real, dir.join("alias")).unwrap();
    for (name, content) in [("alias", "22"), ("real", "333")] {
        for seen in ["alias", "real"] {
            host.read(dir.join(seen).to_str().unwrap(), 100).await.unwrap();
        }
        host.apply(&write(&dir.join(name), bytes(content.as_bytes()))).await.unwrap();
        for seen in ["alias", "real"] {
            let read = host.read(dir.join(seen).to_str().unwrap(), 100).await.unwrap();
            assert_eq!(read.content, content.as_bytes(), "{seen} after a write to {name}");
        }
    }
}

async fn folders_are_made_with_their_parents(host: &Target, dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711)).unwrap();
    let path = dir.join("a b/*/c");
    // A name that the star would also stand for.
    std::fs::create_dir_all(dir.join("a b/other/c")).unwrap();
    std::fs::set_permissions(dir.join("a b/other/c"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!("{}/", path.display());
    host.apply(&Effect::Directory { path: text, attributes: mode("0700") }).await.unwrap();
    let mode_of = |name: &str| std::fs::metadata(dir.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode_of("a b/*"), mode_of("a b/*/c")), (0o700, 0o700));
    assert_eq!((mode_of(""), mode_of("a b/other/c")), (0o711, 0o755));
    std::fs::write(dir.join("file"), "").unwrap();
    let below = dir.join("file/x");
    let effect = Effect::Directory { path: below.to_str().unwrap().into(), attributes: mode("0700") };
    assert_eq!(host.apply(&effect).await.unwrap_err().kind, RemoteErrorKind::Refused);
}

async fn equal_questions_are_asked_once(connections: &Connections, host: &Target, path: &Path) {
    std::fs::write(path, "content").unwrap();
    let trips = async || connections.traffic().await["host"].round_trips;
    host.probe(Command::argv(["true"])).await.unwrap();
    let before = trips().await;
    let question = || Observation::Read { path: path.to_str().unwrap().into(), max: 100 };
    let answers = futures::future::join_all((0..20).map(|_| host.observe(question()))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(trips().await - before, 1);
    host.observe(question()).await.unwrap();
    assert_eq!(trips().await - before, 1);
    // What changes by itself is asked each time.
    for _ in 0..3 {
        host.probe(Command::argv(["true"])).await.unwrap();
    }
    assert_eq!(trips().await - before, 4);
    // A failure isn't remembered.
    let missing = path.with_extension("missing");
    let missing = missing.to_str().unwrap();
    assert!(host.list(missing, false).await.is_err());
    std::fs::create_dir(missing).unwrap();
    assert!(host.list(missing, false).await.unwrap().is_empty());
}

/// More streams at once than a host has channels for.
async fn channels_are_shared(host: &Target, path: &Path) {
    let content = vec![b'x'; 1_000_000];
    std::fs::write(path, &content).unwrap();
    let path = path.to_str().unwrap();
    let downloads = (0..20).map(|_| async {
        let mut bytes = Vec::new();
        host.download(path).await.unwrap().read_to_end(&mut bytes).await.unwrap();
        bytes.len()
    });
    let commands = (0..5).map(|n| async move { sh(host, &format!("exit {n}")).await.status });
    let (sizes, statuses) =
        tokio::join!(futures::future::join_all(downloads), futures::future::join_all(commands));
    assert_eq!(sizes, vec![content.len(); 20]);
    assert_eq!(statuses, [0, 1, 2, 3, 4]);
    // A reader that goes away early leaves the connection whole.
    for _ in 0..12 {
        let mut some = [0; 1000];
        host.download(path).await.unwrap().read_exact(&mut some).await.unwrap();
    }
    assert_eq!(sh(host, "echo fine").await.stdout_text(), "fine\n");
}

async fn streams_to_ports(host: &Target) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 4];
        stream.read_exact(&mut asked).await.unwrap();
        stream.write_all(&asked).await.unwrap();
        stream.write_all(&vec![0; 1_000_000]).await.unwrap();
    });
    let mut stream = host.connect("127.0.0.1", port).await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    stream.flush().await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert!(said.starts_with(b"ping") && said.len() == 1_000_004, "{}", said.len());
    server.await.unwrap();
    // The listener is gone.
    let error = host.connect("127.0.0.1", port).await.err().unwrap();
    assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
    assert!(error.message.contains("refused"), "{error}");
}
