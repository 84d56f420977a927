//! The images of the tests, made without a registry by the repository's own script. What runs in them is the tests' business.

use std::path::Path;

use tokio::process::Command;
use tokio::sync::OnceCell;

/// The image of most tests.
pub(crate) const BUSYBOX: &str = "clos-engine-test/busybox:1";
/// The same, with a health check that says what a file says.
pub(crate) const CHECKED: &str = "clos-engine-test/checked:1";

/// Makes both images unless they are there, once for all tests of the run.
pub(crate) async fn provide() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        let command = r#"CMD ["sleep", "1000000"]"#;
        let check = "HEALTHCHECK --interval=200ms --timeout=10s --retries=1 CMD test ! -e /sick";
        make(BUSYBOX, &[command]).await;
        make(CHECKED, &[command, check]).await;
    })
    .await;
}

async fn make(name: &str, changes: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(root.join("deploy/engine.sh"));
    command.args(["image", name]);
    for change in changes {
        command.args(["--change", change]);
    }
    let made = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "deploy/engine.sh image: {said}");
}
