//! `copy`: files and folders to the host, or from one place on it to another.

use std::path::{Path, PathBuf};

use futures::future::try_join_all;

use super::file_args::{Mode, with_file_args};
use super::place::{Payload, Placing, directory_step, place};
use super::{Failure, Module, Plan, PlanCx, Step, host_path};
use crate::remote::{Checksum, Content, Effect, FileKind};
use crate::source::{Text, Val};

/// Copies a file or a folder, or writes given content.
pub struct Copy;

/// An encrypted file larger than this is refused: it is opened in memory.
const MAX_ENCRYPTED: u64 = 64 << 20;
/// How many files' destinations are looked at in one go.
const AT_ONCE: usize = 16;

with_file_args! {
    /// Arguments of `copy`.
    pub struct Args {
        /// A file or folder; of a folder with a final `/`, what is in it.
        pub src: Option<String>,
        /// The content itself; lists and maps are written as JSON.
        pub content: Option<Val>,
        /// Where it goes.
        pub dest: String,
        /// Keep the previous file beside the new one.
        #[serde(default)]
        pub backup: bool,
        /// Replace files with another content.
        #[serde(default = "yes", alias = "thirsty")]
        pub force: bool,
        /// A command that must succeed for the new file, given as `%s`, before it takes its place.
        pub validate: Option<Text>,
        /// Mode of the folders that are made.
        pub directory_mode: Option<Val>,
        /// `src` is on the host.
        #[serde(default)]
        pub remote_src: bool,
        /// Links in a folder of ours are followed, not copied as links.
        #[serde(default = "yes")]
        pub local_follow: bool,
        /// A link at `dest` is looked through.
        #[serde(default)]
        pub follow: bool,
        /// SHA-1 that the source must have.
        pub checksum: Option<String>,
        /// Vault-encrypted sources are opened.
        #[serde(default = "yes")]
        pub decrypt: bool,
    }
}

fn yes() -> bool {
    true
}

impl Module for Copy {
    type Args = Args;
    const NAME: &'static str = "copy";

    fn validate(args: &Args) -> Result<(), String> {
        let src = args.src.as_deref().is_some_and(|s| !s.is_empty());
        match (src, args.content.is_some()) {
            (false, false) => return Err("src (or content) is required".into()),
            (true, true) => return Err("src and content are mutually exclusive".into()),
            (false, true) if args.dest.ends_with('/') => {
                return Err("can not use content with a dir as dest".into());
            }
            _ => {}
        }
        if args.dest.is_empty() {
            return Err("dest is required".into());
        }
        args.directory_mode.as_ref().map(Mode::parse).transpose()?;
        args.file_args().map(drop)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let placing = Placing {
            dest: host_path::expand(cx.target, &args.dest).await?,
            basename: None,
            attributes: args.file_args().map_err(Failure::new)?,
            directory_mode: args
                .directory_mode
                .as_ref()
                .map(Mode::parse)
                .transpose()
                .map_err(Failure::new)?,
            force: args.force,
            backup: args.backup,
            validate: args.validate.as_ref(),
            follow: args.follow,
        };
        match (&args.content, args.src.as_deref()) {
            (Some(content), _) => {
                let payload = inline(content);
                expect_checksum(&args, &payload)?;
                single(cx, &placing, &payload, None).await
            }
            (None, Some(src)) if args.remote_src => from_host(cx, &args, placing, src).await,
            (None, Some(src)) => from_operator(cx, &args, placing, src).await,
            (None, None) => Err(Failure::new("src (or content) is required")),
        }
    }
}

/// Scalars as text, everything else as JSON.
fn inline(content: &Val) -> Payload {
    let text = match content {
        Val::List(_) | Val::Map(_) => content.to_json().to_string(),
        Val::Null | Val::Omit => String::new(),
        scalar => crate::source::args::scalar_text(scalar).map(|t| t.to_string()).unwrap_or_default(),
    };
    Payload::inline(text.into_bytes(), content.has_secret(), None)
}

fn expect_checksum(args: &Args, payload: &Payload) -> Result<(), Failure> {
    match &args.checksum {
        Some(expected) if *expected != payload.sha1 => {
            Err(Failure::new("Copied file does not match the expected checksum. Transfer failed.")
                .value("checksum", payload.sha1.as_str())
                .value("expected_checksum", expected.as_str()))
        }
        _ => Ok(()),
    }
}

