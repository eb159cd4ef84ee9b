//! Places, messages, laziness, cycles, limits, and what has no counterpart in a recording.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Vars, cx, render, written};
use crate::source::{Diagnostics, SourceFile, Span, Val, yaml};
use crate::template::{FileOptions, LazyMap, Names, RenderCx, Templar, TemplateError};

fn error(template: &str) -> TemplateError {
    let vars = Vars::yaml(include_str!("vars.yml"));
    match render(template, &vars) {
        Err(e) => e,
        Ok(val) => panic!("{template} is {val:?}"),
    }
}

#[test]
fn messages_are_those_that_people_know() {
    for (template, want) in [
        ("{{ nope }}", "'nope' is undefined"),
        ("{{ nope.a.b }}", "'nope' is undefined"),
        ("{{ nope + 1 }}", "'nope' is undefined"),
        ("{{ nope == 'a' }}", "'nope' is undefined"),
        ("x{{ nope | upper }}", "'nope' is undefined"),
        ("{{ badinner }}", "'nosuch' is undefined (through badinner)"),
        ("{{ nested.nope }}", "object of type 'dict' has no attribute 'nope'"),
        ("{{ nested['nope'] }}", "object of type 'dict' has no attribute 'nope'"),
        ("{{ words[7] }}", "object of type 'list' has no attribute 7"),
        (
            "{{ nope | mandatory }}",
            "The filter plugin 'ansible.builtin.mandatory' failed: Mandatory variable 'nope' not defined.",
        ),
        ("{{ undef('set it') }}", "set it"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ '{' | from_json }}", "The filter plugin 'ansible.builtin.from_json' failed: invalid JSON"),
        ("{{ 'a' + 1 }}", "can only concatenate str (not \"int\") to str"),
        ("{{ loop_a }}", "Recursive loop detected in template: loop_a → loop_b → loop_a"),
        ("{{ self_ref }}", "Recursive loop detected in template: self_ref → self_ref"),
        ("{{ range(3) }}", "the result is a range, which is not data"),
        ("{{ 'a' | replace('a') }}", "missing required argument: 'new'"),
        ("{{ 'a' | upper(x=1) }}", "got an unexpected keyword argument 'x'"),
        ("{{ 2 ** 70 }}", "too large"),
        ("{{ 'a' if false }}", "the inline if-expression evaluated to false"),
    ] {
        let got = error(template).to_string();
        assert!(got.contains(want), "{template}: {got}");
    }
}

#[test]
fn mistyped_names_are_met_with_the_nearest() {
    assert_eq!(error("{{ greting }}").help.as_deref(), Some("Did you mean 'greeting'?"));
    let templar = Templar::new();
    let file = SourceFile::typed("x", String::new());
    for (text, message, help) in [
        ("{{ a | defualt('') }}", "no filter is named 'defualt'", "Did you mean 'default'?"),
        ("{{ a is definde }}", "no test is named 'definde'", "Did you mean 'defined'?"),
        ("{{ lookup('flie', 'x') }}", "no lookup is named 'flie'", "Did you mean 'file'?"),
        ("{{ a | map('uper') }}", "no filter is named 'uper'", "Did you mean 'upper'?"),
        (
            "{{ a | selectattr('x', 'equaltoo', 1) }}",
            "no test is named 'equaltoo'",
            "Did you mean 'equalto'?",
        ),
    ] {
        let d = templar.check_template(text, &Span::whole(&file)).expect(text);
        assert!(d.message.contains(message), "{}", d.message);
        assert_eq!(d.help.as_deref(), Some(help));
    }
}

/// `file:line:column` of what a task's value fails with.
fn place_of(yaml_text: &str, key: &str, vars: &Vars) -> String {
    let file = SourceFile::typed("play.yml", yaml_text.to_string());
    let node = yaml::load_one(&file, &mut Diagnostics::default()).unwrap();
    let val = node.get(key).unwrap().to_val_sealed();
    let e = Templar::new().render(&val, &cx(vars, &[], Path::new("/"))).unwrap_err();
    let span = e.span.unwrap();
    format!("{span} {}", &span.file.text[span.start..span.end])
}

