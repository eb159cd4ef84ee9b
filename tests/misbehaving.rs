//! Services and scripts of a staging VPS that say what isn't so, and a VPS on which nothing is as the inventory
//! says: each proof of a rotation, and each row of the audit, refuses what it is there for.

#[path = "support/leak/mod.rs"]
mod leak;
#[path = "support/operator.rs"]
mod operator;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use leak::sandbox::Sandbox;
use operator::{Operator, Vps, http};
use serde_json::{Value, json};

/// A VPS that goes with the first of the two, and its operator.
fn raised() -> Option<(Sandbox, Operator)> {
    let vps = Sandbox::raise(&leak::sandbox::staging()?);
    let operator = Operator::new(vps.project(), vps.operator(), Vps::new(vps.told()));
    Some((vps, operator))
}

/// What is done while a service follows a rule.
fn misbehaving<T>(it: &mut Operator, service: &str, rule: &str, act: impl FnOnce(&mut Operator) -> T) -> T {
    let rules = it.file(&format!("faults/{service}"));
    fs::write(&rules, format!("{rule}\n")).expect("rules");
    let done = act(it);
    fs::remove_file(&rules).expect("the rules");
    done
}

#[test]
fn what_a_service_says_is_not_believed() {
    let Some((_vps, mut it)) = raised() else { return };
    client_secret(&mut it);
    api_token(&mut it);
    project_key(&mut it);
    webhook_secret(&mut it);
    it.was_told_no_secret();
}

fn client_secret(it: &mut Operator) {
    let old = it.env(".env", "OIDC_CLIENT_SECRET");
    let rotate = "rotate-oidc-client-secret.yml -i staging";
    // Nothing is begun where logins don't come through already.
    misbehaving(it, "authentik-server", "POST /application/o/token/ disagree", |it| {
        let ended = it.run(rotate).code(2).says("A fresh login did not come through");
        assert!(ended.changed().is_empty(), "{}", ended.said);
    });
    assert!(it.client_secret_is_taken(&old));
    // It says that it has the new one, and keeps the old one.
    misbehaving(it, "authentik-server", "PATCH * disagree", |it| {
        it.run(rotate).code(2).says("The OIDC client secret was not rotated").says("Everything was undone")
    });
    assert_eq!(it.env(".env", "OIDC_CLIENT_SECRET"), old);
    assert!(it.client_secret_is_taken(&old));
}

fn api_token(it: &mut Operator) {
    let me = it.authentik("/api/v3/core/users/me/");
    let old = it.env(".env", "AUTHENTIK_API_TOKEN");
    let before = tokens(it);
    misbehaving(it, "authentik-server", "POST /api/v3/core/tokens/* disagree", |it| {
        let said = it.run("rotate-authentik-api-token.yml -i staging").code(2);
        said.says("The Authentik API token was not rotated").says("the replacement is deleted")
    });
    assert_eq!(it.env(".env", "AUTHENTIK_API_TOKEN"), old);
    assert_eq!((tokens(it), it.status(&me, &old)), (before, 200));

    it.run("rotate-authentik-api-token.yml -i staging").code(0);
    let finish = "rotate-authentik-api-token.yml -i staging --tags finish -e confirm=authentik_api_token";
    misbehaving(it, "authentik-server", "DELETE * disagree", |it| {
        it.run(finish).code(2).fails_at("Confirm that the old token is refused")
    });
    assert_eq!(it.status(&me, &old), 200);
    it.run(finish).code(0);
    assert_eq!(it.status(&me, &old), 403);
}

fn project_key(it: &mut Operator) {
    let (store, rotate) =
        ("consumers/shop-backend/.env", "rotate-project-secret.yml -i staging -e project=shop");
    let project = it.raised("project").to_string();
    let application = it.api("/v1/backend/application");
    let old = it.env(store, "SEQN_SECRET_KEY");
    let before = version(it, &format!("projects/{project}"));
    misbehaving(it, "silver-auth-api", "GET /v1/backend/application disagree", |it| {
        it.run(rotate).code(2).says("-e present_is_dead='why'")
    });
    let asked = format!("POST /v1/console/projects/{project}/secret/rotate");
    misbehaving(it, "silver-auth-api", &format!("{asked} disagree"), |it| {
        it.run(rotate).code(2).fails_at("Confirm that the API takes the new key")
    });
    assert_eq!(it.env(store, "SEQN_SECRET_KEY"), old);
    assert_eq!((version(it, &format!("projects/{project}")), it.status(&application, &old)), (before, 200));

    // It made one, and the answer with it is lost: one more is made.
    for lost in ["status-after=500", "drop", "half"] {
        let before = version(it, &format!("projects/{project}"));
        misbehaving(it, "silver-auth-api", &format!("{asked} {lost} times=1"), |it| it.run(rotate).code(0));
        let new = it.env(store, "SEQN_SECRET_KEY");
        assert_eq!(it.status(&application, &new), 200, "{lost}");
        assert_eq!(version(it, &format!("projects/{project}")), before + 2, "{lost}");
    }
}

