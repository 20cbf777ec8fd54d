//! Where a task runs: its project, resolved, links included, and under the root.

use std::path::{Component, Path, PathBuf};

/// The folder of `project` (a relative path; none is the root itself) below `root`, which is canonical. Or why not: a text for
/// people that names no path of this machine but the project's own.
pub(crate) fn directory(root: &Path, project: Option<&str>) -> Result<PathBuf, String> {
    let project = project.unwrap_or("");
    let refused = |why: &str| Err(format!("project {project:?} is refused: {why}"));
    if project.contains('\0') {
        return refused("it has a NUL character");
    }
    if Path::new(project).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return refused("it must be a path below the machine's projects root, without \"..\"");
    }
    let path = match root.join(project).canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("there is no project folder {project:?} on this device"));
        }
        Err(error) => return Err(format!("the project folder {project:?} can not be opened: {error}")),
    };
    if !path.starts_with(root) {
        return refused("it leads out of the machine's projects root");
    }
    if !path.is_dir() {
        return Err(format!("the project {project:?} is not a folder"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_under_the_root() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().canonicalize().unwrap().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(base.path().join("root-beside")).unwrap();
        std::fs::write(root.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
        std::os::unix::fs::symlink("../root-beside", root.join("beside")).unwrap();
        std::os::unix::fs::symlink("a/b", root.join("inside")).unwrap();

        assert_eq!(directory(&root, None).unwrap(), root);
        assert_eq!(directory(&root, Some("")).unwrap(), root);
        assert_eq!(directory(&root, Some("./a/b")).unwrap(), root.join("a/b"));
        assert_eq!(directory(&root, Some("inside")).unwrap(), root.join("a/b"));
        for (bad, why) in [
            ("..", "refused"),
            ("a/../../root-beside", "refused"),
            ("a/..", "refused"),
            ("/etc", "refused"),
            ("out", "leads out"),
            ("out/ssl", "out"),
            ("beside", "leads out"),
            ("file", "not a folder"),
            ("missing", "no project folder"),
            ("a\0b", "NUL"),
        ] {
            let error = directory(&root, Some(bad)).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
            assert!(!error.contains(base.path().to_str().unwrap()), "{error}");
        }
    }
}
