use super::bench::Bench;
use crate::source::Val;

fn v(text: &str) -> Val {
    Val::from(text)
}

#[tokio::test]
async fn lineinfile_changes_once_and_looks_once() {
    let b = Bench::new();
    let path = b.write("f", "a=1\nb=2\n");
    b.chmod("f", 0o600);
    let given = [("path", v(&path)), ("regexp", v("^a=")), ("line", v("a=9")), ("backup", v("yes"))];
    let first = b.run("lineinfile", &given).await;
    first.is(true);
    assert_eq!(b.read("f"), "a=9\nb=2\n");
    assert_eq!((first.text("msg").as_str(), b.mode("f")), ("line replaced", 0o600));
    assert_eq!(std::fs::read_to_string(first.text("backup")).unwrap(), "a=1\nb=2\n");
    let second = b.run("lineinfile", &given).await;
    second.is(false);
    assert_eq!((second.round_trips, second.text("msg"), second.get("backup")), (1, "".into(), v("")));
}

#[tokio::test]
async fn lineinfile_attributes_creation_and_refusals() {
    let b = Bench::new();
    let path = b.path("new/sub/f");
    let missing = b.run("lineinfile", &[("path", v(&path)), ("line", v("x"))]).await;
    assert_eq!(missing.failure(), format!("Destination {path} does not exist !"));
    assert_eq!(missing.get("rc"), Val::Int(257));
    let given = [("path", v(&path)), ("line", v("x")), ("create", v("yes")), ("mode", v("0600"))];
    b.run("lineinfile", &given).await.is(true);
    assert_eq!((b.read("new/sub/f").as_str(), b.mode("new/sub/f")), ("x\n", 0o600));
    b.run("lineinfile", &given).await.is(false);
    b.chmod("new/sub/f", 0o644);
    let attributes = b.run("lineinfile", &given).await;
    attributes.is(true);
    assert_eq!(attributes.text("msg"), "ownership, perms or SE linux context changed");
    assert_eq!(b.mode("new/sub/f"), 0o600);
    let dir = b.run("lineinfile", &[("path", v(&b.path("new"))), ("line", v("x"))]).await;
    assert!(dir.failure().ends_with("is a directory !"));
    let gone =
        b.run("lineinfile", &[("path", v(&b.path("no"))), ("line", v("x")), ("state", v("absent"))]).await;
    assert_eq!(gone.is(false).text("msg"), "file not present");
}

#[tokio::test]
async fn lineinfile_validates_follows_links_and_only_predicts_in_check_mode() {
    let b = Bench::new();
    let path = b.write("f", "a\n");
    let given = [("path", v(&path)), ("line", v("b")), ("validate", v("grep -q zzz %s"))];
    let refused = b.run("lineinfile", &given).await;
    assert!(refused.failure().starts_with("failed to validate: rc:1"), "{:?}", refused.failed);
    assert_eq!(b.read("f"), "a\n");
    let bad = b.run("lineinfile", &[("path", v(&path)), ("line", v("b")), ("validate", v("true"))]).await;
    assert_eq!(bad.failure(), "validate must contain %s: true");
    std::os::unix::fs::symlink("f", b.path("l")).unwrap();
    b.run("lineinfile", &[("path", v(&b.path("l"))), ("line", v("b"))]).await.is(true);
    assert_eq!(b.read("f"), "a\nb\n");
    assert!(std::path::Path::new(&b.path("l")).is_symlink());

    let c = Bench::checking();
    let path = c.write("f", "a\n");
    let predicted = c.run("lineinfile", &[("path", v(&path)), ("line", v("b"))]).await;
    assert_eq!(predicted.is(true).text("msg"), "line added");
    assert_eq!(c.read("f"), "a\n");
}

