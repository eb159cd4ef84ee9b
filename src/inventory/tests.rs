use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::source::{Diagnostics, Severity};

fn sealed(_: &str) -> Result<String, String> {
    Err("no key".into())
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

fn load_in(dir: &Path, sources: &[&str]) -> (Inventory, Diagnostics) {
    let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
    let mut options = LoadOptions::new(dir, &sealed);
    options.script_timeout = Duration::from_secs(20);
    Inventory::load(&sources, &options)
}

fn load(files: &[(&str, &str)], sources: &[&str]) -> (Inventory, Diagnostics) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), files);
    load_in(dir.path(), sources)
}

fn good(files: &[(&str, &str)], sources: &[&str]) -> Inventory {
    let (inventory, problems) = load(files, sources);
    assert!(problems.0.is_empty(), "{problems:?}");
    inventory
}

/// The messages with line and column.
fn said(problems: &Diagnostics) -> Vec<String> {
    let place =
        |d: &Diagnostic| d.span.as_ref().map(|s| format!("{}:{} ", s.line, s.column)).unwrap_or_default();
    problems.0.iter().map(|d| format!("{}{}", place(d), d.message)).collect()
}

fn var(inventory: &Inventory, host: &str, name: &str) -> Option<Val> {
    inventory.host(host).unwrap().vars.get(name).cloned()
}

fn names<S: AsRef<str>>(names: &[S]) -> Vec<&str> {
    names.iter().map(AsRef::as_ref).collect()
}

const INI: &str = r#"
lonely ansible_host=192.0.2.9   # a comment
; another
[web]
www[01:03:2].example.com:2222 http_port=80 on=True off=false tags_="['a', 'b']" note="it's # here"
10.0.0.5 text="'42'"

[db]
db-[a:b] x=1,2

[prod:children]
web
db

[prod:vars]
ansible_group_priority = 5
zone = eu # not a comment here, as the value is no literal
count = 3
flag=TRUE
"#;

#[test]
fn ini_is_read_as_ansibles_plugin_reads_it() {
    let inventory = good(&[("hosts", INI)], &["hosts"]);
    let www = "www03.example.com";
    for (host, name, want) in [
        ("lonely", "ansible_host", Some(Val::from("192.0.2.9"))),
        (www, "ansible_port", Some(Val::from(2222))),
        (www, "http_port", Some(Val::from(80))),
        (www, "on", Some(Val::from(true))),
        (www, "off", Some(Val::from("false"))),
        (www, "tags_", Some(Val::from(vec!["a", "b"]))),
        (www, "note", Some(Val::from("it's # here"))),
        ("10.0.0.5", "text", Some(Val::from("42"))),
        ("10.0.0.5", "ansible_port", None),
        ("db-b", "x", Some(Val::from(vec![1, 2]))),
    ] {
        assert_eq!(var(&inventory, host, name), want, "{host} {name}");
    }
    let prod = inventory.group("prod").unwrap();
    assert_eq!((prod.priority, prod.depth), (5, 1));
    assert_eq!(prod.vars.get("zone").unwrap().as_str().unwrap().split(' ').next(), Some("eu"));
    assert_eq!(prod.vars.get("count"), Some(&Val::from(3)));
    assert_eq!(prod.vars.get("flag"), Some(&Val::from("TRUE")));
    assert!(prod.vars.get("ansible_group_priority").is_none());
    assert_eq!(names(&inventory.hosts_of("prod")), ["www01.example.com", www, "10.0.0.5", "db-a", "db-b"]);
    assert_eq!(names(&inventory.hosts_of("ungrouped")), ["lonely"]);
    let groups: Vec<_> =
        inventory.groups_of(inventory.host("db-a").unwrap()).iter().map(|g| &*g.name).collect();
    assert_eq!(groups, ["prod", "db"]);
    assert_eq!(inventory.host(www).unwrap().short_name(), "www03");
    assert_eq!(inventory.host("10.0.0.5").unwrap().short_name(), "10.0.0.5");
    // A value is a template with its place.
    let Some(Val::Text(text)) = var(&inventory, www, "note") else { panic!() };
    assert_eq!(text.origin().map(|s| (s.line, s.column > 1)), Some((5, true)));
}

