//! Encrypted files on the operator's machine: replaced atomically, edited in memory-backed folders.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, ErrorKind, Secret};

/// Lets a person edit the file at the path and returns when they are done.
pub type Editor<'a> = &'a dyn Fn(&Path) -> Result<(), Error>;

/// Replaces a file's content atomically: a temporary file beside it, synced, renamed. Mode and owner
/// of an existing file stay, through a symbolic link too; a new one gets 0600.
///
/// # Errors
/// The folder or file can't be written; the old content is then untouched.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::io("write", path, &e);
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let dir = match target.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    // Made with mode 0600 by the crate.
    let mut temporary = tempfile::Builder::new().prefix(".seqn-").tempfile_in(dir).map_err(failed)?;
    temporary.write_all(content).map_err(failed)?;
    if let Ok(old) = fs::metadata(&target) {
        let _ = chown(temporary.path(), Some(old.uid()), Some(old.gid()));
        fs::set_permissions(temporary.path(), Permissions::from_mode(old.mode() & 0o7777)).map_err(failed)?;
    }
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(&target).map_err(|e| failed(e.error))?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(failed)
}

/// Shows `old` to a person in a private temporary file and gives back what they made of it; `None`
/// when they changed nothing. The file lies in memory where the system has a place for that, and is
/// overwritten before it is removed, editor's leftovers included.
///
/// # Errors
/// No temporary file could be made, or the editor failed.
pub fn edit_privately(name: &Path, old: &[u8], editor: Editor) -> Result<Option<Secret>, Error> {
    let room = PrivateRoom::new()?;
    let shown = name.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // The editor goes by the inner extension: `prod.yml.age` is YAML.
    let path = room.path().join(shown.strip_suffix(".age").unwrap_or(&shown));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|e| Error::io("make the temporary file", &path, &e))?;
    file.set_permissions(Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(old))
        .map_err(|e| Error::io("write the temporary file", &path, &e))?;
    drop(file);
    editor(&path)?;
    let new =
        Secret::from_bytes(fs::read(&path).map_err(|e| Error::io("read what was edited in", &path, &e))?);
    Ok((new.expose_bytes() != old).then_some(new))
}

/// `$VISUAL`, else `$EDITOR`, else `vi`; it may hold arguments (`code --wait`).
pub fn system_editor(env: &dyn Fn(&str) -> Option<String>) -> impl Fn(&Path) -> Result<(), Error> + use<> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| env(name).filter(|e| !e.trim().is_empty()))
        .unwrap_or_else(|| "vi".to_string());
    move |path| {
        let status = Command::new("sh")
            .args(["-c", &format!("exec {editor} \"$1\""), "sh"])
            .arg(path)
            .status()
            .map_err(|e| Error::new(ErrorKind::Io, format!("could not start the editor {editor}: {e}")))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Io, format!("the editor {editor} failed ({status}); nothing was changed"))
            .help("set $VISUAL or $EDITOR to an editor that waits until you are done"))
    }
}

/// A folder that only we can enter, in memory where possible; wiped when dropped.
struct PrivateRoom(Option<tempfile::TempDir>);

impl PrivateRoom {
    fn new() -> Result<PrivateRoom, Error> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = runtime.into_iter().chain([PathBuf::from("/dev/shm"), std::env::temp_dir()]);
        let mut last = None;
        for place in places {
            // The crate makes it with mode 0700.
            match tempfile::Builder::new().prefix("seqn-").tempdir_in(&place) {
                Ok(dir) => {
                    let _ = fs::set_permissions(dir.path(), Permissions::from_mode(0o700));
                    return Ok(PrivateRoom(Some(dir)));
                }
                Err(e) => last = Some(Error::io("make a temporary folder in", &place, &e)),
            }
        }
        Err(last.unwrap_or_else(|| Error::refused("there is no place for temporary files")))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new("."), |dir| dir.path())
    }
}

impl Drop for PrivateRoom {
    fn drop(&mut self) {
        let Some(dir) = self.0.take() else { return };
        for entry in fs::read_dir(dir.path()).into_iter().flatten().flatten() {
            let _ = wipe(&entry.path());
        }
        let _ = dir.close();
    }
}

/// Overwrites a file with zeros. On a copying file system that is a best effort.
fn wipe(path: &Path) -> std::io::Result<()> {
    let about = fs::symlink_metadata(path)?;
    if !about.is_file() {
        return Ok(());
    }
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), about.len()), &mut file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn replacing_keeps_mode_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        replace(&real, b"one").unwrap();
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        replace(&link, b"two").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"two");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(replace(&dir.path().join("no/such"), b"").unwrap_err().message.contains("no such file"));
    }

    #[test]
    fn nothing_of_an_edit_stays() {
        let seen = RefCell::new(PathBuf::new());
        let edited = edit_privately(Path::new("x/prod.yml.age"), b"a: 1\n", &|path| {
            assert_eq!(path.file_name().unwrap(), "prod.yml");
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
            fs::write(path.with_extension("swp"), "a: 1").unwrap();
            fs::write(path, "a: 2\n").unwrap();
            *seen.borrow_mut() = path.to_path_buf();
            Ok(())
        });
        assert_eq!(edited.unwrap().unwrap().expose(), Some("a: 2\n"));
        assert!(!seen.borrow().parent().unwrap().exists());
        assert!(edit_privately(Path::new("x"), b"same", &|_| Ok(())).unwrap().is_none());
    }

    #[test]
    fn the_editor_of_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("it's here");
        fs::write(&file, "a").unwrap();
        let with = |editor: &str| {
            let editor = editor.to_string();
            system_editor(&move |name| (name == "EDITOR").then(|| editor.clone()))
        };
        with("sed -i s/a/b/")(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"b");
        let failed = with("false")(&file).unwrap_err();
        assert!(failed.message.contains("the editor false failed (exit status: 1)"), "{failed}");
    }
}