#[tokio::test]
async fn a_secret_line_is_written_as_a_secret() {
    let b = Bench::new();
    let path = b.write("f", "");
    let outcome = b.run("lineinfile", &[("path", v(&path)), ("line", Val::secret("p=hush"))]).await;
    outcome.is(true);
    assert_eq!(b.read("f"), "p=hush\n");
    assert!(!format!("{:?} {:?}", outcome.result, outcome.labels).contains("hush"));
}

#[tokio::test]
async fn blockinfile_and_replace() {
    let b = Bench::new();
    let path = b.write("f", "a\n");
    let given = [("path", v(&path)), ("block", v("x\ny"))];
    assert_eq!(b.run("blockinfile", &given).await.is(true).text("msg"), "Block inserted");
    assert_eq!(b.run("blockinfile", &given).await.is(false).round_trips, 1);
    let removed =
        b.run("blockinfile", &[("path", v(&path)), ("state", v("absent")), ("backup", v("1"))]).await;
    assert_eq!(removed.is(true).text("msg"), "Block removed");
    assert!(removed.text("backup_file").ends_with("~"));
    assert_eq!(b.read("f"), "a\n");
    let given = [("path", v(&path)), ("regexp", v("^a$")), ("replace", v("b"))];
    assert_eq!(b.run("replace", &given).await.is(true).text("msg"), "1 replacements made");
    b.run("replace", &given).await.is(false);
    assert!(
        b.run("replace", &[("path", v("/nope")), ("regexp", v("x"))])
            .await
            .failure()
            .contains("does not exist")
    );
}

#[tokio::test]
async fn copy_content_and_files() {
    let b = Bench::new();
    let dest = b.path("d");
    let given = [("content", v("hi\n")), ("dest", v(&dest)), ("mode", v("0640"))];
    let made = b.run("copy", &given).await;
    made.is(true);
    assert_eq!((b.read("d").as_str(), b.mode("d")), ("hi\n", 0o640));
    for (key, want) in [
        ("dest", v(&dest)),
        ("checksum", v("55ca6286e3e4f4fba5d0448333fa99fc5a404a73")),
        ("md5sum", v("764efa883dda1e11db47671c4a3bbd9e")),
        ("mode", v("0640")),
        ("state", v("file")),
        ("size", Val::Int(3)),
        ("owner", v("root")),
    ] {
        assert_eq!(made.get(key), want, "{key}");
    }
    let again = b.run("copy", &given).await;
    assert_eq!((again.is(false).round_trips, again.get("mode")), (1, v("0640")));
    b.chmod("d", 0o600);
    assert_eq!(b.run("copy", &given).await.is(true).get("mode"), v("0640"));

    std::fs::create_dir(b.path("files")).unwrap();
    b.write("files/s.txt", "from here");
    b.chmod("files/s.txt", 0o700);
    std::fs::create_dir(b.path("into")).unwrap();
    let given = [("src", v("s.txt")), ("dest", v(&b.path("into"))), ("mode", v("preserve"))];
    assert_eq!(b.run("copy", &given).await.is(true).text("dest"), b.path("into/s.txt"));
    assert_eq!((b.read("into/s.txt").as_str(), b.mode("into/s.txt")), ("from here", 0o700));
    b.run("copy", &given).await.is(false);
    b.run("copy", &[("src", v("s.txt")), ("dest", v(&b.path("made/here/")))]).await.is(true);
    assert_eq!(b.read("made/here/s.txt"), "from here");

    let kept = [("content", v("new")), ("dest", v(&dest)), ("force", v("no"))];
    b.run("copy", &kept).await.is(false);
    let backed = [("content", v("new")), ("dest", v(&dest)), ("backup", v("yes"))];
    assert!(b.run("copy", &backed).await.is(true).text("backup_file").ends_with('~'));
    let missing = b.run("copy", &[("content", v("x")), ("dest", v(&b.path("no/such")))]).await;
    assert!(missing.failure().ends_with("no does not exist"), "{:?}", missing.failed);
    let wrong = b.run("copy", &[("content", v("x")), ("dest", v(&dest)), ("checksum", v("00"))]).await;
    assert!(wrong.failure().contains("expected checksum"));
    let nowhere = b.run("copy", &[("src", v("nope")), ("dest", v(&dest))]).await;
    assert!(nowhere.failure().starts_with("Could not find or access 'nope'"));
    b.write("files/v", "$ANSIBLE_VAULT;plain");
    b.run("copy", &[("src", v("v")), ("dest", v(&dest))]).await.is(true);
    assert_eq!(b.read("d"), "plain");
}

