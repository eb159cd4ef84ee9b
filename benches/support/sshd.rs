//! A loopback sshd with its own keys, port and configuration, gone when dropped.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Sshd {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

impl Sshd {
    pub fn start() -> Sshd {
        let dir = tempfile::tempdir().expect("a temporary folder");
        // sshd looks at who may write above its files.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("permissions");
        for key in ["host_key", "user_key"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.path().join(key))
                .status();
            assert!(made.expect("ssh-keygen runs").success());
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let user_key = fs::read_to_string(at("user_key.pub")).expect("the key");
        fs::write(at("authorized_keys"), &user_key).expect("authorized_keys");
        let host_key = fs::read_to_string(at("host_key.pub")).expect("the key");
        fs::write(at("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).expect("known_hosts");
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPrintMotd no\n",
            at("host_key"),
            at("authorized_keys"),
        );
        fs::write(at("sshd_config"), config).expect("sshd_config");
        if !Path::new("/run/sshd").exists() {
            // Its place for separated privileges; only root needs and can make it.
            fs::create_dir("/run/sshd").ok();
        }
        let program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
        let program = program.iter().find(|path| Path::new(path).exists()).expect("sshd is installed");
        let child = Command::new(program)
            .args(["-D", "-e", "-f", &at("sshd_config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(at("log")).expect("a log"))
            .spawn()
            .expect("sshd starts");
        let sshd = Sshd { dir, port, child };
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(sshd.path("log")).unwrap_or_default();
            assert!(since.elapsed() < Duration::from_secs(10), "sshd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        sshd
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What any ssh client is told to reach it.
    pub fn options(&self) -> Vec<String> {
        let file = |option: &str, name: &str| format!("-o{option}={}", self.path(name).display());
        vec![
            "-F/dev/null".into(),
            file("IdentityFile", "user_key"),
            file("UserKnownHostsFile", "known_hosts"),
            "-oIdentitiesOnly=yes".into(),
            "-oBatchMode=yes".into(),
        ]
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        // Where the runs kept their lock, named after the project's folder.
        let name = self.dir.path().file_name().expect("a name").to_string_lossy().replacen('.', "_", 1);
        std::fs::remove_dir_all(std::path::Path::new("/var/tmp/seqn-play").join(name)).ok();
    }
}
