//! Files that are too large for the journal: what a run replaces or removes stays beside them until it
//! is taken back, or pruned.

#[allow(dead_code)]
#[path = "remote/fixture.rs"]
mod fixture;
mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use support::{Test, told};

const PLACES: [&str; 5] = ["before-intent", "after-intent", "during", "after-effect", "after-record"];
const UNDO_PLACES: [&str; 3] = ["before-undo", "during-undo", "after-undo"];

/// More than a journal takes.
fn large(word: &str) -> String {
    word.repeat((1 << 20) / word.len() + 1000)
}

/// A project whose plays reach `box` with these variables, with a large file on it.
fn project(tasks: &str, reached: &str) -> Test {
    let tasks: String = tasks.trim_matches('\n').lines().map(|l| format!("    {l}\n")).collect();
    let test = Test::new()
        .file("hosts.yml", &format!("all: {{hosts: {{box: {{{reached}}}}}}}\n"))
        .file("play.yml", &format!("- hosts: box\n  gather_facts: false\n  tasks:\n{tasks}"))
        .file("new", &large("new "))
        .file("state/big", &large("old "))
        .args(&["-i", "hosts.yml", "play.yml"]);
    let big = test.path().join("state/big");
    std::fs::set_permissions(&big, PermissionsExt::from_mode(0o640)).unwrap();
    let file = std::fs::File::options().append(true).open(&big).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000)).unwrap();
    test
}

const HERE: &str = "ansible_connection: local";
const REPLACE: &str = "- name: Replace\n  copy: {dest: DIR/state/big, src: DIR/new, mode: '0600'}\n";
const REMOVE: &str = "- name: Remove\n  file: {path: DIR/state/big, state: absent}\n";

fn run(test: &Test) -> Output {
    test.command().output().expect("it runs")
}

#[track_caller]
fn go(test: &Test, args: &[&str], code: i32) -> String {
    let ran = test.again(args, &[]);
    assert_eq!(ran.status.code(), Some(code), "{args:?}: {}", told(&ran));
    told(&ran)
}

#[track_caller]
fn ran(test: &Test) -> String {
    let ran = run(test);
    assert!(ran.status.success(), "{}", told(&ran));
    told(&ran)
}

/// What a run left beside the file.
fn beside(test: &Test) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(test.path().join("state")).unwrap().flatten().map(|e| e.path());
    let mut kept: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().contains("seqn-play")).collect();
    kept.sort();
    kept
}

#[track_caller]
fn is_as_it_was(test: &Test) {
    let big = test.path().join("state/big");
    let is = std::fs::metadata(&big).unwrap();
    assert_eq!((is.mode() & 0o7777, is.mtime()), (0o640, 1_000_000));
    assert!(std::fs::read_to_string(&big).unwrap() == large("old "));
    assert_eq!(beside(test), Vec::<PathBuf>::new());
}

#[track_caller]
fn holds(test: &Test, file: &str, word: &str) {
    let text = std::fs::read_to_string(test.path().join(file)).unwrap_or_default();
    assert!(text == large(word), "{file} begins with {:?}", &text[..text.len().min(12)]);
}

#[test]
fn what_is_replaced_or_removed_comes_back_as_it_was() {
    for (tasks, after) in [(REPLACE, Some("new ")), (REMOVE, None)] {
        let test = project(tasks, HERE);
        ran(&test);
        match after {
            Some(word) => holds(&test, "state/big", word),
            None => assert!(!test.path().join("state/big").exists()),
        }
        let kept = beside(&test);
        assert_eq!(kept.len(), 1);
        let id = test.journal().0.parent().unwrap().file_name().unwrap().to_str().unwrap().to_string();
        let name = kept[0].file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!(".big.seqn-play-{id}-")), "{name}");
        assert_eq!(std::fs::metadata(&kept[0]).unwrap().mode() & 0o7777, 0o600);
        assert!(go(&test, &["runs", "show", "last"], 0).contains("(the old content is kept beside it)"));
        let note = std::fs::read_to_string(test.journal().0.with_file_name("note.md")).unwrap();
        assert!(!note.contains("larger than"), "{note}");
        assert!(go(&test, &["rollback", "last", "--check"], 0).contains("would undo: [box] => "));
        assert_eq!(beside(&test), kept);
        go(&test, &["rollback", "last"], 0);
        is_as_it_was(&test);
    }
}

