use std::time::Duration;

use super::*;
use crate::remote::TransportKind;

struct Setting {
    dir: tempfile::TempDir,
    connection: Connection,
}

impl Setting {
    /// With these files below a home folder and these `ssh` arguments.
    fn new(files: &[(&str, &str)], arguments: &[&str]) -> Setting {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let connection = Connection {
            transport: TransportKind::Native,
            address: "db1".into(),
            port: None,
            user: None,
            password: None,
            private_key: None,
            ssh_args: arguments.iter().map(|a| a.to_string()).collect(),
            host_key_checking: true,
            timeout: Duration::from_secs(10),
            become_: None,
        };
        Setting { dir, connection }
    }

    fn options(&self) -> Result<Options, String> {
        let around = Surroundings {
            home: self.dir.path().into(),
            user: "me".into(),
            agent: Some("/agent".into()),
            system: self.dir.path().join("etc"),
        };
        Options::resolve(&self.connection, &around).map_err(|e| e.message)
    }

    fn home(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }
}

fn config(text: &str) -> Setting {
    Setting::new(&[(".ssh/config", text)], &[])
}

#[test]
fn nothing_said() {
    let setting = Setting::new(&[], &[]);
    let options = setting.options().unwrap();
    assert_eq!((options.host.as_str(), options.port, options.user.as_str()), ("db1", 22, "me"));
    assert_eq!(options.known_as, "db1");
    assert_eq!(options.strict, Strict::Yes);
    assert_eq!(options.methods, [Method::PublicKey]);
    assert_eq!(options.identity_files[3], setting.home(".ssh/id_ed25519"));
    assert_eq!(options.user_known_hosts[0], setting.home(".ssh/known_hosts"));
    assert_eq!(options.global_known_hosts[0], setting.home("etc/ssh_known_hosts"));
    assert_eq!(options.agent, Some("/agent".into()));
}

#[test]
fn the_first_value_counts() {
    let mut setting = Setting::new(
        &[
            (
                ".ssh/config",
                "Host db*\n  User config\n  Port 2200\nHost *\n  User late\n  HostName %h.example.com\n",
            ),
            ("etc/ssh_config", "Port 2300\nIdentityFile ~/.ssh/system_%r\n"),
        ],
        &["-o", "Port=2100", "-oConnectTimeout=3"],
    );
    let options = setting.options().unwrap();
    assert_eq!(
        (options.host.as_str(), options.port, options.user.as_str()),
        ("db1.example.com", 2100, "config")
    );
    assert_eq!(options.known_as, "[db1.example.com]:2100");
    assert_eq!(options.known_without_port.as_deref(), Some("db1.example.com"));
    assert_eq!(options.identity_files, [setting.home(".ssh/system_config")]);
    assert_eq!(options.timeout, Duration::from_secs(3));
    setting.connection.port = Some(2000);
    setting.connection.user = Some("inventory".into());
    setting.connection.private_key = Some("/k%20".into());
    let options = setting.options().unwrap();
    assert_eq!((options.port, options.user.as_str()), (2000, "inventory"));
    assert_eq!(options.identity_files[0], std::path::PathBuf::from("/k%20"));
    assert!(options.identities_only);
}

#[test]
fn hosts_and_matches() {
    for (text, user) in [
        ("Host other\nUser x\n", "me"),
        ("Host other db?\nUser x\n", "x"),
        ("Host * !db1\nUser x\n", "me"),
        ("host=db1\nuser = \"x\" # comment\n", "x"),
        ("Match all\nUser x\n", "x"),
        ("Match originalhost db* user me\nUser x\n", "x"),
        ("Match host db1,db2 !user me\nUser x\n", "me"),
        ("HostName real\nMatch host real\nUser x\n", "x"),
    ] {
        assert_eq!(config(text).options().unwrap().user, user, "{text}");
    }
}

