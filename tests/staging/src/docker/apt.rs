//! What comes from Debian: missing programs, the suites to build images from, Compose v2.
//!
//! The mirror is always the one that this machine's own apt sources name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::place::{cache_dir, hex, write_file};
use crate::say;
use crate::system::{self, run};
use sha2::{Digest, Sha256};

/// Compose v2 came to Debian with this suite; Debian 12 has only v1, whose command line differs.
const COMPOSE_SUITE: &str = "trixie";
const COMPOSE_PACKAGE: &str = "docker-compose";
const COMPOSE_FILE: &str = "usr/libexec/docker/cli-plugins/docker-compose";
const COMPOSE_OVERRIDE: &str = "SEQN_COMPOSE_PLUGIN";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Compose v2 as a plugin file of the docker client, and what tells it from another.
pub struct Compose {
    pub file: PathBuf,
    pub version: String,
}

/// Installs the packages of those programs that are not there, and says so.
pub fn ensure(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !system::has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if system::uid()? != 0 || !system::has("apt-get") {
        bail!("this machine lacks {list}; install them first: apt-get install {list}");
    }
    say(&format!("installing with apt-get: {list}"));
    let install = || {
        run(Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-qq", "-y", "--no-install-recommends"])
            .args(&missing))
    };
    // The package lists may be old or not there at all.
    if install().is_err() {
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        install()?;
    }
    Ok(())
}

/// Lines for a `sources.list` of another Debian suite, from the mirrors of this machine: the suite
/// itself, then its updates and security where this machine has those.
pub fn sources(suite: &str) -> Result<Vec<String>> {
    let mine = match (system::os_release("ID"), system::os_release("VERSION_CODENAME")) {
        (Some(id), Some(codename)) if id == "debian" => codename,
        _ => bail!("this is not a Debian machine, so it names no Debian mirror"),
    };
    let mut lines = rewritten(&targets()?, &mine, suite);
    if lines.is_empty() && system::uid()? == 0 {
        // A new machine has no package lists, and apt tells only of sources that it has some of.
        say("running apt-get update");
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        lines = rewritten(&targets()?, &mine, suite);
    }
    if lines.is_empty() {
        bail!(
            "apt knows no mirror of Debian {mine} on this machine; is it in its sources, and did \
             `apt-get update` reach it?"
        );
    }
    Ok(lines)
}

fn targets() -> Result<String> {
    run(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))
}

fn rewritten(targets: &str, mine: &str, suite: &str) -> Vec<String> {
    let signed = match Path::new(KEYRING).exists() {
        true => format!("[signed-by={KEYRING}] "),
        false => String::new(),
    };
    let mut lines = Vec::new();
    for wanted in ["", "-updates", "-security"] {
        for target in targets.lines() {
            let mut fields = target.split_whitespace();
            let (Some(uri), Some(release), Some("main")) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let line = format!("deb {signed}{uri} {suite}{wanted} main");
            if release.strip_prefix(mine) == Some(wanted) && !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// Compose v2, from the cache or from Debian. Only its one file is taken: installing the package
/// with that suite's sources would replace the machine's engine.
pub fn compose() -> Result<Compose> {
    if let Some(path) = std::env::var_os(COMPOSE_OVERRIDE) {
        let file = PathBuf::from(path);
        let content =
            fs::read(&file).with_context(|| format!("{COMPOSE_OVERRIDE}: cannot read {}", file.display()))?;
        let version = hex(&Sha256::digest(content));
        return Ok(Compose { file, version });
    }
    let dir = cache_dir()?.join("compose");
    let (file, record) = (dir.join("docker-compose"), dir.join("version"));
    if let (true, Ok(version)) = (file.is_file(), fs::read_to_string(&record)) {
        return Ok(Compose { file, version });
    }
    say(&format!("fetching Compose v2 from Debian {COMPOSE_SUITE}"));
    let version = fetch_compose(&dir).with_context(|| {
        format!(
            "Compose v2 is not to be had from Debian {COMPOSE_SUITE} through this machine's \
             mirror; name a docker-compose v2 plugin file in {COMPOSE_OVERRIDE} instead"
        )
    })?;
    // Last, because it says that the file is whole.
    write_file(&record, version.as_bytes(), 0o644)?;
    Ok(Compose { file, version })
}

fn fetch_compose(dir: &Path) -> Result<String> {
    let mirror = sources(COMPOSE_SUITE)?.swap_remove(0);
    let scratch = super::images::scratch()?;
    let at = |name: &str| scratch.path().join(name);
    for name in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(at(name))?;
    }
    fs::write(at("sources.list"), mirror + "\n")?;
    fs::write(at("status"), "")?;
    // A configuration of its own, so that the machine's packages are neither read nor changed.
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(scratch.path());
        let options = [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", PathBuf::from("/dev/null")),
            ("Dir::State", at("state")),
            ("Dir::State::status", at("status")),
            ("Dir::Cache", at("cache")),
        ];
        for (key, value) in options {
            command.arg("-o").arg(format!("{key}={}", value.display()));
        }
        command.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]);
        // Without this, apt only warns when a mirror doesn't have the suite.
        command.args(["-o", "APT::Update::Error-Mode=any", "-qq"]);
        run(command.args(args))
    };
    apt(&["update"])?;
    apt(&["download", COMPOSE_PACKAGE])?;
    let package = fs::read_dir(scratch.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .context("apt-get downloaded no package")?;
    let version = run(Command::new("dpkg-deb").arg("--field").arg(&package).arg("Version"))?;
    run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(at("root")))?;
    let plugin = at("root").join(COMPOSE_FILE);
    if !plugin.is_file() {
        bail!("{COMPOSE_PACKAGE} {} has no {COMPOSE_FILE}", version.trim());
    }
    fs::create_dir_all(dir)?;
    fs::rename(plugin, dir.join("docker-compose"))?;
    Ok(version.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::rewritten;

    #[test]
    fn only_the_machines_own_debian_suites_are_rewritten() {
        let targets = "https://mirror.invalid/debian/ bookworm-updates main\n\
                       https://mirror.invalid/debian/ bookworm main\n\
                       https://mirror.invalid/debian/ bookworm contrib\n\
                       https://other.invalid/apt/ cloud-sdk-bookworm main\n\
                       https://other.invalid/apt/ nodistro main\n";
        let lines = rewritten(targets, "bookworm", "trixie");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with("https://mirror.invalid/debian/ trixie main"));
        assert!(lines[1].ends_with("https://mirror.invalid/debian/ trixie-updates main"));
    }
}