#[test]
fn every_mistake_of_an_ini_file_is_found() {
    let text = "[web:things]\nskipped\n[a b]\n[web]\nw1 novalue\nw2 x='open\nw[1:2\nw3:\n\
                [ghost:vars]\na=1\nnothing\n[top:children]\nweb\nmissing\n two words\n[web:children]\ntop\nweb\n";
    let (inventory, problems) = load(&[("hosts", text)], &["hosts"]);
    let said = said(&problems);
    let wanted = [
        "1:1 Section [web:things] has unknown type: things",
        "3:1 Invalid section entry: '[a b]'",
        "5:4 Expected key=value host variable assignment, got: novalue",
        "6:1 Error parsing host definition 'w2 x='open': No closing quotation",
        "7:1 host range in 'w[1:2' has no closing ]",
        "8:1 Invalid host pattern 'w3:' supplied",
        "11:1 Expected key=value, got: nothing",
        "15:2 Expected group name, got: two words",
        "17:1 Adding group 'top' as child to 'web' creates a recursive dependency loop.",
        "18:1 can't add group web to itself",
        "9:1 Section [ghost:vars] not valid for undefined group: ghost",
        "14:1 Section [top:children] includes undefined group: missing",
    ];
    assert_eq!(said.len(), wanted.len(), "{said:#?}");
    for (said, wanted) in said.iter().zip(wanted) {
        assert!(said.starts_with(wanted), "{said} != {wanted}");
    }
    assert!(inventory.host("w1").is_some() && inventory.host("skipped").is_none());
}

#[test]
fn odd_names_are_warned_of() {
    let (_, problems) = load(&[("hosts", "[my-group]\nmy-group 1x=2 port=3\n")], &["hosts"]);
    assert!(!problems.has_errors());
    let said = said(&problems);
    let wanted = [
        "1:2 invalid character(s) \"-\" in group name (my-group)",
        "2:10 no template can use a variable named '1x'",
        "2:15 Found variable using reserved name 'port'.",
        "Found both group and host with same name: my-group",
    ];
    for (said, wanted) in said.iter().zip(wanted) {
        assert!(said.starts_with(wanted), "{said} != {wanted}");
    }
    assert_eq!(said.len(), wanted.len());
}

const YAML: &str = "
all:
  hosts:
    lonely:
  vars:
    ntp: pool
  children:
    web:
      hosts:
        web[1:2]:2200:
          weight: 5
      vars: {tier: front}
    db:
      hosts: one-db
      children:
        replicas:
          hosts:
            db-r1:
    empty:
";

#[test]
fn yaml_is_read() {
    let inventory = good(&[("prod.yml", YAML)], &["prod.yml"]);
    assert_eq!(var(&inventory, "web2", "weight"), Some(Val::from(5)));
    assert_eq!(var(&inventory, "web2", "ansible_port"), Some(Val::from(2200)));
    assert_eq!(inventory.group("web").unwrap().vars.get("tier"), Some(&Val::from("front")));
    assert_eq!(names(&inventory.hosts_of("db")), ["one-db", "db-r1"]);
    assert_eq!(inventory.group("replicas").unwrap().depth, 2);
    assert_eq!(inventory.group("empty").unwrap().hosts.len(), 0);
    assert_eq!(names(&inventory.hosts_of("ungrouped")), ["lonely"]);
}

#[test]
fn every_mistake_of_a_yaml_file_is_found() {
    let text = "
web:
  hosts: [a, b]
  vars: {1: x}
  kids: {}
5: {}
db:
  hosts:
    10: {}
    'db[1]': {}
    one: two
  children: {db: {}}
";
    let (_, problems) = load(&[("i.yml", text)], &["i.yml"]);
    let all = said(&problems).join("\n");
    for wanted in [
        "Invalid \"hosts\" entry for \"web\" group, requires a dictionary, found a list instead.",
        "a variable name must be a string, not an integer",
        "Skipping unexpected key (kids) in group (web), only \"vars\", \"children\" and \"hosts\" are valid",
        "a group name must be a string, not an integer",
        "a host name must be a string, not an integer",
        "host range must be begin:end",
        "the variables of host \"one\" must be a dictionary, found a string",
        "can't add group db to itself",
    ] {
        assert!(all.contains(wanted), "{wanted} not in {all}");
    }
    let (_, problems) = load(&[("p.yml", "plugin: aws_ec2\n"), ("l.json", "[1]")], &["p.yml", "l.json"]);
    let all = said(&problems).join("\n");
    assert!(all.contains("inventory plugins are not supported") && all.contains("it should be a dictionary"));
}

