use super::*;
use crate::source::Val;
use crate::source::diagnostic::render_all;

fn read(text: &str) -> (Option<Node>, String) {
    let mut diags = Diagnostics::default();
    let node = load_one(&SourceFile::typed("t.yml", text.into()), &mut diags);
    (node, render_all(&diags, false, 100))
}

fn json(text: &str) -> String {
    let (node, problems) = read(text);
    assert_eq!(problems, "", "{text}");
    node.unwrap().to_val_sealed().to_json().to_string()
}

#[test]
fn values_as_ansible_reads_them() {
    for (text, wanted) in [
        ("", "null"),
        ("---\n", "null"),
        ("\u{feff}a: 1\n", r#"{"a":1}"#),
        (
            "mode: 0644\nt: 1:30\ny: y\nyes: yes\nq: '0644'\n",
            r#"{"mode":420,"t":90,"y":"y","true":true,"q":"0644"}"#,
        ),
        ("a:\tb\n", r#"{"a":"b"}"#),
        ("a: [1,\n2\n]\nb: \"x\ny\"\n", r#"{"a":[1,2],"b":"x y"}"#),
        ("a: |\n  x\n  y", r#"{"a":"x\ny"}"#),
        (
            "a: !!str 5\nb: !!int \"7\"\nc: ! 5\nd: !!float 1e3\ne: !!str\n",
            r#"{"a":"5","b":7,"c":"5","d":1000.0,"e":""}"#,
        ),
        ("a: !!binary aGVsbG8=\n", r#"{"a":"hello"}"#),
        ("when: 2001-12-14\n", r#"{"when":"2001-12-14"}"#),
        ("a: &x [1, 2]\nb: *x\n", r#"{"a":[1,2],"b":[1,2]}"#),
        ("a: &x 1\nb: &x 2\nc: *x\n", r#"{"a":1,"b":2,"c":2}"#),
        ("x: &x {a: 1, b: 2}\ny:\n  b: 3\n  <<: *x\n", r#"{"x":{"a":1,"b":2},"y":{"a":1,"b":3}}"#),
        (
            "p: &p {a: 1, b: 1}\nq: &q {a: 2, c: 2}\nr:\n  <<: [*p, *q]\n",
            r#"{"p":{"a":1,"b":1},"q":{"a":2,"c":2},"r":{"a":1,"c":2,"b":1}}"#,
        ),
        ("\"<<\": 1\n", r#"{"<<":1}"#),
        (
            "k: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n",
            r#"{"k":"$ANSIBLE_VAULT;1.1;AES256\n6162\n"}"#,
        ),
        ("? a\n: 1\n", r#"{"a":1}"#),
        ("a: b:c\nd: 'it''s'\n", r#"{"a":"b:c","d":"it's"}"#),
    ] {
        assert_eq!(json(text), wanted, "{text}");
    }
}

#[test]
fn unsafe_text_is_no_template_at_any_depth() {
    let (node, _) = read("a: !unsafe '{{ x }}'\nb: !unsafe [{c: '{{ y }}'}]\nd: '{{ z }}'\ne: !unsafe '5'\n");
    let val = node.unwrap().to_val_sealed();
    let is_template = |v: &Val| matches!(v, Val::Text(t) if t.is_template());
    assert!(!is_template(val.get("a").unwrap()));
    assert!(!is_template(val.get("b").unwrap().as_list().unwrap()[0].get("c").unwrap()));
    assert!(is_template(val.get("d").unwrap()));
    assert_eq!(val.get("e"), Some(&Val::Int(5)));
}

#[test]
fn vault_text_is_secret_and_opened_by_the_caller() {
    let (node, _) = read("k: !vault |\n  sealed\n");
    let val = node.unwrap().to_val(&|envelope| Ok(envelope.trim().replace("sealed", "open"))).unwrap();
    assert!(matches!(val.get("k"), Some(Val::Text(t)) if t.is_secret() && t.as_str() == "open"));
}

#[test]
fn every_key_and_value_has_its_bytes() {
    let text = "- nämé: é x\n  k: |\n    abc\n    def\n\n  l:\n  - {b: 'q r'}\n  e:\n";
    let (node, _) = read(text);
    let node = node.unwrap();
    let at = |n: &Node| (&text[n.span.start..n.span.end], n.span.line, n.span.column);
    let map = node.as_list().unwrap()[0].as_map().unwrap();
    assert_eq!(at(&map[0].key), ("nämé", 1, 3));
    assert_eq!(at(&map[0].value), ("é x", 1, 9));
    assert_eq!(at(&map[1].value), ("abc\n    def", 3, 5));
    let flow = &map[2].value.as_list().unwrap()[0];
    assert_eq!(at(flow), ("{b: 'q r'}", 7, 5));
    assert_eq!(at(&flow.as_map().unwrap()[0].value), ("'q r'", 7, 9));
    assert_eq!(at(&map[3].value), ("", 8, 4));
    assert!(text[node.span.start..node.span.end].ends_with("\n  e"));
}

#[test]
fn mistakes_are_shown_with_their_place() {
    for (text, wanted) in [
        (
            "a: {{ x }}\n",
            "error[bad-key]: a mapping can't be a key\n  --> t.yml:1:5\n   |\n 1 | a: {{ x }}\n   |     ^^^^^\n   \
             = help: a value that begins with `{{` must be quoted: \"{{ … }}\"\n\n1 error\n",
        ),
        (
            "a: b: c\n",
            "error[yaml-syntax]: a `:` can't stand here\n  --> t.yml:1:5\n   |\n 1 | a: b: c\n   |     ^\n   \
             = help: quote the value if the `: ` belongs to it, or check the indentation of this line\n\n1 error\n",
        ),
        (
            "a:\n\t- b\n",
            "error[yaml-syntax]: a tab can't indent a line\n  --> t.yml:2:2\n   |\n 2 |     - b\n   |     ^\n   \
             = help: indent with spaces\n\n1 error\n",
        ),
        (
            "k: 1\nv: 2\nk: 3\n",
            "warning[duplicate-key]: `k` is given twice\n  --> t.yml:3:1\n   |\n 3 | k: 3\n   | ^\n   \
             = help: it is already at line 1; only the last one counts\n\n1 warning\n",
        ),
        (
            "k: !valut x\n",
            "error[unknown-tag]: the tag `!valut` can't be on a scalar\n  --> t.yml:1:11\n   |\n 1 | k: !valut x\n   \
             |           ^\n   = help: did you mean `!vault`?\n\n1 error\n",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "error[several-documents]: only one YAML document is expected here\n  --> t.yml:3:1\n   |\n 3 | b: 2\n   \
             | ^^^^\n\n1 error\n",
        ),
        (
            "a: \u{0}\n",
            "error[control-character]: a NUL is not allowed in YAML\n  --> t.yml:1:4\n   |\n 1 | a: \u{fffd}\n   |    ^\n   \
             = help: write it as \"\\x00\" in double quotes\n\n1 error\n",
        ),
        (
            "a: &a [*a]\n",
            "error[recursive-alias]: this alias stands inside the value that it repeats\n  --> t.yml:1:8\n   |\n \
             1 | a: &a [*a]\n   |        ^^\n\n1 error\n",
        ),
        (
            "d: 2001-02-30\n",
            "error[bad-scalar]: 2001-02-30 is not in the calendar; quote it if it is not meant as a date\n  --> \
             t.yml:1:4\n   |\n 1 | d: 2001-02-30\n   |    ^^^^^^^^^^\n\n1 error\n",
        ),
    ] {
        assert_eq!(read(text).1, wanted, "{text}");
    }
}

#[test]
fn hostile_files_end_in_a_diagnostic() {
    let bomb = (0..20).fold("x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n".to_string(), |text, i| {
        text + &format!("x{0}: &x{0} [{1}]\n", i + 1, vec![format!("*x{i}"); 10].join(", "))
    });
    let long_text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 1000].join(", "));
    let chain = (1..60)
        .fold("x0: &x0 [[]]\n".to_string(), |text, i| text + &format!("x{i}: &x{i} [[[*x{}]]]\n", i - 1));
    for (text, code) in [
        (bomb, "alias-bomb"),
        (long_text, "alias-bomb"),
        (chain, "nested-too-deep"),
        ("[".repeat(100_000), "nested-too-deep"),
        ("- ".repeat(20_000) + "a", "nested-too-deep"),
        ("{a: ".repeat(50_000), "nested-too-deep"),
        ((0..20_000).map(|i| " ".repeat(i % 900) + "a:\n").collect::<String>(), "yaml-syntax"),
        ("[".to_string() + &"a,".repeat(MAX_NODES + 1) + "]", "file-too-large"),
        ("a".repeat(MAX_FILE_BYTES + 1), "file-too-large"),
        ("\"\\ud800\"".to_string(), "yaml-syntax"),
        ("&a &b c".to_string(), "yaml-syntax"),
        ("%YAML 3.0\n---\na".to_string(), "yaml-syntax"),
    ] {
        let mut diags = Diagnostics::default();
        load(&SourceFile::typed("t.yml", text.clone()), &mut diags);
        let found = diags.0.first().map(|d| d.code);
        assert!(found == Some(code) || found == Some("nested-too-deep"), "{:.40}: {found:?}", text);
    }
}

#[test]
fn files_that_are_no_text_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.yml");
    std::fs::write(&path, b"a: 1\nb: \xff\xfe\n").unwrap();
    let problem = read_file(&path).unwrap_err();
    assert_eq!((problem.code, problem.span.as_ref().map(|s| (s.line, s.column))), ("not-utf8", Some((2, 4))));
    let missing = read_file(&dir.path().join("no.yml")).unwrap_err();
    assert!(missing.message.ends_with("can't be read: there is no such file"), "{}", missing.message);
    assert!(read_file(dir.path()).unwrap_err().message.contains("it is a folder"));
}

/// Mutated input must never panic, whatever comes of it.
#[test]
fn mutations_never_panic() {
    let seed = "a: &x [1, 'q', \"e\\n\"]\nb: {<<: *x, c: !vault |\n  abc\n}\n- ? k\n  : !!int 0x1F\n# c\n%é ---\n...\n";
    let pieces: Vec<char> = "{}[]:,-?&*!|>'\"%@`#\t\n \\~<é0._".chars().collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..3000 {
        let mut text: Vec<char> = seed.chars().collect();
        for _ in 0..=random(12) {
            let at = random(text.len());
            match random(3) {
                0 => text[at] = pieces[random(pieces.len())],
                1 => text.insert(at, pieces[random(pieces.len())]),
                _ => drop(text.remove(at)),
            }
        }
        let text: String = text.into_iter().collect();
        let mut diags = Diagnostics::default();
        load(&SourceFile::typed("t.yml", text), &mut diags);
        render_all(&diags, true, 40);
    }
}
