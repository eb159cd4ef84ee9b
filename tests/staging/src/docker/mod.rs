//! The kind `docker`: a VPS container beside a real Compose project, on a real engine.

mod apt;
mod images;

pub(crate) use apt::ensure as ensure_programs;
pub use images::compose;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::place::{Place, cache_dir, write_private};
use crate::ports::Ports;
use crate::project::{LOGIN_USER, Project};
use crate::raised::{Kind, Raised};
use crate::secrets::{Secrets, random};
use crate::system::{self, program, run};
use crate::{fault, say, timed};

/// On the VPS container; its services carry Compose's own label.
const LABEL: &str = "seqn.staging.vps";
pub(crate) const COMPOSE_LABEL: &str = "com.docker.compose.project";
/// For a machine that is busy with something else too.
const SSH_LIMIT: Duration = Duration::from_secs(60);

/// The engine's version, or why there is none.
pub fn engine() -> Result<String> {
    let version = program("docker", &["version", "--format", "{{.Server.Version}}"])?;
    Ok(version.trim().to_owned())
}

pub fn up(place: &Place) -> Result<Raised> {
    let result = raise(place);
    if result.is_err() {
        show_logs(place);
    }
    result
}

fn raise(place: &Place) -> Result<Raised> {
    let socket = socket()?;
    apt::ensure(&[("ssh", "openssh-client"), ("ssh-keygen", "openssh-client"), ("age-keygen", "age")])?;
    let images = timed("images", images::ensure)?;

    let mut ports = Ports::take(1 + Project::PORTS)?;
    let ssh_port = ports.next()?;
    let secrets = Secrets::fresh()?;
    let sudo_password = random(24)?;
    let private_key = keys(place, ssh_port, &sudo_password)?;
    let age_identity = place.operator().join("age-identity.txt");
    run(Command::new("age-keygen").arg("-o").arg(&age_identity))?;
    let age_recipient = run(Command::new("age-keygen").arg("-y").arg(&age_identity))?;

    let made_of = (images.postgres.as_str(), images.services.as_str());
    let project = Project::new(place.name(), made_of, &age_recipient, &mut ports)?;
    let dir = place.project();
    project.write(&dir, &secrets)?;

    let raised = Raised {
        kind: Kind::Docker,
        name: place.name().to_owned(),
        ssh_host: "127.0.0.1".to_owned(),
        ssh_port,
        ssh_user: "ops".to_owned(),
        sudo_password,
        nopasswd_user: Some("ops-nopasswd".to_owned()),
        private_key,
        known_hosts: known_hosts(place),
        compose_project: project.name.clone(),
        backup_dir: dir.join("backups/local"),
        offsite_dir: dir.join("backups/offsite"),
        project_dir: dir,
        api_url: project.api_url(),
        authentik_url: project.authentik_url(),
        silver_pg_port: Some(project.silver_pg_port),
        authentik_pg_port: Some(project.authentik_pg_port),
        age_identity,
        age_recipient: project.age_recipient.clone(),
        login_user: LOGIN_USER.to_owned(),
        login_password: secrets.login.clone(),
        faults: fault::possible(place, Kind::Docker)?,
        seqn: project.seqn(&secrets),
    };
    timed("VPS", || make_vps(place, &raised, &images.vps, &socket))?;
    timed("services", || start_services(&raised))?;
    timed("set-up", || crate::seed(&raised, &project, &secrets))?;
    Ok(raised)
}

/// The key of the operator, the host key of the VPS, and its passwords.
fn keys(place: &Place, ssh_port: u16, sudo_password: &str) -> Result<PathBuf> {
    let private_key = place.operator().join("id_ed25519");
    let host_key = place.machine().join("ssh_host_ed25519_key");
    for (key, comment) in [(&private_key, "operator"), (&host_key, place.name())] {
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
            .arg(key))?;
    }
    fs::copy(private_key.with_extension("pub"), place.machine().join("authorized_keys"))?;
    let public = fs::read_to_string(host_key.with_extension("pub"))?;
    write_private(&known_hosts(place), &format!("[127.0.0.1]:{ssh_port} {public}"))?;
    write_private(
        &place.machine().join("passwords"),
        &format!("ops:{sudo_password}\nroot:{sudo_password}\n"),
    )?;
    Ok(private_key)
}

fn known_hosts(place: &Place) -> PathBuf {
    place.operator().join("known_hosts")
}

/// The engine's socket, which the VPS gets as its own.
fn socket() -> Result<PathBuf> {
    let host = match std::env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() => host,
        _ => {
            let format = "{{.Endpoints.docker.Host}}";
            let host = program("docker", &["context", "inspect", "--format", format])?;
            host.trim().to_owned()
        }
    };
    match host.strip_prefix("unix://") {
        Some(path) => Ok(PathBuf::from(path)),
        None => bail!("the engine at {host} is not on this machine, and the VPS needs its socket"),
    }
}

fn make_vps(place: &Place, raised: &Raised, image: &str, socket: &PathBuf) -> Result<()> {
    let docker_gid =
        fs::metadata(socket).with_context(|| format!("no socket at {}", socket.display()))?.gid();
    // Files of a caller who isn't root must stay the caller's own, so that `down` can remove them.
    let ops_uid = match system::uid()? {
        0 => 1000,
        uid => uid,
    };
    let disk = place.disk().display().to_string();
    run(Command::new("docker")
        .args(["run", "--detach", "--init", "--network", "host"])
        .args(["--hostname", "vps"])
        .args(["--name", &vps(place)])
        .args(["--label", &format!("{LABEL}={}", place.name())])
        .args(["--label", &format!("{LABEL}.dir={}", place.dir().display())])
        .args(["--env", &format!("SSH_PORT={}", raised.ssh_port)])
        .args(["--env", &format!("OPS_UID={ops_uid}")])
        .args(["--env", &format!("DOCKER_GID={docker_gid}")])
        .args(["--env", &format!("PROJECT_DIR={}", raised.project_dir.display())])
        .args(["--volume", &format!("{}:/machine:ro", place.machine().display())])
        // The same path inside and out: Compose hands paths to the engine, which is outside.
        .args(["--volume", &format!("{disk}:{disk}")])
        .args(["--volume", &format!("{}:/var/run/docker.sock", socket.display())])
        .arg(image))?;
    lets_in(raised)
}

