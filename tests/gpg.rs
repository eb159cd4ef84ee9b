//! Archives of GPG, and the public keys that hosts encrypt to, with real keyrings on this machine.

#[path = "support/keyring.rs"]
mod keyring;
mod support;

use std::fs;

use keyring::Keyring;
use sha2::Digest;
use support::{Test, told};

/// Tasks on this machine, and a keyring that is the operator's.
fn test(own: &Keyring, tasks: &str) -> Test {
    Test::new().tasks(tasks).env("GNUPGHOME", own.home())
}

fn archive(test: &Test, name: &str, content: &[u8]) {
    fs::write(test.path().join(name), content).expect("an archive");
}

#[test]
fn an_archive_is_opened_by_the_one_key() {
    let Some(own) = Keyring::new() else { return };
    let (old, new) = (own.key("old", ""), own.key("new", ""));
    let plain = [&b"PGDMP"[..], &vec![7; 300_000]].concat();
    let sha256 = seqn_play::source::hex::sha256(&plain);
    let test = test(
        &own,
        &format!(
            "
- archive_info: {{path: DIR/both.gpg, kind: gpg, keys: {{old: {old}, new: {new}}}}}
  register: both
- archive_info: {{path: DIR/old.gpg, kind: gpg, keys: {{old: {old}, new: {}}}}}
  register: only
- assert:
    that:
      - both.opened_by == ['new', 'old'] and both.recipient_count == 2 and both.recipients.new == ['{new}']
      - only.opened_by == ['old'] and only.recipient_count == 1 and only.recipients.new == ['{new}']
- archive_decrypt: {{path: DIR/both.gpg, kind: gpg, key: {new}, content: pg_dump, sha256: {sha256}, feed: cat > DIR/fed}}
  register: opened
- assert: {{that: opened.size == 300005 and opened is not changed}}
",
            new.to_lowercase()
        ),
    );
    archive(&test, "both.gpg", &own.encrypt(&[&old, &new], &plain));
    archive(&test, "old.gpg", &own.encrypt(&[&old], &plain));
    let ran = test.run().success();
    assert!(fs::read(ran.dir.path().join("fed")).expect("what was fed") == plain);
}

#[test]
fn an_archive_that_does_not_open_says_why() {
    let Some(own) = Keyring::new() else { return };
    let (old, locked) = (own.key("old", ""), own.key("locked", "geheim"));
    let stranger = "ABCD".repeat(10);
    let cases = [
        ("old.gpg", locked.as_str(), "is not encrypted to the GPG key"),
        // Another key of the keyring would open it.
        ("both.gpg", &locked, "is locked, and nobody can be asked for its passphrase here"),
        ("cut.gpg", &old, "the archive is damaged: it was cut or changed"),
        ("changed.gpg", &old, "the archive is damaged: it was cut or changed"),
        ("plain.gpg", &old, "it is not a message that is encrypted with GPG"),
        ("armored.gpg", &old, "it is ASCII-armored"),
        ("hidden.gpg", &old, "it hides for whom it is"),
        ("old.gpg", &stranger, "no private GPG key ABCD"),
        ("old.gpg", "old@backup.invalid", "is not the whole fingerprint of a GPG key"),
    ];
    let tasks: String = cases
        .iter()
        .map(|(path, key, _)| {
            format!("- archive_decrypt: {{path: DIR/{path}, kind: gpg, key: {key}}}\n  ignore_errors: true\n")
        })
        .collect();
    let test = test(&own, &tasks);
    // What doesn't get smaller, so that the middle is content.
    let content: Vec<u8> = (0..4000u32).flat_map(|n| sha2::Sha256::digest(n.to_le_bytes())).collect();
    let whole = own.encrypt(&[&old], &content);
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    archive(&test, "old.gpg", &whole);
    archive(&test, "both.gpg", &own.encrypt(&[&old, &locked], b"PGDMP"));
    archive(&test, "cut.gpg", &whole[..whole.len() - 30]);
    archive(&test, "changed.gpg", &changed);
    archive(&test, "plain.gpg", b"PGDMP");
    archive(
        &test,
        "armored.gpg",
        &own.gpg(&["--armor", "--trust-model", "always", "-r", &old, "-e"], b"x").stdout,
    );
    archive(&test, "hidden.gpg", &own.gpg(&["--trust-model", "always", "-R", &old, "-e"], b"x").stdout);
    let ran = cases.iter().fold(test.run().success(), |ran, (_, _, why)| ran.says(why));
    assert_eq!(ran.stdout.matches("...ignoring").count(), cases.len());
}

#[test]
fn a_key_that_the_agent_has_unlocked_opens_archives() {
    let Some(own) = Keyring::new() else { return };
    let locked = own.key("locked", "geheim");
    let sealed = own.encrypt(&[&locked], b"PGDMP");
    let test = test(&own, &format!("- archive_decrypt: {{path: DIR/a.gpg, kind: gpg, key: {locked}}}\n"));
    archive(&test, "a.gpg", &sealed);
    let refused = test.again(&["play.yml"], &[]);
    assert!(!refused.status.success() && told(&refused).contains("unlock it in your agent first"));
    let unlocked = own.gpg(&["--pinentry-mode", "loopback", "--passphrase", "geheim", "-d"], &sealed);
    assert_eq!(unlocked.stdout, b"PGDMP");
    test.run().success();
}

#[test]
fn a_public_key_comes_to_a_host_and_goes_again() {
    let (Some(own), Some(host)) = (Keyring::new(), Keyring::new()) else { return };
    let key = own.key("backup", "");
    let task = format!("- gpg_key: {{fingerprint: {key}}}\n  environment: {{GNUPGHOME: {}}}\n", host.home());
    let test = test(&own, &task);
    let run = |args: &[&str]| {
        let ran = test.again(args, &[]);
        assert!(ran.status.success(), "{}", told(&ran));
        told(&ran)
    };
    assert!(run(&["play.yml", "--check"]).contains("changed=1"));
    assert!(fs::read_dir(host.home()).expect("a folder").next().is_none(), "to look made a keyring");
    assert!(run(&["play.yml"]).contains("changed=1"));
    assert!(host.has(&key) && !host.is_private());
    run(&["rollback", "last"]);
    assert!(!host.has(&key));
    assert!(run(&["play.yml"]).contains("changed=1"));
    assert!(run(&["play.yml"]).contains("changed=0"));
    let listed = |ring: &Keyring| ring.gpg(&["--with-colons", "--list-keys", &key], b"").stdout;
    let before = listed(&host);

    own.subkey(&key, "");
    assert!(run(&["play.yml"]).contains("changed=1"));
    assert_ne!(listed(&host), before);
    run(&["rollback", "last"]);
    assert_eq!(listed(&host), before);
    assert!(run(&["play.yml"]).contains("changed=1"));
    assert!(run(&["play.yml"]).contains("changed=0"));

    let missing = format!("- gpg_key: {{fingerprint: {}}}\n", "ABCD".repeat(10));
    support::Test::new().tasks(&missing).env("GNUPGHOME", own.home()).run().code(2).says("no GPG key ABCD");
}
