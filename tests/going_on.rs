//! `resume`, `rollback` and `runs` as an operator meets them: what is refused and why, what is asked,
//! what is told.

mod support;

use std::process::{Output, Stdio};

use support::{Test, told};

/// What a program came to.
struct Came(Output);

impl Came {
    #[track_caller]
    fn code(self, code: i32) -> Came {
        assert_eq!(self.0.status.code(), Some(code), "{}", told(&self.0));
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Came {
        assert!(told(&self.0).contains(text), "{text:?} is missing in {}", told(&self.0));
        self
    }
}

fn go(test: &Test, args: &[&str]) -> Came {
    Came(test.again(args, &[]))
}

/// Runs `play.yml` and kills it.
#[track_caller]
fn killed(test: &Test, args: &[&str], fault: &str) {
    let ended = test.again(args, &[("SEQN_PLAY_FAULT", fault)]);
    assert_eq!(ended.status.code(), None, "{}", told(&ended));
}

#[track_caller]
fn holds(test: &Test, file: &str, expected: &str) {
    assert_eq!(std::fs::read_to_string(test.path().join(file)).unwrap_or_default(), expected, "{file}");
}

const TWO_FILES: &str = "
- name: One
  copy: {dest: DIR/one, content: new}
- name: Two
  copy: {dest: DIR/two, content: new}
";

fn two_files() -> Test {
    Test::new().file("one", "old").file("two", "old").tasks(TWO_FILES)
}

#[test]
fn what_somebody_changed_since_is_left_alone_unless_told() {
    let test = two_files();
    go(&test, &["play.yml"]).code(0);
    std::fs::write(test.path().join("one"), "by hand").unwrap();
    go(&test, &["rollback", "last"])
        .code(1)
        .says("one on localhost was changed by somebody else since, so nothing was taken back")
        .says("--overwrite");
    holds(&test, "one", "by hand");
    holds(&test, "two", "new");
    go(&test, &["runs"]).code(0).says("finished");
    go(&test, &["rollback", "last", "--overwrite"]).code(0);
    holds(&test, "one", "old");
    holds(&test, "two", "old");
    go(&test, &["runs"]).code(0).says("rolled back");
}

#[test]
fn what_goes_back_halfway_is_told_and_goes_on() {
    let undo = "- name: Tell\n  command: touch DIR/told\n  undo:\n    - command: test -e DIR/mended\n";
    let test = Test::new().file("one", "old").tasks(&format!(
        "- copy: {{dest: DIR/one, content: newer}}\n- copy: {{dest: DIR/one, content: new}}\n{undo}"
    ));
    go(&test, &["play.yml"]).code(0);
    go(&test, &["rollback", "last"])
        .code(2)
        .says("NOT undone: [localhost] => Tell")
        .says("Not everything of run");
    holds(&test, "one", "old");
    go(&test, &["runs"]).code(0).says("half rolled back");
    go(&test, &["resume", "last"]).code(1).says("is half rolled back");
    std::fs::write(test.path().join("mended"), "").unwrap();
    go(&test, &["rollback", "last"]).code(0);
    go(&test, &["runs"]).code(0).says("rolled back");
}

#[test]
fn what_a_run_never_wrote_is_in_nobodys_way() {
    let test = Test::new().file("hosts.yml", BOX).file("one", "old").file("two", "old").file(
        "play.yml",
        "- hosts: box\n  gather_facts: false\n  tasks:\n    - copy: {dest: DIR/one, content: new}\n    - copy: {dest: DIR/two, content: new}\n",
    );
    killed(&test, &["-i", "hosts.yml", "play.yml"], "2:after-intent:kill");
    std::fs::write(test.path().join("two"), "by hand").unwrap();
    go(&test, &["rollback", "last"]).code(2).says("two was changed by somebody else");
    holds(&test, "one", "old");
    holds(&test, "two", "by hand");
}

#[test]
fn what_a_later_task_takes_back_itself_is_nobody_elses_doing() {
    let test = Test::new().file("one", "old").tasks(
        "- copy: {dest: DIR/one, content: new}\n- shell: echo more >>DIR/one\n  undo:\n    - copy: {dest: DIR/one, content: new}\n",
    );
    go(&test, &["play.yml"]).code(0);
    go(&test, &["rollback", "last"]).code(0);
    holds(&test, "one", "old");
}

#[test]
fn a_link_over_a_file_gives_it_back_and_leaves_alone_where_it_led() {
    let test = Test::new()
        .file("one", "old")
        .file("other", "other")
        .tasks("- file: {path: DIR/one, src: DIR/other, state: link, force: true}\n");
    go(&test, &["play.yml"]).code(0);
    go(&test, &["rollback", "last"]).code(0);
    holds(&test, "other", "other");
    holds(&test, "one", "old");
    assert!(!test.path().join("one").is_symlink());
}

#[test]
fn what_became_a_directory_is_told_before_anything_goes_back() {
    let test = two_files();
    go(&test, &["play.yml"]).code(0);
    std::fs::remove_file(test.path().join("one")).unwrap();
    std::fs::create_dir(test.path().join("one")).unwrap();
    go(&test, &["rollback", "last"]).code(1).says("one on localhost is no file any more");
    holds(&test, "two", "new");
}

#[test]
fn a_run_is_not_rolled_back_below_another_that_wrote_the_same_file() {
    let test = two_files().file(
        "other.yml",
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - copy: {dest: DIR/two, content: newer}\n",
    );
    go(&test, &["play.yml"]).code(0);
    let runs = String::from_utf8(go(&test, &["runs"]).0.stdout).unwrap();
    let first = runs.lines().nth(1).unwrap().split(' ').next().unwrap().to_string();
    go(&test, &["other.yml"]).code(0);
    go(&test, &["rollback", &first])
        .code(1)
        .says(" of other.yml, which changed ")
        .says("/two too, came after it");
    go(&test, &["rollback", &first, "--despite-later"])
        .code(1)
        .says("/two on localhost was changed by somebody else");
    holds(&test, "one", "new");
    holds(&test, "two", "newer");
    go(&test, &["rollback", "last"]).code(0);
    go(&test, &["rollback", &first]).code(0);
    holds(&test, "one", "old");
    holds(&test, "two", "old");
}

#[test]
fn a_file_that_a_run_made_and_somebody_changed_stays() {
    let test = Test::new().tasks("- copy: {dest: DIR/made, content: new}\n");
    go(&test, &["play.yml"]).code(0);
    std::fs::write(test.path().join("made"), "by hand").unwrap();
    go(&test, &["rollback", "last"]).code(1).says("made on localhost was changed by somebody else");
    holds(&test, "made", "by hand");
    std::fs::write(test.path().join("made"), "new").unwrap();
    go(&test, &["rollback", "last"]).code(0);
    assert!(!test.path().join("made").exists());
}

#[test]
fn back_to_a_task_and_on_from_there() {
    let test = two_files();
    go(&test, &["play.yml"]).code(0);
    go(&test, &["rollback", "last", "--to", "Onne"]).code(1).says("did you mean \"One\"?");
    go(&test, &["rollback", "last", "--to", "One"]).code(0).says("undone: [localhost] =>");
    holds(&test, "one", "new");
    holds(&test, "two", "old");
    go(&test, &["resume", "last"]).code(0).says("changed: [localhost] (done before)");
    holds(&test, "two", "new");
}

#[test]
fn past_a_one_way_step_it_refuses_and_changes_nothing() {
    let test = Test::new()
        .file("one", "old")
        .tasks("- copy: {dest: DIR/one, content: new}\n- name: Tell the world\n  command: touch DIR/told\n");
    go(&test, &["play.yml"]).code(0);
    for check in [&["rollback", "last"][..], &["rollback", "last", "--check"]] {
        go(&test, check)
            .code(1)
            .says(
                "`run touch` on localhost can't be taken back: what a command did cannot be undone by itself",
            )
            .says("--to \"Tell the world\"");
    }
    holds(&test, "one", "new");
    go(&test, &["runs"]).code(0).says("finished");
}

#[test]
fn a_rollback_can_be_seen_before_it_is_done() {
    let test = two_files();
    go(&test, &["play.yml"]).code(0);
    let seen = go(&test, &["rollback", "last", "--check"]).code(0);
    let said = String::from_utf8_lossy(&seen.0.stdout).replace(&test.path().display().to_string(), "DIR");
    assert_eq!(said, "would undo: [localhost] => write DIR/two\nwould undo: [localhost] => write DIR/one\n");
    holds(&test, "one", "new");
}

#[test]
fn a_failed_task_is_tried_again_with_what_was_before() {
    let test = Test::new().file("one", "old").tasks(
        "
- name: Secret
  set_fact: {secret: \"{{ lookup('password', '/dev/null length=30') }}\"}
- name: One
  copy: {dest: DIR/one, content: '{{ secret }}'}
  notify: Tell
- name: Needs a folder
  copy: {dest: DIR/missing/two, content: '{{ secret }}'}
",
    );
    let play = std::fs::read_to_string(test.path().join("play.yml")).unwrap();
    let handler = "  handlers:\n    - name: Tell\n      copy: {dest: DIR/told, content: told}\n"
        .replace("DIR", &test.path().display().to_string());
    std::fs::write(test.path().join("play.yml"), play + &handler).unwrap();
    go(&test, &["play.yml"]).code(2).says("Go on from here: seqn-play resume ");
    std::fs::create_dir(test.path().join("missing")).unwrap();
    go(&test, &["resume", "last"]).code(0).says("RUNNING HANDLER [Tell]");
    let one = std::fs::read_to_string(test.path().join("one")).unwrap();
    assert_eq!(one.len(), 30);
    holds(&test, "missing/two", &one);
    holds(&test, "told", "told");
    go(&test, &["resume", "last"]).code(1).says("came to its end; there is nothing to go on with");
}

#[test]
fn a_failed_command_is_run_again() {
    let test = Test::new().tasks(
        "
- name: Count and look
  shell: echo x >>DIR/count; test -e DIR/mended
  register: it
- name: After it
  copy: {dest: DIR/after, content: '{{ it.rc }}'}
",
    );
    go(&test, &["play.yml"]).code(2);
    go(&test, &["resume", "last"]).code(2);
    std::fs::write(test.path().join("mended"), "").unwrap();
    go(&test, &["resume", "last"]).code(0);
    holds(&test, "count", "x\nx\nx\n");
    holds(&test, "after", "0");
}

#[test]
fn what_a_failed_task_was_told_is_looked_at_again() {
    let test = Test::new().file("level", "low").tasks(
        "
- name: Secret
  set_fact: {secret: \"{{ lookup('password', '/dev/null length=30') }}\"}
- name: One
  copy: {dest: DIR/one, content: '{{ secret }}'}
- name: Look
  command: cat DIR/level
  changed_when: false
  register: level
- name: Check
  assert: {that: level.stdout == 'high'}
- name: Two
  copy: {dest: DIR/two, content: '{{ secret }}'}
",
    );
    go(&test, &["play.yml"]).code(2);
    go(&test, &["resume", "last"]).code(2);
    std::fs::write(test.path().join("level"), "high").unwrap();
    let one = std::fs::read_to_string(test.path().join("one")).unwrap();
    go(&test, &["resume", "last"]).code(0);
    holds(&test, "one", &one);
    holds(&test, "two", &one);
}

#[test]
fn other_secrets_can_be_made() {
    let test = Test::new().tasks(
        "
- set_fact: {secret: \"{{ lookup('password', '/dev/null length=30') }}\"}
- copy: {dest: DIR/one, content: '{{ secret }}'}
- copy: {dest: DIR/missing/two, content: '{{ secret }}'}
",
    );
    go(&test, &["play.yml"]).code(2);
    let refused = std::fs::read_to_string(test.path().join("one")).unwrap();
    std::fs::create_dir(test.path().join("missing")).unwrap();
    go(&test, &["resume", "last", "--new-secrets"]).code(0);
    let one = std::fs::read_to_string(test.path().join("one")).unwrap();
    assert!(one.len() == 30 && one != refused);
    holds(&test, "missing/two", &one);
}

#[test]
fn a_cut_command_is_asked_about_unless_it_says_how_to_know() {
    // The operator's own machine notes nothing of effects, so nobody can tell.
    let counted =
        |keyword: &str| Test::new().tasks(&format!("- name: Count\n  shell: echo x >>DIR/count\n{keyword}"));
    let test = counted("");
    killed(&test, &["play.yml"], "1:after-effect:kill");
    go(&test, &["resume", "last"])
        .code(2)
        .says("nothing on the host tells whether it happened")
        .says("--cut=repeat");
    holds(&test, "count", "x\n");
    go(&test, &["resume", "last", "--cut", "happened"]).code(0);
    holds(&test, "count", "x\n");
    let test = counted("");
    killed(&test, &["play.yml"], "1:after-effect:kill");
    go(&test, &["resume", "last", "--cut", "repeat"]).code(0);
    holds(&test, "count", "x\nx\n");

    let test = counted("  probe: grep -q x DIR/count\n");
    killed(&test, &["play.yml"], "1:after-effect:kill");
    go(&test, &["resume", "last"]).code(0);
    holds(&test, "count", "x\n");
    let test = counted("  probe: grep -q x DIR/count\n");
    killed(&test, &["play.yml"], "1:after-intent:kill");
    go(&test, &["resume", "last"]).code(0);
    holds(&test, "count", "x\n");
    let test = counted("  probe: false\n");
    killed(&test, &["play.yml"], "1:after-effect:kill");
    go(&test, &["resume", "last"]).code(0);
    holds(&test, "count", "x\nx\n");
}

#[test]
fn a_host_tells_what_became_of_a_cut_command() {
    let test = Test::new()
        .file("hosts.yml", "all: {hosts: {box: {ansible_connection: local}}}\n")
        .file(
            "play.yml",
            "- hosts: box\n  gather_facts: false\n  tasks:\n    - shell: echo x >>DIR/count\n      register: it\n    - copy: {dest: DIR/after, content: '{{ it is changed }} {{ it.rc }}'}\n",
        );
    for fault in ["1:after-intent:kill", "1:during:kill", "1:after-effect:kill"] {
        std::fs::remove_file(test.path().join("count")).ok();
        std::fs::remove_file(test.path().join("after")).ok();
        killed(&test, &["-i", "hosts.yml", "play.yml"], fault);
        go(&test, &["resume", "last"]).code(0);
        holds(&test, "count", "x\n");
        holds(&test, "after", "True 0");
    }
}

/// A host that notes what becomes of effects.
const BOX: &str = "all: {hosts: {box: {ansible_connection: local}}}\n";

#[test]
fn what_may_have_happened_before_the_connection_was_lost_is_not_taken_back() {
    let test = Test::new().file("hosts.yml", BOX).file("one", "old").file(
        "play.yml",
        "- hosts: box\n  gather_facts: false\n  tasks:\n    - copy: {dest: DIR/one, content: new}\n    - shell: sleep 0.5; echo x >>DIR/count\n",
    );
    let lost = |fault| {
        std::fs::remove_file(test.path().join("count")).ok();
        test.again(&["-i", "hosts.yml", "play.yml"], &[("SEQN_PLAY_FAULT", fault)])
    };
    let refuses = || {
        go(&test, &["rollback", "last", "--check"])
            .code(0)
            .says("would look: [box] => run a shell script: if it began");
        go(&test, &["rollback", "last"]).code(1).says("`run a shell script` on box can't be taken back");
        holds(&test, "one", "new");
        holds(&test, "count", "x\n");
    };
    assert_eq!(lost("2:during:cut").status.code(), Some(4));
    refuses();
    std::fs::write(test.path().join("one"), "old").unwrap();
    assert_eq!(lost("2:during:kill").status.code(), None);
    refuses();
    go(&test, &["resume", "last"]).code(0);
    holds(&test, "count", "x\n");

    // What never began is nothing.
    for (fault, code) in [("2:after-intent:refused", Some(4)), ("2:after-intent:kill", None)] {
        std::fs::write(test.path().join("one"), "old").unwrap();
        assert_eq!(lost(fault).status.code(), code, "{fault}");
        holds(&test, "one", "new");
        go(&test, &["rollback", "last"]).code(0);
        holds(&test, "one", "old");
        holds(&test, "count", "");
    }
}

/// Else it would come after what takes it back.
#[test]
fn what_was_cut_is_at_its_end_before_a_transaction_takes_it_back() {
    let test = Test::new().file("hosts.yml", BOX).file("one", "old").file(
        "play.yml",
        "- hosts: box\n  gather_facts: false\n  tasks:\n    - transaction: true\n      block:\n        - copy: {dest: DIR/one, content: new, validate: \"sh -c 'sleep 1; echo >>DIR/validated' %s\"}\n",
    );
    let ended = test.again(&["-i", "hosts.yml", "play.yml"], &[("SEQN_PLAY_FAULT", "1:during:cut")]);
    assert_eq!(ended.status.code(), Some(4), "{}", told(&ended));
    holds(&test, "validated", "\n");
    holds(&test, "one", "old");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    holds(&test, "one", "old");
}

#[test]
fn a_cut_request_is_not_sent_again_unasked() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/rotate", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _ = std::io::Read::read(&mut stream, &mut head).unwrap();
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    let times = || asked.load(std::sync::atomic::Ordering::SeqCst);
    let test = Test::new().file("hosts.yml", BOX).file(
        "play.yml",
        &format!("- hosts: box\n  gather_facts: false\n  tasks:\n    - uri: {{url: '{url}', method: POST}}\n      changed_when: true\n"),
    );
    killed(&test, &["-i", "hosts.yml", "play.yml"], "1:after-effect:kill");
    assert_eq!(times(), 1);
    go(&test, &["resume", "last"]).code(2).says("nothing on the host tells whether it happened");
    go(&test, &["rollback", "last"]).code(1).says("can't be taken back");
    assert_eq!(times(), 1);
    go(&test, &["resume", "last", "--cut", "repeat"]).code(0);
    assert_eq!(times(), 2);
}

#[test]
fn a_command_that_was_cut_and_failed_is_run_again() {
    let test = Test::new().file("hosts.yml", "all: {hosts: {box: {ansible_connection: local}}}\n").file(
        "play.yml",
        "- hosts: box\n  gather_facts: false\n  tasks:\n    - shell: echo x >>DIR/count; test -e DIR/mended\n",
    );
    killed(&test, &["-i", "hosts.yml", "play.yml"], "1:after-effect:kill");
    // That it failed is known from the host.
    go(&test, &["resume", "last"]).code(2);
    holds(&test, "count", "x\n");
    std::fs::write(test.path().join("mended"), "").unwrap();
    go(&test, &["resume", "last"]).code(0);
    holds(&test, "count", "x\nx\n");
}

#[test]
fn a_file_that_is_neither_as_before_nor_as_planned_stops_it() {
    let test = two_files();
    killed(&test, &["play.yml"], "2:after-intent:kill");
    std::fs::write(test.path().join("two"), "by hand").unwrap();
    go(&test, &["resume", "last"]).code(2).says("somebody else changed what it is about");
    holds(&test, "two", "by hand");
}

#[test]
fn an_unfinished_run_stands_in_the_way_until_it_is_settled() {
    let test = two_files();
    killed(&test, &["play.yml"], "2:after-intent:kill");
    go(&test, &["play.yml"]).code(1).says("is unfinished (cut ").says("at `write ");
    go(&test, &["play.yml", "--check"]).code(0);
    go(&test, &["runs", "abandon", "last"]).code(1).says("say why");
    go(&test, &["runs", "abandon", "last", "--reason", "done by hand"]).code(0);
    go(&test, &["resume", "last"]).code(1).says("was abandoned");
    go(&test, &["runs", "abandon", "last", "--reason", "again"])
        .code(1)
        .says("is not unfinished: it is abandoned");
    go(&test, &["play.yml"]).code(0);
}

#[test]
fn only_its_recipients_go_on_with_it() {
    let test = two_files();
    killed(&test, &["play.yml"], "2:after-intent:kill");
    let other = test.path().join("other.txt");
    go(&test, &["secret", "keygen", &other.display().to_string()]).code(0);
    let stranger = [("SEQN_AGE_IDENTITY", other.to_str().unwrap())];
    for how in ["resume", "rollback"] {
        let refused = Came(test.again(&[how, "last"], &stranger)).code(1);
        refused.says("can't be opened").says("it opens for age1").says("--age-identity FILE");
    }
    holds(&test, "one", "new");
}

#[test]
fn a_second_recipient_can_take_over() {
    let test = two_files();
    let key = test.path().join("colleague.txt");
    let made = go(&test, &["secret", "keygen", key.to_str().unwrap()]).code(0);
    let said = String::from_utf8_lossy(&made.0.stdout).into_owned();
    let public = said.lines().find_map(|l| l.strip_prefix("public key: ")).expect("a key").to_string();
    let own = std::fs::read_to_string(support::identity()).unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("# public key: ")).expect("a key").to_string();
    std::fs::write(test.path().join(".age-recipients"), format!("{own}\n{public}\n")).unwrap();
    killed(&test, &["play.yml"], "2:after-intent:kill");
    Came(test.again(&["resume", "last"], &[("SEQN_AGE_IDENTITY", key.to_str().unwrap())])).code(0);
    holds(&test, "two", "new");
}

#[test]
fn without_an_identity_it_says_what_is_missing() {
    let test = two_files();
    let nobody = [("SEQN_AGE_IDENTITY", "")];
    let warned = Came(test.again(&["play.yml"], &nobody)).code(0);
    warned.says("no age identity: nothing secret is kept of this run, so it can't be resumed or rolled back");
    Came(test.again(&["rollback", "last"], &nobody)).code(1).says("there was no age identity then");
    let plain = test.journal().1;
    assert!(plain.contains("\"kept\":null") && !plain.contains("content"), "{plain}");
}

#[test]
fn a_damaged_journal_is_not_believed() {
    let test = two_files();
    killed(&test, &["play.yml"], "2:after-effect:kill");
    let (path, text) = test.journal();
    std::fs::write(&path, text.replacen("\"task\":\"One\"", "\"task\":\"Two\"", 1)).unwrap();
    for how in ["resume", "rollback"] {
        go(&test, &[how, "last"]).code(1).says("is damaged at line ").says("its checksum is wrong");
    }
    go(&test, &["runs", "show", "last"]).code(0).says("The journal is damaged at line ");
    std::fs::write(&path, &text[..text.len() - 5]).unwrap();
    go(&test, &["resume", "last"]).code(0);
    holds(&test, "two", "new");
}

#[test]
fn a_changed_playbook_is_shown_and_refused_unless_told() {
    let test = two_files();
    killed(&test, &["play.yml"], "2:after-intent:kill");
    let path = test.path().join("play.yml");
    let play = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, play.replace("name: Two", "name: Second")).unwrap();
    go(&test, &["resume", "last"]).code(1).says("play.yml was changed").says("--changed-playbook");
    go(&test, &["resume", "last", "--changed-playbook"]).code(0);
    let other = play.replace("name: One", "name: First");
    let test = two_files();
    killed(&test, &["play.yml"], "2:after-intent:kill");
    std::fs::write(test.path().join("play.yml"), other).unwrap();
    go(&test, &["resume", "last", "--changed-playbook"]).code(2).says("here stood the task 'One'");
}

#[test]
fn what_was_given_once_is_not_asked_for_again() {
    let test = Test::new()
        .tasks(
            "- copy: {dest: DIR/one, content: '{{ pin }}'}\n- copy: {dest: DIR/two, content: '{{ pin }}'}\n",
        )
        .file("pin", "s3cret-pin-0815\n");
    let pin = test.path().join("pin");
    std::fs::set_permissions(&pin, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    killed(&test, &["play.yml", "--secret-file", "pin=pin"], "2:after-intent:kill");
    std::fs::remove_file(&pin).unwrap();
    assert!(!test.journal().1.contains("s3cret"));
    go(&test, &["resume", "last"]).code(0);
    holds(&test, "two", "s3cret-pin-0815");
}

/// Two projects of the same name, as two operators have them.
fn two_operators(tasks: &str) -> [Test; 2] {
    let shared = Test::new();
    let place = shared.path().display().to_string();
    let name = format!("shared{}", place.rsplit('.').next().unwrap_or_default());
    let operator = || {
        Test::new()
            .file("hosts.yml", "all: {hosts: {box: {ansible_connection: local}}}\n")
            .file("play.yml", &format!("- hosts: box\n  gather_facts: false\n  tasks:\n{tasks}"))
            .env("PROJECT", &name)
    };
    [operator(), operator()]
}

fn project(test: &Test) -> String {
    test.env.iter().find(|(n, _)| n == "PROJECT").expect("a name").1.clone()
}

struct Locks(String);

impl Drop for Locks {
    fn drop(&mut self) {
        std::fs::remove_dir_all(format!("/var/tmp/seqn-play/{}", self.0)).ok();
    }
}

#[test]
fn a_second_operator_is_told_who_has_the_host_and_can_wait() {
    let [ann, bob] = two_operators("    - command: sleep 3\n      changed_when: false\n");
    let project = project(&ann);
    let _clean = Locks(project.clone());
    let args = ["-i", "hosts.yml", "play.yml", "--project", &project];
    let mut first = ann.command();
    let first = first.args(args).args(["--actor", "Ann"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let first = first.spawn().unwrap();
    let locked = format!("/var/tmp/seqn-play/{project}/lock.1");
    while !std::path::Path::new(&locked).exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let bob_says = |more: &[&str]| Came(bob.again(&[&args[..], more].concat(), &[]));
    bob_says(&[])
        .code(1)
        .says("box is locked, and nothing was begun: run ")
        .says(" of Ann from ")
        .says("has the lock since ")
        .says("--wait-lock SECONDS");
    bob_says(&["--wait-lock", "60"]).code(0).says("waiting for the lock on box: run ");
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", told(&first));
}

#[test]
fn a_colleague_takes_over_from_the_host() {
    let target = Test::new().file("one", "old").file("two", "old");
    let place = target.path().display().to_string();
    let tasks = format!(
        "    - set_fact: {{secret: \"{{{{ lookup('password', '/dev/null length=30') }}}}\"}}\n    - copy: {{dest: {place}/one, content: '{{{{ secret }}}}'}}\n    - copy: {{dest: {place}/two, content: '{{{{ secret }}}}'}}\n"
    );
    let [ann, bob] = two_operators(&tasks);
    let project = project(&ann);
    let _clean = Locks(project.clone());
    let args = ["-i", "hosts.yml", "play.yml", "--project", &project];
    killed(&ann, &args, "2:after-intent:kill");
    let from = ["last", "--from-host", "box", "-i", "hosts.yml", "--project", &project];
    let bob_goes = |how: &str, more: &[&str]| Came(bob.again(&[&[how][..], &from, more].concat(), &[]));
    // Nobody can know yet that Ann's program is dead.
    bob_goes("resume", &[]).code(1).says("box is locked");
    // Its lease runs out: the lock's time is the host's uptime when it was renewed.
    let lock = format!("/var/tmp/seqn-play/{project}/lock.1");
    assert!(std::process::Command::new("touch").args(["-m", "-d", "@1", &lock]).status().unwrap().success());
    bob_goes("resume", &[]).code(1).says("it is dead: its lease").says("--break-lock");
    bob_goes("resume", &["--break-lock"]).code(0);
    let one = std::fs::read_to_string(target.path().join("one")).unwrap();
    assert_eq!(one.len(), 30);
    holds(&target, "two", &one);
    bob_goes("rollback", &[]).code(0);
    holds(&target, "one", "old");
    holds(&target, "two", "old");
}

#[test]
fn a_handler_is_run_again_when_what_it_reads_is_restored() {
    let tasks = "
- transaction: true
  block:
    - copy: {dest: DIR/conf, content: new}
      notify: Restart
    - meta: flush_handlers
    - shell: echo other >DIR/conf
      when: spoil | default(false) | bool
      changed_when: false
      one_way: ok
    - fail: {msg: no}
      when: fail | default(false) | bool
";
    let with_handler = || {
        let test = Test::new().file("conf", "old").tasks(tasks);
        let path = test.path().join("play.yml");
        let handler =
            "  handlers:\n    - name: Restart\n      shell: cp DIR/conf DIR/read; echo x >>DIR/restarts\n";
        let play = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, play + &handler.replace("DIR", &test.path().display().to_string())).unwrap();
        test
    };
    let test = with_handler();
    go(&test, &["play.yml", "-e", "fail=true"]).code(2).says("undone: [localhost] =>").says("(again)");
    holds(&test, "read", "old");
    holds(&test, "restarts", "x\nx\n");
    let test = with_handler();
    go(&test, &["play.yml"]).code(0);
    holds(&test, "read", "new");
    go(&test, &["rollback", "last"]).code(0).says("run a shell script (again)");
    holds(&test, "read", "old");
    // What it reads could not be restored: once it is, it is read again.
    let test = with_handler();
    go(&test, &["play.yml", "-e", "fail=true", "-e", "spoil=true"]).code(2).says("(again)");
    holds(&test, "read", "other\n");
    std::fs::write(test.path().join("conf"), "new").unwrap();
    go(&test, &["rollback", "last"]).code(0).says("run a shell script (again)");
    holds(&test, "read", "old");
}

#[test]
fn a_second_failure_of_a_made_secret_offers_another() {
    let test = Test::new().tasks(
        "- set_fact: {secret: \"{{ lookup('password', '/dev/null length=30') }}\"}\n- copy: {dest: DIR/one, content: x}\n- fail: {msg: refused}\n",
    );
    go(&test, &["play.yml"]).code(2);
    go(&test, &["resume", "last"]).code(2).says("`resume --new-secrets` makes another one");
}

#[test]
fn two_names_for_one_machine_are_one_lock() {
    let test = Test::new()
        .file(
            "hosts.yml",
            "all: {vars: {ansible_connection: local}, hosts: {one: {}, two: {}, three: {}}}\n",
        )
        .file(
            "play.yml",
            "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {dest: 'DIR/{{ inventory_hostname }}', content: x}\n- hosts: two\n  gather_facts: false\n  tasks:\n    - copy: {dest: DIR/again, content: x}\n",
        );
    go(&test, &["-i", "hosts.yml", "play.yml"]).code(0);
    go(&test, &["rollback", "last"]).code(0);
    for file in ["one", "two", "three", "again"] {
        assert!(!test.path().join(file).exists(), "{file}");
    }
}

/// A result that was hidden since the run knew a value of its arguments is hidden when it is recalled.
#[test]
fn what_was_hidden_stays_hidden_when_a_run_goes_on() {
    let test = Test::new().tasks(
        "
- name: Named by a secret
  copy: {dest: \"DIR/{{ lookup('password', '/dev/null length=30') }}.made\", content: x}
  register: it
- copy: {dest: DIR/two, content: x}
- debug: {msg: \"{{ it.dest }}\"}
",
    );
    killed(&test, &["play.yml"], "2:before-intent:kill");
    let files = std::fs::read_dir(test.path()).unwrap().flatten();
    let names = files.map(|file| file.file_name().into_string().unwrap());
    let made = names.filter_map(|name| Some(name.strip_suffix(".made")?.to_string())).next().unwrap();
    let said = told(&go(&test, &["resume", "last", "--output", "json"]).code(0).0);
    assert!(!said.contains(&made), "{said}");
}

/// What it writes is another thing each time, so the plan alone doesn't tell that the cut Step wrote it.
#[test]
fn what_a_cut_step_wrote_is_nobody_elses() {
    let task = "- copy: {dest: DIR/at, content: \"{{ now(fmt='%H:%M:%S.%f') }}\"}\n";
    let new = Test::new().tasks(task);
    let known = Test::new().file("at", "old").tasks(task);
    for (test, before) in [(&new, None), (&known, Some("old"))] {
        let at = || std::fs::read_to_string(test.path().join("at")).ok();
        killed(test, &["play.yml"], "1:after-effect:kill");
        let cut = at();
        assert_ne!(cut.as_deref(), before);
        go(test, &["resume", "last"]).code(0);
        assert_ne!(at(), cut);
        go(test, &["rollback", "last"]).code(0);
        assert_eq!(at().as_deref(), before);
        killed(test, &["play.yml"], "1:after-effect:kill");
        std::fs::write(test.path().join("at"), "somebody's").unwrap();
        go(test, &["resume", "last"]).code(2).says("since then somebody else changed what it is about");
    }
}
