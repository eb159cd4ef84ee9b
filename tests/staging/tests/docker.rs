//! The docker kind as a rotation uses it: raised, worked on, and taken down without a trace.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use staging::{Place, Raised};

const STAGING: &str = env!("CARGO_BIN_EXE_staging");

/// Where there is no engine there is nothing to test; where all must be tested that is a failure.
fn engine_is_there() -> bool {
    let Err(error) = staging::docker::engine() else {
        return true;
    };
    let set = |key: &str, value: &str| std::env::var(key).is_ok_and(|is| is == value);
    assert!(
        !set("SEQN_REQUIRE_ALL", "1") && !set("CI", "true"),
        "no Docker engine, and nothing may be skipped here: {error:#}"
    );
    let _ = writeln!(std::io::stderr(), "skipped: no Docker engine: {error:#}");
    false
}

fn up(dir: &Path) -> Command {
    let mut command = Command::new(STAGING);
    command.args(["up", "--kind", "docker", "--dir"]).arg(dir);
    command
}

fn raise(dir: &Path) -> Raised {
    serde_json::from_str(&good(&mut up(dir))).expect("one JSON line")
}

/// Takes it down also when the test fails.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = Command::new(STAGING).args(["down", "--dir"]).arg(self.0).status();
    }
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program runs")
}

