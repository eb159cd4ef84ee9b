//! Canaries first, on a fleet of five: who is rotated when, and what becomes of the others where the
//! canary falls ill.

#[path = "support/leak/mod.rs"]
mod leak;
#[path = "support/operator.rs"]
mod operator;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use operator::{Ended, Operator, Vps};
use tempfile::TempDir;

const SIZE: usize = 5;
const EDIT: &str = "TASK [env_edit : Replace SESSION_SECRET with at least 32 random characters]";
const GATE: &str = "TASK [canary_gate : Watch the canaries before the next hosts]";

/// Taken down at the end, also of a test that fails.
struct Fleet {
    scratch: TempDir,
    staging: PathBuf,
}

impl Fleet {
    /// With what `up` told of each.
    fn raise(staging: PathBuf) -> (Fleet, Vec<Vps>) {
        let fleet = Fleet { scratch: tempfile::tempdir().expect("a folder"), staging };
        let up = fleet.staging(&["up", "--kind", "sandbox", "--fleet", &SIZE.to_string()], "");
        let lines = String::from_utf8_lossy(&up.stdout).into_owned();
        let told = lines.lines().map(|line| Vps::new(serde_json::from_str(line).expect("JSON"))).collect();
        (fleet, told)
    }

    fn dir(&self) -> PathBuf {
        self.scratch.path().join("fleet")
    }

    /// A command of the program that raised them, at one of them or at all.
    fn staging(&self, args: &[&str], host: &str) -> Output {
        let dir = self.dir().join(host);
        let [command, rest @ ..] = args else { panic!("no command") };
        let mut staging = Command::new(&self.staging);
        let done = staging.args([command, "--dir"]).arg(dir).args(rest).output().expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done
    }

    /// The operator's machine, with the project.
    fn operator(&self, canary: Vps) -> Operator {
        let machine = self.scratch.path().join("operator");
        // Locks are named after it.
        let project = machine.join(canary.raised("name"));
        leak::sandbox::clone(&project);
        for dir in ["home", "tmp"] {
            fs::create_dir_all(machine.join(dir)).expect("a folder");
        }
        Operator::new(project, machine, canary)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let mut down = Command::new(&self.staging);
        let _ = down.args(["down", "--dir"]).arg(self.dir()).stderr(Stdio::null()).status();
    }
}

#[test]
fn canaries_come_first() {
    let Some(staging) = leak::sandbox::staging() else { return };
    let (fleet, mut hosts) = Fleet::raise(staging);
    let mut it = fleet.operator(hosts.remove(0));
    let locks = Path::new("/var/tmp/seqn-play").join(it.raised("name"));
    let rotate = format!("rotate-session-secret.yml -i {}", fleet.dir().join("inventory").display());

    a_canary_that_falls_ill_stops_it(&fleet, &mut it, &mut hosts, &rotate);
    all_are_rotated_in_batches(&mut it, &mut hosts, &rotate);
    what_hosts_may_share_is_rotated_on_one(&fleet, &mut it);

    let told: Vec<&String> = it.secrets.iter().chain(hosts.iter().flat_map(|host| &host.secrets)).collect();
    assert!(told.iter().all(|secret| !it.said.contains(secret.as_str())), "a credential was told");
    drop(fleet);
    fs::remove_dir_all(locks).ok();
}

/// The credential of each, and a session that lives as long as it does.
fn state(hosts: &mut [Vps]) -> Vec<(String, String)> {
    hosts.iter_mut().map(|host| (host.env(".env", "SESSION_SECRET"), host.sign_in())).collect()
}

