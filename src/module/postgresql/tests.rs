use super::role::{
    Change, Decision, Observed, Role, Wanted, check_flags, decide, observe_sql, read_observed,
};
use crate::secret::scram;

fn role(password: Option<&str>) -> Role {
    Role {
        rolsuper: false,
        rolinherit: true,
        rolcreaterole: false,
        rolcreatedb: false,
        rolcanlogin: true,
        rolreplication: false,
        rolbypassrls: false,
        rolconnlimit: -1,
        rolpassword: password.map(String::from),
        rolvaliduntil: None,
        comment: None,
        same_expiry: true,
    }
}

fn on(role: Option<Role>) -> Observed {
    Observed { version: 150_005, role }
}

fn change(observed: &Observed, wanted: &Wanted) -> Option<Change> {
    match decide(observed, wanted).unwrap() {
        Decision::Nothing => None,
        Decision::Change(change) => Some(*change),
    }
}

#[test]
fn the_password_is_compared_and_never_sent() {
    let old = scram::verifier("old", b"0123456789abcdef", 4096);
    let observed = on(Some(role(Some(&old))));
    let with = |password| Wanted { name: "silver", password: Some(password), ..Default::default() };
    assert!(change(&observed, &with("old")).is_none());
    assert!(change(&observed, &with(&old)).is_none());
    assert!(change(&observed, &Wanted { keep_password: true, ..with("new") }).is_none());

    let made = change(&observed, &with("new-password")).unwrap();
    let stored = made.stored.clone().unwrap().unwrap();
    assert!(scram::matches(&stored, "new-password") && made.sql.contains(&stored) && made.sql.contains(&old));
    assert!(!made.sql.contains("new-password"));
    assert_eq!(made.shown, ["ALTER USER \"silver\" WITH PASSWORD '********'"]);
    let inverse = made.inverse.unwrap();
    assert!(inverse.contains(&format!("ALTER USER \"silver\" WITH PASSWORD '{old}'")), "{inverse}");

    let md5 = scram::md5_verifier("silver", "old");
    assert!(change(&on(Some(role(Some(&md5)))), &with("old")).is_none());
    assert_eq!(change(&observed, &with(&md5)).unwrap().stored, Some(Some(md5.clone())));
    assert_eq!(change(&observed, &with("")).unwrap().stored, Some(None));
    assert!(change(&on(Some(role(None))), &with("")).is_none());
}

#[test]
fn attributes_change_only_where_they_differ_and_go_back() {
    let flags: Vec<String> = ["login", "CREATEDB", "NOSUPERUSER", ""].map(String::from).into();
    let wanted = Wanted {
        name: "o\"x",
        flags: &flags,
        connection_limit: Some(5),
        comment: Some("it's"),
        expires: Some("2030-01-01"),
        ..Default::default()
    };
    let now = Role { same_expiry: false, ..role(None) };
    let made = change(&on(Some(now)), &wanted).unwrap();
    assert_eq!(
        made.shown,
        [
            "ALTER USER \"o\"\"x\" WITH CREATEDB CONNECTION LIMIT 5 VALID UNTIL '2030-01-01'",
            "COMMENT ON ROLE \"o\"\"x\" IS 'it''s'"
        ]
    );
    let inverse = made.inverse.unwrap();
    assert!(inverse.contains("WITH NOCREATEDB CONNECTION LIMIT -1 VALID UNTIL 'infinity'"), "{inverse}");
    assert!(inverse.contains("COMMENT ON ROLE \"o\"\"x\" IS NULL"), "{inverse}");
    assert_eq!(made.stored, None);
    assert!(check_flags(&["LOGIN".into(), "NOPE".into()]).unwrap_err().contains("NOPE"));
}

#[test]
fn making_and_dropping() {
    let nobody = on(None);
    let wanted = Wanted { name: "new", password: Some("p"), ..Default::default() };
    let made = change(&nobody, &wanted).unwrap();
    assert_eq!(made.shown, ["CREATE USER \"new\" WITH PASSWORD '********'"]);
    assert_eq!(made.inverse.as_deref(), Some("DROP ROLE IF EXISTS \"new\";"));
    let absent = Wanted { name: "new", absent: true, ..Default::default() };
    assert!(change(&nobody, &absent).is_none());
    assert!(change(&on(Some(role(None))), &absent).unwrap().inverse.is_none());
}

#[test]
fn old_servers_are_refused() {
    let old = Observed { version: 90_624, role: None };
    let wanted = Wanted { name: "x", password: Some("p"), ..Default::default() };
    let error = decide(&old, &wanted).err().unwrap();
    assert!(error.contains("Postgres 9 has no SCRAM-SHA-256"), "{error}");
}

#[test]
fn answers() {
    assert!(observe_sql("o'x", None).unwrap().contains("'o''x'"));
    assert!(read_observed("{\"version\": 150005, \"role\": null}\n").unwrap().role.is_none());
    assert!(read_observed("SET\nhunter2").err().unwrap().contains("could not be understood"));
}