#[test]
fn through_links_and_under_them() {
    // A write through a link changes the file that it leads to.
    let test = project("- copy: {dest: DIR/link, src: DIR/new, follow: true}\n", HERE);
    symlink("state/big", test.path().join("link")).unwrap();
    ran(&test);
    holds(&test, "state/big", "new ");
    go(&test, &["rollback", "last"], 0);
    is_as_it_was(&test);
    assert!(test.path().join("link").is_symlink());

    // A link that takes the file's place, and one that is removed.
    let tasks = "- file: {path: DIR/state/big, src: DIR/new, state: link, force: true}\n- file: {path: DIR/link, state: absent}\n";
    let test = project(tasks, HERE);
    symlink("state/big", test.path().join("link")).unwrap();
    ran(&test);
    assert!(test.path().join("state/big").is_symlink());
    go(&test, &["rollback", "last"], 0);
    is_as_it_was(&test);
    holds(&test, "new", "new ");
    assert_eq!(std::fs::read_link(test.path().join("link")).unwrap(), Path::new("state/big"));
}

#[test]
fn the_same_file_twice() {
    let test = project(&format!("{REPLACE}- copy: {{dest: DIR/state/big, src: DIR/newer}}\n{REMOVE}"), HERE)
        .file("newer", &large("newer "));
    ran(&test);
    assert_eq!(beside(&test).len(), 3);
    go(&test, &["rollback", "last"], 0);
    is_as_it_was(&test);
}

#[test]
fn killed_anywhere_it_goes_on_and_back() {
    for tasks in [REPLACE, REMOVE] {
        for place in PLACES {
            for forward in [true, false] {
                let test = project(tasks, HERE);
                let fault = format!("1:{place}:kill");
                let killed = test.again(&["-i", "hosts.yml", "play.yml"], &[("SEQN_PLAY_FAULT", &fault)]);
                assert_eq!(killed.status.code(), None, "{fault}: {}", told(&killed));
                let how = if forward { "resume" } else { "rollback" };
                if place == "before-intent" && !forward {
                    // Nothing was begun; what is beside the file is the file itself.
                    assert_eq!(beside(&test).len(), 1);
                    continue;
                }
                let said = go(&test, &[how, "last"], 0);
                if forward {
                    let word = (tasks == REPLACE).then_some("new ").map(large).unwrap_or_default();
                    let now = std::fs::read_to_string(test.path().join("state/big")).unwrap_or_default();
                    assert!(now == word, "{fault}: {said}");
                    go(&test, &["rollback", "last"], 0);
                }
                is_as_it_was(&test);
                assert!(go(&test, &["rollback", "last"], 1).contains("was rolled back"), "{fault}");
            }
        }
        for place in UNDO_PLACES {
            let test = project(tasks, HERE);
            ran(&test);
            let fault = format!("1:{place}:kill");
            let killed = test.again(&["rollback", "last"], &[("SEQN_PLAY_FAULT", &fault)]);
            assert_eq!(killed.status.code(), None, "{fault}: {}", told(&killed));
            go(&test, &["rollback", "last"], 0);
            is_as_it_was(&test);
        }
    }
}

#[test]
fn what_somebody_changed_since_stays_unless_told() {
    for (tasks, words) in [(REPLACE, "was changed by somebody else"), (REMOVE, "exists by now")] {
        let test = project(tasks, HERE);
        ran(&test);
        std::fs::write(test.path().join("state/big"), "by hand").unwrap();
        let said = go(&test, &["rollback", "last"], 1);
        assert!(said.contains(words), "{said}");
        assert_eq!(std::fs::read_to_string(test.path().join("state/big")).unwrap(), "by hand");
        go(&test, &["rollback", "last", "--overwrite"], 0);
        is_as_it_was(&test);
    }
}

#[test]
fn what_is_kept_no_more_is_told() {
    let test = project(REPLACE, HERE);
    ran(&test);
    std::fs::remove_file(&beside(&test)[0]).unwrap();
    let said = go(&test, &["rollback", "last", "--overwrite"], 2);
    assert!(said.contains(", which held what was in ") && said.contains(" is gone"), "{said}");
    holds(&test, "state/big", "new ");
}

#[test]
fn a_transaction_goes_back() {
    let tasks = "
- transaction: true
  block:
    - copy: {dest: DIR/state/big, src: DIR/new}
    - fail: {msg: no}
";
    let test = project(tasks, HERE);
    let failed = run(&test);
    assert_eq!(failed.status.code(), Some(2), "{}", told(&failed));
    assert!(told(&failed).contains("undone: [box] => write "), "{}", told(&failed));
    is_as_it_was(&test);
}

