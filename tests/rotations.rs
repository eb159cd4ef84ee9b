//! Every rotation on one staging VPS, as an operator types them: check mode, the run, the new
//! credential really used and the old one refused, the run again, the way back, and the end of the
//! grace period; with processes and with Docker. And each safety rule, broken.

#[path = "support/leak/mod.rs"]
mod leak;
#[path = "support/operator.rs"]
mod operator;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use leak::sandbox::Sandbox;
use operator::{Operator, Vps, http};
use serde_json::{Value, json};

#[test]
fn every_rotation_of_the_runbook() {
    let Some(staging) = leak::sandbox::staging() else { return };
    every_rotation(&Sandbox::raise(&staging));
}

#[test]
fn every_rotation_of_the_runbook_with_docker() {
    let Some(staging) = leak::sandbox::staging_with_docker() else { return };
    every_rotation(&Sandbox::with_docker(&staging));
}

fn every_rotation(vps: &Sandbox) {
    let mut it = Operator::new(vps.project(), vps.operator(), Vps::new(vps.told()));
    it.run("lint --strict playbooks roles").code(0);
    database_passwords(&mut it);
    session_secret(&mut it);
    oidc_client_secret(&mut it);
    authentik_api_token(&mut it);
    project_secret(&mut it);
    webhook_secrets(&mut it);
    backup_key(&mut it);
    looking_only(&mut it);
    previews(&mut it);
    it.was_told_no_secret();
}

const BACKUPS: [&str; 2] =
    ["fresh_backup : Take a fresh local backup", "fresh_backup : Take a fresh offsite backup"];

fn database_passwords(it: &mut Operator) {
    let old = it.env(".env", "SILVER_POSTGRES_PASSWORD");
    let given = it.given("new_password", "Zk4Qw8Er2Ty6Ui0Op5As9Df3Gh7Jk1LzXcVbNmQa");
    let rotate = format!("rotate-db-password.yml -i staging -e database=silver {given}");
    let check = it.run(&format!("{rotate} --check")).code(0);
    assert!(
        check
            .changed()
            .contains(&"database_password : Rotate the Postgres role password inside the target database")
    );
    assert_eq!(it.env(".env", "SILVER_POSTGRES_PASSWORD"), old);

    // Where the application has no form for it, somebody logs in as a browser does it.
    let said = it.run(&format!("{rotate} -vvv --diff -e seqn_login_url=")).code(0);
    let said = said.says("TASK [sign_in : Confirm /v1/me returns the signed-in user]").said;
    let at = |task: &str| said.find(&format!("TASK [{task}]")).unwrap_or_else(|| panic!("no {task}\n{said}"));
    let tried =
        at("database_password : Confirm that the database takes the new password before anything uses it");
    assert!(tried < at("env_edit : Update the matching .env variable"));
    let new = it.env(".env", "SILVER_POSTGRES_PASSWORD");
    assert!(it.password_is_taken("silver", &new) && !it.password_is_taken("silver", &old));
    let again = it.run(&rotate).code(0);
    assert_eq!(again.changed(), BACKUPS);
    let first = finished(it, "rotate-db-password.yml", 1);
    it.run(&format!("rollback {first}")).code(0);
    assert_eq!(it.env(".env", "SILVER_POSTGRES_PASSWORD"), old);
    assert!(it.password_is_taken("silver", &old) && !it.password_is_taken("silver", &new));

    let authentiks = it.env(".env", "AUTHENTIK_PG_PASS");
    it.run("rotate-db-password.yml -i staging -e database=all -e stop_writes=true -vvv --diff").code(0);
    for (database, key, old) in
        [("silver", "SILVER_POSTGRES_PASSWORD", old), ("authentik", "AUTHENTIK_PG_PASS", authentiks)]
    {
        let new = it.env(".env", key);
        assert!(it.password_is_taken(database, &new) && !it.password_is_taken(database, &old));
    }
}