#[test]
fn files_include_files() {
    let setting = Setting::new(
        &[
            (".ssh/config", "Include conf.d/*.conf\nHost other\nInclude other\nHost *\nUser late\n"),
            (".ssh/conf.d/b.conf", "User b\n"),
            (".ssh/conf.d/a.conf", "Host nowhere\nUser a\n"),
            (".ssh/other", "User other\n"),
        ],
        &[],
    );
    assert_eq!(setting.options().unwrap().user, "b");
    let endless = config("Include config\n");
    assert!(endless.options().unwrap_err().contains("include each other too deeply"));
    // -F reads that file alone; `none` reads nothing.
    let mut setting = Setting::new(&[(".ssh/config", "User x\n"), ("mine", "Port 7\n")], &["-F", "none"]);
    assert_eq!(setting.options().unwrap().user, "me");
    setting.connection.ssh_args = vec![format!("-F{}", setting.home("mine").display())];
    let options = setting.options().unwrap();
    assert_eq!((options.user.as_str(), options.port), ("me", 7));
    setting.connection.ssh_args = vec!["-F".into(), "/nowhere/config".into()];
    assert!(setting.options().unwrap_err().contains("there is no /nowhere/config"));
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    for (text, words) in [
        ("ProxyJump bastion\n", "reached through another host (proxyjump bastion in "),
        ("\nProxyCommand nc %h %p\n", "proxycommand nc %h %p in "),
        ("Host *\n\nCiphers aes128-ctr\n", "doesn't understand the option ciphers ("),
        ("Match exec true\nUser x\n", "doesn't understand Match exec ("),
        ("Port ssh\n", "it is a number"),
        ("Port 70000\n", "between 1 and 65535"),
        ("StrictHostKeyChecking maybe\n", "it is yes, accept-new or no"),
        ("IdentitiesOnly perhaps\n", "it is yes or no"),
        ("HostName %x\n", "doesn't know %x"),
        ("User\n", "has no value"),
        ("Nonsense yes\n", "doesn't understand the option nonsense"),
    ] {
        let setting = config(text);
        let error = setting.options().unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
    let setting = config("Host *\n\nCiphers aes128-ctr\n");
    assert!(setting.options().unwrap_err().contains("config:3"));
    for (arguments, words) in [
        (&["-J", "bastion"][..], "reached through another host"),
        (&["-o", "Ciphers=x"], "doesn't understand the option ciphers"),
        (&["-W", "a:1"], "doesn't understand the ssh argument -W"),
        (&["-o"], "has no value"),
        (&["other-host"], "doesn't understand the ssh argument other-host"),
    ] {
        let error = Setting::new(&[], arguments).options().unwrap_err();
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    // Other hosts' options are nobody's business; nor is what has no effect here.
    for text in [
        "Host other\nProxyJump bastion\nCiphers x\n",
        "ProxyJump none\n",
        "ForwardAgent yes\nControlMaster auto\nControlPersist 60s\nSendEnv LANG LC_*\nCompression yes\n",
        "IgnoreUnknown UseKey*,Foo\nUseKeyring yes\nFoo bar\n",
    ] {
        assert!(config(text).options().is_ok(), "{text}: {:?}", config(text).options());
    }
    assert!(Setting::new(&[], &["-C", "-4", "-vv", "-o", "ControlMaster=auto"]).options().is_ok());
}

#[test]
fn known_hosts_and_trust() {
    let setting = config(
        "UserKnownHostsFile ~/a \"/b c\"\nGlobalKnownHostsFile none\nHostKeyAlias Cluster\nPort 2222\n\
         StrictHostKeyChecking accept-new\nHashKnownHosts yes\n",
    );
    let options = setting.options().unwrap();
    assert_eq!(options.user_known_hosts, [setting.home("a"), "/b c".into()]);
    assert!(options.global_known_hosts.is_empty());
    assert_eq!((options.known_as.as_str(), options.known_without_port), ("cluster", None));
    assert_eq!((options.strict, options.hash_known_hosts), (Strict::AcceptNew, true));
    let mut setting = config("StrictHostKeyChecking ask\n");
    assert_eq!(setting.options().unwrap().strict, Strict::Yes);
    setting.connection.ssh_args = vec!["-o".into(), "StrictHostKeyChecking no".into()];
    assert_eq!(setting.options().unwrap().strict, Strict::No);
    let mut setting = config("");
    setting.connection.host_key_checking = false;
    assert_eq!(setting.options().unwrap().strict, Strict::No);
}

#[test]
fn ways_to_log_in() {
    let methods = |text: &str, password: bool| {
        let mut setting = config(text);
        setting.connection.password = password.then(|| "x".into());
        setting.options().unwrap().methods
    };
    use Method::{KeyboardInteractive, Password, PublicKey};
    assert_eq!(methods("", true), [Password, KeyboardInteractive]);
    assert_eq!(methods("PasswordAuthentication no\n", true), [KeyboardInteractive]);
    assert_eq!(methods("PreferredAuthentications publickey,password\n", true), [PublicKey, Password]);
    assert_eq!(methods("PreferredAuthentications gssapi-with-mic,publickey,password\n", false), [PublicKey]);
    assert_eq!(methods("PubkeyAuthentication no\n", false), []);
}

#[test]
fn a_silent_host_is_always_noticed() {
    let options = config("ServerAliveInterval 0\nServerAliveCountMax 0\n").options().unwrap();
    assert!(options.alive_interval > Duration::ZERO && options.alive_count > 0);
    let options = config("ServerAliveInterval 1m\n").options().unwrap();
    assert_eq!(options.alive_interval, Duration::from_secs(60));
}
