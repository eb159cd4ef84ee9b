//! `seqn-play lint` as a pipeline sees it: what it finds, in which format, with which exit code.

mod support;

use support::Test;

/// A literal argument of a wrong type, a misspelt one, one that is no choice, one that excludes
/// another; templates fit anything.
const WRONG: &str = r#"
- hosts: all
  tasks:
    - ansible.builtin.copy: {src: motd, dst: /etc/motd}
    - ansible.builtin.file: {path: /x, state: dir}
    - ansible.builtin.wait_for: {port: eighty, timeout: "{{ t }}"}
    - ansible.builtin.lineinfile: path=/x create=maybe line=a
    - ansible.builtin.copy: {dest: /x, content: a, src: b}
"#;

fn lint(playbook: &str, args: &[&str]) -> support::Ran {
    Test::new().file("playbooks/site.yml", playbook.trim_start()).arg("lint").args(args).run()
}

#[test]
fn wrong_literal_arguments_are_shown_with_their_places() {
    lint(WRONG, &[]).code(2).stderr("").stdout(
        r#"
error[bad-argument]: `ansible.builtin.copy`: missing required argument: dest
  --> playbooks/site.yml:3:7
   |
 3 |     - ansible.builtin.copy: {src: motd, dst: /etc/motd}
   |       ^^^^^^^^^^^^^^^^^^^^

error[bad-argument]: copy has no argument 'dst'; did you mean 'dest'?
  --> playbooks/site.yml:3:41
   |
 3 |     - ansible.builtin.copy: {src: motd, dst: /etc/motd}
   |                                         ^^^

error[bad-argument]: state must be one of: absent, directory, file, hard, link, touch, got: dir
  --> playbooks/site.yml:4:47
   |
 4 |     - ansible.builtin.file: {path: /x, state: dir}
   |                                               ^^^

error[bad-argument]: port must be a whole number, got str: "eighty"
  --> playbooks/site.yml:5:40
   |
 5 |     - ansible.builtin.wait_for: {port: eighty, timeout: "{{ t }}"}
   |                                        ^^^^^^

error[bad-argument]: create must be a boolean, got str: "maybe"
  --> playbooks/site.yml:6:43
   |
 6 |     - ansible.builtin.lineinfile: path=/x create=maybe line=a
   |                                           ^^^^^^

error[bad-argument]: `ansible.builtin.copy`: src and content are mutually exclusive
  --> playbooks/site.yml:7:7
   |
 7 |     - ansible.builtin.copy: {dest: /x, content: a, src: b}
   |       ^^^^^^^^^^^^^^^^^^^^

1 file: 6 errors
"#,
    );
}

const UNSAFE: &str = "
- hosts: all
  vars: {db_password: hunter2-hunter2}
  tasks:
    - ansible.builtin.copy: {dest: /srv/.env, content: ''}
";

#[test]
fn annotations_of_a_workflow() {
    lint(UNSAFE, &["--format", "github"]).code(2).never_says("hunter2").stdout(
        "
::error file=playbooks/site.yml,line=2,col=23,title=literal-secret::the value of `db_password` is written here%0Ahelp: put it into an encrypted file (`seqn-play secret edit FILE`) and use its variable here; if it was real, rotate it
::warning file=playbooks/site.yml,line=4,col=7,title=env-edit-not-dotenv::`ansible.builtin.copy` writes to a .env file%0Ahelp: use `seqn.play.dotenv`, a task for each key
1 file: 1 error, 1 warning
",
    );
}

#[test]
fn json_is_one_object_for_programs() {
    let ran = lint(UNSAFE, &["--format", "json"]).code(2).never_says("hunter2");
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("one object");
    assert_eq!(
        report["summary"],
        serde_json::json!({"files": 1, "sealed": 0, "errors": 1, "warnings": 1, "allowed": 0})
    );
    let kinds: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|f| f["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["policy", "policy"]);
    assert_eq!(report["findings"][1]["line"], 4);
}

#[test]
fn exit_codes_are_for_a_pipeline() {
    let fine = "- hosts: all\n  tasks: [{ansible.builtin.ping: }]\n";
    let warns = "- hosts: all\n  tasks: [{ansible.builtin.copy: {dest: /srv/.env, content: ''}}]\n";
    lint(fine, &[]).code(0).stdout("1 file: nothing found\n");
    lint(fine, &["--quiet"]).code(0).stdout("");
    lint(warns, &[]).code(0).says("1 file: 1 warning");
    lint(warns, &["--strict"]).code(2);
    lint(fine, &["gone.yml"]).code(1).stdout("").says("can't look at gone.yml: it isn't there");
    lint(fine, &["--formt", "json"]).code(1).stdout("").says("unexpected argument '--formt'");
}

#[test]
fn the_project_itself_passes() {
    let root = env!("CARGO_MANIFEST_DIR");
    let paths = ["playbooks", "roles", "inventory"].map(|folder| format!("{root}/{folder}"));
    Test::new().arg("lint").args(&["--strict"]).args(&paths.each_ref().map(String::as_str)).run().code(0);
}
