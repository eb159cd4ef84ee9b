//! The kind `sandbox`: the same VPS from local processes, for machines without a Docker engine.
//!
//! An SSH server lets `ops` in to a real shell, on whose PATH a strict stand-in for `docker` runs
//! the Compose project's services as processes, with real Postgres servers on loopback addresses
//! of their own. Nothing is isolated: whoever logs in is the user who raised it, also after `sudo`.

pub mod client;
pub mod docker;
pub mod machine;
pub(crate) mod mirror;
pub mod postgres;
pub mod process;
pub mod snapshot;
mod ssh;
pub mod sshd;
pub mod sudo;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::docker::container::Container;
use self::machine::{Machine, POSTGRES_IMAGE, SERVICES_IMAGE};
use self::postgres::{Postgres, TOOLS, free_shared_memory, is_our_dir};
use self::process::{MARK, Process, marked};
pub use self::ssh::{Faults, SshConfig, SshServer, generate_key, known_hosts_line};
use crate::docker::ensure_programs;
use crate::place::{Place, make_dir};
use crate::ports::Ports;
use crate::project::{LOGIN_USER, Project};
use crate::raised::{Kind, Raised};
use crate::secrets::{Secrets, random};
use crate::system::run;
use crate::{fault, timed};

const USER: &str = "ops";

pub fn up(place: &Place) -> Result<Raised> {
    ensure_programs(&[("ssh", "openssh-client"), ("age", "age"), ("age-keygen", "age"), ("curl", "curl")])?;
    let postgres = find_postgres()?;
    let mut ports = Ports::take(1 + Project::PORTS)?;
    let sudo_password = random(24)?;
    let secrets = Secrets::fresh()?;

    let run_dir = run_dir(place);
    make_run_dir(&run_dir)?;
    let mut machine = Machine {
        name: place.name().to_owned(),
        dir: place.machine(),
        docker: place.disk().join("docker"),
        run: run_dir,
        network: String::new(),
        standin: place.machine().join("lib/seqn-standin"),
        postgres,
    };
    install_programs(&machine)?;

    let private_key = place.operator().join("id_ed25519");
    let ssh = timed("sshd", || sshd::raise(place, &machine, &sudo_password, &private_key, ports.next()?))?;
    machine.network = ssh.network;
    machine.save()?;

    let age_identity = place.operator().join("age-identity.txt");
    run(Command::new("age-keygen").arg("-o").arg(&age_identity))?;
    let age_recipient = run(Command::new("age-keygen").arg("-y").arg(&age_identity))?;
    let images = (POSTGRES_IMAGE, SERVICES_IMAGE);
    let project = Project::new(place.name(), images, &age_recipient, &mut ports)?;
    let dir = place.project();
    project.write(&dir, &secrets)?;

    let raised = Raised {
        kind: Kind::Sandbox,
        name: place.name().to_owned(),
        ssh_host: "127.0.0.1".to_owned(),
        ssh_port: ssh.port,
        ssh_user: USER.to_owned(),
        sudo_password,
        nopasswd_user: None,
        private_key,
        known_hosts: place.operator().join("known_hosts"),
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
        faults: fault::possible(place, Kind::Sandbox)?,
        seqn: project.seqn(&secrets),
    };
    timed("services", || start_services(&raised))?;
    timed("set-up", || crate::seed(&raised, &project, &secrets))?;
    Ok(raised)
}

/// The machine's own Postgres, from Debian's package where it is missing and can be installed.
fn find_postgres() -> Result<Postgres> {
    if Postgres::find().is_err() {
        ensure_programs(&[("postgres", "postgresql")])?;
    }
    Postgres::find()
}

/// Short, and derived from the name, so that what a killed `up` left is found again.
fn run_dir(place: &Place) -> PathBuf {
    Path::new("/tmp").join(place.name())
}

