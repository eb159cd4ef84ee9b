//! `seqn-play rehearse`: what it proves, what it catches, what it refuses, what it leaves.

mod support;

use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Ran, Test};

/// A playbook whose inventory may break, and the rehearsal of it without faults.
fn rehearsal(tasks: &str) -> Test {
    let tasks: String = tasks.trim_matches('\n').lines().map(|line| format!("    {line}\n")).collect();
    Test::new()
        .file("staging.yml", "all: {hosts: {box: {ansible_connection: local, seqn_may_break: true}}}\n")
        .file("play.yml", &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"))
        .args(&["rehearse", "play.yml", "-i", "staging.yml"])
}

const NO_FAULTS: [&str; 2] = ["--only", "lint,check,run,prediction,again,rollback,outage,leaks"];

const GOOD: &str = "
- name: Take a backup
  command: date
  one_way: ok
  again: ok
  probe: false
- name: Change both or none
  transaction: true
  block:
    - name: Write it
      copy: {dest: DIR/written, content: \"one\\n\"}
    - name: Add a line
      lineinfile: {path: DIR/kept, line: two}
";

fn folder(ran: &Ran) -> PathBuf {
    let all = std::fs::read_dir(ran.dir.path().join(".seqn-play/rehearsals")).expect("rehearsals");
    all.flatten().map(|entry| entry.path()).max().expect("one")
}

fn text(ran: &Ran, file: &str) -> String {
    std::fs::read_to_string(folder(ran).join(file)).expect(file)
}

fn result(ran: &Ran) -> Value {
    serde_json::from_str(&text(ran, "rehearsal.json")).expect("JSON")
}

fn verdict(ran: &Ran, stage: &str) -> String {
    let told = result(ran);
    let stages = told["stages"].as_array().expect("stages");
    let row = stages.iter().find(|row| row["name"] == stage).unwrap_or_else(|| panic!("{stage} is missing"));
    row["verdict"].as_str().expect("a verdict").to_string()
}

#[test]
fn a_good_playbook_passes_and_the_place_is_as_before() {
    let ran = rehearsal(GOOD).file("kept", "one\n").args(&["--faults", "kill", "--shard", "1/5"]).run();
    let ran = ran
        .success()
        .says("(whole, only the faults kill, shard 1/5)")
        .holds("kept", "one\n")
        .lacks("written");
    let told = result(&ran);
    assert_eq!((&told["passed"], &told["whole"]), (&true.into(), &true.into()), "{told:#}");
    let stages: Vec<&str> =
        told["stages"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(
        stages,
        ["lint", "check", "run", "prediction", "again", "rollback", "outage", "faults", "leaks"]
    );
    // 3 Steps, 3 places, and one behind the last; 2 ways: every fifth of 20.
    assert_eq!(told["cases"].as_array().unwrap().len(), 4, "{told:#}");
    assert_eq!(told["cases_in_all"], 20);
    // What check mode can't know is listed with its cause.
    assert_eq!(told["prediction"]["unknown"][0]["task"], "Take a backup");
    assert!(told["prediction"]["unknown"][0]["cause"].as_str().is_some_and(|cause| !cause.is_empty()));
    let steps = told["phases"][0]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3, "{steps:?}");
    well_formed(&text(&ran, "rehearsal.xml"));
    let page = text(&ran, "rehearsal.html");
    assert!(
        page.contains("Timeline: run") && page.contains("<svg") && page.contains("Take a backup"),
        "{page}"
    );
    let needs_something = ["src=", "href=", "@import", "url("].iter().any(|other| page.contains(other));
    assert!(!needs_something, "the page isn't self-contained");
    assert!(text(&ran, "rehearsal.txt").contains("again"));
    // Nothing stays where locks are kept.
    let project = format!("rehearsal-{}-1", told["id"].as_str().unwrap());
    assert_eq!(told["left"], serde_json::json!([]));
    assert!(!Path::new("/var/tmp/seqn-play").join(project).exists());
}

#[test]
fn where_nothing_was_tried_nothing_is_proven() {
    let tasks = "- name: Write it\n  copy: {dest: DIR/written, content: x}\n";
    let ran = rehearsal(tasks).args(&["--faults", "slow", "--shard", "9/9"]).run().code(2);
    let ran = ran.says("none of the 4 cases was tried").lacks("written");
    assert_eq!(verdict(&ran, "faults"), "skipped");
    assert!(text(&ran, "rehearsal.xml").contains("<failure "), "who reads JUnit must see it too");
    let ran = rehearsal(tasks).args(&["--tags", "nope"]).run().code(2).says("no task of it is run");
    assert_eq!(verdict(&ran, "check"), "failed");
}

#[test]
fn a_quick_rehearsal_has_all_stages_and_some_cases() {
    let ran = rehearsal(GOOD).file("kept", "one\n").args(&["--quick"]).run().success().says("(quick)");
    let ran = ran.holds("kept", "one\n").lacks("written");
    let told = result(&ran);
    let (tried, in_all) = (told["cases"].as_array().unwrap().len(), told["cases_in_all"].as_u64().unwrap());
    assert!(tried > 0 && in_all == 74, "{tried} of {in_all}");
    assert_eq!((&told["whole"], &told["quick"]), (&true.into(), &true.into()));
    assert_eq!(told["stages"].as_array().unwrap().len(), 9);
}

#[test]
fn a_wrong_prediction_is_caught() {
    let tasks = "
- name: Only in check mode
  copy: {dest: DIR/written, content: x}
  when: ansible_check_mode
";
    let ran = rehearsal(tasks).args(&["--only", "prediction"]).run().code(2);
    let ran =
        ran.says("REHEARSAL FAILED").says("Only in check mode").says("predicted changed, it was skipped");
    assert_eq!(verdict(&ran, "prediction"), "failed");
    assert_eq!(verdict(&ran, "run"), "passed");
}

#[test]
fn what_lint_finds_is_told() {
    let ran = rehearsal(
        "- name: Log in\n  command: login --password hunter2hunter2\n  vars: {db_password: Pl4intext}\n",
    )
    .args(&["--only", "lint"])
    .run()
    .code(2);
    let ran = ran.says("error[").says(" at play.yml:");
    assert_eq!(verdict(&ran, "lint"), "failed");
}

#[test]
fn a_check_mode_that_fails_is_told_and_nothing_is_run() {
    let tasks = "
- name: Write it
  copy: {dest: DIR/written, content: x}
- name: Never
  assert: {that: false, fail_msg: no way}
";
    let ran = rehearsal(tasks).args(&NO_FAULTS).run().code(2).says("[box] Never: no way").lacks("written");
    let stages = ["check", "run", "prediction", "again", "rollback"].map(|stage| verdict(&ran, stage));
    assert_eq!(stages, ["failed", "skipped", "skipped", "skipped", "skipped"]);
    assert_eq!(result(&ran)["phases"], serde_json::json!([]));
}

#[test]
fn a_failure_that_was_ignored_in_check_mode_is_no_prediction() {
    let tasks = "
- name: Only there once it is written
  copy: {src: DIR/source, dest: DIR/written, remote_src: true}
  ignore_errors: '{{ ansible_check_mode }}'
";
    let tasks = format!(
        "- name: Make it\n  command: touch DIR/source\n  args: {{creates: DIR/source}}\n  undo:\n    - file: {{path: DIR/source, state: absent}}{tasks}"
    );
    let ran = rehearsal(&tasks).args(&["--only", "prediction"]).run().success();
    let told = result(&ran);
    let unknown = told["prediction"]["unknown"].as_array().unwrap();
    let of = unknown.iter().find(|one| one["task"] == "Only there once it is written");
    let cause = of.and_then(|one| one["cause"].as_str()).unwrap_or_else(|| panic!("{unknown:#?}"));
    assert!(cause.starts_with("check mode fails: ") && cause.contains("source"), "{cause}");
}

#[test]
fn a_playbook_that_is_edited_meanwhile_was_not_rehearsed() {
    let tasks = "- name: Write it\n  copy: {dest: DIR/written, content: x}\n";
    let edit = "echo '# later' >>DIR/play.yml; rm -f DIR/written";
    let test = rehearsal(tasks).args(&["--faults", "slow", "--shard", "1/2", "--restore", edit]);
    let ran = test.run().code(2).says("the playbook or one of its roles was changed during the rehearsal");
    assert_eq!(verdict(&ran, "faults"), "passed");
    assert_eq!(result(&ran)["passed"], false);
}

#[test]
fn a_second_run_that_changes_something_is_caught() {
    let tasks = "
- name: Write it
  copy: {dest: DIR/written, content: \"one\\n\"}
- name: Add a line
  lineinfile: {path: DIR/written, line: two}
";
    let ran =
        rehearsal(tasks).args(&NO_FAULTS).run().code(2).says("Write it at play.yml:4:7 was changed again");
    let ran = ran.says("again: ok");
    assert_eq!(verdict(&ran, "again"), "failed");
    assert_eq!(verdict(&ran, "rollback"), "passed");
    ran.lacks("written");
}

#[test]
fn a_rollback_that_does_not_return_is_caught() {
    let tasks = "
- name: Leave it
  command: touch DIR/left
  args: {creates: DIR/left}
  one_way: ok
- name: Write it
  copy: {dest: DIR/written, content: x}
";
    let ran = rehearsal(tasks).args(&NO_FAULTS).run().code(2);
    let ran = ran.says("it is not the first state").says("Leave it").lacks("written");
    assert_eq!(verdict(&ran, "rollback"), "failed");
    // The place is given back by its own command instead.
    let ran = rehearsal(tasks).args(&NO_FAULTS).args(&["--restore", "rm -f DIR/left"]).run().code(2);
    ran.lacks("left");
}

#[test]
fn after_a_one_way_step_rollback_must_refuse_and_the_place_is_restored() {
    let tasks = "
- name: Send it
  command: touch DIR/sent
  args: {creates: DIR/sent}
- name: Write it
  copy: {dest: DIR/written, content: x}
";
    let restore = "rm -f DIR/sent DIR/written";
    let ran = rehearsal(tasks).args(&["--restore", restore, "--faults", "kill", "--shard", "1/5"]).run();
    let ran = ran.success().says("of the run: rollback refuses, as it must").says("killed, rollback refuses");
    let ran = ran.lacks("sent").lacks("written");
    let cases = result(&ran)["cases"].as_array().unwrap().len();
    assert_eq!(cases, 3);
    // A command that restores nothing is no way back.
    let ran = rehearsal(tasks).args(&["--restore", "true", "--faults", "kill"]).run().code(2);
    let ran = ran.says("the command that restores it does not lead to the first state").says("Send it");
    assert_eq!((verdict(&ran, "rollback"), verdict(&ran, "faults")), ("failed".into(), "failed".into()));
    // Without a way back there is no place for the next case.
    let ran = rehearsal(tasks).args(&["--faults", "kill"]).run().code(2).says("--restore COMMAND");
    let ran = ran.says("left behind: run ").says(" still stands: seqn-play rollback ").holds("written", "x");
    assert_eq!((verdict(&ran, "rollback"), verdict(&ran, "faults")), ("passed".into(), "failed".into()));
}

/// A rotation whose second part takes the old value away, and that refuses to begin anew before that.
const WITH_FINISH: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - name: Look at the second slot
      stat: {path: DIR/second}
      register: slot
    - name: Check that the second slot is free
      assert: {that: not slot.stat.exists, fail_msg: it is taken}
    - name: Fill the second slot
      copy: {dest: DIR/second, content: \"new\\n\"}
      again: ok
- hosts: all
  gather_facts: false
  tags: [never, finish]
  tasks:
    - name: Move it into the first slot
      copy: {dest: DIR/first, content: \"new\\n\"}
    - name: Is its grace over
      assert: {that: grace_over | default(false) | bool}
      when: not ansible_check_mode
    - name: Empty the second slot
      file: {path: DIR/second, state: absent}
    - name: Nobody needs the old one
      command: rm DIR/old
      args: {removes: DIR/old}
";

fn with_finish() -> Test {
    rehearsal("").file("play.yml", WITH_FINISH.trim_start()).file("first", "old\n")
}

const FINISH: [&str; 2] = ["--finish", "--tags finish -e 'grace_over=true'"];

#[test]
fn what_the_run_began_is_finished() {
    // One kill between the Steps of the run, then resume, which must leave what finish predicts of it.
    let ran = with_finish().args(&FINISH).args(&["--faults", "kill"]).run().success();
    let ran = ran.holds("first", "old\n").lacks("second");
    let told = result(&ran);
    let names = |of: &str| {
        let all = told[of].as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("stages"), "lint check run prediction finish again rollback outage faults leaks");
    assert_eq!(names("phases"), "run finish again rollback-again rollback-finish rollback");
    assert_eq!((&told["whole"], &told["finish_prediction"]["right"]), (&true.into(), &4.into()), "{told:#}");
    assert_eq!(told["cases"].as_array().unwrap().len(), 8, "of the run alone");
    assert!(text(&ran, "rehearsal.html").contains("Timeline: finish"));
    let said = all_below(&folder(&ran).join("output"));
    assert!(said.contains("it is taken"), "without its end a second run would refuse");
    // So without it the rehearsal fails.
    let ran = with_finish().args(&NO_FAULTS).run().code(2).says("a second run fails").says("it is taken");
    assert_eq!((verdict(&ran, "again"), verdict(&ran, "rollback")), ("failed".into(), "passed".into()));
}

#[test]
fn a_finish_that_fails_is_caught_and_taken_back() {
    let finish = ["--only", "again,leaks", "--finish", "--tags finish"];
    let ran = with_finish().args(&finish).run().code(2).says("[box] Is its grace over");
    assert_eq!((verdict(&ran, "finish"), verdict(&ran, "again")), ("failed".into(), "skipped".into()));
    assert_eq!(verdict(&ran, "rollback"), "passed");
    ran.holds("first", "old\n").lacks("second");
}

#[test]
fn a_wrong_prediction_of_the_finish_is_caught() {
    let tasks = "
- name: Write it
  copy: {dest: DIR/written, content: x}
- name: Only in check mode
  copy: {dest: DIR/more, content: x}
  when: ansible_check_mode
  tags: [never, finish]
";
    let ran = rehearsal(tasks).args(&["--only", "finish", "--finish", "--tags finish"]).run().code(2);
    let ran = ran.says("predicted changed, it was skipped").lacks("written");
    assert_eq!(verdict(&ran, "finish"), "failed");
    assert!(text(&ran, "rehearsal.html").contains("Wrong predictions of the finish"));
}

#[test]
fn a_finish_that_is_one_way_must_not_be_rolled_back() {
    let finish = [&["--only", "rollback,again"], &FINISH[..]].concat();
    let restore = ["--restore", "echo old >DIR/first; rm -f DIR/second; touch DIR/old"];
    let ran = with_finish().file("old", "").args(&finish).args(&restore).run().success();
    let ran = ran
        .says("of the finishing run: rollback refuses, as it must: ")
        .holds("first", "old\n")
        .holds("old", "");
    assert_eq!(verdict(&ran, "rollback"), "passed");
    // Without a way back it stays, and so does the run below it.
    let ran = with_finish().file("old", "").args(&finish).run().success().holds("first", "new\n");
    assert_eq!(result(&ran)["left"].as_array().unwrap().len(), 2);
}

/// That the run below it is one-way doesn't excuse what the finish left.
#[test]
fn what_a_finish_leaves_behind_is_caught_above_a_run_that_is_one_way() {
    let tasks = "
- name: Send it
  command: touch DIR/sent
  args: {creates: DIR/sent}
- name: Leave it
  command: touch DIR/left
  args: {creates: DIR/left}
  one_way: ok
  tags: [never, finish]
";
    let finish = ["--only", "rollback,finish", "--finish", "--tags finish"];
    let restore = ["--restore", "rm -f DIR/sent DIR/left"];
    let ran = rehearsal(tasks).args(&finish).args(&restore).run().code(2);
    let ran = ran.says("it is not the state before").says("Leave it").lacks("left").lacks("sent");
    assert_eq!(verdict(&ran, "rollback"), "failed");
}

#[test]
fn a_secret_of_the_finish_is_searched_too() {
    let tasks = "
- name: Nobody knows yet that it is a secret
  debug: {msg: \"{{ lookup('file', 'DIR/pw') }}\"}
  tags: [never, finish]
- name: Now it is known
  set_fact: {password: \"{{ lookup('password', 'DIR/pw') }}\"}
  tags: [never, finish]
- name: Use it
  copy: {dest: DIR/used, content: '{{ password }}', mode: '0600'}
  tags: [never, finish]
- name: Do something
  copy: {dest: DIR/written, content: x}
";
    let test = rehearsal(tasks).file("pw", "Pl4ntedPl4ntedPl4nted");
    let ran = test.args(&["--only", "finish,leaks", "--finish", "--tags finish"]).run().code(2);
    ran.says("a secret stands in").says("output/finish.jsonl").never_says("Pl4nted");
}

/// One Step, each fault.
#[test]
fn each_fault_strikes_and_one_command_leads_out() {
    let tasks = "
- name: Write it
  copy: {dest: DIR/written, content: x}
- name: Is it well
  wait_for: {path: DIR/written, timeout: 5}
";
    let ran = rehearsal(tasks).run().success().lacks("written");
    let told = result(&ran);
    let cases = told["cases"].as_array().unwrap();
    // Behind the Step nothing is left but to look whether it is well.
    let ended = |fault: &str, behind: bool, word: &str| {
        let of = cases.iter().filter(|c| c["fault"] == fault && (c["place"] == "after-record") == behind);
        let words: Vec<&str> = of.map(|case| case["word"].as_str().unwrap()).collect();
        assert!(words.len() >= 2 && words.iter().all(|one| *one == word), "{fault} {behind}: {words:?}");
    };
    assert_eq!(cases.len(), 34, "{cases:#?}");
    for behind in [false, true] {
        ended("kill", behind, "killed");
        ended("refused", behind, "failed");
        ended("unhealthy", behind, "failed");
        ended("disk-full", behind, if behind { "fine" } else { "failed" });
        ended("denied", behind, if behind { "fine" } else { "failed" });
        ended("slow", behind, "fine");
    }
    let table = text(&ran, "rehearsal.txt");
    let row = |fault: &str| table.lines().find(|line| line.starts_with(fault)).unwrap().split_whitespace();
    assert_eq!(row("slow").collect::<Vec<_>>(), ["slow", "2/2", "well", "2/2", "well", "2"]);
    assert_eq!(row("kill").collect::<Vec<_>>(), ["kill", "4/4", "well", "4/4", "well", "0"]);
    // What the host is said to have answered is what the operator reads.
    let said = all_below(&folder(&ran).join("output"));
    assert!(said.contains("this is rehearsed"), "{said}");
}

/// What the strike left is no business of a rollback, and is seen all the same.
#[test]
fn a_rollback_that_does_not_lead_to_the_first_state_is_caught() {
    let inventory = "
all:
  hosts: {box: {ansible_connection: local, seqn_may_break: true}}
  vars: {seqn_faults: {slow: {strike: touch DIR/left, mend: 'true'}}}
";
    let tasks = "
- name: Write it
  copy: {dest: DIR/written, content: x}
- name: Nothing else is there
  file: {path: DIR/left, state: absent}
";
    let ran = rehearsal(tasks).file("staging.yml", inventory).args(&["--faults", "slow"]).run().code(2);
    // Taken away by the run, so that its rollback brings it back.
    let ran = ran.says("then rollback: rollback does not lead to the first state");
    ran.says("Nothing else is there").lacks("written");
}

/// A place that is broken for good: no command leads out, and that is said of each case.
#[test]
fn a_case_that_no_command_leads_out_of_is_caught() {
    let inventory = "
all:
  hosts: {box: {ansible_connection: local, seqn_may_break: true}}
  vars: {seqn_faults: {denied: {strike: touch DIR/broken, mend: 'true'}}}
";
    let tasks = "
- name: Write it
  copy: {dest: DIR/written, content: x}
- name: Is it whole
  command: test ! -e DIR/broken
  changed_when: false
  one_way: ok
";
    let ran = rehearsal(tasks).file("staging.yml", inventory).args(&["--faults", "denied"]).run().code(2);
    let ran = ran.says("FAILED  denied after-intent 1 `write DIR/written`, then resume: resume fails");
    let ran = ran.says("[box] Is it whole").lacks("written");
    assert_eq!(verdict(&ran, "faults"), "failed");
    let xml = text(&ran, "rehearsal.xml");
    well_formed(&xml);
    assert!(xml.contains("<failure "), "{xml}");
}

#[test]
fn a_place_does_a_fault_by_itself() {
    let inventory = "
all:
  hosts: {box: {ansible_connection: local, seqn_may_break: true}}
  vars:
    seqn_faults:
      disk-full: {strike: touch DIR/full, mend: rm DIR/full && touch DIR/mended}
";
    let tasks = "
- name: Write it
  copy: {dest: DIR/written, content: x}
- name: Needs room
  command: test ! -e DIR/full
  changed_when: false
  one_way: ok
";
    let ran = rehearsal(tasks)
        .file("staging.yml", inventory)
        .args(&["--faults", "disk-full", "--shard", "1/2"])
        .run();
    let ran = ran.success().lacks("full").holds("mended", "");
    let told = result(&ran);
    assert_eq!(told["cases"][0]["word"], "failed", "{:#}", told["cases"]);
}

/// Each place by its own commands, which are told which one it is; what they print is not an event.
#[test]
fn places_do_faults_each_by_itself() {
    let inventory = |file: &str, name: &str| {
        let said = format!("echo {name} of $SEQN_PLAY_INVENTORY");
        format!(
            "all:\n  hosts: {{box: {{ansible_connection: local, seqn_may_break: true, place: {name}}}}}\n  vars:\n    \
             seqn_faults: {{slow: {{strike: '{said} | tee -a DIR/struck', mend: '{said} >>DIR/mended; test $SEQN_PLAY_INVENTORY = {file}'}}}}\n"
        )
    };
    let tasks = "
- name: Write it
  copy: {dest: 'DIR/{{ place }}', content: x}
- name: Write another
  copy: {dest: 'DIR/{{ place }}-too', content: x}
";
    let ran = rehearsal(tasks)
        .file("staging.yml", &inventory("staging.yml", "one"))
        .file("other.yml", &inventory("other.yml", "two"))
        .args(&["--place", "other.yml", "--faults", "slow"])
        .run()
        .success();
    let lines = |file: &str| {
        let text = std::fs::read_to_string(ran.dir.path().join(file)).expect(file);
        let mut lines: Vec<String> = text.lines().map(String::from).collect();
        lines.sort();
        lines
    };
    let struck = lines("struck");
    assert_eq!(struck.len(), 6, "{struck:?}");
    assert_eq!(struck, lines("mended"));
    assert_eq!((struck[0].as_str(), struck[5].as_str()), ("one of staging.yml", "two of other.yml"));
    assert!(!all_below(&folder(&ran).join("output")).contains(" of staging.yml"));
}

#[test]
fn a_fault_that_cannot_strike_is_said_and_mended() {
    let inventory = "
all:
  hosts: {box: {ansible_connection: local, seqn_may_break: true}}
  vars:
    seqn_faults: {cut: {strike: 'echo no scissors >&2; exit 3', mend: touch DIR/mended}}
";
    let tasks = "- name: Write it\n  copy: {dest: DIR/written, content: x}\n";
    let test = rehearsal(tasks).file("staging.yml", inventory);
    let ran = test.args(&["--faults", "cut", "--shard", "1/4"]).run().code(2);
    let ran = ran.says("the fault could not strike: `(echo no scissors").says("exit status: 3: no scissors");
    ran.holds("mended", "").lacks("written");
}

/// Ctrl-C while a fault is there, and once more while it is mended.
#[test]
fn what_was_struck_is_mended_when_somebody_stops_it() {
    let inventory = "
all:
  hosts: {box: {ansible_connection: local, seqn_may_break: true}}
  vars:
    seqn_faults:
      slow:
        strike: touch DIR/struck
        mend: touch DIR/mending; until test -e DIR/go; do sleep 0.05; done; touch DIR/mended
";
    let tasks = "
- name: Write it
  copy: {dest: DIR/written, content: x}
- name: Goes on as long as the fault is there
  wait_for: {path: DIR/struck, state: absent, timeout: 5}
";
    let test = rehearsal(tasks).file("staging.yml", inventory).args(&["--faults", "slow"]);
    let mut command = test.command();
    let rehearsing = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let group = i32::try_from(rehearsing.id()).unwrap();
    for file in ["struck", "mending"] {
        wait_for(&test.path().join(file));
        // SAFETY: the group of a child that nobody has waited for.
        assert_eq!(unsafe { libc::kill(-group, libc::SIGINT) }, 0);
    }
    std::fs::write(test.path().join("go"), "").unwrap();
    let output = rehearsing.wait_with_output().unwrap();
    let ran = test.ran(output).code(2).says("the rehearsal was interrupted").holds("mended", "");
    let ran = ran.says("interrupted FAILED").says("not tried: the rehearsal was interrupted");
    let xml = text(&ran, "rehearsal.xml");
    well_formed(&xml);
    assert!(xml.contains("name=\"interrupted\""), "{xml}");
}

#[track_caller]
fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "{} is not there", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_leak_is_caught() {
    let tasks = "
- name: Nobody knows yet that it is a secret
  debug: {msg: \"{{ lookup('file', 'DIR/pw') }}\"}
- name: Now it is known
  set_fact: {password: \"{{ lookup('password', 'DIR/pw') }}\"}
- name: Use it
  copy: {dest: DIR/used, content: '{{ password }}', mode: '0600'}
";
    let ran = rehearsal(tasks).file("pw", "Pl4ntedPl4ntedPl4nted").args(&NO_FAULTS).run().code(2);
    let ran = ran.says("a secret stands in").says("output/run.jsonl");
    assert_eq!(verdict(&ran, "leaks"), "failed");
    let told =
        ["rehearsal.json", "rehearsal.xml", "rehearsal.html", "rehearsal.txt"].map(|file| text(&ran, file));
    assert!(!told.concat().contains("Pl4nted"), "the result shows it");
    ran.never_says("Pl4nted");
}

/// What services wrote of the runs is searched before somebody restores the place.
#[test]
fn what_a_host_keeps_of_a_run_is_searched() {
    let inventory = |search: &str| {
        format!(
            "all:\n  hosts: {{box: {{ansible_connection: local, seqn_may_break: true}}}}\n  vars:\n    \
             seqn_leak_search: ['{search}']\n"
        )
    };
    let tasks = "
- name: Now it is known
  set_fact: {password: \"{{ lookup('password', 'DIR/pw') }}\"}
- name: Use it
  copy: {dest: DIR/used, content: '{{ password }}', mode: '0600'}
- name: The service is told
  shell: cat DIR/pw >>DIR/log; touch DIR/sent
  args: {creates: DIR/sent}
";
    let with = |search: &str| {
        let test =
            rehearsal(tasks).file("pw", "Pl4ntedPl4ntedPl4nted").file("staging.yml", &inventory(search));
        let restore = ["--restore", "rm -f DIR/log DIR/sent DIR/used"];
        test.args(&["--only", "leaks"]).args(&restore).run().never_says("Pl4nted").lacks("log")
    };
    let ran = with("cat DIR/log || :").code(2);
    let ran = ran.says("a secret stands in the output of `cat DIR/log || :` on box after the runs, line 1");
    ran.never_says("on box at the end");
    with("true").success();
    with("echo away >&2; exit 3").code(2).says("on box at the end can't be searched: status 3: away");
}

/// A public key stands in `.env` beside secrets, goes into a file of several lines, and is shown.
#[test]
fn a_public_key_is_no_leak() {
    let key = age::x25519::Identity::generate().to_public().to_string();
    let tasks = "
- name: Read it from .env
  seqn.play.dotenv_info: {path: DIR/.env, keys: [RECIPIENT]}
  register: env
- name: Keep it
  copy:
    dest: DIR/record.json
    content: \"{{ {'recipients': [env.variables.RECIPIENT]} | to_nice_json }}\"
- name: Show it
  debug: {msg: {recipients: [KEY]}}
";
    let test = rehearsal(&tasks.replace("KEY", &key)).file(".env", &format!("RECIPIENT={key}\n"));
    let ran = test.args(&NO_FAULTS).run().success();
    assert!(all_below(&folder(&ran).join("output")).contains(&format!("[\"{key}\"]")));
}

#[test]
fn no_secret_is_in_the_result_however_it_is_written() {
    let secret = "p<w>&\"quoted'secret";
    let tasks = "
- name: Use {{ password }}
  copy: {dest: DIR/used, content: '{{ password }}', mode: '0600'}
- name: Show it
  debug: {var: password}
- name: Fail with it
  fail: {msg: 'no way with {{ password }}'}
  when: not ansible_check_mode
";
    let test = rehearsal(tasks).file("pw", secret).args(&["--secret-file", "password=DIR/pw"]);
    std::fs::set_permissions(test.path().join("pw"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let ran = test.args(&NO_FAULTS).run();
    let ran = ran.code(2).says("[box] Fail with it: ********").never_says("quoted");
    for file in ["rehearsal.json", "rehearsal.xml", "rehearsal.html", "rehearsal.txt"] {
        let text = text(&ran, file);
        assert!(text.contains("Fail with it: ********"), "{file}: {text}");
        assert!(!text.contains("quoted"), "{file} shows the secret: {text}");
    }
    well_formed(&text(&ran, "rehearsal.xml"));
    assert_eq!(verdict(&ran, "leaks"), "passed");
}

#[test]
fn an_outage_is_seen_and_measured() {
    let tasks = "
- name: Stop it
  file: {path: DIR/up, state: absent}
- name: While it is away
  wait_for: {timeout: 1}
- name: Start it
  copy: {dest: DIR/up, content: x}
";
    let with = |most: f64| {
        let test = rehearsal(tasks).file("up", "x");
        let port = service(test.path().join("up"));
        let inventory = format!(
            "all:\n  hosts: {{box: {{ansible_connection: local, seqn_may_break: true}}}}\n  vars:\n    \
             seqn_probe_endpoints:\n      - {{name: here, url: 'http://127.0.0.1:{port}/', max_outage: {most}}}\n      \
             - {{name: from the host, url: 'http://127.0.0.1:{port}/', from: box}}\n"
        );
        test.file("staging.yml", &inventory).args(&["--only", "outage"]).run()
    };
    let ran = with(0.5).code(2).says("here was away for");
    assert_eq!(verdict(&ran, "outage"), "failed");
    let told = result(&ran);
    for endpoint in told["phases"][0]["endpoints"].as_array().expect("endpoints") {
        let outages = endpoint["outages"].as_array().expect("outages");
        assert_eq!(outages.len(), 1, "{endpoint:#}");
        let away = outages[0]["to"].as_f64().unwrap() - outages[0]["from"].as_f64().unwrap();
        assert!(away >= 1.0, "{endpoint:#}");
        assert_eq!(outages[0]["why"], "status 503");
    }
    assert!(text(&ran, "rehearsal.html").contains("status 503"));
    let ran = with(600.0).success();
    assert_eq!(verdict(&ran, "outage"), "passed");
}

#[test]
fn a_service_that_is_not_well_after_the_run_is_caught() {
    let test = rehearsal("- name: Break it\n  file: {path: DIR/up, state: absent}\n").file("up", "x");
    let port = service(test.path().join("up"));
    let inventory = format!(
        "all:\n  hosts: {{box: {{ansible_connection: local, seqn_may_break: true}}}}\n  vars:\n    \
         seqn_probe_endpoints: [{{name: web, url: 'http://127.0.0.1:{port}/'}}]\n"
    );
    let ran = test.file("staging.yml", &inventory).args(&["--only", "run"]).run().code(2);
    let ran = ran.says("web (http://127.0.0.1").says("status 503").holds("up", "x");
    assert_eq!((verdict(&ran, "run"), verdict(&ran, "rollback")), ("failed".into(), "passed".into()));
}

#[test]
fn what_is_not_marked_is_refused() {
    let marked = "all: {hosts: {box: {ansible_connection: local, seqn_may_break: true}, other: {ansible_connection: local}}}\n";
    rehearsal(GOOD)
        .file("staging.yml", marked)
        .run()
        .code(1)
        .stderr(
            "error[rehearse]: the inventory staging is not marked as a place that may break: other
   = help: a rehearsal kills, fills and cuts. Where that does no harm, say so in the inventory (not with -e), for example in its group_vars/all.yml: `seqn_may_break: true`",
        )
        .lacks(".seqn-play")
        .lacks("written");
    // Of every host at once it can't be said, nor can what protects an inventory be taken from it.
    for said in ["seqn_may_break=true", "seqn_protected=false", "seqn_rehearsed_within_days=999"] {
        let name = said.split_once('=').unwrap().0;
        let says = format!("{name} may be said only by the inventory, and not on the command line");
        for command in [&["rehearse", "play.yml"][..], &["play.yml"], &["adhoc", "all", "-m", "ping"]] {
            let test = rehearsal(GOOD).file("staging.yml", marked);
            let ran = test.again(&[command, &["-i", "staging.yml", "-e", said]].concat(), &[]);
            assert!(!ran.status.success() && support::told(&ran).contains(&says), "{command:?} {said}");
        }
    }
    let protected =
        "all: {hosts: {box: {ansible_connection: local, seqn_may_break: true, seqn_protected: true}}}\n";
    rehearsal(GOOD).file("staging.yml", protected).run().code(1).says("is protected").lacks(".seqn-play");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (args, says) in [
        (vec!["--check"], "--check makes no sense in a rehearsal"),
        (vec!["--step"], "--step makes no sense"),
        (vec!["--jobs", "2"], "--jobs 2 needs 2 places"),
        (vec!["--only", "nope"], "there is no stage"),
        (vec!["--faults", "nope"], "there is no fault"),
        (vec!["--shard", "3/2"], "is not I/N"),
        (vec!["--only", "finish"], "--only finish needs to know how"),
        (vec!["--finish", ""], "has no flags"),
        (vec!["--finish", "--tags 'finish"], "has a quote that isn't closed"),
        (vec!["--finish", "--tags finish --check"], "has --check, which makes no sense in a rehearsal"),
        (vec!["--finish", "--tags finish -i other"], "has a flag that the rehearsal gives itself"),
        (vec!["--finish", "other.yml"], "names another playbook"),
        (vec!["--finish", "--nope"], "unexpected argument '--nope'"),
    ] {
        rehearsal(GOOD).args(&args).run().code(1).says(says).lacks("written");
    }
    let wrong = |vars: &str, says: &str| {
        let inventory =
            format!("all: {{hosts: {{box: {{ansible_connection: local, seqn_may_break: true, {vars}}}}}}}\n");
        rehearsal(GOOD).file("staging.yml", &inventory).run().code(1).says(says).lacks("written");
    };
    wrong("seqn_probe_endpoints: 1", "seqn_probe_endpoints can't be used: it isn't a list");
    wrong("seqn_probe_endpoints: [{name: x, url: 'ftp://x'}]", "must begin with http://");
    wrong("seqn_probe_endpoints: [{name: x, url: 'http://x', from: nowhere}]", "there is no host nowhere");
    wrong("seqn_faults: {nope: {strike: x, mend: y}}", "there is no fault");
    let two =
        "all: {hosts: {a: {seqn_restore: one}, b: {seqn_restore: two}}, vars: {seqn_may_break: true}}\n";
    let ran = rehearsal(GOOD).file("staging.yml", two).run().code(1);
    ran.says("the variable seqn_restore can't be used: hosts have different ones").lacks("written");
}

/// Two places share the cases.
#[test]
fn places_share_the_cases() {
    let inventory = |name: &str| {
        format!(
            "all: {{hosts: {{box: {{ansible_connection: local, seqn_may_break: true, place: DIR/{name}}}}}}}\n"
        )
    };
    let tasks = "- name: Write it\n  copy: {dest: '{{ place }}-written', content: x}\n";
    let ran = rehearsal(tasks)
        .file("staging.yml", &inventory("a"))
        .file("other.yml", &inventory("b"))
        .args(&["--place", "other.yml", "--faults", "kill"])
        .run()
        .success();
    assert_eq!(result(&ran)["cases"].as_array().unwrap().len(), 8);
    let runs =
        |n: usize| std::fs::read_dir(folder(&ran).join(format!("runs-{n}"))).map_or(0, Iterator::count);
    assert!(runs(1) > 2 && runs(2) > 0, "{} and {}", runs(1), runs(2));
}

/// Only as many as are wanted; the other ones are not touched.
#[test]
fn fewer_jobs_than_places() {
    let ran = rehearsal("- name: Write it\n  copy: {dest: '{{ place }}-written', content: x}\n")
        .file(
            "staging.yml",
            "all: {hosts: {box: {ansible_connection: local, seqn_may_break: true, place: DIR/a}}}\n",
        )
        .file("other.yml", "all: {hosts: {box: {ansible_host: nowhere.invalid, seqn_may_break: true}}}\n")
        .args(&["--place", "other.yml", "--jobs", "1", "--faults", "slow"])
        .run()
        .success();
    assert_eq!(result(&ran)["cases"].as_array().unwrap().len(), 4);
    assert!(!folder(&ran).join("runs-2").exists());
}

/// Two workers on one place would break each other's cases.
#[test]
fn a_place_is_given_once() {
    let vps = "all: {hosts: {box: {ansible_host: 192.0.2.1, ansible_user: me, seqn_may_break: true}}}\n";
    let test = || rehearsal(GOOD).file("there.yml", vps).file("same.yml", vps);
    for place in ["staging.yml", "./staging.yml"] {
        let ran = test().args(&["--place", place]).run().code(1);
        ran.says(&format!("{place} is given twice")).lacks("written").lacks(".seqn-play");
    }
    let ran = test().args(&["--place", "there.yml", "--place", "same.yml"]).run().code(1);
    ran.says("there.yml and same.yml are the same place: both reach me@192.0.2.1").lacks("written");
}

/// Each place is judged by its own endpoints.
#[test]
fn a_place_that_is_not_well_is_not_judged_by_another() {
    let test =
        rehearsal("- name: Write it\n  copy: {dest: '{{ place }}-written', content: x}\n").file("a-up", "x");
    let inventory = |name: &str| {
        let port = service(test.path().join(format!("{name}-up")));
        format!(
            "all: {{hosts: {{box: {{ansible_connection: local, seqn_may_break: true, place: DIR/{name}, \
             seqn_probe_endpoints: [{{name: web of {name}, url: 'http://127.0.0.1:{port}/'}}]}}}}}}\n"
        )
    };
    let (a, b) = (inventory("a"), inventory("b"));
    let ran = test
        .file("staging.yml", &a)
        .file("other.yml", &b)
        .args(&["--place", "other.yml", "--faults", "slow"])
        .run()
        .code(2)
        .says("web of b (http://127.0.0.1")
        .never_says("web of a (http://127.0.0.1");
    assert_eq!((verdict(&ran, "run"), verdict(&ran, "faults")), ("passed".into(), "failed".into()));
}

/// A protected inventory that demands a rehearsal.
#[test]
fn a_run_can_need_a_rehearsal() {
    let prod = "all: {hosts: {box: {ansible_connection: local, seqn_protected: true, seqn_rehearsed_within_days: 14}}}\n";
    let test = rehearsal("- name: Write it\n  copy: {dest: '{{ to }}', content: x}\n")
        .file("prod.yml", prod)
        .file("roles/more/tasks/main.yml", "- ping:\n");
    let run = |playbook: &str| run_on_prod(&test, playbook);
    let rehearse = |more: &[&str]| {
        let at = format!("to={}", test.path().join("written").display());
        let args = [&["rehearse", "play.yml", "-i", "staging.yml", "-e", &at], more].concat();
        let ran = test.again(&args, &[]);
        assert!(ran.status.success(), "{}", support::told(&ran));
    };
    let demand = "play.yml must have passed a rehearsal within 14 days";
    let first = run("play.yml");
    assert!(first.contains(demand) && first.contains("and there is none"), "{first}");
    assert!(first.contains("seqn-play rehearse play.yml -i INVENTORY"), "{first}");
    for part in [&["--only", "lint"][..], &["--faults", "slow"], &["--shard", "1/9"]] {
        rehearse(part);
        let refused = run("play.yml");
        assert!(refused.contains("none of its rehearsals passed as a whole"), "{part:?}: {refused}");
    }
    rehearse(&["--quick"]);
    let allowed = run("play.yml");
    assert!(!allowed.contains(demand) && allowed.contains("/nonexistent"), "{allowed}");
    // Check mode needs none.
    let check =
        support::told(&test.again(&["play.yml", "-i", "prod.yml", "-e", "to=/tmp/x", "--check"], &[]));
    assert!(!check.contains(demand), "{check}");
    age(test.path(), 15);
    let old = run("play.yml");
    assert!(old.contains("the last one that passed is 15.0 days old"), "{old}");
    age(test.path(), 0);
    let play = std::fs::read_to_string(test.path().join("play.yml")).unwrap();
    std::fs::write(test.path().join("play.yml"), format!("{play}    - include_role: {{name: more}}\n"))
        .unwrap();
    assert!(run("play.yml").contains("the playbook or one of its roles was changed"));
    rehearse(&["--quick"]);
    assert!(!run("play.yml").contains(demand));
    // Without a Step there is no case.
    std::fs::write(
        test.path().join("looks.yml"),
        "- hosts: all\n  gather_facts: false\n  tasks: [{ping: }]\n",
    )
    .unwrap();
    assert!(run("looks.yml").contains(&demand.replace("play.yml", "looks.yml")));
    let look = |more: &[&str]| {
        let looked = test.again(&[&["rehearse", "looks.yml", "-i", "staging.yml"], more].concat(), &[]);
        assert!(looked.status.success(), "{}", support::told(&looked));
    };
    look(&["--skip-tags", "later"]);
    let other = run("looks.yml");
    assert!(other.contains("the last one that passed had other --tags, --skip-tags or --limit"), "{other}");
    look(&[]);
    assert!(!run("looks.yml").contains(&demand.replace("play.yml", "looks.yml")));
    // A role that it includes counts, whole.
    std::fs::write(test.path().join("roles/more/notes.txt"), "changed").unwrap();
    assert!(run("play.yml").contains("the playbook or one of its roles was changed"));
}

fn run_on_prod(test: &Test, playbook: &str) -> String {
    let args = [playbook, "-i", "prod.yml", "-e", "to=/nonexistent/x", "--reason", "r", "--yes", "prod"];
    support::told(&test.again(&args, &[]))
}

/// As if every rehearsal had been so many days ago.
fn age(project: &Path, days: i64) {
    for entry in std::fs::read_dir(project.join(".seqn-play/rehearsals")).unwrap().flatten() {
        let path = entry.path().join("rehearsal.json");
        let mut told: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        told["begun"] = (chrono::Local::now() - chrono::Duration::days(days)).to_rfc3339().into();
        std::fs::write(&path, told.to_string()).unwrap();
    }
}

/// Answers 200 while the file is there, else 503; until the test ends.
fn service(up: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A request is read to its end, or closing the connection would reset it.
            let mut reader = std::io::BufReader::new(&stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let status = if up.exists() { "200 OK" } else { "503 Service Unavailable" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
        }
    });
    port
}

fn all_below(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| std::fs::read_to_string(entry.path()).unwrap_or_default()).collect()
}

/// Tags are closed in the order in which they were opened, and `&` begins an entity.
#[track_caller]
fn well_formed(xml: &str) {
    let mut open = Vec::new();
    let body = xml.split_once("?>").expect("a declaration").1;
    for (index, part) in body.split('<').enumerate() {
        let text = if index == 0 { part } else { part.split_once('>').expect("a tag's end").1 };
        let entity = |rest: &str| ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|e| rest.starts_with(e));
        assert!(part.split('&').skip(1).all(entity), "a bare & in {part}");
        assert!(!text.contains('>') || !text.contains('<'), "{text}");
        if index == 0 {
            continue;
        }
        let tag = part.split_once('>').expect("a tag's end").0;
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "closes what isn't open"),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split_whitespace().next().expect("a name")),
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
}
