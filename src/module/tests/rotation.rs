//! The modules of a rotation: `.env`, the role's password, the backup's proof.

use super::bench::Bench;
use crate::module::postgresql::tests_server::Server;
use crate::secret::agefile::{self, Format};
use crate::secret::edit;
use crate::secret::recipients::Recipients;
use crate::source::Val;

const ENV: &str = "# secrets\nexport PASS='old pass' # rotated\r\nURL=postgres://u:${PASS}@db\r\n";

#[tokio::test]
async fn dotenv_changes_one_value_and_nothing_else() {
    let bench = Bench::new();
    let path = bench.write(".env", ENV);
    bench.chmod(".env", 0o640);
    let given = |value: &str| {
        [("path", Val::from(path.as_str())), ("key", Val::from("PASS")), ("value", Val::secret(value))]
    };
    let done = bench.run("dotenv", &given("n'ew $pass")).await;
    assert_eq!(done.is(true).get("derived"), Val::from(vec!["URL"]));
    assert_eq!(bench.read(".env"), ENV.replace("'old pass'", "\"n'ew \\$pass\""));
    assert_eq!(bench.mode(".env"), 0o640);
    let again = bench.run("seqn.play.dotenv", &given("n'ew $pass")).await;
    assert_eq!(again.is(false).round_trips, 1);
    let gone = bench
        .run(
            "dotenv",
            &[("path", Val::from(path.as_str())), ("key", Val::from("URL")), ("state", Val::from("absent"))],
        )
        .await;
    gone.is(true);
    assert!(!bench.read(".env").contains("URL"));
}

#[tokio::test]
async fn dotenv_in_check_mode_new_files_and_bad_arguments() {
    let checking = Bench::checking();
    let path = checking.write(".env", "A=1\n");
    let given = |path: &str, extra: &[(&'static str, Val)]| {
        let mut all = vec![("path", Val::from(path)), ("key", Val::from("A")), ("value", Val::secret("2"))];
        all.extend_from_slice(extra);
        all
    };
    checking.run("dotenv", &given(&path, &[])).await.is(true);
    assert_eq!(checking.read(".env"), "A=1\n");

    let bench = Bench::new();
    let new = bench.path("new.env");
    let refused = bench.run("dotenv", &given(&new, &[])).await;
    assert!(refused.failure().contains("new.env does not exist"));
    bench.run("dotenv", &given(&new, &[("create", Val::from(true))])).await.is(true);
    assert_eq!((bench.read("new.env").as_str(), bench.mode("new.env")), ("A=2\n", 0o600));
    bench.run("dotenv", &given(&new, &[("create", Val::from(true))])).await.is(false);

    let twice = bench.write("twice.env", "A=1\nA=3\n");
    let refused = bench.run("dotenv", &given(&twice, &[])).await;
    assert!(refused.failure().contains("A is there 2 times, on lines 1 and 2"), "{refused:?}");
    assert_eq!(bench.read("twice.env"), "A=1\nA=3\n");
    let both = bench.run("dotenv", &given(&twice, &[("state", Val::from("absent"))])).await;
    assert!(both.failure().contains("no meaning with state: absent"));
}

#[tokio::test]
async fn postgresql_user_rotates_a_password() {
    let Some(server) = Server::start() else { return };
    server.sql("CREATE ROLE silver LOGIN PASSWORD 'old-password-1';");
    let connection = server.connection();
    let given = |password: &str| {
        [
            ("name", Val::from("silver")),
            ("password", Val::secret(password)),
            ("login_unix_socket", Val::from(connection.socket.unwrap_or_default())),
            ("login_port", Val::Int(i64::from(connection.port.unwrap_or_default()))),
        ]
    };
    let bench = Bench::new();
    bench.run("postgresql_user", &given("old-password-1")).await.is(false);
    let checking = Bench::checking();
    checking.run("postgresql_user", &given("new-password-2")).await.is(true);
    assert!(server.accepts("silver", "old-password-1"));
    let done = bench.run("community.postgresql.postgresql_user", &given("new-password-2")).await;
    let shown = done.is(true).get("queries").to_json().to_string();
    assert_eq!(shown, r#"["ALTER USER \"silver\" WITH PASSWORD '********'"]"#);
    assert!(server.accepts("silver", "new-password-2") && !server.accepts("silver", "old-password-1"));
    bench.run("postgresql_user", &given("new-password-2")).await.is(false);

    let mut elsewhere = given("x");
    elsewhere[2].1 = Val::from("/nonexistent");
    let failed = bench.run("postgresql_user", &elsewhere).await;
    assert!(failed.failure().contains("could not look at the role silver"), "{failed:?}");

    let query = [
        ("query", Val::from("SELECT rolname FROM pg_roles WHERE rolname = %s")),
        ("positional_args", Val::from(vec!["silver"])),
        given("x")[2].clone(),
        given("x")[3].clone(),
    ];
    let read = checking.run("postgresql_query", &query).await;
    assert_eq!(read.is(false).get("query_result").to_json().to_string(), r#"[{"rolname":"silver"}]"#);
}

#[tokio::test]
async fn archive_decrypt_proves_a_backup() {
    let bench = Bench::new();
    let identity = bench.path("key.txt");
    let recipient = edit::keygen(identity.as_ref()).unwrap();
    let to = Recipients::parse([recipient.as_str()]).unwrap();
    let sealed = agefile::encrypt(b"PGDMP and more", &to, Format::Binary).unwrap();
    let path = bench.write("backup.age", &sealed);
    let cut = bench.write("cut.age", &sealed[..sealed.len() - 3]);
    let given = |path: &str, content: &str| {
        [("path", Val::from(path)), ("key", Val::from(identity.as_str())), ("content", Val::from(content))]
    };
    let proved = bench.run("age_decrypt", &given(&path, "pg_dump")).await;
    assert_eq!(proved.is(false).get("size"), Val::Int(14));
    for (path, content, message) in [
        (path.as_str(), "gzip", "decrypts, but its content is pg_dump, not gzip"),
        (cut.as_str(), "pg_dump", "could not be decrypted: the age file is damaged"),
        ("/no/such.age", "pg_dump", "/no/such.age does not exist"),
    ] {
        let failed = bench.run("archive_decrypt", &given(path, content)).await;
        assert!(failed.failure().contains(message), "{failed:?}");
    }
}