#[test]
fn errors_have_the_exact_place() {
    let none = Vars::yaml("{}");
    assert_eq!(place_of("a: 1\nb: \"x {{ nope }}\"\n", "b", &none), "play.yml:2:10 nope");
    assert_eq!(place_of("b: '{{ 1 + nope.x }}'\n", "b", &none), "play.yml:1:12 nope");
    assert_eq!(place_of("b: {{ nope }}\n".replace("{{", "x{{").as_str(), "b", &none), "play.yml:1:8 nope");
    assert_eq!(place_of("b: |\n  first\n  second {{ nope }}\n", "b", &none), "play.yml:3:13 nope");
    assert_eq!(place_of("b: >-\n  first\n  {{ 'a' | from_json }}\n", "b", &none), "play.yml:3:12 from_json");
    // An error inside a variable is where the variable was written.
    let vars = Vars::yaml("outer: '{{ inner }}!'\ninner: 'x{{ nope }}'\n");
    let e = render("{{ outer }}", &vars).unwrap_err();
    assert_eq!(e.span.unwrap().to_string(), "vars.yml:2:13");
    assert_eq!(e.chain, ["outer", "inner"]);
}

#[test]
fn syntax_errors_are_found_at_load() {
    let templar = Templar::new();
    let text = "say {{ foo bar }}";
    let file = SourceFile::typed("play.yml", format!("msg: {text}\n"));
    let span = Span { start: 5, end: 5 + text.len(), column: 6, ..Span::whole(&file) };
    let d = templar.check_template(text, &span).unwrap();
    let at = d.span.unwrap();
    assert_eq!(&file.text[at.start..at.end], "bar");
    assert!(d.message.starts_with("Syntax error in template: unexpected identifier"), "{}", d.message);

    let d = templar.check_expression("{{ a }} == 1", &span).unwrap();
    assert_eq!(d.help.as_deref(), Some("This is an expression already: write it without {{ }}."));
    assert!(templar.check_expression("{{ a }}", &span).is_none());
    assert!(templar.check_expression("a == 1", &span).is_none());
    assert!(templar.check_template("no template", &span).is_none());
    for bad in [
        "{{",
        "{% if x %}",
        "{{ 'a }}",
        "{% endif %}",
        "{# x",
        "{{ a..b }}",
        "{{ [1 }}",
        "{% for %}{% endfor %}",
    ] {
        assert!(templar.check_template(bad, &span).is_some(), "{bad}");
    }
}

#[test]
fn conditions_must_be_boolean() {
    let vars = Vars::yaml(include_str!("vars.yml"));
    let cx = cx(&vars, &[], Path::new("/"));
    let condition = |c: Val| Templar::new().condition(&c, &cx);
    assert!(condition(Val::Bool(true)).unwrap());
    assert!(!condition(Val::Bool(false)).unwrap());
    let e = condition(Val::Text(written("words"))).unwrap_err();
    assert_eq!(
        e.message,
        "Conditional result (True) was derived from value of type 'list'. Conditionals must have a boolean result."
    );
    assert!(condition(Val::Null).is_err() && condition(Val::Int(1)).is_err());
    assert!(condition(Val::Text(written("  "))).is_err());
    let e = condition(Val::Text(written("nmae == 'web'"))).unwrap_err();
    assert!(e.undefined);
    assert_eq!(e.help.as_deref(), Some("Did you mean 'name'?"));
}

#[test]
fn omit_leaves_a_key_out_and_stands_alone_as_itself() {
    let vars = Vars::yaml("{}");
    assert_eq!(render("{{ nope | default(omit) }}", &vars).unwrap(), Val::Omit);
    let tree = Val::map(
        [(Val::from("mode"), Val::Text(written("{{ nope | default(omit) }}")))].into_iter().collect(),
    );
    let got = Templar::new().render(&tree, &cx(&vars, &[], Path::new("/"))).unwrap();
    assert!(got.as_map().unwrap().is_empty());
    assert_eq!(render("x{{ omit }}", &vars).unwrap(), Val::from("x"));
    assert!(render("{{ 'x' ~ omit }}", &vars).is_err());
}

