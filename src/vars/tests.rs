use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::inventory::{Inventory, LoadOptions};
use crate::source::{Map, Val};
use crate::template::Names;

fn map<const N: usize>(entries: [(&str, Val); N]) -> Map {
    entries.into_iter().map(|(k, v)| (Val::from(k), v)).collect()
}

fn one(name: &str, value: &str) -> Map {
    map([(name, Val::from(value))])
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
}

fn load(dir: &Path, sources: &[&str], settings: Settings) -> Arc<Variables> {
    let vault = settings.vault.clone();
    let open = |text: &str| vault(text);
    let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
    let (inventory, problems) = Inventory::load(&sources, &LoadOptions::new(dir, &open));
    assert!(problems.0.is_empty(), "{problems:?}");
    let (variables, problems) = Variables::load(inventory, settings);
    assert!(problems.0.is_empty(), "{problems:?}");
    variables
}

fn get(scope: &Scope, name: &str) -> Val {
    scope.get(name).unwrap_or_else(|| panic!("{name} is not defined"))
}

/// One variable set on every level, by its real way in; taking away the strongest shows the next.
#[test]
fn precedence_is_ansibles() {
    let levels: Vec<Layer> = Layer::ALL.into_iter().filter(|l| *l != Layer::CommandLine).collect();
    for strongest in (0..levels.len()).rev() {
        let dir = tempfile::tempdir().unwrap();
        let on = |layer: Layer| levels.iter().position(|l| *l == layer).unwrap() <= strongest;
        let if_on = |layer, text: &'static str| if on(layer) { text } else { "" };
        write(
            dir.path(),
            &[
                (
                    "i/hosts",
                    &format!(
                        "[g]\nh {}\n[g:vars]\n{}\n",
                        if_on(Layer::InventoryHosts, "v=InventoryHosts"),
                        if_on(Layer::InventoryGroups, "v=InventoryGroups")
                    ),
                ),
                ("i/group_vars/all", if_on(Layer::InventoryGroupVarsAll, "v: InventoryGroupVarsAll")),
                ("p/group_vars/all.yml", if_on(Layer::PlaybookGroupVarsAll, "v: PlaybookGroupVarsAll")),
                ("i/group_vars/g.yaml", if_on(Layer::InventoryGroupVars, "v: InventoryGroupVars")),
                ("p/group_vars/g.json", if_on(Layer::PlaybookGroupVars, "{\"v\": \"PlaybookGroupVars\"}")),
                ("i/host_vars/h/x.yml", if_on(Layer::InventoryHostVars, "v: InventoryHostVars")),
                ("p/host_vars/h", if_on(Layer::PlaybookHostVars, "v: PlaybookHostVars")),
            ],
        );
        let mut settings = Settings { command_line: one("v", "CommandLine"), ..Settings::default() };
        if on(Layer::ExtraVars) {
            settings.extra = one("v", "ExtraVars");
        }
        let variables = load(dir.path(), &["i"], settings);
        assert!(variables.enter_playbook(&dir.path().join("p")).0.is_empty());
        let learned = variables.host_vars();
        if on(Layer::Facts) {
            learned.set_facts("h", &one("v", "Facts"));
        }
        if on(Layer::IncludeVars) {
            learned.include_vars("h", &one("v", "IncludeVars"));
        }
        if on(Layer::SetFacts) {
            learned.set_fact("h", "v", Val::from("SetFacts"));
        }
        let mut layers = Layers::new();
        // In any order: the layer decides.
        for layer in [
            Layer::IncludeParams,
            Layer::RoleParams,
            Layer::TaskVars,
            Layer::BlockVars,
            Layer::RoleVars,
            Layer::PlayVarsFiles,
            Layer::PlayPrompts,
            Layer::PlayVars,
            Layer::RoleDefaults,
            Layer::Magic,
        ] {
            if on(layer) {
                layers.push(layer, one("v", &format!("{layer:?}")));
            }
        }
        let mut scope = variables.scope("h", &layers);
        if on(Layer::Loop) {
            scope.set_loop("v", Val::from("Loop"));
        }
        let wanted = levels[strongest];
        let found = scope.find("v").map(|(layer, value)| (layer, value.as_str().unwrap().to_string()));
        assert_eq!(found, Some((wanted, format!("{wanted:?}"))));
    }
}

