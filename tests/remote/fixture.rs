//! Hosts to test against, and what tests share.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seqn_play::remote::{Connection, TransportKind};
use tempfile::TempDir;

/// Shells that a host's `sh` can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sh {
    Dash,
    Bash,
    /// Its `ash`, with its own versions of the small tools as well.
    Busybox,
    Mksh,
}

pub const SHELLS: [Sh; 4] = [Sh::Dash, Sh::Bash, Sh::Busybox, Sh::Mksh];

impl Sh {
    pub fn name(self) -> &'static str {
        match self {
            Sh::Dash => "dash",
            Sh::Bash => "bash",
            Sh::Busybox => "busybox",
            Sh::Mksh => "mksh",
        }
    }

    /// A folder where `sh` is this shell; first in the PATH.
    pub fn folder(self, dir: &Path) -> Option<PathBuf> {
        let program = find(self.name())?;
        let folder = dir.join(self.name());
        std::fs::create_dir_all(&folder).unwrap();
        let mut names = vec!["sh".to_string()];
        if self == Sh::Busybox {
            let listed = Command::new(&program).arg("--list").output().unwrap();
            let without = ["sudo", "su", "script"];
            names.extend(
                String::from_utf8_lossy(&listed.stdout)
                    .lines()
                    .filter(|name| *name != "sh" && !without.contains(name))
                    .map(String::from),
            );
        }
        for name in names {
            let link = folder.join(name);
            if !link.exists() {
                symlink(&program, link).unwrap();
            }
        }
        Some(folder)
    }

    pub fn path(self, dir: &Path) -> Option<String> {
        Some(format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", self.folder(dir)?.display()))
    }
}

/// A program of this machine.
pub fn find(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().map(|f| Path::new(f).join(name)).find(|p| p.exists())
}

/// Says that a test is skipped; a failure where nothing may be.
pub fn skip(what: &str) {
    let set = |key: &str, value: &str| std::env::var(key).is_ok_and(|is| is == value);
    assert!(!set("SEQN_REQUIRE_ALL", "1") && !set("CI", "true"), "{what}, and nothing may be skipped here");
    writeln!(std::io::stderr(), "skipped: {what}").ok();
}

pub fn is_root() -> bool {
    run("id", &["-u"]).trim() == "0"
}

/// What a command of this machine says.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn me() -> String {
    run("id", &["-un"]).trim().to_string()
}

/// A key pair, made by ssh-keygen; the file of the private half.
pub fn key_pair(dir: &Path, name: &str, kind: &str, passphrase: &str) -> PathBuf {
    let file = dir.join(name);
    run("ssh-keygen", &["-q", "-t", kind, "-N", passphrase, "-C", name, "-f", file.to_str().unwrap()]);
    file
}

pub fn public(key: &Path) -> String {
    std::fs::read_to_string(key.with_extension("pub")).unwrap()
}

/// A real sshd on loopback that lets the one who runs the tests in.
pub struct Sshd {
    pub port: u16,
    pub dir: TempDir,
    child: Child,
}

impl Sshd {
    pub fn start(sh: Sh) -> Option<Sshd> {
        Sshd::with(sh, "")
    }

    /// `more` is added to its configuration.
    pub fn with(sh: Sh, more: &str) -> Option<Sshd> {
        let Some(program) = find("sshd") else {
            skip("there is no sshd on this machine");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        // Other users come here too, in the tests of become.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let Some(path) = sh.path(dir.path()) else {
            skip(&format!("there is no {} on this machine", sh.name()));
            return None;
        };
        if is_root() {
            // Its place for giving up privileges; packages make it at boot.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let host_key = key_pair(dir.path(), "host_key", "ed25519", "");
        let key = key_pair(dir.path(), "key", "ed25519", "");
        std::fs::write(dir.path().join("authorized_keys"), public(&key)).unwrap();
        let here = dir.path().display();
        for _ in 0..5 {
            let port = free_port();
            let config = format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {here}/authorized_keys\n\
                 StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin yes\n\
                 KbdInteractiveAuthentication no\nMaxStartups 100:30:200\nSetEnv PATH={path}\n{more}\n",
                host_key.display()
            );
            std::fs::write(dir.path().join("sshd_config"), config).unwrap();
            let mut child = Command::new(&program)
                .args(["-D", "-e", "-f"])
                .arg(dir.path().join("sshd_config"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(dir.path().join("sshd.log")).unwrap())
                .spawn()
                .unwrap();
            if answers(port, &mut child) {
                let words: Vec<String> = public(&host_key).split(' ').map(String::from).collect();
                let line = format!("[127.0.0.1]:{port} {} {}\n", words[0], words[1]);
                std::fs::write(dir.path().join("known_hosts"), line).unwrap();
                return Some(Sshd { port, dir, child });
            }
            child.kill().ok();
            child.wait().ok();
        }
        panic!("sshd: {}", std::fs::read_to_string(dir.path().join("sshd.log")).unwrap_or_default());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connection(&self, transport: TransportKind) -> Connection {
        connection(transport, self.port, &me(), self.dir.path())
    }
}

/// A process that ends with this value.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn answers(port: u16, child: &mut Child) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end && child.try_wait().unwrap().is_none() {
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            let mut banner = [0; 4];
            if stream.read_exact(&mut banner).is_ok() && &banner == b"SSH-" {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// To a server whose `key` and `known_hosts` lie in `dir`, without anything of this machine's own
/// configuration.
pub fn connection(transport: TransportKind, port: u16, user: &str, dir: &Path) -> Connection {
    let known = format!("UserKnownHostsFile={}", dir.join("known_hosts").display());
    let options = ["-F", "none", "-o", &known, "-o", "GlobalKnownHostsFile=none", "-o", "IdentityAgent=none"];
    Connection {
        transport,
        address: "127.0.0.1".into(),
        port: Some(port),
        user: Some(user.into()),
        password: None,
        private_key: Some(dir.join("key")),
        ssh_args: options.map(String::from).into(),
        host_key_checking: true,
        timeout: Duration::from_secs(10),
        become_: None,
    }
}

pub fn here() -> Connection {
    Connection::operator()
}

/// Something that holds over a transport, whichever shell the host has.
pub fn on_every_shell(transport: TransportKind, holds: impl Fn(&Sshd, Sh)) {
    if transport == TransportKind::Ssh && find("ssh").is_none() {
        return skip("there is no ssh on this machine");
    }
    for sh in SHELLS {
        let Some(sshd) = Sshd::start(sh) else { continue };
        writeln!(std::io::stderr(), "{}", sh.name()).ok();
        holds(&sshd, sh);
    }
}

/// Runs a test of this machine again in processes of their own, with each shell as their `sh`, whose
/// name is in SH_OF_THIS_TEST then.
pub fn here_on_every_shell(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    for sh in SHELLS {
        match sh.path(dir.path()) {
            Some(path) => drop(in_a_process(test, &[("PATH", &path), ("SH_OF_THIS_TEST", sh.name())])),
            None => skip(&format!("there is no {} on this machine", sh.name())),
        }
    }
}

/// Runs a test again in a process of its own, which it knows by the environment variables.
pub fn in_a_process(test: &str, environment: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    said
}

/// Runs `future` on a runtime of its own, and fails rather than hang.
pub fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let limit = Duration::from_secs(seconds);
    let result = runtime.block_on(async { tokio::time::timeout(limit, future).await });
    runtime.shutdown_timeout(Duration::from_secs(2));
    result.unwrap_or_else(|_| panic!("it took more than {seconds} s"))
}