async fn single(
    cx: &PlanCx<'_>,
    placing: &Placing<'_>,
    payload: &Payload,
    src: Option<&str>,
) -> Result<Plan, Failure> {
    let plan = place(cx, placing, payload).await?.into_plan(payload);
    Ok(match src {
        Some(src) => plan.value("src", src),
        None => plan,
    })
}

async fn from_operator(
    cx: &PlanCx<'_>,
    args: &Args,
    placing: Placing<'_>,
    src: &str,
) -> Result<Plan, Failure> {
    let found = cx.find("files", src.trim_end_matches('/'))?;
    let shown = found.display().to_string();
    if !found.is_dir() {
        if src.ends_with('/') {
            return Err(Failure::new(format!("could not find src={src}: {shown} is not a directory")));
        }
        let payload = local_payload(cx, args, &found).await?;
        expect_checksum(args, &payload)?;
        let placing = Placing { basename: Some(host_path::basename(&shown)), ..placing };
        return single(cx, &placing, &payload, Some(&shown)).await;
    }
    let top =
        if src.ends_with('/') { None } else { found.file_name().map(|n| n.to_string_lossy().into_owned()) };
    let mut tree = Tree::default();
    tree.walk(&found, top.as_deref().unwrap_or(""), args.local_follow, &mut Vec::new())?;
    let mut files = Vec::new();
    for (relative, path) in &tree.files {
        files.push((relative.clone(), local_payload(cx, args, path).await?));
    }
    copy_tree(cx, placing, files, tree.directories, tree.links, &shown).await
}

async fn local_payload(cx: &PlanCx<'_>, args: &Args, path: &Path) -> Result<Payload, Failure> {
    if args.decrypt
        && let Some((text, mode)) = opened(cx, path).await?
    {
        return Ok(Payload::inline(text, true, mode));
    }
    Payload::operator(path).await
}

/// The plain bytes of a vault-encrypted file, and its mode; `None` if it isn't one.
async fn opened(cx: &PlanCx<'_>, path: &Path) -> Result<Option<(Vec<u8>, Option<u32>)>, Failure> {
    use std::os::unix::fs::PermissionsExt;
    use tokio::io::AsyncReadExt;
    const HEADER: &[u8] = b"$ANSIBLE_VAULT;";
    let failed = |e: std::io::Error| Failure::new(format!("could not read {}: {e}", path.display()));
    let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    (&mut file).take(HEADER.len() as u64).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes != HEADER {
        return Ok(None);
    }
    let meta = file.metadata().await.map_err(failed)?;
    if meta.len() > MAX_ENCRYPTED {
        return Err(Failure::new(format!(
            "{} is too large to be decrypted ({} bytes)",
            path.display(),
            meta.len()
        )));
    }
    file.read_to_end(&mut bytes).await.map_err(failed)?;
    let (plain, _) = cx.services.open_encrypted(&bytes)?;
    Ok(Some((plain, Some(meta.permissions().mode() & 0o7777))))
}

/// What is below a folder of the operator's machine, by path relative to the destination.
#[derive(Default)]
struct Tree {
    files: Vec<(String, PathBuf)>,
    directories: Vec<String>,
    links: Vec<(String, String)>,
}

impl Tree {
    fn walk(
        &mut self,
        folder: &Path,
        relative: &str,
        follow: bool,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::new(format!("could not read {}: {e}", folder.display()));
        above.push(folder.canonicalize().map_err(failed)?);
        if !relative.is_empty() {
            self.directories.push(relative.to_string());
        }
        let mut entries: Vec<_> =
            std::fs::read_dir(folder).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = host_path::join(relative, &entry.file_name().to_string_lossy());
            // A link to a folder around it stays a link: followed, it would never end.
            let ends = || path.canonicalize().is_ok_and(|real| !above.contains(&real));
            if path.is_symlink() && !(follow && ends()) {
                let target = std::fs::read_link(&path).map_err(failed)?;
                self.links.push((name, target.to_string_lossy().into_owned()));
            } else if path.is_dir() {
                self.walk(&path, &name, follow, above)?;
            } else {
                self.files.push((name, path));
            }
        }
        above.pop();
        Ok(())
    }
}