#[test]
fn the_command_line_is_a_setting_and_no_variable() {
    let settings = Settings { command_line: one("ansible_user", "deploy"), ..Settings::default() };
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("i", "a\nb ansible_user=root\n")]);
    let variables = load(dir.path(), &["i"], settings);
    let scope = variables.scope("a", &Layers::new());
    assert_eq!(scope.setting("ansible_user"), Some(&Val::from("deploy")));
    assert!(scope.get("ansible_user").is_none());
    let scope = variables.scope("b", &Layers::new());
    assert_eq!(scope.setting("ansible_user"), Some(&Val::from("root")));
}

#[test]
fn deeper_groups_then_priority_then_name_win_and_later_sources() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[a]\nh\n[b]\nh\n[top:children]\nb\n[c]\nh\n[d]\nh\n[c:vars]\nansible_group_priority=10\n\
                [a:vars]\nv=a\nw=a\nx=a\n[b:vars]\nv=b\n[c:vars]\nw=c\n[d:vars]\nw=d\nx=d\n[top:vars]\nv=top\nw=top\n";
    write(
        dir.path(),
        &[
            ("one/hosts", text),
            ("one/group_vars/b/1.yml", "y: one\nz: first"),
            ("one/group_vars/b/2/deep.yml", "z: deep"),
            ("one/group_vars/b/.hidden", "z: hidden"),
            ("one/group_vars/b/x.txt", "z: txt"),
            ("one/group_vars/b/x.yml~", "z: backup"),
            ("two/hosts", "h\n"),
            ("two/group_vars/a", "y: two"),
            ("two/group_vars/a.yml", "y: passed over, as the bare name is there"),
        ],
    );
    let variables = load(dir.path(), &["one", "two/hosts"], Settings::default());
    let scope = variables.scope("h", &Layers::new());
    for (name, wanted) in [("v", "b"), ("w", "c"), ("x", "d"), ("y", "two"), ("z", "deep")] {
        assert_eq!(get(&scope, name), Val::from(wanted), "{name}");
    }
    assert_eq!(get(&scope, "group_names"), Val::from(vec!["a", "b", "c", "d", "top"]));
}

#[test]
fn magic_variables() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("i/hosts", "[web]\nw1.example.com\nw2\n")]);
    let run = RunInfo {
        check_mode: true,
        forks: 5,
        run_tags: vec!["all".into()],
        limit: Some("web".into()),
        ..RunInfo::default()
    };
    let variables = load(dir.path(), &["i"], Settings { run, ..Settings::default() });
    variables.enter_playbook(dir.path());
    let play = PlayInfo {
        name: "Rotate".into(),
        hosts_all: vec!["w1.example.com".into(), "w2".into()],
        hosts: vec!["w2".into()],
        batch: vec!["w2".into()],
        role_names: vec!["r".into()],
        dependent_role_names: vec!["base".into()],
    };
    let role = RoleInfo {
        name: "r".into(),
        full_name: "r".into(),
        path: "/roles/r".into(),
        parents: vec!["p".into()],
        parent_paths: vec!["/roles/p".into()],
    };
    let task = TaskInfo { role: Some(role), environment: Val::Null, search_path: vec!["/roles/r".into()] };
    let layers = Layers::new().with(Layer::Magic, play.vars()).with(Layer::Magic, task.vars());
    let scope = variables.scope("w1.example.com", &layers);
    let here = fs::canonicalize(dir.path()).unwrap();
    for (name, wanted) in [
        ("inventory_hostname", Val::from("w1.example.com")),
        ("inventory_hostname_short", Val::from("w1")),
        ("group_names", Val::from(vec!["web"])),
        ("inventory_file", Val::from(dir.path().join("i/hosts").to_str().unwrap())),
        ("inventory_dir", Val::from(dir.path().join("i").to_str().unwrap())),
        ("playbook_dir", Val::from(here.to_str().unwrap())),
        ("ansible_inventory_sources", Val::from(vec![dir.path().join("i").to_str().unwrap()])),
        ("ansible_check_mode", Val::from(true)),
        ("ansible_diff_mode", Val::from(false)),
        ("ansible_forks", Val::from(5)),
        ("ansible_verbosity", Val::from(0)),
        ("ansible_run_tags", Val::from(vec!["all"])),
        ("ansible_limit", Val::from("web")),
        ("ansible_play_name", Val::from("Rotate")),
        ("ansible_play_hosts_all", Val::from(vec!["w1.example.com", "w2"])),
        ("ansible_play_hosts", Val::from(vec!["w2"])),
        ("play_hosts", Val::from(vec!["w2"])),
        ("ansible_play_role_names", Val::from(vec!["r"])),
        ("ansible_role_names", Val::from(vec!["base", "r"])),
        ("role_name", Val::from("r")),
        ("role_path", Val::from("/roles/r")),
        ("ansible_parent_role_names", Val::from(vec!["p"])),
        ("ansible_search_path", Val::from(vec!["/roles/r"])),
        ("omit", Val::Omit),
    ] {
        assert_eq!(get(&scope, name), wanted, "{name}");
    }
    assert_eq!(get(&scope, "groups").get("web"), Some(&Val::from(vec!["w1.example.com", "w2"])));
    assert_eq!(get(&scope, "vars").get("role_name"), Some(&Val::from("r")));
    for name in ["hostvars", "vars", "groups", "inventory_hostname"] {
        assert!(scope.names().iter().any(|n| n == name), "{name}");
    }
    // Host names are host variables: -e replaces them, but not what the engine knows.
    let extra = map([("inventory_hostname", Val::from("x")), ("ansible_check_mode", Val::from("x"))]);
    let variables = load(dir.path(), &["i"], Settings { extra, ..Settings::default() });
    let scope = variables.scope("w2", &Layers::new());
    assert_eq!(get(&scope, "inventory_hostname"), Val::from("x"));
    assert_eq!(get(&scope, "ansible_check_mode"), Val::from(false));
}

