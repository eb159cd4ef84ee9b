//! Against the real programs: age, age-keygen, ssh-keygen, ansible-vault, Postgres.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::agefile::{self, Format};
use super::edit::{self, Edited};
use super::identities::{self, AskPassphrase};
use super::recipients::Recipients;
use super::vault::{self, Password, Passwords};
use super::{Error, ErrorKind, Identities, Keys, Secret};

/// Whether a program is there. A missing one is a skip that says so, and a failure in CI.
fn have(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|dir| dir.join(program).is_file());
    assert!(found || std::env::var_os("CI").is_none(), "CI lacks {program}");
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

fn run(program: impl AsRef<std::ffi::OsStr>, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program.as_ref())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // Beside reading: both pipes have an end.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "{:?} {args:?}: {}",
        program.as_ref(),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn load(path: &Path) -> Identities {
    Identities::load(&[path.to_path_buf()], None).unwrap()
}

struct Keygen {
    dir: tempfile::TempDir,
    identity: PathBuf,
    recipient: String,
}

fn keygen() -> Keygen {
    let dir = tempfile::tempdir().unwrap();
    let identity = dir.path().join("key.txt");
    let recipient = edit::keygen(&identity).unwrap();
    Keygen { dir, identity, recipient }
}

#[test]
fn age_reads_ours_and_we_read_ages() {
    if !have("age") || !have("age-keygen") {
        return;
    }
    let key = keygen();
    let derived = run("age-keygen", &["-y", text(&key.identity)], b"");
    assert_eq!(String::from_utf8_lossy(&derived).trim(), key.recipient);
    let to = Recipients::parse([key.recipient.as_str()]).unwrap();
    let plain = vec![b'x'; 200_000];
    for (format, flag) in [(Format::Binary, None), (Format::Armored, Some("-a"))] {
        let ours = agefile::encrypt(&plain, &to, format).unwrap();
        assert_eq!(agefile::format_of(&ours), Some(format));
        assert_eq!(agefile::recipient_count(&ours), 1);
        assert!(run("age", &["-d", "-i", text(&key.identity)], &ours) == plain);
        let args: Vec<&str> = ["-r", &key.recipient].into_iter().chain(flag).collect();
        let theirs = run("age", &args, &plain);
        assert_eq!(agefile::decrypt(&theirs, &load(&key.identity)).unwrap().expose_bytes(), plain);
    }
}

#[test]
fn ssh_keys_open_with_their_passphrase_asked_once() {
    if !have("age") || !have("ssh-keygen") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (kind, passphrase) in [("ed25519", ""), ("rsa", ""), ("ed25519", "open sesame")] {
        let key = dir.path().join(format!("{kind}{}", passphrase.len()));
        run("ssh-keygen", &["-q", "-t", kind, "-N", passphrase, "-C", "", "-f", text(&key)], b"");
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let sealed = run("age", &["-r", public.trim()], b"hello");
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (asked.clone(), passphrase.to_string());
        let ask: AskPassphrase = Arc::new(move |question| {
            assert!(question.starts_with("Passphrase for "));
            count.fetch_add(1, Ordering::Relaxed);
            Some(Secret::new(answer.as_str()))
        });
        let ids = Identities::load(std::slice::from_ref(&key), Some(ask)).unwrap();
        assert_eq!(ids.recipients(), [public.trim()]);
        for _ in 0..2 {
            assert_eq!(agefile::decrypt(&sealed, &ids).unwrap().expose(), Some("hello"));
        }
        assert_eq!(asked.load(Ordering::Relaxed), usize::from(!passphrase.is_empty()));
        if !passphrase.is_empty() {
            let wrong: AskPassphrase = Arc::new(|_| Some(Secret::new("wrong")));
            let ids = Identities::load(&[key], Some(wrong)).unwrap();
            assert_eq!(agefile::decrypt(&sealed, &ids).unwrap_err().kind, ErrorKind::NoKey);
        }
    }
}

