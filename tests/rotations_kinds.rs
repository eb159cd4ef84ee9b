//! Rotations on a staging VPS with other kinds of things than it is raised with: a GPG backup key
//! beside the one of age, and the stores of consumers that are a command or an encrypted file in git.

#[path = "support/keyring.rs"]
mod keyring;
#[path = "support/leak/mod.rs"]
mod leak;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyring::Keyring;
use leak::sandbox::Sandbox;

struct Operator {
    vps: Sandbox,
    project: PathBuf,
    own: Keyring,
}

impl Operator {
    fn new() -> Option<Operator> {
        let (staging, own) = (leak::sandbox::staging()?, Keyring::new()?);
        let vps = Sandbox::raise(&staging);
        Some(Operator { project: vps.project(), vps, own })
    }

    /// Variables of the VPS that count more than the inventory's.
    fn vars(&self, text: &str) {
        fs::write(self.project.join("inventory/staging/host_vars/vps/zz.yml"), text).expect("a file");
    }

    /// What was said.
    #[track_caller]
    fn run(&self, line: &str, code: i32) -> String {
        let ran = Command::new(env!("CARGO_BIN_EXE_seqn-play"))
            .args(line.split_whitespace())
            .current_dir(&self.project)
            .env("HOME", self.vps.operator().join("home"))
            .env("TMPDIR", self.vps.operator().join("tmp"))
            .env("GNUPGHOME", self.own.home())
            .env("NO_COLOR", "1")
            .env("SEQN_AGE_IDENTITY", support::identity())
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{line}\n{said}");
        said
    }

    #[track_caller]
    fn refused(&self, line: &str, why: &str) -> String {
        let said = self.run(line, 2);
        assert!(said.contains(why), "{why:?} is missing in\n{said}");
        said
    }

    fn recipients(&self) -> String {
        let text = fs::read_to_string(self.vps.env_file()).expect(".env");
        let line = text.lines().find_map(|line| line.strip_prefix("OFFSITE_BACKUP_GPG_RECIPIENT="));
        line.expect("the variable").to_string()
    }

    /// Whether the VPS can encrypt to it.
    fn is_known(&self, key: &str) -> bool {
        self.run(&format!("known.yml -i staging -e key={key}"), 0).contains("changed=0")
    }

    /// The private key of the inventory.
    fn uses(&self, key: &str) {
        let vars = format!(
            "\
seqn_backup_keys:
  age: {{private: '{{{{ seqn_age_identity_file }}}}', env_key: OFFSITE_BACKUP_AGE_RECIPIENT, max_age_days: 365}}
  gpg: {{private: {key}, env_key: OFFSITE_BACKUP_GPG_RECIPIENT, max_age_days: 365}}
"
        );
        self.vars(&vars);
    }

    /// The offsite archives of GPG, oldest first.
    fn archives(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.vps.raised("offsite_dir")).expect("archives").flatten();
        let mut archives: Vec<PathBuf> = all.map(|entry| entry.path()).collect();
        archives.retain(|path| path.extension().is_some_and(|kind| kind == "gpg"));
        archives.sort();
        archives
    }

    /// For how many keys it is.
    fn recipient_count(&self, archive: &Path) -> usize {
        let sealed = fs::read(archive).expect("an archive");
        let listed = self.own.gpg(&["--list-only", "--status-fd", "1", "--decrypt"], &sealed).stdout;
        String::from_utf8_lossy(&listed).matches("[GNUPG:] ENC_TO ").count()
    }
}

/// What a VPS has on which GPG keys are in use already.
const PREPARE: &str = "\
- hosts: seqn
  gather_facts: false
  tasks:
    - seqn.play.gpg_key: {fingerprint: '{{ key }}'}
    - seqn.play.dotenv: {path: '{{ seqn_env_file }}', key: OFFSITE_BACKUP_GPG_RECIPIENT, value: '{{ key }}'}
    - ansible.builtin.command: {argv: ['{{ seqn_backup_offsite_script }}'], chdir: '{{ seqn_project_dir }}'}
";
const KNOWN: &str = "\
- hosts: seqn
  gather_facts: false
  tasks:
    - seqn.play.gpg_key: {fingerprint: '{{ key }}'}
      check_mode: true
";

