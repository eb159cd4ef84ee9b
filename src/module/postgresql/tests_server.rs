//! Against a real, private Postgres with `log_statement = all`.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::connection::{CONFLICT, Connection, answer};
use super::role::{self, Change, Decision, Observed, Wanted};
use crate::remote::{Output, Program};
use crate::secret::scram::{self, Stored};

/// A server of our own on a Unix socket and a loopback port, ended and removed when dropped.
pub struct Server {
    process: Child,
    dir: tempfile::TempDir,
    port: u16,
}

/// Where Debian keeps the server's programs, and the user to run them as when we are root.
fn program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions.flatten().map(|v| v.path().join("bin").join(name)).filter(|p| p.is_file()).max();
    assert!(newest.is_some() || std::env::var_os("CI").is_none(), "CI lacks Postgres");
    newest
}

fn as_nobody(program: &Path) -> Command {
    const NOBODY: u32 = 65534;
    let mut command = Command::new(program);
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Server {
    pub fn start() -> Option<Server> {
        let (Some(initdb), Some(postgres)) = (program("initdb"), program("postgres")) else {
            eprintln!("skipped: Postgres is not installed");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("seqn-pg-").tempdir_in("/tmp").unwrap();
        // SAFETY: asks for a number.
        if unsafe { libc::geteuid() } == 0 {
            chown(dir.path(), Some(65534), Some(65534)).unwrap();
        }
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let data = dir.path().join("data");
        let made = as_nobody(&initdb)
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "-N"])
            .args(["--locale=C"])
            .status()
            .unwrap();
        assert!(made.success());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let process = as_nobody(&postgres)
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(dir.path())
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .args(["-c", "log_statement=all", "-c", "log_min_duration_statement=0", "-c", "log_duration=on"])
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Server { process, dir, port };
        let connection = server.connection();
        for _ in 0..300 {
            if run(&connection, "SELECT 1;", false).success() {
                return Some(server);
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the server did not start: {}", server.log());
    }

    pub fn connection(&self) -> Connection<'_> {
        Connection { socket: self.dir.path().to_str(), port: Some(self.port), ..Default::default() }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("log")).unwrap()).into_owned()
    }

    pub fn sql(&self, sql: &str) -> String {
        answer(&run(&self.connection(), sql, false), "run").unwrap().trim_end().to_string()
    }

    fn observe(&self, name: &str) -> Observed {
        let sql = role::observe_sql(name, None).unwrap();
        role::read_observed(&answer(&run(&self.connection(), &sql, false), "look").unwrap()).unwrap()
    }

    fn decide(&self, wanted: &Wanted) -> Option<Change> {
        match role::decide(&self.observe(wanted.name), wanted).unwrap() {
            Decision::Nothing => None,
            Decision::Change(change) => Some(*change),
        }
    }

    fn apply(&self, sql: &str) -> Output {
        run(&self.connection(), sql, true)
    }

    /// Whether `role` logs in over TCP with `password`.
    pub fn accepts(&self, role: &str, password: &str) -> bool {
        Command::new("psql")
            .args(["-X", "-w", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", role])
            .args(["-d", "postgres", "-c", "SELECT 1"])
            .env("PGPASSWORD", password)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT: at once; its folder goes with it.
        // SAFETY: signals the process that we started and have not yet waited for.
        unsafe { libc::kill(self.process.id() as i32, libc::SIGQUIT) };
        let _ = self.process.wait();
    }
}

fn run(connection: &Connection, sql: &str, secret: bool) -> Output {
    run_command(&connection.psql(sql, secret).unwrap())
}

fn run_command(command: &crate::remote::Command) -> Output {
    use std::io::Write;
    let Program::Argv(argv) = &command.program else { panic!("a shell") };
    let mut child = Command::new(argv[0].as_str())
        .args(argv[1..].iter().map(|a| a.as_str()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(command.stdin.as_ref().unwrap().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Output {
        status: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: output.stderr,
        ..Default::default()
    }
}

#[test]
fn a_password_is_rotated_and_brought_back() {
    let Some(server) = Server::start() else { return };
    server.sql("CREATE ROLE silver LOGIN PASSWORD 'old-password-1';");
    let old = server.observe("silver").role.unwrap().rolpassword.unwrap();
    let wanted = Wanted { name: "silver", password: Some("new-password-2"), ..Default::default() };

    let change = server.decide(&wanted).unwrap();
    let sent = change.stored.clone().unwrap().unwrap();
    let output = server.apply(&change.sql);
    assert!(output.success(), "{}", output.stderr_text());
    assert_eq!((output.stdout_text().as_str(), output.stderr_text().as_str()), ("", ""));
    assert_eq!(server.observe("silver").role.unwrap().rolpassword.as_deref(), Some(sent.as_str()));
    assert!(server.accepts("silver", "new-password-2") && !server.accepts("silver", "old-password-1"));
    assert!(server.decide(&wanted).is_none(), "a second time is nothing to do");

    // Compare and set: planned from a state that is gone.
    let late = server.apply(&change.sql);
    assert!(!late.success() && late.stderr_text().contains(CONFLICT), "{}", late.stderr_text());
    assert!(answer(&late, "change the role").unwrap_err().help.unwrap().contains("nothing was changed"));

    // The inverse restores the old verifier byte for byte, and a second time does nothing.
    let inverse = change.inverse.unwrap();
    for _ in 0..2 {
        let output = server.apply(&inverse);
        assert!(output.success(), "{}", output.stderr_text());
        assert_eq!(server.observe("silver").role.unwrap().rolpassword.as_deref(), Some(old.as_str()));
    }
    assert!(server.accepts("silver", "old-password-1"));
    server.sql("ALTER ROLE silver PASSWORD 'third';");
    assert!(server.apply(&inverse).stderr_text().contains(CONFLICT), "somebody else's password stays");

    let log = server.log();
    for secret in [sent.as_str(), old.as_str(), "new-password-2"] {
        assert!(!log.contains(secret), "the server's log has {secret}");
    }
    assert!(log.contains("third"), "the log does log statements");
}

#[test]
fn a_statement_that_fails_is_not_logged_either() {
    let Some(server) = Server::start() else { return };
    server.sql("CREATE ROLE silver LOGIN PASSWORD 'old-password-1';");
    let wanted = Wanted {
        name: "silver",
        password: Some("new-password-2"),
        connection_limit: Some(-7),
        ..Default::default()
    };
    let change = server.decide(&wanted).unwrap();
    let output = server.apply(&change.sql);
    assert!(!output.success());
    let sent = change.stored.unwrap().unwrap();
    assert!(!output.stderr_text().contains(&sent), "{}", output.stderr_text());
    assert!(!server.log().contains(&sent));
    assert!(server.accepts("silver", "old-password-1"), "all or nothing");
}

#[test]
fn roles_are_made_changed_and_dropped() {
    let Some(server) = Server::start() else { return };
    let flags: Vec<String> = vec!["CREATEDB".into()];
    let wanted = Wanted {
        name: "o'd\"d $seqn0$",
        password: Some("a-new-password"),
        flags: &flags,
        comment: Some("it's"),
        ..Default::default()
    };
    let made = server.decide(&wanted).unwrap();
    let output = server.apply(&made.sql);
    assert!(output.success(), "{}", output.stderr_text());
    assert!(server.accepts(wanted.name, "a-new-password"));
    assert!(server.decide(&wanted).is_none());

    let flags: Vec<String> = vec!["NOCREATEDB".into(), "NOLOGIN".into()];
    let altered = server.decide(&Wanted { flags: &flags, comment: Some("x"), ..wanted.clone() }).unwrap();
    assert!(server.apply(&altered.sql).success());
    assert!(!server.observe(wanted.name).role.unwrap().rolcanlogin);
    assert!(server.apply(&altered.inverse.unwrap()).success());
    assert!(server.decide(&wanted).is_none(), "the inverse brought everything back");

    let dropped = server.decide(&Wanted { name: wanted.name, absent: true, ..Default::default() }).unwrap();
    assert!(server.apply(&dropped.sql).success());
    assert!(server.observe(wanted.name).role.is_none());
    assert!(server.apply(&made.inverse.unwrap()).success(), "undoing what is gone is nothing to do");
}

/// Verifiers that the server made are recomputed, and ours let clients in.
#[test]
fn passwords_of_every_kind() {
    let Some(server) = Server::start() else { return };
    for password in [
        "pencil",
        "it's \\ \"x\" $1",
        "pässwörd",
        "pa\u{308}ss",
        "I\u{ad}X",
        "\u{2168}",
        "tab\there",
        "日本語",
        "a\u{a0}b",
    ] {
        let quoted = super::quote::literal(password).unwrap();
        server.sql(&format!("DROP ROLE IF EXISTS r; CREATE ROLE r LOGIN PASSWORD {quoted};"));
        let stored = server.observe("r").role.unwrap().rolpassword;
        assert_eq!(Stored::parse(stored.as_deref()).accepts("r", password), Some(true), "{password:?}");
        assert_eq!(Stored::parse(stored.as_deref()).accepts("r", "other"), Some(false));

        let ours = scram::Verifier::fresh(password).unwrap().to_string();
        server.sql(&format!("ALTER ROLE r PASSWORD '{ours}';"));
        assert_eq!(server.observe("r").role.unwrap().rolpassword.as_deref(), Some(ours.as_str()));
        assert!(server.accepts("r", password), "{password:?}");
    }
    server.sql("SET password_encryption = md5; ALTER ROLE r PASSWORD 'md5-one';");
    let stored = server.observe("r").role.unwrap().rolpassword;
    assert_eq!(Stored::parse(stored.as_deref()).accepts("r", "md5-one"), Some(true));
}

#[test]
fn queries_give_their_rows_and_what_changed() {
    use crate::source::Val;
    let Some(server) = Server::start() else { return };
    let connection = server.connection();
    let query = |entries: Vec<(&'static str, Val)>| {
        super::query::tests::run_on(&connection, entries, |command| run_command(&command))
    };
    let q = |sql: &str| query(vec![("query", Val::from(sql))]);
    let json = |plan: &crate::module::Plan, key: &str| plan.result[key].to_json().to_string();

    let made = q("CREATE TABLE t (id int, name text); -- done").unwrap();
    assert_eq!((made.changed, json(&made, "statusmessage").as_str()), (Some(true), "\"CREATE TABLE\""));
    let nasty = Val::from("it's \\ \"x\" ;\n-- %s \\! $$");
    let inserted = query(vec![
        ("query", Val::from("INSERT INTO t VALUES (%s, %s), (2, NULL) RETURNING id, name -- c")),
        ("positional_args", Val::list(vec![Val::Int(1), nasty.clone()])),
    ])
    .unwrap();
    assert_eq!(json(&inserted, "statusmessage"), "\"INSERT 0 2\"");
    let read = q("SELECT id, name, 1.5 AS n, true AS b FROM t ORDER BY id; SHOW is_superuser").unwrap();
    assert_eq!(read.changed, Some(false));
    let first = &read.result["query_all_results"].as_list().unwrap()[0].as_list().unwrap()[0];
    assert_eq!(first.get("name"), Some(&nasty));
    assert_eq!((first.get("n"), first.get("b")), (Some(&Val::Float(1.5)), Some(&Val::Bool(true))));
    assert_eq!(json(&read, "query_result"), "[{\"is_superuser\":\"on\"}]");
    let none = q("UPDATE t SET id = 5 WHERE id = 99").unwrap();
    assert_eq!((none.changed, json(&none, "rowcount").as_str()), (Some(false), "0"));
    assert_eq!(q("DELETE FROM t WHERE id = 2").unwrap().changed, Some(true));
    let moved = q("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d").unwrap();
    assert_eq!(json(&moved, "query_result").matches("id").count(), 1);

    // One transaction: what came before a mistake is gone with it.
    let failed = q("INSERT INTO t VALUES (7); SELECT nope").err().unwrap();
    assert!(failed.message.contains("column \"nope\" does not exist"), "{failed}");
    assert_eq!(json(&q("SELECT * FROM t").unwrap(), "rowcount"), "0");
    let vacuum = vec![("query", Val::from("VACUUM t")), ("autocommit", Val::Bool(true))];
    assert_eq!(json(&query(vacuum).unwrap(), "statusmessage"), "\"VACUUM\"");

    // A secret value is in no log.
    let named = crate::source::Map::from_iter([(Val::from("s"), Val::secret("hidden-value-2"))]);
    let secret =
        query(vec![("query", Val::from("INSERT INTO t VALUES (1, %(s)s)")), ("named_args", Val::map(named))])
            .unwrap();
    assert!(secret.result["query"].has_secret());
    assert_eq!(server.sql("SELECT count(*) FROM t WHERE name = 'hidden-' || 'value-2';"), "1");
    assert!(!server.log().contains("hidden-value"));
}
