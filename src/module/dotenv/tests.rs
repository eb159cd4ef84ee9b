use super::edit::{Duplicates, EditError, Edited, Quote, Wanted, edit};
use super::read::{Value, read};

fn set<'a>(key: &'a str, value: &'a str) -> Wanted<'a> {
    Wanted { key, value: Some(value), duplicates: Duplicates::Refuse, quote: None, export: None }
}

fn absent(key: &str) -> Wanted<'_> {
    Wanted { key, value: None, duplicates: Duplicates::Refuse, quote: None, export: None }
}

fn text(edited: Result<Edited, EditError>) -> String {
    edited.unwrap().text.unwrap_or_else(|| "unchanged".into())
}

#[test]
fn setting_keeps_everything_else() {
    for (before, value, after) in [
        ("# c\nK=old # why\nB=1\n", "new", "# c\nK=new # why\nB=1\n"),
        ("K = old", "new", "K = new"),
        ("export K='old'\r\nB=1\r\n", "n w", "export K='n w'\r\nB=1\r\n"),
        ("K=\"old\"", "n$w", "K=\"n\\$w\""),
        ("K=old", "n$w", "K='n$w'"),
        ("K='old'", "n'w", "K=\"n'w\""),
        ("K='old'", "end\\", "K=\"end\\\\\""),
        ("K=old # c", "a b", "K='a b' # c"),
        ("K: old\n", "new", "K: new\n"),
        ("K=\nB=1\n", "new", "K=new\nB=1\n"),
        ("K= # set by deploy\n", "new", "K= new # set by deploy\n"),
        ("K=#x\n", "new", "K= new #x\n"),
        ("K\nB=1\n", "new", "K=new\nB=1\n"),
        ("export K # c\n", "new", "unreadable"),
        ("K='one\ntwo'\nB=1\n", "x", "K='x'\nB=1\n"),
        ("A='1' K=2\n", "3", "A='1' K=3\n"),
        ("\u{feff}K=1\r\n", "2", "\u{feff}K=2\r\n"),
        ("K=same\n", "same", "unchanged"),
        ("K='same'\n", "same", "unchanged"),
        ("K=x\n", "", "K=\n"),
        ("K='x'\n", "", "K=''\n"),
        // A value that the environment could change is written out.
        ("K=$X\n", "", "K=\n"),
        ("#K=1\n", "new", "#K=1\nK=new\n"),
    ] {
        match edit(before, &set("K", value)) {
            Err(EditError::Unreadable(_)) => assert_eq!(after, "unreadable", "{before:?}"),
            edited => assert_eq!(text(edited), after, "{before:?}"),
        }
    }
}

#[test]
fn a_new_key_looks_like_its_neighbours() {
    for (before, after) in [
        ("", "K=v\n"),
        ("A=1", "A=1\nK=v\n"),
        ("A=1\r\n", "A=1\r\nK=v\r\n"),
        ("export A=1\nexport B=2\n", "export A=1\nexport B=2\nexport K=v\n"),
        ("export A=1\nB=2\n", "export A=1\nB=2\nK=v\n"),
        ("# only a comment", "# only a comment\nK=v\n"),
        ("\u{feff}", "\u{feff}K=v\n"),
    ] {
        assert_eq!(text(edit(before, &set("K", "v"))), after, "{before:?}");
    }
    let exported = Wanted { export: Some(true), ..set("K", "v") };
    assert_eq!(text(edit("A=1\n", &exported)), "A=1\nexport K=v\n");
}

#[test]
fn removing() {
    for (before, after) in [
        ("A=1\nK=2 # c\nB=3\n", "A=1\nB=3\n"),
        ("A=1\nK=2", "A=1"),
        ("A=1\r\nK=2", "A=1"),
        ("K='one\ntwo'\nB=1\n", "B=1\n"),
        ("\u{feff}K=1\nB=2\n", "\u{feff}B=2\n"),
        ("  export K=1\n", ""),
        ("A=1\n", "unchanged"),
    ] {
        assert_eq!(text(edit(before, &absent("K"))), after, "{before:?}");
    }
    let shared = edit("A='1' K=2\n", &absent("K")).unwrap_err();
    assert_eq!(shared, EditError::SharedLine { key: "K".into(), line: 1 });
}

#[test]
fn duplicates_are_refused_unless_told() {
    let twice = "K=1\nA=0\nexport K='2'\n";
    let refused = edit(twice, &set("K", "3")).unwrap_err();
    assert_eq!(refused.to_string(), "K is there 2 times, on lines 1 and 3");
    let with = |duplicates, value| edit(twice, &Wanted { duplicates, value, ..set("K", "") });
    assert_eq!(text(with(Duplicates::Last, Some("3"))), "K=1\nA=0\nexport K='3'\n");
    assert_eq!(text(with(Duplicates::All, Some("3"))), "K=3\nA=0\nexport K='3'\n");
    assert_eq!(text(with(Duplicates::All, None)), "A=0\n");
    assert_eq!(with(Duplicates::Last, None).unwrap_err(), EditError::RemoveLast);
    assert_eq!(with(Duplicates::Last, Some("3")).unwrap().before.as_deref(), Some("2"));
}