async fn from_host(cx: &PlanCx<'_>, args: &Args, placing: Placing<'_>, src: &str) -> Result<Plan, Failure> {
    let src = host_path::expand(cx.target, src).await?;
    let Some(stat) = cx.target.stat(&src).await? else {
        return Err(Failure::new(format!("Source {src} not found")));
    };
    if !stat.readable {
        return Err(Failure::new(format!("Source {src} not readable")));
    }
    match stat.kind {
        FileKind::Directory => {}
        FileKind::File => {
            let payload = host_payload(cx, &src).await?;
            expect_checksum(args, &payload)?;
            let placing = Placing { basename: Some(host_path::basename(&src)), ..placing };
            return single(cx, &placing, &payload, Some(&src)).await;
        }
        _ => return Err(Failure::new(format!("Cannot copy invalid source '{src}': not a file"))),
    }
    let top = src.trim_end_matches('/');
    let below = cx.target.list(top, true).await?;
    let prefix = if src.ends_with('/') { "" } else { host_path::basename(top) };
    let relative =
        |path: &str| host_path::join(prefix, path.strip_prefix(top).unwrap_or(path).trim_start_matches('/'));
    let (mut files, mut directories, mut links) = (Vec::new(), Vec::new(), Vec::new());
    if !prefix.is_empty() {
        directories.push(prefix.to_string());
    }
    for entry in below.iter() {
        match entry.kind {
            FileKind::Directory => directories.push(relative(&entry.path)),
            FileKind::Link => {
                let link = cx.target.stat_with(&entry.path, false, None).await?;
                let text = link.map(|l| l.link_text.clone()).unwrap_or_default();
                links.push((relative(&entry.path), text));
            }
            FileKind::File => files.push((relative(&entry.path), host_payload(cx, &entry.path).await?)),
            _ => {
                return Err(Failure::new(format!("Cannot copy invalid source '{}': not a file", entry.path)));
            }
        }
    }
    copy_tree(cx, placing, files, directories, links, &src).await
}

async fn host_payload(cx: &PlanCx<'_>, path: &str) -> Result<Payload, Failure> {
    let (sha256, sha1) = tokio::join!(
        cx.target.stat_with(path, true, Some(Checksum::Sha256)),
        cx.target.stat_with(path, true, Some(Checksum::Sha1)),
    );
    let unreadable = || Failure::new(format!("Source {path} not readable"));
    let stat = sha256?.ok_or_else(unreadable)?;
    Ok(Payload {
        content: Content::Host { path: path.into() },
        sha256: stat.checksum.clone().ok_or_else(unreadable)?,
        sha1: sha1?.and_then(|s| s.checksum.clone()).ok_or_else(unreadable)?,
        md5: None,
        mode: Some(stat.mode),
    })
}

