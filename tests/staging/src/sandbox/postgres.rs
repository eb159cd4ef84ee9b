//! Private Postgres servers from the machine's own binaries, started from a prepared directory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::place::{cache_dir, hex, lock_file, make_dir};

/// As in the image of the docker kind. Staging is thrown away, so nothing is synced; it is started so often
/// that every process counts which only a server that lives on needs.
const CONF: &str = "
password_encryption = scram-sha-256
log_statement = all
fsync = off
shared_buffers = 16MB
autovacuum = off
max_logical_replication_workers = 0
wal_level = minimal
max_wal_senders = 0
jit = off
";

/// TCP stands for the service network: loopback inside a container is led to the socket.
const HBA: &str = "local all all trust\nhost all all all scram-sha-256\n";

/// The client programs of a Postgres container.
pub const TOOLS: [&str; 12] = [
    "psql",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_isready",
    "createdb",
    "dropdb",
    "createuser",
    "dropuser",
    "vacuumdb",
    "reindexdb",
    "clusterdb",
];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Postgres {
    pub bin: PathBuf,
    pub version: String,
    /// Whom the servers run as; none is ourselves, because only root must step down.
    pub user: Option<User>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// What the first start of a data directory needs, from the container's environment.
pub struct First<'a> {
    pub user: &'a str,
    pub database: &'a str,
    pub password: &'a str,
}

impl Postgres {
    pub fn find() -> Result<Postgres> {
        let bin = find_bin()?;
        let version = output(Command::new(bin.join("postgres")).arg("--version"))?;
        let user = match unsafe { libc::geteuid() } {
            0 => Some(unprivileged_user()?),
            _ => None,
        };
        Ok(Postgres { bin, version: version.trim().to_owned(), user })
    }

    /// A command of this Postgres, as the user that servers run as.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env_clear().env("LC_ALL", "C.UTF-8").current_dir("/");
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// Makes a directory that the servers' user owns.
    pub fn make_dir(&self, path: &Path) -> Result<()> {
        make_dir(path, 0o700)?;
        if let Some(user) = self.user {
            chown(path, Some(user.uid), Some(user.gid))
                .with_context(|| format!("cannot give {} away", path.display()))?;
        }
        Ok(())
    }

    /// Fills an empty `data` directory; one that is filled stays as it is, its password too.
    pub fn prepare(&self, data: &Path, scratch: &Path, first: &First) -> Result<()> {
        if data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let template = self.template(first.user, first.database, scratch)?;
        // A start that was cut in the middle begins again.
        let fresh = data.with_extension("fresh");
        for leftover in [&fresh, &data.to_path_buf()] {
            if leftover.exists() {
                fs::remove_dir_all(leftover)?;
            }
        }
        copy(&template, &fresh)?;
        let password = literal(first.password)?;
        let role = identifier(first.user);
        self.single_user(&fresh, &format!("ALTER ROLE {role} PASSWORD {password};\n"))?;
        fs::rename(&fresh, data).with_context(|| format!("cannot make {}", data.display()))
    }

    /// A data directory with this user and database and no password, made once and kept.
    fn template(&self, user: &str, database: &str, scratch: &Path) -> Result<PathBuf> {
        let recipe = format!("{}\n{user}\n{database}\n{CONF}{HBA}", self.version);
        let owner = self.user.map(|user| user.uid);
        let key = hex(&Sha256::digest(format!("{recipe}{owner:?}")));
        let cache = cache_dir()?.join("postgres");
        make_dir(&cache, 0o700)?;
        let template = cache.join(key.get(..16).unwrap_or(&key));
        let lock = lock_file(&cache.join("lock"))?;
        lock.lock().context("cannot lock the Postgres templates")?;
        if template.exists() {
            return Ok(template);
        }
        let fresh = scratch.join("template");
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        self.make_dir(&fresh)?;
        let mut initdb = self.command("initdb");
        initdb
            .arg("--pgdata")
            .arg(&fresh)
            .args(["--username", user])
            // Small segments, because the directory is copied for every server.
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1"])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
        output(&mut initdb)?;
        append(&fresh.join("postgresql.conf"), CONF)?;
        fs::write(fresh.join("pg_hba.conf"), HBA)?;
        if database != "postgres" {
            let create = format!("CREATE DATABASE {};\n", identifier(database));
            self.single_user(&fresh, &create)?;
        }
        let part = cache.join(format!("{key}.part"));
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        copy(&fresh, &part)?;
        fs::rename(&part, &template)?;
        fs::remove_dir_all(&fresh)?;
        Ok(template)
    }

