//! Authentik's stand-in as others see it: the official client of its admin API and a standard OpenID
//! Connect library work with it, as they do with the real one.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Vps, good, output, skipped};
use sha2::{Digest, Sha256};

const REQUIREMENTS: &str = include_str!("clients/requirements.txt");

/// A Python with both libraries, made once and kept; the error says why there is none.
fn python() -> Result<PathBuf, String> {
    let hash = Sha256::digest(REQUIREMENTS);
    let name: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let cache = staging::cache_dir().map_err(|error| format!("{error:#}"))?;
    let venv = cache.join(format!("clients-{name}"));
    let python = venv.join("bin/python");
    let imports = "import authentik_client, authlib, joserfc, requests";
    let works = || output(Command::new(&python).args(["-c", imports])).status.success();
    if python.exists() && works() {
        return Ok(python);
    }
    let requirements = format!("{}/tests/clients/requirements.txt", env!("CARGO_MANIFEST_DIR"));
    for command in [
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv),
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement", &requirements]),
    ] {
        let out = command.output().map_err(|error| format!("no python3: {error}"))?;
        if !out.status.success() {
            let said = [out.stdout, out.stderr].concat();
            return Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&said)));
        }
    }
    Ok(python)
}

#[test]
fn the_official_client_and_a_standard_library_work() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return skipped(&format!("the clients cannot be installed from PyPI: {why}")),
    };
    let Some(vps) = Vps::raise("sandbox") else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/official.py");
    let said = good(Command::new(python).arg(script).arg(vps.dir.join("raised.json")));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 9, "{said}");
}