async fn copy_tree(
    cx: &PlanCx<'_>,
    placing: Placing<'_>,
    files: Vec<(String, Payload)>,
    directories: Vec<String>,
    links: Vec<(String, String)>,
    src: &str,
) -> Result<Plan, Failure> {
    let root = placing.dest.trim_end_matches('/').to_string();
    let root = if root.is_empty() { "/".to_string() } else { root };
    let mut plan = Plan::ok().value("dest", host_path::join(&root, "")).value("src", src);

    let mut folders = vec![root.clone()];
    folders.extend(directories.iter().map(|d| host_path::join(&root, d)));
    let mut missing: Vec<bool> = Vec::new();
    for some in folders.chunks(AT_ONCE) {
        missing.extend(try_join_all(some.iter().map(|folder| is_missing_folder(cx, folder))).await?);
    }
    for (folder, _) in folders.iter().zip(&missing).filter(|(_, missing)| **missing) {
        plan = plan.step(directory_step(folder, &placing));
    }

    let new_folder = |file: &str| {
        let folder = host_path::parent(file).unwrap_or("/");
        folders.iter().position(|f| f == folder).is_some_and(|i| missing[i])
    };
    let one_file = files.len() == 1;
    for chunk in files.chunks(AT_ONCE) {
        let placings: Vec<Placing<'_>> = chunk
            .iter()
            .map(|(relative, _)| {
                let dest = host_path::join(&root, relative);
                // A final `/` lets a file come into a folder that is still to be made.
                let folder = format!("{}/", host_path::parent(&dest).unwrap_or("").trim_end_matches('/'));
                let basename = Some(host_path::basename(relative));
                let dest = if new_folder(&dest) { folder } else { dest };
                Placing { dest, basename, follow: false, ..placing.clone() }
            })
            .collect();
        let each = placings.iter().zip(chunk).map(|(placing, (_, payload))| place(cx, placing, payload));
        let placed = try_join_all(each).await?;
        for (placed, (_, payload)) in placed.into_iter().zip(chunk) {
            let is_write = |step: &Step| !matches!(step.effect, Effect::Directory { .. });
            if one_file {
                plan = plan.value("dest", placed.dest.as_str()).value("checksum", payload.sha1.as_str());
            }
            plan.steps.extend(placed.steps.into_iter().filter(is_write));
        }
    }
    for (relative, target) in links {
        let path = host_path::join(&root, &relative);
        let now = cx.target.stat_with(&path, false, None).await?;
        if now.as_ref().is_none_or(|s| s.kind != FileKind::Link || s.link_text != target) {
            let effect = Effect::Link {
                path: path.clone(),
                target: target.clone(),
                hard: false,
                force: now.is_some(),
            };
            plan = plan.step(Step::file(format!("link {path} to {target}"), effect));
        }
    }
    Ok(plan)
}

async fn is_missing_folder(cx: &PlanCx<'_>, folder: &str) -> Result<bool, Failure> {
    match cx.target.stat(folder).await? {
        None => Ok(true),
        Some(stat) if stat.kind == FileKind::Directory => Ok(false),
        Some(_) => Err(Failure::new(format!("{folder} exists and is not a directory"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args::{self, from_val};

    #[test]
    fn content_is_text_or_json() {
        let text = |v: Val| match inline(&v).content {
            Content::Text(t) => (t.to_string(), t.is_secret()),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(Val::from("a\n")), ("a\n".into(), false));
        assert_eq!(text(Val::Int(5)), ("5".into(), false));
        assert_eq!(text(args::args([("k", Val::secret("s"))])), ("{\"k\":\"s\"}".into(), true));
    }

    #[test]
    fn arguments_that_exclude_each_other() {
        let check = |given: &[(&'static str, &str)]| {
            let given = args::args(given.iter().map(|(k, v)| (*k, Val::from(*v))));
            Copy::validate(&from_val::<Args>(&given).unwrap())
        };
        assert_eq!(check(&[("dest", "/x")]).unwrap_err(), "src (or content) is required");
        assert_eq!(
            check(&[("dest", "/x"), ("src", "a"), ("content", "b")]).unwrap_err(),
            "src and content are mutually exclusive"
        );
        assert_eq!(
            check(&[("dest", "/x/"), ("content", "b")]).unwrap_err(),
            "can not use content with a dir as dest"
        );
        assert!(check(&[("dest", "/x"), ("content", "")]).is_ok());
    }

    #[test]
    fn a_folder_is_walked_with_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        std::fs::create_dir_all(at("d/empty")).unwrap();
        std::fs::write(at("d/f"), "x").unwrap();
        std::os::unix::fs::symlink("f", at("d/l")).unwrap();
        let names = |follow: bool| {
            let mut tree = Tree::default();
            tree.walk(&at("d"), "d", follow, &mut Vec::new()).unwrap();
            let files: Vec<String> = tree.files.into_iter().map(|(n, _)| n).collect();
            (files, tree.directories, tree.links.len())
        };
        let (files, directories, links) = names(true);
        assert_eq!((files, links), (vec!["d/f".to_string(), "d/l".to_string()], 0));
        assert_eq!(directories, ["d", "d/empty"]);
        assert_eq!(names(false).2, 1);
        std::os::unix::fs::symlink("..", at("d/empty/up")).unwrap();
        // What leads up is copied as a link, or it would never end.
        assert_eq!(names(true).2, 1);
    }
}
