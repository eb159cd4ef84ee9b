//! `staging fault`: what it strikes is really there, for whoever looks, until it is mended.

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Vps, get, good, output, skipped, staging, wait_for};
use staging::fault::Fault;

#[test]
fn faults_of_a_sandbox() {
    let Some(vps) = Vps::raise("sandbox") else { return };
    each_fault(&vps);
    slow(&vps);
    restored(&vps);
    taken_down(&vps);
}

#[test]
fn faults_of_docker() {
    let Some(vps) = Vps::raise("docker") else { return };
    each_fault(&vps);
    let said = output(&mut fault(&vps, "slow", "strike"));
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("slow can't really happen to this VPS; what can: cut, refused"), "{said}");
    taken_down(&vps);
}

fn each_fault(vps: &Vps) {
    cut(vps);
    refused(vps);
    unhealthy(vps);
    disk_full(vps);
    denied(vps);
}

fn fault(vps: &Vps, name: &str, doing: &str) -> Command {
    staging(&["fault", name, doing], &vps.dir)
}

/// The second time is harmless.
#[track_caller]
fn twice(vps: &Vps, name: &str, doing: &str) {
    for _ in 0..2 {
        good(&mut fault(vps, name, doing));
    }
}

/// What it said where it failed, as it must.
#[track_caller]
fn fails(command: &mut Command) -> String {
    let out = output(command);
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(!out.status.success(), "{command:?}\n{said}");
    said
}

/// Whether the VPS can have it; a machine on which that must be so is none without it.
fn can(vps: &Vps, fault: Fault) -> bool {
    let can = vps.raised.faults.contains_key(&fault);
    if !can {
        skipped(&format!("{fault:?} is not possible here"));
    }
    can
}

/// A session that goes on until something ends it.
fn session(vps: &Vps) -> std::process::Child {
    let begun = vps.raised.project_dir.join("begun");
    let session = vps.on("touch begun; exec sleep 600").stdin(Stdio::null()).spawn().expect("ssh runs");
    wait_for("the session begins", || begun.exists());
    std::fs::remove_file(begun).expect("it was there");
    session
}

#[track_caller]
fn was_lost(mut session: std::process::Child) {
    let mut ended = None;
    wait_for("the session is lost", || {
        ended = session.try_wait().expect("a child");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(255));
}

fn cut(vps: &Vps) {
    let session = session(vps);
    twice(vps, "cut", "strike");
    was_lost(session);
    good(&mut vps.on("true"));
    twice(vps, "cut", "mend");
}

fn refused(vps: &Vps) {
    let session = session(vps);
    twice(vps, "refused", "strike");
    was_lost(session);
    let said = fails(&mut vps.on("true"));
    assert!(said.contains("Connection refused"), "{said}");
    twice(vps, "refused", "mend");
    good(&mut vps.on("docker compose ps"));
}

fn unhealthy(vps: &Vps) {
    let api = |path: &str| get(&format!("{}{path}", vps.raised.api_url)).status;
    let authentik = || get(&format!("{}/-/health/ready/", vps.raised.authentik_url)).status;
    let unhealthy = || {
        let ps = "docker ps --filter health=unhealthy --filter label=com.docker.compose.project=";
        good(&mut vps.on(&format!("{ps}{} --format '{{{{.Names}}}}'", vps.raised.compose_project)))
    };
    // It is told something already, which stays.
    vps.misbehave("silver-auth-api", &["GET /v1/config status=418"]);
    twice(vps, "unhealthy", "strike");
    assert_eq!((api("/healthz"), api("/v1/config"), authentik()), (503, 418, 503));
    wait_for("Compose sees it", || {
        ["silver-auth-api", "authentik-server", "authentik-worker", "shop-backend"]
            .iter()
            .all(|service| unhealthy().contains(service))
    });
    twice(vps, "unhealthy", "mend");
    assert_eq!((api("/healthz"), api("/v1/config"), authentik()), (200, 418, 200));
    // Whoever asks Compose next is not told what was.
    assert_eq!(unhealthy(), "");
    vps.misbehave("silver-auth-api", &[]);
}

fn disk_full(vps: &Vps) {
    if !can(vps, Fault::DiskFull) {
        return;
    }
    twice(vps, "disk-full", "strike");
    let said = fails(&mut vps.on("cp .env more"));
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(good(&mut vps.on("df -Pk . | awk 'END { print $4 }'")).trim(), "0");
    twice(vps, "disk-full", "mend");
    good(&mut vps.on("cp .env more && rm more"));
}

fn denied(vps: &Vps) {
    if !can(vps, Fault::Denied) {
        return;
    }
    twice(vps, "denied", "strike");
    for change in ["echo more >>.env", "mv .env other", "touch more", "touch consumers/shop-backend/.env.new"]
    {
        let said = fails(&mut vps.on(change));
        assert!(said.contains("Operation not permitted"), "{change}: {said}");
    }
    // What isn't a change of the project's files goes on: containers, with the files that they see.
    vps.recreate("legacy-webhooks shop-webhooks");
    vps.misbehave("shop-backend", &["* * status=418"]);
    vps.misbehave("shop-backend", &[]);
    twice(vps, "denied", "mend");
    good(&mut vps.on("cp -p .env other && mv other .env"));
}

fn slow(vps: &Vps) {
    let quick = login(vps);
    twice(vps, "slow", "strike");
    // A login alone is some five exchanges, of which a fast machine makes one now and then.
    let took = login(vps);
    assert!(took > quick + Duration::from_millis(3 * 200), "{quick:?}, then {took:?}");
    twice(vps, "slow", "mend");
    is_quick(vps);
}

fn login(vps: &Vps) -> Duration {
    let began = Instant::now();
    good(&mut vps.on("true"));
    began.elapsed()
}

fn is_quick(vps: &Vps) {
    wait_for("it is as fast as before", || login(vps) < Duration::from_secs(1));
}

fn restored(vps: &Vps) {
    good(&mut staging(&["snapshot"], &vps.dir));
    strike_all(vps);
    good(&mut staging(&["restore"], &vps.dir));
    good(&mut vps.on("echo more >more && rm more && cp -p .env other && mv other .env"));
    assert_eq!(get(&format!("{}/healthz", vps.raised.api_url)).status, 200);
    is_quick(vps);
}

/// Nothing is left of it, not even of what was never mended.
fn taken_down(vps: &Vps) {
    strike_all(vps);
    good(&mut staging(&["down"], &vps.dir));
    assert!(!vps.dir.exists());
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc");
    assert!(!mounts.contains(vps.dir.to_str().expect("UTF-8")), "{mounts}");
}

fn strike_all(vps: &Vps) {
    // Slow is told to the server that `refused` takes away.
    let mut faults: Vec<Fault> = vps.raised.faults.keys().copied().collect();
    faults.sort_by_key(|fault| *fault == Fault::Refused);
    for name in faults.iter().map(|fault| fault.name()) {
        good(&mut fault(vps, &name, "strike"));
    }
}
