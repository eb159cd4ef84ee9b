//! The sandbox kind as a rotation uses it: raised, worked on, and taken down without a trace.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use staging::sandbox::postgres::Postgres;
use staging::sandbox::process::{MARK, marked};
use staging::{Place, Raised};

const STAGING: &str = env!("CARGO_BIN_EXE_staging");

/// Where all must be tested, a machine that the sandbox can't run on is a failure.
fn machine_is_fit() -> bool {
    let installs = staging::system::uid().is_ok_and(|uid| uid == 0);
    if installs && staging::system::has("apt-get") {
        // `up` sees to what is missing.
        return true;
    }
    let missing = match Postgres::find() {
        Ok(_) => ["ssh", "age", "curl"]
            .iter()
            .find(|program| !staging::system::has(program))
            .map(|program| format!("no {program} on this machine")),
        Err(error) => Some(format!("{error:#}")),
    };
    let Some(missing) = missing else {
        return true;
    };
    let set = |key: &str, value: &str| std::env::var(key).is_ok_and(|is| is == value);
    assert!(
        !set("SEQN_REQUIRE_ALL", "1") && !set("CI", "true"),
        "{missing}, and nothing may be skipped here"
    );
    let _ = writeln!(std::io::stderr(), "skipped: {missing}");
    false
}

fn up(dir: &Path) -> Command {
    let mut command = Command::new(STAGING);
    command.args(["up", "--kind", "sandbox", "--dir"]).arg(dir);
    command
}

fn down(dir: &Path) -> Command {
    let mut command = Command::new(STAGING);
    command.args(["down", "--dir"]).arg(dir);
    command
}

fn raise(dir: &Path) -> Raised {
    serde_json::from_str(&good(&mut up(dir))).expect("one JSON line")
}

/// Takes it down also when the test fails.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = down(self.0).status();
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

/// Fails with this exit code; returns all that it said.
#[track_caller]
fn bad(code: i32, command: &mut Command) -> String {
    let out = output(command);
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert_eq!(out.status.code(), Some(code), "{command:?}\n{said}");
    said
}

fn on(raised: &Raised, script: &str) -> Command {
    let mut ssh = raised.ssh();
    ssh.arg(format!("cd {} && {script}", raised.project_dir.display()));
    ssh
}

fn run_dir(raised: &Raised) -> PathBuf {
    Path::new("/tmp").join(&raised.name)
}

#[track_caller]
fn nothing_is_left(dir: &Path, raised: &Raised) {
    let left = marked(MARK, &raised.name);
    assert!(left.is_empty(), "{left:?}");
    assert!(!dir.exists(), "{}", dir.display());
    assert!(!run_dir(raised).exists());
    let servers = Command::new("pgrep").args(["-f", &raised.name]).output();
    if let Ok(servers) = servers {
        assert_eq!(String::from_utf8_lossy(&servers.stdout), "");
    }
}

#[test]
fn a_vps_is_raised_worked_on_and_taken_down() {
    if !machine_is_fit() {
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

    logins(&one, scratch.path());
    services(&one);
    compose(&one);
    backups(&one, scratch.path());
    rotation(&one);
    ssh_server(&one, &first);

    // What was done to one is nothing to the other.
    good(two.ssh().arg(format!("curl -fsS -m 5 {}/healthz", two.api_url)));
    good(two.ssh().arg("sleep 1000 >/dev/null 2>&1 &"));
    for (dir, raised) in [(&first, &one), (&second, &two)] {
        good(&mut down(dir));
        nothing_is_left(dir, raised);
        // Once more, with nothing left to remove.
        good(&mut down(dir));
    }
}

fn logins(raised: &Raised, scratch: &Path) {
    assert_eq!(good(raised.ssh().arg("echo $USER $LOGNAME")), "ops ops\n");
    bad(255, raised.ssh_as("root").arg("true"));
    let mut exit = raised.ssh();
    bad(7, exit.arg("exit 7"));

    // sudo takes its one line and leaves the rest to the command.
    let sudo = |password: &str, rest: &str| {
        let mut ssh = raised.ssh();
        ssh.arg(format!("printf '%s\\nmore\\n' {password} | sudo -S -p 'ask: ' {rest}"));
        ssh
    };
    let whoami = "A=1 sh -c 'echo $USER $SUDO_USER $A; cat'";
    assert_eq!(good(&mut sudo(&raised.sudo_password, whoami)), "root ops 1\nmore\n");
    let said = bad(1, &mut sudo("wrong", "true"));
    assert!(said.contains("Sorry, try again") && said.contains("incorrect password attempt"));
    assert!(said.contains("ask: "));
    bad(1, raised.ssh().arg("sudo -n true"));
    bad(1, raised.ssh().arg("sudo true"));
    good(&mut sudo(&raised.sudo_password, "docker ps"));
    let mut tty = raised.ssh();
    tty.arg("-tt").args(["sudo", "echo", "as", "root"]);
    let mut tty = tty.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut keys, mut screen) = (tty.stdin.take().unwrap(), tty.stdout.take().unwrap());
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"password for ops: ") && screen.read(&mut byte).unwrap() == 1 {
        seen.push(byte[0]);
    }
    writeln!(keys, "{}", raised.sudo_password).unwrap();
    let mut after = String::new();
    screen.read_to_string(&mut after).unwrap();
    assert_eq!(after.trim(), "as root");
    assert!(tty.wait().unwrap().success());

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
            .args(["-p", &raised.ssh_port.to_string()])
            .args(["ops@127.0.0.1", "echo $USER"]);
        ssh
    };
    assert_eq!(good(&mut login(&raised.sudo_password)), "ops\n");
    bad(255, &mut login("wrong"));
}