#[test]
fn a_script_answers_with_its_hosts() {
    let script = r#"#!/bin/sh
cat <<'J'
{"_meta": {"hostvars": {"s1": {"a": "{{ b }}", "raw": {"__ansible_unsafe": "{{ b }}"}}}},
 "all": {"children": ["web", "ungrouped"]}, "web": {"hosts": ["s1", "s2"], "vars": {"v": [1]}},
 "short": ["s2"], "old": {"x": 1}}
J
"#;
    let (inventory, problems) = load(&[("dyn", script)], &["dyn"]);
    assert_eq!(said(&problems), ["Found both group and host with same name: old"]);
    assert_eq!(names(&inventory.hosts_of("all")), ["s1", "s2", "old"]);
    assert_eq!(names(&inventory.hosts_of("short")), ["s2"]);
    assert_eq!(inventory.group("old").unwrap().vars.get("x"), Some(&Val::from(1)));
    assert_eq!(inventory.group("web").unwrap().vars.get("v"), Some(&Val::from(vec![1])));
    let is_template = |name| match var(&inventory, "s1", name) {
        Some(Val::Text(t)) => t.is_template(),
        other => panic!("{other:?}"),
    };
    assert!(is_template("a") && !is_template("raw"));
}

#[test]
fn a_script_without_meta_is_asked_for_each_host() {
    let script = "#!/bin/sh\nif [ \"$1\" = --host ]; then [ $2 = s1 ] && echo '{\"me\": \"'$2'\"}'; exit 0; fi\n\
                  echo '{\"g\": {\"hosts\": [\"s1\", \"s2\"]}}'\n";
    let inventory = good(&[("dyn", script)], &["dyn"]);
    assert_eq!(var(&inventory, "s1", "me"), Some(Val::from("s1")));
    assert_eq!(var(&inventory, "s2", "me"), None);
}

#[test]
fn a_bad_script_is_a_clear_error() {
    for (body, wanted, help) in [
        ("echo oops >&2; exit 3", "returned non-zero exit code 3", Some("oops")),
        ("echo '{\"a\":'; echo ' x}'", "2:2 Inventory script result could not be parsed as JSON", None),
        ("echo '[1]'", "Value is 'list' instead of 'dict'.", None),
        ("echo '{\"_meta\": {}}'", "'_meta.hostvars' which is 'NoneType' instead of 'dict'", None),
        ("echo '{\"g\": {\"hosts\": \"a\"}}'", "'g.hosts' which is 'str' instead of 'list'", None),
        ("printf '\\377'", "cannot be interpreted as UTF-8", None),
        ("kill -9 $$", "was ended by a signal", None),
    ] {
        let (_, problems) = load(&[("dyn", &format!("#!/bin/sh\n{body}\n"))], &["dyn"]);
        let all = said(&problems).join("\n");
        assert!(problems.has_errors() && all.contains(wanted), "{body}: {all}");
        if let Some(help) = help {
            assert!(problems.0[0].help.as_deref().is_some_and(|h| h.contains(help)), "{problems:?}");
        }
    }
    let (_, problems) = load(&[("dyn", "#!/no/such/interpreter\n")], &["dyn"]);
    assert!(said(&problems)[0].contains("cannot be started"), "{problems:?}");
}

#[test]
fn a_script_that_hangs_is_ended_with_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("dyn", "#!/bin/sh\nsleep 300 & echo $! > \"$0.pid\"\nwait\n")]);
    let mut options = LoadOptions::new(dir.path(), &sealed);
    options.script_timeout = Duration::from_millis(400);
    let started = Instant::now();
    let (_, problems) = Inventory::load(&["dyn".into()], &options);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(said(&problems)[0].contains("gave no answer within 0.4 s"), "{problems:?}");
    let pid = fs::read_to_string(dir.path().join("dyn.pid")).unwrap();
    let ended = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z")
    };
    // The kernel takes a moment to deliver the signal.
    assert!((0..200).any(|_| ended() || {
        std::thread::sleep(Duration::from_millis(10));
        false
    }));
}

