//! A variable of an age-encrypted file on the operator's machine, in git and without.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::{Test, told};

const PLAIN: &str =
    "# who has what\nshop_key: sk_live_old1old1old1old1 # of the shop\nother: 'kept as it is'\n";
const NEW: &str = "sk_live_new2new2new2new2";

fn test(commit: bool) -> Test {
    let test = Test::new().file("vars/keys.yml", PLAIN).tasks(&format!(
        "- secret_file: {{path: DIR/vars/keys.yml, key: shop_key, value: {NEW}, commit: {commit}}}\n"
    ));
    // `DIR` in tasks isn't replaced twice.
    let (identity, public) = (support::identity(), public_key());
    fs::write(test.path().join(".age-recipients"), format!("{public}\n{}\n", other_key())).expect("a file");
    let sealed = test.again(&["secret", "encrypt", "vars/keys.yml"], &[]);
    assert!(sealed.status.success() && identity.exists(), "{}", told(&sealed));
    test
}

fn public_key() -> String {
    let text = fs::read_to_string(support::identity()).expect("an identity");
    text.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("its public key").to_string()
}

fn other_key() -> String {
    seqn_play::secret::identities::generate().1
}

fn shown(test: &Test) -> String {
    let shown = test.again(&["secret", "show", "vars/keys.yml"], &[]);
    assert!(shown.status.success(), "{}", told(&shown));
    String::from_utf8_lossy(&shown.stdout).into_owned()
}

#[track_caller]
fn run(test: &Test, args: &[&str], expected: &str) -> String {
    let ran = test.again(args, &[]);
    let said = told(&ran);
    assert!(ran.status.success() && said.contains(expected), "{args:?}\n{said}");
    assert!(!said.contains(NEW) && !said.contains("sk_live_old"), "a secret was told\n{said}");
    said
}

fn git(dir: &Path, args: &[&str]) -> Output {
    let ran = Command::new("git").arg("-C").arg(dir).args(args).output().expect("git");
    assert!(ran.status.success(), "{args:?}: {}", told(&ran));
    ran
}

fn log(test: &Test) -> Vec<String> {
    let said = git(test.path(), &["log", "--format=%s", "--name-only"]).stdout;
    String::from_utf8_lossy(&said).lines().filter(|line| !line.is_empty()).map(String::from).collect()
}

#[test]
fn one_variable_changes_and_all_can_still_open_it() {
    let test = test(false);
    let file = test.path().join("vars/keys.yml");
    let before = fs::read(&file).expect("the file");
    run(&test, &["play.yml", "--check", "--diff"], "-shop_key: (previous value)\n+shop_key: (new value)");
    assert_eq!(fs::read(&file).expect("the file"), before);

    run(&test, &["play.yml", "-vvv"], "changed=1");
    let after = fs::read(&file).expect("the file");
    assert_eq!(shown(&test), PLAIN.replace("sk_live_old1old1old1old1", &format!("{NEW:?}")));
    assert_eq!(seqn_play::secret::agefile::recipient_count(&after), 2);
    run(&test, &["play.yml"], "changed=0");
    assert_eq!(fs::read(&file).expect("the file"), after);

    let runs = run(&test, &["runs"], "play.yml");
    let changed =
        runs.lines().filter(|line| line.contains("play.yml")).nth(1).expect("the run that changed it");
    run(&test, &["rollback", changed.split_whitespace().next().expect("its id")], "");
    assert_eq!(fs::read(&file).expect("the file"), before);
}

#[test]
fn it_is_committed_alone_and_so_is_the_way_back() {
    let test = test(true);
    let outside = test.again(&["play.yml"], &[]);
    assert!(told(&outside).contains("it is in no git work tree"), "{}", told(&outside));
    let dir = test.path().to_path_buf();
    git(&dir, &["init", "-q"]);
    git(&dir, &["config", "user.name", "Operator"]);
    git(&dir, &["config", "user.email", "operator@example.invalid"]);
    git(&dir, &["add", "vars/keys.yml"]);
    git(&dir, &["commit", "-qm", "The keys"]);
    git(&dir, &["add", ".age-recipients"]);

    let said = run(&test, &["play.yml", "--check"], "changed=1");
    assert_eq!(log(&test), ["The keys", "vars/keys.yml"], "{said}");
    run(&test, &["play.yml"], "changed=1");
    let first = ["Update shop_key in keys.yml", "vars/keys.yml", "The keys", "vars/keys.yml"];
    assert_eq!(log(&test), first);
    let status = git(&dir, &["status", "--porcelain", "--untracked-files=no"]).stdout;
    assert_eq!(String::from_utf8_lossy(&status), "A  .age-recipients\n", "what was staged stays staged");

    run(&test, &["rollback", "last"], "");
    assert_eq!(log(&test)[..2], ["Update shop_key in keys.yml", "vars/keys.yml"]);
    assert_eq!(log(&test).len(), 6);
    assert_eq!(shown(&test), PLAIN);

    run(&test, &["play.yml"], "changed=1");
    // What was written, but not committed, is committed by the next run.
    git(&dir, &["reset", "-q", "--soft", "HEAD~1"]);
    run(&test, &["play.yml"], "changed=1");
    run(&test, &["play.yml"], "changed=0");
    assert_eq!(log(&test).len(), 8);
}

#[test]
fn what_can_not_be_written_says_why() {
    let test = test(true);
    let refused = |why: &str| {
        let ran = test.again(&["play.yml"], &[]);
        assert!(ran.status.code() == Some(2) && told(&ran).contains(why), "{why}\n{}", told(&ran));
    };
    let recipients = test.path().join(".age-recipients");
    git(test.path(), &["init", "-q"]);
    git(test.path(), &["config", "user.name", "Operator"]);
    git(test.path(), &["config", "user.email", "operator@example.invalid"]);
    fs::write(&recipients, other_key()).expect("a file");
    refused("you could not open it yourself any more");
    fs::remove_file(&recipients).expect("a file");
    refused("no recipients are known");
    fs::write(&recipients, public_key()).expect("a file");
    fs::write(test.path().join(".gitignore"), "keys.yml\n").expect("a file");
    refused("git ignores it");
    fs::write(test.path().join("vars/keys.yml"), PLAIN).expect("a file");
    refused("it is not encrypted with age");
}