#[test]
fn a_gpg_backup_key_is_rotated_and_retired() {
    let Some(it) = Operator::new() else { return };
    let (old, new, locked) = (it.own.key("old", ""), it.own.key("new", ""), it.own.key("locked", "geheim"));
    for (name, play) in [("prepare.yml", PREPARE), ("known.yml", KNOWN)] {
        fs::write(it.project.join(name), play).expect("a playbook");
    }
    it.uses(&old);
    it.run(&format!("prepare.yml -i staging -e key={old}"), 0);

    let rotate = format!("rotate-backup-key.yml -i staging -e kind=gpg -e new_key={new}");
    it.refused(&format!("rotate-backup-key.yml -i staging -e new_key={new}"), "-e kind=age|gpg");
    it.refused("rotate-backup-key.yml -i staging -e kind=gpg", "-e new_key=KEY");
    it.refused(&format!("{rotate} -e new_key=new@backup.invalid"), "is not the whole fingerprint");
    it.refused(&format!("{rotate} -e new_key={old}"), "must be one key each, not the same one");
    // A key that can't be used here takes back what was done with it.
    let said = it.refused(&format!("{rotate} -e new_key={locked}"), "is locked, and nobody can be asked");
    assert!(said.contains("Everything was undone"), "{said}");
    assert_eq!(it.recipients(), old, "{said}");
    assert!(!it.is_known(&locked));

    it.run(&format!("{rotate} --check --diff"), 0);
    assert!(!it.is_known(&new));
    let said = it.run(&format!("{rotate} -vvv --diff"), 0);
    assert!(said.contains(&format!("Put {new} into the inventory")), "{said}");
    assert!(said.contains("TASK [restore_proof : Restore the new archives into a scratch database]"));
    assert_eq!(it.recipients(), format!("{old},{new}"));
    let newest = it.archives().pop().expect("an archive");
    assert_eq!(it.recipient_count(&newest), 2);

    it.run("rollback last", 0);
    assert_eq!(it.recipients(), old);
    assert!(!it.is_known(&new));

    it.run(&rotate, 0);
    assert!(it.is_known(&new));
    let again = it.run(&rotate, 0);
    assert_eq!(again.matches("\nchanged: ").count(), 1, "more than the fresh backup changed\n{again}");
    let finish = "rotate-backup-key.yml -i staging -e kind=gpg --tags finish -e confirm=backup_key.gpg";
    it.refused(finish, "is not the new key");
    it.uses(&new);
    it.refused(finish, "the old key must be kept until");
    // Their retention is over, all but that of the last rotation's own.
    let archives = it.archives();
    archives[..archives.len() - 2].iter().for_each(|archive| fs::remove_file(archive).expect("an archive"));
    let said = it.run(finish, 0);
    assert!(said.contains("may be destroyed"), "{said}");
    assert_eq!(it.recipients(), new);
    let newest = it.archives().pop().expect("an archive");
    assert_eq!(it.recipient_count(&newest), 1);

    let report = it.project.join("report.json");
    it.run(&format!("audit-credentials.yml -i staging -e report={}", report.display()), 0);
    let table: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&report).expect("a report")).expect("JSON");
    for name in ["backup key (age)", "backup key (gpg)"] {
        let rows = table["credentials"].as_array().expect("rows");
        assert!(rows.iter().any(|row| row["credential"] == name && row["ok"] == true), "{table:#}");
    }
    let said = it.run("preflight.yml -i staging -v", 0);
    assert!(said.contains("gpg: well"), "{said}");
}

const CONSUMERS: &str = "\
seqn_projects:
  shop:
    project: '{{ seqn_project }}'
    max_age_days: 90
    consumers:
      - name: shop-backend
        store: env
        path: '{{ seqn_project_dir }}/consumers/shop-backend/.env'
        key: SEQN_SECRET_KEY
        services: [shop-backend]
        probe: [docker, compose, exec, -T, shop-backend, /seqn-standin, application]
      - name: reports-backend
        store: command
        command: [sh, -c, 'umask 077; cat >{{ seqn_project_dir }}/consumers/reports-backend/secret-key']
        path: '{{ seqn_project_dir }}/consumers/reports-backend/secret-key'
        services: [reports-backend]
        probe: [docker, compose, exec, -T, reports-backend, /seqn-standin, application]
      - name: nightly-jobs
        store: age
        path: STORE
        key: shop_key
        commit: true
        services: []
        probe: ['true']
";

