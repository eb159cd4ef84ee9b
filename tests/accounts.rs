//! `user` and `group` on this machine, as root: accounts of random names, removed afterwards.

#[allow(dead_code)]
#[path = "support/leak/search.rs"]
mod search;
mod support;
#[path = "support/leak/watch.rs"]
mod watch;

use std::process::Command;

use search::Search;
use support::Test;
use watch::Watch;

/// Names that nobody has; what was made of them is removed when a test ends, however it ends.
struct Names {
    user: String,
    group: String,
}

impl Names {
    /// Says why there are none.
    fn new() -> Option<Names> {
        // SAFETY: it only tells a number.
        let is_root = unsafe { libc::getuid() } == 0;
        let tool = |name: &str| Command::new(name).arg("--help").output().is_ok();
        if !is_root || !tool("useradd") || !tool("chpasswd") {
            let all = ["SEQN_REQUIRE_ALL", "CI"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!all, "accounts need root and useradd, and nothing may be skipped here");
            return None;
        }
        let random =
            seqn_play::secret::generate("abcdefghijklmnopqrstuvwxyz0123456789", 32).expect("letters");
        let random = &random.expose().expect("text")[..10];
        Some(Names { user: format!("u{random}"), group: format!("g{random}") })
    }

    fn tasks(&self, tasks: &str) -> Test {
        Test::new().tasks(&tasks.replace("USER", &self.user).replace("GROUP", &self.group))
    }

    fn passwd(&self) -> String {
        entry("passwd", &self.user)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for (tool, database, name) in [("userdel", "passwd", &self.user), ("groupdel", "group", &self.group)]
        {
            if !entry(database, name).is_empty() {
                Command::new(tool).arg(name).output().ok();
            }
        }
    }
}

fn entry(database: &str, name: &str) -> String {
    let found = Command::new("getent").args([database, name]).output().expect("getent runs");
    String::from_utf8_lossy(&found.stdout).trim().to_string()
}

const GROUP: &str = "- group: {name: GROUP, gid: 64123}\n";
const USER: &str =
    "- user: {name: USER, shell: /bin/false, comment: A Test, create_home: false, groups: GROUP}\n";

#[test]
fn they_are_predicted_made_once_and_removed() {
    let Some(names) = Names::new() else { return };
    let both = format!("{GROUP}{USER}");
    names.tasks(GROUP).args(&["play.yml", "--check", "--diff"]).run().success().recap("changed=1");
    assert_eq!(entry("group", &names.group), "");
    names.tasks(&both).run().success().recap("changed=2");
    assert!(entry("group", &names.group).contains(":64123:"));
    assert!(
        names.passwd().ends_with(":A Test:/nonexistent:/bin/false") || names.passwd().contains(":A Test:")
    );
    assert!(entry("group", &names.group).ends_with(&names.user));
    names.tasks(&both).run().success().recap("changed=0");

    let other = "- user: {name: USER, shell: /bin/sh, comment: Another}\n";
    let before = names.passwd();
    names.tasks(other).args(&["play.yml", "--check", "--diff"]).run().success().recap("changed=1");
    assert_eq!(names.passwd(), before);
    let undone = format!(
        "- transaction: true\n  block:\n    {}    - fail: {{msg: stop}}\n",
        other.trim_start_matches('\n')
    );
    names.tasks(&undone).run().code(2).says("undone: [localhost] =>");
    assert_eq!(names.passwd(), before);
    names.tasks(other).run().success().recap("changed=1");
    assert!(names.passwd().contains(":Another:") && names.passwd().ends_with(":/bin/sh"));

    let gone = "- user: {name: USER, state: absent}\n- group: {name: GROUP, state: absent}\n";
    names.tasks(gone).args(&["play.yml", "--check"]).run().success().recap("changed=2");
    assert_ne!(names.passwd(), "");
    names.tasks(gone).run().success().recap("changed=2");
    assert_eq!(names.passwd(), "");
    names.tasks(gone).run().success().recap("changed=0");
}

#[test]
fn what_a_failed_transaction_made_is_gone() {
    let Some(names) = Names::new() else { return };
    let tasks = "
- transaction: true
  block:
    - group: {name: GROUP}
    - user: {name: USER, create_home: false}
    - fail: {msg: stop}
";
    names.tasks(tasks).run().code(2).says("undone: [localhost] =>").never_says("NOT undone");
    assert_eq!(names.passwd(), "");
    assert_eq!(entry("group", &names.group), "");
}

/// The hash is declared secret: it is not shown, and in no argument list.
#[test]
fn the_hash_of_a_password_is_not_seen() {
    let Some(names) = Names::new() else { return };
    let hash =
        "$6$abcdefghij$Tn1Ge0lQvX8YzT1ItQ5bUuIhL7yHqC3nE8v0m1kZp4sJd9wRxA2cF6gB5oN7iV3tKeM0uPqS1yDhWlXaTz/";
    let search = Search::default();
    search.add(hash);
    let watch = Watch::start(&search, &["cmdline", "environ"]);
    let tasks = format!("- user: {{name: USER, create_home: false, password: '{hash}'}}\n");
    let ran = names.tasks(&tasks).args(&["play.yml", "-vvv", "--diff"]).run().success().recap("changed=1");
    assert!(search.in_text("output", format!("{}{}", ran.stdout, ran.stderr).as_bytes()).is_empty());
    assert!(entry("shadow", &names.user).contains(hash));
    names.tasks(&tasks).run().success().recap("changed=0");
    let seen = watch.stop();
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn a_wrong_argument_is_found_before_anything_runs() {
    for (task, said) in [
        ("user: {nam: x}", "did you mean 'name'?"),
        ("user: {name: x, state: gone}", "gone"),
        ("group: {name: x, gdi: 1}", "did you mean 'gid'?"),
        ("apt: {nmae: x}", "did you mean 'name'?"),
        ("apt: {name: x, state: newest}", "newest"),
    ] {
        let test = Test::new().tasks(&format!("- command: touch DIR/ran\n- {task}"));
        test.run().code(1).lacks("ran").says(said);
    }
}
