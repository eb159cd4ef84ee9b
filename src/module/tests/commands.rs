use super::bench::Bench;
use crate::source::{Text, Val};

fn v(text: &str) -> Val {
    Val::from(text)
}

#[tokio::test]
async fn command_runs_without_a_shell() {
    let mut b = Bench::new();
    b.environment = vec![("WHO".into(), Text::new("z z"))];
    let ran = b.run("command", &[("_raw_params", v("printf '%s|' a 'b c' $WHO ${WHO}x \\$ *"))]).await;
    assert_eq!(ran.is(true).text("stdout"), "a|b c|z z|z zx|$|*|");
    assert_eq!(ran.get("rc"), Val::Int(0));
    assert_eq!(ran.get("cmd").as_list().map(<[Val]>::len), Some(8));
    assert!(ran.text("delta").starts_with("0:00:0") && ran.text("start") <= ran.text("end"));
    let plain = b.run("command", &[("cmd", v("printf %s $WHO")), ("expand_argument_vars", v("no"))]).await;
    assert_eq!(plain.text("stdout"), "$WHO");
    let argv = Val::from(vec!["printf", "%s", "x y"]);
    assert_eq!(b.run("command", &[("argv", argv.clone())]).await.text("stdout"), "x y");
    let both = b.run("command", &[("argv", argv), ("_raw_params", v("x"))]).await;
    assert_eq!(both.failure(), "only command or argv can be given, not both");
    let none = b.run("command", &[("chdir", v("/"))]).await;
    assert_eq!((none.failure(), none.get("rc")), ("no command given", Val::Int(256)));
    let failed = b.run("command", &[("_raw_params", v("sh -c 'echo out; echo err >&2; exit 3'"))]).await;
    assert_eq!(failed.failure(), "non-zero return code");
    assert_eq!(
        (failed.text("stdout"), failed.text("stderr"), failed.get("rc")),
        ("out".into(), "err".into(), Val::Int(3))
    );
    let missing = b.run("command", &[("_raw_params", v("no-such-program-x"))]).await;
    assert_eq!(
        (missing.failure(), missing.get("rc")),
        ("[Errno 2] No such file or directory: 'no-such-program-x'", Val::Int(2))
    );
    let executable = b.run("command", &[("_raw_params", v("true")), ("executable", v("/bogus"))]).await;
    assert!(executable.warnings[0].contains("no longer supported"));
}

#[tokio::test]
async fn creates_removes_chdir_and_stdin() {
    let b = Bench::new();
    b.write("there.txt", "");
    let dir = b.path("");
    let given =
        |key: &'static str, name: &str| vec![("_raw_params", v("pwd")), ("chdir", v(&dir)), (key, v(name))];
    for (key, name, runs) in [
        ("creates", "there.txt", false),
        ("creates", "there.*", false),
        ("creates", "no*.txt", true),
        ("removes", "there.txt", true),
        ("removes", "nope", false),
    ] {
        let outcome = b.run("command", &given(key, name)).await;
        outcome.is(runs);
        if !runs {
            assert!(outcome.text("msg").starts_with("Did not run command since"), "{:?}", outcome.result);
            assert!(outcome.text("stdout").starts_with("skipped, since"));
        }
    }
    let lost = b.run("command", &[("_raw_params", v("true")), ("chdir", v(&b.path("nope")))]).await;
    assert!(lost.failure().starts_with("Unable to change directory"));
    let fed = b.run("command", &[("_raw_params", v("od -c")), ("stdin", v("x"))]).await;
    assert!(fed.text("stdout").contains("x  \\n"));
    let fed = b
        .run("shell", &[("_raw_params", v("wc -c")), ("stdin", v("x")), ("stdin_add_newline", v("no"))])
        .await;
    assert_eq!(fed.text("stdout").trim(), "1");
}

#[tokio::test]
async fn check_mode_answers_as_ansible() {
    let c = Bench::checking();
    let skipped = c.run("command", &[("_raw_params", v("touch ran"))]).await;
    assert!(skipped.skipped && !skipped.changed);
    assert_eq!(skipped.text("msg"), "Command would have run if not in check mode");
    assert_eq!((skipped.get("rc"), skipped.text("stdout")), (Val::Int(0), "".into()));
    let promised = c.run("shell", &[("_raw_params", v("touch ran")), ("creates", v("/no/such"))]).await;
    assert_eq!(promised.is(true).text("msg"), "Command would have run if not in check mode");
    let done = c.run("shell", &[("_raw_params", v("x")), ("creates", v("/"))]).await;
    assert_eq!(done.is(false).text("msg"), "Would not run command since '/' exists");
    assert!(c.run("raw", &[("_raw_params", v("x"))]).await.skipped);
}

#[tokio::test]
async fn shell_raw_ping_getent() {
    let b = Bench::new();
    let said = b.run("shell", &[("_raw_params", v("printf 'a\\n\\n'; echo b | cat >&2"))]).await;
    assert_eq!((said.is(true).text("stdout"), said.text("stderr")), ("a".into(), "b".into()));
    assert_eq!(said.get("stdout_lines"), Val::from(vec!["a"]));
    let kept = b.run("shell", &[("_raw_params", v("echo a")), ("strip_empty_ends", v("no"))]).await;
    assert_eq!(kept.text("stdout"), "a\n");
    let wrong = b.run("shell", &[("_raw_params", v("x")), ("expand_argument_vars", v("no"))]).await;
    assert!(wrong.failure().contains("expand_argument_vars"), "{:?}", wrong.failed);
    let raw = b.run("raw", &[("_raw_params", v("echo a; exit 4"))]).await;
    assert_eq!(
        (raw.failure(), raw.text("stdout"), raw.get("rc")),
        ("non-zero return code", "a\n".into(), Val::Int(4))
    );
    assert_eq!(b.run("ping", &[]).await.is(false).get("ping"), v("pong"));
    assert_eq!(b.run("ping", &[("data", v("crash"))]).await.failure(), "boom");
    let root = b.run("getent", &[("database", v("passwd")), ("key", v("root"))]).await.get("ansible_facts");
    assert_eq!(root.get("getent_passwd").unwrap().get("root").unwrap().as_list().unwrap()[1], v("0"));
    let missing = b.run("getent", &[("database", v("passwd")), ("key", v("no-such-user"))]).await;
    assert!(missing.failure().starts_with("One or more supplied key"));
}

#[tokio::test]
async fn setup_gathers_facts_in_one_round_trip() {
    let b = Bench::new();
    let facts = b.run("setup", &[]).await;
    assert_eq!(facts.is(false).round_trips, 1);
    let facts = facts.get("ansible_facts");
    assert_eq!(facts.get("ansible_system"), Some(&v("Linux")));
    let few = b.run("setup", &[("gather_subset", v("!all,!min")), ("filter", v("ansible_user_id"))]).await;
    assert!(few.is(false).get("ansible_facts").as_map().unwrap().len() < facts.as_map().unwrap().len());
    assert!(b.run("setup", &[("gather_subset", v("nonsense"))]).await.failure().contains("nonsense"));
}