#[test]
fn statements_beyond_ansibles_work() {
    let vars = Vars::yaml("{}");
    for (template, want) in [
        ("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        ("{% for i in range(5) %}{% if i is odd %}{% continue %}{% endif %}{{ i }}{% endfor %}", "024"),
        ("{% set l = [] %}{% do l.append('x') %}{{ l }}!", "['x']!"),
    ] {
        assert_eq!(render(template, &vars).unwrap(), Val::from(want), "{template}");
    }
}

struct Hosts;
struct Host(Vars);

impl Names for Host {
    fn get(&self, name: &str) -> Option<Val> {
        self.0.get(name)
    }
    fn names(&self) -> Vec<String> {
        self.0.names()
    }
}

impl LazyMap for Hosts {
    fn keys(&self) -> Vec<String> {
        vec!["web".into(), "db".into()]
    }
    fn scope(&self, key: &str) -> Option<Arc<dyn Names + Send>> {
        let text = match key {
            "web" => "who: web\nurl: 'http://{{ who }}'\nbad: '{{ nosuch }}'",
            "db" => "who: db\nurl: 'http://{{ who }}'\nsecret: x",
            _ => return None,
        };
        let vars = Vars::yaml(text).with("pw", Val::secret(key));
        Some(Arc::new(Host(vars)))
    }
}

struct WithHosts(Vars);
impl Names for WithHosts {
    fn get(&self, name: &str) -> Option<Val> {
        self.0.get(name)
    }
    fn names(&self) -> Vec<String> {
        self.0.names()
    }
    fn lazy(&self, name: &str) -> Option<Arc<dyn LazyMap>> {
        (name == "hostvars").then(|| Arc::new(Hosts) as Arc<dyn LazyMap>)
    }
}

#[test]
fn hostvars_are_resolved_in_their_hosts_scope_and_only_when_used() {
    let names = WithHosts(Vars::yaml("who: me\nhosts: [web, db]\n"));
    let cx = cx(&names, &[], Path::new("/"));
    let run = |t: &str| Templar::new().render(&Val::Text(written(t)), &cx);
    for (template, want) in [
        ("{{ hostvars['db'].url }}", Val::from("http://db")),
        ("{{ hostvars.web.url }}", Val::from("http://web")),
        ("{{ hostvars[hosts[1]]['url'] }}", Val::from("http://db")),
        ("{{ hosts | map('extract', hostvars, 'url') | list }}", Val::from(vec!["http://web", "http://db"])),
        ("{{ hostvars | length }}", Val::Int(2)),
        ("{{ 'db' in hostvars }}", Val::Bool(true)),
        ("{{ hostvars.nope is defined }}", Val::Bool(false)),
        ("{{ hostvars.nope.url | default('D') }}", Val::from("D")),
        ("{{ hostvars.web.bad | default('D') }}", Val::from("D")),
        ("{{ hostvars.web.get('who') }}", Val::from("web")),
        ("{{ hostvars.keys() | sort }}", Val::from(vec!["db", "web"])),
        ("{{ hostvars.values() | map(attribute='who') | list }}", Val::from(vec!["web", "db"])),
        ("{% for h in hostvars %}{{ hostvars[h].who }} {% endfor %}", Val::from("web db ")),
        ("{{ hostvars['db'].pw == 'db' }}", Val::Bool(true)),
    ] {
        assert_eq!(run(template).unwrap_or_else(|e| panic!("{template}: {e}")), want, "{template}");
    }
    assert!(run("{{ hostvars['db'].pw }}").unwrap().has_secret());
    assert!(run("{{ hosts | map('extract', hostvars, 'pw') | join(',') }}").unwrap().has_secret());
    assert!(!run("{{ hostvars['db'].who }}").unwrap().has_secret());
    let e = run("{{ hostvars['web'].bad }}").unwrap_err();
    assert_eq!(e.message, "'nosuch' is undefined");
}

#[test]
fn depth_has_a_bound_and_never_ends_the_process() {
    let vars = Vars::yaml("{}");
    let chain: String = (0..190).map(|i| format!("v{i}: '{{{{ v{} }}}}'\n", i + 1)).collect();
    let deep = Vars::yaml(&format!("{chain}v190: end\n"));
    // On a small stack, as a worker thread has it.
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    small
        .spawn(move || {
            assert_eq!(render("{{ v0 }}", &deep).unwrap(), Val::from("end"));
            for template in [
                "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}".to_string(),
                format!("{{{{ {}1{} }}}}", "[".repeat(140), "]".repeat(140)),
                format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)),
                format!("{{{{ 1{} }}}}", " + 1".repeat(5000)),
                format!("{{{{ 'a'{} }}}}", " | upper".repeat(5000)),
                format!("{{{{ a{} }}}}", ".b".repeat(50_000)),
                format!("{}x{}", "{% if true %}".repeat(2000), "{% endif %}".repeat(2000)),
                "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}".to_string(),
                "{% set l = [] %}{% set _ = l.append(l) %}{{ l | to_json }}".to_string(),
                "{% set l = [] %}{% set _ = l.append(l) %}{{ l | flatten }}".to_string(),
                "{{ 'a' * 10 ** 12 }}".to_string(),
                "{{ range(10 ** 15) | list }}".to_string(),
                "{{ range(10) | permutations | list | length }}".to_string(),
                "{{ '%1000000000s' % 'a' }}".to_string(),
            ] {
                // Whether it is an answer or an error, it returns.
                let _ = render(&template, &vars);
            }
        })
        .unwrap()
        .join()
        .unwrap();
}