fn session_secret(it: &mut Operator) {
    let old = it.env(".env", "SESSION_SECRET");
    let before = it.sign_in();
    let given = it.given("new_secret", "q7Vn2Xw9Lk4Tz8Rb3Mc6Yd1Hs5Gf0JpQaWeRtYu");

    let closed = it.run(r#"rotate-session-secret.yml -i staging -e {"seqn_maintenance_windows":[]}"#);
    closed.code(2).says("no window of seqn_maintenance_windows is open");
    let silent = it.run(r#"rotate-session-secret.yml -i staging -e {"seqn_announce_command":[]}"#);
    silent.code(2).says("Nobody would be told");
    assert_eq!(it.env(".env", "SESSION_SECRET"), old);
    let said = it.run(
        r#"rotate-session-secret.yml -i staging --check -v -e outside_window=leaked -e announced=status-page -e {"seqn_maintenance_windows":[],"seqn_announce_command":[]}"#,
    );
    said.code(0).says("outside of every window: leaked").says("status-page");

    let check = it.run(&format!("rotate-session-secret.yml -i staging --check {given}")).code(0);
    assert!(
        check.changed().contains(&"env_edit : Replace SESSION_SECRET with at least 32 random characters")
    );
    assert_eq!(it.env(".env", "SESSION_SECRET"), old);

    let sessions = it.sessions();
    it.run(&format!("rotate-session-secret.yml -i staging {given} -vvv --diff")).code(0);
    assert_ne!(it.env(".env", "SESSION_SECRET"), old);
    assert!(!it.is_signed_in(&before), "a session outlived its secret");
    let after = it.sign_in();
    assert!(it.is_signed_in(&after));
    let note = newest_note(&it.project);
    assert!(note.contains(&format!("`{sessions} sessions ended`")), "{sessions} sessions ended, but\n{note}");
    // What both edited goes back as a whole, so the later one goes first, and else nothing.
    let databases = finished(it, "rotate-db-password.yml", 0);
    let refused = it.run(&format!("rollback {databases}")).code(1);
    refused.says("rotate-session-secret.yml, which changed ").says("/.env too, came after it");
    let refused = it.run(&format!("rollback {databases} --despite-later")).code(1);
    refused.says("/.env on vps was changed by somebody else since, so nothing was taken back");
    let password = it.env(".env", "SILVER_POSTGRES_PASSWORD");
    assert!(it.password_is_taken("silver", &password));

    let again = it.run(&format!("rotate-session-secret.yml -i staging {given}")).code(0);
    assert_eq!(again.changed(), BACKUPS);
    assert!(it.is_signed_in(&after));

    let first = finished(it, "rotate-session-secret.yml", 1);
    it.run(&format!("rollback {first}")).code(0);
    assert_eq!(it.env(".env", "SESSION_SECRET"), old);
    assert!(it.is_signed_in(&before) && !it.is_signed_in(&after));
}

fn oidc_client_secret(it: &mut Operator) {
    let old = it.env(".env", "OIDC_CLIENT_SECRET");
    let given = it.given("new_secret", "0aK9Zx8Wc7Vb6Nm5Qw4Er3Ty2Ui1OpLkJhGfDsAz0aK9Zx8Wc7Vb6Nm5Qw4Er3Ty");
    let session = it.sign_in();
    it.run("rotate-oidc-client-secret.yml -i staging --check").code(0).says("Rotate the client secret");
    assert!(it.client_secret_is_taken(&old));

    it.run(&format!("rotate-oidc-client-secret.yml -i staging {given} -vvv --diff")).code(0);
    let new = it.env(".env", "OIDC_CLIENT_SECRET");
    assert!(it.client_secret_is_taken(&new) && !it.client_secret_is_taken(&old));
    assert!(it.is_signed_in(&session), "a session ended that should continue");

    let again = it.run(&format!("rotate-oidc-client-secret.yml -i staging {given}")).code(0);
    assert_eq!(again.changed(), BACKUPS);

    let first = finished(it, "rotate-oidc-client-secret.yml", 1);
    it.run(&format!("rollback {first}")).code(0).says("Give the provider its old client secret again");
    assert_eq!(it.env(".env", "OIDC_CLIENT_SECRET"), old);
    assert!(it.client_secret_is_taken(&old) && !it.client_secret_is_taken(&new));
}

fn authentik_api_token(it: &mut Operator) {
    let me = it.authentik("/api/v3/core/users/me/");
    let old = it.env(".env", "AUTHENTIK_API_TOKEN");
    it.run("rotate-authentik-api-token.yml -i staging --check").code(0);
    it.run("rotate-authentik-api-token.yml -i staging -vvv --diff").code(0);
    let first = it.env(".env", "AUTHENTIK_API_TOKEN");
    assert_eq!((it.status(&me, &first), it.status(&me, &old)), (200, 200), "both are valid until the end");
    it.run("rollback last").code(0).says("Delete the replacement");
    assert_eq!((it.status(&me, &first), it.status(&me, &old)), (403, 200));

    it.run("rotate-authentik-api-token.yml -i staging").code(0);
    let rotation = finished(it, "rotate-authentik-api-token.yml", 0);
    let new = it.env(".env", "AUTHENTIK_API_TOKEN");
    let finish = "rotate-authentik-api-token.yml -i staging --tags finish -vvv";
    it.run(finish).code(2).says("-e confirm=authentik_api_token");
    it.run(&format!("{finish} -e confirm=session_secret")).code(2).says("nothing was touched");
    assert_eq!(it.status(&me, &old), 200);
    it.run(&format!("{finish} -e confirm=authentik_api_token")).code(0);
    assert_eq!((it.status(&me, &new), it.status(&me, &old)), (200, 403), "the old one is revoked");
    // Going back would lock provisioning out.
    it.run(&format!("rollback {rotation}")).code(1).says("A revoked token can't be given back");
    it.run(finish).code(0).says("Nothing is left");
}

fn project_secret(it: &mut Operator) {
    let application = it.api("/v1/backend/application");
    let store = "consumers/shop-backend/.env";
    let old = it.env(store, "SEQN_SECRET_KEY");
    it.run("rotate-project-secret.yml -i staging").code(2).says("Say which project");
    it.run("rotate-project-secret.yml -i staging -e project=shop --check")
        .code(0)
        .says("can't be taken back");
    assert_eq!(it.status(&application, &old), 200);

    // Stores before files: a copy that nobody declared would be left there.
    let copy = it.file("pasted.txt");
    fs::write(&copy, &old).expect("a file");
    it.run("rotate-project-secret.yml -i staging -e project=shop")
        .code(2)
        .says("nobody declared it")
        .says("pasted.txt");
    fs::remove_file(&copy).expect("the file");
    let closed = r#"rotate-project-secret.yml -i staging -e project=shop -e {"seqn_maintenance_windows":[]}"#;
    it.run(closed).code(2).says("no window of seqn_maintenance_windows is open");
    assert_eq!(it.status(&application, &old), 200);

    it.run("rotate-project-secret.yml -i staging -e project=shop -vvv --diff").code(0);
    let new = it.env(store, "SEQN_SECRET_KEY");
    assert_eq!((it.status(&application, &new), it.status(&application, &old)), (200, 401));
    let other = fs::read_to_string(it.file("consumers/reports-backend/secret-key")).expect("the store");
    assert_eq!(other.trim(), new);
    for consumer in ["shop_backend_url", "reports_backend_url"] {
        let url = format!("{}/application", it.raised(consumer));
        assert_eq!(http("GET", &url, &[], "").status, 200, "{consumer}");
    }
    assert!(newest_note(&it.project).contains("without a valid key for"));
    it.run("rollback last").code(1).says("The old key died when the console made the new one");

    // Killed when the console has made the key and its answer isn't kept yet: the key is lost.
    let made = step_of(&it.project, "/secret/rotate");
    let rotate = "rotate-project-secret.yml -i staging -e project=shop";
    it.run_until(rotate, &format!("{made}:after-effect:kill")).code(-1);
    assert_eq!((it.env(store, "SEQN_SECRET_KEY"), it.status(&application, &new)), (new.clone(), 401));
    it.run("resume last").code(0);
    let once_more = it.env(store, "SEQN_SECRET_KEY");
    assert_eq!(it.status(&application, &once_more), 200);
    // Killed when it is kept: resume uses it.
    it.run_until(rotate, &format!("{made}:after-record:kill")).code(-1);
    it.run("resume last").code(0);
    let kept = it.env(store, "SEQN_SECRET_KEY");
    assert_eq!((it.status(&application, &kept), it.status(&application, &once_more)), (200, 401));

    // Revoked by somebody: only a further one helps, and nobody can be asked whether the present one works.
    let revoke = format!("{}/projects/{}/secret/rotate", it.raised("console_url"), it.raised("project"));
    let bearer = format!("Bearer {}", it.raised("console_token"));
    assert_eq!(http("POST", &revoke, &[("Authorization", &bearer)], "").status, 200);
    it.run(rotate).code(2).says("-e present_is_dead='why'");
    it.run(&format!("{rotate} -e present_is_dead=revoked")).code(0);
    let new = it.env(store, "SEQN_SECRET_KEY");
    assert_eq!(it.status(&application, &new), 200);
    assert!(newest_note(&it.project).contains("the present key is dead: revoked"));
}

fn webhook_secrets(it: &mut Operator) {
    let store = "consumers/shop-webhooks/.env";
    let old = it.env(store, "SEQN_WEBHOOK_SECRET");
    let received = format!("{}/received", it.raised("shop_webhooks_url"));
    it.run("rotate-webhook-secret.yml -i staging -e receiver=shop-webhooks -vvv --diff").code(0);
    let made = step_of(&it.project, "/secret/rotate");
    let new = it.env(store, "SEQN_WEBHOOK_SECRET_PENDING");
    assert_eq!(it.env(store, "SEQN_WEBHOOK_SECRET"), old, "the old slot stays until the end");
    let seen = http("GET", &received, &[], "").json();
    assert_eq!((&seen["slots"], &seen["last"]["slot"]), (&json!(["current", "pending"]), &json!("pending")));
    it.run("rotate-webhook-secret.yml -i staging -e receiver=shop-webhooks").code(2).says("is taken");

    let finish = "rotate-webhook-secret.yml -i staging -e receiver=shop-webhooks --tags finish -vvv";
    it.run(finish).code(2).says("-e confirm=webhook_secret.shop-webhooks");
    it.run(&format!("{finish} -e confirm=webhook_secret.shop-webhooks")).code(0);
    assert_eq!(it.env(store, "SEQN_WEBHOOK_SECRET"), new);
    assert_eq!(it.env(store, "SEQN_WEBHOOK_SECRET_PENDING"), "");
    let seen = http("GET", &received, &[], "").json();
    assert_eq!((&seen["slots"], &seen["last"]["slot"]), (&json!(["current"]), &json!("current")));

    // Given up with a placeholder in the second slot: it is free.
    let rotate = "rotate-webhook-secret.yml -i staging -e receiver=shop-webhooks";
    it.run_until(rotate, &format!("{made}:after-intent:kill")).code(-1);
    it.run("runs abandon last --reason gone").code(0);
    assert_ne!(it.env(store, "SEQN_WEBHOOK_SECRET_PENDING"), "");
    // Given up when the console has made a secret that nobody kept: only a further one helps.
    it.run_until(rotate, &format!("{made}:after-effect:kill")).code(-1);
    it.run("runs abandon last --reason gone").code(0);
    it.run(rotate).code(2).says("-e present_is_dead='why'");
    it.run(&format!("{rotate} -e present_is_dead=lost")).code(0);
    assert!(newest_note(&it.project).contains("the present secret is dead: lost"));
    // A new secret in the second slot that no run recorded is no dead end either.
    fs::remove_file(it.file(".rotated-webhook_secret.shop-webhooks.json")).expect("the record");
    it.run(finish).code(0).says("has no rotation that came to its end");
    it.run(rotate).code(2).says("is taken").says("-e present_is_dead='why'");
    it.run(&format!("{rotate} -e present_is_dead=lost")).code(0);
    it.run(&format!("{finish} -e confirm=webhook_secret.shop-webhooks")).code(0);

    // One slot: no rotation without a window.
    let single = "rotate-webhook-secret.yml -i staging -e receiver=legacy-webhooks";
    it.run(&format!(r#"{single} -e {{"seqn_maintenance_windows":[]}}"#)).code(2).says("no window");
    let before = fs::read_to_string(it.file("consumers/legacy-webhooks/webhook-secret")).expect("the store");
    it.run(&format!("{single} -vvv")).code(0);
    let after = fs::read_to_string(it.file("consumers/legacy-webhooks/webhook-secret")).expect("the store");
    assert_ne!(before, after);
    it.secrets.extend([before.trim().into(), after.trim().into()]);
}

fn backup_key(it: &mut Operator) {
    let old = it.env(".env", "OFFSITE_BACKUP_AGE_RECIPIENT");
    let (identity, new) = it.keygen("new-identity.txt");
    let rotate = format!("rotate-backup-key.yml -i staging -e new_key={identity}");
    it.run("rotate-backup-key.yml -i staging").code(2).says("Say which key");
    it.run(&format!("{rotate} --check")).code(0);
    it.run(&format!("{rotate} -vvv --diff")).code(0);
    assert_eq!(it.env(".env", "OFFSITE_BACKUP_AGE_RECIPIENT"), format!("{old},{new}"));
    let again = it.run(&rotate).code(0);
    assert_eq!(again.changed(), ["fresh_backup : Run backup-offsite.sh"]);
    let first = finished(it, "rotate-backup-key.yml", 1);
    it.run(&format!("rollback {first}")).code(0);
    assert_eq!(it.env(".env", "OFFSITE_BACKUP_AGE_RECIPIENT"), old);

    // Somebody else's key, which archives are for as well, is nobody's to take away.
    let (_, other) = it.keygen("other-identity.txt");
    let text = fs::read_to_string(it.file(".env")).expect(".env");
    fs::write(it.file(".env"), text.replace(&old, &format!("{old},{other}"))).expect(".env");

    it.run(&format!("{rotate} -e seqn_backup_key_grace=2592000")).code(0);
    let finish = "rotate-backup-key.yml -i staging --tags finish -e confirm=backup_key.age";
    it.run(finish).code(2).says("stays for another");
    let finish = format!("{finish} -e grace_over=true");
    it.run(&finish).code(2).says("is not the new key");
    let finish = format!("{finish} -e seqn_age_identity_file={identity}");
    it.run(&finish).code(2).says("the old key must be kept until");
    // Their retention is over, all but that of the last rotation's own, and nobody pruned them.
    let mut archives: Vec<PathBuf> = fs::read_dir(it.raised("offsite_dir"))
        .expect("archives")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    archives.sort();
    archives.truncate(archives.len() - 2);
    let long_ago = SystemTime::now() - Duration::from_secs(40 * 86400);
    for archive in &archives {
        let archive = fs::File::options().write(true).open(archive).expect("an archive");
        archive.set_modified(long_ago).expect("a time");
    }
    it.run(&finish).code(0).says("were not pruned");
    assert_eq!(it.env(".env", "OFFSITE_BACKUP_AGE_RECIPIENT"), format!("{other},{new}"));
    // Neither begins anew what is done.
    assert_eq!(it.run(&rotate).code(0).changed(), ["fresh_backup : Run backup-offsite.sh"]);
    it.run(&finish).code(0).says("Nothing is left");

    let vars = it.project.join("inventory/staging/host_vars/vps/zz.yml");
    fs::write(vars, format!("seqn_age_identity_file: {identity}\n")).expect("a file");
}

fn looking_only(it: &mut Operator) {
    let report = it.project.join("report.json");
    let audit = format!("audit-credentials.yml -i staging -e report={}", report.display());
    it.run(&audit).code(0);
    let table: Value = serde_json::from_str(&fs::read_to_string(&report).expect("a report")).expect("JSON");
    let rows = table["credentials"].as_array().expect("rows");
    for name in
        ["session_secret", "pk_live_", "sk_live_", "whsec_", "backup key", "database password of silver"]
    {
        assert!(
            rows.iter().any(|row| row["credential"].as_str().is_some_and(|c| c.contains(name))),
            "{name}"
        );
    }
    let fingerprints = |name: &str| {
        let of = |row: &&Value| row["credential"].as_str().is_some_and(|c| c.contains(name));
        let row = rows.iter().find(of).expect("a row");
        row["fingerprints"].as_object().expect("fingerprints").values().cloned().collect::<Vec<_>>()
    };
    let shop = fingerprints("sk_live_");
    assert!(shop.len() > 1 && shop.iter().all(|one| *one == shop[0]), "{shop:?}");
    assert!(shop[0].as_str().is_some_and(|one| one.len() == 12), "{shop:?}");
    assert_ne!(fingerprints("session_secret"), fingerprints("oidc_client_secret"));
    it.run("preflight.yml -i staging").code(0);

    // What can't be looked at doesn't keep the rest from being told.
    let blind = "-e seqn_console_token= -e seqn_min_free_kib=99999999999";
    let said = it.run(&format!("audit-credentials.yml -i staging {blind}")).code(2);
    said.says("WRONG secret key (sk_live_) of shop")
        .says("WRONG services and disk")
        .says("ok    session_secret");
    let said = it.run(&format!("preflight.yml -i staging {blind}")).code(2);
    said.says("Not ready").says("The disk has room").says("The console takes the operator's token");

    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(it.file(".env"), open).expect("a mode");
    it.run(&audit).code(2).says("others can read or write");
    it.run("preflight.yml -i staging").code(2).says("Nobody but its owner can read .env");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(it.file(".env"), closed).expect("a mode");
}

/// On a protected inventory each rotation is foreseen, with what can't be taken back of it.
fn previews(it: &mut Operator) {
    let (staging, guarded) = (it.project.join("inventory/staging"), it.project.join("inventory/guarded"));
    fs::rename(&staging, &guarded).expect("an inventory");
    fs::write(guarded.join("host_vars/vps/zzz.yml"), "seqn_protected: true\n").expect("a file");
    let key = it.machine.join("new-identity.txt").display().to_string();
    for (rotation, told) in [
        ("rotate-db-password.yml -e database=all -e stop_writes=true", "Stop write traffic"),
        ("rotate-session-secret.yml", "Replace SESSION_SECRET"),
        ("rotate-oidc-client-secret.yml", "OIDC_CLIENT_SECRET"),
        ("rotate-authentik-api-token.yml", "AUTHENTIK_API_TOKEN"),
        (&format!("rotate-backup-key.yml -e new_key={key}"), "on guarded (protected)"),
        ("rotate-project-secret.yml -e project=shop", "The old key died when the console made the new one"),
        ("rotate-webhook-secret.yml -e receiver=legacy-webhooks", "Events are signed with the new secret"),
    ] {
        let ended = it.run(&format!("{rotation} -i guarded --reason drill")).code(1);
        ended.says(told).says("there is nobody to ask");
    }
    fs::remove_file(guarded.join("host_vars/vps/zzz.yml")).expect("the file");
    fs::rename(&guarded, &staging).expect("an inventory");
}

/// The run of a playbook that many finished runs ago.
fn finished(it: &mut Operator, playbook: &str, ago: usize) -> String {
    let runs = it.run("runs").said;
    let mut of = runs.lines().filter(|line| line.contains(playbook) && line.contains("finished"));
    of.nth(ago).and_then(|line| line.split_whitespace().next()).expect("a run").to_string()
}

/// The number of the first Step of the newest run whose label ends so.
fn step_of(project: &Path, label: &str) -> usize {
    let runs = fs::read_dir(project.join(".seqn-play/runs")).expect("runs");
    let newest = runs.flatten().map(|run| run.path().join("journal")).max().expect("a run");
    let journal = fs::read_to_string(newest).expect("a journal");
    let mut intents = journal.lines().filter(|line| line.contains(r#""record":{"intent""#));
    let wanted = format!("{label}\"");
    1 + intents.position(|intent| intent.contains(&wanted)).expect("the Step")
}

fn newest_note(project: &Path) -> String {
    let runs = fs::read_dir(project.join(".seqn-play/runs")).expect("runs");
    let newest = runs.flatten().map(|run| run.path().join("note.md")).max().expect("a run");
    fs::read_to_string(newest).expect("a note")
}

const LOCAL: &str = "\
[seqn]
one ansible_connection=local
two ansible_connection=local
[seqn:vars]
seqn_canary_watch=0
seqn_backup_max_age=3600
";

fn rules(tasks: &str) -> support::Test {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("roles");
    let test = support::Test::new().file("hosts", LOCAL).file("play.yml", tasks);
    std::os::unix::fs::symlink(root, test.path().join("roles")).expect("a link");
    test.args(&["play.yml", "-i", "hosts"])
}

#[test]
fn a_high_blast_radius_needs_a_proven_backup() {
    let play = |vars: &str| {
        format!(
            "- hosts: one\n  gather_facts: false\n  vars:\n    blast_radius: high\n{vars}  tasks:\n    - import_role: {{name: blast_radius}}\n"
        )
    };
    rules(&play("")).run().code(2).says("no backup of this run");
    let proof = |age: &str| {
        play(&format!(
            "    fresh_backup_proof: {{archives: [x.age], at: \"{{{{ now(utc=true).timestamp() | int - {age} }}}}\"}}\n"
        ))
    };
    rules(&proof("4000")).run().code(2).says("no backup of this run");
    rules(&proof("40")).run().success();
}

#[test]
fn a_secret_has_a_store_or_nothing_is_begun() {
    let read = |consumer: &str| {
        rules(&format!(
            "- hosts: one\n  gather_facts: false\n  tasks:\n    - include_role: {{name: secret_store, tasks_from: read}}\n      vars: {{store_consumers: [{{name: shop, {consumer}}}]}}\n"
        ))
    };
    for wrong in ["path: /somewhere", "store: vault", "store: env, path: DIR/env"] {
        read(wrong).run().code(2).says("Nobody could tell where shop keeps its secret");
    }
    read("store: env, path: DIR/env, key: KEY").file("env", "KEY=x\n").run().success();
}

#[test]
fn a_canary_that_falls_ill_stops_the_rotation() {
    let play = |port: u16| {
        format!(
            "- hosts: seqn\n  gather_facts: false\n  serial: [1, '100%']\n  any_errors_fatal: true\n  vars:\n    seqn_health_checks:\n      - {{name: api, url: 'http://127.0.0.1:{port}/', status: 200}}\n  tasks:\n    - debug: {{msg: 'rotated on {{{{ inventory_hostname }}}}'}}\n    - import_role: {{name: canary_gate}}\n"
        )
    };
    let ill = rules(&play(1)).run().code(2).says("api did not stay well");
    ill.says("rotated on one").never_says("rotated on two").says("Not begun: two.");
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a request");
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).expect("a request");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .expect("an answer");
    });
    rules(&play(port)).run().success().says("rotated on two");
    answering.join().expect("it was asked");
}