#[test]
fn a_protected_identity_is_unlocked_only_when_needed() {
    let (plain, locked) = (keygen(), keygen());
    let mut passphrase = age::scrypt::Recipient::new("open sesame".to_string().into());
    passphrase.set_work_factor(4);
    let sealed_key = age::encrypt(&passphrase, &std::fs::read(&locked.identity).unwrap()).unwrap();
    let path = locked.dir.path().join("key.age");
    std::fs::write(&path, sealed_key).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let ask: AskPassphrase = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Some(Secret::new("open sesame"))
    });
    let ids = Identities::load(&[plain.identity.clone(), path.clone()], Some(ask)).unwrap();
    let seal = |recipient: &str| {
        agefile::encrypt(b"hello", &Recipients::parse([recipient]).unwrap(), Format::Binary).unwrap()
    };
    agefile::decrypt(&seal(&plain.recipient), &ids).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    for _ in 0..2 {
        agefile::decrypt(&seal(&locked.recipient), &ids).unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(ids.recipients().contains(&locked.recipient));

    let nobody = Identities::load(std::slice::from_ref(&path), None).unwrap();
    let error = agefile::decrypt(&seal(&locked.recipient), &nobody).unwrap_err();
    assert!(error.message.contains("key.age needs its passphrase"), "{error}");
    let wrong: AskPassphrase = Arc::new(|_| Some(Secret::new("wrong")));
    let wrong = Identities::load(&[path], Some(wrong)).unwrap();
    let error = agefile::decrypt(&seal(&locked.recipient), &wrong).unwrap_err();
    assert!(error.message.contains("wrong passphrase for"), "{error}");
}

#[test]
fn what_is_wrong_with_an_age_file() {
    let (key, other) = (keygen(), keygen());
    let ids = load(&key.identity);
    let to = Recipients::parse([key.recipient.as_str()]).unwrap();
    let good = agefile::encrypt(&vec![7; 100_000], &to, Format::Binary).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    // In the sender's share: another letter of base64.
    let mut header = good.clone();
    header[60] = if header[60] == b'B' { b'C' } else { b'B' };
    let foreign =
        agefile::encrypt(b"x", &Recipients::parse([other.recipient.as_str()]).unwrap(), Format::Armored)
            .unwrap();
    let cases: [(&str, Vec<u8>, ErrorKind, &str); 7] = [
        ("cut", good[..good.len() - 20].into(), ErrorKind::Damaged, "cut or changed"),
        ("cut at a chunk", good[..good.len() - (100_000 - 65_536) - 16].into(), ErrorKind::Damaged, "cut or"),
        ("changed", flipped(good.len() - 9), ErrorKind::Damaged, "cut or changed"),
        ("changed header", header, ErrorKind::NoKey, "not encrypted to any identity in"),
        ("not ours", foreign, ErrorKind::NoKey, "key.txt"),
        ("empty", vec![], ErrorKind::Damaged, "it is empty"),
        ("plain", b"a: 1".to_vec(), ErrorKind::Damaged, "not an age file"),
    ];
    for (what, bytes, kind, message) in cases {
        let error = agefile::decrypt(&bytes, &ids).unwrap_err();
        assert!(error.message.contains(message), "{what}: {error}");
        assert_eq!(error.kind, kind, "{what}: {error}");
    }
    let error = agefile::decrypt(&good, &Identities::default()).unwrap_err();
    assert!(error.help.unwrap().contains("--age-identity"));
}

#[test]
fn a_stream_is_opened_in_constant_memory() {
    let key = keygen();
    let to = Recipients::parse([key.recipient.as_str()]).unwrap();
    let sealed = agefile::encrypt(&vec![b'x'; 3_000_000], &to, Format::Armored).unwrap();
    // Blank lines in front, and a source that gives little at a time.
    let source = b"\n\n".chain(OneAtATime(&sealed));
    let mut plain = agefile::decrypt_stream(source, &load(&key.identity)).unwrap();
    let mut buffer = [0; 8192];
    let mut total = 0;
    loop {
        match plain.read(&mut buffer).unwrap() {
            0 => break,
            n => total += n,
        }
    }
    assert_eq!(total, 3_000_000);
}