fn templates() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("templates/part.j2", "part of {{ name }}\n");
    put(
        "templates/base.j2",
        "<{% block head %}base head{% endblock %}|{% block body %}base body{% endblock %}>\n",
    );
    put("templates/mid.j2", "{% extends 'base.j2' %}{% block head %}mid+{{ super() }}{% endblock %}");
    put("templates/macros.j2", "{% macro hi(x) %}hi {{ x }}{% endmacro %}{% set answer = 42 %}");
    put("templates/loop.j2", "{% include 'loop.j2' %}");
    put("templates/broken.j2", "line one\n{{ nope }}\n");
    let search = vec![dir.path().to_path_buf()];
    (dir, search)
}

#[test]
fn files_include_import_and_extend() {
    let (dir, search) = templates();
    let vars = Vars::yaml("name: web\n");
    let cx = cx(&vars, &search, dir.path());
    let file = |text: &str| {
        Templar::new().render_file(text, "x.j2", &FileOptions::default(), &cx).map(|t| t.to_string())
    };
    for (text, want) in [
        ("a\n{% include 'part.j2' %}\n", "a\npart of web\n"),
        ("{% set name = 'x' %}{% include 'part.j2' %}", "part of x"),
        ("{% include 'nope.j2' ignore missing %}x", "x"),
        ("{% include ['nope.j2', 'part.j2'] %}", "part of web"),
        ("{% import 'macros.j2' as m %}{{ m.hi('you') }} {{ m.answer }}", "hi you 42"),
        ("{% from 'macros.j2' import hi as hello %}{{ hello('you') }}", "hi you"),
        ("{% extends 'base.j2' %}{% block body %}mine{% endblock %}", "<base head|mine>"),
        (
            "{% extends 'mid.j2' %}{% block head %}top+{{ super() }}{% endblock %}",
            "<top+mid+base head|base body>",
        ),
        ("{% block a %}x{% endblock %}{{ self.a() }}", "xx"),
    ] {
        assert_eq!(file(text).unwrap_or_else(|e| panic!("{text}: {e}")), want, "{text}");
    }
    let e = file("{% include 'nope.j2' %}").unwrap_err();
    assert!(e.message.contains("template 'nope.j2' was not found"), "{e}");
    assert!(e.help.unwrap().contains("templates"));
    assert!(file("{% include 'loop.j2' %}").unwrap_err().message.contains("recursion"));
    assert!(file("{% include '../etc/passwd' %}").is_err());
    let e = file("x\n{% include 'broken.j2' %}").unwrap_err();
    let span = e.span.unwrap();
    assert!(span.file.name.ends_with("broken.j2") && span.line == 2, "{span}");
    let e = file("one\ntwo {{ nope }}\n").unwrap_err();
    assert_eq!(e.span.unwrap().to_string(), "x.j2:2:8");
}

