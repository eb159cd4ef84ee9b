//! The images, made without a registry and kept between runs.
//!
//! A tag says what its image was made from, so a change of a Dockerfile makes a new one and two
//! `up`s at a time agree on the rest.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::apt::{self, Compose};
use crate::place::{cache_dir, hex, lock_file};
use crate::say;
use crate::system::{program, run};

const BASE: &str = "debian:12-slim";
const BASE_SUITE: &str = "bookworm";
/// On every image that is made here, so that `clean` finds them and no other.
pub const LABEL: &str = "seqn.staging.image";
const SCRATCH: &str = "half-made-";
const STANDIN_OVERRIDE: &str = "SEQN_STANDIN";

pub struct Images {
    pub postgres: String,
    pub services: String,
    pub vps: String,
}

/// The three images, made where they are missing.
pub fn ensure() -> Result<Images> {
    // The second of two `up`s at a time waits here and then finds everything made.
    let _lock = exclusive()?;
    thread::scope(|scope| {
        let standin = scope.spawn(standin);
        let compose = scope.spawn(apt::compose);
        let base = base()?;
        let postgres = scope.spawn({
            let base = base.clone();
            move || postgres(&base)
        });
        let vps = vps(&base, &joined(compose)?)?;
        Ok(Images { postgres: joined(postgres)?, services: services(&joined(standin)?)?, vps })
    })
}

/// Compose v2 alone.
pub fn compose() -> Result<Compose> {
    let _lock = exclusive()?;
    apt::compose()
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a build thread panicked"))?
}

/// Removes the images that were made here, or with `list` only names them. Those that a container
/// still uses are kept.
pub fn clean(all: bool, list: bool) -> Result<Vec<String>> {
    let _lock = exclusive()?;
    let mut lines = Vec::new();
    let format = "{{.ID}} {{.Repository}}:{{.Tag}} {{.Size}}";
    let images =
        program("docker", &["image", "ls", "--filter", &format!("label={LABEL}"), "--format", format])?;
    // The base comes last: an image whose children are there cannot go.
    let (base, made): (Vec<&str>, Vec<&str>) =
        images.lines().partition(|line| line.contains(&format!(" {BASE} ")));
    for line in made.into_iter().chain(base.into_iter().filter(|_| all)) {
        let mut fields = line.split(' ');
        let (id, tag) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let name = if tag.contains("<none>") { id } else { tag };
        if list {
            lines.push(format!("image {line}"));
        } else {
            match program("docker", &["image", "rm", name]) {
                Ok(_) => lines.push(format!("removed image {line}")),
                Err(error) => lines.push(format!("kept image {line}: {error:#}")),
            }
        }
    }
    Ok(lines)
}

fn exclusive() -> Result<File> {
    let path = cache_dir()?.join("images.lock");
    let file = lock_file(&path)?;
    if file.try_lock().is_err() {
        say("waiting for another `staging` that is making images");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    // Who holds the lock owns all that is half made; a killed one couldn't tidy up.
    for entry in fs::read_dir(cache_dir()?)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(SCRATCH.as_bytes())) {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(file)
}

/// A directory for what is half made. Only for who holds the lock on images.
pub fn scratch() -> Result<TempDir> {
    let made = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(cache_dir()?);
    made.context("cannot make a temporary directory in the cache")
}

fn exists(tag: &str) -> bool {
    program("docker", &["image", "inspect", "--format", "{{.Id}}", tag]).is_ok()
}

/// The id of the base image. Who has pulled `debian:12-slim` uses that one; else it is put
/// together from Debian's packages.
fn base() -> Result<String> {
    if !exists(BASE) {
        apt::ensure(&[("mmdebstrap", "mmdebstrap")])?;
        let sources = apt::sources(BASE_SUITE)?;
        say(&format!("making {BASE} with mmdebstrap"));
        make_base(&sources).context("the Debian base image cannot be made")?;
    }
    let id = program("docker", &["image", "inspect", "--format", "{{.Id}}", BASE])?;
    Ok(id.trim().to_owned())
}

fn make_base(sources: &[String]) -> Result<()> {
    let log = tempfile::tempfile()?;
    let mut bootstrap = Command::new("mmdebstrap")
        .args(["--variant=minbase", "--quiet"])
        .arg("--aptopt=Acquire::Languages \"none\"")
        .args(["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"])
        .arg("--dpkgopt=path-exclude=/usr/share/locale/*")
        .args([BASE_SUITE, "-"])
        .args(sources)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?)
        .spawn()
        .context("cannot run mmdebstrap")?;
    let tar = bootstrap.stdout.take().context("mmdebstrap has no output")?;
    let imported = Command::new("docker")
        .args(["import", "-c", "CMD [\"bash\"]", "-c", &format!("LABEL {LABEL}=base"), "-"])
        .stdin(tar)
        .output()
        .context("cannot run docker");
    let status = bootstrap.wait()?;
    let imported = imported?;
    let id = String::from_utf8_lossy(&imported.stdout).trim().to_owned();
    if !status.success() {
        // Half a system would be a working image as far as docker can tell.
        if imported.status.success() {
            let _ = program("docker", &["image", "rm", &id]);
        }
        bail!("mmdebstrap failed:\n{}", read_back(log)?);
    }
    if !imported.status.success() {
        bail!("docker import: {}", String::from_utf8_lossy(&imported.stderr).trim());
    }
    program("docker", &["tag", &id, BASE])?;
    Ok(())
}