#[tokio::test]
async fn copy_replaces_a_link_unless_told_to_follow() {
    let b = Bench::new();
    b.write("real", "old");
    std::os::unix::fs::symlink("real", b.path("l")).unwrap();
    b.run("copy", &[("content", v("x")), ("dest", v(&b.path("l"))), ("follow", v("yes"))]).await.is(true);
    assert_eq!((b.read("real").as_str(), std::path::Path::new(&b.path("l")).is_symlink()), ("x", true));
    b.run("copy", &[("content", v("y")), ("dest", v(&b.path("l")))]).await.is(true);
    assert_eq!((b.read("real").as_str(), b.read("l").as_str()), ("x", "y"));
    assert!(!std::path::Path::new(&b.path("l")).is_symlink());
}

#[tokio::test]
async fn copy_folders_from_here_and_on_the_host() {
    let b = Bench::new();
    std::fs::create_dir_all(b.path("files/t/sub/empty")).unwrap();
    b.write("files/t/one", "1");
    b.write("files/t/sub/two", "2");
    let given = [("src", v("t")), ("dest", v(&b.path("out"))), ("directory_mode", v("0700"))];
    b.run("copy", &given).await.is(true);
    assert_eq!((b.read("out/t/one").as_str(), b.read("out/t/sub/two").as_str()), ("1", "2"));
    assert_eq!(
        (b.mode("out/t/sub"), std::path::Path::new(&b.path("out/t/sub/empty")).is_dir()),
        (0o700, true)
    );
    b.run("copy", &given).await.is(false);
    b.run("copy", &[("src", v("t/")), ("dest", v(&b.path("flat")))]).await.is(true);
    assert_eq!(b.read("flat/sub/two"), "2");
    let remote = [("src", v(&b.path("out/t"))), ("dest", v(&b.path("again"))), ("remote_src", v("yes"))];
    b.run("copy", &remote).await.is(true);
    assert_eq!(b.read("again/t/sub/two"), "2");
    b.run("copy", &remote).await.is(false);
    let one = [("src", v(&b.path("out/t/one"))), ("dest", v(&b.path("1"))), ("remote_src", v("yes"))];
    b.run("copy", &one).await.is(true);
    b.run("copy", &one).await.is(false);
    let missing = b.run("copy", &[("src", v("/nope")), ("dest", v("/x")), ("remote_src", v("yes"))]).await;
    assert_eq!(missing.failure(), "Source /nope not found");
}

#[tokio::test]
async fn template_and_assemble() {
    let b = Bench::new();
    std::fs::create_dir(b.path("templates")).unwrap();
    b.write("templates/t.j2", "hello {{ name }}\n");
    let given = [("src", v("t.j2")), ("dest", v(&b.path("out")))];
    b.run("template", &given).await.is(true);
    assert_eq!(b.read("out"), "hello world\n");
    b.run("template", &given).await.is(false);
    std::fs::create_dir(b.path("parts")).unwrap();
    b.write("parts/2", "two");
    b.write("parts/1", "one");
    b.write("parts/.h", "hidden");
    let given = [
        ("src", v(&b.path("parts"))),
        ("dest", v(&b.path("whole"))),
        ("ignore_hidden", v("yes")),
        ("delimiter", v("--")),
    ];
    assert_eq!(b.run("assemble", &given).await.is(true).text("msg"), "OK");
    assert_eq!(b.read("whole"), "one\n--\ntwo");
    b.run("assemble", &given).await.is(false);
    let missing = b.run("assemble", &[("src", v("/nope")), ("dest", v("/x"))]).await;
    assert_eq!(missing.failure(), "Source (/nope) does not exist");
}

