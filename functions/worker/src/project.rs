//! Where a task runs: its project, resolved, links included, and under the root. Never the root itself: what lies beside each other there belongs
//! to tenants who do not know each other. For the same reason a link is followed only as the first folder below the root, where the machine's owner
//! makes them: further down an agent, or a checkout, could make one into a neighbour's folder.

use std::path::{Component, Path, PathBuf};

/// Why a task may not run here: a text for people that names no path of this machine but the project's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No machine may run it there. The database refuses most of these before; a row may be older than its rules.
    #[error("{0}")]
    Anywhere(String),
    /// This machine does not have it; another may.
    #[error("{0}")]
    Here(String),
}

/// The folder of `project` (a relative path) below `root`, which is canonical. Or why not.
pub(crate) fn directory(root: &Path, project: Option<&str>) -> Result<PathBuf, Refused> {
    let Some(project) = project.filter(|project| !project.trim().is_empty()) else {
        return Err(Refused::Anywhere(
            "the task has no project, and the projects root is none: name one of its server's hub_projects".into(),
        ));
    };
    let anywhere = |why: &str| Err(Refused::Anywhere(format!("project {project:?} is refused: {why}")));
    let here = |why: &str| Err(Refused::Here(format!("project {project:?} is refused: {why}")));
    if project.contains('\0') {
        return anywhere("it has a NUL character");
    }
    let plain =
        |part: Component<'_>| matches!(part, Component::Normal(name) if !name.as_encoded_bytes().starts_with(b"."));
    if project.contains('\\')
        || !project.split('/').all(|part| !part.starts_with('.'))
        || !Path::new(project).components().all(plain)
    {
        return anywhere("it must be a path below the machine's projects root, and no part of it may begin with a dot");
    }
    let path = match root.join(project).canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Refused::Here(format!(
                "there is no project folder {project:?} below this device's projects root (its --projects-root): make the folder \
                 there, or start the worker with the root that has it"
            )));
        }
        Err(error) => {
            return Err(Refused::Here(format!("the project folder {project:?} can not be opened: {}", error.kind())));
        }
    };
    if !path.starts_with(root) || path == root {
        return here("it leads out of the machine's projects root");
    }
    let mut below = root.to_path_buf();
    for (depth, part) in Path::new(project).components().enumerate() {
        below.push(part);
        if depth > 0 && below.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            return here("a folder in it is a link: only the first folder below the projects root may be one");
        }
    }
    // A link may lead to what no path may name.
    if path.strip_prefix(root).is_ok_and(|below| !below.components().all(plain)) {
        return here("it leads into a folder whose name begins with a dot");
    }
    if !path.is_dir() {
        return Err(Refused::Here(format!("the project {project:?} is not a folder")));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_below_the_root_are_accepted() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().canonicalize().unwrap().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(base.path().join("root-beside")).unwrap();
        std::fs::write(root.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
        std::os::unix::fs::symlink("../root-beside", root.join("beside")).unwrap();
        std::os::unix::fs::symlink("a/b", root.join("inside")).unwrap();

        std::fs::create_dir_all(root.join(".hidden/x")).unwrap();
        std::os::unix::fs::symlink(".", root.join("itself")).unwrap();
        std::os::unix::fs::symlink(".hidden/x", root.join("into")).unwrap();
        std::fs::create_dir_all(root.join("neighbour/app")).unwrap();
        std::os::unix::fs::symlink("../neighbour/app", root.join("a/link")).unwrap();
        for none in [None, Some(""), Some(" "), Some("\t")] {
            assert!(directory(&root, none).unwrap_err().to_string().contains("has no project"), "{none:?}");
        }
        assert_eq!(directory(&root, Some("a//b/")).unwrap(), root.join("a/b"));
        assert_eq!(directory(&root, Some("inside")).unwrap(), root.join("a/b"));
        std::fs::create_dir_all(root.join("neighbour/app/src")).unwrap();
        for link in ["a/link", "a/link/src", "a//link/"] {
            let error = directory(&root, Some(link)).unwrap_err().to_string();
            assert!(error.contains("is a link"), "{link}: {error}");
        }
        for (bad, why) in [
            (".", "refused"),
            ("./.", "refused"),
            ("./a/b", "refused"),
            (".hidden", "refused"),
            (".hidden/x", "refused"),
            ("a/.git", "refused"),
            ("a\\b", "refused"),
            ("itself", "leads out"),
            ("into", "begins with a dot"),
            ("..", "refused"),
            ("a/../../root-beside", "refused"),
            ("a/..", "refused"),
            ("/etc", "refused"),
            ("out", "leads out"),
            ("out/ssl", "out"),
            ("beside", "leads out"),
            ("file", "not a folder"),
            (
                "missing",
                "no project folder \"missing\" below this device's projects root (its --projects-root): make the folder",
            ),
            ("a\0b", "NUL"),
        ] {
            let error = directory(&root, Some(bad)).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
            assert!(!error.contains(base.path().to_str().unwrap()), "{error}");
        }
        // What is wrong with the name is wrong on every machine; what is wrong with the folder is so here.
        assert!(matches!(directory(&root, Some("a/..")), Err(Refused::Anywhere(_))));
        for this_machines in ["missing", "out", "a/link", "file"] {
            assert!(matches!(directory(&root, Some(this_machines)), Err(Refused::Here(_))), "{this_machines}");
        }
    }
}
