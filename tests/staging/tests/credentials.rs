//! Every credential that a rotation changes, changed by hand: where it is needed it is really used,
//! and a place that was forgotten shows.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Answer, Vps, get, good, output, request, sandbox_is_possible, staging, wait_for};
use serde_json::{Value, json};
use staging::Raised;

#[test]
fn every_credential_is_really_used_in_the_sandbox() {
    each_credential("sandbox");
}

#[test]
fn every_credential_is_really_used_on_docker() {
    each_credential("docker");
}

fn each_credential(kind: &str) {
    let Some(vps) = Vps::raise(kind) else { return };
    project_secret(&vps);
    webhook_secrets(&vps);
    oidc_client_secret(&vps);
    authentik_api_token(&vps);
    session_secret(&vps);
    misbehaviour(&vps);
    // None of all that was told to a log.
    let logs = good(&mut vps.on("docker compose logs --no-log-prefix 2>&1"));
    for prefix in ["sk_live_", "whsec_", &vps.raised.seqn.console_token, &vps.raised.login_password] {
        assert!(!logs.contains(prefix), "{prefix} is in a log");
    }
}

fn text<'a>(answer: &'a Answer, key: &str) -> &'a str {
    answer.json[key].as_str().unwrap_or_else(|| panic!("{key}: {answer:?}"))
}

fn project_secret(vps: &Vps) {
    let seqn = &vps.raised.seqn;
    let backends =
        [&seqn.shop_backend_url, &seqn.reports_backend_url].map(|url| format!("{url}/application"));
    let states = || backends.each_ref().map(|url| get(url).status);
    assert_eq!(states(), [200, 200]);
    let in_backend = "docker compose exec -T shop-backend /seqn-standin application";
    assert!(good(&mut vps.on(in_backend)).contains("\"slug\" : \"shop\""));
    assert_eq!(request("GET", &format!("{}/projects", seqn.console_url), &[], &Value::Null).status, 401);

    let rotated = vps.console("POST", &format!("/projects/{}/secret/rotate", seqn.project), &Value::Null);
    let key = text(&rotated, "secret_key").to_owned();
    assert_eq!(rotated.json["secret"]["version"], 2);
    assert_eq!(states(), [502, 502]);
    let refused = output(&mut vps.on(in_backend));
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&refused.stderr).trim(), "invalid_secret_key");
    let errors = || {
        vps.console("GET", "/errors?code=invalid_secret_key&since=3600", &Value::Null).json["count"].clone()
    };
    assert_eq!(errors(), 3);

    // A restart is enough for a file, and not for an env file.
    vps.set("consumers/shop-backend/.env", "SEQN_SECRET_KEY", &key);
    let store = "consumers/reports-backend/secret-key";
    good(&mut vps.on(&format!("umask 077 && echo '{key}' >{store}.new && mv {store}.new {store}")));
    assert_eq!(states(), [502, 502]);
    good(&mut vps.on("docker compose --progress quiet restart shop-backend reports-backend"));
    wait_for("reports-backend works again", || get(&backends[1]).status == 200);
    wait_for("shop-backend is there again", || get(&backends[0]).status == 502);
    vps.recreate("shop-backend");
    assert_eq!(states(), [200, 200]);
    let before = errors();
    assert_eq!(states(), [200, 200]);
    assert_eq!(errors(), before);
}