#[tokio::test]
async fn file_states() {
    let b = Bench::new();
    let (f, d, l) = (b.path("f"), b.path("d/e"), b.path("l"));
    let touched = b.run("file", &[("path", v(&f)), ("state", v("touch")), ("mode", v("0600"))]).await;
    assert_eq!((touched.is(true).get("mode"), touched.get("dest")), (v("0600"), v(&f)));
    b.run("file", &[("path", v(&f)), ("state", v("touch"))]).await.is(true);
    let kept = [
        ("path", v(&f)),
        ("state", v("touch")),
        ("modification_time", v("preserve")),
        ("access_time", v("preserve")),
    ];
    b.run("file", &kept).await.is(false);
    let dated =
        [("path", v(&f)), ("modification_time", v("200001010000.00")), ("access_time", v("preserve"))];
    b.run("file", &dated).await.is(true);
    b.run("file", &dated).await.is(false);
    b.run("file", &[("path", v(&f)), ("mode", v("u=rw,g=r"))]).await.is(true);
    b.run("file", &[("path", v(&f)), ("mode", v("u=rw,g=r"))]).await.is(false);
    assert_eq!(b.mode("f"), 0o640);

    let made = b.run("file", &[("path", v(&d)), ("state", v("directory")), ("mode", v("0700"))]).await;
    assert_eq!((made.is(true).get("state"), made.get("path")), (v("directory"), v(&d)));
    b.run("file", &[("path", v(&d)), ("state", v("directory"))]).await.is(false);
    b.write("d/e/x", "");
    let recurse = [("path", v(&b.path("d"))), ("recurse", v("yes")), ("mode", v("u=rwX,g=rX,o="))];
    b.run("file", &recurse).await.is(true);
    assert_eq!((b.mode("d/e"), b.mode("d/e/x")), (0o750, 0o640));
    b.run("file", &recurse).await.is(false);

    let link = [("path", v(&l)), ("src", v("f")), ("state", v("link"))];
    let linked = b.run("file", &link).await;
    assert_eq!((linked.is(true).get("state"), linked.get("src")), (v("link"), v("f")));
    b.run("file", &link).await.is(false);
    b.run("file", &[("path", v(&l)), ("src", v("d")), ("state", v("link"))]).await.is(true);
    let broken = [("path", v(&l)), ("src", v("nope")), ("state", v("link"))];
    assert!(b.run("file", &broken).await.failure().starts_with("src file does not exist, use 'force=yes'"));
    let forced = b.run("file", &[&broken[..], &[("force", v("yes"))]].concat()).await;
    assert_eq!(forced.is(true).warnings.len(), 1);
    let over = b.run("file", &[("path", v(&f)), ("src", v("d")), ("state", v("link"))]).await;
    assert!(over.failure().starts_with("refusing to convert from file to symlink"));

    let hard = [("path", v(&b.path("h"))), ("src", v(&f)), ("state", v("hard"))];
    assert_eq!(b.run("file", &hard).await.is(true).get("state"), v("hard"));
    b.run("file", &hard).await.is(false);

    for (path, state) in [(&l, "link"), (&f, "file"), (&b.path("d"), "directory")] {
        let gone = b.run("file", &[("path", v(path)), ("state", v("absent"))]).await;
        assert_eq!(gone.is(true).get("state"), v("absent"), "{state}");
        b.run("file", &[("path", v(path)), ("state", v("absent"))]).await.is(false);
        assert!(!std::path::Path::new(path).exists());
    }
    let absent = b.run("file", &[("path", v(&f))]).await;
    assert_eq!(absent.failure(), format!("file ({f}) is absent, cannot continue"));
}

