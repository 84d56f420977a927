//! An engine of this run's own, for what must not be done to the machine's: a swarm cannot be left without a trace. How one is made and removed is
//! `deploy/engine.sh second`'s business.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// A second engine. It and all it has is removed by [`Second::down`].
pub(crate) struct Second {
    name: String,
    address: String,
}

impl Second {
    /// Starts one.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let name = format!("bench-{}", std::process::id());
        let address = run(&name, None).await?;
        ensure!(
            !address.is_empty(),
            "deploy/engine.sh does not say where the second engine is"
        );
        Ok(Self { name, address })
    }

    /// Its socket.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Removes it.
    pub(crate) async fn down(self) -> anyhow::Result<()> {
        run(&self.name, Some("down")).await.map(drop)
    }
}

/// The script beside the demo that sets up engines.
pub(crate) fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/engine.sh")
}

/// Asks the script; gives what it prints.
async fn run(name: &str, what: Option<&str>) -> anyhow::Result<String> {
    let output = Command::new(script())
        .args(["second", name])
        .args(what)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("cannot run deploy/engine.sh")?;
    ensure!(
        output.status.success(),
        "deploy/engine.sh second {name} {} fails",
        what.unwrap_or_default()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