#[test]
fn what_is_secret_or_not_wanted_back_is_not_kept() {
    let secret = "- set_fact: {secret: '{{ lookup(\"password\", \"/dev/null length=30\") * 50000 }}'}\n  no_log: true\n- copy: {dest: DIR/state/big, content: '{{ secret }}'}\n";
    for (tasks, why) in [
        (secret, Some("is larger than 1 MiB and may be secret, so it was not kept beside it")),
        (&format!("{REPLACE}  no_log: true\n"), Some("may be secret")),
        (&format!("{REPLACE}  one_way: ok\n"), None),
    ] {
        let test = project(tasks, HERE);
        ran(&test);
        assert_eq!(beside(&test), Vec::<PathBuf>::new());
        match why {
            Some(why) => assert!(go(&test, &["rollback", "last"], 1).contains(why), "{tasks}"),
            None => drop(go(&test, &["rollback", "last"], 0)),
        }
    }
}

#[test]
fn without_a_journal_nothing_is_kept() {
    let test = project(REPLACE, HERE).called("ansible-playbook");
    ran(&test);
    holds(&test, "state/big", "new ");
    assert_eq!(beside(&test), Vec::<PathBuf>::new());
    let test = project(REPLACE, HERE).env("SEQN_AGE_IDENTITY", "");
    ran(&test);
    assert_eq!(beside(&test), Vec::<PathBuf>::new());
    let note = std::fs::read_to_string(test.journal().0.with_file_name("note.md")).unwrap();
    assert!(note.contains("larger than 1 MiB and was not kept"), "{note}");
}