fn a_canary_that_falls_ill_stops_it(fleet: &Fleet, it: &mut Operator, others: &mut [Vps], rotate: &str) {
    let (old, session) = (it.env(".env", "SESSION_SECRET"), it.sign_in());
    let before = state(others);
    // Longer than it takes to fall ill.
    let line = format!(r#"{rotate} -e {{"seqn_serial":[1,"100%"],"seqn_canary_watch":300}}"#);
    let ended = it.run_and_meanwhile(&line, GATE, || {
        fleet.staging(&["misbehave", "silver-auth-api", "GET /v1/config status=503"], "vps1");
    });
    let ended = ended.code(2).says("fatal: [vps1]: FAILED!").says("/v1/config did not stay well");
    let ended = ended.says("it answered 503, not 200").says("Not begun: vps2, vps3, vps4, vps5.");
    assert_ne!(it.env(".env", "SESSION_SECRET"), old);
    assert!(!it.is_signed_in(&session), "it fell ill before it was rotated");

    for (host, (secret, session)) in others.iter_mut().zip(&before) {
        assert_eq!(&host.env(".env", "SESSION_SECRET"), secret);
        assert!(host.is_signed_in(session), "the old credential no longer works");
        let backups = fs::read_dir(host.raised("backup_dir")).map_or(0, Iterator::count);
        assert_eq!(backups, 0, "something was done on a host of the next batch");
    }

    // What is to be typed.
    let back = ended.said.split("Go back: seqn-play ").nth(1).and_then(|rest| rest.split('.').next());
    it.run(back.expect("a way back")).code(0);
    assert_eq!(it.env(".env", "SESSION_SECRET"), old);
    assert!(it.is_signed_in(&session), "the old credential does not work again");
    fleet.staging(&["misbehave", "silver-auth-api"], "vps1");
}

fn all_are_rotated_in_batches(it: &mut Operator, others: &mut [Vps], rotate: &str) {
    let (old, session) = (it.env(".env", "SESSION_SECRET"), it.sign_in());
    let before = state(others);
    let ended = it.run(&format!("{rotate} -e seqn_canary_watch=1")).code(0);
    assert_eq!(batches(&ended), [vec!["vps1"], vec!["vps2", "vps3"], vec!["vps4", "vps5"]]);

    let mut new = vec![it.env(".env", "SESSION_SECRET")];
    assert!(!it.is_signed_in(&session) && new[0] != old);
    for (host, (old, session)) in others.iter_mut().zip(&before) {
        new.push(host.env(".env", "SESSION_SECRET"));
        assert!(!host.is_signed_in(session) && new.last() != Some(old));
        assert!(host.is_signed_in(&host.sign_in()));
    }
    new.sort();
    new.dedup();
    assert_eq!(new.len(), SIZE, "two hosts have the same secret");
}

fn what_hosts_may_share_is_rotated_on_one(fleet: &Fleet, it: &mut Operator) {
    let inventory = fleet.dir().join("inventory").display().to_string();
    let line = format!("rotate-oidc-client-secret.yml -i {inventory} -e seqn_hosts_are_separate=false");
    it.run(&line).code(2).says("Name one with --limit");
    it.run(&format!("{line} --limit vps2 --check")).code(0);
}

/// The hosts that were rotated in each batch. All but those of the last were watched before the next.
fn batches(ended: &Ended) -> Vec<Vec<&str>> {
    let batches: Vec<&str> = ended.said.split("PLAY [").skip(1).collect();
    let rotated: Vec<Vec<&str>> = batches.iter().map(|batch| hosts(batch, EDIT, "changed: [")).collect();
    let watched: Vec<Vec<&str>> = batches.iter().map(|batch| hosts(batch, GATE, "ok: [")).collect();
    let (last, before) = watched.split_last().expect("a batch");
    assert!(last.is_empty() && before == &rotated[..before.len()], "{watched:?}\n{}", ended.said);
    rotated
}

/// For which hosts a task said that.
fn hosts<'a>(said: &'a str, task: &str, word: &str) -> Vec<&'a str> {
    let lines = said.lines().skip_while(|line| !line.starts_with(task)).skip(1);
    let of_it = lines.take_while(|line| !line.starts_with("TASK ["));
    let mut hosts: Vec<&str> = of_it.filter_map(|line| line.strip_prefix(word)?.split(']').next()).collect();
    hosts.sort_unstable();
    hosts
}
