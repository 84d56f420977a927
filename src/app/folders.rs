//! The folders of YAML among each other: what each one's source is called, and which cannot be given together. Looking into them is
//! not here (`source`).

use std::path::{Component, Path, PathBuf};

/// The name that a folder's objects carry: its last component as a DNS label.
pub(crate) fn source_name(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let last = absolute
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let label: String = last
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char
            } else {
                '-'
            }
        })
        .take(50)
        .collect();
    let label = label.trim_matches('-');
    if label.is_empty() {
        "folder".to_owned()
    } else {
        label.to_owned()
    }
}

/// Which folders cannot be sources of one server beside those before them: each mistake names both and says what to do.
pub(crate) fn mistakes(folders: &[PathBuf]) -> Vec<String> {
    let before = |(index, folder): (usize, &PathBuf)| {
        folders[..index]
            .iter()
            .find_map(|first| mistake(first, folder))
    };
    folders.iter().enumerate().filter_map(before).collect()
}

fn mistake(first: &Path, second: &Path) -> Option<String> {
    let (one, other) = (place(first), place(second));
    let (shown, shown_other) = (first.display(), second.display());
    if first == second {
        Some(format!("{shown} is given twice; give it once"))
    } else if one == other {
        Some(format!(
            "{shown} and {shown_other} are the same folder; give it once"
        ))
    } else if is_read_with(&other, &one) {
        Some(inside(second, first))
    } else if is_read_with(&one, &other) {
        Some(inside(first, second))
    } else if source_name(first) == source_name(second) {
        let name = source_name(first);
        Some(format!(
            "{shown} and {shown_other} would both be the source \"{name}\", after the last part of their paths, and each would remove what the other declares; rename one of them"
        ))
    } else {
        None
    }
}

fn inside(inner: &Path, outer: &Path) -> String {
    format!(
        "{} lies in {}, and what it declares would be applied twice; leave it out, or move it elsewhere",
        inner.display(),
        outer.display()
    )
}

/// Where a folder really lies. One that cannot be found is refused later, with the reason.
fn place(folder: &Path) -> PathBuf {
    folder
        .canonicalize()
        .or_else(|_| std::path::absolute(folder))
        .unwrap_or_else(|_| folder.to_owned())
}

/// Whether whoever reads `outer` reads `inner` with it: hidden folders are passed over.
fn is_read_with(inner: &Path, outer: &Path) -> bool {
    inner.strip_prefix(outer).is_ok_and(|between| {
        between.components().all(|part| match part {
            Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => true,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_after_its_folder() {
        assert_eq!(source_name(Path::new("/srv/My Shop")), "my-shop");
        assert_eq!(source_name(Path::new("/")), "folder");
    }

    #[test]
    fn folders_that_would_fight_over_objects_are_named_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let folder = root.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            folder
        };
        let folders = [
            at("a/shop"),
            at("b/shop"),
            at("b/shop/web"),
            at("a/shop"),
            root.path().join("link"),
            at("b"),
        ];
        std::os::unix::fs::symlink(&folders[0], &folders[4]).unwrap();
        let text = mistakes(&folders).join("\n");
        let text = text.replace(&root.path().display().to_string(), "");
        insta::assert_snapshot!(text, @r#"
        /a/shop and /b/shop would both be the source "shop", after the last part of their paths, and each would remove what the other declares; rename one of them
        /b/shop/web lies in /b/shop, and what it declares would be applied twice; leave it out, or move it elsewhere
        /a/shop is given twice; give it once
        /a/shop and /link are the same folder; give it once
        /b/shop lies in /b, and what it declares would be applied twice; leave it out, or move it elsewhere
        "#);
    }

    #[test]
    fn folders_that_have_nothing_in_common_may_be_given_together() {
        let folders = ["/srv/shop", "/srv/shop-2", "/srv/lab", "/srv/lab/.drafts"];
        assert_eq!(mistakes(&folders.map(PathBuf::from)), Vec::<String>::new());
    }
}
