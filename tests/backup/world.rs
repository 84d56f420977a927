//! What all these tests need: services, backups, a server on another data directory, and containers as they stand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use clos_harness::{Server, WEB, succeeded};
use serde_json::Value;

/// A service like that of [`WEB`] under another name, without its group.
pub(crate) fn service(name: &str) -> String {
    let service = WEB.split("---").nth(1).unwrap();
    service.replace("name: web", &format!("name: {name}"))
}

/// Writes services into the folder of YAML.
pub(crate) fn declare<'a>(server: &Server, names: impl IntoIterator<Item = &'a str>) {
    for name in names {
        server.write(&format!("{name}.yaml"), &service(name));
    }
}

/// Waits until all of these services are ready.
pub(crate) fn until_ready<'a>(server: &Server, names: impl IntoIterator<Item = &'a str>) {
    for name in names {
        server.until_ready(name);
    }
}

/// Makes a backup; gives the file and the revision that was told.
pub(crate) fn backed_up(server: &Server, name: &str) -> (PathBuf, u64) {
    let file = server.scratch(name);
    let told = succeeded(
        &["clos backup"],
        server.clos(&["backup", file.to_str().unwrap()]),
    );
    let revision = told
        .strip_prefix("backed up revision ")
        .and_then(|rest| rest.split(':').next())
        .unwrap_or_else(|| panic!("{told}"));
    (file, revision.parse().unwrap())
}

/// Restores a backup into a data directory; gives what was told.
pub(crate) fn restored(server: &Server, file: &Path, data_dir: &Path) -> String {
    let arguments = [
        "restore",
        file.to_str().unwrap(),
        "--data-dir",
        data_dir.to_str().unwrap(),
    ];
    succeeded(&arguments, server.clos(&arguments))
}

/// From the next start on the server lies in this data directory, and lists containers every second.
pub(crate) fn move_to(server: &mut Server, data_dir: &Path) {
    server.set_flags(&["--relist", "1s", "--data-dir", data_dir.to_str().unwrap()]);
}

/// The containers of these services, by service: id and when it was started.
pub(crate) fn standing<'a>(
    server: &Server,
    names: impl IntoIterator<Item = &'a str>,
) -> BTreeMap<String, (Value, Value)> {
    let container = |name: &str| {
        let found = server.inspect(&format!("{name}-0")).unwrap_or_default();
        (
            name.to_owned(),
            (found["Id"].clone(), found["State"]["StartedAt"].clone()),
        )
    };
    names.into_iter().map(container).collect()
}

/// The server's Host, null when there is none yet.
pub(crate) fn host(server: &Server) -> Value {
    server.list("chost").pop().unwrap_or_default()
}

/// Exit code, standard output and standard error.
pub(crate) fn told(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}
