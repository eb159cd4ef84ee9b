//! The sandbox's SSH daemon: raised with it, and killed and started again by whoever tests that.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use russh::keys::ssh_key::LineEnding;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::process::{MARK, Process, marked, start_daemon, tell_starter};
use super::ssh::{SshConfig, SshServer, generate_key, known_hosts_line};
use super::{USER, run_dir};
use crate::place::{Place, make_dir, write_private};
use crate::secrets::random;

/// Whoever listens here holds the loopback network.
const NETWORK_CLAIM: u16 = 65_000;

/// As which the sandbox's program is this daemon.
const COMMAND: &str = "sshd";

/// What the SSH daemon serves; it reads this at its start.
#[derive(Serialize, Deserialize)]
pub struct Sshd {
    pub port: u16,
    pub password: String,
    pub host_key: PathBuf,
    pub authorized_keys: PathBuf,
    pub home: PathBuf,
    control: PathBuf,
    pub environment: Vec<(String, String)>,
}

/// What the SSH daemon says when it serves.
#[derive(Serialize, Deserialize)]
pub struct Serving {
    pub port: u16,
    /// Three bytes of a loopback network that no other sandbox has.
    pub network: String,
}

/// Makes its keys and starts it.
pub fn raise(
    place: &Place,
    machine: &Machine,
    password: &str,
    private_key: &Path,
    port: u16,
) -> Result<Serving> {
    let home = place.disk().join("home").join(USER);
    make_dir(&home, 0o755)?;
    let host_key = generate_key()?;
    let own_key = generate_key()?;
    let host_key_file = machine.dir.join("ssh_host_ed25519_key");
    let authorized_keys = machine.dir.join("authorized_keys");
    write_private(&host_key_file, &host_key.to_openssh(LineEnding::LF)?)?;
    write_private(private_key, &own_key.to_openssh(LineEnding::LF)?)?;
    let public = own_key.public_key().to_openssh()? + "\n";
    write_private(&private_key.with_extension("pub"), &public)?;
    write_private(&authorized_keys, &public)?;

    let path =
        format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", machine.bin().display());
    let mut environment = vec![("PATH".to_owned(), path), (MARK.to_owned(), machine.name.clone())];
    // Where the prepared Postgres directories are kept, which needn't follow from HOME.
    let cache = crate::place::cache_dir()?;
    if let Some(cache) = cache.parent() {
        environment.push(("XDG_CACHE_HOME".to_owned(), cache.display().to_string()));
    }
    let sshd = Sshd {
        port,
        password: password.to_owned(),
        host_key: host_key_file,
        authorized_keys,
        home,
        control: control(&machine.run),
        environment,
    };
    write_private(&sshd_record(&machine.dir), &serde_json::to_string(&sshd)?)?;
    let serving = start_daemon_of(machine)?;
    let line = known_hosts_line(serving.port, host_key.public_key());
    write_private(&place.operator().join("known_hosts"), &line)?;
    Ok(serving)
}

fn start_daemon_of(machine: &Machine) -> Result<Serving> {
    let mut command = Command::new(machine.program());
    command.env(MARK, &machine.name).arg(COMMAND).arg(&machine.dir);
    let ready = start_daemon(command, &machine.dir.join("sshd.log"))?.ready();
    Ok(serde_json::from_str(&ready.context("the SSH server does not start")?)?)
}

/// Kills it at once, where it runs. What its sessions run goes on, with nobody at the other end.
pub(crate) fn kill(place: &Place) -> Result<()> {
    let daemons = daemons(place);
    daemons.iter().for_each(|daemon| daemon.signal(libc::SIGKILL));
    match daemons.iter().all(|daemon| daemon.wait(Duration::from_secs(5))) {
        true => Ok(()),
        false => bail!("the SSH server of {} can't be killed", place.dir().display()),
    }
}

/// Starts it again as it was, where it doesn't run.
pub(crate) fn start(place: &Place) -> Result<()> {
    if daemons(place).is_empty() {
        start_daemon_of(&Machine::load(&place.machine())?)?;
    }
    Ok(())
}

/// What it can be told while it serves.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Every connection is lost.
    Cut,
    /// Every exchange takes longer.
    Slow,
    Quick,
}