/// The container that is the VPS.
fn vps(place: &Place) -> String {
    format!("{}-vps", place.name())
}

/// Ends the processes that serve logins; what they ran goes on, with nobody at the other end.
pub(crate) fn cut_ssh(place: &Place) -> Result<()> {
    // Not all of them are there at any time, and pkill fails where none is.
    let sessions = "pkill -KILL -f '^sshd: ops' || [ $? -eq 1 ]";
    run(Command::new("docker").args(["exec", &vps(place), "sh", "-c", sessions])).map(drop)
}

/// Its SSH server is away, and what logins run on it ends. Services are the engine's.
pub(crate) fn stop_vps(place: &Place) -> Result<()> {
    run(Command::new("docker").args(["stop", "--time", "0", &vps(place)])).map(drop)
}

pub(crate) fn start_vps(place: &Place, raised: &Raised) -> Result<()> {
    run(Command::new("docker").args(["start", &vps(place)]))?;
    lets_in(raised)
}

fn lets_in(raised: &Raised) -> Result<()> {
    let begun = Instant::now();
    loop {
        match run(raised.ssh().arg("true")) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > SSH_LIMIT => {
                return Err(error).context("the VPS does not let ops in");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn start_services(raised: &Raised) -> Result<()> {
    let dir = raised.project_dir.display();
    run(raised
        .ssh()
        .arg(format!("cd {dir} && docker compose --progress quiet up --detach --wait --wait-timeout 180")))
    .context("the services do not become healthy")?;
    run(raised.ssh().arg(format!("curl -fsS -m 10 {}/healthz", raised.api_url)))
        .context("silver-auth-api is healthy but not reached from the VPS")?;
    Ok(())
}

/// Removes containers, networks and volumes by their labels, so that neither a record nor the
/// directory is needed.
pub fn down(place: &Place) -> Result<()> {
    if let Err(error) = engine() {
        if place.kind() == Some(Kind::Docker) {
            return Err(error).context("what was raised cannot be removed without the engine");
        }
        return Ok(());
    }
    let uid = system::uid()?;
    if uid != 0 {
        // What root on the VPS wrote could not be removed from out here. Fails where no VPS runs.
        let _ = run(Command::new("docker")
            .args(["exec", &vps(place)])
            .args(["chown", "-R", &uid.to_string()])
            .arg(place.disk()));
    }
    let vps = format!("label={LABEL}={}", place.name());
    let services = format!("label={COMPOSE_LABEL}={}", place.name());
    // The VPS goes first: a `compose up` that still runs on it would make more. What it had
    // already asked the engine for may appear late, hence the second look.
    for _ in 0..10 {
        let mut found = remove(&["ps", "--all"], &vps, &["rm", "--force", "--volumes"])?;
        found |= remove(&["ps", "--all"], &services, &["rm", "--force", "--volumes"])?;
        found |= remove(&["network", "ls"], &services, &["network", "rm"])?;
        found |= remove(&["volume", "ls"], &services, &["volume", "rm", "--force"])?;
        if !found {
            return Ok(());
        }
    }
    bail!("containers of {} come back as fast as they are removed", place.name())
}

/// Removes what a listing finds, and tells whether it found anything.
fn remove(list: &[&str], filter: &str, remove: &[&str]) -> Result<bool> {
    let found = run(Command::new("docker").args(list).args(["--quiet", "--filter", filter]))?;
    let ids: Vec<&str> = found.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(false);
    }
    if let Err(error) = run(Command::new("docker").args(remove).args(&ids)) {
        // Somebody else may have removed one of them in between; the next look tells.
        say(&format!("{error:#}"));
    }
    Ok(true)
}

/// What the containers said last, for whoever must find out why `up` failed.
fn show_logs(place: &Place) {
    for filter in
        [format!("label={LABEL}={}", place.name()), format!("label={COMPOSE_LABEL}={}", place.name())]
    {
        let format = "{{.Names}}: {{.Status}}";
        let list = ["ps", "--all", "--filter", &filter, "--format", format];
        for line in program("docker", &list).unwrap_or_default().lines() {
            say(line);
            let name = line.split(':').next().unwrap_or_default();
            let logs = Command::new("docker").args(["logs", "--tail", "8", name]).output();
            let Ok(logs) = logs else { continue };
            for said in [logs.stdout, logs.stderr] {
                for line in String::from_utf8_lossy(&said).lines() {
                    say(&format!("  {line}"));
                }
            }
        }
    }
}

/// Removes the cached images and files, or with `list` only names them.
pub fn clean(all: bool, list: bool) -> Result<Vec<String>> {
    let mut lines = match engine() {
        Ok(_) => images::clean(all, list)?,
        Err(error) => {
            say(&format!("images are left alone, no engine answers: {error:#}"));
            Vec::new()
        }
    };
    for name in ["compose", "target"] {
        let dir = cache_dir()?.join(name);
        if dir.exists() {
            if !list {
                fs::remove_dir_all(&dir)?;
            }
            let done = if list { "" } else { "removed " };
            lines.push(format!("{done}directory {}", dir.display()));
        }
    }
    Ok(lines)
}