#[test]
fn files_are_read_by_their_options() {
    let vars = Vars::yaml("x: 1\n");
    let cx = cx(&vars, &[], Path::new("/"));
    let d = FileOptions::default();
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    for (text, options, want) in [
        ("{% if x %}\n  a\n  {% endif %}\nb\n", d.clone(), "  a\n  b\n"),
        ("{% if x %}\n  a\n  {% endif %}\nb\n", FileOptions { lstrip_blocks: true, ..d.clone() }, "  a\nb\n"),
        ("{% if x %}\na\n{% endif %}\n", FileOptions { trim_blocks: false, ..d.clone() }, "\na\n"),
        ("a\n{{ x }}\n", FileOptions { newline_sequence: "\r\n".into(), ..d.clone() }, "a\r\n1\r\n"),
        ("a\r\nb\r\n", d.clone(), "a\nb\n"),
        ("y\n", FileOptions { keep_trailing_newline: false, ..d.clone() }, "y"),
        ("y{{ x }}\n\n\n", d.clone(), "y1\n\n\n"),
        ("[[ x ]] {{ x }}\n", FileOptions { variable: pair("[[", "]]"), ..d.clone() }, "1 {{ x }}\n"),
        ("<% if x %>y<% endif %>", FileOptions { block: pair("<%", "%>"), ..d.clone() }, "y"),
        (
            "#jinja2: variable_start_string: '[%', variable_end_string: '%]', trim_blocks: False\nx [% x %]\n",
            d.clone(),
            "x 1\n",
        ),
        // A lone number gets its line end back neither here nor there.
        ("{{ x }}\n", d.clone(), "1"),
        ("{# c #}{{ 'a\\tb' }}", d.clone(), "a\tb"),
        ("{{ none }}", d.clone(), ""),
        ("", d.clone(), ""),
        ("{{ {'a': 1} }}", d.clone(), "{'a': 1}"),
    ] {
        let got =
            Templar::new().render_file(text, "t.j2", &options, &cx).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(got.as_str(), want, "{text:?}");
    }
    assert!(Templar::new().render_file("#jinja2: foo: 1\n", "t.j2", &d, &cx).is_err());
}

#[test]
fn with_lookups_take_rendered_terms() {
    let (dir, search) = templates();
    let vars = Vars::yaml("a: 1\n");
    let cx = cx(&vars, &search, dir.path());
    let templar = Templar::new();
    let with = |name: &str, terms: Vec<Val>| templar.lookup(name, &terms, &cx);
    assert_eq!(
        with("dict", vec![Val::map([(Val::from("k"), Val::Int(1))].into_iter().collect())]).unwrap()[0]
            .get("value"),
        Some(&Val::Int(1))
    );
    assert_eq!(with("sequence", vec![Val::from("count=2")]).unwrap(), [Val::from("1"), Val::from("2")]);
    let found = with("first_found", vec![Val::from("nope"), Val::from("part.j2")]).unwrap();
    assert!(found[0].as_str().unwrap().ends_with("templates/part.j2"));
    let e = with("itmes", vec![]).unwrap_err();
    assert_eq!(e.help.as_deref(), Some("Did you mean 'items'?"));
    assert!(with("url", vec![]).unwrap_err().message.contains("not supported"));
}

#[test]
fn what_can_answer_differently_is_told() {
    let vars = Vars::yaml("{}");
    for (template, want) in [
        ("{{ now() }}", true),
        ("{{ 9 | random }}", true),
        ("{{ 9 | random(seed='x') }}", false),
        ("{{ lookup('pipe', 'echo x') }}", true),
        ("{{ lookup('list', 1) }}", false),
        ("{{ '/etc' is exists }}", true),
        ("{{ 1 + 1 }}", false),
    ] {
        let impure = AtomicBool::new(false);
        let cx = RenderCx { impure: Some(&impure), ..cx(&vars, &[], Path::new("/")) };
        Templar::new().render(&Val::Text(written(template)), &cx).unwrap();
        assert_eq!(impure.load(Ordering::Relaxed), want, "{template}");
    }
}

#[test]
fn a_templar_serves_many_threads() {
    let templar = Arc::new(Templar::new());
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let templar = templar.clone();
            std::thread::spawn(move || {
                let vars = Vars::yaml(&format!("n: {i}\n"));
                let got = templar.render(&Val::Text(written("{{ n * 2 }}")), &cx(&vars, &[], Path::new("/")));
                assert_eq!(got.unwrap(), Val::Int(i * 2));
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}
