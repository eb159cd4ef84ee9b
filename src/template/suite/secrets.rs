//! Whatever is rendered from a Secret is Secret, and nothing else is.

use std::path::{Path, PathBuf};

use super::{Vars, cx, render, written};
use crate::source::{Text, Val};
use crate::template::{FileOptions, Hooks, RenderCx, Templar};

fn vars() -> Vars {
    let creds = Val::map(
        [
            (Val::from("user"), Val::from("admin")),
            (Val::from("password"), Val::secret("hunter2")),
            (Val::from("port"), Val::Int(5432)),
        ]
        .into_iter()
        .collect(),
    );
    Vars::yaml(
        r#"
public: open
via: "{{ pw }}"
dsn: "postgres://{{ creds.user }}:{{ creds.password }}@db"
alias: "{{ creds }}"
length: "{{ pw | length }}"
wrapped: {inner: "{{ pw }}", other: plain}
not_really: "{{ pw | length > 3 }}"
"#,
    )
    .with("pw", Val::secret("hunter2"))
    .with("list", Val::list(vec![Val::from("a"), Val::secret("hunter2")]))
    .with("creds", creds)
}

/// Every text of a value that is secret, and every one that isn't.
fn texts(val: &Val) -> (Vec<String>, Vec<String>) {
    fn walk(val: &Val, out: &mut (Vec<String>, Vec<String>)) {
        match val {
            Val::Text(t) if t.is_secret() => out.0.push(t.to_string()),
            Val::Text(t) => out.1.push(t.to_string()),
            Val::List(l) => l.iter().for_each(|v| walk(v, out)),
            Val::Map(m) => m.values().for_each(|v| walk(v, out)),
            _ => {}
        }
    }
    let mut out = (vec![], vec![]);
    walk(val, &mut out);
    out
}

#[test]
fn what_is_made_from_a_secret_is_secret() {
    for template in [
        "{{ pw }}",
        "x{{ pw }}",
        "{{ pw ~ 'x' }}",
        "{{ 'x' + pw }}",
        "{{ pw | upper }}",
        "{{ pw[1:3] }}",
        "{{ pw[0] }}",
        "{{ pw * 2 }}",
        "{{ 'pw=%s' % pw }}",
        "{{ 'pw={}'.format(pw) }}",
        "{{ pw.replace('h', 'x') }}",
        "{{ [pw, 'a'] | join(',') }}",
        "{{ list | join(',') }}",
        "{{ list | last }}",
        "{{ list | reverse | first }}",
        "{{ list | map('upper') | join }}",
        "{{ creds.password | b64encode }}",
        "{{ creds | to_json }}",
        "{{ creds | to_nice_yaml }}",
        "{{ creds.values() | join(',') }}",
        "{{ creds | dict2items | map(attribute='value') | join(',') }}",
        "{{ (creds | combine({'x': 1})).password }}",
        "{{ {'k': pw}.k }}",
        "{{ {pw: 1} | first }}",
        "{{ via }}",
        "{{ via | upper }}",
        "{{ dsn }}",
        "{{ alias.password }}",
        "{{ wrapped.inner }}",
        "{{ wrapped | to_json }}",
        "{{ vars.pw if false else pw }}",
        "{{ lookup('vars', 'pw') }}",
        "{{ pw | regex_replace('h', 'x') }}",
        "{{ pw | regex_search('h.*') }}",
        "{{ pw | hash('sha256') }}",
        "{{ pw | quote }}",
        "{{ pw if pw else 'x' }}",
        "{% if pw == 'hunter2' %}{{ pw }}{% endif %}",
        "{% set x = pw %}{{ x }}",
        "{% set x %}{{ pw }}{% endset %}a{{ x }}",
        "{% for c in pw %}{{ c }}{% endfor %}",
        "{% for x in list %}{{ x }}{% endfor %}",
        "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(pw) }}",
        "{% set ns = namespace(x='') %}{% set ns.x = pw %}{{ ns.x }}",
        "{{ pw }}\n",
    ] {
        let got = render(template, &vars()).unwrap_or_else(|e| panic!("{template}: {e}"));
        let (secret, public) = texts(&got);
        assert!(public.is_empty() && !secret.is_empty(), "{template}: {public:?} is not secret");
    }
}