const SLOW: Duration = Duration::from_millis(200);

/// Has it done when this returns.
pub(crate) fn order(place: &Place, order: Order) -> Result<()> {
    let ordered = || -> Result<String> {
        let mut control = UnixStream::connect(control(&run_dir(place)))?;
        writeln!(control, "{}", serde_json::to_string(&order)?)?;
        let mut done = String::new();
        control.read_to_string(&mut done)?;
        Ok(done)
    };
    match ordered().with_context(|| format!("no SSH server answers in {}", place.dir().display()))? {
        done if done == DONE => Ok(()),
        said => bail!("the SSH server says {said:?}"),
    }
}

const DONE: &str = "done";

fn obey(server: &SshServer, mut control: UnixStream) -> Result<()> {
    let mut order = String::new();
    BufReader::new(&control).read_line(&mut order)?;
    let faults = server.faults();
    match serde_json::from_str(&order)? {
        Order::Cut => faults.cut_now(),
        Order::Slow => faults.slow_down(SLOW),
        Order::Quick => faults.slow_down(Duration::ZERO),
    }
    Ok(control.write_all(DONE.as_bytes())?)
}

/// The socket at which it takes orders.
fn control(run_dir: &Path) -> PathBuf {
    run_dir.join("sshd")
}

/// What its sessions started carries the mark too.
pub(crate) fn daemons(place: &Place) -> Vec<Process> {
    let is_daemon = |process: &Process| {
        let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(COMMAND.as_bytes())
    };
    marked(MARK, place.name()).into_iter().filter(is_daemon).collect()
}

pub fn sshd_record(dir: &Path) -> PathBuf {
    dir.join("sshd.json")
}

/// The SSH daemon's process: serves until it is ended.
pub fn serve(dir: &Path) -> Result<()> {
    let start = || -> Result<(SshServer, UnixListener, TcpListener, Serving)> {
        let sshd: Sshd = serde_json::from_str(&fs::read_to_string(sshd_record(dir))?)?;
        let (claim, network) = claim_network(dir)?;
        let keys = fs::read_to_string(&sshd.authorized_keys)?;
        let keys = keys.lines().map(russh::keys::PublicKey::from_openssh);
        let server = SshServer::start(SshConfig {
            port: sshd.port,
            password: Some(sshd.password),
            authorized_keys: keys.collect::<Result<_, _>>()?,
            host_key: Some(russh::keys::load_secret_key(&sshd.host_key, None)?),
            environment: sshd.environment,
            ..SshConfig::new(USER, sshd.home)
        })?;
        let port = server.port();
        // One that was killed left it.
        let _ = fs::remove_file(&sshd.control);
        let control = UnixListener::bind(&sshd.control)?;
        Ok((server, control, claim, Serving { port, network }))
    };
    match start() {
        Ok((server, control, _claim, serving)) => {
            tell_starter(&format!("ok {}", serde_json::to_string(&serving)?));
            for asked in control.incoming() {
                // Whoever asked sees that it wasn't done.
                let _ = asked.map_err(anyhow::Error::from).and_then(|asked| obey(&server, asked));
            }
            Ok(())
        }
        Err(error) => {
            tell_starter(&format!("{error:#}"));
            Err(error)
        }
    }
}

/// Takes the loopback network that the machine had before, else one that no other sandbox has, for as
/// long as the listener lives.
fn claim_network(dir: &Path) -> Result<(TcpListener, String)> {
    if let Ok(machine) = Machine::load(dir) {
        let address = format!("{}.1", machine.network);
        let claim = TcpListener::bind((address.as_str(), NETWORK_CLAIM));
        return Ok((claim.with_context(|| format!("{address} is in use"))?, machine.network));
    }
    for _ in 0..200 {
        let letters = random(2)?.into_bytes();
        let (Some(a), Some(b)) = (letters.first(), letters.get(1)) else {
            continue;
        };
        // Letters and digits: 62 × 62 networks in 127.48.0.0 to 127.122.255.255.
        let address = Ipv4Addr::new(127, *a, *b, 1);
        if let Ok(claim) = TcpListener::bind((address, NETWORK_CLAIM)) {
            return Ok((claim, format!("127.{a}.{b}")));
        }
    }
    bail!("no loopback network is free")
}