fn services(raised: &Raised) {
    let mut health: Vec<String> =
        good(&mut on(raised, "docker compose ps --format '{{.Service}} {{.Health}}'"))
            .lines()
            .map(ToOwned::to_owned)
            .collect();
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

    let psql = |rest: &str| {
        let line = format!("docker compose exec -T silver-postgres psql -U silver -At {rest}");
        on(raised, &line)
    };
    let session = "select count(*) from pg_stat_activity where application_name = 'silver-auth-api'";
    assert_eq!(good(&mut psql(&format!("-c \"{session}\""))), "1\n");
    assert_eq!(good(&mut psql("-c 'show log_statement'")), "all\n");
    // As inside a container: trust on the socket and on loopback, a password over the network.
    assert_eq!(good(&mut psql("-h 127.0.0.1 -c 'select 1'")), "1\n");
    assert_eq!(good(&mut psql("-h localhost -c 'select 1'")), "1\n");
    for host in ["-h silver-postgres", "-d 'host=silver-postgres dbname=silver'"] {
        let line = format!(
            "docker compose exec -T -e PGPASSWORD=wrong silver-postgres \
                            psql -U silver {host} -c 'select 1'"
        );
        let said = bad(2, &mut on(raised, &line));
        assert!(said.contains("password authentication failed"), "{said}");
    }
    let right = ". ./.env && docker compose exec -T silver-postgres \
                 psql -At $SILVER_DATABASE_URL -c 'select inet_server_port()'";
    assert_eq!(good(&mut on(raised, right)), "5432\n");
    let published = ". ./.env && PGPASSWORD=$SILVER_POSTGRES_PASSWORD \
                     psql -h 127.0.0.1 -p $SILVER_POSTGRES_PORT -U silver -Atc 'select 1'";
    assert_eq!(good(&mut on(raised, published)), "1\n");

    let curl = |rest: &str| good(raised.ssh().arg(format!("curl -sS -m 5 {rest}")));
    let (api, authentik) = (&raised.api_url, &raised.authentik_url);
    assert_eq!(curl(&format!("{api}/healthz")), r#"{"status":"ok"}"#);
    assert!(curl(&format!("{api}/v1/config")).contains(r#""oidc_client_id":"silver-auth""#));
    let form = |password: &str| format!("-d user={} -d password={password} {api}/login", raised.login_user);
    assert!(curl(&form("wrong")).contains("invalid_credentials"));
    curl(&format!("-c jar {}", form(&raised.login_password)));
    assert!(curl(&format!("-b jar {api}/v1/me")).contains(&raised.login_user));
    curl(&format!("-f {authentik}/-/health/ready/"));
}

fn compose(raised: &Raised) {
    let run = |rest: &str| good(&mut on(raised, &format!("docker {rest}")));
    let fails = |code, rest: &str| bad(code, &mut on(raised, &format!("docker {rest} </dev/null")));
    let id = |service: &str| run(&format!("compose ps -q {service}")).trim().to_owned();
    let api = id("silver-auth-api");
    assert!(api.len() == 64 && api.bytes().all(|byte| byte.is_ascii_hexdigit()));

    // What isn't known is refused, with the codes of the real ones.
    for (code, line) in [
        (16, "compose ps --nope"),
        (16, "compose nope"),
        (16, "compose --nope ps"),
        (16, "compose config --environment"),
        (16, "compose up"),
        (14, "compose --project-directory / ps"),
        (1, "compose --env-file compose.yaml ps"),
        (15, "compose --env-file /dev/null ps"),
        (137, "compose exec -T silver-postgres sh -c 'kill -9 $$; :'"),
        (125, "ps --nope"),
        (1, "images"),
        (1, "compose up -d nope"),
        (1, "compose exec -T nope true"),
        (126, "compose exec -T silver-auth-api sh -c true"),
        (126, "compose exec -T silver-postgres no-such-program"),
        (1, "inspect nope"),
    ] {
        fails(code, line);
    }

    let listed = run("compose ps -a --format json");
    let lines: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 9);
    let line = lines.iter().find(|line| line["Service"] == "silver-auth-api").unwrap();
    assert!(api.starts_with(line["ID"].as_str().unwrap()));
    assert_eq!(line["State"], "running");
    assert_eq!(line["Health"], "healthy");
    assert_eq!(line["ExitCode"], 0);
    assert_eq!(line["Publishers"][0]["TargetPort"], 8080);
    let port = raised.api_url.rsplit(':').next().unwrap();
    assert_eq!(line["Publishers"][0]["PublishedPort"].to_string(), port);
    assert_eq!(run("compose port silver-auth-api 8080"), format!("127.0.0.1:{port}\n"));
    assert!(run("compose version --short").starts_with("2."));
    let state = "inspect -f '{{.State.Status}} {{.State.Health.Status}}'";
    assert_eq!(run(&format!("{state} {api}")), "running healthy\n");
    let binary = "printf 'a\\0b\\n\\377' | docker compose exec -T silver-postgres cat | od -An -tx1";
    assert_eq!(good(&mut on(raised, binary)), " 61 00 62 0a ff\n");
    bad(9, &mut on(raised, "docker compose exec -T silver-postgres sh -c 'exit 9'"));
    let variable = "compose exec -T silver-postgres sh -c 'echo $POSTGRES_USER'";
    assert_eq!(run(variable), "silver\n");

    // Nothing to do, then a changed value, then nothing again. Only `up` looks at .env.
    let dry = |rest: &str| {
        let out = output(&mut on(raised, &format!("docker compose --dry-run up -d {rest}")));
        assert!(out.status.success());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    assert!(!dry("").contains("Recreate"));
    good(&mut on(
        raised,
        "cp -p .env kept && sed -i 's/^SESSION_SECRET=.*/SESSION_SECRET=\"${OIDC_CLIENT_ID}-$$other-that-is-long-enough\"/' .env",
    ));
    let secret = format!(
        "inspect -f '{{{{range .Config.Env}}}}{{{{println .}}}}{{{{end}}}}' {}-silver-auth-api-1",
        raised.compose_project
    );
    assert!(dry("").contains("silver-auth-api-1  Recreate\n"));
    run("compose restart silver-auth-api");
    assert_eq!(id("silver-auth-api"), api);
    assert!(!run(&secret).contains("-$other-"));
    run("compose up -d --wait");
    let next = id("silver-auth-api");
    assert_ne!(next, api);
    assert!(run(&secret).contains("SESSION_SECRET=silver-auth-$other-that-is-long-enough\n"));
    run("compose up -d --wait");
    assert_eq!(id("silver-auth-api"), next);
    let overridden = "SESSION_SECRET=from-the-shell docker compose config --format json";
    assert!(good(&mut on(raised, overridden)).contains("\"from-the-shell\""));
    good(&mut on(raised, "mv kept .env"));

    // As in 2.26.1, a plain `up` after `--no-deps` recreates once more.
    run("compose up -d --no-deps --force-recreate --wait silver-auth-api");
    assert!(dry("").contains("silver-auth-api-1  Recreate\n"));
    run("compose up -d --wait");

    // Stopped by hand it stays stopped; killed it comes again.
    run("compose stop authentik-worker");
    assert_eq!(run("compose ps -q authentik-worker"), "");
    let stopped = run("compose ps -a authentik-worker --format '{{.State}} {{.ExitCode}}'");
    assert_eq!(stopped, "exited 143\n");
    fails(1, "compose exec -T authentik-worker true");
    run("compose start authentik-worker");
    let pid = "inspect -f '{{.State.Pid}}' $(docker compose ps -q authentik-worker)";
    let first = run(pid);
    run("compose kill -s TERM authentik-worker");
    let begun = Instant::now();
    loop {
        let now = run(pid);
        if now != first && now != "0\n" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it isn't started again");
    }
    run("compose up -d --wait");
    assert!(run("compose logs --no-log-prefix silver-auth-api").contains("database: logged in\n"));
    assert!(run("compose logs --tail 1 silver-auth-api").starts_with("silver-auth-api-1  | "));
}

fn backups(raised: &Raised, scratch: &Path) {
    let local = good(&mut on(raised, "./backup-local.sh"));
    assert_eq!(local.lines().count(), 2);
    for dump in local.lines() {
        assert_eq!(good(raised.ssh().arg(format!("head -c 5 {dump}"))), "PGDMP");
    }
    let archives = good(&mut on(raised, "./backup-offsite.sh"));
    assert_eq!(archives.lines().count(), 2);
    for path in archives.lines() {
        let archive = scratch.join("archive");
        let out = output(raised.ssh().arg(format!("cat {path}")));
        fs::write(&archive, out.stdout).unwrap();
        let mut age = Command::new("age");
        age.arg("-d").arg("-i").arg(&raised.age_identity).arg(&archive);
        assert!(output(&mut age).stdout.starts_with(b"PGDMP"));
    }
}

/// The database password's rotation, by hand: what a playbook does later.
fn rotation(raised: &Raised) {
    let fresh = "Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8Zq8";
    let id = |service: &str| good(&mut on(raised, &format!("docker compose ps -q {service}")));
    let (api, database) = (id("silver-auth-api"), id("silver-postgres"));
    let recreate = "docker compose up -d --no-deps --force-recreate --wait --wait-timeout 20 silver-auth-api";
    let alter = format!(
        "docker compose exec -T silver-postgres psql -U silver -c \"alter role silver password '{fresh}'\""
    );
    good(&mut on(raised, &alter));
    // The session that is open survives; a new one with the old password does not come about.
    let health = format!("curl -fsS -m 5 {}/healthz", raised.api_url);
    good(raised.ssh().arg(&health));
    let said = bad(1, &mut on(raised, recreate));
    assert!(said.contains("is unhealthy") || said.contains("not healthy after"), "{said}");
    let log = good(&mut on(raised, "docker compose logs silver-auth-api"));
    assert!(log.contains("28P01"), "{log}");

    let both = format!(
        "sed -i -e 's/^SILVER_POSTGRES_PASSWORD=.*/SILVER_POSTGRES_PASSWORD={fresh}/' -e \
         's|^SILVER_DATABASE_URL=.*|SILVER_DATABASE_URL=postgres://silver:{fresh}@silver-postgres:5432/silver|' .env"
    );
    good(&mut on(raised, &both));
    good(&mut on(raised, recreate));
    good(raised.ssh().arg(&health));
    assert_ne!(id("silver-auth-api"), api);
    assert_eq!(id("silver-postgres"), database);

    // A recreated database keeps its volume, and so the password that it has.
    good(&mut on(raised, "docker compose up -d --force-recreate --wait silver-postgres"));
    assert_ne!(id("silver-postgres"), database);
    good(&mut on(raised, recreate));
}

/// Killed, it leaves what a session began, and comes up again as it was.
fn ssh_server(raised: &Raised, dir: &Path) {
    let refused = |doing: &str| {
        let mut command = Command::new(STAGING);
        command.args(["fault", "refused", doing, "--dir"]).arg(dir);
        command
    };
    let mut session = on(raised, "echo begun >begun; sleep 1; echo done >done").spawn().unwrap();
    let made = |name: &str| {
        let until = Instant::now() + Duration::from_secs(10);
        while !raised.project_dir.join(name).exists() {
            assert!(Instant::now() < until, "{name}");
            thread::sleep(Duration::from_millis(10));
        }
    };
    made("begun");
    good(&mut refused("strike"));
    assert!(!session.wait().unwrap().success());
    bad(255, &mut on(raised, "true"));
    made("done");
    good(&mut refused("strike"));
    for _ in 0..2 {
        good(&mut refused("mend"));
        good(&mut on(raised, "docker compose up --detach --wait"));
    }
    good(&mut on(raised, "rm begun done"));
}

#[test]
fn a_killed_up_is_not_in_the_way_of_the_next() {
    if !machine_is_fit() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("killed");
    let _guard = Down(&dir);
    let name = Place::new(&dir).unwrap().name().to_owned();

    for next_is_down in [false, true] {
        let mut child = up(&dir).stdout(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        // Its first processes run, the last ones don't yet.
        while dir.join("raised.json").exists() || marked(MARK, &name).len() < 3 {
            assert!(begun.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!dir.join("raised.json").exists());
        if !next_is_down {
            good(raise(&dir).ssh().arg("true"));
        }
    }
    let raised = raise(&dir);
    // Also where its daemons are gone already.
    for process in marked(MARK, &raised.name) {
        process.signal(libc::SIGKILL);
    }
    good(&mut down(&dir));
    nothing_is_left(&dir, &raised);
}