#[test]
fn what_is_not_made_from_a_secret_is_public() {
    for template in
        ["{{ public }}", "{{ creds.user }}", "{{ list[0] }}", "{{ wrapped.other }}", "{{ alias.user }}", "x"]
    {
        let got = render(template, &vars()).unwrap_or_else(|e| panic!("{template}: {e}"));
        assert!(!got.has_secret(), "{template} is secret");
    }
}

#[test]
fn booleans_and_numbers_are_never_secret() {
    for (template, want) in [
        ("{{ pw == 'hunter2' }}", Val::Bool(true)),
        ("{{ pw | length }}", Val::Int(7)),
        ("{{ pw is defined }}", Val::Bool(true)),
        ("{{ 'hunter' in pw }}", Val::Bool(true)),
        ("{{ length + 1 }}", Val::Int(8)),
        ("{{ creds.port }}", Val::Int(5432)),
    ] {
        assert_eq!(render(template, &vars()).unwrap(), want, "{template}");
    }
}

#[test]
fn a_number_from_a_secret_taints_nothing_that_uses_it() {
    assert!(!render("{{ length }} characters", &vars()).unwrap().has_secret());
    assert!(!render("{{ 'yes' if not_really else 'no' }}", &vars()).unwrap().has_secret());
}

#[test]
fn a_path_keeps_each_leafs_own_bit() {
    for template in ["{{ creds }}", "{{ alias }}"] {
        let got = render(template, &vars()).unwrap();
        assert_eq!(texts(&got), (vec!["hunter2".to_string()], vec!["admin".to_string()]), "{template}");
    }
    let tree = Val::list(vec![Val::Text(written("{{ public }}")), Val::Text(written("{{ via }}"))]);
    let got = Templar::new().render(&tree, &cx(&vars(), &[], Path::new("/"))).unwrap();
    assert_eq!(texts(&got), (vec!["hunter2".to_string()], vec!["open".to_string()]));
}

#[test]
fn a_secret_template_stays_secret() {
    let vars = vars().with("vaulted", Val::Text(written("{{ public }}!").into_secret()));
    assert!(render("{{ vaulted }}", &vars).unwrap().has_secret());
    assert!(render("{{ vaulted | upper }}", &vars).unwrap().has_secret());
}

#[test]
fn errors_quote_no_secret() {
    for template in [
        "{{ pw | from_json }}",
        "{{ pw | from_yaml | first | nope_attr }}",
        "{{ creds[pw] }}",
        "{{ {'a': 1}[pw] }}",
        "{{ pw | int / 0 ~ pw | hash(pw) }}",
        "{{ pw | to_datetime }}",
        "{{ pw | regex_search(pw ~ '(') }}",
        "{{ pw | mandatory | comment(pw) }}",
        "{{ nope | mandatory(pw) }}",
        "{{ undef(pw) }}",
        "{{ lookup('file', pw) }}",
        "{{ lookup('pipe', 'echo ' ~ pw ~ '; exit 3') }}",
        "{{ lookup(pw) }}",
        "{{ lookup('vars', pw) }}",
        "{{ public | map(pw) }}",
        "{{ [1] | map(pw) }}",
        "{{ [1] | selectattr(pw, pw) | list }}",
        "{{ pw.nope.nope }}{{ nope }}",
        "{{ [{'a': pw}, {'a': pw}] | rekey_on_member('a') }}",
        "{{ pw | human_to_bytes }}",
        "{{ '1' is version(pw, pw) }}",
        "{{ '%d' % pw }}",
        "{{ '{:d}'.format(pw) }}",
        "{{ pw | strftime(pw) }}",
        "{% include pw %}",
    ] {
        let Err(e) = render(template, &vars()) else { continue };
        let shown = format!("{e:?} {e}");
        assert!(!shown.contains("hunter2"), "{template}: {shown}");
    }
    for text in
        ["hunter2{{ hunter2 }}", "{{ x | hunter2 }}", "{{ hunter2", "{{ x.hunter2 }}", "{{ 1 + hunter2 }}"]
    {
        let vars = vars()
            .with("x", Val::from(Vec::<Val>::new()))
            .with("vaulted", Val::Text(written(text).into_secret()));
        let e = render("{{ vaulted }}", &vars).unwrap_err();
        assert!(!format!("{} {:?} {:?}", e.message, e.help, e.chain).contains("hunter2"), "{e:?}");
    }
    let e =
        Templar::new().condition(&Val::Text(written("pw")), &cx(&vars(), &[], Path::new("/"))).unwrap_err();
    assert!(!format!("{e:?}").contains("hunter2"));
}