#[tokio::test]
async fn stat_slurp_tempfile_find_fetch() {
    let b = Bench::new();
    let f = b.write("f.txt", "hi\n");
    std::os::unix::fs::symlink("f.txt", b.path("l")).unwrap();
    let stat = b.run("stat", &[("path", v(&f)), ("checksum_algorithm", v("md5"))]).await;
    let stat = stat.is(false).get("stat");
    assert_eq!(stat.get("checksum"), Some(&v("764efa883dda1e11db47671c4a3bbd9e")));
    assert_eq!((stat.get("exists"), stat.get("isreg")), (Some(&Val::Bool(true)), Some(&Val::Bool(true))));
    assert!(stat.get("mimetype").is_some() && stat.get("attributes").is_some());
    let link = b.run("stat", &[("path", v(&b.path("l")))]).await.get("stat");
    let real = std::fs::canonicalize(&f).unwrap();
    assert_eq!(
        (link.get("lnk_target"), link.get("lnk_source")),
        (Some(&v("f.txt")), Some(&v(real.to_str().unwrap())))
    );
    let missing = b.run("stat", &[("path", v("/nope"))]).await.get("stat");
    assert_eq!(missing.as_map().map(|m| m.len()), Some(1));

    let slurped = b.run("slurp", &[("src", v(&f))]).await;
    assert_eq!((slurped.is(false).text("content"), slurped.round_trips), ("aGkK".into(), 1));
    assert_eq!(b.run("slurp", &[("src", v("/nope"))]).await.failure(), "file not found: /nope");
    let dir = b.run("slurp", &[("src", v(&b.path("")))]).await;
    assert!(dir.failure().starts_with("source is a directory and must be a file"));
    let below = b.run("slurp", &[("src", v(&format!("{f}/a/b")))]).await;
    assert!(below.failure().starts_with("unable to slurp file: "), "{}", below.failure());
    let missing = b.run("slurp", &[("src", v(&b.path("no/such")))]).await;
    assert!(missing.failure().starts_with("file not found: "), "{}", missing.failure());

    let folder = b.path("");
    let made = b.run("tempfile", &[("path", v(&folder)), ("suffix", v(".x"))]).await;
    assert_eq!((made.is(true).get("mode"), made.get("state")), (v("0600"), v("file")));
    assert!(std::path::Path::new(&made.text("path")).is_file());
    let c = Bench::checking();
    assert!(c.run("tempfile", &[("path", v(&c.path("")))]).await.skipped);
    assert_eq!(std::fs::read_dir(c.path("")).unwrap().count(), 0);

    let found = b.run("find", &[("paths", v(&folder)), ("patterns", v("*.txt")), ("contains", v("h"))]).await;
    assert_eq!((found.is(false).get("matched"), found.get("examined")), (Val::Int(1), Val::Int(3)));
    assert_eq!(found.get("files").as_list().unwrap()[0].get("path"), Some(&v(&f)));

    std::fs::write(b.path("gbk.bin"), [0xc4, 0xe3, 0xba, 0xc3]).unwrap();
    let found = b.run("find", &[("paths", v(&folder)), ("patterns", v("*.bin")), ("contains", v("h"))]).await;
    assert_eq!(found.text("msg"), "Not all paths examined, check warnings for details");
    assert!(found.warnings[0].contains("gbk.bin due to an encoding error"), "{:?}", found.warnings);

    let given = [("src", v(&f)), ("dest", v("got"))];
    let fetched = b.run("fetch", &given).await;
    let place = b.path(&format!("got/web1{f}"));
    assert_eq!(
        (fetched.is(true).text("dest"), std::fs::read_to_string(&place).unwrap()),
        (place, "hi\n".into())
    );
    b.run("fetch", &given).await.is(false);
    assert!(
        b.run("fetch", &[("src", v("/nope")), ("dest", v("x"))]).await.failure().contains("does not exist")
    );
}
