//! Files on the operator's machine.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Test;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const TESTS: &[Test] = &[
    Test::new("abs", |e, v, a| on_path(e, &v, a, Path::is_absolute)),
    Test::new("directory", |e, v, a| on_path(e, &v, a, Path::is_dir)),
    Test::new("exists", |e, v, a| on_path(e, &v, a, Path::exists)),
    Test::new("file", |e, v, a| on_path(e, &v, a, Path::is_file)),
    Test::new("is_abs", |e, v, a| on_path(e, &v, a, Path::is_absolute)),
    Test::new("is_dir", |e, v, a| on_path(e, &v, a, Path::is_dir)),
    Test::new("is_file", |e, v, a| on_path(e, &v, a, Path::is_file)),
    Test::new("is_link", |e, v, a| on_path(e, &v, a, Path::is_symlink)),
    Test::new("is_mount", |e, v, a| on_path(e, &v, a, is_mount)),
    Test::new("is_same_file", same_file),
    Test::new("link", |e, v, a| on_path(e, &v, a, Path::is_symlink)),
    Test::new("link_exists", |e, v, a| on_path(e, &v, a, |p| p.symlink_metadata().is_ok())),
    Test::new("mount", |e, v, a| on_path(e, &v, a, is_mount)),
    Test::new("same_file", same_file),
    Test::new("vaulted_file", vaulted_file),
];

fn on_path(eval: &Eval, value: &Value, args: Args, test: fn(&Path) -> bool) -> Run<bool> {
    let [] = args.bind([])?;
    eval.impure();
    Ok(test(Path::new(&*eval.text_of(value)?)))
}

fn is_mount(path: &Path) -> bool {
    let Ok(here) = path.symlink_metadata() else { return false };
    if here.is_symlink() {
        return false;
    }
    let Ok(above) = path.join("..").metadata() else { return false };
    here.dev() != above.dev() || here.ino() == above.ino()
}

fn same_file(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [other] = args.bind(["other"])?;
    eval.impure();
    let other = eval.text_of(&eval.required("other", other)?)?;
    let identity = |path: &str| {
        std::fs::metadata(path)
            .map(|m| (m.dev(), m.ino()))
            .map_err(|e| Fault::new(format!("cannot look at the file '{path}': {e}")))
    };
    Ok(identity(&eval.text_of(&value)?)? == identity(&other)?)
}

fn vaulted_file(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    use std::io::Read;
    let [] = args.bind([])?;
    eval.impure();
    let path = eval.text_of(&value)?;
    let mut head = [0u8; 14];
    let read = std::fs::File::open(&*path).and_then(|mut f| f.read(&mut head));
    let n = read.map_err(|e| Fault::new(format!("Cannot test if the file '{path}' is a vault: {e}")))?;
    Ok(head[..n].starts_with(b"$ANSIBLE_VAULT"))
}