#[test]
fn template_files_and_with_loops_keep_secrets() {
    let vars = vars();
    let cx = cx(&vars, &[], Path::new("/"));
    let templar = Templar::new();
    let file = |text: &str| templar.render_file(text, "x.j2", &FileOptions::default(), &cx).unwrap();
    assert!(file("PASSWORD={{ pw }}\n").is_secret());
    assert!(!file("PORT={{ creds.port }}\n").is_secret());
    let items = templar.lookup("items", &[Val::from("a"), Val::secret("b")], &cx).unwrap();
    assert_eq!(items.iter().map(Val::has_secret).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn the_password_lookup_is_secret_private_and_stable() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let vars = vars();
    let templar = Templar::new();
    let text = |t: &str| Val::Text(written(t));
    let check = RenderCx { check_mode: true, ..cx(&vars, &[], dir.path()) };
    let first = text("{{ lookup('password', 'creds/db', length=32, chars=['ascii_letters', 'digits']) }}");
    assert!(templar.render(&first, &check).unwrap().has_secret());
    assert!(!dir.path().join("creds").exists(), "check mode wrote a file");

    let cx = cx(&vars, &[], dir.path());
    let made = templar.render(&first, &cx).unwrap();
    let password = made.as_str().unwrap().to_string();
    assert!(made.has_secret());
    assert_eq!(password.len(), 32);
    assert!(password.chars().all(|c| c.is_ascii_alphanumeric()));
    let file = dir.path().join("creds/db");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{password}\n"));
    assert_eq!(templar.render(&first, &cx).unwrap().as_str(), Some(&*password));

    let hashed = text("{{ lookup('password', 'creds/db', encrypt='sha512_crypt') }}");
    let hash = templar.render(&hashed, &cx).unwrap();
    assert!(hash.has_secret() && hash.as_str().unwrap().starts_with("$6$rounds=656000$"));
    assert_eq!(templar.render(&hashed, &cx).unwrap(), hash, "the salt was not kept");
    let names: Vec<_> = std::fs::read_dir(dir.path().join("creds")).unwrap().collect();
    assert_eq!(names.len(), 1, "something was left beside the password file");
}

struct Opener;
impl Hooks for Opener {
    fn open_vault(&self, _: &[u8]) -> Result<Vec<u8>, String> {
        Ok(b"hunter2".to_vec())
    }
    fn hostnames(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.to_string(), "db".into()])
    }
}

#[test]
fn an_encrypted_file_is_opened_and_secret() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("v.txt"), "$ANSIBLE_VAULT;1.1;AES256\n00\n").unwrap();
    let search: [PathBuf; 0] = [];
    let vars = vars();
    let cx = RenderCx { hooks: &Opener, ..cx(&vars, &search, dir.path()) };
    let templar = Templar::new();
    for template in ["{{ lookup('file', 'v.txt') }}", "{{ lookup('unvault', 'v.txt') }}"] {
        let got = templar.render(&Val::Text(written(template)), &cx).unwrap();
        assert_eq!(got, Val::from("hunter2"));
        assert!(got.has_secret());
    }
    let hosts =
        templar.render(&Val::Text(written("{{ query('inventory_hostnames', 'web') }}")), &cx).unwrap();
    assert_eq!(hosts, Val::from(vec!["web", "db"]));
}

#[test]
fn what_came_from_a_host_is_never_evaluated() {
    let vars = vars().with("stdout", Val::from("{{ pw }}")).with("cond", Val::from("1 == 1"));
    for template in ["{{ stdout }}", "{{ stdout ~ '' }}", "{% set x = stdout %}{{ x }}"] {
        assert_eq!(render(template, &vars).unwrap(), Val::from("{{ pw }}"), "{template}");
    }
    let text = Val::Text(Text::new("{{ pw }}"));
    let cx = cx(&vars, &[], Path::new("/"));
    assert_eq!(Templar::new().render(&text, &cx).unwrap(), text);
    let e = Templar::new().condition(&Val::Text(written("{{ cond }}")), &cx).unwrap_err();
    assert!(e.message.contains("untrusted"), "{e}");
}