#[test]
fn a_project_key_goes_into_a_command_and_an_encrypted_file_in_git() {
    let Some(it) = Operator::new() else { return };
    let file = |path: &str| {
        fs::read_to_string(Path::new(it.vps.raised("project_dir")).join("consumers").join(path)).expect(path)
    };
    let present = || {
        let text = file("shop-backend/.env");
        text.lines().find_map(|line| line.strip_prefix("SEQN_SECRET_KEY=")).expect("the key").to_string()
    };
    let old = present();
    let store = it.vps.operator().join("store");
    fs::create_dir(&store).expect("a folder");
    let git = |args: &[&str]| {
        let ran = Command::new("git").arg("-C").arg(&store).args(args).output().expect("git");
        assert!(ran.status.success(), "{args:?}: {}", support::told(&ran));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    let keys = store.join("keys.yml");
    let keep = |key: &str| {
        fs::write(&keys, format!("# of the jobs\nshop_key: {key}\nother: \"stays\"\n")).expect("a file");
        it.run(&format!("secret encrypt {}", keys.display()), 0);
    };
    let text = fs::read_to_string(support::identity()).expect("an identity");
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("a public key");
    fs::write(store.join(".age-recipients"), public).expect("a file");
    keep("sk_live_of_somebody_else");
    it.vars(&CONSUMERS.replace("STORE", &keys.display().to_string()));
    let rotate = "rotate-project-secret.yml -i staging -e project=shop";

    // Whatever could fail with the new key in hand fails before it is made.
    it.refused(rotate, "it is in no git work tree");
    git(&["init", "-q"]);
    git(&["config", "user.name", "Operator"]);
    git(&["config", "user.email", "operator@example.invalid"]);
    it.refused(rotate, "shop-backend, nightly-jobs have different keys");
    assert_eq!(present(), old);
    keep(&old);
    git(&["add", "."]);
    git(&["commit", "-qm", "The keys"]);

    if let Some((strike, mend)) = it.vps.fault("denied", "strike").zip(it.vps.fault("denied", "mend")) {
        shell(strike);
        it.refused(rotate, "The login user can't write");
        shell(mend);
    }

    it.run(&format!("{rotate} --check"), 0);
    assert_eq!(git(&["log", "--format=%s"]), "The keys\n");
    let said = it.run(&format!("{rotate} -vvv --diff"), 0);
    let new = present();
    assert_ne!(new, old);
    assert!(!said.contains(&new) && !said.contains(&old), "a key was told");
    assert_eq!(file("reports-backend/secret-key"), new);
    let kept = it.run(&format!("secret show {}", keys.display()), 0);
    assert_eq!(kept, format!("# of the jobs\nshop_key: \"{new}\"\nother: \"stays\"\n"));
    assert_eq!(git(&["log", "--format=%s"]), "Update shop_key in keys.yml\nThe keys\n");
    assert_eq!(git(&["status", "--porcelain"]), "");
}

fn shell(line: &str) {
    assert!(Command::new("sh").args(["-c", line]).status().expect("a shell").success(), "{line}");
}

/// Both keep it where nobody else can read it, and none is recreated by a playbook.
const COMMANDS: &str = "\
seqn_projects:
  shop:
    project: '{{ seqn_project }}'
    max_age_days: 90
    consumers:
      - name: jobs
        store: command
        command: [sh, -c, 'umask 077; cat >{{ seqn_project_dir }}/jobs-key']
        services: []
        probe: ['true']
seqn_webhooks:
  legacy-webhooks:
    endpoint: '{{ seqn_legacy_webhook_endpoint }}'
    name: legacy-webhooks
    store: command
    command: [sh, -c, 'umask 077; cat >{{ seqn_project_dir }}/consumers/legacy-webhooks/webhook-secret']
    services: [legacy-webhooks]
    max_age_days: 180
";

#[test]
fn what_only_a_command_can_write_is_rotated_and_of_no_services_none_is_recreated() {
    let Some(it) = Operator::new() else { return };
    it.vars(COMMANDS);
    let rotate = "rotate-project-secret.yml -i staging -e project=shop";
    it.run(&format!("{rotate} --check"), 0);
    let said = it.run(rotate, 0);
    let restart = said.split("Restart the backend consumers] ").nth(1).expect("the task");
    assert!(restart.lines().nth(1) == Some("skipping: [vps]"), "{said}");
    let key = fs::read_to_string(Path::new(it.vps.raised("project_dir")).join("jobs-key")).expect("a key");
    assert!(key.starts_with("sk_live_"));
    it.run("rotate-webhook-secret.yml -i staging -e receiver=legacy-webhooks", 0);
    // Of backups there are none yet; all else is well.
    it.refused("audit-credentials.yml -i staging", "1 of 11 are not well: backup key (age)");
}