fn make_run_dir(dir: &Path) -> Result<()> {
    // Not recursive: it must be new, since anybody can make such a directory in /tmp.
    fs::DirBuilder::new()
        .mode(0o711)
        .create(dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))?;
    for part in ["volumes", "sockets"] {
        let part = dir.join(part);
        make_dir(&part, 0o711)?;
        fs::set_permissions(&part, fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// Puts the sandbox's own programs where its users look for them. They are links or copies, so
/// that a rebuild doesn't change a machine that runs.
fn install_programs(machine: &Machine) -> Result<()> {
    let lib = machine.dir.join("lib");
    for dir in [&lib, &machine.bin(), &machine.postgres_bin(), &machine.docker] {
        make_dir(dir, 0o755)?;
    }
    link(&sibling("seqn-standin")?, &machine.standin)?;
    link(&sibling("seqn-sandbox")?, &machine.program())?;
    for name in ["docker", "sudo"] {
        link(&machine.program(), &machine.bin().join(name))?;
    }
    for tool in TOOLS {
        if machine.postgres.bin.join(tool).is_file() {
            link(&machine.program(), &machine.postgres_bin().join(tool))?;
        }
    }
    Ok(())
}

fn link(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// A program that was built beside the running one; tests run one directory below.
fn sibling(name: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe().context("cannot tell which program this is")?;
    let mut dirs = exe.ancestors().skip(1).take(2);
    match dirs.find(|dir| dir.join(name).is_file()) {
        Some(dir) => Ok(dir.join(name)),
        None => bail!("{name} is not beside {}; build the whole package", exe.display()),
    }
}

fn start_services(raised: &Raised) -> Result<()> {
    let dir = raised.project_dir.display();
    let start = format!("cd {dir} && docker compose --progress quiet up --detach --wait --wait-timeout 60");
    run(raised.ssh().arg(start)).context("the services do not become healthy")?;
    let probe = format!("curl -fsS -m 10 {}/healthz", raised.api_url);
    run(raised.ssh().arg(probe)).context("silver-auth-api is healthy but not reached from the VPS")?;
    Ok(())
}

/// Ends every process of the sandbox, and removes what lies outside of its directory. Needs no
/// record: processes are found by a mark in their environment, the rest by name.
pub fn down(place: &Place) -> Result<()> {
    let mut rest = Vec::new();
    if let Ok(machine) = Machine::load(&place.machine()) {
        for container in Container::all(&machine)? {
            let state = container.state(&machine);
            // Postgres writes over its environment, so this record is how it is known.
            rest.extend(state.child);
            rest.extend(state.supervisor);
        }
    }
    for _ in 0..20 {
        rest.extend(marked(MARK, place.name()));
        rest.retain(Process::is_alive);
        if rest.is_empty() {
            break;
        }
        process::end(&rest);
    }
    if let Some(left) = rest.iter().find(|process| process.is_alive()) {
        bail!("process {} of {} can't be ended", left.pid, place.name());
    }
    let dir = run_dir(place);
    match fs::symlink_metadata(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        _ if !is_our_dir(&dir) => bail!("{} is not ours; remove it first", dir.display()),
        _ => {
            free_shared_memory(&dir.join("volumes"));
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
        }
    }
}

/// The last words of each part, for whoever must find out why `up` failed.
pub fn show_logs(place: &Place) {
    let Ok(machine) = Machine::load(&place.machine()) else {
        return;
    };
    for container in Container::all(&machine).unwrap_or_default() {
        let state = container.state(&machine);
        let (status, health) = (state.status.word(), state.health_word());
        crate::say(&format!("{}: {status} {health} {}", container.name, state.error));
        for file in ["log", "supervisor.log"] {
            let text = fs::read_to_string(container.dir(&machine).join(file)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(8).collect();
            for line in lines.iter().rev() {
                crate::say(&format!("  {line}"));
            }
        }
    }
}

/// Removes the prepared Postgres directories, or with `list` only names them.
pub fn clean(list: bool) -> Result<Vec<String>> {
    let dir = crate::place::cache_dir()?.join("postgres");
    if !dir.exists() {
        return Ok(Vec::new());
    }
    if list {
        return Ok(vec![format!("directory {}", dir.display())]);
    }
    let lock: File = crate::place::lock_file(&dir.join("lock"))?;
    lock.lock()?;
    fs::remove_dir_all(&dir)?;
    Ok(vec![format!("removed directory {}", dir.display())])
}