#[test]
fn quoting_on_demand() {
    let quoted = |quote, value| edit("K=old\n", &Wanted { quote: Some(quote), ..set("K", value) });
    assert_eq!(text(quoted(Quote::Double, "old")), "K=\"old\"\n");
    assert_eq!(text(quoted(Quote::Single, "x")), "K='x'\n");
    assert_eq!(
        quoted(Quote::None, "a b").unwrap_err().to_string(),
        "the value of K can't be written with quote: none"
    );
}

#[test]
fn keys_that_follow_are_named() {
    let before = "P=old\nURL=postgres://u:${P}@db\nD=\"$P\"\nE='$P'\nF=${P:-x}\n";
    let edited = edit(before, &set("P", "new")).unwrap();
    assert_eq!(edited.derived, ["URL", "D", "F"]);
    assert_eq!(edited.before.as_deref(), Some("old"));
}

#[test]
fn what_is_refused() {
    for (before, wanted, message) in [
        ("A='x\n", set("K", "v"), "Compose could not read it: line 1: the quoted value has no closing '"),
        ("", set("1K", "v"), "\"1K\" is no variable name"),
        ("", set("K L", "v"), "is no variable name"),
        ("", set("K", "a\0b"), "NUL"),
        // The bare last line isn't read as a variable; a line break after it would make it one.
        ("A=1\nNAME", set("K", "v"), "would not read K and the other variables as they shall be"),
    ] {
        let error = edit(before, &wanted).unwrap_err().to_string();
        assert!(error.contains(message), "{before:?}: {error}");
    }
}

/// Values made of everything that means something to some reader.
fn nasty_values() -> Vec<String> {
    const PIECES: &[&str] = &[
        "'", "\"", "\\", "$", "$$", "${", "}", "#", " #", " ", "\n", "\r", "\t", "a", "n", "0123", "=", ":",
        "`", "é", "%", "!", "$a", "${a:-b}", "\\n", "\\'", "\\\"", "\\$",
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    (0..2000).map(|i| (0..i % 7).map(|_| PIECES[next() % PIECES.len()]).collect()).collect()
}

#[test]
fn every_value_reads_back_from_every_quoting() {
    for value in nasty_values() {
        for before in ["", "K=x\n", "K='x' # c\n", "export K=\"x\"\r\nB=$K\r\n", "K\n"] {
            let wanted = set("K", &value);
            let new = text(edit(before, &wanted));
            let read_back = read(&new).unwrap().into_iter().rfind(|e| e.key == "K").unwrap().value;
            assert_eq!(read_back, Value::Known(value.clone()), "{before:?} {new:?}");
            assert_eq!(edit(&new, &wanted).unwrap().text, None, "a second time: {new:?}");
        }
    }
}

/// The real Compose (`SEQN_TEST_COMPOSE`, a Compose v2 binary) reads what we write, and reads what
/// others wrote as we do.
#[test]
fn the_real_compose_agrees() {
    let Some(compose) = std::env::var_os("SEQN_TEST_COMPOSE").filter(|c| !c.is_empty()) else {
        assert!(std::env::var_os("CI").is_none(), "CI must set SEQN_TEST_COMPOSE: `make test` does");
        eprintln!("skipped: SEQN_TEST_COMPOSE names no Compose v2 binary");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let ask = |env: &str, keys: usize| -> Option<Vec<String>> {
        let names: Vec<String> = (0..keys).map(|i| format!("      V{i}: \"${{K{i}}}\"\n")).collect();
        let file = format!("services:\n  s:\n    image: x\n    environment:\n{}", names.concat());
        std::fs::write(dir.path().join("compose.yaml"), file).unwrap();
        std::fs::write(dir.path().join(".env"), env).unwrap();
        let output = std::process::Command::new(&compose)
            .args(["config", "--format", "json"])
            .current_dir(dir.path())
            .env_clear()
            .env("HOME", dir.path())
            .output()
            .unwrap();
        let config: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let environment = &config["services"]["s"]["environment"];
        // Its output is a Compose file again, where `$` is doubled.
        let read = |i| environment[format!("V{i}")].as_str().unwrap().replace("$$", "$");
        Some((0..keys).map(read).collect())
    };

    let values = nasty_values();
    let line = |(i, value): (usize, &String)| text(edit("", &set(&format!("K{i}"), value)));
    let env: String = values.iter().enumerate().map(line).collect();
    let answers = ask(&env, values.len()).unwrap();
    for (value, answer) in values.iter().zip(&answers) {
        assert_eq!(answer, value);
    }

    for value in values.iter().skip(1).step_by(199) {
        for env in [format!("K0={value}\n"), format!("K0=\"{value}\"\n"), format!("K0='{value}'\n")] {
            let ours = read(&env).ok().map(|entries| {
                let mine = entries.into_iter().rfind(|e| e.key == "K0");
                match mine.map(|e| e.value) {
                    Some(Value::Known(text) | Value::NeedsEnvironment { without: text, .. }) => text,
                    _ => String::new(),
                }
            });
            assert_eq!(ask(&env, 1).map(|mut v| v.remove(0)), ours, "{env:?}");
        }
    }
}
