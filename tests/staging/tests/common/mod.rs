//! What the tests of the services share: a VPS of either kind, and requests to what it publishes.

#![allow(dead_code)] // each test uses a part

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use staging::Raised;

pub const STAGING: &str = env!("CARGO_BIN_EXE_staging");

/// Says what is missing; where all must be tested that is a failure.
pub fn skipped(why: &str) {
    let set = |key: &str, value: &str| std::env::var(key).is_ok_and(|is| is == value);
    assert!(!set("SEQN_REQUIRE_ALL", "1") && !set("CI", "true"), "{why}, and nothing may be skipped here");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program runs")
}

#[track_caller]
pub fn good(command: &mut Command) -> String {
    let out = output(command);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{command:?}\n{said}\n{}", String::from_utf8_lossy(&out.stderr));
    said
}

pub fn staging(args: &[&str], dir: &std::path::Path) -> Command {
    let mut command = Command::new(STAGING);
    command.args(args).arg("--dir").arg(dir);
    command
}

/// Whether this machine can raise a sandbox, or say why not.
pub fn sandbox_is_possible() -> bool {
    if staging::system::uid().is_ok_and(|uid| uid == 0) && staging::system::has("apt-get") {
        // `up` sees to what is missing.
        return true;
    }
    if let Err(error) = staging::sandbox::postgres::Postgres::find() {
        skipped(&format!("{error:#}"));
        return false;
    }
    true
}

/// A raised VPS, taken down at the end, also of a test that fails.
pub struct Vps {
    pub raised: Raised,
    pub dir: PathBuf,
    _scratch: tempfile::TempDir,
}

impl Drop for Vps {
    fn drop(&mut self) {
        let _ = staging(&["down"], &self.dir).stderr(Stdio::null()).status();
    }
}

impl Vps {
    /// None where this machine can't, and may pass it over.
    pub fn raise(kind: &str) -> Option<Vps> {
        match kind {
            "docker" => {
                if let Err(error) = staging::docker::engine() {
                    skipped(&format!("no Docker engine: {error:#}"));
                    return None;
                }
            }
            _ if !sandbox_is_possible() => return None,
            _ => {}
        }
        let scratch = tempfile::tempdir().expect("a directory");
        let dir = scratch.path().join("vps");
        let mut up = staging(&["up", "--kind", kind], &dir);
        let out = output(&mut up);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let raised = serde_json::from_slice(&out.stdout).expect("one JSON line");
        Some(Vps { raised, dir, _scratch: scratch })
    }

    /// On the VPS, in the project's directory.
    pub fn on(&self, script: &str) -> Command {
        let mut ssh = self.raised.ssh();
        ssh.arg(format!("cd {} && {script}", self.raised.project_dir.display()));
        ssh
    }

    pub fn recreate(&self, services: &str) {
        let up = "docker compose --progress quiet up -d --no-deps --force-recreate --wait --wait-timeout 60";
        good(&mut self.on(&format!("{up} {services}")));
    }

    /// Sets a variable of an env file on the VPS.
    pub fn set(&self, file: &str, key: &str, value: &str) {
        good(&mut self.on(&format!("sed -i \"s|^{key}=.*|{key}='{value}'|\" {file}")));
    }

    pub fn misbehave(&self, service: &str, rules: &[&str]) {
        good(staging(&["misbehave"], &self.dir).arg(service).args(rules));
    }

    /// The console's answer.
    #[track_caller]
    pub fn console(&self, method: &str, path: &str, body: &Value) -> Answer {
        let seqn = &self.raised.seqn;
        let authorization = format!("Authorization: Bearer {}", seqn.console_token);
        request(method, &format!("{}{path}", seqn.console_url), &[&authorization], body)
    }

    /// The admin API's answer, to the operator.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let authorization = format!("Authorization: Bearer {}", self.raised.seqn.authentik_admin_token);
        request(method, &format!("{}/api/v3{path}", self.raised.authentik_url), &[&authorization], body)
    }
}

#[derive(Debug)]
pub struct Answer {
    /// 0 where there was none, or half of one.
    pub status: u16,
    pub json: Value,
}

/// By curl, as a playbook on the VPS does it.
#[track_caller]
pub fn request(method: &str, url: &str, headers: &[&str], body: &Value) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-m", "20", "-X", method, "-w", "\n%{http_code}", url]);
    for header in headers {
        curl.args(["-H", header]);
    }
    if !body.is_null() {
        curl.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
    }
    let out = output(&mut curl);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let (body, status) = said.rsplit_once('\n').unwrap_or(("", "0"));
    let status = if out.status.success() { status.parse().unwrap_or(0) } else { 0 };
    Answer { status, json: serde_json::from_str(body).unwrap_or(Value::Null) }
}

#[track_caller]
pub fn get(url: &str) -> Answer {
    request("GET", url, &[], &Value::Null)
}

/// Asks until it is so; generous, for a busy machine.
#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
