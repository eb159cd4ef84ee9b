//! `--output junit`: what Ansible's `junit` callback writes, on standard output.

mod support;

use support::Test;

/// Times and the folder are what differs from run to run.
fn without_times(xml: &str) -> String {
    let mut out = String::new();
    let mut rest = xml;
    while let Some(at) =
        ["time=\"", "timestamp=\""].iter().filter_map(|key| Some(rest.find(key)? + key.len())).min()
    {
        let end = at + rest[at..].find('"').expect("a quote");
        out += &rest[..at];
        rest = &rest[end..];
    }
    out + rest
}

#[test]
fn a_case_for_each_task_on_each_host() {
    let ran = Test::new()
        .tasks(
            "
- name: Says <hi> & goes
  debug: {msg: hi}
- name: Not now
  debug: {msg: x}
  when: false
- name: May fail
  fail: {msg: never}
  ignore_errors: true
- name: Fails
  fail: {msg: 'a \"reason\"'}
",
        )
        .args(&["play.yml", "--output", "junit"])
        .run()
        .code(2);
    let expected = r#"<?xml version="1.0" encoding="utf-8"?>
<testsuites name="play" tests="4" failures="1" errors="0" skipped="1" time="">
  <testsuite name="play" timestamp="" tests="4" failures="1" errors="0" skipped="1" time="">
    <testcase name="[localhost] localhost: Says &lt;hi&gt; &amp; goes" classname="play.yml:5" time=""><system-out>{&quot;msg&quot;:&quot;hi&quot;,&quot;changed&quot;:false,&quot;failed&quot;:false}</system-out></testcase>
    <testcase name="[localhost] localhost: Not now" classname="play.yml:7" time=""><skipped message="Conditional result was False"/></testcase>
    <testcase name="[localhost] localhost: May fail" classname="play.yml:10" time=""><system-out>{&quot;msg&quot;:&quot;never&quot;,&quot;changed&quot;:false,&quot;failed&quot;:true}</system-out></testcase>
    <testcase name="[localhost] localhost: Fails" classname="play.yml:13" time=""><failure message="a &quot;reason&quot;">{&quot;msg&quot;:&quot;a \&quot;reason\&quot;&quot;,&quot;changed&quot;:false,&quot;failed&quot;:true}</failure></testcase>
  </testsuite>
</testsuites>"#;
    let got = without_times(&ran.stdout);
    assert_eq!(got.trim(), expected, "{got}");
}

#[test]
fn what_is_wrong_before_a_run_is_an_error_on_standard_error() {
    let ran = Test::new().tasks("- nope:").args(&["play.yml", "--output", "junit"]).run().code(1);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    ran.says("error[").says("nope");
}

#[test]
fn a_rollback_has_a_case_for_each_step() {
    let test = Test::new().tasks("- name: Write it\n  copy: {dest: DIR/written, content: x}");
    let ran = test.again(&["play.yml"], &[]);
    assert!(ran.status.success(), "{}", support::told(&ran));
    let back = support::told(&test.again(&["rollback", "last", "--output", "junit"], &[]));
    assert!(back.contains("[localhost] undo: write ") && back.contains("failures=\"0\""), "{back}");
}
