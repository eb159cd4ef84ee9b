//! `apt` with the real apt-get and dpkg, in a root of its own: packages made here, from a repository
//! on disk. Nothing of the machine's packages is touched.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Ran, Test, told};
use tempfile::TempDir;

const CONFIGURATION: &str = r#"
Dir "ROOT/";
Dir::State::status "ROOT/var/lib/dpkg/status";
Dir::Bin::dpkg "/usr/bin/dpkg";
DPkg::Options { "--root=ROOT"; "--force-not-root"; "--force-script-chrootless"; "--log=ROOT/dpkg.log"; };
"#;

/// What apt and dpkg know here.
struct Root(TempDir);

impl Root {
    /// Says why there is none.
    fn new() -> Option<Root> {
        let tool = |name: &str| Command::new(name).arg("--version").output().is_ok();
        if !["apt-get", "dpkg", "dpkg-deb"].into_iter().all(tool) {
            let all = ["SEQN_REQUIRE_ALL", "CI"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!all, "this machine has no apt-get, and nothing may be skipped here");
            return None;
        }
        let root = Root(tempfile::tempdir().unwrap());
        for folder in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "repository",
            "var/cache/apt/archives/partial",
            "var/lib/apt/lists/partial",
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/log/apt",
        ] {
            std::fs::create_dir_all(root.path(folder)).unwrap();
        }
        root.write("var/lib/dpkg/status", "");
        root.write("var/lib/dpkg/available", "");
        root.write("apt.conf", &CONFIGURATION.replace("ROOT", &root.path("").display().to_string()));
        root.write(
            "etc/apt/sources.list",
            &format!("deb [trusted=yes] file:{} ./\n", root.path("repository").display()),
        );
        Some(root)
    }

    fn path(&self, path: &str) -> PathBuf {
        match path {
            "" => self.0.path().to_path_buf(),
            path => self.0.path().join(path),
        }
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.path(path), text).unwrap();
    }

    /// Puts a version of the package `greeting` into the repository.
    fn publish(&self, version: &str) {
        let made = self.path("made");
        std::fs::create_dir_all(made.join("DEBIAN")).unwrap();
        std::fs::create_dir_all(made.join("usr/share/greeting")).unwrap();
        std::fs::write(made.join("usr/share/greeting/version"), version).unwrap();
        let control = format!(
            "Package: greeting\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n\
             Description: says hello\n"
        );
        std::fs::write(made.join("DEBIAN/control"), &control).unwrap();
        let name = format!("greeting_{version}.deb");
        let file = self.path("repository").join(&name);
        run(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(&made).arg(&file));
        let sum = run(Command::new("sha256sum").arg(&file));
        let (sum, size) = (&sum[..64], std::fs::metadata(&file).unwrap().len());
        let index = self.path("repository/Packages");
        let known = std::fs::read_to_string(&index).unwrap_or_default();
        std::fs::write(index, format!("{known}{control}Filename: ./{name}\nSize: {size}\nSHA256: {sum}\n\n"))
            .unwrap();
    }

    /// The version that is installed.
    fn installed(&self) -> Option<String> {
        std::fs::read_to_string(self.path("usr/share/greeting/version")).ok()
    }

    fn test(&self, tasks: &str) -> Test {
        Test::new()
            .tasks(tasks)
            .env("APT_CONFIG", &self.path("apt.conf").display().to_string())
            .env("DPKG_ADMINDIR", &self.path("var/lib/dpkg").display().to_string())
    }

    #[track_caller]
    fn run(&self, tasks: &str) -> Ran {
        self.test(tasks).run()
    }

    #[track_caller]
    fn check(&self, tasks: &str) -> Ran {
        self.test(tasks).args(&["play.yml", "--check"]).run()
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_package_is_predicted_installed_once_upgraded_and_removed() {
    let Some(root) = Root::new() else { return };
    root.publish("1");
    let install = "- apt: {name: greeting, update_cache: true}\n";
    let none = "- apt: {name: greeting}\n";
    root.run(none).code(2).says("Unable to locate package greeting");
    root.run("- apt: {update_cache: true}\n").success().recap("changed=1");
    root.check(none).success().recap("changed=1");
    assert_eq!(root.installed(), None);
    root.run(install).success().recap("changed=1");
    assert_eq!(root.installed().as_deref(), Some("1"));
    for again in [install, none, "- apt: {name: [greeting=1]}\n", "- package: {name: [greeting]}\n"] {
        root.run(again).success().recap("changed=0");
        root.check(again).success().recap("changed=0");
    }
    root.publish("2");
    root.run(install).success().recap("changed=0");
    let latest = "- apt: {name: greeting, state: latest}\n";
    root.check(latest).success().recap("changed=1");
    assert_eq!(root.installed().as_deref(), Some("1"));
    root.run(latest).success().recap("changed=1");
    assert_eq!(root.installed().as_deref(), Some("2"));
    root.run(latest).success().recap("changed=0");
    root.run("- apt: {name: greeting=9}\n").code(2).says("greeting");
    let absent = "- apt: {name: greeting, state: absent}\n";
    root.check(absent).success().recap("changed=1");
    assert!(root.installed().is_some());
    root.run(absent).success().recap("changed=1");
    assert_eq!(root.installed(), None);
    root.run(absent).success().recap("changed=0");
}

#[test]
fn what_takes_it_back_is_its_tasks_to_say() {
    let Some(root) = Root::new() else { return };
    root.publish("1");
    let why = "scripts of a package change what only they know";
    let install = "apt: {name: greeting, update_cache: true}";
    root.run(&format!("- transaction: true\n  block:\n    - {install}\n"))
        .code(1)
        .says(why)
        .says("play.yml:7:11");
    let test = root.test(&format!("- {install}\n"));
    assert!(test.again(&["play.yml"], &[]).status.success());
    let refused = test.again(&["rollback", "last"], &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert!(told(&refused).contains(why), "{}", told(&refused));
    root.run("- apt: {name: greeting, state: absent, purge: true}\n").success().recap("changed=1");
    let answered = format!("- {install}\n  undo:\n    - apt: {{name: greeting, state: absent}}\n");
    let test = root.test(&answered);
    assert!(test.again(&["play.yml"], &[]).status.success());
    assert!(root.installed().is_some());
    let back = test.again(&["rollback", "last"], &[]);
    assert!(back.status.success(), "{}", told(&back));
    assert_eq!(root.installed(), None);
}

#[test]
fn wrong_arguments_are_found_before_anything_runs() {
    let Some(root) = Root::new() else { return };
    for (task, said) in [
        ("apt: {nmae: greeting}", "did you mean 'name'?"),
        ("apt: {name: greeting, state: newest}", "latest"),
        ("apt: {state: present}", "one of the following is required"),
    ] {
        root.run(&format!("- {task}\n")).code(1).says(said).says("play.yml:5:");
    }
    assert!(!Path::new(&root.path("dpkg.log")).exists());
}