struct OneAtATime<'b>(&'b [u8]);
impl Read for OneAtATime<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = into.len().min(self.0.len()).min(7);
        into[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

#[test]
fn identity_files_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("id");
    let key = keygen();
    let two_lines = format!("# mine\n{}\n", key.recipient);
    for (content, message, help) in [
        ("", "holds no age identity", ""),
        (two_lines.as_str(), "line 2 is no age identity", "that is a public key"),
        ("AGE-PLUGIN-YUBIKEY-1XXX", "line 1 is no age identity", "plugins are not supported"),
        ("hunter2", "line 1 is no age identity", "AGE-SECRET-KEY-1"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "not a whole SSH private key", ""),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = Identities::load(std::slice::from_ref(&path), None).unwrap_err();
        assert!(error.message.contains(message) && error.message.contains("/id"), "{error}");
        assert!(error.help.unwrap_or_default().contains(help));
        assert!(!error.message.contains("hunter2"));
    }
    let missing = Identities::load(&[dir.path().join("none")], None).unwrap_err();
    assert!(missing.message.contains("there is no such file"), "{missing}");
}

#[test]
fn where_identities_are_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_str().unwrap().to_string();
    let at_home = dir.path().join(".config/seqn-play/identity.txt");
    let env = |set: Option<&'static str>| {
        let home = home.clone();
        move |name: &str| match name {
            identities::ENV_VAR => set.map(String::from),
            "HOME" => Some(home.clone()),
            _ => None,
        }
    };
    let paths = |flags: &[&str], set| {
        identities::default_paths(&flags.iter().map(PathBuf::from).collect::<Vec<_>>(), &env(set))
    };
    assert_eq!(paths(&["/f"], Some("/a:/b")), [PathBuf::from("/f")]);
    assert_eq!(paths(&[], Some("/a:/b")), [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert!(paths(&[], None).is_empty());
    edit::keygen(&at_home).unwrap();
    assert_eq!(paths(&[], None), [at_home]);
}

#[test]
fn editing_an_age_file() {
    let (key, friend) = (keygen(), keygen());
    let ids = load(&key.identity);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vars.yml.age");
    let writes =
        |text: &'static str| move |p: &Path| std::fs::write(p, text).map_err(|e| Error::io("write", p, &e));
    let never = |_: &Path| -> Result<(), Error> { panic!("the editor was opened") };

    let none = edit::edit(&path, &[], &ids, &never).unwrap_err();
    assert!(none.help.unwrap().contains(&key.recipient));
    let without_me =
        edit::edit(&path, std::slice::from_ref(&friend.recipient), &ids, &writes("a: 1\n")).unwrap_err();
    assert!(without_me.message.contains("could not open it yourself"), "{without_me}");
    assert!(!path.exists() && !dir.path().join(".age-recipients").exists());

    let both = [key.recipient.clone(), friend.recipient.clone()];
    let made = edit::edit(&path, &both, &ids, &writes("a: 1\n")).unwrap();
    assert_eq!(made, Edited::Written { recipients: 2, before: 0 });
    let first = std::fs::read(&path).unwrap();
    assert!(first.starts_with(b"-----BEGIN AGE"));
    assert_eq!(edit::edit(&path, &[], &ids, &|_| Ok(())).unwrap(), Edited::Unchanged);
    assert_eq!(std::fs::read(&path).unwrap(), first);

    // The recipients were written down: the friend can open the next edit too.
    let again = edit::edit(&path, &[], &ids, &writes("a: 2\n")).unwrap();
    assert_eq!(again, Edited::Written { recipients: 2, before: 2 });
    let keys = Keys { age: load(&friend.identity), ..Keys::default() };
    assert_eq!(edit::show(&path, &keys).unwrap().expose(), Some("a: 2\n"));

    let raced = edit::edit(&path, &[], &ids, &|p: &Path| {
        std::fs::write(&path, &first).unwrap();
        std::fs::write(p, "a: 3\n").map_err(|e| Error::io("write", p, &e))
    });
    assert!(raced.unwrap_err().message.contains("changed by somebody else"));
    let aside = dir.path().join("vars.yml.age.edited");
    assert_eq!(edit::show(&aside, &keys).unwrap().expose(), Some("a: 3\n"));
    assert_eq!(std::fs::read(&path).unwrap(), first);

    edit::decrypt(&path, &keys).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"a: 1\n");
    assert!(edit::show(&path, &keys).unwrap_err().message.contains("is not encrypted"));
    assert_eq!(edit::encrypt(&path, &[], &ids).unwrap(), 2);
    assert!(edit::encrypt(&path, &[], &ids).unwrap_err().message.contains("encrypted already"));
    assert!(edit::keygen(&key.identity).unwrap_err().message.contains("never overwritten"));
}