#[test]
fn sources_are_folders_lists_and_bare_names() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("inventory/prod/10-hosts", "[web]\na x=1\n"),
            ("inventory/prod/20-more.ini", "[web]\na x=2\nb\n"),
            ("inventory/prod/sub/deep.yml", "web: {hosts: {c: }}"),
            ("inventory/prod/old.orig", "junk=="),
            ("inventory/prod/notes.md", "[[["),
            ("inventory/prod/hosts~", "[[["),
            ("inventory/prod/.hidden", "[[["),
            ("inventory/prod/group_vars/all", "{{{"),
            ("inventory/staging.yml", "all: {hosts: {s: }}"),
            ("here", "z\n"),
        ],
    );
    for (sources, wanted) in [
        (vec!["prod"], vec!["a", "b", "c"]),
        (vec!["inventory/prod"], vec!["a", "b", "c"]),
        (vec!["staging"], vec!["s"]),
        (vec!["here", "staging"], vec!["z", "s"]),
        (vec!["q, r[1:2] ,t:22,"], vec!["q", "r1", "r2", "t"]),
    ] {
        let (inventory, problems) = load_in(dir.path(), &sources);
        assert!(problems.0.is_empty(), "{problems:?}");
        assert_eq!(inventory.hosts().map(|h| &*h.name).collect::<Vec<_>>(), wanted, "{sources:?}");
    }
    let (inventory, _) = load_in(dir.path(), &["prod"]);
    assert_eq!(var(&inventory, "a", "x"), Some(Val::from(2)));
    assert!(inventory.host("a").unwrap().source.as_ref().unwrap().ends_with("prod/10-hosts"));
    let (_, problems) = load_in(dir.path(), &["stagin", "/no/where"]);
    assert_eq!(said(&problems), ["there is no inventory 'stagin'", "there is no inventory '/no/where'"]);
    assert_eq!(problems.0[0].help.as_deref(), Some("did you mean '-i staging'?"));
}

#[test]
fn an_encrypted_value_matters_only_to_its_host_and_an_encrypted_file_is_all_secret() {
    let (inventory, problems) = load(&[("i.yml", "g: {hosts: {a: {p: !vault x}, b: }}")], &["i.yml"]);
    assert!(problems.0.is_empty());
    assert_eq!(inventory.sealed().len(), 1);
    assert_eq!(inventory.sealed()[0].owner, Entity::Host("a".into()));

    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("i", "$ANSIBLE_VAULT;1.1;AES256\n61\n")]);
    let open = |_: &str| Ok("h p=s3cret\n".to_string());
    let (inventory, problems) = Inventory::load(&["i".into()], &LoadOptions::new(dir.path(), &open));
    assert!(problems.0.is_empty());
    assert!(var(&inventory, "h", "p").unwrap().has_secret());
    let (_, problems) = load_in(dir.path(), &["i"]);
    assert_eq!(problems.0[0].code, "vault");
}

#[test]
fn localhost_is_there_when_asked_for() {
    let inventory = good(&[("i", "web1\n")], &["i"]);
    let local = inventory.host("127.0.0.1").unwrap();
    assert!(local.implicit);
    assert_eq!(local.vars.get("ansible_connection"), Some(&Val::from("local")));
    assert_eq!(names(&inventory.hosts_of("all")), ["web1"]);
    assert!(inventory.host("web2").is_none());
    // One that a source names is meant by all of its names.
    let inventory = good(&[("i", "127.0.0.1 x=1\n")], &["i"]);
    assert_eq!(&*inventory.host("localhost").unwrap().name, "127.0.0.1");
    let inventory = good(&[("i", "a ansible_host=192.0.2.7\n")], &["i"]);
    assert_eq!(inventory.host_by_address("192.0.2.7").map(|h| &*h.name), Some("a"));
}

#[test]
fn patterns_pick_what_ansibles_pick() {
    let text = "[web]\nweb[1:4]\n[db]\ndb1\ndb2\n[prod]\nweb1\nweb2\ndb1\n[all_web:children]\nweb\n";
    let inventory = good(&[("i", text), ("retry", "web1\n\n db2\n")], &["i"]);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("retry", "web1\n\n db2\n")]);
    for (pattern, limit, wanted) in [
        ("all", None, "db1 db2 web1 web2 web3 web4"),
        ("*", None, "db1 db2 web1 web2 web3 web4"),
        ("web", None, "web1 web2 web3 web4"),
        ("all_web", None, "web1 web2 web3 web4"),
        ("web:db", None, "web1 web2 web3 web4 db1 db2"),
        ("web,db1", None, "web1 web2 web3 web4 db1"),
        ("web:&prod", None, "web1 web2"),
        ("web:!prod", None, "web3 web4"),
        ("web:&prod:!web1", None, "web2"),
        ("!web", None, "db1 db2"),
        ("&prod", None, "db1 web1 web2"),
        ("*1", None, "web1 db1"),
        ("web[0]", None, "web1"),
        ("web[-1]", None, "web4"),
        ("web[1:2]", None, "web2 web3"),
        ("web[2:]", None, "web3 web4"),
        ("web[0:0]", None, "web1"),
        ("web[1:99]", None, "web2 web3 web4"),
        ("~(web|db)2", None, "web2 db2"),
        ("~eb", None, ""),
        ("web[!1]", None, "web2 web3 web4"),
        ("web?", None, "web1 web2 web3 web4"),
        ("db2,web1,db1", None, "db2 web1 db1"),
        ("localhost", None, "localhost"),
        ("nothing", None, ""),
        ("all", Some("db"), "db1 db2"),
        ("web", Some("*1,*2"), "web1 web2"),
        ("all", Some("@retry"), "db2 web1"),
        ("all", Some("web:!web1"), "web2 web3 web4"),
    ] {
        let limit = limit.map(|l| Limit::parse(l, dir.path()).unwrap());
        let picked = inventory.select(&[pattern.to_string()], limit.as_ref()).unwrap();
        assert_eq!(names(&picked.hosts).join(" "), wanted, "{pattern}");
    }
    let picked = inventory.select(&["nothing".into(), "web1".into()], None).unwrap();
    assert_eq!(picked.warnings, ["Could not match supplied host pattern, ignoring: nothing"]);
    for (pattern, wanted) in [
        ("web[9]", "No hosts matched the subscripted pattern 'web[9]'"),
        ("~(", "Invalid host list pattern: ~("),
    ] {
        assert_eq!(inventory.select(&[pattern.into()], None).unwrap_err().0, wanted);
    }
    let none = Limit::parse("nothing", dir.path()).unwrap();
    assert!(inventory.check_limit(&none).unwrap_err().0.contains("leaves us with no hosts to target"));
    assert!(
        Limit::parse("@gone", dir.path()).unwrap_err().message.contains("Unable to find limit file gone")
    );
}