#[track_caller]
fn good(command: &mut Command) -> String {
    let out = output(command);
    assert!(
        out.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Fails as it should; returns all that it said.
#[track_caller]
fn bad(command: &mut Command) -> String {
    let out = output(command);
    assert!(!out.status.success(), "{command:?} should fail");
    let said = [out.stdout, out.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

fn on(raised: &Raised, script: &str) -> Command {
    let mut ssh = raised.ssh();
    ssh.arg(format!("cd {} && {script}", raised.project_dir.display()));
    ssh
}

fn fetched(raised: &Raised, path: &str, into: &Path) {
    let out = output(raised.ssh().arg(format!("cat {path}")));
    assert!(out.status.success());
    fs::write(into, out.stdout).unwrap();
}

fn docker(args: &[&str]) -> String {
    good(Command::new("docker").args(args))
}

fn left_behind(name: &str) -> String {
    let filter = format!("name={name}");
    [
        docker(&["ps", "--all", "--quiet", "--filter", &filter]),
        docker(&["network", "ls", "--quiet", "--filter", &filter]),
        docker(&["volume", "ls", "--quiet", "--filter", &filter]),
    ]
    .concat()
}

#[test]
fn a_vps_is_raised_worked_on_and_taken_down() {
    if !engine_is_there() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let (first, second) = (scratch.path().join("first"), scratch.path().join("second"));
    let _guards = (Down(&first), Down(&second));
    let (one, two) = thread::scope(|scope| {
        let other = scope.spawn(|| raise(&second));
        (raise(&first), other.join().unwrap())
    });

    assert_ne!(one.name, two.name);
    assert_ne!(one.ssh_port, two.ssh_port);
    let info = good(Command::new(STAGING).args(["info", "--dir"]).arg(&first));
    assert_eq!(serde_json::from_str::<Raised>(&info).unwrap(), one);
    let host_vars = fs::read_to_string(first.join("raised.yml")).unwrap();
    assert!(host_vars.contains(&format!("ansible_port: {}\n", one.ssh_port)));

    logins(&one, scratch.path());
    services(&one);
    backups(&one, scratch.path());
    rotation(&one);

    // What was done to one is nothing to the other.
    let url = format!("{}/healthz", two.api_url);
    good(two.ssh().arg(format!("curl -fsS -m 5 {url}")));
    let published = docker(&["ps", "--format", "{{.Ports}}", "--filter", &format!("name={}", one.name)]);
    assert!(published.contains("127.0.0.1:"));
    assert!(!published.contains("0.0.0.0:") && !published.contains("[::]:"));

    for (dir, raised) in [(&first, &one), (&second, &two)] {
        good(Command::new(STAGING).args(["down", "--dir"]).arg(dir));
        assert_eq!(left_behind(&raised.name), "");
        assert!(!dir.exists());
        // Once more, with nothing left to remove.
        good(Command::new(STAGING).args(["down", "--dir"]).arg(dir));
    }
}

fn logins(raised: &Raised, scratch: &Path) {
    assert_eq!(good(raised.ssh().arg("id -un")), "ops\n");
    let sudo = |password: &str| {
        let mut ssh = raised.ssh();
        ssh.arg(format!("echo {password} | sudo -S -k -p '' id -un"));
        ssh
    };
    assert_eq!(good(&mut sudo(&raised.sudo_password)), "root\n");
    bad(&mut sudo("wrong"));
    bad(raised.ssh().arg("sudo -n true"));
    let nopasswd = raised.nopasswd_user.as_deref().unwrap();
    assert_eq!(good(raised.ssh_as(nopasswd).arg("sudo -n id -un")), "root\n");
    bad(raised.ssh_as("root").arg("true"));

    // A login with the password alone, which ssh asks its askpass program for.
    let askpass = scratch.join("askpass");
    let login = |password: &str| {
        fs::write(&askpass, format!("#!/bin/sh\necho {password}\n")).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let mut ssh = Command::new("ssh");
        ssh.env("SSH_ASKPASS", &askpass)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .args(["-F", "none", "-o", "PubkeyAuthentication=no"])
            .args(["-o", "NumberOfPasswordPrompts=1", "-o"])
            .arg(format!("UserKnownHostsFile={}", raised.known_hosts.display()))
            .args(["-p", &raised.ssh_port.to_string(), "ops@127.0.0.1", "id -un"]);
        ssh
    };
    assert_eq!(good(&mut login(&raised.sudo_password)), "ops\n");
    bad(&mut login("wrong"));
}

fn services(raised: &Raised) {
    let health = good(&mut on(raised, "docker compose ps --format '{{.Service}} {{.Health}}'"));
    let mut health: Vec<&str> = health.lines().collect();
    health.sort_unstable();
    assert_eq!(
        health,
        [
            "authentik-postgresql healthy",
            "authentik-server healthy",
            "authentik-worker healthy",
            "legacy-webhooks healthy",
            "reports-backend healthy",
            "shop-backend healthy",
            "shop-webhooks healthy",
            "silver-auth-api healthy",
            "silver-postgres healthy",
        ]
    );

    let psql = |sql: &str| {
        let sql = format!("docker compose exec -T silver-postgres psql -U silver -Atc \"{sql}\"");
        good(&mut on(raised, &sql))
    };
    let session = "select count(*) from pg_stat_activity where application_name = 'silver-auth-api'";
    assert_eq!(psql(session), "1\n");
    assert_eq!(psql("show log_statement"), "all\n");
    let over_the_network = "docker compose exec -T -e PGPASSWORD=wrong silver-postgres \
                            psql -h silver-postgres -U silver -c 'select 1'";
    assert!(bad(&mut on(raised, over_the_network)).contains("password authentication failed"));

    let curl = |rest: &str| good(raised.ssh().arg(format!("curl -sS -m 5 {rest}")));
    let (api, authentik) = (&raised.api_url, &raised.authentik_url);
    assert_eq!(curl(&format!("{api}/healthz")), r#"{"status":"ok"}"#);
    assert!(curl(&format!("{api}/v1/config")).contains(r#""oidc_client_id":"silver-auth""#));
    assert!(curl(&format!("-i {api}/")).contains("Location: /login"));
    assert!(curl(&format!("{api}/v1/me")).contains("unauthenticated"));
    let form = |password: &str| format!("-d user={} -d password={password} {api}/login", raised.login_user);
    assert!(curl(&form("wrong")).contains("invalid_credentials"));
    curl(&format!("-c jar {}", form(&raised.login_password)));
    assert!(curl(&format!("-b jar {api}/v1/me")).contains(&raised.login_user));
    curl(&format!("-f {authentik}/-/health/ready/"));
    assert!(curl(&format!("-fL {authentik}/if/admin/")).contains("<title>authentik"));
}

fn backups(raised: &Raised, scratch: &Path) {
    let local = good(&mut on(raised, "./backup-local.sh"));
    assert_eq!(local.lines().count(), 2);
    for dump in local.lines() {
        assert_eq!(good(raised.ssh().arg(format!("head -c 5 {dump}"))), "PGDMP");
    }

    let archives = good(&mut on(raised, "./backup-offsite.sh"));
    assert_eq!(archives.lines().count(), 2);
    let archive = scratch.join("archive");
    let decrypted = |identity: &Path| {
        let mut age = Command::new("age");
        age.arg("-d").arg("-i").arg(identity).arg(&archive);
        age
    };
    let stranger = scratch.join("stranger");
    good(Command::new("age-keygen").arg("-o").arg(&stranger));
    for path in archives.lines() {
        fetched(raised, path, &archive);
        assert!(output(&mut decrypted(&raised.age_identity)).stdout.starts_with(b"PGDMP"));
        bad(&mut decrypted(&stranger));
    }

    // A GPG recipient beside the age one.
    let gnupg = tempfile::tempdir().unwrap();
    let gpg = || {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .arg("--homedir")
            .arg(gnupg.path());
        gpg
    };
    good(gpg().args(["--quick-generate-key", "backup@staging.invalid", "rsa2048", "encr"]));
    let public = good(gpg().args(["--armor", "--export"]));
    let mut import = raised.ssh().arg("gpg --batch --quiet --import").stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(public.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    let set = "sed -i 's/^#OFFSITE_BACKUP_GPG_RECIPIENT=.*/OFFSITE_BACKUP_GPG_RECIPIENT=backup@staging.invalid/' .env";
    // Two archives of the same second would have the same name.
    good(&mut on(raised, &format!("sleep 1.1; {set}")));
    let archives = good(&mut on(raised, "./backup-offsite.sh"));
    assert_eq!(archives.lines().count(), 4);
    let path = archives.lines().find(|path| path.ends_with("silver.dump.gpg")).unwrap();
    fetched(raised, path, &archive);
    assert!(output(gpg().arg("-d").arg(&archive)).stdout.starts_with(b"PGDMP"));
    let _ = Command::new("gpgconf").arg("--homedir").arg(gnupg.path()).args(["--kill", "all"]).status();

    // A recipient that is none: an error, and nothing half done.
    let before = good(&mut on(raised, "find backups | sort"));
    good(&mut on(
        raised,
        "cp -p .env .env.kept; sed -i 's/^OFFSITE_BACKUP_AGE.*/OFFSITE_BACKUP_AGE_RECIPIENT=age1nobody/' .env",
    ));
    bad(&mut on(raised, "./backup-offsite.sh"));
    good(&mut on(raised, "mv .env.kept .env"));
    assert_eq!(good(&mut on(raised, "find backups | sort")), before);
}

/// The database password's rotation, by hand: what a playbook does later.
fn rotation(raised: &Raised) {
    let fresh = "Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8";
    let id = |service: &str| good(&mut on(raised, &format!("docker compose ps -q {service}")));
    let (api, database) = (id("silver-auth-api"), id("silver-postgres"));
    let recreate = "docker compose up -d --no-deps --force-recreate --wait --wait-timeout 20 silver-auth-api";
    good(&mut on(
        raised,
        &format!(
            "docker compose exec -T silver-postgres psql -U silver -c \"alter role silver password '{fresh}'\""
        ),
    ));
    // The session that is open survives; a new one with the old password does not come about.
    good(raised.ssh().arg(format!("curl -fsS -m 5 {}/healthz", raised.api_url)));
    bad(&mut on(raised, recreate));

    // The password stands in two places, and one is not enough.
    good(&mut on(
        raised,
        &format!("sed -i 's/^SILVER_POSTGRES_PASSWORD=.*/SILVER_POSTGRES_PASSWORD={fresh}/' .env"),
    ));
    bad(&mut on(raised, recreate));
    good(&mut on(
        raised,
        &format!(
            "sed -i 's|^SILVER_DATABASE_URL=.*|SILVER_DATABASE_URL=postgres://silver:{fresh}@silver-postgres:5432/silver|' .env"
        ),
    ));
    good(&mut on(raised, recreate));
    assert_ne!(id("silver-auth-api"), api);
    assert_eq!(id("silver-postgres"), database);
    good(raised.ssh().arg(format!("curl -fsS -m 5 {}/v1/config", raised.api_url)));
}

#[test]
fn a_killed_up_is_not_in_the_way_of_the_next() {
    if !engine_is_there() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("killed");
    let _guard = Down(&dir);
    let name = Place::new(&dir).unwrap().name().to_owned();

    cut_once_containers_exist(up(&dir).stdout(Stdio::null()).spawn().unwrap(), &name);
    assert!(!dir.join("raised.json").exists());
    let raised = raise(&dir);
    good(raised.ssh().arg("true"));

    cut_once_containers_exist(up(&dir).stdout(Stdio::null()).spawn().unwrap(), &name);
    good(Command::new(STAGING).args(["down", "--dir"]).arg(&dir));
    // The engine may have been at work on something when it was asked to stop.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(left_behind(&name), "");
    assert!(!dir.exists());
}

fn cut_once_containers_exist(mut up: Child, name: &str) {
    let network = format!("name={name}_default");
    let begun = Instant::now();
    // The old one's network may still be there in the first moments.
    thread::sleep(Duration::from_millis(1500));
    while docker(&["network", "ls", "--quiet", "--filter", &network]).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(900), "`up` makes no network");
        assert!(up.try_wait().unwrap().is_none(), "`up` ended before it could be killed");
        thread::sleep(Duration::from_millis(50));
    }
    up.kill().unwrap();
    up.wait().unwrap();
}