#[test]
fn hostvars_are_each_hosts_own_without_the_play() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("i", "a v=1\nb v=2\n")]);
    let variables = load(dir.path(), &["i"], Settings::default());
    variables.host_vars().register("b", "result", Val::from(7));
    let play = Layers::new().with(Layer::PlayVars, one("v", "play"));
    let scope = variables.scope("a", &play);
    assert_eq!(get(&scope, "v"), Val::from("play"));
    let hostvars = scope.lazy("hostvars").unwrap();
    assert_eq!(hostvars.keys(), ["a", "b"]);
    let b = hostvars.scope("b").unwrap();
    assert_eq!((b.get("v"), b.get("result")), (Some(Val::from(2)), Some(Val::from(7))));
    assert!(hostvars.scope("nobody").is_none());
    let local = hostvars.scope("localhost").unwrap();
    assert_eq!(local.get("ansible_connection"), Some(Val::from("local")));
    assert!(scope.lazy("groups").is_none());
}

#[test]
fn a_host_added_at_run_time_has_its_files() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("i/hosts", "a\n"),
            ("i/host_vars/n.yml", "v: mine"),
            ("p/group_vars/late.yml", "g: late"),
            ("i/host_vars/bad.yml", "[1"),
        ],
    );
    let variables = load(dir.path(), &["i"], Settings::default());
    assert!(variables.enter_playbook(&dir.path().join("p")).0.is_empty());
    let before = variables.scope("a", &Layers::new());
    assert!(variables.add_host("n", &one("w", "given"), &["late".into()]).unwrap().changed);
    assert!(variables.group_by("a", "late", &[]).unwrap().changed);
    let scope = variables.scope("n", &Layers::new());
    for (name, wanted) in [("v", "mine"), ("w", "given"), ("g", "late")] {
        assert_eq!(get(&scope, name), Val::from(wanted), "{name}");
    }
    assert_eq!(get(&scope, "inventory_file"), Val::Null);
    assert_eq!(get(&variables.scope("a", &Layers::new()), "g"), Val::from("late"));
    assert!(before.get("g").is_none());
    assert!(variables.add_host("bad", &Map::new(), &[]).is_err());
}

#[test]
fn what_cannot_be_decrypted_is_said_to_who_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("i", "[prod]\np\n[staging]\ns\n"),
            ("group_vars/prod.yml", "$ANSIBLE_VAULT;1.1;AES256\n61\n"),
            ("host_vars/p.yml", "-----BEGIN AGE ENCRYPTED FILE-----\nYQ==\n"),
            ("host_vars/s.yml", "x: 1"),
        ],
    );
    let variables = load(dir.path(), &["i"], Settings::default());
    assert!(variables.sealed_for(&["s".into()]).0.is_empty());
    let problems = variables.sealed_for(&["p".into()]);
    assert_eq!(problems.0.len(), 2);
    assert!(problems.0[0].message.contains("no vault secret was given"), "{problems:?}");

    let vault: Vault = Arc::new(|_| Ok("password: s3cret\nnested: {deep: [x]}\n".into()));
    let variables = load(dir.path(), &["i"], Settings { vault, ..Settings::default() });
    let scope = variables.scope("p", &Layers::new());
    assert!(get(&scope, "password").has_secret() && get(&scope, "nested").has_secret());
    assert!(!get(&variables.scope("s", &Layers::new()), "x").has_secret());
}