fn webhook_secrets(vps: &Vps) {
    let seqn = &vps.raised.seqn;
    let signature = |endpoint: &str| {
        let sent = vps.console("POST", &format!("/webhook-endpoints/{endpoint}/test"), &Value::Null);
        assert_eq!(sent.status, 202);
        let id = sent.json["delivery"]["id"].as_str().expect("an id").to_owned();
        let mut last = Value::Null;
        wait_for("the delivery ends", || {
            let path = format!("/webhook-endpoints/{endpoint}/deliveries/{id}");
            last = vps.console("GET", &path, &Value::Null).json;
            last["status"] != "pending"
        });
        last["signature"].as_str().expect("a word").to_owned()
    };
    let rotate = |endpoint: &str| {
        let path = format!("/webhook-endpoints/{endpoint}/secret/rotate");
        text(&vps.console("POST", &path, &Value::Null), "signing_secret").to_owned()
    };
    let (shop, legacy) = (&seqn.shop_webhook_endpoint, &seqn.legacy_webhook_endpoint);
    assert_eq!((signature(shop), signature(legacy)), ("accepted".into(), "accepted".into()));
    let probed = || get(&signature_of(vps, shop)).status;
    assert_eq!(probed(), 200);
    let fresh = rotate(shop);
    assert_eq!((signature(shop), signature(legacy)), ("rejected".into(), "accepted".into()));
    let received = format!("{}/received", seqn.shop_webhooks_url);
    let before = get(&received).json;
    assert_eq!((probed(), get(&received).json), (502, before), "a prober leaves no trace");
    let env = "consumers/shop-webhooks/.env";
    vps.set(env, "SEQN_WEBHOOK_SECRET_PENDING", &fresh);
    vps.recreate("shop-webhooks");
    assert_eq!(signature(shop), "accepted");
    assert_eq!(get(&received).json["last"]["slot"], "pending");
    assert_eq!(probed(), 200);
    let slots = good(&mut vps.on("docker compose exec -T shop-webhooks /seqn-standin slots"));
    let slots: Vec<&str> = slots.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(slots, ["current", "pending"]);
    vps.set(env, "SEQN_WEBHOOK_SECRET", &fresh);
    vps.set(env, "SEQN_WEBHOOK_SECRET_PENDING", "");
    vps.recreate("shop-webhooks");
    assert_eq!(signature(shop), "accepted");

    let fresh = rotate(legacy);
    assert_eq!(signature(legacy), "rejected");
    let store = "consumers/legacy-webhooks/webhook-secret";
    good(&mut vps.on(&format!("umask 077 && echo '{fresh}' >{store}.new && mv {store}.new {store}")));
    assert_eq!(signature(legacy), "rejected");
    vps.recreate("legacy-webhooks");
    assert_eq!(signature(legacy), "accepted");
}

/// A whole login by HTTP with an empty cookie jar; gives the status of the callback, and who `/v1/me`
/// says it is.
fn log_in(vps: &Vps, jar: &Path) -> (String, Answer) {
    let raised = &vps.raised;
    let curl = |args: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "-b"]);
        let said = good(curl.arg(jar).arg("-c").arg(jar).args(args));
        let (status, to) = said.split_once(' ').expect("two words");
        (status.to_owned(), to.to_owned())
    };
    let (_, authorize) = curl(&[&format!("{}/auth/login", raised.api_url)]);
    let (_, page) = curl(&[&authorize]);
    assert!(page.contains("/if/flow/default-authentication-flow/?next="), "{page}");
    let user = format!("uidField={}", raised.login_user);
    let password = format!("password={}", raised.login_password);
    let (_, again) = curl(&["--data-urlencode", &user, "--data-urlencode", &password, &page]);
    let (_, callback) = curl(&[&again]);
    let (status, _) = curl(&[&callback]);
    (status, me(vps, jar))
}