#[test]
fn recipients_that_are_none() {
    for (given, message) in [
        ("AGE-SECRET-KEY-1QQQ", "a private key was given"),
        ("age1nonsense", "no age recipient"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACB", "to ssh-dss keys"),
    ] {
        let error = Recipients::parse([given]).unwrap_err();
        assert!(error.message.contains(message), "{error}");
    }
    assert!(Recipients::parse([]).unwrap_err().message.contains("nobody could open"));
}

#[test]
fn one_door_for_every_encrypted_file() {
    let key = keygen();
    let to = Recipients::parse([key.recipient.as_str()]).unwrap();
    let password = Password { id: "default".into(), secret: Secret::new("p") };
    let keys = Keys { age: load(&key.identity), vault: Passwords::new(vec![password.clone()]) };
    let plain = |bytes: &[u8]| match keys.open(bytes).unwrap() {
        super::Opened::Secret(s) => s.expose().map(String::from),
        super::Opened::Plain => None,
    };
    for format in [Format::Binary, Format::Armored] {
        assert_eq!(plain(&agefile::encrypt(b"a: 1", &to, format).unwrap()).as_deref(), Some("a: 1"));
    }
    let sealed = vault::encrypt(b"a: 2", &password).unwrap();
    assert_eq!(plain(sealed.as_bytes()).as_deref(), Some("a: 2"));
    assert_eq!(keys.open_text(&format!("  {sealed}")).unwrap().expose(), Some("a: 2"));
    assert_eq!(plain(b"a: 3"), None);
    assert_eq!(plain(b"\xff\xfe"), None);
    assert!(keys.open_text("a: 3").is_err());
}

fn ansible_vault() -> Option<PathBuf> {
    let in_venv = std::env::var_os("ANSIBLE_VAULT").map(PathBuf::from).filter(|p| p.is_file());
    in_venv.or_else(|| have("ansible-vault").then(|| PathBuf::from("ansible-vault")))
}

#[test]
fn ansible_vault_reads_ours_and_we_read_its() {
    let Some(program) = ansible_vault() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (pass, file) = (dir.path().join("pass"), dir.path().join("file"));
    std::fs::write(&pass, "correct horse\n").unwrap();
    let source = format!("prod@{}", text(&pass));
    let password = Password::from_vault_id(&source, &|_| None).unwrap();
    let passwords = Passwords::new(vec![password.clone()]);

    std::fs::write(&file, "k: ä\n").unwrap();
    edit::vault_encrypt(&file, &file, &password).unwrap();
    let shown = run(&program, &["view", "--vault-id", &source, text(&file)], b"");
    assert_eq!(String::from_utf8_lossy(&shown).trim_end(), "k: ä");

    run(&program, &["decrypt", "--vault-id", &source, text(&file)], b"");
    run(&program, &["encrypt", "--vault-id", &source, text(&file)], b"");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"));
    edit::vault_edit(&file, &passwords, &|p| {
        std::fs::write(p, "k: ö\n").map_err(|e| Error::io("write", p, &e))
    })
    .unwrap();
    let shown = run(&program, &["view", "--vault-id", &source, text(&file)], b"");
    assert_eq!(String::from_utf8_lossy(&shown).trim_end(), "k: ö");

    let inline = run(&program, &["encrypt_string", "--vault-id", &source, "--stdin-name", "n"], b"hello");
    let inline = String::from_utf8(inline).unwrap();
    let ours = vault::encrypt_string(Some("n"), b"hello", &password).unwrap();
    // Salt and ciphertext differ; the shape doesn't.
    let shape = |yaml: &str| yaml.trim_end().lines().map(str::len).collect::<Vec<_>>();
    assert_eq!(shape(&ours), shape(&inline));
    let envelope = inline.split_once('\n').unwrap().1;
    assert_eq!(vault::decrypt(envelope, &passwords).unwrap().plaintext.expose(), Some("hello"));
}