fn read_back(mut log: File) -> Result<String> {
    use std::io::{Read, Seek};
    let mut text = String::new();
    log.rewind()?;
    log.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn postgres(base: &str) -> Result<String> {
    let files = [
        ("Dockerfile", include_str!("../../files/postgres/Dockerfile")),
        ("entrypoint.sh", include_str!("../../files/postgres/entrypoint.sh")),
    ];
    build("postgres", base, &files, None)
}

fn vps(base: &str, compose: &Compose) -> Result<String> {
    let files = [
        ("Dockerfile", include_str!("../../files/vps/Dockerfile")),
        ("entrypoint.sh", include_str!("../../files/vps/entrypoint.sh")),
        ("sshd_config", include_str!("../../files/vps/sshd_config")),
    ];
    let plugin = (compose.file.as_path(), "docker-compose");
    build("vps", &format!("{base} {}", compose.version), &files, Some(plugin))
}

fn services(standin: &Path) -> Result<String> {
    let files = [("Dockerfile", include_str!("../../files/standin/Dockerfile"))];
    let content = fs::read(standin).with_context(|| format!("cannot read {}", standin.display()))?;
    let made_from = hex(&Sha256::digest(content));
    build("services", &made_from, &files, Some((standin, "seqn-standin")))
}

/// Builds an image where there is none yet that was made from the same.
fn build(
    name: &str,
    made_from: &str,
    files: &[(&str, &str)],
    binary: Option<(&Path, &str)>,
) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(made_from);
    for (file, content) in files {
        hash.update(format!("\0{file}\0{content}"));
    }
    let tag = format!("seqn-staging/{name}:{}", &hex(&hash.finalize())[..12]);
    if exists(&tag) {
        return Ok(tag);
    }
    say(&format!("building the image {tag}"));
    let context = scratch()?;
    for (file, content) in files {
        fs::File::create(context.path().join(file))?.write_all(content.as_bytes())?;
    }
    if let Some((from, to)) = binary {
        let to = context.path().join(to);
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    run(Command::new("docker")
        // BuildKit is a plugin that Debian's client doesn't have.
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--quiet", "--force-rm", "--network", "host"])
        .args(["--tag", &tag])
        .arg(context.path()))
    .with_context(|| format!("the image {tag} cannot be built"))?;
    Ok(tag)
}

/// The services' program, linked statically because its image has nothing else in it.
fn standin() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(STANDIN_OVERRIDE) {
        return Ok(PathBuf::from(path));
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    if !manifest.is_file() {
        bail!(
            "{} is gone, so seqn-standin cannot be built; name a static one in {STANDIN_OVERRIDE}",
            manifest.display()
        );
    }
    let about = program("rustc", &["-vV"])?;
    let host =
        about.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not tell its host")?;
    // Away from the project's own target directory: that one's lock is held by a `cargo test`.
    let target = cache_dir()?.join("target");
    if !target.exists() {
        say("building seqn-standin");
    }
    run(Command::new("cargo")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .args(["build", "--quiet", "--locked", "--no-default-features", "--bin", "seqn-standin"])
        // Naming the target keeps the flags away from build scripts.
        .args(["--target", host])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target))
    .context("seqn-standin cannot be built")?;
    Ok(target.join(host).join("debug/seqn-standin"))
}