fn webhook_secret(it: &mut Operator) {
    let rotate = "rotate-webhook-secret.yml -i staging -e receiver=shop-webhooks";
    let endpoint = format!("webhook-endpoints/{}", it.raised("shop_webhook_endpoint"));
    let before = version(it, &endpoint);
    misbehaving(it, "shop-webhooks", "POST /webhook disagree", |it| {
        it.run(rotate).code(2).says("-e present_is_dead='why'")
    });
    assert_eq!(version(it, &endpoint), before);
    // The receiver goes on accepting events, all of them signed with the old secret.
    let asked = format!("POST /v1/console/{endpoint}/secret/rotate");
    misbehaving(it, "silver-auth-api", &format!("{asked} disagree"), |it| {
        it.run(rotate).code(2).fails_at("Confirm that it was signed with the new secret")
    });
    assert_eq!(version(it, &endpoint), before);
    it.run(&format!("{rotate} -e present_is_dead=unknown")).code(0);
    assert_eq!(version(it, &endpoint), before + 1);
}

/// How often the console has made a secret.
fn version(it: &Operator, of: &str) -> i64 {
    let bearer = format!("Bearer {}", it.raised("console_token"));
    let url = format!("{}/{of}", it.raised("console_url"));
    let told = http("GET", &url, &[("Authorization", &bearer)], "").json();
    told["secret"]["version"].as_i64().expect("a version")
}

/// The tokens of the provisioning user.
fn tokens(it: &Operator) -> Vec<Value> {
    let bearer = format!("Bearer {}", it.raised("authentik_admin_token"));
    let url = it.authentik("/api/v3/core/tokens/?user__username=silver-provisioning&intent=api");
    let told = http("GET", &url, &[("Authorization", &bearer), ("Accept", "application/json")], "").json();
    told["results"].as_array().expect("tokens").clone()
}

/// The safety rule of a fresh backup, broken: a script that succeeds and leaves none.
#[test]
fn what_a_script_leaves_must_be_a_backup() {
    let Some((_vps, mut it)) = raised() else { return };
    it.run("rotate-session-secret.yml -i staging").code(0);
    let secret = it.env(".env", "SESSION_SECRET");
    let (_, other) = it.keygen("other.txt");
    let archive = "backups/offsite/99990101T000000.000Z.silver.dump.age";
    let none = "of silver there is no age backup of at least 512 bytes that is newer than this run";
    for (kind, script, why) in [
        ("offsite", ":".to_string(), none),
        ("offsite", format!(": >{archive}"), none),
        ("offsite", format!("cp -p \"$(ls backups/offsite/*.silver.dump.age | head -n 1)\" {archive}"), none),
        (
            "offsite",
            format!("head -c 2000 /dev/urandom | age -r {other} -o {archive}"),
            "have it encrypted to your public key",
        ),
        ("local", ":".to_string(), "of silver there is no local backup of at least 512 bytes"),
    ] {
        let path = it.file("instead.sh");
        fs::write(&path, format!("#!/bin/sh\nset -e\n{script}\n")).expect("a script");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a mode");
        let line = format!("rotate-session-secret.yml -i staging -e seqn_backup_{kind}_script=./instead.sh");
        it.run(&line).code(2).says(why);
        assert_eq!(it.env(".env", "SESSION_SECRET"), secret, "{script}");
        fs::remove_file(it.file(archive)).ok();
    }
    it.was_told_no_secret();
}

