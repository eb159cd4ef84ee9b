use super::*;

fn search(pattern: &str, text: &[u8]) -> Option<Vec<u8>> {
    let p = Pattern::bytes(pattern, Flags::default()).unwrap_or_else(|e| panic!("{e}"));
    p.search(text).unwrap().map(|f| f.group(0).unwrap().to_vec())
}

#[test]
fn matches_where_python_does() {
    // pattern, text, what Python's re.search finds
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("^foo$", "foo\n", Some("foo")),
        ("^foo$", "foo\n\n", None),
        ("foo\\Z", "foo\n", None),
        ("^b", "a\nb", None),
        ("(?m)^b$", "a\nb\nc", Some("b")),
        ("(?s)a.b", "a\nb", Some("a\nb")),
        ("a.b", "a\nb", None),
        ("(?i)FOO", "xfoo", Some("foo")),
        ("(?i:F)oo", "foO foo", Some("foo")),
        ("(?x) a b # no\n c", "abc", Some("abc")),
        ("a{2}b{,1}c{1,}", "aacc", Some("aacc")),
        ("{foo}", "x{foo}", Some("{foo}")),
        ("\\${A}", "${A}", Some("${A}")),
        ("[[]x[]]", "[x]", Some("[x]")),
        ("[a&&b]+", "a&b", Some("a&b")),
        ("[^]]+", "ab]", Some("ab")),
        ("[a-c-]+", "-abcd", Some("-abc")),
        ("[\\w.-]+", " a.b-c ", Some("a.b-c")),
        ("[\\]]", "]", Some("]")),
        ("(?P<q>['\"]).*?(?P=q)", "say \"it's\"", Some("\"it's\"")),
        ("(a)\\1", "aa", Some("aa")),
        ("(a)?(?(1)b|c)", "c", Some("c")),
        ("(?<!x)y(?=z)", "xy yz", Some("y")),
        ("\\<b\\>", "<b>", Some("<b>")),
        ("\\/\\-\\ \\\"\\#", "/- \"#", Some("/- \"#")),
        ("\\bword\\b", "a word.", Some("word")),
        ("\\x41\\101\\0?", "AA", Some("AA")),
        ("é+", "caféé", Some("éé")),
        ("^#?\\s*PermitRootLogin\\s", "#PermitRootLogin no\n", Some("#PermitRootLogin ")),
    ];
    for (pattern, text, want) in cases {
        let got = search(pattern, text.as_bytes());
        assert_eq!(got.as_deref(), want.map(str::as_bytes), "{pattern} on {text:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_match_one_by_one() {
    assert_eq!(search("a.b", b"a\xffb"), Some(b"a\xffb".to_vec()));
    assert_eq!(search("\\w+", b"caf\xe9"), Some(b"caf".to_vec()));
    assert_eq!(search("^k=.*$", b"k=\xc3\x28\n"), Some(b"k=\xc3\x28".to_vec()));
    assert_eq!(search("[é]", "é".as_bytes()), Some(b"\xc3".to_vec()));
    assert_eq!(search("\\xff", b"a\xff"), Some(b"\xff".to_vec()));
}

#[test]
fn unicode_patterns_take_characters() {
    let p = Pattern::unicode("\\w+|[é]", Flags::default()).unwrap();
    assert_eq!(p.search("café!".as_bytes()).unwrap().unwrap().group(0), Some("café".as_bytes()));
    let dashed = Pattern::unicode("x*", Flags::default()).unwrap();
    assert_eq!(dashed.replace_all("é".as_bytes(), b"-").unwrap().0, "-é-".as_bytes());
    assert!(Pattern::bytes("(?m)^a", Flags::default()).unwrap().flags().multiline);
    assert!(!Pattern::bytes("(?m:^a)", Flags::default()).unwrap().flags().multiline);
}

#[test]
fn what_python_refuses_is_refused() {
    for bad in ["(", ")", "[a", "*", "\\q", "(?P<n", "(?k)", "\\"] {
        assert!(Pattern::bytes(bad, Flags::default()).is_err(), "{bad}");
    }
}

#[test]
fn replacements_expand_as_in_python() {
    let replace = |pattern: &str, template: &str, text: &str| {
        let p = Pattern::bytes(pattern, Flags { multiline: true, ..Flags::default() }).unwrap();
        p.replace_all(text.as_bytes(), template.as_bytes()).map(|(b, n)| (String::from_utf8(b).unwrap(), n))
    };
    let cases: &[(&str, &str, &str, &str, usize)] = &[
        ("(a)(x)?", "\\2<\\1>", "aa", "<a><a>", 2),
        ("(?P<k>\\w+)=", "\\g<k>: ", "k=v", "k: v", 1),
        ("(a)", "\\g<1>0", "a", "a0", 1),
        ("^", "# ", "x\ny", "# x\n# y", 2),
        ("b*", "-", "abc", "-a--c-", 4),
        ("a", "\\n\\t\\\\\\.", "a", "\n\t\\\\.", 1),
    ];
    for (pattern, template, text, want, count) in cases {
        assert_eq!(replace(pattern, template, text), Ok((want.to_string(), *count)), "{pattern}");
    }
    assert!(replace("a", "\\1", "a").is_err());
    assert!(replace("a", "\\g<x>", "a").is_err());
    assert!(replace("a", "\\q", "a").is_err());
    assert!(replace("a", "\\q", "nothing to replace").is_err());
}