#[test]
fn orders() {
    let hosts: Vec<HostName> = ["b", "c", "a"].map(HostName::from).to_vec();
    for (order, wanted) in
        [("inventory", "bca"), ("reverse_inventory", "acb"), ("sorted", "abc"), ("reverse_sorted", "cba")]
    {
        let mut hosts = hosts.clone();
        order.parse::<Order>().unwrap().apply(&mut hosts);
        assert_eq!(names(&hosts).concat(), wanted);
    }
    let mut many: Vec<HostName> = (0..100).map(|n| n.to_string().into()).collect();
    let before = many.clone();
    Order::Shuffle.apply(&mut many);
    assert_ne!(many, before);
    many.sort_by_key(|h| h.parse::<u32>().unwrap());
    assert_eq!(many, before);
    assert!("random".parse::<Order>().unwrap_err().0.contains("Invalid 'order'"));
}

#[test]
fn hosts_and_groups_can_come_at_run_time() {
    let mut inventory = good(&[("i", "[web]\na\n")], &["i"]);
    let vars = Map::from_iter([(Val::from("x"), Val::from(1))]);
    assert!(inventory.add_host_at_run("n", &vars, &["web".into(), "new".into()]).changed);
    assert!(!inventory.add_host_at_run("n", &vars, &["web".into(), "new".into()]).changed);
    assert_eq!(names(&inventory.hosts_of("web")), ["a", "n"]);
    assert!(inventory.group("new").unwrap().parents.contains("all"));
    assert!(inventory.hosts_of("ungrouped").is_empty());
    assert!(inventory.group_host_at_run("a", "os_debian", &["os".into()]).unwrap().changed);
    assert!(!inventory.group_host_at_run("a", "os_debian", &["os".into()]).unwrap().changed);
    assert_eq!(names(&inventory.hosts_of("os")), ["a"]);
    assert_eq!(inventory.group("os_debian").unwrap().depth, 2);
    assert!(inventory.group_host_at_run("a", "os", &["os_debian".into()]).unwrap_err().contains("recursive"));
    assert!(inventory.group_host_at_run("ghost", "g", &[]).is_err());
    assert!(inventory.group_host_at_run("localhost", "here", &[]).unwrap().changed);
    assert_eq!(names(&inventory.hosts_of("here")), ["localhost"]);
    assert_eq!(names(&inventory.select(&["all".into()], None).unwrap().hosts), ["a", "n"]);
}

#[test]
fn ten_thousand_hosts_are_quick() {
    let inventory =
        good(&[("i", "[web]\nw[1:10000].example.com x=1 y='{{ z }}'\n[top:children]\nweb\n")], &["i"]);
    assert_eq!(inventory.hosts_of("top").len(), 10000);
    assert_eq!(inventory.select(&["web:!w1?.*".into()], None).unwrap().hosts.len(), 9990);
}

#[test]
fn deep_groups_end_in_a_message() {
    let mut text = String::from("[g0]\nh\n");
    for n in 1..3000 {
        text.push_str(&format!("[g{n}:children]\ng{}\n", n - 1));
    }
    let (_, problems) = load(&[("i", &text)], &["i"]);
    assert!(said(&problems)[0].contains("nested"), "{:?}", said(&problems));
    assert!(problems.0.iter().all(|d| d.severity == Severity::Error));
}