#[test]
fn variable_files_are_maps_or_lists_of_maps() {
    let dir = tempfile::tempdir().unwrap();
    for (text, wanted) in [
        ("a: 1", Ok(1)),
        ("[{a: 1}, {b: 2}]", Ok(2)),
        ("", Ok(0)),
        ("--- \n", Ok(0)),
        ("just text", Err("variables must be a mapping, not a string")),
        ("[1]", Err("variables must be a mapping, not a list")),
        ("{1: 2}", Err("a variable name must be a string, not an integer")),
        ("a: !vault x", Err("cannot decrypt a: it is encrypted")),
    ] {
        let path = dir.path().join("v.yml");
        fs::write(&path, text).unwrap();
        match (load_vars_file(&path, &no_vault()), wanted) {
            (Ok(vars), Ok(len)) => assert_eq!(vars.len(), len, "{text}"),
            (Err(problems), Err(wanted)) => {
                assert!(problems.0[0].message.contains(wanted), "{text}: {problems:?}");
            }
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
    let gone = load_vars_file(&dir.path().join("gone.yml"), &no_vault()).unwrap_err();
    assert!(gone.0[0].message.contains("cannot read"));
}

#[test]
fn the_inventory_is_shown_as_ansible_inventory_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("i", "lonely\n[web]\na x=1 y=\"'q'\"\nb\n[prod:children]\nweb\n[prod:vars]\nz=3\n"),
            ("group_vars/web.yml", "f: [1, t]"),
        ],
    );
    let variables = load(dir.path(), &["i"], Settings::default());
    let dump = dump::Dump::new(&variables, None, false).unwrap();
    assert_eq!(
        dump.list().to_json(),
        serde_json::json!({
            "_meta": {"hostvars": {
                "a": {"f": [1, "t"], "x": 1, "y": "q", "z": 3}, "b": {"f": [1, "t"], "z": 3}},
                "profile": "inventory_legacy"},
            "all": {"children": ["ungrouped", "prod"]},
            "prod": {"children": ["web"]},
            "ungrouped": {"hosts": ["lonely"]},
            "web": {"hosts": ["a", "b"]},
        })
    );
    assert_eq!(dump.host("a").unwrap().get("z"), Some(&Val::from(3)));
    assert!(dump.host("nobody").is_err() && dump.graph("nogroup", false).is_err());
    assert_eq!(
        dump.graph("all", true).unwrap(),
        "@all:\n  |--@ungrouped:\n  |  |--lonely\n  |--@prod:\n  |  |--@web:\n  |  |  |--a\n\
         \x20 |  |  |  |--{f = [1, 't']}\n  |  |  |  |--{x = 1}\n  |  |  |  |--{y = q}\n  |  |  |  |--{z = 3}\n\
         \x20 |  |  |--b\n  |  |  |  |--{f = [1, 't']}\n  |  |  |  |--{z = 3}\n  |  |  |--{f = [1, 't']}\n  |  |--{z = 3}\n"
    );
    let dump = dump::Dump::new(&variables, None, true).unwrap();
    assert_eq!(
        dump.yaml().to_json(),
        serde_json::json!({"all": {"children": {
            "ungrouped": {"hosts": {"lonely": {}}},
            "prod": {"children": {"web": {"hosts": {"a": {"x": 1, "y": "q"}, "b": {}}, "vars": {"f": [1, "t"]}}},
                     "vars": {"z": 3}}}}})
    );
}

#[test]
fn scopes_for_many_hosts_share_their_maps() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[("i", "[web]\nw[1:3000]\n"), ("group_vars/all.yml", "big: 1"), ("group_vars/web.yml", "v: 1")],
    );
    let variables = load(dir.path(), &["i"], Settings::default());
    let shared = Arc::new(one("task", "x"));
    let layers = Layers::new().with(Layer::TaskVars, shared.clone());
    let scopes: Vec<Scope> = (1..=3000).map(|n| variables.scope(&format!("w{n}"), &layers)).collect();
    assert!(scopes.iter().all(|s| s.get("big").is_some() && s.get("v").is_some()));
    assert!(Arc::strong_count(&shared) > 3000);
}