#[test]
fn whoever_looks_finds_what_is_wrong() {
    let Some((_vps, mut it)) = raised() else { return };
    // Archives of both databases, and nothing that isn't right.
    it.run("rotate-db-password.yml -i staging -e database=all").code(0);
    it.run("audit-credentials.yml -i staging").code(0);
    it.run("preflight.yml -i staging").code(0);

    spoil(&mut it);
    let audit = it.run("audit-credentials.yml -i staging").code(2);
    for (row, why) in [
        ("database password of silver", "not the one in the database"),
        ("database password of silver", "another one in SILVER_DATABASE_URL"),
        ("database password of silver", "not what runs in silver-auth-api"),
        ("oidc_client_secret", "shorter than 32 characters"),
        ("oidc_client_secret", "not what runs in silver-auth-api"),
        ("oidc_client_secret", "Authentik does not agree"),
        ("authentik_api_token", "Authentik does not agree"),
        ("authentik_api_token", "a rotation is not finished"),
        ("authentik_api_token", "no rotation will revoke the others: silver-auth-api, silver-auth-api-left"),
        ("session_secret", "older than 180 days"),
        ("session_secret", "also in "),
        ("secret key (sk_live_) of shop", "not the same everywhere"),
        ("secret key (sk_live_) of shop", "the API refuses what is stored for reports-backend"),
        ("webhook secret (whsec_) of shop-webhooks", "not the one that the console signs with"),
        ("webhook secret (whsec_) of shop-webhooks", "not what runs in shop-webhooks"),
        ("backup key (age)", ".env does not name the key of the inventory"),
        ("backup key (age)", "it does not open the newest archive of silver"),
        ("backup key (age)", "for other recipients than .env names: silver, authentik"),
    ] {
        let wrong = |line: &str| line.contains(&format!("WRONG {row} ")) && line.contains(why);
        assert!(audit.said.lines().any(wrong), "{row}: {why} is missing in\n{}", audit.said);
    }
    let preflight = it.run("preflight.yml -i staging -e seqn_login_password=").code(2);
    let told = preflight.said.split("Not ready:").nth(1).expect("a list").to_string();
    for line in [
        "The passwords in .env are those in the databases: not so: silver",
        "There is one OAuth2 provider with the client id of the inventory, and .env has its secret: 1 providers",
        "NONE is in .env",
        "There is a person for fresh logins",
        "The private backup key is on this machine, and archives are encrypted to it",
        "The newest archives decrypt to their last byte",
        "No credential stands where the inventory doesn't say so",
    ] {
        assert!(told.contains(line), "{line} is missing in\n{}", preflight.said);
    }
    for line in ["Postgres has room", "Postgres asks for the password", "The canary project"] {
        assert!(!told.contains(line) && preflight.said.contains(line), "{line}\n{}", preflight.said);
    }
    let crowded =
        r#"preflight.yml -i staging -e {"seqn_projects":{"shop":{"project":"CANARY","consumers":[]}}}"#;
    let crowded = crowded.replace("CANARY", it.raised("canary_project"));
    it.run(&crowded)
        .code(2)
        .says("The canary project is none of those whose consumers the inventory names: prj_");
    it.was_told_no_secret();
}

/// Nothing is as the inventory says.
fn spoil(it: &mut Operator) {
    let copy = it.env(".env", "SESSION_SECRET");
    fs::write(it.file("pasted.txt"), copy).expect("a file");
    let ((_, one), (_, other)) = (it.keygen("one.txt"), it.keygen("other.txt"));
    for (file, key, value) in [
        (".env", "SILVER_POSTGRES_PASSWORD", "W7gTq2Lz9Xc4Vb6Nm1Qw8Er3Ty5Ui0OpAsDfGhJk"),
        (".env", "OIDC_CLIENT_SECRET", "Qz8Wx3Ec7Rv2Tb"),
        (".env", "AUTHENTIK_API_TOKEN", "H5jKl8Mn2Bv4Cx6Zq9Wp3Er7Ty1Ui5OaSdFgHjKlZx"),
        (".env", "OFFSITE_BACKUP_AGE_RECIPIENT", &format!("{one},{other}")),
        ("consumers/shop-webhooks/.env", "SEQN_WEBHOOK_SECRET", "whsec_cGxhY2Vob2xkZXItbm90LXJlYWw="),
    ] {
        let path = it.file(file);
        let text = fs::read_to_string(&path).expect("a file");
        let lines = text.lines().map(|line| match line.strip_prefix(key) {
            Some(rest) if rest.starts_with('=') => format!("{key}={value}\n"),
            _ => format!("{line}\n"),
        });
        fs::write(&path, lines.collect::<String>()).expect("a file");
    }
    let key = it.file("consumers/reports-backend/secret-key");
    fs::write(key, "sk_live_B4nM7kL2pQ9wE5rT8yU3iO6aS1dF0gHj").expect("a file");
    for (name, previous) in [
        ("session_secret", json!({})),
        ("authentik_api_token", json!({"identifiers": ["silver-auth-api-gone"]})),
    ] {
        let record = json!({"credential": name, "rotated": "2020-01-01T00:00:00Z", "finish_after": 0, "previous": previous});
        fs::write(it.file(&format!(".rotated-{name}.json")), record.to_string()).expect("a record");
    }
    let archive = it.file("backups/offsite/99990101T000000.000Z.silver.dump.age");
    let sealed =
        Command::new("age").args(["-r", &other, "-o"]).arg(archive).arg(it.file("pasted.txt")).status();
    assert!(sealed.is_ok_and(|status| status.success()), "age seals");
    let bearer = format!("Bearer {}", it.raised("authentik_admin_token"));
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
    let left = json!({"identifier": "silver-auth-api-left", "intent": "api", "user": tokens(it)[0]["user"], "expiring": false});
    let made = http("POST", &it.authentik("/api/v3/core/tokens/"), &headers, &left.to_string());
    assert_eq!(made.status, 201, "{}", made.text);
}