/// A folder whose programs of these names fail, first in a PATH.
fn failing(test: &Test, names: &[&str]) -> String {
    let folder = test.path().join("failing");
    std::fs::create_dir(&folder).unwrap();
    for name in names {
        let program = folder.join(name);
        std::fs::write(&program, format!("#!/bin/sh\necho '{name}: no room' >&2\nexit 1\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    }
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_copy_is_kept_where_there_are_no_links_and_nothing_is_changed_where_there_is_no_room() {
    let on_this_machine = |tasks: &str| {
        let test = project(tasks, HERE);
        let play = test.path().join("play.yml");
        let text = std::fs::read_to_string(&play).unwrap();
        // Its locks need no link.
        std::fs::write(play, text.replace("hosts: box", "hosts: localhost\n  connection: local")).unwrap();
        test
    };
    let test = on_this_machine(REPLACE);
    let path = failing(&test, &["ln", "cp"]);
    let refused = test.again(&["play.yml"], &[("PATH", &path)]);
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    for words in ["could not be kept beside it, so it was not changed: ", "cp: no room", "`one_way: ok`"] {
        assert!(told(&refused).contains(words), "{words:?} is missing in {}", told(&refused));
    }
    is_as_it_was(&test);
    for place in ["after-intent", "after-record"] {
        let test = on_this_machine(REPLACE);
        let path = failing(&test, &["ln"]);
        let fault = format!("1:{place}:kill");
        test.again(&["play.yml"], &[("PATH", &path), ("SEQN_PLAY_FAULT", &fault)]);
        let kept = std::fs::metadata(&beside(&test)[0]).unwrap();
        assert_eq!((kept.nlink(), kept.mode() & 0o7777, kept.mtime()), (1, 0o600, 1_000_000));
        go(&test, &["rollback", "last"], 0);
        is_as_it_was(&test);
    }
}

#[test]
fn as_another_user() {
    if !fixture::is_root() || fixture::find("sudo").is_none() {
        return fixture::skip("nobody can be become here");
    }
    let test = project(&format!("{REPLACE}  become: true\n  become_user: nobody\n"), HERE);
    for open in ["", "new"] {
        std::fs::set_permissions(test.path().join(open), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let state = test.path().join("state");
    let number = |flag| fixture::run("id", &[flag, "nobody"]).trim().parse::<u32>().ok();
    let nobody = number("-u");
    for path in [state.clone(), state.join("big")] {
        std::os::unix::fs::chown(path, nobody, number("-g")).unwrap();
    }
    ran(&test);
    assert_eq!(std::fs::metadata(&beside(&test)[0]).unwrap().uid(), nobody.unwrap());
    go(&test, &["rollback", "last"], 0);
    is_as_it_was(&test);
    ran(&test);
    assert_eq!(go(&test, &["runs", "prune", "--keep", "0"], 0).trim(), "removed: 2; 0 are left");
    assert_eq!(beside(&test), Vec::<PathBuf>::new());
}

/// A host of its own over a real sshd.
fn reached(sshd: &fixture::Sshd) -> String {
    let dir = sshd.dir.path().display();
    format!(
        "ansible_host: 127.0.0.1, ansible_port: {}, ansible_user: {}, ansible_ssh_private_key_file: {dir}/key, \
         ansible_ssh_common_args: '-F none -o UserKnownHostsFile={dir}/known_hosts -o GlobalKnownHostsFile=none -o IdentityAgent=none'",
        sshd.port,
        fixture::me()
    )
}

/// What is left of runs where locks are kept on the host.
fn left_on_host(test: &Test) -> Vec<String> {
    let name = test.path().file_name().unwrap().to_string_lossy().replacen('.', "_", 1);
    let base = Path::new("/var/tmp/seqn-play").join(name);
    let uid = fixture::run("id", &["-u"]);
    let folders = [base.join("effects"), base.join(format!("runs-{}", uid.trim()))];
    let entries = folders.iter().flat_map(|f| std::fs::read_dir(f).into_iter().flatten().flatten());
    let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_colleague_takes_it_back_from_the_host() {
    let Some(sshd) = fixture::Sshd::start(fixture::Sh::Dash) else { return };
    let ann = project(REPLACE, &reached(&sshd));
    ran(&ann);
    let name = ann.path().file_name().unwrap().to_string_lossy().into_owned();
    let bob = Test::new().file("hosts.yml", &std::fs::read_to_string(ann.path().join("hosts.yml")).unwrap());
    go(&bob, &["rollback", "last", "--from-host", "box", "-i", "hosts.yml", "--project", &name], 0);
    is_as_it_was(&ann);
    // Ann's machine doesn't know that.
    let said = go(&ann, &["runs", "prune", "--keep", "0"], 1);
    assert!(said.contains("box knows more of it than this machine"), "{said}");
    let id = left_on_host(&ann).concat();
    assert!(id.ends_with(".journal"), "{id}");
    let said = go(&bob, &["runs", "prune", "--keep", "0"], 0);
    assert!(said.contains("removed: 1; 0 are left"), "{said}");
    assert_eq!(left_on_host(&ann), Vec::<String>::new());
    go(&ann, &["runs", "prune", "--keep", "0"], 0);
}

#[test]
fn prune_takes_away_what_its_runs_left_on_hosts() {
    let Some(sshd) = fixture::Sshd::start(fixture::Sh::Busybox) else { return };
    let test = project(REPLACE, &reached(&sshd));
    ran(&test);
    let first = (beside(&test), left_on_host(&test));
    // A finished run leaves its journal there, and no folder of marks.
    assert_eq!((first.0.len(), first.1.len()), (1, 1));
    std::fs::write(test.path().join("new"), large("newer ")).unwrap();
    ran(&test);
    assert_eq!((beside(&test).len(), left_on_host(&test).len()), (2, 2));
    // Who can't open it, and where the host says no, leaves all as it is.
    let stranger = test.path().join("other.txt");
    go(&test, &["secret", "keygen", stranger.to_str().unwrap()], 0);
    let refused =
        test.again(&["runs", "prune", "--keep", "1"], &[("SEQN_AGE_IDENTITY", stranger.to_str().unwrap())]);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    for words in
        ["stays: run ", "can't be opened", "--age-identity FILE", "`--local`", "removed: 0; 2 are left"]
    {
        assert!(told(&refused).contains(words), "{words:?} is missing in {}", told(&refused));
    }
    assert_eq!((beside(&test).len(), left_on_host(&test).len()), (2, 2));
    // Only of the run that goes.
    let said = go(&test, &["runs", "prune", "--keep", "1"], 0);
    assert!(said.contains("removed: 1; 1 are left"), "{said}");
    let second = (beside(&test), left_on_host(&test));
    assert_eq!((second.0.len(), second.1.len()), (1, 1));
    assert!(second.0 != first.0 && second.1 != first.1);
    go(&test, &["rollback", "last"], 0);
    holds(&test, "state/big", "new ");
    // An unfinished one stays, with what it left.
    let killed = test.again(&["-i", "hosts.yml", "play.yml"], &[("SEQN_PLAY_FAULT", "1:after-effect:kill")]);
    assert_eq!(killed.status.code(), None);
    let left = left_on_host(&test);
    let said = go(&test, &["runs", "prune", "--keep", "0"], 1);
    assert!(said.contains("box is locked") && said.contains("removed: 0; 2 are left"), "{said}");
    go(&test, &["runs", "abandon", "last", "--reason", "as it is"], 0);
    assert_eq!((beside(&test).len(), left_on_host(&test)), (1, left));
    // A host that is away.
    drop(sshd);
    let said = go(&test, &["runs", "prune", "--keep", "0"], 1);
    assert!(said.contains(" stays: box: ") && said.contains("removed: 0; 2 are left"), "{said}");
    let said = go(&test, &["runs", "prune", "--keep", "0", "--local"], 0);
    assert!(said.contains("removed: 2; 0 are left"), "{said}");
    assert_eq!(beside(&test).len(), 1);
}