    /// Runs statements, one a line, on a directory that no server uses.
    fn single_user(&self, data: &Path, statements: &str) -> Result<()> {
        let mut command = self.command("postgres");
        command
            .args(["--single", "-j", "-D"])
            .arg(data)
            .args(["-c", "log_statement=none", "-c", "exit_on_error=on", "postgres"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run postgres")?;
        if let Some(mut stdin) = child.stdin.take() {
            // With -j a statement ends at a semicolon and an empty line.
            stdin.write_all(statements.as_bytes())?;
            stdin.write_all(b"\n")?;
        }
        let out = child.wait_with_output()?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            bail!("postgres --single: {}: {}", out.status, said.trim());
        }
        Ok(())
    }
}

/// An SQL string literal that also holds quotes and line ends, which would end the statement.
fn literal(text: &str) -> Result<String> {
    use std::fmt::Write as _;
    if text.contains('\0') {
        bail!("a password can't hold a zero byte");
    }
    let mut out = String::from("E'");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('\'');
    Ok(out)
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn append(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new().append(true).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// Copies a tree with its owners, as blocks shared with the original where the disk can.
fn copy(from: &Path, to: &Path) -> Result<()> {
    output(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to)).map(drop)
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!("{program}: {}: {}", out.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Debian keeps the server's programs off the PATH, one directory for each version.
fn find_bin() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    if let Ok(listing) = fs::read_dir("/usr/lib/postgresql") {
        for entry in listing.flatten() {
            if let Some(version) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                versions.push((version, entry.path().join("bin")));
            }
        }
    }
    versions.sort();
    let newest_first = versions.into_iter().rev().map(|(_, bin)| bin);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter_map(|dir| {
        let real = dir.join("postgres").canonicalize().ok()?;
        Some(real.parent()?.to_path_buf())
    });
    let needed = ["postgres", "initdb", "psql", "pg_dump", "pg_isready"];
    newest_first
        .chain(on_path)
        .find(|bin| needed.iter().all(|name| is_program(&bin.join(name))))
        .context("no Postgres server on this machine; install Debian's package `postgresql`")
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Postgres refuses to run as root.
fn unprivileged_user() -> Result<User> {
    let text = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let find = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(wanted) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(User { uid, gid })
        })
    };
    match find("postgres").or_else(|| find("nobody")) {
        Some(user) if user.uid != 0 => Ok(user),
        _ => bail!("Postgres can't run as root, and there is no user `postgres` or `nobody`"),
    }
}

/// Frees the shared memory of servers that were killed, whose directories are about to go. Only a
/// server started again on the same directory would do so otherwise.
pub fn free_shared_memory(volumes: &Path) {
    let Ok(listing) = fs::read_dir(volumes) else {
        return;
    };
    for volume in listing.flatten() {
        let record = volume.path().join("data/postmaster.pid");
        let text = fs::read_to_string(record).unwrap_or_default();
        // The line says the segment's key and id.
        let mut words = text.lines().nth(6).unwrap_or_default().split_whitespace();
        let key = words.next().and_then(|word| word.parse::<u32>().ok());
        let id = words.next().and_then(|word| word.parse::<i32>().ok());
        let (Some(key), Some(id)) = (key, id) else {
            continue;
        };
        unsafe {
            let mut segment: libc::shmid_ds = std::mem::zeroed();
            let is_there = libc::shmctl(id, libc::IPC_STAT, &mut segment) == 0;
            // An id is used again; with its key, and used by nobody, it is ours.
            let is_ours = segment.shm_perm.__key.cast_unsigned() == key && segment.shm_nattch == 0;
            if is_there && is_ours {
                libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
            }
        }
    }
}

/// Whether `path` is a directory of ours that no one else can have put there.
pub fn is_our_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == unsafe { libc::geteuid() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_hold_any_text() {
        assert_eq!(literal("a'b\n\\").unwrap(), "E'a\\x27b\\x0a\\x5c'");
        assert!(literal("a\0").is_err());
    }
}