fn me(vps: &Vps, jar: &Path) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-m", "20", "-w", "\n%{http_code}", "-b"]).arg(jar);
    let said = good(curl.arg(format!("{}/v1/me", vps.raised.api_url)));
    let (body, status) = said.rsplit_once('\n').expect("a status");
    Answer {
        status: status.parse().expect("a number"),
        json: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

fn oidc_client_secret(vps: &Vps) {
    let jars = tempfile::tempdir().unwrap();
    let jar = |name: &str| jars.path().join(name);
    let (status, who) = log_in(vps, &jar("before"));
    assert_eq!((status.as_str(), text(&who, "user")), ("302", vps.raised.login_user.as_str()));

    let found = vps.admin("GET", "/providers/oauth2/?client_id=silver-auth", &Value::Null);
    let pk = found.json["results"][0]["pk"].as_i64().expect("a number");
    let fresh = "c".repeat(64);
    let path = format!("/providers/oauth2/{pk}/");
    assert_eq!(vps.admin("PATCH", &path, &json!({"client_secret": fresh})).status, 200);
    assert_eq!(log_in(vps, &jar("disagreeing")).0, "502");
    assert_eq!(me(vps, &jar("before")).status, 200);
    vps.set(".env", "OIDC_CLIENT_SECRET", &fresh);
    vps.recreate("silver-auth-api");
    let (status, who) = log_in(vps, &jar("after"));
    assert_eq!((status.as_str(), text(&who, "user")), ("302", vps.raised.login_user.as_str()));
    assert_eq!(me(vps, &jar("before")).status, 200);
}

fn authentik_api_token(vps: &Vps) {
    let project = format!("/projects/{}", vps.raised.seqn.canary_project);
    let provisioned = || {
        let name = json!({"name": "Canary, looked at"});
        assert_eq!(vps.console("PATCH", &project, &name).json["provisioning"]["status"], "pending");
        let mut now = Value::Null;
        wait_for("provisioning ends", || {
            now = vps.console("GET", &project, &Value::Null).json["provisioning"].clone();
            now["status"] != "pending"
        });
        (now["status"].as_str().unwrap_or_default().to_owned(), now["error"].clone())
    };
    let probed = || get(&format!("{}/probe/provisioning", vps.raised.api_url)).status;
    assert_eq!((provisioned(), probed()), (("synced".to_owned(), Value::Null), 200));
    let found = vps.admin("GET", "/core/tokens/?identifier=silver-auth-api", &Value::Null);
    let owner = found.json["results"][0]["user"].clone();
    let make = |identifier: &str, user: &Value| {
        let body = json!({"identifier": identifier, "intent": "api", "user": user, "expiring": false});
        let made = vps.admin("POST", "/core/tokens/", &body);
        assert_eq!((made.status, &made.json["key"]), (201, &Value::Null));
        let path = format!("/core/tokens/{identifier}/view_key/");
        text(&vps.admin("GET", &path, &Value::Null), "key").to_owned()
    };
    // Of a user who may not provision.
    let people = vps.admin("GET", &format!("/core/users/?username={}", vps.raised.login_user), &Value::Null);
    let wrong = make("of-somebody-else", &people.json["results"][0]["pk"]);
    vps.set(".env", "AUTHENTIK_API_TOKEN", &wrong);
    vps.recreate("silver-auth-api");
    assert_eq!(provisioned(), ("failed".to_owned(), json!("authentik_forbidden")));

    let fresh = make("silver-auth-api-2", &owner);
    assert_eq!(vps.admin("DELETE", "/core/tokens/silver-auth-api/", &Value::Null).status, 204);
    vps.set(".env", "AUTHENTIK_API_TOKEN", &fresh);
    vps.recreate("silver-auth-api");
    assert_eq!(provisioned(), ("synced".to_owned(), Value::Null));
    assert_eq!(vps.admin("DELETE", "/core/tokens/silver-auth-api-2/", &Value::Null).status, 204);
    assert_eq!(provisioned(), ("failed".to_owned(), json!("authentik_unauthorized")));
    assert_eq!(probed(), 502);
}

fn session_secret(vps: &Vps) {
    let jars = tempfile::tempdir().unwrap();
    let jar = |name: &str| jars.path().join(name);
    assert_eq!(log_in(vps, &jar("old")).1.status, 200);
    vps.set(".env", "SESSION_SECRET", &"s".repeat(31));
    let up = "docker compose --progress quiet up -d --no-deps --wait --wait-timeout 20 silver-auth-api";
    assert!(!output(&mut vps.on(up)).status.success(), "31 characters are too few");
    vps.set(".env", "SESSION_SECRET", &"s".repeat(32));
    vps.recreate("silver-auth-api");
    assert_eq!(me(vps, &jar("old")).status, 401);
    let anonymous = good(Command::new("curl").args(["-sS", "-m", "20", "-o", "/dev/null"]).args([
        "-H",
        "Accept: text/html",
        "-w",
        "%{redirect_url}",
        &format!("{}/v1/me", vps.raised.api_url),
    ]));
    assert_eq!(anonymous, format!("{}/login", vps.raised.api_url));
    assert_eq!(log_in(vps, &jar("new")).1.status, 200);
}

fn misbehaviour(vps: &Vps) {
    let config = || {
        let began = Instant::now();
        (get(&format!("{}/v1/config", vps.raised.api_url)).status, began.elapsed())
    };
    let quick = (0..5).map(|_| config().1).min().unwrap_or_default();
    let rules = ["half", "drop", "refuse", "status=500", "status-after=418", "slow=900"];
    let rules: Vec<String> = rules.iter().map(|what| format!("GET /v1/config {what} times=1")).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    vps.misbehave("silver-auth-api", &rules);
    let (seen, took): (Vec<u16>, Vec<Duration>) = rules.iter().map(|_| config()).unzip();
    assert_eq!(seen, [0, 0, 0, 500, 418, 200]);
    assert!(took[5] >= Duration::from_millis(900) && took[5] > quick, "{:?} after {quick:?}", took[5]);
    assert_eq!(config().0, 200);

    // Whether it was done is another question than what was answered.
    let canary = format!("/projects/{}", vps.raised.seqn.canary_project);
    let version = || vps.console("GET", &canary, &Value::Null).json["secret"]["version"].as_i64();
    for (what, status, done) in [
        ("half", 0, 1),
        ("drop", 0, 1),
        ("refuse", 0, 0),
        ("status=500", 500, 0),
        ("status-after=418", 418, 1),
        ("slow=300", 200, 1),
        ("disagree", 200, 0),
    ] {
        let before = version().expect("a version");
        vps.misbehave("silver-auth-api", &[&format!("POST * {what}")]);
        let told = vps.console("POST", &format!("{canary}/secret/rotate"), &Value::Null);
        vps.misbehave("silver-auth-api", &[]);
        assert_eq!((told.status, version()), (status, Some(before + done)), "{what}");
    }
    disagreement(vps);

    // It outlives the container, which then doesn't become healthy.
    vps.misbehave("silver-auth-api", &["GET /healthz status=503"]);
    let recreate = "docker compose up -d --no-deps --force-recreate --wait --wait-timeout 20 silver-auth-api";
    assert!(!output(&mut vps.on(recreate)).status.success());
    vps.misbehave("silver-auth-api", &[]);
    vps.recreate("silver-auth-api");

    // It says what isn't so: the key that it tells is none.
    let path = format!("/projects/{}/secret/rotate", vps.raised.seqn.canary_project);
    vps.misbehave("silver-auth-api", &["POST * disagree"]);
    let told = vps.console("POST", &path, &Value::Null);
    let authorization = format!("Authorization: Bearer {}", text(&told, "secret_key"));
    let url = format!("{}/v1/backend/application", vps.raised.api_url);
    assert_eq!(text(&request("GET", &url, &[&authorization], &Value::Null), "error"), "invalid_secret_key");
    vps.misbehave("silver-auth-api", &["what is this"]);
    assert_eq!(get(&url).json["error"], "fault_file_invalid");
    vps.misbehave("silver-auth-api", &[]);
    assert!(!output(staging(&["misbehave"], &vps.dir).arg("nobody")).status.success());
}

/// Each that can say what isn't so says it, and nothing has changed.
fn disagreement(vps: &Vps) {
    let seqn = &vps.raised.seqn;
    let told = |service: &str, rule: &str, ask: &dyn Fn() -> u16| {
        vps.misbehave(service, &[&format!("{rule} disagree")]);
        let status = ask();
        vps.misbehave(service, &[]);
        status
    };
    let status = |url: &str| get(url).status;

    // What is right is denied.
    let backend = format!("{}/application", seqn.shop_backend_url);
    assert_eq!(told("silver-auth-api", "GET /v1/backend/application", &|| status(&backend)), 502);
    assert_eq!(status(&backend), 200);
    let signature = signature_of(vps, &seqn.shop_webhook_endpoint);
    assert_eq!(told("shop-webhooks", "POST /webhook", &|| status(&signature)), 502);
    assert_eq!(status(&signature), 200);
    let jars = tempfile::tempdir().unwrap();
    let callback = |name: &str| log_in(vps, &jars.path().join(name)).0.parse().expect("a status");
    assert_eq!(told("authentik-server", "POST /application/o/token/", &|| callback("denied")), 502);
    assert_eq!(callback("allowed"), 302);

    // What is said to be done is not.
    let endpoint = format!("/webhook-endpoints/{}", seqn.shop_webhook_endpoint);
    let version = || vps.console("GET", &endpoint, &Value::Null).json["secret"]["version"].clone();
    let before = version();
    let rotate = || vps.console("POST", &format!("{endpoint}/secret/rotate"), &Value::Null).status;
    assert_eq!(told("silver-auth-api", "POST *", &rotate), 200);
    assert_eq!((version(), status(&signature)), (before, 200));

    let found = vps.admin("GET", "/providers/oauth2/?client_id=silver-auth", &Value::Null);
    let provider = format!("/providers/oauth2/{}/", found.json["results"][0]["pk"]);
    let secret = || vps.admin("GET", &provider, &Value::Null).json["client_secret"].clone();
    let before = secret();
    let patch = || vps.admin("PATCH", &provider, &json!({"client_secret": "d".repeat(64)})).status;
    assert_eq!((told("authentik-server", "PATCH *", &patch), secret()), (200, before));

    let token = json!({"identifier": "doubted", "intent": "api", "expiring": false});
    assert_eq!(vps.admin("POST", "/core/tokens/", &token).status, 201);
    let key = || vps.admin("GET", "/core/tokens/doubted/view_key/", &Value::Null).json["key"].clone();
    let before = key();
    assert!(before.is_string());
    let set = || vps.admin("POST", "/core/tokens/doubted/set_key/", &json!({"key": "k".repeat(40)})).status;
    assert_eq!(told("authentik-server", "POST *", &set), 204);
    let delete = || vps.admin("DELETE", "/core/tokens/doubted/", &Value::Null).status;
    assert_eq!(told("authentik-server", "DELETE *", &delete), 204);
    assert_eq!(key(), before);
    assert_eq!((delete(), key()), (204, Value::Null));
}

/// Where a prober asks whether a receiver accepts what is signed now.
fn signature_of(vps: &Vps, endpoint: &str) -> String {
    format!("{}/probe/webhooks/{endpoint}", vps.raised.api_url)
}

#[test]
fn a_sandbox_is_brought_back_to_what_it_was() {
    let Some(vps) = Vps::raise("sandbox") else { return };
    let env = vps.raised.project_dir.join(".env");
    let application = format!("{}/application", vps.raised.seqn.shop_backend_url);
    let ids = || good(&mut vps.on("docker compose ps -q"));
    let restore = || good(&mut staging(&["restore"], &vps.dir));
    good(&mut vps.on("docker compose --progress quiet stop authentik-worker"));
    good(&mut staging(&["snapshot"], &vps.dir));
    let (kept, containers) = (std::fs::read(&env).unwrap(), ids());
    assert_eq!(containers.lines().count(), 8);
    for _ in 0..2 {
        // A rotation that was cut, a container made anew, one that is gone, one that runs, a dead
        // Postgres, a dead SSH server, a file too many.
        let path = format!("/projects/{}/secret/rotate", vps.raised.seqn.project);
        assert_eq!(vps.console("POST", &path, &Value::Null).status, 200);
        assert_eq!(get(&application).status, 502);
        vps.set(".env", "SESSION_SECRET", "short");
        vps.recreate("shop-webhooks");
        good(&mut vps.on("docker compose --progress quiet rm -sf legacy-webhooks"));
        good(&mut vps.on("docker compose --progress quiet start authentik-worker"));
        good(&mut vps.on("docker compose --progress quiet kill authentik-postgresql"));
        good(&mut vps.on("touch left; sleep 1000 >/dev/null 2>&1 </dev/null &"));
        good(&mut staging(&["fault", "refused", "strike"], &vps.dir));
        restore();
        assert_eq!(std::fs::read(&env).unwrap(), kept);
        assert_eq!(ids(), containers);
        assert!(!vps.raised.project_dir.join("left").exists());
        assert_eq!(get(&application).status, 200);
        assert_eq!(vps.console("GET", "/projects/shop", &Value::Null).json["secret"]["version"], 1);
    }
    assert!(!output(staging(&["restore"], &vps.dir).args(["--name", "nothing"])).status.success());
    assert!(!output(staging(&["snapshot"], &vps.dir).args(["--name", "../x"])).status.success());
}

#[test]
fn a_fleet_is_raised_with_an_inventory_of_its_own() {
    if !sandbox_is_possible() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("fleet");
    let said = output(staging(&["up", "--kind", "sandbox", "--fleet", "2"], &dir).env("NO_COLOR", "1"));
    let lines = String::from_utf8_lossy(&said.stdout).into_owned();
    let hosts: Vec<Raised> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let down = || output(&mut staging(&["down"], &dir));
    if hosts.len() != 2 {
        down();
        panic!("{}", String::from_utf8_lossy(&said.stderr));
    }
    let healthy = hosts.iter().all(|host| get(&format!("{}/healthz", host.api_url)).status == 200);
    let inventory = std::fs::read_to_string(dir.join("inventory/hosts.yml"));
    let variables = std::fs::read_to_string(dir.join("inventory/host_vars/vps2/raised.yml"));
    let group = dir.join("inventory/group_vars").exists();
    let again = output(&mut staging(&["info"], &dir)).stdout;
    let gone = down();
    assert!(healthy && group);
    assert!(inventory.unwrap().contains("        vps1: {}\n        vps2: {}\n"));
    assert!(variables.unwrap().contains(&format!("seqn_api_url: \"{}\"", hosts[1].api_url)));
    assert_eq!(String::from_utf8_lossy(&again), lines);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    assert!(!dir.exists());
}
